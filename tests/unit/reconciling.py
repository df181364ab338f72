"""Reconciliation over the fakes of one World."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.reconciliation import (
    Action,
    Difference,
    DifferenceKind,
    ListedUpload,
    ListedVersion,
    Report,
    Scope,
    repair_plan,
)
from forebay.domain.states import State
from forebay.names import Zone
from forebay.services.reconcile_storage import ReconcileStorage
from forebay.services.repair_storage import Repaired, RepairStorage
from forebay.services.submit_pipeline import PairedReadsPipeline, RunPlanner
from tests.unit.fakes import BUCKETS, NOON, FakeQueues
from tests.unit.world import World

ZONES: Mapping[Zone, str] = {
    zone: name for zone, name in BUCKETS.items() if zone is not Zone.ARCHIVE
}


@dataclass
class FakeListing:
    """`StorageListing` and `Uploads` over a FakeStore; all was written at noon unless told."""

    world: World
    written: dict[Location, datetime] = field(default_factory=dict)
    begun: list[ListedUpload] = field(default_factory=list)

    def versions(
        self, bucket: str, *, prefix: str = "", after: str = ""
    ) -> Iterator[ListedVersion]:
        found = [
            (Location(b, key, version_id), len(version.body))
            for (b, key), versions in sorted(self.world.store.versions.items())
            if b == bucket and key.startswith(prefix) and key > after
            for version_id, version in versions.items()
        ]
        for location, size in found:
            yield ListedVersion(location, size, self.written.get(location, NOON))

    def uploads(self, bucket: str) -> Iterator[ListedUpload]:
        yield from [upload for upload in self.begun if upload.location.bucket == bucket]

    def abort(self, location: Location, upload_id: str) -> bool:
        before = len(self.begun)
        self.begun = [upload for upload in self.begun if upload.upload_id != upload_id]
        return len(self.begun) < before


@dataclass
class FakeIndex:
    """`CatalogIndex` over a FakeCatalog and what its relay recorded."""

    world: World

    def records(self, object_ids: Collection[str]) -> Mapping[str, ObjectRecord]:
        known = self.world.catalog.records
        return {each: known[each] for each in object_ids if each in known}

    def objects_of_copies(self, copies: Collection[Location]) -> Mapping[Location, str]:
        return {place: name for place, name in self._copies().items() if place in set(copies)}

    def objects_at(self, bucket: str, key: str) -> Sequence[str]:
        places = self._copies().items()
        return [name for place, name in places if (place.bucket, place.key) == (bucket, key)]

    def ids_in_states(
        self, states: Iterable[State], *, site: str = "", since: datetime | None = None
    ) -> Iterator[str]:
        wanted = set(states)
        for record in list(self.world.catalog.records.values()):
            is_of_site = not site or record.site == site
            if record.state in wanted and is_of_site and (not since or record.state_since >= since):
                yield record.object_id

    def _copies(self) -> dict[Location, str]:
        return {
            copy: change.after.object_id
            for change in self.world.log.recorded
            for copy in (change.after.placed, change.after.held)
            if copy
        }


@dataclass
class FakeLocks:
    """`Locks`: the buckets that demand a lock, and what is locked."""

    demanding: set[str] = field(default_factory=set)
    locked: set[Location] = field(default_factory=set)

    def is_demanded(self, bucket: str) -> bool:
        return bucket in self.demanding

    def is_locked(self, location: Location) -> bool:
        return location in self.locked

    def lock(self, location: Location) -> None:
        self.locked.add(location)


class Reconciling:
    """The two services over one World; an hour passes before each comparison."""

    def __init__(self, world: World, buckets: Mapping[Zone, str] = ZONES) -> None:
        self.world = world
        self.listing = FakeListing(world)
        self.locks = FakeLocks()
        self.buckets: Mapping[Zone, str] = buckets
        self.class_zones: dict[str, str] = {}

    def compare(self, *, is_time_up: Any = lambda: False, **scope: Any) -> Report:
        self.world.clock.advance(3600)
        return self.service(Scope(**scope), is_time_up=is_time_up)

    @property
    def service(self) -> ReconcileStorage:
        world = self.world
        planner = RunPlanner(world.catalog, world.clock, PairedReadsPipeline("read_qc", "1"))
        return ReconcileStorage(
            world.catalog,
            FakeIndex(world),
            world.store,
            self.listing,
            self.locks,
            world.clock,
            planner,
            self.buckets,
            self.class_zones,
        )

    @property
    def repairs(self) -> RepairStorage:
        world = self.world
        return RepairStorage(
            world.catalog,
            world.store,
            FakeQueues(world.deliver, world.effects),
            self.listing,
            self.locks,
            world.clock,
            world.recheck_objects.one,
            self.buckets,
        )

    def plan(self, report: Report) -> tuple[Action, ...]:
        return repair_plan(report.differences)

    def apply(self, report: Report) -> tuple[Repaired, ...]:
        """Repair and let the flow work off what that set going."""
        done = self.repairs(self.plan(report), by="arn:someone", report_id=report.report_id)
        self.world.run()
        return done

    def kinds(self, **scope: Any) -> list[DifferenceKind]:
        return sorted(difference.kind for difference in self.compare(**scope).differences)

    def only(self, **scope: Any) -> Difference:
        (difference,) = self.compare(**scope).differences
        return difference


def long_ago(days: float) -> datetime:
    """Return a time before noon."""
    return NOON - timedelta(days=days)
