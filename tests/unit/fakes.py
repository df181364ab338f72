"""Stand-ins for everything `services/ports.py` names, and generators of what flows through them.

The fakes keep the promises of the ports, not the ways of AWS: tests/adapters holds the real ones to
the same promises. All effects of one test can share an `Effects`, which breaks at the call it is
told to, so that a crash can be tried at every point of a step.
"""

import base64
import hashlib
import itertools
import json
import random
import zlib
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from forebay.domain.classification import Classification
from forebay.domain.dead_letters import (
    DeadLetter,
    Failure,
    LetterGroup,
    LetterState,
    StreamBatch,
    letter_id,
)
from forebay.domain.deadlines import deadline_of, due_at, is_overdue
from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.imaging import DicomInstance
from forebay.domain.inspection import ByteSource, Inspection
from forebay.domain.integrity import DIGEST_BYTES, Algorithm, Digest, Witness
from forebay.domain.objects import Kind, Location, ObjectRecord, object_id
from forebay.domain.orders import NotProven, Order, Proof
from forebay.domain.policy.classes import (
    Measure,
    ObjectClass,
    Policy,
    Removal,
    Retention,
    Since,
    Tier,
)
from forebay.domain.policy.exceptions import (
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
)
from forebay.domain.policy.standing import Context, scopes_of
from forebay.domain.policy.storage_classes import StorageClass, needs_restore
from forebay.domain.rechecks import LastCheck
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.sequencing import ReadsFile
from forebay.domain.states import State, check_transition
from forebay.errors import ObjectMissingError, StaleRecordError, Trouble
from forebay.events import CatalogEvent, ObjectCreated, PipelineFinished
from forebay.names import Step, Zone
from forebay.services.ports import (
    Applied,
    Change,
    Claim,
    ClaimHeld,
    Declarations,
    Lease,
    LostChange,
    Outcome,
    RecordedChange,
    RecordedRun,
    Shelf,
    StoredObject,
)

NOON: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUCKETS: Final = {zone: f"test-{zone.value}" for zone in Zone}
LANDING: Final = {
    BUCKETS[Zone.LANDING_IMAGING]: Zone.LANDING_IMAGING,
    BUCKETS[Zone.LANDING_GENOMICS]: Zone.LANDING_GENOMICS,
}
_numbers = itertools.count(1)


class FakeClock:
    """Time that stands still until told to move."""

    def __init__(self, start: datetime = NOON) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float = 1) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass
class Effects:
    """Counts calls over the fakes that share it, and fails one of them.

    `fail_at` is the number of the call (from 1) that raises Trouble; with `after`, its effect
    happened before the crash.
    """

    fail_at: int = 0
    after: bool = False
    calls: list[str] = field(default_factory=list)

    def run(self, name: str, effect: Callable[[], Any]) -> Any:
        self.calls.append(name)
        fails = len(self.calls) == self.fail_at
        if fails and not self.after:
            raise Trouble(f"{name} failed on purpose")
        result = effect()
        if fails:
            raise Trouble(f"the worker died after {name}")
        return result


class FakeCatalog:
    """`Catalog` in memory, with the stream of its changes."""

    def __init__(self, effects: Effects | None = None) -> None:
        self.effects = effects or Effects()
        self.records: dict[str, ObjectRecord] = {}
        self.claims: dict[tuple[str, str, str], str] = {}
        self.declared: dict[tuple[str, str], Declarations] = {}
        self.runs: dict[str, PipelineRun] = {}
        self.leases: dict[str, Lease] = {}
        self.stream: list[RecordedChange | RecordedRun] = []
        self.before_next_write: list[Callable[[], None]] = []
        """What other workers do just before the next `apply` or `move_run` takes effect."""

    def register(self, record: ObjectRecord) -> bool:
        return bool(self.effects.run("register", lambda: self._register(record)))

    def get(self, object_id: str) -> ObjectRecord | None:
        found: ObjectRecord | None = self.effects.run("get", lambda: self.records.get(object_id))
        return found

    def get_with_declarations(self, object_id: str) -> tuple[ObjectRecord | None, Declarations]:
        record = self.effects.run("get_with_declarations", lambda: self.records.get(object_id))
        place = (record.location.bucket, record.location.key) if record else ("", "")
        return record, self.declared.get(place, Declarations())

    def versions_of(self, bucket: str, key: str) -> tuple[ObjectRecord, ...]:
        def find() -> tuple[ObjectRecord, ...]:
            places = [(r.location.bucket, r.location.key, r) for r in self.records.values()]
            return tuple(record for b, k, record in places if (b, k) == (bucket, key))

        versions: tuple[ObjectRecord, ...] = self.effects.run("versions_of", find)
        return versions

    def objects_copied_to(self, bucket: str, key: str) -> tuple[str, ...]:
        def find() -> tuple[str, ...]:
            copies = [
                (copy, change.after.object_id)
                for change in self.stream
                if isinstance(change, RecordedChange)
                for copy in (change.after.placed, change.after.held)
            ]
            mine = (made for c, made in copies if c and (c.bucket, c.key) == (bucket, key))
            return tuple(dict.fromkeys(mine))

        found: tuple[str, ...] = self.effects.run("objects_copied_to", find)
        return found

    def holders(self, namespace: str, group: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self.effects.run(
            "holders",
            lambda: {v: h for (n, g, v), h in self.claims.items() if (n, g) == (namespace, group)},
        )
        return found

    def apply(self, change: Change) -> Outcome:
        self._let_others_go_first()
        outcome: Outcome = self.effects.run("apply", lambda: self._apply(change))
        return outcome

    def declare(self, bucket: str, key: str, digests: Iterable[Digest]) -> Declarations:
        after: Declarations = self.effects.run(
            "declare", lambda: self._declare(bucket, key, digests)
        )
        return after

    def take_lease(self, lease: Lease, now: datetime) -> bool:
        def take() -> bool:
            held = self.leases.get(lease.object_id)
            is_mine = held is None or held.holder == lease.holder
            if held and not is_mine and held.until > now:
                is_void = held.record_version < lease.record_version
                if not is_void:
                    return False
            self.leases[lease.object_id] = lease
            return True

        return bool(self.effects.run("take_lease", take))

    def get_lease(self, object_id: str) -> Lease | None:
        found: Lease | None = self.effects.run("get_lease", lambda: self.leases.get(object_id))
        return found

    def end_lease(self, lease: Lease) -> bool:
        def end() -> bool:
            held = self.leases.get(lease.object_id)
            if held is None or (held.holder, held.until) != (lease.holder, lease.until):
                return False
            del self.leases[lease.object_id]
            return True

        self._let_others_go_first()
        return bool(self.effects.run("end_lease", end))

    def open_run(self, run: PipelineRun) -> PipelineRun:
        def put() -> PipelineRun:
            if run.run_id not in self.runs:
                self.runs[run.run_id] = run
                self.stream.append(RecordedRun(None, run))
            return self.runs[run.run_id]

        opened: PipelineRun = self.effects.run("open_run", put)
        return opened

    def get_run(self, run_id: str) -> PipelineRun | None:
        found: PipelineRun | None = self.effects.run("get_run", lambda: self.runs.get(run_id))
        return found

    def move_run(self, before: PipelineRun, after: PipelineRun) -> None:
        self._let_others_go_first()

        def move() -> None:
            if self.runs[before.run_id].version != before.version:
                raise StaleRecordError(f"pipeline run {before.run_id} moved meanwhile")
            assert after.version == before.version + 1
            self.runs[before.run_id] = after
            self.stream.append(RecordedRun(before, after))

        self.effects.run("move_run", move)

    def _register(self, record: ObjectRecord) -> bool:
        check_transition(None, record.state)
        assert record.object_id == object_id(record.location, record.etag)
        if record.object_id in self.records:
            return False
        self.records[record.object_id] = record
        self.stream.append(RecordedChange(None, record))
        return True

    def _apply(self, change: Change) -> Outcome:
        before, after = change.before, change.after
        for was, will_be in ((before, after), *change.also):
            # Guards of the fake alone: what the real one cannot know, no service may ask for.
            assert will_be.version == was.version + 1
            assert will_be.object_id == was.object_id
            if will_be.state is not was.state:
                check_transition(was.state, will_be.state)
        for claim in change.claims:
            holder = self.claims.get(_name(claim))
            if holder not in (None, after.object_id) and holder != (claim.takes_over or None):
                return ClaimHeld(claim, str(holder))
        stored = self.records[before.object_id]
        place = (stored.location.bucket, stored.location.key)
        declared = self.declared.get(place, Declarations())
        if stored.version != before.version or (
            change.declarations is not None and change.declarations.revision != declared.revision
        ):
            raise StaleRecordError(f"object {before.object_id} moved meanwhile")
        for was, _ in change.also:
            if self.records[was.object_id].version != was.version:
                raise StaleRecordError(f"object {was.object_id} moved meanwhile")
        self._store(stored, replace(after, duplicate_count=stored.duplicate_count))
        self.claims |= {_name(claim): after.object_id for claim in change.claims}
        if change.counts_on:
            original = self.records[change.counts_on]
            self._store(original, replace(original, duplicate_count=original.duplicate_count + 1))
        for was, will_be in change.also:
            other = self.records[was.object_id]
            self._store(other, replace(will_be, duplicate_count=other.duplicate_count))
        return Applied()

    def _store(self, before: ObjectRecord, after: ObjectRecord) -> None:
        self.records[after.object_id] = after
        self.stream.append(RecordedChange(before, after))

    def _declare(self, bucket: str, key: str, digests: Iterable[Digest]) -> Declarations:
        before = self.declared.get((bucket, key), Declarations())
        by_source = {(d.source, d.algorithm): d for d in (*before.digests, *digests)}
        if tuple(by_source.values()) == before.digests:
            return before
        after = Declarations(tuple(by_source.values()), before.revision + 1)
        self.declared[bucket, key] = after
        return after

    def _let_others_go_first(self) -> None:
        others, self.before_next_write = self.before_next_write, []
        for other in others:
            other()


@dataclass
class StoredVersion:
    """One version of one object in a FakeStore."""

    body: bytes
    checksum: Algorithm | None = Algorithm.CRC64NVME
    part_bytes: int = 0
    """Not zero: S3 knows only the composite checksum of parts of this size."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    replication: str = ""
    storage_class: StorageClass = StorageClass.STANDARD
    has_legal_hold: bool = False
    is_restored: bool = False
    is_restoring: bool = False
    is_encrypted: bool = True


class FakeStore:
    """`ObjectStore` in memory: versions, checksums, tags; it lies when told to."""

    def __init__(self, effects: Effects | None = None) -> None:
        self.effects = effects or Effects()
        self.versions: dict[tuple[str, str], dict[str, StoredVersion]] = {}
        self.written: Counter[tuple[str, str]] = Counter()
        self.bytes_read: dict[Location, int] = {}
        self.corrupts_copies = 0
        """How many copies from now on lose their last byte on the way."""
        self.before_next_copy: list[Callable[[], None]] = []

    def upload(self, bucket: str, key: str, body: bytes, **how: Any) -> ObjectCreated:
        """Write a version as a sender does and return the event that tells of it."""
        location = self._write(Location(bucket, key), StoredVersion(body, **how))
        return ObjectCreated(
            bucket=bucket,
            key=key,
            version_id=location.version_id,
            sequencer=f"{next(_numbers):016X}",
            size_bytes=len(body),
            etag="",
        )

    def upload_unversioned(self, bucket: str, key: str, body: bytes) -> ObjectCreated:
        """Write the null version, over the one that was there."""
        self.versions[bucket, key] = {"": StoredVersion(body)}
        etag = self._described(Location(bucket, key)).etag
        return ObjectCreated(bucket, key, "", f"{next(_numbers):016X}", len(body), etag)

    def head(self, location: Location) -> StoredObject:
        stored: StoredObject = self.effects.run("head", lambda: self._described(location))
        return stored

    def versions_at(self, bucket: str, key: str) -> tuple[Location, ...]:
        listed: tuple[Location, ...] = self.effects.run(
            "versions_at",
            lambda: tuple(
                Location(bucket, key, version) for version in self.versions.get((bucket, key), {})
            ),
        )
        return listed

    def read_range(self, location: Location, start: int, length: int) -> bytes:
        def read() -> bytes:
            data = self._version(location)[1].body[start : start + length]
            self._count(location, len(data))
            return data

        data: bytes = self.effects.run("read_range", read)
        return data

    def chunks(self, location: Location, size: int) -> Iterator[bytes]:
        body = self.effects.run("chunks", lambda: self._version(location)[1].body)
        for start in range(0, len(body), size):
            self._count(location, len(body[start : start + size]))
            yield body[start : start + size]

    def copy(
        self,
        source: StoredObject,
        target: Location,
        *,
        checksum: Algorithm | None,
        tags: Mapping[str, str],
    ) -> StoredObject:
        others, self.before_next_copy = self.before_next_copy, []
        for other in others:
            other()

        def make() -> StoredObject:
            original = self._version(source.location)[1]
            body = original.body
            if self.corrupts_copies and body:
                self.corrupts_copies -= 1
                body = body[:-1] + bytes([body[-1] ^ 1])
            made = StoredVersion(
                body,
                checksum=checksum or original.checksum,
                part_bytes=0 if checksum else original.part_bytes,
                metadata=dict(source.metadata),
                tags={str(key): value for key, value in tags.items()},
            )
            return self._described(self._write(target, made))

        copied: StoredObject = self.effects.run("copy", make)
        return copied

    def add_tags(self, location: Location, tags: Mapping[str, str]) -> None:
        def add() -> None:
            self._version(location)[1].tags.update({str(k): v for k, v in tags.items()})

        self.effects.run("add_tags", add)

    def put(self, location: Location, body: bytes, *, content_type: str) -> Location:
        written: Location = self.effects.run(
            "put", lambda: self._write(location, StoredVersion(body, checksum=Algorithm.SHA256))
        )
        return written

    def body(self, location: Location) -> bytes:
        """Return what is stored, past all counters."""
        return self._version(location)[1].body

    def tags(self, location: Location) -> Mapping[str, str]:
        """Return the tags of a version, past all counters."""
        return self._version(location)[1].tags

    def expire(self, location: Location) -> None:
        """Remove a version, as lifecycle does."""
        version, _ = self._version(location)
        del self.versions[location.bucket, location.key][version]

    def damage(self, location: Location, *, at: int = -1) -> None:
        """Flip a bit of what is stored."""
        version = self._version(location)[1]
        changed = bytearray(version.body)
        changed[at] ^= 1
        version.body = bytes(changed)

    def keys(self, bucket: str) -> set[str]:
        """Return the keys that have a version in a bucket."""
        return {key for (b, key), versions in self.versions.items() if b == bucket and versions}

    def _write(self, location: Location, version: StoredVersion) -> Location:
        versions = self.versions.setdefault((location.bucket, location.key), {})
        # Counted per key, so that a story told twice makes the same ids.
        self.written[location.bucket, location.key] += 1
        version_id = f"v{self.written[location.bucket, location.key]}"
        versions[version_id] = version
        return Location(location.bucket, location.key, version_id)

    def _version(self, location: Location) -> tuple[str, StoredVersion]:
        versions = self.versions.get((location.bucket, location.key), {})
        version_id = location.version_id or next(reversed(versions), "")
        if version_id not in versions:
            raise ObjectMissingError("the object version is not in storage")
        return version_id, versions[version_id]

    def _described(self, location: Location) -> StoredObject:
        version_id, version = self._version(location)
        digests: tuple[Digest, ...] = ()
        composite = ""
        if version.checksum and version.part_bytes:
            composite = _composite(version)
        elif version.checksum:
            value = checksum_of(version.checksum, version.body)
            digests = (Digest(version.checksum, value, Witness.STORAGE, "s3"),)
        return StoredObject(
            location=Location(location.bucket, location.key, version_id),
            size_bytes=len(version.body),
            etag=hashlib.md5(version.body).hexdigest(),  # noqa: S324 - as S3 does
            digests=digests,
            composite=composite,
            metadata=version.metadata,
            replication=version.replication,
        )

    def _count(self, location: Location, amount: int) -> None:
        self.bytes_read[location] = self.bytes_read.get(location, 0) + amount


class FakeVault:
    """`Vault` over a FakeStore."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.effects = store.effects
        self.before_next_tags: list[Callable[[], object]] = []

    def set_tags(self, location: Location, tags: Mapping[str, str]) -> bool:
        others, self.before_next_tags = self.before_next_tags, []
        for other in others:
            other()

        def put() -> bool:
            version = self.store._version(location)[1]
            is_new = not tags.items() <= version.tags.items()
            version.tags.update({str(k): v for k, v in tags.items()})
            return is_new

        return bool(self.effects.run("set_tags", put))

    def set_legal_hold(self, location: Location, *, on: bool) -> None:
        def put() -> None:
            self.store._version(location)[1].has_legal_hold = on

        self.effects.run("set_legal_hold", put)

    def storage_class(self, location: Location) -> Shelf:
        def look() -> Shelf:
            version = self.store._version(location)[1]
            return Shelf(
                version.storage_class,
                is_readable=version.is_restored or not needs_restore(version.storage_class),
                is_restoring=version.is_restoring,
                is_encrypted=version.is_encrypted,
                has_legal_hold=version.has_legal_hold,
                is_replicated=bool(version.replication),
            )

        shelf: Shelf = self.effects.run("storage_class", look)
        return shelf

    def restore(self, location: Location, *, days: int) -> None:
        def ask() -> None:
            self.store._version(location)[1].is_restoring = True

        self.effects.run("restore", ask)

    def warm(
        self, source: StoredObject, *, checksum: Algorithm | None, tags: Mapping[str, str]
    ) -> StoredObject:
        target = replace(source.location, version_id="")
        return self.store.copy(source, target, checksum=checksum, tags=tags)


class FakeStoredObjects:
    """`StoredObjects` and `UploadBatches` over a FakeCatalog."""

    def __init__(self, catalog: FakeCatalog) -> None:
        self.catalog = catalog

    def by_last_check(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LastCheck]:
        placed = (r for r in self.catalog.records.values() if r.state is State.PLACED)
        checks = [
            LastCheck(r.rechecked_at or r.state_since, r.object_id, r.size_bytes) for r in placed
        ]
        for check in sorted(checks, key=lambda each: (each.at, each.object_id)):
            if (since is None or check.at >= since) and (until is None or check.at <= until):
                yield check

    def records(self, site: str, batch: str) -> Iterator[ObjectRecord]:
        for record in self.catalog.records.values():
            if (record.site, record.upload_batch) == (site, batch):
                yield record


class FakeSigner:
    """`Signer` with a key of this process."""

    key_id = "0b6a3c52-receipts"

    def __init__(self) -> None:
        self.private_key = ec.generate_private_key(ec.SECP256R1())

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.private_key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def public_pem(self) -> bytes:
        """Return what verifiers are given."""
        return self.private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


class FakeAgenda:
    """`Agenda` over a FakeCatalog: it may name what is done already, as indexes do."""

    def __init__(self, catalog: FakeCatalog) -> None:
        self.catalog = catalog
        self.outdated: list[str] = []
        """Ids of objects that stand in every answer about objects and leases."""

    def ended_leases(self, now: datetime, limit: int) -> list[str]:
        ended = [lease for lease in self.catalog.leases.values() if lease.until <= now]
        ids = [lease.object_id for lease in sorted(ended, key=lambda each: each.until)]
        return [*self.outdated, *ids][:limit]

    def due_objects(self, now: datetime, limit: int) -> list[str]:
        times = {made: due_at(record) for made, record in self.catalog.records.items()}
        late = sorted((at, made) for made, at in times.items() if at is not None and at <= now)
        return [*self.outdated, *(made for _, made in late)][:limit]

    def count_overdue(self, state: State, owner: Owner) -> int:
        overdue = [r for r in self.catalog.records.values() if r.state is state and is_overdue(r)]
        deadlines = [deadline_of(record) for record in overdue]
        return sum(1 for deadline in deadlines if deadline and deadline.owner is owner)

    def runs_in(self, state: RunState, before: datetime, limit: int) -> list[str]:
        runs = [r for r in self.catalog.runs.values() if r.state is state]
        runs.sort(key=lambda run: run.state_since)
        return [run.run_id for run in runs if run.state_since <= before][:limit]


class FakeQueues:
    """`Queues`: gives every message to `deliver`."""

    def __init__(
        self, deliver: Callable[[Step, str], None], effects: Effects | None = None
    ) -> None:
        self.deliver = deliver
        self.effects = effects or Effects()

    def send(self, step: Step, bodies: Sequence[str]) -> None:
        def deliver() -> None:
            for body in bodies:
                self.deliver(step, body)

        self.effects.run("send", deliver)


class FakeDeadLetters:
    """`DeadLetters` and `FailureNotes` in memory; groups are counted from the letters."""

    def __init__(self, effects: Effects | None = None) -> None:
        self.effects = effects or Effects()
        self.by_id: dict[str, DeadLetter] = {}
        self.notes: dict[str, Failure] = {}
        self.causes: dict[str, Failure] = {}
        """Every cause there ever was, as group items remain when their last letter leaves."""

    def leave(self, note_id: str, failure: Failure, at: datetime) -> None:
        self.notes[note_id] = failure

    def find(self, note_id: str) -> Failure | None:
        return self.notes.get(note_id)

    def get(self, letter_id: str) -> DeadLetter | None:
        return self.by_id.get(letter_id)

    def put(self, before: DeadLetter | None, after: DeadLetter) -> None:
        def write() -> None:
            now = self.by_id.get(after.letter_id)
            if (now.version if now else 0) != (before.version if before else 0):
                raise StaleRecordError(f"dead letter {after.letter_id} moved meanwhile")
            assert after.version == (before.version if before else 0) + 1
            self.by_id[after.letter_id] = after
            self.causes[after.failure.signature] = after.failure

        self.effects.run("put letter", write)

    def groups(self) -> list[LetterGroup]:
        groups = [self._group(failure) for failure in self.causes.values()]
        return sorted(groups, key=lambda group: group.last_failed_at, reverse=True)

    def letters(
        self, signature: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[DeadLetter]:
        mine = [x for x in self.by_id.values() if x.failure.signature == signature]
        for letter in sorted(mine, key=lambda each: (each.last_failed_at, each.letter_id)):
            at = letter.last_failed_at
            if (since is None or at >= since) and (until is None or at <= until):
                yield letter

    def _group(self, failure: Failure) -> LetterGroup:
        mine = [x for x in self.by_id.values() if x.failure == failure]
        return LetterGroup(
            signature=failure.signature,
            failure=failure,
            counts=Counter(letter.state for letter in mine),
            failures=sum(letter.failures for letter in mine),
            first_failed_at=min((x.first_failed_at for x in mine), default=NOON),
            last_failed_at=max((x.last_failed_at for x in mine), default=NOON),
        )


class FakeStreamRecords:
    """`StreamRecords`: what is still there of the batches it was given, by first position."""

    def __init__(self) -> None:
        self.changes: dict[str, list[LostChange]] = {}

    def read(self, batch: StreamBatch) -> Sequence[LostChange]:
        return self.changes.get(batch.first_sequence, [])


class FakePipelines:
    """`Pipelines`: executions by name, started once however often asked."""

    def __init__(self) -> None:
        self.started: dict[str, PipelineRun] = {}
        self.ended: dict[str, PipelineFinished] = {}
        self.requests = 0
        self.before_answer: list[Callable[[], None]] = []

    def start(self, run: PipelineRun) -> str:
        self.requests += 1
        self.started.setdefault(run.run_id, run)
        while self.before_answer:
            self.before_answer.pop()()
        return f"arn:aws:states:eu-central-1:000000000000:execution:{run.pipeline}:{run.run_id}"

    def outcome(self, run: PipelineRun) -> PipelineFinished | None:
        return self.ended.get(run.run_id)


class FakePseudonyms:
    """`Pseudonyms`: tokens that do not show what they stand for."""

    def token(self, keyword: str, value: str) -> str:
        return hashlib.sha256(f"secret {keyword} {value.strip()}".encode()).hexdigest()


class FakeFeed:
    """`ChangeFeed`: what was published, in order; fails when told to."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.published: list[CatalogEvent] = []
        self.journal = journal if journal is not None else []
        self.fails = 0

    def publish(self, changes: Sequence[CatalogEvent]) -> None:
        if self.fails:
            self.fails -= 1
            raise Trouble("the bus is down on purpose")
        self.published += changes
        self.journal.append("bus")


class FakeLog:
    """`ChangeLog`: what was recorded, in order."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.recorded: list[RecordedChange] = []
        self.runs: list[RecordedRun] = []
        self.journal = journal if journal is not None else []

    def record(self, changes: Sequence[RecordedChange | RecordedRun]) -> None:
        self.recorded += [change for change in changes if isinstance(change, RecordedChange)]
        self.runs += [change for change in changes if isinstance(change, RecordedRun)]
        self.journal.append("history")

    def has(self, object_id: str, version: int) -> bool:
        return any(
            (change.after.object_id, change.after.version) == (object_id, version)
            for change in self.recorded
        )


def any_policy(**classes: ObjectClass) -> Policy:
    """Return a policy with the classes of FakeClassifier, a fast one of each sort, and others."""
    standard = (
        any_class(
            "clinical-hot",
            tiers=(Tier(30, Measure.IDLE, StorageClass.GLACIER, min_bytes=0),),
            retention=Retention("clinical-hot-5y", floor_days=5 * 365),
        ),
        any_class(
            "genomics-raw",
            zone=Zone.GENOMICS,
            tiers=(Tier(90, Measure.AGE, StorageClass.GLACIER, min_bytes=0),),
            retention=Retention("genomics-raw-5y", 0, 1000, Removal.EXPIRE),
            latency_seconds=24 * 3600,
        ),
        any_class("genomics-manifest", zone=Zone.GENOMICS),
        any_class(
            "derived",
            zone=Zone.DERIVED,
            retention=Retention("derived-5y", 0, 14, Removal.EXPIRE, Since.RUN_SUCCEEDED),
        ),
    )
    return Policy({**{each.name: each for each in standard}, **classes}, (), digest="one")


def any_class(name: str, **fields: Any) -> ObjectClass:
    """Return a class whose objects stay where they are for ever."""
    facts: dict[str, Any] = {
        "owner": "its owner",
        "zone": Zone.CLINICAL,
        "retention": Retention(f"{name}-5y"),
    }
    return ObjectClass(name, **facts | fields)


class FakeClassifier:
    """`Classifier` by kind, as the first policy does; tests may change `names` and `policy`."""

    def __init__(self, *, needs_sender_digest: bool = True) -> None:
        self.needs_sender_digest = needs_sender_digest
        self.facts: list[Mapping[str, Any]] = []
        self.policy = any_policy()
        self.names: dict[str, str] = {}
        """Classes by kind of object, other than those of the first policy."""
        self.zones: dict[str, Zone] = {}
        """Zones by class, where it is another than that of the kind of object."""

    def classify(self, facts: Mapping[str, Any]) -> Classification:
        self.facts.append(facts)
        name, zone = {
            Kind.DICOM.value: ("clinical-hot", Zone.CLINICAL),
            Kind.FASTQ.value: ("genomics-raw", Zone.GENOMICS),
            Kind.CHECKSUMS.value: ("genomics-manifest", Zone.GENOMICS),
        }.get(facts["kind"], ("derived", Zone.DERIVED))
        name = self.names.get(facts["kind"], name)
        return Classification(
            object_class=name,
            rule=f"rule for {facts['kind']}",
            retention_class=f"{name}-5y",
            zone=self.zones.get(name, zone).value,
            needs_sender_digest=self.needs_sender_digest and facts["kind"] == Kind.FASTQ.value,
        )


@dataclass(frozen=True)
class FakeEntry:
    """One line of a checksum file."""

    path: str
    algorithm: Algorithm
    value: str


@dataclass(frozen=True)
class FakeChecksums:
    """What `parse_checksums` returns."""

    entries: tuple[FakeEntry, ...]
    findings: tuple[Finding, ...] = ()


def parse_checksums(data: bytes, *, name: str) -> FakeChecksums:
    """Parse lines of `<md5 or sha256 hex> [<path>]`."""
    entries = []
    for line in data.decode().splitlines():
        value, _, path = line.partition(" ")
        algorithm = {32: Algorithm.MD5, 64: Algorithm.SHA256, 128: Algorithm.SHA512}.get(len(value))
        if algorithm is None:
            return FakeChecksums((), (any_finding(code=ReasonCode.MANIFEST_MALFORMED),))
        entries.append(FakeEntry(path.strip(), algorithm, value))
    return FakeChecksums(tuple(entries))


def parse_dicom(source: ByteSource) -> Inspection[DicomInstance]:
    """Parse the stand-in for DICOM that `any_dicom_body` writes."""
    head = source.read_range(0, 4096)
    if not head.startswith(b"DICM"):
        return Inspection(Verdict.INVALID, None, (any_finding(code=ReasonCode.NOT_DICOM),))
    if b"\n" not in head:
        return Inspection(
            Verdict.INVALID,
            None,
            (any_finding(code=ReasonCode.DICOM_TRUNCATED, position=f"byte {len(head)}"),),
        )
    fields = json.loads(head[4:].partition(b"\n")[0])
    return Inspection(Verdict.VALID, DicomInstance(**fields), bytes_read=len(head), requests=1)


def parse_reads(
    chunks: Iterable[bytes], *, name: str, algorithms: Collection[Algorithm]
) -> Inspection[ReadsFile]:
    """Parse the stand-in for FASTQ that `any_reads_body` writes."""
    data = b"".join(chunks)
    digests = digests_of(data, algorithms)
    if not data.startswith(b"@") or b"\n" not in data:
        finding = any_finding(code=ReasonCode.GZIP_TRUNCATED, position=f"byte {len(data)}")
        return Inspection(Verdict.INVALID, None, (finding,), digests)
    fields = json.loads(data[1:].partition(b"\n")[0])
    return Inspection(Verdict.VALID, any_reads_file(**fields), (), digests)


def digest_chunks(
    chunks: Iterable[bytes], algorithms: Collection[Algorithm]
) -> tuple[tuple[Digest, ...], int]:
    """Compute digests of a stream."""
    data = b"".join(chunks)
    return digests_of(data, algorithms), len(data)


def can_compute(algorithm: Algorithm) -> bool:
    """Tell whether `digest_chunks` knows an algorithm; as in Lambda, it knows no CRC64NVME."""
    return algorithm.value in hashlib.algorithms_available


def digests_of(
    data: bytes, algorithms: Collection[Algorithm], witness: Witness = Witness.FOREBAY
) -> tuple[Digest, ...]:
    """Return digests of some bytes; unknown to hashlib: none."""
    known = [a for a in algorithms if a.value in hashlib.algorithms_available]
    return tuple(Digest(a, checksum_of(a, data), witness) for a in known)


def checksum_of(algorithm: Algorithm, data: bytes) -> str:
    """Return a checksum in hex; CRC64NVME by a stand-in of the same length."""
    if algorithm is Algorithm.CRC32:
        return f"{zlib.crc32(data):08x}"
    if algorithm.value in hashlib.algorithms_available:
        return hashlib.new(algorithm.value, data, usedforsecurity=False).hexdigest()
    stand_in = hashlib.sha256(algorithm.value.encode() + data).hexdigest()
    return stand_in[: 2 * DIGEST_BYTES[algorithm]]


def location_of(event: ObjectCreated) -> Location:
    """Return the location an event speaks of."""
    return Location(event.bucket, event.key, event.version_id)


def any_number() -> int:
    """Return a number no one had before."""
    return next(_numbers)


def any_hex(length: int) -> str:
    """Return random hex digits."""
    return f"{random.getrandbits(4 * length):0{length}x}"


def any_digest(**fields: Any) -> Digest:
    """Return a digest of the evidence."""
    algorithm = fields.get("algorithm", Algorithm.SHA256)
    facts: dict[str, Any] = {
        "algorithm": algorithm,
        "value": any_hex(2 * DIGEST_BYTES[algorithm]),
        "witness": Witness.FOREBAY,
    }
    return Digest(**facts | fields)


def any_finding(**fields: Any) -> Finding:
    """Return a finding."""
    facts: dict[str, Any] = {
        "code": ReasonCode.DICOM_MALFORMED,
        "message": "Something is wrong with the file; send it again.",
        "owner": Owner.SENDER,
    }
    return Finding(**facts | fields)


def any_location(**fields: Any) -> Location:
    """Return a location in the imaging landing bucket."""
    facts = {
        "bucket": BUCKETS[Zone.LANDING_IMAGING],
        "key": f"site-a/{any_number()}.dcm",
        "version_id": f"v{any_number()}",
    }
    return Location(**facts | fields)


def any_record(**fields: Any) -> ObjectRecord:
    """Return a received instance's record."""
    location = fields.pop("location", None) or any_location()
    facts: dict[str, Any] = {
        "object_id": object_id(location),
        "kind": Kind.DICOM,
        "site": "site-a",
        "state": State.RECEIVED,
        "state_since": NOON,
        "version": 1,
        "arrived_at": NOON,
        "size_bytes": 1000,
    }
    return ObjectRecord(location=location, **facts | fields)


def any_uid() -> str:
    """Return a DICOM UID."""
    return f"2.25.{any_number()}{random.getrandbits(64)}"


def any_instance(**fields: Any) -> DicomInstance:
    """Return what a DICOM inspection establishes."""
    facts: dict[str, Any] = {
        "sop_instance_uid": any_uid(),
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "study_instance_uid": any_uid(),
        "series_instance_uid": any_uid(),
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "attributes": {"Modality": "CT", "StudyDate": "20260301"},
        "subject": {"PatientID": f"P{any_number()}", "AccessionNumber": f"A{any_number()}"},
    }
    return DicomInstance(**facts | fields)


def any_dicom_body(*, pixels: bytes = b"", **fields: Any) -> bytes:
    """Return bytes that `parse_dicom` understands as this instance."""
    instance = any_instance(**fields)
    shape = {name: getattr(instance, name) for name in DicomInstance.__dataclass_fields__}
    return b"DICM" + json.dumps(shape).encode() + b"\n" + (pixels or any_hex(64).encode())


def any_reads_file(**fields: Any) -> ReadsFile:
    """Return what a FASTQ inspection establishes."""
    facts: dict[str, Any] = {
        "reads": 4,
        "bases": 400,
        "min_length": 100,
        "mean_length": 100.0,
        "max_length": 100,
        "q20_fraction": 0.98,
        "q30_fraction": 0.9,
        "gc_fraction": 0.41,
        "n_fraction": 0.0,
        "quality_encoding": "phred+33",
        "layout": "illumina-1.8",
        "compression": "gzip",
        "instruments": ("M1",),
        "runs": ("7",),
        "flow_cells": ("FC1",),
        "lanes": ("1",),
        "names_digest": "0123",
    }
    shape: dict[str, Any] = facts | fields
    lists = {name: tuple(value) for name, value in shape.items() if isinstance(value, list)}
    return ReadsFile(**shape | lists)


def any_reads_body(*, bases: bytes = b"", **fields: Any) -> bytes:
    """Return bytes that `parse_reads` understands as these statistics."""
    return b"@" + json.dumps(fields).encode() + b"\n" + (bases or any_hex(64).encode())


def any_failure(**fields: Any) -> Failure:
    """Return why a step gave up."""
    facts: dict[str, Any] = {
        "step": Step.PLACE_OBJECT,
        "error": "Trouble",
        "message": "storage failed",
    }
    return Failure(**facts | fields)


def any_dead_letter(**fields: Any) -> DeadLetter:
    """Return an open letter that failed once."""
    made = fields.pop("letter_id", "") or letter_id(Step.PLACE_OBJECT, str(any_number()))
    facts: dict[str, Any] = {
        "failure": any_failure(),
        "state": LetterState.OPEN,
        "state_since": NOON,
        "version": 1,
        "failures": 1,
        "first_failed_at": NOON,
        "last_failed_at": NOON,
        "body": Location(BUCKETS[Zone.LEDGER], f"dead-letters/place_object/{made}.json", "v1"),
        "deliveries": (f"m{any_number()}",),
    }
    return DeadLetter(letter_id=made, **facts | fields)


def any_run(**fields: Any) -> PipelineRun:
    """Return a pipeline run that was just claimed."""
    facts: dict[str, Any] = {
        "run_id": f"read_qc-{any_hex(32)}",
        "pipeline": "read_qc",
        "pipeline_version": "1",
        "site": "site-a",
        "sample": "NA12878",
        "state": RunState.SUBMITTING,
        "state_since": NOON,
    }
    return PipelineRun(**facts | fields)


class FakeExceptions:
    """`Exceptions` in memory; `standing` is what the scopes say."""

    def __init__(self, effects: Effects | None = None) -> None:
        self.effects = effects or Effects()
        self.stored: dict[str, PolicyException] = {}
        self.standing: dict[Scope, dict[str, PolicyException]] = {}
        self.unreached: dict[str, PolicyException] = {}
        self.before_next_write: list[Callable[[], None]] = []

    def get(self, exception_id: str) -> PolicyException | None:
        found: PolicyException | None = self.effects.run(
            "get", lambda: self.stored.get(exception_id)
        )
        return found

    def put(self, before: PolicyException | None, after: PolicyException) -> None:
        others, self.before_next_write = self.before_next_write, []
        for other in others:
            other()
        self.effects.run("put", lambda: self._put(before, after))

    def with_status(self, status: Status) -> Iterator[PolicyException]:
        found = [each for each in self.stored.values() if each.status is status]
        return iter(sorted(found, key=lambda each: each.requested_at, reverse=True))

    def pending(self, limit: int) -> Sequence[PolicyException]:
        return list(self.unreached.values())[:limit]

    def reached(self, exception: PolicyException) -> None:
        if self.unreached.get(exception.exception_id) == exception:
            del self.unreached[exception.exception_id]

    def _put(self, before: PolicyException | None, after: PolicyException) -> None:
        known = self.stored.get(after.exception_id)
        if (known.version if known else 0) != (before.version if before else 0):
            raise StaleRecordError(f"exception {after.exception_id} moved meanwhile")
        assert after.version == (before.version + 1 if before else 1)
        self.stored[after.exception_id] = after
        standing = self.standing.setdefault(after.scope, {})
        standing.pop(after.exception_id, None)
        if after.status is Status.ACTIVE:
            standing[after.exception_id] = after
        if after.status in (Status.ACTIVE, Status.ENDED):
            self.unreached[after.exception_id] = after


class FakeExceptionHistory:
    """`ExceptionHistory` in memory."""

    def __init__(self, effects: Effects | None = None) -> None:
        self.effects = effects or Effects()
        self.told: dict[tuple[str, int], PolicyException] = {}
        self.before_next_write: list[Callable[[], None]] = []

    def append(self, exception: PolicyException) -> bool:
        others, self.before_next_write = self.before_next_write, []
        for other in others:
            other()
        return bool(self.effects.run("append", lambda: self._append(exception)))

    def get(self, exception_id: str, version: int) -> PolicyException:
        return self.told[exception_id, version]

    def _append(self, exception: PolicyException) -> bool:
        name = exception.exception_id, exception.version
        return self.told.setdefault(name, exception) is exception


class FakePolicyBook:
    """`PolicyBook` over the fakes of exceptions and catalog; `accesses` are set by tests."""

    def __init__(self, exceptions: FakeExceptions, catalog: FakeCatalog) -> None:
        self.exceptions = exceptions
        self.catalog = catalog
        self.accesses: dict[Scope, datetime] = {}

    def context(self, scopes: Sequence[Scope], accessed_as: Scope) -> Context:
        found = {
            name: each
            for scope in scopes
            for name, each in self.exceptions.standing.get(scope, {}).items()
        }
        return Context(tuple(found[name] for name in sorted(found)), self.accesses.get(accessed_as))

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        found = []
        for record in self.catalog.records.values():
            at = record.policy.evaluate_at if record.policy else record.state_since
            if record.state is State.PLACED and at and at <= now:
                found.append((at, record.object_id))
        return [object_id for _, object_id in sorted(found)[:limit]]


@dataclass
class FakeObjectsInScope:
    """`ObjectsInScope` by looking at every record."""

    catalog: FakeCatalog

    def objects(self, scope: Scope) -> Iterator[str]:
        records = self.catalog.records.values()
        found = dict.fromkeys(r.object_id for r in records if scope in scopes_of(r))
        while True:
            below = [r.object_id for r in records if set(r.parents) & set(found)]
            fresh = [each for each in below if each not in found]
            if not fresh:
                return iter(tuple(found))
            found |= dict.fromkeys(fresh)


def any_exception(**fields: Any) -> PolicyException:
    """Return a legal hold on a study that was just asked for."""
    facts: dict[str, Any] = {
        "exception_id": f"EX-{any_hex(16)}",
        "kind": ExceptionKind.LEGAL_HOLD,
        "scope": Scope(ScopeKind.STUDY, any_uid()),
        "reason": "the court asked for it",
        "requested_by": "arn:aws:iam::111122223333:user/anna",
        "requested_at": NOON,
    }
    return PolicyException(**facts | fields)


def b64(hex_text: str) -> str:
    """Return hex as base64, as S3 and some senders write digests."""
    return base64.b64encode(bytes.fromhex(hex_text)).decode()


def _name(claim: Claim) -> tuple[str, str, str]:
    return claim.namespace, claim.group, claim.value


def _composite(version: StoredVersion) -> str:
    assert version.checksum
    size, body = version.part_bytes, version.body
    parts = deque(body[start : start + size] for start in range(0, len(body), size))
    joined = "".join(checksum_of(version.checksum, part) for part in parts)
    total = checksum_of(version.checksum, joined.encode())
    return f"{version.checksum.value}:{b64(total)}-{len(parts)}"


class FakeSignatures:
    """Proves orders for `person` and tells who gave them, as STS does: by what was signed."""

    def __init__(self, person: str) -> None:
        self.person = person

    def prove(self, order: Order) -> Proof:
        return Proof(f"{self.person} signed {order.digest}", "")

    def caller(self, order: Order, proof: Proof) -> str | NotProven:
        by, _, digest = proof.authorization.partition(" signed ")
        return by if digest == order.digest else NotProven("AWS does not confirm who it was.")
