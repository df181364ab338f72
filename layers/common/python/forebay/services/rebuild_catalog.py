"""rebuild_catalog: make the catalog anew from what storage holds, after its table was lost."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Final, Protocol, TypeVar

from forebay.domain.conflicts import bytes_of, identity_of, variant_of, variant_value
from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.policy.exceptions import PolicyException
from forebay.domain.runs import PipelineRun
from forebay.domain.states import State
from forebay.errors import ObjectMissingError
from forebay.services.inspect_dicom import ParseDicom, tokens_of
from forebay.services.inspecting import CHUNK_BYTES, StoredSource
from forebay.services.ports import (
    Catalog,
    Claim,
    ObjectStore,
    Pseudonyms,
    RecordedChange,
)
from forebay.services.record_declarations import ParseChecksums, declared_targets

BATCH_LINES: Final = 500
PEOPLE_REMEMBERED: Final = 4096
_WITHOUT_IDENTITY: Final = frozenset({Kind.CHECKSUMS, Kind.REPORT, Kind.INDEX})
_JUDGED: Final = frozenset({State.VERIFIED, State.DUPLICATE, State.CONFLICT})
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One change as the ledger tells it: the record as it became, without the person.

    `subject_keywords` names the attributes of the person that the record held. `unreadable` says
    why a line tells nothing.
    """

    after: ObjectRecord | PipelineRun | None
    previous_state: str = ""
    subject_keywords: tuple[str, ...] = ()
    unreadable: str = ""


class Ledger(Protocol):
    """The changes that were ever relayed, and the exceptions that were ever asked for."""

    def lines(self) -> Iterator[LedgerLine]:
        """Return every line, by day and time of the batch; some may come twice."""

    def exceptions(self) -> Iterator[PolicyException]:
        """Return the last version of every exception from policy."""


class LostTables(Protocol):
    """Catalog and history while they are made anew; every write may be repeated."""

    def put_object(self, record: ObjectRecord) -> bool:
        """Write a record unless this or a higher version is there; tell whether it was written."""

    def put_run(self, run: PipelineRun) -> bool:
        """Do the same for a pipeline run."""

    def put_claim(self, claim: Claim, holder: str, since: datetime) -> None:
        """Let an object hold a name unless another took it later."""

    def put_subject(self, record: ObjectRecord) -> None:
        """Write the person into a record of this very version."""

    def put_duplicates(self, object_id: str, count: int) -> None:
        """Write how many duplicates an object has, unless more are known."""

    def put_exception(self, exception: PolicyException) -> bool:
        """Write an exception, and what its scope says, unless this or a higher version is there."""

    def index(self, changes: Sequence[RecordedChange]) -> None:
        """Write the history and search entries of changes."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made anew, by what it is; and what could not be, by object id and reason."""

    counts: Mapping[str, int]
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RebuildCatalog:
    """Rebuild catalog and history; safe on a table that is empty, half full, or whole."""

    ledger: Ledger
    tables: LostTables
    catalog: Catalog
    store: ObjectStore
    parse_dicom: ParseDicom
    parse_checksums: ParseChecksums
    pseudonyms: Pseudonyms
    workers: int = 1
    progress: Callable[[str, int], None] = lambda _what, _count: None

    def __call__(self) -> Rebuilt:
        """Read the ledger twice, then the stored files that know what it must not.

            ledger ──► exceptions: holds count again before there is anything to judge
            ledger ──► records and runs, the highest version each
                   ──► persons (headers) ──► history, search entries, claims, duplicates
            checksum files ──► declarations

        A crash anywhere: run it again. What the ledger never heard of, reconciliation finds.
        """
        work = _Work(self)
        work.restore_exceptions()
        work.restore_records()
        work.restore_what_follows()
        work.restore_declarations()
        return Rebuilt(dict(work.counts), dict(work.unread))


def claims_of(record: ObjectRecord) -> tuple[Claim, ...]:
    """Return the names an object takes when it is verified, as it stands decided."""
    if record.kind in _WITHOUT_IDENTITY:
        return (Claim(*bytes_of(record)),)
    identity = Claim(*identity_of(record))
    if variant := variant_of(record):
        identity = replace(identity, value=variant_value(identity.value, variant))
    return (identity,) if record.kind is Kind.DICOM else (Claim(*bytes_of(record)), identity)


class _Work:
    """One run of the rebuild."""

    def __init__(self, tools: RebuildCatalog) -> None:
        self.tools = tools
        self.counts: Counter[str] = Counter()
        self.unread: dict[str, str] = {}
        self._checksum_files: dict[str, datetime] = {}
        self._duplicates: dict[str, set[str]] = {}
        self.person = lru_cache(PEOPLE_REMEMBERED)(self._person)

    def restore_exceptions(self) -> None:
        """Write the exceptions; what they reach is pending, whatever was reached before."""
        made = self._each(self.tools.tables.put_exception, self.tools.ledger.exceptions())
        self.counts["exceptions"] += sum(made)

    def restore_records(self) -> None:
        """Write the records and runs; any order of lines gives the same."""
        for batch in self._batches("records"):
            made = self._each(self._restore, (line for line in batch if line.after))
            self.counts.update(name for name in made if name)
            self.counts["unreadable lines"] += sum(bool(line.unreadable) for line in batch)

    def restore_what_follows(self) -> None:
        """Write what follows from each change: history, search entries, claims, counters."""
        for batch in self._batches("changes"):
            told = [(line, line.after) for line in batch if isinstance(line.after, ObjectRecord)]
            changes = self._each(self._change, told)
            self.tools.tables.index(changes)
            self._each(self._restore_claims, changes)
            self.counts["changes"] += len(changes)
        for original, duplicates in self._duplicates.items():
            self.tools.tables.put_duplicates(original, len(duplicates))

    def restore_declarations(self) -> None:
        """Read the checksum files again, in the order in which they were first read."""
        for object_id in sorted(self._checksum_files, key=self._checksum_files.__getitem__):
            record = self._bytes_of(object_id)
            if record is None:
                self.unread[object_id] = "the checksum file is not in storage any more"
                continue
            data = b"".join(self.tools.store.chunks(record.kept_at, CHUNK_BYTES))
            named = self.tools.catalog.get(object_id) or record
            parsed = self.tools.parse_checksums(data, name=named.location.key.rsplit("/", 1)[-1])
            bucket = named.location.bucket
            for key, digests in declared_targets(named, parsed.entries).items():
                self.tools.catalog.declare(bucket, key, digests)
            self.counts["checksum files"] += 1

    def _restore(self, line: LedgerLine) -> str:
        if isinstance(line.after, ObjectRecord):
            return "records" if self.tools.tables.put_object(line.after) else ""
        assert line.after is not None  # noqa: S101 - the caller left those out
        return "pipeline runs" if self.tools.tables.put_run(line.after) else ""

    def _change(self, told: tuple[LedgerLine, ObjectRecord]) -> RecordedChange:
        line, after = told
        if line.subject_keywords:
            subject, tokens = self.person(after.object_id, line.subject_keywords)
            after = replace(after, subject=subject, subject_tokens=tokens)
            self.tools.tables.put_subject(after)
        self._remember(line, after)
        before = None
        if line.previous_state:
            state = State(line.previous_state)
            before = replace(after, state=state, placed=None, held=None)
        return RecordedChange(before, after)

    def _remember(self, line: LedgerLine, after: ObjectRecord) -> None:
        entered = line.previous_state != after.state.value
        if entered and after.state is State.DUPLICATE:
            self._duplicates.setdefault(after.original_id, set()).add(after.object_id)
        if entered and after.state in _JUDGED and "declares" in after.metadata:
            known = self._checksum_files.get(after.object_id, after.state_since)
            self._checksum_files[after.object_id] = min(known, after.state_since)

    def _restore_claims(self, change: RecordedChange) -> None:
        after, before = change.after, change.before
        if after.state is State.VERIFIED and (before is None or before.state is not after.state):
            for claim in claims_of(after):
                self.tools.tables.put_claim(claim, after.object_id, after.state_since)

    def _person(
        self, object_id: str, keywords: tuple[str, ...]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the attributes of the person and their tokens, from the stored file's header."""
        latest = self.tools.catalog.get(object_id)
        if latest and latest.subject:
            return latest.subject, latest.subject_tokens
        if latest and latest.disposition:
            # Erased on purpose: not a loss, and not to be learned again from a copy somewhere.
            return {}, {}
        record = self._bytes_of(object_id)
        if record is None:
            self.unread[object_id] = "its bytes are gone, and with them who the patient is"
            return {}, {}
        understood = self.tools.parse_dicom(StoredSource(self.tools.store, record)).record
        subject = dict(understood.subject) if understood else {}
        if tuple(sorted(subject)) != keywords:
            self.unread[object_id] = "its header names other attributes than the record had"
        self.counts["headers read"] += 1
        return subject, tokens_of(subject, self.tools.pseudonyms)

    def _bytes_of(self, object_id: str) -> ObjectRecord | None:
        """Return a record whose bytes are in storage and equal the object's."""
        record = self.tools.catalog.get(object_id)
        if record is None:
            return None
        candidates = [record, replace(record, placed=None), replace(record, placed=None, held=None)]
        if record.original_id and (original := self.tools.catalog.get(record.original_id)):
            is_same = record.state in (State.DUPLICATE, State.EXPIRED, State.DELETED)
            candidates += [original] if is_same and record.finding is None else []
        return next((each for each in candidates if self._is_stored(each)), None)

    def _is_stored(self, record: ObjectRecord) -> bool:
        try:
            self.tools.store.head(record.kept_at)
        except ObjectMissingError:
            return False
        return True

    def _batches(self, what: str) -> Iterator[list[LedgerLine]]:
        lines = self.tools.ledger.lines()
        done = 0
        while batch := list(islice(lines, BATCH_LINES)):
            yield batch
            done += len(batch)
            self.tools.progress(what, done)

    def _each(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        if self.tools.workers == 1:
            return [work(item) for item in items]
        with ThreadPoolExecutor(self.tools.workers) as pool:
            return list(pool.map(work, items))
