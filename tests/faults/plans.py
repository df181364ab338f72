"""What goes wrong in one schedule: drawn from its seed, and made smaller when it shows a bug."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from random import Random
from typing import Any


class Fault(StrEnum):
    """What may befall one effect of a worker."""

    CRASH_BEFORE = "the worker dies before"
    CRASH_AFTER = "the worker dies after"
    THROTTLED = "throttled: no effect"
    ANSWER_LOST = "the effect happened, its answer was lost"
    REFUSED_AFTER = "the effect happened, the client asked again and was refused"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much goes wrong; rates are per chance to go wrong, `actions` what people and sites do."""

    actions: int
    crash: float = 0
    throttle: float = 0
    answer_lost: float = 0
    refused_after: float = 0
    interleave: float = 0
    """Share of deliveries that others may run in the middle of."""
    duplicate: float = 0
    drop: float = 0
    delay: float = 0
    poison: float = 0
    """Share of changes that the bus refuses until its fault is mended."""
    corrupt: float = 0
    """Share of actions after which a copy loses a bit on its way."""
    hurry: float = 0.1
    """How often people act while there is other work to do."""
    skew_s: int = 0
    idle_s: int = 0
    """The longest that may pass between two deliveries."""
    max_faults: int = 10**6
    leases: bool = False
    demands_digest: bool = True
    names_versions: bool = True
    """Whether S3 events say which version they are about; nothing is deleted where they do not."""
    skipped: frozenset[int] = frozenset()
    """Actions left out."""
    retold: int = 0
    """Other dice for the same story: without an action, the old ones fall differently."""

    @classmethod
    def of(cls, seed: int) -> "Plan":
        """Draw the plan of a schedule: some have one kind of fault only, some all at once."""
        draw = chance(seed, "plan")
        rates: dict[str, Any] = {
            name: draw.choice((0.0, share / 4, share)) if draw.random() < 0.6 else 0.0
            for name, share in (
                ("crash", 0.08),
                ("throttle", 0.08),
                ("answer_lost", 0.06),
                ("refused_after", 0.06),
                ("interleave", 0.8),
                ("duplicate", 0.4),
                ("drop", 0.3),
                ("delay", 0.3),
                ("poison", 0.1),
                ("corrupt", 0.1),
            )
        }
        return cls(
            actions=draw.randint(2, 16),
            hurry=draw.choice((0.0, 0.0, 0.02, 0.1, 0.4)),
            skew_s=draw.choice((0, 0, 30, 300)),
            idle_s=draw.choice((2, 20, 600)),
            leases=draw.random() < 0.3,
            demands_digest=draw.random() < 0.6,
            names_versions=draw.random() < 0.8,
            **rates,
        )

    def simpler(self) -> Iterator["Plan"]:
        """Yield plans in which less goes wrong, the largest steps first."""
        for index in range(self.actions):
            if index not in self.skipped:
                yield replace(self, skipped=self.skipped | {index})
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type is float and value and each.name != "hurry":
                nothing: dict[str, Any] = {each.name: 0.0}
                yield replace(self, **nothing)
        if self.skew_s:
            yield replace(self, skew_s=0)
        if self.idle_s > 2:
            yield replace(self, idle_s=2)
        if self.leases:
            yield replace(self, leases=False)
        if self.max_faults:
            yield from (replace(self, max_faults=n) for n in _fewer(self.max_faults))

    def __str__(self) -> str:
        """Say what differs from a world without faults."""
        calm = Plan(self.actions)
        said = [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in fields(self)
            if getattr(self, each.name) != getattr(calm, each.name)
        ]
        return f"Plan({', '.join([f'actions={self.actions}', *said])})"


def chance(seed: int, what: str) -> Random:
    """Return the dice for one part of a schedule, independent of all other parts'."""
    return Random(f"{seed} {what}")  # noqa: S311 - a choice of orders, no secret


def _fewer(faults: int) -> Iterator[int]:
    if faults > 1000:
        yield from (0, 1, 2, 4, 8, 16, 32, 64)
    else:
        yield from (n for n in (0, faults // 2, faults - 1) if 0 <= n < faults)
        yield from range(max(faults - int(math.sqrt(faults)) - 1, 0), faults)
