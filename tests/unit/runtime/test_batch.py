"""A batch of messages: failures stay alone, what moved meanwhile is tried again at once."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import ClientError

from forebay.adapters.items import object_item, run_item
from forebay.domain.dead_letters import DeadMessage, Failure
from forebay.domain.states import State
from forebay.errors import MessageError, StaleRecordError, Trouble
from forebay.names import REDRIVEN, Step
from forebay.runtime.batch import (
    STALE_ATTEMPTS,
    change_of,
    count_dead_letters,
    dead_message,
    failure_of,
    leasing_queue_handler,
    queue_handler,
    read_stream,
    redelivered,
    stream_handler,
)
from forebay.services.leasing import Delivery
from forebay.services.ports import RecordedChange, RecordedRun
from forebay.services.relay_changes import event_of
from tests.unit.fakes import NOON, FakeClock, any_record, any_run

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


def test_long_work_is_told_which_message_it_is_and_how_long_its_worker_lives() -> None:
    class Context:
        seconds = iter([12.5, 7.0])

        def get_remaining_time_in_millis(self) -> float:
            return next(self.seconds) * 1000

    told: list[Delivery] = []

    def work(record: SQSRecord, delivery: Delivery) -> tuple[str, str]:
        told.append(delivery)
        return "done", "id"

    answer = leasing_queue_handler(Step.PLACE_OBJECT, work)(batch("a", "b"), Context())

    assert failed(answer) == []
    assert told == [Delivery("m0", 12.5), Delivery("m1", 7.0)]


class Notes:
    """Failure notes that keep what was left; they fail when told to."""

    def __init__(self) -> None:
        self.left: dict[str, Failure] = {}
        self.broken = False

    def leave(self, note_id: str, failure: Failure, _at: Any) -> None:
        if self.broken:
            raise Trouble("the table is down, too")
        self.left[note_id] = failure


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    made = Notes()
    wired = SimpleNamespace(failure_notes=made, clock=FakeClock())
    monkeypatch.setattr("forebay.runtime.batch.wiring", lambda: wired)
    return made


def refuse(_: str) -> None:
    raise OSError(f"object 123 of {SECRET} is locked")


def test_message_that_fails_again_leaves_a_note_of_its_cause(notes: Notes) -> None:
    handler = queue_handler(Step.PLACE_OBJECT, work_that(refuse))

    handler(batch("a", "b", receives=2), None)

    expected = Failure(Step.PLACE_OBJECT, "OSError", "object <value> of <value> is locked")
    assert notes.left == {"m0": expected, "m1": expected}


def test_first_failure_leaves_no_note_for_most_do_not_come_again(notes: Notes) -> None:
    queue_handler(Step.PLACE_OBJECT, work_that(refuse))(batch("a"), None)

    assert notes.left == {}


def test_note_that_cannot_be_left_does_not_hide_the_failure(
    notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    notes.broken = True

    answer = queue_handler(Step.PLACE_OBJECT, work_that(refuse))(batch("a", receives=2), None)

    assert failed(answer) == ["m0"]
    assert SECRET not in caplog.text


def test_batch_of_the_stream_leaves_its_note_where_the_batch_begins(notes: Notes) -> None:
    def work(_: Any) -> int:
        raise Trouble("the bus is down")

    entry = {"dynamodb": {"SequenceNumber": "42", "Keys": {}}}
    with pytest.raises(Trouble, match="bus"):
        stream_handler(Step.RELAY_CHANGES, work)({"Records": [entry, entry]}, None)

    assert notes.left == {"42": Failure(Step.RELAY_CHANGES, "Trouble", "the bus is down")}


def test_error_of_aws_is_a_cause_by_its_code_and_operation() -> None:
    said: Any = {"Error": {"Code": "AccessDenied", "Message": f'not on "{SECRET}"'}}
    failure = failure_of(Step.PLACE_OBJECT, ClientError(said, "HeadObject"))

    assert failure.error == "AccessDenied (HeadObject)"
    assert SECRET not in failure.message


def test_work_that_was_handed_again_is_redelivered_from_its_first_delivery_on() -> None:
    (record,) = batch("a")["Records"]
    record["messageAttributes"] = {REDRIVEN: {"stringValue": "yes", "dataType": "String"}}

    assert redelivered(SQSRecord(record))


def test_dead_message_tells_its_step_its_time_and_what_eventbridge_said() -> None:
    (record,) = batch("a")["Records"]
    record["eventSourceARN"] = "arn:aws:sqs:eu-central-1:111122223333:forebay-place-object-dead"
    record["attributes"]["SentTimestamp"] = "1772366400000"
    record["messageAttributes"] = {"ERROR_CODE": {"stringValue": "X", "dataType": "String"}}

    message = dead_message(SQSRecord(record))

    assert message == DeadMessage(Step.PLACE_OBJECT, "m0", '"a"', NOON, {"ERROR_CODE": "X"})


def test_dead_letters_are_counted_by_the_step_that_gave_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    count_dead_letters(Step.PLACE_OBJECT, 3)

    line = json.loads(capsys.readouterr().out)
    assert (line["step"], line["DeadLetters"]) == ("place_object", [3.0])
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["step"]]


def test_log_tells_where_and_why_with_our_ids_but_without_keys_of_others(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], notes: Notes
) -> None:
    said: Any = {"Error": {"Code": "AccessDenied", "Message": f'not on "arn:{SECRET}.dcm"'}}

    def ask() -> None:
        raise ClientError(said, "HeadObject")

    def act(_: str) -> None:
        try:
            ask()
        except ClientError as exc:
            raise Trouble("object ab.cd is locked") from exc

    queue_handler(Step.PLACE_OBJECT, work_that(act))(batch("a"), None)

    (line,) = [r for r in caplog.records if r.levelname == "ERROR"]
    trace = str(line.__dict__["exception"])
    assert "Trouble: object ab.cd is locked" in trace
    assert "ClientError: An error occurred (AccessDenied)" in trace
    assert "in act" in trace
    assert SECRET not in trace + caplog.text + capsys.readouterr().out
