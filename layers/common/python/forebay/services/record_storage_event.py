"""register_object, its other half: what storage or a person did to versions that were there.

An event only wakes; storage decides. What an event calls deleted is asked for by HEAD: one that is
late, repeated or wrong changes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from forebay.domain.findings import ReasonCode
from forebay.domain.objects import Location, ObjectRecord, object_id
from forebay.domain.removals import (
    REMOVALS,
    UNREAD,
    with_storage_facts,
    without_copy,
    without_source,
)
from forebay.domain.states import State
from forebay.errors import MessageError, ObjectMissingError
from forebay.events import ObjectCreated, S3Event, StorageChanged, StorageKind
from forebay.names import DELETED_OUTSIDE_POLICY, LANDING_ZONES, Zone
from forebay.services.ports import Catalog, Change, Clock, ObjectStore
from forebay.services.register_object import RegisterObject


class Heard(StrEnum):
    """What came of an S3 event."""

    REGISTERED = "registered"
    KNOWN = "known already"
    DELETED = "deleted"
    DELETED_OUTSIDE_POLICY = DELETED_OUTSIDE_POLICY
    EXPIRED = "expired"
    AMENDED = "storage facts recorded"
    NOTHING_LOST = "nothing lost"


@dataclass(frozen=True, slots=True)
class RecordStorageEvent:
    """Record what S3 tells; `zones` maps the names of all buckets that send events to their zones.

    landing   deleted, not judged yet          -> DELETED: its sender must upload it again
              deleted, judged                  -> nothing: it is kept elsewhere, or place_object
                                                  finds out whether it was copied in time
    zones     copy expired by lifecycle, which
              its policy let do that           -> EXPIRED
              copy gone otherwise              -> DELETED, with a finding for the platform
              tier, restore                    -> a fact of the record, no state
    """

    register: RegisterObject
    catalog: Catalog
    store: ObjectStore
    clock: Clock
    zones: Mapping[str, Zone]

    def __call__(self, event: S3Event, *, redelivered: bool = False) -> tuple[Heard, str]:
        """Return what came of one event, and the ids of the objects it was about.

        Raises:
            Trouble: storage or catalog failed, or a record moved meanwhile; try again.
            MessageError: the bucket is none that should send such events.
        """
        if isinstance(event, ObjectCreated):
            made = self.register(event, redelivered=redelivered)
            return (Heard.REGISTERED if made.is_new else Heard.KNOWN), made.object_id
        zone = self.zones.get(event.bucket)
        if zone is None:
            raise MessageError(f"bucket {event.bucket} is no zone of this deployment")
        changes = list(self._in_landing(event) if zone in LANDING_ZONES else self._in_zone(event))
        for change in changes:
            self.catalog.apply(change)
        ids = " ".join(change.after.object_id for change in changes)
        return (_heard(changes[-1]) if changes else Heard.NOTHING_LOST), ids

    def _in_landing(self, event: StorageChanged) -> Iterator[Change]:
        if event.kind not in REMOVALS:
            return
        for record in self._arrivals(event):
            has_no_copy = record.kept_at == record.location
            if record.state in UNREAD and has_no_copy and self._is_gone(record.location):
                by_lifecycle = event.kind is StorageKind.EXPIRED
                now = self.clock.now()
                yield Change(record, without_source(record, now, by_lifecycle=by_lifecycle))

    def _arrivals(self, event: StorageChanged) -> Iterator[ObjectRecord]:
        """Yield the arrivals an event may speak of; what was never registered is not known here.

        That may be a delete marker, which cannot be told from an arrival. An arrival's own event
        will come, and find that the version is gone.
        """
        if event.version_id:
            location = Location(event.bucket, event.key, event.version_id)
            if record := self.catalog.get(object_id(location)):
                yield record
        else:
            yield from self.catalog.versions_of(event.bucket, event.key)

    def _in_zone(self, event: StorageChanged) -> Iterator[Change]:
        for made in self.catalog.objects_copied_to(event.bucket, event.key):
            record = self.catalog.get(made)
            if record is None:
                continue
            for copy in (record.placed, record.held):
                if copy and _speaks_of(event, copy) and (after := self._after(event, record, copy)):
                    yield Change(record, after)
                    break

    def _after(
        self, event: StorageChanged, record: ObjectRecord, copy: Location
    ) -> ObjectRecord | None:
        now = self.clock.now()
        if event.kind not in REMOVALS:
            return with_storage_facts(record, event, now)
        by_lifecycle = event.kind is StorageKind.EXPIRED
        after = without_copy(record, copy, now, by_lifecycle=by_lifecycle)
        return after if after and self._is_gone(copy) else None

    def _is_gone(self, location: Location) -> bool:
        try:
            self.store.head(location)
        except ObjectMissingError:
            return True
        return False


def _speaks_of(event: StorageChanged, copy: Location) -> bool:
    same_key = (event.bucket, event.key) == (copy.bucket, copy.key)
    return same_key and event.version_id in ("", copy.version_id)


def _heard(change: Change) -> Heard:
    state, finding = change.after.state, change.after.finding
    if finding and finding.code is ReasonCode.DELETED_OUTSIDE_POLICY:
        return Heard.DELETED_OUTSIDE_POLICY
    return {State.DELETED: Heard.DELETED, State.EXPIRED: Heard.EXPIRED}.get(state, Heard.AMENDED)
