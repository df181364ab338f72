"""A deterministic world in which everything that may go wrong does, drawn from a seed.

The services are the real ones, over the fakes of tests/unit. An adversary holds everything that
waits to happen (messages, batches of the stream, schedules, people) and picks what happens next;
at each effect of a worker it may stop the worker and let others run, kill it, refuse the effect or
lose its answer. Then the world calms down, and what must hold is asked for.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from zlib import crc32

from forebay.domain.dead_letters import DeadMessage, LetterState
from forebay.domain.objects import Location, ObjectRecord, object_id
from forebay.domain.reconciliation import Report
from forebay.domain.runs import PipelineRun, RunState
from forebay.errors import ForebayError, IllegalTransitionError, StaleRecordError, Trouble
from forebay.events import CatalogEvent, ObjectCreated, PipelineFinished
from forebay.names import PIPELINES_SITE, Step, Zone
from forebay.runtime.batch import STALE_ATTEMPTS, StreamChange, failure_of
from forebay.services.inspecting import Inspector
from forebay.services.ports import Applied, Change, Outcome, RecordedChange, RecordedRun
from forebay.services.replay_dead_letters import ReplayOptions, Selection, select
from tests.faults.plans import Fault, Plan, chance
from tests.faults.workers import Crash, Worker
from tests.unit import fakes
from tests.unit.fakes import (
    BUCKETS,
    LANDING,
    Effects,
    FakeCatalog,
    FakeClock,
    FakeFeed,
    FakeLog,
    FakePipelines,
    digest_chunks,
    location_of,
)
from tests.unit.reconciling import Reconciling
from tests.unit.world import (
    MAX_RECEIVES,
    WORKER_SECONDS,
    Message,
    World,
    body_text,
    routed,
)

SHARDS: Final = 2
BATCH: Final = 4
RELAY_ATTEMPTS: Final = 6
MAX_WORKERS: Final = 3
MAX_STEPS: Final = 4000
MAX_ROUNDS: Final = 12
PAUSE: Final = 0.3
MAX_COMES_AGAIN: Final = 2


class BrokenError(AssertionError):
    """An invariant does not hold; `name` is its function's."""

    def __init__(self, name: str, said: str) -> None:
        super().__init__(f"{name}: {said}")
        self.name = name


@dataclass
class Upload:
    """One version a sender wrote into a landing bucket, as it truly was."""

    location: Location
    body: bytes
    events: int = 0
    """How many messages told of it, or still do."""
    is_deleted: bool = False
    """Its sender took it back."""
    is_expired: bool = False
    """Lifecycle took it, since it was settled."""


class FaultyEffects(Effects):
    """Every effect of every fake, given to the adversary."""

    def __init__(self, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        super().__init__()
        self.around = around

    def run(self, name: str, effect: Callable[[], Any]) -> Any:
        return self.around(name, effect)


class SkewedClock(FakeClock):
    """Each worker's own idea of the time."""

    skew_s: Callable[[], float] = staticmethod(lambda: 0.0)

    def now(self) -> datetime:
        return self._now + timedelta(seconds=self.skew_s())

    @property
    def true_now(self) -> datetime:
        """The time as it is."""
        return self._now


class FaultyCatalog(FakeCatalog):
    """Tells single updates from transactions, which the client may safely ask for twice."""

    def apply(self, change: Change) -> Outcome:
        is_single = not (change.claims or change.counts_on or change.also)
        if change.declarations is not None or not is_single:
            return super().apply(change)
        outcome: Outcome = self.effects.run("update", lambda: self._apply(change))
        return outcome


class FaultyFeed(FakeFeed):
    """A bus that may take a part of what it is given."""

    def __init__(self, effects: Effects, deliver: Callable[[CatalogEvent], None]) -> None:
        super().__init__()
        self.effects = effects
        self.deliver = deliver

    def publish(self, changes: Sequence[CatalogEvent]) -> None:
        for change in changes:
            self.effects.run("publish", partial(self._take, change))

    def _take(self, change: CatalogEvent) -> None:
        self.published.append(change)
        self.deliver(change)


class FaultyLog(FakeLog):
    """History, written as one effect."""

    def __init__(self, effects: Effects) -> None:
        super().__init__()
        self.effects = effects

    def record(self, changes: Sequence[RecordedChange | RecordedRun]) -> None:
        self.effects.run("record", lambda: super(FaultyLog, self).record(changes))


class FaultyPipelines(FakePipelines):
    """An engine that may not answer."""

    def __init__(self, effects: Effects) -> None:
        super().__init__()
        self.effects = effects
        self.starts: Counter[str] = Counter()

    def start(self, run: PipelineRun) -> str:
        arn: str = self.effects.run("start", lambda: super(FaultyPipelines, self).start(run))
        return arn

    def outcome(self, run: PipelineRun) -> PipelineFinished | None:
        ended: PipelineFinished | None = self.effects.run(
            "outcome", lambda: super(FaultyPipelines, self).outcome(run)
        )
        return ended


class FaultyWorld(World):
    """A World that does not run by itself: the adversary says what happens next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.catalog = FaultyCatalog(self.effects)
        self.inspector = Inspector(self.catalog, self.store, self.clock, digest_chunks)

    def run(self) -> None:
        """Do nothing: whoever calls this would let the world run to its end."""


@dataclass
class Shard:
    """One shard of the catalog's stream: all changes of some objects, in order."""

    changes: list[StreamChange] = field(default_factory=list)
    done: int = 0
    attempts: int = 0
    size: int = BATCH
    is_busy: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything to relay."""
        return not self.is_busy and self.done < len(self.changes)


@dataclass
class Task:
    """Something that waits to be done by a worker; `done` hears what came of it."""

    label: str
    work: Callable[[], object]
    done: Callable[[BaseException | None], None] = lambda _: None


class Simulation:
    """One schedule: a workload, its faults, and the calm after them."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.seed, self.plan = seed, plan
        self.dice = chance(seed, f"faults {plan.retold}")
        self.told: list[tuple[datetime, str]] = []
        self.faults = 0
        self.is_calm = False
        self.running: Worker | None = None
        self.paused: list[tuple[Worker, Task]] = []
        self.tasks: list[Task] = []
        self.stewards: list[Callable[[], Task | None]] = []
        """People who will do something once there is reason to."""
        self.delayed: list[tuple[int, Message]] = []
        self.steps = 0
        self.clock = SkewedClock()
        self.clock.skew_s = lambda: self.running.skew_s if self.running else 0.0
        self.effects = FaultyEffects(self._around)
        self.feed = FaultyFeed(self.effects, self._route)
        self.world = FaultyWorld(
            needs_sender_digest=plan.demands_digest,
            lease_above_bytes=0 if plan.leases else 10**6,
            effects=self.effects,
            clock=self.clock,
            pipelines=FaultyPipelines(self.effects),
            feed=self.feed,
            log=FaultyLog(self.effects),
        )
        self.reconciling = Reconciling(self.world, self._zones())
        self.shards = [Shard() for _ in range(SHARDS)]
        self.seen_changes = 0
        self.uploads: dict[str, Upload] = {}
        self.written: dict[Location, bytes] = {}
        """Every version that a step wrote, with the bytes it got."""
        self.removed: set[Location] = set()
        """Versions that a person, a lifecycle rule or a broken disk took away."""
        self.damaged: set[Location] = set()
        """Versions that lost a bit."""
        self.delivered: list[Message] = []
        self.poisoned: set[tuple[str, int]] = set()
        self.times: dict[Location, datetime] = {}
        """When each version was written that a step wrote."""

    # What happens to a sender's uploads.

    def upload(self, zone: Zone, key: str, body: bytes, **how: Any) -> str:
        """Write a version as a sender does; S3 tells of it once, twice or never."""
        event = self.world.store.upload(BUCKETS[zone], key, body, **how)
        self._note_upload(location_of(event), body)
        etag = self._etag(event)
        event = replace(event, etag=etag)
        if not self.plan.names_versions:
            event = replace(event, version_id="")
        self.tell(event)
        return object_id(location_of(event))

    def _etag(self, event: ObjectCreated) -> str:
        return self.world.store._described(location_of(event)).etag

    def _note_upload(self, location: Location, body: bytes) -> None:
        self.uploads[object_id(location)] = Upload(location, body)
        made = short(object_id(location))
        self.say(f"uploaded {location.key} {location.version_id} as {made}: {body[-20:]!r}")

    def tell(self, event: Any) -> None:
        """Let S3 send an event."""
        times = self._times(f"S3's {type(event).__name__} of {event.key}")
        made = object_id(Location(event.bucket, event.key, event.version_id))
        if made in self.uploads and isinstance(event, ObjectCreated):
            self.uploads[made].events += times
        for _ in range(times):
            self._enqueue(Message(Step.REGISTER_OBJECT, event))

    def remove(self, location: Location, *, by_lifecycle: bool = False) -> None:
        """Let somebody delete a version for good; S3 may tell of it."""
        for upload in self.uploads.values():
            is_meant = upload.location == location
            upload.is_expired |= is_meant and by_lifecycle
            upload.is_deleted |= is_meant and not by_lifecycle
        self.removed.add(location)
        self.world.removed(location, by_lifecycle=by_lifecycle)
        event = self.world.queue.pop().event
        self.tell(event)

    def finish_run(self, run: PipelineRun) -> None:
        """Let the engine end a run: its outputs arrive, and it says so, perhaps."""
        if run.run_id in self.world.pipelines.ended:
            return
        arn = f"arn:{run.run_id}"
        ended = PipelineFinished(run.run_id, "SUCCEEDED", arn, "2026-03-01T13:00:00Z")
        self.world.pipelines.ended[run.run_id] = ended
        body = f'{{"run":"{run.run_id}"}}'.encode()
        self.upload(Zone.LANDING_GENOMICS, f"{PIPELINES_SITE}/{run.run_id}/qc.json", body)
        for _ in range(self._times("the end of a run")):
            self.tasks.append(Task("record_pipeline", partial(self.world.record_pipeline, ended)))

    # The bus, the queues and the stream.

    def _times(self, what: str) -> int:
        """Return how often something is delivered: once, twice, or not at all."""
        if self._strikes(self.plan.drop):
            self.say(f"lost: {what}")
            return 0
        if self._strikes(self.plan.duplicate / 2):
            self.say(f"twice: {what}")
            return 2
        return 1

    def _route(self, event: CatalogEvent) -> None:
        for message in routed(event):
            for _ in range(self._times(f"{message.step} about {short(event.subject_id)}")):
                self._enqueue(Message(message.step, message.event))

    def _enqueue(self, message: Message) -> None:
        if self._strikes(self.plan.delay):
            self.delayed.append((self.steps + self.dice.randint(5, 60), message))
        else:
            self.world.queue.append(message)

    def _read_stream(self) -> None:
        """Give each shard what the catalog's stream holds since it was last read."""
        fresh = self.world.catalog.stream[self.seen_changes :]
        self.seen_changes += len(fresh)
        for change in fresh:
            about, version = identity(change)
            self.shards[crc32(about.encode()) % SHARDS].changes.append(change)
            if self._strikes(self.plan.poison):
                self.poisoned.add((about, version))

    def _relay(self, shard: Shard) -> Task:
        batch = shard.changes[shard.done : shard.done + shard.size]
        shard.is_busy = True
        return Task(
            f"relay {', '.join(f'{short(a)}:{v}' for a, v in map(identity, batch))}",
            partial(self._relay_batch, batch),
            partial(self._relayed, shard, batch),
        )

    def _relay_batch(self, batch: Sequence[StreamChange]) -> None:
        if not self.is_calm and any(identity(change) in self.poisoned for change in batch):
            raise Trouble("the bus refuses this event")
        self.world.relay_changes(batch)

    def _relayed(
        self, shard: Shard, batch: Sequence[StreamChange], failure: BaseException | None
    ) -> None:
        shard.is_busy = False
        if failure is None:
            if not self._strikes(self.plan.duplicate / 4):
                shard.done += len(batch)
            shard.attempts, shard.size = 0, BATCH
            return
        shard.attempts += 1
        shard.size = max(1, len(batch) // 2)
        if shard.attempts >= RELAY_ATTEMPTS:
            self.say("the relay set its batch aside")
            self.world.give_up_on(batch)
            shard.done += len(batch)
            shard.attempts, shard.size = 0, BATCH

    def _deliver(self, message: Message) -> Task:
        message.receives += 1
        label = f"{message.step} {self._about(message)} ({message.message_id}#{message.receives})"
        return Task(label, partial(self._call, message), partial(self._answered, message))

    def _about(self, message: Message) -> str:
        event = message.event
        made = getattr(event, "object_id", "")
        return str(short(made) or f"{getattr(event, 'key', '')} {getattr(event, 'version_id', '')}")

    def _call(self, message: Message) -> None:
        for _ in range(STALE_ATTEMPTS - 1):
            try:
                return self.world.call(message)
            except StaleRecordError:
                continue
        return self.world.call(message)

    def _answered(self, message: Message, failure: BaseException | None) -> None:
        if failure is None:
            self.delivered.append(copy(message))
            if message.receives <= MAX_COMES_AGAIN and self._strikes(self.plan.duplicate):
                # A message that was done with comes again: to the queue it never was.
                again = copy(message)
                again.receives -= self.dice.choice((0, 1))
                self._enqueue(again)
            return
        if isinstance(failure, Exception) and message.redelivered:
            note = failure_of(message.step, failure)
            self.world.letters.leave(message.message_id, note, self.clock.now())
        if message.receives < MAX_RECEIVES:
            self._enqueue(message)
        else:
            self.say(f"{message.step} gave up on {message.message_id}")
            self.delivered.append(copy(message))
            self.world.dead_letters.append(message)

    # Schedules and stewards.

    def sweep(self) -> Task:
        """The sweeper, half an hour later."""
        self.let_pass(31 * 60)
        return Task("sweep", self.world.sweep_deadlines)

    def recheck(self) -> Task:
        """The recheck, a week later."""
        self.let_pass(8 * 24 * 3600)
        return Task("recheck", self._recheck)

    def _recheck(self) -> None:
        done = self.world.recheck_objects(10**9)
        for _, failure in done.failures:
            if not isinstance(failure, ForebayError):
                raise failure

    def evaluate(self) -> Task:
        """The next evaluation of policy, when indexes have caught up with what was approved."""
        self.let_pass(20 * 60)
        return Task("evaluate", self._evaluate)

    def _evaluate(self) -> None:
        for _, failure in self.world.evaluate_policy().failures:
            if not isinstance(failure, ForebayError):
                raise failure

    def reconcile(self) -> Task:
        """A comparison of all, and the repair of what it found."""
        self.let_pass(0)
        return Task("reconcile", self._reconcile)

    def _reconcile(self) -> Report:
        self.reconciling.listing.written = self.times
        report = self.reconciling.compare()
        found = ", ".join(f"{d.kind} {short(d.object_id)}" for d in report.differences)
        self.say(f"reconcile found: {found or 'nothing'}")
        done = self.reconciling.repairs(
            self.reconciling.plan(report), by="arn:steward", report_id=report.report_id
        )
        for each in done:
            self.say(
                f"  {each.action.repair} {short(each.action.difference.object_id)}:"
                f" {each.outcome} {each.said}"
            )
        return report

    def archive(self) -> Iterator[Task]:
        """One delivery to the archive for each dead message."""
        for message in self.world.dead_letters:
            body = body_text(message.event)
            dead = DeadMessage(message.step, message.message_id, body, self.clock.true_now, {})
            done = partial(self._archived, self.world.dead_letters, message)
            yield Task(f"archive {message.message_id}", partial(self._archive, dead), done)
        for lost in self.world.lost_batches:
            done = partial(self._archived, self.world.lost_batches, lost)
            yield Task(f"archive {lost.message_id}", partial(self._archive, lost), done)

    def _archive(self, dead: DeadMessage) -> None:
        self.world.archive_dead_letter(dead)

    def _archived(self, queue: list[Any], dead: Any, failure: BaseException | None) -> None:
        if failure is None:
            queue[:] = [each for each in queue if each is not dead]

    def replay(self) -> Task:
        """A steward replays all open letters."""
        return Task("replay dead letters", self._replay)

    def _replay(self) -> None:
        chosen = list(select(self.world.letters, Selection()))
        done = self.world.replay_dead_letters(chosen, ReplayOptions(by="arn:steward"))
        for result in done.results:
            self.say(f"  letter {result.step} {result.outcome}: {result.why}")

    # The adversary.

    def run(self, actions: Sequence[Callable[["Simulation"], object]]) -> None:
        """Let the schedule happen, then let the world calm down."""
        try:
            left = list(actions)
            while self._has_work(left):
                self.steps += 1
                if self.steps > MAX_STEPS:
                    raise BrokenError("world_comes_to_rest", "the faulty world never rests")
                self._one_step(left)
            self.calm_down()
        finally:
            self._end_workers()

    def _has_work(self, left: Sequence[Any]) -> bool:
        self._read_stream()
        waiting = self.world.queue or self.delayed or self.tasks or self.paused
        return bool(left or waiting or any(shard.is_waiting for shard in self.shards))

    def _one_step(self, left: list[Callable[["Simulation"], object]]) -> None:
        """Do one of the things that wait."""
        due = [message for at, message in self.delayed if at <= self.steps]
        self.delayed = [(at, message) for at, message in self.delayed if at > self.steps]
        self.world.queue.extend(due)
        choices: list[Callable[[], None]] = []
        choices += [partial(self._resume, each) for each in self.paused]
        choices += [partial(self._take, i) for i in range(len(self.world.queue))]
        choices += [
            partial(self._relay_next, shard) for shard in self.shards if shard.is_waiting
        ] * 2
        choices += [partial(self._begin, task) for task in self.tasks]
        for steward in list(self.stewards):
            if task := steward():
                self.stewards.remove(steward)
                self.tasks.append(task)
        if left and (not choices or self.dice.random() < self.plan.hurry):
            choices = [lambda: self._act(left.pop(0))]
        if not choices:
            return
        self.dice.choice(choices)()
        if not self.paused or self.plan.idle_s <= 20:
            self.clock.advance(self.dice.randint(0, self.plan.idle_s))

    def _act(self, action: Callable[["Simulation"], object]) -> None:
        if self._strikes(self.plan.corrupt):
            self.world.store.corrupts_copies += 1
            self.say("the next copy loses a bit")
        task = action(self)
        if isinstance(task, Task):
            self.tasks.append(task)

    def _take(self, place: int) -> None:
        self.world.queue.rotate(-place)
        message = self.world.queue.popleft()
        self.world.queue.rotate(place)
        self._perform(self._deliver(message))

    def _relay_next(self, shard: Shard) -> None:
        self._perform(self._relay(shard))

    def _begin(self, task: Task) -> None:
        self.tasks.remove(task)
        self._perform(task)

    def _perform(self, task: Task) -> None:
        worker = Worker(task.label, task.work, started=self.clock.true_now)
        if self.plan.skew_s and not self.is_calm:
            worker.skew_s = self.dice.uniform(-self.plan.skew_s, self.plan.skew_s)
        self.say(f"> {task.label}")
        if len(self.paused) < MAX_WORKERS and self._strikes(self.plan.interleave):
            self._let_run(worker, task, worker.start)
        else:
            self._let_run(worker, task, worker.run)

    def _resume(self, paused: tuple[Worker, Task]) -> None:
        self.paused.remove(paused)
        worker, task = paused
        if (self.clock.true_now - worker.started).total_seconds() > WORKER_SECONDS:
            worker.is_doomed = True
        self.say(f"> {worker.label} goes on")
        self._let_run(worker, task, worker.resume)

    def _let_run(self, worker: Worker, task: Task, go: Callable[[], None]) -> None:
        before, self.running = self.running, worker
        try:
            go()
        finally:
            self.running = before
        if not worker.is_done:
            self.say(f"  {worker.label} pauses")
            self.paused.append((worker, task))
            return
        failure = worker.failure
        if failure is not None:
            self.say(f"  {worker.label} failed: {failure!r}")
        is_bug = not isinstance(failure, ForebayError | Crash) and failure is not None
        if is_bug or isinstance(failure, IllegalTransitionError):
            raise BrokenError("no_step_breaks", f"{worker.label}: {failure!r}") from failure
        task.done(failure)

    def _around(self, name: str, effect: Callable[[], Any]) -> Any:
        """Let one effect of a worker happen, or not."""
        worker = self.running
        if worker is None or self.is_calm:
            return self._noted(name, effect())
        if worker.can_pause and self.dice.random() < PAUSE:
            worker.pause()
        fault = self._fault(name)
        if fault is None:
            return self._noted(name, effect())
        self.say(f"  {worker.label}: {name}: {fault.value}")
        if fault is Fault.CRASH_BEFORE:
            raise Crash
        if fault is Fault.THROTTLED:
            raise Trouble(f"{name} throttled")
        result = self._noted(name, effect())
        if fault is Fault.CRASH_AFTER:
            raise Crash
        if fault is Fault.ANSWER_LOST:
            raise Trouble(f"{name} gave no answer")
        return self._refused(name, result)

    def _fault(self, name: str) -> Fault | None:
        plan = self.plan
        if self._strikes(plan.crash):
            return self.dice.choice((Fault.CRASH_BEFORE, Fault.CRASH_AFTER))
        if self._strikes(plan.throttle):
            return Fault.THROTTLED
        if self._strikes(plan.answer_lost):
            return Fault.ANSWER_LOST
        if name in _REFUSABLE and self._strikes(plan.refused_after):
            return Fault.REFUSED_AFTER
        return None

    def _refused(self, name: str, result: Any) -> Any:
        """Return what a conditional write answers that the client sent again by itself."""
        if name in ("register", "end_lease"):
            return False
        if isinstance(result, Applied) or name in ("move_run", "declare"):
            raise StaleRecordError("refused: it was written already")
        return result

    def _strikes(self, rate: float) -> bool:
        """Tell whether something goes wrong now."""
        if not rate or self.is_calm:
            return False
        strikes = self.dice.random() < rate and self.faults < self.plan.max_faults
        self.faults += strikes
        return strikes

    def _noted(self, name: str, result: Any) -> Any:
        """Remember what a step wrote into storage; it must be there at the end."""
        if name in ("copy", "put"):
            location = result.location if name == "copy" else result
            body = self.world.store.body(location)
            self.written[location] = body
            self.times[location] = self.clock.true_now
            self.say(f"  {name} to {location.bucket}/{location.key} {location.version_id}")
            if location.bucket in LANDING:
                self._note_upload(location, body)
                self.tell(self._created(location))
        return result

    def _created(self, location: Location) -> ObjectCreated:
        stored = self.world.store._described(location)
        place = (location.bucket, location.key, location.version_id)
        sequencer = f"{fakes.any_number():016X}"
        return ObjectCreated(*place, sequencer, stored.size_bytes, stored.etag)

    # The calm.

    def let_pass(self, seconds: float) -> None:
        """Let time pass; who stood still for so long is dead."""
        if seconds > WORKER_SECONDS:
            self._end_workers()
        self.clock.advance(seconds)

    def _end_workers(self) -> None:
        while self.paused:
            worker, task = self.paused.pop(0)
            worker.is_doomed = True
            self.running, before = worker, self.running
            try:
                worker.resume()
            finally:
                self.running = before
            if worker.is_done:
                task.done(worker.failure)

    def calm_down(self) -> None:
        """Stop all faults, and let schedules and stewards do their work until nothing changes."""
        self.say("the world calms down")
        self.world.store.corrupts_copies = 0
        while self.paused:
            self._resume(self.paused[0])
        self.is_calm = True
        self.leave_alone()
        for number in range(MAX_ROUNDS):
            before = self.state()
            self.drain()
            self._mend()
            report = self._round_ends()
            # What is due only after a day or a week comes up in the second round.
            if number and report.is_clean and self.state() == before:
                return
        raise BrokenError("world_comes_to_rest", f"still changing: {report.counts}")

    def leave_alone(self) -> None:
        """Let retries and schedules do what they can before anybody compares and repairs."""
        for _ in range(2):
            self.drain()
            self._mend()
            self._perform(self.recheck())
            self.drain()
        self.reconciling.listing.written = self.times
        self.unaided = self.reconciling.compare()

    def _mend(self) -> None:
        for task in list(self.archive()):
            self._perform(task)
        self._perform(self.replay())
        self.drain()
        self._perform(self.sweep())
        self.drain()
        for run in list(self.world.catalog.runs.values()):
            if run.run_id in self.world.pipelines.started and run.state is RunState.SUBMITTED:
                self.finish_run(run)
        self.drain()
        self._perform(self.evaluate())
        self.drain()

    def _round_ends(self) -> Report:
        self._perform(self.recheck())
        self.drain()
        self._perform(self.sweep())
        self.drain()
        report = self._reconcile()
        self.drain()
        return report

    def drain(self) -> None:
        """Work until no step has anything to do."""
        for _ in range(MAX_STEPS):
            if not self._has_work(()):
                return
            self.world.queue.extend(message for _, message in self.delayed)
            self.delayed = []
            for shard in self.shards:
                if shard.is_waiting:
                    self._relay_next(shard)
            for task in list(self.tasks):
                self._begin(task)
            for _ in range(len(self.world.queue)):
                self._take(0)
            self.clock.advance(1)
        raise BrokenError("world_comes_to_rest", "messages never end")

    @property
    def lost(self) -> set[Location | None]:
        """Versions that were taken away or damaged by what is no step."""
        return {*self.removed, *self.damaged}

    def state(self) -> object:
        """What counts of the whole world, to tell whether anything changed."""
        return (
            {made: _settled(record) for made, record in self.world.catalog.records.items()},
            {run.run_id: run.state for run in self.world.catalog.runs.values()},
            self.stored(),
            self.open_letters,
        )

    def stored(self) -> dict[tuple[str, str, str], tuple[bytes, tuple[tuple[str, str], ...]]]:
        """Every stored version with its bytes and tags; the ledger only grows, and is left out."""
        return {
            (bucket, key, version_id): (version.body, tuple(sorted(version.tags.items())))
            for (bucket, key), versions in self.world.store.versions.items()
            if bucket != BUCKETS[Zone.LEDGER]
            for version_id, version in versions.items()
        }

    @property
    def open_letters(self) -> list[str]:
        """Ids of dead letters that wait for somebody."""
        letters = self.world.letters.by_id.values()
        return [x.letter_id for x in letters if x.state is LetterState.OPEN]

    def replay_everything(self) -> None:
        """Deliver all messages, all of the stream and all dead letters once more."""
        for message in list(self.delivered):
            again = copy(message)
            again.receives = 0
            self.world.queue.append(again)
            self.drain()
        for shard in self.shards:
            shard.done = 0
        self.drain()
        for letter in list(self.world.letters.by_id.values()):
            if letter.step is not Step.RELAY_CHANGES:
                document = json.loads(self.world.store.body(letter.body))
                self.world.deliver(letter.step, document["body"])
        self.drain()

    def say(self, what: str) -> None:
        """Add a line to the story, for whoever has to understand it."""
        self.told.append((self.clock.true_now, what))

    @property
    def story(self) -> list[str]:
        """What happened, a line each."""
        return [f"{at:%m-%d %H:%M:%S} {what}" for at, what in self.told]

    def _zones(self) -> dict[Zone, str]:
        without = () if self.plan.leases else (Zone.ARCHIVE,)
        return {zone: name for zone, name in BUCKETS.items() if zone not in without}


_REFUSABLE: Final = frozenset({"update", "move_run", "declare", "register", "end_lease"})


@contextmanager
def numbered_anew(seed: int) -> Iterator[None]:
    """Let the generators of tests/unit/fakes.py give the same for the same seed."""
    numbers, state = fakes._numbers, random.getstate()
    fakes._numbers = itertools.count(1)
    random.seed(seed)
    try:
        yield
    finally:
        fakes._numbers = numbers
        random.setstate(state)


def short(made: str) -> str:
    """Return enough of an id to tell the objects of one story apart."""
    return f"{made[:4]}.{made[-4:]}" if made else ""


def identity(change: StreamChange) -> tuple[str, int]:
    """Return what a change is about, and which version of it."""
    after = change.after
    about = after.object_id if isinstance(after, ObjectRecord) else after.run_id
    return about, after.version


def _settled(record: ObjectRecord) -> object:
    said = (record.finding, *record.warnings)
    codes = tuple(finding.code for finding in said if finding)
    return record.state, record.placed, record.held, codes
