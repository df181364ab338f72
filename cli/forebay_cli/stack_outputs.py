"""Where a deployment says what it consists of: the outputs of its stacks.

The counterpart of `infra/outputs.py`, which writes them (and which the command line must not
import: it needs the CDK). A test holds the two together.
"""

import re
from collections.abc import Mapping
from typing import Final

from forebay.names import Step, Zone

STACKS: Final = ("storage", "catalog", "operations", "ingest", "upkeep", "policy")
OPTIONAL_STACKS: Final = ("archive",)

TABLE: Final = "TableName"
HISTORY_TABLE: Final = "HistoryTableName"
SUBJECT_KEY: Final = "SubjectKeyId"
RECEIPT_KEY: Final = "ReceiptKeyId"
BUS: Final = "BusName"
DASHBOARD: Final = "DashboardName"
QUEUE: Final = "QueueUrl"
DEAD_LETTERS: Final = "DeadLetterUrl"
FUNCTION: Final = "FunctionName"
LOG_GROUP: Final = "LogGroup"
STATE_MACHINE: Final = "StateMachineArn"


def stack_name(prefix: str, stack: str) -> str:
    """Return the name of one of a deployment's stacks."""
    return f"{prefix}-{stack}"


def bucket(zone: Zone) -> str:
    """Return the output that holds a zone's bucket name."""
    return f"Bucket{_pascal(zone.value)}"


def of_step(what: str, step: Step) -> str:
    """Return the output that holds something of a step, as `QueueUrl`."""
    return f"{what}{_pascal(step.value)}"


def by_step(what: str, outputs: Mapping[str, str]) -> dict[Step, str]:
    """Return something of every step that has it, in the order of the flow."""
    found = {step: outputs.get(of_step(what, step), "") for step in Step}
    return {step: value for step, value in found.items() if value}


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"[-_]", name))
