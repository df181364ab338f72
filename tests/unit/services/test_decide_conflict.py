"""Stewards decide about what was kept aside; what they decided happens once, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from forebay.domain.conflicts import is_open
from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Choice
from forebay.domain.states import State
from forebay.names import Step, Tag, Zone
from forebay.services.decide_conflict import Decided, NotDecided
from forebay.services.ports import Change, RecordedChange
from tests.unit.fakes import (
    BUCKETS,
    Effects,
    any_dicom_body,
    any_finding,
    any_hex,
    any_reads_body,
    any_record,
    any_uid,
    checksum_of,
)
from tests.unit.world import World

ANNA = "arn:aws:iam::111122223333:user/anna"
BERT = "arn:aws:iam::111122223333:user/bert"
READS = "site-a/run1/NA12878_S1_L001_R1_001.fastq.gz"
UIDS: dict[str, Any] = {
    name: any_uid() for name in ("sop_instance_uid", "study_instance_uid", "series_instance_uid")
}
FIRST = any_dicom_body(pixels=b"one", **UIDS)
OTHER = any_dicom_body(pixels=b"two", **UIDS)
THIRD = any_dicom_body(pixels=b"three", **UIDS)


def in_conflict(**world: Any) -> tuple[World, str, str]:
    """Return a world in which one instance was placed and another of its identity kept aside."""
    made = World(**world)
    first = made.image(FIRST, "site-a/first")
    made.run()
    other = made.image(OTHER, "site-a/other")
    made.run()
    assert made.state(other) is State.CONFLICT
    return made, first, other


def decide(world: World, made: str, choice: Choice, by: str = ANNA, **how: Any) -> Any:
    return world.decide(made, choice, by=by, note="because", **how)


def reason(of: object) -> str:
    assert isinstance(of, NotDecided)
    return of.reason


def test_kept_conflict_is_closed_and_changes_nothing_else() -> None:
    world, first, other = in_conflict()
    holder = world.record(first)

    assert decide(world, other, Choice.KEEP).is_new
    world.run()

    record = world.record(other)
    assert record.state is State.CONFLICT
    assert not is_open(record)
    assert record.decision
    assert (record.decision.by, record.decision.note) == (ANNA, "because")
    assert world.record(first) == holder


def test_replacing_supersedes_the_holder_and_takes_its_key() -> None:
    world, first, other = in_conflict()

    assert isinstance(decide(world, other, Choice.REPLACE), Decided)
    world.run()

    old, new = world.record(first), world.record(other)
    assert (old.state, old.original_id) == (State.SUPERSEDED, other)
    assert new.state is State.PLACED
    assert old.placed
    assert new.placed
    assert (old.placed.bucket, old.placed.key) == (new.placed.bucket, new.placed.key)
    assert world.store.body(replace(new.placed, version_id="")) == OTHER
    assert world.store.body(old.placed) == FIRST
    assert world.store.tags(old.placed)[Tag.VERDICT] == "superseded"
    assert world.store.tags(new.placed)[Tag.VERDICT] == "verified"
    assert world.catalog.claims["sop", UIDS["sop_instance_uid"], "-"] == other
    assert not world.dead_letters


def test_holder_is_superseded_in_the_write_that_verifies_its_successor() -> None:
    world, first, other = in_conflict()
    decide(world, other, Choice.REPLACE)
    told = len(world.catalog.stream)

    world.inspect_dicom(other)

    changes = [c for c in world.catalog.stream[told:] if isinstance(c, RecordedChange)]
    states = {change.after.object_id: change.after.state for change in changes}
    assert states == {other: State.VERIFIED, first: State.SUPERSEDED}
    assert world.effects.calls[-1] == "apply"


def test_keeping_both_lays_the_other_beside_the_first() -> None:
    world, first, other = in_conflict()
    holder = world.record(first)

    decide(world, other, Choice.KEEP_BOTH)
    world.run()

    record = world.record(other)
    assert record.state is State.PLACED
    assert record.placed
    assert holder.placed
    sha = checksum_of(Algorithm.SHA256, OTHER)[:32]
    folder, _, name = holder.placed.key.rpartition("/")
    assert record.placed.key == f"{folder}/variant!{sha}/{name}"
    assert world.store.body(record.placed) == OTHER
    assert world.record(first) == holder
    assert world.catalog.claims["sop", UIDS["sop_instance_uid"], "-"] == first


def test_same_bytes_as_a_variant_are_its_duplicate_and_no_new_conflict() -> None:
    world, _, other = in_conflict()
    decide(world, other, Choice.KEEP_BOTH)
    world.run()

    again = world.image(OTHER, "site-a/again")
    third = world.image(THIRD, "site-a/third")
    world.run()

    assert (world.state(again), world.record(again).original_id) == (State.DUPLICATE, other)
    assert is_open(world.record(third))


def test_bytes_that_were_replaced_are_a_duplicate_of_the_replaced() -> None:
    world, first, other = in_conflict()
    decide(world, other, Choice.REPLACE)
    world.run()

    again = world.image(FIRST, "site-a/again")
    world.run()

    assert (world.state(again), world.record(again).original_id) == (State.DUPLICATE, first)


@pytest.mark.parametrize("choice", [Choice.REPLACE, Choice.KEEP_BOTH])
def test_landing_copy_that_expired_is_not_needed(choice: Choice) -> None:
    world, _, other = in_conflict()
    world.store.expire(world.record(other).location)

    decide(world, other, choice)
    world.run()

    record = world.record(other)
    assert record.state is State.PLACED
    assert record.placed
    assert world.store.body(record.placed) == OTHER
    assert not world.dead_letters


@pytest.mark.parametrize("choice", [Choice.REPLACE, Choice.KEEP_BOTH])
def test_reads_are_decided_about_like_instances(choice: Choice) -> None:
    world = World(needs_sender_digest=False)
    first = world.genomics(READS, any_reads_body(bases=b"one"))
    world.run()
    other = world.genomics(READS, any_reads_body(bases=b"two"))
    world.run()
    assert world.state(other) is State.CONFLICT
    world.store.expire(world.record(other).location)

    decide(world, other, choice)
    world.run()

    kept = State.SUPERSEDED if choice is Choice.REPLACE else State.PLACED
    assert (world.state(first), world.state(other)) == (kept, State.PLACED)
    places = {world.record(made).placed for made in (first, other)}
    assert len(places) == 2


def test_of_two_stewards_at_once_one_decides_and_the_other_is_told_who() -> None:
    world, _, other = in_conflict()
    answers: list[object] = []
    world.catalog.before_next_write.append(
        lambda: answers.append(decide(world, other, Choice.KEEP, BERT))
    )

    late = decide(world, other, Choice.REPLACE, ANNA)

    assert isinstance(answers[0], Decided)
    assert f"{BERT} decided" in reason(late)
    assert world.state(other) is State.CONFLICT


@pytest.mark.parametrize("choice", [Choice.KEEP, Choice.REPLACE, Choice.KEEP_BOTH])
def test_deciding_twice_the_same_is_harmless(choice: Choice) -> None:
    world, _, other = in_conflict()
    decide(world, other, choice)
    world.run()
    record = world.record(other)

    again = decide(world, other, choice, BERT)

    assert isinstance(again, Decided)
    assert not again.is_new
    assert world.record(other) == record


def test_decision_to_keep_can_be_overruled_on_purpose_only() -> None:
    world, _, other = in_conflict()
    decide(world, other, Choice.KEEP)

    assert "--overrule" in reason(decide(world, other, Choice.REPLACE, BERT))
    assert decide(world, other, Choice.REPLACE, BERT, overrule=True).is_new
    world.run()

    assert world.state(other) is State.PLACED
    assert "is carried out" in reason(decide(world, other, Choice.KEEP, overrule=True))


def test_holder_convicted_before_the_inspection_leaves_its_names_and_is_not_superseded() -> None:
    world, first, other = in_conflict()
    decide(world, other, Choice.REPLACE)
    convict(world, first)

    world.run()

    assert world.state(first) is State.QUARANTINED
    assert world.state(other) is State.PLACED


def test_holder_convicted_while_it_is_being_replaced_is_not_superseded() -> None:
    world, first, other = in_conflict()
    decide(world, other, Choice.REPLACE)
    world.relay()
    inspection = world.queue.popleft()

    def convict_at_the_last_moment() -> None:
        # The claim is looked at first, so that it is the transaction that finds the holder moved.
        world.catalog.before_next_write.append(lambda: convict(world, first))

    world.catalog.before_next_write.append(convict_at_the_last_moment)
    world.work_off(inspection)
    world.run()

    assert world.state(first) is State.QUARANTINED
    assert world.state(other) is State.PLACED
    assert world.catalog.claims["sop", UIDS["sop_instance_uid"], "-"] == other
    assert not world.dead_letters


def test_another_object_that_took_the_name_meanwhile_is_not_replaced() -> None:
    world, first, other = in_conflict()
    third = world.image(THIRD, "site-a/third")
    world.run()
    decide(world, third, Choice.REPLACE)
    world.run()
    assert world.state(first) is State.SUPERSEDED

    decide(world, other, Choice.REPLACE)
    world.run()

    record = world.record(other)
    assert world.state(third) is State.PLACED
    assert (record.state, record.original_id) == (State.CONFLICT, third)
    assert is_open(record)


def test_two_replacements_at_once_leave_one_holder_and_one_open_conflict() -> None:
    world, first, other = in_conflict()
    third = world.image(THIRD, "site-a/third")
    world.run()
    decide(world, other, Choice.REPLACE)
    decide(world, third, Choice.REPLACE)
    world.relay()
    one, two = world.queue.popleft(), world.queue.popleft()
    world.catalog.before_next_write.append(lambda: world.work_off(one))

    world.work_off(two)
    world.run()

    assert world.state(first) is State.SUPERSEDED
    assert sorted([world.state(other), world.state(third)]) == [State.CONFLICT, State.PLACED]


def test_holder_that_is_being_placed_cannot_be_replaced_yet() -> None:
    world = World()
    first = world.received(lambda: world.image(FIRST, "site-a/first"))
    world.inspect_dicom(first)
    other = world.received(lambda: world.image(OTHER, "site-a/other"))
    world.inspect_dicom(other)

    assert "being placed" in reason(decide(world, other, Choice.REPLACE))
    assert decide(world, other, Choice.KEEP_BOTH).is_new


def test_what_is_not_in_conflict_is_not_decided() -> None:
    world, first, _ = in_conflict()

    assert "is PLACED, not in conflict" in reason(decide(world, first, Choice.KEEP))
    assert "is PLACED, not in quarantine" in reason(decide(world, first, Choice.RELEASE))
    assert "No object" in reason(decide(world, any_record().object_id, Choice.KEEP))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("choice", [Choice.REPLACE, Choice.KEEP_BOTH])
def test_decision_is_carried_out_once_whatever_crashes(choice: Choice, after: bool) -> None:
    calm, _, other = in_conflict()
    decide(calm, other, choice)
    decided = len(calm.effects.calls)
    calm.run()

    for crash in range(decided + 1, len(calm.effects.calls) + 1):
        world, first, other = in_conflict(effects=Effects(fail_at=crash, after=after))
        decide(world, other, choice)
        world.run()
        kept = State.SUPERSEDED if choice is Choice.REPLACE else State.PLACED
        assert (world.state(first), world.state(other)) == (kept, State.PLACED), crash
        assert not world.dead_letters
        verified = [
            version.tags[Tag.VERDICT]
            for (bucket, _), versions in world.store.versions.items()
            if bucket == BUCKETS[Zone.CLINICAL]
            for version in versions.values()
        ]
        wanted = ["superseded", "verified"] if choice is Choice.REPLACE else ["verified"] * 2
        assert sorted(verified) == wanted, crash


def test_release_inspects_again_under_the_stewards_name_from_the_held_copy() -> None:
    world = World()
    body = any_dicom_body()
    made = world.image(b"no dicom yet", "site-a/odd")
    world.run()
    record = world.record(made)
    assert record.state is State.QUARANTINED
    assert record.held
    # What a fixed parser would see: the stand-in parser cannot be fixed, so the bytes are.
    for place in (record.location, record.held):
        world.store.versions[place.bucket, place.key][place.version_id].body = body
    world.store.expire(record.location)
    fixed: dict[str, Any] = {"size_bytes": len(body), "digests": (), "etag": ""}
    world.catalog.records[made] = replace(record, **fixed)

    assert decide(world, made, Choice.RELEASE).is_new
    world.run()

    record = world.record(made)
    assert record.state is State.PLACED
    assert record.decision
    assert (record.decision.choice, record.decision.by) == (Choice.RELEASE, ANNA)
    assert record.held is None
    assert not world.dead_letters


def test_release_overrules_no_finding() -> None:
    world = World()
    made = world.image(b"no dicom", "site-a/broken")
    world.run()
    world.store.expire(world.record(made).location)
    finding = world.record(made).finding

    decide(world, made, Choice.RELEASE)
    world.run()

    record = world.record(made)
    assert (record.state, record.finding) == (State.QUARANTINED, finding)
    assert record.decision
    assert record.held
    assert world.store.tags(record.held)[Tag.REASON] == "NOT_DICOM"
    assert decide(world, made, Choice.RELEASE, BERT).is_new
    assert not world.dead_letters


def test_finding_about_what_never_changes_is_not_released() -> None:
    world = World()
    made = world.image(b"", "site-a/empty.dcm")
    world.run()

    assert "uploaded again" in reason(decide(world, made, Choice.RELEASE))


def test_corrected_checksum_file_brings_back_what_expired_in_landing() -> None:
    world = World()
    body = any_reads_body()
    world.genomics(f"{READS}.md5", any_hex(32).encode())
    made = world.genomics(READS, body)
    world.run()
    assert world.state(made) is State.QUARANTINED
    world.store.expire(world.record(made).location)

    world.genomics(f"{READS}.md5", checksum_of(Algorithm.MD5, body).encode())
    world.run()

    record = world.record(made)
    assert record.state is State.PLACED
    assert record.placed
    assert world.store.body(record.placed) == body
    assert not world.dead_letters
    assert world.deliveries[Step.PLACE_OBJECT] == 4


def convict(world: World, made: str) -> None:
    """Let late evidence convict a placed object."""
    record = world.record(made)
    finding: Finding = any_finding(code=ReasonCode.DIGEST_MISMATCH, owner=Owner.SENDER)
    moved = record.moved_to(State.QUARANTINED, world.clock.now(), finding=finding)
    world.catalog._apply(Change(record, moved))
