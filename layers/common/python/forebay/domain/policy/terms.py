"""After how long an object is removed by itself, and which of two such terms is the earlier."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final, Self

from forebay.domain.policy.classes import Removal, Retention, Since

_TEXT: Final = re.compile(r"(\d+)d(-after-run(?:-(\d+)d)?)?")
_KEPT: Final = "kept"
_MIDNIGHT: Final = time(tzinfo=UTC)


def lifecycle_day(since: datetime, days: int) -> datetime:
    """Return when S3's lifecycle acts: so many days later, rounded up to the next midnight UTC.

    Amazon S3 User Guide, "Lifecycle rules based on an object's age".
    """
    began = since.astimezone(UTC)
    midnight = datetime.combine(began, _MIDNIGHT)
    return midnight + timedelta(days=days if midnight == began else days + 1)


@dataclass(frozen=True, slots=True)
class Terms:
    """Days until removal, counted from placement or from the end of the run; None for never.

    `floor_days` count from placement, and matter where the days do not.
    """

    days: int | None = None
    since: Since = Since.PLACED
    floor_days: int = 0

    @classmethod
    def of(cls, retention: Retention) -> Self:
        """Return the terms of a class; what somebody must review first never goes by itself."""
        if retention.removal is not Removal.EXPIRE or retention.ceiling_days is None:
            return cls()
        counts_floor = retention.since is Since.RUN_SUCCEEDED
        floor = retention.floor_days if counts_floor else 0
        return cls(retention.ceiling_days, retention.since, floor)

    @classmethod
    def from_text(cls, said: str) -> Self:
        """Return the terms that were stored."""
        match = _TEXT.fullmatch(said)
        if match is None:
            return cls()
        since = Since.RUN_SUCCEEDED if match[2] else Since.PLACED
        return cls(int(match[1]), since, int(match[3] or 0))

    def __str__(self) -> str:
        """Return the terms as they are stored: `kept`, `366d`, `14d-after-run`."""
        if self.days is None:
            return _KEPT
        run = "-after-run" if self.since is Since.RUN_SUCCEEDED else ""
        return f"{self.days}d{run}" + (f"-{self.floor_days}d" if self.floor_days else "")

    def gate(self, object_class: str) -> str:
        """Return the value of the removal gate that asks lifecycle for these terms, and no others.

        A rule of other days asks for another value: a deployment changes nothing of what is tagged.
        """
        return f"{object_class}-{self.days}d"

    def day(self, placed_at: datetime, run_succeeded_at: datetime | None) -> datetime | None:
        """Return when an object goes, None while that is not known or never."""
        since = placed_at if self.since is Since.PLACED else run_succeeded_at
        if self.days is None or since is None:
            return None
        floor = placed_at + timedelta(days=self.floor_days)
        return max(lifecycle_day(since, self.days), floor)

    def is_earlier_than(
        self,
        other: "Terms",
        placed_at: datetime,
        run_succeeded_at: datetime | None,
        *,
        now: datetime,
    ) -> bool:
        """Tell whether an object goes earlier than by others, or might once its run ends."""
        if self.days is None or self == other:
            return False
        ends = run_succeeded_at or now
        mine, theirs = (each.day(placed_at, ends) for each in (self, other))
        waits = other.since is Since.RUN_SUCCEEDED and run_succeeded_at is None
        if mine is None or theirs is None or (waits and self.since is Since.PLACED):
            return True
        return mine < theirs
