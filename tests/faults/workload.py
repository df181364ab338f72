"""What senders, stewards, lifecycle rules and disks do in one schedule.

Names come from small sets, so that uploads meet: the same again, the same identity with other
bytes, checksum files before, after and wrong, overwrites of a key while it is in flight.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final

from forebay.domain.integrity import Algorithm, Witness
from forebay.domain.objects import Choice, Kind, Location, ObjectRecord
from forebay.domain.policy.exceptions import Scope, ScopeKind, Status
from forebay.domain.policy.standing import scopes_of
from forebay.domain.reconciliation import HELD, counted_copy, is_settled
from forebay.domain.states import State
from forebay.errors import Trouble
from forebay.names import Zone
from tests.faults.plans import Plan, chance
from tests.faults.simulator import Simulation, Task, short
from tests.unit.fakes import (
    BUCKETS,
    StoredVersion,
    any_dicom_body,
    any_exception,
    any_reads_body,
    checksum_of,
)

Action = Callable[[Simulation], object]
SITES: Final = ("site-a", "site-a", "site-a", "site-b")
CHECKSUMS: Final = (Algorithm.CRC64NVME, Algorithm.SHA256, Algorithm.CRC32, None)
NO_DIGEST: Final = b"0" * 32
RARELY: Final = 0.15
_VARIANTS: Final = (b"first", b"other")
"""More than a bit apart: what loses one must not become the other."""


def workload(seed: int, plan: Plan) -> list[Action]:
    """Return the actions of a schedule; leaving one out does not change the others."""
    return [
        partial(_act, chance(seed, f"action {index}"))
        for index in range(plan.actions)
        if index not in plan.skipped
    ]


def _act(dice: Random, simulation: Simulation) -> object:
    kinds: list[tuple[Callable[[Simulation, Random], object], int]] = [
        (_image, 6),
        (_reads, 6),
        (_sidecar, 4),
        (_pair, 3),
        (_dispute, 2),
        (_checksum_list, 1),
        (_other_upload, 2),
        (_decide, 4),
        (_release, 2),
        (_expire, 2),
        (_damage, 1),
        (_replicate, 1),
        (_end_run, 1),
        (_sweep, 1),
        (_recheck, 1),
        (_reconcile, 1),
        (_archive, 1),
        (_replay, 1),
        (_late_word, 1),
        (_hold, 2),
        (_evaluate, 1),
    ]
    if simulation.plan.names_versions:
        kinds += [(_delete, 2), (_delete_copy, 1), (_take_back, 2)]
    (act,) = dice.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
    return act(simulation, dice)


def image_body(number: int, variant: int) -> bytes:
    """Return the bytes of an instance, in one of several versions."""
    uids = {f"{level}_instance_uid": f"2.25.{number}" for level in ("sop", "study", "series")}
    uids["series_instance_uid"] = f"2.25.{number}.1"
    subject = {"PatientID": f"P{number}"}
    return any_dicom_body(pixels=_VARIANTS[variant], **uids, subject=subject)


def reads_body(sample: int, mate: int, variant: int) -> bytes:
    """Return the bytes of a file of reads, in one of several versions."""
    return any_reads_body(bases=b"S%d R%d " % (sample, mate) + _VARIANTS[variant])


def _image(simulation: Simulation, dice: Random) -> object:
    body = image_body(dice.randint(1, 2), dice.choice((0, 0, 1)))
    if dice.random() < RARELY:
        body = b"no dicom %d" % dice.randint(0, 1)
    key = f"{dice.choice(SITES)}/scan-{dice.randint(1, 4)}"
    return simulation.upload(Zone.LANDING_IMAGING, key, body, **_how(dice, body))


def _reads(simulation: Simulation, dice: Random) -> object:
    site, sample, mate = _reads_name(dice)
    body = reads_body(sample, mate, dice.choice((0, 0, 0, 1)))
    if dice.random() < RARELY:
        body = dice.choice((b"", b"broken"))
    return simulation.upload(
        Zone.LANDING_GENOMICS, _reads_key(site, sample, mate), body, **_how(dice, body)
    )


def _sidecar(simulation: Simulation, dice: Random) -> object:
    site, sample, mate = _reads_name(dice)
    algorithm = dice.choice((Algorithm.MD5, Algorithm.SHA256))
    body = checksum_of(algorithm, reads_body(sample, mate, dice.choice((0, 0, 0, 1)))).encode()
    if dice.random() < RARELY:
        body = dice.choice((NO_DIGEST, b"garbage"))
    key = f"{_reads_key(site, sample, mate)}.{algorithm.value}"
    return simulation.upload(Zone.LANDING_GENOMICS, key, body)


def _pair(simulation: Simulation, dice: Random) -> object:
    """Both mates of a sample at once, with their checksum files, in any order."""
    site, sample, _ = _reads_name(dice)
    files: list[tuple[str, bytes]] = []
    for mate in (1, 2):
        key, body = _reads_key(site, sample, mate), reads_body(sample, mate, 0)
        files += [(key, body), (f"{key}.md5", checksum_of(Algorithm.MD5, body).encode())]
    for key, body in dice.sample(files, len(files)):
        simulation.upload(Zone.LANDING_GENOMICS, key, body)
    return None


def _dispute(simulation: Simulation, dice: Random) -> object:
    """One instance with two contents, or the same twice, at once from two places."""
    number, site = dice.randint(1, 2), dice.choice(SITES)
    for variant, key in zip(dice.choice(((0, 1), (1, 0), (0, 0))), (1, 2), strict=True):
        simulation.upload(Zone.LANDING_IMAGING, f"{site}/scan-{key}", image_body(number, variant))
    return None


def _checksum_list(simulation: Simulation, dice: Random) -> object:
    site, sample, _ = _reads_name(dice)
    lines = [
        f"{checksum_of(Algorithm.MD5, reads_body(sample, mate, 0))} S{sample}_R{mate}.fastq.gz"
        for mate in (1, 2)
    ]
    key = f"{site}/run1/md5sums.txt"
    return simulation.upload(Zone.LANDING_GENOMICS, key, "\n".join(lines).encode())


def _other_upload(simulation: Simulation, dice: Random) -> object:
    """A marker, an image's own sidecar, a file without a site, one nobody knows."""
    key, body = dice.choice(
        (
            ("site-a/run1/", b""),
            ("site-a/run1/RTAComplete.txt", b"done"),
            ("site-a/run1/notes.docx", b"words"),
            ("site-a/run1/placeholder", b""),
            ("nosite.fastq.gz", reads_body(1, 1, 0)),
        )
    )
    if dice.random() < 0.4:
        body = dice.choice((NO_DIGEST, checksum_of(Algorithm.MD5, image_body(1, 0)).encode()))
        return simulation.upload(
            Zone.LANDING_IMAGING, f"site-a/scan-{dice.randint(1, 2)}.md5", body
        )
    return simulation.upload(Zone.LANDING_GENOMICS, key, body)


def _delete(simulation: Simulation, dice: Random) -> object:
    """A sender deletes what it uploaded, whatever became of it."""
    if found := _landing(simulation):
        simulation.say("a sender deletes its upload")
        simulation.remove(dice.choice(found))
    return None


def _expire(simulation: Simulation, dice: Random) -> object:
    """Lifecycle takes a settled upload."""
    settled = [
        place for place in _landing(simulation) if is_settled(simulation.world.store.tags(place))
    ]
    if settled:
        simulation.say("lifecycle takes a settled upload")
        simulation.remove(dice.choice(settled), by_lifecycle=True)
    return None


def _delete_copy(simulation: Simulation, dice: Random) -> object:
    """Somebody deletes a stored copy, against all rules."""
    if found := _placed(simulation):
        simulation.say("somebody deletes a stored copy")
        simulation.remove(dice.choice(found))
    return None


def _damage(simulation: Simulation, dice: Random) -> object:
    """A copy loses a bit where it is stored, or where it is kept aside."""
    if found := _placed(simulation) + _kept_aside(simulation):
        place = dice.choice(found)
        simulation.say(f"{place.key} {place.version_id} loses a bit")
        simulation.world.store.damage(place)
        simulation.damaged.add(place)
    return None


def _late_word(simulation: Simulation, dice: Random) -> object:
    """A copy loses a bit, and then its sender declares a digest that nobody has computed yet."""
    simulation.stewards.append(partial(_say_late, simulation))
    return _reads(simulation, dice)


def _say_late(simulation: Simulation) -> Task | None:
    places = set(_placed(simulation)) - simulation.damaged
    found = [r for r in _records(simulation) if r.kind is Kind.FASTQ and r.placed in places]
    undeclared = [r for r in found if not _is_declared(r)]
    if not undeclared:
        return None
    place, key = undeclared[0].kept_at, undeclared[0].location.key
    said = checksum_of(Algorithm.SHA512, simulation.uploads[undeclared[0].object_id].body)

    def say() -> None:
        if place not in simulation.lost:
            simulation.say(f"{place.key} {place.version_id} loses a bit")
            simulation.world.store.damage(place)
            simulation.damaged.add(place)
        simulation.upload(Zone.LANDING_GENOMICS, f"{key}.sha512", said.encode())

    return Task("a copy loses a bit; a late checksum file", say)


def _is_declared(record: ObjectRecord) -> bool:
    return any(digest.witness is Witness.SENDER_MANIFEST for digest in record.digests)


def _take_back(simulation: Simulation, dice: Random) -> object:
    """The same twice; the first is taken back in flight, and lifecycle takes what is settled."""
    number, site = dice.randint(1, 2), dice.choice(SITES)
    for key in (1, 2):
        simulation.upload(Zone.LANDING_IMAGING, f"{site}/scan-{key}", image_body(number, 0))
    simulation.stewards += [partial(_regret, simulation), partial(_expire_duplicate, simulation)]
    return None


def _regret(simulation: Simulation) -> Task | None:
    records = simulation.world.catalog.records
    originals = [records[r.original_id] for r in _duplicates(simulation)]
    places = [r.location for r in originals if r.kept_at == r.location]
    return _removal(simulation, places, "a sender deletes its upload", by_lifecycle=False)


def _expire_duplicate(simulation: Simulation) -> Task | None:
    tags = simulation.world.store.tags
    present = set(_landing(simulation))
    arrivals = [r.location for r in _duplicates(simulation) if r.location in present]
    settled = [place for place in arrivals if is_settled(tags(place))]
    return _removal(simulation, settled, "lifecycle takes a settled upload", by_lifecycle=True)


def _removal(
    simulation: Simulation, places: list[Location], said: str, *, by_lifecycle: bool
) -> Task | None:
    present = set(_landing(simulation))
    place = next((place for place in places if place in present), None)
    if place is None:
        return None

    def remove() -> None:
        if place in _landing(simulation):
            simulation.remove(place, by_lifecycle=by_lifecycle)

    return Task(said, remove)


def _duplicates(simulation: Simulation) -> list[ObjectRecord]:
    return [r for r in _records(simulation) if r.state is State.DUPLICATE]


def _replicate(simulation: Simulation, dice: Random) -> object:
    """Replication copies what is placed, as it is."""
    store = simulation.world.store
    for place in _placed(simulation):
        if place in simulation.damaged:
            continue
        version = store._version(place)[1]
        copy = StoredVersion(
            version.body, version.checksum, 0, version.metadata, dict(version.tags)
        )
        versions = store.versions.setdefault((BUCKETS[Zone.ARCHIVE], place.key), {})
        versions.setdefault(place.version_id, replace(copy))
    return None


def _decide(simulation: Simulation, dice: Random) -> object:
    """A steward decides about a conflict as soon as there is one."""
    choice = dice.choice((Choice.KEEP, Choice.REPLACE, Choice.KEEP_BOTH))
    simulation.stewards.append(partial(_steward, simulation, dice, State.CONFLICT, choice))
    return None


def _release(simulation: Simulation, dice: Random) -> object:
    choice = Choice.RELEASE
    simulation.stewards.append(partial(_steward, simulation, dice, State.QUARANTINED, choice))
    return None


def _steward(simulation: Simulation, dice: Random, state: State, choice: Choice) -> Task | None:
    found = [r.object_id for r in _records(simulation) if r.state is state]
    if not found:
        return None
    made = dice.choice(found)

    def decide() -> None:
        # Who is told of trouble at the command line tries again, or does not.
        try:
            simulation.world.decide(made, choice, by="arn:steward", note="because")
        except Trouble:
            simulation.say("the steward gives up")

    return Task(f"decide {choice} {short(made)}", decide)


def _end_run(simulation: Simulation, dice: Random) -> object:
    for run in list(simulation.world.pipelines.started.values()):
        simulation.finish_run(run)
    return None


def _sweep(simulation: Simulation, dice: Random) -> object:
    return simulation.sweep()


def _recheck(simulation: Simulation, dice: Random) -> object:
    return simulation.recheck()


def _evaluate(simulation: Simulation, dice: Random) -> object:
    return simulation.evaluate()


def _hold(simulation: Simulation, dice: Random) -> object:
    """Two people agree on a legal hold, or on the end of one; of what arrived or may arrive yet."""
    exceptions, now = simulation.world.exceptions, simulation.world.clock.now()
    active = [each for each in exceptions.stored.values() if each.status is Status.ACTIVE]
    if active and dice.random() < 0.4:
        chosen = dice.choice(active)
        exceptions._put(chosen, chosen.changed(status=Status.ENDED, ended_at=now))
        return None
    scopes = sorted({scope for record in _records(simulation) for scope in scopes_of(record)})
    scopes.append(Scope(ScopeKind.STUDY, f"2.25.{dice.randint(1, 3)}"))
    identity = f"EX-{len(exceptions.stored)}"
    exceptions._put(
        None,
        any_exception(
            exception_id=identity, scope=dice.choice(scopes), status=Status.ACTIVE, decided_at=now
        ),
    )
    return None


def _reconcile(simulation: Simulation, dice: Random) -> object:
    return simulation.reconcile()


def _archive(simulation: Simulation, dice: Random) -> object:
    simulation.tasks += simulation.archive()
    return None


def _replay(simulation: Simulation, dice: Random) -> object:
    return simulation.replay()


def _how(dice: Random, body: bytes) -> dict[str, Any]:
    how: dict[str, Any] = {"checksum": dice.choice(CHECKSUMS), "metadata": {}}
    if dice.random() < RARELY:
        how["part_bytes"] = 16
    if dice.random() < 0.5:
        said = checksum_of(Algorithm.MD5, body)
        how["metadata"] = {"md5": said if dice.random() > RARELY else NO_DIGEST.decode()}
    return how


def _reads_name(dice: Random) -> tuple[str, int, int]:
    return dice.choice(SITES), dice.choice((1, 1, 1, 2)), dice.randint(1, 2)


def _reads_key(site: str, sample: int, mate: int) -> str:
    return f"{site}/run1/S{sample}_R{mate}.fastq.gz"


def _records(simulation: Simulation) -> list[ObjectRecord]:
    return list(simulation.world.catalog.records.values())


def _landing(simulation: Simulation) -> list[Location]:
    uploads = simulation.uploads.values()
    return [u.location for u in uploads if not (u.is_deleted or u.is_expired)]


def _placed(simulation: Simulation) -> list[Location]:
    versions = simulation.world.store.versions
    placed = [r.placed for r in _records(simulation) if r.placed and r.state is State.PLACED]
    return [p for p in placed if p.version_id in versions.get((p.bucket, p.key), {})]


def _kept_aside(simulation: Simulation) -> list[Location]:
    aside = (*HELD, State.SUPERSEDED)
    # An empty file has no bit to lose.
    records = [r for r in _records(simulation) if r.state in aside and r.size_bytes]
    copies = [counted_copy(record) for record in records]
    return [copy for copy in copies if copy and copy not in simulation.lost]
