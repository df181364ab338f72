"""The judgements as MultiQC custom content (a table), for those who read their runs there."""

from collections import Counter
from collections.abc import Collection
from pathlib import PurePath
from typing import Any, Final

from forebay_cli.inspecting.judging import Judged

_COLUMNS: Final = {
    "verdict": {"title": "Verdict"},
    "kind": {"title": "Kind"},
    "reads": {"title": "Reads", "format": "{:,.0f}"},
    "bases": {"title": "Bases", "format": "{:,.0f}"},
    "q30_fraction": {"title": "Q30", "min": 0, "max": 1, "format": "{:.3f}"},
    "gc_fraction": {"title": "GC", "min": 0, "max": 1, "format": "{:.3f}"},
    "records": {"title": "Records", "format": "{:,.0f}"},
    "reason": {"title": "Reason"},
}


def multiqc_document(judged: Collection[Judged]) -> dict[str, Any]:
    """Return a `table` section of MultiQC's custom content."""
    names = Counter(PurePath(each.path).name for each in judged)
    return {
        "id": "forebay_inspect",
        "section_name": "Forebay inspection",
        "description": "Structure, integrity and statistics of the files as received.",
        "plot_type": "table",
        "pconfig": {"id": "forebay_inspect_table", "title": "Forebay: inspection"},
        "headers": _COLUMNS,
        "data": {_sample(each.path, names): _row(each) for each in judged},
    }


def _sample(path: str, names: Counter[str]) -> str:
    """Return the name of a row: the path where files in several folders are named alike."""
    name = PurePath(path).name
    return name if names[name] == 1 else path


def _row(each: Judged) -> dict[str, Any]:
    row: dict[str, Any] = {"verdict": each.shown_verdict, "kind": each.kind}
    row |= {name: each.metadata[name] for name in _COLUMNS if name in each.metadata}
    if each.reasons:
        row["reason"] = each.reasons[0].code.value
    return row
