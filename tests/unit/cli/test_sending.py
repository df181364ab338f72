"""Sending to S3 (moto), with checksums and resuming."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from awscrt import checksums
from botocore.exceptions import ClientError
from moto import mock_aws

from forebay.domain.objects import Location, object_id
from forebay.names import Zone
from forebay_cli.uploads.digesting import digest_file
from forebay_cli.uploads.journal import OpenUpload, UploadJournal
from forebay_cli.uploads.planning import Destination, plan_upload
from forebay_cli.uploads.sending import Result, Sender, SendOptions, SentFile, part_size

BUCKET = "landing"
MIB = 1 << 20


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


@pytest.fixture
def journal(tmp_path: Path) -> UploadJournal:
    return UploadJournal(tmp_path / "journal")


def send(s3: Any, journal: UploadJournal, path: Path, **options: Any) -> list[SentFile]:
    sender = Sender(s3, lambda _: BUCKET, journal, SendOptions("lab", jobs=2, **options))
    return list(sender.send(plan_upload([path], Destination.AUTO).files))


def reads(tmp_path: Path, body: bytes, name: str = "s_R1.fastq") -> Path:
    path = tmp_path / "data" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(body)
    return path


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 100])
def test_digests_do_not_depend_on_the_chunk_size(tmp_path: Path, chunk_bytes: int) -> None:
    body = bytes(range(256)) * 3
    digests = digest_file(reads(tmp_path, body), part_bytes=100, chunk_bytes=chunk_bytes)
    assert digests.sha256 == hashlib.sha256(body).hexdigest()
    assert base64.b64decode(digests.crc64nvme) == checksums.crc64nvme(body).to_bytes(8, "big")
    assert len(digests.parts) == 8
    assert digests.size_bytes == len(body)


def test_a_file_of_whole_parts_has_no_empty_last_part(tmp_path: Path) -> None:
    assert len(digest_file(reads(tmp_path, b"x" * 200), part_bytes=100).parts) == 2


def test_an_empty_file_has_one_empty_part(tmp_path: Path) -> None:
    assert digest_file(reads(tmp_path, b""), part_bytes=100).parts == ("AAAAAAAAAAA=",)


def test_a_file_is_stored_with_its_sha256(s3: Any, journal: UploadJournal, tmp_path: Path) -> None:
    told: list[Any] = []
    event = "provide-client-params.s3.PutObject"
    s3.meta.events.register(event, lambda params, **_: told.append(params["ChecksumSHA256"]))
    [sent] = send(s3, journal, reads(tmp_path, b"@r\nA\n+\nI\n"))
    assert sent.result is Result.UPLOADED
    head = s3.head_object(Bucket=BUCKET, Key="lab/s_R1.fastq")
    digest = hashlib.sha256(b"@r\nA\n+\nI\n")
    assert head["Metadata"] == {"sha256": digest.hexdigest()}
    assert told == [base64.b64encode(digest.digest()).decode()]


def test_the_object_id_is_known_from_the_upload(
    s3: Any, journal: UploadJournal, tmp_path: Path
) -> None:
    [sent] = send(s3, journal, reads(tmp_path, b"x"))
    assert sent.location is not None
    assert sent.location.version_id
    assert sent.object_id == object_id(sent.location)


def test_sending_again_makes_another_version_of_the_same_key(
    s3: Any, journal: UploadJournal, tmp_path: Path
) -> None:
    path = reads(tmp_path, b"x")
    [first], [second] = send(s3, journal, path), send(s3, journal, path)
    assert first.location is not None
    assert second.location is not None
    assert first.location.key == second.location.key
    assert first.object_id != second.object_id


def test_skip_existing_skips_equal_bytes_only(
    s3: Any, journal: UploadJournal, tmp_path: Path
) -> None:
    path = reads(tmp_path, b"x")
    send(s3, journal, path)
    [again] = send(s3, journal, path, skip_existing=True)
    path.write_bytes(b"y")
    [changed] = send(s3, journal, path, skip_existing=True)
    assert (again.result, changed.result) == (Result.SKIPPED, Result.UPLOADED)


def test_large_files_go_in_parts(s3: Any, journal: UploadJournal, tmp_path: Path) -> None:
    body = bytes(range(256)) * (11 * MIB // 256)
    counted: list[int] = []
    [sent] = send(
        s3,
        journal,
        reads(tmp_path, body),
        single_put_bytes=MIB,
        part_bytes=5 * MIB,
        on_bytes=counted.append,
    )
    assert sent.result is Result.UPLOADED
    assert sum(counted) == len(body)
    stored = s3.get_object(Bucket=BUCKET, Key="lab/s_R1.fastq")
    assert stored["Body"].read() == body
    assert stored["Metadata"]["sha256"] == hashlib.sha256(body).hexdigest()


class BreaksAt:
    """An S3 client whose upload of one part fails, once."""

    def __init__(self, s3: Any, part: int) -> None:
        self._s3 = s3
        self._part = part
        self.parts: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def upload_part(self, **wanted: Any) -> Any:
        if wanted["PartNumber"] == self._part:
            self._part = 0
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "later"}}, "UploadPart")
        self.parts.append(wanted["PartNumber"])
        return self._s3.upload_part(**wanted)


def test_an_upload_that_broke_off_is_continued(
    s3: Any, journal: UploadJournal, tmp_path: Path
) -> None:
    path = reads(tmp_path, bytes(range(256)) * (16 * MIB // 256))
    sizes = {"single_put_bytes": MIB, "part_bytes": 5 * MIB}
    broken = BreaksAt(s3, part=4)
    [failed] = send(broken, journal, path, **sizes)
    assert failed.result is Result.FAILED
    assert failed.error == "UploadPart failed: later"
    assert sorted(broken.parts) == [1, 2, 3]
    healthy = BreaksAt(s3, part=0)
    # moto forgets part checksums; S3 lists them.
    healthy.get_paginator = _with_checksums(s3, path, 5 * MIB)  # type: ignore[attr-defined]
    [resumed] = send(healthy, journal, path, **sizes)
    assert resumed.result is Result.RESUMED
    assert healthy.parts == [4]
    stored = s3.get_object(Bucket=BUCKET, Key="lab/s_R1.fastq")["Body"].read()
    assert stored == path.read_bytes()


def test_every_file_names_its_upload_batch_and_a_resumed_one_the_batch_it_began_in(
    s3: Any, journal: UploadJournal, tmp_path: Path
) -> None:
    path = reads(tmp_path, bytes(range(256)) * (16 * MIB // 256))
    sizes = {"single_put_bytes": MIB, "part_bytes": 5 * MIB}
    send(BreaksAt(s3, part=4), journal, path, upload_batch="monday", **sizes)
    healthy = BreaksAt(s3, part=0)
    healthy.get_paginator = _with_checksums(s3, path, 5 * MIB)  # type: ignore[attr-defined]
    [resumed] = send(healthy, journal, path, upload_batch="tuesday", **sizes)
    small = reads(tmp_path, b"small", "t_R1.fastq")
    [sent] = send(s3, journal, small, upload_batch="tuesday")

    assert (resumed.upload_batch, sent.upload_batch) == ("monday", "tuesday")
    for file in (resumed, sent):
        assert file.location
        stored = s3.head_object(Bucket=BUCKET, Key=file.location.key)
        assert stored["Metadata"]["upload-batch"] == file.upload_batch


def _with_checksums(s3: Any, path: Path, part_bytes: int) -> Any:
    digests = digest_file(path, part_bytes).parts

    class Paginator:
        def paginate(self, **wanted: Any) -> Iterator[dict[str, Any]]:
            page = s3.list_parts(**wanted)
            for part in page.get("Parts", []):
                part["ChecksumCRC64NVME"] = digests[part["PartNumber"] - 1]
            yield page

    return lambda _: Paginator()


def test_an_upload_that_s3_forgot_starts_afresh(
    s3: Any, journal: UploadJournal, tmp_path: Path
) -> None:
    path = reads(tmp_path, b"z" * (6 * MIB))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    journal.open(OpenUpload(BUCKET, "lab/s_R1.fastq", "gone", sha256, 5 * MIB, "FULL_OBJECT"))
    [sent] = send(s3, journal, path, single_put_bytes=MIB, part_bytes=5 * MIB)
    assert sent.result is Result.UPLOADED
    assert journal.find(BUCKET, "lab/s_R1.fastq", sha256, 5 * MIB) is None


def test_the_journal_does_not_resume_other_bytes(journal: UploadJournal) -> None:
    upload = OpenUpload(BUCKET, "k", "id", "aa", 5, "FULL_OBJECT")
    journal.open(upload)
    assert journal.find(BUCKET, "k", "aa", 5) == upload
    assert journal.find(BUCKET, "k", "bb", 5) is None
    assert journal.find(BUCKET, "k", "aa", 6) is None


def test_one_bad_file_does_not_stop_the_others(
    s3: Any, journal: UploadJournal, tmp_path: Path
) -> None:
    reads(tmp_path, b"x", "a.fastq")
    reads(tmp_path, b"y", "b.fastq")
    files = plan_upload([tmp_path / "data"], Destination.AUTO).files
    (tmp_path / "data" / "a.fastq").unlink()
    sender = Sender(s3, lambda _: BUCKET, journal, SendOptions("lab", jobs=1))
    results = {sent.file.name: sent.result for sent in sender.send(files)}
    assert results == {"a.fastq": Result.FAILED, "b.fastq": Result.UPLOADED}


def test_parts_grow_until_ten_thousand_hold_the_file() -> None:
    assert part_size(100 * MIB, 16 * MIB) == 16 * MIB
    size = part_size(5 << 40, 16 * MIB)
    assert size * 10_000 >= 5 << 40
    assert size <= 5 << 30


def test_dicom_and_reads_go_to_their_buckets(
    s3: Any, journal: UploadJournal, tmp_path: Path
) -> None:
    asked: list[Zone] = []

    def bucket(zone: Zone) -> str:
        asked.append(zone)
        return BUCKET

    reads(tmp_path, b"x", "a.fastq")
    reads(tmp_path, b"\0" * 128 + b"DICM", "IM1")
    sender = Sender(s3, bucket, journal, SendOptions("lab", jobs=1))
    files = plan_upload([tmp_path / "data"], Destination.AUTO).files
    locations = [sent.location for sent in sender.send(files)]
    assert set(asked) == {Zone.LANDING_IMAGING, Zone.LANDING_GENOMICS}
    assert all(isinstance(location, Location) for location in locations)
