"""The checks, on a machine that lacks everything and on accounts with and without stacks."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from forebay_cli import diagnosis, stack_outputs
from forebay_cli.deployment import Deployment
from forebay_cli.diagnosis import Verdict
from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.target import Target


@dataclass
class FakeAccount:
    """An account whose stacks all have the same outputs."""

    stacks: tuple[str, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)
    description: str = "AWS nowhere-1"

    @property
    def cloudformation(self) -> "FakeAccount":
        return self

    @property
    def sts(self) -> "FakeAccount":
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": "arn:aws:iam::1:user/somebody"}

    def describe_stacks(self, *, StackName: str) -> Any:  # noqa: N803 - boto3's own name
        if StackName not in self.stacks:
            error = {"Error": {"Code": "ValidationError", "Message": "no such stack"}}
            raise ClientError(error, "DescribeStacks")  # type: ignore[arg-type]
        outputs = [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs.items()]
        return {"Stacks": [{"StackStatus": "UPDATE_COMPLETE", "Outputs": outputs}]}


def deployed(**outputs: str) -> Any:
    return FakeAccount(tuple(f"forebay-{stack}" for stack in stack_outputs.STACKS), outputs)


def test_an_empty_machine_gets_advice_for_every_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    checks = list(diagnosis.examine_machine(Home(tmp_path, tmp_path)))
    bad = [check for check in checks if check.verdict is Verdict.BAD]
    assert {"uv", "Node.js", "CDK"} <= {check.name for check in bad}
    assert all(check.advice for check in bad)


def test_an_account_without_stacks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "account", lambda *_: FakeAccount())
    checks = list(diagnosis.examine_account(Target(region="eu-west-1"), Home(None, tmp_path)))
    found = {check.name: check for check in checks}
    assert found["credentials"].verdict is Verdict.GOOD
    assert "npx cdk bootstrap" in found["bootstrap"].advice
    assert found["stack forebay-ingest"].found == "not deployed"


def test_a_deployed_account_is_good() -> None:
    checks = list(diagnosis.examine_stacks(deployed(), "forebay"))
    assert {check.verdict for check in checks} == {Verdict.GOOD}


def test_a_deployment_is_read_from_its_outputs() -> None:
    deployment = Deployment.find(deployed(QueueUrlPlaceObject="url", BucketClinical="clinical"))
    assert list(deployment.by_step(stack_outputs.QUEUE).values()) == ["url"]
    assert deployment.zone_of("clinical") == "clinical"
    assert deployment.zone_of("foreign") is None
    with pytest.raises(CommandError, match="no output TableName"):
        deployment.output(stack_outputs.TABLE)


def test_a_missing_deployment_says_how_to_deploy() -> None:
    with pytest.raises(CommandError, match="not deployed there") as refused:
        Deployment.find(deployed(), "other")
    assert "make deploy" in refused.value.hint
