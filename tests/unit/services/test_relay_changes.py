"""relay_changes: events exist if and only if changes happened, and name no person."""

from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.adapters.change_log import history_entry, ledger_line, search_entries
from forebay.domain.imaging import SUBJECT_KEYWORDS
from forebay.domain.objects import Kind
from forebay.domain.states import TRANSITIONS, State
from forebay.errors import Trouble
from forebay.events import ObjectChanged, utc_text
from forebay.names import DetailType
from forebay.services.ports import RecordedChange, RecordedRun
from forebay.services.relay_changes import RelayChanges, event_of, run_event_of
from tests.unit.fakes import (
    NOON,
    FakeFeed,
    FakeLog,
    FakePseudonyms,
    any_dicom_body,
    any_digest,
    any_finding,
    any_instance,
    any_location,
    any_record,
    any_run,
)
from tests.unit.world import World

MARKER = "Xq7Zk"
STEPS = [(before, after) for before, allowed in TRANSITIONS.items() for after in sorted(allowed)]


def test_history_is_written_before_the_bus_is_told() -> None:
    journal: list[str] = []
    relay = RelayChanges(FakeLog(journal), FakeFeed(journal))

    assert relay([RecordedChange(None, any_record())]) == 1
    assert journal == ["history", "bus"]


def test_counters_are_no_change() -> None:
    log, feed = FakeLog(), FakeFeed()
    record = any_record()

    relayed = RelayChanges(log, feed)([RecordedChange(record, replace(record, duplicate_count=1))])

    assert relayed == 0
    assert not log.recorded
    assert not feed.published


def test_empty_batch_is_no_call() -> None:
    journal: list[str] = []

    assert RelayChanges(FakeLog(journal), FakeFeed(journal))([]) == 0
    assert not journal


def test_bus_that_refuses_fails_the_batch_after_history_was_written() -> None:
    log, feed = FakeLog(), FakeFeed()
    feed.fails = 1

    with pytest.raises(Trouble):
        RelayChanges(log, feed)([RecordedChange(None, any_record())])

    assert len(log.recorded) == 1


def test_batch_that_comes_again_says_the_same_again() -> None:
    feed = FakeFeed()
    relay = RelayChanges(FakeLog(), feed)
    record = any_record()
    batch = [
        RecordedChange(None, record),
        RecordedChange(record, record.moved_to(State.VERIFIED, NOON)),
    ]

    relay(batch)
    relay(batch)

    assert feed.published[:2] == feed.published[2:]


def test_runs_go_to_the_ledger_and_the_bus_and_not_to_the_objects_history() -> None:
    log, feed = FakeLog(), FakeFeed()
    change = RecordedRun(None, any_run())

    RelayChanges(log, feed)([change])

    assert log.runs == [change]
    assert not log.recorded
    assert [event.detail_type for event in feed.published] == [DetailType.PIPELINE_RUN_CHANGED]


@pytest.mark.parametrize("before, after", STEPS)
def test_every_transition_has_its_event(before: State | None, after: State) -> None:
    old = any_record(state=before) if before else None
    new = any_record(state=after, version=2)

    event = event_of(RecordedChange(old, new))

    assert event.detail_type.value.upper().startswith("OBJECT")
    assert event.detail_type is not DetailType.OBJECT_UPDATED
    assert event.previous_state == (before or "")


def test_amendment_is_an_update() -> None:
    record = any_record(state=State.PLACED)

    later = record.state_since + timedelta(hours=1)

    event = event_of(RecordedChange(record, record.amended(later, consent_state="withdrawn")))

    assert event.detail_type is DetailType.OBJECT_UPDATED
    assert event.at == utc_text(later)
    assert event.version == record.version + 1


def test_event_survives_the_wire() -> None:
    placed = any_location(bucket="clinical", key="dicom/1/2/3.dcm")
    record = any_record(state=State.QUARANTINED, placed=placed, finding=any_finding())

    event = event_of(RecordedChange(any_record(state=State.PLACED), record))

    envelope = {"detail-type": event.detail_type.value, "detail": event.as_detail()}
    assert ObjectChanged.from_envelope(envelope) == event


@pytest.mark.parametrize("empty", ["site", "version_id"])
def test_event_without_site_or_version_survives_the_wire(empty: str) -> None:
    nothing: dict[str, Any] = {empty: ""}
    event = replace(event_of(RecordedChange(None, any_record())), **nothing)

    detail = event.as_detail()
    assert empty not in detail
    envelope = {"detail-type": event.detail_type.value, "detail": detail}
    assert ObjectChanged.from_envelope(envelope) == event


def test_event_of_a_newer_schema_is_read_by_what_is_known() -> None:
    event = event_of(RecordedChange(None, any_record()))
    envelope = {
        "detail-type": event.detail_type.value,
        "detail": {**event.as_detail(), "schema_version": "2", "novelty": 1},
    }

    assert ObjectChanged.from_envelope(envelope) == event


@settings(max_examples=60)
@given(
    subject=st.fixed_dictionaries(
        {},
        optional={k: st.text(max_size=9).map(lambda t: f"{MARKER}{t}") for k in SUBJECT_KEYWORDS},
    ),
    step=st.sampled_from(STEPS),
    kind=st.sampled_from(Kind),
)
def test_no_subject_attribute_leaves_the_catalog(
    subject: dict[str, str], step: tuple[State | None, State], kind: Kind
) -> None:
    pseudonyms = FakePseudonyms()
    facts = {
        "kind": kind,
        "metadata": {**any_instance().as_metadata(), "run": "M1_7_FC"},
        "subject": subject,
        "subject_tokens": {k: pseudonyms.token(k, v) for k, v in subject.items()},
        "finding": any_finding(),
        "digests": (any_digest(),),
        "parents": ("someone",),
    }
    before, after = step
    old = any_record(state=before, **facts) if before else None
    change = RecordedChange(old, any_record(state=after, version=2, **facts))

    said = [
        event_of(change).as_detail(),
        history_entry(change),
        ledger_line(change),
        search_entries(change),
    ]

    assert MARKER not in str(said)


def test_nothing_the_flow_says_names_the_patient() -> None:
    world = World()
    subject = dict.fromkeys(SUBJECT_KEYWORDS, MARKER)
    body = any_dicom_body(subject=subject)
    world.image(body)
    world.image(body, "site-a/again")
    world.image(body + b"!", "site-a/other")
    world.image(b"no dicom", "site-a/bad")
    world.run()

    assert len(world.feed.published) > 3
    assert MARKER not in str([asdict(event) for event in world.feed.published])
    assert MARKER not in str([ledger_line(change) for change in world.log.recorded])
    tags = [v.tags for versions in world.store.versions.values() for v in versions.values()]
    assert MARKER not in str(tags)
    assert MARKER not in str(list(world.store.versions))


def test_run_event_carries_state_and_error() -> None:
    run = any_run()
    event = run_event_of(RecordedRun(None, run))

    assert (event.run_id, event.previous_state, event.state) == (run.run_id, "", "SUBMITTING")
    assert "error" not in event.as_detail()
