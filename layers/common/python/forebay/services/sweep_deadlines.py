"""sweep_deadlines: find what stands still, give it to its step again, or say who must act."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from forebay.domain.deadlines import (
    MAX_REDRIVES,
    RUN_DEADLINES,
    WATCHED,
    Action,
    due,
    redriven,
    run_is_due,
    step_of,
    warned,
)
from forebay.domain.findings import Owner
from forebay.domain.objects import ObjectRecord
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import State
from forebay.errors import StaleRecordError, Trouble
from forebay.names import Step
from forebay.services.ports import Agenda, Catalog, Change, Clock, Lease, Pipelines, Queues
from forebay.services.record_pipeline import RecordPipeline
from forebay.services.redriving import envelope

OBJECTS_PER_SWEEP: Final = 500
"""More waits for the next sweep. What is merely late, behind a long queue, is re-driven too: this
bounds what that adds to the queue to a small part of what the steps work off meanwhile."""
RUNS_PER_SWEEP: Final = 100
SEND_TOGETHER: Final = 10
"""Records amended before their messages are sent: SQS takes ten at a time."""
MAX_FAILURES: Final = 10
WITHDRAWN: Final = "An input left its zone before the run was started; nothing was processed."


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one sweep did and found; `overdue` counts what waits for a person, zeros included."""

    redriven: int = 0
    leases_ended: int = 0
    warned: int = 0
    runs_redriven: int = 0
    runs_recorded: int = 0
    runs_failed: int = 0
    failures: Sequence[tuple[str, Exception]] = ()
    """Objects and runs that could not be looked after, by id."""
    overdue: Mapping[tuple[str, Owner], int] = field(default_factory=dict)
    """By state, of objects and runs, and owner."""

    @property
    def outcomes(self) -> dict[str, int]:
        """What was done, by a word or two; nothing is left out."""
        counts = {
            "redriven": self.redriven,
            "lease ended": self.leases_ended,
            "warned": self.warned,
            "run redriven": self.runs_redriven,
            "run recorded": self.runs_recorded,
            "run failed": self.runs_failed,
        }
        return {outcome: count for outcome, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class SweepDeadlines:
    """Look once over what is due; several sweeps may run at once and do each thing once."""

    catalog: Catalog
    agenda: Agenda
    queues: Queues
    pipelines: Pipelines
    record_pipeline: RecordPipeline
    clock: Clock
    limit: int = OBJECTS_PER_SWEEP

    def __call__(self) -> Sweep:
        """Return what was done; what is beyond the limit comes first in the next sweep.

            lease ended:     end it (whoever can, acts) ──► amend the record ──► send
            deadline passed:                                amend the record ──► send
                                                          │                  │
                             crash: the deadline finds it │   crash: the next deadline does

        The record is amended first, under the condition that nobody moved it: so that two sweeps
        send once, and so that a step that starts on the message at once does not lose its work to
        a record that changed under it.

        Raises:
            Trouble: the catalog or a queue failed; the next sweep finds what is left.
        """
        failures = Failures()
        leases = self._sweep_leases(failures)
        objects = self._sweep_objects(failures)
        runs = self._sweep_runs(failures)
        overdue = {(s.value, o): self.agenda.count_overdue(s, o) for s, o in WATCHED}
        return Sweep(
            redriven=leases.redriven + objects.redriven,
            leases_ended=leases.ended,
            warned=objects.warned,
            runs_redriven=runs.redriven,
            runs_recorded=runs.recorded,
            runs_failed=runs.failed,
            failures=tuple(failures.found),
            overdue=overdue | {(s.value, Owner.PLATFORM): n for s, n in runs.overdue.items()},
        )

    def _sweep_leases(self, failures: "Failures") -> "_Done":
        done = _Done()
        ids = self.agenda.ended_leases(self.clock.now(), self.limit)
        for some in _groups(ids):
            released: list[ObjectRecord] = []
            for object_id in some:
                with failures.of(object_id):
                    if record := self._released(object_id, done):
                        released.append(record)
            done.redriven += self._redrive(released)
        return done

    def _released(self, object_id: str, done: "_Done") -> ObjectRecord | None:
        """End an ended lease; return the record when its holder left the work undone."""
        lease = self.catalog.get_lease(object_id)
        if lease is None or not self._has_ended(lease) or not self.catalog.end_lease(lease):
            return None
        done.ended += 1
        record = self.catalog.get(object_id)
        if record is None or record.version != lease.record_version or not step_of(record):
            return None
        return record if record.redrives < MAX_REDRIVES else None

    def _sweep_objects(self, failures: "Failures") -> "_Done":
        done = _Done()
        ids = self.agenda.due_objects(self.clock.now(), self.limit)
        for some in _groups(ids):
            late: list[ObjectRecord] = []
            for object_id in some:
                with failures.of(object_id):
                    if record := self._late(object_id, done):
                        late.append(record)
            done.redriven += self._redrive(late)
        return done

    def _late(self, object_id: str, done: "_Done") -> ObjectRecord | None:
        """Return the record of an object to re-drive; warn where that is what is due."""
        record = self.catalog.get(object_id)
        action = due(record, self.clock.now()) if record else None
        if record is None or action is None or self._is_being_worked_on(record):
            return None
        if action is Action.REDRIVE:
            return record
        if self._amended(record, warned):
            done.warned += 1
        return None

    def _is_being_worked_on(self, record: ObjectRecord) -> bool:
        lease = self.catalog.get_lease(record.object_id)
        return lease is not None and not self._has_ended(lease)

    def _has_ended(self, lease: Lease) -> bool:
        return lease.until <= self.clock.now()

    def _redrive(self, records: Sequence[ObjectRecord]) -> int:
        by_step: dict[Step, list[str]] = {}
        for record in records:
            step = step_of(record)
            if step is not None and (after := self._amended(record, redriven)):
                by_step.setdefault(step, []).append(envelope(after))
        for step, bodies in by_step.items():
            self.queues.send(step, bodies)
        return sum(map(len, by_step.values()))

    def _amended(
        self, record: ObjectRecord, amend: Callable[[ObjectRecord, datetime], ObjectRecord]
    ) -> ObjectRecord | None:
        """Return the record as amended, None when somebody moved it first: it is looked after."""
        after = amend(record, self.clock.now())
        try:
            self.catalog.apply(Change(record, after))
        except StaleRecordError:
            return None
        return after

    def _sweep_runs(self, failures: "Failures") -> "_Runs":
        done = _Runs()
        for run in self._late_runs(RunState.SUBMITTING):
            with failures.of(run.run_id):
                self._submit_again(run, done)
        for run in self._late_runs(RunState.SUBMITTED):
            with failures.of(run.run_id):
                self._ask_engine(run, done)
        return done

    def _late_runs(self, state: RunState) -> Iterator[PipelineRun]:
        before = self.clock.now() - RUN_DEADLINES[state]
        for run_id in self.agenda.runs_in(state, before, RUNS_PER_SWEEP):
            run = self.catalog.get_run(run_id)
            if run and run.state is state and run_is_due(run, self.clock.now()):
                yield run

    def _submit_again(self, run: PipelineRun, done: "_Runs") -> None:
        """Give a run that was claimed and not started to submit_pipeline, by one of its inputs."""
        inputs = [self.catalog.get(object_id) for object_id in run.inputs.values()]
        placed = [record for record in inputs if record and record.state is State.PLACED]
        done.overdue[run.state] += 1
        if len(placed) == len(inputs) and placed:
            # Claimed anew, so that the next sweep waits.
            if self._moved(run, run.moved_to(RunState.SUBMITTING, self.clock.now())):
                self.queues.send(Step.SUBMIT_PIPELINE, [envelope(placed[0])])
                done.redriven += 1
        elif self._moved(run, run.moved_to(RunState.FAILED, self.clock.now(), error=WITHDRAWN)):
            done.failed += 1

    def _ask_engine(self, run: PipelineRun, done: "_Runs") -> None:
        outcome = self.pipelines.outcome(run)
        if outcome is None:
            done.overdue[run.state] += 1
            return
        try:
            self.record_pipeline(outcome)
        except StaleRecordError:
            return
        done.recorded += 1

    def _moved(self, run: PipelineRun, after: PipelineRun) -> bool:
        try:
            self.catalog.move_run(run, after)
        except StaleRecordError:
            return False
        return True


@dataclass(slots=True)
class Failures:
    """What went wrong with single objects and runs: one of them must not stand in others' way.

    What is wrong with the world (Trouble) ends the sweep at once, as do too many failures.
    """

    found: list[tuple[str, Exception]] = field(default_factory=list)

    @contextmanager
    def of(self, subject_id: str) -> Iterator[None]:
        """Note a failure of one object or run and go on."""
        try:
            yield
        except Trouble:
            raise
        except Exception as exc:
            self.found.append((subject_id, exc))
            if len(self.found) >= MAX_FAILURES:
                raise Trouble(f"the sweep failed for {len(self.found)} objects or runs") from exc


@dataclass(slots=True)
class _Done:
    redriven: int = 0
    ended: int = 0
    warned: int = 0


@dataclass(slots=True)
class _Runs:
    redriven: int = 0
    recorded: int = 0
    failed: int = 0
    overdue: dict[RunState, int] = field(default_factory=lambda: dict.fromkeys(RUN_DEADLINES, 0))


def _groups(ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield the ids ten at a time: what a crash leaves amended and unsent is one group."""
    left = iter(ids)
    while group := list(islice(left, SEND_TOGETHER)):
        yield group
