"""What a step gave up on is kept once, under its cause, and never in the catalog with its keys."""

import json
from typing import Any

import pytest

from forebay.domain.dead_letters import DeadMessage, LetterState
from forebay.domain.objects import Location, object_id
from forebay.errors import StaleRecordError, Trouble
from forebay.names import Step, Zone
from forebay.services.archive_dead_letters import ArchiveDeadLetters, body_of
from forebay.services.ports import LostChange
from tests.unit.fakes import (
    BUCKETS,
    NOON,
    Effects,
    FakeClock,
    FakeDeadLetters,
    FakeStore,
    FakeStreamRecords,
    any_failure,
    any_hex,
    any_number,
)

SECRET = "Doe^Jane"


class Archive:
    """The service over fakes."""

    def __init__(self, effects: Effects | None = None) -> None:
        effects = effects or Effects()
        self.letters = FakeDeadLetters(effects)
        self.stream = FakeStreamRecords()
        self.store = FakeStore(effects)
        self.clock = FakeClock()
        self.service = ArchiveDeadLetters(
            self.letters, self.letters, self.stream, self.store, self.clock, BUCKETS[Zone.LEDGER]
        )

    def __call__(self, message: DeadMessage) -> list[bool]:
        return [each.is_new for each in self.service(message)]


def s3_message(key: str = "", **attributes: str) -> DeadMessage:
    key = key or f"site-a/{any_hex(8)}.dcm"
    entry = {"key": key, "version-id": f"v{any_number()}"}
    body = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "landing"}, "object": entry},
    }
    return dead(Step.REGISTER_OBJECT, json.dumps(body), **attributes)


def dead(step: Step, body: str, **attributes: str) -> DeadMessage:
    return DeadMessage(step, f"m{any_number()}", body, NOON, attributes)


def lost_batch(size: int = 1, **more: Any) -> DeadMessage:
    first = str(any_number())
    info = {
        "shardId": "shardId-1",
        "startSequenceNumber": first,
        "endSequenceNumber": first,
        "batchSize": size,
        "streamArn": "arn",
    }
    body = {"DDBStreamBatchInfo": info, "requestContext": {"condition": "RetryAttemptsExhausted"}}
    return dead(Step.RELAY_CHANGES, json.dumps(body | more))


def test_thousand_failures_of_one_cause_are_one_line() -> None:
    archive = Archive()
    for _ in range(1000):
        message = s3_message()
        failure = any_failure(
            step=message.step, message=f"object <value> is not in storage {any_number()}"
        )
        # As the step leaves it: normalised.
        archive.letters.leave(
            message.message_id,
            type(failure).of(failure.step, failure.error, failure.message),
            NOON,
        )
        assert archive(message) == [True]

    (group,) = archive.letters.groups()
    assert (group.open_letters, group.failures) == (1000, 1000)
    assert group.failure.message == "object <value> is not in storage <value>"
    assert len(list(archive.letters.letters(group.signature))) == 1000


def test_message_that_comes_twice_counts_once() -> None:
    archive = Archive()
    message = s3_message()

    assert archive(message) == [True]
    assert archive(message) == [False]

    (group,) = archive.letters.groups()
    assert (group.open_letters, group.failures) == (1, 1)


def test_replayed_message_that_fails_again_is_the_same_letter_with_its_count() -> None:
    archive = Archive()
    first = s3_message()
    archive(first)
    (letter,) = archive.letters.by_id.values()
    archive.letters.put(letter, letter.replayed(NOON, replay_id="r", by="steward"))
    archive.clock.advance(60)

    again = DeadMessage(first.step, "another id", first.body, NOON, {})
    assert archive(again) == [True]

    (letter,) = archive.letters.by_id.values()
    assert (letter.state, letter.failures, letter.replay_id) == (LetterState.OPEN, 2, "r")
    (group,) = archive.letters.groups()
    assert (group.open_letters, group.failures) == (1, 2)


def test_letter_whose_cause_changed_moves_to_the_new_cause() -> None:
    archive = Archive()
    first = s3_message()
    archive.letters.leave(first.message_id, any_failure(step=first.step, message="one"), NOON)
    archive(first)
    again = DeadMessage(first.step, "m-again", first.body, NOON, {})
    archive.letters.leave("m-again", any_failure(step=first.step, message="two"), NOON)
    archive(again)

    assert {g.failure.message: g.open_letters for g in archive.letters.groups()} == {
        "one": 0,
        "two": 1,
    }


def test_function_that_was_killed_left_no_note_and_is_called_so() -> None:
    archive = Archive()
    archive(s3_message())

    (letter,) = archive.letters.by_id.values()
    assert letter.failure.error == "NoAnswer"
    assert "killed" in letter.failure.message


def test_event_that_could_not_be_delivered_says_why() -> None:
    archive = Archive()
    said = {"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": f"queue refused {SECRET} twice"}
    archive(s3_message(**said))

    (letter,) = archive.letters.by_id.values()
    assert letter.failure.error == "EventBridge NO_PERMISSIONS"
    assert letter.failure.message == "not delivered: queue refused <value> twice"


def test_scheduled_function_that_failed_keeps_its_request_and_its_error() -> None:
    archive = Archive()
    payload = {"zone": "clinical"}
    body = {
        "requestContext": {"condition": "RetriesExhausted"},
        "requestPayload": payload,
        "responsePayload": {"errorType": "Trouble", "errorMessage": "storage failed 3 times"},
    }
    archive(dead(Step.RECONCILE_STORAGE, json.dumps(body)))

    (letter,) = archive.letters.by_id.values()
    assert (letter.failure.error, letter.failure.message) == (
        "Trouble",
        "storage failed <value> times",
    )
    assert json.loads(body_of(archive.store, letter)) == payload


def test_body_and_its_keys_are_in_the_ledger_and_nowhere_else() -> None:
    archive = Archive()
    message = s3_message(f"site-a/{SECRET}.dcm")
    archive(message)

    (letter,) = archive.letters.by_id.values()
    assert SECRET not in repr(letter)
    assert letter.body.bucket == BUCKETS[Zone.LEDGER]
    assert letter.body.key == f"dead-letters/register_object/{letter.letter_id}.json"
    assert body_of(archive.store, letter) == message.body


def test_letter_says_what_it_is_about() -> None:
    archive = Archive()
    archive(s3_message("site-a/x.dcm"))
    (letter,) = archive.letters.by_id.values()
    version = json.loads(body_of(archive.store, letter))["detail"]["object"]["version-id"]
    assert letter.about == object_id(Location("landing", "site-a/x.dcm", version))


@pytest.mark.parametrize("step", [s for s in Step if s is not Step.RELAY_CHANGES])
@pytest.mark.parametrize("body", ["", "no json", "[]", '{"detail": 1}', "\ud800", "[" * 99_999])
def test_poison_of_any_shape_is_archived(step: Step, body: str) -> None:
    archive = Archive()

    assert archive(dead(step, body)) == [True]

    (letter,) = archive.letters.by_id.values()
    assert letter.about == ""
    assert body_of(archive.store, letter) == body


def test_id_that_somebody_made_up_is_not_kept() -> None:
    archive = Archive()
    detail = {"object_id": SECRET, "version": 1, "state": "VERIFIED", "at": "", "kind": "dicom"}
    place = {"bucket": "b", "key": "k", "size_bytes": 1}
    body = {"detail-type": "ObjectVerified", "detail": detail | place}
    archive(dead(Step.PLACE_OBJECT, json.dumps(body)))

    (letter,) = archive.letters.by_id.values()
    assert letter.about == ""


def test_batch_of_the_stream_becomes_a_letter_per_change() -> None:
    archive = Archive()
    message = lost_batch(2)
    first = json.loads(message.body)["DDBStreamBatchInfo"]["startSequenceNumber"]
    changes = [LostChange("a.b", 3, "{}"), LostChange("c.d", 1, '{"Records": []}')]
    archive.stream.changes[first] = changes
    archive.letters.leave(first, any_failure(step=Step.RELAY_CHANGES, message="the bus"), NOON)

    assert archive(message) == [True, True]
    assert archive(message) == [False, False]

    letters = archive.letters.by_id.values()
    assert {(x.about, x.about_version) for x in letters} == {("a.b", 3), ("c.d", 1)}
    assert {x.failure.message for x in letters} == {"the bus"}


def test_batch_the_stream_forgot_keeps_its_positions() -> None:
    archive = Archive()
    message = lost_batch()

    assert archive(message) == [True]

    (letter,) = archive.letters.by_id.values()
    assert (letter.about, body_of(archive.store, letter)) == ("", message.body)


def test_records_that_grew_too_old_are_a_cause_of_their_own() -> None:
    archive = Archive()
    archive(lost_batch(requestContext={"condition": "RecordAgeExceeded"}))

    (letter,) = archive.letters.by_id.values()
    assert letter.failure.error == "RecordAgeExceeded"


def test_two_messages_of_one_letter_at_once_are_both_counted() -> None:
    archive = Archive()
    first = s3_message()
    second = DeadMessage(first.step, "the other", first.body, NOON, {})
    real = archive.letters.put

    def raced(before: Any, after: Any) -> None:
        archive.letters.put = real  # type: ignore[method-assign]
        archive(second)
        real(before, after)

    archive.letters.put = raced  # type: ignore[method-assign]
    with pytest.raises(StaleRecordError):
        archive(first)
    assert archive(first) == [True]

    (letter,) = archive.letters.by_id.values()
    assert letter.failures == 2


@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
def test_crash_at_every_effect_loses_and_doubles_nothing(after: bool) -> None:
    message = s3_message()
    calm = Archive(Effects())
    calm(message)

    for fail_at in range(1, len(calm.letters.effects.calls) + 1):
        archive = Archive(Effects(fail_at=fail_at, after=after))
        with pytest.raises(Trouble):
            archive(message)
        archive(message)

        (letter,) = archive.letters.by_id.values()
        assert (letter.failures, letter.state) == (1, LetterState.OPEN)
        assert body_of(archive.store, letter) == message.body
