"""What time it is in a deployment."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class Clock:
    """The real time, or so many seconds later: the time of a local cloud that was advanced."""

    ahead_seconds: int = 0

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_seconds)


REAL_TIME: Final = Clock()
