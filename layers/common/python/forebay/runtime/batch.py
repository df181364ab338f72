"""How a batch of messages becomes calls of one service: partial failures, logs, metrics."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.adapters.items import OBJECT_ENTITY, RUN_ENTITY, object_record, pipeline_run
from forebay.errors import StaleRecordError
from forebay.events import ObjectChanged, read_json
from forebay.names import METRICS_NAMESPACE, Step
from forebay.services.ports import RecordedChange, RecordedRun

STALE_ATTEMPTS = 3
"""How often a message is tried at once when another worker moved its record first."""

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]
Work = Callable[[SQSRecord], tuple[str, str]]
"""Does one message; returns the outcome in a word or two and the id of what it was about."""
StreamChange = RecordedChange | RecordedRun


def queue_handler(step: Step, work: Work) -> Handler:
    """Return a Lambda handler that calls `work` for each SQS message of a batch.

    A message whose `work` raises is reported as failed and comes again; the others do not.
    """

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        outcomes: Counter[str] = Counter()
        answer = process_partial_response(
            event=event,
            record_handler=_observed(step, work, outcomes),
            processor=BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False),
            context=context,
        )
        count_outcomes(step, outcomes)
        return dict(answer)

    return handler


def stream_handler(step: Step, work: Callable[[list[StreamChange]], int]) -> Handler:
    """Return a Lambda handler that gives a whole batch of the catalog's stream to `work`.

    An exception fails the batch: the stream stands still, bisects, and sets a poison record aside.
    """

    def handler(event: dict[str, Any], _: Any) -> dict[str, Any]:
        relayed = work(read_stream(event))
        count_outcomes(step, {"relayed": relayed})
        return {"batchItemFailures": []}

    return handler


def change_of(record: SQSRecord) -> ObjectChanged:
    """Return the catalog change a bus message tells of; raises MessageError."""
    return ObjectChanged.from_envelope(read_json(record.body))


def redelivered(record: SQSRecord) -> bool:
    """Tell whether an earlier delivery of this message may have done part of the work."""
    return int(record.attributes.approximate_receive_count or 1) > 1


def read_stream(event: Mapping[str, Any]) -> list[StreamChange]:
    """Return the changes of objects and runs in a batch of the catalog's stream, in order."""
    changes: list[StreamChange] = []
    for entry in event["Records"]:
        images = entry["dynamodb"]
        after, before = images.get("NewImage"), images.get("OldImage")
        entity = after["entity"]["S"] if after else ""
        if entity == OBJECT_ENTITY:
            changes.append(
                RecordedChange(object_record(before) if before else None, object_record(after))
            )
        elif entity == RUN_ENTITY:
            changes.append(
                RecordedRun(pipeline_run(before) if before else None, pipeline_run(after))
            )
    return changes


def count_outcomes(step: Step, outcomes: Mapping[str, int]) -> None:
    """Write one metric per outcome of a batch, by step and outcome."""
    for outcome, amount in outcomes.items():
        with single_metric(
            name="Outcomes",
            unit=MetricUnit.Count,
            value=amount,
            namespace=METRICS_NAMESPACE,
            default_dimensions={"step": step.value},
        ) as metric:
            metric.add_dimension("outcome", outcome)


def _observed(step: Step, work: Work, outcomes: Counter[str]) -> Callable[[SQSRecord], None]:
    logger = _logger(step)

    def observed(record: SQSRecord) -> None:
        try:
            outcome, object_id = _settled(work, record)
        except Exception as exc:
            outcomes["failed"] += 1
            # Never the message itself: a key in it may be somebody's name.
            logger.exception("trouble", error=type(exc).__name__, message_id=record.message_id)
            raise
        outcomes[outcome] += 1
        logger.info(outcome, object_id=object_id, message_id=record.message_id)

    return observed


def _settled(work: Work, record: SQSRecord) -> tuple[str, str]:
    for _ in range(STALE_ATTEMPTS - 1):
        try:
            return work(record)
        except StaleRecordError:
            continue
    return work(record)


@cache
def _logger(step: Step) -> Logger:
    return Logger(service=step.value)
