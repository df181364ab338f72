"""Exceptions from what a class says: who asked, who approved, what they reach, until when.

    REQUESTED ──approve (another person)──► ACTIVE ──end, or its day passes──► ENDED
        └────refuse────► REFUSED

An exception reaches what its scope names and everything below it, never what lies beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final


class ExceptionKind(StrEnum):
    """What an exception asks for, in the order in which they win."""

    LEGAL_HOLD = "legal-hold"
    """Nothing is moved or removed, by anybody, until somebody ends it; it has no last day."""
    RETENTION = "retention"
    """Not removed before its last day."""
    HOT = "hot"
    """Kept at once readable until its last day."""
    RESIDENCY = "residency"
    """Kept within the named regions: not copied to others."""
    PIN = "pin"
    """Neither moved nor removed until its last day."""


class ScopeKind(StrEnum):
    """What an exception may be about, from the widest."""

    COHORT = "cohort"
    SUBJECT = "subject"
    """By search token; never by the patient's identifier."""
    STUDY = "study"
    SAMPLE = "sample"
    """As `<site>/<sample>`."""
    RUN = "run"
    """A sequencing run, as `<site>/<run>`, or a pipeline run by id."""
    SERIES = "series"
    OBJECT = "object"


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What an exception is about."""

    kind: ScopeKind
    value: str

    def __str__(self) -> str:
        """Return `kind value`; a subject is not named: what is said goes into the ledger."""
        is_person = self.kind is ScopeKind.SUBJECT
        return str(self.kind) if is_person else f"{self.kind} {self.value}"


class Status(StrEnum):
    """Where an exception stands."""

    REQUESTED = "REQUESTED"
    REFUSED = "REFUSED"
    ACTIVE = "ACTIVE"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class PolicyException:
    """One exception; `until` is None for a legal hold, `regions` are those of RESIDENCY.

    `requested_by` and `decided_by` are AWS identities (ARNs). `version` counts its changes, from 1.
    """

    exception_id: str
    kind: ExceptionKind
    scope: Scope
    reason: str
    requested_by: str
    requested_at: datetime
    status: Status = Status.REQUESTED
    until: datetime | None = None
    regions: tuple[str, ...] = ()
    decided_by: str = ""
    decided_at: datetime | None = None
    end_asked_by: str = ""
    """Who asked for the end of one of `TWO_END_IT`: it counts until another person agrees."""
    ended_by: str = ""
    ended_at: datetime | None = None
    note: str = ""
    version: int = 1

    def is_active(self, now: datetime) -> bool:
        """Tell whether it counts now."""
        return self.status is Status.ACTIVE and (self.until is None or now < self.until)

    def changed(self, **changes: object) -> "PolicyException":
        """Return its next version."""
        return replace(self, version=self.version + 1, **changes)  # type: ignore[arg-type]


BLOCKS_MOVES: Final = frozenset({ExceptionKind.LEGAL_HOLD, ExceptionKind.PIN, ExceptionKind.HOT})
BLOCKS_REMOVAL: Final = frozenset(
    {ExceptionKind.LEGAL_HOLD, ExceptionKind.RETENTION, ExceptionKind.PIN}
)
TWO_END_IT: Final = frozenset(
    {ExceptionKind.LEGAL_HOLD, ExceptionKind.RETENTION, ExceptionKind.RESIDENCY}
)
"""What two people promised to others ends, before its day, only when two people say so."""


def active(exceptions: Iterable[PolicyException], now: datetime) -> tuple[PolicyException, ...]:
    """Return those that count now, in the order in which they win."""
    order = {kind: place for place, kind in enumerate(ExceptionKind)}
    counting = [each for each in exceptions if each.is_active(now)]
    return tuple(sorted(counting, key=lambda each: (order[each.kind], each.exception_id)))


def person_of(arn: str) -> str:
    """Return who an AWS identity is: a user's or a session's name, whatever role it took.

    A person who signs in with two roles is one person, and may not approve what they asked for.
    """
    return arn.rsplit("/", 1)[-1]
