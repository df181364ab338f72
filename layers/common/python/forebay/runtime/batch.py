"""How a batch of messages becomes calls of one service: partial failures, logs, metrics."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from traceback import format_tb
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.adapters.items import (
    OBJECT_ENTITY,
    RUN_ENTITY,
    TOLD_VERSION,
    object_record,
    pipeline_run,
)
from forebay.domain.dead_letters import DeadMessage, Failure, normalised, step_of_queue
from forebay.errors import ForebayError, MessageError, StaleRecordError
from forebay.events import ObjectChanged, read_json
from forebay.names import REDRIVEN, Step
from forebay.runtime.metrics import put_metric
from forebay.runtime.wiring import wiring
from forebay.services.leasing import Delivery
from forebay.services.ports import RecordedChange, RecordedRun

STALE_ATTEMPTS = 3
"""How often a message is tried at once when another worker moved its record first."""

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]
Work = Callable[[SQSRecord], tuple[str, str]]
"""Does one message; returns the outcome in a word or two and the id of what it was about."""
LeasingWork = Callable[[SQSRecord, Delivery], tuple[str, str]]
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


def leasing_queue_handler(step: Step, work: LeasingWork) -> Handler:
    """Return a `queue_handler` for a step whose work may be long: `work` learns who does it."""

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        def of_delivery(record: SQSRecord) -> tuple[str, str]:
            seconds_left = context.get_remaining_time_in_millis() / 1000
            return work(record, Delivery(record.message_id, seconds_left))

        return queue_handler(step, of_delivery)(event, context)

    return handler


def stream_handler(step: Step, work: Callable[[list[StreamChange]], int]) -> Handler:
    """Return a Lambda handler that gives a whole batch of the catalog's stream to `work`.

    An exception fails the batch: the stream stands still, bisects, and sets a poison record aside.
    """

    def handler(event: dict[str, Any], _: Any) -> dict[str, Any]:
        try:
            relayed = work(read_stream(event))
        except Exception as exc:
            _leave_note(step, _first_position(event), failure_of(step, exc))
            raise
        count_outcomes(step, {"relayed": relayed})
        return {"batchItemFailures": []}

    return handler


def change_of(record: SQSRecord) -> ObjectChanged:
    """Return the catalog change a bus message tells of; raises MessageError."""
    return ObjectChanged.from_envelope(read_json(record.body))


def redelivered(record: SQSRecord) -> bool:
    """Tell whether an earlier delivery of this work may have done a part of it."""
    receives = int(record.attributes.approximate_receive_count or 1)
    return receives > 1 or REDRIVEN in (record.get("messageAttributes") or {})


def dead_message(record: SQSRecord) -> DeadMessage:
    """Return what came from a step's dead-letter queue; raises MessageError for other queues."""
    attributes = record.get("messageAttributes") or {}
    sent_at = int(record.attributes.sent_timestamp or 0) / 1000
    return DeadMessage(
        step=step_of_queue(record.event_source_arn),
        message_id=record.message_id,
        body=record.body,
        sent_at=datetime.fromtimestamp(sent_at, UTC),
        attributes={name: said.get("stringValue") or "" for name, said in attributes.items()},
    )


def read_stream(event: Mapping[str, Any]) -> list[StreamChange]:
    """Return the changes of objects and runs in a batch of the catalog's stream, in order."""
    changes: list[StreamChange] = []
    for entry in event["Records"]:
        images = entry["dynamodb"]
        after, before = images.get("NewImage"), images.get("OldImage")
        entity = after["entity"]["S"] if after else ""
        if after and after.get(TOLD_VERSION, {}) == after.get("version"):
            continue  # rebuilt from the ledger: all were told of it
        if entity == OBJECT_ENTITY:
            changes.append(
                RecordedChange(object_record(before) if before else None, object_record(after))
            )
        elif entity == RUN_ENTITY:
            changes.append(
                RecordedRun(pipeline_run(before) if before else None, pipeline_run(after))
            )
    return changes


def count_dead_letters(step: Step, amount: int) -> None:
    """Write how many messages a step gave up on, as the metric its alarm watches."""
    put_metric("DeadLetters", amount, step=step.value)


def count_outcomes(step: Step, outcomes: Mapping[str, int]) -> None:
    """Write one metric per outcome of a batch, by step and outcome."""
    for outcome, amount in outcomes.items():
        put_metric("Outcomes", amount, step=step.value, outcome=outcome)


def _observed(step: Step, work: Work, outcomes: Counter[str]) -> Callable[[SQSRecord], None]:
    logger = _logger(step)

    def observed(record: SQSRecord) -> None:
        try:
            outcome, object_id = _settled(work, record)
        except Exception as exc:
            outcomes["failed"] += 1
            cause = failure_of(step, exc)
            # Never the message itself: a key in it may be somebody's name.
            logger.error(  # noqa: TRY400 - as `exception` logs it, an error of AWS may name a key
                "trouble",
                error=type(exc).__name__,
                message_id=record.message_id,
                signature=cause.signature,
                exception=told(exc),
            )
            # The first failure is most often the last: only what comes again may dead-letter.
            if redelivered(record):
                _leave_note(step, record.message_id, cause)
            raise
        outcomes[outcome] += 1
        logger.info(outcome, object_id=object_id, message_id=record.message_id)

    return observed


def failure_of(step: Step, exc: Exception) -> Failure:
    """Return the cause an exception stands for, without ids, keys and names.

    An AWS error is named by its code and operation: `ClientError` would be one cause for all.
    """
    answer = getattr(exc, "response", None)
    code = answer.get("Error", {}).get("Code", "") if isinstance(answer, dict) else ""
    operation = getattr(exc, "operation_name", "")
    error = f"{code} ({operation})" if code and operation else type(exc).__name__
    return Failure.of(step, error, str(exc))


def told(exc: BaseException) -> str:
    """Return an exception with its traceback and causes, as it may stand in a log.

    Forebay's own sentences name ids and stay; those of libraries and of AWS may quote a key or a
    value, and are normalised.
    """
    earlier = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    frames = "".join(format_tb(exc.__traceback__))
    is_ours = isinstance(exc, ForebayError) and not isinstance(exc, MessageError)
    said = str(exc) if is_ours else normalised(str(exc))
    before = f"{told(earlier)}\n\nled to\n\n" if earlier else ""
    return f"{before}{frames}{type(exc).__name__}: {said}"


def _leave_note(step: Step, note_id: str, failure: Failure) -> None:
    """Leave a note of why a message failed; a note that cannot be left must not hide the error."""
    try:
        wired = wiring()
        wired.failure_notes.leave(note_id, failure, wired.clock.now())
    except Exception as trouble:  # noqa: BLE001 - whatever it is, the error that counts is raised
        _logger(step).warning("no failure note", error=type(trouble).__name__)


def _first_position(event: Mapping[str, Any]) -> str:
    """Return where in the stream a batch begins: its on-failure record says the same."""
    return next((str(e["dynamodb"].get("SequenceNumber", "")) for e in event["Records"]), "")


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
