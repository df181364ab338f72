"""How far a local cloud's clock was moved: kept beside its state, so that a restart agrees."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from forebay_cli.clock import Clock


@dataclass(frozen=True, slots=True)
class Moved:
    """One time that somebody moved the clock: the real time, and by how much."""

    at: str
    by_seconds: int


@dataclass(frozen=True, slots=True)
class MovedClock:
    """How far ahead of the real time a local cloud is, and how it came there."""

    ahead_seconds: int = 0
    moves: tuple[Moved, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what was recorded; an unmoved clock where nothing is."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            moves = tuple(Moved(**each) for each in data["moves"])
            return cls(int(data["ahead_seconds"]), moves)
        except (OSError, ValueError, TypeError, KeyError):
            return cls()

    def save(self, path: Path) -> None:
        """Write the record whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(".partial")
        staged.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        staged.replace(path)

    @property
    def clock(self) -> Clock:
        """The clock that shows its time."""
        return Clock(self.ahead_seconds)
