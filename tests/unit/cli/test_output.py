"""Tables are made to be copied from: nothing of an identifier is cut, however narrow the screen."""

import io

import pytest
from rich.console import Console

from forebay_cli.output import Output, table

STUDY = "1.2.840.113619.2.55.3.604688119.868.1268316733.612"


@pytest.mark.parametrize("width", [20, 80, 200])
def test_identifiers_stay_whole_whatever_the_width(width: int) -> None:
    written = io.StringIO()
    console = Console(file=written, width=width)
    rows = table("exception", "about", "reason")
    rows.add_row("EX-0123456789abcdef", STUDY, "a reason that goes on for longer than a line " * 3)

    Output(as_json=False, out=console, remarks=console).rows(rows)

    lines = written.getvalue().splitlines()
    (first,) = [line for line in lines if STUDY in line]
    assert "EX-0123456789abcdef" in first
    assert "…" not in written.getvalue()
    assert all(line.strip() for line in lines)
    assert max(map(len, lines)) <= max(width, 19 + len(STUDY) + 24 + 3 * 3)
