"""What is fetched is whole and verified or not there, stays in its folder, and is noted as read."""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from moto import mock_aws

from forebay.domain.integrity import Algorithm, Digest, Witness
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.standing import access_scope
from forebay.domain.states import State
from forebay_cli.fetching import Came, Fetch, Fetched, paths_of, refused_as_cold
from forebay_cli.main import main
from tests.unit.fakes import NOON, any_location, any_record, any_uid
from tests.unit.services.test_learn_access import FakeAccesses

BUCKET = "clinical"
BODY = b"pixels" * 1000
NOW = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


def stored(s3: Any, key: str = "", *, body: bytes = BODY, **fields: Any) -> ObjectRecord:
    """Store an object, of which the catalog says that it is BODY."""
    key = key or f"dicom/{any_uid()}/{any_uid()}.dcm"
    how = {"StorageClass": fields.pop("storage_class", "STANDARD")}
    version = s3.put_object(Bucket=BUCKET, Key=key, Body=body, **how)["VersionId"]
    digest = Digest(Algorithm.SHA256, hashlib.sha256(BODY).hexdigest(), Witness.FOREBAY)
    facts: dict[str, Any] = {
        "state": State.PLACED,
        "size_bytes": len(BODY),
        "placed": Location(BUCKET, key, version),
        "digests": (digest,),
        "object_class": "clinical-hot",
        "metadata": {"StudyInstanceUID": any_uid()},
    }
    return any_record(location=any_location(), **facts | fields)


def fetched(
    s3: Any, folder: Path, *records: ObjectRecord, restore: bool = False
) -> tuple[list[Fetched], FakeAccesses]:
    accesses = FakeAccesses()
    get = Fetch(s3, accesses, lambda: NOW, chunk_bytes=7)
    return list(get(records, folder, restore=restore)), accesses


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_version_that_was_verified_is_fetched_and_noted(s3: Any, tmp_path: Path) -> None:
    record = stored(s3)
    assert record.placed
    s3.put_object(Bucket=BUCKET, Key=record.placed.key, Body=b"a later version")

    (one,), accesses = fetched(s3, tmp_path, record)

    assert (one.came, one.checked_by) == (Came.FETCHED, "sha256")
    assert one.path
    assert one.path.read_bytes() == BODY
    (access,) = accesses.noted
    assert (access.scope, access.last_at, access.reads) == (access_scope(record), NOW, 1)


def test_whole_study_is_one_access(s3: Any, tmp_path: Path) -> None:
    study = {"StudyInstanceUID": any_uid()}
    _, accesses = fetched(s3, tmp_path, *(stored(s3, metadata=study) for _ in range(3)))

    (access,) = accesses.noted
    assert (access.reads, access.sent_bytes) == (3, 3 * len(BODY))


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"x", b"other!" * 1000, b""])
def test_bytes_that_are_others_leave_no_file(s3: Any, tmp_path: Path, body: bytes) -> None:
    (one,), _ = fetched(s3, tmp_path, stored(s3, body=body))

    assert one.came is Came.DAMAGED
    assert files(tmp_path) == []


def test_transfer_that_breaks_leaves_no_file(s3: Any, tmp_path: Path) -> None:
    class Broken:
        def iter_chunks(self, _: int) -> Iterator[bytes]:
            yield BODY[:100]
            raise ConnectionError("gone")

    record, real = stored(s3), s3.get_object
    s3.get_object = lambda **_: {"Body": Broken()}
    try:
        with pytest.raises(ConnectionError):
            fetched(s3, tmp_path, record)
    finally:
        s3.get_object = real
    assert files(tmp_path) == []


def test_same_file_is_left_and_another_one_too(s3: Any, tmp_path: Path) -> None:
    record = stored(s3)
    fetched(s3, tmp_path, record)

    (again,), _ = fetched(s3, tmp_path, record)
    assert again.came is Came.PRESENT
    assert again.path
    again.path.write_bytes(b"somebody's own")

    (third,), _ = fetched(s3, tmp_path, record)
    assert third.came is Came.REFUSED
    assert again.path.read_bytes() == b"somebody's own"


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived_object_is_said_and_is_no_access(
    s3: Any, tmp_path: Path, storage_class: str
) -> None:
    (one,), accesses = fetched(s3, tmp_path, stored(s3, storage_class=storage_class))

    assert one.came is Came.ARCHIVED
    assert "--restore" in one.why
    assert accesses.noted == []
    assert files(tmp_path) == []


def test_restore_asks_policy_for_what_is_archived(s3: Any, tmp_path: Path) -> None:
    record = stored(s3, storage_class="GLACIER")
    (one,), accesses = fetched(s3, tmp_path, record, restore=True)

    assert one.came is Came.ASKED
    (access,) = accesses.noted
    assert (access.scope, access.asks, access.sent_bytes) == (access_scope(record), True, 0)


@pytest.mark.parametrize(
    "restore, cold",
    [
        ("", True),
        ('ongoing-request="true"', True),
        ('ongoing-request="false", expiry-date="Fri, 1 May 2026 00:00:00 GMT"', False),
    ],
)
def test_restored_copy_can_be_read(restore: str, *, cold: bool) -> None:
    head = {"StorageClass": "GLACIER", **({"Restore": restore} if restore else {})}
    assert refused_as_cold(head) is cold
    assert not refused_as_cold({"StorageClass": "GLACIER_IR"})
    assert not refused_as_cold({})


def test_what_is_not_placed_or_gone_is_told(s3: Any, tmp_path: Path) -> None:
    gone = stored(s3, placed=Location(BUCKET, "dicom/never", ""))
    found, accesses = fetched(s3, tmp_path, stored(s3, state=State.QUARANTINED), gone)

    assert [each.came for each in found] == [Came.MISSING, Came.MISSING]
    assert "QUARANTINED" in found[0].why
    assert accesses.noted == []


def test_without_a_digest_nothing_is_written(s3: Any, tmp_path: Path) -> None:
    (one,), _ = fetched(s3, tmp_path, stored(s3, digests=()))
    assert one.came is Came.REFUSED
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "key",
    ["reads/../../etc/passwd", "reads//x", "reads/.ssh/..", "reads/a\x00b\n\x1b[31m", "reads/-rf"],
)
def test_no_name_leaves_the_folder_hides_or_speaks_to_the_terminal(key: str) -> None:
    record = any_record(state=State.PLACED, placed=Location(BUCKET, key, "v"))
    path = paths_of([record])[record.object_id]

    assert not path.is_absolute()
    assert all(part[0] not in ".-" and part.isprintable() for part in path.parts)
    assert os.path.normpath(path) == str(path)


def test_names_that_become_one_are_told_apart() -> None:
    keys = ("reads/s/a?b", "reads/s/a*b", "reads/S/A_B", "reads/s/" + "x" * 500)
    records = [any_record(placed=Location(BUCKET, key, "v")) for key in keys]
    paths = paths_of(records)

    assert len({str(path).casefold() for path in paths.values()}) == len(keys)
    assert all(len(path.name) <= 200 for path in paths.values())


@pytest.mark.parametrize(
    "arguments", [[], ["an-id", "--study", "1.2"], ["--study", "1.2", "--sample", "s"]]
)
def test_exactly_one_thing_is_fetched(arguments: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["fetch", *arguments, "--to", str(tmp_path)])
    assert done.exit_code == 2


def test_outcome_as_json_names_no_person() -> None:
    record = any_record(subject={"PatientName": "Doe^Jane"}, state_since=NOON)
    assert "Doe" not in str(Fetched(record, Came.MISSING).document())
