"""The steps' queues."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from forebay.errors import ConfigurationError, Trouble
from forebay.names import REDRIVEN, Step

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_ENTRIES: Final = 10
MAX_BATCH_BYTES: Final = 256 * 1024
"""Of all bodies together; SQS takes 1 MiB today and took 256 KiB for years."""
ATTEMPTS: Final = 4
# Nothing is sent here that no delivery tried before: a step then looks for what that one left.
_AGAIN: Final[Any] = {REDRIVEN: {"DataType": "String", "StringValue": "yes"}}


@dataclass(frozen=True, slots=True)
class SqsQueues:
    """`services.ports.Queues`; `urls` holds the queues that this function may send to.

    SQS accepts each message of a batch or refuses it; what it refused as its own fault (throttling,
    an inner error) is sent again after a pause that doubles, `pause_seconds` at first.
    """

    client: "SQSClient"
    urls: Mapping[Step, str]
    pause_seconds: float = 0.2
    sleep: Callable[[float], None] = field(default=time.sleep)

    def send(self, step: Step, bodies: Sequence[str]) -> None:
        """Send messages to a step's queue; raises Trouble unless all were accepted."""
        url = self.urls.get(step)
        if url is None:
            raise ConfigurationError(f"this function was not given the queue of {step}")
        for batch in _batches(bodies):
            self._send(step, url, batch)

    def _send(self, step: Step, url: str, bodies: Sequence[str]) -> None:
        waiting = {str(number): body for number, body in enumerate(bodies)}
        for attempt in range(ATTEMPTS):
            if attempt:
                self.sleep(self.pause_seconds * 2 ** (attempt - 1))
            answer = self.client.send_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": name, "MessageBody": body, "MessageAttributes": _AGAIN}
                    for name, body in waiting.items()
                ],
            )
            for accepted in answer.get("Successful", []):
                del waiting[accepted["Id"]]
            if not waiting:
                return
            failed = answer.get("Failed", [])
            if any(entry["SenderFault"] for entry in failed):
                break
        codes = sorted({entry["Code"] for entry in failed})
        raise Trouble(
            f"the queue of {step} refused {len(waiting)} of {len(bodies)} messages:"
            f" {', '.join(codes)}"
        )


def _batches(bodies: Sequence[str]) -> list[list[str]]:
    batches: list[list[str]] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if not batches or len(batches[-1]) == MAX_ENTRIES or size + length > MAX_BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(body)
        size += length
    return batches
