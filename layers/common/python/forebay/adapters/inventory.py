"""What buckets hold: listed now by S3, or read from S3 Inventory's reports; and their locks."""

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from forebay.domain.objects import Location
from forebay.domain.reconciliation import ListedUpload, ListedVersion
from forebay.errors import MessageError, ObjectMissingError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NO_LOCK: Final = frozenset(
    {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest"}
)
_MISSING: Final = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound", "MethodNotAllowed"})
_COLUMNS: Final = ("Bucket", "Key", "VersionId", "IsDeleteMarker", "Size", "LastModifiedDate")
_DELETE_MARKER: Final = "true"


@dataclass(frozen=True, slots=True)
class S3Listing:
    """`services.reconcile_storage.StorageListing` and `Uploads` by asking S3, page by page."""

    client: "S3Client"

    def versions(
        self, bucket: str, *, prefix: str = "", after: str = ""
    ) -> Iterator[ListedVersion]:
        """Yield every version of every key, in key order, from the key after `after` on."""
        arguments: Any = {"Bucket": bucket, "Prefix": prefix}
        if after:
            arguments["KeyMarker"] = after
        pages = self.client.get_paginator("list_object_versions").paginate(**arguments)
        for page in pages:
            for entry in page.get("Versions", []):
                yield ListedVersion(
                    Location(bucket, entry["Key"], _version(entry.get("VersionId"))),
                    entry["Size"],
                    entry["LastModified"],
                    entry["ETag"].strip('"'),
                )

    def uploads(self, bucket: str) -> Iterator[ListedUpload]:
        """Yield the multipart uploads that were begun and not completed."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
        for page in pages:
            for entry in page.get("Uploads", []):
                location = Location(bucket, entry["Key"])
                yield ListedUpload(location, entry["UploadId"], entry["Initiated"])

    def abort(self, location: Location, upload_id: str) -> bool:
        """Throw an upload's parts away; False when the upload is no more."""
        try:
            self.client.abort_multipart_upload(
                Bucket=location.bucket, Key=location.key, UploadId=upload_id
            )
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "NoSuchUpload":
                return False
            raise
        return True


@dataclass(frozen=True, slots=True)
class InventoryListing:
    """`StorageListing` over one S3 Inventory report; uploads are asked of S3.

    `manifest` is the report's `manifest.json`. A report is a day or a week old: what it shows is
    confirmed against S3 before it is called a difference. Format: CSV, all versions, as in the S3
    user guide, "Locating your inventory list".
    """

    client: "S3Client"
    manifest: Location

    def versions(
        self, bucket: str, *, prefix: str = "", after: str = ""
    ) -> Iterator[ListedVersion]:
        """Yield the versions the report lists; nothing when it is about another bucket.

        Raises:
            MessageError: the report is not CSV, or lacks a column that is needed.
        """
        manifest = json.loads(self._body(self.manifest.bucket, self.manifest.key))
        if manifest.get("sourceBucket") != bucket:
            return
        columns = _columns(manifest)
        home = str(manifest["destinationBucket"]).rpartition(":")[2]
        for entry in manifest["files"]:
            for row in self._rows(home, entry["key"], columns):
                location = _row_location(row)
                is_wanted = location.key.startswith(prefix) and location.key > after
                if is_wanted and row["IsDeleteMarker"] != _DELETE_MARKER:
                    yield _row_version(location, row)

    def uploads(self, bucket: str) -> Iterator[ListedUpload]:
        """Yield the multipart uploads that were begun and not completed."""
        return S3Listing(self.client).uploads(bucket)

    def _rows(self, bucket: str, key: str, columns: tuple[str, ...]) -> Iterator[Mapping[str, str]]:
        answer = self.client.get_object(Bucket=bucket, Key=key)
        with gzip.open(answer["Body"], "rt", encoding="utf-8", newline="") as text:
            for values in csv.reader(text):
                yield dict(zip(columns, values, strict=False))

    def _body(self, bucket: str, key: str) -> bytes:
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()


@dataclass(frozen=True, slots=True)
class S3Locks:
    """`services.reconcile_storage.Locks` by bucket defaults and object retentions."""

    client: "S3Client"
    _defaults: dict[str, Any] = field(default_factory=dict)

    def is_demanded(self, bucket: str) -> bool:
        """Tell whether every new version of a bucket is to be locked."""
        return bool(self._default(bucket))

    def is_locked(self, location: Location) -> bool:
        """Tell whether a version has a retention; raises ObjectMissingError."""
        try:
            # HEAD tells it to whoever may call GetObjectRetention.
            answer = self.client.head_object(**_address(location))
        except ClientError as exc:
            if exc.response["Error"]["Code"] in _MISSING:
                raise ObjectMissingError(f"a version in {location.bucket} is gone") from exc
            raise
        return "ObjectLockRetainUntilDate" in answer

    def lock(self, location: Location) -> None:
        """Give a version the retention its bucket demands of new ones."""
        default = self._default(location.bucket)
        days = default.get("Days") or 365 * default.get("Years", 0)
        retention: Any = {
            "Mode": default["Mode"],
            "RetainUntilDate": datetime.now(UTC) + timedelta(days=days),
        }
        self.client.put_object_retention(**_address(location), Retention=retention)

    def _default(self, bucket: str) -> Mapping[str, Any]:
        if bucket not in self._defaults:
            try:
                answer: Any = self.client.get_object_lock_configuration(Bucket=bucket)
            except ClientError as exc:
                if exc.response["Error"]["Code"] not in _NO_LOCK:
                    raise
                answer = {}
            rule = answer.get("ObjectLockConfiguration", {}).get("Rule", {})
            self._defaults[bucket] = rule.get("DefaultRetention", {})
        found: Mapping[str, Any] = self._defaults[bucket]
        return found


def _columns(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    if manifest.get("fileFormat") != "CSV":
        raise MessageError(f"the inventory is {manifest.get('fileFormat')}, not CSV")
    columns = tuple(name.strip() for name in str(manifest["fileSchema"]).split(","))
    if lacking := [name for name in _COLUMNS if name not in columns]:
        raise MessageError(
            f"the inventory lacks {', '.join(lacking)}: let it list all versions with size and date"
        )
    return columns


def _row_location(row: Mapping[str, str]) -> Location:
    # Keys in CSV inventories are URL-encoded.
    return Location(row["Bucket"], unquote_plus(row["Key"]), _version(row["VersionId"]))


def _row_version(location: Location, row: Mapping[str, str]) -> ListedVersion:
    return ListedVersion(
        location,
        int(row["Size"] or 0),
        datetime.fromisoformat(row["LastModifiedDate"]),
        row.get("ETag", "").strip('"'),
        is_locked=bool(row["ObjectLockRetainUntilDate"])
        if "ObjectLockRetainUntilDate" in row
        else None,
    )


def _version(value: str | None) -> str:
    return "" if value in (None, "", "null") else str(value)


def _address(location: Location) -> dict[str, Any]:
    address = {"Bucket": location.bucket, "Key": location.key}
    return address | ({"VersionId": location.version_id} if location.version_id else {})
