"""The README's monthly cost of an idle deployment counts what is deployed and told."""

import json
import re
from collections.abc import Mapping

import pytest

from forebay.domain.deadlines import RUN_DEADLINES, WATCHED
from forebay.domain.findings import Owner
from forebay.runtime.evaluating import report_evaluations
from forebay.runtime.rechecking import report_rechecks
from forebay.runtime.sweeping import report_sweep
from forebay.services.evaluate_policy import Evaluations
from forebay.services.recheck_objects import Rechecks
from forebay.services.sweep_deadlines import Sweep
from infra.lint import synthesize
from infra.settings import ROOT
from tests.infra.deployed import Deployment

README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give the deployment that the README prices: the cloud's, with nothing chosen."""
    paths = synthesize({}, tmp_path_factory.mktemp("plain"))
    templates = {path.name.split(".")[0]: json.loads(path.read_text("utf-8")) for path in paths}
    return Deployment("cloud", templates)


def told(pattern: str) -> float:
    found = re.search(pattern, README)
    assert found, f"the README has no row like {pattern}"
    return float(found[1])


def test_keys_alarms_queues_and_the_dashboard_are_those_of_the_readme(plain: Deployment) -> None:
    polled = [
        source
        for source in plain.all("AWS::Lambda::EventSourceMapping")
        if "MaximumConcurrency" in source.properties.get("ScalingConfig", {})
    ]
    assert told(r"KMS keys[^|]*\| (\d+) \|") == len(plain.all("AWS::KMS::Key"))
    assert told(r"CloudWatch alarms \| (\d+) \|") == len(plain.all("AWS::CloudWatch::Alarm"))
    assert told(r"CloudWatch dashboard[^|]*\| (\d+) \|") == len(
        plain.all("AWS::CloudWatch::Dashboard")
    )
    (dashboard,) = plain.all("AWS::CloudWatch::Dashboard")
    body = dashboard.properties["DashboardBody"]["Fn::Join"][1]
    widgets = json.loads("".join(part if isinstance(part, str) else "-" for part in body))
    shown = sum(len(each["properties"]["metrics"]) for each in widgets["widgets"])
    assert told(r"CloudWatch dashboard \((\d+) metrics\)") == shown
    assert told(r"Lambda polling (\d+) empty queues") == len(polled)


def test_metrics_told_by_schedules_of_an_empty_deployment_are_those_of_the_readme(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report_evaluations(Evaluations())
    report_rechecks(Rechecks())
    runs = {(state.value, Owner.PLATFORM): 0 for state in RUN_DEADLINES}
    report_sweep(Sweep(overdue={(state.value, owner): 0 for state, owner in WATCHED} | runs))
    metrics = {series for line in capsys.readouterr().out.splitlines() for series in emitted(line)}
    assert told(r"\| (\d+) all the time, ") == len(metrics)


def test_the_idle_cost_is_the_sum_of_its_rows() -> None:
    table = README.split("**Idle, per month:")[1].split("\n\n")[1]
    rows = re.findall(r"\| \$([\d.]+) \|$", table, re.MULTILINE)
    assert told(r"\*\*Idle, per month: \$([\d.]+)\.\*\*") == pytest.approx(sum(map(float, rows)))


def emitted(line: str) -> set[tuple[str, str]]:
    """Return the name and dimensions of each metric in a line of the embedded metric format."""
    entry: Mapping[str, object] = json.loads(line)
    directive = entry.get("_aws")
    if not isinstance(directive, dict):
        return set()
    return {
        (metric["Name"], json.dumps({name: entry[name] for name in dimensions}, sort_keys=True))
        for metrics in directive["CloudWatchMetrics"]
        for dimensions in metrics["Dimensions"]
        for metric in metrics["Metrics"]
    }
