"""place_object: bring a judged object where it belongs, and let its landing copy expire."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from forebay.domain.classification import Classification, facts_of
from forebay.domain.integrity import Algorithm, same_bytes
from forebay.domain.naming import has_zone_key, held_key, zone_key
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.states import State
from forebay.errors import CopyMismatchError, ObjectMissingError, StaleRecordError
from forebay.names import LANDING_SETTLED, Tag, Zone
from forebay.services.ports import Catalog, Change, Classifier, Clock, ObjectStore, StoredObject

SINGLE_COPY_MAX_BYTES: Final = 5 * 1000**3
"""CopyObject's limit; beyond it the copy is made in parts, which rules out a whole SHA-256."""

VERIFIED: Final = "verified"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class PlaceObject:
    """Settle one judged object; `buckets` maps the zones to the deployment's bucket names."""

    catalog: Catalog
    store: ObjectStore
    clock: Clock
    classifier: Classifier
    buckets: Mapping[Zone, str]

    def __call__(self, object_id: str, *, redelivered: bool = False) -> State:
        """Return the state after settling; every part of it may safely run again.

            copy ──► record where (one conditional write) ──► tag the landing copy
                 │                                        │
            crash: an equal copy is found again      crash: redelivery tags it

        Raises:
            CopyMismatchError: the copy's checksum is not the source's; the copy does not count.
            Trouble: storage or catalog failed; try again.
        """
        record = self.catalog.get(object_id)
        if record is None:
            raise ObjectMissingError(f"object {object_id} is not in the catalog")
        if record.state is State.VERIFIED:
            record = self._place(record, redelivered=redelivered)
        elif record.state in (State.QUARANTINED, State.CONFLICT) and record.held is None:
            record = self._hold(record, redelivered=redelivered)
        elif record.state is State.QUARANTINED and redelivered:
            # The delivery that failed may have copied before it learnt of the conviction.
            self._withdraw(record)
        if record.state in _SETTLED:
            self._settle_landing(record)
        return record.state

    def _place(self, record: ObjectRecord, *, redelivered: bool) -> ObjectRecord:
        chosen = self._classified(record)
        target = self._target(record, chosen)
        copy = self._copied(record, target, _tags(record, chosen), redelivered=redelivered)
        after = record.moved_to(
            State.PLACED,
            self.clock.now(),
            placed=copy.location,
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

    def _disown(self, record: ObjectRecord, copy: StoredObject) -> None:
        """Refuse readers a copy that was just made of what was convicted meanwhile."""
        now = self.catalog.get(record.object_id)
        if now and now.state is State.QUARANTINED and now.placed != copy.location:
            self.store.add_tags(copy.location, {Tag.VERDICT: REFUSED})

    def _hold(self, record: ObjectRecord, *, redelivered: bool) -> ObjectRecord:
        self._withdraw(record)
        target = Location(self.buckets[Zone.QUARANTINE], held_key(record))
        tags: dict[str, str] = {Tag.OBJECT_ID: record.object_id, Tag.VERDICT: REFUSED}
        if record.finding:
            tags[Tag.REASON] = record.finding.code.value
        copy = self._copied(record, target, tags, redelivered=redelivered)
        after = record.amended(self.clock.now(), held=copy.location)
        self.catalog.apply(Change(record, after))
        return after

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
            self.store.add_tags(copy, {Tag.VERDICT: REFUSED})

    def _settle_landing(self, record: ObjectRecord) -> None:
        try:
            self.store.add_tags(record.location, {Tag.LANDING: LANDING_SETTLED})
        except ObjectMissingError:
            # Expired, as it was meant to: late evidence may come long after placement.
            if record.placed is None and record.held is None:
                raise

    def _classified(self, record: ObjectRecord) -> Classification:
        return self.classifier.classify(facts_of(record))

    def _target(self, record: ObjectRecord, chosen: Classification) -> Location:
        return Location(self.buckets[Zone(chosen.zone)], zone_key(record))

    def _copied(
        self, record: ObjectRecord, target: Location, tags: Mapping[str, str], *, redelivered: bool
    ) -> StoredObject:
        if redelivered and (earlier := self._earlier_copy(record, target)):
            return earlier
        copy = self.store.copy(_source(record), target, checksum=_copy_checksum(record), tags=tags)
        if not _equal(record, copy):
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
        mine = stored.metadata.get(OBJECT_ID_METADATA) == record.object_id
        return stored if mine and _equal(record, stored) else None


OBJECT_ID_METADATA: Final = "forebay-object-id"
_SETTLED: Final = frozenset({State.PLACED, State.QUARANTINED, State.DUPLICATE, State.CONFLICT})


def _source(record: ObjectRecord) -> StoredObject:
    # The sender's own metadata stays behind: it may say anything about anybody.
    return StoredObject(
        # What is in its zone was proven equal, and outlives the landing copy.
        location=record.placed or record.location,
        size_bytes=record.size_bytes,
        digests=record.evidence,
        composite=record.composite_checksum,
        metadata={OBJECT_ID_METADATA: record.object_id},
    )


def _copy_checksum(record: ObjectRecord) -> Algorithm | None:
    """Return the algorithm by which storage can prove the copy, None for part by part."""
    known = {d.algorithm for d in record.evidence}
    order = [Algorithm.CRC64NVME, Algorithm.CRC32C, Algorithm.CRC32]
    if record.size_bytes <= SINGLE_COPY_MAX_BYTES:
        order.insert(0, Algorithm.SHA256)
    return next((algorithm for algorithm in order if algorithm in known), None)


def _equal(record: ObjectRecord, copy: StoredObject) -> bool:
    if copy.size_bytes != record.size_bytes:
        return False
    if copy.digests:
        shared = [d for d in copy.digests if record.digest(d.algorithm)]
        return bool(shared) and same_bytes(shared, record.evidence) is not False
    return bool(copy.composite) and copy.composite == record.composite_checksum


def _tags(record: ObjectRecord, chosen: Classification) -> dict[str, str]:
    return {
        Tag.OBJECT_ID: record.object_id,
        Tag.CLASS: chosen.object_class,
        Tag.RETENTION: chosen.retention_class,
        Tag.VERDICT: VERIFIED,
    }
