"""The state machine is the one of architecture §4: what is not listed is forbidden."""

from itertools import product

import pytest

from forebay.domain.states import IN_FLIGHT, TRANSITIONS, State, check_transition, detail_type_of
from forebay.errors import IllegalTransitionError
from forebay.names import DetailType
from tests.unit.fakes import NOON, any_record

ALLOWED = {
    (None, "RECEIVED"),
    (None, "IGNORED"),
    (None, "DELETED"),
    ("RECEIVED", "VERIFIED"),
    ("RECEIVED", "QUARANTINED"),
    ("RECEIVED", "AWAITING_DIGEST"),
    ("RECEIVED", "DUPLICATE"),
    ("RECEIVED", "CONFLICT"),
    ("RECEIVED", "DELETED"),
    ("AWAITING_DIGEST", "RECEIVED"),
    ("AWAITING_DIGEST", "DELETED"),
    ("VERIFIED", "PLACED"),
    ("VERIFIED", "QUARANTINED"),
    ("VERIFIED", "DELETED"),
    ("PLACED", "QUARANTINED"),
    ("PLACED", "SUPERSEDED"),
    ("SUPERSEDED", "EXPIRED"),
    ("SUPERSEDED", "DELETED"),
    ("PLACED", "EXPIRED"),
    ("PLACED", "DELETED"),
    ("QUARANTINED", "RECEIVED"),
    ("QUARANTINED", "EXPIRED"),
    ("QUARANTINED", "DELETED"),
    ("DUPLICATE", "RECEIVED"),
    ("DUPLICATE", "EXPIRED"),
    ("DUPLICATE", "DELETED"),
    ("CONFLICT", "RECEIVED"),
    ("CONFLICT", "EXPIRED"),
    ("CONFLICT", "DELETED"),
}


@pytest.mark.parametrize("before, after", list(product([None, *State], State)))
def test_transition_is_allowed_exactly_when_the_design_lists_it(
    before: State | None, after: State
) -> None:
    if (before, after) in ALLOWED:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransitionError, match=f"from {before} to {after}"):
            check_transition(before, after)


def test_every_state_says_what_may_follow() -> None:
    assert set(TRANSITIONS) == {None, *State}


def test_no_state_in_flight_is_an_end() -> None:
    assert all(TRANSITIONS[state] for state in IN_FLIGHT)


def test_every_state_can_be_reached() -> None:
    assert {after for _, after in ALLOWED} == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_has_an_event_of_its_own(state: State) -> None:
    event = detail_type_of(None, state)

    assert event is not DetailType.OBJECT_UPDATED
    assert [s for s in State if detail_type_of(None, s) is event] == [state]
    assert detail_type_of(state, state) is DetailType.OBJECT_UPDATED


def test_moving_a_record_is_a_new_version_with_the_time_of_the_move() -> None:
    record = any_record(version=3)

    moved = record.moved_to(State.VERIFIED, NOON.replace(hour=13), source_system="pacs")

    assert (moved.state, moved.version, moved.state_since.hour) == (State.VERIFIED, 4, 13)
    assert moved.source_system == "pacs"
    assert record.version == 3


def test_moving_a_record_where_it_may_not_go_is_refused() -> None:
    with pytest.raises(IllegalTransitionError):
        any_record(state=State.PLACED).moved_to(State.VERIFIED, NOON)
