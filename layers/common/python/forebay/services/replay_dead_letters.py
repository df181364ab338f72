"""Hand dead letters to their steps again, or close them; every decision leaves a record."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from forebay.domain.dead_letters import (
    DeadLetter,
    LetterState,
    StreamBatch,
    Verdict,
    no_answer,
    read_object,
)
from forebay.domain.objects import Location
from forebay.errors import StaleRecordError, Trouble
from forebay.events import utc_text
from forebay.names import QUEUE_STEPS, Step
from forebay.services.archive_dead_letters import body_of
from forebay.services.ports import (
    Clock,
    DeadLetters,
    FailureNotes,
    Functions,
    ObjectStore,
    Queues,
)
from forebay.services.preview_dead_letters import PreviewDeadLetters

FOLDER: Final = "replays"
SEND_BATCH: Final = 10
"""What SQS takes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which letters: all that are open, unless it names some; times are of the last failure."""

    letter_ids: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    step: Step | None = None
    since: datetime | None = None
    until: datetime | None = None
    states: frozenset[LetterState] = frozenset({LetterState.OPEN})

    def as_dict(self) -> dict[str, Any]:
        """Return what was asked for, as JSON data."""
        return {
            "letter_ids": list(self.letter_ids),
            "signatures": list(self.signatures),
            "step": self.step.value if self.step else "",
            "since": utc_text(self.since) if self.since else "",
            "until": utc_text(self.until) if self.until else "",
            "states": sorted(state.value for state in self.states),
        }


def select(letters: DeadLetters, selection: Selection) -> Iterator[DeadLetter]:
    """Return the letters a selection means, in the order of the flow, then by time."""
    if selection.letter_ids:
        found = (letters.get(each) for each in selection.letter_ids)
        yield from (letter for letter in found if letter and _is_meant(letter, selection))
        return
    order = list(Step)
    for group in sorted(letters.groups(), key=lambda group: order.index(group.step)):
        if selection.signatures and group.signature not in selection.signatures:
            continue
        if selection.step in (None, group.step):
            every = letters.letters(group.signature, since=selection.since, until=selection.until)
            yield from (letter for letter in every if _is_meant(letter, selection))


def _is_meant(letter: DeadLetter, selection: Selection) -> bool:
    return (
        letter.state in selection.states
        and selection.step in (None, letter.step)
        and (selection.since is None or letter.last_failed_at >= selection.since)
        and (selection.until is None or letter.last_failed_at <= selection.until)
    )


class Outcome(StrEnum):
    """What became of one letter in a replay."""

    SENT = "sent"
    """In its step's queue; it comes back under its cause if it fails again."""
    ACTED = "acted"
    """The function was called and did the work."""
    ALREADY_DONE = "already done"
    FAILED_AGAIN = "failed again"
    CANNOT = "cannot"
    CHANGED = "changed meanwhile"
    """Somebody else replayed, resolved or archived it first."""
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Result:
    """One letter's outcome."""

    letter_id: str
    step: Step
    signature: str
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One decision about letters, as the ledger keeps it in `replays/<id>.json`."""

    record_id: str
    action: str
    by: str
    at: datetime
    details: Mapping[str, Any]
    results: tuple[Result, ...] = ()
    stopped: str = ""
    """Why it ended before its end, '' when it did not."""

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON data."""
        return {
            "replay_id": self.record_id,
            "action": self.action,
            "by": self.by,
            "at": utc_text(self.at),
            **self.details,
            "stopped": self.stopped,
            "letters": [
                {
                    "letter_id": result.letter_id,
                    "step": result.step.value,
                    "signature": result.signature,
                    "outcome": result.outcome.value,
                    "why": result.why,
                }
                for result in self.results
            ],
        }

    def count(self, outcome: Outcome) -> int:
        """Return how many letters ended so."""
        return sum(result.outcome is outcome for result in self.results)


@dataclass(frozen=True, slots=True)
class Desk:
    """What deciding about letters needs: the letters, the ledger, the time."""

    letters: DeadLetters
    store: ObjectStore
    clock: Clock
    ledger_bucket: str

    def write(self, record: Record) -> None:
        """Write a record into the ledger, as another version when it was begun before."""
        location = Location(self.ledger_bucket, f"{FOLDER}/{record.record_id}.json")
        body = json.dumps(record.as_dict(), sort_keys=True).encode()
        self.store.put(location, body, content_type="application/json")

    def open(
        self, action: str, by: str, chosen: Sequence[DeadLetter], details: Mapping[str, Any]
    ) -> Record:
        """Begin a record: it names all letters before any of them changes."""
        at = self.clock.now()
        text = "\n".join([action, by, utc_text(at), *(letter.letter_id for letter in chosen)])
        record_id = f"{at:%Y%m%dT%H%M%SZ}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        named = {"chosen": [letter.letter_id for letter in chosen]}
        record = Record(record_id, action, by, at, {**details, **named})
        self.write(record)
        return record

    def close(self, before: DeadLetter, after: DeadLetter) -> bool:
        """Write a letter's new state; False when it moved meanwhile."""
        try:
            self.letters.put(before, after)
        except StaleRecordError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How letters are replayed: how many a second, and by which version of the function."""

    by: str
    rate: float = 10.0
    to_version: str = ""
    """A Lambda version or alias that is called directly; '' sends to the step's queue."""
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True, slots=True)
class ReplayDeadLetters:
    """Replay letters; `pause` waits some seconds between batches."""

    desk: Desk
    notes: FailureNotes
    queues: Queues
    functions: Functions
    preview: PreviewDeadLetters
    pause: Callable[[float], None]

    def __call__(self, chosen: Sequence[DeadLetter], options: ReplayOptions) -> Record:
        """Replay letters and return what became of each.

            begin the record ──► send ──► mark REPLAYED ──► … ──► end the record
                                     │
                   crash: still OPEN, and sent once more: the step finds it done

        Sending first doubles at most an idempotent delivery; marking first could lose one. What is
        done already is resolved without sending; what cannot be done stays open, except that a
        named version is tried on everything it might understand. Trouble ends the replay early:
        `stopped` says why, the letters that were not reached stay as they were.
        """
        details = {
            "selection": options.selection.as_dict(),
            "rate": options.rate,
            "to_version": options.to_version,
        }
        record = self.desk.open("replay", options.by, chosen, details)
        results: list[Result] = []
        stopped = ""
        try:
            size = max(1, min(SEND_BATCH, int(options.rate)))
            for start in range(0, len(chosen), size):
                part = chosen[start : start + size]
                if start:
                    self.pause(len(part) / options.rate)
                self._replay(part, record, options, results)
        except Trouble as exc:
            stopped = str(exc)
        ended = Record(
            record.record_id,
            record.action,
            record.by,
            record.at,
            record.details,
            tuple(results),
            stopped,
        )
        self.desk.write(ended)
        return ended

    def _replay(
        self,
        part: Sequence[DeadLetter],
        record: Record,
        options: ReplayOptions,
        results: list[Result],
    ) -> None:
        """Judge some letters anew, call what is called directly, send the rest by step."""
        waiting: dict[Step, list[tuple[DeadLetter, str]]] = {}
        for shown in part:
            letter = self.desk.letters.get(shown.letter_id)
            if letter is None or letter.version != shown.version:
                results.append(_result(shown, Outcome.CHANGED))
                continue
            body = body_of(self.desk.store, letter)
            judged = self.preview.of_message(letter, body)
            direct = bool(options.to_version) or letter.step not in QUEUE_STEPS
            if judged.verdict is Verdict.ALREADY_DONE:
                results.append(self._settled(letter, judged.why, record))
            elif judged.verdict is Verdict.CANNOT and not _may_try(letter, body, options):
                results.append(_result(letter, Outcome.CANNOT, judged.why))
            elif direct:
                results.append(self._called(letter, body, record, options))
            else:
                waiting.setdefault(letter.step, []).append((letter, body))
        for step, letters in waiting.items():
            self.queues.send(step, [body for _, body in letters])
            for letter, _ in letters:
                now = self.desk.clock.now()
                # Failed again before this line? Then it is open again, as it should be.
                self.desk.close(
                    letter, letter.replayed(now, replay_id=record.record_id, by=record.by)
                )
                results.append(_result(letter, Outcome.SENT))

    def _settled(self, letter: DeadLetter, why: str, record: Record) -> Result:
        after = letter.resolved(self.desk.clock.now(), note=why, by=record.by)
        done = self.desk.close(letter, after)
        return _result(letter, Outcome.ALREADY_DONE if done else Outcome.CHANGED, why)

    def _called(
        self, letter: DeadLetter, body: str, record: Record, options: ReplayOptions
    ) -> Result:
        """Call the function with one letter and judge its answer."""
        delivery = f"{record.record_id}-{letter.letter_id}"
        payload, note_id = body, _sequence(body)
        if letter.step in QUEUE_STEPS:
            payload, note_id = _sqs_event(delivery, body), delivery
        answer = self.functions.invoke(letter.step, payload, version=options.to_version)
        now = self.desk.clock.now()
        if answer is not None and not answer.get("batchItemFailures"):
            version = f" version {options.to_version}" if options.to_version else ""
            note = f"{letter.step}{version} did the work."
            after = letter.resolved(now, note=note, by=record.by, replay_id=record.record_id)
            done = self.desk.close(letter, after)
            return _result(letter, Outcome.ACTED if done else Outcome.CHANGED, note)
        failure = (self.notes.find(note_id) if note_id else None) or no_answer(letter.step)
        again = letter.failed_again(failure, now, delivery=delivery, body=letter.body)
        self.desk.close(letter, again)
        return _result(letter, Outcome.FAILED_AGAIN, f"{failure.error}: {failure.message}")


@dataclass(frozen=True, slots=True)
class ResolveDeadLetters:
    """Close letters without replaying them."""

    desk: Desk

    def __call__(self, chosen: Sequence[DeadLetter], *, note: str, by: str) -> Record:
        """Resolve letters with a note of why, and return what became of each."""
        record = self.desk.open("resolve", by, chosen, {"note": note})
        results = []
        for letter in chosen:
            after = letter.resolved(self.desk.clock.now(), note=note, by=by)
            done = self.desk.close(letter, after)
            results.append(_result(letter, Outcome.RESOLVED if done else Outcome.CHANGED))
        ended = Record(
            record.record_id, record.action, by, record.at, record.details, tuple(results)
        )
        self.desk.write(ended)
        return ended


def _may_try(letter: DeadLetter, body: str, options: ReplayOptions) -> bool:
    """Tell whether a named version is tried on what this one cannot do."""
    positions_only = letter.step is Step.RELAY_CHANGES and StreamBatch.of(read_object(body))
    return bool(options.to_version) and not positions_only


def _result(letter: DeadLetter, outcome: Outcome, why: str = "") -> Result:
    return Result(letter.letter_id, letter.step, letter.failure.signature, outcome, why)


def _sqs_event(message_id: str, body: str) -> str:
    """Return the event by which Lambda would hand this message over on its second delivery.

    The second: an earlier delivery may have done a part of the work.
    """
    record = {
        "messageId": message_id,
        "receiptHandle": message_id,
        "body": body,
        "attributes": {"ApproximateReceiveCount": "2"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "",
        "awsRegion": "",
    }
    return json.dumps({"Records": [record]})


def _sequence(body: str) -> str:
    """Return the stream position in a relay's letter, under which the relay leaves its note."""
    records = read_object(body).get("Records") or [{}]
    return str(records[0].get("dynamodb", {}).get("SequenceNumber", ""))
