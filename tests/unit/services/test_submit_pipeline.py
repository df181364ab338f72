"""submit_pipeline and record_pipeline: one run per pair, in whatever order and however often."""

from typing import Any

import pytest

from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import State
from forebay.errors import ObjectMissingError
from forebay.events import PipelineFinished
from tests.unit.fakes import any_reads_body, any_run
from tests.unit.world import World

R1 = "site-a/run1/NA12878_S1_L001_R1_001.fastq.gz"
R2 = "site-a/run1/NA12878_S1_L001_R2_001.fastq.gz"


def placed(world: World, key: str, **reads: Any) -> str:
    """Bring reads to PLACED without telling submit_pipeline."""
    made = world.received(lambda: world.genomics(key, any_reads_body(**reads)))
    world.inspect_genomics(made)
    world.place_object(made)
    assert world.state(made) is State.PLACED
    return made


def pair(world: World) -> tuple[str, str]:
    return placed(world, R1), placed(world, R2)


@pytest.fixture
def world() -> World:
    return World(needs_sender_digest=False)


def only_run(world: World) -> PipelineRun:
    (run,) = world.catalog.runs.values()
    return run


def test_one_mate_alone_starts_nothing(world: World) -> None:
    assert world.submit_pipeline(placed(world, R1)) is None
    assert not world.catalog.runs


@pytest.mark.parametrize("order", [(R1, R2), (R2, R1)])
def test_the_second_mate_starts_the_run_in_either_order(
    world: World, order: tuple[str, str]
) -> None:
    made = {key: placed(world, key) for key in order[:1]}
    assert world.submit_pipeline(made[order[0]]) is None
    made[order[1]] = placed(world, order[1])

    run = world.submit_pipeline(made[order[1]])

    assert run
    assert run.state is RunState.SUBMITTED
    assert run.inputs == {"R1": made[R1], "R2": made[R2]}
    assert run == only_run(world)
    assert set(world.pipelines.started) == {run.run_id}


def test_run_is_the_same_in_either_order() -> None:
    bodies = {R1: any_reads_body(), R2: any_reads_body()}
    ids = []
    for order in ((R1, R2), (R2, R1)):
        world = World(needs_sender_digest=False)
        for key in order:
            world.genomics(key, bodies[key])
        world.run()
        ids.append(only_run(world).run_id)

    assert ids[0] == ids[1]


def test_engine_is_told_where_both_mates_are_and_their_digests(world: World) -> None:
    first, second = pair(world)

    run = world.submit_pipeline(first)

    assert run
    reads = run.payload["reads"]
    for mate, made in (("R1", first), ("R2", second)):
        record = world.record(made)
        assert record.placed
        assert reads[mate]["object_id"] == made
        assert reads[mate]["key"] == record.placed.key
        assert reads[mate]["version_id"] == record.placed.version_id
        assert len(reads[mate]["sha256"]) == 64


def test_both_mates_events_at_once_start_one_run(world: World) -> None:
    first, second = pair(world)
    world.pipelines.before_answer.append(lambda: _ignore(world.submit_pipeline(second)))

    with pytest.raises(Exception, match="moved meanwhile"):
        world.submit_pipeline(first)
    run = world.submit_pipeline(first)

    assert run == only_run(world)
    assert run.state is RunState.SUBMITTED
    assert len(world.pipelines.started) == 1


def test_event_that_comes_twice_starts_once(world: World) -> None:
    first, _ = pair(world)

    run = world.submit_pipeline(first)

    assert world.submit_pipeline(first) == run
    assert world.pipelines.requests == 1


def test_event_after_the_end_changes_nothing(world: World) -> None:
    first, _ = pair(world)
    run = world.submit_pipeline(first)
    assert run
    ended = world.record_pipeline(_finished(run, "SUCCEEDED"))

    assert world.submit_pipeline(first) == ended
    assert world.pipelines.requests == 1


def test_execution_that_ends_before_it_is_recorded_as_submitted_stays_ended(world: World) -> None:
    first, _ = pair(world)

    def end() -> None:
        world.record_pipeline(_finished(only_run(world), "SUCCEEDED"))

    world.pipelines.before_answer.append(end)
    with pytest.raises(Exception, match="moved meanwhile"):
        world.submit_pipeline(first)

    run = world.submit_pipeline(first)

    assert run
    assert run.state is RunState.SUCCEEDED


@pytest.mark.parametrize("fail_at, after", [(n, a) for n in range(1, 8) for a in (False, True)])
def test_crash_anywhere_and_redelivery_start_one_run(fail_at: int, after: bool) -> None:
    world = World(needs_sender_digest=False)
    first, _ = pair(world)
    world.effects.calls.clear()
    world.effects.fail_at, world.effects.after = fail_at, after

    for _ in range(3):
        try:
            world.submit_pipeline(first)
        except Exception as exc:  # noqa: BLE001 - SQS asks no questions
            assert "purpose" in str(exc) or "died" in str(exc)  # noqa: PT017

    assert only_run(world).state is RunState.SUBMITTED
    assert len(world.pipelines.started) == 1


def test_mates_with_other_names_fail_without_an_execution(world: World) -> None:
    first = placed(world, R1, names_digest="aa")
    placed(world, R2, names_digest="bb")

    run = world.submit_pipeline(first)

    assert run
    assert run.state is RunState.FAILED
    assert "names differ" in run.error
    assert not world.pipelines.started


def test_mates_with_different_numbers_of_reads_fail_with_both_numbers(world: World) -> None:
    first = placed(world, R1, reads=4)
    placed(world, R2, reads=5)

    run = world.submit_pipeline(first)

    assert run
    assert run.state is RunState.FAILED
    assert "R1 4" in run.error
    assert "R2 5" in run.error


def test_mates_of_another_lane_sample_site_or_run_are_no_pair(world: World) -> None:
    placed(world, R1)
    placed(world, R2.replace("L001", "L002"))
    placed(world, R2.replace("NA12878", "NA12877"))
    placed(world, R2.replace("site-a", "site-b"))
    last = placed(world, R2.replace("run1", "run2"), flow_cells=["FC2"])

    assert world.submit_pipeline(last) is None
    assert not world.catalog.runs


def test_mate_that_was_convicted_starts_nothing(world: World) -> None:
    first, second = pair(world)
    record = world.record(second)
    world.catalog.records[second] = record.moved_to(State.QUARANTINED, world.clock.now())

    assert world.submit_pipeline(first) is None


def test_single_end_reads_start_nothing(world: World) -> None:
    assert world.submit_pipeline(placed(world, "site-a/run1/single.fastq.gz")) is None


def test_object_the_catalog_does_not_know_is_trouble(world: World) -> None:
    with pytest.raises(ObjectMissingError):
        world.submit_pipeline("nobody")


def test_whole_flow_from_two_uploads_to_one_execution(world: World) -> None:
    world.genomics(R1, any_reads_body())
    world.genomics(R2, any_reads_body())

    world.run()

    assert only_run(world).state is RunState.SUBMITTED
    assert world.pipelines.requests == 1


@pytest.mark.parametrize(
    "status, expected",
    [
        ("SUCCEEDED", RunState.SUCCEEDED),
        ("FAILED", RunState.FAILED),
        ("TIMED_OUT", RunState.FAILED),
        ("ABORTED", RunState.FAILED),
    ],
)
def test_end_of_an_execution_is_recorded(world: World, status: str, expected: RunState) -> None:
    run = world.catalog.open_run(any_run(state=RunState.SUBMITTED))

    after = world.record_pipeline(_finished(run, status, error="Lambda.Unknown"))

    assert after == world.catalog.runs[run.run_id]
    assert after.state is expected
    assert bool(after.error) == (expected is RunState.FAILED)
    if after.error:
        assert status in after.error
        assert "Lambda.Unknown" in after.error


def test_end_that_is_told_twice_is_recorded_once(world: World) -> None:
    run = world.catalog.open_run(any_run(state=RunState.SUBMITTED))

    first = world.record_pipeline(_finished(run, "SUCCEEDED"))
    second = world.record_pipeline(_finished(run, "SUCCEEDED"))
    contradiction = world.record_pipeline(_finished(run, "FAILED"))

    assert first == second == contradiction
    assert len(world.catalog.stream) == 2


def test_start_of_an_execution_is_no_end(world: World) -> None:
    run = world.catalog.open_run(any_run(state=RunState.SUBMITTED))

    assert world.record_pipeline(_finished(run, "RUNNING")) == run


def test_end_of_an_unknown_run_is_trouble(world: World) -> None:
    with pytest.raises(ObjectMissingError):
        world.record_pipeline(_finished(any_run(), "SUCCEEDED"))


def _finished(run: PipelineRun, status: str, error: str = "") -> PipelineFinished:
    return PipelineFinished(run.run_id, status, "arn:execution", "2026-03-01T12:00:00Z", error)


def _ignore(_: object) -> None:
    """Give a callback of no result."""
