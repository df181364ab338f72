"""What the steps gave up on: one letter per message, one signature per cause."""

import hashlib
import json
import re
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from forebay.domain.objects import Location
from forebay.errors import MessageError
from forebay.names import Step

LETTER_ID_LENGTH: Final = 24
SIGNATURE_LENGTH: Final = 12
MESSAGE_LENGTH: Final = 300
_REMEMBERED_DELIVERIES: Final = 20
_DEAD_QUEUE: Final = "-dead"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step gave up: the kind of error, and its sentence without anything of one message."""

    step: Step
    error: str
    message: str = ""

    @property
    def signature(self) -> str:
        """Twelve characters; equal for equal causes, whatever object or person they befell."""
        return _short_hash([self.step.value, self.error, self.message], SIGNATURE_LENGTH)

    @classmethod
    def of(cls, step: Step, error: str, message: str) -> "Failure":
        """Return a failure with its message normalised, so that it may be stored and counted."""
        return cls(step, error if _ERROR.fullmatch(error) else "Error", normalised(message))


NO_ANSWER: Final = (
    "NoAnswer",
    "The function gave no answer: it was killed, ran out of memory, or timed out.",
)


def no_answer(step: Step) -> Failure:
    """Return the failure of a function that left no note of why it failed."""
    return Failure(step, *NO_ANSWER)


class LetterState(StrEnum):
    """Where a dead letter stands."""

    OPEN = "OPEN"
    """Nobody has done anything about it since it failed last."""
    REPLAYED = "REPLAYED"
    """It was handed to its step again; it becomes OPEN when it fails again."""
    RESOLVED = "RESOLVED"
    """Its work is done, or a steward decided that it need not be."""


class Verdict(StrEnum):
    """What replaying a letter would come to."""

    WOULD_ACT = "WOULD_ACT"
    ALREADY_DONE = "ALREADY_DONE"
    CANNOT = "CANNOT"


@dataclass(frozen=True, slots=True)
class Preview:
    """The verdict on one letter, and the sentence that proves it."""

    letter_id: str
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message a step gave up on, however often it failed.

    The id is derived from step and body, so that a replayed message that fails again is this letter
    again. The body may hold keys that name people: it lies in the ledger, never in the catalog.
    """

    letter_id: str
    failure: Failure
    state: LetterState
    state_since: datetime
    version: int
    failures: int
    first_failed_at: datetime
    last_failed_at: datetime
    body: Location
    about: str = ""
    """Object id or pipeline run id the message is about, where it says one."""
    about_version: int = 0
    """For the relay: which version of the record it could not relay."""
    deliveries: tuple[str, ...] = ()
    """Ids of the latest messages counted in `failures`; each is counted once."""
    replay_id: str = ""
    by: str = ""
    """Who replayed or resolved it: an AWS identity."""
    note: str = ""

    @property
    def step(self) -> Step:
        """The step that gave up."""
        return self.failure.step

    def failed_again(
        self, failure: Failure, at: datetime, *, delivery: str, body: Location
    ) -> "DeadLetter":
        """Return the letter after one more failure; it is open again, under its latest cause."""
        return replace(
            self,
            failure=failure,
            state=LetterState.OPEN,
            state_since=at,
            version=self.version + 1,
            failures=self.failures + 1,
            last_failed_at=max(at, self.last_failed_at),
            body=body,
            deliveries=(*self.deliveries, delivery)[-_REMEMBERED_DELIVERIES:],
        )

    def replayed(self, at: datetime, *, replay_id: str, by: str) -> "DeadLetter":
        """Return the letter after it was handed to its step again."""
        return self._closed(LetterState.REPLAYED, at, replay_id=replay_id, by=by)

    def resolved(self, at: datetime, *, note: str, by: str, replay_id: str = "") -> "DeadLetter":
        """Return the letter after its work was done, or given up by somebody."""
        return self._closed(LetterState.RESOLVED, at, replay_id=replay_id, by=by, note=note)

    def _closed(self, state: LetterState, at: datetime, **facts: Any) -> "DeadLetter":
        kept: dict[str, Any] = {"replay_id": facts.get("replay_id") or self.replay_id}
        return replace(
            self, state=state, state_since=at, version=self.version + 1, **(facts | kept)
        )


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """All letters of one cause, counted."""

    signature: str
    failure: Failure
    counts: Mapping[LetterState, int]
    failures: int
    first_failed_at: datetime
    last_failed_at: datetime

    @property
    def step(self) -> Step:
        """The step that gave up."""
        return self.failure.step

    @property
    def open_letters(self) -> int:
        """How many wait for somebody."""
        return self.counts.get(LetterState.OPEN, 0)


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A message of a dead-letter queue, as SQS tells of it."""

    step: Step
    message_id: str
    body: str
    sent_at: datetime
    attributes: Mapping[str, str]
    """Message attributes of type text; EventBridge says in them why it could not deliver."""


def letter_id(step: Step, body: str) -> str:
    """Return the id of the letter with this body: 24 characters of base 32."""
    return _short_hash([step.value, body], LETTER_ID_LENGTH)


def step_of_queue(name_or_arn: str) -> Step:
    """Return the step whose dead-letter queue this is; raises MessageError for another queue."""
    name = name_or_arn.rsplit(":", 1)[-1]
    for step in Step:
        if name.endswith(f"-{step.value.replace('_', '-')}{_DEAD_QUEUE}"):
            return step
    raise MessageError(f"queue {name} is no step's dead-letter queue")


@dataclass(frozen=True, slots=True)
class StreamBatch:
    """Where in the catalog's stream a batch lies that the relay gave up on."""

    stream_arn: str
    shard_id: str
    first_sequence: str
    last_sequence: str
    size: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "StreamBatch | None":
        """Read an on-failure record of a stream; None when the message is none."""
        info = data.get("DDBStreamBatchInfo")
        if not isinstance(info, Mapping):
            return None
        try:
            return cls(
                str(info["streamArn"]),
                str(info["shardId"]),
                str(info["startSequenceNumber"]),
                str(info["endSequenceNumber"]),
                int(info["batchSize"]),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise MessageError(f"not a stream's on-failure record: {exc!r}") from exc


def read_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text, {} for anything else: a dead letter may hold any bytes."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


# What may differ between two failures of one cause, or name somebody, becomes a placeholder; what
# is left are the plain words somebody wrote into the program.
_QUOTED: Final = re.compile(r"\"[^\n]*\"|(?<!\w)b?'[^'\n]*'(?!\w)|`[^`\n]*`|«[^»\n]*»")
_WORD: Final = re.compile(r"<[a-z]+>|[^\s()\[\]{}<>,;|!?]+")
_PLAIN: Final = re.compile(r"[A-Za-z]+(?:[-'][A-Za-z]+)*")
_KEPT: Final = frozenset(
    {"S3", "s3", "SHA256", "SHA-256", "SHA1", "MD5", "CRC32", "CRC32C", "CRC64NVME", "KMS", "UTF-8"}
)
_OPERATION: Final = re.compile(r"(?:dynamodb|events|kms|lambda|s3|sqs|states):[A-Za-z]+")
_ERROR: Final = re.compile(r"[A-Za-z][A-Za-z0-9_. ()]{0,99}")
# Ids that may by chance consist of letters alone.
_ID: Final = re.compile(
    r"[0-9a-fA-F]{8,}"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|[a-z2-7]{24}(?:\.[a-z2-7]{16})?"
    r"|[A-Za-z0-9._-]{32}"
)
_SAME_AGAIN: Final = re.compile(r"(<[a-z]+>)(?:[\s,;|/]+\1)+")


def normalised(message: str) -> str:
    """Return a message without ids, numbers, keys and quoted text, at most 300 characters.

    Plain English words stay; what was quoted becomes `<text>`, every other word `<value>`: one
    placeholder for all, since a number of eight digits may as well be an id. Normalising twice
    changes nothing.
    """
    text = _QUOTED.sub("<text>", message[: 10 * MESSAGE_LENGTH])
    text = _WORD.sub(lambda match: _placeholder(match[0]), text)
    text = _SAME_AGAIN.sub(r"\1", " ".join(text.split()))
    return (
        text
        if len(text) <= MESSAGE_LENGTH
        else text[:MESSAGE_LENGTH].rpartition(" ")[0] or text[:MESSAGE_LENGTH]
    )


def _placeholder(word: str) -> str:
    core = word.rstrip(".:'\"`")
    tail = word[len(core) :].replace('"', "").replace("'", "").replace("`", "")
    if not core or core.startswith("<") or core in _KEPT:
        return core + tail
    is_word = _PLAIN.fullmatch(core) and not _ID.fullmatch(core)
    return core + tail if is_word or _OPERATION.fullmatch(core) else f"<value>{tail}"


def _short_hash(parts: list[str], length: int) -> str:
    text = "\n".join(parts).encode("utf-8", "surrogatepass")
    return b32encode(hashlib.sha256(text).digest()).decode("ascii").lower()[:length]
