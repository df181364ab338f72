"""Fetch what is stored: checked while it streams, whole or not there at all, and noted as read."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from botocore.exceptions import ClientError

from forebay.domain.integrity import Algorithm, Digest
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.access import Access
from forebay.domain.policy.standing import access_scope
from forebay.domain.policy.storage_classes import StorageClass, needs_restore
from forebay.domain.states import State
from forebay.formats.digests import MultiDigest, can_compute
from forebay.services.learn_access import added
from forebay.services.ports import Accesses

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES: Final = 1 << 20
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._+=@ -]")
_LONGEST_NAME: Final = 200
"""Of a file; most file systems take 255 bytes, and a part's name is longer than its file's."""
# The strongest that is known and can be computed is what the bytes are compared by.
_STRENGTH: Final = (
    Algorithm.SHA512,
    Algorithm.SHA384,
    Algorithm.SHA256,
    Algorithm.SHA224,
    Algorithm.SHA1,
    Algorithm.MD5,
    Algorithm.CRC64NVME,
    Algorithm.CRC32C,
    Algorithm.CRC32,
)
_GONE: Final = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound", "405"})


class Came(StrEnum):
    """What came of fetching one object."""

    FETCHED = "fetched"
    PRESENT = "present"
    """The same bytes were there already."""
    ARCHIVED = "archived"
    """It cannot be read before it is restored."""
    ASKED = "asked for"
    """Policy was asked to bring it back."""
    REFUSED = "refused"
    """Another file is in its place, or nothing is known to check it by."""
    DAMAGED = "damaged"
    """What came is not what was verified; it was thrown away."""
    MISSING = "missing"
    """Nothing is stored of it, or not any more."""


GOOD: Final = frozenset({Came.FETCHED, Came.PRESENT})


@dataclass(frozen=True, slots=True)
class Fetched:
    """One object's outcome; `checked_by` is the algorithm its bytes were compared by."""

    record: ObjectRecord
    came: Came
    path: Path | None = None
    checked_by: str = ""
    why: str = ""

    def document(self) -> dict[str, Any]:
        """Return the outcome as JSON data; nothing in it names a person."""
        return {
            "object_id": self.record.object_id,
            "outcome": self.came.value,
            "path": str(self.path) if self.path else None,
            "size_bytes": self.record.size_bytes,
            "checked_by": self.checked_by or None,
            "why": self.why or None,
        }


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch placed objects into a folder; `accesses` is where that is noted, under the caller.

    A read is noted before the bytes are asked for, once per study or sample and call: who may not
    note it may not read. S3's access log passes these requests over (`Account.reader`).
    """

    s3: "S3Client"
    accesses: Accesses
    now: Callable[[], datetime]
    chunk_bytes: int = CHUNK_BYTES

    def __call__(
        self, records: Iterable[ObjectRecord], folder: Path, *, restore: bool = False
    ) -> Iterator[Fetched]:
        """Yield what came of each object, in order; with `restore`, policy is asked for the rest.

        Raises:
            ClientError: these credentials may not read, or may not note that they do.
        """
        known = list(records)
        refused = {each.object_id: why for each in known if (why := self._refusal(each))}
        wanted = [each for each in known if each.object_id not in refused]
        cold = {each.object_id for each in wanted if refused_as_cold(self._head(each))}
        self._note([each for each in wanted if each.object_id not in cold])
        if restore:
            self._note([each for each in wanted if each.object_id in cold], asks=True)
        paths = paths_of(wanted)
        for record in known:
            if record.object_id in refused:
                yield Fetched(record, Came.MISSING, why=refused[record.object_id])
            elif record.object_id in cold:
                yield _cold(record, restore=restore)
            else:
                yield self._fetched(record, folder / paths[record.object_id])

    def _refusal(self, record: ObjectRecord) -> str:
        if record.state is not State.PLACED or record.placed is None:
            return f"It is {record.state.value}, not placed."
        if self._head(record) is None:
            return "Storage does not have the version that the catalog names."
        return ""

    def _head(self, record: ObjectRecord) -> Mapping[str, Any] | None:
        try:
            return self.s3.head_object(**_address(_place(record)))
        except ClientError as exc:
            if exc.response["Error"].get("Code") in _GONE:
                return None
            raise

    def _note(self, records: Iterable[ObjectRecord], *, asks: bool = False) -> None:
        at, source = self.now(), f"fetch {uuid4()}"
        gathered: dict[tuple[Any, str], Access] = {}
        for record in records:
            one = Access(
                scope=access_scope(record),
                object_class=record.object_class,
                placed_on=record.state_since.date(),
                last_at=at,
                reads=1,
                sent_bytes=0 if asks else record.size_bytes,
                source=source,
                asks=asks,
            )
            name = (one.scope, one.object_class)
            gathered[name] = added(gathered[name], one) if name in gathered else one
        for access in gathered.values():
            self.accesses.note(access)

    def _fetched(self, record: ObjectRecord, path: Path) -> Fetched:
        digest = strongest(record.evidence)
        if digest is None:
            why = "No digest is known of it that this installation can compute."
            return Fetched(record, Came.REFUSED, why=why)
        checked = digest.algorithm.value
        if path.exists():
            with path.open("rb") as file:
                same = _is(digest, record, iter(lambda: file.read(self.chunk_bytes), b""))
            if same:
                return Fetched(record, Came.PRESENT, path, checked)
            return Fetched(record, Came.REFUSED, path, why="Another file is there; it was left.")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._streamed(record, path, digest)
        except ClientError as exc:
            if exc.response["Error"].get("Code") == "InvalidObjectState":
                return _cold(record, restore=False)
            raise

    def _streamed(self, record: ObjectRecord, path: Path, digest: Digest) -> Fetched:
        """Write beside the place, compare, and only then give it its name."""
        handle, part = tempfile.mkstemp(prefix=".fetching-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                answer = self.s3.get_object(**_address(_place(record)))
                chunks = answer["Body"].iter_chunks(self.chunk_bytes)
                same = _is(digest, record, _written(chunks, file.write))
                file.flush()
                os.fsync(file.fileno())
            if not same:
                why = f"Its {digest.algorithm.value} is not that of what was verified."
                return Fetched(record, Came.DAMAGED, why=f"{why} Nothing was kept.")
            try:
                os.link(part, path)  # unlike a rename it never replaces a file
            except FileExistsError:
                return Fetched(record, Came.REFUSED, path, why="Another file came there meanwhile.")
            return Fetched(record, Came.FETCHED, path, digest.algorithm.value)
        finally:
            with suppress(FileNotFoundError):
                Path(part).unlink()


def refused_as_cold(head: Mapping[str, Any] | None) -> bool:
    """Tell whether what HEAD said means that S3 would not give the bytes."""
    said = head or {}
    restored = 'ongoing-request="false"' in said.get("Restore", "")
    name = said.get("StorageClass", StorageClass.STANDARD.value)
    known = name in StorageClass.__members__
    return known and needs_restore(StorageClass(name)) and not restored


def strongest(evidence: Iterable[Digest]) -> Digest | None:
    """Return the strongest digest that this installation can compute, None without one."""
    known = {digest.algorithm: digest for digest in evidence if can_compute(digest.algorithm)}
    return next((known[each] for each in _STRENGTH if each in known), None)


def paths_of(records: Iterable[ObjectRecord]) -> dict[str, Path]:
    """Return where each object is written, below the folder: its key in its zone, made safe.

    No path leaves the folder or is hidden, and no two are one, also where case makes no difference.
    """
    taken: set[str] = set()
    paths: dict[str, Path] = {}
    for record in records:
        _, *segments = _place(record).key.split("/")
        path = Path(*(_safe(segment) for segment in segments if segment))
        if str(path).casefold() in taken:
            path = path.with_name(f"{record.object_id}-{path.name}"[:_LONGEST_NAME])
        taken.add(str(path).casefold())
        paths[record.object_id] = path
    return paths


def _safe(segment: str) -> str:
    name = _UNSAFE.sub("_", segment).lstrip(". -").rstrip(". ")
    if len(name) > _LONGEST_NAME:  # the end says what kind of file it is
        name = f"{name[:100]}~{name[-99:]}"
    return name or "_"


def _cold(record: ObjectRecord, *, restore: bool) -> Fetched:
    if restore:
        why = (
            "Policy was asked to bring it back, which takes hours; `forebay policy explain"
            f" {record.object_id}` says what comes of it. Then fetch it again."
        )
        return Fetched(record, Came.ASKED, why=why)
    why = "It is archived and cannot be read at once; --restore asks for it."
    return Fetched(record, Came.ARCHIVED, why=why)


def _is(digest: Digest, record: ObjectRecord, chunks: Iterable[bytes]) -> bool:
    computed = MultiDigest([digest.algorithm])
    for chunk in chunks:
        computed.update(chunk)
    values = [each.value for each in computed.digests()]
    return values == [digest.value] and computed.size_bytes == record.size_bytes


def _written(chunks: Iterable[bytes], write: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        write(chunk)
        yield chunk


def _place(record: ObjectRecord) -> Location:
    return replace(record.placed) if record.placed else record.location


def _address(location: Location) -> dict[str, Any]:
    address = {"Bucket": location.bucket, "Key": location.key}
    return address | ({"VersionId": location.version_id} if location.version_id else {})
