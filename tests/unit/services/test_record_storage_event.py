"""What storage or a person did to versions: events wake, storage decides, nothing goes unsaid."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.domain.findings import Owner, ReasonCode
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.classes import ObjectClass, Removal, Retention
from forebay.domain.states import State
from forebay.errors import MessageError, ObjectMissingError
from forebay.events import ObjectCreated, StorageChanged, StorageKind
from forebay.names import Step, Tag, Zone
from forebay.services.record_storage_event import Heard
from tests.unit.fakes import (
    BUCKETS,
    any_class,
    any_dicom_body,
    any_policy,
    any_reads_body,
    location_of,
)
from tests.unit.world import Message, World

IMAGING = BUCKETS[Zone.LANDING_IMAGING]
READS = "site-a/run1/NA12878_S1_L001_R1_001.fastq.gz"


def gone(location: Location, kind: StorageKind = StorageKind.REMOVED) -> StorageChanged:
    return StorageChanged(kind, location.bucket, location.key, location.version_id, "")


def code(record: ObjectRecord) -> ReasonCode:
    assert record.finding
    return record.finding.code


def placed(world: World) -> tuple[str, Location]:
    made = world.image(any_dicom_body())
    world.run()
    copy = world.record(made).placed
    assert copy
    return made, copy


# Landing


def test_upload_deleted_before_it_was_judged_is_the_senders_to_send_again() -> None:
    world = World()
    made = world.received(lambda: world.image(any_dicom_body()))

    world.removed(world.record(made).location)
    world.run()

    record = world.record(made)
    assert record.state is State.DELETED
    assert (code(record), record.finding and record.finding.owner) == (
        ReasonCode.SOURCE_DELETED,
        Owner.SENDER,
    )
    assert not world.dead_letters


def test_reads_deleted_while_they_wait_for_their_digest_are_deleted() -> None:
    world = World()
    made = world.genomics(READS, any_reads_body())
    world.run()
    assert world.state(made) is State.AWAITING_DIGEST

    world.removed(world.record(made).location)
    world.run()

    assert world.state(made) is State.DELETED


def test_upload_that_lifecycle_removed_unjudged_is_the_platforms_fault() -> None:
    world = World()
    made = world.received(lambda: world.image(any_dicom_body()))

    world.removed(world.record(made).location, by_lifecycle=True)
    world.run()

    record = world.record(made)
    assert (record.state, code(record)) == (State.DELETED, ReasonCode.DELETED_OUTSIDE_POLICY)


def test_settled_arrival_expires_without_a_word() -> None:
    world = World()
    made, _ = placed(world)
    before = world.record(made)

    world.removed(before.location, by_lifecycle=True)
    world.run()

    assert world.record(made) == before
    assert not world.dead_letters


@pytest.mark.parametrize("body", [b"no dicom", any_dicom_body()])
def test_event_that_calls_deleted_what_is_there_changes_nothing(body: bytes) -> None:
    world = World()
    made = world.received(lambda: world.image(body))

    heard, _ = world.record_storage_event(gone(world.record(made).location))

    assert heard is Heard.NOTHING_LOST
    assert world.state(made) is State.RECEIVED


def test_deletion_of_a_version_nobody_knows_is_no_arrival() -> None:
    """A removed delete marker cannot be told from a removed arrival."""
    world = World()

    heard, ids = world.record_storage_event(gone(Location(IMAGING, "site-a/x", "marker")))

    assert (heard, ids) == (Heard.NOTHING_LOST, "")
    assert not world.catalog.records


def test_upload_deleted_before_anybody_saw_it_has_its_outcome() -> None:
    world = World()
    made = world.image(any_dicom_body())
    event = world.queue[0].event
    assert isinstance(event, ObjectCreated)

    world.removed(location_of(event))
    world.queue.rotate(1)  # the deletion is told first
    world.run()

    record = world.record(made)
    assert (record.state, record.version, code(record)) == (
        State.DELETED,
        1,
        ReasonCode.SOURCE_DELETED,
    )
    assert (record.site, record.size_bytes, record.sequencer) == (
        "site-a",
        event.size_bytes,
        event.sequencer,
    )
    assert not world.dead_letters
    assert world.feed.published[0].detail_type == "ObjectDeleted"


def test_late_event_of_a_deleted_object_resurrects_nothing() -> None:
    world = World()
    event = world.store.upload(IMAGING, "site-a/x.dcm", any_dicom_body())
    made = world.register_object(event).object_id
    world.removed(location_of(event))
    world.run()
    record = world.record(made)

    for redelivered in (False, True):
        assert not world.register_object(event, redelivered=redelivered).is_new

    assert world.record(made) == record


def test_first_delivery_gives_storage_a_second_chance() -> None:
    world = World()
    event = world.store.upload(IMAGING, "site-a/x.dcm", any_dicom_body())
    world.store.expire(location_of(event))

    with pytest.raises(ObjectMissingError):
        world.register_object(event)

    assert not world.catalog.records


def test_verified_upload_deleted_before_its_copy_is_deleted_not_a_dead_letter() -> None:
    world = World()
    made = world.received(lambda: world.image(any_dicom_body()))
    world.inspect_dicom(made)

    world.removed(world.record(made).location)
    world.run()

    record = world.record(made)
    assert (record.state, code(record)) == (State.DELETED, ReasonCode.SOURCE_DELETED)
    assert not world.dead_letters


def test_verified_upload_deleted_after_its_copy_is_placed() -> None:
    world = World()
    made = world.received(lambda: world.image(any_dicom_body()))
    world.inspect_dicom(made)
    location = world.record(made).location

    def worker_dies() -> None:
        raise ObjectMissingError("died between copy and record")

    world.catalog.before_next_write.append(worker_dies)
    with pytest.raises(ObjectMissingError):
        world.place_object(made)
    world.removed(location)
    world.relay()
    for message in world.queue:
        message.receives = 1
    world.run()

    record = world.record(made)
    assert record.state is State.PLACED
    assert record.placed
    assert world.store.tags(record.placed)[Tag.VERDICT] == "verified"


def test_refused_upload_deleted_before_it_was_held_keeps_why_it_was_refused() -> None:
    world = World()
    made = world.received(lambda: world.image(b"no dicom"))
    world.inspect_dicom(made)

    world.removed(world.record(made).location)
    world.run()

    record = world.record(made)
    assert (record.state, code(record)) == (State.DELETED, ReasonCode.SOURCE_DELETED)
    assert [warning.code for warning in record.warnings] == [ReasonCode.NOT_DICOM]
    assert not world.dead_letters


def test_duplicate_deleted_before_it_was_settled_stays_a_duplicate() -> None:
    world = World()
    body = any_dicom_body()
    world.image(body)
    world.run()
    again = world.received(lambda: world.image(body, "site-a/again"))
    world.inspect_dicom(again)

    world.removed(world.record(again).location)
    world.run()

    assert world.state(again) is State.DUPLICATE
    assert not world.dead_letters


def test_overwritten_version_keeps_its_own_record_and_outcome() -> None:
    world = World()
    first = world.received(lambda: world.image(any_dicom_body(), "site-a/x"))
    second = world.image(any_dicom_body(), "site-a/x")

    world.run()

    assert [world.state(made) for made in (first, second)] == [State.PLACED, State.PLACED]


# Versions that events do not name


def test_event_without_version_registers_every_version_of_its_key_once() -> None:
    """MiniStack's events name no version: by the time one is read, another may be the latest."""
    world = World()
    one = world.store.upload(IMAGING, "site-a/x", any_dicom_body())
    two = world.store.upload(IMAGING, "site-a/x", any_dicom_body())
    events = [
        replace(event, version_id="", etag=world.store.head(location_of(event)).etag)
        for event in (one, two)
    ]

    assert world.register_object(events[1]).is_new
    assert not world.register_object(events[0]).is_new

    sequencers = {r.location.version_id: r.sequencer for r in world.catalog.records.values()}
    assert sequencers == {one.version_id: "", two.version_id: two.sequencer}


def test_event_without_version_of_what_is_gone_is_known_or_recorded_as_deleted() -> None:
    world = World()
    event = world.store.upload(IMAGING, "site-a/x", any_dicom_body())
    known = world.register_object(event).object_id
    world.store.expire(location_of(event))
    unknown = replace(event, key="site-a/y", version_id="")

    again = world.register_object(replace(event, version_id=""), redelivered=True)
    new = world.register_object(unknown, redelivered=True)

    assert (again.object_id, again.is_new) == (known, False)
    assert world.state(new.object_id) is State.DELETED


def test_deletion_without_version_is_found_by_asking_storage_for_each() -> None:
    world = World()
    one = world.received(lambda: world.image(any_dicom_body(), "site-a/x"))
    two = world.received(lambda: world.image(any_dicom_body(), "site-a/x"))
    location = world.record(one).location
    world.store.expire(location)

    heard, ids = world.record_storage_event(gone(replace(location, version_id="")))

    assert (heard, ids) == (Heard.DELETED, one)
    assert world.state(two) is State.RECEIVED


def test_null_version_is_refused_since_nobody_can_pin_its_bytes() -> None:
    world = World()
    event = world.store.upload_unversioned(IMAGING, "site-a/x", any_dicom_body())
    world.tell(event)

    world.run()

    (record,) = world.catalog.records.values()
    assert (record.state, code(record)) == (State.QUARANTINED, ReasonCode.UNVERSIONED_OBJECT)
    assert record.held
    assert not world.dead_letters


def test_overwritten_null_version_has_a_record_and_an_outcome_of_its_own() -> None:
    world = World()
    first = world.store.upload_unversioned(IMAGING, "site-a/x", any_dicom_body())
    made = world.register_object(first).object_id
    second = world.store.upload_unversioned(IMAGING, "site-a/x", any_dicom_body())
    unseen = world.store.upload_unversioned(IMAGING, "site-a/x", any_dicom_body())
    third = world.store.upload_unversioned(IMAGING, "site-a/x", any_dicom_body())

    for event in (third, second, unseen, first, third):
        world.tell(event)
    world.run()

    states = {r.etag: r.state for r in world.catalog.records.values()}
    assert states == {
        first.etag: State.DELETED,
        second.etag: State.DELETED,
        unseen.etag: State.DELETED,
        third.etag: State.QUARANTINED,
    }
    assert code(world.record(made)) is ReasonCode.SOURCE_DELETED
    assert not world.dead_letters


# Zones


@pytest.mark.parametrize("by_lifecycle", [True, False])
def test_stored_copy_that_is_gone_is_expired_or_deleted_outside_policy(by_lifecycle: bool) -> None:
    world = World()
    world.classifier.policy = any_policy(**{"clinical-hot": expiring()})
    made, copy = placed(world)

    world.removed(copy, by_lifecycle=by_lifecycle)
    world.run()

    record = world.record(made)
    if by_lifecycle:
        assert (record.state, record.finding) == (State.EXPIRED, None)
    else:
        assert (record.state, code(record)) == (State.DELETED, ReasonCode.DELETED_OUTSIDE_POLICY)
        assert record.finding
        assert record.finding.owner is Owner.PLATFORM


def expiring() -> ObjectClass:
    """Return a class whose objects lifecycle may remove."""
    return any_class("clinical-hot", retention=Retention("short", 0, 30, Removal.EXPIRE))


@pytest.mark.parametrize("was_judged", [True, False])
def test_expiry_of_what_policy_kept_is_a_deletion_outside_policy(was_judged: bool) -> None:
    world = World()
    made, copy = placed(world)
    if not was_judged:
        world.catalog.records[made] = replace(world.record(made), policy=None)

    world.removed(copy, by_lifecycle=True)
    world.run()

    record = world.record(made)
    if was_judged:
        assert (record.state, code(record)) == (State.DELETED, ReasonCode.DELETED_OUTSIDE_POLICY)
    else:
        assert (record.state, record.finding) == (State.EXPIRED, None)


def test_event_of_a_copy_that_is_there_or_not_counted_on_changes_nothing() -> None:
    world = World()
    made, copy = placed(world)
    before = world.record(made)

    for said in (copy, replace(copy, version_id="v9"), replace(copy, key="dicom/none")):
        assert world.record_storage_event(gone(said)) == (Heard.NOTHING_LOST, "")

    assert world.record(made) == before


def test_deletion_that_nobody_allowed_has_an_outcome_of_its_own_to_alarm_on() -> None:
    world = World()
    made, copy = placed(world)
    world.store.expire(copy)

    assert world.record_storage_event(gone(copy)) == (Heard.DELETED_OUTSIDE_POLICY, made)
    assert Heard.DELETED_OUTSIDE_POLICY.value == "deleted outside policy"


def test_held_copy_that_is_deleted_is_said() -> None:
    world = World()
    made = world.image(b"no dicom")
    world.run()
    held = world.record(made).held
    assert held

    world.removed(held)
    world.run()

    record = world.record(made)
    assert (record.state, code(record)) == (State.DELETED, ReasonCode.DELETED_OUTSIDE_POLICY)
    assert [warning.code for warning in record.warnings] == [ReasonCode.NOT_DICOM]


def test_deleting_twice_is_deleting_once() -> None:
    world = World()
    made, copy = placed(world)
    world.removed(copy)
    world.run()
    record = world.record(made)

    assert world.record_storage_event(gone(copy, StorageKind.EXPIRED))[0] is Heard.NOTHING_LOST
    assert world.record(made) == record


def test_identity_of_what_was_deleted_is_free_again() -> None:
    world = World()
    body = any_dicom_body()
    world.image(body)
    world.run()
    (first,) = world.catalog.records.values()
    assert first.placed
    world.removed(first.placed)
    world.run()

    again = world.image(body, "site-a/again")
    world.run()

    assert world.state(again) is State.PLACED


def at(copy: Location, kind: StorageKind, time: str, **said: str) -> StorageChanged:
    return StorageChanged(kind, copy.bucket, copy.key, copy.version_id, time, **said)


def test_tiers_and_restores_are_facts_and_the_latest_counts_in_any_order() -> None:
    world = World()
    made, copy = placed(world)
    events = [
        at(copy, StorageKind.STORAGE_CLASS_CHANGED, "2026-03-01T00:00:00Z", tier="STANDARD_IA"),
        at(copy, StorageKind.STORAGE_CLASS_CHANGED, "2026-06-01T00:00:00Z", tier="GLACIER"),
        at(copy, StorageKind.RESTORE_STARTED, "2026-07-01T00:00:00Z"),
        at(copy, StorageKind.RESTORED, "2026-07-01T00:00:00Z", until="2026-07-08T00:00:00Z"),
    ]
    expected = {
        "storage_class": {"value": "GLACIER", "at": "2026-06-01T00:00:00Z"},
        "restore": {
            "value": "restored",
            "at": "2026-07-01T00:00:00Z",
            "until": "2026-07-08T00:00:00Z",
        },
    }

    for event in (*events, *reversed(events), *events):
        world.record_storage_event(event)

    record = world.record(made)
    assert record.state is State.PLACED
    assert record.metadata["storage"] == expected
    world.run()
    assert set(world.deliveries) == {
        Step.REGISTER_OBJECT,
        Step.INSPECT_DICOM,
        Step.PLACE_OBJECT,
    }


def test_same_fact_twice_is_no_change() -> None:
    world = World()
    made, copy = placed(world)
    event = at(copy, StorageKind.ACCESS_TIER_CHANGED, "2026-03-01T00:00:00Z", tier="ARCHIVE_ACCESS")

    assert world.record_storage_event(event) == (Heard.AMENDED, made)
    version = world.record(made).version
    assert world.record_storage_event(event) == (Heard.NOTHING_LOST, "")
    assert world.record(made).version == version


def test_bucket_of_nobody_is_a_message_error() -> None:
    with pytest.raises(MessageError, match="no zone"):
        World().record_storage_event(gone(Location("elsewhere", "x", "v1")))


# Keys


@settings(max_examples=200, deadline=None)
@given(
    st.text(
        alphabet=st.characters(codec="utf-8"),
        min_size=1,
        max_size=60,
    ).filter(lambda key: len(key.encode()) <= 1024),
    st.sampled_from([Zone.LANDING_IMAGING, Zone.LANDING_GENOMICS]),
    st.sampled_from([any_dicom_body(), any_reads_body(), b"x"]),
)
def test_key_of_any_bytes_has_one_outcome_and_chooses_no_place(
    key: str, zone: Zone, body: bytes
) -> None:
    world = World(needs_sender_digest=False)
    made = world.upload(zone, key, body)
    queued = world.queue[0].event
    world.queue.append(Message(Step.REGISTER_OBJECT, queued))

    world.run()

    assert not world.dead_letters
    (record,) = world.catalog.records.values()
    assert record.object_id == made
    assert record.state in {State.PLACED, State.QUARANTINED, State.IGNORED}
    for bucket in set(BUCKETS.values()) - {IMAGING, BUCKETS[Zone.LANDING_GENOMICS]}:
        for written in world.store.keys(bucket):
            assert all(c.isascii() and (c.isalnum() or c in "/._+=@,-") for c in written)
            assert ".." not in written.split("/")
