"""The ledger in S3, read back: every change that was ever relayed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay.adapters.change_log import LEDGER_CHANGES
from forebay.adapters.exceptions import S3ExceptionHistory
from forebay.adapters.items import RUN_ENTITY, record_of, run_of
from forebay.domain.objects import Location
from forebay.domain.policy.exceptions import PolicyException
from forebay.services.ports import ObjectStore
from forebay.services.rebuild_catalog import LedgerLine

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class S3Ledger:
    """`services.rebuild_catalog.Ledger` over the ledger bucket."""

    client: "S3Client"
    store: ObjectStore
    bucket: str

    def lines(self) -> Iterator[LedgerLine]:
        """Return every line, by day and time of the batch; an object at a time is held."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=LEDGER_CHANGES
        )
        for page in pages:
            for entry in page.get("Contents", []):
                location = Location(self.bucket, entry["Key"])
                body = b"".join(self.store.chunks(location, _CHUNK_BYTES))
                yield from (read_line(text) for text in body.decode().splitlines() if text)

    def exceptions(self) -> Iterator[PolicyException]:
        """Return the last version of every exception from policy."""
        return S3ExceptionHistory(self.client, self.bucket).latest()


def read_line(text: str) -> LedgerLine:
    """Return what one line of a ledger object tells; a line of another shape tells why not."""
    try:
        line = json.loads(text)
        if line.get("entity") == RUN_ENTITY:
            return LedgerLine(run_of(line), line.get("from", ""))
        return LedgerLine(
            record_of(_with_place(line)),
            line.get("from", ""),
            tuple(line.get("subject_keywords", ())),
        )
    except (ValueError, KeyError, TypeError) as exc:
        return LedgerLine(None, unreadable=f"{type(exc).__name__}: {exc}")


def _with_place(line: Mapping[str, Any]) -> dict[str, Any]:
    return {**line, **line["location"]}
