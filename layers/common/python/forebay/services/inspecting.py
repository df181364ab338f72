"""What the inspections of all formats share: reading once, judging digests, claiming identity."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from forebay.domain.conflicts import (
    BYTES_NAMESPACE,
    RELEASED,
    bytes_of,
    variant_of,
    variant_prefix,
    variant_value,
)
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
from forebay.domain.objects import Choice, Location, ObjectRecord
from forebay.domain.rechecks import Bytes, Reading, read_as
from forebay.domain.states import State
from forebay.errors import DamagedBytesError, ObjectMissingError, StaleRecordError
from forebay.services.leasing import IN_PROGRESS
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


class Result(StrEnum):
    """What an inspection did to the record."""

    VERIFIED = "verified"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    AWAITING_DIGEST = "awaiting digest"
    ALREADY_DONE = "already done"
    IN_PROGRESS = IN_PROGRESS


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
        return self.store.read_range(self.record.kept_at, start, length)


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
        return self.store.chunks(record.kept_at, CHUNK_BYTES)

    def read_digests(self, record: ObjectRecord, algorithms: Iterable[Algorithm]) -> ObjectRecord:
        """Return the record with digests computed by reading the object once.

        Damaged bytes are no evidence, and no fault of their sender: where the copy contradicts what
        was verified before, the arrival is read, if it is still there.

        Raises:
            DamagedBytesError: no bytes are at hand that agree with the evidence.
        """
        known = (digest.algorithm for digest in record.evidence)
        wanted = tuple(dict.fromkeys((Algorithm.SHA256, *algorithms, *known)))
        try:
            digests = self._digests_at(record.kept_at, record, wanted)
        except (DamagedBytesError, ObjectMissingError) as exc:
            if record.kept_at == record.location:
                raise
            try:
                digests = self._digests_at(record.location, record, wanted)
            except ObjectMissingError:
                raise exc from None
        return replace(record, digests=merged(record.digests, digests))

    def _digests_at(
        self, place: Location, record: ObjectRecord, wanted: tuple[Algorithm, ...]
    ) -> tuple[Digest, ...]:
        digests, size_bytes = self.digest_chunks(self.store.chunks(place, CHUNK_BYTES), wanted)
        self._check(record, place, read_as(record, size_bytes=size_bytes, digests=digests))
        return digests

    def check_read(self, record: ObjectRecord, digests: tuple[Digest, ...]) -> None:
        """Raise DamagedBytesError if what was just read is not what was verified before."""
        reading = read_as(record, size_bytes=record.size_bytes, digests=digests)
        self._check(record, record.kept_at, reading)

    def check_copy(self, record: ObjectRecord) -> None:
        """Read the copy of an object that is inspected again; raises DamagedBytesError."""
        if record.kept_at != record.location:
            known = (digest.algorithm for digest in record.evidence)
            wanted = tuple(dict.fromkeys((Algorithm.SHA256, *known)))
            self._digests_at(record.kept_at, record, wanted)

    def _check(self, record: ObjectRecord, place: Location, reading: Reading) -> None:
        if reading.bytes is Bytes.EQUAL and not reading.is_proof and place != record.location:
            # Some evidence only storage can compute.
            said = self.store.head(place)
            reading = read_as(
                record, size_bytes=said.size_bytes, digests=said.digests, composite=said.composite
            )
        if reading.bytes is Bytes.CHANGED:
            raise DamagedBytesError(
                f"the stored bytes of object {record.object_id} are not those that were verified;"
                " nothing is judged by them, the recheck comes first"
            )

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
        """Write the refusal; the first finding is the reason.

        What is refused unread is read now where storage knows no checksum of it: without any, no
        copy of it in quarantine could be proven.
        """
        if not (after.evidence or after.composite_checksum):
            # What is gone is found to be so by place_object.
            with suppress(ObjectMissingError):
                after = self.read_digests(after, (Algorithm.CRC64NVME,))
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
            warnings=after.lasting_warnings,
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
        """Move to VERIFIED and take the names, in one transaction; or find who holds them.

        What a steward decided is carried out here: an object that is to stand beside the holder of
        its identity takes a variant of that name; one that is to replace it takes the name itself,
        and the holder it was compared with is SUPERSEDED in the same transaction.
        """
        after, claims = self._as_decided(after, claims)
        moved = replace(
            after,
            state=State.VERIFIED,
            state_since=self.clock.now(),
            amended_at=None,
            version=before.version + 1,
            redrives=0,
            warnings=after.lasting_warnings,
            finding=None,
        )
        replaced: tuple[tuple[ObjectRecord, ObjectRecord], ...] = ()
        while True:
            outcome = self.catalog.apply(Change(before, moved, claims, declarations, also=replaced))
            if isinstance(outcome, Applied):
                return Result.VERIFIED
            holder = self.catalog.get(outcome.holder)
            if holder is not None and holder.state not in RELEASED:
                if not _replaces(before, holder, outcome.claim):
                    return self._yield_to(before, after, holder, outcome.claim, declarations)
                superseded = holder.moved_to(
                    State.SUPERSEDED, self.clock.now(), original_id=before.object_id
                )
                replaced = ((holder, superseded),)
            if outcome.claim.takes_over == outcome.holder:
                raise StaleRecordError(f"the holder of a name of {before.object_id} keeps changing")
            claims = _taking_over(claims, outcome)

    def _yield_to(
        self,
        before: ObjectRecord,
        after: ObjectRecord,
        holder: ObjectRecord,
        claim: Claim,
        declarations: Declarations,
    ) -> Result:
        after, same = self._compared(after, holder)
        if not same and (twin := self._decided_twin(after, holder, claim)):
            holder, same = twin, True
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
        # What was decided about another pair does not decide this one.
        moved = before.moved_to(
            State.CONFLICT, now, finding=_conflict(holder), decision=None, **facts
        )
        self.catalog.apply(Change(before, moved, declarations=declarations))
        return Result.CONFLICT

    def _compared(
        self, record: ObjectRecord, other: ObjectRecord
    ) -> tuple[ObjectRecord, bool | None]:
        """Return whether two objects have the same bytes, reading both where S3 cannot tell."""
        same = same_bytes(record.digests, other.digests)
        if same is None:
            record = self.read_digests(record, ())
            same = same_bytes(record.digests, self.read_digests(other, ()).digests)
        return record, same

    def _decided_twin(
        self, record: ObjectRecord, holder: ObjectRecord, claim: Claim
    ) -> ObjectRecord | None:
        """Return the object with these bytes that an earlier decision let stand or superseded.

        A sender that sends the same again must not ask the steward the same again.
        """
        names = self.catalog.holders(claim.namespace, claim.group)
        variants = variant_prefix(claim.value)
        others = [found for name, found in names.items() if name.startswith(variants)]
        if holder.decision and holder.decision.choice is Choice.REPLACE:
            others.append(holder.original_id)
        for object_id in others:
            other = self.catalog.get(object_id)
            if other is None or other.object_id == record.object_id or other.state in RELEASED:
                continue
            if self._compared(record, other)[1]:
                return other
        return None

    def _as_decided(
        self, record: ObjectRecord, claims: Sequence[Claim]
    ) -> tuple[ObjectRecord, Sequence[Claim]]:
        if record.decision is None or record.decision.choice is not Choice.KEEP_BOTH:
            return record, claims
        if not record.digest(Algorithm.SHA256):
            record = self.read_digests(record, ())
        variant = variant_of(record)
        return record, tuple(
            claim
            if claim.namespace == BYTES_NAMESPACE
            else replace(claim, value=variant_value(claim.value, variant))
            for claim in claims
        )


def refuse_unread(record: ObjectRecord) -> tuple[Finding, ...]:
    """Return why an object is refused before a byte of it is read."""
    if not record.location.version_id:
        return (_unversioned(),)
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
    return Claim(*bytes_of(record))


def _replaces(record: ObjectRecord, holder: ObjectRecord, claim: Claim) -> bool:
    """Tell whether a steward decided that a record takes this very holder's identity."""
    if record.decision is None or record.decision.choice is not Choice.REPLACE:
        return False
    if holder.object_id != record.original_id or claim.namespace == BYTES_NAMESPACE:
        return False
    if holder.state is State.VERIFIED:
        # Released by a corrected checksum file since the decision: its placement is on the way.
        raise StaleRecordError(f"object {holder.object_id} is being placed; it is replaced then")
    return holder.state is State.PLACED


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


def _unversioned() -> Finding:
    return Finding(
        code=ReasonCode.UNVERSIONED_OBJECT,
        message=(
            "The object has no version id: it was written while the bucket's versioning was off,"
            " and may be overwritten unseen. Turn versioning on and copy the object onto itself."
        ),
        owner=Owner.PLATFORM,
        expected="a version id",
        found="the null version",
    )


def _witnessed(digests: tuple[Digest, ...]) -> str:
    return ", ".join(f"{d.algorithm.value} {d.value}" for d in digests)
