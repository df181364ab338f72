"""request_disposition: what would be deleted, who asks for it, and who agrees.

    preview    every object of the scopes with its versions, and what keeps it; writes nothing
    draft      the same list into the ledger
    request    its SHA-256 into the table, by the person whom the list names    REQUESTED
    approve    by another person: of that very digest                          APPROVED
    refuse     by another person                                               REFUSED

A client previews and drafts, with the rights of whoever runs it. The rest are orders to the steps
request_disposition and decide_disposition: nobody else writes the table, and each order counts for
whoever is proven to have given it. Nothing is deleted here: `dispose_objects` alone does that.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.classes import Policy
from forebay.domain.policy.disposition import (
    ID_BYTES,
    Block,
    Candidate,
    Copy,
    Disposition,
    Draft,
    Obstacle,
    Part,
    Stage,
    as_asked,
    asked_by,
    blocks_of,
    children_first,
    disposition_id,
    fingerprint,
    is_stored,
    request_document,
    storage_blocks,
)
from forebay.domain.policy.exceptions import PolicyException, Scope, person_of
from forebay.domain.policy.standing import access_scope
from forebay.domain.receipts import canonical_json
from forebay.errors import StaleRecordError
from forebay.names import Zone
from forebay.services.judging import scopes_reaching
from forebay.services.ports import (
    Catalog,
    Clock,
    CopyHistory,
    Dispositions,
    KeptVersion,
    KeptVersions,
    ObjectsInScope,
    ObjectStore,
    PolicyBook,
)

WORKERS: Final = 8
MAX_OBJECTS: Final = 50_000
"""Of one disposition: its list is read by people, and its certificate is one document."""
MAX_SCOPES: Final = 90
"""What may reach one object: a transaction holds 100 items, and each is checked in it."""
MAX_TEXT: Final = 1000
MAX_AGE: Final = timedelta(hours=1)
"""Of a list when it is asked for: it says when that was, by the clock of whoever made it."""
_CHUNK_BYTES: Final = 1 << 20
_TAKEN: Final = "Its random id is taken: ask anew."


@dataclass(frozen=True, slots=True)
class Standing:
    """What reaches an object: its scopes, those of what it was made from, and what they say."""

    scopes: tuple[Scope, ...]
    exceptions: tuple[PolicyException, ...]

    def by_scope(self) -> dict[Scope, list[PolicyException]]:
        """Return the exceptions of each scope, also of those that say nothing."""
        found: dict[Scope, list[PolicyException]] = {scope: [] for scope in self.scopes}
        for each in self.exceptions:
            found[each.scope].append(each)
        return found


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Looks at what there is of an object, and at what keeps it; all reads are consistent."""

    catalog: Catalog
    book: PolicyBook
    versions: KeptVersions
    history: CopyHistory
    policy: Policy
    buckets: Mapping[Zone, str]

    def candidate(self, record: ObjectRecord, now: datetime, *, basis: str) -> Candidate:
        """Return an object as it stands in a request."""
        copies = self.copies(record)
        return Candidate(
            record.object_id,
            record.version,
            fingerprint(record),
            record.size_bytes,
            copies,
            self.blocks(record, self.standing(record), copies, now, basis=basis),
            record.parents,
        )

    def standing(self, record: ObjectRecord) -> Standing:
        """Return what reaches an object now."""
        scopes = tuple(dict.fromkeys(scopes_reaching(self.catalog, record)))
        return Standing(scopes, self.book.context(scopes, access_scope(record)).exceptions)

    def blocks(
        self,
        record: ObjectRecord,
        standing: Standing,
        copies: Sequence[Copy],
        now: datetime,
        *,
        basis: str,
    ) -> tuple[Block, ...]:
        """Return what keeps an object now."""
        found = blocks_of(record, self.policy, standing.exceptions, now, basis=basis)
        found += storage_blocks(copies, now)
        if len(standing.scopes) > MAX_SCOPES:
            says = f"{len(standing.scopes)} scopes reach it; {MAX_SCOPES} are the most"
            found += (Block(Obstacle.LINEAGE, says),)
        return found

    def copies(self, record: ObjectRecord) -> tuple[Copy, ...]:
        """Return every stored version that belongs to an object, and no other."""
        return tuple(dict.fromkeys(self._copies(record)))

    def _copies(self, record: ObjectRecord) -> Iterator[Copy]:
        # The record forgets where a copy was held once the object is placed; history does not.
        named = (record.placed, record.held, *self.history.copies(record.object_id))
        known = frozenset(location for location in named if location)
        for bucket, key in sorted({(each.bucket, each.key) for each in known}):
            is_held = bucket == self.buckets.get(Zone.QUARANTINE)
            part = Part.HELD if is_held else Part.PLACED
            yield from self._of_key(record, bucket, key, part, known)
            archive = self.buckets.get(Zone.ARCHIVE)
            if archive and part is Part.PLACED:
                yield from self._of_key(record, archive, key, Part.REPLICA, frozenset())
        arrival = self.versions.at(record.location)
        if arrival and _is_arrival(record, arrival):
            yield _copy(Part.LANDING, arrival)

    def _of_key(
        self, record: ObjectRecord, bucket: str, key: str, part: Part, known: frozenset[Location]
    ) -> Iterator[Copy]:
        for found in self.versions.of_key(bucket, key):
            if found.object_id == record.object_id or found.location in known:
                yield _copy(part, found)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants deleted; with a `basis`, a legal one, although floors are not reached."""

    scopes: tuple[Scope, ...] = ()
    review_due: bool = False
    reason: str = ""
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """Every object of a wish, children before what they were made from."""

    candidates: tuple[Candidate, ...]

    @property
    def removable(self) -> tuple[Candidate, ...]:
        """Those that nothing keeps now."""
        return tuple(each for each in self.candidates if not each.blocks)

    @property
    def blocked(self) -> tuple[Candidate, ...]:
        """Those that something keeps."""
        return tuple(each for each in self.candidates if each.blocks)

    @property
    def size_bytes(self) -> int:
        """Bytes of all versions that would go."""
        return sum(copy.size_bytes for each in self.removable for copy in each.copies)


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be done; `reason` is a sentence for whoever asked."""

    reason: str


@dataclass(frozen=True, slots=True)
class Decided:
    """The disposition as it is now; `is_new` is False when it was so before."""

    disposition: Disposition
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class PreviewDisposition:
    """Say what a disposition would delete; `due` yields the objects whose review is due."""

    surveyor: Surveyor
    scopes: ObjectsInScope
    due: Callable[[], Iterable[str]]
    clock: Clock
    workers: int = WORKERS

    def __call__(self, wish: Wish) -> Preview | Refused:
        """Return every object of a wish, or why there is nothing to look at."""
        if refusal := _wrong(wish):
            return Refused(refusal)
        ids: dict[str, None] = {}
        for object_id in self._named(wish):
            ids[object_id] = None
            if len(ids) > MAX_OBJECTS:
                return Refused(f"These are more than {MAX_OBJECTS} objects: ask for fewer at once.")
        now = self.clock.now()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="preview") as pool:
            looked = pool.map(lambda each: self._candidate(each, now, wish.basis), ids)
            found = {each.object_id: each for each in looked if each}
        if not found:
            return Refused("Nothing is stored of what was named.")
        order = children_first({each: found[each].parents for each in found})
        return Preview(
            tuple(
                replace(found[each], generation=generation)
                for generation, group in enumerate(order)
                for each in group
            )
        )

    def _named(self, wish: Wish) -> Iterator[str]:
        for scope in wish.scopes:
            yield from self.scopes.objects(scope)
        if wish.review_due:
            yield from self.due()

    def _candidate(self, object_id: str, now: datetime, basis: str) -> Candidate | None:
        record = self.surveyor.catalog.get(object_id)
        if record is None:
            return None
        found = self.surveyor.candidate(record, now, basis=basis)
        names_somebody = record.subject or record.subject_tokens
        is_over = not (found.copies or names_somebody or is_stored(record))
        return None if is_over else found


@dataclass(frozen=True, slots=True)
class DraftDisposition:
    """Write down what is to go; `random_bytes` returns as many as it is asked for."""

    preview: PreviewDisposition
    store: ObjectStore
    ledger: str
    random_bytes: Callable[[int], bytes]

    def __call__(self, wish: Wish, *, by: str) -> Draft | Refused:
        """Put the list of a wish into the ledger; nobody asks for it until that is ordered."""
        if refusal := _wrong_text(wish.reason, "reason"):
            return Refused(refusal)
        found = self.preview(wish)
        if isinstance(found, Refused):
            return found
        made = disposition_id(self.random_bytes(ID_BYTES))
        asked = Disposition(
            disposition_id=made,
            scopes=wish.scopes,
            review_due=wish.review_due,
            reason=wish.reason.strip(),
            basis=wish.basis.strip(),
            requested_by=by,
            requested_at=self.preview.clock.now(),
            request=Location(self.ledger, request_key(made)),
            digest="",
            objects=len(found.candidates),
            size_bytes=found.size_bytes,
        )
        body = canonical_json(request_document(asked, found.candidates))
        place = self.store.put(asked.request, body, content_type="application/json")
        return Draft(made, wish.scopes, place, hashlib.sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class RequestDisposition:
    """Ask for what a draft lists; nothing happens until another person approves it."""

    dispositions: Dispositions
    store: ObjectStore
    clock: Clock

    def __call__(self, draft: Draft, *, by: str) -> Decided | Refused:
        """Ask for a disposition as the person whom its list names; raises ObjectMissingError."""
        name = draft.disposition_id
        document = read_request(self.store, draft.request, draft.digest)
        asked = asked_by(draft, document) if document else None
        if asked is None:
            return Refused(f"What {name} would delete is not listed in the ledger: ask anew.")
        if refusal := self._wrong(asked, by):
            return Refused(refusal)
        try:
            self.dispositions.add(asked)
        except StaleRecordError:
            known = self.dispositions.get(name)
            is_same = known is not None and known.request == asked.request
            return Decided(known, is_new=False) if known and is_same else Refused(_TAKEN)
        return Decided(asked)

    def _wrong(self, asked: Disposition, by: str) -> str:
        if asked.requested_by != by:
            return f"Its list says that {asked.requested_by} asks for it, not {by}: ask anew."
        if abs(self.clock.now() - asked.requested_at) > MAX_AGE:
            at = f"{asked.requested_at:%Y-%m-%d %H:%M}"
            return f"Its list is of {at} UTC: ask anew, by a clock that is right."
        if asked.objects > MAX_OBJECTS:
            return f"These are more than {MAX_OBJECTS} objects: ask for fewer at once."
        return _wrong_text(asked.reason, "reason") or _too_long("legal basis", asked.basis)


class Verdict(StrEnum):
    """What can be decided about a disposition."""

    APPROVE = "approve"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decides about a disposition."""

    verdict: Verdict
    disposition_id: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class DecideDisposition:
    """Approve or refuse what another person asked for."""

    dispositions: Dispositions
    store: ObjectStore
    clock: Clock

    def __call__(self, decision: Decision, *, by: str) -> Decided | Refused:
        """Do what was decided; raises StaleRecordError."""
        decide = self.approve if decision.verdict is Verdict.APPROVE else self.refuse
        return decide(decision.disposition_id, by=by, note=decision.note)

    def approve(self, disposition_id: str, *, by: str, note: str = "") -> Decided | Refused:
        """Approve the list in the ledger, by its digest; raises StaleRecordError."""
        found = self._undecided(disposition_id, Stage.APPROVED, by)
        if not isinstance(found, Disposition):
            return found
        if refusal := _too_long("note", note):
            return Refused(refusal)
        document = read_request(self.store, found.request, found.digest)
        # Whoever approves was shown the catalog's item: it has to say what the list says.
        if document is None or as_asked(found, document) != found:
            return Refused(
                f"The list of {disposition_id} in the ledger is not the one that was asked for:"
                " somebody changed one of them. Refuse it, and find out who did."
            )
        return self._decide(found, Stage.APPROVED, by, note, digest=found.digest)

    def refuse(self, disposition_id: str, *, by: str, note: str) -> Decided | Refused:
        """Refuse a disposition; the note says why; raises StaleRecordError."""
        found = self._undecided(disposition_id, Stage.REFUSED, by)
        if not isinstance(found, Disposition):
            return found
        if refusal := _wrong_text(note, "note"):
            return Refused(refusal)
        return self._decide(found, Stage.REFUSED, by, note)

    def _undecided(
        self, disposition_id: str, wanted: Stage, by: str
    ) -> Disposition | Decided | Refused:
        found = self.dispositions.get(disposition_id)
        if found is None:
            return Refused(f"No disposition {disposition_id} is known.")
        if found.stage is wanted and found.decided_by == by:
            return Decided(found, is_new=False)
        if found.stage is not Stage.REQUESTED:
            return Refused(f"Disposition {disposition_id} is {found.stage.value} already.")
        if person_of(found.requested_by) == person_of(by):
            return Refused(
                f"You asked for {disposition_id} yourself: another person has to decide about it."
            )
        return found

    def _decide(
        self, before: Disposition, stage: Stage, by: str, note: str, *, digest: str = ""
    ) -> Decided:
        after = before.changed(
            stage,
            decided_by=by,
            decided_at=self.clock.now(),
            note=note.strip(),
            approved_digest=digest,
        )
        self.dispositions.decide(before, after)
        return Decided(after)


def request_key(disposition_id: str) -> str:
    """Return the ledger key of a request."""
    return f"dispositions/{disposition_id}/request.json"


def certificate_key(disposition_id: str) -> str:
    """Return the ledger key of a deletion certificate."""
    return f"dispositions/{disposition_id}/certificate.jws"


def read_request(store: ObjectStore, request: Location, digest: str) -> Mapping[str, Any] | None:
    """Return the list of a disposition, None when it is not the one of this digest."""
    body = b"".join(store.chunks(request, _CHUNK_BYTES))
    if hashlib.sha256(body).hexdigest() != digest:
        return None
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _is_arrival(record: ObjectRecord, found: KeptVersion) -> bool:
    """Tell whether a version is the one that arrived: without an id it may be another's."""
    return bool(record.location.version_id) or found.etag == record.etag


def _copy(part: Part, found: KeptVersion) -> Copy:
    return Copy(part, found.location, found.size_bytes, found.is_held, found.locked_until)


def _wrong(wish: Wish) -> str:
    if not wish.scopes and not wish.review_due:
        return "Nothing was named: say whose or which objects, or all whose review is due."
    if any(not scope.value.strip() for scope in wish.scopes):
        return "One of the names is empty."
    return _too_long("legal basis", wish.basis)


def _wrong_text(text: str, what: str) -> str:
    if not text.strip():
        return f"A {what} is needed: it is told in the certificate. Name no patient in it."
    return _too_long(what, text)


def _too_long(what: str, text: str) -> str:
    if len(text) <= MAX_TEXT:
        return ""
    return f"The {what} has {len(text)} characters; {MAX_TEXT} are the most."
