"""Every sample event goes through its function; each story tells what must follow."""

import base64
import hashlib
import json
import logging
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from forebay.adapters.accesses import DynamoAccesses
from forebay.adapters.callers import prove
from forebay.adapters.dead_letters import DynamoDeadLetters
from forebay.adapters.disposition_orders import draft_text
from forebay.adapters.dispositions import DynamoDispositions
from forebay.adapters.exceptions import DynamoExceptions, DynamoPolicyBook, exception_data
from forebay.adapters.orders import order_event
from forebay.adapters.scopes import DynamoObjectsInScope
from forebay.domain.dead_letters import DeadLetter
from forebay.domain.findings import ReasonCode
from forebay.domain.objects import Kind, Location, object_id
from forebay.domain.orders import Order
from forebay.domain.policy.disposition import Draft
from forebay.domain.policy.exceptions import Scope, ScopeKind, Status
from forebay.domain.policy.standing import access_scope
from forebay.domain.reconciliation import DifferenceKind
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import State
from forebay.formats.dicom import inspect_dicom
from forebay.formats.digests import digest_chunks
from forebay.formats.genomics import PARSERS
from forebay.formats.manifests import parse_checksum_file
from forebay.names import Step, Zone
from forebay.runtime.wiring import wiring
from forebay.services.ports import Change, Lease, RecordedChange
from forebay.services.reconcile_storage import scope_of
from forebay.services.request_disposition import (
    Decided,
    DecideDisposition,
    DraftDisposition,
    PreviewDisposition,
    RequestDisposition,
    Wish,
)
from forebay_cli.receipts import CERTIFICATE, verify_receipt, verify_signed
from tests.functions.conftest import (
    ACCESS_LOG,
    ACCOUNT,
    CT,
    CT_AGAIN,
    EVENTS,
    FOLDER,
    PLACED_CT,
    PLACED_R1,
    PLACED_R2,
    R1,
    R1_MD5,
    R2,
    REGION,
    Deployment,
    Story,
    any_fastq,
    event,
    real_ct,
)
from tests.unit.fakes import NOON, any_exception, any_record, any_run

NONE_FAILED: dict[str, Any] = {"batchItemFailures": []}
RUN_ID = "read_qc-0123456789abcdef0123456789abcdef"


def sha256_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def md5_of(body: bytes) -> bytes:
    return hashlib.md5(body).hexdigest().encode()  # noqa: S324 - what senders send


def arrival_is_registered_once(cloud: Deployment) -> None:
    cloud.put(CT, real_ct())
    message = event("01-s3-object-created-eventbridge.json")

    assert cloud.invoke("register_object", message) == NONE_FAILED
    first = cloud.record(CT)
    assert cloud.invoke("register_object", message) == NONE_FAILED

    assert (first.state, first.kind, first.site) == (State.RECEIVED, Kind.DICOM, "st-anna")
    assert first.sequencer == "0062E99A88DC407460"
    assert first.location == CT
    assert cloud.record(CT) == first


def native_notification_registers_each_of_its_objects(cloud: Deployment) -> None:
    cloud.put(CT, real_ct())
    cloud.put(R1, any_fastq(1))

    message = event("02-s3-object-created-notification.json")
    assert cloud.invoke("register_object", message) == NONE_FAILED

    assert cloud.record(CT).kind is Kind.DICOM
    assert cloud.record(R1).kind is Kind.FASTQ


def event_without_version_registers_the_version_storage_names(cloud: Deployment) -> None:
    cloud.put(CT, real_ct())

    message = event("03-s3-object-created-without-version.json")
    assert cloud.invoke("register_object", message) == NONE_FAILED

    assert cloud.record(CT).location == CT


def directory_marker_is_recorded_and_ignored(cloud: Deployment) -> None:
    cloud.put(FOLDER, b"")

    message = event("04-s3-directory-marker.json")
    assert cloud.invoke("register_object", message) == NONE_FAILED

    assert cloud.record(FOLDER).state is State.IGNORED


def nothing_is_registered_by_a_test_event(cloud: Deployment) -> None:
    assert cloud.invoke("register_object", event("05-s3-test-event.json")) == NONE_FAILED
    assert _scanned(cloud) == []


def nothing_is_registered_by_a_delete_marker(cloud: Deployment) -> None:
    cloud.put(CT, real_ct())

    assert cloud.invoke("register_object", event("06-s3-object-deleted.json")) == NONE_FAILED
    assert _scanned(cloud) == []


def bad_message_fails_alone(cloud: Deployment) -> None:
    cloud.put(CT, real_ct())
    cloud.put(R1, any_fastq(1))
    message = event("07-s3-batch-with-one-bad-message.json")

    answer = cloud.invoke("register_object", message)

    bad = message["Records"][1]["messageId"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": bad}]}
    assert cloud.record(CT).state is State.RECEIVED
    assert cloud.record(R1).state is State.RECEIVED


def stream_becomes_history_ledger_and_events(cloud: Deployment) -> None:
    message = event("08-catalog-stream-batch.json")

    assert cloud.invoke("relay_changes", message) == NONE_FAILED
    assert cloud.invoke("relay_changes", message) == NONE_FAILED

    told = [(e["detail-type"], e["detail"]["version"]) for e in cloud.published()]
    # The claim, its removal and the duplicate counter are no changes.
    expected = [("ObjectReceived", 1), ("ObjectVerified", 2), ("PipelineRunChanged", 1)]
    assert sorted(told) == sorted(expected * 2)
    history = cloud.reader.history(object_id(CT))
    assert [entry["to"] for entry in history] == ["RECEIVED", "VERIFIED"]
    assert [study.modalities for study in cloud.reader.studies("modality", "CT")] == [("CT",)]
    assert cloud.reader.sites() == ["st-anna"]
    ledger = cloud.s3.list_objects_v2(Bucket=cloud.buckets[Zone.LEDGER])["Contents"]
    assert len(ledger) == 1
    assert "PSEUDO-0001" not in json.dumps(history)


def real_ct_is_verified_with_its_identity(cloud: Deployment) -> None:
    cloud.arrived(CT, real_ct())

    message = event("09-object-received-dicom.json")
    assert cloud.invoke("inspect_dicom", message) == NONE_FAILED

    record = cloud.record(CT)
    assert record.state is State.VERIFIED
    assert record.metadata["Modality"] == "CT"
    assert record.metadata["StudyDate"] == "20040119"
    assert record.subject["PatientID"] == "1CT1"
    assert len(record.subject_tokens["PatientID"]) == 64
    assert cloud.reader.instance(record.metadata["SOPInstanceUID"]) == record


def reads_are_verified_in_one_pass(cloud: Deployment) -> None:
    body = any_fastq(1)
    cloud.arrived(R1, body, Metadata={"md5": md5_of(body).decode()})

    message = event("10-object-received-reads.json")
    assert cloud.invoke("inspect_genomics", message) == NONE_FAILED

    record = cloud.record(R1)
    assert record.state is State.VERIFIED
    assert (record.metadata["reads"], record.metadata["sample"]) == (25, "NA12878")
    assert record.metadata["run"] == "A00689_7_HXXX"


def sidecar_wakes_the_reads_that_wait_for_it(cloud: Deployment) -> None:
    body = any_fastq(1)
    cloud.arrived(R1, body)
    cloud.invoke("inspect_genomics", event("10-object-received-reads.json"))
    assert cloud.record(R1).state is State.AWAITING_DIGEST
    cloud.arrived(R1_MD5, md5_of(body) + b"  NA12878_S1_L001_R1_001.fastq.gz\n")

    message = event("11-object-received-checksums.json")
    assert cloud.invoke("inspect_genomics", message) == NONE_FAILED

    assert cloud.record(R1_MD5).state is State.VERIFIED
    assert cloud.record(R1).state is State.RECEIVED
    cloud.invoke("inspect_genomics", event("10-object-received-reads.json"))
    assert cloud.record(R1).state is State.VERIFIED


def verified_instance_is_placed(cloud: Deployment) -> None:
    cloud.arrived(CT, real_ct())
    cloud.invoke("inspect_dicom", event("09-object-received-dicom.json"))

    assert cloud.invoke("place_object", event("12-object-verified.json")) == NONE_FAILED

    record = cloud.record(CT)
    assert record.state is State.PLACED
    assert (record.object_class, record.retention_class) == ("clinical-hot", "clinical-10y")
    assert record.placed
    assert record.placed.bucket == cloud.buckets[Zone.CLINICAL]
    assert cloud.body(record.placed) == real_ct()
    assert cloud.tags(record.placed)["forebay:verdict"] == "verified"
    assert cloud.tags(CT) == {"forebay:landing": "settled"}


def redelivery_after_a_crash_reuses_the_copy(cloud: Deployment) -> None:
    made = cloud.arrived(CT, real_ct())
    cloud.invoke("inspect_dicom", event("09-object-received-dicom.json"))
    place = wiring().place_object
    place._place(cloud.record(made), redelivered=False)
    placed = cloud.record(made).placed
    assert placed
    _rewind(cloud, made)

    message = event("13-object-verified-redelivered.json")
    assert cloud.invoke("place_object", message) == NONE_FAILED

    assert cloud.record(made).placed == placed
    versions = cloud.s3.list_object_versions(Bucket=placed.bucket)["Versions"]
    assert [version["VersionId"] for version in versions] == [placed.version_id]


def refused_instance_is_held_with_its_reason(cloud: Deployment) -> None:
    cloud.arrived(CT, b"this is no DICOM file" * 100)
    cloud.invoke("inspect_dicom", event("09-object-received-dicom.json"))

    assert cloud.invoke("place_object", event("14-object-quarantined.json")) == NONE_FAILED

    record = cloud.record(CT)
    assert record.state is State.QUARANTINED
    assert record.finding
    assert record.finding.code is ReasonCode.NOT_DICOM
    assert record.held
    assert record.held.bucket == cloud.buckets[Zone.QUARANTINE]
    assert cloud.tags(record.held)["forebay:reason"] == "NOT_DICOM"


def duplicate_is_settled_and_counted(cloud: Deployment) -> None:
    cloud.arrived(CT, real_ct())
    cloud.invoke("inspect_dicom", event("09-object-received-dicom.json"))
    cloud.invoke("place_object", event("12-object-verified.json"))
    again = cloud.arrived(CT_AGAIN, real_ct())
    wiring().inspect_dicom(*_dicom_parsers())(again)

    assert cloud.invoke("place_object", event("15-object-duplicated.json")) == NONE_FAILED

    assert cloud.record(CT_AGAIN).state is State.DUPLICATE
    assert cloud.record(CT_AGAIN).original_id == object_id(CT)
    assert cloud.record(CT).duplicate_count == 1
    assert cloud.tags(CT_AGAIN) == {"forebay:landing": "settled"}


def second_mate_starts_the_pipeline(cloud: Deployment) -> None:
    _place_pair(cloud)

    message = event("16-reads-placed.json")
    assert cloud.invoke("submit_pipeline", message) == NONE_FAILED
    assert cloud.invoke("submit_pipeline", message) == NONE_FAILED

    (run,) = cloud.reader.runs_of_sample("NA12878", sites=["st-anna"])
    assert run.state is RunState.SUBMITTED
    assert run.inputs == {"R1": object_id(R1), "R2": object_id(R2)}
    assert run.execution_arn.endswith(run.run_id)


def pair_becomes_a_report_that_is_handed_in(cloud: Deployment) -> None:
    cloud.put(PLACED_R1, any_fastq(1))
    cloud.put(PLACED_R2, any_fastq(2))
    request = event("17-read-qc-request.json")

    answer = cloud.invoke("run_read_qc", request)
    again = cloud.invoke("run_read_qc", request)

    assert answer["run_id"] == RUN_ID
    keys = [output["key"] for output in answer["outputs"]]
    folder = f"pipelines/{RUN_ID}/NA12878.read_qc"
    assert keys == [f"{folder}.json", f"{folder}.html"]
    report = json.loads(_output(cloud, answer, 0))
    assert report["pairs"] == 25
    assert report["inputs"]["R1"]["object_id"] == object_id(R1)
    assert _output(cloud, answer, 1).startswith(b"<!doctype html>")
    # Equal inputs, equal bytes: a repeated execution's outputs are duplicates, not conflicts.
    assert [_output(cloud, answer, i) for i in (0, 1)] == [_output(cloud, again, i) for i in (0, 1)]


def started_execution_is_no_end(cloud: Deployment) -> None:
    run = _opened(cloud)

    assert cloud.invoke("record_pipeline", event("18-execution-running.json")) == NONE_FAILED
    assert cloud.reader.pipeline_run(RUN_ID) == run


def success_is_recorded(cloud: Deployment) -> None:
    _opened(cloud)

    message = event("19-execution-succeeded.json")
    assert cloud.invoke("record_pipeline", message) == NONE_FAILED
    assert cloud.invoke("record_pipeline", message) == NONE_FAILED

    run = cloud.reader.pipeline_run(RUN_ID)
    assert run
    assert (run.state, run.version, run.error) == (RunState.SUCCEEDED, 2, "")


def failure_is_recorded_with_its_error(cloud: Deployment) -> None:
    _opened(cloud)

    assert cloud.invoke("record_pipeline", event("20-execution-failed.json")) == NONE_FAILED

    run = cloud.reader.pipeline_run(RUN_ID)
    assert run
    assert run.state is RunState.FAILED
    assert "Lambda.Unknown" in run.error


def sweep_gives_a_stuck_object_to_its_step_again(cloud: Deployment) -> None:
    cloud.put(CT, real_ct())
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    stuck = any_record(location=CT, state_since=long_ago, size_bytes=len(real_ct()))
    wiring.cache_clear()
    wiring().catalog.register(stuck)
    tick = event("21-sweep-scheduled.json")

    assert cloud.invoke("sweep_deadlines", tick) == {"redriven": 1, "overdue": 0}
    assert cloud.invoke("sweep_deadlines", tick) == {"overdue": 0}

    (body,) = cloud.waiting(Step.INSPECT_DICOM)
    message = event("09-object-received-dicom.json")
    message["Records"][0]["body"] = body
    assert cloud.record(CT).redrives == 1
    assert cloud.invoke("inspect_dicom", message) == NONE_FAILED
    assert cloud.record(CT).state is State.VERIFIED


def flipped_byte_convicts_and_is_counted(cloud: Deployment) -> None:
    made = _placed_ct(cloud)
    assert cloud.invoke("recheck_objects", event("27-recheck-schedule.json"))["Differences"] == 0
    placed = cloud.record(made).placed
    assert placed
    _flip_stored_byte(placed)
    cloud.s3.delete_object(Bucket=CT.bucket, Key=CT.key, VersionId=CT.version_id)

    counts = cloud.invoke("recheck_objects", event("27-recheck-schedule.json"))

    record = cloud.record(made)
    assert (counts["Differences"], counts["Convicted"], counts["RecheckFailures"]) == (1, 1, 0)
    assert (record.state, record.rechecked_at is not None) == (State.QUARANTINED, True)
    assert record.finding
    assert record.finding.code is ReasonCode.STORED_BYTES_CHANGED
    assert cloud.tags(placed)["forebay:verdict"] == "refused"


def object_placed_before_policy_is_judged_by_the_clock(cloud: Deployment) -> None:
    made = _judged_long_ago(cloud)

    counts = cloud.invoke("evaluate_policy", event("34-evaluate-schedule.json"))

    record = cloud.record(made)
    assert (counts["EvaluatedObjects"], counts["ChangedObjects"]) == (1, 1)
    assert record.policy
    assert record.placed
    tags = cloud.tags(record.placed)
    assert tags["forebay:tiering"] == record.policy.tiering
    assert tags["forebay:removal"] == record.policy.removal
    again = cloud.invoke("evaluate_policy", event("34-evaluate-schedule.json"))
    assert again["EvaluatedObjects"] == 0


def legal_hold_reaches_its_object(cloud: Deployment) -> None:
    made = _placed_ct(cloud)
    said = event("35-evaluate-exception.json")
    scope = Scope(ScopeKind.OBJECT, made)
    hold = any_exception(exception_id=said["exception_id"], scope=scope, status=Status.ACTIVE)
    DynamoExceptions(cloud.dynamodb, cloud.table).put(None, hold)

    answer = cloud.invoke("evaluate_policy", said)

    assert answer == {"exception_id": hold.exception_id, "reached": 1, "is_complete": True}
    record = cloud.record(made)
    assert record.placed
    assert record.policy
    assert record.policy.exceptions == (hold.exception_id,)
    tags = cloud.tags(record.placed)
    assert (tags["forebay:tiering"], tags["forebay:removal"]) == ("none", "none")
    assert tags["forebay:hold"] == "legal"


def order_about_objects_answers_for_each(cloud: Deployment) -> None:
    made = _judged_long_ago(cloud)

    answer = cloud.invoke("evaluate_policy", event("36-evaluate-objects.json"))

    (told,) = answer["objects"]
    assert answer["policy"] == wiring().classifier.policy.digest
    assert (told["object_id"], told["changed"]) == (made, True)
    assert told["class"] == cloud.record(made).object_class
    assert told["decision"]["because"]["plan_id"] == "plan-20260301"


def census_counts_what_is_placed(cloud: Deployment) -> None:
    cloud.relay(_placed_ct(cloud))

    answer = cloud.invoke("evaluate_policy", event("37-evaluate-census.json"))

    assert (answer["objects"], answer["bytes"]) == (1, len(real_ct()))
    assert answer["IncompleteCensus"] == 0


def _judged_long_ago(cloud: Deployment) -> str:
    """Place an instance as it was done before there was policy."""
    made = _placed_ct(cloud)
    record = cloud.record(made)
    wiring().catalog.apply(Change(record, record.amended(record.state_since, policy=None)))
    return made


def receipt_of_a_placed_batch_verifies_with_the_keys_public_half(cloud: Deployment) -> None:
    made = _placed_ct(cloud, Metadata={"upload-batch": "run7", "sha256": sha256_of(real_ct())})
    cloud.relay(made)

    answer = cloud.invoke("issue_receipt", event("28-receipt-request.json"))

    public = boto3.client("kms").get_public_key(KeyId=cloud.receipt_key)["PublicKey"]
    pem = load_der_public_key(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    receipt = verify_receipt(answer["receipt"].encode(), pem)
    assert receipt.is_safe
    assert receipt.key_id == cloud.receipt_key
    assert [entry["object_id"] for entry in receipt.objects] == [made]
    kept = Location(answer["bucket"], answer["key"], answer["version_id"])
    assert cloud.body(kept).decode() == answer["receipt"]
    assert kept.key.startswith("receipts/st-anna/run7/")


def unjudged_arrival_that_was_deleted_is_its_senders_to_repeat(cloud: Deployment) -> None:
    message = event("31-s3-object-deleted-for-good.json")
    cloud.arrived(CT, real_ct())
    assert cloud.invoke("register_object", message) == NONE_FAILED
    assert cloud.record(CT).state is State.RECEIVED  # it is there: the event lies

    cloud.s3.delete_object(Bucket=CT.bucket, Key=CT.key, VersionId=CT.version_id)
    assert cloud.invoke("register_object", message) == NONE_FAILED
    assert cloud.invoke("register_object", message) == NONE_FAILED
    assert cloud.invoke("register_object", event("01-s3-object-created-eventbridge.json")) == (
        NONE_FAILED
    )

    record = cloud.record(CT)
    assert (record.state, record.version) == (State.DELETED, 2)
    assert record.finding
    assert record.finding.code is ReasonCode.SOURCE_DELETED


def copy_that_lifecycle_removed_against_policy_is_deleted(cloud: Deployment) -> None:
    _place_ct(cloud)
    message = event("32-s3-copy-expired.json")
    cloud.s3.delete_object(
        Bucket=PLACED_CT.bucket, Key=PLACED_CT.key, VersionId=PLACED_CT.version_id
    )

    assert cloud.invoke("register_object", message) == NONE_FAILED
    assert cloud.invoke("register_object", message) == NONE_FAILED

    record = cloud.record(CT)
    # Its class keeps it: no rule of ours could have removed it.
    assert record.state is State.DELETED
    assert record.finding
    assert record.finding.code is ReasonCode.DELETED_OUTSIDE_POLICY


def restore_is_a_fact_of_the_record(cloud: Deployment) -> None:
    _place_ct(cloud)

    message = event("33-s3-restore-completed.json")
    assert cloud.invoke("register_object", message) == NONE_FAILED
    assert cloud.invoke("register_object", message) == NONE_FAILED

    record = cloud.record(CT)
    assert (record.state, record.version) == (State.PLACED, 4)
    assert record.metadata["storage"]["restore"] == {
        "value": "restored",
        "at": "2026-03-02T12:00:00Z",
        "until": "2026-03-09T00:00:00Z",
    }


def approved_disposition_is_carried_out_and_certified(cloud: Deployment) -> None:
    _place_ct(cloud)
    message = event("40-dispose-request.json")
    _approve_disposition(cloud, message["disposition_id"])

    answer = cloud.invoke("dispose_objects", message)
    again = cloud.invoke("dispose_objects", message)

    assert (answer["stage"], answer["left"], answer["removed"]) == ("DONE", 0, 1)
    assert again == answer
    record = cloud.record(CT)
    assert (record.state, record.disposition) == (State.DELETED, message["disposition_id"])
    assert not record.subject
    for gone in (CT, PLACED_CT):
        assert not cloud.s3.list_object_versions(Bucket=gone.bucket).get("Versions")
    public = boto3.client("kms").get_public_key(KeyId=cloud.receipt_key)["PublicKey"]
    pem = load_der_public_key(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _, told = verify_signed(cloud.body(Location(**answer["certificate"])), pem, CERTIFICATE)
    assert told["versions_removed"] == 2
    assert told["legal_basis"] == "GDPR article 17"


def _approve_disposition(cloud: Deployment, disposition_id: str) -> None:
    """Let two persons agree on the deletion of the CT, which a floor would keep."""
    by, dispose = "arn:aws:iam::1:user/anna", wiring().dispose_objects
    ask = RequestDisposition(dispose.dispositions, dispose.store, dispose.clock)
    assert isinstance(ask(_drafted(cloud, disposition_id, by=by), by=by), Decided)
    decide = DecideDisposition(dispose.dispositions, dispose.store, dispose.clock)
    assert isinstance(decide.approve(disposition_id, by="arn:aws:iam::1:user/ben"), Decided)


def _drafted(cloud: Deployment, disposition_id: str, *, by: str) -> Draft:
    """Write down the deletion of the CT, as the command line of somebody does."""
    dispose = wiring().dispose_objects
    scopes = DynamoObjectsInScope(cloud.dynamodb, cloud.table)
    draft = DraftDisposition(
        PreviewDisposition(dispose.surveyor, scopes, tuple, dispose.clock),
        dispose.store,
        cloud.buckets[Zone.LEDGER],
        lambda _: base64.b32decode(disposition_id.removeprefix("DI-").upper()),
    )
    wish = Wish(
        (Scope(ScopeKind.OBJECT, object_id(CT)),), reason="withdrawn", basis="GDPR article 17"
    )
    made = draft(wish, by=by)
    assert isinstance(made, Draft)
    return made


def stored_copy_without_its_verdict_is_reported(cloud: Deployment) -> None:
    cloud.arrived(CT, real_ct())
    cloud.invoke("inspect_dicom", event("09-object-received-dicom.json"))
    cloud.invoke("place_object", event("12-object-verified.json"))
    placed = cloud.record(CT).placed
    assert placed
    cloud.invoke("relay_changes", event("08-catalog-stream-batch.json"))
    cloud.s3.put_object_tagging(
        Bucket=placed.bucket,
        Key=placed.key,
        Tagging={"TagSet": [{"Key": "forebay:object-id", "Value": object_id(CT)}]},
    )
    wiring.cache_clear()
    reconcile = wiring().reconcile_on_schedule
    scope = replace(scope_of(event("38-reconcile-schedule.json")), grace_s=-60)

    report = reconcile(scope, is_time_up=lambda: False)
    answer = cloud.invoke("reconcile_storage", event("38-reconcile-schedule.json"))

    assert report.counts == {DifferenceKind.TAG_DRIFT: 1, DifferenceKind.REPLICA_MISSING: 1}
    # By the schedule's own scope it is younger than the grace period: in flight.
    assert (answer["counts"], answer["complete"]) == ({}, True)
    assert answer["checked"]["versions"] == 1
    keys = cloud.s3.list_objects_v2(Bucket=cloud.buckets[Zone.LEDGER], Prefix="reconciliation/")[
        "Contents"
    ]
    assert len(keys) == 3  # two reports and the cursor


def letters_of(cloud: Deployment) -> list[DeadLetter]:
    """Return every letter, of all causes."""
    letters = DynamoDeadLetters(cloud.dynamodb, cloud.table)
    return [x for group in letters.groups() for x in letters.letters(group.signature)]


def dead_letter_is_archived_once_with_the_reason_its_step_left(cloud: Deployment) -> None:
    message = event("13-object-verified-redelivered.json")
    failed = {"itemIdentifier": message["Records"][0]["messageId"]}
    assert cloud.invoke("place_object", message) == {"batchItemFailures": [failed]}
    dead = event("22-dead-letter.json")
    dead["Records"][0]["messageId"] = failed["itemIdentifier"]

    assert cloud.invoke("archive_dead_letters", dead) == NONE_FAILED
    assert cloud.invoke("archive_dead_letters", dead) == NONE_FAILED

    (letter,) = letters_of(cloud)
    assert (letter.step, letter.failures) == (Step.PLACE_OBJECT, 1)
    assert letter.failure.error == "ObjectMissingError"
    assert letter.failure.message == "object <value> is not in the catalog"
    assert letter.about == object_id(CT)
    assert json.loads(cloud.body(letter.body))["body"] == dead["Records"][0]["body"]


def undeliverable_event_says_why_eventbridge_gave_up(cloud: Deployment) -> None:
    message = event("23-dead-letter-undeliverable.json")

    assert cloud.invoke("archive_dead_letters", message) == NONE_FAILED

    (letter,) = letters_of(cloud)
    assert letter.failure.error == "EventBridge NO_PERMISSIONS"
    assert "sqs:sendmessage" in letter.failure.message


def batch_the_stream_forgot_keeps_its_positions(cloud: Deployment) -> None:
    message = event("24-dead-letter-of-the-stream.json")

    assert cloud.invoke("archive_dead_letters", message) == NONE_FAILED

    (letter,) = letters_of(cloud)
    assert (letter.step, letter.about) == (Step.RELAY_CHANGES, "")
    assert json.loads(cloud.body(letter.body))["body"] == message["Records"][0]["body"]


def opened_study_is_learned_from_the_access_log_once(cloud: Deployment) -> None:
    _place_ct(cloud)
    cloud.s3.create_bucket(
        Bucket=ACCESS_LOG.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    cloud.s3.put_bucket_versioning(
        Bucket=ACCESS_LOG.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    read = (
        f"owner {PLACED_CT.bucket} [10/Apr/2026:12:00:00 +0000] 192.0.2.3 arn:aws:iam::1:user/anna"
        f' ID REST.GET.OBJECT {PLACED_CT.key} "GET / HTTP/1.1" 200 - 39206 39206 7 7 "-" "v/1" -'
    )
    cloud.put(ACCESS_LOG, f"{read}\nno line\n{read}\n".encode())
    message = event("39-access-log-delivered.json")

    assert cloud.invoke("learn_access", message) == NONE_FAILED
    assert cloud.invoke("learn_access", message) == NONE_FAILED

    record = cloud.record(CT)
    accesses = DynamoAccesses(cloud.dynamodb, cloud.table)
    (day,) = accesses.days(record.object_class)
    assert (f"{day.day:%Y-%m-%d}", day.reads, day.sent_bytes) == ("2026-04-10", 2, 2 * 39206)
    last = DynamoPolicyBook(cloud.dynamodb, cloud.table).context((), access_scope(record))
    assert last.last_access == datetime(2026, 4, 10, 12, tzinfo=UTC)


def _signed_by(name: str, message: dict[str, Any]) -> dict[str, Any]:
    """Return an order as a person would give it; only AWS can tell that a sample's proof is none.

    moto knows whose key a request names, and checks no signature.
    """
    sts = boto3.client("sts", region_name=REGION)
    role = f"arn:aws:iam::{ACCOUNT}:role/stewards"
    credentials = sts.assume_role(RoleArn=role, RoleSessionName=name)["Credentials"]
    client = boto3.client(
        "sts",
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )
    order = Order(message["order"], "forebay-test")
    return order_event(order, prove(client, order))


def asked_for_exception_counts_once_another_person_approves(cloud: Deployment) -> None:
    message = event("41-request-exception.json")

    answer = cloud.invoke("request_exception", _signed_by("anna", message))
    assert answer["exception"]["status"] == "REQUESTED"
    assert answer["exception"]["requested_by"].endswith("/stewards/anna")
    order = json.loads(event("42-decide-exception.json")["order"])
    order |= {"exception_id": answer["exception"]["exception_id"]}
    decision = {"order": json.dumps(order)}
    own = cloud.invoke("decide_exception", _signed_by("anna", decision))
    assert "yourself" in own["refused"]
    done = cloud.invoke("decide_exception", _signed_by("bert", decision))

    assert done["is_new"]
    assert (done["exception"]["status"], done["exception"]["version"]) == ("ACTIVE", 2)
    assert done["exception"]["decided_by"].endswith("/stewards/bert")
    exceptions = DynamoExceptions(cloud.dynamodb, cloud.table)
    stored = exceptions.get(order["exception_id"])
    assert stored
    assert exception_data(stored) == done["exception"]
    told = f"exceptions/{stored.exception_id}/0000000002.json"
    ledger = cloud.s3.get_object(Bucket=cloud.buckets[Zone.LEDGER], Key=told)
    assert json.loads(ledger["Body"].read()) == done["exception"]


def decision_about_an_exception_of_nobody_is_refused(cloud: Deployment) -> None:
    stranger, bert = _answers(cloud, "decide_exception", "42-decide-exception.json")
    assert stranger == {"refused": "This order was given from another AWS account."}
    assert bert == {"refused": "No exception EX-abcdefghijklmnop is known."}


def _answers(cloud: Deployment, function: str, sample: str) -> list[dict[str, Any]]:
    """Return what a step answers an order of somebody elsewhere, and of bert."""
    message = event(sample)
    return [cloud.invoke(function, each) for each in (message, _signed_by("bert", message))]


def asked_for_disposition_may_be_carried_out_once_another_person_approves(
    cloud: Deployment,
) -> None:
    _place_ct(cloud)
    message, decision = event("43-request-disposition.json"), event("44-decide-disposition.json")
    order = json.loads(message["order"])
    anna = f"arn:aws:sts::{ACCOUNT}:assumed-role/stewards/anna"
    draft = _drafted(cloud, order["disposition_id"], by=anna)
    text = {"order": json.dumps({**order, "version_id": draft.request.version_id})}
    stale = cloud.invoke("request_disposition", _signed_by("anna", text))
    assert "not listed in the ledger" in stale["refused"]
    text = {"order": draft_text(draft)}

    other = cloud.invoke("request_disposition", _signed_by("bert", text))
    asked = cloud.invoke("request_disposition", _signed_by("anna", text))
    own = cloud.invoke("decide_disposition", _signed_by("anna", decision))
    done = cloud.invoke("decide_disposition", _signed_by("bert", decision))

    identity = order["disposition_id"]
    assert anna in other["refused"]
    assert asked == {"disposition_id": identity, "stage": "REQUESTED", "is_new": True}
    assert "yourself" in own["refused"]
    assert done == {"disposition_id": identity, "stage": "APPROVED", "is_new": True}
    stored = DynamoDispositions(cloud.dynamodb, cloud.table).get(identity)
    assert stored
    assert (stored.requested_by, stored.decided_by[-14:]) == (anna, "/stewards/bert")
    answer = cloud.invoke("dispose_objects", {"disposition_id": identity})
    assert (answer["stage"], answer["removed"]) == ("DONE", 1)


def decision_about_a_disposition_of_nobody_is_refused(cloud: Deployment) -> None:
    stranger, bert = _answers(cloud, "decide_disposition", "44-decide-disposition.json")
    assert stranger == {"refused": "This order was given from another AWS account."}
    assert bert == {"refused": "No disposition DI-abcdefghijklmnop is known."}


STORIES: dict[str, Story] = {
    "43-request-disposition.json": (
        asked_for_disposition_may_be_carried_out_once_another_person_approves
    ),
    "44-decide-disposition.json": decision_about_a_disposition_of_nobody_is_refused,
    "41-request-exception.json": asked_for_exception_counts_once_another_person_approves,
    "42-decide-exception.json": decision_about_an_exception_of_nobody_is_refused,
    "40-dispose-request.json": approved_disposition_is_carried_out_and_certified,
    "39-access-log-delivered.json": opened_study_is_learned_from_the_access_log_once,
    "38-reconcile-schedule.json": stored_copy_without_its_verdict_is_reported,
    "01-s3-object-created-eventbridge.json": arrival_is_registered_once,
    "02-s3-object-created-notification.json": native_notification_registers_each_of_its_objects,
    "03-s3-object-created-without-version.json": (
        event_without_version_registers_the_version_storage_names
    ),
    "04-s3-directory-marker.json": directory_marker_is_recorded_and_ignored,
    "05-s3-test-event.json": nothing_is_registered_by_a_test_event,
    "06-s3-object-deleted.json": nothing_is_registered_by_a_delete_marker,
    "07-s3-batch-with-one-bad-message.json": bad_message_fails_alone,
    "08-catalog-stream-batch.json": stream_becomes_history_ledger_and_events,
    "09-object-received-dicom.json": real_ct_is_verified_with_its_identity,
    "10-object-received-reads.json": reads_are_verified_in_one_pass,
    "11-object-received-checksums.json": sidecar_wakes_the_reads_that_wait_for_it,
    "12-object-verified.json": verified_instance_is_placed,
    "13-object-verified-redelivered.json": redelivery_after_a_crash_reuses_the_copy,
    "14-object-quarantined.json": refused_instance_is_held_with_its_reason,
    "15-object-duplicated.json": duplicate_is_settled_and_counted,
    "16-reads-placed.json": second_mate_starts_the_pipeline,
    "17-read-qc-request.json": pair_becomes_a_report_that_is_handed_in,
    "18-execution-running.json": started_execution_is_no_end,
    "19-execution-succeeded.json": success_is_recorded,
    "20-execution-failed.json": failure_is_recorded_with_its_error,
    "22-dead-letter.json": dead_letter_is_archived_once_with_the_reason_its_step_left,
    "23-dead-letter-undeliverable.json": undeliverable_event_says_why_eventbridge_gave_up,
    "24-dead-letter-of-the-stream.json": batch_the_stream_forgot_keeps_its_positions,
    "31-s3-object-deleted-for-good.json": (
        unjudged_arrival_that_was_deleted_is_its_senders_to_repeat
    ),
    "32-s3-copy-expired.json": copy_that_lifecycle_removed_against_policy_is_deleted,
    "33-s3-restore-completed.json": restore_is_a_fact_of_the_record,
    "27-recheck-schedule.json": flipped_byte_convicts_and_is_counted,
    "34-evaluate-schedule.json": object_placed_before_policy_is_judged_by_the_clock,
    "35-evaluate-exception.json": legal_hold_reaches_its_object,
    "36-evaluate-objects.json": order_about_objects_answers_for_each,
    "37-evaluate-census.json": census_counts_what_is_placed,
    "28-receipt-request.json": receipt_of_a_placed_batch_verifies_with_the_keys_public_half,
    "21-sweep-scheduled.json": sweep_gives_a_stuck_object_to_its_step_again,
}


@pytest.mark.parametrize("name", STORIES)
def test_sample_event_does_what_its_story_tells(name: str, deployment: Deployment) -> None:
    STORIES[name](deployment)


def test_every_sample_event_has_a_story() -> None:
    assert {path.name for path in EVENTS.iterdir() if path.suffix == ".json"} == set(STORIES)


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*.json")), ids=lambda path: path.name)
def test_sample_event_names_no_real_account_or_address(path: Path) -> None:
    text = path.read_text()

    assert "123456789012" not in text
    assert "amazonaws.com" not in text
    for record in json.loads(text).get("Records", []):
        body = record.get("body", "")
        if body:
            assert hashlib.md5(body.encode()).hexdigest() == record["md5OfBody"]  # noqa: S324


def test_object_that_is_not_in_the_catalog_fails_its_message(deployment: Deployment) -> None:
    for step, name in (
        ("inspect_dicom", "09-object-received-dicom.json"),
        ("inspect_genomics", "10-object-received-reads.json"),
        ("place_object", "12-object-verified.json"),
        ("submit_pipeline", "16-reads-placed.json"),
        ("record_pipeline", "19-execution-succeeded.json"),
    ):
        message = event(name)
        failed = [{"itemIdentifier": record["messageId"]} for record in message["Records"]]
        assert deployment.invoke(step, message) == {"batchItemFailures": failed}


def test_logs_and_metrics_name_ids_and_outcomes_but_no_key_and_no_person(
    deployment: Deployment,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for step in ("inspect_dicom", "place_object"):
        for handler in logging.getLogger(step).handlers:
            monkeypatch.setattr(handler, "stream", sys.stdout, raising=False)
    deployment.arrived(CT, real_ct())

    deployment.invoke("inspect_dicom", event("09-object-received-dicom.json"))
    deployment.invoke("place_object", event("16-reads-placed.json"))

    said = capsys.readouterr().out
    lines = [json.loads(line) for line in said.splitlines()]
    assert any(line.get("object_id") == object_id(CT) for line in lines)
    assert any(line.get("outcome") == "verified" for line in lines)
    assert any(line.get("error") == "ObjectMissingError" for line in lines)
    for secret in ("1CT1", "CompressedSamples", "IM 0001", R2.key):
        assert secret not in said


@pytest.mark.parametrize(
    "holder, state", [("mine", State.AWAITING_DIGEST), ("other", State.RECEIVED)]
)
def test_large_object_is_left_to_the_message_that_holds_its_lease(
    deployment: Deployment, holder: str, state: State
) -> None:
    deployment.put(R1, any_fastq(1))
    record = any_record(location=R1, kind=Kind.FASTQ, size_bytes=65 * 1024 * 1024)
    wiring.cache_clear()
    wiring().catalog.register(record)
    message = event("10-object-received-reads.json")
    message_id = message["Records"][0]["messageId"]
    until = datetime.now(UTC) + timedelta(minutes=5)
    names = {"mine": message_id, "other": "another message"}
    lease = Lease(record.object_id, 1, Step.INSPECT_GENOMICS, names[holder], until)
    wiring().catalog.take_lease(lease, until - timedelta(minutes=1))

    assert deployment.invoke("inspect_genomics", message) == NONE_FAILED

    assert deployment.record(R1).state is state
    kept = wiring().catalog.get_lease(record.object_id)
    assert kept == (lease if holder == "other" else None)


def test_stream_that_cannot_be_relayed_fails_the_batch(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_HISTORY_TABLE", "no-such-table")

    with pytest.raises(Exception, match="ResourceNotFound"):
        deployment.invoke("relay_changes", event("08-catalog-stream-batch.json"))

    assert deployment.published() == []


def _scanned(cloud: Deployment) -> list[Any]:
    found: list[Any] = cloud.dynamodb.scan(TableName=cloud.table)["Items"]
    return found


def _dicom_parsers() -> tuple[Any, Any]:
    return inspect_dicom, digest_chunks


def _placed_ct(cloud: Deployment, **how: Any) -> str:
    """Bring a real instance to its zone."""
    made = cloud.arrived(CT, real_ct(), ChecksumAlgorithm="SHA256", **how)
    cloud.invoke("inspect_dicom", event("09-object-received-dicom.json"))
    assert wiring().place_object(made) is State.PLACED
    return made


def _flip_stored_byte(location: Location) -> None:
    """Change what moto stores, behind S3's back."""
    keys = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[location.bucket].keys
    found = next(k for k in keys.getlist(location.key) if k.version_id == location.version_id)
    body = bytearray(found.value)
    body[1000] ^= 1
    found.value = bytes(body)


def _rewind(cloud: Deployment, made: str) -> None:
    """Bring a placed record back to where a crash before its write would have left it."""
    record = cloud.record(made)
    place, version = made.split(".")
    cloud.dynamodb.update_item(
        TableName=cloud.table,
        Key={"pk": {"S": f"OBJ#{place}"}, "sk": {"S": f"V#{version}"}},
        UpdateExpression="SET #state = :state, version = :version REMOVE placed",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={
            ":state": {"S": "VERIFIED"},
            ":version": {"N": str(record.version - 1)},
        },
    )


def _place_ct(cloud: Deployment) -> None:
    """Bring the CT to PLACED as the version the samples speak of, and let the relay tell."""
    cloud.arrived(CT, real_ct())
    cloud.invoke("inspect_dicom", event("09-object-received-dicom.json"))
    cloud.versions.waiting.append(PLACED_CT.version_id)
    cloud.invoke("place_object", event("12-object-verified.json"))
    record = cloud.record(CT)
    assert record.placed == PLACED_CT
    wiring().relay_changes([RecordedChange(None, record)])


def _place_pair(cloud: Deployment) -> None:
    """Bring both mates to PLACED."""
    for location, mate in ((R1, 1), (R2, 2)):
        body = any_fastq(mate)
        made = cloud.arrived(location, body, Metadata={"md5": md5_of(body).decode()})
        inspect = wiring().inspect_genomics(PARSERS, parse_checksum_file, digest_chunks)
        inspect(made)
        assert wiring().place_object(made) is State.PLACED


def _output(cloud: Deployment, answer: dict[str, Any], index: int) -> bytes:
    output = answer["outputs"][index]
    body: bytes = cloud.s3.get_object(
        Bucket=output["bucket"], Key=output["key"], VersionId=output["version_id"]
    )["Body"].read()
    return body


def _opened(cloud: Deployment) -> PipelineRun:
    wiring.cache_clear()
    run = any_run(run_id=RUN_ID, state=RunState.SUBMITTED, state_since=NOON)
    return wiring().catalog.open_run(run)
