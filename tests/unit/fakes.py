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
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from forebay.domain.classification import Classification
from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.imaging import DicomInstance
from forebay.domain.inspection import ByteSource, Inspection
from forebay.domain.integrity import DIGEST_BYTES, Algorithm, Digest, Witness
from forebay.domain.objects import Kind, Location, ObjectRecord, object_id
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.sequencing import ReadsFile
from forebay.domain.states import State, check_transition
from forebay.errors import ObjectMissingError, StaleRecordError, Trouble
from forebay.events import CatalogEvent, ObjectCreated
from forebay.names import Zone
from forebay.services.ports import (
    Applied,
    Change,
    Claim,
    ClaimHeld,
    Declarations,
    Outcome,
    RecordedChange,
    RecordedRun,
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
        assert record.object_id == object_id(record.location)
        if record.object_id in self.records:
            return False
        self.records[record.object_id] = record
        self.stream.append(RecordedChange(None, record))
        return True

    def _apply(self, change: Change) -> Outcome:
        before, after = change.before, change.after
        # Guards of the fake alone: what the real one cannot know, no service may ask for.
        assert after.version == before.version + 1
        assert after.object_id == before.object_id
        if after.state is not before.state:
            check_transition(before.state, after.state)
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
        self._store(stored, replace(after, duplicate_count=stored.duplicate_count))
        self.claims |= {_name(claim): after.object_id for claim in change.claims}
        if change.counts_on:
            original = self.records[change.counts_on]
            self._store(original, replace(original, duplicate_count=original.duplicate_count + 1))
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


class FakeStore:
    """`ObjectStore` in memory: versions, checksums, tags; it lies when told to."""

    def __init__(self, effects: Effects | None = None) -> None:
        self.effects = effects or Effects()
        self.versions: dict[tuple[str, str], dict[str, StoredVersion]] = {}
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

    def head(self, location: Location) -> StoredObject:
        stored: StoredObject = self.effects.run("head", lambda: self._described(location))
        return stored

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
            if self.corrupts_copies:
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

    def keys(self, bucket: str) -> set[str]:
        """Return the keys that have a version in a bucket."""
        return {key for (b, key), versions in self.versions.items() if b == bucket and versions}

    def _write(self, location: Location, version: StoredVersion) -> Location:
        versions = self.versions.setdefault((location.bucket, location.key), {})
        # Counted per key, so that a story told twice makes the same ids.
        version_id = f"v{len(versions) + 1}"
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
        )

    def _count(self, location: Location, amount: int) -> None:
        self.bytes_read[location] = self.bytes_read.get(location, 0) + amount


class FakePipelines:
    """`Pipelines`: executions by name, started once however often asked."""

    def __init__(self) -> None:
        self.started: dict[str, PipelineRun] = {}
        self.requests = 0
        self.before_answer: list[Callable[[], None]] = []

    def start(self, run: PipelineRun) -> str:
        self.requests += 1
        self.started.setdefault(run.run_id, run)
        while self.before_answer:
            self.before_answer.pop()()
        return f"arn:aws:states:eu-central-1:000000000000:execution:{run.pipeline}:{run.run_id}"


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
        self.journal = journal if journal is not None else []

    def record(self, changes: Sequence[RecordedChange]) -> None:
        self.recorded += changes
        self.journal.append("history")


class FakeClassifier:
    """`Classifier` by kind, as the first policy does."""

    def __init__(self, *, needs_sender_digest: bool = True) -> None:
        self.needs_sender_digest = needs_sender_digest
        self.facts: list[Mapping[str, Any]] = []

    def classify(self, facts: Mapping[str, Any]) -> Classification:
        self.facts.append(facts)
        name, zone = {
            Kind.DICOM.value: ("clinical-hot", Zone.CLINICAL),
            Kind.FASTQ.value: ("genomics-raw", Zone.GENOMICS),
            Kind.CHECKSUMS.value: ("genomics-manifest", Zone.GENOMICS),
        }.get(facts["kind"], ("derived", Zone.DERIVED))
        return Classification(
            object_class=name,
            rule=f"rule for {facts['kind']}",
            retention_class=f"{name}-5y",
            zone=zone.value,
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
