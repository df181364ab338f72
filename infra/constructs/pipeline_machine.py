"""The state machine of a pipeline of `pipelines/`."""

from typing import Final

from aws_cdk import RemovalPolicy, aws_iam, aws_lambda, aws_sns, aws_stepfunctions
from constructs import Construct

from infra.checks import acknowledge
from infra.constructs.alarm import Bound, alarm
from infra.constructs.step_function import log_group
from infra.settings import ROOT, Settings

__all__ = ["PipelineMachine"]

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
        machine_name = f"{settings.prefix}-{name.replace('_', '-')}"
        self.name = name
        # CloudWatch Logs truncates the policy of log delivery unless names share this prefix.
        self.log_group = log_group(self, f"/aws/vendedlogs/states/{machine_name}", settings)
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
            state_machine_name=machine_name,
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
            Bound(self.machine.metric_failed(), above=0),
            tell=topic,
            meaning=f"A run of the pipeline {name} failed.",
        )
