"""Objects in S3."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from forebay.domain.integrity import Algorithm, Digest, Witness
from forebay.domain.objects import Location
from forebay.errors import ObjectMissingError
from forebay.services.ports import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SINGLE_COPY_MAX_BYTES: Final = 5 * 1000**3
PART_BYTES: Final = 512 * 1024**2
_MISSING: Final = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound", "405"})
_CHECKSUM_FIELDS: Final = {
    Algorithm.SHA256: "ChecksumSHA256",
    Algorithm.CRC64NVME: "ChecksumCRC64NVME",
    Algorithm.CRC32C: "ChecksumCRC32C",
    Algorithm.CRC32: "ChecksumCRC32",
    Algorithm.SHA1: "ChecksumSHA1",
}
_NEVER_OF_PARTS: Final = frozenset({Algorithm.SHA256, Algorithm.SHA1})


@dataclass(frozen=True, slots=True)
class S3ObjectStore:
    """`services.ports.ObjectStore` over S3."""

    client: "S3Client"
    single_copy_max_bytes: int = SINGLE_COPY_MAX_BYTES
    part_bytes: int = PART_BYTES

    def head(self, location: Location) -> StoredObject:
        """Describe a version (the latest when none is named); raises ObjectMissingError."""
        try:
            answer = self.client.head_object(**address(location), ChecksumMode="ENABLED")
        except ClientError as exc:
            raise missing_or(exc, location) from exc
        version = answer.get("VersionId", location.version_id)
        digests, composite = _checksums(answer)
        return StoredObject(
            location=Location(location.bucket, location.key, "" if version == "null" else version),
            size_bytes=answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            digests=digests,
            composite=composite,
            metadata=answer.get("Metadata", {}),
            replication=answer.get("ReplicationStatus", ""),
        )

    def versions_at(self, bucket: str, key: str) -> tuple[Location, ...]:
        """Return the stored versions of one key, the oldest first; delete markers are none."""
        found: list[Location] = []
        start: dict[str, Any] = {}
        while True:
            answer = self.client.list_object_versions(Bucket=bucket, Prefix=key, **start)
            for entry in answer.get("Versions", []):
                # The prefix of a longer key is listed first: what comes after is another's.
                if entry["Key"] != key:
                    return tuple(reversed(found))
                version = entry.get("VersionId", "")
                found.append(Location(bucket, key, "" if version == "null" else version))
            if not answer.get("IsTruncated"):
                return tuple(reversed(found))
            start = {
                "KeyMarker": answer["NextKeyMarker"],
                "VersionIdMarker": answer["NextVersionIdMarker"],
            }

    def read_range(self, location: Location, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; b'' beyond the end."""
        if length < 1:
            return b""  # no HTTP range says "nothing": S3 would send everything
        try:
            answer = self.client.get_object(
                **address(location), Range=f"bytes={start}-{start + length - 1}"
            )
        except ClientError as exc:
            if exc.response.get("Error", {}).get("Code") in ("InvalidRange", "416"):
                return b""
            raise missing_or(exc, location) from exc
        if "ContentRange" in answer:
            return answer["Body"].read()
        # A server may answer a range with the whole (RFC 9110 §14.2); MiniStack does for versions.
        with closing(answer["Body"]) as body:
            return body.read(start + length)[start:]

    def chunks(self, location: Location, size: int) -> Iterator[bytes]:
        """Stream the object in chunks of about `size` bytes; raises ObjectMissingError."""
        try:
            answer = self.client.get_object(**address(location))
        except ClientError as exc:
            raise missing_or(exc, location) from exc
        yield from answer["Body"].iter_chunks(size)

    def copy(
        self,
        source: StoredObject,
        target: Location,
        *,
        checksum: Algorithm | None,
        tags: Mapping[str, str],
    ) -> StoredObject:
        """Copy server-side and describe the copy; see `ObjectStore.copy`."""
        if checksum is None or source.size_bytes > self.single_copy_max_bytes:
            return self._copy_parts(source, target, checksum=checksum, tags=tags)
        answer = self.client.copy_object(
            Bucket=target.bucket,
            Key=target.key,
            CopySource=_copy_source(source.location),
            ChecksumAlgorithm=checksum.name,  # type: ignore[arg-type]
            MetadataDirective="REPLACE",
            Metadata=dict(source.metadata),
            TaggingDirective="REPLACE",
            Tagging=urlencode(tags),
            StorageClass="STANDARD",
        )
        version = answer.get("VersionId", "")
        digests, composite = _checksums(answer["CopyObjectResult"])
        if not digests:
            return self.head(Location(target.bucket, target.key, version))
        return StoredObject(
            location=Location(target.bucket, target.key, version),
            size_bytes=source.size_bytes,
            digests=digests,
            composite=composite,
            metadata=source.metadata,
        )

    def add_tags(self, location: Location, tags: Mapping[str, str]) -> None:
        """Set tags on one version, keeping those it has; a tag set is always written whole.

        Raises:
            ObjectMissingError: the version is not in storage.
        """
        now = self.tags(location)
        if tags.items() <= now.items():
            return
        merged = dict(now) | {str(key): value for key, value in tags.items()}
        self.client.put_object_tagging(
            **address(location),
            Tagging={"TagSet": [{"Key": k, "Value": v} for k, v in merged.items()]},
        )

    def tags(self, location: Location) -> Mapping[str, str]:
        """Return the tags of one version; raises ObjectMissingError."""
        try:
            answer = self.client.get_object_tagging(**address(location))
        except ClientError as exc:
            raise missing_or(exc, location) from exc
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def put(self, location: Location, body: bytes, *, content_type: str) -> Location:
        """Write a whole small object with its SHA-256; returns its location with the version."""
        answer = self.client.put_object(
            Bucket=location.bucket,
            Key=location.key,
            Body=body,
            ContentType=content_type,
            ChecksumAlgorithm="SHA256",
        )
        return Location(location.bucket, location.key, answer.get("VersionId", ""))

    def _copy_parts(
        self,
        source: StoredObject,
        target: Location,
        *,
        checksum: Algorithm | None,
        tags: Mapping[str, str],
    ) -> StoredObject:
        """Copy in parts; with no `checksum` in the source's own parts and algorithm.

        A composite checksum depends on where the parts were cut, so only an equally cut copy can
        be compared with it. A failed copy is aborted: half-copied parts cost money unseen.
        """
        if checksum is None:
            algorithm = Algorithm(source.composite.partition(":")[0]).name
            ranges, kind = self._source_ranges(source.location), "COMPOSITE"
        else:
            algorithm, kind = checksum.name, "FULL_OBJECT"
            ranges = _even_ranges(source.size_bytes, self.part_bytes)
        upload = self.client.create_multipart_upload(
            Bucket=target.bucket,
            Key=target.key,
            ChecksumAlgorithm=algorithm,  # type: ignore[arg-type]
            ChecksumType=kind,  # type: ignore[arg-type]
            Metadata=dict(source.metadata),
            Tagging=urlencode(tags),
            StorageClass="STANDARD",
        )
        handle: Any = {"Bucket": target.bucket, "Key": target.key, "UploadId": upload["UploadId"]}
        try:
            parts: Any = [
                self._copy_part(handle, source.location, number, span, f"Checksum{algorithm}")
                for number, span in enumerate(ranges, start=1)
            ]
            answer = self.client.complete_multipart_upload(
                **handle, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            self.client.abort_multipart_upload(**handle)
            raise
        return self.head(Location(target.bucket, target.key, answer.get("VersionId", "")))

    def _copy_part(
        self,
        handle: Mapping[str, str],
        source: Location,
        number: int,
        span: tuple[int, int],
        field: str,
    ) -> dict[str, Any]:
        answer = self.client.upload_part_copy(
            Bucket=handle["Bucket"],
            Key=handle["Key"],
            UploadId=handle["UploadId"],
            PartNumber=number,
            CopySource=_copy_source(source),
            CopySourceRange=f"bytes={span[0]}-{span[1]}",
        )
        result: Mapping[str, Any] = answer["CopyPartResult"]
        part = {"PartNumber": number, "ETag": result["ETag"]}
        return part | ({field: result[field]} if field in result else {})

    def _source_ranges(self, location: Location) -> list[tuple[int, int]]:
        ranges: list[tuple[int, int]] = []
        start, number, count = 0, 1, 1
        while number <= count:
            part = self.client.head_object(**address(location), PartNumber=number)
            count = part.get("PartsCount", 1)
            ranges.append((start, start + part["ContentLength"] - 1))
            start, number = start + part["ContentLength"], number + 1
        return ranges


def _even_ranges(size: int, part: int) -> list[tuple[int, int]]:
    return [(start, min(start + part, size) - 1) for start in range(0, size, part)]


def address(location: Location) -> dict[str, Any]:
    """Return how S3 is told of a version."""
    address = {"Bucket": location.bucket, "Key": location.key}
    return address | ({"VersionId": location.version_id} if location.version_id else {})


def _copy_source(location: Location) -> Any:
    source = {"Bucket": location.bucket, "Key": location.key}
    return source | ({"VersionId": location.version_id} if location.version_id else {})


def _checksums(answer: Mapping[str, Any]) -> tuple[tuple[Digest, ...], str]:
    """Return S3's full-object checksums, or the composite one as `<algorithm>:<value>`."""
    found = [(a, answer[field]) for a, field in _CHECKSUM_FIELDS.items() if answer.get(field)]
    composite = answer.get("ChecksumType") == "COMPOSITE"
    in_parts = "-" in answer.get("ETag", "")
    digests: list[Digest] = []
    parts = ""
    for algorithm, text in found:
        # Of parts, S3 makes no other SHA than a composite one, whether it says so or not.
        if composite or "-" in text or (in_parts and algorithm in _NEVER_OF_PARTS):
            parts = f"{algorithm.value}:{text}"
        elif (raw := _decoded(text)) is not None:
            digests.append(Digest(algorithm, raw.hex(), Witness.STORAGE, "s3"))
    return tuple(digests), parts


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def is_missing(exc: ClientError) -> bool:
    """Tell whether S3's answer means that there is no such version."""
    return exc.response.get("Error", {}).get("Code", "") in _MISSING


def missing_or(exc: ClientError, location: Location) -> Exception:
    """Return ObjectMissingError where that is what S3's answer means, the answer otherwise."""
    if is_missing(exc):
        return ObjectMissingError(
            f"an object version in {location.bucket} that the catalog names is not in storage"
        )
    return exc
