"""What policy wants of one object: the only place where it is decided.

    legal hold > retention floor > approved exception > pin > class rule > default

Each level may forbid moving or removing the object; what is left is what its class says. The trace
names every level that had a say, with its source, so that nobody has to guess afterwards.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, NamedTuple, Self

from forebay.domain.policy.classes import Measure, ObjectClass, Removal, Since, Tier
from forebay.domain.policy.exceptions import (
    BLOCKS_MOVES,
    BLOCKS_REMOVAL,
    ExceptionKind,
    PolicyException,
    active,
)
from forebay.domain.policy.storage_classes import (
    COLDNESS,
    STORAGE_FACTS,
    StorageClass,
    is_colder,
    needs_restore,
)
from forebay.domain.policy.terms import Terms, lifecycle_day
from forebay.events import utc_moment, utc_text

FOREVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
NONE: Final = "none"
"""Value of a gate tag that no lifecycle rule asks for."""
REMOVE_NOW: Final = "now"
"""Value of the removal gate of what may be removed at the next run of the lifecycle."""
GRACE: Final = timedelta(days=3)
"""How long S3's lifecycle may take to act before somebody should look why it did not."""
WARMING: Final = timedelta(hours=1)
"""How often to look whether a restore is done, which takes 3 to 12 hours: somebody waits for it."""


class Action(StrEnum):
    """What is to happen to an object next."""

    NOTHING = "nothing"
    MOVE = "move"
    """To a colder storage class: the bucket's lifecycle does it."""
    WARM = "warm"
    """Back to a storage class that is read at once: restored first where that is needed."""
    REMOVE = "remove"
    REVIEW = "review"
    """Its time is over, and somebody has to approve its disposition."""


class Level(StrEnum):
    """Who had a say, from the strongest."""

    LEGAL_HOLD = "legal hold"
    RETENTION_FLOOR = "retention floor"
    EXCEPTION = "approved exception"
    PIN = "pin"
    CLASS = "class rule"
    DEFAULT = "default"


_FROM_THE_STRONGEST: Final = tuple(Level)
_LEVELS: Final = {
    ExceptionKind.LEGAL_HOLD: Level.LEGAL_HOLD,
    ExceptionKind.RETENTION: Level.EXCEPTION,
    ExceptionKind.HOT: Level.EXCEPTION,
    ExceptionKind.RESIDENCY: Level.EXCEPTION,
    ExceptionKind.PIN: Level.PIN,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision about a stored object is made from.

    `placed_at` is when the object was first placed. `last_access` is when the object, its study or
    its sample was last read, None where nobody did since it was placed. `run_succeeded_at` is when
    the run that made it ended well.
    """

    placed_at: datetime
    size_bytes: int
    storage_class: StorageClass = StorageClass.STANDARD
    last_access: datetime | None = None
    run_succeeded_at: datetime | None = None
    consent_state: str = "unknown"
    regions: tuple[str, ...] = ()
    """Where its bytes lie now."""
    replica_regions: tuple[str, ...] = ()
    """Where replication would bring them as well."""
    allowed_regions: frozenset[str] | None = None
    """Where class and site allow them to lie, None for anywhere."""
    rule: str = ""
    """The classification rule that chose its class, and where that is written."""
    rule_source: str = ""
    previous: "PolicyDecision | None" = None
    """What was decided last: since when S3 has been asked, and under which terms it is removed."""
    version_since: datetime | None = None
    """When the stored version was made, where another one was placed first: S3 counts from it."""
    moved_at: datetime | None = None
    """When storage moved it where it lies."""
    was_idle: bool = False
    """It lies there because nobody read it."""
    is_approved: bool = False
    """Somebody approved that it may be removed earlier than was decided before."""

    @property
    def made_at(self) -> datetime:
        """When the stored version was made."""
        return self.version_since or self.placed_at

    @property
    def idle_since(self) -> datetime:
        """When it was last used; placing it and bringing it back count."""
        return max(self.made_at, self.last_access or self.made_at)

    def since(self, measure: Measure) -> datetime:
        """Return what the days of a tier are counted from."""
        return self.made_at if measure is Measure.AGE else self.idle_since


@dataclass(frozen=True, slots=True)
class Say:
    """One line of a trace: who said what, and where that is written."""

    level: Level
    says: str
    source: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the line as it is stored."""
        said = {"level": self.level.value, "says": self.says, "source": self.source}
        return {name: value for name, value in said.items() if value}


class Violation(StrEnum):
    """What is against the policy already, and needs somebody."""

    REGION = "region"
    """Its bytes lie in a region that is not allowed."""
    CONSENT = "consent"
    """Its class needs a consent that is not given."""
    OVERDUE = "overdue"
    """The bucket's lifecycle should have acted, and has not."""
    MISSING_TAG = "missing-tag"
    """A tag that policy hangs on is not on the stored version."""
    UNENCRYPTED = "unencrypted"
    """It is not encrypted with its domain's key."""


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """What policy wants of an object, and why.

    `target` is the storage class it should be in now. `action` at `at` is what happens next, `to`
    which storage class where it is moved. `tiering` and `removal` are the values of the gate tags
    its bucket's lifecycle rules ask for, `replicate` whether its bytes may be in the replica.
    `evaluate_at` is when to decide anew, None where nothing but a change of facts matters.
    """

    object_class: str
    target: StorageClass
    action: Action = Action.NOTHING
    at: datetime | None = None
    to: StorageClass | None = None
    tiering: str = NONE
    removal: str = NONE
    replicate: bool = False
    evaluate_at: datetime | None = None
    no_removal_before: datetime | None = None
    removed_from: datetime | None = None
    """When it goes as things stand, be it the next action or a later one."""
    terms: str = ""
    """After how long it is removed by itself, as `Terms`; '' where it was decided before those."""
    exceptions: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    trace: tuple[Say, ...] = ()
    policy: str = ""
    """Digest of the policy that said so."""
    decided_at: datetime | None = None
    last_access: datetime | None = None
    """When it was last read, as far as was known then."""
    unsettled: bool = False
    """Gates are being opened, or a worker that was overtaken may still open some: look again."""
    because: Mapping[str, str] = field(default_factory=dict)
    """Who had it decided anew: `by`, `note`, `plan_id`, and who approved that: `approved_by`."""

    def as_dict(self) -> dict[str, Any]:
        """Return the decision as it is stored; what is empty is left out."""
        said: dict[str, Any] = {
            "object_class": self.object_class,
            "target": self.target.value,
            "action": self.action.value,
            "at": utc_text(self.at) if self.at else "",
            "to": self.to.value if self.to else "",
            "tiering": self.tiering,
            "removal": self.removal,
            "replicate": self.replicate,
            "evaluate_at": utc_text(self.evaluate_at) if self.evaluate_at else "",
            "no_removal_before": (
                utc_text(self.no_removal_before) if self.no_removal_before else ""
            ),
            "removed_from": utc_text(self.removed_from) if self.removed_from else "",
            "terms": self.terms,
            "exceptions": list(self.exceptions),
            "violations": [violation.value for violation in self.violations],
            "trace": [line.as_dict() for line in self.trace],
            "policy": self.policy,
            "decided_at": utc_text(self.decided_at) if self.decided_at else "",
            "last_access": utc_text(self.last_access) if self.last_access else "",
            "unsettled": self.unsettled or "",
            "because": dict(self.because),
        }
        return {name: value for name, value in said.items() if value not in ("", [], {})}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the decision that was stored."""
        return cls(
            object_class=data["object_class"],
            target=StorageClass(data["target"]),
            action=Action(data["action"]),
            at=utc_moment(data["at"]) if "at" in data else None,
            to=StorageClass(data["to"]) if "to" in data else None,
            tiering=data["tiering"],
            removal=data["removal"],
            replicate=data["replicate"],
            evaluate_at=utc_moment(data["evaluate_at"]) if "evaluate_at" in data else None,
            no_removal_before=(
                utc_moment(data["no_removal_before"]) if "no_removal_before" in data else None
            ),
            removed_from=utc_moment(data["removed_from"]) if "removed_from" in data else None,
            terms=data.get("terms", ""),
            exceptions=tuple(data.get("exceptions", ())),
            violations=tuple(Violation(each) for each in data.get("violations", ())),
            trace=tuple(
                Say(Level(line["level"]), line["says"], line.get("source", ""))
                for line in data.get("trace", ())
            ),
            policy=data.get("policy", ""),
            decided_at=utc_moment(data["decided_at"]) if "decided_at" in data else None,
            last_access=utc_moment(data["last_access"]) if "last_access" in data else None,
            unsettled=data.get("unsettled", False),
            because=data.get("because", {}),
        )

    def for_another_version(self, at: datetime) -> "PolicyDecision":
        """Return what is left once another version was made of the object: that one is due at once.

        Its gates are closed and nothing is decided of it, but the terms of its removal stand.
        """
        return PolicyDecision(
            object_class=self.object_class,
            target=StorageClass.STANDARD,
            replicate=self.replicate,
            evaluate_at=at,
            terms=self.terms,
            policy=self.policy,
            unsettled=True,
        )

    def is_same(self, other: "PolicyDecision | None") -> bool:
        """Tell whether another decision says the same for the same reasons, whenever it was made.

        Two policies that differ elsewhere say the same of this object.
        """
        if other is None:
            return False
        is_same: bool = _OF_SUBSTANCE(self) == _OF_SUBSTANCE(other)
        # A comment above a rule moves the line of its source, and changes nothing.
        return is_same and [(each.level, each.says) for each in self.trace] == [
            (each.level, each.says) for each in other.trace
        ]


# Who reads it again changes its days, or nothing.
_OF_ITS_MAKING: Final = frozenset({"decided_at", "policy", "because", "trace", "last_access"})
_OF_SUBSTANCE: Final = attrgetter(
    *(each.name for each in fields(PolicyDecision) if each.name not in _OF_ITS_MAKING)
)


def directed(storage_class: StorageClass) -> str:
    """Return the value of the tiering gate that asks lifecycle for one storage class, whatever age.

    Idle time is not known to S3: Forebay counts it, and S3 only moves.
    """
    return f"to-{storage_class}"


def is_directed(tiering: str) -> bool:
    """Tell whether a value of the tiering gate asks for one storage class, for idle time."""
    return tiering.startswith("to-")


def tiers_for(chosen: ObjectClass, size_bytes: int) -> tuple[Tier, ...]:
    """Return the tiers of a class that an object of a size is worth moving to."""
    return tuple(tier for tier in chosen.tiers if size_bytes >= tier.min_bytes)


def decide(
    chosen: ObjectClass, facts: Facts, exceptions: Sequence[PolicyException], now: datetime
) -> PolicyDecision:
    """Return what policy wants of an object of a class; pure, and the same whoever asks."""
    counting = active(exceptions, now)
    moves_from = _freed(counting, BLOCKS_MOVES, now)
    floor = _floor(chosen, facts)
    removal_from = max(floor, _freed(counting, BLOCKS_REMOVAL, now))
    terms = _standing_terms(chosen, facts, now)
    allowed = _allowed(counting, facts.allowed_regions)
    target = _target(chosen, facts, counting, now)
    coming = [
        *_moves(chosen, facts, target, moves_from, now),
        *_removals(chosen, facts, terms, removal_from=removal_from, now=now),
    ]
    wanted = _Wanted(
        *_next(coming, now),
        _tiering_gate(chosen, facts, target, blocked=moves_from > now),
        _removal_gate(chosen, facts, terms, removal_from=removal_from, now=now),
    )
    return PolicyDecision(
        object_class=chosen.name,
        target=target,
        action=wanted.action,
        at=wanted.at,
        to=wanted.to,
        tiering=wanted.tiering,
        removal=wanted.removal,
        replicate=chosen.replicate
        and _is_allowed((*facts.regions, *facts.replica_regions), allowed),
        evaluate_at=_evaluated(wanted, chosen, coming, counting, now),
        no_removal_before=removal_from if removal_from > now else None,
        removed_from=next((day for day, what, _ in coming if what is Action.REMOVE), None),
        terms=str(terms),
        exceptions=tuple(each.exception_id for each in counting),
        violations=tuple(_violations(wanted, chosen, facts, allowed, now)),
        trace=tuple(_trace(chosen, facts, counting, terms, now)),
        decided_at=now,
        last_access=facts.last_access,
    )


def removes_earlier(
    chosen: ObjectClass, facts: Facts, before: PolicyDecision, now: datetime
) -> bool:
    """Tell whether a class removes an object by itself, and earlier than was decided before."""
    own, was = Terms.of(chosen.retention), _decided_terms(before, facts)
    if was is None:
        return False
    return own.is_earlier_than(was, facts.placed_at, facts.run_succeeded_at, now=now)


def _standing_terms(chosen: ObjectClass, facts: Facts, now: datetime) -> Terms:
    """Return the terms of a removal: what was decided stands until an earlier one is approved."""
    before = facts.previous
    if before and not facts.is_approved and removes_earlier(chosen, facts, before, now):
        return _decided_terms(before, facts) or Terms.of(chosen.retention)
    return Terms.of(chosen.retention)


def _decided_terms(before: PolicyDecision, facts: Facts) -> Terms | None:
    """Return the terms of an earlier decision, None where it kept none and they cannot be told."""
    if before.terms:
        return Terms.from_text(before.terms)
    if before.action is Action.REVIEW:
        return Terms()
    if before.removed_from and not before.exceptions:
        return Terms((before.removed_from - facts.placed_at).days)
    return None


def _freed(
    counting: Sequence[PolicyException], kinds: Collection[ExceptionKind], now: datetime
) -> datetime:
    """Return from when on no exception of these kinds stands in the way."""
    until = [each.until or FOREVER for each in counting if each.kind in kinds]
    return max(until, default=now)


def _allowed(
    counting: Sequence[PolicyException], residency: frozenset[str] | None
) -> frozenset[str] | None:
    allowed = residency
    for each in counting:
        if each.kind is ExceptionKind.RESIDENCY:
            named = frozenset(each.regions)
            allowed = named if allowed is None else allowed & named
    return allowed


def _is_allowed(regions: Sequence[str], allowed: frozenset[str] | None) -> bool:
    return allowed is None or allowed.issuperset(regions)


def _target(
    chosen: ObjectClass, facts: Facts, counting: Sequence[PolicyException], now: datetime
) -> StorageClass:
    current = facts.storage_class
    kinds = {each.kind for each in counting}
    if ExceptionKind.LEGAL_HOLD in kinds:
        return current
    if ExceptionKind.HOT in kinds:
        return StorageClass.STANDARD if needs_restore(current) else current
    if ExceptionKind.PIN in kinds:
        return current
    due = _due_class(chosen, facts, now)
    if not is_colder(current, due) or _is_reopened(chosen, facts, due):
        return due
    # Bringing it back costs more than leaving it, unless its readers would wait too long.
    waits = STORAGE_FACTS[current].restore_seconds
    return due if waits > chosen.latency_seconds else current


def _due_class(chosen: ObjectClass, facts: Facts, now: datetime) -> StorageClass:
    """Return the coldest storage class whose time has come."""
    due = StorageClass.STANDARD
    for tier in tiers_for(chosen, facts.size_bytes):
        has_come = lifecycle_day(facts.since(tier.measure), tier.after_days) <= now
        if has_come and is_colder(tier.storage_class, due):
            due = tier.storage_class
    return due


def _is_reopened(chosen: ObjectClass, facts: Facts, due: StorageClass) -> bool:
    """Tell whether somebody read what idle time had moved, under this policy or an earlier one.

    What an age tier of the class moves is not colder than what is due.
    """
    read = facts.last_access
    if read is None or read <= facts.made_at or (facts.moved_at and read < facts.moved_at):
        return False
    idle = {tier.storage_class for tier in chosen.tiers if tier.measure is Measure.IDLE}
    was_idle = facts.was_idle or facts.storage_class in idle
    return was_idle and is_colder(facts.storage_class, due)


class _Wanted(NamedTuple):
    """What is to happen next, and the gates through which S3 is asked for it."""

    at: datetime | None
    action: Action
    to: StorageClass | None
    tiering: str
    removal: str


_Coming = tuple[datetime, Action, StorageClass | None]
_Next = tuple[datetime | None, Action, StorageClass | None]


def _next(coming: Sequence[_Coming], now: datetime) -> _Next:
    """Return what happens next; a review that waits for somebody holds up nothing else."""
    due = [each for each in coming if each[0] <= now and each[1] is not Action.REVIEW]
    return min(due or coming, key=_soonest, default=(None, Action.NOTHING, None))


def _soonest(coming: _Coming) -> tuple[datetime, int]:
    """Order what comes by its time; of what is due together removing is first, then the coldest."""
    at, _, to = coming
    return at, -COLDNESS[to] if to else -len(COLDNESS)


def _moves(
    chosen: ObjectClass, facts: Facts, target: StorageClass, moves_from: datetime, now: datetime
) -> Iterator[_Coming]:
    current = facts.storage_class
    if is_colder(current, target):
        yield now, Action.WARM, target
        return
    if moves_from == FOREVER:
        return
    for tier in tiers_for(chosen, facts.size_bytes):
        # What is overdue goes to its target at once, not through the tiers it has missed.
        if is_colder(tier.storage_class, current) and not is_colder(target, tier.storage_class):
            due = lifecycle_day(facts.since(tier.measure), tier.after_days)
            yield max(due, moves_from if moves_from > now else due), Action.MOVE, tier.storage_class


def _removals(
    chosen: ObjectClass, facts: Facts, terms: Terms, *, removal_from: datetime, now: datetime
) -> Iterator[_Coming]:
    gone = _gone_at(chosen, facts, terms)
    if gone is None or removal_from == FOREVER:
        return
    action = Action.REVIEW if terms.days is None else Action.REMOVE
    # What is overdue keeps the day it was due on, or nobody would see how long.
    due = max(gone, _floor(chosen, facts))
    yield max(due, removal_from) if removal_from > now else due, action, None


def _floor(chosen: ObjectClass, facts: Facts) -> datetime:
    """Return until when a class lets nothing remove an object."""
    return facts.placed_at + timedelta(days=chosen.retention.floor_days)


def _gone_at(chosen: ObjectClass, facts: Facts, terms: Terms) -> datetime | None:
    """Return when an object goes or is up for review, None while that is not known or never."""
    retention = chosen.retention
    if terms.days is not None:
        return terms.day(facts.placed_at, facts.run_succeeded_at)
    if retention.removal is not Removal.REVIEW or retention.ceiling_days is None:
        return None
    since = facts.placed_at if retention.since is Since.PLACED else facts.run_succeeded_at
    return lifecycle_day(since, retention.ceiling_days) if since else None


def _tiering_gate(chosen: ObjectClass, facts: Facts, target: StorageClass, *, blocked: bool) -> str:
    tiers = tiers_for(chosen, facts.size_bytes)
    if blocked or not tiers:
        return NONE
    if any(tier.measure is Measure.IDLE for tier in tiers):
        # Age alone would move what was read yesterday: S3 is asked for one storage class at a time.
        # Where it lies there already the gate stays, so that its arrival is no change.
        return NONE if target is StorageClass.STANDARD else directed(target)
    return chosen.name


def _removal_gate(
    chosen: ObjectClass, facts: Facts, terms: Terms, *, removal_from: datetime, now: datetime
) -> str:
    gone = terms.day(facts.placed_at, facts.run_succeeded_at)
    if gone is None or terms.days is None:
        return NONE
    is_compiled = terms == Terms.of(chosen.retention) and terms.since is Since.PLACED
    if is_compiled and lifecycle_day(facts.made_at, terms.days) == gone:
        # S3 counts to the ceiling itself, which is not below the floor: only exceptions shut it.
        is_free = removal_from <= max(now, _floor(chosen, facts))
        return terms.gate(chosen.name) if is_free else NONE
    # No rule counts these days, or S3 would from a later version: the gate opens on the day.
    return REMOVE_NOW if max(gone, removal_from) <= now else NONE


def _evaluated(
    wanted: _Wanted,
    chosen: ObjectClass,
    coming: Sequence[_Coming],
    counting: Sequence[PolicyException],
    now: datetime,
) -> datetime | None:
    """Return when to decide anew.

    What S3 does alone is looked after when it should be done; what it cannot know, on the day.
    """
    moments = [each.until for each in counting if each.until]
    for at, action, _ in coming:
        if at > now:
            moments.append(at + GRACE if _is_s3_s(action, wanted, chosen) else at)
        else:
            # Under way; or a review that nobody has decided: looked at again, not in a loop.
            moments.append(now + (WARMING if action is Action.WARM else GRACE))
    return min(moments, default=None)


def _is_s3_s(action: Action, wanted: _Wanted, chosen: ObjectClass) -> bool:
    """Tell whether an open gate lets S3 do something on its day, without another decision."""
    if action is Action.REMOVE:
        return wanted.removal != NONE
    return action is Action.MOVE and wanted.tiering == chosen.name


def _violations(
    wanted: _Wanted,
    chosen: ObjectClass,
    facts: Facts,
    allowed: frozenset[str] | None,
    now: datetime,
) -> Iterator[Violation]:
    if not _is_allowed(facts.regions, allowed):
        yield Violation.REGION
    if chosen.needs_consent and facts.consent_state != "granted":
        yield Violation.CONSENT
    if facts.previous and _is_overdue(wanted, facts.previous, now):
        yield Violation.OVERDUE


def _is_overdue(wanted: _Wanted, previous: PolicyDecision, now: datetime) -> bool:
    """Tell whether S3 was asked before for what it should have done by now."""
    asked = {Action.MOVE: wanted.tiering, Action.REMOVE: wanted.removal}.get(wanted.action, NONE)
    before = {Action.MOVE: previous.tiering, Action.REMOVE: previous.removal}.get(
        previous.action, NONE
    )
    if asked == NONE or (asked, wanted.to) != (before, previous.to) or not wanted.at:
        return False
    if Violation.OVERDUE in previous.violations:
        return True
    since = max(wanted.at, previous.decided_at or now)
    return lifecycle_day(since, 0) + GRACE <= now


def _trace(
    chosen: ObjectClass,
    facts: Facts,
    counting: Sequence[PolicyException],
    terms: Terms,
    now: datetime,
) -> Iterator[Say]:
    """Yield who had a say, the strongest first."""
    floor = _floor(chosen, facts)
    said = [(_LEVELS[each.kind], each) for each in counting]
    for level in _FROM_THE_STRONGEST:
        if level is Level.RETENTION_FLOOR and floor > now:
            retention = chosen.retention
            yield Say(level, f"not removed before {_day(floor)}", str(retention.source))
        for of, each in said:
            if of is level:
                yield Say(level, _told(each), each.exception_id)
    if facts.rule:
        yield Say(Level.CLASS, f"is {chosen.name} by the rule: {facts.rule}", facts.rule_source)
    for tier in chosen.tiers:
        small = facts.size_bytes < tier.min_bytes
        due = lifecycle_day(facts.since(tier.measure), tier.after_days)
        told = (
            f"too small for {tier.storage_class}: below {tier.min_bytes} bytes"
            if small
            else f"{tier.storage_class} from {_day(due)}: {tier.measure} of {tier.after_days} d"
        )
        yield Say(Level.CLASS, told, str(tier.source))
    yield from _told_of_removal(chosen, facts, terms)
    if not chosen.tiers:
        yield Say(Level.DEFAULT, "stays in its storage class", str(chosen.source))


def _told_of_removal(chosen: ObjectClass, facts: Facts, terms: Terms) -> Iterator[Say]:
    source, own = str(chosen.retention.source), Terms.of(chosen.retention)
    if gone := _gone_at(chosen, facts, terms):
        how = "is up for review" if terms.days is None else "expires"
        yield Say(Level.CLASS, f"{how} on {_day(gone)}", source)
    elif chosen.retention.removal is not Removal.NEVER and terms == own:
        yield Say(Level.CLASS, "stays until the run that made it succeeded", source)
    if terms != own:
        day = own.day(facts.placed_at, facts.run_succeeded_at)
        when = f"on {_day(day)}" if day else f"{own.days} d after its run"
        told = f"would expire {when}: waits for approval, with forebay policy apply"
        yield Say(Level.CLASS, told, source)


def _day(moment: datetime) -> str:
    # As strftime would say it, in a fifth of the time; plans write half a million of them.
    return moment.date().isoformat()


def _told(each: PolicyException) -> str:
    does = {
        ExceptionKind.LEGAL_HOLD: "neither moved nor removed",
        ExceptionKind.RETENTION: "not removed",
        ExceptionKind.HOT: "kept at once readable",
        ExceptionKind.RESIDENCY: f"kept within {', '.join(each.regions)}",
        ExceptionKind.PIN: "neither moved nor removed",
    }[each.kind]
    until = f" until {_day(each.until)}" if each.until else ""
    return f"{does}{until}: {each.kind} on {each.scope}"
