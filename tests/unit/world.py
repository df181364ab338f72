"""The whole flow over fakes: what infra wires with buses and queues, in one thread.

Messages come again when a step raises Trouble, as SQS does; routes are those of infra/stacks.
"""

import json
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from forebay.adapters.dead_letters import lost_changes
from forebay.adapters.items import object_item, run_item
from forebay.domain.dead_letters import DeadLetter, DeadMessage
from forebay.domain.objects import Kind, Location, ObjectRecord, object_id
from forebay.domain.states import State
from forebay.errors import Trouble
from forebay.events import (
    CatalogEvent,
    ObjectChanged,
    ObjectCreated,
    S3Event,
    StorageChanged,
    StorageKind,
    read_json,
    read_s3_events,
)
from forebay.formats.genomics import PARSERS
from forebay.names import DetailType, Step, Zone
from forebay.runtime.batch import StreamChange, failure_of, read_stream
from forebay.services.archive_dead_letters import ArchiveDeadLetters
from forebay.services.decide_conflict import Decide
from forebay.services.evaluate_policy import EvaluatePolicy
from forebay.services.inspect_dicom import InspectDicom
from forebay.services.inspect_genomics import InspectGenomics, ParseStream
from forebay.services.inspecting import Inspector
from forebay.services.issue_receipt import IssueReceipt
from forebay.services.judging import Judge
from forebay.services.leasing import Delivery
from forebay.services.place_object import PlaceObject
from forebay.services.ports import RecordedChange, RecordedRun
from forebay.services.preview_dead_letters import PreviewDeadLetters
from forebay.services.recheck_objects import RecheckObjects, Rechecks
from forebay.services.record_declarations import RecordDeclarations
from forebay.services.record_pipeline import RecordPipeline
from forebay.services.record_storage_event import RecordStorageEvent
from forebay.services.register_object import RegisterObject
from forebay.services.relay_changes import RelayChanges
from forebay.services.replay_dead_letters import (
    Desk,
    Record,
    ReplayDeadLetters,
    ReplayOptions,
    Selection,
    select,
)
from forebay.services.submit_pipeline import PairedReadsPipeline, RunPlanner, SubmitPipeline
from forebay.services.sweep_deadlines import Sweep, SweepDeadlines
from tests.unit.fakes import (
    BUCKETS,
    LANDING,
    Effects,
    FakeAgenda,
    FakeCatalog,
    FakeClassifier,
    FakeClock,
    FakeDeadLetters,
    FakeExceptions,
    FakeFeed,
    FakeLog,
    FakeObjectsInScope,
    FakePipelines,
    FakePolicyBook,
    FakePseudonyms,
    FakeQueues,
    FakeSigner,
    FakeStore,
    FakeStoredObjects,
    FakeStreamRecords,
    FakeVault,
    any_number,
    can_compute,
    digest_chunks,
    location_of,
    parse_checksums,
    parse_dicom,
    parse_reads,
)

MAX_RECEIVES: Final = 5
WORKER_SECONDS: Final = 900
_SETTLING: Final = frozenset(
    {
        DetailType.OBJECT_VERIFIED,
        DetailType.OBJECT_QUARANTINED,
        DetailType.OBJECT_DUPLICATED,
        DetailType.OBJECT_CONFLICTED,
    }
)


@dataclass
class Message:
    """One message in a step's queue."""

    step: Step
    event: S3Event | ObjectChanged
    receives: int = 0
    message_id: str = field(default_factory=lambda: f"m{any_number()}")
    was_handed_again: bool = False
    """Somebody sent it to the step's queue: an earlier message of the same work came before."""

    @property
    def redelivered(self) -> bool:
        """Whether an earlier delivery may have done a part of the work."""
        return self.receives > 1 or self.was_handed_again

    @property
    def delivery(self) -> Delivery:
        """What its worker is told."""
        return Delivery(self.message_id, WORKER_SECONDS)


@dataclass
class World:
    """Services over fakes that share one clock and one count of effects."""

    needs_sender_digest: bool = True
    lease_above_bytes: int = 64 * 1024 * 1024
    effects: Effects = field(default_factory=Effects)
    clock: FakeClock = field(default_factory=FakeClock)
    pipelines: FakePipelines = field(default_factory=FakePipelines)
    feed: FakeFeed = field(default_factory=FakeFeed)
    log: FakeLog = field(default_factory=FakeLog)
    queue: deque[Message] = field(default_factory=deque)
    dead_letters: list[Message] = field(default_factory=list)
    deliveries: Counter[Step] = field(default_factory=Counter)
    lost_batches: list[DeadMessage] = field(default_factory=list)
    """What the stream's on-failure destination holds."""
    stream_records: FakeStreamRecords = field(default_factory=FakeStreamRecords)
    relayed: int = 0
    signer: FakeSigner = field(default_factory=FakeSigner)

    def __post_init__(self) -> None:
        self.catalog = FakeCatalog(self.effects)
        self.store = FakeStore(self.effects)
        self.classifier = FakeClassifier(needs_sender_digest=self.needs_sender_digest)
        self.inspector = Inspector(self.catalog, self.store, self.clock, digest_chunks)
        self.letters = FakeDeadLetters(self.effects)
        self.vault = FakeVault(self.store)
        self.exceptions = FakeExceptions(self.effects)

    @cached_property
    def book(self) -> FakePolicyBook:
        return FakePolicyBook(self.exceptions, self.catalog)

    @cached_property
    def judge(self) -> Judge:
        return Judge(self.catalog, self.book, self.classifier, ("eu-central-1",))

    @cached_property
    def evaluate_policy(self) -> EvaluatePolicy:
        return EvaluatePolicy(
            self.judge,
            self.store,
            self.vault,
            self.clock,
            self.exceptions,
            FakeObjectsInScope(self.catalog),
            BUCKETS,
        )

    @cached_property
    def register_object(self) -> RegisterObject:
        return RegisterObject(self.catalog, self.store, self.clock, LANDING)

    @property
    def record_storage_event(self) -> RecordStorageEvent:
        zones = {name: zone for zone, name in BUCKETS.items()}
        return RecordStorageEvent(self.register_object, self.catalog, self.store, self.clock, zones)

    @property
    def decide(self) -> Decide:
        return Decide(self.catalog, self.clock)

    @cached_property
    def inspect_dicom(self) -> InspectDicom:
        return InspectDicom(self.inspector, parse_dicom, FakePseudonyms())

    @cached_property
    def inspect_genomics(self) -> InspectGenomics:
        declarations = RecordDeclarations(self.inspector, parse_checksums)
        parsers: dict[Kind, ParseStream] = {**PARSERS, Kind.FASTQ: parse_reads}
        return InspectGenomics(
            self.inspector, parsers, declarations, self.classifier, self.lease_above_bytes
        )

    @cached_property
    def place_object(self) -> PlaceObject:
        return PlaceObject(
            self.catalog, self.store, self.clock, self.judge, BUCKETS, self.lease_above_bytes
        )

    @cached_property
    def submit_pipeline(self) -> SubmitPipeline:
        pipeline = PairedReadsPipeline("read_qc", "1")
        return SubmitPipeline(self.catalog, self.pipelines, self.clock, pipeline)

    @cached_property
    def record_pipeline(self) -> RecordPipeline:
        return RecordPipeline(self.catalog, self.clock)

    @cached_property
    def sweep_deadlines(self) -> SweepDeadlines:
        return SweepDeadlines(
            self.catalog,
            FakeAgenda(self.catalog),
            FakeQueues(self.deliver, self.effects),
            self.pipelines,
            self.record_pipeline,
            self.clock,
        )

    @cached_property
    def relay_changes(self) -> RelayChanges:
        return RelayChanges(self.log, self.feed)

    @cached_property
    def stored_objects(self) -> FakeStoredObjects:
        return FakeStoredObjects(self.catalog)

    @cached_property
    def recheck_objects(self) -> RecheckObjects:
        return RecheckObjects(
            self.catalog,
            self.store,
            self.clock,
            self.stored_objects,
            digest_chunks,
            can_compute,
            BUCKETS,
        )

    @cached_property
    def issue_receipt(self) -> IssueReceipt:
        return IssueReceipt(
            self.catalog, self.store, self.clock, self.stored_objects, self.signer, BUCKETS
        )

    def recheck(self, budget_bytes: int = 1000**3, *, days: float = 8) -> Rechecks:
        """Let days go by, recheck once, and work off what follows."""
        self.clock.advance(days * 24 * 3600)
        done = self.recheck_objects(budget_bytes)
        self.run()
        return done

    def upload(self, zone: Zone, key: str, body: bytes, **how: Any) -> str:
        """Let a sender write an object; its event waits in the queue. Returns the object id."""
        event = self.store.upload(BUCKETS[zone], key, body, **how)
        self.queue.append(Message(Step.REGISTER_OBJECT, event))
        return object_id(location_of(event))

    def image(self, body: bytes, key: str = "site-a/scan.dcm", **how: Any) -> str:
        """Upload to the imaging bucket."""
        return self.upload(Zone.LANDING_IMAGING, key, body, **how)

    def genomics(self, key: str, body: bytes, **how: Any) -> str:
        """Upload to the genomics bucket."""
        return self.upload(Zone.LANDING_GENOMICS, key, body, **how)

    def removed(self, location: Location, *, by_lifecycle: bool = False) -> None:
        """Let somebody delete a version for good; the event of it waits in the queue."""
        self.store.expire(location)
        kind = StorageKind.EXPIRED if by_lifecycle else StorageKind.REMOVED
        self.tell(StorageChanged(kind, location.bucket, location.key, location.version_id, ""))

    def tell(self, event: S3Event) -> None:
        """Let S3 send an event."""
        self.queue.append(Message(Step.REGISTER_OBJECT, event))

    def record(self, of: str) -> ObjectRecord:
        """Return what the catalog holds, past all counters."""
        return self.catalog.records[of]

    def state(self, of: str) -> State:
        """Return an object's state, past all counters."""
        return self.catalog.records[of].state

    def received(self, upload: Callable[[], str]) -> str:
        """Upload and register, no further; returns the object id."""
        made = upload()
        self.work_off(self.queue.pop())
        return made

    def deliver(self, step: Step, body: str) -> None:
        """Put a message into a step's queue."""
        if step is Step.REGISTER_OBJECT:
            self.queue.extend(
                Message(step, event, was_handed_again=True) for event in read_s3_events(body)
            )
        else:
            event = ObjectChanged.from_envelope(read_json(body))
            self.queue.append(Message(step, event, was_handed_again=True))

    def sweep(self, *, minutes: float = 0) -> Sweep:
        """Let time go by, sweep once, and work off what follows."""
        self.clock.advance(minutes * 60)
        done = self.sweep_deadlines()
        self.run()
        return done

    @cached_property
    def desk(self) -> Desk:
        return Desk(self.letters, self.store, self.clock, BUCKETS[Zone.LEDGER])

    @cached_property
    def preview_dead_letter(self) -> PreviewDeadLetters:
        runs = RunPlanner(self.catalog, self.clock, PairedReadsPipeline("read_qc", "1"))
        return PreviewDeadLetters(self.letters, self.catalog, self.log, self.store, runs)

    @cached_property
    def replay_dead_letters(self) -> ReplayDeadLetters:
        return ReplayDeadLetters(
            self.desk,
            self.letters,
            FakeQueues(self.deliver, self.effects),
            WorldFunctions(self),
            self.preview_dead_letter,
            self.clock.advance,
        )

    def give_up_on(self, changes: Sequence[StreamChange], *, forgotten: bool = False) -> None:
        """Let the stream set a batch aside that its relay could not take."""
        first = f"{any_number():020}"
        if not forgotten:
            self.stream_records.changes[first] = [
                lost for change in changes for lost in lost_changes(stream_record(change))
            ]
        info = {
            "shardId": "shardId-1",
            "startSequenceNumber": first,
            "endSequenceNumber": first,
            "batchSize": len(changes),
            "streamArn": "arn:aws:dynamodb:eu-central-1:111122223333:table/catalog/stream/1",
        }
        body = json.dumps({"DDBStreamBatchInfo": info, "requestContext": {"condition": "x"}})
        now = self.clock.now()
        self.lost_batches.append(DeadMessage(Step.RELAY_CHANGES, f"m{first}", body, now, {}))

    @cached_property
    def archive_dead_letter(self) -> ArchiveDeadLetters:
        return ArchiveDeadLetters(
            self.letters,
            self.letters,
            self.stream_records,
            self.store,
            self.clock,
            BUCKETS[Zone.LEDGER],
        )

    def archive_dead_letters(self) -> list[DeadLetter]:
        """Archive what lies in the dead-letter queues; what fails stays there. Returns the new."""
        archive = self.archive_dead_letter
        archived: list[DeadLetter] = []
        for message in list(self.dead_letters):
            dead = DeadMessage(
                message.step, message.message_id, body_text(message.event), self.clock.now(), {}
            )
            archived += [each.letter for each in archive(dead) if each.is_new]
            self.dead_letters.remove(message)
        for dead in list(self.lost_batches):
            archived += [each.letter for each in archive(dead) if each.is_new]
            self.lost_batches.remove(dead)
        return archived

    def replay_all(self, **options: Any) -> Record:
        """Replay every open letter, and work off what follows."""
        chosen = list(select(self.letters, Selection()))
        done = self.replay_dead_letters(chosen, ReplayOptions(by="a steward", **options))
        self.run()
        return done

    def call(self, message: Message) -> None:
        """Let a message's step do its work, whatever comes of it."""
        self._call(message)

    def run(self) -> None:
        """Work until no step has anything to do."""
        while True:
            self.relay()
            if not self.queue:
                return
            self.work_off(self.queue.popleft())
            self.clock.advance()

    def fresh_changes(self) -> list[RecordedChange | RecordedRun]:
        """Return what the catalog's stream holds since it was last read."""
        fresh = self.catalog.stream[self.relayed :]
        self.relayed = len(self.catalog.stream)
        return fresh

    def relay(self) -> None:
        """Relay what the catalog's stream holds, and route it."""
        fresh = self.fresh_changes()
        told = len(self.feed.published)
        if fresh:
            self.relay_changes(fresh)
        for event in self.feed.published[told:]:
            self.queue.extend(routed(event))

    def work_off(self, message: Message) -> None:
        """Deliver one message; on Trouble it comes again, in the end it is a dead letter."""
        message.receives += 1
        self.deliveries[message.step] += 1
        try:
            self._call(message)
        except Trouble as exc:
            if message.redelivered:
                self.letters.leave(
                    message.message_id, failure_of(message.step, exc), self.clock.now()
                )
            if message.receives < MAX_RECEIVES:
                self.queue.append(message)
            else:
                self.dead_letters.append(message)

    def _call(self, message: Message) -> None:
        event = message.event
        if isinstance(event, ObjectCreated | StorageChanged):
            self.record_storage_event(event, redelivered=message.redelivered)
        elif message.step is Step.INSPECT_DICOM:
            self.inspect_dicom(event.object_id)
        elif message.step is Step.INSPECT_GENOMICS:
            self.inspect_genomics(event.object_id, delivery=message.delivery)
        elif message.step is Step.PLACE_OBJECT:
            self.place_object(
                event.object_id, delivery=message.delivery, redelivered=message.redelivered
            )
        elif message.step is Step.SUBMIT_PIPELINE:
            self.submit_pipeline(event.object_id)


@dataclass
class WorldFunctions:
    """`Functions` of a World: any version does the same."""

    world: World

    def invoke(self, step: Step, payload: str, *, version: str = "") -> dict[str, Any] | None:
        event = json.loads(payload)
        if step is Step.RELAY_CHANGES:
            try:
                self.world.relay_changes(read_stream(event))
            except Trouble:
                return None
            return {"batchItemFailures": []}
        failures = []
        for record in event["Records"]:
            message = message_of(step, record["body"], record["messageId"])
            message.receives = int(record["attributes"]["ApproximateReceiveCount"])
            try:
                self.world.call(message)
            except Trouble as exc:
                failures.append({"itemIdentifier": message.message_id})
                failure = failure_of(step, exc)
                self.world.letters.leave(message.message_id, failure, self.world.clock.now())
        return {"batchItemFailures": failures}


def message_of(step: Step, body: str, message_id: str) -> Message:
    """Return a message from its text."""
    if step is Step.REGISTER_OBJECT:
        (event,) = read_s3_events(body)
        return Message(step, event, message_id=message_id)
    change = ObjectChanged.from_envelope(read_json(body))
    return Message(step, change, message_id=message_id)


def body_text(event: S3Event | ObjectChanged) -> str:
    """Return a message's body as it is in the queue."""
    if isinstance(event, ObjectChanged):
        return json.dumps({"detail-type": event.detail_type.value, "detail": event.as_detail()})
    entry = {"key": event.key, "version-id": event.version_id}
    detail: dict[str, Any] = {"bucket": {"name": event.bucket}, "object": entry}
    if isinstance(event, ObjectCreated):
        entry |= {"sequencer": event.sequencer, "etag": event.etag}
        said = {"detail-type": "Object Created", "detail": detail}
    else:
        by_lifecycle = event.kind is StorageKind.EXPIRED
        detail["reason"] = "Lifecycle Expiration" if by_lifecycle else "DeleteObject"
        said = {"detail-type": "Object Deleted", "time": event.at, "detail": detail}
    return json.dumps({"source": "aws.s3", **said})


def stream_record(change: StreamChange) -> dict[str, Any]:
    """Return a change as the table's stream tells of it."""
    images: dict[str, Any] = {"SequenceNumber": f"{any_number():020}"}
    if isinstance(change, RecordedChange):
        images["NewImage"] = object_item(change.after)
        if change.before:
            images["OldImage"] = object_item(change.before)
    else:
        images["NewImage"] = run_item(change.after)
        if change.before:
            images["OldImage"] = run_item(change.before)
    return {"dynamodb": images}


def routed(event: CatalogEvent) -> list[Message]:
    """Return the messages that the bus's rules make of an event."""
    if not isinstance(event, ObjectChanged):
        return []
    # As on the wire: what does not survive its own JSON must show.
    event = ObjectChanged.from_envelope(
        {"detail-type": event.detail_type.value, "detail": event.as_detail()}
    )
    if event.detail_type is DetailType.OBJECT_RECEIVED:
        dicom = event.kind == Kind.DICOM.value
        return [Message(Step.INSPECT_DICOM if dicom else Step.INSPECT_GENOMICS, event)]
    if event.detail_type in _SETTLING:
        return [Message(Step.PLACE_OBJECT, event)]
    if event.detail_type is DetailType.OBJECT_PLACED and event.kind == Kind.FASTQ.value:
        return [Message(Step.SUBMIT_PIPELINE, event)]
    return []
