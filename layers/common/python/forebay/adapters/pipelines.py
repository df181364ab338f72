"""Pipelines on Step Functions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forebay.domain.runs import PipelineRun
from forebay.errors import ConfigurationError
from forebay.events import PipelineFinished, utc_text

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

NOT_FOUND: Final = "NOT_FOUND"
"""Step Functions keeps an execution for 90 days after its end."""
_RUNNING: Final = frozenset({"RUNNING", "PENDING_REDRIVE"})


@dataclass(frozen=True, slots=True)
class StepFunctionsPipelines:
    """`services.ports.Pipelines`; `machines` maps pipeline names to state machine ARNs."""

    client: "SFNClient"
    machines: Mapping[str, str]

    def start(self, run: PipelineRun) -> str:
        """Start the run unless it is started; the run id is the execution's name."""
        machine = self.machines.get(run.pipeline)
        if machine is None:
            raise ConfigurationError(f"no state machine is configured for pipeline {run.pipeline}")
        try:
            answer = self.client.start_execution(
                stateMachineArn=machine,
                name=run.run_id,
                input=json.dumps(run.payload, sort_keys=True),
            )
        except self.client.exceptions.ExecutionAlreadyExists:
            # Started by an attempt that died before it could say so.
            return f"{machine.replace(':stateMachine:', ':execution:')}:{run.run_id}"
        return answer["executionArn"]

    def outcome(self, run: PipelineRun) -> PipelineFinished | None:
        """Return how the run ended, None while it runs; one the engine forgot is NOT_FOUND."""
        try:
            answer = self.client.describe_execution(executionArn=run.execution_arn)
        except self.client.exceptions.ExecutionDoesNotExist:
            return PipelineFinished(run.run_id, NOT_FOUND, run.execution_arn, "")
        if answer["status"] in _RUNNING:
            return None
        stopped_at = answer.get("stopDate")
        return PipelineFinished(
            run_id=run.run_id,
            status=answer["status"],
            execution_arn=run.execution_arn,
            stopped_at=utc_text(stopped_at) if stopped_at else "",
            error=answer.get("error", ""),
        )
