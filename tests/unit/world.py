"""The whole flow over fakes: what infra wires with buses and queues, in one thread.

Messages come again when a step raises Trouble, as SQS does; routes are those of infra/stacks.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from forebay.domain.objects import Kind, ObjectRecord, object_id
from forebay.domain.states import State
from forebay.errors import Trouble
from forebay.events import CatalogEvent, ObjectChanged, ObjectCreated
from forebay.formats.genomics import PARSERS
from forebay.names import DetailType, Step, Zone
from forebay.services.inspect_dicom import InspectDicom
from forebay.services.inspect_genomics import InspectGenomics, ParseStream
from forebay.services.inspecting import Inspector
from forebay.services.place_object import PlaceObject
from forebay.services.record_declarations import RecordDeclarations
from forebay.services.record_pipeline import RecordPipeline
from forebay.services.register_object import RegisterObject
from forebay.services.relay_changes import RelayChanges
from forebay.services.submit_pipeline import PairedReadsPipeline, SubmitPipeline
from tests.unit.fakes import (
    BUCKETS,
    LANDING,
    Effects,
    FakeCatalog,
    FakeClassifier,
    FakeClock,
    FakeFeed,
    FakeLog,
    FakePipelines,
    FakePseudonyms,
    FakeStore,
    digest_chunks,
    location_of,
    parse_checksums,
    parse_dicom,
    parse_reads,
)

MAX_RECEIVES: Final = 5
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
    event: ObjectCreated | ObjectChanged
    receives: int = 0


@dataclass
class World:
    """Services over fakes that share one clock and one count of effects."""

    needs_sender_digest: bool = True
    effects: Effects = field(default_factory=Effects)
    clock: FakeClock = field(default_factory=FakeClock)
    pipelines: FakePipelines = field(default_factory=FakePipelines)
    feed: FakeFeed = field(default_factory=FakeFeed)
    log: FakeLog = field(default_factory=FakeLog)
    queue: deque[Message] = field(default_factory=deque)
    dead_letters: list[Message] = field(default_factory=list)
    deliveries: Counter[Step] = field(default_factory=Counter)
    relayed: int = 0

    def __post_init__(self) -> None:
        self.catalog = FakeCatalog(self.effects)
        self.store = FakeStore(self.effects)
        self.classifier = FakeClassifier(needs_sender_digest=self.needs_sender_digest)
        self.inspector = Inspector(self.catalog, self.store, self.clock, digest_chunks)

    @cached_property
    def register_object(self) -> RegisterObject:
        return RegisterObject(self.catalog, self.store, self.clock, LANDING)

    @cached_property
    def inspect_dicom(self) -> InspectDicom:
        return InspectDicom(self.inspector, parse_dicom, FakePseudonyms())

    @cached_property
    def inspect_genomics(self) -> InspectGenomics:
        declarations = RecordDeclarations(self.inspector, parse_checksums)
        parsers: dict[Kind, ParseStream] = {**PARSERS, Kind.FASTQ: parse_reads}
        return InspectGenomics(self.inspector, parsers, declarations, self.classifier)

    @cached_property
    def place_object(self) -> PlaceObject:
        return PlaceObject(self.catalog, self.store, self.clock, self.classifier, BUCKETS)

    @cached_property
    def submit_pipeline(self) -> SubmitPipeline:
        pipeline = PairedReadsPipeline("read_qc", "1")
        return SubmitPipeline(self.catalog, self.pipelines, self.clock, pipeline)

    @cached_property
    def record_pipeline(self) -> RecordPipeline:
        return RecordPipeline(self.catalog, self.clock)

    @cached_property
    def relay_changes(self) -> RelayChanges:
        return RelayChanges(self.log, self.feed)

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

    def run(self) -> None:
        """Work until no step has anything to do."""
        while True:
            self.relay()
            if not self.queue:
                return
            self.work_off(self.queue.popleft())
            self.clock.advance()

    def relay(self) -> None:
        """Relay what the catalog's stream holds, and route it."""
        fresh = self.catalog.stream[self.relayed :]
        self.relayed = len(self.catalog.stream)
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
        except Trouble:
            if message.receives < MAX_RECEIVES:
                self.queue.append(message)
            else:
                self.dead_letters.append(message)

    def _call(self, message: Message) -> None:
        event = message.event
        if isinstance(event, ObjectCreated):
            self.register_object(event)
        elif message.step is Step.INSPECT_DICOM:
            self.inspect_dicom(event.object_id)
        elif message.step is Step.INSPECT_GENOMICS:
            self.inspect_genomics(event.object_id)
        elif message.step is Step.PLACE_OBJECT:
            self.place_object(event.object_id, redelivered=message.receives > 1)
        elif message.step is Step.SUBMIT_PIPELINE:
            self.submit_pipeline(event.object_id)


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
