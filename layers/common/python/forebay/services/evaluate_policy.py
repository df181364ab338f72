"""evaluate_policy: keep each stored object as policy wants it, and say in its record why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from forebay.domain.classification import facts_of
from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.access import is_moved
from forebay.domain.policy.decision import (
    NONE,
    REMOVE_NOW,
    Action,
    PolicyDecision,
    Violation,
    is_directed,
)
from forebay.domain.policy.exceptions import PolicyException
from forebay.domain.policy.standing import (
    access_scope,
    moved_by_idle_time,
    storage_class_of,
    was_idle,
)
from forebay.domain.policy.storage_classes import StorageClass, is_colder, needs_restore
from forebay.domain.rechecks import is_readable
from forebay.domain.states import State
from forebay.errors import CopyMismatchError, MessageError, ObjectMissingError, StaleRecordError
from forebay.events import utc_text
from forebay.names import HOLD_LEGAL, Tag, Zone
from forebay.services.judging import GATES, Judge, is_held, tags_for
from forebay.services.place_object import (
    REFUSED,
    SUPERSEDED,
    VERIFIED,
    copy_checksum,
    is_copy_of,
    is_equal,
    source_of,
)
from forebay.services.ports import (
    Change,
    Clock,
    Exceptions,
    ObjectsInScope,
    ObjectStore,
    ReopenedScopes,
    Shelf,
    StoredObject,
    Vault,
)

RESTORE_DAYS: Final = 7
"""How long a restored copy is kept: the copy into STANDARD is made within hours of it."""
WORKER_LIFE: Final = timedelta(minutes=16)
"""After that a worker that was overtaken is dead: Lambda ends it after 15."""
INDEX_LAG: Final = timedelta(minutes=2)
"""After that the indexes list what was placed before an exception was approved."""
WARMED_FROM: Final = "warmed_from"
"""Fact of storage: the version an object was copied from when it was brought back."""

_STORED: Final = frozenset({State.PLACED, State.SUPERSEDED})
_ATTEMPTS: Final = 3
_PAGE: Final = 200
_PENDING: Final = 50


class Outcome(StrEnum):
    """What came of the evaluation of one object."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    RESTORING = "restoring"
    """A readable copy was asked for, or is being made."""
    WARMED = "warmed"
    GONE = "gone"
    """No stored copy of it counts any more: there is nothing to decide."""


@dataclass(frozen=True, slots=True)
class Order:
    """Who had objects classified and judged anew; `by` is an AWS identity.

    Without `approved_by` nothing is removed earlier than was decided before.
    """

    by: str
    note: str = ""
    plan_id: str = ""
    approved_by: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return what a decision keeps of it."""
        said = {
            "by": self.by,
            "note": self.note,
            "plan_id": self.plan_id,
            "approved_by": self.approved_by,
        }
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One object's outcome; `late_seconds` is how long it had been due, 0 when it was not."""

    object_id: str
    outcome: Outcome
    before: PolicyDecision | None = None
    after: PolicyDecision | None = None
    late_seconds: float = 0.0


@dataclass(slots=True)
class Evaluations:
    """What a run did; `failures` are objects and exceptions with what kept them from their end."""

    results: list[Evaluated] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    exceptions_reached: int = 0

    def count(self, *outcomes: Outcome) -> int:
        """Return how many objects ended in one of these."""
        return sum(result.outcome in outcomes for result in self.results)

    @property
    def late_seconds(self) -> float:
        """How long the longest due object had waited."""
        return max((result.late_seconds for result in self.results), default=0.0)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an exception came; what is not complete goes on in the next run."""

    exception_id: str
    reached: int
    is_complete: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the answer to who asked."""
        return {
            "exception_id": self.exception_id,
            "reached": self.reached,
            "is_complete": self.is_complete,
        }


@dataclass(frozen=True, slots=True)
class _Seen:
    """A stored version as storage shows it."""

    shelf: Shelf
    tags: Mapping[str, str]

    @property
    def is_held(self) -> bool:
        return self.shelf.has_legal_hold or self.tags.get(Tag.HOLD) == HOLD_LEGAL


@dataclass(frozen=True, slots=True)
class EvaluatePolicy:
    """Evaluate stored objects; `buckets` are the zones, `seconds` how long one run may take.

    One object's evaluation, every part of which may safely run again:

        look ──► close gates, hold ──► record (one conditional write) ──► open gates, lift hold
             │                     │          due again at once       │                    │
             │                     │                                  │      record: settled│
             └── crash: nothing    └── crash: closed too much,        └── crash: due, opened
                 was done              opened by the next                 by the next

    Where nothing is to be opened or brought back the first write is the last. An evaluation that
    finds another one unsettled may have overtaken it: it comes back when the other must be dead,
    since that one might still open what this one closed.

    Bringing an object back:

        restore ──► (hours) ──► copy onto its own key, closed ──► record: another version
                                                              ──► old version: lifecycle may take it
    """

    judge: Judge
    store: ObjectStore
    vault: Vault
    clock: Clock
    exceptions: Exceptions
    scope: ObjectsInScope
    buckets: Mapping[Zone, str]
    seconds: float = 600.0
    reopened: ReopenedScopes | None = None

    def __call__(self) -> Evaluations:
        """Carry out changed exceptions, then what is due, as far as time goes.

        One object's trouble does not keep the others from being evaluated; it is among the
        `failures`, which the caller raises in the end.
        """
        done = Evaluations()
        is_over = self._timer()
        for exception in self.exceptions.pending(_PENDING):
            if is_over():
                break
            reach = self._carry_out(exception, done, is_over)
            done.exceptions_reached += reach.is_complete
        self._look_at_reopened(done, is_over)
        self._work_off(done, is_over)
        return done

    def due(self) -> Evaluations:
        """Evaluate what is due, the longest due first, as far as time goes."""
        done = Evaluations()
        self._work_off(done, self._timer())
        return done

    def exception(self, exception_id: str) -> Reach:
        """Bring a changed exception to every object in its scope, as far as time goes.

        Raises:
            MessageError: nobody ever asked for such an exception.
            ExceptionGroup: some objects could not be evaluated; the others were.
        """
        exception = self.exceptions.get(exception_id)
        if exception is None:
            raise MessageError(
                f"exception_id: expected the id of an exception, found {exception_id!r}, which"
                " the catalog does not know; `forebay exceptions list` names all"
            )
        done = Evaluations()
        reach = self._carry_out(exception, done, self._timer())
        if done.failures:
            raise ExceptionGroup(
                f"exception {exception_id} did not reach {len(done.failures)} objects",
                [failure for _, failure in done.failures],
            )
        return reach

    def objects(self, object_ids: Sequence[str], order: Order) -> Evaluations:
        """Classify objects anew and evaluate each; the order is kept in their decisions."""
        done = Evaluations()
        for object_id in object_ids:
            self._try(object_id, done, order)
        return done

    def one(self, object_id: str, *, order: Order | None = None) -> Evaluated:
        """Evaluate one object now; with an `order` its class is chosen anew.

        Raises:
            PolicyError: no class is known for it.
            Trouble: storage or catalog failed; try again.
        """
        for _ in range(_ATTEMPTS - 1):
            with suppress(StaleRecordError):
                return self._evaluated(object_id, order)
        return self._evaluated(object_id, order)

    def _timer(self) -> Callable[[], bool]:
        end = self.clock.now() + timedelta(seconds=self.seconds)
        return lambda: self.clock.now() >= end

    def _work_off(self, done: Evaluations, is_over: Callable[[], bool]) -> None:
        tried: set[str] = set()
        while not is_over():
            # The index lags, and what failed stays due: both stand before what is still to do.
            listed = self.judge.book.due(self.clock.now(), _PAGE + len(tried))
            fresh = [object_id for object_id in listed if object_id not in tried]
            if not fresh:
                return
            for object_id in fresh[:_PAGE]:
                if is_over():
                    return
                tried.add(object_id)
                self._try(object_id, done)
            tried &= {*listed}

    def _try(self, object_id: str, done: Evaluations, order: Order | None = None) -> bool:
        try:
            done.results.append(self.one(object_id, order=order))
        except Exception as exc:  # noqa: BLE001 - raised by the caller, after the others
            done.failures.append((object_id, exc))
            return False
        return True

    # ---- what is read again

    def _look_at_reopened(self, done: Evaluations, is_over: Callable[[], bool]) -> None:
        """Evaluate what lies elsewhere of scopes that were read again; others need no look."""
        if self.reopened is None:
            return
        for opened in self.reopened.pending(_PENDING):
            is_complete = True
            for object_id in self.scope.objects(opened.scope):
                if is_over():
                    return
                record = self.judge.catalog.get(object_id)
                if record is None or access_scope(record) != opened.scope or not is_moved(record):
                    continue
                is_complete &= self._try(object_id, done)
            if is_complete:
                self.reopened.seen(opened)

    # ---- exceptions

    def _carry_out(
        self, exception: PolicyException, done: Evaluations, is_over: Callable[[], bool]
    ) -> Reach:
        """Evaluate what an exception reaches and does not show it yet; begun anew, it goes on."""
        counts = exception.is_active(self.clock.now())
        reached, is_complete = 0, True
        for object_id in self.scope.objects(exception.scope):
            if is_over():
                is_complete = False
                break
            record = self.judge.catalog.get(object_id)
            if record is None or not self._is_reachable(record):
                # What is being placed right now may have been decided about before.
                is_complete &= record is None or record.state is not State.VERIFIED
                continue
            if _needs(record, exception.exception_id, self.clock.now(), counts=counts):
                is_complete &= self._try(object_id, done)
                record = self.judge.catalog.get(object_id) or record
            is_complete &= record.policy is None or not record.policy.unsettled
            reached += 1
        changed_at = exception.ended_at or exception.decided_at or exception.requested_at
        # What was placed just before may not be listed yet: the next run looks once more.
        if is_complete and self.clock.now() >= changed_at + INDEX_LAG:
            self.exceptions.reached(exception)
        return Reach(exception.exception_id, reached, is_complete)

    def _is_reachable(self, record: ObjectRecord) -> bool:
        return record.state in _STORED and record.placed is not None

    # ---- one object

    def _evaluated(self, object_id: str, order: Order | None) -> Evaluated:
        record = self.judge.catalog.get(object_id)
        if record is None or record.placed is None or record.state not in _STORED:
            return Evaluated(object_id, Outcome.GONE)
        now = self.clock.now()
        seen = _Seen(self.vault.storage_class(record.placed), self.store.tags(record.placed))
        judged = self._classified(_shelved(record, seen.shelf, now), order)
        is_approved = order is not None and bool(order.approved_by)
        decision = self._decided(judged, record, seen, now, is_approved=is_approved)
        if was_idle(record) and not is_directed(decision.tiering):
            judged = moved_by_idle_time(judged)
        late = _late_seconds(record, now)
        warms = decision.action is Action.WARM and record.state is State.PLACED
        is_same = decision.is_same(record.policy) and judged.object_class == record.object_class
        if is_same and not warms:
            return Evaluated(object_id, Outcome.UNCHANGED, record.policy, record.policy, late)
        if order:
            decision = replace(decision, because=order.as_dict())
        after = self._settled(judged, record, decision, seen)
        if after.placed != record.placed:
            again = self._evaluated(object_id, None)
            return replace(again, outcome=Outcome.WARMED, before=record.policy, late_seconds=late)
        outcome = Outcome.RESTORING if warms else Outcome.CHANGED
        return Evaluated(object_id, outcome, record.policy, after.policy, late)

    def _classified(self, record: ObjectRecord, order: Order | None) -> ObjectRecord:
        """Return the record with its class, chosen anew when asked or when there is none such.

        Nothing is copied between zones: what a rule would put elsewhere keeps its class.
        """
        policy = self.judge.classifier.policy
        if order is None and record.object_class in policy.classes:
            return record
        chosen = self.judge.classifier.classify(facts_of(record))
        bucket = self.buckets.get(Zone(chosen.zone))
        if record.placed is None or bucket != record.placed.bucket:
            return record
        return replace(
            record,
            object_class=chosen.object_class,
            class_rule=chosen.rule,
            retention_class=chosen.retention_class,
        )

    def _decided(
        self,
        judged: ObjectRecord,
        stored: ObjectRecord,
        seen: _Seen,
        now: datetime,
        *,
        is_approved: bool,
    ) -> PolicyDecision:
        decision = self.judge.decision(
            judged, now, is_replicated=seen.shelf.is_replicated, is_approved=is_approved
        )
        found = list(decision.violations)
        if stored.policy and not stored.policy.unsettled:
            wanted = tags_for(stored, stored.policy)
            found += [Violation.MISSING_TAG] if not wanted.items() <= seen.tags.items() else []
        if not seen.shelf.is_encrypted:
            found.append(Violation.UNENCRYPTED)
        decision = replace(decision, violations=tuple(found))
        if _overtakes(stored.policy, now):
            return replace(decision, unsettled=True, evaluate_at=now + WORKER_LIFE)
        return decision

    def _settled(
        self, judged: ObjectRecord, stored: ObjectRecord, decision: PolicyDecision, seen: _Seen
    ) -> ObjectRecord:
        """Bring a version and its record to what was decided, in the order drawn above.

        A record that names another version by then has no decision yet.
        """
        place = _place(judged)
        wanted = tags_for(judged, decision)
        holds = is_held(decision)
        if holds and not seen.shelf.has_legal_hold:
            self.vault.set_legal_hold(place, on=True)
        closed = _closing(seen.tags, wanted)
        if closed:
            self.vault.set_tags(place, closed)
        opened = _opening({**seen.tags, **closed}, wanted)
        lifts = seen.is_held and not holds
        self._retire_earlier(stored, place)
        warms = decision.action is Action.WARM and stored.state is State.PLACED
        if not opened and not lifts and not warms:
            return self._written(stored, judged, decision)
        first = replace(decision, unsettled=True, evaluate_at=decision.decided_at)
        written = self._written(stored, judged, first)
        if lifts:
            self.vault.set_legal_hold(place, on=False)
        if opened:
            self.vault.set_tags(place, opened)
        if warms and (back := self._warmed(written, seen)):
            return back
        return self._written(written, written, decision)

    def _written(
        self, before: ObjectRecord, judged: ObjectRecord, decision: PolicyDecision
    ) -> ObjectRecord:
        after = before.amended(
            self.clock.now(),
            policy=decision,
            object_class=judged.object_class,
            class_rule=judged.class_rule,
            retention_class=judged.retention_class,
            metadata=judged.metadata,
        )
        self.judge.catalog.apply(Change(before, after))
        return after

    # ---- back into STANDARD

    def _warmed(self, record: ObjectRecord, seen: _Seen) -> ObjectRecord | None:
        """Return the record with its copy in STANDARD, None while that must wait for a restore."""
        place = _place(record)
        if not _can_be_read(record, seen.shelf):
            if not seen.shelf.is_restoring:
                self.vault.restore(place, days=RESTORE_DAYS)
            return None
        copy = self._copy_of(record, place)
        now = self.clock.now()
        facts = {WARMED_FROM: {"value": place.version_id, "at": utc_text(now)}}
        after = record.amended(
            now,
            placed=copy.location,
            version_since=now,
            # It is another version, and was never judged: its gates are closed.
            policy=record.policy.for_another_version(now) if record.policy else None,
            metadata={**record.metadata, STORAGE_FACTS: facts},
        )
        self.judge.catalog.apply(Change(record, after))
        return after

    def _copy_of(self, record: ObjectRecord, place: Location) -> StoredObject:
        """Return an equal copy under the same key, be it of an attempt that died after it."""
        tags = {
            Tag.OBJECT_ID.value: record.object_id,
            Tag.CLASS.value: record.object_class,
            Tag.RETENTION.value: record.retention_class,
            Tag.VERDICT.value: VERIFIED,
            Tag.TIERING.value: NONE,
            Tag.REMOVAL.value: NONE,
        }
        if earlier := self._earlier_copy(record, place):
            self.vault.set_tags(earlier.location, tags)
            return earlier
        if record.policy and record.policy.replicate:
            tags |= {Tag.REPLICATE.value: tags_for(record, record.policy)[Tag.REPLICATE]}
        source = source_of(record, place)
        copy = self.vault.warm(source, checksum=copy_checksum(record), tags=tags)
        if not is_equal(record, copy):
            self.store.add_tags(copy.location, {Tag.VERDICT: REFUSED})
            raise CopyMismatchError(
                f"the copy of object {record.object_id} into STANDARD has another checksum than"
                " its source; it does not count and will be made again"
            )
        return copy

    def _earlier_copy(self, record: ObjectRecord, place: Location) -> StoredObject | None:
        latest = self.store.head(replace(place, version_id=""))
        is_another = latest.location != place
        if not (is_another and is_copy_of(record, latest) and is_equal(record, latest)):
            return None
        shelf = self.vault.storage_class(latest.location)
        return latest if shelf.storage_class is StorageClass.STANDARD else None

    def _retire_earlier(self, stored: ObjectRecord, place: Location) -> None:
        """Let lifecycle take the version an object was brought back from; readers have the new."""
        facts: Mapping[str, Any] = stored.metadata.get(STORAGE_FACTS, {})
        version = facts.get(WARMED_FROM, {}).get("value", "")
        is_done = stored.policy is not None and not stored.policy.unsettled
        if not version or is_done:
            return
        tags = {Tag.VERDICT: SUPERSEDED, Tag.TIERING: NONE, Tag.REMOVAL: REMOVE_NOW}
        with suppress(ObjectMissingError):
            self.vault.set_tags(replace(place, version_id=version), _plain(tags))


def _place(record: ObjectRecord) -> Location:
    if record.placed is None:
        raise ObjectMissingError(f"object {record.object_id} has no placed copy")
    return record.placed


def _plain(tags: Mapping[Tag, str]) -> dict[str, str]:
    return {tag.value: value for tag, value in tags.items()}


def _closing(seen: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the tags to set before the record says so: all but those that open a gate.

    A gate that opens for another class is closed first.
    """
    tags = {name: value for name, value in wanted.items() if seen.get(name) != value}
    for gate in GATES:
        if tags.get(gate, NONE) == NONE:
            continue
        if seen.get(gate, NONE) == NONE:
            del tags[gate]
        else:
            tags[gate.value] = NONE
    return tags


def _opening(seen: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the tags to set after the record says so."""
    tags = {name: value for name, value in wanted.items() if seen.get(name) != value}
    if Tag.HOLD not in wanted and seen.get(Tag.HOLD, NONE) != NONE:
        tags[Tag.HOLD.value] = NONE
    return tags


def _shelved(record: ObjectRecord, shelf: Shelf, now: datetime) -> ObjectRecord:
    """Return the record with the storage class that storage shows, where no event told of it.

    A version gets colder in place, never warmer: of the two the colder is true. It was moved some
    time after that was decided; who read it since then may have waited for it.
    """
    if not is_colder(shelf.storage_class, storage_class_of(record)):
        return record
    facts: Mapping[str, Any] = record.metadata.get(STORAGE_FACTS, {})
    since = record.policy.decided_at if record.policy else None
    said = {"value": shelf.storage_class.value, "at": utc_text(since or now)}
    known = {**facts, "storage_class": said}
    return replace(record, metadata={**record.metadata, STORAGE_FACTS: known})


def _can_be_read(record: ObjectRecord, shelf: Shelf) -> bool:
    return shelf.is_readable if needs_restore(shelf.storage_class) else is_readable(record)


def _overtakes(stored: PolicyDecision | None, now: datetime) -> bool:
    """Tell whether somebody may still be about to open gates after an earlier decision."""
    if stored is None or not stored.unsettled or stored.decided_at is None:
        return False
    return now < stored.decided_at + WORKER_LIFE


def _needs(record: ObjectRecord, exception_id: str, now: datetime, *, counts: bool) -> bool:
    """Tell whether a record does not show yet whether an exception counts."""
    said = record.policy
    if said is None or (exception_id in said.exceptions) is not counts:
        return True
    return said.unsettled and said.evaluate_at is not None and said.evaluate_at <= now


def _late_seconds(record: ObjectRecord, now: datetime) -> float:
    at = record.policy.evaluate_at if record.policy else record.state_since
    return max(0.0, (now - at).total_seconds()) if at else 0.0


def answers(done: Evaluations) -> Iterator[dict[str, Any]]:
    """Yield what is told of each object that was evaluated on order."""
    for result in done.results:
        yield {
            "object_id": result.object_id,
            "changed": result.outcome not in (Outcome.UNCHANGED, Outcome.GONE),
            "class": result.after.object_class if result.after else "",
            "decision": result.after.as_dict() if result.after else {},
        }
    for object_id, failure in done.failures:
        yield {
            "object_id": object_id,
            "changed": False,
            "class": "",
            "decision": {},
            "error": type(failure).__name__,
        }
