"""How long an object may stay in a state, and who acts when it stays longer.

    enters a state ──within──► given to its step again ──twice that──► again … ──► its owner is told

`due_at` is stored with the record and indexed, so that a sweep reads what is due and nothing else;
no timer runs and nothing expires by itself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.rechecks import DAMAGED
from forebay.domain.runs import ENDED, PipelineRun, RunState
from forebay.domain.states import State
from forebay.names import Step

MAX_REDRIVES: Final = 5
"""How often an object is handed to its step again in one state before a person must look."""
MAX_BACK_OFF: Final = 4
"""Waiting doubles with each re-drive, up to this factor."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """What is wrong when an object stays in its state for longer than `within`, and whose it is.

    With `redriven`, the step is given the object again before anybody is called.
    """

    within: timedelta
    code: ReasonCode
    redriven: bool = False

    @property
    def owner(self) -> Owner:
        """Who acts once it passed."""
        return OWNERS[self.code]


class Action(StrEnum):
    """What a sweep does about a passed deadline."""

    REDRIVE = "redrive"
    WARN = "warn"


OWNERS: Final = {
    ReasonCode.STEP_OVERDUE: Owner.PLATFORM,
    ReasonCode.DIGEST_OVERDUE: Owner.SENDER,
    ReasonCode.DECISION_OVERDUE: Owner.DATA_STEWARD,
}

# A step takes seconds. Its queue may be long, and a killed delivery comes back by itself after the
# queue's visibility timeout: what a sweep adds is for messages that are gone.
WORK: Final = Deadline(timedelta(minutes=30), ReasonCode.STEP_OVERDUE, redriven=True)
DIGEST: Final = Deadline(timedelta(hours=24), ReasonCode.DIGEST_OVERDUE)
DECISION: Final = Deadline(timedelta(days=7), ReasonCode.DECISION_OVERDUE)

DEADLINES: Final[dict[State, Deadline]] = {
    State.RECEIVED: WORK,
    State.AWAITING_DIGEST: DIGEST,
    State.VERIFIED: WORK,
    State.QUARANTINED: WORK,
    State.CONFLICT: WORK,
    State.DUPLICATE: WORK,
}
"""By state; what was refused until its copy is in quarantine, a conflict then is under DECISION;
a duplicate while it waits until its original is kept."""

NO_DEADLINE: Final[dict[State, str]] = {
    State.PLACED: "at its end; its bytes are read again in their turn",
    State.IGNORED: "at its end",
    State.SUPERSEDED: "at its end",
    State.EXPIRED: "at its end",
    State.DELETED: "at its end",
}

RUN_DEADLINES: Final[dict[RunState, timedelta]] = {
    RunState.SUBMITTING: timedelta(minutes=15),
    RunState.SUBMITTED: timedelta(hours=12),
}
"""How long a pipeline run may be claimed but not started, and may run."""

WATCHED: Final = (
    *((state, deadline.owner) for state, deadline in DEADLINES.items()),
    (State.CONFLICT, DECISION.owner),
)
"""Where objects can be overdue, and whose they are then."""


def deadline_of(record: ObjectRecord) -> Deadline | None:
    """Return the deadline that an object is under, None when it may stay as it is."""
    if record.state is State.CONFLICT and record.held is not None:
        return DECISION if record.decision is None else None
    if record.state is State.QUARANTINED and not _waits_for_copy(record):
        return None
    if record.state is State.DUPLICATE and not record.redrives:
        return None
    return DEADLINES.get(record.state)


def due_at(record: ObjectRecord) -> datetime | None:
    """Return when a sweep must look at an object; None for never, or never again in this state."""
    deadline = deadline_of(record)
    if deadline is None or is_overdue(record):
        return None
    if not deadline.redriven:
        return record.state_since + deadline.within
    back_off: int = min(2**record.redrives, MAX_BACK_OFF)
    return record.changed_at + deadline.within * back_off


def due(record: ObjectRecord, now: datetime) -> Action | None:
    """Return what is to be done about an object now."""
    at, deadline = due_at(record), deadline_of(record)
    if at is None or deadline is None or now < at:
        return None
    if deadline.redriven and record.redrives < MAX_REDRIVES:
        return Action.REDRIVE
    return Action.WARN


def is_overdue(record: ObjectRecord) -> bool:
    """Tell whether it was said of the object that its deadline passed."""
    deadline = deadline_of(record)
    return deadline is not None and any(w.code is deadline.code for w in record.warnings)


def redriven(record: ObjectRecord, now: datetime) -> ObjectRecord:
    """Return the record of an object that its step is given again."""
    return record.amended(now, redrives=record.redrives + 1)


def warned(record: ObjectRecord, now: datetime) -> ObjectRecord:
    """Return the record that says, in a warning, what is overdue and who must act."""
    deadline = deadline_of(record)
    if deadline is None or is_overdue(record):
        return record
    return record.amended(now, warnings=(*record.warnings, _overdue(record, deadline)))


def step_of(record: ObjectRecord) -> Step | None:
    """Return the step whose work an object waits for."""
    if record.state is State.RECEIVED:
        return Step.INSPECT_DICOM if record.kind is Kind.DICOM else Step.INSPECT_GENOMICS
    if record.state is State.VERIFIED:
        return Step.PLACE_OBJECT
    if record.state is State.DUPLICATE and record.redrives:
        return Step.PLACE_OBJECT
    return Step.PLACE_OBJECT if _waits_for_copy(record) else None


def _waits_for_copy(record: ObjectRecord) -> bool:
    if record.finding and record.finding.code in DAMAGED:
        return False
    return record.state in (State.QUARANTINED, State.CONFLICT) and record.held is None


def run_is_due(run: PipelineRun, now: datetime) -> bool:
    """Tell whether a pipeline run is longer in its state than it may."""
    return run.state not in ENDED and now - run.state_since >= RUN_DEADLINES[run.state]


def _overdue(record: ObjectRecord, deadline: Deadline) -> Finding:
    since, by = (f"{at:%Y-%m-%d %H:%M} UTC" for at in _stay(record, deadline))
    expected = {
        ReasonCode.DIGEST_OVERDUE: f"a checksum file by {by}",
        ReasonCode.DECISION_OVERDUE: f"a decision by {by}",
        ReasonCode.STEP_OVERDUE: f"the state {record.state.value} left by {by}",
    }
    return Finding(
        code=deadline.code,
        message=_MESSAGES[deadline.code],
        owner=deadline.owner,
        expected=expected[deadline.code],
        found=f"in {record.state.value} since {since}, re-driven {record.redrives} times",
    )


def _stay(record: ObjectRecord, deadline: Deadline) -> tuple[datetime, datetime]:
    return record.state_since, record.state_since + deadline.within


_MESSAGES: Final = {
    ReasonCode.DIGEST_OVERDUE: (
        "No checksum was declared for this object, and it may not be used without one. Upload a"
        " checksum file beside it: its own name followed by .md5 or .sha256, or a list of the"
        " folder such as md5sum.txt. The object then goes on by itself."
    ),
    ReasonCode.DECISION_OVERDUE: (
        "Two objects claim one identity and nobody has decided yet. Compare them with `forebay"
        " conflicts` and decide which to keep; until then this one stays aside."
    ),
    ReasonCode.STEP_OVERDUE: (
        "The step that works on objects in this state did not finish with this one, although it"
        " was given it again and again. Look at the step's dead letters and alarms."
    ),
}
