"""reconcile_storage: compare what is stored with what the catalog says, both ways."""

import hashlib
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, Protocol, TypeVar

from forebay.domain.arrivals import read_key
from forebay.domain.duplicates import Standing, standing_of
from forebay.domain.integrity import same_bytes
from forebay.domain.objects import Kind, Location, ObjectRecord, object_id
from forebay.domain.rechecks import is_noted
from forebay.domain.reconciliation import (
    COPIED,
    HELD,
    REPLICATED,
    SETTLED,
    VERIFIED,
    Difference,
    DifferenceKind,
    Findings,
    ListedUpload,
    ListedVersion,
    Report,
    Scope,
    belongs_in,
    counted_copy,
    expected_tags,
    is_half_copied,
    is_known_damage,
    is_settled,
    kept_at,
)
from forebay.domain.states import IN_FLIGHT, State
from forebay.errors import ObjectMissingError
from forebay.events import utc_text
from forebay.names import FOLDERS, LANDING_ZONES, Tag, Zone
from forebay.services.place_object import is_equal
from forebay.services.ports import Catalog, Clock, ObjectStore, StoredObject
from forebay.services.submit_pipeline import RunPlanner

PAGE: Final = 100
"""How many versions or records are looked up together: DynamoDB's BatchGetItem takes no more."""
SUSPECTS: Final = 1000
COMPARED_ZONES: Final = (*LANDING_ZONES, *FOLDERS, Zone.QUARANTINE, Zone.ARCHIVE, Zone.LEDGER)
_RECORDS: Final = "@records "
_KEPT: Final = (*sorted(IN_FLIGHT), *sorted(COPIED), *sorted(HELD))
_SITE_FOLDERS: Final = frozenset({Zone.GENOMICS})
"""Zones whose folders are divided by site; the others hold all sites' objects under one prefix."""
T = TypeVar("T")
R = TypeVar("R")


class StorageListing(Protocol):
    """What buckets hold, page by page."""

    def versions(
        self, bucket: str, *, prefix: str = "", after: str = ""
    ) -> Iterator[ListedVersion]:
        """Yield every version of every key, in key order, from the key after `after` on."""

    def uploads(self, bucket: str) -> Iterator[ListedUpload]:
        """Yield the multipart uploads that were begun and not completed."""


class Locks(Protocol):
    """Object Lock."""

    def is_demanded(self, bucket: str) -> bool:
        """Tell whether every new version of a bucket is to be locked."""

    def is_locked(self, location: Location) -> bool:
        """Tell whether a version has a retention; raises ObjectMissingError."""

    def lock(self, location: Location) -> None:
        """Give a version the retention its bucket demands of new ones."""


class CatalogIndex(Protocol):
    """The catalog, by what lies in storage and by state."""

    def records(self, object_ids: Collection[str]) -> Mapping[str, ObjectRecord]:
        """Return the records that exist, read consistently."""

    def objects_of_copies(self, copies: Collection[Location]) -> Mapping[Location, str]:
        """Return the objects that copies belong to, by what was indexed when they were made."""

    def objects_at(self, bucket: str, key: str) -> Sequence[str]:
        """Return the objects that ever had a copy under a key."""

    def ids_in_states(
        self, states: Iterable[State], *, site: str = "", since: datetime | None = None
    ) -> Iterator[str]:
        """Yield ids of objects by state, site and time; from an index that lags a little."""


@dataclass(frozen=True, slots=True)
class ReconcileStorage:
    """Compare storage, catalog and replica; reads only. `buckets` are the zones it may look into.

    With `Zone.ARCHIVE` among them replicas are compared too. `class_zones` says which zone a class
    demands, where the policy is at hand.
    """

    catalog: Catalog
    index: CatalogIndex
    store: ObjectStore
    listing: StorageListing
    locks: Locks
    clock: Clock
    planner: RunPlanner
    buckets: Mapping[Zone, str]
    class_zones: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    progress: Callable[[str, int], None] = lambda _what, _count: None

    def __call__(self, scope: Scope, *, is_time_up: Callable[[], bool] = lambda: False) -> Report:
        """Return all differences in a scope, each seen twice with fresh reads of both sides.

            list storage ──► look each version up in the catalog ──┐
            list catalog ──► look each copy up in storage ─────────┴─► look once more ──► report

        What is younger than the grace period is in flight and no difference.
        """
        return _Comparison(self, scope, is_time_up).report()


class SeenVersions:
    """Versions that were listed: 8 bytes each, so that 100 million fit into memory."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._sorted = True

    def add(self, location: Location) -> None:
        """Remember a version."""
        self._hashes.append(_hash(location))
        self._sorted = False

    def __contains__(self, location: Location) -> bool:
        if not self._sorted:
            self._hashes = array("Q", sorted(self._hashes))
            self._sorted = True
        wanted = _hash(location)
        place = bisect_left(self._hashes, wanted)
        return place < len(self._hashes) and self._hashes[place] == wanted


def scope_of(data: Mapping[str, object], *, resume_after: str = "") -> Scope:
    """Return the scope a schedule's input asks for."""
    zone = data.get("zone")
    return Scope(
        zone=Zone(str(zone)) if zone else None,
        site=str(data.get("site") or ""),
        deep=bool(data.get("deep", True)),
        resume_after=resume_after,
    )


class _Comparison:
    """One run."""

    def __init__(
        self, tools: ReconcileStorage, scope: Scope, is_time_up: Callable[[], bool]
    ) -> None:
        self.tools = tools
        self.scope = scope
        self.is_time_up = is_time_up
        self.began = tools.clock.now()
        self.still_moving = self.began - timedelta(seconds=scope.grace_s)
        self.seen = SeenVersions()
        self.findings = Findings()
        self.checked: Counter[str] = Counter()
        self.suspects: list[tuple[Difference, ListedVersion | None]] = []
        self.resume_after = ""
        self.zones = {name: zone for zone, name in tools.buckets.items()}

    def report(self) -> Report:
        """Compare everything in scope."""
        zones = [self.scope.zone] if self.scope.zone else self._zones_of_all()
        if not self.scope.resume_after.startswith(_RECORDS):
            for zone in zones:
                self._storage(zone)
        if not self.resume_after:
            self._catalog(frozenset(zones))
        self._confirm()
        ended = self.tools.clock.now()
        name = hashlib.sha256(f"{utc_text(self.began)} {self.scope}".encode()).hexdigest()[:12]
        return Report(
            report_id=f"{self.began:%H%M%S}-{name}",
            started_at=self.began,
            ended_at=ended,
            scope=self.scope,
            checked=dict(self.checked),
            counts=dict(self.findings.counts),
            differences=tuple(self.findings.listed),
            resume_after=self.resume_after,
        )

    def _zones_of_all(self) -> list[Zone]:
        # The ledger is only ever appended to: its locks are looked at when asked for.
        return [z for z in COMPARED_ZONES if z in self.tools.buckets and z is not Zone.LEDGER]

    def _storage(self, zone: Zone) -> None:
        """Look every stored version up in the catalog."""
        bucket = self.tools.buckets[zone]
        for prefix in self._prefixes(zone):
            rows = self.tools.listing.versions(bucket, prefix=prefix, after=self.scope.resume_after)
            while page := list(islice(rows, PAGE)):
                self._page(zone, page)
                if self.scope.zone and self.is_time_up():
                    self.resume_after = page[-1].location.key
                    return
        for upload in self.tools.listing.uploads(bucket):
            self._upload(zone, upload)

    def _prefixes(self, zone: Zone) -> list[str]:
        if not self.scope.site:
            return [""]
        if zone in LANDING_ZONES:
            return [f"{self.scope.site}/"]
        if zone in _SITE_FOLDERS:
            return [f"{folder}/{self.scope.site}/" for folder in FOLDERS[zone]]
        return [""]

    def _page(self, zone: Zone, page: Sequence[ListedVersion]) -> None:
        for row in page:
            self.seen.add(row.location)
        self.checked["versions"] += len(page)
        self.tools.progress("versions", self.checked["versions"])
        since = self.scope.since
        rows = [
            row
            for row in page
            if row.modified_at <= self.still_moving and (since is None or row.modified_at >= since)
        ]
        records = self._records_of(zone, rows)
        judged = self._each(lambda row: self._judged(zone, row, records.get(row.location)), rows)
        for row, differences in zip(rows, judged, strict=True):
            self._suspect(differences, row)

    def _records_of(
        self, zone: Zone, rows: Sequence[ListedVersion]
    ) -> Mapping[Location, ObjectRecord]:
        """Return the records that versions belong to, in two requests for a whole page."""
        places = {row.location: row for row in rows}
        if zone in LANDING_ZONES:
            ids = {place: object_id(place, row.etag) for place, row in places.items()}
        elif zone in (Zone.ARCHIVE, Zone.LEDGER):
            return {}
        else:
            ids = dict(self.tools.index.objects_of_copies(list(places)))
        found = self.tools.index.records(set(ids.values()))
        return {place: found[name] for place, name in ids.items() if name in found}

    def _judged(
        self, zone: Zone, row: ListedVersion, record: ObjectRecord | None
    ) -> list[Difference]:
        try:
            if zone in LANDING_ZONES:
                return self._judged_arrival(zone, row, record)
            if zone in (Zone.ARCHIVE, Zone.LEDGER):
                return self._judged_lock(zone, row)
            return self._judged_copy(zone, row, record)
        except ObjectMissingError:
            return []  # It went while it was looked at; the catalog's side will tell.

    def _judged_arrival(
        self, zone: Zone, row: ListedVersion, record: ObjectRecord | None
    ) -> list[Difference]:
        site = read_key(zone, row.location.key).site
        if record is None:
            name = object_id(row.location, row.etag)
            return [self._of_version(DifferenceKind.MISSING_IN_CATALOG, zone, row, name, site=site)]
        if self._is_moving(record):
            return []
        found = self._size_drift(zone, row, record)
        if self.scope.deep and not self._settled(row.location):
            kind = self._unsettled(record)
            if kind:
                found.append(self._of_version(kind, zone, row, record.object_id, site=record.site))
        return found

    def _unsettled(self, record: ObjectRecord) -> DifferenceKind | None:
        """Return what is wrong about an arrival that is not settled, None while it may be so."""
        if record.state is State.DUPLICATE:
            standing = standing_of(self.tools.catalog.get(record.original_id))
            return {
                Standing.KEPT: DifferenceKind.UNSETTLED_LANDING,
                Standing.LOST: DifferenceKind.ORPHANED_DUPLICATE,
            }.get(standing)
        is_aside = record.state not in HELD or record.held is not None or is_known_damage(record)
        is_dealt_with = record.state in SETTLED and is_aside
        return DifferenceKind.UNSETTLED_LANDING if is_dealt_with else None

    def _settled(self, location: Location) -> bool:
        return is_settled(self.tools.store.tags(location))

    def _judged_lock(self, zone: Zone, row: ListedVersion) -> list[Difference]:
        if row.is_locked or not self.tools.locks.is_demanded(row.location.bucket):
            return []
        if row.is_locked is None and (
            not self.scope.deep or self.tools.locks.is_locked(row.location)
        ):
            return []
        return [self._of_version(DifferenceKind.LOCK_DRIFT, zone, row)]

    def _judged_copy(
        self, zone: Zone, row: ListedVersion, record: ObjectRecord | None
    ) -> list[Difference]:
        tags: Mapping[str, str] | None = None
        if record is None:
            tags = self.tools.store.tags(row.location)
            named = tags.get(Tag.OBJECT_ID, "")
            if not named:
                site = self.scope.site
                foreign = self._of_version(DifferenceKind.FOREIGN_OBJECT, zone, row, site=site)
                return [] if site and zone not in _SITE_FOLDERS else [foreign]
            record = self.tools.catalog.get(named)
            if record is None:
                return self._judged_unknown(zone, row, named)
        if self._is_moving(record) or (self.scope.site and record.site != self.scope.site):
            return []
        if row.location in (record.placed, record.held):
            return self._judged_named(zone, row, record, tags)
        return self._judged_unnamed(zone, row, record, tags)

    def _judged_unknown(self, zone: Zone, row: ListedVersion, named: str) -> list[Difference]:
        """A copy whose object nobody knows is no loss where an equal one is known to be kept."""
        place = row.location
        at_key = self.tools.index.records(set(self.tools.index.objects_at(place.bucket, place.key)))
        if any(self._is_twin(row, record) for record in at_key.values()):
            return []
        return [self._of_version(DifferenceKind.UNKNOWN_COPY, zone, row, named)]

    def _judged_named(
        self,
        zone: Zone,
        row: ListedVersion,
        record: ObjectRecord,
        tags: Mapping[str, str] | None,
    ) -> list[Difference]:
        if is_known_damage(record):
            return []
        found: list[Difference] = []
        if row.location == counted_copy(record) and not is_noted(record, row.location):
            found = self._size_drift(zone, row, record)
            if self.scope.deep and not found and self._has_drifted(row.location, record):
                found.append(self._of_record(DifferenceKind.CHECKSUM_DRIFT, zone, row, record))
        if found or not self.scope.deep:
            return found  # Which tags it must have depends on what becomes of it.
        expected = expected_tags(record, row.location)
        now = self.tools.store.tags(row.location) if tags is None else tags
        if wrong := sorted(name for name, value in expected.items() if now.get(name) != value):
            said = f"wrong or missing: {', '.join(wrong)}"
            found.append(self._of_record(DifferenceKind.TAG_DRIFT, zone, row, record, said))
        return found

    def _judged_unnamed(
        self,
        zone: Zone,
        row: ListedVersion,
        record: ObjectRecord,
        tags: Mapping[str, str] | None,
    ) -> list[Difference]:
        if is_half_copied(record, zone):
            return [self._of_record(DifferenceKind.HALF_COPIED, zone, row, record)]
        if self._is_twin(row, record):
            return []
        now = self.tools.store.tags(row.location) if tags is None else tags
        if now.get(Tag.VERDICT) != VERIFIED:
            return []
        said = f"its object is {record.state.value}"
        return [self._of_record(DifferenceKind.STRAY_COPY, zone, row, record, said)]

    def _has_drifted(self, location: Location, record: ObjectRecord) -> bool:
        return contradicts(record, self.tools.store.head(location))

    def _is_twin(self, row: ListedVersion, record: ObjectRecord) -> bool:
        """Tell whether a version is one more equal copy under the key where its object is kept.

        Two deliveries of one message each made one; readers by key get the same bytes.
        """
        placed, place = record.placed, row.location
        if record.state is not State.PLACED or placed is None:
            return False
        if (placed.bucket, placed.key) != (place.bucket, place.key):
            return False
        if row.size_bytes != record.size_bytes:
            return False
        return not self.scope.deep or is_equal(record, self.tools.store.head(place))

    def _size_drift(self, zone: Zone, row: ListedVersion, record: ObjectRecord) -> list[Difference]:
        if row.size_bytes == record.size_bytes:
            return []
        said = f"{row.size_bytes} bytes instead of {record.size_bytes}"
        return [self._of_record(DifferenceKind.SIZE_DRIFT, zone, row, record, said)]

    def _upload(self, zone: Zone, upload: ListedUpload) -> None:
        self.checked["uploads"] += 1
        oldest = self.began - timedelta(days=self.scope.upload_days)
        site = read_key(zone, upload.location.key).site if zone in LANDING_ZONES else ""
        if upload.begun_at > oldest or (self.scope.site and site != self.scope.site):
            return
        orphan = Difference(
            DifferenceKind.ORPHAN_UPLOAD,
            zone.value,
            site=site,
            location=upload.location,
            found=f"begun {utc_text(upload.begun_at)}",
            upload_id=upload.upload_id,
        )
        self.findings.add([orphan])

    def _catalog(self, zones: frozenset[Zone]) -> None:
        """Look every copy the catalog names up in storage."""
        buckets = {self.tools.buckets[zone] for zone in zones}
        done = 0
        if self.scope.resume_after.startswith(_RECORDS):
            done = int(self.scope.resume_after.removeprefix(_RECORDS))
        ids = islice(
            self.tools.index.ids_in_states(_KEPT, site=self.scope.site, since=self.scope.since),
            done,
            None,
        )
        while page := list(islice(ids, PAGE)):
            records = list(self.tools.index.records(page).values())
            for differences in self._each(lambda r: self._judged_record(r, buckets), records):
                self._suspect(differences, None)
            self.checked["records"] += len(records)
            self.tools.progress("records", self.checked["records"])
            done += len(page)
            if self.scope.zone and self.is_time_up():
                self.resume_after = f"{_RECORDS}{done}"
                return

    def _judged_record(self, record: ObjectRecord, buckets: AbstractSet[str]) -> list[Difference]:
        if self._is_moving(record):
            return []
        found: list[Difference] = []
        kept = kept_at(record)
        if kept and kept.bucket in buckets and not self._is_stored(kept):
            found.append(self._about(DifferenceKind.MISSING_IN_STORAGE, record, kept))
        if record.state is State.PLACED and record.placed:
            archive = self.tools.buckets.get(Zone.ARCHIVE, "")
            if record.placed.bucket in buckets:
                found += self._judged_place(record, record.placed)
            if archive and buckets & {archive, record.placed.bucket}:
                found += self._judged_replica(record, record.placed, archive)
        return found

    def _judged_place(self, record: ObjectRecord, placed: Location) -> list[Difference]:
        found: list[Difference] = []
        class_zone = self.tools.class_zones.get(record.object_class, "")
        if not belongs_in(self.zones.get(placed.bucket), placed.key, class_zone):
            said = f"class {record.object_class or 'unknown'} is not kept there"
            found.append(self._about(DifferenceKind.WRONG_ZONE, record, placed, said))
        # One of the two mates speaks for the pair.
        if record.kind is Kind.FASTQ and record.metadata.get("mate") == "R1":
            pair = self.tools.planner.pair_of(record.object_id)
            if pair and not any(map(self._is_moving, pair.values())):
                run = self.tools.planner.run_over(pair)
                if self.tools.catalog.get_run(run.run_id) is None:
                    kind = DifferenceKind.PIPELINE_NOT_SUBMITTED
                    found.append(self._about(kind, record, None, f"run {run.run_id} is not known"))
        return found

    def _judged_replica(
        self, record: ObjectRecord, placed: Location, archive: str
    ) -> list[Difference]:
        if self.zones.get(placed.bucket) not in REPLICATED:
            return []
        # Replication keeps version ids; a replica restored by hand has its own.
        same = Location(archive, placed.key, placed.version_id)
        if same in self.seen and not self.scope.deep:
            return []
        places = (same, Location(archive, placed.key))
        replicas = [found for found in map(self._described, places) if found]
        if not replicas:
            return [self._about(DifferenceKind.REPLICA_MISSING, record, placed)]
        if all(contradicts(record, replica) for replica in replicas):
            return [self._about(DifferenceKind.REPLICA_DRIFT, record, replicas[0].location)]
        return []

    def _confirm(self) -> None:
        """Look at every suspect once more, with fresh reads: what is in flight has moved on."""
        suspects, self.suspects = self.suspects, []
        self.findings.add(
            suspect
            for (suspect, _), again in zip(suspects, self._each(self._again, suspects), strict=True)
            if again
        )

    def _again(self, suspected: tuple[Difference, ListedVersion | None]) -> bool:
        suspect, row = suspected
        if row is None:
            record = self.tools.catalog.get(suspect.object_id)
            buckets = set(self.tools.buckets.values())
            found = self._judged_record(record, buckets) if record else []
        else:
            if self._described(row.location) is None:
                return False
            zone = Zone(suspect.zone)
            found = self._judged(zone, row, self._records_of(zone, [row]).get(row.location))
        return any(each.kind is suspect.kind for each in found)

    def _suspect(self, differences: Iterable[Difference], row: ListedVersion | None) -> None:
        self.suspects += [(difference, row) for difference in differences]
        if len(self.suspects) >= SUSPECTS:
            self._confirm()

    def _is_moving(self, record: ObjectRecord) -> bool:
        return record.changed_at > self.still_moving

    def _is_stored(self, location: Location) -> bool:
        return location in self.seen or self._described(location) is not None

    def _described(self, location: Location) -> StoredObject | None:
        try:
            return self.tools.store.head(location)
        except ObjectMissingError:
            return None

    def _of_version(
        self,
        kind: DifferenceKind,
        zone: Zone,
        row: ListedVersion,
        name: str = "",
        *,
        site: str = "",
    ) -> Difference:
        return Difference(kind, zone.value, name, site, row.location, size_bytes=row.size_bytes)

    def _of_record(
        self,
        kind: DifferenceKind,
        zone: Zone,
        row: ListedVersion,
        record: ObjectRecord,
        said: str = "",
    ) -> Difference:
        return Difference(
            kind, zone.value, record.object_id, record.site, row.location, said, row.size_bytes
        )

    def _about(
        self, kind: DifferenceKind, record: ObjectRecord, place: Location | None, said: str = ""
    ) -> Difference:
        zone = self.zones.get(place.bucket) if place else Zone.GENOMICS
        said = said or f"its object is {record.state.value}"
        return Difference(
            kind,
            zone.value if zone else "",
            record.object_id,
            record.site,
            place,
            said,
            record.size_bytes,
        )

    def _each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        if self.tools.workers == 1 or len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(self.tools.workers) as pool:
            return list(pool.map(work, items))


def contradicts(record: ObjectRecord, stored: StoredObject) -> bool:
    """Tell whether what storage says of a version is not what is known of its object."""
    if stored.size_bytes != record.size_bytes:
        return True
    if stored.digests:
        return same_bytes(stored.digests, record.evidence) is False
    both = stored.composite and record.composite_checksum
    return bool(both) and stored.composite != record.composite_checksum


def _hash(location: Location) -> int:
    text = f"{location.bucket}\n{location.key}\n{location.version_id}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
