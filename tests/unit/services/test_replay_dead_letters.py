"""A replay does what was not done, nothing else, and leaves a record; nothing can be lost in it."""

import copy
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.domain.dead_letters import DeadLetter, LetterState, Verdict
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Location
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.errors import Trouble
from forebay.names import Step, Zone
from forebay.services.ports import RecordedChange
from forebay.services.replay_dead_letters import (
    FOLDER,
    Outcome,
    ReplayOptions,
    ResolveDeadLetters,
    Selection,
    select,
)
from tests.unit.fakes import (
    BUCKETS,
    Effects,
    any_dicom_body,
    any_failure,
    any_reads_body,
    any_run,
    checksum_of,
)
from tests.unit.world import MAX_RECEIVES, Message, World, body_text

READS = "site-a/run1/NA12878_S1_L001_R1_001.fastq.gz"
LEDGER = BUCKETS[Zone.LEDGER]


def failing(world: World, step: Step, *, times: int = MAX_RECEIVES) -> None:
    """Let a step fail its next deliveries, as in an outage."""
    left = {"times": times}
    real = World._call

    def call(message: Message) -> None:
        if message.step is step and left["times"]:
            left["times"] -= 1
            raise Trouble("storage failed on purpose")
        real(world, message)

    world._call = call  # type: ignore[method-assign]


def with_letter(step: Step, story: Callable[[World], Any], *, times: int = MAX_RECEIVES) -> World:
    """Tell a story in which a step gives up on its first message, and archive that."""
    world = World(needs_sender_digest=False)
    if step is Step.SUBMIT_PIPELINE:
        # The message that matters is that of the mate that completes the pair.
        mate(world, "R2")
        world.run()
    failing(world, step, times=times)
    story(world)
    world.run()
    assert len(world.archive_dead_letters()) == times / MAX_RECEIVES
    return world


def image(world: World) -> str:
    return world.image(any_dicom_body())


def mate(world: World, name: str) -> None:
    body = any_reads_body()
    key = READS.replace("R1", name)
    world.genomics(key, body, metadata={"md5": checksum_of(Algorithm.MD5, body)})


def only(world: World) -> DeadLetter:
    (letter,) = world.letters.by_id.values()
    return letter


def verdict(world: World, letter: DeadLetter | None = None) -> Verdict:
    return world.preview_dead_letter(letter or only(world)).verdict


def shape(world: World) -> Any:
    """Return everything a step may change: records, copies, tags, runs."""
    stored = {
        place: {v: (s.body, dict(s.tags)) for v, s in versions.items()}
        for place, versions in world.store.versions.items()
        if place[0] != LEDGER
    }
    return copy.deepcopy((world.catalog.records, world.catalog.claims, world.catalog.runs, stored))


def ledger(world: World, replay_id: str) -> list[dict[str, Any]]:
    versions = world.store.versions[LEDGER, f"{FOLDER}/{replay_id}.json"]
    return [json.loads(version.body) for version in versions.values()]


STEPS: Mapping[Step, Callable[[World], Any]] = {
    Step.REGISTER_OBJECT: image,
    Step.INSPECT_DICOM: image,
    Step.INSPECT_GENOMICS: lambda world: world.genomics(READS, any_reads_body()),
    Step.PLACE_OBJECT: image,
    Step.SUBMIT_PIPELINE: lambda world: mate(world, "R1"),
}


@pytest.mark.parametrize("step", STEPS)
def test_replay_does_the_work_once_and_leaves_a_record(step: Step) -> None:
    world = with_letter(step, STEPS[step])
    before = shape(world)
    assert verdict(world) is Verdict.WOULD_ACT

    done = world.replay_all()

    assert shape(world) != before
    assert [result.outcome for result in done.results] == [Outcome.SENT]
    assert all(r.state is State.PLACED for r in world.catalog.records.values())
    assert verdict(world) is Verdict.ALREADY_DONE
    assert only(world).state is LetterState.REPLAYED
    assert (only(world).replay_id, only(world).by) == (done.record_id, "a steward")
    began, ended = ledger(world, done.record_id)
    assert began["chosen"] == [only(world).letter_id]
    assert began["letters"] == []
    assert [letter["outcome"] for letter in ended["letters"]] == ["sent"]
    assert ended["by"] == "a steward"


@pytest.mark.parametrize("step", STEPS)
def test_replay_of_what_is_done_sends_nothing_and_changes_nothing(step: Step) -> None:
    world = with_letter(step, STEPS[step])
    letter = only(world)
    world.replay_all()
    # As if nobody had noted that it was replayed.
    world.letters.by_id[letter.letter_id] = letter
    before, deliveries = shape(world), world.deliveries.total()

    done = world.replay_all()

    assert [result.outcome for result in done.results] == [Outcome.ALREADY_DONE]
    assert (shape(world), world.deliveries.total()) == (before, deliveries)
    assert only(world).state is LetterState.RESOLVED


@pytest.mark.parametrize("step", STEPS)
def test_message_of_what_is_done_delivered_all_the_same_changes_nothing(step: Step) -> None:
    world = with_letter(step, STEPS[step])
    body = json.loads(world.store.body(only(world).body))["body"]
    world.replay_all()
    before = shape(world)

    world.deliver(step, body)
    world.run()

    assert shape(world) == before


def test_poison_that_fails_again_is_one_letter_with_its_count_and_cannot_loop() -> None:
    world = with_letter(Step.PLACE_OBJECT, image)
    signature = only(world).failure.signature
    for count in range(2, 5):
        failing(world, Step.PLACE_OBJECT)
        world.replay_all()
        deliveries = world.deliveries.total()
        world.run()
        assert world.deliveries.total() == deliveries

        world.archive_dead_letters()

        letter = only(world)
        assert (letter.failures, letter.state) == (count, LetterState.OPEN)
        assert letter.failure.signature == signature
    (group,) = world.letters.groups()
    assert (group.open_letters, group.failures) == (1, 4)


def test_new_version_is_tried_on_a_letter_before_the_rest_is_sent() -> None:
    world = with_letter(Step.INSPECT_DICOM, image)

    done = world.replay_all(to_version="7")

    (result,) = done.results
    assert result.outcome is Outcome.ACTED
    assert "version 7" in result.why
    assert only(world).state is LetterState.RESOLVED
    assert all(r.state is State.PLACED for r in world.catalog.records.values())


def test_version_that_fails_too_counts_and_says_why() -> None:
    world = with_letter(Step.INSPECT_DICOM, image)
    failing(world, Step.INSPECT_DICOM)

    done = world.replay_all(to_version="7")

    (result,) = done.results
    assert result.outcome is Outcome.FAILED_AGAIN
    assert "storage failed on purpose" in result.why
    letter = only(world)
    assert (letter.state, letter.failures) == (LetterState.OPEN, 2)


def test_named_version_is_tried_even_on_what_this_one_does_not_understand() -> None:
    world = with_letter(Step.INSPECT_DICOM, image)
    del world.catalog.records[only(world).about]
    assert verdict(world) is Verdict.CANNOT

    assert world.replay_all().results[0].outcome is Outcome.CANNOT
    assert only(world).state is LetterState.OPEN
    assert world.replay_all(to_version="7").results[0].outcome is Outcome.FAILED_AGAIN


def test_arrival_that_was_deleted_before_it_was_registered_gets_its_record() -> None:
    world = with_letter(Step.REGISTER_OBJECT, image)
    ((bucket, key),) = [place for place in world.store.versions if place[0] != LEDGER]
    world.store.expire(Location(bucket, key))
    assert verdict(world) is Verdict.WOULD_ACT

    world.replay_all()

    assert [record.state for record in world.catalog.records.values()] == [State.DELETED]
    assert verdict(world) is Verdict.ALREADY_DONE


def image_event(world: World) -> Any:
    world.image(any_dicom_body())
    return world.queue.pop().event


def test_what_a_pipeline_reported_is_previewed_by_its_run() -> None:
    world = World()
    run = any_run(state=RunState.SUBMITTED)
    body = json.dumps(
        {
            "time": "2026-03-01T12:00:00Z",
            "detail": {"name": run.run_id, "status": "SUCCEEDED", "executionArn": "arn"},
        }
    )
    letter = replace(
        a_letter(world), failure=any_failure(step=Step.RECORD_PIPELINE), about=run.run_id
    )

    def now() -> Verdict:
        return world.preview_dead_letter.of_message(letter, body).verdict

    assert now() is Verdict.CANNOT
    world.catalog.open_run(run)
    assert now() is Verdict.WOULD_ACT
    world.catalog.move_run(run, run.moved_to(RunState.SUCCEEDED, world.clock.now()))
    assert now() is Verdict.ALREADY_DONE


def a_letter(world: World) -> DeadLetter:
    world.dead_letters.append(Message(Step.REGISTER_OBJECT, image_event(world)))
    return world.archive_dead_letters()[0]


def test_message_in_no_shape_cannot_be_replayed_and_says_so() -> None:
    world = World()
    letter = a_letter(world)
    preview = world.preview_dead_letter.of_message(letter, "no json")
    assert preview.verdict is Verdict.CANNOT
    assert "not JSON" in preview.why


def test_change_that_was_not_relayed_is_exactly_what_is_relayed_again() -> None:
    world = World()
    made = world.image(any_dicom_body())
    world.work_off(world.queue.pop())
    lost = world.fresh_changes()
    world.give_up_on(lost)
    world.run()
    assert world.state(made) is State.RECEIVED
    assert world.log.recorded == []
    assert len(world.archive_dead_letters()) == 1
    assert verdict(world) is Verdict.WOULD_ACT

    done = world.replay_all()

    assert [result.outcome for result in done.results] == [Outcome.ACTED]
    assert world.log.recorded == lost
    (event,) = world.feed.published
    assert (event.subject_id, event.version) == (made, 1)
    assert only(world).state is LetterState.RESOLVED


def test_letter_of_the_relay_names_no_person() -> None:
    world = World()
    made = world.image(any_dicom_body(subject={"PatientID": "SECRET-1"}))
    world.run()
    record = world.record(made)
    assert record.subject
    world.give_up_on([RecordedChange(None, record)])
    world.archive_dead_letters()

    assert "SECRET-1" not in world.store.body(only(world).body).decode()


def test_change_the_stream_forgot_is_kept_open_until_somebody_resolves_it() -> None:
    world = World()
    made = world.image(any_dicom_body())
    world.work_off(world.queue.pop())
    world.give_up_on(world.fresh_changes(), forgotten=True)
    world.archive_dead_letters()
    preview = world.preview_dead_letter(only(world))
    assert preview.verdict is Verdict.CANNOT
    assert "reconcile" in preview.why

    assert world.replay_all(to_version="9").results[0].outcome is Outcome.CANNOT
    ResolveDeadLetters(world.desk)([only(world)], note="reconciled", by="me")

    letter = only(world)
    assert (letter.state, letter.note, letter.by) == (LetterState.RESOLVED, "reconciled", "me")
    assert world.state(made) is State.RECEIVED


def test_resolution_leaves_a_record_and_a_letter_that_fails_again_is_open_again() -> None:
    world = with_letter(Step.PLACE_OBJECT, image)
    letter = only(world)
    message = Message(Step.PLACE_OBJECT, json.loads("null"))

    done = ResolveDeadLetters(world.desk)([letter], note="not needed", by="me")

    assert [result.outcome for result in done.results] == [Outcome.RESOLVED]
    assert ledger(world, done.record_id)[-1]["note"] == "not needed"
    assert list(select(world.letters, Selection())) == []
    body = json.loads(world.store.body(letter.body))["body"]
    world.deliver(Step.PLACE_OBJECT, body)
    message = world.queue.pop()
    world.dead_letters.append(message)
    world.archive_dead_letters()
    assert only(world).state is LetterState.OPEN


def test_rate_is_kept_between_batches() -> None:
    world = World()
    for _ in range(25):
        world.dead_letters.append(Message(Step.REGISTER_OBJECT, image_event(world)))
    world.archive_dead_letters()
    pauses: list[float] = []
    replay = replace(world.replay_dead_letters, pause=pauses.append)
    chosen = list(select(world.letters, Selection()))

    replay(chosen, ReplayOptions(by="me", rate=5))

    assert pauses == [1.0] * 4
    assert len(world.queue) == 25


def test_letter_that_somebody_else_replayed_meanwhile_is_left_alone() -> None:
    world = with_letter(Step.PLACE_OBJECT, image)
    chosen = [only(world)]
    world.replay_all()
    deliveries = world.deliveries.total()

    done = world.replay_dead_letters(chosen, ReplayOptions(by="late"))

    assert [result.outcome for result in done.results] == [Outcome.CHANGED]
    assert (world.deliveries.total(), only(world).by) == (deliveries, "a steward")


def test_queue_that_refuses_stops_the_replay_and_leaves_the_rest_open() -> None:
    world = with_letter(Step.PLACE_OBJECT, lambda w: [image(w) for _ in range(3)], times=15)

    class Broken:
        def send(self, *_: Any) -> None:
            raise Trouble("the queue refused")

    replay = replace(world.replay_dead_letters, queues=Broken())
    done = replay(list(select(world.letters, Selection())), ReplayOptions(by="me"))

    assert done.stopped == "the queue refused"
    assert {x.state for x in world.letters.by_id.values()} == {LetterState.OPEN}
    assert ledger(world, done.record_id)[-1]["stopped"] == "the queue refused"


def test_letters_are_selected_by_id_signature_step_and_time() -> None:
    world = with_letter(Step.PLACE_OBJECT, image)
    first = only(world)
    world.clock.advance(3600)
    middle = world.clock.now()
    world.clock.advance(3600)
    failing(world, Step.INSPECT_DICOM)
    image(world)
    world.run()
    (second,) = world.archive_dead_letters()

    def chosen(**how: Any) -> list[str]:
        return [letter.letter_id for letter in select(world.letters, Selection(**how))]

    # In the order of the flow: what comes first may be what the other waits for.
    assert chosen() == [second.letter_id, first.letter_id]
    assert chosen(step=Step.PLACE_OBJECT) == [first.letter_id]
    assert chosen(signatures=(second.failure.signature,)) == [second.letter_id]
    assert chosen(since=middle) == [second.letter_id]
    assert chosen(until=middle) == [first.letter_id]
    assert chosen(letter_ids=(first.letter_id, "none")) == [first.letter_id]
    assert chosen(letter_ids=(first.letter_id,), since=middle) == []
    assert chosen(states=frozenset({LetterState.RESOLVED})) == []
    assert chosen(until=first.last_failed_at - timedelta(seconds=1)) == []


@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
@pytest.mark.parametrize("step", STEPS)
def test_crash_at_every_effect_of_a_replay_loses_nothing(step: Step, after: bool) -> None:
    def told(effects: Effects) -> World:
        world = with_letter(step, STEPS[step])
        world.effects.calls.clear()
        world.effects.fail_at, world.effects.after = effects.fail_at, effects.after
        for _ in range(3):
            with suppress(Trouble):
                world.replay_all()
            world.run()
        return world

    calm = told(Effects())
    for fail_at in range(1, len(calm.effects.calls) + 1):
        world = told(Effects(fail_at=fail_at, after=after))
        where = f"call {fail_at}: {world.effects.calls[fail_at - 1]}"
        assert only(world).state is not LetterState.OPEN, where
        assert all(r.state is State.PLACED for r in world.catalog.records.values()), where
        for record in world.catalog.records.values():
            assert world.store.tags(record.location), where
        placed = [r.placed for r in world.catalog.records.values() if r.placed]
        assert all(len(world.store.versions[p.bucket, p.key]) == 1 for p in placed), where


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["image", "broken", "again", "other", "reads"]),
        st.sampled_from(list(STEPS)),
        st.integers(0, 30),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(MESSAGES)
def test_preview_agrees_with_what_a_replay_then_does(told: list[tuple[str, Step, int]]) -> None:
    world = World(needs_sender_digest=False)
    for kind, step, delay in told:
        tell(world, kind)
        for _ in range(delay):
            world.relay()
            if world.queue:
                world.work_off(world.queue.popleft())
        give_up(world, step)
    world.archive_dead_letters()

    for letter in list(world.letters.by_id.values()):
        body = json.loads(world.store.body(letter.body))["body"]
        judged = world.preview_dead_letter.of_message(letter, body)
        before = shape(world)
        world.deliver(letter.step, body)
        message = world.queue.pop()
        message.receives = MAX_RECEIVES - 1
        world.work_off(message)
        changed = shape(world) != before
        assert changed == (judged.verdict is Verdict.WOULD_ACT), judged
        world.dead_letters.clear()


def tell(world: World, kind: str) -> None:
    uid: dict[str, Any] = {
        "sop_instance_uid": "1.2.3",
        "study_instance_uid": "1.2.4",
        "pixels": b"same",
    }
    if kind == "reads":
        world.genomics(READS, any_reads_body())
    elif kind == "broken":
        world.image(b"no dicom")
    elif kind == "other":
        world.image(any_dicom_body(**uid | {"pixels": b"other"}), "site-a/other")
    else:
        world.image(any_dicom_body(**uid), f"site-a/{kind}")


def give_up(world: World, step: Step) -> None:
    """Take the messages of a step out of its queue, as if it had failed them."""
    gone = [message for message in world.queue if message.step is step]
    for message in gone:
        world.queue.remove(message)
        assert body_text(message.event)
        world.dead_letters.append(message)
