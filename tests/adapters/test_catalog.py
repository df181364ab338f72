"""DynamoCatalog keeps what `services.ports.Catalog` promises."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.keys import place_pk
from forebay.domain.integrity import Algorithm, Witness
from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.errors import StaleRecordError
from forebay.names import Step
from forebay.services.ports import Applied, Change, Claim, ClaimHeld, Declarations, Lease
from tests.adapters.conftest import Cloud, calls_of
from tests.unit.fakes import (
    NOON,
    any_digest,
    any_finding,
    any_instance,
    any_location,
    any_record,
    any_run,
    any_uid,
)

LATER = NOON + timedelta(seconds=1)


def full_record(**fields: Any) -> ObjectRecord:
    """Return a record in which every field says something."""
    facts: dict[str, Any] = {
        "location": any_location(key="site-a/Müller/日本 1+2.dcm"),
        "state": State.RECEIVED,
        "state_since": NOON.replace(microsecond=123456),
        "size_bytes": 5_368_709_120_000,
        "etag": "e-17",
        "sequencer": "0055AED6",
        "composite_checksum": "sha256:abc=-2",
        "source_system": "pacs-1",
        "digests": (any_digest(source="s3", witness=Witness.STORAGE), any_digest(source="m")),
        "finding": any_finding(position="byte 7", expected="x", found="y"),
        "warnings": (any_finding(), any_finding(position="line 1")),
        "original_id": "other",
        "object_class": "clinical-hot",
        "class_rule": "rule",
        "retention_class": "10y",
        "consent_state": "granted",
        "placed": any_location(),
        "held": any_location(version_id=""),
        "parents": ("one", "two"),
        "pipeline_run_id": "run-1",
        "metadata": any_instance().as_metadata()
        | {
            "SliceThickness": 1.25,
            "q30": 0.9215686274509803,
            "whole": 2.0,
            "negative": -0.5,
            "zero": 0,
            "empty": "",
            "flag": True,
            "nested": {"list": [1, 0.1, "ü", {"deep": []}], "none": None},
            "Rows": 512,
        },
        "subject": {"PatientName": "Müller^Jürgen", "PatientID": "0001"},
        "subject_tokens": {"PatientID": "ab" * 32},
    }
    return any_record(**facts | fields)


def registered(catalog: DynamoCatalog, **fields: Any) -> ObjectRecord:
    record = any_record(**fields)
    assert catalog.register(record)
    return record


def test_record_comes_back_as_it_was(catalog: DynamoCatalog) -> None:
    record = full_record()

    assert catalog.register(record)

    assert catalog.get(record.object_id) == record


def test_record_with_nothing_said_comes_back_as_it_was(catalog: DynamoCatalog) -> None:
    record = any_record(site="", location=any_location(version_id=""), size_bytes=0)

    catalog.register(record)

    assert catalog.get(record.object_id) == record


def test_registering_twice_keeps_the_first(catalog: DynamoCatalog) -> None:
    record = registered(catalog)

    assert not catalog.register(replace(record, size_bytes=5))
    assert catalog.get(record.object_id) == record


def test_unknown_object_is_none(catalog: DynamoCatalog) -> None:
    stranger = any_record().object_id

    assert catalog.get(stranger) is None
    assert catalog.get_with_declarations(stranger) == (None, Declarations())


def test_change_is_applied(catalog: DynamoCatalog) -> None:
    before = full_record()
    catalog.register(before)
    after = before.moved_to(State.VERIFIED, LATER, finding=None, held=None, etag="", warnings=())

    assert catalog.apply(Change(before, after)) == Applied()
    assert catalog.get(before.object_id) == after


def test_change_of_a_record_that_moved_on_is_stale_and_writes_nothing(
    catalog: DynamoCatalog,
) -> None:
    before = registered(catalog)
    after = before.moved_to(State.QUARANTINED, LATER, finding=any_finding())
    catalog.apply(Change(before, after))

    with pytest.raises(StaleRecordError):
        catalog.apply(Change(before, before.moved_to(State.VERIFIED, LATER)))

    assert catalog.get(before.object_id) == after


def test_change_of_a_record_that_does_not_exist_is_stale(catalog: DynamoCatalog) -> None:
    ghost = any_record()

    with pytest.raises(StaleRecordError):
        catalog.apply(Change(ghost, ghost.moved_to(State.VERIFIED, LATER)))

    assert catalog.get(ghost.object_id) is None


def test_claim_is_taken_with_the_change(catalog: DynamoCatalog) -> None:
    before = registered(catalog)
    after = before.moved_to(State.VERIFIED, LATER)
    claims = [Claim("bytes", "x"), Claim("reads", "site-a#NA1", "run#-#-#R1")]

    assert catalog.apply(Change(before, after, claims)) == Applied()

    assert catalog.holders("bytes", "x") == {"-": before.object_id}
    assert catalog.holders("reads", "site-a#NA1") == {"run#-#-#R1": before.object_id}
    assert catalog.get(before.object_id) == after


def test_claim_that_is_held_names_its_holder_and_writes_nothing(
    cloud: Cloud, catalog: DynamoCatalog
) -> None:
    holder, other = registered(catalog), registered(catalog)
    claim = Claim("sop", any_uid())
    catalog.apply(Change(holder, holder.moved_to(State.VERIFIED, LATER), [claim]))

    with calls_of(cloud.client("dynamodb")) as calls:
        outcome = catalog.apply(Change(other, other.moved_to(State.VERIFIED, LATER), [claim]))

    assert outcome == ClaimHeld(claim, holder.object_id)
    assert catalog.get(other.object_id) == other
    # The refusal itself says who: ReturnValuesOnConditionCheckFailure=ALL_OLD.
    assert calls == ["TransactWriteItems"]


@pytest.mark.parametrize("held", [0, 1])
def test_of_two_claims_the_held_one_is_named_and_the_free_one_stays_free(
    catalog: DynamoCatalog, held: int
) -> None:
    holder, other = registered(catalog), registered(catalog)
    claims = [Claim("bytes", any_uid()), Claim("reads", any_uid(), "R1")]
    catalog.apply(Change(holder, holder.moved_to(State.VERIFIED, LATER), [claims[held]]))

    outcome = catalog.apply(Change(other, other.moved_to(State.VERIFIED, LATER), claims))

    assert outcome == ClaimHeld(claims[held], holder.object_id)
    free = claims[1 - held]
    assert catalog.holders(free.namespace, free.group) == {}


def test_own_claim_may_be_taken_again(catalog: DynamoCatalog) -> None:
    before = registered(catalog)
    claim = Claim("sop", any_uid())
    after = before.moved_to(State.VERIFIED, LATER)
    catalog.apply(Change(before, after, [claim]))

    assert catalog.apply(Change(after, after.amended(LATER), [claim])) == Applied()


def test_claim_is_taken_over_from_the_named_holder(catalog: DynamoCatalog) -> None:
    holder, heir = registered(catalog), registered(catalog)
    claim = Claim("sop", any_uid())
    catalog.apply(Change(holder, holder.moved_to(State.VERIFIED, LATER), [claim]))

    taking = replace(claim, takes_over=holder.object_id)
    outcome = catalog.apply(Change(heir, heir.moved_to(State.VERIFIED, LATER), [taking]))

    assert outcome == Applied()
    assert catalog.holders("sop", claim.group) == {"-": heir.object_id}


def test_claim_is_not_taken_over_from_anybody_else(catalog: DynamoCatalog) -> None:
    holder, heir = registered(catalog), registered(catalog)
    claim = Claim("sop", any_uid())
    catalog.apply(Change(holder, holder.moved_to(State.VERIFIED, LATER), [claim]))

    taking = replace(claim, takes_over=any_record().object_id)
    outcome = catalog.apply(Change(heir, heir.moved_to(State.VERIFIED, LATER), [taking]))

    assert outcome == ClaimHeld(taking, holder.object_id)


def test_free_claim_on_a_stale_record_is_stale_and_stays_free(catalog: DynamoCatalog) -> None:
    before = registered(catalog)
    catalog.apply(Change(before, before.amended(LATER, source_system="x")))
    claim = Claim("sop", any_uid())

    with pytest.raises(StaleRecordError):
        catalog.apply(Change(before, before.moved_to(State.VERIFIED, LATER), [claim]))

    assert catalog.holders("sop", claim.group) == {}


def test_declarations_come_with_the_record_and_grow_by_revision(catalog: DynamoCatalog) -> None:
    record = registered(catalog)
    place = (record.location.bucket, record.location.key)
    first = any_digest(source="sidecar", witness=Witness.SENDER_MANIFEST)
    second = any_digest(source="list", witness=Witness.SENDER_MANIFEST)

    assert catalog.declare(*place, [first]) == Declarations((first,), 1)
    assert catalog.declare(*place, [second]) == Declarations((first, second), 2)
    assert catalog.get_with_declarations(record.object_id) == (
        record,
        Declarations((first, second), 2),
    )


def test_declaring_the_same_again_is_no_revision(catalog: DynamoCatalog) -> None:
    said = any_digest(source="sidecar")

    first = catalog.declare("b", "k", [said])

    assert catalog.declare("b", "k", [said]) == first


def test_corrected_declaration_of_one_source_replaces_what_it_said(catalog: DynamoCatalog) -> None:
    catalog.declare("b", "k", [any_digest(source="sidecar")])
    right = any_digest(source="sidecar")
    other = any_digest(source="sidecar", algorithm=Algorithm.MD5)

    assert catalog.declare("b", "k", [right, other]) == Declarations((right, other), 2)


def test_two_checksum_files_at_once_do_not_lose_one(catalog: DynamoCatalog) -> None:
    before = catalog.declare("b", "k", [any_digest(source="one")])
    catalog.declare("b", "k", [any_digest(source="two")])

    with pytest.raises(StaleRecordError):
        catalog._replace_declarations(place_pk("b", "k"), before.revision, before)


@pytest.mark.parametrize("spoken", [0, 1])
def test_change_holds_while_no_further_checksum_file_spoke(
    catalog: DynamoCatalog, spoken: int
) -> None:
    before = registered(catalog)
    place = (before.location.bucket, before.location.key)
    for number in range(spoken):
        catalog.declare(*place, [any_digest(source=f"{number}")])
    _, declarations = catalog.get_with_declarations(before.object_id)
    after = before.moved_to(State.AWAITING_DIGEST, LATER)

    assert catalog.apply(Change(before, after, declarations=declarations)) == Applied()


@pytest.mark.parametrize("spoken", [0, 1])
def test_change_is_stale_once_a_further_checksum_file_spoke(
    catalog: DynamoCatalog, spoken: int
) -> None:
    before = registered(catalog)
    place = (before.location.bucket, before.location.key)
    for number in range(spoken):
        catalog.declare(*place, [any_digest(source=f"{number}")])
    _, declarations = catalog.get_with_declarations(before.object_id)
    catalog.declare(*place, [any_digest(source="further")])

    after = before.moved_to(State.AWAITING_DIGEST, LATER)
    with pytest.raises(StaleRecordError):
        catalog.apply(Change(before, after, declarations=declarations))

    assert catalog.get(before.object_id) == before


def test_duplicate_is_counted_on_the_original_without_a_new_version(
    catalog: DynamoCatalog,
) -> None:
    original = registered(catalog)
    for expected in (1, 2):
        again = registered(catalog)
        moved = again.moved_to(State.DUPLICATE, LATER, original_id=original.object_id)
        catalog.apply(
            Change(again, moved, declarations=Declarations(), counts_on=original.object_id)
        )

        found = catalog.get(original.object_id)
        assert found == replace(original, duplicate_count=expected)


def test_change_of_the_original_keeps_what_was_counted_meanwhile(catalog: DynamoCatalog) -> None:
    original, again = registered(catalog), registered(catalog)
    moved = again.moved_to(State.DUPLICATE, LATER)
    catalog.apply(Change(again, moved, counts_on=original.object_id))

    after = original.moved_to(State.VERIFIED, LATER)
    catalog.apply(Change(original, after))

    assert catalog.get(original.object_id) == replace(after, duplicate_count=1)


def test_duplicate_of_nobody_is_stale(catalog: DynamoCatalog) -> None:
    again = registered(catalog)
    moved = again.moved_to(State.DUPLICATE, LATER)

    with pytest.raises(StaleRecordError):
        catalog.apply(Change(again, moved, counts_on=any_record().object_id))

    assert catalog.get(again.object_id) == again


def test_versions_of_a_key_are_found_and_declarations_are_none_of_them(
    catalog: DynamoCatalog,
) -> None:
    place = any_location()
    versions = [registered(catalog, location=replace(place, version_id=f"v{n}")) for n in range(3)]
    registered(catalog, location=replace(place, key=place.key + "x"))
    catalog.declare(place.bucket, place.key, [any_digest()])

    found = catalog.versions_of(place.bucket, place.key)

    assert {record.object_id for record in found} == {v.object_id for v in versions}


def test_more_versions_than_one_answer_holds_are_all_found(catalog: DynamoCatalog) -> None:
    place = any_location()
    bulk = {"private": "x" * 300_000}
    for number in range(5):
        location = replace(place, version_id=f"v{number}")
        registered(catalog, location=location, metadata=bulk)

    assert len(catalog.versions_of(place.bucket, place.key)) == 5


def test_pipeline_run_is_opened_once(catalog: DynamoCatalog) -> None:
    run = any_run(inputs={"R1": "one"}, payload={"reads": {"R1": {"key": "x", "n": 1.5}}})

    assert catalog.open_run(run) == run
    assert catalog.open_run(replace(run, sample="other")) == run
    assert catalog.get_run(run.run_id) == run
    assert catalog.get_run("nobody") is None


def test_pipeline_run_that_moved_on_is_stale(catalog: DynamoCatalog) -> None:
    run = catalog.open_run(any_run())
    ended = run.moved_to(RunState.SUCCEEDED, LATER)
    catalog.move_run(run, ended)

    with pytest.raises(StaleRecordError):
        catalog.move_run(run, run.moved_to(RunState.SUBMITTED, LATER))

    assert catalog.get_run(run.run_id) == ended


def test_run_that_was_never_opened_cannot_move(catalog: DynamoCatalog) -> None:
    run = any_run()

    with pytest.raises(StaleRecordError):
        catalog.move_run(run, run.moved_to(RunState.SUBMITTED, LATER))


def test_change_that_makes_a_sample_known_lists_the_object_with_it(
    cloud: Cloud, catalog: DynamoCatalog
) -> None:
    before = registered(catalog, kind=Kind.FASTQ)
    metadata = {"sample": "NA1", "run": "unknown", "lane": "-", "mate": "R1"}
    catalog.apply(Change(before, before.moved_to(State.VERIFIED, LATER, metadata=metadata)))

    answer = cloud.client("dynamodb").query(
        TableName=catalog.table,
        IndexName="by_group",
        KeyConditionExpression="group_pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "SAMPLE#site-a#NA1"}},
    )

    assert [item["object_id"]["S"] for item in answer["Items"]] == [before.object_id]


def any_lease(record: ObjectRecord, **fields: Any) -> Lease:
    """Return a lease on a record for the next minute."""
    facts: dict[str, Any] = {
        "object_id": record.object_id,
        "record_version": record.version,
        "step": Step.INSPECT_GENOMICS,
        "holder": "m1",
        "until": NOON + timedelta(minutes=1),
    }
    return Lease(**facts | fields)


def test_lease_comes_back_as_it_was_and_the_record_is_untouched(catalog: DynamoCatalog) -> None:
    record = registered(catalog)
    lease = any_lease(record)
    assert catalog.get_lease(record.object_id) is None

    assert catalog.take_lease(lease, NOON)

    assert catalog.get_lease(record.object_id) == lease
    assert catalog.get(record.object_id) == record
    assert catalog.versions_of(record.location.bucket, record.location.key) == (record,)


def test_lease_that_another_holds_is_not_taken(catalog: DynamoCatalog) -> None:
    record = registered(catalog)
    lease = any_lease(record)
    catalog.take_lease(lease, NOON)

    assert not catalog.take_lease(any_lease(record, holder="m2"), LATER)
    assert catalog.get_lease(record.object_id) == lease


@pytest.mark.parametrize(
    "after, fields",
    [
        pytest.param(timedelta(minutes=1), {"holder": "m2"}, id="ended"),
        pytest.param(timedelta(), {"holder": "m1"}, id="mine"),
        pytest.param(timedelta(), {"holder": "m2", "record_version": 2}, id="void"),
    ],
)
def test_lease_that_ended_or_is_mine_or_void_is_taken(
    catalog: DynamoCatalog, after: timedelta, fields: dict[str, Any]
) -> None:
    record = registered(catalog)
    catalog.take_lease(any_lease(record), NOON)
    wanted = any_lease(record, until=NOON + timedelta(hours=1), **fields)

    assert catalog.take_lease(wanted, NOON + after)

    assert catalog.get_lease(record.object_id) == wanted


def test_lease_is_ended_once_by_whoever_knows_it(catalog: DynamoCatalog) -> None:
    record = registered(catalog)
    lease = any_lease(record)
    catalog.take_lease(lease, NOON)

    assert catalog.end_lease(lease)
    assert not catalog.end_lease(lease)
    assert catalog.get_lease(record.object_id) is None


@pytest.mark.parametrize("fields", [{"holder": "m2"}, {"until": NOON + timedelta(hours=1)}])
def test_lease_that_another_took_meanwhile_is_not_ended(
    catalog: DynamoCatalog, fields: dict[str, Any]
) -> None:
    record = registered(catalog)
    lease = any_lease(record)
    catalog.take_lease(lease, NOON)
    newer = any_lease(record, **fields)
    catalog.take_lease(newer, lease.until)

    assert not catalog.end_lease(lease)
    assert catalog.get_lease(record.object_id) == newer


def test_leases_of_two_versions_of_a_key_are_two(catalog: DynamoCatalog) -> None:
    old = registered(catalog)
    new = registered(catalog, location=replace(old.location, version_id="other"))

    assert catalog.take_lease(any_lease(old), NOON)
    assert catalog.take_lease(any_lease(new, holder="m2"), NOON)


def test_further_records_change_in_the_same_transaction(catalog: DynamoCatalog) -> None:
    holder = registered(catalog, state=State.PLACED, duplicate_count=0)
    before = registered(catalog)
    claim = Claim("sop", any_uid())
    catalog.apply(Change(holder, holder := holder.amended(LATER, object_class="x"), [claim]))
    after = before.moved_to(State.VERIFIED, LATER)
    superseded = holder.moved_to(State.SUPERSEDED, LATER, original_id=before.object_id)
    taking = replace(claim, takes_over=holder.object_id)

    outcome = catalog.apply(Change(before, after, [taking], also=[(holder, superseded)]))

    assert outcome == Applied()
    assert catalog.get(before.object_id) == after
    assert catalog.get(holder.object_id) == superseded
    assert catalog.holders("sop", claim.group) == {"-": before.object_id}


def test_further_record_that_moved_on_stops_the_whole(catalog: DynamoCatalog) -> None:
    holder = registered(catalog, state=State.PLACED)
    before = registered(catalog)
    claim = Claim("sop", any_uid())
    superseded = holder.moved_to(State.SUPERSEDED, LATER)
    convicted = holder.moved_to(State.QUARANTINED, LATER)
    catalog.apply(Change(holder, convicted))

    after = before.moved_to(State.VERIFIED, LATER)
    with pytest.raises(StaleRecordError):
        catalog.apply(Change(before, after, [claim], also=[(holder, superseded)]))

    assert catalog.get(before.object_id) == before
    assert catalog.get(holder.object_id) == convicted
    assert catalog.holders("sop", claim.group) == {}


def test_claim_that_is_held_is_told_even_where_further_records_change(
    catalog: DynamoCatalog,
) -> None:
    holder, other, before = registered(catalog), registered(catalog), registered(catalog)
    claim = Claim("sop", any_uid())
    catalog.apply(Change(holder, holder.moved_to(State.VERIFIED, LATER), [claim]))
    also = [(other, other.moved_to(State.DELETED, LATER))]

    outcome = catalog.apply(
        Change(before, before.moved_to(State.VERIFIED, LATER), [claim], also=also)
    )

    assert outcome == ClaimHeld(claim, holder.object_id)
    assert catalog.get(other.object_id) == other
