"""recheck_objects: read stored objects again, and heal or convict what is not as it was."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain, islice
from random import Random
from typing import Final

from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.integrity import Algorithm, merged
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.rechecks import (
    SAMPLE_SHARE,
    Bytes,
    LastCheck,
    Reading,
    algorithms_to_read,
    finding_of,
    first_strong,
    pick,
    read_as,
)
from forebay.domain.states import State
from forebay.errors import CopyMismatchError, ObjectMissingError, StaleRecordError
from forebay.names import REPLICATE_YES, Tag, Zone
from forebay.services.inspecting import CHUNK_BYTES
from forebay.services.place_object import (
    REFUSED,
    VERIFIED,
    copy_checksum,
    is_copy_of,
    is_equal,
    source_of,
)
from forebay.services.ports import (
    Catalog,
    Change,
    Clock,
    DigestChunks,
    ObjectStore,
    StoredObject,
    StoredObjects,
)

RUNS_PER_DAY: Final = 24
INTERVAL: Final = timedelta(days=7)
"""An object comes up again in its turn no sooner; the random sample may take it any time."""
READ_SHARE: Final = 0.85
"""Part of a function's time that a run plans to read in; the rest is for what turns up."""
READ_BYTES_PER_SECOND: Final = 50 * 1000**2
LARGE_PER_RUN: Final = 10
_SAMPLE_SIZE: Final = 1000


class Outcome(StrEnum):
    """What a recheck found out about one object."""

    EQUAL = "equal"
    HEALED = "healed"
    CONVICTED = "convicted"
    UNCONFIRMED = "unconfirmed"
    """A difference that a second reading did not show."""
    MOVED = "moved"
    """Not placed any more, or changed by another step meanwhile."""
    TOO_LARGE = "too large"
    """Compared by storage's own checksum only: no run has the time to read it."""


DIFFERENCES: Final = frozenset({Outcome.HEALED, Outcome.CONVICTED, Outcome.UNCONFIRMED})


@dataclass(frozen=True, slots=True)
class Rechecked:
    """One object's outcome; `read_bytes` counts every copy that was read for it."""

    object_id: str
    outcome: Outcome
    read_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Rechecks:
    """What a run did; `failures` are the objects whose check failed for reasons of the world."""

    results: tuple[Rechecked, ...] = ()
    failures: tuple[tuple[str, Exception], ...] = ()

    @property
    def read_bytes(self) -> int:
        """Bytes read."""
        return sum(result.read_bytes for result in self.results)

    def count(self, *outcomes: Outcome) -> int:
        """Return how many objects ended in one of these."""
        return sum(result.outcome in outcomes for result in self.results)


@dataclass(frozen=True, slots=True)
class RecheckObjects:
    """Recheck placed objects; `buckets` are the zones this function was given.

    With `Zone.ARCHIVE` among them, damaged objects heal from their replica there. `read_seconds` is
    how long a run may read; what cannot be read within it is compared by storage's own checksum.
    """

    catalog: Catalog
    store: ObjectStore
    clock: Clock
    stored: StoredObjects
    digest_chunks: DigestChunks
    can_compute: Callable[[Algorithm], bool]
    buckets: Mapping[Zone, str]
    read_seconds: float = 765.0

    def __call__(self, budget_bytes: int) -> Rechecks:
        """Recheck objects worth `budget_bytes`: most of it the longest unread, the rest at random.

        One object's trouble does not keep the others from being read; it is among the `failures`,
        which the caller raises in the end. Confirming and healing read beyond the budget: a damaged
        object must not wait.
        """
        began = self.clock.now()
        chance = Random(f"{began:%Y-%m-%dT%H}")  # noqa: S311 - a sample, no secret
        results: list[Rechecked] = []
        failures: list[tuple[str, Exception]] = []
        for candidate in self._chosen(budget_bytes, began, chance):
            elapsed = (self.clock.now() - began).total_seconds()
            if elapsed + candidate.size_bytes / READ_BYTES_PER_SECOND > self.read_seconds and (
                self._can_read(candidate.size_bytes)
            ):
                continue
            try:
                results.append(self._recheck(candidate.object_id))
            except Exception as exc:  # noqa: BLE001 - raised by the caller, after the others
                failures.append((candidate.object_id, exc))
        return Rechecks(tuple(results), tuple(failures))

    def one(self, object_id: str) -> Rechecked:
        """Recheck one object now, whatever the budget."""
        return self._recheck(object_id)

    def _chosen(self, budget_bytes: int, now: datetime, chance: Random) -> list[LastCheck]:
        large: list[LastCheck] = []
        due = self._readable(self.stored.by_last_check(until=now - INTERVAL), large)
        sample = list(pick(self._sample(now, chance), int(budget_bytes * SAMPLE_SHARE), chance))
        left = max(budget_bytes - sum(each.size_bytes for each in sample), 0)
        chosen = list(pick(due, left, chance))
        large = chance.sample(large, min(LARGE_PER_RUN, len(large)))
        return list({each.object_id: each for each in (*chosen, *sample, *large)}.values())

    def _readable(
        self, candidates: Iterator[LastCheck], large: list[LastCheck]
    ) -> Iterator[LastCheck]:
        for candidate in candidates:
            if self._can_read(candidate.size_bytes):
                yield candidate
            else:
                large.append(candidate)

    def _sample(self, now: datetime, chance: Random) -> list[LastCheck]:
        """Return objects from a random place of the whole queue on, shuffled."""
        oldest = next(self.stored.by_last_check(), None)
        if oldest is None or oldest.at >= now:
            return []
        since = oldest.at + (now - oldest.at) * chance.random()
        around = chain(
            self.stored.by_last_check(since=since), self.stored.by_last_check(until=since)
        )
        found = list(islice(self._readable(around, []), _SAMPLE_SIZE))
        chance.shuffle(found)
        return found

    def _can_read(self, size_bytes: int) -> bool:
        return size_bytes <= self.read_seconds * READ_BYTES_PER_SECOND

    def _recheck(self, object_id: str) -> Rechecked:
        """Recheck one object; every part of it may safely run again.

            read, differs ──► read again ──► refuse readers ──► find whole bytes ──► one write

        A crash anywhere leaves a placed record whose bytes differ: the next run ends the same.
        """
        record = self.catalog.get(object_id)
        if record is None or record.state is not State.PLACED or record.placed is None:
            return Rechecked(object_id, Outcome.MOVED)
        first = self._read(record, record.placed)
        if first.bytes is Bytes.EQUAL:
            return self._confirmed(record, first, Outcome.EQUAL)
        second = self._read(record, record.placed)
        if second.bytes is Bytes.EQUAL:
            again = replace(second, read_bytes=first.read_bytes + second.read_bytes)
            return self._confirmed(record, again, Outcome.UNCONFIRMED)
        spent = first.read_bytes + second.read_bytes
        if second.bytes is Bytes.CHANGED:
            self.store.add_tags(record.placed, {Tag.VERDICT: REFUSED})
        return self._settle(record, record.placed, replace(second, read_bytes=spent))

    def _confirmed(self, record: ObjectRecord, reading: Reading, outcome: Outcome) -> Rechecked:
        if not self._can_read(record.size_bytes):
            # Storage's word is not a reading: the date stays that of the last one.
            plain = Outcome.TOO_LARGE if outcome is Outcome.EQUAL else outcome
            return Rechecked(record.object_id, plain, reading.read_bytes)
        now = self.clock.now()
        digests = merged(record.digests, first_strong(record, reading))
        after = record.amended(now, rechecked_at=now, digests=digests)
        return self._written(record, after, outcome, reading.read_bytes)

    def _settle(self, record: ObjectRecord, damaged: Location, reading: Reading) -> Rechecked:
        spent = reading.read_bytes
        now = self.clock.now()
        for name, source in self._sources(record, damaged):
            found = self._read(record, source)
            spent += found.read_bytes
            if not found.is_proof:
                continue
            warning = finding_of(record, reading, healed_from=name)
            whole = self._brought(record, damaged, source)
            after = record.amended(
                now,
                rechecked_at=now,
                placed=whole,
                version_since=now,
                # Judged anew: it is another version, without the gates of the damaged one.
                policy=record.policy.for_another_version(now) if record.policy else None,
                # They were said of the damaged version.
                metadata={k: v for k, v in record.metadata.items() if k != STORAGE_FACTS},
                warnings=tuple(dict.fromkeys((*record.warnings, warning))),
            )
            written = self._written(record, after, Outcome.HEALED, spent)
            if written.outcome is Outcome.MOVED:
                # No record names it: nobody may read it. Where it is needed, the next run finds it.
                self.store.add_tags(whole, {Tag.VERDICT: REFUSED})
            return written
        finding = finding_of(record, reading)
        after = record.moved_to(State.QUARANTINED, now, rechecked_at=now, finding=finding)
        return self._written(record, after, Outcome.CONVICTED, spent)

    def _written(
        self, record: ObjectRecord, after: ObjectRecord, outcome: Outcome, read_bytes: int
    ) -> Rechecked:
        try:
            self.catalog.apply(Change(record, after))
        except StaleRecordError:
            # Another step moved it: what it is now is checked in its turn.
            return Rechecked(record.object_id, Outcome.MOVED, read_bytes)
        return Rechecked(record.object_id, outcome, read_bytes)

    def _sources(self, record: ObjectRecord, damaged: Location) -> Iterator[tuple[str, Location]]:
        """Yield where whole bytes may be: the zone (an earlier healing), replica, landing copy."""
        latest = self._described(replace(damaged, version_id=""))
        if latest and latest.location != damaged and is_copy_of(record, latest):
            yield "the zone itself", latest.location
        if archive := self.buckets.get(Zone.ARCHIVE):
            # Replication keeps version ids; a replica restored by hand has its own.
            for version_id in (damaged.version_id, ""):
                replica = self._described(Location(archive, damaged.key, version_id))
                if replica and is_copy_of(record, replica):
                    yield "the replica in the archive", replica.location
        yield "the landing bucket", record.location

    def _brought(self, record: ObjectRecord, damaged: Location, source: Location) -> Location:
        """Return the place of whole bytes in the zone, copied there unless they are there."""
        tags: dict[str, str] = {
            Tag.OBJECT_ID: record.object_id,
            Tag.CLASS: record.object_class,
            Tag.RETENTION: record.retention_class,
            Tag.VERDICT: VERIFIED,
        }
        if record.policy and record.policy.replicate:
            # Replication asks for it when the version is made; the gates wait for their evaluation.
            tags[Tag.REPLICATE] = REPLICATE_YES
        if (source.bucket, source.key) == (damaged.bucket, damaged.key):
            self.store.add_tags(source, tags)
            return source
        copy = self.store.copy(
            source_of(record, source),
            replace(damaged, version_id=""),
            checksum=copy_checksum(record),
            tags=tags,
        )
        if not is_equal(record, copy):
            # Until the next run it is the latest under its key.
            self.store.add_tags(copy.location, {Tag.VERDICT: REFUSED})
            raise CopyMismatchError(
                f"the copy that was to heal object {record.object_id} has another checksum than its"
                " source; it does not count and will be made again"
            )
        return copy.location

    def _read(self, record: ObjectRecord, location: Location) -> Reading:
        try:
            if not self._can_read(record.size_bytes):
                return self._asked(record, location)
            algorithms = algorithms_to_read(record, self.can_compute)
            chunks = self.store.chunks(location, CHUNK_BYTES)
            digests, size = self.digest_chunks(chunks, algorithms)
            reading = read_as(record, size_bytes=size, digests=digests, read_bytes=size)
            if reading.bytes is Bytes.EQUAL and not reading.is_proof:
                asked = self._asked(record, location)
                return replace(asked, digests=digests, read_bytes=size)
        except ObjectMissingError:
            return Reading(Bytes.MISSING)
        return reading

    def _asked(self, record: ObjectRecord, location: Location) -> Reading:
        """Compare by what storage says of a version, without reading it."""
        said = self.store.head(location)
        return read_as(
            record, size_bytes=said.size_bytes, digests=said.digests, composite=said.composite
        )

    def _described(self, location: Location) -> StoredObject | None:
        try:
            return self.store.head(location)
        except ObjectMissingError:
            return None


def budget_per_run(bytes_per_day: int) -> int:
    """Return a run's part of a day's budget."""
    return bytes_per_day // RUNS_PER_DAY
