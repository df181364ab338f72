"""Plans that were applied, in the ledger: `plans/<plan id>.json`, `plans/<plan id>/….json`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LEDGER_PLANS: Final = "plans/"
_MISSING: Final = frozenset({"NoSuchKey", "404"})


@dataclass(frozen=True, slots=True)
class S3PlanLedger:
    """`services.apply_plan.PlanLedger` in the ledger bucket."""

    client: "S3Client"
    bucket: str

    def put(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a document; an earlier one of that name stays as an earlier version."""
        self.client.put_object(
            Bucket=self.bucket,
            Key=f"{LEDGER_PLANS}{name}.json",
            Body=(json.dumps(document, sort_keys=True, indent=1) + "\n").encode(),
            ContentType="application/json",
            ChecksumAlgorithm="SHA256",
        )

    def get(self, name: str) -> Mapping[str, Any] | None:
        """Return a document, None when there is none."""
        try:
            return self._read(f"{LEDGER_PLANS}{name}.json")
        except ClientError as exc:
            if exc.response["Error"]["Code"] in _MISSING:
                return None
            raise

    def below(self, plan_id: str) -> Iterator[Mapping[str, Any]]:
        """Yield the batches of a plan, in their order."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{LEDGER_PLANS}{plan_id}/"
        )
        for page in pages:
            for entry in page.get("Contents", []):
                yield self._read(entry["Key"])

    def _read(self, key: str) -> Mapping[str, Any]:
        body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        document: Mapping[str, Any] = json.loads(body)
        return document
