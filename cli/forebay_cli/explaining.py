"""Why an object is where it is, when it will move, and why it cannot be deleted.

All of it is read from what was decided and stored at the time, never decided again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.decision import Action, Level, PolicyDecision, Say
from forebay.domain.policy.standing import storage_class_of
from forebay.domain.states import State
from forebay.events import utc_text
from forebay_cli.commands.show import FoundObject, FoundSeveral
from forebay_cli.failures import CommandError

_FORBIDS: Final = (Level.LEGAL_HOLD, Level.RETENTION_FLOOR, Level.EXCEPTION, Level.PIN)
_GONE: Final = frozenset({State.EXPIRED, State.DELETED})
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
    as_of: datetime
    """When this is told: days before it have passed."""
    is_past: bool = False
    """It is told of an earlier moment: where the object lies now has nothing to do with it."""

    @property
    def first(self) -> ObjectRecord:
        """One of them, to speak of where it lies."""
        return self.records[0]

    @property
    def why_here(self) -> str:
        """Why it is here."""
        record = self.first
        if self._is_gone:
            since = f"{record.state.value} since {record.state_since:%Y-%m-%d}"
            return f"It is gone: {since}{_why(record)}."
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
        if self._is_gone:
            return "Nothing more: there are no bytes of it."
        if decision is None:
            return "Nothing was decided about it yet." if self._is_placed else "It is not placed."
        at = f"{decision.at:%Y-%m-%d}" if decision.at else "no day that is known"
        lies_in = storage_class_of(self.first)
        if decision.action is Action.MOVE and not self.is_past and lies_in is decision.to:
            return (
                f"It moved to {lies_in}; policy looks at it again on {_day(decision.evaluate_at)}."
            )
        if decision.action is Action.REMOVE and decision.at and decision.at <= self.as_of:
            return f"It was due to be removed on {at}: its bucket's lifecycle does it within days."
        return _NEXT[decision.action].format(to=decision.to, at=at)

    @property
    def lies_in(self) -> str:
        """In which storage class it lies, and since when, where storage said so; '' of a past."""
        if self.is_past or not self._is_placed:
            return ""
        said = self.first.metadata.get(STORAGE_FACTS, {}).get("storage_class", {})
        since = f" since {said['at'][:10]}" if "at" in said else ""
        return f"{storage_class_of(self.first)}{since}"

    @property
    def rests_on(self) -> str:
        """What of the object the decision rests on."""
        record, decision = self.first, self.decision
        if decision is None:
            return ""
        facts = [
            f"{record.size_bytes:,} bytes",
            f"placed on {_day(record.placed_at)}" if record.placed_at else "",
            f"this version made on {_day(record.version_since)}" if record.version_since else "",
            f"last read on {_day(decision.last_access)}" if decision.last_access else "",
            f"consent {record.consent_state}" if record.consent_state else "",
            f"class by the rule: {record.class_rule}" if record.class_rule else "",
        ]
        return ", ".join(each for each in facts if each)

    @property
    def why_not_deleted(self) -> str:
        """Why it cannot be deleted."""
        if self._is_gone:
            return "It is deleted."
        if self.decision is None:
            return "No policy was applied to it." if self._is_placed else "It is not placed."
        says = [line for line in self.decision.trace if line.level in _FORBIDS]
        told = [f"{line.level}: {line.says}{_where(line)}" for line in says if _keeps(line)]
        if told:
            return "; ".join(told) + "."
        if self.decision.action is Action.REMOVE:
            return (
                "Nothing in the policy forbids it, and its lifecycle removes it by itself. Sooner"
                " takes a disposition that another person approves: forebay dispose request."
            )
        return (
            "Nothing in the policy forbids it. It still takes a disposition that another person"
            " approves: forebay dispose request."
        )

    @property
    def _is_placed(self) -> bool:
        return self.first.state is State.PLACED

    @property
    def _is_gone(self) -> bool:
        return self.first.state in _GONE and not self.is_past

    def _line(self, level: Level, begins: str) -> Say | None:
        trace = self.decision.trace if self.decision else ()
        return next((s for s in trace if s.level is level and s.says.startswith(begins)), None)

    def document(self) -> dict[str, Any]:
        """Return the explanation as JSON data."""
        return {
            "object_ids": [record.object_id for record in self.records],
            "state": self.first.state.value,
            "class": self.first.object_class,
            "storage_class": str(storage_class_of(self.first)) if self.lies_in else None,
            "rests_on": self.rests_on,
            "why_here": self.why_here,
            "when_moved": self.when_moved,
            "why_not_deleted": self.why_not_deleted,
            "decision": self.decision.as_dict() if self.decision else None,
        }


History = Callable[[str], Iterable[Mapping[str, Any]]]
"""Returns the history of an object by its id, the oldest entry first."""


def explain(
    found: FoundObject | FoundSeveral, now: datetime, at: datetime | None, history: History
) -> list[Explanation]:
    """Return what was decided about what a reference means, as of a moment or now.

    Objects of which the same was decided for the same reasons are one explanation. Raises
    CommandError where nothing of it was known at that moment.
    """
    records = (found.record,) if isinstance(found, FoundObject) else found.objects
    if at is None:
        return _grouped([(record, record.policy) for record in records], now)
    then = []
    for record in records:
        earlier = [entry for entry in history(record.object_id) if _is_by(entry, at)]
        if earlier:
            stored = earlier[-1].get("policy")
            then.append((record, PolicyDecision.from_dict(stored) if stored else None))
    if not then:
        first = min(records, key=lambda record: record.arrived_at)
        raise CommandError(
            f"Object {first.object_id} was not known then."
            if len(records) == 1
            else "None of it was known then.",
            f"It arrived on {first.arrived_at:%Y-%m-%d}.",
        )
    return _grouped(then, at, is_past=True)


def _grouped(
    decided: Iterable[tuple[ObjectRecord, PolicyDecision | None]],
    as_of: datetime,
    *,
    is_past: bool = False,
) -> list[Explanation]:
    alike: dict[Any, list[tuple[ObjectRecord, PolicyDecision | None]]] = {}
    for record, decision in decided:
        alike.setdefault(_sameness(record, decision, is_past=is_past), []).append(
            (record, decision)
        )
    return [
        Explanation(tuple(record for record, _ in each), each[0][1], as_of, is_past=is_past)
        for each in alike.values()
    ]


def _sameness(
    record: ObjectRecord, decision: PolicyDecision | None, *, is_past: bool
) -> tuple[Any, ...]:
    now = () if is_past else (record.state, storage_class_of(record))
    if not is_past and record.state in _GONE:
        return (*now, record.object_class, record.state_since.date(), _why(record))
    if decision is None:
        return (*now, record.state, record.object_class)
    days = (decision.at.date() if decision.at else None, decision.action, decision.to)
    told = tuple((line.level, line.says, line.source) for line in decision.trace)
    return (*now, record.object_class, days, told)


def _is_by(entry: Mapping[str, Any], at: datetime) -> bool:
    return str(entry.get("at", "")) <= utc_text(at)


def _why(record: ObjectRecord) -> str:
    if record.disposition:
        return f", by disposition {record.disposition}"
    if record.finding:
        return f" ({record.finding.code.value})"
    return ", by its bucket's lifecycle" if record.state is State.EXPIRED else ""


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else "no day that is known"


def _keeps(line: Say) -> bool:
    return "removed" in line.says


def _where(line: Say) -> str:
    return f" ({line.source})" if line.source else ""
