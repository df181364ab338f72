"""The state machine of a pipeline of `pipelines/`."""

from typing import Final

from aws_cdk import RemovalPolicy, aws_iam, aws_lambda, aws_sns, aws_stepfunctions
from constructs import Construct

from infra.checks import acknowledge
from infra.constructs.alarm import Above, Notice, alarm
from infra.constructs.step_function import log_group
from infra.runbooks import Runbook
from infra.settings import ROOT, Settings

__all__ = ["PipelineMachine", "machine_name"]

PIPELINES: Final = ROOT / "pipelines"


class PipelineMachine(Construct):
    """A standard workflow from `pipelines/<name>/definition.asl.json`.

    Defaults: a role of its own that may invoke its functions; every transition logged, without
    the data; traced; an alarm on failed runs. `functions` are what the definition's
    `${placeholders}` stand for.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        functions: dict[str, aws_lambda.IFunction],
        topic: aws_sns.ITopic,
    ) -> None:
        super().__init__(scope, f"Pipeline{name.title().replace('_', '')}")
        physical = machine_name(settings.prefix, name)
        self.name = name
        # CloudWatch Logs truncates the policy of log delivery unless names share this prefix.
        self.log_group = log_group(self, f"/aws/vendedlogs/states/{physical}", settings)
        role = aws_iam.Role(
            self, "Role", assumed_by=aws_iam.ServicePrincipal("states.amazonaws.com")
        )
        role.add_to_policy(
            aws_iam.PolicyStatement(
                actions=["lambda:InvokeFunction"],
                resources=[function.function_arn for function in functions.values()],
            )
        )
        definition = (PIPELINES / name / "definition.asl.json").read_text("utf-8")
        self.machine = aws_stepfunctions.StateMachine(
            self,
            "Machine",
            state_machine_name=physical,
            definition_body=aws_stepfunctions.DefinitionBody.from_string(definition),
            definition_substitutions={
                placeholder: function.function_arn for placeholder, function in functions.items()
            },
            role=role,
            tracing_enabled=True,
            logs=aws_stepfunctions.LogOptions(
                destination=self.log_group,
                level=aws_stepfunctions.LogLevel.ALL,
                include_execution_data=False,
            ),
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            role,
            "IAM5[Resource::*]",
            "X-Ray, and the calls that set up log delivery, know no resource.",
        )
        alarm(
            self,
            "FailedAlarm",
            Above.once(self.machine.metric_failed(statistic="Sum")),
            Notice(f"A run of the pipeline {name} failed.", Runbook.PIPELINE_FAILED),
            tell=topic,
        )


def machine_name(prefix: str, pipeline: str) -> str:
    """Return the physical name of a pipeline's state machine."""
    return f"{prefix}-{pipeline.replace('_', '-')}"
