"""What is disposed of is gone everywhere and proven; what is held or changed is there still."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from forebay.domain.objects import Location
from forebay.domain.policy.disposition import Obstacle, Outcome, Part, Stage, children_first
from forebay.domain.policy.exceptions import ExceptionKind, Scope, ScopeKind
from forebay.domain.states import State
from forebay.errors import Trouble
from forebay.names import Zone
from forebay.services.request_disposition import Refused, Wish
from tests.unit.disposing import ANNA, BEN, FLOOR_DAYS, POLICY, Disposal
from tests.unit.fakes import (
    BUCKETS,
    Effects,
    StoredVersion,
    any_dicom_body,
    any_reads_body,
    any_uid,
)
from tests.unit.world import World

STUDY = any_uid()
PATIENT = {"PatientID": "P1", "AccessionNumber": "A1"}


def a_study(disposal: Disposal, images: int = 1) -> list[str]:
    """Store some images of one study of one patient; return their ids."""
    made = [
        disposal.world.image(
            any_dicom_body(study_instance_uid=STUDY, subject=PATIENT), f"site-a/{number}.dcm"
        )
        for number in range(images)
    ]
    disposal.settle()
    return made


def study() -> Scope:
    return Scope(ScopeKind.STUDY, STUDY)


def person(disposal: Disposal, made: str) -> Scope:
    return Scope(ScopeKind.SUBJECT, disposal.world.record(made).subject_tokens["PatientID"])


def replicate(disposal: Disposal, made: str) -> Location:
    """Let storage replicate the placed version; return the replica."""
    placed = disposal.world.record(made).placed
    assert placed
    body = disposal.world.store.body(placed)
    key = BUCKETS[Zone.ARCHIVE], placed.key
    metadata = {"forebay-object-id": made}
    versions = disposal.world.store.versions.setdefault(key, {})
    versions[placed.version_id] = StoredVersion(body, metadata=metadata)
    return replace(placed, bucket=BUCKETS[Zone.ARCHIVE])


def certificate(disposal: Disposal, disposition_id: str) -> Any:
    """Return the payload of the certificate, after verifying its signature."""
    stored = disposal.dispositions.stored[disposition_id].certificate
    assert stored
    key = ECKey.import_key(disposal.signer.public_pem())
    data = disposal.world.store.body(stored)
    found = jws.deserialize_compact(data, key, algorithms=["ES256"])
    assert found.headers()["typ"] == "forebay-disposition+jws"
    return json.loads(found.payload)


def told_versions(told: Any) -> set[tuple[str, str]]:
    return {
        (copy["bucket"], copy["version_id"]) for each in told["removed"] for copy in each["removed"]
    }


def test_every_version_and_replica_is_removed_and_the_certificate_lists_exactly_those() -> None:
    disposal = Disposal()
    one, two = a_study(disposal, 2)
    replicas = {replicate(disposal, one), replicate(disposal, two)}
    expected = {*disposal.bytes_of(one), *disposal.bytes_of(two)}
    assert replicas < expected

    approved = disposal.approved(study())
    progress = disposal.carried_out(approved)

    assert (progress.left, progress.removed) == (0, 2)
    assert progress.disposition.stage is Stage.DONE
    assert set(disposal.vault.deleted) == expected
    assert not disposal.bytes_of(one) + disposal.bytes_of(two)
    told = certificate(disposal, approved)
    assert told_versions(told) == {(each.bucket, each.version_id) for each in expected}
    assert told["versions_removed"] == len(expected) == 6
    assert (told["requested_by"], told["approved_by"]) == (ANNA, BEN)
    assert told["kept"] == []


def test_certificate_names_the_bytes_by_digest_but_no_person_and_no_sender_key() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    record = disposal.world.record(made)
    token = record.subject_tokens["PatientID"]

    approved = disposal.approved(person(disposal, made))
    disposal.carried_out(approved)

    told = certificate(disposal, approved)
    asked = disposal.world.store.body(disposal.dispositions.stored[approved].request).decode()
    entry = told["removed"][0]
    assert entry["digests"] == [
        {"algorithm": d.algorithm.value, "value": d.value, "witness": d.witness.value}
        for d in record.evidence
    ]
    assert entry["size_bytes"] == record.size_bytes
    for text in (json.dumps(told), asked):
        assert "P1" not in text
        assert token not in text
        assert record.location.key not in text


def test_record_says_deleted_by_which_disposition_and_forgets_the_person() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    tokens = disposal.world.record(made).subject_tokens

    approved = disposal.approved(study())
    disposal.carried_out(approved)

    record = disposal.world.record(made)
    assert record.state is State.DELETED
    assert record.disposition == approved
    assert (dict(record.subject), dict(record.subject_tokens)) == ({}, {})
    assert record.finding is None
    assert record.metadata["StudyInstanceUID"] == STUDY
    assert disposal.dispositions.forgotten == {
        (STUDY, "20260301", name, token) for name, token in tokens.items()
    }
    assert not disposal.entries(approved)[made].tokens


def test_storage_event_of_the_deletion_is_no_alarm() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    placed = disposal.world.record(made).placed
    assert placed
    disposal.carried_out(disposal.approved(study()))
    before = disposal.world.record(made)

    disposal.world.store.versions[placed.bucket, placed.key]["gone"] = StoredVersion(b"")
    disposal.world.removed(replace(placed, version_id="gone"))
    disposal.world.run()

    assert disposal.world.record(made) == before


def test_one_person_cannot_ask_and_approve() -> None:
    disposal = Disposal()
    a_study(disposal)
    asked = disposal.asked(study())

    same = disposal.decide.approve(asked.disposition_id, by=ANNA.replace("user", "user/admins"))

    assert isinstance(same, Refused)
    assert "another person" in same.reason


@pytest.mark.parametrize("refused", [False, True])
def test_without_approval_nothing_is_deleted(refused: bool) -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    asked = disposal.asked(study())
    if refused:
        disposal.decide.refuse(asked.disposition_id, by=BEN, note="not ours")
        late = disposal.decide.approve(asked.disposition_id, by=BEN)
        assert isinstance(late, Refused)

    assert isinstance(disposal.dispose(asked.disposition_id), Refused)

    assert disposal.world.state(made) is State.PLACED
    assert not disposal.vault.deleted


def test_list_that_was_changed_after_approval_is_not_carried_out() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    approved = disposal.approved(study())
    place = disposal.dispositions.stored[approved].request
    version = disposal.world.store.versions[place.bucket, place.key][place.version_id]
    version.body = version.body.replace(b"consent", b"nothing")

    assert isinstance(disposal.dispose(approved), Refused)
    assert disposal.bytes_of(made)


def test_what_the_list_says_counts_whatever_the_catalog_says_after_approval() -> None:
    disposal = Disposal()
    made = disposal.world.image(any_dicom_body(study_instance_uid=STUDY))
    disposal.settle(days=FLOOR_DAYS - 1)
    approved = disposal.approved(study())
    stored = disposal.dispositions.stored
    stored[approved] = replace(stored[approved], basis="slipped in later")

    disposal.carried_out(approved)

    assert disposal.bytes_of(made)
    assert certificate(disposal, approved)["legal_basis"] == ""


def test_catalog_that_says_something_else_than_the_list_is_not_approved() -> None:
    disposal = Disposal()
    a_study(disposal)
    asked = disposal.asked(study())
    disposal.dispositions.stored[asked.disposition_id] = replace(asked, requested_by="arn:x/carl")

    assert isinstance(disposal.decide.approve(asked.disposition_id, by=BEN), Refused)


def test_list_that_was_changed_before_approval_is_not_approved() -> None:
    disposal = Disposal()
    a_study(disposal)
    asked = disposal.asked(study())
    version = disposal.world.store.versions[asked.request.bucket, asked.request.key]
    version[asked.request.version_id].body += b" "

    assert isinstance(disposal.decide.approve(asked.disposition_id, by=BEN), Refused)


@pytest.mark.parametrize(
    "kind, obstacle",
    [
        (ExceptionKind.LEGAL_HOLD, Obstacle.LEGAL_HOLD),
        (ExceptionKind.RETENTION, Obstacle.RETENTION),
        (ExceptionKind.PIN, Obstacle.PIN),
    ],
)
def test_hold_retention_and_pin_keep_an_object_and_the_certificate_says_why(
    kind: ExceptionKind, obstacle: Obstacle
) -> None:
    disposal = Disposal()
    held, free = a_study(disposal, 2)
    hold = disposal.hold(Scope(ScopeKind.OBJECT, held), kind)

    approved = disposal.approved(study(), basis="court order 12")
    progress = disposal.carried_out(approved)

    assert (progress.removed, progress.kept) == (1, 1)
    assert disposal.bytes_of(held)
    assert not disposal.bytes_of(free)
    (kept,) = certificate(disposal, approved)["kept"]
    assert kept["object_id"] == held
    assert kept["why"][0]["obstacle"] == obstacle.value
    assert kept["why"][0]["source"] == hold.exception_id


@pytest.mark.parametrize("kind", [ExceptionKind.HOT, ExceptionKind.RESIDENCY])
def test_what_says_nothing_of_removal_keeps_nothing(kind: ExceptionKind) -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    disposal.hold(study(), kind)

    disposal.carried_out(disposal.approved(study()))

    assert not disposal.bytes_of(made)


def test_floor_keeps_an_object_unless_the_request_names_a_legal_basis() -> None:
    disposal = Disposal()
    made = disposal.world.image(any_dicom_body(study_instance_uid=STUDY))
    disposal.settle(days=FLOOR_DAYS - 1)

    kept = disposal.approved(study())
    disposal.carried_out(kept)
    assert disposal.entries(kept)[made].blocks[0].obstacle is Obstacle.RETENTION_FLOOR
    assert disposal.bytes_of(made)

    despite = disposal.approved(study(), basis="GDPR article 17")
    disposal.carried_out(despite)
    assert not disposal.bytes_of(made)
    assert certificate(disposal, despite)["legal_basis"] == "GDPR article 17"


def test_what_arrived_later_is_not_deleted() -> None:
    disposal = Disposal()
    (old,) = a_study(disposal)
    approved = disposal.approved(study())
    new = disposal.world.image(any_dicom_body(study_instance_uid=STUDY), "site-a/late.dcm")
    disposal.settle()

    disposal.carried_out(approved)

    assert not disposal.bytes_of(old)
    assert disposal.world.state(new) is State.PLACED
    assert disposal.bytes_of(new)


def test_search_entries_stay_while_another_object_of_the_study_needs_them() -> None:
    disposal = Disposal()
    one, _ = a_study(disposal, 2)

    disposal.carried_out(disposal.approved(Scope(ScopeKind.OBJECT, one)))

    assert disposal.dispositions.forgotten == set()


def test_what_changed_meanwhile_is_skipped_and_reported() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    approved = disposal.approved(study())
    record = disposal.world.record(made)
    changed = record.amended(disposal.world.clock.now(), consent_state="granted")
    disposal.world.catalog.records[made] = changed

    progress = disposal.carried_out(approved)

    assert progress.skipped == 1
    assert disposal.bytes_of(made)
    assert certificate(disposal, approved)["kept"][0]["outcome"] == Outcome.SKIPPED.value


def test_what_upkeep_noted_meanwhile_is_no_change() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    approved = disposal.approved(study())
    now = disposal.world.clock.now()
    record = disposal.world.record(made)
    disposal.world.catalog.records[made] = record.amended(now, rechecked_at=now)

    assert disposal.carried_out(approved).removed == 1


def test_older_version_of_the_same_object_goes_and_that_of_another_stays() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    placed = disposal.world.record(made).placed
    assert placed
    versions = disposal.world.store.versions[placed.bucket, placed.key]
    versions["older"] = StoredVersion(b"same", metadata={"forebay-object-id": made})
    versions["other"] = StoredVersion(b"other", metadata={"forebay-object-id": "another"})

    disposal.carried_out(disposal.approved(study()))

    assert set(versions) == {"other"}


def test_held_copy_that_the_record_has_forgotten_goes_too() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    world = disposal.world
    held = Location(BUCKETS[Zone.QUARANTINE], f"DICOM_MALFORMED/{made}", "v1")
    world.store.versions[held.bucket, held.key] = {
        "v1": StoredVersion(b"x", metadata={"forebay-object-id": made})
    }
    record = world.record(made)
    now = world.clock.now()
    was_held = record.amended(now, held=held)
    world.catalog._store(record, was_held)
    world.catalog._store(was_held, was_held.amended(now, held=None))

    approved = disposal.approved(study())
    disposal.carried_out(approved)

    assert held in disposal.vault.deleted
    assert Part.HELD in {copy.part for copy in disposal.entries(approved)[made].copies}


def test_version_another_step_was_making_meanwhile_is_deleted_and_listed() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    placed = disposal.world.record(made).placed
    assert placed
    approved = disposal.approved(study())
    versions = disposal.world.store.versions[placed.bucket, placed.key]

    def warm() -> None:
        versions["warm"] = StoredVersion(b"same", metadata={"forebay-object-id": made})

    disposal.dispositions.before_next_write.append(warm)
    disposal.carried_out(approved)

    assert not versions
    assert (placed.bucket, "warm") in told_versions(certificate(disposal, approved))


def test_patient_and_participant_go_across_imaging_genomics_and_derivatives() -> None:
    disposal = Disposal(World(needs_sender_digest=False))
    reads = disposal.world.genomics("site-a/run1/NA12878_S1_L001_R1_001.fastq.gz", any_reads_body())
    (image,) = a_study(disposal)
    sample = disposal.world.record(reads).metadata["sample"]
    thumbnail, report = disposal.derive(image), disposal.derive(reads)
    deeper = disposal.derive(report)
    disposal.settle()

    approved = disposal.approved(
        person(disposal, image), Scope(ScopeKind.SAMPLE, f"site-a/{sample}")
    )
    progress = disposal.carried_out(approved)

    everything = {image, reads, thumbnail, report, deeper}
    assert set(disposal.entries(approved)) == everything
    assert progress.removed == len(everything)
    assert not [left for made in everything for left in disposal.bytes_of(made)]
    order = [location for location in disposal.vault.deleted if "reports/" in location.key]
    placed = disposal.world.record(deeper).placed
    assert order.index(placed) < order.index(disposal.world.record(report).placed)  # type: ignore[arg-type]


def test_hold_on_a_parent_keeps_what_was_made_from_it() -> None:
    disposal = Disposal()
    (image,) = a_study(disposal)
    thumbnail = disposal.derive(image)
    disposal.settle()
    disposal.hold(study())

    approved = disposal.approved(Scope(ScopeKind.OBJECT, thumbnail))
    disposal.carried_out(approved)

    assert disposal.entries(approved)[thumbnail].blocks[0].obstacle is Obstacle.LEGAL_HOLD
    assert disposal.bytes_of(thumbnail)


def test_parent_keeps_its_token_while_something_made_from_it_is_stored() -> None:
    disposal = Disposal()
    (image,) = a_study(disposal)
    somebody = person(disposal, image)
    thumbnail = disposal.derive(image)
    disposal.settle()
    disposal.hold(Scope(ScopeKind.OBJECT, thumbnail), ExceptionKind.PIN)

    disposal.carried_out(disposal.approved(study()))
    record = disposal.world.record(image)
    assert record.state is State.DELETED
    assert not record.subject
    disposal.hold(somebody)

    later = disposal.approved(Scope(ScopeKind.OBJECT, thumbnail))
    disposal.carried_out(later)
    assert disposal.entries(later)[thumbnail].blocks[0].obstacle is Obstacle.LEGAL_HOLD


def test_review_that_is_due_can_be_asked_for_as_a_whole() -> None:
    disposal = Disposal()
    due, other = a_study(disposal, 2)
    disposal.due = [due]

    disposal.carried_out(disposal.approved(review_due=True))

    assert not disposal.bytes_of(due)
    assert disposal.bytes_of(other)


def test_storage_hold_keeps_the_object_before_anything_is_written() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    placed = disposal.world.record(made).placed
    assert placed
    approved = disposal.approved(study())
    disposal.vault.holds.add(placed)

    disposal.carried_out(approved)

    assert disposal.world.state(made) is State.PLACED
    assert disposal.entries(approved)[made].blocks[0].obstacle is Obstacle.STORAGE_LOCK
    assert not disposal.vault.deleted


def test_storage_hold_set_at_the_last_moment_keeps_its_version_and_is_reported() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    placed = disposal.world.record(made).placed
    assert placed
    approved = disposal.approved(study())
    disposal.vault.before_next_delete.append(lambda: disposal.vault.holds.add(placed))

    disposal.carried_out(approved)

    assert placed in disposal.bytes_of(made)
    (removed,) = certificate(disposal, approved)["removed"]
    assert [copy["version_id"] for copy in removed["left"]] == [placed.version_id]
    assert "legal hold" in removed["left"][0]["left"]


def test_locked_replica_stays_and_a_later_disposition_removes_it() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    replica = replicate(disposal, made)
    disposal.vault.locks[replica] = disposal.world.clock.now() + timedelta(days=365)

    first = disposal.approved(study())
    disposal.carried_out(first)
    assert disposal.bytes_of(made) == [replica]
    assert [c.left for c in disposal.entries(first)[made].copies if c.left] == ["storage locks it"]

    disposal.vault.locks.clear()
    later = disposal.approved(study())
    disposal.carried_out(later)
    assert not disposal.bytes_of(made)
    assert told_versions(certificate(disposal, later)) == {(replica.bucket, replica.version_id)}


def test_object_in_flight_is_kept() -> None:
    disposal = Disposal()
    made = disposal.world.received(lambda: disposal.world.image(any_dicom_body()))
    disposal.world.catalog.effects = disposal.effects

    approved = disposal.approved(Scope(ScopeKind.OBJECT, made))
    disposal.carried_out(approved)

    assert disposal.entries(approved)[made].blocks[0].obstacle is Obstacle.IN_FLIGHT


def hold_now(disposal: Disposal) -> Callable[[], None]:
    return lambda: (disposal.hold(study()), None)[1]


def test_hold_approved_just_before_the_write_wins() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    approved = disposal.approved(study())
    disposal.dispositions.before_next_write.append(hold_now(disposal))

    disposal.carried_out(approved)

    assert disposal.world.state(made) is State.PLACED
    assert disposal.bytes_of(made)
    assert disposal.entries(approved)[made].blocks[0].obstacle is Obstacle.LEGAL_HOLD
    assert not disposal.vault.deleted


def test_hold_at_any_point_never_loses_bytes_of_a_record_that_is_stored() -> None:
    calm = told(Effects())
    for at in range(1, len(calm.effects.calls) + 1):
        disposal = Disposal()
        (made,) = a_study(disposal)
        approved = disposal.approved(study())
        disposal.effects.calls.clear()
        run = disposal.effects.run

        def with_hold(name: str, effect: Callable[[], Any], at: int = at) -> Any:
            if len(disposal.effects.calls) + 1 == at and not disposal.exceptions.stored:  # noqa: B023
                disposal.hold(study())  # noqa: B023
            return run(name, effect)  # noqa: B023

        disposal.effects.run = with_hold  # type: ignore[method-assign]
        disposal.carried_out(approved)

        is_kept = disposal.world.state(made) is State.PLACED
        assert bool(disposal.bytes_of(made)) is is_kept, f"call {at}: {calm.effects.calls[at - 1]}"
        assert bool(disposal.vault.deleted) is not is_kept


def told(effects: Effects) -> Disposal:
    """Carry out a disposition of two images, one of them held; again after a crash."""
    disposal = Disposal()
    held, free = a_study(disposal, 2)
    replicate(disposal, free)
    disposal.derive(free)
    disposal.settle()
    disposal.hold(Scope(ScopeKind.OBJECT, held))
    approved = disposal.approved(study())
    disposal.effects.calls.clear()
    disposal.effects.fail_at, disposal.effects.after = effects.fail_at, effects.after
    for _ in range(3):
        try:
            disposal.carried_out(approved)
        except Trouble:
            continue
    return disposal


def ends(disposal: Disposal) -> Any:
    ((made, stored),) = disposal.dispositions.stored.items()
    certified = certificate(disposal, made)
    entries = disposal.entries(made).values()
    return (
        stored.stage,
        sorted(record.state for record in disposal.world.catalog.records.values()),
        sorted(
            (e.outcome, len(e.copies), len(e.tokens), [c.left for c in e.copies]) for e in entries
        ),
        len(disposal.vault.deleted),
        len(told_versions(certified)),
        certified["versions_removed"],
        len(certified["kept"]),
        len(disposal.dispositions.forgotten),
    )


@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
def test_crash_at_every_effect_and_another_run_end_as_if_nothing_happened(after: bool) -> None:
    calm = told(Effects())
    expected = ends(calm)
    assert len(calm.effects.calls) > 20

    for fail_at in range(1, len(calm.effects.calls) + 1):
        disposal = told(Effects(fail_at=fail_at, after=after))
        where = f"call {fail_at}: {disposal.effects.calls[fail_at - 1]}"
        assert ends(disposal) == expected, where


def test_second_run_changes_nothing() -> None:
    disposal = Disposal()
    a_study(disposal, 2)
    approved = disposal.approved(study())
    first = disposal.carried_out(approved)
    records = dict(disposal.world.catalog.records)
    deleted = list(disposal.vault.deleted)

    again = disposal.carried_out(approved)

    assert again == first
    assert (disposal.world.catalog.records, disposal.vault.deleted) == (records, deleted)


def test_run_that_is_out_of_time_goes_on_where_it_stopped() -> None:
    disposal = Disposal()
    a_study(disposal, 3)
    approved = disposal.approved(study())
    answers = iter([False, True, True])

    first = disposal.dispose(approved, is_time_up=lambda: next(answers))

    assert not isinstance(first, Refused)
    assert (first.left, first.removed, first.disposition.stage) == (2, 1, Stage.EXECUTING)
    assert disposal.carried_out(approved).disposition.stage is Stage.DONE


def test_preview_names_what_goes_and_what_stays_and_writes_nothing() -> None:
    disposal = Disposal()
    held, free = a_study(disposal, 2)
    replicate(disposal, free)
    disposal.hold(Scope(ScopeKind.OBJECT, held))

    found = disposal.preview(Wish((study(),)))

    assert not isinstance(found, Refused)
    assert [each.object_id for each in found.removable] == [free]
    assert [each.object_id for each in found.blocked] == [held]
    assert [copy.part for copy in found.removable[0].copies] == [
        Part.PLACED,
        Part.REPLICA,
        Part.LANDING,
    ]
    assert not disposal.dispositions.stored


@pytest.mark.parametrize(
    "wish, says",
    [
        (Wish(), "Nothing was named"),
        (Wish((Scope(ScopeKind.STUDY, " "),)), "empty"),
        (Wish((Scope(ScopeKind.STUDY, "1.2.3"),)), "Nothing is stored"),
        (Wish((study(),), basis="x" * 1001), "1000"),
    ],
)
def test_wish_that_cannot_be_looked_at_is_a_sentence(wish: Wish, says: str) -> None:
    disposal = Disposal()
    found = disposal.preview(wish)
    assert isinstance(found, Refused)
    assert says in found.reason


def test_request_needs_a_reason_and_its_digest_is_that_of_the_ledger() -> None:
    disposal = Disposal()
    a_study(disposal)
    assert isinstance(disposal.draft(Wish((study(),)), by=ANNA), Refused)

    asked = disposal.asked(study())

    body = disposal.world.store.body(asked.request)
    assert asked.digest == hashlib.sha256(body).hexdigest()
    assert asked.request.key == f"dispositions/{asked.disposition_id}/request.json"
    assert base64.b32decode(asked.disposition_id[3:].upper())


def test_class_nobody_knows_keeps_the_object() -> None:
    disposal = Disposal()
    (made,) = a_study(disposal)
    disposal.surveyor = replace(disposal.surveyor, policy=replace(POLICY, classes={}))
    disposal.preview = replace(disposal.preview, surveyor=disposal.surveyor)

    found = disposal.preview(Wish((study(),)))

    assert not isinstance(found, Refused)
    assert [each.object_id for each in found.blocked] == [made]


def test_children_go_before_all_they_were_made_from() -> None:
    parents = {"a": (), "b": ("a",), "c": ("a", "b"), "d": ("x",)}

    assert children_first(parents) == [["c", "d"], ["b"], ["a"]]
