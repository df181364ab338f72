"""Judging objects in S3 from here, by ranged reads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forebay.adapters.s3 import S3ObjectStore
from forebay.domain.objects import Location
from forebay.errors import Trouble
from forebay.formats.any_file import inspect_any
from forebay_cli.inspecting.course import DEFAULT_ALGORITHMS
from forebay_cli.inspecting.judging import Judged, of_report

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_AHEAD_BYTES: Final = 8 << 20
_SCHEME: Final = "s3://"


@dataclass(slots=True)
class S3Source:
    """An object as a ByteSource; sequential reads are served from larger ones."""

    store: S3ObjectStore
    location: Location
    size_bytes: int
    _start: int = 0
    _held: bytes = b""

    @property
    def name(self) -> str:
        """The key."""
        return self.location.key

    def read_range(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        if not self._start <= start <= start + length <= self._start + len(self._held):
            follows = start == self._start + len(self._held) and bool(self._held)
            wanted = max(length, READ_AHEAD_BYTES) if follows else length
            self._held = self.store.read_range(self.location, start, wanted)
            self._start = start
        at = start - self._start
        return self._held[at : at + length]


def is_uri(path: str) -> bool:
    """Tell whether a path names objects in S3."""
    return path.startswith(_SCHEME)


def inspect_uri(client: "S3Client", uri: str, *, jobs: int) -> Iterator[Judged]:
    """Yield the judgement of every object below an s3:// URI, in order of keys."""
    bucket, _, prefix = uri.removeprefix(_SCHEME).partition("/")
    store = S3ObjectStore(client)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    sources = (
        S3Source(store, Location(bucket, entry["Key"]), entry["Size"])
        for page in pages
        for entry in page.get("Contents", [])
        if not entry["Key"].endswith("/")
    )
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(_judge, sources)


def _judge(source: S3Source) -> Judged:
    path = source.location.uri
    try:
        report = inspect_any(source, DEFAULT_ALGORITHMS)
    except Trouble as exc:
        return Judged(path, "unknown", "unsupported", trouble=str(exc))
    return of_report(path, report, source.size_bytes)
