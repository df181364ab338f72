"""What policy may do to stored versions in S3."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from forebay.adapters.s3 import S3ObjectStore, address, missing_or
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Location
from forebay.domain.policy.storage_classes import StorageClass, needs_restore
from forebay.services.ports import Shelf, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NO_LOCK: Final = re.compile(r"missing Object ?Lock ?Configuration")
"""What S3's refusal speaks of where a bucket has none: such a bucket holds by gates and policy."""
_BEING_RESTORED: Final = "RestoreAlreadyInProgress"
_ONGOING: Final = re.compile(r'ongoing-request="(true|false)"')
_KMS: Final = frozenset({"aws:kms", "aws:kms:dsse"})
_REPLICATED: Final = frozenset({"PENDING", "COMPLETED", "COMPLETE", "FAILED"})


@dataclass(frozen=True, slots=True)
class S3Vault:
    """`services.ports.Vault` over S3."""

    client: "S3Client"
    store: S3ObjectStore

    def set_tags(self, location: Location, tags: Mapping[str, str]) -> bool:
        """Set tags on one version, keeping the others; False when they were so already.

        Raises:
            ObjectMissingError: the version is not in storage.
        """
        if tags.items() <= self.store.tags(location).items():
            return False
        self.store.add_tags(location, tags)
        return True

    def set_legal_hold(self, location: Location, *, on: bool) -> None:
        """Put or lift the legal hold of one version; nothing where the bucket has no Object Lock.

        Raises:
            ObjectMissingError: the version is not in storage.
        """
        try:
            self.client.put_object_legal_hold(
                **address(location), LegalHold={"Status": "ON" if on else "OFF"}
            )
        except ClientError as exc:
            if _NO_LOCK.search(exc.response.get("Error", {}).get("Message", "")):
                return
            raise missing_or(exc, location) from exc

    def storage_class(self, location: Location) -> Shelf:
        """Return where one version lies; raises ObjectMissingError."""
        try:
            answer: Mapping[str, Any] = self.client.head_object(**address(location))
        except ClientError as exc:
            raise missing_or(exc, location) from exc
        # S3 leaves the header out of what is in STANDARD.
        name = answer.get("StorageClass", StorageClass.STANDARD.value)
        lies_in = StorageClass(name) if name in set(StorageClass) else StorageClass.STANDARD
        ongoing = _ONGOING.search(answer.get("Restore", ""))
        is_restoring = ongoing is not None and ongoing[1] == "true"
        is_restored = ongoing is not None and ongoing[1] == "false"
        # S3 always says how; the local cloud says nothing, which is no violation.
        encryption = answer.get("ServerSideEncryption")
        return Shelf(
            lies_in,
            is_readable=is_restored or not needs_restore(lies_in),
            is_restoring=is_restoring,
            is_encrypted=encryption is None or encryption in _KMS,
            has_legal_hold=answer.get("ObjectLockLegalHoldStatus") == "ON",
            is_replicated=answer.get("ReplicationStatus", "") in _REPLICATED,
        )

    def restore(self, location: Location, *, days: int) -> None:
        """Ask for a readable copy for so many days; asking again is harmless."""
        try:
            self.client.restore_object(
                **address(location),
                RestoreRequest={"Days": days, "GlacierJobParameters": {"Tier": "Standard"}},
            )
        except ClientError as exc:
            if exc.response.get("Error", {}).get("Code") != _BEING_RESTORED:
                raise missing_or(exc, location) from exc

    def warm(
        self, source: StoredObject, *, checksum: Algorithm | None, tags: Mapping[str, str]
    ) -> StoredObject:
        """Copy a readable version onto its own key, into STANDARD as every copy of ours."""
        target = replace(source.location, version_id="")
        return self.store.copy(source, target, checksum=checksum, tags=tags)
