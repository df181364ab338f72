"""DynamoAgenda finds what is due, bounded, and nothing else."""

from datetime import timedelta
from typing import Any

import pytest

from forebay.adapters.agenda import DynamoAgenda
from forebay.adapters.catalog import DynamoCatalog
from forebay.domain.deadlines import DECISION, DIGEST, WORK, redriven, warned
from forebay.domain.findings import Owner
from forebay.domain.objects import ObjectRecord
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.names import Step
from forebay.services.ports import Change, Lease
from tests.unit.fakes import NOON, any_location, any_record, any_run

SECOND = timedelta(seconds=1)


@pytest.fixture
def agenda(catalog: DynamoCatalog) -> DynamoAgenda:
    """Give the agenda of the empty catalog."""
    return DynamoAgenda(catalog.client, catalog.table)


def stored(catalog: DynamoCatalog, *states: State, **fields: Any) -> ObjectRecord:
    """Register an object and bring it through the states, all at noon."""
    record = any_record(**fields)
    assert catalog.register(record)
    for state in states:
        record = changed(catalog, record, record.moved_to(state, NOON))
    return record


def changed(catalog: DynamoCatalog, before: ObjectRecord, after: ObjectRecord) -> ObjectRecord:
    catalog.apply(Change(before, after))
    return after


def lease(record: ObjectRecord, **fields: Any) -> Lease:
    facts: dict[str, Any] = {
        "object_id": record.object_id,
        "record_version": record.version,
        "step": Step.INSPECT_GENOMICS,
        "holder": "m1",
        "until": NOON,
    }
    return Lease(**facts | fields)


def test_object_is_due_from_its_deadline_on(catalog: DynamoCatalog, agenda: DynamoAgenda) -> None:
    late = stored(catalog)
    at = NOON + WORK.within

    assert agenda.due_objects(at - SECOND, 10) == []
    assert agenda.due_objects(at + SECOND, 10) == [late.object_id]


def test_what_is_at_its_end_or_settled_is_never_due(
    catalog: DynamoCatalog, agenda: DynamoAgenda
) -> None:
    stored(catalog, State.VERIFIED, State.PLACED)
    stored(catalog, State.DUPLICATE)
    held = stored(catalog, State.QUARANTINED)
    changed(catalog, held, held.amended(NOON, held=any_location()))

    assert agenda.due_objects(NOON + timedelta(days=10_000), 10) == []


def test_object_that_moves_on_is_due_at_its_next_deadline(
    catalog: DynamoCatalog, agenda: DynamoAgenda
) -> None:
    waiting = stored(catalog, State.AWAITING_DIGEST)

    assert agenda.due_objects(NOON + WORK.within + SECOND, 10) == []
    assert agenda.due_objects(NOON + DIGEST.within + SECOND, 10) == [waiting.object_id]


def test_redriven_object_is_due_later(catalog: DynamoCatalog, agenda: DynamoAgenda) -> None:
    late = stored(catalog)
    now = NOON + WORK.within
    changed(catalog, late, redriven(late, now))

    assert agenda.due_objects(now + WORK.within + SECOND, 10) == []
    assert agenda.due_objects(now + 2 * WORK.within + SECOND, 10) == [late.object_id]


def test_longest_due_of_all_partitions_come_first_and_no_more_than_asked_for(
    catalog: DynamoCatalog, agenda: DynamoAgenda
) -> None:
    made = [stored(catalog, state_since=NOON - n * SECOND) for n in range(40)]
    oldest = [record.object_id for record in reversed(made)]
    now = NOON + WORK.within + SECOND

    assert agenda.due_objects(now, 7) == oldest[:7]
    assert agenda.due_objects(now, 100) == oldest


def test_overdue_object_is_counted_with_its_owner_and_no_longer_due(
    catalog: DynamoCatalog, agenda: DynamoAgenda
) -> None:
    waiting = stored(catalog, State.AWAITING_DIGEST)
    late = stored(catalog)
    conflict = stored(catalog, State.CONFLICT)
    conflict = changed(catalog, conflict, conflict.amended(NOON, held=any_location()))
    for record in (waiting, late, conflict):
        changed(catalog, record, warned(record, NOON + DECISION.within))

    assert agenda.due_objects(NOON + timedelta(days=10_000), 10) == []
    assert agenda.count_overdue(State.AWAITING_DIGEST, Owner.SENDER) == 1
    assert agenda.count_overdue(State.RECEIVED, Owner.PLATFORM) == 1
    assert agenda.count_overdue(State.CONFLICT, Owner.DATA_STEWARD) == 1
    assert agenda.count_overdue(State.CONFLICT, Owner.PLATFORM) == 0


def test_overdue_object_that_goes_on_is_counted_no_more(
    catalog: DynamoCatalog, agenda: DynamoAgenda
) -> None:
    waiting = stored(catalog, State.AWAITING_DIGEST)
    waiting = changed(catalog, waiting, warned(waiting, NOON + DIGEST.within))

    changed(catalog, waiting, waiting.moved_to(State.RECEIVED, NOON))

    assert agenda.count_overdue(State.AWAITING_DIGEST, Owner.SENDER) == 0


def test_lease_is_found_once_it_ended_and_is_no_due_object(
    catalog: DynamoCatalog, agenda: DynamoAgenda
) -> None:
    first, second = stored(catalog), stored(catalog)
    catalog.take_lease(lease(first, until=NOON + SECOND), NOON)
    catalog.take_lease(lease(second, until=NOON + 60 * SECOND), NOON)

    assert agenda.ended_leases(NOON, 10) == []
    assert agenda.ended_leases(NOON + 2 * SECOND, 10) == [first.object_id]
    assert agenda.ended_leases(NOON + 61 * SECOND, 1) == [first.object_id]
    assert agenda.due_objects(NOON + 61 * SECOND, 10) == []


def test_runs_are_found_by_when_they_came_into_their_state(
    catalog: DynamoCatalog, agenda: DynamoAgenda
) -> None:
    runs = [any_run(state_since=NOON + n * SECOND) for n in range(3)]
    for run in reversed(runs):
        catalog.open_run(run)
    catalog.open_run(any_run(state=RunState.SUBMITTED))

    found = agenda.runs_in(RunState.SUBMITTING, NOON + 1.5 * SECOND, 10)

    assert found == [runs[0].run_id, runs[1].run_id]
    assert agenda.runs_in(RunState.SUBMITTING, NOON + timedelta(hours=1), 1) == [runs[0].run_id]
