"""The metrics that alarms stand on: written every run, and none is lost to a failure."""

import json
from dataclasses import replace

import pytest

from forebay.domain.policy.decision import PolicyDecision, Violation
from forebay.domain.policy.pricing import PARTS
from forebay.domain.policy.storage_classes import StorageClass
from forebay.errors import Trouble
from forebay.runtime.evaluating import report_census, report_evaluations, tell_objects
from forebay.services.count_stored import Amount, Census, Heap
from forebay.services.evaluate_policy import Evaluated, Evaluations, Outcome

WARM = PolicyDecision("clinical-hot", StorageClass.STANDARD)
COLD = replace(WARM, target=StorageClass.GLACIER, violations=(Violation.REGION,))


def metrics(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, ...], float]:
    """Return values by name and dimensions."""
    found: dict[tuple[str, ...], float] = {}
    for line in capsys.readouterr().out.splitlines():
        data = json.loads(line)
        for group in data.get("_aws", {}).get("CloudWatchMetrics", []):
            (names,) = group["Dimensions"]
            for metric in group["Metrics"]:
                place = tuple(data[name] for name in names)
                found[metric["Name"], *place] = data[metric["Name"]][0]
    return found


def test_quiet_run_writes_every_metric_so_that_silence_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report_evaluations(Evaluations())

    found = metrics(capsys)
    assert found["OldestDueSeconds", "evaluate_policy"] == 0
    assert {("Violations", each.value) for each in Violation} <= set(found)
    assert set(found.values()) == {0}


def test_run_tells_changes_moves_and_violations(capsys: pytest.CaptureFixture[str]) -> None:
    done = Evaluations([Evaluated("a", Outcome.CHANGED, WARM, COLD, late_seconds=90)])

    assert report_evaluations(done)["ChangedObjects"] == 1

    found = metrics(capsys)
    assert found["Transitions", "STANDARD", "GLACIER"] == 1
    assert found["Violations", "region"] == 1
    assert found["OldestDueSeconds", "evaluate_policy"] == 90


def test_failures_are_raised_after_the_metrics_were_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = Evaluations(failures=[("b", Trouble("throttled"))])

    with pytest.raises(ExceptionGroup, match="1 objects could not be evaluated"):
        report_evaluations(done)

    assert metrics(capsys)["EvaluationFailures", "evaluate_policy"] == 1


def test_order_is_answered_for_what_failed_too(capsys: pytest.CaptureFixture[str]) -> None:
    done = Evaluations([Evaluated("a", Outcome.CHANGED, WARM, COLD)], [("b", Trouble("x"))])

    answer = tell_objects(done, "digest")

    assert answer["policy"] == "digest"
    assert [each.get("error", "") for each in answer["objects"]] == ["", "Trouble"]
    assert metrics(capsys)["Violations", "region"] == 1


def test_census_tells_bytes_by_class_and_tier_and_growth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heaps = {Heap("clinical-hot", StorageClass.GLACIER): Amount(2, 300, 5 * PARTS // 2)}

    report_census(Census(heaps, Amount(1, 100), is_complete=False))

    found = metrics(capsys)
    assert found["StoredBytes", "clinical-hot", "GLACIER"] == 300
    assert found["StoredObjects", "clinical-hot", "GLACIER"] == 2
    assert found["ProjectedMonthlyCost", "clinical-hot", "GLACIER"] == 2.5
    assert found["GrownBytes", "evaluate_policy"] == 100
    assert found["IncompleteCensus", "evaluate_policy"] == 1
