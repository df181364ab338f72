"""Equal inputs are one run."""

from forebay.domain.runs import RunState, run_id
from tests.unit.fakes import NOON, any_run


def test_run_id_is_the_same_in_any_order_of_the_inputs() -> None:
    assert run_id("read_qc", "1", [("R1", "a"), ("R2", "b")]) == run_id(
        "read_qc", "1", [("R2", "b"), ("R1", "a")]
    )


def test_run_id_changes_with_pipeline_version_role_and_digest() -> None:
    ids = {
        run_id("read_qc", "1", [("R1", "a"), ("R2", "b")]),
        run_id("read_qc", "2", [("R1", "a"), ("R2", "b")]),
        run_id("other", "1", [("R1", "a"), ("R2", "b")]),
        run_id("read_qc", "1", [("R1", "b"), ("R2", "a")]),
    }

    assert len(ids) == 4


def test_run_id_is_fit_for_an_execution_name() -> None:
    name = run_id("read_qc", "1", [("R1", "a")])

    assert len(name) <= 80
    assert name.replace("-", "").replace("_", "").isalnum()


def test_moving_a_run_is_a_new_version() -> None:
    moved = any_run().moved_to(RunState.SUBMITTED, NOON, execution_arn="arn:x")

    assert (moved.state, moved.version, moved.execution_arn) == (RunState.SUBMITTED, 2, "arn:x")
