"""DynamoChangeLog: history, search entries and ledger, the same however often they are written."""

import json
from dataclasses import fields, replace
from typing import Any

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.change_log import DynamoChangeLog, ledger_line
from forebay.adapters.ledger import read_line
from forebay.domain.objects import Choice, Decision, Kind, ObjectRecord
from forebay.domain.policy.decision import PolicyDecision
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.states import State
from forebay.services.ports import RecordedChange, RecordedRun
from tests.adapters.conftest import Cloud, calls_of
from tests.unit.fakes import (
    NOON,
    any_digest,
    any_finding,
    any_instance,
    any_location,
    any_record,
    any_run,
)

MARKER = "Xq7Zk"


def verified(record: ObjectRecord) -> RecordedChange:
    facts = {"metadata": any_instance().as_metadata(), "subject": {"PatientID": MARKER}}
    return RecordedChange(record, record.moved_to(State.VERIFIED, NOON, **facts))


def rows(cloud: Cloud, table: str) -> list[Any]:
    items: list[Any] = cloud.client("dynamodb").scan(TableName=table)["Items"]
    return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


def ledger(cloud: Cloud, log: DynamoChangeLog) -> dict[str, list[Any]]:
    s3 = cloud.client("s3")
    found = {}
    for entry in s3.list_objects_v2(Bucket=log.ledger_bucket).get("Contents", []):
        body = s3.get_object(Bucket=log.ledger_bucket, Key=entry["Key"])["Body"].read()
        found[entry["Key"]] = [json.loads(line) for line in body.decode().splitlines()]
    return found


def test_batch_becomes_one_ledger_object_named_by_day_and_content(
    cloud: Cloud, change_log: DynamoChangeLog
) -> None:
    records = [any_record() for _ in range(3)]

    change_log.record([RecordedChange(None, record) for record in records])

    ((key, lines),) = ledger(cloud, change_log).items()
    assert key.startswith("changes/2026/03/01/120000-")
    assert key.endswith(".jsonl")
    assert [line["object_id"] for line in lines] == [r.object_id for r in records]


def test_batch_that_comes_again_writes_the_same_again(
    cloud: Cloud, change_log: DynamoChangeLog
) -> None:
    record = any_record()
    batch = [RecordedChange(None, record), verified(record)]
    change_log.record(batch)
    before = [rows(cloud, t) for t in (change_log.table, change_log.history_table)]
    written = ledger(cloud, change_log)

    change_log.record(batch)

    assert [rows(cloud, t) for t in (change_log.table, change_log.history_table)] == before
    assert ledger(cloud, change_log) == written


def test_more_changes_than_one_request_takes_are_all_written(
    cloud: Cloud, change_log: DynamoChangeLog
) -> None:
    change_log.record([RecordedChange(None, any_record()) for _ in range(60)])

    assert len(rows(cloud, change_log.history_table)) == 60


def test_study_of_many_instances_in_a_batch_is_one_entry(
    cloud: Cloud, change_log: DynamoChangeLog
) -> None:
    same = any_instance()
    changes = []
    for _ in range(30):
        record = any_record()
        after = record.moved_to(State.VERIFIED, NOON, metadata=same.as_metadata())
        changes.append(RecordedChange(record, after))

    with calls_of(cloud.client("dynamodb")) as calls:
        change_log.record(changes)

    entities = [item["entity"]["S"] for item in rows(cloud, change_log.table)]
    assert sorted(entities) == ["search", "search", "search", "series", "study"]
    assert calls.count("BatchWriteItem") == 3


def test_no_person_is_named_in_history_ledger_or_search_entries(
    cloud: Cloud, change_log: DynamoChangeLog
) -> None:
    record = any_record()

    change_log.record([RecordedChange(None, record), verified(record)])

    for table in (change_log.table, change_log.history_table):
        assert MARKER not in str(rows(cloud, table))
    assert MARKER not in str(ledger(cloud, change_log))


def test_history_says_what_happened_and_why(cloud: Cloud, change_log: DynamoChangeLog) -> None:
    record = any_record()
    finding = any_finding(position="byte 7")
    after = record.moved_to(State.QUARANTINED, NOON, finding=finding)

    change_log.record([RecordedChange(record, after)])

    ((line,),) = ledger(cloud, change_log).values()
    assert (line["from"], line["to"], line["version"]) == ("RECEIVED", "QUARANTINED", 2)
    assert line["finding"] == finding.as_dict()
    assert line["location"]["version_id"] == record.location.version_id


def test_duplicates_and_conflicts_describe_no_study(
    cloud: Cloud, change_log: DynamoChangeLog
) -> None:
    record = any_record()
    for state in (State.DUPLICATE, State.CONFLICT):
        after = record.moved_to(state, NOON, metadata=any_instance().as_metadata())
        change_log.record([RecordedChange(record, after)])

    assert rows(cloud, change_log.table) == []


def test_reads_of_a_run_are_listed_once_verified(cloud: Cloud, change_log: DynamoChangeLog) -> None:
    record = any_record(kind=Kind.FASTQ)
    after = record.moved_to(State.VERIFIED, NOON, metadata={"run": "M1_7_FC1"})

    change_log.record([RecordedChange(record, after)])

    (item,) = rows(cloud, change_log.table)
    assert item["pk"]["S"] == "FIND#run#M1_7_FC1"
    assert item["object_id"]["S"] == record.object_id


def test_objects_are_found_by_the_copies_they_have_or_had(
    catalog: DynamoCatalog, change_log: DynamoChangeLog
) -> None:
    copy = any_location(key="dicom/1/2/3.dcm")
    before, other = any_record(), any_record()
    placed = before.amended(NOON, placed=copy)
    beside = other.amended(NOON, placed=replace(copy, version_id="another"))
    held = any_record().amended(NOON, held=replace(copy, key="NOT_DICOM/x"))

    change_log.record(
        [
            RecordedChange(before, placed),
            RecordedChange(other, beside),
            RecordedChange(None, held),
            RecordedChange(placed, placed.amended(NOON, placed=None)),
        ]
    )

    found = catalog.objects_copied_to(copy.bucket, copy.key)
    assert set(found) == {before.object_id, other.object_id}
    assert catalog.objects_copied_to(copy.bucket, "NOT_DICOM/x") == (held.object_id,)
    assert catalog.objects_copied_to(copy.bucket, "elsewhere") == ()


def test_whole_record_but_the_person_can_be_read_from_its_line() -> None:
    record = any_record(
        state=State.QUARANTINED,
        version=4,
        amended_at=NOON.replace(hour=13),
        etag="e",
        sequencer="0A",
        composite_checksum="crc32:x-2",
        source_system="pacs",
        cohort="RARE-1",
        digests=(any_digest(),),
        finding=any_finding(),
        warnings=(any_finding(position="byte 7"),),
        original_id="original",
        object_class="clinical-hot",
        class_rule="rule",
        retention_class="ten-years",
        consent_state="given",
        upload_batch="b1",
        decision=Decision(Choice.KEEP, "arn:me", NOON, "why"),
        redrives=2,
        rechecked_at=NOON,
        placed=any_location(bucket="clinical"),
        placed_at=NOON,
        version_since=NOON,
        policy=PolicyDecision("clinical-hot", StorageClass.STANDARD, decided_at=NOON),
        held=any_location(bucket="quarantine"),
        disposition="DI-abcdefghijklmnop",
        parents=("parent",),
        pipeline_run_id="run",
        metadata={"Modality": "CT", "ratio": 0.5, "nested": {"list": [1, "two"]}},
    )
    person: dict[str, Any] = {
        "subject": {"PatientID": MARKER},
        "subject_tokens": {"PatientID": "token"},
    }
    empty = any_record()
    missing = [f.name for f in fields(record) if getattr(record, f.name) == getattr(empty, f.name)]
    always_the_same = {"kind", "site", "state_since", "arrived_at", "size_bytes", "duplicate_count"}
    assert set(missing) == {*always_the_same, "subject", "subject_tokens"}

    change = RecordedChange(record, replace(record, **person))
    line = read_line(json.dumps(ledger_line(change)))

    assert line.after == record
    assert line.previous_state == "QUARANTINED"
    assert line.subject_keywords == ("PatientID",)


def test_pipeline_runs_are_in_the_ledger_and_not_in_the_history(
    cloud: Cloud, change_log: DynamoChangeLog
) -> None:
    run = any_run(inputs={"R1": "a"}, payload={"reads": {"R1": {"key": "k"}}})

    change_log.record([RecordedRun(None, run)])

    ((line,),) = ledger(cloud, change_log).values()
    assert read_line(json.dumps(line)).after == run
    assert rows(cloud, change_log.history_table) == []
