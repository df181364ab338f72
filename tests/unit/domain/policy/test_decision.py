"""The triggers that sites asked for, each as a decision about one object."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forebay.domain.policy.classes import Measure, ObjectClass, Removal, Retention, Since, Tier
from forebay.domain.policy.decision import (
    GRACE,
    NONE,
    REMOVE_NOW,
    Action,
    Facts,
    Level,
    PolicyDecision,
    Violation,
    decide,
    directed,
)
from forebay.domain.policy.exceptions import (
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
)
from forebay.domain.policy.storage_classes import StorageClass
from forebay.names import Zone

BORN = datetime(2026, 3, 1, tzinfo=UTC)
STANDARD, IA, IR, GLACIER = tuple(StorageClass)[:4]
HOUR_S = 3600
ARCHIVED = ObjectClass(
    "imaging",
    "us",
    Zone.CLINICAL,
    Retention("kept", 3650),
    latency_seconds=12 * HOUR_S,
    tiers=(Tier(30, Measure.IDLE, GLACIER),),
)
BY_AGE = replace(ARCHIVED, tiers=(Tier(30, Measure.AGE, IA), Tier(90, Measure.AGE, GLACIER)))
INTERMEDIATE = ObjectClass(
    "intermediate",
    "us",
    Zone.GENOMICS,
    Retention("14d", 0, 14, Removal.EXPIRE, since=Since.RUN_SUCCEEDED),
)
EXPIRING = replace(INTERMEDIATE, retention=Retention("90d", 30, 90, Removal.EXPIRE))


def day(number: float) -> datetime:
    return BORN + timedelta(days=number)


def facts(**changes: Any) -> Facts:
    return Facts(**{"placed_at": BORN, "size_bytes": 10**9, **changes})


def excepted(kind: ExceptionKind, until: datetime | None = None, **changes: Any) -> PolicyException:
    made = PolicyException(
        f"x-{kind}",
        kind,
        Scope(ScopeKind.STUDY, "1.2.3"),
        "a reason",
        "arn:aws:iam::111122223333:user/a",
        BORN,
        Status.ACTIVE,
        until,
    )
    return replace(made, **changes)


def on(
    number: float, chosen: ObjectClass, *given: PolicyException, **changes: Any
) -> PolicyDecision:
    return decide(chosen, facts(**changes), given, day(number))


# ---- archive after 30 days without access


def test_dicom_goes_to_the_archive_after_30_days_without_access() -> None:
    before, due = on(29, ARCHIVED), on(30, ARCHIVED)
    assert (before.action, before.at, before.to) == (Action.MOVE, day(30), GLACIER)
    assert (before.tiering, before.evaluate_at) == (NONE, day(30))
    assert (due.target, due.tiering) == (GLACIER, "to-GLACIER")


def test_who_reads_it_on_day_29_puts_the_move_off() -> None:
    read = on(30, ARCHIVED, last_access=day(29))
    assert (read.target, read.tiering, read.at) == (STANDARD, NONE, day(59))


def test_warm_for_months_means_one_storage_class_after_the_other() -> None:
    warm = replace(
        ARCHIVED,
        tiers=(
            Tier(30, Measure.IDLE, IA),
            Tier(182, Measure.IDLE, IR),
            Tier(365, Measure.IDLE, GLACIER),
        ),
    )
    assert [on(number, warm).target for number in (29, 30, 182, 364, 365)] == [
        STANDARD,
        IA,
        IR,
        IR,
        GLACIER,
    ]
    moved = on(200, warm, storage_class=IR)
    assert (moved.at, moved.to, moved.tiering) == (day(365), GLACIER, directed(IR))


def test_an_overdue_object_goes_to_its_target_and_not_through_the_tiers_it_missed() -> None:
    late = on(200, BY_AGE)
    assert (late.action, late.at, late.to, late.target) == (Action.MOVE, day(90), GLACIER, GLACIER)


def test_after_a_pin_the_coldest_of_what_is_due_is_announced() -> None:
    pinned = on(10, BY_AGE, excepted(ExceptionKind.PIN, day(120)))
    assert (pinned.tiering, pinned.at, pinned.to) == (NONE, day(120), GLACIER)
    freed = on(120, BY_AGE, excepted(ExceptionKind.PIN, day(120)))
    assert (freed.tiering, freed.target) == ("imaging", GLACIER)


# ---- a study that is reopened becomes hot again


def test_a_reopened_study_becomes_hot_again_and_cools_again() -> None:
    read = on(100, ARCHIVED, storage_class=GLACIER, last_access=day(100))
    assert (read.action, read.target, read.to) == (Action.WARM, STANDARD, STANDARD)
    assert read.evaluate_at == day(100) + timedelta(hours=1), "somebody waits for the restore"
    warmed = decide(ARCHIVED, facts(placed_at=day(100)), (), day(100))
    assert (warmed.action, warmed.at, warmed.to) == (Action.MOVE, day(130), GLACIER)


def test_a_review_that_nobody_decided_does_not_keep_a_study_cold() -> None:
    reviewed = replace(ARCHIVED, retention=Retention("r", 0, 60, Removal.REVIEW))
    read = on(100, reviewed, storage_class=GLACIER, last_access=day(100))
    assert read.action is Action.WARM
    waiting = on(100, reviewed, storage_class=GLACIER)
    assert (waiting.action, waiting.at) == (Action.REVIEW, day(60))
    assert waiting.evaluate_at == day(100) + GRACE


# ---- intermediates leave 14 days after a successful run, unless pinned


def test_intermediates_stay_until_their_run_succeeded() -> None:
    assert on(500, INTERMEDIATE).action is Action.NOTHING
    assert on(500, INTERMEDIATE).removal == NONE


def test_intermediates_leave_14_days_after_a_successful_run() -> None:
    before = on(33, INTERMEDIATE, run_succeeded_at=day(20))
    assert (before.action, before.at, before.removal) == (Action.REMOVE, day(34), NONE)
    assert before.evaluate_at == day(34)
    assert on(34, INTERMEDIATE, run_succeeded_at=day(20)).removal == REMOVE_NOW


def test_a_pinned_intermediate_leaves_when_the_pin_ends() -> None:
    pin = excepted(ExceptionKind.PIN, day(50))
    pinned = on(40, INTERMEDIATE, pin, run_succeeded_at=day(20))
    assert (pinned.removal, pinned.at, pinned.evaluate_at) == (NONE, day(50), day(50))
    assert on(50, INTERMEDIATE, pin, run_succeeded_at=day(20)).removal == REMOVE_NOW


def test_a_floor_holds_an_intermediate_whose_run_is_long_done() -> None:
    retention = replace(INTERMEDIATE.retention, floor_days=60)
    floored = replace(INTERMEDIATE, retention=retention)
    early = on(40, floored, run_succeeded_at=day(20))
    assert (early.removal, early.at, early.evaluate_at) == (NONE, day(60), day(60))
    assert on(60, floored, run_succeeded_at=day(20)).removal == REMOVE_NOW


def test_what_should_be_gone_keeps_its_day_and_is_overdue_after_the_grace() -> None:
    asked = on(34, INTERMEDIATE, run_succeeded_at=day(20))
    late = on(38, INTERMEDIATE, run_succeeded_at=day(20), previous=asked)
    assert late.at == day(34)
    assert late.violations == (Violation.OVERDUE,)


# ---- exceptions


def test_a_legal_hold_stops_every_move_and_removal_for_ever() -> None:
    hold = excepted(ExceptionKind.LEGAL_HOLD)
    for chosen in (ARCHIVED, BY_AGE, EXPIRING):
        held = on(5000, chosen, hold)
        assert (held.action, held.target) == (Action.NOTHING, STANDARD)
        assert (held.tiering, held.removal, held.evaluate_at) == (NONE, NONE, None)
    cold = on(5000, ARCHIVED, hold, storage_class=GLACIER, last_access=day(5000))
    assert cold.target is GLACIER


def test_a_legal_hold_wins_over_a_wish_to_keep_it_hot() -> None:
    both = excepted(ExceptionKind.HOT, day(400)), excepted(ExceptionKind.LEGAL_HOLD)
    assert on(200, ARCHIVED, *both, storage_class=GLACIER).target is GLACIER


def test_a_retention_extension_forbids_removal_and_nothing_else() -> None:
    chosen = replace(EXPIRING, tiers=BY_AGE.tiers)
    longer = on(40, chosen, excepted(ExceptionKind.RETENTION, day(300)))
    assert (longer.tiering, longer.target) == ("intermediate", IA)
    assert longer.removal == NONE
    assert longer.no_removal_before == day(300)


def test_hot_brings_back_what_must_be_restored_and_keeps_it_there() -> None:
    hot = excepted(ExceptionKind.HOT, day(400))
    back = on(200, BY_AGE, hot, storage_class=GLACIER)
    assert (back.action, back.to, back.tiering) == (Action.WARM, STANDARD, NONE)
    assert on(200, BY_AGE, hot, storage_class=IR).target is IR  # at once readable as it is


def test_hot_does_not_forbid_removal() -> None:
    assert on(90, EXPIRING, excepted(ExceptionKind.HOT, day(400))).action is Action.REMOVE


def test_an_exception_whose_day_has_passed_counts_no_more() -> None:
    passed = on(200, BY_AGE, excepted(ExceptionKind.PIN, day(200)))
    assert passed.exceptions == ()
    assert passed.target is GLACIER


@pytest.mark.parametrize(
    "regions, replicated", [(("eu-central-1", "eu-west-1"), True), (("eu-central-1",), False)]
)
def test_residency_keeps_bytes_out_of_the_replica(
    regions: tuple[str, ...], *, replicated: bool
) -> None:
    chosen = replace(ARCHIVED, replicate=True)
    lies = {"regions": ("eu-central-1",), "replica_regions": ("eu-west-1",)}
    kept = excepted(ExceptionKind.RESIDENCY, day(400), regions=regions)
    assert on(1, chosen, **lies).replicate
    assert on(1, chosen, kept, **lies).replicate is replicated


# ---- the trace


def test_the_trace_names_who_had_a_say_from_the_strongest() -> None:
    given = [
        excepted(ExceptionKind.PIN, day(400)),
        excepted(ExceptionKind.HOT, day(400)),
        excepted(ExceptionKind.LEGAL_HOLD),
    ]
    levels = [say.level for say in on(1, ARCHIVED, *given).trace]
    assert levels == [
        Level.LEGAL_HOLD,
        Level.RETENTION_FLOOR,
        Level.EXCEPTION,
        Level.PIN,
        Level.CLASS,
    ]
    assert [say.level for say in on(40, EXPIRING).trace] == [Level.CLASS, Level.DEFAULT]


@pytest.mark.parametrize("number", [0, 29, 30, 34, 90, 200])
@pytest.mark.parametrize("chosen", [ARCHIVED, BY_AGE, INTERMEDIATE, EXPIRING])
def test_a_decision_comes_back_as_it_was_stored_and_is_looked_at_later(
    chosen: ObjectClass, number: int
) -> None:
    made = on(number, chosen, excepted(ExceptionKind.PIN, day(50)), run_succeeded_at=day(20))
    assert PolicyDecision.from_dict(made.as_dict()) == made
    assert made.evaluate_at is None or made.evaluate_at > day(number)


# ---- an earlier removal takes an approval


def expiring(days: int, **changes: Any) -> ObjectClass:
    return replace(EXPIRING, retention=Retention(f"{days}d", 0, days, Removal.EXPIRE, **changes))


def said(decision: PolicyDecision) -> str:
    return "; ".join(line.says for line in decision.trace)


def test_a_shorter_ceiling_waits_until_it_is_approved() -> None:
    first = on(1, expiring(90))
    waits = on(20, expiring(5), previous=first)
    assert (waits.removal, waits.removed_from, waits.evaluate_at) == (NONE, day(90), day(90))
    assert "would expire on 2026-03-06: waits for approval" in said(waits)
    again = on(21, expiring(5), previous=PolicyDecision.from_dict(waits.as_dict()))
    assert again.is_same(waits)

    approved = on(22, expiring(5), previous=again, is_approved=True)
    assert (approved.removal, approved.at) == ("intermediate-5d", day(5))
    assert on(23, expiring(5), previous=approved).removal == "intermediate-5d"
    assert on(90, expiring(5), previous=waits).removal == REMOVE_NOW, "its own day is met"


def test_a_longer_ceiling_needs_no_approval() -> None:
    longer = on(20, expiring(400), previous=on(1, expiring(90)))
    assert (longer.removal, longer.removed_from) == ("intermediate-400d", day(400))
    back = on(21, expiring(90), previous=longer)
    assert (back.removal, back.removed_from) == (NONE, day(400))


def test_terms_are_kept_through_a_hold_and_another_version() -> None:
    held = on(30, expiring(90), excepted(ExceptionKind.LEGAL_HOLD), previous=on(1, expiring(90)))
    assert on(40, expiring(5), previous=held).removed_from == day(90)
    another = held.for_another_version(day(35))
    assert on(40, expiring(5), previous=another, version_since=day(35)).removed_from == day(90)


@pytest.mark.parametrize("old", [Retention("r", 0, 60, Removal.REVIEW), Retention("kept")])
def test_what_never_went_by_itself_does_so_only_once_approved(old: Retention) -> None:
    before = on(1, replace(EXPIRING, retention=old), run_succeeded_at=day(1))
    for chosen in (expiring(5), INTERMEDIATE):
        waits = on(70, chosen, previous=before, run_succeeded_at=day(1))
        assert (waits.action, waits.removal, waits.removed_from) == (Action.NOTHING, NONE, None)
        assert "waits for approval" in said(waits)


def test_what_waits_for_its_run_is_not_removed_by_age_unless_approved() -> None:
    before = on(1, INTERMEDIATE)
    assert on(40, expiring(20), previous=before).removal == NONE
    sooner = replace(INTERMEDIATE, retention=replace(INTERMEDIATE.retention, ceiling_days=2))
    ended = on(40, sooner, previous=before, run_succeeded_at=day(39))
    assert (ended.removal, ended.removed_from) == (NONE, day(53))


def test_a_decision_from_before_terms_keeps_its_day() -> None:
    old = replace(on(1, expiring(90)), terms="", removal="intermediate")
    assert on(20, expiring(90), previous=old).removal == "intermediate-90d"
    waits = on(20, expiring(5), previous=old)
    assert (waits.removal, waits.removed_from) == (NONE, day(90))


# ---- reopened after the policy changed


def test_what_an_earlier_policy_moved_for_idle_time_is_warmed_once_it_is_read() -> None:
    changed = replace(ARCHIVED, latency_seconds=1, tiers=(Tier(30, Measure.IDLE, IA),))
    lies = {"storage_class": IR, "moved_at": day(31), "was_idle": True}
    assert on(100, changed, **lies).action is not Action.WARM
    assert on(100, changed, **lies, last_access=day(20)).action is not Action.WARM
    read = on(100, changed, **lies, last_access=day(100))
    assert (read.action, read.to) == (Action.WARM, STANDARD)
    by_age = replace(changed, tiers=(Tier(90, Measure.AGE, IR),))
    assert on(100, by_age, **lies, last_access=day(100)).action is not Action.WARM
    assert on(80, by_age, **lies, last_access=day(80)).action is Action.WARM
    moved_by_age = {**lies, "was_idle": False}
    assert on(80, by_age, **moved_by_age, last_access=day(80)).action is not Action.WARM


# ---- another version does not begin anew


def test_floor_ceiling_and_review_count_from_the_first_placement() -> None:
    kept = replace(ARCHIVED, retention=Retention("r", 60, 200, Removal.REVIEW))
    warmed = on(101, kept, version_since=day(100), last_access=day(100))
    assert (warmed.action, warmed.at) == (Action.MOVE, day(130))
    assert warmed.no_removal_before is None
    assert "is up for review on 2026-09-17" in said(warmed)
    assert day(200).date().isoformat() == "2026-09-17"


def test_what_s3_would_count_from_a_later_version_is_removed_on_its_day() -> None:
    early = on(80, EXPIRING, version_since=day(70))
    assert (early.removal, early.removed_from, early.evaluate_at) == (NONE, day(90), day(90))
    assert on(90, EXPIRING, version_since=day(70)).removal == REMOVE_NOW
