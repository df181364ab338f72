"""Dispositions: what is deleted on purpose, who asked, who approved, and what proves it.

    REQUESTED ──approve (another person)──► APPROVED ──► EXECUTING ──► DONE
        └────refuse────► REFUSED

A request lists every object and the versions of bytes known then; what is approved is the digest
of that list. What came later is not touched, what became of an object meanwhile keeps it, and what
forbids its removal is asked again right before each object is removed.
"""

import hashlib
import re
from base64 import b32encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self

from forebay.domain.integrity import Digest
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.classes import Policy
from forebay.domain.policy.exceptions import (
    BLOCKS_REMOVAL,
    ExceptionKind,
    PolicyException,
    Scope,
    active,
)
from forebay.domain.receipts import canonical_json
from forebay.domain.states import IN_FLIGHT, TRANSITIONS, State
from forebay.events import utc_moment, utc_text

DISPOSITION_SCHEMA_VERSION: Final = 1
CERTIFICATE_TYPE: Final = "forebay-disposition+jws"
ID_BYTES: Final = 10
_ID: Final = re.compile(r"DI-[a-z2-7]{16}")
_GONE: Final = frozenset({State.EXPIRED, State.DELETED, State.IGNORED})


class Stage(StrEnum):
    """Where a disposition stands."""

    REQUESTED = "REQUESTED"
    REFUSED = "REFUSED"
    APPROVED = "APPROVED"
    EXECUTING = "EXECUTING"
    DONE = "DONE"


class Part(StrEnum):
    """What a stored version is to its object."""

    PLACED = "placed"
    """A version under its key in a zone; earlier ones of the same object, too."""
    HELD = "held"
    """A copy in quarantine."""
    LANDING = "landing"
    REPLICA = "replica"


class Obstacle(StrEnum):
    """Why an object is kept."""

    LEGAL_HOLD = "legal-hold"
    RETENTION_FLOOR = "retention-floor"
    RETENTION = "retention"
    PIN = "pin"
    IN_FLIGHT = "in-flight"
    """It is still being judged or placed: a copy would be made after the others were removed."""
    STORAGE_LOCK = "storage-lock"
    """Storage itself locks a version: deleting the others would leave a record without sense."""
    LINEAGE = "lineage"
    """Too much reaches it to be checked in one transaction."""


@dataclass(frozen=True, slots=True)
class Block:
    """One thing that keeps an object, and where it is written."""

    obstacle: Obstacle
    says: str
    source: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return it as it is stored and told."""
        said = {"obstacle": self.obstacle.value, "says": self.says, "source": self.source}
        return {name: value for name, value in said.items() if value}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> Self:
        """Return what was stored."""
        return cls(Obstacle(data["obstacle"]), data["says"], data.get("source", ""))


@dataclass(frozen=True, slots=True)
class Copy:
    """One stored version that belongs to an object.

    `is_held` under a legal hold of storage, `locked_until` under its retention. `left` says why
    storage kept it, '' when it is gone.
    """

    part: Part
    location: Location
    size_bytes: int
    is_held: bool = False
    locked_until: datetime | None = None
    left: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as the catalog stores it."""
        where = self.location
        said = {
            "part": self.part.value,
            "bucket": where.bucket,
            "key": where.key,
            "version_id": where.version_id,
            "size_bytes": self.size_bytes,
            "left": self.left,
        }
        return {name: value for name, value in said.items() if value != ""}

    def told(self) -> dict[str, Any]:
        """Return it as the ledger tells it: a key its sender chose may hold a name."""
        said = self.as_dict()
        if self.part is Part.LANDING:
            said.pop("key")
        return said

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what the catalog stored."""
        where = Location(data["bucket"], data["key"], data.get("version_id", ""))
        return cls(Part(data["part"]), where, data["size_bytes"], left=data.get("left", ""))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One object of a request: what would be removed of it, and what keeps it now."""

    object_id: str
    version: int
    fingerprint: str
    size_bytes: int
    copies: tuple[Copy, ...] = ()
    blocks: tuple[Block, ...] = ()
    parents: tuple[str, ...] = ()
    generation: int = 0
    """Objects of one generation may go together; all of it goes before the next begins."""

    def as_dict(self) -> dict[str, Any]:
        """Return the candidate as the ledger tells it."""
        return {
            "object_id": self.object_id,
            "version": self.version,
            "fingerprint": self.fingerprint,
            "generation": self.generation,
            "size_bytes": self.size_bytes,
            "copies": [copy.told() for copy in self.copies],
            "blocks": [block.as_dict() for block in self.blocks],
        }


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a request that is carried out; what forbids its removal is asked anew."""

    object_id: str
    fingerprint: str
    generation: int


@dataclass(frozen=True, slots=True)
class Disposition:
    """One disposition.

    `basis` is the legal basis on which retention floors do not count, '' where they do. `digest`
    is the SHA-256 of the request in the ledger, `approved_digest` what was approved. `version`
    counts the changes since it was asked for, from 0. Who is told by AWS identity.
    """

    disposition_id: str
    scopes: tuple[Scope, ...]
    reason: str
    requested_by: str
    requested_at: datetime
    request: Location
    digest: str
    objects: int
    size_bytes: int
    review_due: bool = False
    basis: str = ""
    stage: Stage = Stage.REQUESTED
    decided_by: str = ""
    decided_at: datetime | None = None
    note: str = ""
    approved_digest: str = ""
    certificate: Location | None = None
    version: int = 0

    def changed(self, stage: Stage, **changes: Any) -> "Disposition":
        """Return it as it becomes."""
        return replace(self, stage=stage, version=self.version + 1, **changes)


@dataclass(frozen=True, slots=True)
class Draft:
    """A list that was written into the ledger, and is not asked for yet.

    `request` is where it lies, `digest` its SHA-256. A person's search token is in `scopes`, and
    not in the list: the ledger names nobody.
    """

    disposition_id: str
    scopes: tuple[Scope, ...]
    request: Location
    digest: str


class Outcome(StrEnum):
    """What became of one object."""

    DELETING = "deleting"
    """Its record says that it is gone; its bytes are being deleted."""
    REMOVED = "removed"
    KEPT = "kept"
    SKIPPED = "skipped"
    """It is not as it was when it was asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one object of a disposition.

    `tokens` are the search tokens that led to it, until they are forgotten; `study` and `date` say
    where they stand.
    """

    object_id: str
    outcome: Outcome
    at: datetime
    size_bytes: int = 0
    digests: tuple[Digest, ...] = ()
    copies: tuple[Copy, ...] = ()
    blocks: tuple[Block, ...] = ()
    says: str = ""
    study: str = ""
    date: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as the catalog stores it."""
        said = {
            "object_id": self.object_id,
            "outcome": self.outcome.value,
            "at": utc_text(self.at),
            "size_bytes": self.size_bytes,
            "digests": [digest.as_dict() for digest in self.digests],
            "copies": [copy.as_dict() for copy in self.copies],
            "blocks": [block.as_dict() for block in self.blocks],
            "says": self.says,
            "study": self.study,
            "date": self.date,
            "tokens": dict(self.tokens),
        }
        return {name: value for name, value in said.items() if value not in ("", [], {})}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what the catalog stored."""
        return cls(
            object_id=data["object_id"],
            outcome=Outcome(data["outcome"]),
            at=utc_moment(data["at"]),
            size_bytes=data.get("size_bytes", 0),
            digests=tuple(Digest.from_dict(each) for each in data.get("digests", ())),
            copies=tuple(Copy.from_dict(each) for each in data.get("copies", ())),
            blocks=tuple(Block.from_dict(each) for each in data.get("blocks", ())),
            says=data.get("says", ""),
            study=data.get("study", ""),
            date=data.get("date", ""),
            tokens=data.get("tokens", {}),
        )


def disposition_id(seed: bytes) -> str:
    """Return the id of a new disposition from ten random bytes: `DI-` and 16 characters."""
    if len(seed) != ID_BYTES:
        raise ValueError(f"a disposition's id is made of {ID_BYTES} random bytes, not {len(seed)}")
    return f"DI-{b32encode(seed).decode().lower()}"


def is_disposition_id(text: str) -> bool:
    """Tell whether a text is a disposition's id."""
    return _ID.fullmatch(text) is not None


def fingerprint(record: ObjectRecord) -> str:
    """Return what of a record must be as it was when its removal was asked for.

    Its bytes, its class, its consent and where it stands; not what upkeep notes about it, nor in
    which storage class or version the same bytes lie.
    """
    decided = record.decision
    return hashlib.sha256(
        canonical_json(
            [
                record.state.value,
                record.object_class,
                record.consent_state,
                record.size_bytes,
                sorted((d.algorithm.value, d.value) for d in record.evidence),
                [decided.choice.value, utc_text(decided.at)] if decided else [],
            ]
        )
    ).hexdigest()


def blocks_of(
    record: ObjectRecord,
    policy: Policy,
    exceptions: Sequence[PolicyException],
    now: datetime,
    *,
    basis: str = "",
) -> tuple[Block, ...]:
    """Return what keeps an object now, the strongest first; with a `basis` no floor does."""
    counting = [each for each in active(exceptions, now) if each.kind in BLOCKS_REMOVAL]
    holds = [each for each in counting if each.kind is ExceptionKind.LEGAL_HOLD]
    others = [each for each in counting if each.kind is not ExceptionKind.LEGAL_HOLD]
    found = [_told(each) for each in holds]
    if record.state in IN_FLIGHT:
        says = f"it is {record.state.value}: ask again when it is judged and placed"
        found.append(Block(Obstacle.IN_FLIGHT, says))
    if not basis and (floor := _floor(record, policy, now)):
        found.append(floor)
    return (*found, *(_told(each) for each in others))


def storage_blocks(copies: Iterable[Copy], now: datetime) -> tuple[Block, ...]:
    """Return what storage itself forbids; the retention of a replica keeps that replica alone."""
    for copy in copies:
        until = copy.locked_until
        if copy.is_held:
            says = f"storage has a legal hold on the {copy.part.value} version"
            return (Block(Obstacle.STORAGE_LOCK, says),)
        if copy.part is not Part.REPLICA and until and until > now:
            says = f"storage locks the {copy.part.value} version until {until:%Y-%m-%d}"
            return (Block(Obstacle.STORAGE_LOCK, says),)
    return ()


def disposed(
    record: ObjectRecord, disposition_id: str, at: datetime, *, keeps_tokens: bool
) -> ObjectRecord:
    """Return the record of an object whose bytes are about to be deleted, without the person.

    The search tokens stay while something made from it is stored: what is ordered about the
    person, a legal hold say, reaches that through this record.
    """
    changes: dict[str, Any] = {"subject": {}, "disposition": disposition_id}
    if not keeps_tokens:
        changes["subject_tokens"] = {}
    if State.DELETED in TRANSITIONS[record.state]:
        return record.moved_to(State.DELETED, at, **changes)
    return record.amended(at, **changes)


def is_stored(record: ObjectRecord) -> bool:
    """Tell whether the catalog says that there are bytes of an object."""
    return record.state not in _GONE


def children_first(parents: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return object ids in groups: none has a child in its own group or in a later one.

    `parents` maps every object to what it was made from; parents that are not listed count not.
    """
    children: dict[str, set[str]] = {each: set() for each in parents}
    for child, made_from in parents.items():
        for parent in made_from:
            if parent in children and parent != child:
                children[parent].add(child)
    left, groups = dict.fromkeys(parents), list[list[str]]()
    while left:
        # A circle cannot be; were there one, its members go together.
        free = [each for each in left if not children[each] & left.keys()] or list(left)
        groups.append(free)
        for each in free:
            del left[each]
    return groups


def request_document(disposition: Disposition, candidates: Iterable[Candidate]) -> dict[str, Any]:
    """Return the request as the ledger tells it; no person is named in it."""
    return {
        "schema_version": DISPOSITION_SCHEMA_VERSION,
        **_who_asked(disposition),
        "objects": [candidate.as_dict() for candidate in candidates],
    }


def asked_by(draft: Draft, document: Mapping[str, Any]) -> Disposition | None:
    """Return what a draft's list in the ledger asks for, None when it is not such a list."""
    try:
        removable = [each for each in document["objects"] if not each["blocks"]]
        asked = Disposition(
            disposition_id=draft.disposition_id,
            scopes=draft.scopes,
            review_due=bool(document["review_due"]),
            reason=str(document["reason"]),
            basis=str(document["legal_basis"]),
            requested_by=str(document["requested_by"]),
            requested_at=utc_moment(document["requested_at"]),
            request=draft.request,
            digest=draft.digest,
            objects=len(document["objects"]),
            size_bytes=sum(c["size_bytes"] for each in removable for c in each["copies"]),
        )
        listed(document)
    except (KeyError, TypeError, ValueError):
        return None
    says = {name: document.get(name) for name in _who_asked(asked)}
    return asked if says == _who_asked(asked) else None


def as_asked(disposition: Disposition, document: Mapping[str, Any]) -> Disposition | None:
    """Return a disposition as its list in the ledger tells it, None when that is of another.

    The list is what was approved; the catalog's item is only where it is found.
    """
    if document.get("disposition_id") != disposition.disposition_id:
        return None
    return replace(
        disposition,
        reason=document["reason"],
        basis=document["legal_basis"],
        requested_by=document["requested_by"],
        requested_at=utc_moment(document["requested_at"]),
        review_due=document["review_due"],
    )


def listed(document: Mapping[str, Any]) -> tuple[Listed, ...]:
    """Return the objects of a request, in its order."""
    return tuple(
        Listed(each["object_id"], each["fingerprint"], each["generation"])
        for each in document["objects"]
    )


def certificate_document(
    disposition: Disposition, entries: Iterable[Entry], *, deployment: str, issued_at: datetime
) -> dict[str, Any]:
    """Return the payload of a deletion certificate: what is gone, what is not, and why."""
    ordered = sorted(entries, key=lambda each: each.object_id)
    removed = [_removed(each) for each in ordered if each.outcome is Outcome.REMOVED]
    gone = [copy for each in removed for copy in each["removed"]]
    return {
        "schema_version": DISPOSITION_SCHEMA_VERSION,
        "deployment": deployment,
        **_who_asked(disposition),
        "approved_by": disposition.decided_by,
        "approved_at": utc_text(disposition.decided_at) if disposition.decided_at else "",
        "note": disposition.note,
        "request_sha256": disposition.approved_digest,
        "issued_at": utc_text(issued_at),
        "removed": removed,
        "kept": [
            {
                "object_id": each.object_id,
                "outcome": each.outcome.value,
                "why": [block.as_dict() for block in each.blocks] or [{"says": each.says}],
            }
            for each in ordered
            if each.outcome in (Outcome.KEPT, Outcome.SKIPPED)
        ],
        "versions_removed": len(gone),
        "bytes_removed": sum(copy["size_bytes"] for copy in gone),
    }


def _who_asked(disposition: Disposition) -> dict[str, Any]:
    return {
        "disposition_id": disposition.disposition_id,
        "scopes": [str(scope) for scope in disposition.scopes],
        "review_due": disposition.review_due,
        "reason": disposition.reason,
        "legal_basis": disposition.basis,
        "requested_by": disposition.requested_by,
        "requested_at": utc_text(disposition.requested_at),
    }


def _removed(entry: Entry) -> dict[str, Any]:
    return {
        "object_id": entry.object_id,
        "size_bytes": entry.size_bytes,
        "digests": [
            {"algorithm": d.algorithm.value, "value": d.value, "witness": d.witness.value}
            for d in entry.digests
        ],
        "removed_at": utc_text(entry.at),
        "removed": [copy.told() for copy in entry.copies if not copy.left],
        "left": [copy.told() for copy in entry.copies if copy.left],
    }


def _floor(record: ObjectRecord, policy: Policy, now: datetime) -> Block | None:
    if not record.object_class:
        return None
    chosen = policy.classes.get(record.object_class)
    if chosen is None:
        says = f"policy does not know its class {record.object_class}, nor how long it is kept"
        return Block(Obstacle.RETENTION_FLOOR, says)
    floor = (record.placed_at or record.state_since) + timedelta(days=chosen.retention.floor_days)
    if floor <= now:
        return None
    source = str(chosen.retention.source)
    return Block(Obstacle.RETENTION_FLOOR, f"kept until {floor:%Y-%m-%d} at least", source)


def _told(each: PolicyException) -> Block:
    until = f" until {each.until:%Y-%m-%d}" if each.until else ""
    return Block(
        Obstacle(each.kind.value), f"{each.kind} on {each.scope}{until}", each.exception_id
    )
