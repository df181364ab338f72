"""Dispositions in DynamoDB, and the only code that deletes stored objects."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from forebay.adapters import keys
from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.change_log import DynamoChangeLog
from forebay.adapters.dispositions import DynamoCopyHistory, DynamoDispositions
from forebay.adapters.exceptions import DynamoExceptions, DynamoPolicyBook
from forebay.adapters.items import item_key
from forebay.adapters.shredder import S3KeptVersions, S3Shredder
from forebay.domain.objects import Kind, Location, ObjectRecord
from forebay.domain.policy.disposition import (
    Block,
    Copy,
    Disposition,
    Entry,
    Obstacle,
    Outcome,
    Part,
    Stage,
    disposed,
)
from forebay.domain.policy.exceptions import ExceptionKind, Scope, ScopeKind, Status
from forebay.domain.policy.standing import access_scope, scopes_of
from forebay.domain.states import State
from forebay.errors import StaleRecordError
from forebay.services.place_object import OBJECT_ID_METADATA
from forebay.services.ports import Erasure, RecordedChange
from forebay.services.request_disposition import Standing
from tests.adapters.conftest import Cloud
from tests.unit.fakes import NOON, any_digest, any_exception, any_hex, any_location, any_record

ASKED = Disposition(
    disposition_id="DI-abcdefghijklmnop",
    scopes=(Scope(ScopeKind.STUDY, "1.2"), Scope(ScopeKind.SUBJECT, "ab" * 32)),
    reason="consent was withdrawn",
    requested_by="arn:aws:iam::111122223333:user/anna",
    requested_at=NOON,
    request=Location("ledger", "dispositions/DI-abcdefghijklmnop/request.json", "v1"),
    digest="cd" * 32,
    objects=2,
    size_bytes=10,
    basis="GDPR article 17",
)
APPROVED = ASKED.changed(
    Stage.APPROVED, decided_by="ben", decided_at=NOON, approved_digest=ASKED.digest
)
EXECUTING = APPROVED.changed(Stage.EXECUTING)
ID = ASKED.disposition_id


@pytest.fixture
def dispositions(catalog: DynamoCatalog) -> DynamoDispositions:
    return DynamoDispositions(catalog.client, catalog.table)


def an_image(catalog: DynamoCatalog, **fields: Any) -> ObjectRecord:
    """Put a placed instance into the catalog."""
    uids = {name: f"1.2.{any_hex(6)}" for name in ("SeriesInstanceUID", "SOPInstanceUID")}
    facts: dict[str, Any] = {
        "state": State.PLACED,
        "metadata": {"StudyInstanceUID": "1.2", "StudyDate": "20260301", **uids},
        "subject": {"PatientID": "P1"},
        "subject_tokens": {"PatientID": "ab" * 32},
        "placed": any_location(bucket="clinical"),
    }
    record = any_record(**facts | fields)
    assert catalog.register(record)
    return record


def erasure(catalog: DynamoCatalog, record: ObjectRecord) -> Erasure:
    scopes = scopes_of(record)
    book = DynamoPolicyBook(catalog.client, catalog.table)
    standing = Standing(scopes, book.context(scopes, access_scope(record)).exceptions)
    after = disposed(record, ID, NOON, keeps_tokens=False)
    return Erasure(ID, record, after, an_entry(record), standing.by_scope())


def an_entry(record: ObjectRecord) -> Entry:
    return Entry(
        record.object_id,
        Outcome.DELETING,
        NOON,
        size_bytes=10,
        digests=(any_digest(),),
        copies=(Copy(Part.PLACED, any_location(), 10), Copy(Part.REPLICA, any_location(), 10)),
        blocks=(Block(Obstacle.PIN, "pin", "EX-1"),),
        study="1.2",
        date="20260301",
        tokens=record.subject_tokens,
    )


def begin(dispositions: DynamoDispositions) -> None:
    dispositions.add(ASKED)
    dispositions.decide(ASKED, APPROVED)
    dispositions.decide(APPROVED, EXECUTING)


def hold(catalog: DynamoCatalog, **fields: Any) -> Any:
    exceptions = DynamoExceptions(catalog.client, catalog.table)
    asked = any_exception(**fields)
    active = asked.changed(status=Status.ACTIVE, decided_by="ben", decided_at=NOON)
    exceptions.put(None, asked)
    exceptions.put(asked, active)
    return active


def test_disposition_is_what_was_asked_for_until_somebody_decides(
    dispositions: DynamoDispositions,
) -> None:
    dispositions.add(ASKED)
    assert dispositions.get(ID) == ASKED

    dispositions.decide(ASKED, APPROVED)
    assert dispositions.get(ID) == APPROVED
    assert list(dispositions.latest(5)) == [APPROVED]
    assert dispositions.get("DI-another") is None


def test_two_decisions_at_once_are_one(dispositions: DynamoDispositions) -> None:
    dispositions.add(ASKED)
    dispositions.decide(ASKED, APPROVED)

    with pytest.raises(StaleRecordError):
        dispositions.decide(ASKED, ASKED.changed(Stage.REFUSED, decided_by="carl"))
    dispositions.decide(APPROVED, EXECUTING)
    with pytest.raises(StaleRecordError):
        dispositions.decide(APPROVED, EXECUTING)
    with pytest.raises(StaleRecordError):
        dispositions.add(ASKED)


def test_object_goes_in_one_write_and_its_entry_says_what_is_deleted(
    catalog: DynamoCatalog, dispositions: DynamoDispositions
) -> None:
    begin(dispositions)
    record = an_image(catalog)
    change = erasure(catalog, record)

    dispositions.erase(change)

    assert catalog.get(record.object_id) == change.after
    assert change.after.disposition == ID
    item = catalog.client.get_item(
        TableName=catalog.table, Key=item_key(keys.object_key(record.object_id))
    )["Item"]
    assert not {"subject", "subject_tokens"} & item.keys()
    assert dispositions.entry(ID, record.object_id) == change.entry
    assert list(dispositions.entries(ID)) == [change.entry]


@pytest.mark.parametrize("stage", [APPROVED, ASKED.changed(Stage.REFUSED), None])
def test_object_stays_unless_the_disposition_is_being_carried_out(
    catalog: DynamoCatalog, dispositions: DynamoDispositions, stage: Disposition | None
) -> None:
    dispositions.add(ASKED)
    if stage:
        dispositions.decide(ASKED, stage)
    record = an_image(catalog)

    with pytest.raises(StaleRecordError):
        dispositions.erase(erasure(catalog, record))

    assert catalog.get(record.object_id) == record


@pytest.mark.parametrize("place", range(3))
def test_hold_on_any_scope_since_it_was_read_stops_the_write(
    catalog: DynamoCatalog, dispositions: DynamoDispositions, place: int
) -> None:
    begin(dispositions)
    record = an_image(catalog)
    change = erasure(catalog, record)
    hold(catalog, scope=scopes_of(record)[place])

    with pytest.raises(StaleRecordError):
        dispositions.erase(change)

    assert catalog.get(record.object_id) == record
    assert dispositions.entry(ID, record.object_id) is None


def test_exceptions_that_stand_as_they_were_read_do_not_stop_the_write(
    catalog: DynamoCatalog, dispositions: DynamoDispositions
) -> None:
    begin(dispositions)
    record = an_image(catalog)
    for kind in (ExceptionKind.HOT, ExceptionKind.RESIDENCY):
        hold(catalog, scope=scopes_of(record)[1], kind=kind, until=NOON + timedelta(days=9))

    dispositions.erase(erasure(catalog, record))

    assert dispositions.entry(ID, record.object_id)


def test_exception_in_anothers_place_stops_the_write(
    catalog: DynamoCatalog, dispositions: DynamoDispositions
) -> None:
    begin(dispositions)
    record = an_image(catalog)
    scope = scopes_of(record)[1]
    first = hold(catalog, scope=scope)
    change = erasure(catalog, record)
    ended = first.changed(status=Status.ENDED, ended_by="ben", ended_at=NOON)
    DynamoExceptions(catalog.client, catalog.table).put(first, ended)
    hold(catalog, scope=scope)

    with pytest.raises(StaleRecordError):
        dispositions.erase(change)


def test_record_that_moved_on_or_was_decided_about_stays(
    catalog: DynamoCatalog, dispositions: DynamoDispositions
) -> None:
    begin(dispositions)
    record = an_image(catalog)
    change = erasure(catalog, record)
    kept = Entry(record.object_id, Outcome.KEPT, NOON)

    assert dispositions.note(ID, kept) == kept
    assert dispositions.note(ID, an_entry(record)) == kept
    with pytest.raises(StaleRecordError):
        dispositions.erase(change)
    assert catalog.get(record.object_id) == record

    dispositions.settle(ID, replace(kept, says="again"))
    found = dispositions.entry(ID, record.object_id)
    assert found
    assert found.says == "again"


def test_search_entry_goes_once_nothing_of_the_study_carries_its_token(
    catalog: DynamoCatalog, dispositions: DynamoDispositions, change_log: DynamoChangeLog
) -> None:
    begin(dispositions)
    records = [an_image(catalog), an_image(catalog)]
    verified = [replace(each, state=State.VERIFIED, kind=Kind.DICOM) for each in records]
    change_log.record([RecordedChange(None, each) for each in verified])
    token = {"PatientID": "ab" * 32}

    def is_found() -> bool:
        key = (keys.find_pk("patientid", token["PatientID"]), "20260301#1.2")
        found = catalog.client.get_item(TableName=catalog.table, Key=item_key(key))
        study = catalog.client.get_item(
            TableName=catalog.table, Key=item_key((keys.study_pk("1.2"), keys.STUDY_SK))
        )["Item"]
        assert ("Item" in found) is ("PatientID" in study["tokens"]["M"])
        return "Item" in found

    assert is_found()
    dispositions.erase(erasure(catalog, records[0]))
    dispositions.forget("1.2", "20260301", token)
    assert is_found()

    dispositions.erase(erasure(catalog, records[1]))
    dispositions.forget("1.2", "20260301", token)
    dispositions.forget("1.2", "20260301", token)
    assert not is_found()


def test_history_remembers_the_copies_a_record_has_forgotten(change_log: DynamoChangeLog) -> None:
    record = any_record(version=2, held=any_location(bucket="quarantine"))
    placed = replace(record, version=3, held=None, placed=any_location(bucket="clinical"))
    change_log.record([RecordedChange(None, record), RecordedChange(record, placed)])

    found = DynamoCopyHistory(change_log.client, change_log.history_table).copies(record.object_id)

    assert set(found) == {record.held, placed.placed}


# ---- storage


def put(cloud: Cloud, bucket: str, key: str = "dicom/1", **how: Any) -> Location:
    answer = cloud.client("s3").put_object(
        Bucket=bucket, Key=key, Body=b"bytes", Metadata={OBJECT_ID_METADATA: "an-object"}, **how
    )
    return Location(bucket, key, answer["VersionId"])


def lockable(cloud: Cloud) -> str:
    name = f"fb-{any_hex(20)}"
    cloud.client("s3").create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def test_versions_of_a_key_are_described_and_no_other_keys(cloud: Cloud) -> None:
    bucket = cloud.bucket()
    first, second = put(cloud, bucket), put(cloud, bucket)
    put(cloud, bucket, "dicom/10")
    cloud.client("s3").delete_object(Bucket=bucket, Key="dicom/1")
    versions = S3KeptVersions(cloud.client("s3"))

    found = versions.of_key(bucket, "dicom/1")

    assert {each.location for each in found} == {first, second}
    assert {(each.size_bytes, each.object_id) for each in found} == {(5, "an-object")}
    assert not any(each.is_held or each.locked_until for each in found)
    assert versions.at(replace(first, key="dicom/2")) is None


def test_one_version_is_deleted_for_good_and_again_is_harmless(cloud: Cloud) -> None:
    bucket = cloud.bucket()
    first, second = put(cloud, bucket), put(cloud, bucket)
    shredder = S3Shredder(cloud.client("s3"))

    assert shredder.delete(first) == ""
    assert shredder.delete(first) == ""

    listed = cloud.client("s3").list_object_versions(Bucket=bucket)
    assert [each["VersionId"] for each in listed["Versions"]] == [second.version_id]
    assert not listed.get("DeleteMarkers")


def test_version_without_an_id_is_deleted_itself_not_hidden(cloud: Cloud) -> None:
    bucket = cloud.bucket(versioned=False)
    cloud.client("s3").put_object(Bucket=bucket, Key="k", Body=b"x")

    assert S3Shredder(cloud.client("s3")).delete(Location(bucket, "k")) == ""

    assert not cloud.client("s3").list_object_versions(Bucket=bucket).get("DeleteMarkers")
    with pytest.raises(ClientError):
        cloud.client("s3").head_object(Bucket=bucket, Key="k")


def test_version_under_a_legal_hold_stays_and_says_so(cloud: Cloud) -> None:
    held = put(cloud, lockable(cloud))
    s3 = cloud.client("s3")
    address: Any = {"Bucket": held.bucket, "Key": held.key, "VersionId": held.version_id}
    s3.put_object_legal_hold(**address, LegalHold={"Status": "ON"})
    described = S3KeptVersions(s3).at(held)
    assert described
    assert described.is_held

    assert "legal hold" in S3Shredder(s3).delete(held)

    assert S3KeptVersions(s3).at(held)


def test_locked_replica_stays_and_says_until_when(cloud: Cloud) -> None:
    if cloud.name == "ministack":
        pytest.skip("MiniStack deletes a version under governance retention")
    s3 = cloud.client("s3")
    until = datetime.now(UTC) + timedelta(days=30)
    mode: Any = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    locked = put(cloud, lockable(cloud), **mode)

    assert f"locks it until {until:%Y-%m-%d}" in S3Shredder(s3).delete(locked)

    assert S3KeptVersions(s3).at(locked)
