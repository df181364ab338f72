"""SqsQueues: every message is accepted, or it is trouble."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from forebay.adapters.queues import SqsQueues
from forebay.errors import ConfigurationError, Trouble
from forebay.events import ObjectChanged
from forebay.names import REDRIVEN, Step
from forebay.services.ports import RecordedChange
from forebay.services.redriving import envelope
from forebay.services.relay_changes import event_of
from tests.adapters.conftest import Cloud, calls_of
from tests.unit.fakes import any_record


class FlakySqs:
    """Refuses some messages of the first batches."""

    def __init__(self, *refusals: Mapping[str, bool]) -> None:
        self.refusals = list(refusals)
        self.asked: list[list[str]] = []

    def send_message_batch(self, *, Entries: list[Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        refused = self.refusals.pop(0) if self.refusals else {}
        self.asked.append([entry["MessageBody"] for entry in Entries])
        return {
            "Successful": [{"Id": e["Id"]} for e in Entries if e["MessageBody"] not in refused],
            "Failed": [
                {
                    "Id": e["Id"],
                    "Code": "InternalError",
                    "SenderFault": refused[e["MessageBody"]],
                }
                for e in Entries
                if e["MessageBody"] in refused
            ],
        }


def flaky(client: Any) -> tuple[SqsQueues, list[float]]:
    pauses: list[float] = []
    return SqsQueues(client, {Step.PLACE_OBJECT: "url"}, 0.2, pauses.append), pauses


def test_redriven_object_reaches_its_queue_as_the_bus_would_have_told_of_it(cloud: Cloud) -> None:
    url, _ = cloud.queue()
    record = any_record()

    SqsQueues(cloud.client("sqs"), {Step.INSPECT_DICOM: url}).send(
        Step.INSPECT_DICOM, [envelope(record)]
    )

    (message,) = cloud.messages(url)
    assert message["source"] == "forebay"
    assert ObjectChanged.from_envelope(message) == event_of(RecordedChange(None, record))


def test_message_says_that_it_is_not_the_first(cloud: Cloud) -> None:
    url, _ = cloud.queue()

    SqsQueues(cloud.client("sqs"), {Step.INSPECT_DICOM: url}).send(Step.INSPECT_DICOM, ["{}"])

    answer = cloud.client("sqs").receive_message(QueueUrl=url, MessageAttributeNames=["All"])
    assert set(answer["Messages"][0]["MessageAttributes"]) == {REDRIVEN}


def test_messages_are_sent_ten_at_a_time(cloud: Cloud) -> None:
    url, _ = cloud.queue()
    queues = SqsQueues(cloud.client("sqs"), {Step.PLACE_OBJECT: url})

    with calls_of(cloud.client("sqs")) as calls:
        queues.send(Step.PLACE_OBJECT, [json.dumps({"n": n}) for n in range(23)])

    assert calls == ["SendMessageBatch"] * 3
    assert sorted(message["n"] for message in cloud.messages(url)) == list(range(23))


def test_nothing_to_send_is_no_call() -> None:
    client = FlakySqs()

    flaky(client)[0].send(Step.PLACE_OBJECT, [])

    assert client.asked == []


def test_large_messages_share_no_batch() -> None:
    client, large = FlakySqs(), "x" * 200_000

    flaky(client)[0].send(Step.PLACE_OBJECT, [large, large, "small"])

    assert [len(bodies) for bodies in client.asked] == [1, 2]


def test_what_the_queue_could_not_take_is_sent_again_and_nothing_else() -> None:
    client = FlakySqs({"b": False, "c": False}, {"c": False})
    queues, pauses = flaky(client)

    queues.send(Step.PLACE_OBJECT, ["a", "b", "c"])

    assert client.asked == [["a", "b", "c"], ["b", "c"], ["c"]]
    assert pauses == [0.2, 0.4]


def test_queue_that_keeps_refusing_is_trouble() -> None:
    client = FlakySqs(*[{"b": False}] * 9)
    queues, _ = flaky(client)

    with pytest.raises(Trouble, match=r"refused 1 of 2 messages: InternalError"):
        queues.send(Step.PLACE_OBJECT, ["a", "b"])

    assert len(client.asked) == 4


def test_message_that_can_never_be_sent_is_trouble_at_once() -> None:
    client = FlakySqs({"b": True})
    queues, pauses = flaky(client)

    with pytest.raises(Trouble):
        queues.send(Step.PLACE_OBJECT, ["a", "b"])

    assert pauses == []


def test_queue_that_was_not_given_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="inspect_dicom"):
        flaky(FlakySqs())[0].send(Step.INSPECT_DICOM, ["{}"])
