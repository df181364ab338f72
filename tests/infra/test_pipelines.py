"""The definitions under `pipelines/` agree with the functions and the policy."""

import json
from typing import Any

import pytest
import yaml

from forebay.names import Step
from infra.policy import compile_policies
from infra.settings import ROOT
from infra.steps import STEPS, Invoked

FOLDERS = sorted(path.parent for path in (ROOT / "pipelines").glob("*/pipeline.yaml"))

# https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
LAMBDA_TROUBLE = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
}


def tasks(definition: dict[str, Any]) -> list[dict[str, Any]]:
    return [state for state in definition["States"].values() if state["Type"] == "Task"]


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def definition(request: pytest.FixtureRequest) -> dict[str, Any]:
    text = (request.param / "definition.asl.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_there_is_a_pipeline() -> None:
    assert [folder.name for folder in FOLDERS] == ["read_qc"]


def test_every_run_ends(definition: dict[str, Any]) -> None:
    assert definition["TimeoutSeconds"] > 0
    assert all(task["TimeoutSeconds"] > 0 for task in tasks(definition))


def test_every_task_calls_a_step_and_outwaits_its_function(definition: dict[str, Any]) -> None:
    for task in tasks(definition):
        step = Step(task["Parameters"]["FunctionName"].strip("${}"))
        assert isinstance(STEPS[step].trigger, Invoked)
        assert task["TimeoutSeconds"] > STEPS[step].size.timeout_s


def test_every_task_retries_what_lambda_s_own_trouble_is(definition: dict[str, Any]) -> None:
    for task in tasks(definition):
        retried = {error for retry in task["Retry"] for error in retry["ErrorEquals"]}
        assert retried >= LAMBDA_TROUBLE


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_pipeline_s_outputs_are_of_classes_that_exist(folder: Any) -> None:
    pipeline = yaml.safe_load((folder / "pipeline.yaml").read_text("utf-8"))
    assert pipeline["name"] == folder.name
    assert {output["class"] for output in pipeline["outputs"]} <= set(compile_policies()["classes"])
