"""What a plan tells of objects, one by one and together."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.policy.classes import Measure, ObjectClass, Removal, Retention, Tier
from forebay.domain.policy.decision import Action, Facts, PolicyDecision, decide, removes_earlier
from forebay.domain.policy.plan import (
    Approval,
    ChangeKind,
    Conflict,
    Plan,
    Planned,
    Rates,
    Subject,
    Totals,
    compared,
    left_in,
    plan_id,
)
from forebay.domain.policy.pricing import monthly_cost
from forebay.domain.policy.storage_classes import StorageClass
from forebay.names import Zone
from tests.unit.domain.policy.test_pricing import PRICES

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RATES = Rates(PRICES)
MIB = 1 << 20
KEPT = Retention("kept", floor_days=30)


def any_class(*days: int, retention: Retention = KEPT, **fields: object) -> ObjectClass:
    cold = (StorageClass.STANDARD_IA, StorageClass.GLACIER, StorageClass.DEEP_ARCHIVE)
    tiers = tuple(Tier(after, Measure.AGE, to) for after, to in zip(days, cold, strict=False))
    made = ObjectClass("images", "us", zone=Zone.CLINICAL, retention=retention, tiers=tiers)
    return replace(made, **fields)  # type: ignore[arg-type]


def planned(
    old: ObjectClass | None, new: ObjectClass, *, age: int = 100, judged: int = 0, **of: object
) -> Planned:
    """Plan for an object of an age in days, judged by the old class when it was so old."""
    placed_at = NOW - timedelta(days=age)
    facts = Facts(placed_at, int(of.pop("size", 10 * MIB)))  # type: ignore[call-overload]
    before = decide(old, facts, (), placed_at + timedelta(days=judged)) if old else None
    subject = Subject(
        object_id=str(of.pop("object_id", "a")),
        object_class=before.object_class if before else new.name,
        size_bytes=facts.size_bytes,
        storage_class=facts.storage_class,
        days_in_class=age,
        before=before,
        lies_in=left_in(before, facts.storage_class, NOW) if before else facts.storage_class,
        is_removed_earlier=before is not None and removes_earlier(new, facts, before, NOW),
    )
    return compared(subject, decide(new, facts, (), NOW), RATES, NOW)


def test_an_unchanged_policy_changes_nothing_however_much_time_passed() -> None:
    for age in (1, 29, 31, 59, 61, 63):
        same = planned(any_class(60, 150), any_class(60, 150), age=age)

        assert same.changes == frozenset(), age
        assert same.before == same.after


def test_an_earlier_tier_moves_what_is_old_enough_now() -> None:
    moved = planned(any_class(200), any_class(50))

    assert ChangeKind.MOVE in moved.changes
    assert moved.to is StorageClass.STANDARD_IA
    assert moved.before == monthly_cost(StorageClass.STANDARD, 10 * MIB, PRICES)
    assert moved.after == monthly_cost(StorageClass.STANDARD_IA, 10 * MIB, PRICES)
    assert moved.once.total == PRICES.classes[StorageClass.STANDARD_IA].transition


def test_an_earlier_tier_only_reschedules_what_is_younger() -> None:
    later = planned(any_class(200), any_class(150))

    assert later.changes == {ChangeKind.SCHEDULE}
    assert later.once.total == 0


def test_what_s3_was_asked_for_already_is_no_move_of_the_plan() -> None:
    under_way = planned(any_class(50), any_class(50, retention=Retention("kept", floor_days=400)))

    assert ChangeKind.MOVE not in under_way.changes
    assert ChangeKind.RETENTION in under_way.changes
    assert under_way.before == under_way.after


def test_a_shorter_floor_needs_approval_and_a_longer_one_does_not() -> None:
    long, short = (any_class(retention=Retention("kept", floor_days=n)) for n in (900, 300))

    assert planned(long, short).approvals == {Approval.SHORTER_RETENTION}
    assert planned(short, long).approvals == frozenset()


def test_a_floor_that_passed_since_needs_no_approval() -> None:
    assert planned(any_class(), any_class(300), age=100).approvals == frozenset()


def test_removal_that_becomes_possible_needs_approval_and_ends_the_cost() -> None:
    gone = Retention("gone", ceiling_days=90, removal=Removal.EXPIRE)
    removed = planned(any_class(retention=Retention("kept")), any_class(retention=gone))

    assert ChangeKind.REMOVE in removed.changes
    assert removed.approvals == {Approval.EARLIER_REMOVAL}
    assert removed.after == 0
    assert removed.to is None


def test_removal_that_comes_earlier_needs_approval_also_when_a_move_comes_first() -> None:
    late, early = (
        any_class(50, retention=Retention("gone", ceiling_days=n, removal=Removal.EXPIRE))
        for n in (900, 500)
    )

    sooner = planned(late, early, age=10)
    assert sooner.decision.action is Action.MOVE
    assert sooner.approvals == {Approval.EARLIER_REMOVAL}
    assert planned(early, late, age=10).approvals == frozenset()


def test_replication_that_begins_needs_approval_and_copies_nothing_old() -> None:
    begun = planned(any_class(), any_class(replicate=True))
    with_replica = compared(begun.subject, begun.decision, Rates(PRICES, "eu-west-1"), NOW)

    assert begun.approvals == {Approval.OTHER_REGION}
    assert with_replica.conflicts == {Conflict.REPLICA}
    assert with_replica.once.total == 0


def test_an_object_never_judged_is_a_first_decision() -> None:
    first = planned(None, any_class(50))

    assert first.changes == {ChangeKind.FIRST, ChangeKind.MOVE}


def any_objects(seed: int, count: int) -> list[Planned]:
    random = Random(seed)  # noqa: S311
    gone = Retention("gone", ceiling_days=120, removal=Removal.EXPIRE)
    made = []
    for number in range(count):
        old = random.choice((None, any_class(60), any_class(30, 90, 200)))
        new = replace(
            any_class(*sorted(random.sample(range(1, 300), 3))),
            name=random.choice(("images", "reads")),
            retention=random.choice((KEPT, gone)),
        )
        made.append(
            planned(
                old,
                new,
                age=random.randrange(400),
                size=random.randrange(200 * MIB),
                object_id=f"o{number}",
            )
        )
    return made


@given(seed=st.integers(0, 2**32), count=st.integers(0, 40), cut=st.integers(0, 40))
def test_totals_are_the_sum_over_objects_however_they_are_shared_out(
    seed: int, count: int, cut: int
) -> None:
    objects = any_objects(seed, count)
    together = Totals.of(objects)
    shuffled = Random(seed).sample(objects, count)  # noqa: S311
    shared = Totals.of(shuffled[:cut])
    shared.merge(Totals.of(shuffled[cut:]))

    assert shared == together
    assert together.all.objects == count
    assert together.all.size_bytes == sum(each.subject.size_bytes for each in objects)
    assert together.all.before == sum(each.before for each in objects)
    assert together.all.after == sum(each.after for each in objects)
    assert together.all.once == sum(each.once.total for each in objects)
    assert together.changed.objects == sum(each.is_changed for each in objects)


@given(seed=st.integers(0, 2**32), count=st.integers(0, 40))
def test_before_and_what_moves_change_make_after(seed: int, count: int) -> None:
    totals = Totals.of(any_objects(seed, count))
    difference = sum(row.after - row.before for row in totals.moving().values())

    assert totals.all.before + difference == totals.all.after


@given(seed=st.integers(0, 2**32), count=st.integers(0, 40))
def test_a_plan_reads_back_as_it_was_written(seed: int, count: int) -> None:
    plan = Plan(plan_id("abc", NOW), NOW, "abc", Totals.of(any_objects(seed, count)))

    assert Plan.from_dict(plan.as_dict()) == plan
    assert Plan.from_dict(plan.as_dict()).totals.same_work(plan.totals)


def test_another_object_is_other_work() -> None:
    one, two = (Totals.of(any_objects(7, count)) for count in (20, 21))

    assert not one.same_work(two)


def test_totals_do_not_grow_with_the_number_of_objects() -> None:
    totals = Totals.of(any_objects(3, 400))

    assert len(totals.ways) <= 2 * len(StorageClass) ** 2
    assert all(len(tally.examples) <= 5 for tally in totals.changes.values())


def test_a_stored_decision_leaves_an_object_where_s3_brings_it_by_now() -> None:
    decision = decide(any_class(60), Facts(NOW, 10 * MIB), (), NOW)
    assert isinstance(decision, PolicyDecision)

    assert left_in(decision, StorageClass.STANDARD, NOW) is StorageClass.STANDARD
    later = NOW + timedelta(days=61)
    assert left_in(decision, StorageClass.STANDARD, later) is StorageClass.STANDARD_IA
