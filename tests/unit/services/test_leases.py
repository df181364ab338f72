"""Long work is done by one delivery at a time, and never lost with its worker."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from forebay.domain.integrity import Algorithm
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State
from forebay.errors import Trouble
from forebay.names import Step, Zone
from forebay.services.inspecting import Result
from forebay.services.leasing import MARGIN_SECONDS, Delivery
from forebay.services.ports import Change, Lease
from tests.unit.fakes import BUCKETS, any_dicom_body, any_finding, any_reads_body, checksum_of
from tests.unit.world import WORKER_SECONDS, World

READS = "site-a/run1/NA12878_S1_L001_R1_001.fastq.gz"
FIRST = Delivery("first", WORKER_SECONDS)
SECOND = Delivery("second", WORKER_SECONDS)
_GENOMICS = BUCKETS[Zone.GENOMICS]


@pytest.fixture
def world() -> World:
    """Give a world in which everything is large."""
    return World(needs_sender_digest=False, lease_above_bytes=0)


def received(world: World, body: bytes = b"") -> str:
    return world.received(lambda: world.genomics(READS, body or any_reads_body()))


def verified(world: World) -> str:
    made = received(world)
    world.inspect_genomics(made)
    assert world.state(made) is State.VERIFIED
    return made


def lease_on(record: ObjectRecord, world: World, **fields: Any) -> Lease:
    facts: dict[str, Any] = {
        "object_id": record.object_id,
        "record_version": record.version,
        "step": Step.INSPECT_GENOMICS,
        "holder": "first",
        "until": world.clock.now() + timedelta(seconds=WORKER_SECONDS),
    }
    return Lease(**facts | fields)


def during(world: World, happens: Callable[[], None]) -> None:
    """Let something happen while a step is at work, before it writes."""
    world.catalog.before_next_write.append(happens)


def test_worker_holds_a_lease_while_it_works_and_ends_it_when_done(world: World) -> None:
    made = received(world)
    seen: list[Lease] = []
    start = world.clock.now()
    during(world, lambda: seen.extend(world.catalog.leases.values()))

    assert world.inspect_genomics(made, delivery=FIRST) is Result.VERIFIED

    (lease,) = seen
    assert (lease.object_id, lease.record_version) == (made, 1)
    assert (lease.step, lease.holder) == (Step.INSPECT_GENOMICS, "first")
    assert lease.until == start + timedelta(seconds=WORKER_SECONDS + MARGIN_SECONDS)
    assert not world.catalog.leases


def test_lease_ends_with_bad_input_too(world: World) -> None:
    made = received(world, b"no reads")

    assert world.inspect_genomics(made, delivery=FIRST) is Result.QUARANTINED

    assert not world.catalog.leases


def test_second_delivery_leaves_a_large_object_to_the_first(world: World) -> None:
    made = received(world)
    results: list[Result] = []
    during(world, lambda: results.append(world.inspect_genomics(made, delivery=SECOND)))

    assert world.inspect_genomics(made, delivery=FIRST) is Result.VERIFIED

    assert results == [Result.IN_PROGRESS]
    assert world.store.bytes_read[world.record(made).location] == world.record(made).size_bytes


def test_message_that_comes_again_finds_its_own_lease(world: World) -> None:
    made = received(world)
    world.catalog.take_lease(lease_on(world.record(made), world), world.clock.now())

    assert world.inspect_genomics(made, delivery=FIRST) is Result.VERIFIED


def test_lease_of_a_dead_worker_ends_by_itself(world: World) -> None:
    made = received(world)
    world.catalog.take_lease(lease_on(world.record(made), world), world.clock.now())
    assert world.inspect_genomics(made, delivery=SECOND) is Result.IN_PROGRESS

    world.clock.advance(WORKER_SECONDS)

    assert world.inspect_genomics(made, delivery=SECOND) is Result.VERIFIED


def test_lease_on_an_earlier_record_is_void(world: World) -> None:
    made = received(world)
    record = world.record(made)
    world.catalog.take_lease(lease_on(record, world), world.clock.now())
    world.catalog.apply(Change(record, record.amended(world.clock.now(), source_system="x")))

    assert world.inspect_genomics(made, delivery=SECOND) is Result.VERIFIED


def test_crash_leaves_the_lease_and_the_next_delivery_does_the_work(world: World) -> None:
    made = received(world)
    calls = len(world.effects.calls)
    world.effects.fail_at = calls + world_call(made, "chunks")

    with pytest.raises(Trouble):
        world.inspect_genomics(made, delivery=FIRST)
    assert [lease.holder for lease in world.catalog.leases.values()] == ["first"]

    assert world.inspect_genomics(made, delivery=FIRST) is Result.VERIFIED
    assert not world.catalog.leases


def test_small_object_takes_no_lease() -> None:
    world = World(needs_sender_digest=False)
    made = received(world)

    world.inspect_genomics(made, delivery=FIRST)
    world.place_object(made, delivery=FIRST)

    assert world.state(made) is State.PLACED
    assert not {"take_lease", "end_lease", "get_lease"} & set(world.effects.calls)


def test_header_of_an_image_is_no_long_work(world: World) -> None:
    made = world.received(lambda: world.image(any_dicom_body()))

    world.inspect_dicom(made)

    assert "take_lease" not in world.effects.calls


def test_second_delivery_leaves_a_copy_in_parts_to_the_first(world: World) -> None:
    made = verified(world)
    states: list[State | None] = []
    world.store.before_next_copy.append(
        lambda: states.append(world.place_object(made, delivery=SECOND))
    )

    assert world.place_object(made, delivery=FIRST) is State.PLACED

    assert states == [None]
    assert copies(world) == 1
    assert not world.catalog.leases


def test_conviction_during_a_long_copy_is_not_held_up_by_its_lease(world: World) -> None:
    made = verified(world)

    def convict() -> None:
        record = world.record(made)
        after = record.moved_to(State.QUARANTINED, world.clock.now(), finding=any_finding())
        world.catalog.apply(Change(record, after))
        assert world.place_object(made, delivery=SECOND) is State.QUARANTINED

    world.store.before_next_copy.append(convict)
    with pytest.raises(Trouble):
        world.place_object(made, delivery=FIRST)

    assert world.record(made).held


def test_what_needs_no_copy_takes_no_lease(world: World) -> None:
    made = verified(world)
    world.place_object(made)
    world.effects.calls.clear()

    assert world.place_object(made, delivery=FIRST, redelivered=True) is State.PLACED

    assert "take_lease" not in world.effects.calls


@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
def test_crash_at_every_effect_under_leases_ends_as_if_nothing_happened(after: bool) -> None:
    body, key = any_reads_body(), f"{READS}.md5"

    def told(fail_at: int) -> World:
        world = World(lease_above_bytes=0)
        world.effects.fail_at, world.effects.after = fail_at, after
        made = world.genomics(READS, body)
        world.genomics(key, checksum_of(Algorithm.MD5, body).encode())
        world.run()
        assert world.state(made) is State.PLACED, world.effects.calls[fail_at - 1]
        assert not world.dead_letters
        return world

    calm = told(0)
    assert "take_lease" in calm.effects.calls
    for fail_at in range(1, len(calm.effects.calls) + 1):
        told(fail_at)


def world_call(made: str, name: str) -> int:
    """Return the number, from 1, of the first such call of an undisturbed inspection."""
    calm = World(needs_sender_digest=False, lease_above_bytes=0)
    twin = received(calm)
    assert twin == made
    calm.effects.calls.clear()
    calm.inspect_genomics(twin, delivery=FIRST)
    return calm.effects.calls.index(name) + 1


def copies(world: World) -> int:
    stored = world.store.versions.items()
    return sum(len(versions) for (bucket, _), versions in stored if bucket == _GENOMICS)
