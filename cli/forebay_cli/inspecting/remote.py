"""Judging objects in S3 from here, by ranged reads."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Final

import click
from botocore.exceptions import BotoCoreError, ClientError

from forebay.adapters.s3 import S3ObjectStore
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Location
from forebay.errors import Trouble
from forebay.formats.any_file import inspect_any
from forebay_cli.inspecting.companions import hold_together
from forebay_cli.inspecting.declared import judge_with_lists
from forebay_cli.inspecting.judging import Judged, of_report, unreadable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_AHEAD_BYTES: Final = 8 << 20
_LIST_MAX_BYTES: Final = 64 << 20
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
        length = min(length, self.size_bytes - start)
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
    """Yield the judgement of every object below an s3:// URI, in order of keys.

    Checksum lists, indexes and mates are held against the objects beside them. Raises
    click.UsageError when nothing is there.
    """
    bucket, _, prefix = uri.removeprefix(_SCHEME).partition("/")
    store = S3ObjectStore(client)
    objects = {_as_path(each.location): each for each in _listed(store, bucket, prefix)}
    if not objects:
        raise click.UsageError(f"There is no object at {uri}.")
    with ThreadPoolExecutor(jobs) as pool:

        def judge_all(
            wanted: Mapping[PurePath, frozenset[Algorithm]],
        ) -> Iterator[tuple[PurePath, Judged]]:
            sources = [objects.get(path) or beside[path] for path in wanted]
            yield from zip(wanted, pool.map(_judge, sources, wanted.values()), strict=True)

        beside: dict[PurePath, S3Source] = {}
        exists = partial(_finds, store, bucket, beside)
        judged = judge_with_lists(
            objects,
            judge_all=judge_all,
            read_list=lambda path: _read_list(objects[path]),
            exists=exists,
        )
        judged = hold_together(judged, judge_all=judge_all, exists=exists)
    yield from (judged[path] for path in objects)


def _listed(store: S3ObjectStore, bucket: str, prefix: str) -> Iterator[S3Source]:
    """Yield what is below a prefix; an object that is named exactly is meant alone."""
    pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for entry in page.get("Contents", []):
            if not entry["Key"].endswith("/"):
                yield S3Source(store, Location(bucket, entry["Key"]), entry["Size"])
            if entry["Key"] == prefix and not prefix.endswith("/"):
                return


def _as_path(location: Location) -> PurePath:
    return PurePosixPath(f"/{location.bucket}/{location.key}")


def _finds(
    store: S3ObjectStore, bucket: str, found: dict[PurePath, S3Source], path: PurePath
) -> bool:
    """Tell whether an object that a list speaks of is there, and keep it."""
    location = Location(bucket, path.as_posix().removeprefix(f"/{bucket}/"))
    try:
        size_bytes = store.head(location).size_bytes
    except Trouble:
        return False
    found[path] = S3Source(store, location, size_bytes)
    return True


def _read_list(source: S3Source) -> bytes | None:
    if source.size_bytes > _LIST_MAX_BYTES:
        return None
    try:
        return source.read_range(0, source.size_bytes)
    except (Trouble, ClientError, BotoCoreError):
        return None  # it is judged by itself, and told there


def _judge(source: S3Source, algorithms: frozenset[Algorithm]) -> Judged:
    path = source.location.uri
    try:
        report = inspect_any(source, algorithms)
    except (Trouble, ClientError, BotoCoreError) as exc:
        return unreadable(path, str(exc))
    return of_report(path, report, source.size_bytes)
