"""repair_storage: carry out a repair plan, each part of which may safely run again."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Protocol

from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.rechecks import Bytes, Reading, finding_of
from forebay.domain.reconciliation import (
    COPIED,
    HELD,
    REFUSED,
    VERIFIED,
    Action,
    Difference,
    Repair,
    counted_copy,
    expected_tags,
    kept_at,
    landing_of,
)
from forebay.domain.removals import without_copy, without_source
from forebay.domain.states import State
from forebay.errors import ObjectMissingError, StaleRecordError
from forebay.events import utc_text
from forebay.names import LANDING_NEEDED, LANDING_SETTLED, Step, Tag, Zone
from forebay.services.place_object import OBJECT_ID_METADATA, copy_checksum, is_equal
from forebay.services.ports import Catalog, Change, Clock, ObjectStore, Queues, StoredObject
from forebay.services.reconcile_storage import Locks, contradicts
from forebay.services.redriving import envelope

LEDGER_FOLDER: Final = "reconciliation"


class Outcome(StrEnum):
    """What became of one action."""

    DONE = "done"
    NOT_NEEDED = "not needed"
    """Somebody else mended it meanwhile."""
    LEFT = "left to a person"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Repaired:
    """One action and what became of it; `said` is a sentence where there is more to say."""

    action: Action
    outcome: Outcome
    said: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape of the ledger and the command line."""
        return {
            "repair": self.action.repair.value,
            "difference": self.action.difference.as_dict(),
            "outcome": self.outcome.value,
            "said": self.said,
        }


class Uploads(Protocol):
    """Multipart uploads that were never completed."""

    def abort(self, location: Location, upload_id: str) -> bool:
        """Throw the parts away; False when the upload is no more."""


@dataclass(frozen=True, slots=True)
class RepairStorage:
    """Repair differences; `recheck` reads one placed object and heals or convicts it."""

    catalog: Catalog
    store: ObjectStore
    queues: Queues
    uploads: Uploads
    locks: Locks
    clock: Clock
    recheck: Callable[[str], object]
    buckets: Mapping[Zone, str]

    def __call__(
        self, actions: Iterable[Action], *, by: str, report_id: str
    ) -> tuple[Repaired, ...]:
        """Carry out a plan and write down who did, before and after.

        One action's trouble does not keep the others from being done. No stored byte is deleted.
        """
        plan = tuple(actions)
        self._write_down(report_id, "begun", by, [action.difference.as_dict() for action in plan])
        done = tuple(self._carried_out(action) for action in plan)
        self._write_down(report_id, "ended", by, [each.as_dict() for each in done])
        return done

    def _carried_out(self, action: Action) -> Repaired:
        try:
            outcome, said = self._handlers()[action.repair](action.difference)
        except StaleRecordError:
            return Repaired(action, Outcome.NOT_NEEDED, "The record moved on meanwhile.")
        except ObjectMissingError:
            return Repaired(action, Outcome.NOT_NEEDED, "The version is not in storage any more.")
        except Exception as exc:  # noqa: BLE001 - told for this action; the others go on
            return Repaired(action, Outcome.FAILED, f"{type(exc).__name__}: {exc}")
        return Repaired(action, outcome, said)

    def _handlers(self) -> Mapping[Repair, Callable[[Difference], tuple[Outcome, str]]]:
        return {
            Repair.REGISTER: self._register,
            Repair.READMIT: self._readmit,
            Repair.PLACE: self._place,
            Repair.REFUSE: self._refuse,
            Repair.RESTORE: self._restore,
            Repair.RECHECK: self._recheck,
            Repair.TAG: self._tag,
            Repair.LOCK: self._lock,
            Repair.SETTLE: self._settle,
            Repair.REPLICATE: self._replicate,
            Repair.ABORT: self._abort,
            Repair.SUBMIT: self._submit,
        }

    def _register(self, difference: Difference) -> tuple[Outcome, str]:
        self._tell_of(_place_of(difference), difference.size_bytes)
        return Outcome.DONE, ""

    def _tell_of(self, place: Location, size_bytes: int) -> None:
        """Say what S3 says of a new version, or would have said."""
        body = {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {
                "bucket": {"name": place.bucket},
                "object": {
                    "key": place.key,
                    "size": size_bytes,
                    **({"version-id": place.version_id} if place.version_id else {}),
                },
            },
        }
        self.queues.send(Step.REGISTER_OBJECT, [json.dumps(body)])

    def _readmit(self, difference: Difference) -> tuple[Outcome, str]:
        place = _place_of(difference)
        arrival = landing_of(Zone(difference.zone), place.key, difference.object_id)
        if arrival is None:
            return Outcome.LEFT, "Nothing says where it came from; `forebay rebuild` may know."
        zone, key = arrival
        target = Location(self.buckets[zone], key)
        stored = self.store.head(place)
        if self._is_there(target, stored):
            return Outcome.NOT_NEEDED, "It has arrived again already."
        algorithm = next((digest.algorithm for digest in stored.digests), None)
        made = self.store.copy(replace(stored, metadata={}), target, checksum=algorithm, tags={})
        self._tell_of(made.location, made.size_bytes)
        return Outcome.DONE, ""

    def _is_there(self, target: Location, stored: StoredObject) -> bool:
        try:
            found = self.store.head(target)
        except ObjectMissingError:
            return False
        return (found.size_bytes, set(found.digests)) == (stored.size_bytes, set(stored.digests))

    def _place(self, difference: Difference) -> tuple[Outcome, str]:
        record = self._record(difference)
        self._redrive_placement(record)
        return Outcome.DONE, ""

    def _redrive_placement(self, record: ObjectRecord, **changes: Any) -> None:
        # Counted, so that place_object looks for the copy an earlier try has made.
        after = record.amended(self.clock.now(), redrives=record.redrives + 1, **changes)
        self.catalog.apply(Change(record, after))
        self.queues.send(Step.PLACE_OBJECT, [envelope(after)])

    def _submit(self, difference: Difference) -> tuple[Outcome, str]:
        self.queues.send(Step.SUBMIT_PIPELINE, [envelope(self._record(difference))])
        return Outcome.DONE, ""

    def _refuse(self, difference: Difference) -> tuple[Outcome, str]:
        record, place = self._record(difference), _place_of(difference)
        if place == record.placed and record.state is State.PLACED:
            return Outcome.NOT_NEEDED, "Its object is kept there now."
        self.store.add_tags(place, {Tag.VERDICT: REFUSED})
        return Outcome.DONE, ""

    def _tag(self, difference: Difference) -> tuple[Outcome, str]:
        record, place = self._record(difference), _place_of(difference)
        expected = expected_tags(record, place) if place in (record.placed, record.held) else {}
        if not expected:
            return Outcome.NOT_NEEDED, "Its object is under way, or kept elsewhere."
        is_opened = expected[Tag.VERDICT] == VERIFIED
        if is_opened and not is_equal(record, self.store.head(place)):
            # Never open to readers what is not proven.
            return Outcome.LEFT, "Its bytes are not those of the record: the recheck comes first."
        self.store.add_tags(place, expected)
        return Outcome.DONE, ""

    def _settle(self, difference: Difference) -> tuple[Outcome, str]:
        self.store.add_tags(_place_of(difference), {Tag.LANDING: LANDING_SETTLED})
        return Outcome.DONE, ""

    def _lock(self, difference: Difference) -> tuple[Outcome, str]:
        self.locks.lock(_place_of(difference))
        return Outcome.DONE, ""

    def _abort(self, difference: Difference) -> tuple[Outcome, str]:
        aborted = self.uploads.abort(_place_of(difference), difference.upload_id)
        return (Outcome.DONE if aborted else Outcome.NOT_NEEDED), ""

    def _restore(self, difference: Difference) -> tuple[Outcome, str]:
        """Bring lost bytes back, or record that there are none: either way one outcome."""
        record = self._record(difference)
        kept = kept_at(record)
        if kept is None or self._lies_at(kept):
            return Outcome.NOT_NEEDED, "Its bytes are where its record says."
        if record.state is State.PLACED:
            return self._recheck(difference)
        if record.state in HELD and record.held and self._lies_at(record.location):
            self._redrive_placement(record, held=None)
            return Outcome.DONE, "It is held anew from its arrival."
        if record.state is State.VERIFIED:
            self._redrive_placement(record)
            return Outcome.DONE, "place_object records that it is gone."
        now = self.clock.now()
        copy = record.placed if record.state in COPIED else record.held
        after = (
            without_copy(record, copy, now, by_lifecycle=False)
            if copy
            else without_source(record, now)
        )
        if after is None:
            return Outcome.LEFT, "No equal bytes are left."
        self.catalog.apply(Change(record, after))
        return Outcome.DONE, "No equal bytes are left; the catalog says so now."

    def _recheck(self, difference: Difference) -> tuple[Outcome, str]:
        record, place = self._record(difference), _place_of(difference)
        if record.state is not State.PLACED:
            return self._note_damage(record, place)
        said = getattr(self.recheck(difference.object_id), "outcome", "")
        return Outcome.DONE, f"The recheck says: {said}." if said else ""

    def _note_damage(self, record: ObjectRecord, place: Location) -> tuple[Outcome, str]:
        """Record that a copy kept aside or on its way is damaged, or replace it by its arrival."""
        if place != counted_copy(record) or place == record.location:
            return Outcome.LEFT, "Only copies are read again."
        stored = self.store.head(place)
        if not contradicts(record, stored):
            return Outcome.NOT_NEEDED, "Storage says nothing else of it now."
        if record.state not in COPIED and self._is_whole(record, record.location):
            return self._without_damaged(record, place)
        reading = Reading(Bytes.CHANGED, stored.digests, stored.size_bytes)
        finding = finding_of(record, reading, copy=place)
        now = self.clock.now()
        if record.state in (State.RECEIVED, State.VERIFIED):
            after = record.moved_to(State.QUARANTINED, now, finding=finding)
        else:
            # Why it was refused or superseded remains true, and remains what is said first.
            after = record.amended(now, warnings=(*record.warnings, finding))
        self.catalog.apply(Change(record, after))
        return Outcome.DONE, "No whole bytes are left; the record says so now."

    def _without_damaged(self, record: ObjectRecord, copy: Location) -> tuple[Outcome, str]:
        """Let a whole arrival stand for a damaged copy again; until then it must not expire."""
        self.store.add_tags(record.location, {Tag.LANDING: LANDING_NEEDED})
        forgotten = {"held": None} if copy == record.held else {"placed": None}
        if record.state in HELD:
            self._redrive_placement(record, **forgotten)
            return Outcome.DONE, "It is held anew from its arrival."
        self.catalog.apply(Change(record, record.amended(self.clock.now(), **forgotten)))
        return Outcome.DONE, "Its arrival is whole, and is read in its stead."

    def _is_whole(self, record: ObjectRecord, place: Location) -> bool:
        try:
            return is_equal(record, self.store.head(place))
        except ObjectMissingError:
            return False

    def _replicate(self, difference: Difference) -> tuple[Outcome, str]:
        record = self._record(difference)
        if record.placed is None or record.state is not State.PLACED:
            return Outcome.NOT_NEEDED, f"Its object is {record.state.value} now."
        source = self.store.head(record.placed)
        if not is_equal(record, source):
            return Outcome.LEFT, "The placed copy is damaged itself; the recheck comes first."
        archive = self.buckets[Zone.ARCHIVE]
        if self._is_there(Location(archive, record.placed.key), source):
            return Outcome.NOT_NEEDED, "An equal replica is there."
        copy = self.store.copy(
            replace(source, metadata={OBJECT_ID_METADATA: record.object_id}),
            Location(archive, record.placed.key),
            checksum=copy_checksum(record),
            tags=expected_tags(record, record.placed),
        )
        if not is_equal(record, copy):
            return Outcome.FAILED, "The replica has another checksum than its source."
        return Outcome.DONE, ""

    def _lies_at(self, location: Location) -> bool:
        try:
            self.store.head(location)
        except ObjectMissingError:
            return False
        return True

    def _record(self, difference: Difference) -> ObjectRecord:
        record = self.catalog.get(difference.object_id)
        if record is None:
            raise ObjectMissingError(f"object {difference.object_id} is not in the catalog")
        return record

    def _write_down(self, report_id: str, what: str, by: str, about: list[Any]) -> None:
        now = self.clock.now()
        body = {"report_id": report_id, "what": what, "by": by, "at": utc_text(now), "about": about}
        write_to_ledger(
            self.store, self.buckets[Zone.LEDGER], f"{now:%Y/%m/%d}/{report_id}-{what}.json", body
        )


def write_to_ledger(store: ObjectStore, bucket: str, name: str, body: Mapping[str, Any]) -> None:
    """Write a document of a reconciliation where it cannot be changed any more."""
    location = Location(bucket, f"{LEDGER_FOLDER}/{name}")
    data = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    store.put(location, data, content_type="application/json")


def _place_of(difference: Difference) -> Location:
    if difference.location is None:
        raise ObjectMissingError(f"a difference of kind {difference.kind} names no version")
    return difference.location
