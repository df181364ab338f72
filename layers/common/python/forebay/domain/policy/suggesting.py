"""Idle thresholds that observed access suggests, with the data behind them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil
from typing import Final

from forebay.domain.policy.access import AccessDay
from forebay.domain.policy.classes import Measure, ObjectClass, Tier
from forebay.domain.policy.pricing import Money, PriceTable, monthly_cost
from forebay.domain.policy.storage_classes import STORAGE_FACTS, StorageClass

__all__ = ["Idle", "Saving", "Suggestion", "Visit", "saving", "suggest", "visits"]

WARM_SHARE: Final = 0.99
"""So many of all visits are to find what they open where it began."""
PERCENTILES: Final = (50, 90, 95, 99, 100)


@dataclass(frozen=True, slots=True)
class Visit:
    """A day on which a scope was opened, and how many days it had not been before.

    The first is counted from placement. Many requests of one day are one visit: a viewer makes
    thousands to show one study.
    """

    day: date
    idle_days: int
    reads: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What access to the objects of a class says about its idle tier.

    `warm_after` is the least threshold, in days, with which `WARM_SHARE` of the visits would have
    found their scope warm; None with the reason where that cannot be said. `now` is the threshold
    of the class's first idle tier, `warm_now` the share it leaves warm.
    """

    object_class: str
    visits: int
    scopes: int
    first: date | None
    last: date | None
    percentiles: tuple[tuple[int, int], ...]
    """(percent, idle days): so many of the visits came after at most so many days."""
    tier: Tier | None
    warm_now: float | None
    warm_after: int | None
    reason: str = ""

    @property
    def now(self) -> int | None:
        """The threshold that is in the policy."""
        return self.tier.after_days if self.tier else None


@dataclass(frozen=True, slots=True)
class Idle:
    """A stored object, and for how many days nobody opened its scope."""

    size_bytes: int
    idle_days: int


@dataclass(frozen=True, slots=True)
class Saving:
    """What is stored now would lie in the tier at a threshold, and what that saves in a month.

    Against keeping it in STANDARD; what moving and reading cost is not in it.
    """

    objects: int
    size_bytes: int
    monthly: Money


def least_visits(share: float = WARM_SHARE) -> int:
    """Return how many visits it takes to speak of a share.

    The rule of three: when none of n visits failed, the true share of failures is below 3/n with
    95 % confidence (Hanley and Lippman-Hand, JAMA 1983;249:1743).
    """
    return ceil(3 / (1 - share) - 1e-9)


def visits(days: Iterable[AccessDay]) -> list[Visit]:
    """Return the visits that counted days tell of, whatever their order."""
    by_scope: dict[str, list[AccessDay]] = defaultdict(list)
    for each in days:
        by_scope[each.scope_id].append(each)
    found: list[Visit] = []
    for counted in by_scope.values():
        counted.sort(key=lambda each: each.day)
        before = min(each.placed_on for each in counted)
        for each in counted:
            found.append(Visit(each.day, max(0, (each.day - before).days), each.reads))
            before = each.day
    return sorted(found, key=lambda visit: visit.day)


def suggest(
    chosen: ObjectClass, days: Sequence[AccessDay], *, share: float = WARM_SHARE
) -> Suggestion:
    """Return what the days on which objects of a class were read suggest for it."""
    made = visits(days)
    idle = sorted(visit.idle_days for visit in made)
    tier = next((each for each in chosen.tiers if each.measure is Measure.IDLE), None)
    first, last = (made[0].day, made[-1].day) if made else (None, None)
    watched = (last - first).days if first and last else 0
    wanted = _wanted(idle, tier, share) if idle else 0
    reason = _reason(len(made), watched, wanted, share)
    return Suggestion(
        object_class=chosen.name,
        visits=len(made),
        scopes=len({each.scope_id for each in days}),
        first=first,
        last=last,
        percentiles=tuple((p, _rank(idle, p / 100)) for p in PERCENTILES) if idle else (),
        tier=tier,
        warm_now=_warm(idle, tier.after_days) if idle and tier else None,
        warm_after=None if reason else wanted,
        reason=reason,
    )


def saving(stored: Iterable[Idle], tier: Tier, prices: PriceTable, *, after_days: int) -> Saving:
    """Return what a threshold would save each month of what is stored now."""
    moved = [
        each
        for each in stored
        if each.idle_days >= after_days and each.size_bytes >= tier.min_bytes
    ]
    monthly = sum(
        monthly_cost(StorageClass.STANDARD, each.size_bytes, prices)
        - monthly_cost(tier.storage_class, each.size_bytes, prices)
        for each in moved
    )
    return Saving(len(moved), sum(each.size_bytes for each in moved), monthly)


def _wanted(idle: Sequence[int], tier: Tier | None, share: float) -> int:
    """Return the threshold: what is idle for that many days is moved, so one more than seen."""
    least = STORAGE_FACTS[tier.storage_class].least_age_days if tier else 0
    return max(_rank(idle, share) + 1, least, 1)


def _reason(visits_: int, watched: int, wanted: int, share: float) -> str:
    least = least_visits(share)
    if visits_ < least:
        return (
            f"too little data: {visits_} visits, and it takes {least} to speak of"
            f" {share:.0%} of them"
        )
    if watched < wanted:
        return (
            f"too little data: watched for {watched} days, and longer pauses than that cannot have"
            f" been seen; {wanted} days would be suggested so far"
        )
    return ""


def _rank(ordered: Sequence[int], share: float) -> int:
    """Return the nearest-rank quantile."""
    return ordered[max(0, ceil(share * len(ordered) - 1e-9) - 1)]


def _warm(ordered: Sequence[int], after_days: int) -> float:
    return sum(each < after_days for each in ordered) / len(ordered)
