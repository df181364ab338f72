"""plan_policy: what a policy would say of everything that is stored, object by object.

    PLACED records, page by page ──► class ──► context, where it can matter ──► decide() ──► Planned

Nothing is written, and nothing is kept but what the next objects are likely to need again: memory
does not grow with what is stored.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from forebay.domain.classification import FACT_TYPES, Classification, facts_of
from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.classes import Measure, ObjectClass, Policy, Since
from forebay.domain.policy.decision import Facts, PolicyDecision, decide, removes_earlier
from forebay.domain.policy.exceptions import PolicyException, Scope
from forebay.domain.policy.plan import (
    Conflict,
    Planned,
    Rates,
    Subject,
    compared,
    left_in,
)
from forebay.domain.policy.standing import (
    Context,
    access_scope,
    facts_for,
    made_at,
    scopes_of,
    storage_class_of,
    was_idle,
)
from forebay.domain.policy.storage_classes import StorageClass
from forebay.events import utc_moment
from forebay.names import Zone
from forebay.services.ports import Classifier

REMEMBERED: Final = 50_000
"""So many classifications, accesses, runs and ancestors are kept in mind, of each."""

Key = TypeVar("Key")


class PlacedObjects(Protocol):
    """Everything that is placed, and what the catalog holds beside it."""

    def pages(self, site: str) -> Iterator[Sequence[ObjectRecord]]:
        """Yield the placed objects of a site, or of all with '', some at a time."""

    def records(self, object_ids: Collection[str]) -> Mapping[str, ObjectRecord]:
        """Return the records that exist among some ids, whatever their state."""

    def exceptions(self) -> Iterable[PolicyException]:
        """Return the exceptions that count."""

    def last_access(self, scopes: Collection[Scope]) -> Mapping[Scope, datetime]:
        """Return when scopes were last read; one that never was is left out."""

    def runs_succeeded(self, run_ids: Collection[str]) -> Mapping[str, datetime]:
        """Return when pipeline runs ended well; one that did not is left out."""


@dataclass(slots=True)
class Remembered:
    """Answers by key, forgotten together when there are too many; None is an answer, too."""

    limit: int = REMEMBERED
    known: dict[Any, Any] = field(default_factory=dict)

    def learn(self, wanted: Collection[Key], ask: Callable[[list[Key]], Mapping[Key, Any]]) -> None:
        """Ask for what is not known yet, all at once."""
        new = list(dict.fromkeys(each for each in wanted if each not in self.known))
        if not new:
            return
        if len(self.known) + len(new) > self.limit:
            self.known.clear()
            new = list(dict.fromkeys(wanted))
        found = ask(new)
        self.known.update((each, found.get(each)) for each in new)

    def get(self, key: Any) -> Any:
        """Return an answer that was learnt."""
        return self.known.get(key)


Choice = tuple[ObjectClass, str]
"""The class of an object, and the rule that chose it."""


@dataclass(slots=True)
class Classes:
    """The classes a policy chooses; equal facts are judged once.

    Only the attributes its rules name are compared, so that a million instances are a few cases.
    """

    classifier: Classifier
    named: tuple[str, ...] = ()
    keywords: tuple[str, ...] | None = ()
    known: dict[Any, Classification] = field(default_factory=dict)

    @classmethod
    def of(cls, classifier: Classifier) -> "Classes":
        """Return the classes of a policy."""
        conditions = " ".join(rule.condition for rule in classifier.policy.rules)
        words = set(re.findall(r"\w+", conditions))
        named = tuple(name for name in FACT_TYPES if name in words and name != "metadata")
        return cls(classifier, named, _keywords(conditions))

    def choose(self, record: ObjectRecord) -> Choice:
        """Return the class of an object, and the rule; raises PolicyError when none holds."""
        facts = facts_of(record)
        key = self._key(facts)
        chosen = self.known.get(key) if key is not None else None
        if chosen is None:
            chosen = self.classifier.classify(facts)
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            if key is not None:
                self.known[key] = chosen
        return self.classifier.policy.classes[chosen.object_class], chosen.rule

    def _key(self, facts: Mapping[str, Any]) -> Any:
        if self.keywords is None:
            return None
        metadata = facts["metadata"]
        said = tuple(metadata.get(keyword, _ABSENT) for keyword in self.keywords)
        key = (*(facts.get(name, _ABSENT) for name in self.named), *said)
        try:
            hash(key)
        except TypeError:
            return None
        return key


_ABSENT: Final = object()
_KEYWORD: Final = re.compile(
    r"""\bmetadata\s*(?:\.\s*(\w+)\b(?!\s*\()|\[\s*['"](\w+)['"]\s*\])|['"](\w+)['"]\s+in\s+metadata\b(?!\s*[.\[])"""
)


def _keywords(conditions: str) -> tuple[str, ...] | None:
    """Return the keywords of metadata that conditions ask for, None when that cannot be told."""
    found = list(_KEYWORD.finditer(conditions))
    if len(found) != len(re.findall(r"\bmetadata\b", conditions)):
        return None
    return tuple(sorted({next(filter(None, match.groups())) for match in found}))


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """Compare what a policy says now with what is stored, or with what another policy says.

    `regions` are the home region, then those of replicas. `zones` are the buckets' zones.
    """

    objects: PlacedObjects
    classifier: Classifier
    rates: Rates
    zones: Mapping[str, Zone]
    regions: tuple[str, ...]
    against: Classifier | None = None

    def __call__(self, now: datetime, *, site: str = "") -> Iterator[Planned]:
        """Yield what the plan says of each placed object, changed or not."""
        new = Classes.of(self.classifier)
        old = Classes.of(self.against) if self.against else None
        surroundings = _Surroundings(self.objects, [c for c in (new, old) if c])
        for page in self.objects.pages(site):
            for case in surroundings.around(page):
                yield self._planned(case, new=new, old=old, now=now)

    def _planned(
        self, case: "_Case", *, new: Classes, old: Classes | None, now: datetime
    ) -> Planned:
        record = case.record
        was = self._judged(case, old, case.chosen[-1], now=now) if old else None
        judged = self._judged(case, new, case.chosen[0], now=now)
        before = was.decision if was else record.policy
        current = storage_class_of(record)
        left: StorageClass | None = current
        if before:
            left = left_in(before, current, now)
        subject = Subject(
            object_id=record.object_id,
            object_class=before.object_class if before else record.object_class,
            size_bytes=record.size_bytes,
            storage_class=current,
            days_in_class=days_in_class(record, now),
            before=before,
            lies_in=left,
            is_removed_earlier=bool(before and judged.removes_earlier_than(before, now)),
            conflicts=judged.conflicts,
        )
        return compared(subject, judged.decision, self.rates, now)

    def _judged(
        self, case: "_Case", classes: Classes, choice: Choice, *, now: datetime
    ) -> "_Judged":
        policy, record, context = classes.classifier.policy, case.record, case.context
        chosen, rule = choice
        conflicts: frozenset[Conflict] = frozenset()
        lies_in = self.zones.get(record.placed.bucket) if record.placed else None
        if lies_in not in (None, chosen.zone):
            # Nothing is copied between zones: the object keeps its class.
            conflicts = frozenset({Conflict.ZONE})
            kept = policy.classes.get(record.object_class)
            if kept is None:
                stays = PolicyDecision(record.object_class, storage_class_of(record))
                return _Judged(record.policy or stays, conflicts)
            chosen, rule = kept, record.class_rule
        facts = self._facts(
            record if rule == record.class_rule else replace(record, class_rule=rule),
            chosen,
            policy,
            context,
        )
        decision = decide(chosen, facts, context.exceptions, now)
        if decision.exceptions and not _same_work(decision, decide(chosen, facts, (), now)):
            conflicts |= {Conflict.HOLD}
        return _Judged(decision, conflicts, chosen, facts)

    def _facts(
        self, record: ObjectRecord, chosen: ObjectClass, policy: Policy, context: Context
    ) -> Facts:
        # Whether a version was replicated is known to S3 alone; it was if policy wanted that.
        is_replicated = bool(record.policy and record.policy.replicate)
        home, replicas = self.regions[:1], self.regions[1:]
        return facts_for(
            record,
            chosen,
            policy,
            context,
            regions=self.regions if is_replicated else home,
            replica_regions=() if is_replicated else replicas,
            # What it takes to approve is told beside; what is planned is what comes of it.
            is_approved=True,
        )


@dataclass(frozen=True, slots=True)
class _Case:
    """An object with what each policy chooses for it, and what the catalog holds beside it."""

    record: ObjectRecord
    chosen: Sequence[Choice]
    context: Context


@dataclass(frozen=True, slots=True)
class _Judged:
    decision: PolicyDecision
    conflicts: frozenset[Conflict]
    chosen: ObjectClass | None = None
    facts: Facts | None = None

    def removes_earlier_than(self, before: PolicyDecision, now: datetime) -> bool:
        """Tell whether it goes by itself, and earlier than was decided before."""
        if self.chosen is None or self.facts is None:
            return False
        return removes_earlier(self.chosen, self.facts, before, now)


def _same_work(one: PolicyDecision, other: PolicyDecision) -> bool:
    names = ("target", "action", "at", "to", "tiering", "removal", "replicate")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def days_in_class(record: ObjectRecord, now: datetime) -> int:
    """Return how many whole days an object lies in its storage class, as far as storage said."""
    known: Mapping[str, Any] = record.metadata.get(STORAGE_FACTS, {})
    said = known.get("storage_class", {}).get("at")
    since = utc_moment(said) if said else made_at(record)
    return max(0, (now - since).days)


@dataclass(slots=True)
class _Surroundings:
    """What the catalog holds beside records, asked for in batches, and only where it matters."""

    objects: PlacedObjects
    policies: Sequence[Classes]
    by_scope: dict[Scope, list[PolicyException]] = field(init=False)
    ancestors: Remembered = field(default_factory=Remembered)
    accesses: Remembered = field(default_factory=Remembered)
    runs: Remembered = field(default_factory=Remembered)

    def __post_init__(self) -> None:
        self.by_scope = {}
        for each in self.objects.exceptions():
            self.by_scope.setdefault(each.scope, []).append(each)

    def around(self, page: Sequence[ObjectRecord]) -> Iterator[_Case]:
        """Yield the objects of a page with what surrounds them."""
        chosen = [tuple(classes.choose(record) for classes in self.policies) for record in page]
        read = {
            record.object_id: access_scope(record)
            for record, choices in zip(page, chosen, strict=True)
            if was_idle(record)
            or any(tier.measure is Measure.IDLE for each, _ in choices for tier in each.tiers)
        }
        runs = {
            record.object_id: record.pipeline_run_id
            for record, choices in zip(page, chosen, strict=True)
            if record.pipeline_run_id
            and any(each.retention.since is Since.RUN_SUCCEEDED for each, _ in choices)
        }
        self.accesses.learn(list(read.values()), self.objects.last_access)
        self.runs.learn(list(runs.values()), self.objects.runs_succeeded)
        if self.by_scope:
            self._meet_ancestors(page)
        for record, choices in zip(page, chosen, strict=True):
            last_access = self.accesses.get(read.get(record.object_id))
            succeeded = self.runs.get(runs.get(record.object_id))
            context = Context(self._exceptions(record), last_access, succeeded)
            yield _Case(record, choices, context)

    def _meet_ancestors(self, page: Sequence[ObjectRecord]) -> None:
        if len(self.ancestors.known) > self.ancestors.limit:
            self.ancestors.known.clear()
        wanted = {parent for record in page for parent in record.parents}
        while wanted := wanted - self.ancestors.known.keys():
            found = self.objects.records(wanted)
            self.ancestors.known.update(
                (each, (scopes_of(found[each]), found[each].parents) if each in found else None)
                for each in wanted
            )
            wanted = {parent for record in found.values() for parent in record.parents}

    def _exceptions(self, record: ObjectRecord) -> tuple[PolicyException, ...]:
        if not self.by_scope:
            return ()
        scopes = set(scopes_of(record))
        left, seen = list(record.parents), set(record.parents)
        while left:
            known = self.ancestors.get(left.pop())
            if known:
                scopes |= set(known[0])
                left += [each for each in known[1] if each not in seen]
                seen |= set(known[1])
        reached = {
            each.exception_id: each for scope in scopes for each in self.by_scope.get(scope, ())
        }
        return tuple(reached[each] for each in sorted(reached))
