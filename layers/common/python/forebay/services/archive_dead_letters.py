"""archive_dead_letters: what a step gave up on goes into the ledger, under the cause it shares."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from forebay.domain.dead_letters import (
    DeadLetter,
    DeadMessage,
    Failure,
    LetterState,
    StreamBatch,
    letter_id,
    no_answer,
    read_object,
)
from forebay.domain.objects import Location, object_id, split_object_id
from forebay.errors import MessageError
from forebay.events import (
    ObjectChanged,
    ObjectCreated,
    read_pipeline_event,
    read_s3_events,
    utc_text,
)
from forebay.names import Step
from forebay.services.ports import (
    Clock,
    DeadLetters,
    FailureNotes,
    LostChange,
    ObjectStore,
    StreamRecords,
)

ERROR_CODE: Final = "ERROR_CODE"
ERROR_MESSAGE: Final = "ERROR_MESSAGE"
"""Message attributes by which EventBridge says why it could not deliver an event."""
FOLDER: Final = "dead-letters"
_RUN_ID: Final = re.compile(r"[a-z0-9_-]+-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Archived:
    """A letter after its message was archived; `is_new` unless that had happened before."""

    letter: DeadLetter
    is_new: bool


@dataclass(frozen=True, slots=True)
class ArchiveDeadLetters:
    """Archive the messages of the dead-letter queues."""

    letters: DeadLetters
    notes: FailureNotes
    stream: StreamRecords
    store: ObjectStore
    clock: Clock
    ledger_bucket: str

    def __call__(self, message: DeadMessage) -> tuple[Archived, ...]:
        """Return the letters one message became: one, or one per change of a stream's batch.

            write the body into the ledger ──► put the letter, count it (one transaction)
                                          │                                  │
                 crash: the same body is written again       crash: its message id is known

        The queue forgets the message only after that; nothing is lost in between.

        Raises:
            StaleRecordError: another message of the same letter came first; try again.
        """
        data = read_object(message.body)
        if batch := StreamBatch.of(data):
            failure = self._stream_failure(message, batch, data)
            changes = self.stream.read(batch) or [_positions(message)]
            return tuple(self._archive(message, failure, change) for change in changes)
        if "requestContext" in data and "requestPayload" in data:
            return (self._archive(message, _invoked_failure(message, data), _payload(data)),)
        failure = self._queue_failure(message)
        about = about_of(message.step, message.body)
        return (self._archive(message, failure, LostChange(about, 0, message.body)),)

    def _archive(self, message: DeadMessage, failure: Failure, change: LostChange) -> Archived:
        made = letter_id(message.step, change.body)
        before = self.letters.get(made)
        if before and message.message_id in before.deliveries:
            return Archived(before, is_new=False)
        now = self.clock.now()
        body = self._write(made, message, failure, change.body)
        if before:
            after = before.failed_again(failure, now, delivery=message.message_id, body=body)
        else:
            after = DeadLetter(
                letter_id=made,
                failure=failure,
                state=LetterState.OPEN,
                state_since=now,
                version=1,
                failures=1,
                first_failed_at=now,
                last_failed_at=now,
                body=body,
                about=change.about,
                about_version=change.about_version,
                deliveries=(message.message_id,),
            )
        self.letters.put(before, after)
        return Archived(after, is_new=True)

    def _write(self, made: str, message: DeadMessage, failure: Failure, body: str) -> Location:
        document = {
            "letter_id": made,
            "step": message.step.value,
            "signature": failure.signature,
            "error": failure.error,
            "message": failure.message,
            "message_id": message.message_id,
            "sent_at": utc_text(message.sent_at),
            "body": body,
        }
        location = Location(self.ledger_bucket, f"{FOLDER}/{message.step.value}/{made}.json")
        data = json.dumps(document, sort_keys=True).encode()
        return self.store.put(location, data, content_type="application/json")

    def _queue_failure(self, message: DeadMessage) -> Failure:
        if code := message.attributes.get(ERROR_CODE, ""):
            said = message.attributes.get(ERROR_MESSAGE, "")
            return Failure.of(message.step, f"EventBridge {code}", f"not delivered: {said}")
        return self.notes.find(message.message_id) or no_answer(message.step)

    def _stream_failure(
        self, message: DeadMessage, batch: StreamBatch, data: Mapping[str, Any]
    ) -> Failure:
        if note := self.notes.find(batch.first_sequence):
            return note
        condition = _text(data.get("requestContext"), "condition") or "unknown"
        if condition == "RecordAgeExceeded":
            said = "The stream's records grew too old before the relay could take them."
            return Failure(message.step, condition, said)
        return no_answer(message.step)


def body_of(store: ObjectStore, letter: DeadLetter) -> str:
    """Return the message a letter holds, from the ledger."""
    data = b"".join(store.chunks(letter.body, 1024 * 1024))
    return str(json.loads(data)["body"])


def about_of(step: Step, body: str) -> str:
    """Return the id of the object or pipeline run a message is about, '' when it says none."""
    try:
        if step is Step.REGISTER_OBJECT:
            created = [e for e in read_s3_events(body) if isinstance(e, ObjectCreated)]
            places = [Location(e.bucket, e.key, e.version_id) for e in created if e.version_id]
            return object_id(places[0]) if len(places) == 1 else ""
        if step is Step.RECORD_PIPELINE:
            run = read_pipeline_event(body).run_id
            return run if _RUN_ID.fullmatch(run) else ""
        made = ObjectChanged.from_envelope(read_object(body)).object_id
        split_object_id(made)
    except (MessageError, ValueError):
        # A message may be in no shape at all, and say anything in place of an id.
        return ""
    return made


def _positions(message: DeadMessage) -> LostChange:
    """Return a letter that can only say where in the stream its records were."""
    return LostChange("", 0, message.body)


def _payload(data: Mapping[str, Any]) -> LostChange:
    return LostChange("", 0, json.dumps(data["requestPayload"], sort_keys=True))


def _invoked_failure(message: DeadMessage, data: Mapping[str, Any]) -> Failure:
    """Return why a function failed that was invoked by a schedule: Lambda tells its answer."""
    answer = data.get("responsePayload")
    error = _text(answer, "errorType")
    if not error:
        return no_answer(message.step)
    return Failure.of(message.step, error, _text(answer, "errorMessage"))


def _text(data: Any, name: str) -> str:
    return str(data.get(name) or "") if isinstance(data, Mapping) else ""
