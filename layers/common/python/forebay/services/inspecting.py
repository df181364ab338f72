"""What the inspections of all formats share: reading once, judging digests, claiming identity."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.integrity import (
    Algorithm,
    Digest,
    Judgement,
    Witness,
    judge,
    merged,
    same_bytes,
)
from forebay.domain.naming import check_key
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State
from forebay.errors import ObjectMissingError, StaleRecordError
from forebay.services.ports import (
    Applied,
    Catalog,
    Change,
    Claim,
    ClaimHeld,
    Clock,
    Declarations,
    DigestChunks,
    ObjectStore,
)

CHUNK_BYTES = 1024 * 1024
RELEASED_CLAIMS = frozenset({State.QUARANTINED, State.CONFLICT, State.EXPIRED, State.DELETED})
"""A holder in one of these states gives up its names to the next that verifies."""


class Result(StrEnum):
    """What an inspection did to the record."""

    VERIFIED = "verified"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    AWAITING_DIGEST = "awaiting digest"
    ALREADY_DONE = "already done"


@dataclass(frozen=True, slots=True)
class StoredSource:
    """A catalogued object as a ByteSource: ranged reads of one pinned version."""

    store: ObjectStore
    record: ObjectRecord

    @property
    def name(self) -> str:
        """The object's id: keys may hold names of people, messages must not."""
        return f"object {self.record.object_id}"

    @property
    def size_bytes(self) -> int:
        """Size in bytes."""
        return self.record.size_bytes

    def read_range(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        return self.store.read_range(self.record.location, start, length)


@dataclass(frozen=True, slots=True)
class Inspector:
    """The tools an inspection needs, and the writes it may end in."""

    catalog: Catalog
    store: ObjectStore
    clock: Clock
    digest_chunks: DigestChunks

    def open(self, object_id: str) -> tuple[ObjectRecord, Declarations]:
        """Return the record and what checksum files said of its key; raises ObjectMissingError."""
        record, declarations = self.catalog.get_with_declarations(object_id)
        if record is None:
            raise ObjectMissingError(f"object {object_id} is not in the catalog")
        return record, declarations

    def chunks(self, record: ObjectRecord) -> Iterator[bytes]:
        """Stream the stored bytes of the record's version."""
        # The landing copy may have expired; the placed copy was proven equal.
        return self.store.chunks(record.placed or record.location, CHUNK_BYTES)

    def read_digests(self, record: ObjectRecord, algorithms: Iterable[Algorithm]) -> ObjectRecord:
        """Return the record with digests computed by reading the object once."""
        wanted = tuple(dict.fromkeys((Algorithm.SHA256, *algorithms)))
        digests, _ = self.digest_chunks(self.chunks(record), wanted)
        return replace(record, digests=merged(record.digests, digests))

    def judge(
        self, record: ObjectRecord, declarations: Declarations
    ) -> tuple[ObjectRecord, Judgement]:
        """Compare every declaration with evidence, reading the object only where none exists."""
        # What checksum files said last time is superseded by what they say now.
        own = tuple(d for d in record.declared if d.witness is Witness.SENDER_METADATA)
        declared = merged(own, declarations.digests)
        judgement = judge(declared, record.evidence)
        if judgement.finding is None and (judgement.missing or not record.evidence):
            record = self.read_digests(record, judgement.missing)
            judgement = judge(declared, record.evidence)
        return replace(record, digests=merged(record.evidence, declared)), judgement

    def quarantine(
        self,
        before: ObjectRecord,
        after: ObjectRecord,
        findings: Sequence[Finding],
        declarations: Declarations,
    ) -> Result:
        """Write the refusal; the first finding is the reason."""
        moved = before.moved_to(
            State.QUARANTINED,
            self.clock.now(),
            finding=findings[0],
            warnings=tuple(findings[1:]),
            digests=after.digests,
            metadata=after.metadata,
        )
        self.catalog.apply(Change(before, moved, declarations=declarations))
        return Result.QUARANTINED

    def await_digest(
        self, before: ObjectRecord, after: ObjectRecord, declarations: Declarations
    ) -> Result:
        """Write that the object must wait for its sender's digest; what was read is kept.

        inspect: read declarations ──► (none) ──► write AWAITING if still none ─┐
        sidecar:        write declaration ──► read state ──► AWAITING? wake     │
                 whichever comes second sees the other's write ◄───────────────┘
        """
        moved = before.moved_to(
            State.AWAITING_DIGEST,
            self.clock.now(),
            digests=after.digests,
            metadata=after.metadata,
            warnings=after.warnings,
        )
        self.catalog.apply(Change(before, moved, declarations=declarations))
        return Result.AWAITING_DIGEST

    def verify(
        self,
        before: ObjectRecord,
        after: ObjectRecord,
        claims: Sequence[Claim],
        declarations: Declarations,
    ) -> Result:
        """Move to VERIFIED and take the names, in one transaction; or find who holds them."""
        moved = replace(
            after,
            state=State.VERIFIED,
            state_since=self.clock.now(),
            amended_at=None,
            version=before.version + 1,
            redrives=0,
            finding=None,
        )
        while True:
            outcome = self.catalog.apply(Change(before, moved, claims, declarations))
            if isinstance(outcome, Applied):
                return Result.VERIFIED
            holder = self.catalog.get(outcome.holder)
            if holder is not None and holder.state not in RELEASED_CLAIMS:
                return self._yield_to(before, after, holder, declarations)
            if outcome.claim.takes_over == outcome.holder:
                raise StaleRecordError(f"the holder of a name of {before.object_id} keeps changing")
            claims = _taking_over(claims, outcome)

    def _yield_to(
        self,
        before: ObjectRecord,
        after: ObjectRecord,
        holder: ObjectRecord,
        declarations: Declarations,
    ) -> Result:
        same = same_bytes(after.digests, holder.digests)
        if same is None:
            after = self.read_digests(after, ())
            same = same_bytes(after.digests, self.read_digests(holder, ()).digests)
        facts = {
            "original_id": holder.object_id,
            "digests": after.digests,
            "metadata": after.metadata,
            "subject": after.subject,
            "subject_tokens": after.subject_tokens,
        }
        now = self.clock.now()
        if same:
            moved = before.moved_to(State.DUPLICATE, now, **facts)
            self.catalog.apply(
                Change(before, moved, declarations=declarations, counts_on=holder.object_id)
            )
            return Result.DUPLICATE
        moved = before.moved_to(State.CONFLICT, now, finding=_conflict(holder), **facts)
        self.catalog.apply(Change(before, moved, declarations=declarations))
        return Result.CONFLICT


def refuse_unread(record: ObjectRecord) -> tuple[Finding, ...]:
    """Return why an object is refused before a byte of it is read."""
    if record.size_bytes == 0:
        return (
            Finding(
                code=ReasonCode.EMPTY_OBJECT,
                message="The object is empty: the upload or the export failed. Upload it again.",
                owner=Owner.SENDER,
                expected="at least one byte",
                found="0 bytes",
            ),
        )
    unsafe = check_key(record)
    malformed = tuple(f for f in record.warnings if f.code is ReasonCode.DIGEST_MALFORMED)
    return ((unsafe,) if unsafe else ()) + malformed


def digest_claim(record: ObjectRecord) -> Claim:
    """Return the claim that makes the same bytes from the same site a duplicate."""
    return Claim("bytes", f"{record.site}#{record.digest(Algorithm.SHA256)}")


def _taking_over(claims: Sequence[Claim], held: ClaimHeld) -> tuple[Claim, ...]:
    return tuple(
        replace(claim, takes_over=held.holder) if claim == held.claim else claim for claim in claims
    )


def _conflict(holder: ObjectRecord) -> Finding:
    return Finding(
        code=ReasonCode.SAME_IDENTITY_OTHER_BYTES,
        message=(
            f"Object {holder.object_id} already holds this identity with other bytes; neither was"
            " changed. Compare the two and decide which to keep."
        ),
        owner=Owner.DATA_STEWARD,
        expected=_witnessed(holder.evidence),
        found="other bytes under the same identity",
    )


def _witnessed(digests: tuple[Digest, ...]) -> str:
    return ", ".join(f"{d.algorithm.value} {d.value}" for d in digests)
