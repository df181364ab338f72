"""What the pages of the documentation tell their readers to type."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = re.compile(r"<([a-z][a-z -]*)>")
_EXITS = re.compile(r"\s+#\s*(\d(?:(?:,| or) \d)*)\b.*$")
_SETTING = re.compile(r"([A-Z_]+)=(.*)")
_COMMAND = re.compile(r"\$ (?:[A-Z_]+=\S* )*forebay")


@dataclass(frozen=True)
class Command:
    """A line of a page, and the exit codes that the page allows: 0 unless it says others."""

    line: str
    exits: frozenset[int]

    @property
    def environment(self) -> dict[str, str]:
        """What the line sets for its command alone, as `NAME=value` before it."""
        settings = takewhile(bool, map(_SETTING.fullmatch, shlex.split(self.line)))
        return {found[1]: found[2] for found in settings if found}

    def arguments(self, meant: Mapping[str, str]) -> list[str]:
        said = _PLACEHOLDER.sub(lambda found: meant[found[1].replace(" ", "-")], self.line)
        program, *arguments = dropwhile(_SETTING.fullmatch, shlex.split(said))
        assert program == "forebay", self.line
        return arguments


def commands(page: Path) -> Iterator[Command]:
    """Yield what a page tells its reader to type, in its order."""
    for block in _BLOCK.findall(page.read_text("utf-8")):
        for line in block.splitlines():
            if _COMMAND.match(line):
                exits = _EXITS.search(line)
                codes = re.findall(r"\d", exits[1]) if exits else ["0"]
                yield Command(_EXITS.sub("", line)[2:], frozenset(map(int, codes)))
