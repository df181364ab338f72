"""How results are printed: tables for people, one JSON document per command for programs.

`--json` prints exactly one JSON document on standard output: an object for one thing, an object
with a list under a plural name for several. Keys are stable and sorted. Progress and remarks go to
standard error, so that standard output can be piped.
"""

import json
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap
from typing import Any, Final, TypeVar

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segments
from rich.table import Column, Table
from rich.text import Text

PLAIN_WIDTH: Final = 100
"""Columns when output is not a terminal."""

_GAP: Final = 3
"""Columns between two columns of a table."""
_WRAPPED: Final = 24
"""Columns that a wrapped column is left at least."""
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command prints: `out` for results, `remarks` for progress and advice."""

    as_json: bool
    out: Console
    remarks: Console

    @classmethod
    def create(cls, *, as_json: bool = False) -> "Output":
        """Return an output bound to this process's standard streams."""
        return cls(as_json, _console(error=False), _console(error=True))

    def document(self, document: object) -> None:
        """Print a JSON document: indented on a terminal, on one line otherwise."""
        indent = 2 if self.out.is_terminal else None
        click.echo(json.dumps(document, indent=indent, sort_keys=True, default=_jsonable))

    def facts(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print labels and values, without the empty ones; an empty label continues the last.

        Sentences wrap; identifiers and addresses stay whole, to be copied.
        """
        shown = [(label, str(value)) for label, value in pairs if value not in _EMPTY]
        indent = max((len(label) for label, _ in shown), default=0) + 2
        for label, value in shown:
            line = Text(label.ljust(indent), style="bold")
            room = max(self.out.width - indent, 20)
            rows = wrap(value, room, break_long_words=False, break_on_hyphens=False)
            line.append(("\n" + " " * indent).join(rows), style="not bold")
            self.out.print(line, soft_wrap=True)

    def rows(self, made: Table) -> None:
        """Print a table: wider than the terminal rather than with an identifier cut."""
        narrowest = sum(_narrowest(column) + _GAP for column in made.columns)
        options = self.out.options.update(width=max(self.out.width, narrowest))
        drawn = Segments(self.out.render(made, options))
        self.out.print(drawn, soft_wrap=True, end="")

    def say(self, text: str) -> None:
        """Print a remark, silently dropped when a program reads the output."""
        if not self.as_json:
            self.remarks.print(text)


def json_option(command: Decorated) -> Decorated:
    """Add `--json` to a command, passed as `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
    )(command)


def table(*columns: str, wraps: Collection[str] = ()) -> Table:
    """Return an empty table in the house style.

    Only the last column wraps, unless others are named: identifiers stay whole, to be copied.
    """
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column not in (wraps or columns[-1:]))
    return made


def _narrowest(column: Column) -> int:
    """Return the columns on screen below which something would be lost, or not be readable."""
    widths = [cell_len(str(cell)) for cell in (column.header, *column.cells)]
    return max(widths) if column.no_wrap else min(max(widths), _WRAPPED)


def size_text(size_bytes: float) -> str:
    """Return a size in binary units, such as `1.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size_bytes < 1024 or unit == "TiB":
            break
        size_bytes /= 1024
    return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """Return a duration for people, such as `4 s` or `2 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _console(*, error: bool) -> Console:
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    # What is printed holds names people chose: `[x]` in them is text, not markup.
    return Console(stderr=error, width=width, markup=False, highlight=False, emoji=False)


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)
