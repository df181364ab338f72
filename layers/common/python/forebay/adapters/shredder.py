"""Stored versions that are to go: what there is, and the only code that deletes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from forebay.adapters.refusals import codes_of
from forebay.adapters.s3 import is_missing
from forebay.domain.objects import Location
from forebay.services.place_object import OBJECT_ID_METADATA
from forebay.services.ports import KeptVersion

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DENIED: Final = frozenset({"AccessDenied", "403"})
_NO_VERSION: Final = "null"
"""What S3 calls the version of an object that was written while its bucket had no versions."""


@dataclass(frozen=True, slots=True)
class S3KeptVersions:
    """`services.ports.KeptVersions`: HEAD without checksums, for which S3 decrypts nothing."""

    client: "S3Client"

    def at(self, location: Location) -> KeptVersion | None:
        """Describe one version, None when it is gone."""
        try:
            answer = self.client.head_object(**_address(location))
        except ClientError as exc:
            if is_missing(exc):
                return None
            raise
        return KeptVersion(
            location,
            answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            object_id=answer.get("Metadata", {}).get(OBJECT_ID_METADATA, ""),
            is_held=answer.get("ObjectLockLegalHoldStatus") == "ON",
            locked_until=answer.get("ObjectLockRetainUntilDate"),
        )

    def of_key(self, bucket: str, key: str) -> Sequence[KeptVersion]:
        """Describe all versions of one key; delete markers are none."""
        pages = self.client.get_paginator("list_object_versions").paginate(
            Bucket=bucket, Prefix=key
        )
        found: list[KeptVersion] = []
        for page in pages:
            for entry in page.get("Versions", []):
                # The prefix of a longer key is listed first: what comes after is another's.
                if entry["Key"] != key:
                    return found
                version = entry.get("VersionId", "")
                here = Location(bucket, key, "" if version == _NO_VERSION else version)
                if described := self.at(here):
                    found.append(described)
        return found


@dataclass(frozen=True, slots=True)
class S3Shredder:
    """`services.ports.Shredder`: one version at a time, and never past a lock."""

    client: "S3Client"

    def delete(self, location: Location) -> str:
        """Delete one version for good; return '', or why storage keeps it."""
        try:
            self.client.delete_object(**_address(location))
        except ClientError as exc:
            if is_missing(exc):
                return ""
            if codes_of(exc) & _DENIED:
                return self._denied(location)
            raise
        return ""

    def _denied(self, location: Location) -> str:
        found = S3KeptVersions(self.client).at(location)
        if found is None:
            return ""
        if found.is_held:
            return "storage has a legal hold on it"
        if found.locked_until:
            return f"storage locks it until {found.locked_until:%Y-%m-%d}"
        return "storage denies it, and shows no lock: a bucket policy or a missing grant"


def _address(location: Location) -> dict[str, Any]:
    # Always a version: without one S3 would only hide what there is behind a delete marker.
    version = location.version_id or _NO_VERSION
    return {"Bucket": location.bucket, "Key": location.key, "VersionId": version}
