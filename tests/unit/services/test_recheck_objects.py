"""What time does to stored bytes is found, healed where it can be, and told."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from forebay.domain.findings import ReasonCode
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Location
from forebay.domain.states import State
from forebay.errors import Trouble
from forebay.names import Tag, Zone
from forebay.services import recheck_objects
from forebay.services.recheck_objects import Outcome
from tests.unit.fakes import BUCKETS, StoredVersion, any_dicom_body
from tests.unit.world import World

BODY = any_dicom_body()


def stored(world: World, body: bytes = BODY, *, landing: bool = False, **how: Any) -> str:
    """Bring an object to its zone; its landing copy has expired."""
    made = world.image(body, f"site-a/{len(world.catalog.records)}.dcm", **how)
    world.run()
    record = world.record(made)
    assert record.state is State.PLACED
    if not landing:
        world.store.expire(record.location)
    return made


def placed(world: World, made: str) -> Location:
    found = world.record(made).placed
    assert found
    return found


def replicate(world: World, made: str, body: bytes = BODY, *, version_id: str = "") -> Location:
    """Put the copy that replication would have made."""
    place = placed(world, made)
    archive = BUCKETS[Zone.ARCHIVE]
    version = StoredVersion(body, checksum=Algorithm.SHA256, metadata={"forebay-object-id": made})
    version_id = version_id or place.version_id
    world.store.versions.setdefault((archive, place.key), {})[version_id] = version
    return Location(archive, place.key, version_id)


def test_equal_bytes_are_dated_and_go_to_the_end_of_the_queue() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)

    done = world.recheck()

    record = world.record(made)
    assert [result.outcome for result in done.results] == [Outcome.EQUAL]
    assert done.read_bytes == len(BODY)
    assert record.rechecked_at == record.amended_at
    assert record.rechecked_at is not None
    assert record.rechecked_at > record.state_since
    assert not list(world.stored_objects.by_last_check(until=record.state_since))


def test_object_of_a_foreign_checksum_gets_a_sha256_that_later_convicts() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.CRC64NVME)
    assert not world.record(made).digest(Algorithm.SHA256)

    world.recheck()
    assert world.record(made).digest(Algorithm.SHA256)

    world.store.damage(placed(world, made))
    assert world.recheck().count(Outcome.CONVICTED) == 1


def test_flipped_bit_without_a_whole_copy_convicts() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    world.store.damage(placed(world, made))

    done = world.recheck()

    record = world.record(made)
    assert done.count(Outcome.CONVICTED) == 1
    assert record.state is State.QUARANTINED
    assert record.finding
    assert record.finding.code is ReasonCode.STORED_BYTES_CHANGED
    assert record.finding.expected.startswith("sha256 ")
    assert record.finding.found.startswith("sha256 ")
    assert world.store.tags(placed(world, made))[Tag.VERDICT] == "refused"
    assert not world.dead_letters
    assert record.held is None
    assert world.store.body(placed(world, made))


def test_flipped_bit_heals_from_the_replica_as_a_new_version() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    damaged = placed(world, made)
    tags = dict(world.store.tags(damaged))
    world.store.damage(damaged)
    replicate(world, made)

    done = world.recheck()

    record = world.record(made)
    assert done.count(Outcome.HEALED) == 1
    assert record.state is State.PLACED
    assert placed(world, made) == replace(damaged, version_id="v2")
    assert world.store.body(placed(world, made)) == BODY
    gates = {Tag.TIERING, Tag.REMOVAL, Tag.REPLICATE}
    found = world.store.tags(placed(world, made))
    assert found == {name: value for name, value in tags.items() if name not in gates}
    assert record.policy
    assert record.placed_at
    assert record.version_since
    assert record.policy.evaluate_at == record.version_since == world.clock.now(), "due at once"
    assert record.placed_at < record.version_since, "its retention goes on"
    assert world.store.tags(damaged)[Tag.VERDICT] == "refused"
    assert [warning.code for warning in record.warnings] == [ReasonCode.STORED_BYTES_CHANGED]
    assert "replica" in record.warnings[0].message
    assert record.rechecked_at == record.amended_at
    assert world.recheck().count(Outcome.EQUAL) == 1


def test_missing_bytes_heal_too() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    replicate(world, made, version_id="restored-by-hand")
    world.store.expire(placed(world, made))

    assert world.recheck().count(Outcome.HEALED) == 1

    assert world.store.body(placed(world, made)) == BODY
    assert world.record(made).warnings[0].code is ReasonCode.STORED_BYTES_MISSING


def test_missing_bytes_without_a_replica_convict() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    world.store.expire(placed(world, made))

    assert world.recheck().count(Outcome.CONVICTED) == 1

    finding = world.record(made).finding
    assert finding
    assert finding.code is ReasonCode.STORED_BYTES_MISSING
    assert not world.dead_letters


def test_landing_copy_heals_while_it_is_there() -> None:
    world = World()
    made = stored(world, landing=True, checksum=Algorithm.SHA256)
    world.store.damage(placed(world, made))

    assert world.recheck().count(Outcome.HEALED) == 1

    assert "landing" in world.record(made).warnings[0].message


@pytest.mark.parametrize("spoil", ["damaged", "of another object"])
def test_replica_that_is_not_the_same_bytes_heals_nothing(spoil: str) -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    world.store.damage(placed(world, made))
    replica = replicate(world, made)
    if spoil == "damaged":
        world.store.damage(replica, at=5)
    else:
        world.store._version(replica)[1].metadata = {"forebay-object-id": "someone else"}

    assert world.recheck().count(Outcome.CONVICTED) == 1


def test_difference_that_a_second_reading_does_not_show_is_counted_and_convicts_nobody() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    whole = world.store.chunks
    readings: list[Location] = []

    def chunks(location: Location, size: int) -> Any:
        readings.append(location)
        return iter([b"noise"]) if len(readings) == 1 else whole(location, size)

    world.store.chunks = chunks  # type: ignore[method-assign]
    done = world.recheck()

    assert done.count(Outcome.UNCONFIRMED) == 1
    assert len(readings) == 2
    assert world.record(made).state is State.PLACED
    assert world.record(made).rechecked_at


def test_object_that_moved_meanwhile_is_left_alone() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)

    def amend() -> None:
        record = world.catalog.records[made]
        world.catalog.records[made] = record.amended(world.clock.now(), consent_state="given")

    world.catalog.before_next_write.append(amend)
    done = world.recheck()

    assert [result.outcome for result in done.results] == [Outcome.MOVED]
    assert world.record(made).rechecked_at is None


def test_healing_that_lost_the_race_leaves_no_readable_stray() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    damaged = placed(world, made)
    world.store.damage(damaged)
    replicate(world, made)

    def amend() -> None:
        record = world.catalog.records[made]
        world.catalog.records[made] = record.amended(world.clock.now(), consent_state="given")

    world.catalog.before_next_write.append(amend)
    world.recheck()

    versions = world.store.versions[damaged.bucket, damaged.key]
    assert {version.tags[Tag.VERDICT] for version in versions.values()} == {"refused"}
    assert world.recheck().count(Outcome.HEALED) == 1
    assert world.store.tags(placed(world, made))[Tag.VERDICT] == "verified"
    assert len(versions) == 2


def test_budget_is_respected_and_in_the_end_every_object_is_read() -> None:
    world = World()
    ids = {stored(world, any_dicom_body(), checksum=Algorithm.SHA256) for _ in range(12)}
    sizes = [world.record(made).size_bytes for made in ids]
    budget = 4 * max(sizes)
    world.clock.advance(8 * 24 * 3600)
    began = world.clock.now()
    rechecked: set[str] = set()

    for _ in range(8):
        done = world.recheck_objects(budget)
        assert done.read_bytes <= budget
        rechecked |= {result.object_id for result in done.results}
        world.clock.advance(3600)

    assert rechecked == ids
    dates = [world.record(made).rechecked_at for made in ids]
    assert all(date and date >= began for date in dates)


def test_no_object_comes_up_again_in_its_turn_within_a_week(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recheck_objects, "SAMPLE_SHARE", 0)
    world = World()
    stored(world, checksum=Algorithm.SHA256)
    world.recheck()
    world.clock.advance(6 * 24 * 3600)
    assert world.recheck_objects(1000**3).read_bytes == 0

    world.clock.advance(2 * 24 * 3600)
    assert world.recheck_objects(1000**3).read_bytes == len(BODY)


def test_random_sample_reads_what_was_read_a_moment_ago() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    world.clock.advance(60)

    done = world.recheck_objects(100 * len(BODY))

    assert [result.object_id for result in done.results] == [made]


def test_object_too_large_to_read_is_compared_by_its_stored_checksum_and_keeps_its_date() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    world.recheck_objects = replace(world.recheck_objects, read_seconds=0)

    done = world.recheck()
    assert [result.outcome for result in done.results] == [Outcome.TOO_LARGE]
    assert done.read_bytes == 0
    assert world.record(made).rechecked_at is None

    world.store.damage(placed(world, made))
    assert world.recheck().count(Outcome.CONVICTED) == 1


def test_one_objects_trouble_does_not_keep_the_others_from_being_read() -> None:
    world = World()
    ids = [stored(world, any_dicom_body(), checksum=Algorithm.SHA256) for _ in range(3)]
    whole = world.store.chunks
    poison = placed(world, ids[0])

    def chunks(location: Location, size: int) -> Any:
        if location == poison:
            raise Trouble("its key was disabled")
        return whole(location, size)

    world.store.chunks = chunks  # type: ignore[method-assign]
    done = world.recheck()

    assert [made for made, _ in done.failures] == [ids[0]]
    assert {result.object_id for result in done.results} == set(ids[1:])
    assert world.record(ids[0]).rechecked_at is None


def flipped(world: World, made: str) -> None:
    world.store.damage(placed(world, made))


def flipped_with_replica(world: World, made: str) -> None:
    replicate(world, made)
    flipped(world, made)


def lost(world: World, made: str) -> None:
    world.store.expire(placed(world, made))


def lost_with_replica(world: World, made: str) -> None:
    replicate(world, made)
    lost(world, made)


def untouched(_: World, __: str) -> None:
    pass


def told(harm: Callable[[World, str], None], fail_at: int, *, after: bool) -> tuple[World, str]:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    harm(world, made)
    # Counted from here: only what the recheck does may crash.
    world.effects.calls.clear()
    world.effects.fail_at, world.effects.after = fail_at, after
    world.recheck()
    world.recheck(days=0.1)
    world.run()
    return world, made


def end(world: World, made: str) -> object:
    record = world.record(made)
    place = placed(world, made)
    versions = world.store.versions[place.bucket, place.key]
    return (
        record.state,
        record.finding.code if record.finding else "",
        [warning.code for warning in record.warnings],
        record.placed,
        {name: version.tags for name, version in versions.items()},
        world.dead_letters,
    )


@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
@pytest.mark.parametrize(
    "harm", [untouched, flipped, flipped_with_replica, lost, lost_with_replica]
)
def test_crash_anywhere_in_a_recheck_ends_as_if_nothing_had_happened(
    harm: Callable[[World, str], None], after: bool
) -> None:
    calm, made = told(harm, 0, after=after)
    calls = list(calm.effects.calls)

    for fail_at in range(1, len(calls) + 1):
        world, _ = told(harm, fail_at, after=after)
        assert end(world, made) == end(calm, made), f"call {fail_at}: {calls[fail_at - 1]}"


def test_rechecks_show_in_the_feed_as_updates_once_each() -> None:
    world = World()
    made = stored(world, checksum=Algorithm.SHA256)
    before = len(world.feed.published)

    world.recheck()

    told_of = [event.detail_type.value for event in world.feed.published[before:]]
    assert told_of == ["ObjectUpdated"]
    assert world.record(made).changed_at - world.record(made).state_since > timedelta(days=7)
