"""What a sweep leaves behind: metrics for its alarms, zeros included."""

import json
from typing import Any

import pytest

from forebay.domain.findings import Owner
from forebay.names import Step
from forebay.runtime.sweeping import report_sweep
from forebay.services.sweep_deadlines import Sweep


def metrics(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if "_aws" in line]


def test_overdue_is_reported_by_state_and_owner_also_where_nothing_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overdue = {("RECEIVED", Owner.PLATFORM): 0, ("AWAITING_DIGEST", Owner.SENDER): 3}

    answer = report_sweep(Sweep(overdue=overdue))

    said = {(m["state"], m["owner"]): m["Overdue"] for m in metrics(capsys)}
    assert said == {("RECEIVED", "platform"): [0.0], ("AWAITING_DIGEST", "sender"): [3.0]}
    assert answer == {"overdue": 3}


def test_failure_fails_the_run_after_all_was_reported(capsys: pytest.CaptureFixture[str]) -> None:
    sweep = Sweep(redriven=1, failures=(("id", KeyError("x")),), overdue={("R", Owner.SENDER): 1})

    with pytest.raises(ExceptionGroup, match="1 objects"):
        report_sweep(sweep)

    assert len(metrics(capsys)) == 2


def test_what_was_done_is_counted_as_outcomes_of_the_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = report_sweep(Sweep(redriven=2, leases_ended=1))

    said = {m["outcome"]: (m["step"], m["Outcomes"]) for m in metrics(capsys)}
    step = Step.SWEEP_DEADLINES.value
    assert said == {"redriven": (step, [2.0]), "lease ended": (step, [1.0])}
    assert answer == {"redriven": 2, "lease ended": 1, "overdue": 0}
