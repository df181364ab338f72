"""A world in which dispositions are asked for, approved and carried out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.objects import object_id as id_of
from forebay.domain.policy.classes import ObjectClass, Policy, Retention
from forebay.domain.policy.disposition import Disposition, Draft, Entry, Stage
from forebay.domain.policy.exceptions import ExceptionKind, PolicyException, Scope, Status
from forebay.domain.states import State
from forebay.errors import StaleRecordError
from forebay.names import Zone
from forebay.services.dispose_objects import DisposeObjects, Progress
from forebay.services.ports import Change, Erasure, KeptVersion, RecordedChange
from forebay.services.request_disposition import (
    Decided,
    DecideDisposition,
    DraftDisposition,
    PreviewDisposition,
    RequestDisposition,
    Surveyor,
    Wish,
)
from tests.unit.fakes import (
    BUCKETS,
    Effects,
    FakeCatalog,
    FakeExceptions,
    FakeObjectsInScope,
    FakePolicyBook,
    FakeSigner,
    FakeStore,
    any_exception,
    any_number,
    any_record,
)
from tests.unit.world import World

ANNA: Final = "arn:aws:iam::111122223333:user/anna"
BEN: Final = "arn:aws:sts::111122223333:assumed-role/stewards/ben"
FLOOR_DAYS: Final = 30
POLICY: Final = Policy(
    {
        name: ObjectClass(name, "owner", zone, Retention(f"{name}-5y", FLOOR_DAYS))
        for name, zone in (
            ("clinical-hot", Zone.CLINICAL),
            ("genomics-raw", Zone.GENOMICS),
            ("derived", Zone.DERIVED),
        )
    },
    (),
)


@dataclass
class FakeCopyHistory:
    """`CopyHistory` from a FakeCatalog's stream."""

    catalog: FakeCatalog

    def copies(self, object_id: str) -> Sequence[Location]:
        changes = (c for c in self.catalog.stream if isinstance(c, RecordedChange))
        mine = (c.after for c in changes if c.after.object_id == object_id)
        return tuple({copy: None for r in mine for copy in (r.placed, r.held) if copy})


@dataclass
class FakeShelves:
    """`KeptVersions` and `Shredder` over a FakeStore; `holds` and `locks` are set by tests."""

    store: FakeStore
    effects: Effects = field(default_factory=Effects)
    holds: set[Location] = field(default_factory=set)
    locks: dict[Location, datetime] = field(default_factory=dict)
    deleted: list[Location] = field(default_factory=list)
    before_next_delete: list[Callable[[], None]] = field(default_factory=list)

    def at(self, location: Location) -> KeptVersion | None:
        found: KeptVersion | None = self.effects.run("at", lambda: self._at(location))
        return found

    def of_key(self, bucket: str, key: str) -> Sequence[KeptVersion]:
        def find() -> list[KeptVersion]:
            versions = self.store.versions.get((bucket, key), {})
            found = (self._at(Location(bucket, key, version)) for version in versions)
            return [each for each in found if each]

        listed: Sequence[KeptVersion] = self.effects.run("of_key", find)
        return listed

    def delete(self, location: Location) -> str:
        others, self.before_next_delete = self.before_next_delete, []
        for other in others:
            other()
        return str(self.effects.run("delete", lambda: self._delete(location)))

    def _at(self, location: Location) -> KeptVersion | None:
        versions = self.store.versions.get((location.bucket, location.key), {})
        version = versions.get(location.version_id)
        if version is None:
            return None
        return KeptVersion(
            location,
            len(version.body),
            object_id=version.metadata.get("forebay-object-id", ""),
            is_held=location in self.holds,
            locked_until=self.locks.get(location),
        )

    def _delete(self, location: Location) -> str:
        if location in self.holds:
            return "storage has a legal hold on it"
        if location in self.locks:
            return "storage locks it"
        if self._at(location):
            self.store.expire(location)
            self.deleted.append(location)
        return ""


class FakeDispositions:
    """`Dispositions` in memory; `forgotten` are the search entries that were removed."""

    def __init__(
        self, catalog: FakeCatalog, exceptions: FakeExceptions, effects: Effects | None = None
    ) -> None:
        self.catalog = catalog
        self.exceptions = exceptions
        self.effects = effects or Effects()
        self.stored: dict[str, Disposition] = {}
        self.done: dict[str, dict[str, Entry]] = {}
        self.forgotten: set[tuple[str, str, str, str]] = set()
        self.before_next_write: list[Callable[[], None]] = []

    def get(self, disposition_id: str) -> Disposition | None:
        found: Disposition | None = self.effects.run(
            "get_disposition", lambda: self.stored.get(disposition_id)
        )
        return found

    def add(self, disposition: Disposition) -> None:
        if disposition.disposition_id in self.stored:
            raise StaleRecordError("the disposition moved on meanwhile")
        self.stored[disposition.disposition_id] = disposition

    def decide(self, before: Disposition, after: Disposition) -> None:
        def write() -> None:
            if self.stored[before.disposition_id].version != before.version:
                raise StaleRecordError("the disposition moved on meanwhile")
            assert after.version == before.version + 1
            self.stored[before.disposition_id] = after

        self.effects.run("decide", write)

    def latest(self, limit: int) -> Sequence[Disposition]:
        found = sorted(self.stored.values(), key=lambda each: each.requested_at, reverse=True)
        return found[:limit]

    def entry(self, disposition_id: str, object_id: str) -> Entry | None:
        found: Entry | None = self.effects.run(
            "entry", lambda: self.done.get(disposition_id, {}).get(object_id)
        )
        return found

    def entries(self, disposition_id: str) -> Iterator[Entry]:
        found = self.done.get(disposition_id, {})
        return iter([found[each] for each in sorted(found)])

    def note(self, disposition_id: str, entry: Entry) -> Entry:
        def write() -> Entry:
            return self.done.setdefault(disposition_id, {}).setdefault(entry.object_id, entry)

        written: Entry = self.effects.run("note", write)
        return written

    def settle(self, disposition_id: str, entry: Entry) -> None:
        def write() -> None:
            self.done.setdefault(disposition_id, {})[entry.object_id] = entry

        self.effects.run("settle", write)

    def erase(self, erasure: Erasure) -> None:
        others, self.before_next_write = self.before_next_write, []
        for other in others:
            other()
        self.effects.run("erase", lambda: self._erase(erasure))

    def forget(self, study: str, date: str, tokens: Mapping[str, str]) -> None:
        def remove() -> None:
            records = self.catalog.records.values()
            used = {
                pair
                for record in records
                if record.metadata.get("StudyInstanceUID") == study
                for pair in record.subject_tokens.items()
            }
            self.forgotten |= {(study, date, *each) for each in tokens.items() if each not in used}

        self.effects.run("forget", remove)

    def _erase(self, erasure: Erasure) -> None:
        done = self.done.setdefault(erasure.disposition_id, {})
        is_executing = self.stored[erasure.disposition_id].stage is Stage.EXECUTING
        for scope, read in erasure.standing.items():
            now = self.exceptions.standing.get(scope, {})
            if {each.exception_id: each.version for each in read} != {
                name: each.version for name, each in now.items()
            }:
                raise StaleRecordError("an exception moved meanwhile")
        if not is_executing or erasure.entry.object_id in done:
            raise StaleRecordError("the disposition moved on meanwhile")
        self.catalog._apply(Change(erasure.before, erasure.after))
        done[erasure.entry.object_id] = erasure.entry


@dataclass
class Disposal:
    """Dispositions over a World whose objects are past their floors unless said otherwise."""

    world: World = field(default_factory=World)
    signer: FakeSigner = field(default_factory=FakeSigner)
    effects: Effects = field(default_factory=Effects)
    """Counted from here on: the flow that brings objects in is not."""

    def __post_init__(self) -> None:
        world = self.world
        self.exceptions = FakeExceptions()
        self.vault = FakeShelves(world.store, self.effects)
        self.dispositions = FakeDispositions(world.catalog, self.exceptions, self.effects)
        self.scopes = FakeObjectsInScope(world.catalog)
        self.surveyor = Surveyor(
            world.catalog,
            FakePolicyBook(self.exceptions, world.catalog),
            self.vault,
            FakeCopyHistory(world.catalog),
            POLICY,
            BUCKETS,
        )
        self.preview = PreviewDisposition(
            self.surveyor, self.scopes, lambda: self.due, world.clock, workers=1
        )
        self.due: list[str] = []
        self.draft = DraftDisposition(
            self.preview,
            world.store,
            BUCKETS[Zone.LEDGER],
            lambda size: any_number().to_bytes(size),
        )
        self.request = RequestDisposition(self.dispositions, world.store, world.clock)
        self.decide = DecideDisposition(self.dispositions, world.store, world.clock)
        self.dispose = DisposeObjects(
            self.surveyor,
            self.dispositions,
            self.scopes,
            self.vault,
            world.store,
            self.signer,
            world.clock,
            workers=1,
        )

    def settle(self, *, days: float = FLOOR_DAYS + 1) -> None:
        """Work off what was uploaded, and let days go by."""
        self.world.run()
        self.world.clock.advance(days * 24 * 3600)
        self.world.catalog.effects = self.effects
        self.world.store.effects = self.effects

    def asked(self, *scopes: Scope, **wish: Any) -> Disposition:
        """Ask for a disposition as Anna."""
        answer = self.request(self.drafted(*scopes, **wish), by=ANNA)
        assert isinstance(answer, Decided), answer
        return answer.disposition

    def drafted(self, *scopes: Scope, **wish: Any) -> Draft:
        """Write the list of a disposition down as Anna."""
        draft = self.draft(Wish(scopes, reason="consent was withdrawn", **wish), by=ANNA)
        assert isinstance(draft, Draft), draft
        return draft

    def approved(self, *scopes: Scope, **wish: Any) -> str:
        """Ask as Anna, approve as Ben; return the id."""
        asked = self.asked(*scopes, **wish)
        answer = self.decide.approve(asked.disposition_id, by=BEN)
        assert isinstance(answer, Decided), answer
        return asked.disposition_id

    def carried_out(self, disposition_id: str) -> Progress:
        """Carry out what was approved."""
        answer = self.dispose(disposition_id)
        assert isinstance(answer, Progress), answer
        return answer

    def entries(self, disposition_id: str) -> Mapping[str, Entry]:
        """Return what became of the objects."""
        return self.dispositions.done.get(disposition_id, {})

    def hold(self, scope: Scope, kind: ExceptionKind = ExceptionKind.LEGAL_HOLD) -> PolicyException:
        """Let a hold, pin or the like count from now on."""
        until = None
        if kind is not ExceptionKind.LEGAL_HOLD:
            until = self.world.clock.now().replace(year=2030)
        asked = any_exception(scope=scope, kind=kind, until=until)
        active = asked.changed(status=Status.ACTIVE, decided_by=BEN)
        self.exceptions.put(None, asked)
        self.exceptions.put(asked, active)
        return active

    def derive(self, parent: str, **fields: Any) -> str:
        """Store something made from an object; return its id."""
        made = self.world.image(b"x", f"site-a/{any_number()}.dcm")
        self.world.queue.pop()
        source = self.world.store.head(Location(BUCKETS[Zone.LANDING_IMAGING], self._key(made)))
        target = Location(BUCKETS[Zone.DERIVED], f"reports/{any_number()}.json")
        copy = self.world.store.copy(
            replace(source, metadata={"forebay-object-id": made}), target, checksum=None, tags={}
        )
        now = self.world.clock.now()
        facts: dict[str, Any] = {
            "object_id": made,
            "location": source.location,
            "state": State.PLACED,
            "placed": copy.location,
            "placed_at": now,
            "state_since": now,
            "object_class": "derived",
            "parents": (parent,),
            "size_bytes": 1,
        }
        record: ObjectRecord = any_record(**facts | fields)
        self.world.catalog.records[made] = record
        return made

    def bytes_of(self, object_id: str) -> list[Location]:
        """Return every stored version that belongs to an object, past all counters."""
        record = self.world.record(object_id)
        return [
            Location(bucket, key, version)
            for (bucket, key), versions in self.world.store.versions.items()
            for version, stored in versions.items()
            if stored.metadata.get("forebay-object-id") == object_id
            or Location(bucket, key, version) == record.location
        ]

    def _key(self, object_id: str) -> str:
        for (bucket, key), versions in self.world.store.versions.items():
            for version in versions:
                if id_of(Location(bucket, key, version)) == object_id:
                    return key
        raise AssertionError(object_id)
