"""learn_access: count who opens what is stored, from S3's server access logs."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date

from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.access import Access, BadLine, StorageRead, is_counted
from forebay.domain.policy.exceptions import Scope
from forebay.domain.policy.standing import access_scope
from forebay.events import ObjectCreated
from forebay.services.inspecting import CHUNK_BYTES
from forebay.services.ports import Accesses, Catalog, ObjectStore

ParseAccessLog = Callable[[Iterable[bytes]], Iterator[StorageRead | BadLine]]
"""`formats.access_log.parse_access_log`, passed in by the composition root."""


@dataclass(slots=True)
class Learned:
    """What one log object said; reads `passed_over` are Forebay's own, `unknown` of no object."""

    counted: int = 0
    passed_over: int = 0
    unknown: int = 0
    scopes: int = 0
    is_news: bool = False
    """Whether any of it was not counted before."""
    bad_lines: list[BadLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LearnAccess:
    """Learn from log objects; `zones` are the buckets whose logs count, `prefix` the deployment's.

        log object ──► reads, by scope, class and day ──► each: last access, then the count
                                                          (`Accesses.note`; once per log object)

    A log object that is delivered again counts nothing again. One that fails half way is read
    again as a whole. Lines that are none are told by number, and the others count.
    """

    catalog: Catalog
    store: ObjectStore
    accesses: Accesses
    parse: ParseAccessLog
    zones: Collection[str]
    prefix: str

    def __call__(self, event: ObjectCreated) -> Learned:
        """Count what a log object tells of; raises ObjectMissingError when it is gone."""
        log = Location(event.bucket, event.key, event.version_id)
        learned = Learned()
        gathered: dict[tuple[Scope, str, date], Access] = {}
        known: dict[tuple[str, tuple[str, ...], str], ObjectRecord | None] = {}
        for said in self.parse(self.store.chunks(log, CHUNK_BYTES)):
            if isinstance(said, BadLine):
                learned.bad_lines.append(said)
                continue
            if said.bucket not in self.zones or not is_counted(said, self.prefix):
                learned.passed_over += 1
                continue
            place = (said.bucket, said.keys, said.version_id)
            if place not in known:
                known[place] = self._record(said)
            record = known[place]
            if record is None:
                learned.unknown += 1
                continue
            learned.counted += 1
            _gather(gathered, _access(said, record, source=f"{log.uri}?{log.version_id}"))
        learned.scopes = len(Counter(scope for scope, _, _ in gathered))
        for access in gathered.values():
            learned.is_news |= self.accesses.note(access)
        return learned

    def _record(self, read: StorageRead) -> ObjectRecord | None:
        """Return the record of what was read: by its version, or what is placed under its key."""
        other = None
        for key in read.keys:
            for object_id in self.catalog.objects_copied_to(read.bucket, key):
                record = self.catalog.get(object_id)
                if record is None or record.placed is None:
                    continue
                if read.version_id in ("", record.placed.version_id):
                    return record
                other = other or record
        # A version that was replaced: reading it is an access to the same study or sample.
        return other


def _access(read: StorageRead, record: ObjectRecord, *, source: str) -> Access:
    return Access(
        scope=access_scope(record),
        object_class=record.object_class,
        placed_on=record.state_since.date(),
        last_at=read.at,
        reads=1,
        sent_bytes=read.sent_bytes,
        source=source,
    )


def _gather(gathered: dict[tuple[Scope, str, date], Access], one: Access) -> None:
    name = (one.scope, one.object_class, one.day)
    before = gathered.get(name)
    gathered[name] = one if before is None else added(before, one)


def added(one: Access, other: Access) -> Access:
    """Return two accesses to a scope on a day, from one source, as one."""
    return replace(
        one,
        placed_on=min(one.placed_on, other.placed_on),
        last_at=max(one.last_at, other.last_at),
        reads=one.reads + other.reads,
        sent_bytes=one.sent_bytes + other.sent_bytes,
        asks=one.asks or other.asks,
    )
