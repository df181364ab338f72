"""Pipelines on Step Functions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forebay.domain.runs import PipelineRun
from forebay.errors import ConfigurationError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


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
