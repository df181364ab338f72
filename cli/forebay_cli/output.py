"""How results are printed: tables for people, one JSON document per command for programs.

`--json` prints exactly one JSON document on standard output: an object for one thing, an object
with a list under a plural name for several. Keys are stable and sorted. Progress and remarks go to
standard error, so that standard output can be piped.
"""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

PLAIN_WIDTH: Final = 100
"""Columns when output is not a terminal."""

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

    def say(self, text: str) -> None:
        """Print a remark, silently dropped when a program reads the output."""
        if not self.as_json:
            self.remarks.print(text)


def json_option(command: Decorated) -> Decorated:
    """Add `--json` to a command, passed as `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
    )(command)


def table(*columns: str, title: str = "") -> Table:
    """Return an empty table in the house style: text wraps, the first column stays whole."""
    made = Table(
        title=title or None, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for place, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=place == 0)
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Return a two-column grid of labels and values, without the empty ones."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in pairs:
        if value not in (None, "", [], {}):
            grid.add_row(label, str(value))
    return grid


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
