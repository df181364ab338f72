"""Any sequence of catalog operations, stale ones among them, against a model of what must hold.

The model is plain dictionaries. It runs against the fake that the simulator uses, and against the
DynamoDB adapter: what the fake promises to thousands of schedules, the real one keeps.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from moto import mock_aws

from forebay.adapters.catalog import DynamoCatalog
from forebay.domain.integrity import Digest, Witness
from forebay.domain.objects import Kind, Location, ObjectRecord
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import TRANSITIONS, State
from forebay.errors import IllegalTransitionError, StaleRecordError
from forebay.names import Step
from forebay.services.ports import (
    Applied,
    Catalog,
    Change,
    Claim,
    ClaimHeld,
    Declarations,
    Lease,
    Outcome,
    RecordedChange,
)
from tests.adapters.conftest import REGION, Cloud
from tests.adapters.moto_world import MotoWorld
from tests.unit.fakes import NOON, FakeCatalog, any_digest, any_record, any_run

KEYS = ("site-a/one", "site-a/two")
NAMES = ("A", "B")
HOLDERS = ("m1", "m2")
RUN_MOVES = (RunState.SUBMITTING, RunState.SUBMITTED, RunState.SUCCEEDED, RunState.FAILED)
picks = st.integers(0, 99)


@dataclass
class Model:
    """What the catalog must hold, and the writes it accepted in their order."""

    records: dict[str, ObjectRecord] = field(default_factory=dict)
    earlier: dict[str, list[ObjectRecord]] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    declared: dict[str, Declarations] = field(default_factory=dict)
    runs: dict[str, PipelineRun] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    accepted: list[tuple[str, int, str, int]] = field(default_factory=list)

    def store(self, record: ObjectRecord) -> None:
        """Accept a write."""
        if record.object_id in self.records:
            self.earlier.setdefault(record.object_id, []).append(self.records[record.object_id])
        self.records[record.object_id] = record
        self.accepted.append(said(record))

    def refusal(self, change: Change) -> ClaimHeld | str:
        """Return why a change must be refused, '' when it must be made."""
        for claim in change.claims:
            holder = self.claims.get(claim.value, "")
            if holder not in ("", change.after.object_id) and holder != claim.takes_over:
                return ClaimHeld(claim, holder)
        declared = self.declared.get(change.before.location.key, Declarations())
        if change.declarations and change.declarations.revision != declared.revision:
            return "declared meanwhile"
        moves = ((change.before, change.after), *change.also)
        if any(self.records[was.object_id].version != was.version for was, _ in moves):
            return "moved meanwhile"
        return ""

    def make(self, change: Change) -> None:
        """Make a change."""
        self.claims |= {claim.value: change.after.object_id for claim in change.claims}
        for _, after in ((change.before, change.after), *change.also):
            counted = self.records[after.object_id].duplicate_count
            self.store(replace(after, duplicate_count=counted))
        if change.counts_on:
            original = self.records[change.counts_on]
            self.store(replace(original, duplicate_count=original.duplicate_count + 1))


def said(record: ObjectRecord) -> tuple[str, int, str, int]:
    """Return what the stream tells of a write."""
    return record.object_id, record.version, record.state.value, record.duplicate_count


class CatalogMachine(RuleBasedStateMachine):
    """Operations on few objects, few names and two keys, so that they meet."""

    catalog: Catalog

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.now = NOON
        self.begin()

    def begin(self) -> None:
        """Make an empty catalog."""
        self.catalog = FakeCatalog()

    def stream(self) -> list[tuple[str, int, str, int]]:
        """Return what the stream told of objects, in order."""
        assert isinstance(self.catalog, FakeCatalog)
        changes = self.catalog.stream
        return [said(c.after) for c in changes if isinstance(c, RecordedChange)]

    @rule(key=st.sampled_from(KEYS), version=st.integers(1, 2))
    def register(self, key: str, version: int) -> None:
        location = Location("test-landing-imaging", key, f"v{version}")
        record = any_record(location=location, kind=Kind.UNKNOWN, state_since=self.tick())
        is_new = record.object_id not in self.model.records

        assert self.catalog.register(record) is is_new

        if is_new:
            self.model.store(record)

    @precondition(lambda self: self.model.records)
    @rule(
        picked=st.tuples(picks, picks),
        stale=st.booleans(),
        names=st.lists(st.sampled_from(NAMES), unique=True),
        takes_over=st.booleans(),
        declared=st.sampled_from(["not asked", "as it is", "as it was"]),
        other=st.sampled_from(["", "counts", "also", "also stale"]),
    )
    def change(
        self,
        *,
        picked: tuple[int, int],
        stale: bool,
        names: list[str],
        takes_over: bool,
        declared: str,
        other: str,
    ) -> None:
        pick, onto = picked
        before = self.version_of(pick, stale=stale)
        after = self.moved(before, onto)
        others = [made for made in self.model.records if made != before.object_id]
        change = Change(
            before,
            after,
            claims=[self.claim(name, takes_over=takes_over) for name in names],
            declarations=self.declarations(before, declared),
            counts_on=others[pick % len(others)] if other == "counts" and others else "",
            also=self.also(others, pick, stale=other == "also stale")
            if other.startswith("also") and others
            else (),
        )
        expected = self.model.refusal(change)

        outcome: Outcome | str
        try:
            outcome = self.catalog.apply(change)
        except StaleRecordError:
            outcome = "stale"

        if isinstance(expected, ClaimHeld):
            assert outcome == expected
        elif expected:
            assert outcome == "stale"
        else:
            assert outcome == Applied()
            self.model.make(change)

    @precondition(lambda self: self.model.records)
    @rule(pick=picks, onto=st.sampled_from(State))
    def illegal_transition_is_refused(self, pick: int, onto: State) -> None:
        record = self.version_of(pick, stale=False)
        if onto in TRANSITIONS[record.state]:
            assert record.moved_to(onto, self.now).version == record.version + 1
            return
        with pytest.raises(IllegalTransitionError):
            record.moved_to(onto, self.now)

    @rule(key=st.sampled_from(KEYS), source=st.sampled_from(NAMES), value=st.sampled_from("0f"))
    def declare(self, key: str, source: str, value: str) -> None:
        digest = any_digest(value=value * 64, witness=Witness.SENDER_MANIFEST, source=source)
        before = self.model.declared.get(key, Declarations())
        known: dict[Any, Digest] = {(d.source, d.algorithm): d for d in before.digests}
        known[digest.source, digest.algorithm] = digest
        if tuple(known.values()) != before.digests:
            self.model.declared[key] = Declarations(tuple(known.values()), before.revision + 1)

        after = self.catalog.declare("test-landing-imaging", key, [digest])

        assert after == self.model.declared[key]

    @rule(number=st.integers(1, 2))
    def open_run(self, number: int) -> None:
        run = any_run(run_id=f"read_qc-{number:032}", state_since=self.tick())

        assert self.catalog.open_run(run) == self.model.runs.setdefault(run.run_id, run)

    @precondition(lambda self: self.model.runs)
    @rule(pick=picks, onto=st.sampled_from(RUN_MOVES), stale=st.booleans())
    def move_run(self, pick: int, onto: RunState, stale: bool) -> None:
        now = list(self.model.runs.values())[pick % len(self.model.runs)]
        before = replace(now, version=now.version - 1) if stale else now
        after = before.moved_to(onto, self.tick())
        if stale:
            with pytest.raises(StaleRecordError):
                self.catalog.move_run(before, after)
            return

        self.catalog.move_run(before, after)

        self.model.runs[now.run_id] = after

    @precondition(lambda self: self.model.records)
    @rule(pick=picks, holder=st.sampled_from(HOLDERS), minutes=st.integers(1, 3))
    def take_lease(self, pick: int, holder: str, minutes: int) -> None:
        record = self.version_of(pick, stale=False)
        until = self.now + timedelta(minutes=minutes)
        lease = Lease(record.object_id, record.version, Step.PLACE_OBJECT, holder, until)
        held = self.model.leases.get(record.object_id)
        is_free = (
            held is None
            or held.holder == holder
            or held.until <= self.now
            or held.record_version < record.version
        )

        assert self.catalog.take_lease(lease, self.now) is is_free

        if is_free:
            self.model.leases[record.object_id] = lease

    @precondition(lambda self: self.model.leases)
    @rule(pick=picks, holder=st.sampled_from(HOLDERS))
    def end_lease(self, pick: int, holder: str) -> None:
        held = list(self.model.leases.values())[pick % len(self.model.leases)]

        assert self.catalog.end_lease(replace(held, holder=holder)) is (held.holder == holder)

        if held.holder == holder:
            del self.model.leases[held.object_id]

    @rule(minutes=st.integers(1, 2))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @invariant()
    def holds_what_was_written_and_nothing_else(self) -> None:
        for made, record in self.model.records.items():
            declared = self.model.declared.get(record.location.key, Declarations())
            assert self.catalog.get(made) == record
            assert self.catalog.get_with_declarations(made) == (record, declared)
            assert self.catalog.get_lease(made) == self.model.leases.get(made)
        for key in KEYS:
            at_key = self.catalog.versions_of("test-landing-imaging", key)
            mine = {m: r for m, r in self.model.records.items() if r.location.key == key}
            assert {record.object_id: record for record in at_key} == mine
        assert self.catalog.holders("name", "g") == self.model.claims
        for run_id, run in self.model.runs.items():
            assert self.catalog.get_run(run_id) == run

    @invariant()
    def versions_count_the_changes(self) -> None:
        for made, record in self.model.records.items():
            versions = [v for name, v, *_ in self.model.accepted if name == made]
            assert sorted(set(versions)) == list(range(1, record.version + 1))

    def teardown(self) -> None:
        """The stream told of every accepted write once, and of no other."""
        assert self.stream() == self.model.accepted

    def tick(self) -> Any:
        """Let a second pass; returns the time."""
        self.now += timedelta(seconds=1)
        return self.now

    def version_of(self, pick: int, *, stale: bool) -> ObjectRecord:
        """Return one of the records, or what it was before."""
        made = list(self.model.records)[pick % len(self.model.records)]
        earlier = self.model.earlier.get(made, [])
        if stale and earlier:
            return earlier[pick % len(earlier)]
        return self.model.records[made]

    def moved(self, before: ObjectRecord, onto: int) -> ObjectRecord:
        """Return the record after a legal change."""
        states = sorted(TRANSITIONS[before.state])
        if not states or onto % 3 == 0:
            return before.amended(self.tick(), redrives=before.redrives + 1)
        return before.moved_to(states[onto % len(states)], self.tick())

    def claim(self, name: str, *, takes_over: bool) -> Claim:
        """Return a claim on a name, perhaps over who holds it now."""
        return Claim("name", "g", name, self.model.claims.get(name, "") if takes_over else "")

    def declarations(self, record: ObjectRecord, how: str) -> Declarations | None:
        """Return what the writer believes was declared."""
        if how == "not asked":
            return None
        now = self.model.declared.get(record.location.key, Declarations())
        return now if how == "as it is" else replace(now, revision=now.revision + 1)

    def also(
        self, others: list[str], pick: int, *, stale: bool
    ) -> list[tuple[ObjectRecord, ObjectRecord]]:
        """Return another record that changes in the same write."""
        was = self.model.records[others[pick % len(others)]]
        if stale:
            was = self.model.earlier.get(was.object_id, [was])[0]
        return [(was, self.moved(was, pick))]


class DynamoMachine(CatalogMachine):
    """The same over the adapter and moto's DynamoDB."""

    def begin(self) -> None:
        self.cloud = mock_aws()
        self.cloud.start()
        self.world = MotoWorld(cloud=Cloud("moto"))
        catalog = self.world.catalog
        assert isinstance(catalog, DynamoCatalog)
        self.catalog = catalog

    def stream(self) -> list[tuple[str, int, str, int]]:
        changes = self.world.fresh_changes()
        return [said(c.after) for c in changes if isinstance(c, RecordedChange)]

    def teardown(self) -> None:
        # Within one transaction the stream's order is its own.
        assert sorted(self.stream()) == sorted(self.model.accepted)
        self.cloud.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give what boto3 wants, though nobody checks it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


TestCatalogModelOverTheFake = CatalogMachine.TestCase
TestCatalogModelOverTheFake.settings = settings(max_examples=150, stateful_step_count=40)
TestCatalogModelOverDynamo = DynamoMachine.TestCase
TestCatalogModelOverDynamo.settings = settings(max_examples=6, stateful_step_count=20)
