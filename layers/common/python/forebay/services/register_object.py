"""register_object: an object version arrived; give it its one record."""

from collections.abc import Mapping
from dataclasses import dataclass

from forebay.domain.arrivals import Arrival, marker, read_key
from forebay.domain.integrity import declared_in_metadata, merged
from forebay.domain.objects import Location, ObjectRecord, object_id
from forebay.domain.states import State
from forebay.errors import MessageError
from forebay.events import ObjectCreated
from forebay.names import Zone
from forebay.services.ports import Catalog, Clock, ObjectStore, StoredObject

SOURCE_SYSTEM_METADATA = "source-system"
UPLOAD_BATCH_METADATA = "upload-batch"


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

    def __call__(self, event: ObjectCreated) -> Registration:
        """Put the record of one arrival, unless it was registered before.

        An event may come twice, late, or without a version: storage is asked what it means, and the
        derived id makes the second registration the same write.

        Raises:
            ObjectMissingError: the version is not in storage (yet).
            MessageError: the bucket is none of the landing buckets.
        """
        zone = self.zones.get(event.bucket)
        if zone is None:
            raise MessageError(f"bucket {event.bucket} is not a landing bucket of this deployment")
        stored = self.store.head(Location(event.bucket, event.key, event.version_id))
        record = self._record(event, stored, read_key(zone, event.key))
        return Registration(record.object_id, self.catalog.register(record))

    def _record(self, event: ObjectCreated, stored: StoredObject, arrival: Arrival) -> ObjectRecord:
        now = self.clock.now()
        declared, findings = declared_in_metadata(stored.metadata)
        skipped = marker(arrival.kind, event.key, stored.size_bytes)
        return ObjectRecord(
            object_id=object_id(stored.location),
            location=stored.location,
            kind=arrival.kind,
            site=arrival.site,
            state=State.IGNORED if skipped else State.RECEIVED,
            state_since=now,
            version=1,
            arrived_at=now,
            size_bytes=stored.size_bytes,
            etag=stored.etag,
            sequencer=event.sequencer,
            composite_checksum=stored.composite,
            source_system=stored.metadata.get(SOURCE_SYSTEM_METADATA, ""),
            upload_batch=stored.metadata.get(UPLOAD_BATCH_METADATA, ""),
            digests=merged(stored.digests, declared),
            warnings=findings,
            parents=self._parents(arrival.pipeline_run_id),
            pipeline_run_id=arrival.pipeline_run_id,
            metadata={"marker": skipped.value} if skipped else {},
        )

    def _parents(self, run_id: str) -> tuple[str, ...]:
        run = self.catalog.get_run(run_id) if run_id else None
        return tuple(run.inputs.values()) if run else ()
