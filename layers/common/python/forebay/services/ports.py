"""What the services need of the world: `adapters` is the real one, `tests/unit/fakes.py` a fake."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from forebay.domain.classification import Classification
from forebay.domain.dead_letters import DeadLetter, Failure, LetterGroup, StreamBatch
from forebay.domain.findings import Owner
from forebay.domain.integrity import Algorithm, Digest
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.orders import NotProven, Order, Proof
from forebay.domain.policy.access import Access, Reopened
from forebay.domain.policy.classes import Policy
from forebay.domain.policy.disposition import Disposition, Entry
from forebay.domain.policy.exceptions import PolicyException, Scope, Status
from forebay.domain.policy.standing import Context
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.rechecks import LastCheck
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import State
from forebay.events import CatalogEvent, PipelineFinished
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
    replication: str = ""
    """S3's replication status of this version, '' where no rule applies to it."""


class Clock(Protocol):
    """The time, so that tests can hold it."""

    def now(self) -> datetime:
        """Return the current time in UTC."""


class Callers(Protocol):
    """Who gives orders."""

    def caller(self, order: Order, proof: Proof) -> str | NotProven:
        """Return the AWS identity (ARN) of whoever gave an order, or why nobody is known."""


class ObjectStore(Protocol):
    """Objects in buckets."""

    def head(self, location: Location) -> StoredObject:
        """Describe a version (the latest when none is named); raises ObjectMissingError."""

    def versions_at(self, bucket: str, key: str) -> tuple[Location, ...]:
        """Return the stored versions of one key, the oldest first; delete markers are none."""

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

    def tags(self, location: Location) -> Mapping[str, str]:
        """Return the tags of one version; raises ObjectMissingError."""

    def put(self, location: Location, body: bytes, *, content_type: str) -> Location:
        """Write a whole small object with its SHA-256; returns its location with the version."""


class Vault(Protocol):
    """What policy may do to stored versions; nobody else may. None of it deletes."""

    def set_tags(self, location: Location, tags: Mapping[str, str]) -> bool:
        """Set tags on one version, keeping the others; False when they were so already.

        Raises ObjectMissingError.
        """

    def set_legal_hold(self, location: Location, *, on: bool) -> None:
        """Put or lift the legal hold of one version; raises ObjectMissingError."""

    def storage_class(self, location: Location) -> "Shelf":
        """Return where one version lies; raises ObjectMissingError."""

    def restore(self, location: Location, *, days: int) -> None:
        """Ask for a readable copy for so many days; asking again is harmless."""

    def warm(
        self, source: StoredObject, *, checksum: Algorithm | None, tags: Mapping[str, str]
    ) -> StoredObject:
        """Copy a readable version onto its own key, into STANDARD; describe the new version.

        `checksum` is as in `ObjectStore.copy`.
        """


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a version lies: its storage class, and whether it can be read at once.

    `is_restoring` while a readable copy is being made; `is_encrypted` with the domain's key, or
    nobody says; `is_replicated` when a replica was made, or is about to be.
    """

    storage_class: StorageClass
    is_readable: bool = True
    is_restoring: bool = False
    is_encrypted: bool = True
    has_legal_hold: bool = False
    is_replicated: bool = False


class PolicyBook(Protocol):
    """What the catalog holds about objects beside their records. Reads are strongly consistent."""

    def context(self, scopes: Sequence[Scope], accessed_as: Scope) -> Context:
        """Return what reaches an object, in one call, whatever the number of scopes."""

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        """Return ids of objects that policy has to look at, the longest due first."""


class Accesses(Protocol):
    """Who read what is stored, counted by scope, class and day."""

    def note(self, access: Access) -> bool:
        """Note reads of a scope; False when this source's were counted already."""


class ReopenedScopes(Protocol):
    """Studies and samples that were read again after a pause: policy looks where they lie."""

    def pending(self, limit: int) -> Sequence[Reopened]:
        """Return scopes that were read again after a pause, the longest ago first."""

    def seen(self, reopened: Reopened) -> None:
        """Note that a scope was looked at; one that was reopened once more stays pending."""


class Exceptions(Protocol):
    """Holds, pins and other exceptions."""

    def get(self, exception_id: str) -> PolicyException | None:
        """Return one exception, read consistently."""

    def put(self, before: PolicyException | None, after: PolicyException) -> None:
        """Write an exception and what its scope says; raises StaleRecordError when it moved on."""

    def with_status(self, status: Status) -> Iterator[PolicyException]:
        """Yield exceptions of one status, the latest first."""

    def pending(self, limit: int) -> Sequence[PolicyException]:
        """Return exceptions whose last change has not reached every object, the oldest first."""

    def reached(self, exception: PolicyException) -> None:
        """Note that the last change reached every object."""


class ExceptionHistory(Protocol):
    """Every version of every exception, in the ledger; each is written once and stays."""

    def append(self, exception: PolicyException) -> bool:
        """Write one version; False when that version was told before."""

    def get(self, exception_id: str, version: int) -> PolicyException:
        """Return one version that was told."""


class ObjectsInScope(Protocol):
    """Which objects an exception reaches: what the scope names and all below it, by lineage."""

    def objects(self, scope: Scope) -> Iterator[str]:
        """Yield the ids of all objects in a scope, derivatives too; each once."""


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """One stored version, as far as deleting it is concerned.

    `object_id` is what its user metadata says it is a copy of, '' for an arrival.
    """

    location: Location
    size_bytes: int
    etag: str = ""
    object_id: str = ""
    is_held: bool = False
    locked_until: datetime | None = None


class KeptVersions(Protocol):
    """Which versions there are, without reading or decrypting any."""

    def at(self, location: Location) -> KeptVersion | None:
        """Describe one version, None when it is gone; '' is the version without an id."""

    def of_key(self, bucket: str, key: str) -> Sequence[KeptVersion]:
        """Describe all versions of one key; delete markers are none."""


class CopyHistory(Protocol):
    """Where an object ever had copies, from its history."""

    def copies(self, object_id: str) -> Sequence[Location]:
        """Return the versions in zones and quarantine that its record ever named."""


class Shredder(Protocol):
    """The only one who deletes stored objects."""

    def delete(self, location: Location) -> str:
        """Delete one version for good; return '', or why storage keeps it.

        A version that is gone is deleted. It never bypasses a lock.
        """


@dataclass(frozen=True, slots=True)
class Erasure:
    """One write that lets an object go.

    `after` replaces the record of `before`'s version, `entry` says what is deleted then, while the
    disposition is being executed and every scope says what it said: `standing` maps each scope that
    reaches the object to the exceptions that were read.
    """

    disposition_id: str
    before: ObjectRecord
    after: ObjectRecord
    entry: Entry
    standing: Mapping[Scope, Sequence[PolicyException]]


class Dispositions(Protocol):
    """Dispositions and what became of their objects."""

    def get(self, disposition_id: str) -> Disposition | None:
        """Return one disposition, read consistently."""

    def add(self, disposition: Disposition) -> None:
        """Write what was asked for; raises StaleRecordError when the id is taken."""

    def decide(self, before: Disposition, after: Disposition) -> None:
        """Write what was decided about it; raises StaleRecordError when it moved on."""

    def latest(self, limit: int) -> Sequence[Disposition]:
        """Return dispositions, those asked for last first."""

    def entry(self, disposition_id: str, object_id: str) -> Entry | None:
        """Return what became of one object."""

    def entries(self, disposition_id: str) -> Iterator[Entry]:
        """Yield what became of its objects, by object id; read consistently."""

    def note(self, disposition_id: str, entry: Entry) -> Entry:
        """Write what became of an object unless that is written; return what is written then."""

    def settle(self, disposition_id: str, entry: Entry) -> None:
        """Write what became of an object over what was written before."""

    def erase(self, erasure: Erasure) -> None:
        """Let an object go in one transaction; raises StaleRecordError when anything moved on."""

    def forget(self, study: str, date: str, tokens: Mapping[str, str]) -> None:
        """Remove the search entries by which tokens lead to a study, unless they still should."""


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
    counter grows by one in the same transaction. `also` are further records that change in it, each
    under the same condition.
    """

    before: ObjectRecord
    after: ObjectRecord
    claims: Sequence[Claim] = ()
    declarations: Declarations | None = None
    counts_on: str = ""
    also: Sequence[tuple[ObjectRecord, ObjectRecord]] = ()


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
    """A step works on an object until then; `holder` is the delivery (message id) that does.

    It speaks of the record as it was: once the record's version moved on, the holder's write will
    be refused, and the lease is void.
    """

    object_id: str
    record_version: int
    step: Step
    holder: str
    until: datetime


class Queues(Protocol):
    """The queues of the steps, to hand work to a step again."""

    def send(self, step: Step, bodies: Sequence[str]) -> None:
        """Send messages to a step's queue; raises Trouble unless all were accepted."""


class Functions(Protocol):
    """The functions of the steps, called directly."""

    def invoke(self, step: Step, payload: str, *, version: str = "") -> Mapping[str, Any] | None:
        """Return the answer to a JSON payload, of a version or alias where one is named.

        None when the function raised or was killed.
        """


class FailureNotes(Protocol):
    """Notes of why a message failed, until it is archived: the message itself does not say."""

    def leave(self, note_id: str, failure: Failure, at: datetime) -> None:
        """Leave a note under the id of the message, over an earlier one."""

    def find(self, note_id: str) -> Failure | None:
        """Return the note, None when the function was killed before it could leave one."""


class DeadLetters(Protocol):
    """The catalogue of what the steps gave up on."""

    def get(self, letter_id: str) -> DeadLetter | None:
        """Return one letter, read consistently."""

    def put(self, before: DeadLetter | None, after: DeadLetter) -> None:
        """Replace a letter and count it in its group; raises StaleRecordError when it moved on."""

    def groups(self) -> Sequence[LetterGroup]:
        """Return all causes with their counts, the latest first."""

    def letters(
        self, signature: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[DeadLetter]:
        """Return the letters of one cause, by when they failed last."""


@dataclass(frozen=True, slots=True)
class LostChange:
    """A change of the catalog that was not relayed; `body` is an event of the stream with it alone.

    The body names no person: `subject` is left out, which the relay never tells anyway.
    """

    about: str
    about_version: int
    body: str


class StreamRecords(Protocol):
    """The catalog's stream, for what its relay gave up on."""

    def read(self, batch: StreamBatch) -> Sequence[LostChange]:
        """Return what the stream still holds of a batch; it forgets after 24 hours."""


class History(Protocol):
    """The history table, for asking whether a change was relayed."""

    def has(self, object_id: str, version: int) -> bool:
        """Tell whether a change is in the history."""


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

    def objects_copied_to(self, bucket: str, key: str) -> tuple[str, ...]:
        """Return the objects that have or had a copy under a key of a zone or of quarantine.

        Written from the stream: a copy that was just recorded may not be listed yet.
        """

    def holders(self, namespace: str, group: str) -> Mapping[str, str]:
        """Return who holds the names of a group: value → object id."""

    def apply(self, change: Change) -> Outcome:
        """Make one change; raises StaleRecordError when the record or declarations moved on."""

    def declare(self, bucket: str, key: str, digests: Iterable[Digest]) -> Declarations:
        """Add digests a checksum file declares for a key; idempotent per (source, algorithm)."""

    def take_lease(self, lease: Lease, now: datetime) -> bool:
        """Take the lease on an object that is free, ended, void or mine; False when it is not."""

    def get_lease(self, object_id: str) -> Lease | None:
        """Return the lease on an object, be it ended."""

    def end_lease(self, lease: Lease) -> bool:
        """Remove this very lease; False when it was gone, or another took its place."""

    def open_run(self, run: PipelineRun) -> PipelineRun:
        """Put a pipeline run unless it exists; returns the one that is stored."""

    def get_run(self, run_id: str) -> PipelineRun | None:
        """Return a pipeline run."""

    def move_run(self, before: PipelineRun, after: PipelineRun) -> None:
        """Replace a run's record; raises StaleRecordError when it moved on."""


class StoredObjects(Protocol):
    """Placed objects, by when their bytes were last known to be right; eventually consistent."""

    def by_last_check(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LastCheck]:
        """Yield placed objects last checked in a range of time, the longest ago first."""


class UploadBatches(Protocol):
    """What senders uploaded together."""

    def records(self, site: str, batch: str) -> Iterator[ObjectRecord]:
        """Yield the records of a batch, as they are now; empty when the batch is unknown."""


class Signer(Protocol):
    """An ECDSA P-256 key that never leaves its vault."""

    @property
    def key_id(self) -> str:
        """What verifiers choose the public key by."""

    def sign(self, data: bytes) -> bytes:
        """Return the ES256 signature (RFC 7518 section 3.4): r and s, 32 bytes each."""


class Agenda(Protocol):
    """What is due, from indexes that lag behind the table: read again before acting.

    Each answer is bounded, the longest due first within each of the index's partitions; what was
    acted upon leaves it, so that asking again gives what is left.
    """

    def ended_leases(self, now: datetime, limit: int) -> Sequence[str]:
        """Return ids of objects whose lease ended."""

    def due_objects(self, now: datetime, limit: int) -> Sequence[str]:
        """Return ids of objects whose deadline passed and of which nobody was told."""

    def count_overdue(self, state: State, owner: Owner) -> int:
        """Return how many objects in a state wait for a person; counts to a few thousand."""

    def runs_in(self, state: RunState, before: datetime, limit: int) -> Sequence[str]:
        """Return ids of pipeline runs that came into a state before then, the oldest first."""


class Pseudonyms(Protocol):
    """Keyed digests that stand for patient identifiers in indexes."""

    def token(self, keyword: str, value: str) -> str:
        """Return the token of one attribute value; equal values give equal tokens."""


class Pipelines(Protocol):
    """The engines that run pipelines."""

    def start(self, run: PipelineRun) -> str:
        """Start the run unless it is started; returns the execution's ARN."""

    def outcome(self, run: PipelineRun) -> PipelineFinished | None:
        """Return how the run ended, None while it runs."""


class ChangeFeed(Protocol):
    """The bus."""

    def publish(self, changes: Sequence[CatalogEvent]) -> None:
        """Publish changes; raises Trouble unless all were accepted."""


class ChangeLog(Protocol):
    """History table, search indexes and ledger, all written from the stream, all idempotent."""

    def record(self, changes: Sequence["RecordedChange | RecordedRun"]) -> None:
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

    @property
    def policy(self) -> Policy:
        """Classes, rules and sites."""
