"""What the services need of the world: `adapters` is the real one, `tests/unit/fakes.py` a fake."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from forebay.domain.classification import Classification
from forebay.domain.integrity import Algorithm, Digest
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.runs import PipelineRun
from forebay.events import CatalogEvent
from forebay.names import Step


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What storage says about one object version without reading it.

    `digests` are S3's full-object checksums only; `composite` is S3's checksum of the parts'
    checksums instead (`crc32:…-17`), which compares only with an equally cut copy. `metadata` is
    user metadata without its prefix.
    """

    location: Location
    size_bytes: int
    etag: str = ""
    digests: tuple[Digest, ...] = ()
    composite: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


class Clock(Protocol):
    """The time, so that tests can hold it."""

    def now(self) -> datetime:
        """Return the current time in UTC."""


class ObjectStore(Protocol):
    """Objects in buckets."""

    def head(self, location: Location) -> StoredObject:
        """Describe a version (the latest when none is named); raises ObjectMissingError."""

    def read_range(self, location: Location, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""

    def chunks(self, location: Location, size: int) -> Iterator[bytes]:
        """Stream the object in chunks of about `size` bytes."""

    def copy(
        self,
        source: StoredObject,
        target: Location,
        *,
        checksum: Algorithm | None,
        tags: Mapping[str, str],
    ) -> StoredObject:
        """Copy server-side and describe the copy; its user metadata is the source's given here.

        Storage computes `checksum` for the copy; None keeps the source's parts and algorithm, so
        that a composite checksum stays comparable.
        """

    def add_tags(self, location: Location, tags: Mapping[str, str]) -> None:
        """Set tags on one version, keeping those it has; raises ObjectMissingError."""

    def put(self, location: Location, body: bytes, *, content_type: str) -> Location:
        """Write a whole small object with its SHA-256; returns its location with the version."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A name that at most one object may hold: (namespace, group, value).

    A SOP instance is its own group; the read files of a sample share one, so that they can be
    listed together. `takes_over` names a holder that no longer counts (it was quarantined, say).
    """

    namespace: str
    group: str
    value: str = "-"
    takes_over: str = ""


@dataclass(frozen=True, slots=True)
class Declarations:
    """The digests checksum files declared for one key, and a revision that changes with each."""

    digests: tuple[Digest, ...] = ()
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One conditional write: `after` replaces the record of `before`'s version, or nothing happens.

    With `claim`, the name is taken in the same transaction. With `declarations`, the write holds
    only while no further checksum file spoke of the key. With `counts_on`, that object's duplicate
    counter grows by one in the same transaction.
    """

    before: ObjectRecord
    after: ObjectRecord
    claims: Sequence[Claim] = ()
    declarations: Declarations | None = None
    counts_on: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """The change was made."""


@dataclass(frozen=True, slots=True)
class ClaimHeld:
    """Another object holds the name; nothing was written."""

    claim: Claim
    holder: str


Outcome = Applied | ClaimHeld


@dataclass(frozen=True, slots=True)
class Lease:
    """A step works on an object until then; `holder` is the delivery (message id) that does."""

    object_id: str
    step: Step
    holder: str
    until: datetime


class Queues(Protocol):
    """The queues of the steps, to hand work to a step again."""

    def send(self, step: Step, bodies: Sequence[str]) -> None:
        """Send messages to a step's queue; raises Trouble unless all were accepted."""


class Catalog(Protocol):
    """The state machine's table. Reads are strongly consistent."""

    def register(self, record: ObjectRecord) -> bool:
        """Put a new record; False when this object version is known already."""

    def get(self, object_id: str) -> ObjectRecord | None:
        """Return the record of one object version."""

    def get_with_declarations(self, object_id: str) -> tuple[ObjectRecord | None, Declarations]:
        """Return a record together with what checksum files said about its key."""

    def versions_of(self, bucket: str, key: str) -> tuple[ObjectRecord, ...]:
        """Return the records of all versions of one key."""

    def holders(self, namespace: str, group: str) -> Mapping[str, str]:
        """Return who holds the names of a group: value → object id."""

    def apply(self, change: Change) -> Outcome:
        """Make one change; raises StaleRecordError when the record or declarations moved on."""

    def declare(self, bucket: str, key: str, digests: Iterable[Digest]) -> Declarations:
        """Add digests a checksum file declares for a key; idempotent per (source, algorithm)."""

    def open_run(self, run: PipelineRun) -> PipelineRun:
        """Put a pipeline run unless it exists; returns the one that is stored."""

    def get_run(self, run_id: str) -> PipelineRun | None:
        """Return a pipeline run."""

    def move_run(self, before: PipelineRun, after: PipelineRun) -> None:
        """Replace a run's record; raises StaleRecordError when it moved on."""


class Pseudonyms(Protocol):
    """Keyed digests that stand for patient identifiers in indexes."""

    def token(self, keyword: str, value: str) -> str:
        """Return the token of one attribute value; equal values give equal tokens."""


class Pipelines(Protocol):
    """The engines that run pipelines."""

    def start(self, run: PipelineRun) -> str:
        """Start the run unless it is started; returns the execution's ARN."""


class ChangeFeed(Protocol):
    """The bus."""

    def publish(self, changes: Sequence[CatalogEvent]) -> None:
        """Publish changes; raises Trouble unless all were accepted."""


class ChangeLog(Protocol):
    """History table, search indexes and ledger, all written from the stream, all idempotent."""

    def record(self, changes: Sequence["RecordedChange"]) -> None:
        """Write the history entries, index entries and one ledger object for a batch."""


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """One image of the stream: what the record was and what it became."""

    before: ObjectRecord | None
    after: ObjectRecord


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The same for a pipeline run."""

    before: PipelineRun | None
    after: PipelineRun


class DigestChunks(Protocol):
    """`formats.digests.digest_chunks`, passed in by the composition root."""

    def __call__(
        self, chunks: Iterable[bytes], algorithms: Collection[Algorithm]
    ) -> tuple[tuple[Digest, ...], int]:
        """Return the digests of all chunks together, and their size in bytes."""


class Classifier(Protocol):
    """The compiled policy."""

    def classify(self, facts: Mapping[str, Any]) -> Classification:
        """Return the class of an object with these facts, and which rule said so."""
