"""place_object: bring a judged object where it belongs, and let its landing copy expire."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from forebay.domain.classification import Classification, facts_of
from forebay.domain.deadlines import redriven, step_of
from forebay.domain.duplicates import Standing, standing_of
from forebay.domain.integrity import Algorithm, same_bytes
from forebay.domain.naming import has_zone_key, held_key, zone_key
from forebay.domain.objects import Choice, Location, ObjectRecord
from forebay.domain.rechecks import DAMAGED, Bytes, Reading, finding_of
from forebay.domain.reconciliation import is_settled
from forebay.domain.removals import without_source
from forebay.domain.states import State
from forebay.errors import CopyMismatchError, ObjectMissingError, StaleRecordError
from forebay.names import LANDING_SETTLED, Step, Tag, Zone
from forebay.services.judging import Judge, is_held, tags_for
from forebay.services.leasing import Delivery, Leasing
from forebay.services.ports import Catalog, Change, Clock, ObjectStore, StoredObject

SINGLE_COPY_MAX_BYTES: Final = 5 * 1000**3
"""CopyObject's limit; beyond it the copy is made in parts, which rules out a whole SHA-256."""

VERIFIED: Final = "verified"
REFUSED: Final = "refused"
SUPERSEDED: Final = "superseded"


@dataclass(frozen=True, slots=True)
class PlaceObject:
    """Settle one judged object; `buckets` maps the zones to the deployment's bucket names."""

    catalog: Catalog
    store: ObjectStore
    clock: Clock
    judge: Judge
    buckets: Mapping[Zone, str]
    lease_above_bytes: int = SINGLE_COPY_MAX_BYTES
    """A copy in parts is long work: one delivery at a time."""

    def __call__(
        self, object_id: str, *, delivery: Delivery | None = None, redelivered: bool = False
    ) -> State | None:
        """Return the state after settling, None when another delivery is at it (see `leasing`).

        Every part of it may safely run again.

            copy with its gates ──► record (one conditional write) ──► tag the landing copy
                            │                                      │
            crash: an equal copy is found again, tagged anew    crash: redelivery tags it

        Raises:
            CopyMismatchError: the copy's checksum is not the source's; the copy does not count.
            Trouble: storage or catalog failed; try again.
        """
        record = self.catalog.get(object_id)
        if record is None:
            raise ObjectMissingError(f"object {object_id} is not in the catalog")
        # What the sweeper sends is a new message, but not the first about this object.
        again = redelivered or record.redrives > 0
        is_long = step_of(record) is not None and record.size_bytes > self.lease_above_bytes
        if delivery is None or not is_long:
            return self._settled(record, redelivered=again)
        leasing = Leasing(self.catalog, self.clock, Step.PLACE_OBJECT)
        return leasing.alone(record, delivery, lambda: self._settled(record, redelivered=again))

    def _settled(self, record: ObjectRecord, *, redelivered: bool) -> State:
        try:
            record = self._brought(record, redelivered=redelivered)
        except ObjectMissingError:
            # Once may be a matter of seconds; S3 answers consistently, so twice is the truth.
            if not (redelivered and self._is_gone(record)):
                raise
            record = self._forget(record)
        if record.state is State.DUPLICATE:
            record = self._settle_duplicate(record)
        elif record.state in _SETTLED:
            self._settle_landing(record)
        return record.state

    def _settle_duplicate(self, record: ObjectRecord) -> ObjectRecord:
        """Let a duplicate's arrival expire once its original is kept; it may be all there is.

        original    VERIFIED ──► PLACED            the arrival may go
        original    VERIFIED ──► DELETED           the duplicate is inspected again, and placed
        duplicate   waits, unsettled: the sweeper and reconciliation come back to it
        """
        standing = standing_of(self.catalog.get(record.original_id))
        now = self.clock.now()
        after = record
        if standing is Standing.KEPT:
            self._settle_landing(record)
            if record.redrives:
                after = record.amended(now, redrives=0, warnings=record.lasting_warnings)
        elif standing is Standing.LOST and self._is_unsettled(record):
            after = record.moved_to(State.RECEIVED, now, original_id="")
        elif standing is Standing.UNDER_WAY and not record.redrives:
            # From now on a sweep will find it: no event says when the original is kept.
            after = redriven(record, now)
        if after is not record:
            self.catalog.apply(Change(record, after))
        return after

    def _is_unsettled(self, record: ObjectRecord) -> bool:
        try:
            return not is_settled(self.store.tags(record.location))
        except ObjectMissingError:
            return False

    def _brought(self, record: ObjectRecord, *, redelivered: bool) -> ObjectRecord:
        if record.state is State.VERIFIED:
            record = self._place(record, redelivered=redelivered)
        elif _is_damaged(record):
            # What is no one's bytes is not worth a copy, but may still call itself verified: not
            # only the recheck finds damage, and only the recheck refuses readers first.
            self._withdraw(record)
        elif record.state in (State.QUARANTINED, State.CONFLICT) and record.held is None:
            record = self._hold(record, redelivered=redelivered)
        elif record.state in (State.QUARANTINED, State.CONFLICT) and record.held:
            # Refused again, or the delivery that failed copied before it learnt of the conviction.
            self._withdraw(record)
            self.store.add_tags(record.held, _reason(record))
        if record.state is State.PLACED:
            self._retire_replaced(record)
        return record

    def _is_gone(self, record: ObjectRecord) -> bool:
        """Tell whether a sender removed the only bytes there were."""
        if record.state not in _HAS_NO_COPY or record.kept_at != record.location:
            return False
        try:
            self.store.head(record.location)
        except ObjectMissingError:
            return True
        return False

    def _forget(self, record: ObjectRecord) -> ObjectRecord:
        after = without_source(record, self.clock.now())
        self.catalog.apply(Change(record, after))
        return after

    def _retire_replaced(self, record: ObjectRecord) -> None:
        """Refuse readers the copy a steward let this object replace, now that this one is there."""
        if record.decision is None or record.decision.choice is not Choice.REPLACE:
            return
        replaced = self.catalog.get(record.original_id)
        if replaced and replaced.state is State.SUPERSEDED and replaced.placed:
            # Where it expired, there is nothing left to refuse.
            with suppress(ObjectMissingError):
                self.store.add_tags(replaced.placed, {Tag.VERDICT: SUPERSEDED})

    def _place(self, record: ObjectRecord, *, redelivered: bool) -> ObjectRecord:
        chosen = self._classified(record)
        target = self._target(record, chosen)
        judged = self._judged(record, chosen)
        tags = _tags(judged)
        copy = self._copied_whole(record, target, tags, redelivered=redelivered)
        if redelivered:
            # An attempt that died may have made it before a hold, or under another class.
            self.store.add_tags(copy.location, tags)
        after = record.moved_to(
            State.PLACED,
            self.clock.now(),
            placed=copy.location,
            placed_at=judged.placed_at,
            version_since=None,
            policy=judged.policy,
            # The copy in quarantine stays there, but is no longer where this object is kept.
            held=None,
            object_class=chosen.object_class,
            class_rule=chosen.rule,
            retention_class=chosen.retention_class,
        )
        try:
            self.catalog.apply(Change(record, after))
        except StaleRecordError:
            self._disown(record, copy)
            raise
        return after

    def _judged(self, record: ObjectRecord, chosen: Classification) -> ObjectRecord:
        """Return the record as it will be, with what policy wants of it: the copy is born so.

        Holds at S3 itself are `evaluate_policy`'s to put and to lift: under one the copy is born
        with its gates closed, and is due at once.
        """
        now = self.clock.now()
        future = replace(
            record,
            placed_at=now,
            version_since=None,
            policy=None,
            object_class=chosen.object_class,
            class_rule=chosen.rule,
            retention_class=chosen.retention_class,
        )
        decision = self.judge.decision(future, now)
        if is_held(decision):
            decision = replace(decision, unsettled=True, evaluate_at=now)
        return replace(future, policy=decision)

    def _disown(self, record: ObjectRecord, copy: StoredObject) -> None:
        """Refuse readers a copy that was just made of what was convicted meanwhile."""
        now = self.catalog.get(record.object_id)
        refused = (State.QUARANTINED, State.DELETED)
        if now and now.state in refused and now.placed != copy.location:
            self.store.add_tags(copy.location, {Tag.VERDICT: REFUSED})

    def _hold(self, record: ObjectRecord, *, redelivered: bool) -> ObjectRecord:
        self._withdraw(record)
        target = Location(self.buckets[Zone.QUARANTINE], held_key(record))
        tags = {Tag.OBJECT_ID: record.object_id, Tag.VERDICT: REFUSED, **_reason(record)}
        now = self.clock.now()
        try:
            copy = self._copied_whole(record, target, tags, redelivered=redelivered)
        except (CopyMismatchError, ObjectMissingError):
            lost = self._lost_bytes(record) if redelivered else None
            if lost is None:
                raise
            earlier = (record.finding,) if record.finding else ()
            warnings = (*record.warnings, *earlier)
            after = record.amended(now, finding=finding_of(record, lost), warnings=warnings)
        else:
            after = record.amended(now, held=copy.location)
        self.catalog.apply(Change(record, after))
        return after

    def _copied_whole(
        self, record: ObjectRecord, target: Location, tags: Mapping[str, str], *, redelivered: bool
    ) -> StoredObject:
        """Copy what is kept, or the arrival where what was kept is damaged or gone."""
        try:
            return self._copied(record, target, tags, redelivered=redelivered)
        except (CopyMismatchError, ObjectMissingError):
            if record.kept_at == record.location:
                raise
            arrival = replace(record, placed=None, held=None)
            return self._copied(arrival, target, tags, redelivered=redelivered)

    def _lost_bytes(self, record: ObjectRecord) -> Reading | None:
        """Return what is left of a placed copy of which no copy can be made, None if it is whole.

        It was convicted before the recheck found out, which looks at placed objects only.
        """
        if record.placed is None:
            return None
        try:
            stored = self.store.head(record.placed)
        except ObjectMissingError:
            return Reading(Bytes.MISSING)
        if is_equal(record, stored):
            return None
        return Reading(Bytes.CHANGED, stored.digests, stored.size_bytes)

    def _withdraw(self, record: ObjectRecord) -> None:
        """Refuse readers what late evidence convicted: they are gated by their copy's verdict tag.

        There may be one that no record names: the conviction came between copy and record, or two
        deliveries of one message each made a copy.
        """
        if record.state is not State.QUARANTINED:
            return
        copies = [record.placed] if record.placed else []
        if record.placed:
            target = replace(record.placed, version_id="")
        elif has_zone_key(record):
            target = self._target(record, self._classified(record))
        else:
            return
        if stray := self._earlier_copy(record, target):
            copies.append(stray.location)
        for copy in dict.fromkeys(copies):
            # What somebody deleted cannot be read either.
            with suppress(ObjectMissingError):
                self.store.add_tags(copy, {Tag.VERDICT: REFUSED})

    def _settle_landing(self, record: ObjectRecord) -> None:
        try:
            self.store.add_tags(record.location, {Tag.LANDING: LANDING_SETTLED})
        except ObjectMissingError:
            # Expired, as it was meant to: late evidence may come long after placement. And what
            # is a duplicate is kept as its original.
            if record.kept_at == record.location and record.state is not State.DUPLICATE:
                raise

    def _classified(self, record: ObjectRecord) -> Classification:
        return self.judge.classifier.classify(facts_of(record))

    def _target(self, record: ObjectRecord, chosen: Classification) -> Location:
        return Location(self.buckets[Zone(chosen.zone)], zone_key(record))

    def _copied(
        self, record: ObjectRecord, target: Location, tags: Mapping[str, str], *, redelivered: bool
    ) -> StoredObject:
        if redelivered and (earlier := self._earlier_copy(record, target)):
            return earlier
        copy = self.store.copy(
            source_of(record, record.kept_at), target, checksum=copy_checksum(record), tags=tags
        )
        if not is_equal(record, copy):
            # Until the next try it is the latest under its key.
            self.store.add_tags(copy.location, {Tag.VERDICT: REFUSED})
            raise CopyMismatchError(
                f"the copy of object {record.object_id} in {target.bucket} has another checksum"
                " than its source; it does not count and will be made again"
            )
        return copy

    def _earlier_copy(self, record: ObjectRecord, target: Location) -> StoredObject | None:
        """Return the copy an attempt made before it died, so that no second one is left behind."""
        try:
            stored = self.store.head(target)
        except ObjectMissingError:
            return None
        return stored if is_copy_of(record, stored) and is_equal(record, stored) else None


OBJECT_ID_METADATA: Final = "forebay-object-id"
_SETTLED: Final = frozenset({State.PLACED, State.QUARANTINED, State.CONFLICT})
_HAS_NO_COPY: Final = frozenset({State.VERIFIED, State.QUARANTINED, State.CONFLICT})


def _reason(record: ObjectRecord) -> dict[str, str]:
    return {Tag.REASON: record.finding.code.value} if record.finding else {}


def _is_damaged(record: ObjectRecord) -> bool:
    finding = record.finding if record.state is State.QUARANTINED else None
    return finding is not None and finding.code in DAMAGED


def copy_checksum(record: ObjectRecord) -> Algorithm | None:
    """Return the algorithm by which storage can prove the copy, None for part by part."""
    known = {d.algorithm for d in record.evidence}
    order = [Algorithm.CRC64NVME, Algorithm.CRC32C, Algorithm.CRC32]
    if record.size_bytes <= SINGLE_COPY_MAX_BYTES:
        order.insert(0, Algorithm.SHA256)
    return next((algorithm for algorithm in order if algorithm in known), None)


def source_of(record: ObjectRecord, at: Location) -> StoredObject:
    """Return an object's bytes at a place as the source of a copy that names the object."""
    # The sender's own metadata stays behind: it may say anything about anybody.
    return StoredObject(
        location=at,
        size_bytes=record.size_bytes,
        digests=record.evidence,
        composite=record.composite_checksum,
        metadata={OBJECT_ID_METADATA: record.object_id},
    )


def is_copy_of(record: ObjectRecord, stored: StoredObject) -> bool:
    """Tell whether a version names the object as its own; whether its bytes are is `is_equal`'s."""
    return stored.metadata.get(OBJECT_ID_METADATA) == record.object_id


def is_equal(record: ObjectRecord, copy: StoredObject) -> bool:
    """Tell whether storage's checksum proves a copy: a digest of the evidence, or equal parts."""
    if copy.size_bytes != record.size_bytes:
        return False
    if copy.digests:
        shared = [d for d in copy.digests if record.digest(d.algorithm)]
        return bool(shared) and same_bytes(shared, record.evidence) is not False
    return bool(copy.composite) and copy.composite == record.composite_checksum


def _tags(record: ObjectRecord) -> dict[str, str]:
    gates = tags_for(record, record.policy) if record.policy else {}
    gates.pop(Tag.HOLD, None)
    return {Tag.OBJECT_ID.value: record.object_id, Tag.VERDICT.value: VERIFIED, **gates}
