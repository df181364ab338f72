"""place_object: only an equal copy counts, and every part of it may run again."""

from typing import Any

import pytest

from forebay.domain.findings import ReasonCode
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State
from forebay.errors import CopyMismatchError, ObjectMissingError, StaleRecordError, Trouble
from forebay.names import LANDING_SETTLED, Tag, Zone
from tests.unit.fakes import (
    BUCKETS,
    NOON,
    any_dicom_body,
    any_finding,
    any_hex,
    any_reads_body,
    any_uid,
)
from tests.unit.world import World


def verified(world: World, body: bytes = b"", **how: Any) -> str:
    made = world.received(lambda: world.image(body or any_dicom_body(), **how))
    world.inspect_dicom(made)
    assert world.state(made) is State.VERIFIED
    return made


def copies_of(world: World, record: ObjectRecord, zone: Zone = Zone.CLINICAL) -> int:
    found = [v for (b, _), v in world.store.versions.items() if b == BUCKETS[zone]]
    return sum(
        version.metadata.get("forebay-object-id") == record.object_id
        for versions in found
        for version in versions.values()
    )


def clinical_verdicts(world: World) -> list[str]:
    return [
        version.tags[Tag.VERDICT]
        for (bucket, _), versions in world.store.versions.items()
        if bucket == BUCKETS[Zone.CLINICAL]
        for version in versions.values()
    ]


def test_instance_whose_uid_has_a_leading_zero_is_placed_under_it() -> None:
    world = World()
    made = verified(world, any_dicom_body(sop_instance_uid="1.2.034.5"))

    assert world.place_object(made) is State.PLACED
    placed = world.record(made).placed
    assert placed
    assert placed.key.endswith("/1.2.034.5.dcm")


def test_verified_instance_is_copied_to_its_zone_tagged_and_its_landing_copy_settled() -> None:
    world = World()
    study, series, sop = any_uid(), any_uid(), any_uid()
    body = any_dicom_body(
        study_instance_uid=study, series_instance_uid=series, sop_instance_uid=sop
    )
    made = verified(world, body)

    assert world.place_object(made) is State.PLACED

    record = world.record(made)
    assert record.placed
    assert record.placed.bucket == BUCKETS[Zone.CLINICAL]
    assert record.placed.key == f"dicom/{study}/{series}/{sop}.dcm"
    assert world.store.body(record.placed) == body
    assert record.object_class == "clinical-hot"
    assert record.class_rule == "rule for dicom"
    assert record.retention_class == "clinical-hot-5y"
    assert world.store.tags(record.placed) == {
        Tag.OBJECT_ID: made,
        Tag.CLASS: "clinical-hot",
        Tag.RETENTION: "clinical-hot-5y",
        Tag.VERDICT: "verified",
        Tag.TIERING: "none",
        Tag.REMOVAL: "none",
        Tag.REPLICATE: "none",
    }
    assert world.store.tags(record.location) == {Tag.LANDING: LANDING_SETTLED}


def test_senders_metadata_does_not_follow_into_the_zone() -> None:
    world = World()
    made = verified(world, metadata={"patient": "Doe^Jane"})

    world.place_object(made)

    placed = world.record(made).placed
    assert placed
    assert world.store.head(placed).metadata == {"forebay-object-id": made}


def test_copy_with_another_checksum_does_not_count() -> None:
    world = World()
    made = verified(world)
    before = world.record(made)
    world.store.corrupts_copies = 1

    with pytest.raises(CopyMismatchError):
        world.place_object(made)

    assert world.record(made) == before
    assert not world.store.tags(before.location)


def test_corrupt_copy_is_made_again_at_redelivery_and_not_mistaken_for_an_earlier_one() -> None:
    world = World()
    made = verified(world)
    world.store.corrupts_copies = 1
    with pytest.raises(CopyMismatchError):
        world.place_object(made)

    assert world.place_object(made, redelivered=True) is State.PLACED

    record = world.record(made)
    assert record.placed
    assert world.store.body(record.placed) == world.store.body(record.location)


@pytest.mark.parametrize("checksum", [Algorithm.CRC64NVME, Algorithm.CRC32, Algorithm.SHA256])
def test_corrupt_copy_is_seen_by_any_checksum(checksum: Algorithm) -> None:
    world = World()
    made = verified(world, checksum=checksum)
    world.store.corrupts_copies = 1

    with pytest.raises(CopyMismatchError):
        world.place_object(made)


def test_copy_that_storage_gave_no_checksum_does_not_count() -> None:
    world = World()
    made = verified(world)
    copy = world.store.copy

    def without_checksum(*args: object, **kwargs: object) -> object:
        made = copy(*args, **kwargs)  # type: ignore[arg-type]
        return made.__class__(made.location, made.size_bytes)

    world.store.copy = without_checksum  # type: ignore[method-assign,assignment]

    with pytest.raises(CopyMismatchError):
        world.place_object(made)


def test_crash_between_copy_and_record_reuses_the_copy_at_redelivery() -> None:
    world = World()
    made = verified(world)
    world.effects.calls.clear()
    world.effects.fail_at = 3  # get, copy, apply

    with pytest.raises(Exception, match="apply failed on purpose"):
        world.place_object(made)
    assert world.state(made) is State.VERIFIED
    world.place_object(made, redelivered=True)

    assert world.state(made) is State.PLACED
    assert copies_of(world, world.record(made)) == 1


def test_crash_between_record_and_tag_is_mended_at_redelivery() -> None:
    world = World()
    made = verified(world)
    world.effects.calls.clear()
    world.effects.fail_at = 4

    with pytest.raises(Exception, match="add_tags failed on purpose"):
        world.place_object(made)
    assert world.place_object(made, redelivered=True) is State.PLACED

    assert world.store.tags(world.record(made).location) == {Tag.LANDING: LANDING_SETTLED}
    assert copies_of(world, world.record(made)) == 1


def test_copy_of_another_object_under_the_same_key_is_not_reused() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    first = world.genomics("site-a/run1/NA1_R1.fastq.gz", body)
    world.run()
    world.genomics("site-a/run1/NA1_R1.fastq.gz.md5", any_hex(32).encode())
    world.run()
    again = world.received(lambda: world.genomics("site-a/resent/NA1_R1.fastq.gz", body))
    world.inspect_genomics(again)

    world.place_object(again, redelivered=True)

    placed, withdrawn = world.record(again).placed, world.record(first).placed
    assert placed
    assert withdrawn
    assert placed.key == withdrawn.key
    assert placed.version_id != withdrawn.version_id
    assert world.store.tags(placed)[Tag.VERDICT] == "verified"
    assert world.store.tags(withdrawn)[Tag.VERDICT] == "refused"


def test_quarantined_object_is_kept_under_its_reason_with_the_reason_as_tag() -> None:
    world = World()
    made = world.received(lambda: world.image(b"no dicom at all"))
    world.inspect_dicom(made)

    assert world.place_object(made) is State.QUARANTINED

    record = world.record(made)
    assert record.held
    assert record.held.bucket == BUCKETS[Zone.QUARANTINE]
    assert record.held.key == f"NOT_DICOM/{made}"
    assert record.placed is None
    assert world.store.tags(record.held) == {
        Tag.OBJECT_ID: made,
        Tag.VERDICT: "refused",
        Tag.REASON: ReasonCode.NOT_DICOM,
    }
    assert world.store.tags(record.location) == {Tag.LANDING: LANDING_SETTLED}


def test_quarantined_object_is_held_once_however_often_it_is_told() -> None:
    world = World()
    made = world.image(b"no dicom at all")
    world.run()
    before = world.record(made)

    assert world.place_object(made) is State.QUARANTINED
    assert world.place_object(made, redelivered=True) is State.QUARANTINED

    assert world.record(made) == before
    assert copies_of(world, before, Zone.QUARANTINE) == 1


def test_empty_object_is_held_too() -> None:
    world = World()
    made = world.image(b"")

    world.run()

    assert world.record(made).held
    assert not world.dead_letters


def test_duplicate_is_settled_without_a_copy() -> None:
    world = World()
    body = any_dicom_body()
    world.image(body)
    world.run()
    again = world.image(body)
    world.run()

    record = world.record(again)
    assert record.state is State.DUPLICATE
    assert record.held is None
    assert copies_of(world, record) == 0
    assert world.store.tags(record.location) == {Tag.LANDING: LANDING_SETTLED}


def duplicate_of_unplaced(world: World) -> tuple[str, str]:
    body = any_dicom_body()
    original = verified(world, body)
    again = world.received(lambda: world.image(body))
    world.inspect_dicom(again)
    assert world.state(again) is State.DUPLICATE
    return original, again


def is_settled(world: World, made: str) -> bool:
    return world.store.tags(world.record(made).location).get(Tag.LANDING) == LANDING_SETTLED


def test_duplicate_is_not_settled_before_its_original_has_a_copy() -> None:
    world = World()
    original, again = duplicate_of_unplaced(world)

    assert world.place_object(again) is State.DUPLICATE
    assert not is_settled(world, again)

    world.place_object(original)
    world.sweep(minutes=61)

    assert is_settled(world, again)
    assert world.record(again).redrives == 0
    assert not world.dead_letters


def test_duplicate_of_what_its_sender_took_back_before_it_was_copied_takes_its_place() -> None:
    world = World()
    original, again = duplicate_of_unplaced(world)
    world.place_object(again)
    world.removed(world.record(original).location)

    world.run()
    world.sweep(minutes=61)

    placed = world.record(again)
    assert world.state(original) is State.DELETED
    assert placed.state is State.PLACED
    assert (placed.original_id, placed.finding) == ("", None)
    assert is_settled(world, again)
    assert world.record(original).duplicate_count == 1


def test_settled_duplicate_stays_one_when_its_original_is_lost_later() -> None:
    world = World()
    body = any_dicom_body()
    original = world.image(body)
    world.run()
    again = world.image(body)
    world.run()
    placed = world.record(original).placed
    assert placed
    world.removed(placed)
    world.run()

    assert world.state(original) is State.DELETED
    assert world.place_object(again, redelivered=True) is State.DUPLICATE


@pytest.mark.parametrize("body", [b"", b"no dicom"])
def test_refused_upload_of_which_storage_knows_no_checksum_is_held_too(body: bytes) -> None:
    world = World()
    made = world.image(body, checksum=None)

    world.run()

    held = world.record(made).held
    assert held
    assert world.store.body(held) == body
    assert not world.dead_letters


def test_object_that_is_not_judged_yet_is_left_alone() -> None:
    world = World()
    made = world.received(lambda: world.image(any_dicom_body()))

    assert world.place_object(made) is State.RECEIVED
    assert not world.store.tags(world.record(made).location)


def test_object_the_catalog_does_not_know_is_trouble() -> None:
    with pytest.raises(ObjectMissingError):
        World().place_object("nobody")


def test_record_that_moved_during_the_copy_is_not_overwritten() -> None:
    world = World()
    made = verified(world)
    moved = world.record(made).amended(NOON, source_system="other")

    def move() -> None:
        world.catalog.records[made] = moved

    world.store.before_next_copy.append(move)

    with pytest.raises(StaleRecordError):
        world.place_object(made)

    assert world.record(made) == moved


def test_conviction_during_the_copy_withdraws_the_copy_that_no_record_names() -> None:
    world = World()
    made = world.image(any_dicom_body())
    world.work_off(world.queue.popleft())
    world.inspect_dicom(made)

    def convict() -> None:
        record = world.record(made)
        after = record.moved_to(State.QUARANTINED, world.clock.now(), finding=any_finding())
        world.catalog.records[made] = after

    world.store.before_next_copy.append(convict)
    with pytest.raises(StaleRecordError):
        world.place_object(made)

    world.place_object(made)

    record = world.record(made)
    assert record.held
    assert clinical_verdicts(world) == ["refused"]


def test_worker_that_dies_before_it_disowns_its_copy_does_so_at_redelivery() -> None:
    world = World()
    made = verified(world)

    def convict_and_hold() -> None:
        record = world.record(made)
        after = record.moved_to(State.QUARANTINED, world.clock.now(), finding=any_finding())
        world.catalog.records[made] = after
        world.place_object(made)
        # copy and apply of the outer call still come; the read before it disowns fails
        world.effects.fail_at = len(world.effects.calls) + 3

    world.store.before_next_copy.append(convict_and_hold)
    with pytest.raises(Trouble, match="get failed on purpose"):
        world.place_object(made)
    assert clinical_verdicts(world) == ["verified"]

    world.place_object(made, redelivered=True)

    assert clinical_verdicts(world) == ["refused"]


def test_conviction_withdraws_the_second_copy_of_a_message_delivered_twice_at_once() -> None:
    world = World()
    made = verified(world)
    world.store.before_next_copy.append(lambda: _ignore(world.place_object(made)))
    with pytest.raises(StaleRecordError):
        world.place_object(made)
    assert copies_of(world, world.record(made)) == 2

    record = world.record(made)
    convicted = record.moved_to(State.QUARANTINED, world.clock.now(), finding=any_finding())
    world.catalog.records[made] = convicted
    world.place_object(made)

    assert clinical_verdicts(world) == ["refused", "refused"]


def test_damaged_copy_is_refused_to_readers_whoever_found_the_damage() -> None:
    world = World()
    made = world.image(any_dicom_body())
    world.run()
    damage = any_finding(code=ReasonCode.STORED_BYTES_CHANGED)
    record = world.record(made)
    world.catalog.records[made] = record.moved_to(
        State.QUARANTINED, world.clock.now(), finding=damage
    )

    world.place_object(made)

    assert clinical_verdicts(world) == ["refused"]
    assert world.record(made).held is None


def test_conflict_does_not_touch_the_copy_of_the_object_it_contradicts() -> None:
    world = World()
    same: dict[str, Any] = {"sop_instance_uid": any_uid(), "study_instance_uid": any_uid()}
    same |= {"series_instance_uid": any_uid()}
    original = world.image(any_dicom_body(**same))
    world.run()

    world.image(any_dicom_body(**same))
    world.run()

    placed = world.record(original).placed
    assert placed
    assert world.store.tags(placed)[Tag.VERDICT] == "verified"


def test_object_known_by_parts_only_is_copied_in_the_same_parts() -> None:
    """Beyond 5 GB nothing but the composite checksum is known; here the parts are small."""
    world = World()
    made = verified(world, checksum=Algorithm.SHA256, part_bytes=64)
    record = world.record(made)
    world.catalog.records[made] = ObjectRecord(
        **{f: getattr(record, f) for f in ObjectRecord.__dataclass_fields__} | {"digests": ()}
    )

    world.place_object(made)

    placed = world.record(made).placed
    assert placed
    assert world.store.head(placed).composite == record.composite_checksum


def test_parts_whose_composite_differs_do_not_count() -> None:
    world = World()
    made = verified(world, checksum=Algorithm.SHA256, part_bytes=64)
    record = world.record(made)
    world.catalog.records[made] = ObjectRecord(
        **{f: getattr(record, f) for f in ObjectRecord.__dataclass_fields__} | {"digests": ()}
    )
    world.store.corrupts_copies = 1

    with pytest.raises(CopyMismatchError):
        world.place_object(made)


def _ignore(_: object) -> None:
    """Give a callback of no result."""


def test_copy_that_does_not_count_cannot_be_read() -> None:
    world = World()
    made = verified(world)
    world.store.corrupts_copies = 1

    with pytest.raises(CopyMismatchError):
        world.place_object(made)

    assert clinical_verdicts(world) == ["refused"]


def convicted(world: World, *, checksum: Algorithm = Algorithm.SHA256) -> ObjectRecord:
    """Place an instance, and let a checksum file that came later convict it."""
    made = verified(world, checksum=checksum, key="site-a/scan.dcm")
    world.place_object(made)
    world.image(b"0" * 64, "site-a/scan.dcm.sha256")
    world.work_off(world.queue.pop())
    world.relay()
    sidecar = next(m for m in world.queue if m.event.key.endswith(".sha256"))
    world.queue.clear()
    world.work_off(sidecar)
    world.queue.clear()
    assert world.state(made) is State.QUARANTINED
    return world.record(made)


@pytest.mark.parametrize("harm", ["damaged", "deleted"])
def test_convicted_object_whose_placed_copy_is_no_good_is_held_from_its_arrival(harm: str) -> None:
    world = World()
    record = convicted(world)
    body = world.store.body(record.location)
    assert record.placed
    harmed(world, record, harm)

    world.place_object(record.object_id)

    held = world.record(record.object_id).held
    assert held
    assert world.store.body(held) == body


@pytest.mark.parametrize(
    "harm, code",
    [
        ("damaged", ReasonCode.STORED_BYTES_CHANGED),
        ("deleted", ReasonCode.STORED_BYTES_MISSING),
    ],
)
def test_convicted_object_of_which_no_whole_copy_is_left_says_so(
    harm: str, code: ReasonCode
) -> None:
    world = World()
    record = convicted(world)
    world.store.expire(record.location)
    harmed(world, record, harm)
    with pytest.raises(Trouble):
        world.place_object(record.object_id)

    world.place_object(record.object_id, redelivered=True)

    now = world.record(record.object_id)
    assert now.held is None
    assert now.finding
    assert now.finding.code is code
    assert [w.code for w in now.warnings] == [ReasonCode.DIGEST_MISMATCH]


def harmed(world: World, record: ObjectRecord, harm: str) -> None:
    assert record.placed
    (world.store.damage if harm == "damaged" else world.store.expire)(record.placed)
