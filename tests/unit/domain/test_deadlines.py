"""How long an object may stay in a state: every state has a deadline, or a reason why none."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from forebay.domain.deadlines import (
    DEADLINES,
    DECISION,
    DIGEST,
    MAX_REDRIVES,
    NO_DEADLINE,
    OWNERS,
    RUN_DEADLINES,
    WATCHED,
    WORK,
    Action,
    deadline_of,
    due,
    due_at,
    is_overdue,
    redriven,
    run_is_due,
    step_of,
    warned,
)
from forebay.domain.findings import OVERDUE_CODES, Owner, ReasonCode
from forebay.domain.objects import Choice, Decision, Kind, ObjectRecord
from forebay.domain.runs import ENDED, RunState
from forebay.domain.states import IN_FLIGHT, State
from forebay.names import Step
from tests.unit.fakes import NOON, any_finding, any_location, any_record, any_run

MINUTE = timedelta(minutes=1)
DECIDED = Decision(Choice.KEEP, "arn:aws:iam::1:role/steward", NOON)


def record(state: State, **fields: Any) -> ObjectRecord:
    return any_record(state=state, **fields)


def held(state: State, **fields: Any) -> ObjectRecord:
    return record(state, held=any_location(), **fields)


def test_every_state_has_a_deadline_or_a_reason_why_none() -> None:
    assert DEADLINES.keys() | NO_DEADLINE.keys() == set(State)
    assert not DEADLINES.keys() & NO_DEADLINE.keys()
    assert DEADLINES.keys() >= IN_FLIGHT
    assert RUN_DEADLINES.keys() | ENDED == set(RunState)


def test_every_overdue_code_has_an_owner_who_is_watched() -> None:
    assert OWNERS.keys() == OVERDUE_CODES
    assert {owner for _, owner in WATCHED} == set(OWNERS.values())


@pytest.mark.parametrize("state", State)
def test_deadline_is_where_the_table_says(state: State) -> None:
    redrives = int(state is State.DUPLICATE)
    assert deadline_of(record(state, redrives=redrives)) == DEADLINES.get(state)


def test_duplicate_is_due_only_while_it_waits_for_its_original() -> None:
    waiting = record(State.DUPLICATE, redrives=1)

    assert due_at(record(State.DUPLICATE)) is None
    assert step_of(record(State.DUPLICATE)) is None
    assert due(waiting, NOON + 2 * WORK.within) is Action.REDRIVE
    assert step_of(waiting) is Step.PLACE_OBJECT


@pytest.mark.parametrize("state", NO_DEADLINE)
def test_state_without_a_deadline_is_never_due(state: State) -> None:
    assert due_at(record(state)) is None
    assert due(record(state), NOON + timedelta(days=10_000)) is None


@pytest.mark.parametrize("state", [State.RECEIVED, State.VERIFIED, State.QUARANTINED])
def test_work_that_is_late_is_given_to_its_step_from_the_deadline_on(state: State) -> None:
    late = record(state)

    assert due(late, NOON + WORK.within - timedelta(microseconds=1)) is None
    assert due(late, NOON + WORK.within) is Action.REDRIVE


@pytest.mark.parametrize(
    "waiting, within",
    [(record(State.AWAITING_DIGEST), DIGEST.within), (held(State.CONFLICT), DECISION.within)],
)
def test_what_waits_for_a_person_is_never_given_to_a_step(
    waiting: ObjectRecord, within: timedelta
) -> None:
    assert due(waiting, NOON + within - MINUTE) is None
    assert due(waiting, NOON + within) is Action.WARN
    assert step_of(waiting) is None


@pytest.mark.parametrize(
    "settled", [held(State.QUARANTINED), held(State.CONFLICT, decision=DECIDED)]
)
def test_what_is_held_and_decided_may_stay(settled: ObjectRecord) -> None:
    assert deadline_of(settled) is None
    assert due_at(settled) is None


@pytest.mark.parametrize("code", [ReasonCode.STORED_BYTES_CHANGED, ReasonCode.STORED_BYTES_MISSING])
def test_damaged_bytes_wait_for_no_copy(code: ReasonCode) -> None:
    damaged = record(State.QUARANTINED, finding=any_finding(code=code))

    assert due_at(damaged) is None
    assert step_of(damaged) is None


def test_waiting_doubles_with_each_redrive_and_then_its_owner_is_told() -> None:
    late, now, waits = record(State.RECEIVED), NOON, []
    while True:
        at = due_at(late)
        assert at
        waits.append((at - now) / WORK.within)
        now = at
        if due(late, now) is Action.WARN:
            break
        late = redriven(late, now)

    assert waits == [1, 2, 4, 4, 4, 4]
    assert late.redrives == MAX_REDRIVES
    assert late.version == 1 + MAX_REDRIVES


def test_deadline_counts_from_the_last_amendment() -> None:
    touched = record(State.VERIFIED).amended(NOON + MINUTE, consent_state="granted")

    assert due_at(touched) == NOON + MINUTE + WORK.within


def test_wait_for_a_digest_counts_from_when_it_began() -> None:
    touched = record(State.AWAITING_DIGEST).amended(NOON + MINUTE, consent_state="granted")

    assert due_at(touched) == NOON + DIGEST.within


def test_warning_names_owner_and_time_and_is_given_once() -> None:
    now = NOON + DIGEST.within
    late = warned(record(State.AWAITING_DIGEST), now)

    (warning,) = late.warnings
    assert (warning.code, warning.owner) == (ReasonCode.DIGEST_OVERDUE, Owner.SENDER)
    assert ".md5" in warning.message
    assert warning.expected == "a checksum file by 2026-03-02 12:00 UTC"
    assert is_overdue(late)
    assert due_at(late) is None
    assert warned(late, now) is late


def test_warning_about_a_decision_is_the_stewards() -> None:
    (warning,) = warned(held(State.CONFLICT), NOON + DECISION.within).warnings

    assert (warning.code, warning.owner) == (ReasonCode.DECISION_OVERDUE, Owner.DATA_STEWARD)


def test_warning_about_work_is_the_platforms_and_counts_the_redrives() -> None:
    (warning,) = warned(record(State.VERIFIED, redrives=5), NOON).warnings

    assert (warning.code, warning.owner) == (ReasonCode.STEP_OVERDUE, Owner.PLATFORM)
    assert "5 times" in warning.found


def test_warning_leaves_with_the_state_and_other_warnings_stay() -> None:
    other = any_finding()
    late = warned(record(State.RECEIVED, warnings=(other,)), NOON)
    assert len(late.warnings) == 2

    assert late.moved_to(State.DELETED, NOON).warnings == (other,)


def test_conflict_whose_copy_came_late_then_waits_for_its_decision() -> None:
    late = warned(record(State.CONFLICT), NOON)
    assert is_overdue(late)

    copied = late.amended(NOON + MINUTE, held=any_location())

    assert not is_overdue(copied)
    assert due_at(copied) == NOON + DECISION.within


@pytest.mark.parametrize(
    "waiting, step",
    [
        (record(State.RECEIVED), Step.INSPECT_DICOM),
        (record(State.RECEIVED, kind=Kind.FASTQ), Step.INSPECT_GENOMICS),
        (record(State.RECEIVED, kind=Kind.UNKNOWN), Step.INSPECT_GENOMICS),
        (record(State.VERIFIED), Step.PLACE_OBJECT),
        (record(State.QUARANTINED), Step.PLACE_OBJECT),
        (record(State.CONFLICT), Step.PLACE_OBJECT),
        (held(State.QUARANTINED), None),
        (record(State.PLACED), None),
        (record(State.DUPLICATE), None),
    ],
)
def test_step_is_the_one_whose_work_is_missing(waiting: ObjectRecord, step: Step | None) -> None:
    assert step_of(waiting) is step


def test_whatever_is_redriven_has_a_step() -> None:
    for state, deadline in DEADLINES.items():
        assert (step_of(record(state, redrives=1)) is not None) == deadline.redriven


@pytest.mark.parametrize(
    "state, now, expected",
    [
        (RunState.SUBMITTING, NOON + timedelta(minutes=14), False),
        (RunState.SUBMITTING, NOON + timedelta(minutes=15), True),
        (RunState.SUBMITTED, NOON + timedelta(hours=11), False),
        (RunState.SUBMITTED, NOON + timedelta(hours=12), True),
        (RunState.SUCCEEDED, NOON + timedelta(days=900), False),
        (RunState.FAILED, NOON + timedelta(days=900), False),
    ],
)
def test_run_is_due_when_it_is_longer_in_its_state_than_it_may(
    state: RunState, now: datetime, expected: bool
) -> None:
    assert run_is_due(replace(any_run(), state=state), now) is expected
