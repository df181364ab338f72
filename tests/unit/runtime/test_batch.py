"""A batch of messages: failures stay alone, what moved meanwhile is tried again at once."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from forebay.adapters.items import object_item, run_item
from forebay.domain.states import State
from forebay.errors import MessageError, StaleRecordError, Trouble
from forebay.names import Step
from forebay.runtime.batch import (
    STALE_ATTEMPTS,
    change_of,
    queue_handler,
    read_stream,
    redelivered,
    stream_handler,
)
from forebay.services.ports import RecordedChange, RecordedRun
from forebay.services.relay_changes import event_of
from tests.unit.fakes import NOON, any_record, any_run

SECRET = "Doe^Jane"


def batch(*bodies: Any, receives: int = 1) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": "r",
                "body": json.dumps(body),
                "attributes": {"ApproximateReceiveCount": str(receives)},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
            for number, body in enumerate(bodies)
        ]
    }


def failed(answer: dict[str, Any]) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def work_that(act: Callable[[str], None]) -> Callable[[SQSRecord], tuple[str, str]]:
    def work(record: SQSRecord) -> tuple[str, str]:
        act(json.loads(record.body))
        return "done", "id"

    return work


@pytest.mark.parametrize("error", [Trouble, MessageError, ValueError])
def test_message_whose_work_raises_fails_alone(error: type[Exception]) -> None:
    def act(body: str) -> None:
        if body == "bad":
            raise error("no")

    handler = queue_handler(Step.PLACE_OBJECT, work_that(act))

    assert failed(handler(batch("good", "bad", "good"), None)) == ["m1"]


def test_whole_batch_that_fails_is_reported_not_raised() -> None:
    def act(_: str) -> None:
        raise Trouble("no")

    handler = queue_handler(Step.PLACE_OBJECT, work_that(act))

    assert failed(handler(batch("a", "b"), None)) == ["m0", "m1"]


def test_record_that_moved_meanwhile_is_tried_again_at_once() -> None:
    tries: list[str] = []

    def act(body: str) -> None:
        tries.append(body)
        if len(tries) < STALE_ATTEMPTS:
            raise StaleRecordError("moved")

    handler = queue_handler(Step.PLACE_OBJECT, work_that(act))

    assert failed(handler(batch("a"), None)) == []
    assert len(tries) == STALE_ATTEMPTS


def test_record_that_keeps_moving_comes_again_later() -> None:
    tries: list[str] = []

    def act(body: str) -> None:
        tries.append(body)
        raise StaleRecordError("moved")

    handler = queue_handler(Step.PLACE_OBJECT, work_that(act))

    assert failed(handler(batch("a"), None)) == ["m0"]
    assert len(tries) == STALE_ATTEMPTS


def test_outcomes_are_counted_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    def act(body: str) -> None:
        if body == "bad":
            raise Trouble("no")

    queue_handler(Step.PLACE_OBJECT, work_that(act))(batch("a", "b", "bad"), None)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    metrics = {line["outcome"]: line for line in lines if "_aws" in line}
    assert {name: line["Outcomes"] for name, line in metrics.items()} == {
        "done": [2.0],
        "failed": [1.0],
    }
    assert {line["step"] for line in metrics.values()} == {"place_object"}


def test_message_is_never_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def act(_: str) -> None:
        raise Trouble("storage failed")

    queue_handler(Step.PLACE_OBJECT, work_that(act))(batch(SECRET), None)

    assert SECRET not in capsys.readouterr().out + caplog.text


def test_redelivery_is_told_by_the_receive_count() -> None:
    (first,), (second,) = (batch("a", receives=n)["Records"] for n in (1, 2))

    assert not redelivered(SQSRecord(first))
    assert redelivered(SQSRecord(second))


def test_change_is_read_from_the_message() -> None:
    change = event_of(RecordedChange(None, any_record()))
    body = {"detail-type": change.detail_type.value, "detail": change.as_detail()}
    (record,) = batch(body)["Records"]

    assert change_of(SQSRecord(record)) == change


def test_message_of_another_kind_is_a_message_error() -> None:
    (record,) = batch({"detail-type": "SomethingElse", "detail": {}})["Records"]

    with pytest.raises(MessageError):
        change_of(SQSRecord(record))


def test_stream_gives_objects_and_runs_in_order_and_nothing_else() -> None:
    record, run = any_record(), any_run()
    after = record.moved_to(State.VERIFIED, NOON)
    claim = {"entity": {"S": "claim"}}
    images: list[dict[str, Any]] = [
        {"NewImage": object_item(record)},
        {"NewImage": claim},
        {"NewImage": object_item(after), "OldImage": object_item(record)},
        {"OldImage": claim},
        {"NewImage": run_item(run)},
    ]

    changes = read_stream({"Records": [{"dynamodb": image} for image in images]})

    assert changes == [
        RecordedChange(None, record),
        RecordedChange(record, after),
        RecordedRun(None, run),
    ]


def test_stream_batch_that_fails_is_raised_so_that_the_stream_waits() -> None:
    def work(_: list[Any]) -> int:
        raise Trouble("no")

    with pytest.raises(Trouble):
        stream_handler(Step.RELAY_CHANGES, work)({"Records": []}, None)
