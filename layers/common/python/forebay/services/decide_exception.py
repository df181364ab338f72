"""decide_exception: people ask for exceptions from policy, and other people decide about them.

REQUESTED  approve   ACTIVE    by another person; from then on it counts
           refuse    REFUSED   by another person
ACTIVE     end       ENDED     by anybody who may; what `TWO_END_IT` once two persons asked for it
           refuse    ACTIVE    where somebody asked for the end: that is gone

Nothing has an effect that the ledger does not tell of:

    ledger  PUT exceptions/<id>/<version>.json IF there is none
      │     a crash here: told, without effect. Whoever decides next finds the name taken, and first
      │     does what was told.
    table   PUT exception IF version = the one before; its scope's item in the same transaction
      │     a crash here: it counts for whatever is judged from now on, and stays pending.
    objects what was judged before is judged anew (evaluate_policy), until the last one is reached

Of two persons at once, the ledger lets one be first; the other decides about what became of it.
"""

import re
from base64 import b32encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from forebay.domain.policy.exceptions import (
    TWO_END_IT,
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
    person_of,
)
from forebay.errors import StaleRecordError
from forebay.services.ports import Clock, ExceptionHistory, Exceptions

ATTEMPTS: Final = 3
MAX_TEXT: Final = 1000
"""Characters of a reason or note: all that stand on one scope are read with each object."""
_YEAR: Final = 366
LONGEST_DAYS: Final[Mapping[ExceptionKind, int]] = MappingProxyType(
    {
        ExceptionKind.RETENTION: 100 * _YEAR,
        ExceptionKind.RESIDENCY: 100 * _YEAR,
        ExceptionKind.HOT: 2 * _YEAR,
        ExceptionKind.PIN: 5 * _YEAR,
    }
)
"""How far ahead `until` may lie: what costs money each month is asked for again."""
_ID_BYTES: Final = 10
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_TOKEN: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Changed:
    """The exception as it is now; `is_new` is False when it was so before."""

    exception: PolicyException
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class NotChanged:
    """It cannot be done; `reason` is a sentence for whoever asked."""

    reason: str


Answer = Changed | NotChanged


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for; `until` is the moment from which on it counts no more."""

    kind: ExceptionKind
    scope: Scope
    reason: str
    until: datetime | None = None
    regions: tuple[str, ...] = ()


def exception_id(seed: bytes) -> str:
    """Return the id of a new exception from ten random bytes: `EX-` and 16 characters."""
    if len(seed) != _ID_BYTES:
        raise ValueError(f"an exception's id is made of {_ID_BYTES} random bytes, not {len(seed)}")
    return f"EX-{b32encode(seed).decode().lower()}"


@dataclass(frozen=True, slots=True)
class ExceptionBook:
    """Where exceptions stand: told in the ledger first, then written to the table."""

    exceptions: Exceptions
    history: ExceptionHistory

    def write(self, before: PolicyException | None, after: PolicyException) -> None:
        """Make one change; raises StaleRecordError when another was made first."""
        if self.history.append(after):
            self.exceptions.put(before, after)
            return
        # Somebody was faster, or gave up half way: what was told is done before anything else.
        told = self.history.get(after.exception_id, after.version)
        self.exceptions.put(before, told)
        raise StaleRecordError(f"exception {after.exception_id} was decided meanwhile")

    def change(
        self, exception_id: str, decide: Callable[[PolicyException], PolicyException | Answer]
    ) -> Answer:
        """Change one exception as `decide` says, which is asked again when it moved on.

        Raises:
            StaleRecordError: it keeps changing; try again.
        """
        for attempt in range(ATTEMPTS):
            before = self.exceptions.get(exception_id)
            if before is None:
                return NotChanged(f"No exception {exception_id} is known.")
            after = decide(before)
            if isinstance(after, Changed | NotChanged):
                return after
            try:
                self.write(before, after)
            except StaleRecordError:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            return Changed(after)
        raise AssertionError("the last attempt returns or raises")


@dataclass(frozen=True, slots=True)
class RequestException:
    """Ask for an exception; `random_bytes` returns as many as it is asked for."""

    book: ExceptionBook
    clock: Clock
    random_bytes: Callable[[int], bytes]

    def __call__(self, wish: Wish, *, by: str) -> Answer:
        """Write down what is asked for; it has no effect until another person approves it.

        Raises:
            StaleRecordError: its random id is taken; try again.
        """
        now = self.clock.now()
        if refusal := _refusal(wish, now):
            return NotChanged(refusal)
        asked = PolicyException(
            exception_id=exception_id(self.random_bytes(_ID_BYTES)),
            kind=wish.kind,
            scope=wish.scope,
            reason=wish.reason.strip(),
            requested_by=by,
            requested_at=now,
            until=wish.until,
            regions=wish.regions,
        )
        self.book.write(None, asked)
        return Changed(asked)


@dataclass(frozen=True, slots=True)
class ApproveException:
    """Let an exception count."""

    book: ExceptionBook
    clock: Clock

    def __call__(self, exception_id: str, *, by: str, note: str = "") -> Answer:
        """Approve what another person asked for; `by` is the AWS identity that approves."""

        def decide(before: PolicyException) -> PolicyException | Answer:
            now = self.clock.now()
            if before.status is Status.ACTIVE and before.decided_by == by:
                return Changed(before, is_new=False)
            if refusal := _undecidable(before, by, "approved") or _wrong_note(note):
                return NotChanged(refusal)
            if before.until and before.until <= now:
                return NotChanged(
                    f"{exception_id} was asked for until {before.until:%Y-%m-%d}, which has passed:"
                    " whoever still needs it has to ask again."
                )
            return before.changed(
                status=Status.ACTIVE, decided_by=by, decided_at=now, note=note.strip()
            )

        return self.book.change(exception_id, decide)


@dataclass(frozen=True, slots=True)
class RefuseException:
    """Say no: to an exception, or to its end where that takes two people."""

    book: ExceptionBook
    clock: Clock

    def __call__(self, exception_id: str, *, by: str, note: str) -> Answer:
        """Refuse what another person asked for; the note says why."""

        def decide(before: PolicyException) -> PolicyException | Answer:
            if before.status is Status.REFUSED and before.decided_by == by:
                return Changed(before, is_new=False)
            if refusal := _wrong_note(note, needed="why it is refused"):
                return NotChanged(refusal)
            if before.status is Status.ACTIVE and before.end_asked_by:
                return before.changed(end_asked_by="", note=note.strip())
            if refusal := _undecidable(before, by, "refused"):
                return NotChanged(refusal)
            return before.changed(
                status=Status.REFUSED,
                decided_by=by,
                decided_at=self.clock.now(),
                note=note.strip(),
            )

        return self.book.change(exception_id, decide)


@dataclass(frozen=True, slots=True)
class EndException:
    """Let an exception count no more."""

    book: ExceptionBook
    clock: Clock

    def __call__(self, exception_id: str, *, by: str, note: str) -> Answer:
        """End an exception, or ask for the end of one that takes two people; the note says why.

        Such a one is ACTIVE still when only one person asked for its end.
        """

        def decide(before: PolicyException) -> PolicyException | Answer:
            if before.status is Status.ENDED and before.ended_by == by:
                return Changed(before, is_new=False)
            if refusal := _unendable(before) or _wrong_note(note, needed="why it ends"):
                return NotChanged(refusal)
            if before.kind in TWO_END_IT:
                if not before.end_asked_by:
                    return before.changed(end_asked_by=by, note=note.strip())
                if before.end_asked_by == by:
                    return Changed(before, is_new=False)
                if person_of(before.end_asked_by) == person_of(by):
                    return NotChanged(
                        f"You asked for the end of {exception_id}, a {before.kind} exception:"
                        " another person has to agree."
                    )
            return before.changed(
                status=Status.ENDED, ended_by=by, ended_at=self.clock.now(), note=note.strip()
            )

        return self.book.change(exception_id, decide)


def _refusal(wish: Wish, now: datetime) -> str:
    """Return why nobody needs to decide about a wish, '' when somebody has to."""
    if not wish.reason.strip():
        return "An exception needs a reason: whoever approves it has nothing else to go by."
    if len(wish.reason) > MAX_TEXT:
        return f"The reason has {len(wish.reason)} characters; {MAX_TEXT} are the most."
    if not wish.scope.value.strip():
        return f"Nothing was named: which {wish.scope.kind}?"
    if wish.scope.kind is ScopeKind.SUBJECT and not _TOKEN.fullmatch(wish.scope.value):
        return "A patient is named by the catalog's search token, never by an identifier."
    return _wrong_days(wish, now) or _wrong_regions(wish)


def _wrong_days(wish: Wish, now: datetime) -> str:
    if wish.kind is ExceptionKind.LEGAL_HOLD:
        return (
            "A legal hold has no last day: it counts until two persons end it."
            if wish.until
            else ""
        )
    if wish.until is None:
        return (
            f"A {wish.kind} exception needs a day until which it counts; only a legal hold has"
            " none."
        )
    if wish.until <= now:
        return f"The day until which it should count has passed: {wish.until:%Y-%m-%d}."
    latest = now + timedelta(days=LONGEST_DAYS[wish.kind])
    if wish.until > latest:
        return (
            f"{wish.until:%Y-%m-%d} is too far ahead: a {wish.kind} exception may be asked for"
            f" until {latest:%Y-%m-%d}, and again before it ends."
        )
    return ""


def _wrong_regions(wish: Wish) -> str:
    if wish.kind is not ExceptionKind.RESIDENCY:
        return "Regions belong to a residency exception, and to no other." if wish.regions else ""
    if not wish.regions:
        return "A residency exception needs the regions the bytes may lie in."
    wrong = [region for region in wish.regions if not _REGION.fullmatch(region)]
    return f"{wrong[0]} is no AWS region: one is called eu-central-1." if wrong else ""


def _undecidable(before: PolicyException, by: str, decided: str) -> str:
    if before.status is not Status.REQUESTED:
        return (
            f"Exception {before.exception_id} is {before.status.value}; only one that is REQUESTED"
            f" can be {decided}."
        )
    if person_of(before.requested_by) == person_of(by):
        return f"You asked for {before.exception_id} yourself: it must be {decided} by another."
    return ""


def _unendable(before: PolicyException) -> str:
    if before.status is Status.REQUESTED:
        return f"Exception {before.exception_id} was never approved: refuse it."
    if before.status is not Status.ACTIVE:
        return f"Exception {before.exception_id} is {before.status.value}: it does not count."
    return ""


def _wrong_note(note: str, *, needed: str = "") -> str:
    if needed and not note.strip():
        return f"The note has to say {needed}."
    if len(note) > MAX_TEXT:
        return f"The note has {len(note)} characters; {MAX_TEXT} are the most."
    return ""
