"""What a policy would change for what is stored: objects, bytes, moves, and what that costs.

A plan is made as of now, and tells differences: what S3 was asked for already is under way, with or
without the plan. An object counts as changed when something else would be said of it; as moved or
removed when that is due now, be it done by Forebay or, at its next run, by S3's lifecycle.

    what is stored ──┐
                     ├─ compared() ──► Planned ──► Totals.add() ──► Plan
    a new decision ──┘                (per object)  (as large as the policy, not as what is stored)
"""

from bisect import insort
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from forebay.domain.policy.decision import (
    NONE,
    REMOVE_NOW,
    Action,
    Level,
    PolicyDecision,
    Violation,
)
from forebay.domain.policy.pricing import (
    Money,
    MoveCost,
    PriceTable,
    monthly_cost,
    move_cost,
    removal_cost,
    replication_cost,
)
from forebay.domain.policy.storage_classes import COLDNESS, StorageClass, is_colder
from forebay.events import utc_moment, utc_text

EXAMPLES: Final = 5
"""So many object ids are kept of each conflict and approval: the first by name."""


class ChangeKind(StrEnum):
    """What may change for an object; several may at once."""

    FIRST = "first decision"
    """Policy never judged it before."""
    CLASS = "class"
    MOVE = "move"
    """To a colder storage class, now."""
    WARM = "warm"
    REMOVE = "remove"
    """Its bucket's lifecycle removes it, now."""
    KEEP = "keep"
    """Not removed any more; only where two policies are compared."""
    REVIEW = "review"
    """Its time is over, and somebody has to approve its disposition."""
    RETENTION = "retention"
    """How long it must or may be kept."""
    RETAG = "retag"
    """Other gate tags."""
    SCHEDULE = "schedule"
    """Something else happens next, or at another time."""
    REASON = "reason"
    """The same, said for other reasons or written in another line."""


class Conflict(StrEnum):
    """What stands against what the policy wants."""

    ZONE = "zone"
    """Its new class is of another zone: it keeps its class, nothing is copied between zones."""
    RESIDENCY = "residency"
    """Its bytes lie where they must not."""
    CONSENT = "consent"
    """Its class needs a consent that is not given."""
    HOLD = "hold"
    """A hold, a pin or another exception keeps it from what its class says."""
    REPLICA = "replica"
    """Its class wants a replica, and S3 copies only what is written from now on."""


class Approval(StrEnum):
    """What somebody has to agree to before a plan is carried out."""

    SHORTER_RETENTION = "shorter retention"
    EARLIER_REMOVAL = "earlier removal"
    OTHER_REGION = "another region"


@dataclass(frozen=True, slots=True)
class Subject:
    """A stored object as a plan sees it.

    `before` is what it is compared with, None where nothing was ever decided, and `lies_in` where
    that leaves it without the plan, None where it is removed.
    """

    object_id: str
    object_class: str
    size_bytes: int
    storage_class: StorageClass
    days_in_class: int
    before: PolicyDecision | None
    lies_in: StorageClass | None
    is_removed_earlier: bool = False
    """It goes by itself, and earlier than was decided before (`decision.removes_earlier`)."""
    conflicts: frozenset[Conflict] = frozenset()


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan says of one object; storage classes are None where it is removed."""

    subject: Subject
    decision: PolicyDecision
    to: StorageClass | None
    before: Money
    after: Money
    """What it costs each month."""
    once: MoveCost
    changes: frozenset[ChangeKind] = frozenset()
    conflicts: frozenset[Conflict] = frozenset()
    approvals: frozenset[Approval] = frozenset()

    @property
    def is_changed(self) -> bool:
        """Whether its decision would say something else."""
        return bool(self.changes)


@dataclass(frozen=True, slots=True)
class Rates:
    """What amounts are worked out from; `replica_region` is '' where there is none."""

    prices: PriceTable
    replica_region: str = ""


def left_in(
    decision: PolicyDecision, storage_class: StorageClass, now: datetime
) -> StorageClass | None:
    """Return where an object lies once all that is due is done, None where it is removed.

    A decision made a while ago counts, too: what S3 was asked for it does on the day.
    """
    gone = decision.removed_from or (decision.at if decision.action is Action.REMOVE else None)
    by_age = decision.removal not in (NONE, REMOVE_NOW)
    if decision.removal == REMOVE_NOW or (by_age and gone and gone <= now):
        return None
    if decision.action is Action.WARM:
        return decision.target
    if decision.tiering == NONE:
        return storage_class
    coming = [decision.target]
    if decision.to and _is_due(decision, Action.MOVE, now):
        coming.append(decision.to)
    return max((storage_class, *coming), key=COLDNESS.__getitem__)


def compared(subject: Subject, decision: PolicyDecision, rates: Rates, now: datetime) -> Planned:
    """Return what a new decision changes for an object, and what that costs."""
    prices, size = rates.prices, subject.size_bytes
    to = left_in(decision, subject.storage_class, now)
    changes = frozenset(_changes(subject, decision, to, now))
    conflicts = set(subject.conflicts)
    conflicts |= {_VIOLATED[each] for each in decision.violations if each in _VIOLATED}
    if rates.replica_region and subject.before and _wants_replica(subject, decision, to):
        conflicts.add(Conflict.REPLICA)
    return Planned(
        subject=subject,
        decision=decision,
        to=to,
        before=monthly_cost(subject.lies_in, size, prices) if subject.lies_in else 0,
        after=monthly_cost(to, size, prices) if to else 0,
        once=_once(subject, decision, to, rates),
        changes=changes,
        conflicts=frozenset(conflicts),
        approvals=frozenset(_approvals(subject, decision, now)) if changes else frozenset(),
    )


_VIOLATED: Final = {
    Violation.REGION: Conflict.RESIDENCY,
    Violation.CONSENT: Conflict.CONSENT,
}


def _wants_replica(subject: Subject, decision: PolicyDecision, to: StorageClass | None) -> bool:
    # Warming writes a new version, which S3 replicates.
    is_rewritten = to is not None and is_colder(subject.storage_class, to)
    was = subject.before.replicate if subject.before else False
    return decision.replicate and not was and not is_rewritten


def _once(
    subject: Subject, decision: PolicyDecision, to: StorageClass | None, rates: Rates
) -> MoveCost:
    if to is subject.lies_in:
        return MoveCost()
    current, size, days = subject.storage_class, subject.size_bytes, subject.days_in_class
    if to is None:
        return removal_cost(current, size, rates.prices, days_in_class=days)
    cost = move_cost(current, to, size, rates.prices, days_in_class=days)
    if is_colder(current, to) and decision.replicate and rates.replica_region:
        cost += replication_cost(size, rates.prices, to_region=rates.replica_region)
    return cost


def _changes(
    subject: Subject, after: PolicyDecision, to: StorageClass | None, now: datetime
) -> Iterable[ChangeKind]:
    before = subject.before
    if after.is_same(before):
        return
    found = set(_done_now(subject.lies_in, to))
    if after.object_class != (before.object_class if before else subject.object_class):
        found.add(ChangeKind.CLASS)
    if _is_due(after, Action.REVIEW, now) and not (before and _is_due(before, Action.REVIEW, now)):
        found.add(ChangeKind.REVIEW)
    if before is None:
        yield from (*found, ChangeKind.FIRST)
        return
    if _kept_until(before, now) != _kept_until(after, now):
        found.add(ChangeKind.RETENTION)
    if _gates(before) != _gates(after):
        found.add(ChangeKind.RETAG)
    # What was to happen by now has happened, or is under way: time did that, not the policy.
    is_past = before.at is not None and before.at <= now
    if not found and not is_past and _next(before) != _next(after):
        found.add(ChangeKind.SCHEDULE)
    if not found and _said(before) != _said(after):
        found.add(ChangeKind.REASON)
    yield from found


def _done_now(lies_in: StorageClass | None, to: StorageClass | None) -> Iterable[ChangeKind]:
    if to is lies_in:
        return
    if to is None:
        yield ChangeKind.REMOVE
    elif lies_in is None:
        yield ChangeKind.KEEP
    else:
        yield ChangeKind.MOVE if is_colder(to, lies_in) else ChangeKind.WARM


def _approvals(subject: Subject, after: PolicyDecision, now: datetime) -> Iterable[Approval]:
    before = subject.before
    if before is None:
        return
    if subject.is_removed_earlier:
        yield Approval.EARLIER_REMOVAL
    # What an exception's end changes was approved with the exception.
    if set(before.exceptions) - set(after.exceptions):
        return
    kept = _kept_until(before, now)
    if kept and (after.no_removal_before is None or after.no_removal_before < kept):
        yield Approval.SHORTER_RETENTION
    if after.replicate and not before.replicate:
        yield Approval.OTHER_REGION


def _is_due(decision: PolicyDecision, action: Action, now: datetime) -> bool:
    return decision.action is action and decision.at is not None and decision.at <= now


def _kept_until(decision: PolicyDecision, now: datetime) -> datetime | None:
    """Return until when an object must be kept; a day that passed since is none."""
    until = decision.no_removal_before
    return until if until and until > now else None


def _gates(decision: PolicyDecision) -> tuple[str, str, bool]:
    return decision.tiering, decision.removal, decision.replicate


def _said(decision: PolicyDecision) -> tuple[object, ...]:
    """Return the reasons of a decision, without what comes and goes with time."""
    trace = [line for line in decision.trace if line.level is not Level.RETENTION_FLOOR]
    violations = _VIOLATED.keys() & decision.violations
    return decision.exceptions, violations, trace


def _next(decision: PolicyDecision) -> tuple[Action, datetime | None, StorageClass | None]:
    return decision.action, decision.at, decision.to


REMOVED: Final = "removed"
"""Stands for the storage class of what is removed."""


@dataclass(slots=True)
class Row:
    """Objects of one class that go one way, what they cost each month, and what that costs once."""

    objects: int = 0
    size_bytes: int = 0
    before: Money = 0
    after: Money = 0
    requests: Money = 0
    retrieval: Money = 0
    egress: Money = 0
    early_deletion: Money = 0

    @property
    def once(self) -> Money:
        """All that is paid once."""
        return self.requests + self.retrieval + self.egress + self.early_deletion

    def add(self, planned: Planned) -> None:
        """Count one object."""
        once = planned.once
        self.objects += 1
        self.size_bytes += planned.subject.size_bytes
        self.before += planned.before
        self.after += planned.after
        self.requests += once.requests
        self.retrieval += once.retrieval
        self.egress += once.egress
        self.early_deletion += once.early_deletion

    def merge(self, other: "Row") -> None:
        """Count what another row counted."""
        for name in Row.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_dict(self) -> dict[str, Any]:
        """Return the row as data; amounts are exact, in `pricing.PARTS` as text."""
        counts = {"objects": self.objects, "size_bytes": self.size_bytes}
        amounts = {name: str(getattr(self, name)) for name in Row.__slots__ if name not in counts}
        return {**counts, "parts": amounts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the row that was stored."""
        amounts = {name: int(said) for name, said in data["parts"].items()}
        return cls(objects=data["objects"], size_bytes=data["size_bytes"], **amounts)


@dataclass(slots=True)
class Tally:
    """How many objects and bytes, with a few of them by id.

    Which few does not depend on the order in which objects are counted: the index that lists them
    goes by when they last changed.
    """

    objects: int = 0
    size_bytes: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, subject: Subject) -> None:
        """Count one object."""
        self.objects += 1
        self.size_bytes += subject.size_bytes
        if len(self.examples) < EXAMPLES or subject.object_id < self.examples[-1]:
            insort(self.examples, subject.object_id)
            del self.examples[EXAMPLES:]

    def merge(self, other: "Tally") -> None:
        """Count what another counted."""
        self.objects += other.objects
        self.size_bytes += other.size_bytes
        self.examples = sorted(self.examples + other.examples)[:EXAMPLES]

    def as_dict(self) -> dict[str, Any]:
        """Return it as data."""
        return {name: getattr(self, name) for name in Tally.__slots__}


Way = tuple[str, str, str]
"""Class, from which storage class, to which, or REMOVED."""


@dataclass(slots=True)
class Totals:
    """What a plan says of all objects together.

    `ways` count every object, the unchanged too; the others only what they name. Its size depends
    on the number of classes, never on that of objects.
    """

    ways: dict[Way, Row] = field(default_factory=dict)
    changed: Tally = field(default_factory=Tally)
    changes: dict[str, Tally] = field(default_factory=dict)
    classes: dict[tuple[str, str], Tally] = field(default_factory=dict)
    conflicts: dict[str, Tally] = field(default_factory=dict)
    approvals: dict[str, Tally] = field(default_factory=dict)

    @classmethod
    def of(cls, objects: Iterable[Planned]) -> Self:
        """Return the totals of some objects."""
        totals = cls()
        for planned in objects:
            totals.add(planned)
        return totals

    def add(self, planned: Planned) -> None:
        """Count one object."""
        subject = planned.subject
        way = (
            planned.decision.object_class,
            subject.lies_in or REMOVED,
            planned.to or REMOVED,
        )
        self.ways.setdefault(way, Row()).add(planned)
        if planned.is_changed:
            self.changed.add(subject)
        if ChangeKind.CLASS in planned.changes:
            pair = (subject.object_class, planned.decision.object_class)
            self.classes.setdefault(pair, Tally()).add(subject)
        for counted, kinds in (
            (self.changes, planned.changes),
            (self.conflicts, planned.conflicts),
            (self.approvals, planned.approvals),
        ):
            _count(counted, kinds, subject)

    def merge(self, other: "Totals") -> None:
        """Count what others counted of other objects."""
        for way, row in other.ways.items():
            self.ways.setdefault(way, Row()).merge(row)
        self.changed.merge(other.changed)
        for pair, tally in other.classes.items():
            self.classes.setdefault(pair, Tally()).merge(tally)
        for mine, theirs in (
            (self.changes, other.changes),
            (self.conflicts, other.conflicts),
            (self.approvals, other.approvals),
        ):
            for kind, tally in theirs.items():
                mine.setdefault(kind, Tally()).merge(tally)

    @property
    def all(self) -> Row:
        """Return everything in one row."""
        total = Row()
        for row in self.ways.values():
            total.merge(row)
        return total

    def moving(self) -> dict[Way, Row]:
        """Return the ways on which objects change their storage class, or are removed."""
        return {way: row for way, row in sorted(self.ways.items()) if way[1] != way[2]}

    def same_work(self, other: "Totals") -> bool:
        """Tell whether another says the same of what changes, to the object and the part.

        What stays as it is may grow meanwhile: new objects arrive.
        """
        mine, theirs = ({k: t.objects for k, t in each.changes.items()} for each in (self, other))
        sizes = (self.changed.size_bytes, other.changed.size_bytes)
        return mine == theirs and sizes[0] == sizes[1] and self.moving() == other.moving()

    def as_dict(self) -> dict[str, Any]:
        """Return the totals as data; amounts are exact."""
        ways = [
            {"class": way[0], "from": way[1], "to": way[2], **row.as_dict()}
            for way, row in sorted(self.ways.items())
        ]
        classes = [
            {"from": was, "to": becomes, **tally.as_dict()}
            for (was, becomes), tally in sorted(self.classes.items())
        ]
        return {
            "ways": ways,
            "changed": self.changed.as_dict(),
            "classes": classes,
            **{
                name: {kind: tally.as_dict() for kind, tally in sorted(counted.items())}
                for name, counted in (
                    ("changes", self.changes),
                    ("conflicts", self.conflicts),
                    ("approvals", self.approvals),
                )
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the totals that were stored."""
        return cls(
            {(row["class"], row["from"], row["to"]): Row.from_dict(row) for row in data["ways"]},
            Tally(**data["changed"]),
            _tallies(data["changes"]),
            {(row["from"], row["to"]): _tally(row) for row in data["classes"]},
            _tallies(data["conflicts"]),
            _tallies(data["approvals"]),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy would change, as of `made_at`; amounts by the prices of one region and day.

    `against` says with what it was compared, '' for what is stored. `site` is '' for all.
    """

    plan_id: str
    made_at: datetime
    policy: str
    """Digest of the policy."""
    totals: Totals
    region: str = ""
    currency: str = "USD"
    prices_as_of: str = ""
    site: str = ""
    against: str = ""
    deployed_in: str = ""
    """Where the objects are, which a price table of another region is not of."""

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as it is stored and printed."""
        said = {name: getattr(self, name) for name in _OF_PLAN}
        return {**said, "made_at": utc_text(self.made_at), "totals": self.totals.as_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the plan that was stored; raises KeyError, TypeError or ValueError for none."""
        return cls(
            made_at=utc_moment(data["made_at"]),
            totals=Totals.from_dict(data["totals"]),
            **{name: str(data[name]) for name in _OF_PLAN},
        )


_OF_PLAN: Final = (
    "plan_id",
    "policy",
    "region",
    "currency",
    "prices_as_of",
    "site",
    "against",
    "deployed_in",
)


def plan_id(policy: str, made_at: datetime) -> str:
    """Return the name of a plan: when it was made, and of which policy."""
    return f"{made_at:%Y%m%dT%H%M%SZ}-{policy[:8] or 'none'}"


def _count(counted: dict[str, Tally], kinds: Collection[StrEnum], subject: Subject) -> None:
    for kind in kinds:
        counted.setdefault(kind.value, Tally()).add(subject)


def _tally(data: Mapping[str, Any]) -> Tally:
    return Tally(data["objects"], data["size_bytes"], list(data["examples"]))


def _tallies(data: Mapping[str, Any]) -> dict[str, Tally]:
    return {kind: _tally(tally) for kind, tally in data.items()}
