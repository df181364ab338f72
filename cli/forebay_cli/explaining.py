"""Why an object is where it is, when it will move, and why it cannot be deleted.

All of it is read from what was decided and stored at the time, never decided again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.decision import Action, Level, PolicyDecision, Say
from forebay.domain.states import State
from forebay.events import utc_text
from forebay_cli.commands.show import FoundObject, FoundSeveral
from forebay_cli.failures import CommandError

_FORBIDS: Final = (Level.LEGAL_HOLD, Level.RETENTION_FLOOR, Level.EXCEPTION, Level.PIN)
_NEXT: Final = {
    Action.NOTHING: "It stays as it is.",
    Action.MOVE: "It moves to {to} on {at}.",
    Action.WARM: "It is being brought back to {to}, to be read at once.",
    Action.REMOVE: "It is removed on {at}: its bucket's lifecycle does it.",
    Action.REVIEW: "Its time is over on {at}; somebody then approves its disposition, or keeps it.",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was decided about one object, or about several of which the same was decided."""

    records: tuple[ObjectRecord, ...]
    decision: PolicyDecision | None

    @property
    def first(self) -> ObjectRecord:
        """One of them, to speak of where it lies."""
        return self.records[0]

    @property
    def why_here(self) -> str:
        """Why it is here."""
        record = self.first
        if record.state is not State.PLACED and not self.decision:
            reason = f": {record.finding.message}" if record.finding else "."
            return f"It is {record.state.value}{reason}"
        chosen = self._line(Level.CLASS, "is ")
        if chosen is None:
            return f"It was placed as {record.object_class} by the rule: {record.class_rule}."
        return f"It {chosen.says}{_where(chosen)}."

    @property
    def when_moved(self) -> str:
        """When it will move, or be removed."""
        decision = self.decision
        if decision is None:
            return "Nothing was decided about it yet." if self._is_placed else "It is not placed."
        at = f"{decision.at:%Y-%m-%d}" if decision.at else "no day that is known"
        return _NEXT[decision.action].format(to=decision.to, at=at)

    @property
    def why_not_deleted(self) -> str:
        """Why it cannot be deleted."""
        if self.decision is None:
            return "No policy was applied to it." if self._is_placed else "It is not placed."
        says = [line for line in self.decision.trace if line.level in _FORBIDS]
        told = [f"{line.level}: {line.says}{_where(line)}" for line in says if _keeps(line)]
        if told:
            return "; ".join(told) + "."
        return (
            "Nothing in the policy forbids it. It still takes a disposition that another person"
            " approves: forebay dispose request."
        )

    @property
    def _is_placed(self) -> bool:
        return self.first.state is State.PLACED

    def _line(self, level: Level, begins: str) -> Say | None:
        trace = self.decision.trace if self.decision else ()
        return next((s for s in trace if s.level is level and s.says.startswith(begins)), None)

    def document(self) -> dict[str, Any]:
        """Return the explanation as JSON data."""
        return {
            "object_ids": [record.object_id for record in self.records],
            "state": self.first.state.value,
            "class": self.first.object_class,
            "why_here": self.why_here,
            "when_moved": self.when_moved,
            "why_not_deleted": self.why_not_deleted,
            "decision": self.decision.as_dict() if self.decision else None,
        }


def explain(found: FoundObject | FoundSeveral, at: datetime | None) -> list[Explanation]:
    """Return what was decided about what a reference means, as of a moment or now.

    Objects of which the same was decided for the same reasons are one explanation. Raises
    CommandError for several objects with a moment: history is told of one at a time.
    """
    if isinstance(found, FoundObject):
        record = found.record
        return [Explanation((record,), _decision_at(record, found.history, at))]
    if at is not None:
        raise CommandError(
            "What was decided at a moment is told of one object at a time.",
            "Give an object id: `forebay show` lists those of a study or sample.",
        )
    return _grouped(found.objects)


def _grouped(records: Iterable[ObjectRecord]) -> list[Explanation]:
    alike: dict[Any, list[ObjectRecord]] = {}
    for record in records:
        alike.setdefault(_sameness(record), []).append(record)
    return [Explanation(tuple(each), each[0].policy) for each in alike.values()]


def _sameness(record: ObjectRecord) -> tuple[Any, ...]:
    decision = record.policy
    if decision is None:
        return (record.state, record.object_class)
    days = (decision.at.date() if decision.at else None, decision.action, decision.to)
    told = tuple((line.level, line.says, line.source) for line in decision.trace)
    return (record.state, record.object_class, days, told)


def _decision_at(
    record: ObjectRecord, history: Sequence[Mapping[str, Any]], at: datetime | None
) -> PolicyDecision | None:
    if at is None:
        return record.policy
    until = utc_text(at)
    earlier = [entry for entry in history if str(entry.get("at", "")) <= until]
    if not earlier:
        raise CommandError(
            f"Object {record.object_id} was not known then.",
            f"It arrived on {record.arrived_at:%Y-%m-%d}.",
        )
    stored = earlier[-1].get("policy")
    return PolicyDecision.from_dict(stored) if stored else None


def _keeps(line: Say) -> bool:
    return "removed" in line.says


def _where(line: Say) -> str:
    return f" ({line.source})" if line.source else ""
