"""register_object: an object version arrived; give it its one record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forebay.domain.arrivals import Arrival, marker, read_key
from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.integrity import declared_in_metadata, merged
from forebay.domain.naming import is_safe_name
from forebay.domain.objects import Location, ObjectRecord, object_id
from forebay.domain.receipts import UPLOAD_BATCH_METADATA
from forebay.domain.removals import source_deleted, without_source
from forebay.domain.states import State
from forebay.errors import MessageError, ObjectMissingError
from forebay.events import ObjectCreated
from forebay.names import Zone
from forebay.services.ports import Catalog, Change, Clock, ObjectStore, StoredObject

SOURCE_SYSTEM_METADATA = "source-system"
COHORT_METADATA = "cohort"
_LOST_WITH_THE_SOURCE = frozenset(
    {State.RECEIVED, State.AWAITING_DIGEST, State.QUARANTINED, State.CONFLICT}
)


@dataclass(frozen=True, slots=True)
class Registration:
    """Which object an event was about, and whether it was new."""

    object_id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class RegisterObject:
    """Register arrivals; `zones` maps the landing buckets' names to their zones."""

    catalog: Catalog
    store: ObjectStore
    clock: Clock
    zones: Mapping[str, Zone]

    def __call__(self, event: ObjectCreated, *, redelivered: bool = False) -> Registration:
        """Put the record of one arrival, unless it was registered before.

        An event may come twice, late, or without a version: storage is asked what it means, and the
        derived id makes the second registration the same write. What storage does not know even at
        the second delivery was deleted before anybody saw it: it gets its record all the same.

        Raises:
            ObjectMissingError: the version is not in storage (yet).
            MessageError: the bucket is none of the landing buckets.
        """
        zone = self.zones.get(event.bucket)
        if zone is None:
            raise MessageError(f"bucket {event.bucket} is not a landing bucket of this deployment")
        arrival = read_key(zone, event.key)
        try:
            found = [self.store.head(place) for place in self._places(event)]
        except ObjectMissingError:
            if known := self._known(event):
                return Registration(known, is_new=False)
            if not redelivered:
                raise
            found = []
        made = [self._registered(event, stored, arrival, len(found)) for stored in found]
        if _is_gone(event, found):
            made.append(self._register_gone(event, arrival))
        return Registration(made[-1].object_id, any(each.is_new for each in made))

    def _places(self, event: ObjectCreated) -> Sequence[Location]:
        """Return the versions an event may speak of: one, or all of its key when it names none."""
        latest = Location(event.bucket, event.key, event.version_id)
        if event.version_id:
            return [latest]
        return self.store.versions_at(event.bucket, event.key) or [latest]

    def _known(self, event: ObjectCreated) -> str:
        """Return the id under which an arrival that is not in storage was registered."""
        if event.version_id:
            known = self.catalog.get(_id_of(event))
            return known.object_id if known else ""
        versions = self.catalog.versions_of(event.bucket, event.key)
        return versions[-1].object_id if versions else ""

    def _registered(
        self, event: ObjectCreated, stored: StoredObject, arrival: Arrival, candidates: int
    ) -> Registration:
        # Of several versions, the event's sequencer belongs to the one it describes.
        is_meant = candidates == 1 or stored.etag == event.etag
        sequencer = event.sequencer if is_meant else ""
        record = self._record(event.key, sequencer, stored, arrival)
        registration = Registration(record.object_id, self.catalog.register(record))
        if not stored.location.version_id:
            self._forget_overwritten(record)
        return registration

    def _record(
        self, key: str, sequencer: str, stored: StoredObject, arrival: Arrival
    ) -> ObjectRecord:
        now = self.clock.now()
        declared, findings = declared_in_metadata(stored.metadata)
        cohort, refused = _cohort_of(stored)
        skipped = marker(arrival.kind, key, stored.size_bytes)
        return ObjectRecord(
            object_id=object_id(stored.location, stored.etag),
            location=stored.location,
            kind=arrival.kind,
            site=arrival.site,
            state=State.IGNORED if skipped else State.RECEIVED,
            state_since=now,
            version=1,
            arrived_at=now,
            size_bytes=stored.size_bytes,
            etag=stored.etag,
            sequencer=sequencer,
            composite_checksum=stored.composite,
            source_system=stored.metadata.get(SOURCE_SYSTEM_METADATA, ""),
            cohort=cohort,
            upload_batch=stored.metadata.get(UPLOAD_BATCH_METADATA, ""),
            digests=merged(stored.digests, declared),
            warnings=(*findings, *refused),
            parents=self._parents(arrival.pipeline_run_id),
            pipeline_run_id=arrival.pipeline_run_id,
            metadata={"marker": skipped.value} if skipped else {},
        )

    def _register_gone(self, event: ObjectCreated, arrival: Arrival) -> Registration:
        now = self.clock.now()
        record = ObjectRecord(
            object_id=_id_of(event),
            location=Location(event.bucket, event.key, event.version_id),
            kind=arrival.kind,
            site=arrival.site,
            state=State.DELETED,
            state_since=now,
            version=1,
            arrived_at=now,
            size_bytes=event.size_bytes,
            etag=event.etag,
            sequencer=event.sequencer,
            finding=source_deleted(),
            pipeline_run_id=arrival.pipeline_run_id,
        )
        return Registration(record.object_id, self.catalog.register(record))

    def _forget_overwritten(self, record: ObjectRecord) -> None:
        """Record what a new null version destroyed: the bytes of the one that was there."""
        place = record.location
        for other in self.catalog.versions_of(place.bucket, place.key):
            is_null = not other.location.version_id and other.object_id != record.object_id
            if is_null and other.state in _LOST_WITH_THE_SOURCE and other.kept_at == place:
                self.catalog.apply(Change(other, without_source(other, self.clock.now())))

    def _parents(self, run_id: str) -> tuple[str, ...]:
        run = self.catalog.get_run(run_id) if run_id else None
        return tuple(run.inputs.values()) if run else ()


def _id_of(event: ObjectCreated) -> str:
    return object_id(Location(event.bucket, event.key, event.version_id), event.etag)


def _is_gone(event: ObjectCreated, found: Sequence[StoredObject]) -> bool:
    """Tell whether what an event spoke of is not among what storage has.

    A null version can be overwritten by bytes that have another ETag.
    """
    overwritten = [stored for stored in found if not stored.location.version_id]
    if not found:
        return True
    return bool(overwritten and event.etag) and all(s.etag != event.etag for s in overwritten)


def _cohort_of(stored: StoredObject) -> tuple[str, tuple[Finding, ...]]:
    """Return the cohort an upload names; one that is no plain name is left out, and told."""
    cohort = stored.metadata.get(COHORT_METADATA, "")
    if not cohort or is_safe_name(cohort):
        return cohort, ()
    finding = Finding(
        code=ReasonCode.UNSAFE_NAME,
        message="The upload names a cohort in x-amz-meta-cohort that is no plain name; it was left"
        " out. Upload the object again with another.",
        owner=Owner.SENDER,
        position=f"x-amz-meta-{COHORT_METADATA}",
        expected="up to 255 letters, digits and . _ + = @ , -",
        found=f"{len(cohort)} characters",
    )
    return "", (finding,)
