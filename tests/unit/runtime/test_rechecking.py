"""The metrics the alarm stands on: written every run, and none is lost to a failure."""

import json
from typing import Any

import pytest

from forebay.errors import Trouble
from forebay.runtime.rechecking import report_rechecks
from forebay.services.recheck_objects import Outcome, Rechecked, Rechecks


def metrics(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in capsys.readouterr().out.splitlines():
        data = json.loads(line)
        for group in data.get("_aws", {}).get("CloudWatchMetrics", []):
            assert group["Namespace"] == "Forebay"
            assert group["Dimensions"] == [["step"]]
            assert data["step"] == "recheck_objects"
            found |= {metric["Name"]: data[metric["Name"]] for metric in group["Metrics"]}
    return found


def test_quiet_run_writes_every_metric_so_that_silence_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report_rechecks(Rechecks((Rechecked("a", Outcome.EQUAL, 100), Rechecked("b", Outcome.MOVED))))

    found = metrics(capsys)
    assert found["RecheckedObjects"] == [1.0]
    assert found["RecheckedBytes"] == [100.0]
    assert found["Differences"] == [0.0]
    assert set(found) == {
        *("RecheckedObjects", "RecheckedBytes", "Differences", "Healed", "Convicted"),
        *("TooLargeToRecheck", "RecheckFailures"),
    }


@pytest.mark.parametrize("outcome", [Outcome.HEALED, Outcome.CONVICTED, Outcome.UNCONFIRMED])
def test_first_difference_counts_whatever_became_of_it(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    report_rechecks(Rechecks((Rechecked("a", outcome, 100),)))

    assert metrics(capsys)["Differences"] == [1.0]


def test_failures_are_raised_after_the_metrics_were_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = Rechecks((Rechecked("a", Outcome.CONVICTED),), (("b", Trouble("throttled")),))

    with pytest.raises(ExceptionGroup, match="1 objects could not be rechecked"):
        report_rechecks(done)

    found = metrics(capsys)
    assert (found["Differences"], found["RecheckFailures"]) == ([1.0], [1.0])
