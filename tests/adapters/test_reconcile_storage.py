"""Reconciliation over the real adapters: found, repaired, and clean, in DynamoDB and S3."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import pytest_socket
from moto import mock_aws

from forebay.adapters.inventory import S3Listing, S3Locks
from forebay.domain.reconciliation import DifferenceKind, Report, Scope, repair_plan
from forebay.domain.states import State
from forebay.names import Tag, Zone
from forebay.services.reconcile_storage import ReconcileStorage
from forebay.services.repair_storage import Outcome, Repaired, RepairStorage
from forebay.services.submit_pipeline import PairedReadsPipeline, RunPlanner
from tests.adapters.conftest import REGION
from tests.adapters.moto_world import MotoWorld
from tests.adapters.test_rebuild_catalog import mixed_flow
from tests.unit.fakes import BUCKETS, FakeQueues, any_dicom_body, any_reads_body

ZONES: Mapping[Zone, str] = {
    zone: name for zone, name in BUCKETS.items() if zone is not Zone.ARCHIVE
}
# The clock of the World stands in the past of moto's: nothing is too young.
NOW: dict[str, Any] = {"grace_s": -(10**9)}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[MotoWorld]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    pytest_socket.disable_socket(allow_unix_socket=True)
    with mock_aws():
        yield MotoWorld(needs_sender_digest=False)
    pytest_socket.enable_socket()


def compare(world: MotoWorld, **scope: Any) -> Report:
    service = ReconcileStorage(
        world.catalog,
        world.reader,
        world.store,
        S3Listing(world.s3),
        S3Locks(world.s3),
        world.clock,
        RunPlanner(world.catalog, world.clock, PairedReadsPipeline("read_qc", "1")),
        ZONES,
        workers=4,
    )
    return service(Scope(**NOW, **scope))


def apply(world: MotoWorld, report: Report) -> tuple[Repaired, ...]:
    repair = RepairStorage(
        world.catalog,
        world.store,
        FakeQueues(world.deliver),
        S3Listing(world.s3),
        S3Locks(world.s3),
        world.clock,
        world.recheck_objects.one,
        ZONES,
    )
    done = repair(repair_plan(report.differences), by="arn:me", report_id=report.report_id)
    world.run()
    return done


def test_mixed_flow_is_clean(world: MotoWorld) -> None:
    mixed_flow(world)

    report = compare(world)

    assert report.differences == ()
    assert report.checked["versions"] > 15


def test_what_was_broken_by_hand_is_found_mended_and_clean(world: MotoWorld) -> None:
    mixed_flow(world)
    s3 = world.s3
    # An event is lost, …
    world.image(any_dicom_body(), "site-c/lost")
    world.queue.clear()
    # … tags are changed, a copy is deleted, …
    placed = [
        record.placed
        for record in world.reader.records(
            list(world.reader.ids_in_states([State.PLACED]))
        ).values()
        if record.placed and record.placed.bucket == BUCKETS[Zone.CLINICAL]
    ]
    first, second = placed[:2]
    s3.put_object_tagging(
        Bucket=first.bucket,
        Key=first.key,
        VersionId=first.version_id,
        Tagging={"TagSet": [{"Key": "a", "Value": "b"}]},
    )
    s3.delete_object(Bucket=second.bucket, Key=second.key, VersionId=second.version_id)
    # … a foreign object and an upload that never ended come in.
    s3.put_object(Bucket=BUCKETS[Zone.DERIVED], Key="reports/x/foreign.html", Body=b"x")
    s3.create_multipart_upload(Bucket=BUCKETS[Zone.LANDING_GENOMICS], Key="site-a/huge.bam")

    report = compare(world, upload_days=-(10**4))
    done = apply(world, report)

    assert dict(report.counts) == {
        DifferenceKind.MISSING_IN_CATALOG: 1,
        DifferenceKind.TAG_DRIFT: 1,
        DifferenceKind.MISSING_IN_STORAGE: 1,
        DifferenceKind.FOREIGN_OBJECT: 1,
        DifferenceKind.ORPHAN_UPLOAD: 1,
    }
    assert {each.outcome for each in done} == {Outcome.DONE}
    assert world.store.tags(first)[Tag.VERDICT] == "verified"
    left = compare(world, upload_days=-(10**4))
    assert dict(left.counts) == {DifferenceKind.FOREIGN_OBJECT: 1}


def test_copies_made_before_there_was_an_index_are_found_by_their_tag(world: MotoWorld) -> None:
    world.image(any_dicom_body())
    world.run()
    for item in world.dynamodb.scan(TableName=world.table)["Items"]:
        if item["entity"]["S"] == "copy":
            key = {name: item[name] for name in ("pk", "sk")}
            world.dynamodb.delete_item(TableName=world.table, Key=key)

    assert compare(world).is_clean


def test_lost_record_whose_ledger_is_lost_too_arrives_again(world: MotoWorld) -> None:
    world.image(any_dicom_body())
    world.genomics("site-a/run1/NA1_R1.fastq.gz", any_reads_body())
    world.run()
    for record in world.reader.records(list(world.reader.ids_in_states([State.PLACED]))).values():
        place = record.location
        world.s3.delete_object(Bucket=place.bucket, Key=place.key, VersionId=place.version_id)
    world.new_tables()

    report = compare(world)
    apply(world, report)

    assert dict(report.counts) == {DifferenceKind.UNKNOWN_COPY: 2}
    assert len(list(world.reader.ids_in_states([State.PLACED]))) == 2
    assert compare(world).is_clean
