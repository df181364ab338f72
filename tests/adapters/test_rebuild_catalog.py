"""Losing the tables: what storage holds is enough to have both again, item by item."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_socket
from moto import mock_aws

from forebay.adapters.exceptions import DynamoExceptions, DynamoPolicyBook, S3ExceptionHistory
from forebay.adapters.items import TOLD_VERSION
from forebay.adapters.ledger import S3Ledger
from forebay.adapters.rebuilding import DynamoLostTables
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Choice, Kind
from forebay.domain.policy.exceptions import ExceptionKind, PolicyException, Scope, ScopeKind
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.events import PipelineFinished
from forebay.names import Zone
from forebay.services.decide_exception import (
    ApproveException,
    Changed,
    EndException,
    ExceptionBook,
    RefuseException,
    RequestException,
    Wish,
)
from forebay.services.ports import Change
from forebay.services.rebuild_catalog import RebuildCatalog, Rebuilt, claims_of
from tests.adapters.conftest import REGION
from tests.adapters.moto_world import Items, MotoWorld
from tests.unit.fakes import (
    BUCKETS,
    FakePseudonyms,
    any_dicom_body,
    any_reads_body,
    any_record,
    checksum_of,
    parse_checksums,
    parse_dicom,
)

UIDS: dict[str, Any] = {
    "sop_instance_uid": "2.25.3",
    "study_instance_uid": "2.25.1",
    "series_instance_uid": "2.25",
}
PERSON = {"PatientID": "Xq7Zk", "AccessionNumber": "A1"}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[MotoWorld]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    pytest_socket.disable_socket(allow_unix_socket=True)
    with mock_aws():
        yield MotoWorld()
    pytest_socket.enable_socket()


def rebuild(world: MotoWorld, **how: Any) -> Rebuilt:
    ledger = S3Ledger(world.s3, world.store, BUCKETS[Zone.LEDGER])
    tables = DynamoLostTables(world.dynamodb, world.table, world.log)  # type: ignore[arg-type]
    return RebuildCatalog(
        ledger,
        tables,
        world.catalog,
        world.store,
        parse_dicom,
        parse_checksums,
        FakePseudonyms(),
        **how,
    )()


def mixed_flow(world: MotoWorld) -> None:
    """Let everything happen that leaves something in the catalog."""
    body = any_dicom_body(**UIDS, subject=PERSON)
    world.image(body, "site-a/a")
    world.image(any_dicom_body(subject=PERSON), "site-b/b", metadata={"upload-batch": "b1"})
    world.image(b"no dicom", "site-a/broken")
    world.run()
    world.image(body, "site-a/again")
    world.image(body + b"!", "site-a/other")
    reads = {mate: any_reads_body(bases=mate.encode()) for mate in ("R1", "R2")}
    for mate, data in reads.items():
        world.genomics(f"site-a/run1/NA1_{mate}.fastq.gz", data)
    world.run()
    lines = [
        f"{checksum_of(Algorithm.MD5, data)} NA1_{mate}.fastq.gz" for mate, data in reads.items()
    ]
    world.genomics("site-a/run1/md5sums.txt", "\n".join(lines).encode())
    world.run()
    late = any_reads_body(bases=b"late")
    world.genomics("site-a/run1/NA2_R1.fastq.gz", late, metadata={"md5": _md5(late)})
    world.genomics("site-a/run1/folder/", b"")
    world.run()
    (run,) = world.pipelines.started
    world.record_pipeline(PipelineFinished(run, "SUCCEEDED", "arn", "now"))
    world.upload(Zone.LANDING_GENOMICS, f"pipelines/{run}/NA1.json", b"{}")
    # Late evidence: what was placed is convicted; its earlier copy stays named.
    world.genomics("site-a/run1/NA2_R1.fastq.gz.md5", b"1" * 32)
    world.run()


def test_both_tables_are_rebuilt_item_by_item(world: MotoWorld) -> None:
    mixed_flow(world)
    before = world.items()

    world.new_tables()
    rebuilt = rebuild(world)

    states = {item["state"] for item in before[0].values() if item["entity"] == "object"}
    assert states == {"PLACED", "QUARANTINED", "DUPLICATE", "CONFLICT", "IGNORED"}
    for was, now in zip(before, world.items(), strict=True):
        assert_same(was, now)
    assert not rebuilt.unread
    assert rebuilt.counts["records"] >= 12


def test_relay_of_a_rebuilt_table_says_nothing_new(world: MotoWorld) -> None:
    mixed_flow(world)
    before, ledger = world.items(), _ledger_keys(world)
    world.new_tables()
    rebuild(world)
    told = len(world.feed.published)

    world.run()

    assert _ledger_keys(world) == ledger

    assert len(world.feed.published) == told
    for was, now in zip(before, world.items(), strict=True):
        assert_same(was, now)


def test_rebuilding_a_whole_table_changes_nothing(world: MotoWorld) -> None:
    mixed_flow(world)
    before = world.items()

    rebuilt = rebuild(world)

    assert world.items() == before
    assert rebuilt.counts.get("records", 0) == 0


def test_rebuilding_twice_with_many_workers_is_the_same(world: MotoWorld) -> None:
    mixed_flow(world)
    before = world.items()
    world.new_tables()

    rebuild(world, workers=4)
    rebuild(world, workers=4)

    for was, now in zip(before, world.items(), strict=True):
        assert_same(was, now)


def test_change_after_the_rebuild_is_told(world: MotoWorld) -> None:
    made = world.image(any_dicom_body())
    world.run()
    world.new_tables()
    rebuild(world)
    world.run()
    told = len(world.feed.published)

    record = world.record(made)
    world.catalog.apply(Change(record, record.amended(world.clock.now(), consent_state="given")))
    world.run()

    assert [event.version for event in world.feed.published[told:]] == [record.version + 1]


def test_newer_record_in_the_table_stays(world: MotoWorld) -> None:
    made = world.image(any_dicom_body())
    world.run()
    world.relay()
    record = world.record(made)
    ahead = record.amended(world.clock.now(), consent_state="withdrawn")
    tables = DynamoLostTables(world.dynamodb, world.table, world.log)  # type: ignore[arg-type]
    assert tables.put_object(ahead)

    rebuild(world)

    assert world.record(made) == ahead


def test_person_of_bytes_that_are_gone_is_reported_not_invented(world: MotoWorld) -> None:
    made = world.image(any_dicom_body(subject=PERSON))
    world.run()
    record = world.record(made)
    for place in (record.placed, record.location):
        assert place
        world.s3.delete_object(Bucket=place.bucket, Key=place.key, VersionId=place.version_id)
    world.new_tables()

    rebuilt = rebuild(world)

    assert "gone" in rebuilt.unread[made]
    assert world.state(made) is State.PLACED
    assert not world.record(made).subject


def test_lines_of_another_shape_are_counted_and_left(world: MotoWorld) -> None:
    made = world.image(any_dicom_body())
    world.run()
    for name, body in (("old", b'{"object_id":"x","to":"PLACED"}\n'), ("broken", b"{\n")):
        world.s3.put_object(
            Bucket=BUCKETS[Zone.LEDGER], Key=f"changes/2025/01/01/{name}.jsonl", Body=body
        )
    world.new_tables()

    rebuilt = rebuild(world)

    assert rebuilt.counts["unreadable lines"] == 2
    assert world.state(made) is State.PLACED


@pytest.mark.parametrize("choice", [Choice.KEEP_BOTH, Choice.REPLACE, Choice.KEEP])
def test_decided_conflicts_are_rebuilt(world: MotoWorld, choice: Choice) -> None:
    body = any_dicom_body(**UIDS, subject=PERSON)
    world.image(body, "site-a/a")
    world.run()
    other = world.image(body + b"!", "site-a/other")
    world.run()
    world.decide(other, choice, by="arn:steward", note="looked at both")
    world.run()
    world.image(body + b"!", "site-a/other-again")
    world.run()
    before = world.items()
    world.new_tables()

    rebuild(world)

    for was, now in zip(before, world.items(), strict=True):
        assert_same(was, now)


def test_runs_are_rebuilt_from_the_ledger(world: MotoWorld) -> None:
    mixed_flow(world)
    (run,) = world.pipelines.started
    world.new_tables()

    rebuild(world)

    found = world.catalog.get_run(run)
    assert found
    assert found.state is RunState.SUCCEEDED
    assert found.inputs


ANNA, BERT = (f"arn:aws:iam::111122223333:user/{name}" for name in ("anna", "bert"))


def exceptions_in_every_state(world: MotoWorld) -> dict[str, PolicyException]:
    """Ask for, approve, refuse and end exceptions as people do."""
    table = DynamoExceptions(world.dynamodb, world.table)
    book = ExceptionBook(table, S3ExceptionHistory(world.s3, BUCKETS[Zone.LEDGER]))
    request = RequestException(book, world.clock, os.urandom)
    approve = ApproveException(book, world.clock)
    refuse, end = RefuseException(book, world.clock), EndException(book, world.clock)
    made: dict[str, PolicyException] = {}
    for name in ("requested", "refused", "active", "asked to end", "ended"):
        scope = Scope(ScopeKind.STUDY, UIDS["study_instance_uid"])
        asked = request(Wish(ExceptionKind.LEGAL_HOLD, scope, name), by=ANNA)
        assert isinstance(asked, Changed)
        made[name] = asked.exception
    ids = {name: each.exception_id for name, each in made.items()}
    refuse(ids["refused"], by=BERT, note="no")
    for name in ("active", "asked to end", "ended"):
        approve(ids[name], by=BERT)
    for name, by in (("asked to end", ANNA), ("ended", ANNA), ("ended", BERT)):
        end(ids[name], by=by, note="the case is closed")
    return {name: table.get(each) or made[name] for name, each in ids.items()}


def test_exceptions_are_rebuilt_item_by_item_and_reach_what_they_did(world: MotoWorld) -> None:
    mixed_flow(world)
    made = exceptions_in_every_state(world)
    before = world.items()
    world.new_tables()

    rebuilt = rebuild(world)

    for was, now in zip(before, world.items(), strict=True):
        assert_same(was, now)
    assert rebuilt.counts["exceptions"] == len(made)
    scope = made["active"].scope
    reaching = DynamoPolicyBook(world.dynamodb, world.table).context([scope], scope).exceptions
    assert set(reaching) == {made["active"], made["asked to end"]}
    assert "exceptions" not in {what for what, count in rebuild(world).counts.items() if count}


def test_what_was_reached_is_pending_again_after_a_rebuild(world: MotoWorld) -> None:
    hold = exceptions_in_every_state(world)["active"]
    DynamoExceptions(world.dynamodb, world.table).reached(hold)
    world.new_tables()

    rebuild(world)

    assert hold in DynamoExceptions(world.dynamodb, world.table).pending(10)


@pytest.mark.parametrize("kind", [Kind.CHECKSUMS, Kind.REPORT, Kind.INDEX])
def test_kinds_without_identity_claim_their_bytes_only(kind: Kind) -> None:
    assert [claim.namespace for claim in claims_of(any_record(kind=kind))] == ["bytes"]


def assert_same(was: Items, now: Items) -> None:
    """Compare all items in all attributes, but for the one that says they are rebuilt."""
    plain = {key: {k: v for k, v in item.items() if k != TOLD_VERSION} for key, item in now.items()}
    assert set(was) == set(plain)
    differing = [key for key, item in plain.items() if was[key] != item]
    assert {key: plain[key] for key in differing} == {key: was[key] for key in differing}


def _md5(body: bytes) -> str:
    return checksum_of(Algorithm.MD5, body)


def _ledger_keys(world: MotoWorld) -> list[str]:
    answer = world.s3.list_objects_v2(Bucket=BUCKETS[Zone.LEDGER])
    return [entry["Key"] for entry in answer["Contents"]]
