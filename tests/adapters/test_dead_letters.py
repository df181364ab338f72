"""Letters, notes, stream records and function calls keep what their ports promise."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.config import Config

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.change_log import DynamoChangeLog
from forebay.adapters.dead_letters import (
    DynamoDeadLetters,
    DynamoFailureNotes,
    DynamoHistory,
    DynamoStreamRecords,
    LambdaFunctions,
    lost_changes,
)
from forebay.adapters.items import object_item, run_item
from forebay.adapters.queues import SqsQueues
from forebay.domain.dead_letters import DeadLetter, Failure, LetterState, StreamBatch
from forebay.domain.objects import Location
from forebay.domain.states import State
from forebay.errors import StaleRecordError
from forebay.names import Step
from forebay.runtime.batch import read_stream, redelivered
from forebay.services.ports import Change, RecordedChange
from tests.adapters.conftest import Cloud
from tests.unit.fakes import NOON, any_dead_letter, any_failure, any_record, any_run

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def letters(catalog: DynamoCatalog) -> DynamoDeadLetters:
    return DynamoDeadLetters(catalog.client, catalog.table)


@pytest.fixture
def notes(catalog: DynamoCatalog) -> DynamoFailureNotes:
    return DynamoFailureNotes(catalog.client, catalog.table)


def put(letters: DynamoDeadLetters, **fields: Any) -> DeadLetter:
    letter = any_dead_letter(**fields)
    letters.put(None, letter)
    return letter


def counts(letters: DynamoDeadLetters) -> dict[str, tuple[dict[str, int], int]]:
    """Return the counts of every cause by its message, without zeros."""
    return {
        group.failure.message: (
            {state.value: n for state, n in group.counts.items() if n},
            group.failures,
        )
        for group in letters.groups()
    }


def test_letter_comes_back_as_it_was(letters: DynamoDeadLetters) -> None:
    letter = put(letters, about="a.b", about_version=3, replay_id="r", by="arn", note="why")

    assert letters.get(letter.letter_id) == letter
    assert letters.get("unknown") is None


def test_letter_with_nothing_said_comes_back_as_it_was(letters: DynamoDeadLetters) -> None:
    letter = put(letters, body=Location("ledger", "k"), failure=any_failure(message=""))

    assert letters.get(letter.letter_id) == letter
    assert [group.failure for group in letters.groups()] == [letter.failure]


def test_letters_of_one_cause_are_one_group_in_order_of_their_last_failure(
    letters: DynamoDeadLetters,
) -> None:
    made = [put(letters, last_failed_at=NOON + timedelta(minutes=n)) for n in (2, 0, 1)]
    put(letters, failure=any_failure(message="another cause"))
    signature = made[0].failure.signature

    found = list(letters.letters(signature))

    assert [x.letter_id for x in found] == [made[1].letter_id, made[2].letter_id, made[0].letter_id]
    assert counts(letters)["storage failed"] == ({"OPEN": 3}, 3)
    edge = NOON + timedelta(minutes=1)
    assert [x.letter_id for x in letters.letters(signature, since=edge)] == [
        made[2].letter_id,
        made[0].letter_id,
    ]
    assert [x.letter_id for x in letters.letters(signature, until=edge)] == [
        made[1].letter_id,
        made[2].letter_id,
    ]


def test_counts_follow_the_letters_through_their_states(letters: DynamoDeadLetters) -> None:
    letter = put(letters)
    replayed = letter.replayed(LATER, replay_id="r", by="me")
    letters.put(letter, replayed)
    assert counts(letters) == {"storage failed": ({"REPLAYED": 1}, 1)}

    again = replayed.failed_again(letter.failure, LATER, delivery="m2", body=letter.body)
    letters.put(replayed, again)
    assert counts(letters) == {"storage failed": ({"OPEN": 1}, 2)}

    twice = again.failed_again(letter.failure, LATER, delivery="m3", body=letter.body)
    letters.put(again, twice)
    letters.put(twice, twice.resolved(LATER, note="", by="me"))
    assert counts(letters) == {"storage failed": ({"RESOLVED": 1}, 3)}
    (group,) = letters.groups()
    assert (group.first_failed_at, group.last_failed_at) == (NOON, LATER)


def test_letter_whose_cause_changed_leaves_its_old_group(letters: DynamoDeadLetters) -> None:
    letter = put(letters)
    cause = any_failure(message="other")
    moved = letter.failed_again(cause, LATER, delivery="m2", body=letter.body)

    letters.put(letter, moved)

    assert counts(letters) == {"storage failed": ({}, 1), "other": ({"OPEN": 1}, 1)}
    assert list(letters.letters(letter.failure.signature)) == []
    assert list(letters.letters(cause.signature)) == [moved]
    assert [group.failure.message for group in letters.groups()] == ["other", "storage failed"]


def test_stale_letter_writes_nothing_and_counts_nothing(letters: DynamoDeadLetters) -> None:
    letter = put(letters)
    letters.put(letter, letter.resolved(LATER, note="", by="me"))

    with pytest.raises(StaleRecordError):
        letters.put(letter, letter.replayed(LATER, replay_id="r", by="late"))
    with pytest.raises(StaleRecordError):
        letters.put(None, letter)

    found = letters.get(letter.letter_id)
    assert found
    assert found.state is LetterState.RESOLVED
    assert counts(letters) == {"storage failed": ({"RESOLVED": 1}, 1)}


def test_note_is_found_by_its_message_and_the_latest_counts(notes: DynamoFailureNotes) -> None:
    notes.leave("m1", any_failure(message="first"), NOON)
    notes.leave("m1", any_failure(message="second"), LATER)

    assert notes.find("m1") == any_failure(message="second")
    assert notes.find("m2") is None


def test_note_outlives_its_message_and_then_goes(notes: DynamoFailureNotes) -> None:
    notes.leave("m1", Failure(Step.PLACE_OBJECT, "KeyError"), NOON)

    (item,) = notes.client.scan(TableName=notes.table)["Items"]
    lasts = int(item["expires_at"]["N"]) - NOON.timestamp()
    assert lasts > 14 * 86_400
    assert notes.find("m1") == Failure(Step.PLACE_OBJECT, "KeyError")


def test_nothing_of_this_is_a_change_that_the_relay_tells(
    letters: DynamoDeadLetters, notes: DynamoFailureNotes
) -> None:
    put(letters)
    notes.leave("m1", any_failure(), NOON)

    entities = {i["entity"]["S"] for i in letters.client.scan(TableName=letters.table)["Items"]}
    assert entities == {"dead_letter", "letter_group", "failure_note"}


def test_history_knows_what_was_recorded(change_log: DynamoChangeLog, cloud: Cloud) -> None:
    record = any_record()
    history = DynamoHistory(cloud.client("dynamodb"), change_log.history_table)
    assert not history.has(record.object_id, 1)

    change_log.record([RecordedChange(None, record)])

    assert history.has(record.object_id, 1)
    assert not history.has(record.object_id, 2)


def streams_of(cloud: Cloud) -> Any:
    # By account, a stream's ARN names a host that moto does not know.
    config = Config(parameter_validation=False, account_id_endpoint_mode="disabled")
    return boto3.client("dynamodbstreams", endpoint_url=cloud.endpoint, config=config)


def stream_of(cloud: Cloud, table: str) -> tuple[str, str]:
    arn = cloud.client("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"]
    (shard, *_) = streams_of(cloud).describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    return arn, shard["ShardId"]


def records_of(cloud: Cloud, arn: str, shard: str) -> list[Any]:
    streams = streams_of(cloud)
    start = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )
    found: list[Any] = streams.get_records(ShardIterator=start["ShardIterator"])["Records"]
    return found


def test_changes_between_two_positions_are_read_from_the_stream(
    cloud: Cloud, catalog: DynamoCatalog
) -> None:
    first, second = any_record(), any_record()
    catalog.register(first)
    catalog.apply(Change(first, first.moved_to(State.QUARANTINED, LATER)))
    catalog.register(second)
    catalog.register(any_record())
    arn, shard = stream_of(cloud, catalog.table)
    positions = [r["dynamodb"]["SequenceNumber"] for r in records_of(cloud, arn, shard)]

    reader = DynamoStreamRecords(streams_of(cloud))
    changes = reader.read(StreamBatch(arn, shard, positions[1], positions[2], 2))

    assert [(c.about, c.about_version) for c in changes] == [
        (first.object_id, 2),
        (second.object_id, 1),
    ]
    (change,) = read_stream(json.loads(changes[0].body))
    assert change == RecordedChange(first, first.moved_to(State.QUARANTINED, LATER))


def test_stream_that_is_no_more_holds_nothing(cloud: Cloud) -> None:
    reader = DynamoStreamRecords(streams_of(cloud))
    arn = "arn:aws:dynamodb:us-east-1:123456789012:table/gone/stream/2020-01-01T00:00:00.000"
    assert reader.read(StreamBatch(arn, "shardId-1", "1", "2", 1)) == ()


def image(item: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
    images = {"NewImage": item} if item else {}
    return {"dynamodb": {"SequenceNumber": "7", **images, **more}}


def test_lost_change_names_no_person_and_is_read_like_any_other() -> None:
    record = any_record(subject={"PatientName": "Doe^Jane"}, metadata={"Modality": "CT"})
    before = replace(record, version=1)
    after = replace(record, version=2)

    (lost,) = lost_changes(image(object_item(after), OldImage=object_item(before)))

    assert "Doe" not in lost.body
    (change,) = read_stream(json.loads(lost.body))
    assert change == RecordedChange(replace(before, subject={}), replace(after, subject={}))
    assert (lost.about, lost.about_version) == (record.object_id, 2)


def test_what_is_no_change_is_not_lost() -> None:
    assert lost_changes(image(None)) == []
    assert lost_changes(image({"pk": {"S": "CLAIM"}, "entity": {"S": "claim"}})) == []


class FakeLambda:
    """Answers as Lambda does."""

    def __init__(self, payload: bytes, error: str = "") -> None:
        self.answer = {"Payload": _Body(payload)} | ({"FunctionError": error} if error else {})
        self.calls: list[Mapping[str, Any]] = []

    def invoke(self, **call: Any) -> Mapping[str, Any]:
        self.calls.append(call)
        return self.answer


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        return self._data


def called(client: FakeLambda, **how: Any) -> Mapping[str, Any] | None:
    functions = LambdaFunctions(client, {Step.PLACE_OBJECT: "forebay-place-object"})  # type: ignore[arg-type]
    return functions.invoke(Step.PLACE_OBJECT, "{}", **how)


def test_function_is_called_by_name_and_version() -> None:
    client = FakeLambda(b'{"batchItemFailures": []}')

    assert called(client) == {"batchItemFailures": []}
    assert called(client, version="7") == {"batchItemFailures": []}

    assert [call.get("Qualifier") for call in client.calls] == [None, "7"]
    assert {call["FunctionName"] for call in client.calls} == {"forebay-place-object"}
    assert {call["InvocationType"] for call in client.calls} == {"RequestResponse"}


def test_function_that_raised_or_was_killed_gave_no_answer() -> None:
    assert called(FakeLambda(b'{"errorMessage": "Task timed out"}', "Unhandled")) is None


def test_function_that_says_nothing_said_nothing_failed() -> None:
    assert called(FakeLambda(b"null")) == {}
    assert called(FakeLambda(b"")) == {}


def test_run_is_a_change_too() -> None:
    run = any_run()
    (lost,) = lost_changes(image(run_item(run)))
    assert (lost.about, lost.about_version) == (run.run_id, 1)


def test_work_handed_again_says_so_to_the_step_that_gets_it(cloud: Cloud) -> None:
    url, _ = cloud.queue()
    SqsQueues(cloud.client("sqs"), {Step.PLACE_OBJECT: url}).send(Step.PLACE_OBJECT, ["body"])

    (message,) = cloud.client("sqs").receive_message(QueueUrl=url, MessageAttributeNames=["All"])[
        "Messages"
    ]

    # Lambda spells the same with a small first letter.
    attributes = {
        name: {key[0].lower() + key[1:]: said for key, said in attribute.items()}
        for name, attribute in message["MessageAttributes"].items()
    }
    record = {"attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": attributes}
    assert redelivered(SQSRecord(record))
    assert not redelivered(SQSRecord(record | {"messageAttributes": {}}))
