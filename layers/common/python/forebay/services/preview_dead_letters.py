"""What replaying a dead letter would come to, read from catalog and storage; nothing is written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from forebay.domain.dead_letters import DeadLetter, Preview, StreamBatch, Verdict, read_object
from forebay.domain.objects import Choice, Location, ObjectRecord, object_id
from forebay.domain.runs import ENDED, RunState
from forebay.domain.states import State
from forebay.errors import MessageError, ObjectMissingError
from forebay.events import (
    ObjectChanged,
    ObjectCreated,
    S3Event,
    read_json,
    read_pipeline_event,
    read_s3_events,
)
from forebay.names import LANDING_SETTLED, DetailType, Step, Tag
from forebay.services.archive_dead_letters import body_of
from forebay.services.ports import Catalog, DeadLetters, History, ObjectStore
from forebay.services.record_pipeline import RUNNING
from forebay.services.submit_pipeline import RunPlanner

Judgement = tuple[Verdict, str]

_REFUSED: Final = frozenset({State.QUARANTINED, State.CONFLICT})
_SETTLING: Final = frozenset({State.PLACED, State.QUARANTINED, State.DUPLICATE, State.CONFLICT})


@dataclass(frozen=True, slots=True)
class PreviewDeadLetters:
    """Tell for one letter whether its step would still do something."""

    letters: DeadLetters
    catalog: Catalog
    history: History
    store: ObjectStore
    runs: RunPlanner

    def __call__(self, letter: DeadLetter) -> Preview:
        """Return the verdict: WOULD_ACT, ALREADY_DONE, or CANNOT where replaying cannot help."""
        return self.of_message(letter, body_of(self.store, letter))

    def of_message(self, letter: DeadLetter, body: str) -> Preview:
        """Return the verdict for a letter whose message is at hand."""
        try:
            verdict, why = self._judged(letter, body)
        except MessageError as exc:
            verdict, why = Verdict.CANNOT, f"This version does not understand the message: {exc}."
        return Preview(letter.letter_id, verdict, why)

    def _judged(self, letter: DeadLetter, body: str) -> Judgement:
        by_body: dict[Step, Callable[[str], Judgement]] = {
            Step.REGISTER_OBJECT: self._registrations,
            Step.RECORD_PIPELINE: self._recording,
        }
        by_change: dict[Step, Callable[[ObjectChanged], Judgement]] = {
            Step.INSPECT_DICOM: self._inspection,
            Step.INSPECT_GENOMICS: self._inspection,
            Step.PLACE_OBJECT: self._placement,
            Step.SUBMIT_PIPELINE: self._submission,
        }
        step = letter.step
        if step in by_body:
            return by_body[step](body)
        if step in by_change:
            return by_change[step](ObjectChanged.from_envelope(read_json(body)))
        if step is Step.RELAY_CHANGES:
            return self._relay(letter, body)
        if step is Step.LEARN_ACCESS:
            return Verdict.WOULD_ACT, "Reads the log again; what was counted is not counted twice."
        return Verdict.WOULD_ACT, f"Calls {step} again; its next scheduled run does the same work."

    def _registrations(self, body: str) -> Judgement:
        """Judge an S3 message, which may speak of several objects: the neediest decides."""
        events = read_s3_events(body)
        if not events:
            return Verdict.ALREADY_DONE, "The message tells of no object that was written."
        judged = [self._registration(event) for event in events]
        for verdict in (Verdict.WOULD_ACT, Verdict.CANNOT):
            for each in judged:
                if each[0] is verdict:
                    return each
        return judged[0]

    def _registration(self, event: S3Event) -> Judgement:
        if not isinstance(event, ObjectCreated):
            return Verdict.WOULD_ACT, "Looks again what became of the object version in storage."
        if not event.version_id:
            return Verdict.WOULD_ACT, "The event names no version: looks again at all of its key."
        location = Location(event.bucket, event.key, event.version_id)
        if known := self.catalog.get(object_id(location)):
            return Verdict.ALREADY_DONE, f"Object {known.object_id} is registered: {known.state}."
        try:
            self.store.head(location)
        except ObjectMissingError:
            return Verdict.WOULD_ACT, "It is gone from storage: registers that it was deleted."
        return Verdict.WOULD_ACT, "The object version is in storage and not in the catalog."

    def _inspection(self, change: ObjectChanged) -> Judgement:
        record = self.catalog.get(change.object_id)
        if record is None:
            return _unregistered()
        if record.state is not State.RECEIVED:
            return Verdict.ALREADY_DONE, f"The object was inspected: {record.state}."
        return Verdict.WOULD_ACT, "The object is still RECEIVED: nobody inspected it."

    def _placement(self, change: ObjectChanged) -> Judgement:
        record = self.catalog.get(change.object_id)
        if record is None:
            return _unregistered()
        if left := self._left_to_place(record, change):
            return Verdict.WOULD_ACT, left
        return Verdict.ALREADY_DONE, f"The object is {record.state}; nothing is left to do."

    def _left_to_place(self, record: ObjectRecord, change: ObjectChanged) -> str:
        """Say what is not yet done: before the landing copy's tag, the last write, all may be."""
        state, decision = record.state, record.decision
        if state is State.VERIFIED:
            return "The object is VERIFIED and not placed."
        if state in _REFUSED and (record.held is None or record.version == change.version):
            return f"The object is {state} and not yet set aside."
        if state is State.QUARANTINED and change.detail_type is DetailType.OBJECT_VERIFIED:
            return "Convicted meanwhile: makes sure no copy of it can be read."
        if state is State.PLACED and decision and decision.choice is Choice.REPLACE:
            return "Makes sure that what the object replaced cannot be read."
        if state in _SETTLING and not self._is_settled(record):
            return f"The object is {state}; its landing copy cannot expire yet."
        return ""

    def _submission(self, change: ObjectChanged) -> Judgement:
        try:
            pair = self.runs.pair_of(change.object_id)
        except ObjectMissingError:
            return _unregistered()
        if pair is None:
            return (
                Verdict.ALREADY_DONE,
                "The pair is not complete; the mate that completes it submits the run.",
            )
        planned = self.runs.run_over(pair)
        run = self.catalog.get_run(planned.run_id)
        if run is None or run.state is RunState.SUBMITTING:
            return Verdict.WOULD_ACT, f"Run {planned.run_id} is not submitted."
        return Verdict.ALREADY_DONE, f"Run {run.run_id} is {run.state}."

    def _recording(self, body: str) -> Judgement:
        event = read_pipeline_event(body)
        run = self.catalog.get_run(event.run_id)
        if event.status == RUNNING:
            return Verdict.ALREADY_DONE, "The message tells of a start, which changes nothing."
        if run is None:
            return Verdict.CANNOT, "The pipeline run is not in the catalog."
        if run.state in ENDED:
            return Verdict.ALREADY_DONE, f"Run {run.run_id} is {run.state}."
        return Verdict.WOULD_ACT, f"Run {run.run_id} ended, but is still {run.state}."

    def _relay(self, letter: DeadLetter, body: str) -> Judgement:
        if StreamBatch.of(read_object(body)):
            return (
                Verdict.CANNOT,
                "The stream had forgotten the change; `forebay reconcile` finds what it left out.",
            )
        made, version = letter.about, letter.about_version
        if "." not in made:
            return Verdict.WOULD_ACT, f"Publishes version {version} of run {made} again."
        if self.history.has(made, version):
            # History comes before the bus: it does not prove that anybody was told.
            return (
                Verdict.WOULD_ACT,
                f"Version {version} of {made} is in its history; publishes its event again.",
            )
        return Verdict.WOULD_ACT, f"Version {version} of {made} is missing in its history."

    def _is_settled(self, record: ObjectRecord) -> bool:
        try:
            return self.store.tags(record.location).get(Tag.LANDING) == LANDING_SETTLED
        except ObjectMissingError:
            return True  # it expired, which is what the tag is for


def _unregistered() -> Judgement:
    return Verdict.CANNOT, "The object is not in the catalog: replay its registration first."
