"""sweep_deadlines: nothing stands still for ever, and nothing is driven twice for one deadline."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from forebay.domain.deadlines import DECISION, DIGEST, MAX_REDRIVES, WORK
from forebay.domain.findings import Owner, ReasonCode
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Choice, Decision
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import State
from forebay.errors import Trouble
from forebay.events import PipelineFinished
from forebay.names import DetailType, Step
from forebay.services.leasing import Delivery
from forebay.services.ports import Change
from forebay.services.sweep_deadlines import WITHDRAWN, SweepDeadlines
from tests.unit.fakes import (
    Effects,
    FakeAgenda,
    FakeQueues,
    any_dicom_body,
    any_reads_body,
    any_uid,
    checksum_of,
)
from tests.unit.world import WORKER_SECONDS, World

READS = "site-a/run1/NA12878_S1_L001_R1_001.fastq.gz"
MATE = READS.replace("_R1_", "_R2_")
LATE = WORK.within.total_seconds() / 60
FIRST = Delivery("first", WORKER_SECONDS)


def lost(world: World, step: Step) -> None:
    """Lose every message that waits for a step."""
    world.relay()
    kept = [message for message in world.queue if message.step is not step]
    assert len(kept) < len(world.queue)
    world.queue.clear()
    world.queue.extend(kept)


def run_but_lose(world: World, step: Step) -> None:
    """Work until nothing is left, losing the first messages to one step."""
    while True:
        world.relay()
        if any(message.step is step for message in world.queue):
            lost(world, step)
            break
        world.work_off(world.queue.popleft())
    world.run()


def redrives(world: World) -> list[str]:
    return [m.event.object_id for m in world.queue if hasattr(m.event, "object_id")]


def test_quiet_world_is_left_alone() -> None:
    world = World()
    world.image(any_dicom_body())
    world.run()
    before = dict(world.catalog.records)

    done = world.sweep(minutes=10_000_000)

    assert not done.outcomes
    assert set(done.overdue.values()) == {0}
    assert world.catalog.records == before


@pytest.mark.parametrize("step", [Step.INSPECT_DICOM, Step.PLACE_OBJECT])
def test_lost_message_is_made_up_for_after_its_deadline(step: Step) -> None:
    world = World()
    made = world.image(any_dicom_body())
    run_but_lose(world, step)
    stuck = world.state(made)

    assert not world.sweep(minutes=LATE - 1).redriven
    assert world.state(made) is stuck
    assert world.record(made).redrives == 0

    assert world.sweep(minutes=2).redriven == 1
    assert world.state(made) is State.PLACED
    assert world.record(made).redrives == 0
    assert not world.sweep(minutes=10_000).outcomes


def test_lost_message_about_reads_goes_to_the_step_of_reads() -> None:
    world = World(needs_sender_digest=False)
    made = world.genomics(READS, any_reads_body())
    run_but_lose(world, Step.INSPECT_GENOMICS)

    world.sweep(minutes=LATE)

    assert world.state(made) is State.PLACED


def test_refused_object_whose_copy_was_never_made_is_held_in_the_end() -> None:
    world = World()
    made = world.image(b"no dicom")
    run_but_lose(world, Step.PLACE_OBJECT)
    assert world.record(made).held is None

    world.sweep(minutes=LATE)

    assert world.record(made).held
    assert world.state(made) is State.QUARANTINED


def test_redrive_is_in_the_history_and_its_message_is_the_states_own() -> None:
    world = World()
    made = world.image(any_dicom_body())
    run_but_lose(world, Step.INSPECT_DICOM)
    world.clock.advance(LATE * 60)

    world.sweep_deadlines()

    (message,) = world.queue
    event: Any = message.event
    assert message.step is Step.INSPECT_DICOM
    assert event.detail_type is DetailType.OBJECT_RECEIVED
    assert (event.object_id, event.version) == (made, 2)
    world.relay()
    change = world.log.recorded[-1]
    assert (change.after.object_id, change.after.version, change.after.redrives) == (made, 2, 1)
    # The bus tells of an amendment, which no step waits for.
    assert world.feed.published[-1].detail_type is DetailType.OBJECT_UPDATED
    assert len(world.queue) == 1


def test_object_whose_messages_get_lost_again_and_again_is_overdue_in_the_end() -> None:
    world = World()
    made = world.image(any_dicom_body())
    run_but_lose(world, Step.INSPECT_DICOM)

    sweeps = []
    for _ in range(24):
        world.clock.advance(LATE * 60)
        sweeps.append(world.sweep_deadlines())
        world.queue.clear()

    assert sum(each.redriven for each in sweeps) == MAX_REDRIVES
    assert [at for at, each in enumerate(sweeps, 1) if each.redriven] == [1, 3, 7, 11, 15]
    assert [at for at, each in enumerate(sweeps, 1) if each.warned] == [19]
    assert [each.overdue["RECEIVED", Owner.PLATFORM] for each in sweeps] == [0] * 18 + [1] * 6
    (warning,) = world.record(made).warnings
    assert warning.code is ReasonCode.STEP_OVERDUE


def test_overdue_object_that_goes_on_after_all_is_overdue_no_more() -> None:
    world = World()
    made = world.image(any_dicom_body())
    run_but_lose(world, Step.INSPECT_DICOM)
    for _ in range(20):
        world.clock.advance(LATE * 60)
        world.sweep_deadlines()
        world.queue.clear()
    assert world.sweep().overdue["RECEIVED", Owner.PLATFORM] == 1

    world.inspect_dicom(made)
    done = world.sweep()

    assert world.state(made) is State.PLACED
    assert not world.record(made).warnings
    assert set(done.overdue.values()) == {0}


def test_crashed_worker_is_replaced_once_its_lease_ended_and_once_only() -> None:
    world, made = crashed_worker()

    assert not world.sweep(minutes=1).outcomes
    assert world.state(made) is State.RECEIVED

    world.clock.advance(WORKER_SECONDS)
    first = world.sweep_deadlines()
    second = world.sweep_deadlines()

    assert (first.leases_ended, first.redriven) == (1, 1)
    assert not second.outcomes
    assert redrives(world) == [made]
    world.run()
    assert world.state(made) is State.PLACED
    assert not world.catalog.leases


def test_object_at_work_under_a_lease_is_left_alone_however_late() -> None:
    world, made = crashed_worker(seconds_left=10 * LATE * 60)
    world.clock.advance(2 * LATE * 60)

    assert not world.sweep_deadlines().outcomes
    assert world.record(made).version == 1


def test_lease_that_outlived_its_work_is_cleared_away_and_nothing_is_redriven() -> None:
    world, made = crashed_worker()
    world.inspect_genomics(made)
    record = world.record(made)
    world.clock.advance(1.5 * WORKER_SECONDS)

    done = world.sweep_deadlines()

    assert done.outcomes == {"lease ended": 1}
    assert world.record(made) == record
    assert not world.catalog.leases


def test_worker_that_crashes_every_time_is_replaced_a_few_times_only() -> None:
    world, made = crashed_worker()
    total = 0
    for number in range(3 * MAX_REDRIVES):
        world.clock.advance(2 * WORKER_SECONDS)
        total += world.sweep_deadlines().redriven
        world.queue.clear()
        crash(world, made, Delivery(f"again {number}", WORKER_SECONDS))

    assert total == MAX_REDRIVES
    assert world.record(made).redrives == MAX_REDRIVES


@pytest.mark.parametrize("crashed", [False, True], ids=["lost message", "ended lease"])
def test_two_sweeps_at_once_redrive_once(crashed: bool) -> None:
    if crashed:
        world, made = crashed_worker()
    else:
        world = World()
        made = world.image(any_dicom_body())
        run_but_lose(world, Step.INSPECT_DICOM)
    world.clock.advance(10 * WORKER_SECONDS)
    others: list[int] = []
    world.catalog.before_next_write.append(lambda: others.append(world.sweep_deadlines().redriven))

    mine = world.sweep_deadlines().redriven

    assert mine + sum(others) == 1
    assert redrives(world) == [made]
    assert world.record(made).redrives == 1


def test_step_that_moves_the_object_first_spares_the_redrive() -> None:
    world = World()
    made = world.image(any_dicom_body())
    run_but_lose(world, Step.INSPECT_DICOM)
    world.clock.advance(LATE * 60)
    world.catalog.before_next_write.append(lambda: _ignore(world.inspect_dicom(made)))

    assert world.sweep_deadlines().redriven == 0

    assert world.state(made) is State.VERIFIED
    assert not world.queue


def test_index_that_lags_behind_misleads_nobody() -> None:
    world = World()
    made = world.image(any_dicom_body())
    world.run()
    before = dict(world.catalog.records)
    agenda: Any = world.sweep_deadlines.agenda
    agenda.outdated = [made, "gone"]

    assert not world.sweep_deadlines().outcomes
    assert world.catalog.records == before


def test_sweep_is_bounded_and_the_next_one_goes_on() -> None:
    world = World()
    made = [world.image(any_dicom_body(), f"site-a/{n}") for n in range(25)]
    run_but_lose_all(world)
    world.clock.advance(LATE * 60)
    small = bounded(world, 10)

    assert [small().redriven for _ in range(4)] == [10, 10, 5, 0]
    world.run()
    assert {world.state(each) for each in made} == {State.PLACED}


def test_queue_that_is_down_is_trouble_and_loses_nothing() -> None:
    world = World()
    made = world.image(any_dicom_body())
    run_but_lose(world, Step.INSPECT_DICOM)
    world.clock.advance(LATE * 60)
    queues: Any = world.sweep_deadlines.queues
    queues.effects = Effects(fail_at=1)

    with pytest.raises(Trouble):
        world.sweep_deadlines()
    assert not world.sweep().redriven

    # It was amended before it was sent: the next deadline, which is later, finds it.
    assert world.sweep(minutes=2 * LATE).redriven == 1
    assert world.state(made) is State.PLACED


def test_record_that_cannot_be_read_stands_in_nobodys_way() -> None:
    world = World()
    bad, good = (world.image(any_dicom_body(), f"site-a/{n}") for n in range(2))
    run_but_lose_all(world)
    real = world.catalog.get

    def get(object_id: str) -> Any:
        if object_id == bad:
            raise KeyError("state_since")
        return real(object_id)

    world.catalog.get = get  # type: ignore[method-assign]
    world.clock.advance(LATE * 60)

    done = world.sweep_deadlines()

    assert [(made, type(failure)) for made, failure in done.failures] == [(bad, KeyError)]
    assert done.redriven == 1
    assert redrives(world) == [good]


def test_sweep_in_which_everything_fails_ends() -> None:
    world = World()
    for number in range(20):
        world.image(any_dicom_body(), f"site-a/{number}")
    run_but_lose_all(world)
    world.clock.advance(LATE * 60)
    asked: list[str] = []

    def get(object_id: str) -> Any:
        asked.append(object_id)
        raise OSError("the network is down")

    world.catalog.get = get  # type: ignore[method-assign]

    with pytest.raises(Trouble, match="10 objects"):
        world.sweep_deadlines()

    assert len(asked) == 10


@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
def test_sweep_that_dies_at_any_effect_loses_nothing(after: bool) -> None:
    def told(fail_at: int) -> World:
        world, made = crashed_worker()
        other = world.image(any_dicom_body())
        run_but_lose(world, Step.INSPECT_DICOM)
        world.clock.advance(10 * WORKER_SECONDS)
        world.effects.calls.clear()
        world.effects.fail_at, world.effects.after = fail_at, after
        for _ in range(4):
            with suppress(Trouble):
                world.sweep_deadlines()
            world.effects.fail_at = 0
            world.run()
            world.clock.advance(4 * LATE * 60)
        where = world.effects.calls[fail_at - 1]
        assert world.state(made) is world.state(other) is State.PLACED, where
        return world

    calls = len(told(0).effects.calls)
    assert calls > 8
    for fail_at in range(1, 12):
        told(fail_at)


def test_digest_that_never_comes_is_asked_for_once_and_shown_until_it_comes() -> None:
    world, body = World(), any_reads_body()
    made = world.genomics(READS, body)
    world.run()
    assert world.state(made) is State.AWAITING_DIGEST
    day = DIGEST.within / timedelta(minutes=1)

    assert not world.sweep(minutes=day - 1).warned
    sweeps = [world.sweep(minutes=1), world.sweep(minutes=day), world.sweep(minutes=day)]

    assert [each.warned for each in sweeps] == [1, 0, 0]
    assert [each.overdue["AWAITING_DIGEST", Owner.SENDER] for each in sweeps] == [1, 1, 1]
    assert [w.code for w in world.record(made).warnings] == [ReasonCode.DIGEST_OVERDUE]

    world.genomics(f"{READS}.md5", checksum_of(Algorithm.MD5, body).encode())
    world.run()
    done = world.sweep()

    assert world.state(made) is State.PLACED
    assert not world.record(made).warnings
    assert done.overdue["AWAITING_DIGEST", Owner.SENDER] == 0


def test_digest_that_comes_during_the_warning_wins() -> None:
    world, body = World(), any_reads_body()
    made = world.genomics(READS, body)
    world.run()

    def send() -> None:
        world.genomics(f"{READS}.md5", checksum_of(Algorithm.MD5, body).encode())
        world.run()

    world.catalog.before_next_write.append(send)

    assert world.sweep(minutes=DIGEST.within / timedelta(minutes=1)).warned == 0
    assert world.state(made) is State.PLACED


def test_conflict_that_nobody_decides_is_the_stewards_until_decided() -> None:
    world = World()
    uids: dict[str, Any] = {"sop_instance_uid": any_uid()}
    world.image(any_dicom_body(**uids))
    world.run()
    made = world.image(any_dicom_body(**uids), "site-a/other")
    world.run()
    assert world.state(made) is State.CONFLICT
    week = DECISION.within / timedelta(minutes=1)

    assert not world.sweep(minutes=week - 1).warned
    done = world.sweep(minutes=1)
    assert done.warned == 1
    assert done.overdue["CONFLICT", Owner.DATA_STEWARD] == 1

    record = world.record(made)
    decision = Decision(Choice.KEEP, "arn:aws:iam::1:role/steward", world.clock.now())
    decided = record.amended(world.clock.now(), decision=decision)
    world.catalog.apply(Change(record, decided))
    assert world.sweep().overdue["CONFLICT", Owner.DATA_STEWARD] == 0


def test_run_that_was_claimed_and_not_started_is_submitted_again() -> None:
    world, run = claimed_run()

    assert not world.sweep(minutes=14).runs_redriven
    done = world.sweep(minutes=1)

    assert done.runs_redriven == 1
    assert done.overdue["SUBMITTING", Owner.PLATFORM] == 1
    assert world.catalog.runs[run.run_id].state is RunState.SUBMITTED
    assert world.pipelines.requests == 1


def test_run_that_cannot_be_submitted_is_tried_once_per_deadline() -> None:
    world, _ = claimed_run()
    world.clock.advance(15 * 60)

    assert world.sweep_deadlines().runs_redriven == 1
    world.queue.clear()

    assert world.sweep_deadlines().runs_redriven == 0
    world.clock.advance(15 * 60)
    assert world.sweep_deadlines().runs_redriven == 1


def test_run_whose_input_was_convicted_before_it_started_fails_and_says_so() -> None:
    world, run = claimed_run()
    record = world.record(run.inputs["R2"])
    world.catalog.records[record.object_id] = record.moved_to(
        State.QUARANTINED, world.clock.now(), held=record.placed
    )

    assert world.sweep(minutes=15).runs_failed == 1

    failed = world.catalog.runs[run.run_id]
    assert (failed.state, failed.error) == (RunState.FAILED, WITHDRAWN)
    assert not world.pipelines.started


@pytest.mark.parametrize(
    "status, state", [("SUCCEEDED", RunState.SUCCEEDED), ("ABORTED", RunState.FAILED)]
)
def test_end_that_nobody_told_of_is_asked_for(status: str, state: RunState) -> None:
    world, run = claimed_run()
    world.submit_pipeline(run.inputs["R1"])
    arn = world.catalog.runs[run.run_id].execution_arn
    world.pipelines.ended[run.run_id] = PipelineFinished(run.run_id, status, arn, "")

    assert not world.sweep(minutes=11 * 60).runs_recorded
    assert world.sweep(minutes=60).runs_recorded == 1

    assert world.catalog.runs[run.run_id].state is state
    assert not world.sweep(minutes=10_000).outcomes


def test_run_that_takes_too_long_is_overdue_and_left_running() -> None:
    world, run = claimed_run()
    world.submit_pipeline(run.inputs["R1"])

    done = world.sweep(minutes=12 * 60)

    assert not done.outcomes
    assert done.overdue["SUBMITTED", Owner.PLATFORM] == 1
    assert world.catalog.runs[run.run_id].state is RunState.SUBMITTED


def crashed_worker(seconds_left: float = WORKER_SECONDS) -> tuple[World, str]:
    """Return a world in which an inspection of reads died, and its message with it."""
    world = World(needs_sender_digest=False, lease_above_bytes=0)
    made = world.received(lambda: world.genomics(READS, any_reads_body()))
    crash(world, made, Delivery("first", seconds_left))
    world.relay()
    world.queue.clear()
    return world, made


def crash(world: World, made: str, delivery: Delivery) -> None:
    """Let a worker die at its write."""

    def die() -> None:
        raise Trouble("the worker was killed")

    world.catalog.before_next_write.append(die)
    with pytest.raises(Trouble):
        world.inspect_genomics(made, delivery=delivery)
    assert world.catalog.leases


def claimed_run() -> tuple[World, PipelineRun]:
    """Return a world in which submit_pipeline died between claiming a run and starting it."""
    world = World(needs_sender_digest=False)
    for key in (READS, MATE):
        world.genomics(key, any_reads_body())
        run_but_lose(world, Step.SUBMIT_PIPELINE)
    first = next(r for r in world.catalog.records.values() if r.location.key == READS)
    calls = world.effects.calls
    calls.clear()
    world.effects.fail_at, world.effects.after = 5, True
    with pytest.raises(Trouble):
        world.submit_pipeline(first.object_id)
    assert calls[-1] == "open_run"
    world.effects.fail_at = 0
    (run,) = world.catalog.runs.values()
    assert run.state is RunState.SUBMITTING
    return world, run


def run_but_lose_all(world: World) -> None:
    """Register everything that waits and lose all that follows."""
    while world.queue:
        world.work_off(world.queue.popleft())
    world.relay()
    world.queue.clear()


def bounded(world: World, limit: int) -> Callable[[], Any]:
    """Return a sweep of at most so many objects."""
    return SweepDeadlines(
        world.catalog,
        FakeAgenda(world.catalog),
        FakeQueues(world.deliver),
        world.pipelines,
        world.record_pipeline,
        world.clock,
        limit,
    )


def _ignore(_: object) -> None:
    """Let a call stand where nothing is returned."""
