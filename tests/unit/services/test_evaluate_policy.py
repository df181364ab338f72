"""Gates, holds and storage classes follow what policy wants, whatever dies on the way."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.classes import Measure, Tier
from forebay.domain.policy.decision import Action, Violation
from forebay.domain.policy.exceptions import (
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
)
from forebay.domain.policy.plan import Approval, Rates
from forebay.domain.policy.standing import access_scope
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.errors import MessageError, PolicyError, Trouble
from forebay.events import StorageChanged, StorageKind
from forebay.names import Step, Tag, Zone
from forebay.services.evaluate_policy import (
    INDEX_LAG,
    WARMED_FROM,
    WORKER_LIFE,
    Order,
    Outcome,
    answers,
)
from forebay.services.plan_policy import PlanPolicy
from tests.unit.domain.policy.test_pricing import PRICES
from tests.unit.fakes import (
    BUCKETS,
    FakeClock,
    StoredVersion,
    any_class,
    any_dicom_body,
    any_exception,
    any_policy,
    any_reads_body,
    any_run,
    any_uid,
)
from tests.unit.services.test_plan_policy import FakePlaced
from tests.unit.world import Message, World

DAY = 24 * 3600
BY = Order("arn:aws:iam::111122223333:user/anna", "a plan", "plan-1")


def image(world: World, **fields: Any) -> str:
    made = world.image(any_dicom_body(**fields), f"site-a/{any_uid()}.dcm")
    world.run()
    return made


def reads(world: World) -> str:
    world.needs_sender_digest = False
    world.classifier.needs_sender_digest = False
    made = world.genomics("site-a/run1/S1_R1.fastq.gz", any_reads_body())
    world.run()
    return made


def place(world: World, made: str) -> Location:
    placed = world.record(made).placed
    assert placed is not None
    return placed


def version(world: World, made: str) -> StoredVersion:
    return world.store._version(place(world, made))[1]


def gates(world: World, made: str) -> tuple[str, str]:
    tags = version(world, made).tags
    return tags[Tag.TIERING], tags[Tag.REMOVAL]


def hold(world: World, scope: Scope, **fields: object) -> PolicyException:
    """Let a legal hold (or another exception) become active."""
    at = world.clock.now()
    asked = any_exception(scope=scope, status=Status.ACTIVE, **{"decided_at": at, **fields})
    world.exceptions.put(None, asked)
    return asked


def end(world: World, exception: PolicyException) -> PolicyException:
    ended = exception.changed(status=Status.ENDED, ended_at=world.clock.now())
    world.exceptions.put(exception, ended)
    return ended


def study(record: ObjectRecord) -> Scope:
    return Scope(ScopeKind.STUDY, str(record.metadata["StudyInstanceUID"]))


def freeze(world: World, made: str, storage_class: StorageClass = StorageClass.GLACIER) -> None:
    """Let S3 move a version and tell of it."""
    version(world, made).storage_class = storage_class
    at = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    copy = place(world, made)
    world.tell(
        StorageChanged(
            StorageKind.STORAGE_CLASS_CHANGED,
            copy.bucket,
            copy.key,
            copy.version_id,
            at,
            tier=storage_class.value,
        )
    )
    world.run()


def thaw(world: World, made: str) -> None:
    """Let S3 finish a restore and tell of it."""
    version(world, made).is_restored, version(world, made).is_restoring = True, False
    copy = place(world, made)
    at = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.tell(StorageChanged(StorageKind.RESTORED, copy.bucket, copy.key, copy.version_id, at))
    world.run()


def idle(world: World, made: str) -> None:
    """Let 31 days go by, so that what nobody read is sent to GLACIER and gets there."""
    world.clock.advance(31 * DAY)
    world.evaluate_policy()
    assert gates(world, made)[0] == "to-GLACIER"
    freeze(world, made)
    world.clock.advance(4 * DAY)
    world.evaluate_policy()


def test_copy_is_born_with_the_gates_of_its_decision_and_one_more_read() -> None:
    world = World()

    made = reads(world)

    assert gates(world, made) == ("genomics-raw", "genomics-raw-1000d")
    record = world.record(made)
    assert record.policy
    assert record.policy.policy == "one"
    assert record.policy.object_class == "genomics-raw"
    assert "set_tags" not in world.effects.calls
    assert world.evaluate_policy().results == []


def test_idle_object_is_sent_on_its_day_and_its_reading_keeps_it() -> None:
    world = World()
    left, opened = image(world), image(world)
    world.clock.advance(20 * DAY)
    world.book.accesses[access_scope(world.record(opened))] = world.clock.now()
    world.clock.advance(11 * DAY)

    done = world.evaluate_policy()

    assert done.count(Outcome.CHANGED) == 2
    assert gates(world, left)[0] == "to-GLACIER"
    assert gates(world, opened)[0] == "none"
    assert world.evaluate_policy().results == []


def test_evaluating_again_changes_nothing() -> None:
    world = World()
    made = image(world)
    world.clock.advance(31 * DAY)
    world.evaluate_policy()
    before = world.record(made)

    again = world.evaluate_policy.one(made)

    assert again.outcome is Outcome.UNCHANGED
    assert world.record(made) == before


def test_object_that_is_not_stored_any_more_is_passed_over() -> None:
    world = World()
    made = image(world)
    world.removed(place(world, made))
    world.run()
    assert world.state(made) is State.DELETED
    assert world.evaluate_policy.one(made).outcome is Outcome.GONE
    assert world.evaluate_policy.one("no such object").outcome is Outcome.GONE


def test_object_from_before_policy_is_due_at_once() -> None:
    world = World()
    made = image(world)
    record = world.record(made)
    world.catalog.records[made] = replace(record, policy=None)
    version(world, made).tags.pop(Tag.TIERING)

    done = world.evaluate_policy()

    assert done.count(Outcome.CHANGED) == 1
    assert gates(world, made) == ("none", "none")
    decided = world.record(made).policy
    assert decided is not None
    assert Violation.MISSING_TAG not in decided.violations


@pytest.mark.parametrize("kind", [ExceptionKind.LEGAL_HOLD, ExceptionKind.PIN])
def test_exception_closes_the_gates_and_its_end_opens_them(kind: ExceptionKind) -> None:
    world = World()
    made = reads(world)
    until = None if kind is ExceptionKind.LEGAL_HOLD else world.clock.now() + timedelta(days=9)
    asked = hold(world, Scope(ScopeKind.OBJECT, made), kind=kind, until=until)

    reach = world.evaluate_policy.exception(asked.exception_id)

    assert reach.as_dict() == {
        "exception_id": asked.exception_id,
        "reached": 1,
        "is_complete": True,
    }
    assert gates(world, made) == ("none", "none")
    is_hold = kind is ExceptionKind.LEGAL_HOLD
    assert version(world, made).has_legal_hold is is_hold
    assert (version(world, made).tags.get(Tag.HOLD) == "legal") is is_hold
    assert world.exceptions.pending(9) == [asked], "indexes may list more in a moment"
    world.clock.advance(INDEX_LAG.total_seconds())
    assert world.evaluate_policy().exceptions_reached == 1
    assert world.exceptions.pending(9) == []

    ended = end(world, asked)
    world.evaluate_policy()
    assert world.exceptions.pending(9) == [ended]
    world.clock.advance(INDEX_LAG.total_seconds())
    done = world.evaluate_policy()

    assert done.exceptions_reached == 1
    assert gates(world, made) == ("genomics-raw", "genomics-raw-1000d")
    assert not version(world, made).has_legal_hold
    assert version(world, made).tags.get(Tag.HOLD, "none") == "none"
    settled = world.record(made).policy
    assert settled is not None
    assert not settled.unsettled


def test_pin_ends_by_itself_on_its_day() -> None:
    world = World()
    made = reads(world)
    until = world.clock.now() + timedelta(days=9)
    asked = hold(world, Scope(ScopeKind.OBJECT, made), kind=ExceptionKind.PIN, until=until)
    world.evaluate_policy.exception(asked.exception_id)
    world.clock.advance(9 * DAY + 1)

    world.evaluate_policy()

    assert gates(world, made) == ("genomics-raw", "genomics-raw-1000d")


def test_exception_reaches_derivatives_and_no_siblings() -> None:
    world = World()
    parent, child, sibling = (image(world) for _ in range(3))
    world.catalog.records[child] = replace(world.record(child), parents=(parent,))
    asked = hold(world, study(world.record(parent)))

    reach = world.evaluate_policy.exception(asked.exception_id)

    assert reach.reached == 2
    assert version(world, child).has_legal_hold
    assert not version(world, sibling).has_legal_hold


def test_object_placed_under_a_hold_is_born_closed_and_held_by_the_next_evaluation() -> None:
    world = World()
    uid = any_uid()
    hold(world, Scope(ScopeKind.STUDY, uid))

    made = image(world, study_instance_uid=uid)

    assert gates(world, made) == ("none", "none")
    assert not version(world, made).has_legal_hold
    world.evaluate_policy.due()
    assert version(world, made).has_legal_hold
    assert version(world, made).tags[Tag.HOLD] == "legal"


def test_exception_is_not_complete_while_one_of_its_objects_is_being_placed() -> None:
    world = World()
    uid = any_uid()
    made = world.image(any_dicom_body(study_instance_uid=uid))
    late: list[PolicyException] = []

    def approve() -> None:
        late.append(hold(world, Scope(ScopeKind.STUDY, uid)))
        assert not world.evaluate_policy.exception(late[0].exception_id).is_complete

    world.store.before_next_copy.append(approve)
    world.run()
    assert gates(world, made) == ("none", "none")  # of its class, not of the hold
    assert not version(world, made).has_legal_hold

    assert world.evaluate_policy().exceptions_reached == 1
    assert version(world, made).has_legal_hold


def test_unknown_exception_is_told_in_a_sentence() -> None:
    with pytest.raises(MessageError, match="forebay exceptions list"):
        World().evaluate_policy.exception("EX-none")


def test_exception_goes_on_where_time_ran_out() -> None:
    world = World()
    uid = any_uid()
    for _ in range(5):
        image(world, study_instance_uid=uid)
    asked = hold(world, Scope(ScopeKind.STUDY, uid))
    evaluate = replace(world.evaluate_policy, clock=_Running(world.clock), seconds=12)

    first = evaluate.exception(asked.exception_id)
    assert not first.is_complete
    held = [m for m in world.catalog.records if version(world, m).has_legal_hold]
    assert 0 < len(held) < 5
    while not evaluate.exception(asked.exception_id).is_complete:
        pass
    assert all(version(world, m).has_legal_hold for m in world.catalog.records)


class _Running(FakeClock):
    """A second goes by whenever somebody looks."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock.now())
        self.clock = clock

    def now(self) -> datetime:
        self.advance(1)
        return super().now()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("story", ["hold", "end", "idle", "class", "warm"])
def test_evaluation_that_dies_anywhere_ends_as_one_that_did_not(story: str, after: bool) -> None:
    calm = _told(story, World())
    assert calm == _told(story, World())
    for number in range(1, 40):
        world = World()
        if not _dies(story, world, number, after=after):
            assert number > 3
            return
        for _ in range(4):
            world.clock.advance(WORKER_LIFE.total_seconds())
            world.evaluate_policy()
        assert _shown(world) == calm, (number, world.effects.calls)
    pytest.fail("it never ran to its end")


def _prepared(story: str, world: World) -> None:
    made = reads(world) if story in ("hold", "end") else image(world)
    if story in ("hold", "end"):
        asked = hold(world, Scope(ScopeKind.OBJECT, made))
        if story == "end":
            world.evaluate_policy()
            end(world, asked)
    elif story == "idle":
        world.clock.advance(31 * DAY)
    elif story == "class":
        world.clock.advance(31 * DAY)
        world.evaluate_policy()
        other = any_class("other", tiers=(Tier(40, Measure.AGE, StorageClass.STANDARD_IA, 0),))
        world.classifier.policy = any_policy(other=other)
        world.classifier.names = {"dicom": "other"}
        record = world.record(made)
        # As when a class was removed: everything in it is chosen anew.
        gone = dict(world.classifier.policy.classes)
        del gone["clinical-hot"]
        world.classifier.policy = replace(world.classifier.policy, classes=gone)
        assert record.policy is not None
        world.clock.advance(4 * DAY)
    else:
        idle(world, made)
        world.book.accesses[access_scope(world.record(made))] = world.clock.now()
        record = world.record(made)
        assert record.policy is not None
        world.catalog.records[made] = replace(
            record, policy=replace(record.policy, evaluate_at=world.clock.now())
        )
        version(world, made).is_restored = True


def _dies(story: str, world: World, number: int, *, after: bool) -> bool:
    _prepared(story, world)
    world.effects.calls.clear()
    world.effects.fail_at, world.effects.after = number, after
    try:
        done = world.evaluate_policy()
    except Trouble:
        died = True
    else:
        died = bool(done.failures)
    world.effects.fail_at = 0
    return died


def _told(story: str, world: World) -> object:
    _prepared(story, world)
    for _ in range(5):
        world.evaluate_policy()
        world.clock.advance(WORKER_LIFE.total_seconds())
    return _shown(world)


def _shown(world: World) -> object:
    """Return what is left to see: each version's gates and hold, each decision's sense."""
    versions = {
        (key, number): (
            {str(k): v for k, v in each.tags.items() if k in (Tag.TIERING, Tag.REMOVAL, Tag.CLASS)},
            each.has_legal_hold,
            each.storage_class,
        )
        for (bucket, key), found in world.store.versions.items()
        if bucket in (BUCKETS[Zone.CLINICAL], BUCKETS[Zone.GENOMICS])
        for number, each in enumerate(found.values())
        if key.startswith(("reads/", "dicom/"))
    }
    decisions = [
        (r.policy.action, r.policy.target, r.policy.tiering, r.policy.unsettled)
        for r in world.catalog.records.values()
        if r.policy
    ]
    return sorted(v for _, v in _numbered(versions)), decisions


def _numbered(versions: Mapping[tuple[str, int], object]) -> list[tuple[int, str]]:
    return [(number, f"{number} {said}") for (_, number), said in versions.items()]


def test_hold_that_overtakes_an_opening_worker_looks_again_when_that_one_is_dead() -> None:
    world = World()
    made = image(world)
    world.clock.advance(31 * DAY)
    late: list[PolicyException] = []

    def overtake() -> None:
        late.append(hold(world, Scope(ScopeKind.OBJECT, made)))
        assert not world.evaluate_policy.exception(late[0].exception_id).is_complete
        # The slow one opens the gate it decided to open, and dies before it can notice.
        world.effects.fail_at, world.effects.after = len(world.effects.calls) + 1, True

    world.vault.before_next_tags.append(overtake)
    done = world.evaluate_policy.due()
    world.effects.fail_at = 0
    assert len(done.failures) == 1
    assert gates(world, made)[0] == "to-GLACIER"

    world.clock.advance(WORKER_LIFE.total_seconds() + 1)
    assert world.evaluate_policy().exceptions_reached == 1
    assert gates(world, made) == ("none", "none")
    assert version(world, made).has_legal_hold


@pytest.mark.parametrize("seed", range(60))
def test_what_a_reached_hold_is_on_has_no_open_gate_whatever_dies_or_overtakes(seed: int) -> None:
    dice, world = Random(seed), World()  # noqa: S311 - a story, no secret
    uid = any_uid()
    tiers = (Tier(9000, Measure.AGE, StorageClass.GLACIER, min_bytes=0),)
    gated = any_class("clinical-hot", tiers=tiers, latency_seconds=24 * 3600)
    world.classifier.policy = any_policy(**{"clinical-hot": gated})
    made = [image(world, study_instance_uid=uid) for _ in range(3)]
    holds: list[PolicyException] = []
    for _ in range(25):
        match dice.choice(("hold", "end", "wait", "run", "die", "overtake")):
            case "hold" if len(holds) < 2:
                scope = dice.choice([Scope(ScopeKind.STUDY, uid), Scope(ScopeKind.OBJECT, made[0])])
                holds.append(hold(world, scope))
            case "end" if holds:
                end(world, holds.pop(dice.randrange(len(holds))))
            case "wait":
                world.clock.advance(dice.choice((60, 1000, 31 * DAY)))
            case "run":
                world.evaluate_policy()
            case "die":
                _die(world, dice)
            case "overtake":
                world.vault.before_next_tags.append(world.evaluate_policy)
                _die(world, dice)
        _nothing_held_is_open(world, made, holds)
    for _ in range(4):
        world.clock.advance(WORKER_LIFE.total_seconds() + 1)
        world.evaluate_policy()
    assert world.exceptions.pending(9) == []
    _nothing_held_is_open(world, made, holds)
    for each in made:
        reached = any(h.scope.kind is ScopeKind.STUDY or each == made[0] for h in holds)
        assert version(world, each).has_legal_hold is reached


def _die(world: World, dice: Random) -> None:
    world.effects.fail_at = len(world.effects.calls) + dice.randint(1, 20)
    world.effects.after = dice.random() < 0.5
    with suppress(Trouble):
        world.evaluate_policy()
    world.effects.fail_at = 0


def _nothing_held_is_open(world: World, made: list[str], holds: list[PolicyException]) -> None:
    for each in holds:
        if each.exception_id in world.exceptions.unreached:
            continue
        for object_id in made:
            if each.scope.kind is ScopeKind.STUDY or object_id == made[0]:
                assert gates(world, object_id) == ("none", "none")
                assert version(world, object_id).has_legal_hold


def test_reopened_study_is_restored_and_copied_back_and_its_old_version_may_go() -> None:
    world = World()
    made = image(world)
    idle(world, made)
    old = place(world, made)
    world.book.accesses[access_scope(world.record(made))] = world.clock.now()

    asked = world.evaluate_policy.one(made)

    assert asked.outcome is Outcome.RESTORING
    assert version(world, made).is_restoring
    assert world.evaluate_policy.due().results == []
    thaw(world, made)
    assert world.evaluate_policy.due().count(Outcome.WARMED) == 1
    record = world.record(made)
    assert place(world, made) != old
    assert record.metadata[STORAGE_FACTS].keys() == {WARMED_FROM}
    assert version(world, made).tags[Tag.VERDICT] == "verified"
    assert gates(world, made) == ("none", "none")
    retired = world.store.tags(old)
    assert (retired[Tag.REMOVAL], retired[Tag.TIERING]) == ("now", "none")
    assert retired[Tag.VERDICT] == "superseded"
    assert record.policy is not None
    assert record.policy.action is not Action.WARM

    before = world.record(made)
    world.removed(old, by_lifecycle=True)
    world.run()
    assert world.record(made) == before


def test_copy_back_with_other_bytes_does_not_count() -> None:
    world = World()
    made = image(world)
    idle(world, made)
    world.book.accesses[access_scope(world.record(made))] = world.clock.now()
    version(world, made).is_restored = True
    old = place(world, made)
    world.store.corrupts_copies = 1

    with pytest.raises(Trouble, match="another checksum"):
        world.evaluate_policy.one(made)

    assert place(world, made) == old
    assert world.evaluate_policy.one(made).outcome is Outcome.WARMED


def test_storage_class_nobody_told_of_is_taken_from_storage() -> None:
    world = World()
    made = reads(world)
    version(world, made).storage_class = StorageClass.GLACIER
    record = world.record(made)
    world.catalog.records[made] = replace(record, policy=None)

    world.evaluate_policy()

    decided = world.record(made).policy
    assert decided is not None
    assert decided.target is StorageClass.GLACIER
    assert decided.action is not Action.MOVE


def test_violations_that_only_storage_shows_are_found_and_the_tag_is_mended() -> None:
    world = World()
    made = reads(world)
    version(world, made).tags.pop(Tag.REMOVAL)
    version(world, made).is_encrypted = False

    result = world.evaluate_policy.one(made)

    assert result.after is not None
    assert set(result.after.violations) == {Violation.MISSING_TAG, Violation.UNENCRYPTED}
    assert gates(world, made) == ("genomics-raw", "genomics-raw-1000d")
    again = world.evaluate_policy.one(made)
    assert again.after is not None
    assert again.after.violations == (Violation.UNENCRYPTED,)


def test_intermediate_may_be_removed_some_days_after_its_run_succeeded() -> None:
    world = World()
    made = image(world)
    run = any_run(state=RunState.SUBMITTED, state_since=world.clock.now())
    world.catalog.runs[run.run_id] = run
    record = world.record(made)
    retention = any_policy().classes["derived"].retention
    world.classifier.policy = any_policy(made=any_class("made", retention=retention))
    world.catalog.records[made] = replace(
        record, pipeline_run_id=run.run_id, object_class="made", policy=None
    )
    world.evaluate_policy()
    assert gates(world, made)[1] == "none"
    world.catalog.runs[run.run_id] = run.moved_to(RunState.SUCCEEDED, world.clock.now())
    world.clock.advance(2 * DAY)
    world.evaluate_policy()
    assert gates(world, made)[1] == "none"
    world.clock.advance(14 * DAY)
    world.evaluate_policy()
    assert gates(world, made)[1] == "now"


def test_order_classifies_anew_and_keeps_who_asked_and_why() -> None:
    world = World()
    made, other = image(world), image(world)
    world.classifier.policy = any_policy(cool=any_class("cool"))
    world.classifier.names = {"dicom": "cool"}

    told = list(answers(world.evaluate_policy.objects([made, "nobody"], BY)))

    assert [(t["object_id"], t["changed"], t["class"]) for t in told] == [
        (made, True, "cool"),
        ("nobody", False, ""),
    ]
    record = world.record(made)
    assert (record.object_class, record.retention_class) == ("cool", "cool-5y")
    assert version(world, made).tags[Tag.CLASS] == "cool"
    assert record.policy is not None
    assert record.policy.because == BY.as_dict()
    assert world.record(other).object_class == "clinical-hot"
    again = list(answers(world.evaluate_policy.objects([made], Order("somebody else"))))
    assert not again[0]["changed"]


def test_order_that_would_take_an_object_to_another_zone_leaves_its_class() -> None:
    world = World()
    made = image(world)
    world.classifier.policy = any_policy(elsewhere=any_class("elsewhere", zone=Zone.GENOMICS))
    world.classifier.zones = {"elsewhere": Zone.GENOMICS}
    world.classifier.names = {"dicom": "elsewhere"}

    world.evaluate_policy.objects([made], BY)

    assert world.record(made).object_class == "clinical-hot"


def test_class_that_is_gone_is_told_in_a_sentence_and_stops_no_other() -> None:
    world = World()
    made, fine = image(world), image(world)
    world.catalog.records[made] = replace(world.record(made), object_class="gone", policy=None)
    world.catalog.records[fine] = replace(world.record(fine), policy=None)
    world.classifier.names = {"dicom": "gone"}

    done = world.evaluate_policy()

    assert [name for name, _ in done.failures] == [made]
    assert isinstance(done.failures[0][1], PolicyError)
    assert "classes.yaml" in str(done.failures[0][1])
    assert done.count(Outcome.CHANGED) == 1


def test_placing_in_a_class_nobody_knows_is_a_policy_error() -> None:
    world = World()
    world.classifier.names = {"dicom": "unknown"}
    world.image(any_dicom_body())
    while world.queue[0].step is not Step.PLACE_OBJECT:
        world.work_off(world.queue.popleft())
        world.relay()
    message: Message = world.queue[0]
    with pytest.raises(PolicyError, match="unknown"):
        world.call(message)


def test_calls_for_a_due_object_do_not_grow_with_what_is_stored() -> None:
    assert (
        _calls_per_due_object(3)
        == _calls_per_due_object(300)
        == {
            "get": 1,
            "storage_class": 1,
            "apply": 2,
            "set_tags": 1,
        }
    )


def _calls_per_due_object(stored: int) -> dict[str, float]:
    world = World()
    for _ in range(stored):
        image(world)
    world.clock.advance(31 * DAY)
    world.effects.calls.clear()
    assert len(world.evaluate_policy().results) == stored
    calls = world.effects.calls
    return {name: calls.count(name) / stored for name in sorted(set(calls), key=calls.index)}


def expires_after(world: World, days: int) -> None:
    """Let reads expire so many days after they were placed."""
    raw = world.classifier.policy.classes["genomics-raw"]
    shorter = replace(raw, retention=replace(raw.retention, ceiling_days=days))
    classes = {**world.classifier.policy.classes, "genomics-raw": shorter}
    world.classifier.policy = replace(world.classifier.policy, classes=classes, digest="two")


def test_earlier_removal_is_no_deployment_s_nor_a_schedule_s_but_an_approved_order_s() -> None:
    world = World()
    made = reads(world)
    world.clock.advance(20 * DAY)
    expires_after(world, 5)

    world.evaluate_policy.one(made)
    assert gates(world, made)[1] == "none"
    world.evaluate_policy.objects([made], Order("anna", "no one approved"))
    assert gates(world, made)[1] == "none"
    decided = world.record(made).policy
    assert decided is not None
    assert any("waits for approval" in line.says for line in decided.trace)

    world.evaluate_policy.objects([made], Order("anna", "less", "plan-1", "bert"))
    assert gates(world, made)[1] == "genomics-raw-5d"
    approved = world.record(made).policy
    assert approved is not None
    assert approved.because["approved_by"] == "bert"
    world.evaluate_policy.one(made)
    assert gates(world, made)[1] == "genomics-raw-5d"


def test_object_tagged_under_terms_that_are_gone_is_still_removed_on_time() -> None:
    world = World()
    made = reads(world)
    expires_after(world, 5)

    world.clock.advance(1004 * DAY)
    world.evaluate_policy()

    assert gates(world, made)[1] == "now"


def test_study_that_another_policy_moved_is_warmed_when_it_is_opened() -> None:
    world = World()
    made = image(world)
    idle(world, made)
    hot = world.classifier.policy.classes["clinical-hot"]
    pinned = replace(hot, latency_seconds=12 * 3600)
    for tiers in ((), (Tier(40, Measure.IDLE, StorageClass.STANDARD_IA, 0),)):
        changed = {"clinical-hot": replace(pinned, tiers=tiers)}
        world.classifier.policy = replace(world.classifier.policy, classes=changed)
        world.evaluate_policy.one(made)
        decided = world.record(made).policy
        assert decided is not None
        assert decided.target is StorageClass.GLACIER

    world.clock.advance(DAY)
    world.book.accesses[access_scope(world.record(made))] = world.clock.now()
    world.evaluate_policy.one(made)

    decided = world.record(made).policy
    assert decided is not None
    assert (decided.action, decided.to) == (Action.WARM, StorageClass.STANDARD)


def test_object_that_is_brought_back_keeps_the_day_it_was_placed() -> None:
    world = World()
    made = image(world)
    placed_at = world.record(made).placed_at
    idle(world, made)
    world.book.accesses[access_scope(world.record(made))] = world.clock.now()
    version(world, made).is_restored = True

    assert world.evaluate_policy.one(made).outcome is Outcome.WARMED

    record = world.record(made)
    assert record.placed_at == placed_at
    assert record.version_since == world.clock.now()


def test_what_an_approved_order_does_is_what_the_plan_said_and_needs_its_approval() -> None:
    world = World()
    made = reads(world)
    world.clock.advance(20 * DAY)
    expires_after(world, 5)
    zones = {name: zone for zone, name in BUCKETS.items()}
    for _ in range(2):  # the second time after a scheduled evaluation, which made it wait
        record = world.record(made)
        plan = PlanPolicy(FakePlaced([record]), world.classifier, Rates(PRICES), zones, ("here",))
        (planned,) = plan(world.clock.now())
        assert planned.approvals == {Approval.EARLIER_REMOVAL}
        assert planned.to is None
        world.evaluate_policy.one(made)

    after = world.evaluate_policy.one(made, order=Order("anna", "less", "plan-1", "bert")).after

    assert planned.decision.is_same(after)
    done = world.record(made)
    plan = PlanPolicy(FakePlaced([done]), world.classifier, Rates(PRICES), zones, ("here",))
    assert not next(plan(world.clock.now())).is_changed
