"""Time that passes in a local cloud: which day is next, and what S3 and policy do on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from forebay.domain.policy.lifecycle import LifecycleRule, StoredVersion
from forebay.domain.policy.storage_classes import StorageClass
from forebay_cli.localcloud.advancing import (
    EPOCH,
    Advance,
    Day,
    Deed,
    Version,
    What,
    next_deed,
    next_midnight,
)

BUCKET = "clinical"
PLACED = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
OPEN = {"tier": "open"}
BY_AGE = LifecycleRule(
    id="tiers",
    tags=OPEN,
    transitions=((30, StorageClass.STANDARD_IA), (90, StorageClass.GLACIER)),
)
EXPIRES = LifecycleRule(id="leaves", tags=OPEN, expire_days=7, noncurrent_expire_days=7)
MARKERS = LifecycleRule(id="markers", expired_markers=True)


def midnight(day: int) -> datetime:
    """Return a midnight, counted from that of the day of placement."""
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day)


def any_version(key: str = "a", *, tags: Mapping[str, str] = OPEN, **facts: object) -> Version:
    stored = StoredVersion(tags, 300_000, PLACED)
    return Version(key, f"{key}-1", replace(stored, **facts))  # type: ignore[arg-type]


@dataclass
class FakeClock:
    time: datetime = PLACED
    moves: list[datetime] = field(default_factory=list)

    def now(self) -> datetime:
        return self.time

    def move_to(self, moment: datetime) -> None:
        assert moment >= self.time
        self.time = moment
        self.moves.append(moment)


@dataclass
class FakeStorage:
    """One bucket that does what it is told, as the emulator does."""

    clock: FakeClock
    deployed: Sequence[LifecycleRule]
    held: dict[str, Version]
    refuses: bool = False

    def rules(self) -> Mapping[str, Sequence[LifecycleRule]]:
        return {BUCKET: self.deployed}

    def versions(self, bucket: str) -> Sequence[Version]:
        assert bucket == BUCKET
        keys = [version.key for version in self.held.values()]
        return [replace(each, is_lone=keys.count(each.key) == 1) for each in self.held.values()]

    def act(self, bucket: str, deeds: Sequence[Deed]) -> Sequence[bool]:
        assert bucket == BUCKET
        if not self.refuses:
            for deed in deeds:
                self._do(deed)
        return [not self.refuses for _ in deeds]

    def _do(self, deed: Deed) -> None:
        version, now = deed.version, self.clock.now()
        if deed.what is What.MOVE:
            assert deed.to is not None
            stored = replace(version.stored, storage_class=deed.to)
            self.held[version.version_id] = replace(version, stored=stored)
        elif deed.what is What.END_RESTORE:
            self.held[version.version_id] = replace(version, restored_until=None)
        elif deed.what is What.EXPIRE and version.stored.noncurrent_since is None:
            hidden = replace(version.stored, noncurrent_since=now)
            self.held[version.version_id] = replace(version, stored=hidden)
            marker = Version(version.key, "marker", StoredVersion({}, 0, now), is_marker=True)
            self.held["marker"] = marker
        else:
            del self.held[version.version_id]


@dataclass
class FakeSchedules:
    """Policy that looks at an object at given times, and may open its gate then."""

    clock: FakeClock
    due: list[datetime] = field(default_factory=list)
    opens: FakeStorage | None = None
    evaluated_at: list[datetime] = field(default_factory=list)
    settled: int = 0

    def next_after(self, moment: datetime) -> datetime | None:
        return min((due for due in self.due if due > moment), default=None)

    def evaluate(self) -> Mapping[str, int]:
        self.evaluated_at.append(self.clock.now())
        worked_off = [due for due in self.due if due <= self.clock.now()]
        self.due = [due for due in self.due if due > self.clock.now()]
        if self.opens and worked_off:
            for version_id, version in self.opens.held.items():
                opened = replace(version, stored=replace(version.stored, tags=OPEN))
                self.opens.held[version_id] = opened
        return {"EvaluatedObjects": len(worked_off)}

    def settle(self) -> None:
        self.settled += 1


def a_world(
    *rules: LifecycleRule, held: Sequence[Version], due: Sequence[datetime] = ()
) -> tuple[Advance, FakeStorage, FakeSchedules]:
    clock = FakeClock()
    storage = FakeStorage(clock, rules, {version.version_id: version for version in held})
    schedules = FakeSchedules(clock, list(due))
    return Advance(clock, storage, schedules), storage, schedules


def what_happened(days: Sequence[Day]) -> list[tuple[datetime, What, StorageClass | None]]:
    return [(day.at, deed.what, deed.to) for day in days for deed in day.deeds]


def test_versions_move_at_the_midnight_after_their_days_are_over() -> None:
    advance, storage, _ = a_world(BY_AGE, held=[any_version()])
    days = advance(timedelta(days=120))
    assert what_happened(days) == [
        (midnight(31), What.MOVE, StorageClass.STANDARD_IA),
        (midnight(91), What.MOVE, StorageClass.GLACIER),
    ]
    assert storage.held["a-1"].stored.storage_class is StorageClass.GLACIER
    assert storage.clock.now() == PLACED + timedelta(days=120)


def test_a_second_advance_continues_where_the_first_ended() -> None:
    advance, _, _ = a_world(BY_AGE, held=[any_version()])
    assert what_happened(advance(timedelta(days=30))) == []
    assert [at for at, *_ in what_happened(advance(timedelta(days=1)))] == [midnight(31)]


def test_days_without_anything_due_are_skipped() -> None:
    advance, storage, schedules = a_world(BY_AGE, held=[any_version()])
    advance(timedelta(days=3650))
    assert storage.clock.moves[:-1] == [midnight(31), midnight(91)]
    # Before and after: what is not on any agenda, such as a study that was opened again.
    assert schedules.evaluated_at == [PLACED, PLACED + timedelta(days=3650)]


def test_at_once_s3_does_the_last_thing_that_fell_due() -> None:
    advance, storage, _ = a_world(BY_AGE, held=[any_version()])
    days = advance(timedelta(days=120), at_once=True)
    assert [(what, to) for _, what, to in what_happened(days)] == [
        (What.MOVE, StorageClass.GLACIER)
    ]
    assert storage.clock.moves == [PLACED + timedelta(days=120)]


def test_an_expired_object_is_hidden_then_removed_then_its_marker_goes() -> None:
    advance, storage, _ = a_world(EXPIRES, MARKERS, held=[any_version()])
    days = advance(timedelta(days=60))
    assert what_happened(days) == [
        (midnight(8), What.EXPIRE, None),
        (midnight(15), What.EXPIRE, None),
        (midnight(16), What.FORGET_MARKER, None),
    ]
    assert storage.held == {}


def test_a_held_version_is_hidden_but_never_removed() -> None:
    advance, storage, _ = a_world(EXPIRES, MARKERS, held=[any_version(is_locked=True)])
    days = advance(timedelta(days=3650))
    assert what_happened(days) == [(midnight(8), What.EXPIRE, None)]
    assert "a-1" in storage.held


def test_an_overdue_version_is_moved_at_the_next_midnight() -> None:
    late = any_version(created=PLACED - timedelta(days=365))
    deed = next_deed(BUCKET, late, [BY_AGE], PLACED)
    assert deed is not None
    assert (deed.at, deed.to) == (midnight(1), StorageClass.GLACIER)


def test_a_version_without_the_gate_stays() -> None:
    assert next_deed(BUCKET, any_version(tags={}), [BY_AGE, EXPIRES], PLACED) is None


def test_a_restored_copy_ends_when_it_was_said_to() -> None:
    version = replace(any_version(), restored_until=midnight(10))
    advance, _, _ = a_world(held=[version])
    assert what_happened(advance(timedelta(days=12))) == [(midnight(10), What.END_RESTORE, None)]


def test_policy_looks_before_s3_acts_and_its_gates_count_the_same_night() -> None:
    advance, storage, schedules = a_world(
        BY_AGE, held=[any_version(tags={})], due=[midnight(40) + timedelta(hours=9)]
    )
    schedules.opens = storage
    days = advance(timedelta(days=60))
    assert schedules.evaluated_at[1:-1] == [midnight(41)]
    assert what_happened(days) == [(midnight(41), What.MOVE, StorageClass.STANDARD_IA)]
    assert days[0].evaluated == {"EvaluatedObjects": 1}


def test_policy_looks_once_a_day_however_much_is_due() -> None:
    hours = [midnight(5) + timedelta(hours=hour) for hour in range(1, 24)]
    advance, _, schedules = a_world(held=[], due=hours)
    advance(timedelta(days=10))
    assert schedules.evaluated_at[1:-1] == [midnight(6)]


def test_an_object_that_stays_due_does_not_stop_the_clock() -> None:
    advance, _, schedules = a_world(held=[])
    schedules.due = [EPOCH + timedelta(days=1)]
    schedules.evaluate = lambda: {"EvaluatedObjects": 1}  # type: ignore[method-assign]
    days = advance(timedelta(days=3650))
    assert [day.at for day in days] == [midnight(1), PLACED + timedelta(days=3650)]


def test_policy_looks_at_what_fell_due_after_the_last_midnight() -> None:
    until = PLACED + timedelta(hours=5)
    advance, _, schedules = a_world(held=[], due=[PLACED + timedelta(hours=2)])
    days = advance(timedelta(hours=5))
    assert schedules.evaluated_at == [PLACED, until]
    assert [day.at for day in days] == [until]


def test_what_storage_refuses_is_not_told_as_done() -> None:
    advance, storage, schedules = a_world(BY_AGE, held=[any_version()])
    storage.refuses = True
    assert advance(timedelta(days=35)) == ()
    assert schedules.settled == len(schedules.evaluated_at), "events are waited for, or nothing"


@pytest.mark.parametrize(
    "moment, expected",
    [(PLACED, midnight(1)), (midnight(1), midnight(2))],
    ids=["by day", "at midnight"],
)
def test_next_midnight_is_never_now(moment: datetime, expected: datetime) -> None:
    assert next_midnight(moment) == expected
