"""The names of the stack outputs: what the command line finds a deployment by.

| stack `{prefix}-…` | outputs |
|---|---|
| `storage` | `Bucket<Zone>` for each zone, `SubjectKeyId`, `ReceiptKeyId` |
| `catalog` | `TableName`, `HistoryTableName` |
| `operations` | `AlarmTopicArn`, `DashboardName` |
| `ingest` | `BusName`; for each step that has one: `QueueUrl<Step>`, `DeadLetterUrl<Step>`, |
| | `FunctionName<Step>`, `LogGroup<Step>`; for each pipeline: `StateMachineArn<Pipeline>`, |
| | `StateMachineLogGroup<Pipeline>` |
| `upkeep` | for each step: `FunctionName<Step>`, `LogGroup<Step>`; where it has one, |
| | `DeadLetterUrl<Step>` |
| `policy` | the same as `upkeep` for each of its steps |
| `archive` | `BucketArchive` |

`<Zone>`, `<Step>` and `<Pipeline>` are the names of `forebay.names` (and the pipeline's folder) in
PascalCase: `Zone.LANDING_IMAGING` is `BucketLandingImaging`, `Step.PLACE_OBJECT` is
`QueueUrlPlaceObject`.
"""

import re

from aws_cdk import CfnOutput, Stack

from forebay.names import Step, Zone

__all__ = ["bucket", "of_pipeline", "of_step", "write"]


def write(stack: Stack, **values: str) -> None:
    """Declare outputs of a stack by name."""
    for name, value in values.items():
        CfnOutput(stack, name, value=value)


def bucket(zone: Zone) -> str:
    """Return the output that holds a zone's bucket name."""
    return f"Bucket{_pascal(zone.value)}"


def of_step(what: str, step: Step) -> str:
    """Return the output that holds something of a step, as `QueueUrl` or `FunctionName`."""
    return f"{what}{_pascal(step.value)}"


def of_pipeline(what: str, pipeline: str) -> str:
    """Return the output that holds something of a pipeline, as `StateMachineArn`."""
    return f"{what}{_pascal(pipeline)}"


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"[-_]", name))
