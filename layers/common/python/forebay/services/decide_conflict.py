"""decide_conflict: a steward decides about what was kept aside; the change feed does the rest.

CONFLICT     keep       stays aside, decided
             replace    RECEIVED ─► inspected again ─► takes the holder's names; it is SUPERSEDED
             keep both  RECEIVED ─► inspected again ─► takes a variant of the name
QUARANTINED  release    RECEIVED ─► inspected again; no finding is overruled
"""

from dataclasses import dataclass
from typing import Any

from forebay.domain.conflicts import refusal_of, release_refusal
from forebay.domain.objects import Choice, Decision, ObjectRecord
from forebay.domain.states import State
from forebay.errors import StaleRecordError
from forebay.services.ports import Catalog, Change, Clock

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision stands; `is_new` is False when it was made before."""

    record: ObjectRecord
    is_new: bool


@dataclass(frozen=True, slots=True)
class NotDecided:
    """The decision cannot be made; `reason` is a sentence for the steward."""

    reason: str


@dataclass(frozen=True, slots=True)
class Decide:
    """Record decisions, each in one conditional write: of two stewards at once, one decides."""

    catalog: Catalog
    clock: Clock

    def __call__(
        self, object_id: str, choice: Choice, *, by: str, note: str, overrule: bool = False
    ) -> Decided | NotDecided:
        """Decide about one object; `by` is the AWS identity that decides.

        An earlier decision to keep can be overruled on purpose; the others were carried out.

        Raises:
            StaleRecordError: the record keeps changing; try again.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._decided(object_id, choice, by=by, note=note, overrule=overrule)
            except StaleRecordError:
                continue
        return self._decided(object_id, choice, by=by, note=note, overrule=overrule)

    def _decided(
        self, object_id: str, choice: Choice, *, by: str, note: str, overrule: bool
    ) -> Decided | NotDecided:
        record = self.catalog.get(object_id)
        if record is None:
            return NotDecided(f"No object {object_id} is known.")
        earlier = record.decision
        # What is in quarantine came there after it was decided about: that is another case.
        if earlier and record.state is not State.QUARANTINED:
            if earlier.choice is choice:
                return Decided(record, is_new=False)
            if not (overrule and record.state is State.CONFLICT):
                return NotDecided(_told(record, earlier))
        if reason := self._refusal(record, choice):
            return NotDecided(reason)
        after = self._after(record, Decision(choice, by, self.clock.now(), note))
        self.catalog.apply(Change(record, after))
        return Decided(after, is_new=True)

    def _refusal(self, record: ObjectRecord, choice: Choice) -> str:
        if choice is Choice.RELEASE:
            return release_refusal(record)
        holder = self.catalog.get(record.original_id) if record.original_id else None
        return refusal_of(record, holder, choice)

    def _after(self, record: ObjectRecord, decision: Decision) -> ObjectRecord:
        if decision.choice is Choice.KEEP:
            return record.amended(decision.at, decision=decision)
        facts: dict[str, Any] = {"finding": None, "decision": decision}
        if decision.choice is Choice.RELEASE:
            # Read anew: a later parser may understand what an earlier one did not.
            facts |= {"metadata": {}, "warnings": ()}
        return record.moved_to(State.RECEIVED, decision.at, **facts)


def _told(record: ObjectRecord, earlier: Decision) -> str:
    told = (
        f"{earlier.by} decided about object {record.object_id} on"
        f" {earlier.at:%Y-%m-%d at %H:%M} UTC: {earlier.choice.value}."
    )
    if record.state is State.CONFLICT:
        return f"{told} --overrule decides otherwise."
    return f"{told} That is carried out: the object is {record.state.value}."
