"""What must hold at the end of every schedule, one function each; the docstring is the promise."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from forebay.domain.conflicts import BYTES_NAMESPACE, identity_of, variant_of, variant_value
from forebay.domain.deadlines import is_overdue
from forebay.domain.duplicates import Standing, standing_of
from forebay.domain.integrity import EVIDENCE, Algorithm
from forebay.domain.objects import Kind, Location, ObjectRecord
from forebay.domain.policy.decision import NONE
from forebay.domain.policy.exceptions import Status
from forebay.domain.policy.standing import scopes_of
from forebay.domain.rechecks import DAMAGED
from forebay.domain.rechecks import is_noted as damage_is_noted
from forebay.domain.reconciliation import HELD, SETTLED, is_settled
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import IN_FLIGHT, TRANSITIONS, State
from forebay.names import FOLDERS, Tag, Zone
from forebay.services.judging import GATES
from forebay.services.ports import RecordedChange, RecordedRun
from forebay.services.relay_changes import event_of, run_event_of
from tests.faults.simulator import BrokenError, Simulation, identity
from tests.unit.fakes import BUCKETS, StoredVersion, checksum_of

Invariant = Callable[[Simulation], Iterator[str]]
READABLE: Final = "verified"


def check(simulation: Simulation) -> None:
    """Ask for every invariant; raises BrokenError with the first that does not hold."""
    for invariant in INVARIANTS:
        for said in invariant(simulation):
            raise BrokenError(invariant.__name__, said)


def every_version_has_one_record(simulation: Simulation) -> Iterator[str]:
    """Each version that arrived has its record, and no record was invented.

    Nobody can know of a version that was deleted and of which S3 never told.
    """
    records = simulation.world.catalog.records
    for made, upload in simulation.uploads.items():
        was_never_told = upload.is_deleted and not upload.events
        if made not in records and not was_never_told:
            yield f"{upload.location} has no record"
    for made, record in records.items():
        if made not in simulation.uploads:
            yield f"{record.location} never arrived, and is {record.state}"


def every_record_has_one_outcome(simulation: Simulation) -> Iterator[str]:
    """Nothing is under way any more; what still waits for its sender is said to be overdue."""
    for record in _records(simulation):
        waits = record.state is State.AWAITING_DIGEST and is_overdue(record)
        if record.state in IN_FLIGHT and not waits:
            yield _named(record)


def waiting_objects_were_never_declared(simulation: Simulation) -> Iterator[str]:
    """What waits for a digest was not given one by a checksum file that its sender let stand."""
    stand = {r.location.key for r in _records(simulation) if r.state is not State.DELETED}
    for record in _records(simulation):
        place = (record.location.bucket, record.location.key)
        declared = simulation.world.catalog.declared.get(place)
        said = declared and any(digest.source in stand for digest in declared.digests)
        if record.state is State.AWAITING_DIGEST and said:
            yield _named(record)


def histories_have_no_gaps(simulation: Simulation) -> Iterator[str]:
    """Each record's version is the number of its changes, and the history tells of each."""
    told: dict[str, set[int]] = {}
    for change in simulation.world.log.recorded:
        told.setdefault(change.after.object_id, set()).add(change.after.version)
    for record in _records(simulation):
        if told.get(record.object_id, set()) != set(range(1, record.version + 1)):
            yield f"{_named(record)} version {record.version}: history {told.get(record.object_id)}"
    versions = Counter(map(identity, _changes(simulation)))
    for (about, version), times in versions.items():
        if times != 1:
            yield f"{about} became version {version} {times} times"


def transitions_are_legal(simulation: Simulation) -> Iterator[str]:
    """Every change of state is one the state machine knows, in the order it was made."""
    last: dict[str, State] = {}
    for change in _changes(simulation):
        if isinstance(change, RecordedRun):
            continue
        after = change.after
        before = last.get(after.object_id)
        if after.state is not before and after.state not in TRANSITIONS[before]:
            yield f"{after.object_id} went from {before} to {after.state}"
        last[after.object_id] = after.state


def change_feed_is_the_transitions(simulation: Simulation) -> Iterator[str]:
    """The bus was told of every change and of nothing else; no change has two meanings."""
    meant = {
        identity(change): event_of(change)
        if isinstance(change, RecordedChange)
        else run_event_of(change)
        for change in _changes(simulation)
    }
    published = {(event.subject_id, event.version) for event in simulation.feed.published}
    for missing in meant.keys() - published:
        yield f"nobody was told of {missing}"
    for event in simulation.feed.published:
        if meant.get((event.subject_id, event.version)) != event:
            yield f"{event.subject_id} version {event.version} was told wrongly"


def placed_objects_are_proven(simulation: Simulation) -> Iterator[str]:
    """What is PLACED has digests of its true bytes, and a readable copy of them."""
    for record in _records(simulation):
        if record.state is not State.PLACED:
            continue
        body = simulation.uploads[record.object_id].body
        if not any(d.witness in EVIDENCE for d in record.digests):
            yield f"{_named(record)}: placed without evidence"
        stored = _stored(simulation, record.placed)
        if stored is None or stored.body != body:
            yield f"{_named(record)}: its copy holds other bytes"
        elif stored.tags.get(Tag.VERDICT) != READABLE:
            yield f"{_named(record)}: its copy cannot be read"


def evidence_is_of_what_arrived(simulation: Simulation) -> Iterator[str]:
    """No digest is believed that is not of the bytes a sender sent, whatever was read since."""
    for record in _records(simulation):
        body = _body(simulation, record)
        for digest in record.evidence:
            if digest.value != checksum_of(digest.algorithm, body):
                yield f"{_named(record)}: {digest.algorithm} is not that of its bytes"


def placed_objects_always_were_proven(simulation: Simulation) -> Iterator[str]:
    """At no time did a PLACED record name a copy that was made with other bytes."""
    for change in _changes(simulation):
        if isinstance(change, RecordedChange) and change.after.state is State.PLACED:
            made, placed = change.after.object_id, change.after.placed
            if placed and simulation.written[placed] != simulation.uploads[made].body:
                yield _named(change.after)


def readable_copies_are_of_placed_objects(simulation: Simulation) -> Iterator[str]:
    """A copy whose tag lets readers in is one of a PLACED object, and has its bytes."""
    for location, version in _zone_versions(simulation):
        if version.tags.get(Tag.VERDICT) != READABLE:
            continue
        record = simulation.world.catalog.records.get(version.tags.get(Tag.OBJECT_ID, ""))
        if record is None or record.state is not State.PLACED:
            yield f"{location} can be read: {_named(record) if record else 'of no object'}"
        elif version.body != simulation.uploads[record.object_id].body:
            yield f"{location} can be read and holds other bytes than {_named(record)}"


def refused_objects_are_kept_aside(simulation: Simulation) -> Iterator[str]:
    """What is QUARANTINED or in CONFLICT has a finding and an unreadable copy in quarantine.

    Its bytes are those that arrived; where they were damaged there, the record says so.
    """
    for record in _records(simulation):
        if record.state not in HELD:
            continue
        if record.finding is None:
            yield f"{_named(record)}: nobody says why"
        elif record.finding.code not in DAMAGED:
            stored = _stored(simulation, record.held)
            is_whole = stored is not None and stored.body == _body(simulation, record)
            is_noted = record.held in simulation.damaged and damage_is_noted(record, record.held)
            if stored is None or not (is_whole or is_noted):
                yield f"{_named(record)}: not kept aside"
            elif stored.tags.get(Tag.VERDICT) == READABLE:
                yield f"{_named(record)}: can be read"


def identities_have_one_holder(simulation: Simulation) -> Iterator[str]:
    """Of the objects that claim one identity one is PLACED, and holds its name."""
    holders: dict[tuple[str, str, str], str] = {}
    claims = simulation.world.catalog.claims
    for record in _records(simulation):
        if record.state is not State.PLACED or record.kind is Kind.CHECKSUMS:
            continue
        if record.kind is Kind.REPORT:
            continue
        namespace, group, value = identity_of(record)
        if variant := variant_of(record):
            value = variant_value(value, variant)
        name = (namespace, group, value)
        if other := holders.get(name):
            yield f"{name} is held by {other} and {record.object_id}"
        holders[name] = record.object_id
        if claims.get(name) != record.object_id:
            yield f"{_named(record)} does not hold its name"
    for (namespace, *_), holder in claims.items():
        if namespace != BYTES_NAMESPACE and holder not in simulation.world.catalog.records:
            yield f"{holder} holds a name and is unknown"


def keys_have_one_owner(simulation: Simulation) -> Iterator[str]:
    """No two PLACED objects share a key in their zone."""
    places = Counter(
        (r.placed.bucket, r.placed.key)
        for r in _records(simulation)
        if r.placed and r.state is State.PLACED
    )
    yield from (f"{place} has {times} owners" for place, times in places.items() if times > 1)


def duplicates_point_to_equal_bytes(simulation: Simulation) -> Iterator[str]:
    """A DUPLICATE's original is another object with the same bytes, and is no DUPLICATE."""
    records = simulation.world.catalog.records
    for record in _records(simulation):
        if record.state is not State.DUPLICATE:
            continue
        original = records.get(record.original_id)
        if original is None or original is record:
            yield f"{_named(record)} is a duplicate of nothing"
        elif original.state is State.DUPLICATE:
            yield f"{_named(record)} is a duplicate of a duplicate"
        elif _body(simulation, original) != _body(simulation, record):
            yield f"{_named(record)} is called a duplicate of other bytes"


def no_bytes_are_lost(simulation: Simulation) -> Iterator[str]:
    """What its own sender did not take back is stored, unless a copy of it was broken outside."""
    stored = {
        version.body
        for versions in simulation.world.store.versions.values()
        for version in versions.values()
    }
    written = simulation.written
    outside = {body for place, body in written.items() if place in simulation.lost}
    for made, upload in simulation.uploads.items():
        if not upload.is_deleted and upload.body not in stored | outside:
            yield f"nobody has the bytes of {_named(simulation.world.record(made))}"


def duplicates_are_counted(simulation: Simulation) -> Iterator[str]:
    """An object counts as many duplicates as became one of it."""
    became = Counter(
        change.after.original_id
        for change in _changes(simulation)
        if isinstance(change, RecordedChange)
        and change.after.state is State.DUPLICATE
        and change.before
        and change.before.state is not State.DUPLICATE
    )
    for record in _records(simulation):
        if record.duplicate_count != became[record.object_id]:
            counted = became[record.object_id]
            yield f"{_named(record)} counts {record.duplicate_count} duplicates, of {counted}"


def pairs_run_once(simulation: Simulation) -> Iterator[str]:
    """Each complete pair has its one run, which was started or says why not."""
    placed = {
        (r.site, r.metadata["sample"], r.metadata["run"], r.metadata["mate"], variant_of(r)): r
        for r in _records(simulation)
        if r.state is State.PLACED and r.kind is Kind.FASTQ
    }
    runs = {tuple(sorted(run.inputs.values())) for run in _runs(simulation)}
    digests = {_input_digests(run) for run in _runs(simulation)}
    for (site, sample, name, mate, variant), record in placed.items():
        other = placed.get((site, sample, name, "R2", ""))
        if mate != "R1" or variant or other is None:
            continue
        pair = tuple(sorted((record.object_id, other.object_id)))
        wanted = tuple(r.digest(Algorithm.SHA256) for r in (record, other))
        if pair not in runs and wanted not in digests:
            yield f"no run over {pair}"
    for run in _runs(simulation):
        is_started = run.run_id in simulation.world.pipelines.started
        if run.state is RunState.SUBMITTING:
            yield f"{run.run_id} is still being submitted"
        if run.state in (RunState.SUBMITTED, RunState.SUCCEEDED) and not is_started:
            yield f"{run.run_id} is {run.state} and was never started"
    for started in simulation.world.pipelines.started:
        if started not in simulation.world.catalog.runs:
            yield f"{started} was started and is unknown"


def nothing_is_deleted(simulation: Simulation) -> Iterator[str]:
    """No step deletes: every version a step wrote is there, with its bytes, unless lost outside.

    Holds forbid deletion by others; a port without a delete is the stronger promise.
    """
    for location, body in simulation.written.items():
        stored = _stored(simulation, location)
        if location in simulation.removed or location in simulation.damaged:
            continue
        if stored is None or stored.body != body:
            yield f"{location} is gone or changed"


def what_is_held_is_locked_and_no_gate_is_open(simulation: Simulation) -> Iterator[str]:
    """A legal hold is on every stored version it reaches, and lifecycle may touch none of them."""
    exceptions = simulation.world.exceptions
    held = {each.scope for each in exceptions.stored.values() if each.status is Status.ACTIVE}
    for record in _records(simulation):
        stored = _stored(simulation, record.placed)
        if record.state is not State.PLACED or stored is None or record.placed in simulation.lost:
            continue
        is_held = any(held & {*scopes_of(each)} for each in _lineage(simulation, record))
        if stored.has_legal_hold is not is_held:
            yield f"{_named(record)}: lock {stored.has_legal_hold}, held {is_held}"
        gates = {stored.tags.get(gate, NONE) for gate in GATES}
        if is_held and gates != {NONE}:
            yield f"{_named(record)} is held, its gates are {gates}"


def no_dead_letter_is_left(simulation: Simulation) -> Iterator[str]:
    """Every message that was given up was replayed or resolved."""
    yield from (f"{message} lies in its queue" for message in simulation.world.dead_letters)
    yield from (f"{batch} lies in its queue" for batch in simulation.world.lost_batches)
    for made in simulation.open_letters:
        letter = simulation.world.letters.by_id[made]
        yield f"{letter.step} {letter.failure.message} about {letter.about}"


def uploads_may_expire_once_dealt_with(simulation: Simulation) -> Iterator[str]:
    """A landing copy is marked settled if its outcome is final; never while it is all there is.

    A duplicate waits for as long as its original has no copy.
    """
    records = simulation.world.catalog.records
    for record in _records(simulation):
        stored = _stored(simulation, record.location)
        if stored is None:
            continue
        settled = is_settled(stored.tags)
        original = records.get(record.original_id)
        waits = record.state is State.DUPLICATE and standing_of(original) is Standing.UNDER_WAY
        if record.state in SETTLED and not settled and not waits:
            yield f"{_named(record)} is not settled"
        if settled and record.state in IN_FLIGHT and record.kept_at == record.location:
            yield f"{_named(record)} may expire too soon"


def leases_end(simulation: Simulation) -> Iterator[str]:
    """No lease outlives its work."""
    now = simulation.clock.true_now
    for lease in simulation.world.catalog.leases.values():
        yield f"{lease} is left, {'running' if lease.until > now else 'ended'}"


def decisions_are_obeyed(simulation: Simulation) -> Iterator[str]:
    """What was SUPERSEDED has a successor by a steward's decision, and cannot be read."""
    records = simulation.world.catalog.records
    for record in _records(simulation):
        if record.state is not State.SUPERSEDED:
            continue
        successor = records.get(record.original_id)
        if successor is None or successor.decision is None:
            yield f"{_named(record)} was superseded by nobody's decision"


def replays_add_nothing(simulation: Simulation) -> Iterator[str]:
    """All messages, the whole stream and all dead letters once more change nothing."""
    catalog = simulation.world.catalog
    before = (dict(catalog.records), dict(catalog.runs), dict(catalog.claims))
    stored, starts = simulation.stored(), len(simulation.world.pipelines.started)
    simulation.replay_everything()
    for made, record in catalog.records.items():
        if before[0].get(made) != record:
            yield f"{before[0].get(made)}\nbecame\n{record}"
    if before != (catalog.records, catalog.runs, catalog.claims):
        yield "runs or claims changed"
    now = simulation.stored()
    for place in now.keys() | stored.keys():
        if now.get(place) != stored.get(place):
            yield f"{place} was {stored.get(place)}, is {now.get(place)}"
    if len(simulation.world.pipelines.started) != starts:
        yield "a run was started again"


INVARIANTS: Final[tuple[Invariant, ...]] = (
    every_version_has_one_record,
    every_record_has_one_outcome,
    waiting_objects_were_never_declared,
    histories_have_no_gaps,
    transitions_are_legal,
    change_feed_is_the_transitions,
    placed_objects_are_proven,
    evidence_is_of_what_arrived,
    placed_objects_always_were_proven,
    readable_copies_are_of_placed_objects,
    refused_objects_are_kept_aside,
    identities_have_one_holder,
    keys_have_one_owner,
    duplicates_point_to_equal_bytes,
    no_bytes_are_lost,
    duplicates_are_counted,
    pairs_run_once,
    nothing_is_deleted,
    what_is_held_is_locked_and_no_gate_is_open,
    no_dead_letter_is_left,
    uploads_may_expire_once_dealt_with,
    leases_end,
    decisions_are_obeyed,
    replays_add_nothing,
)


def _lineage(simulation: Simulation, record: ObjectRecord) -> Iterator[ObjectRecord]:
    """Yield a record and all it was made from."""
    yield record
    for parent in record.parents:
        yield from _lineage(simulation, simulation.world.catalog.records[parent])


def _records(simulation: Simulation) -> list[ObjectRecord]:
    return list(simulation.world.catalog.records.values())


def _runs(simulation: Simulation) -> list[PipelineRun]:
    return list(simulation.world.catalog.runs.values())


def _changes(simulation: Simulation) -> Iterator[RecordedChange | RecordedRun]:
    """Yield the changes the stream told of; a counter beside the record is none."""
    for change in simulation.world.catalog.stream:
        if change.before is None or change.before.version != change.after.version:
            yield change


def _body(simulation: Simulation, record: ObjectRecord) -> bytes:
    return simulation.uploads[record.object_id].body


def _stored(simulation: Simulation, place: Location | None) -> StoredVersion | None:
    if place is None:
        return None
    versions = simulation.world.store.versions.get((place.bucket, place.key), {})
    return versions.get(place.version_id)


def _zone_versions(simulation: Simulation) -> Iterator[tuple[Location, StoredVersion]]:
    zones = {BUCKETS[zone] for zone in (*FOLDERS, Zone.QUARANTINE)}
    for (bucket, key), versions in simulation.world.store.versions.items():
        if bucket in zones:
            for version_id, version in versions.items():
                yield Location(bucket, key, version_id), version


def _input_digests(run: PipelineRun) -> tuple[str, ...]:
    return tuple(run.payload["reads"][mate]["sha256"] for mate in ("R1", "R2"))


def _named(record: ObjectRecord) -> str:
    code = f" {record.finding.code}" if record.finding else ""
    return f"{record.location.key} {record.location.version_id} {record.state}{code}"
