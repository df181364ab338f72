"""Sending planned files to S3, in parallel, with checksums that S3 verifies.

Up to `SINGLE_PUT_BYTES` a file is one PUT with its SHA-256. Larger ones are multipart with a
CRC-64/NVME per part and over the whole object (a multipart SHA-256 would be a digest of digests,
comparable with nothing); their SHA-256 travels as `x-amz-meta-sha256`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from forebay.domain.objects import Location, object_id
from forebay.domain.receipts import UPLOAD_BATCH_METADATA
from forebay.names import Zone
from forebay.services.register_object import COHORT_METADATA
from forebay_cli.aws_errors import sentence_of
from forebay_cli.uploads.digesting import FileDigests, digest_file
from forebay_cli.uploads.journal import OpenUpload, UploadJournal
from forebay_cli.uploads.planning import PlannedFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SINGLE_PUT_BYTES: Final = 64 << 20
PART_BYTES: Final = 16 << 20
MAX_PARTS: Final = 10_000
"""S3's limit of parts per upload."""


class Result(StrEnum):
    """What became of one file."""

    UPLOADED = "uploaded"
    RESUMED = "resumed"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SentFile:
    """One file's outcome; `location` is None when it failed before it had a key."""

    file: PlannedFile
    result: Result
    location: Location | None = None
    sha256: str = ""
    error: str = ""
    upload_batch: str = ""
    """The batch a receipt is issued by; a resumed upload belongs to the one it began in."""

    @property
    def object_id(self) -> str:
        """The catalog's id of this object version, known without asking; '' unless it was sent."""
        sent = self.result in (Result.UPLOADED, Result.RESUMED)
        return object_id(self.location) if sent and self.location else ""


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How to send; `batch` is a folder in the key, `upload_batch` the name receipts are issued by.

    `on_bytes` is called from several threads with bytes that are safely stored.
    """

    site: str
    batch: str = ""
    upload_batch: str = ""
    cohort: str = ""
    jobs: int = 8
    skip_existing: bool = False
    single_put_bytes: int = SINGLE_PUT_BYTES
    part_bytes: int = PART_BYTES
    on_bytes: Callable[[int], None] = lambda _: None


class Sender:
    """Sends files to the landing buckets of one deployment."""

    def __init__(
        self,
        s3: "S3Client",
        buckets: Callable[[Zone], str],
        journal: UploadJournal,
        options: SendOptions,
    ) -> None:
        self._s3 = s3
        self._bucket = buckets
        self._journal = journal
        self._options = options
        self._stopping = threading.Event()

    def send(self, files: Iterable[PlannedFile]) -> Iterator[SentFile]:
        """Send all files and yield outcomes as they come; checksum files are stored first.

        A file that fails does not stop the others.
        """
        files = list(files)
        sidecars = [file for file in files if file.is_checksums]
        data = [file for file in files if not file.is_checksums]
        for wave in (sidecars, data):
            yield from self._send_wave(wave)

    def _send_wave(self, files: list[PlannedFile]) -> Iterator[SentFile]:
        pool = ThreadPoolExecutor(self._options.jobs, thread_name_prefix="upload")
        try:
            for future in as_completed([pool.submit(self._send_one, file) for file in files]):
                yield future.result()
        except BaseException:
            # Above all Ctrl-C: what is open stays in the journal.
            self._stopping.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _send_one(self, file: PlannedFile) -> SentFile:
        try:
            return self._send_checked(file)
        except (BotoCoreError, ClientError) as exc:
            return SentFile(file, Result.FAILED, error=sentence_of(exc))
        except OSError as exc:
            return SentFile(file, Result.FAILED, error=f"cannot be read: {exc.strerror or exc}")

    def _send_checked(self, file: PlannedFile) -> SentFile:
        part_bytes = part_size(file.size_bytes, self._options.part_bytes)
        digests = digest_file(file.path, part_bytes)
        if digests.size_bytes != file.size_bytes:
            return SentFile(file, Result.FAILED, error="changed while it was being read")
        bucket = self._bucket(file.zone)
        key = file.key(self._options.site, self._options.batch, digests.sha256)
        place = Location(bucket, key)
        if self._options.skip_existing and self._is_stored(place, digests):
            self._options.on_bytes(digests.size_bytes)
            return SentFile(file, Result.SKIPPED, place, digests.sha256)
        if digests.size_bytes <= self._options.single_put_bytes:
            version, result = self._put(file, place, digests), Result.UPLOADED
            upload_batch = self._options.upload_batch
        else:
            version, result, upload_batch = self._put_parts(file, place, digests, part_bytes)
        return SentFile(
            file,
            result,
            Location(bucket, key, version),
            digests.sha256,
            upload_batch=upload_batch,
        )

    def _metadata(self, file: PlannedFile, digests: FileDigests) -> dict[str, str]:
        named = {
            UPLOAD_BATCH_METADATA: self._options.upload_batch,
            COHORT_METADATA: self._options.cohort,
        }
        said = {name: value for name, value in named.items() if value}
        return {**file.declared, "sha256": digests.sha256, **said}

    def _is_stored(self, place: Location, digests: FileDigests) -> bool:
        try:
            head = self._s3.head_object(Bucket=place.bucket, Key=place.key, ChecksumMode="ENABLED")
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return (
            head["ContentLength"] == digests.size_bytes
            and head["Metadata"].get("sha256") == digests.sha256
        )

    def _put(self, file: PlannedFile, place: Location, digests: FileDigests) -> str:
        with file.path.open("rb") as body:
            answer = self._s3.put_object(
                Bucket=place.bucket,
                Key=place.key,
                Body=body,
                ChecksumSHA256=digests.sha256_base64,
                Metadata=self._metadata(file, digests),
            )
        self._options.on_bytes(digests.size_bytes)
        return answer.get("VersionId", "")

    def _put_parts(
        self, file: PlannedFile, place: Location, digests: FileDigests, part_bytes: int
    ) -> tuple[str, Result, str]:
        found = self._journal.find(place.bucket, place.key, digests.sha256, part_bytes)
        stored = self._stored_parts(found) if found else None
        upload = found if found and stored is not None else None
        resumed = upload is not None
        if upload is None:
            upload = self._begin(file, place, digests, part_bytes)
        parts = self._send_parts(upload, file.path, digests, stored or {})
        self._stop_if_interrupted()
        version = self._complete(upload, parts, digests)
        self._journal.close(upload)
        return version, Result.RESUMED if resumed else Result.UPLOADED, upload.batch

    def _begin(
        self, file: PlannedFile, place: Location, digests: FileDigests, part_bytes: int
    ) -> OpenUpload:
        answer = self._s3.create_multipart_upload(
            Bucket=place.bucket,
            Key=place.key,
            ChecksumAlgorithm="CRC64NVME",
            ChecksumType="FULL_OBJECT",
            Metadata=self._metadata(file, digests),
        )
        # MiniStack knows composite checksums only, and says so here; S3 answers FULL_OBJECT.
        agreed = answer.get("ChecksumType", "COMPOSITE")
        upload = OpenUpload(
            place.bucket,
            place.key,
            answer["UploadId"],
            digests.sha256,
            part_bytes,
            agreed,
            self._options.upload_batch,
        )
        self._journal.open(upload)
        return upload

    def _stored_parts(self, upload: OpenUpload) -> dict[int, dict[str, Any]] | None:
        """Return the parts S3 has of an open upload, by number; None when it knows it no more."""
        try:
            pages = self._s3.get_paginator("list_parts").paginate(
                Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id
            )
            return {
                part["PartNumber"]: {
                    "PartNumber": part["PartNumber"],
                    "ETag": part["ETag"],
                    "ChecksumCRC64NVME": part.get("ChecksumCRC64NVME", ""),
                }
                for page in pages
                for part in page.get("Parts", [])
            }
        except ClientError as exc:
            # A site's put-only role may not list parts: then it starts afresh.
            if exc.response["Error"]["Code"] not in {"NoSuchUpload", "AccessDenied"}:
                raise
            self._journal.close(upload)
            return None

    def _send_parts(
        self,
        upload: OpenUpload,
        path: Path,
        digests: FileDigests,
        stored: dict[int, dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """Send the parts that are missing or differ, and return all of them in order."""
        parts: dict[int, dict[str, Any]] = {}
        futures: list[Future[dict[str, Any]]] = []
        pool = ThreadPoolExecutor(self._options.jobs, thread_name_prefix="part")
        try:
            for number, checksum in enumerate(digests.parts, start=1):
                have = stored.get(number)
                if have and have["ChecksumCRC64NVME"] == checksum:
                    parts[number] = have
                    self._options.on_bytes(_part_length(digests, upload.part_bytes, number))
                else:
                    futures.append(pool.submit(self._send_part, upload, path, number, checksum))
            for future in as_completed(futures):
                part = future.result()
                parts[part["PartNumber"]] = part
        finally:
            pool.shutdown(cancel_futures=True)
        return [parts[number] for number in sorted(parts)]

    def _send_part(
        self, upload: OpenUpload, path: Path, number: int, checksum: str
    ) -> dict[str, Any]:
        self._stop_if_interrupted()
        with path.open("rb") as file:
            file.seek((number - 1) * upload.part_bytes)
            body = file.read(upload.part_bytes)
        answer = self._s3.upload_part(
            Bucket=upload.bucket,
            Key=upload.key,
            UploadId=upload.upload_id,
            PartNumber=number,
            Body=body,
            ChecksumCRC64NVME=checksum,
        )
        self._options.on_bytes(len(body))
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC64NVME": checksum}

    def _stop_if_interrupted(self) -> None:
        if self._stopping.is_set():
            raise OSError("the upload was interrupted")

    def _complete(
        self, upload: OpenUpload, parts: list[dict[str, Any]], digests: FileDigests
    ) -> str:
        whole: dict[str, Any] = {}
        if upload.checksum_type == "FULL_OBJECT":
            whole = {"ChecksumCRC64NVME": digests.crc64nvme, "ChecksumType": "FULL_OBJECT"}
        answer = self._s3.complete_multipart_upload(
            Bucket=upload.bucket,
            Key=upload.key,
            UploadId=upload.upload_id,
            MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
            MpuObjectSize=digests.size_bytes,
            **whole,
        )
        return answer.get("VersionId", "")


def part_size(size_bytes: int, wanted: int = PART_BYTES) -> int:
    """Return the part size for a file: the wanted one, doubled until the parts are few enough."""
    while size_bytes > wanted * MAX_PARTS:
        wanted *= 2
    return wanted


def _part_length(digests: FileDigests, part_bytes: int, number: int) -> int:
    return min(part_bytes, digests.size_bytes - (number - 1) * part_bytes)
