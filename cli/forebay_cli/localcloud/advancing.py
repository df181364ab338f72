"""Time that passes in a local cloud, and what S3 would do meanwhile under the deployed rules.

    day by day, only where something is due:
      the clock is moved to that midnight → Forebay evaluates what is due → S3 moves and expires
      → the catalog hears of it → the next day with something due

S3 runs lifecycle once a day; Forebay opens the gates before and is told afterwards. Days on which
neither has anything to do are skipped, so that a year takes seconds.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from forebay.domain.policy.lifecycle import LifecycleRule, StoredVersion, outcome
from forebay.domain.policy.storage_classes import StorageClass

DAY: Final = timedelta(days=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class What(StrEnum):
    """What S3 does to a version by itself."""

    MOVE = "move"
    """To the storage class of a transition."""
    EXPIRE = "expire"
    """The current version is hidden below a delete marker, another one removed for good."""
    FORGET_MARKER = "forget_marker"
    """A delete marker is removed that hides nothing."""
    END_RESTORE = "end_restore"
    """A restored copy is over; the version lies in its archive alone."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version in a bucket, or a delete marker; `is_lone` where the key has no other."""

    key: str
    version_id: str
    stored: StoredVersion
    is_marker: bool = False
    is_lone: bool = True
    restored_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing S3 does: to which version, when, and where to it is moved."""

    bucket: str
    what: What
    version: Version
    at: datetime
    to: StorageClass | None = None

    def document(self) -> dict[str, Any]:
        """Return the deed as JSON data."""
        found = {
            "do": self.what.value,
            "bucket": self.bucket,
            "key": self.version.key,
            "version_id": self.version.version_id,
            "size_bytes": self.version.stored.size_bytes,
            "storage_class": self.to.value if self.to else "",
            "current": self.version.stored.noncurrent_since is None,
        }
        return {name: value for name, value in found.items() if value != ""}


class Storage(Protocol):
    """The buckets of a local cloud, as S3's lifecycle sees them."""

    def rules(self) -> Mapping[str, Sequence[LifecycleRule]]:
        """Return the rules that are deployed, by bucket."""

    def versions(self, bucket: str) -> Sequence[Version]:
        """Return all versions of a bucket."""

    def act(self, bucket: str, deeds: Sequence[Deed]) -> Sequence[bool]:
        """Do it; False for each that storage refused."""


class Scheduled(Protocol):
    """What Forebay does by schedule."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return when policy looks at an object next, later than a moment."""

    def evaluate(self) -> Mapping[str, int]:
        """Let policy work off what is due; return how many objects were evaluated and changed."""

    def settle(self) -> None:
        """Wait until the catalog heard of everything that happened."""


class MovableClock(Protocol):
    """The clock of a local cloud: of its functions, its storage and the command line."""

    def now(self) -> datetime:
        """Return the time."""

    def move_to(self, moment: datetime) -> None:
        """Set it to a later time."""


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one day: S3's deeds, and what policy evaluated."""

    at: datetime
    deeds: tuple[Deed, ...]
    evaluated: Mapping[str, int]

    def count(self, *whats: What) -> int:
        """Return how many deeds are of some kinds."""
        return sum(deed.what in whats for deed in self.deeds)

    @property
    def moved(self) -> Mapping[StorageClass, int]:
        """How many versions went to each storage class."""
        return Counter(deed.to for deed in self.deeds if deed.to)

    def document(self) -> dict[str, Any]:
        """Return the day as JSON data."""
        return {
            "at": self.at,
            "deeds": [deed.document() for deed in self.deeds],
            "evaluated": dict(self.evaluated),
        }


def next_midnight(moment: datetime) -> datetime:
    """Return the first midnight UTC after a moment."""
    day = moment.astimezone(UTC) + DAY
    return day.replace(hour=0, minute=0, second=0, microsecond=0)


def next_deed(
    bucket: str, version: Version, rules: Sequence[LifecycleRule], now: datetime
) -> Deed | None:
    """Return what S3 does next to a version as it is, at a midnight after `now`; None for never."""
    tonight = next_midnight(now)
    if version.restored_until:
        return Deed(bucket, What.END_RESTORE, version, max(version.restored_until, tonight))
    if version.is_marker:
        is_forgotten = version.is_lone and any(rule.expired_markers for rule in rules)
        return Deed(bucket, What.FORGET_MARKER, version, tonight) if is_forgotten else None
    for midnight in _midnights(version.stored, rules, tonight):
        arrived, is_removed = outcome(rules, version.stored, midnight)
        if is_removed:
            return Deed(bucket, What.EXPIRE, version, midnight)
        if arrived != version.stored.storage_class:
            return Deed(bucket, What.MOVE, version, midnight, arrived)
    return None


def _midnights(
    stored: StoredVersion, rules: Iterable[LifecycleRule], earliest: datetime
) -> list[datetime]:
    """Return when rules may begin to say something else of a version, in order."""
    since = stored.noncurrent_since or stored.created
    days: set[int] = set()
    for rule in rules:
        days |= {days for days, _ in rule.transitions}
        days |= {rule.expire_days or 0, rule.noncurrent_expire_days or 0}
    # A moment before midnight: what S3 rounds up to midnight is due at that one.
    nearly = timedelta(microseconds=1)
    due = {next_midnight(since + timedelta(days=each) - nearly) for each in days}
    return sorted({max(midnight, earliest) for midnight in due})


@dataclass(frozen=True, slots=True)
class Advance:
    """Moves the clock, and lets storage and policy do what falls into that time."""

    clock: MovableClock
    storage: Storage
    scheduled: Scheduled
    tell: Callable[[Day], None] = lambda _: None

    def __call__(self, by: timedelta, *, at_once: bool = False) -> tuple[Day, ...]:
        """Return the days on which something happened; one at most with `at_once`."""
        until = self.clock.now() + by
        # What is to be done already, such as for a study that was just opened again.
        self._evaluated()
        days = [self._day(until, EPOCH)] if at_once else list(self._days(until))
        return tuple(day for day in days if day.deeds or any(day.evaluated.values()))

    def _days(self, until: datetime) -> Iterator[Day]:
        looked = EPOCH
        while (moment := self._next(looked)) and moment <= until:
            yield self._day(moment, looked)
            looked = moment
        self.clock.move_to(until)
        yield self._told(Day(until, (), self._evaluated()))

    def _next(self, looked: datetime) -> datetime | None:
        """Return the next midnight at which S3 acts, or policy looked at something before it."""
        now = self.clock.now()
        due = [deed.at for deed in self._pending(now)]
        if policy := self.scheduled.next_after(looked):
            due.append(next_midnight(max(policy, now) - timedelta(microseconds=1)))
        return min(due, default=None)

    def _day(self, moment: datetime, looked: datetime) -> Day:
        before = self.clock.now()
        self.clock.move_to(moment)
        evaluated = self._evaluate(looked, moment)
        # As if its last midnight had just come: of all that fell due since, S3 does the last thing.
        pending = self._pending(max(before, moment - DAY))
        done = tuple(self._act([deed for deed in pending if deed.at <= moment]))
        if done:
            self.scheduled.settle()
        return self._told(Day(moment, done, evaluated))

    def _evaluate(self, looked: datetime, moment: datetime) -> Mapping[str, int]:
        policy = self.scheduled.next_after(looked)
        if policy is None or policy > moment:
            return {}
        return self._evaluated()

    def _evaluated(self) -> Mapping[str, int]:
        evaluated = self.scheduled.evaluate()
        self.scheduled.settle()
        return evaluated

    def _pending(self, now: datetime) -> Iterator[Deed]:
        for bucket, rules in self.storage.rules().items():
            for version in self.storage.versions(bucket):
                if deed := next_deed(bucket, version, rules, now):
                    yield deed

    def _act(self, deeds: Sequence[Deed]) -> Iterator[Deed]:
        for bucket in dict.fromkeys(deed.bucket for deed in deeds):
            of_bucket = [deed for deed in deeds if deed.bucket == bucket]
            answers = self.storage.act(bucket, of_bucket)
            yield from (deed for deed, is_done in zip(of_bucket, answers, strict=True) if is_done)

    def _told(self, day: Day) -> Day:
        self.tell(day)
        return day
