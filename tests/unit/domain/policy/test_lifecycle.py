"""What classes compile to, what S3 would refuse, and what S3 does with a version."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forebay.domain.policy.classes import (
    Measure,
    ObjectClass,
    Policy,
    Removal,
    Retention,
    Since,
    Source,
    Tier,
)
from forebay.domain.policy.lifecycle import (
    LifecycleRule,
    Outcome,
    StoredVersion,
    compile_rules,
    outcome,
    rule_from_s3,
    rule_from_template,
    rules_from_s3,
)
from forebay.domain.policy.storage_classes import StorageClass
from forebay.errors import PolicyError
from forebay.names import Tag, Zone

KEPT = Retention("kept")
LINE = Source("classes.yaml", 12)
BORN = datetime(2026, 3, 1, 9, tzinfo=UTC)
IA, IR, GLACIER = StorageClass.STANDARD_IA, StorageClass.GLACIER_IR, StorageClass.GLACIER
DEEP = StorageClass.DEEP_ARCHIVE
BIG = 10**9


def tier(
    days: int, to: StorageClass, measure: Measure = Measure.AGE, min_bytes: int = 131_072
) -> Tier:
    return Tier(days, measure, to, min_bytes, LINE)


def object_class(name: str = "kept", **changes: Any) -> ObjectClass:
    values = {"owner": "us", "zone": Zone.CLINICAL, "retention": KEPT, **changes}
    return ObjectClass(name, **values)


def policy(*classes: ObjectClass) -> Policy:
    return Policy({each.name: each for each in classes}, ())


def rules(*classes: ObjectClass, zone: Zone = Zone.CLINICAL) -> dict[str, LifecycleRule]:
    return {rule.id: rule for rule in compile_rules(policy(*classes))[zone]}


def after(days: float) -> datetime:
    return BORN + timedelta(days=days)


# ---- what classes compile to


def test_an_age_tier_is_a_rule_on_the_class_s_own_gate_and_its_size() -> None:
    rule = rules(object_class(tiers=(tier(90, GLACIER, min_bytes=200_000),)))["kept-to-GLACIER"]
    assert rule.tags == {Tag.TIERING: "kept"}
    assert rule.min_bytes == 200_000
    assert rule.transitions == ((90, GLACIER),)


def test_idle_tiers_share_a_rule_for_each_storage_class_whatever_the_age() -> None:
    idle = Measure.IDLE
    found = rules(
        object_class("a", tiers=(tier(60, IA, idle), tier(200, IR, idle))),
        object_class("b", tiers=(tier(40, IR, idle, 500_000),)),
    )
    assert found["directed-to-STANDARD_IA"].transitions == ((30, IA),)
    assert found["directed-to-GLACIER_IR"].transitions == ((1, IR),)
    assert found["directed-to-GLACIER_IR"].tags == {Tag.TIERING: "to-GLACIER_IR"}
    assert found["directed-to-GLACIER_IR"].min_bytes == 131_072
    assert not [name for name in found if name.startswith(("a-", "b-"))]


def test_a_ceiling_that_expires_is_a_rule_and_one_that_is_reviewed_or_waits_for_a_run_is_not() -> (
    None
):
    found = rules(
        object_class("e", retention=Retention("r", 10, 90, Removal.EXPIRE)),
        object_class("v", retention=Retention("r", 10, 90, Removal.REVIEW)),
        object_class(
            "w", retention=Retention("r", 0, 14, Removal.EXPIRE, since=Since.RUN_SUCCEEDED)
        ),
    )
    assert found["e-expires"].tags == {Tag.REMOVAL: "e-90d"}
    assert found["e-expires"].expire_days == 90
    assert found["remove-now"].tags == {Tag.REMOVAL: "now"}
    assert not {"v-expires", "w-expires"} & found.keys()


def test_a_version_that_was_overwritten_early_is_still_kept_for_its_floor() -> None:
    retention = Retention("r", 60, 90, Removal.EXPIRE)
    found = compile_rules(policy(object_class(retention=retention)))[Zone.CLINICAL]
    version = StoredVersion({Tag.REMOVAL: "kept-90d"}, BIG, BORN, noncurrent_since=after(1))
    assert not outcome(found, version, after(60)).is_removed
    assert outcome(found, version, after(62)).is_removed


def test_every_zone_keeps_its_housekeeping_without_any_class() -> None:
    compiled = compile_rules(policy())
    for zone, found in compiled.items():
        assert [rule.abort_upload_days for rule in found if rule.abort_upload_days] == [7], zone
        assert any(rule.expired_markers for rule in found) is (zone is not Zone.LEDGER)
    (settled,) = [rule for rule in compiled[Zone.LANDING_IMAGING] if rule.expire_days]
    assert settled.tags == {Tag.LANDING: "settled"}
    assert settled.expire_days == settled.noncurrent_expire_days == 7
    (replaced,) = [rule for rule in compiled[Zone.DERIVED] if rule.noncurrent_expire_days]
    assert replaced.noncurrent_expire_days == 30


def test_a_class_of_a_landing_zone_says_how_long_settled_arrivals_stay() -> None:
    staging = object_class(
        zone=Zone.LANDING_GENOMICS, retention=Retention("r", 0, 3, Removal.EXPIRE)
    )
    compiled = compile_rules(policy(staging))
    for zone, days in ((Zone.LANDING_GENOMICS, 3), (Zone.LANDING_IMAGING, 7)):
        (settled,) = [rule for rule in compiled[zone] if rule.expire_days]
        assert settled.expire_days == days


def test_replicas_are_moved_by_the_archive_s_class_and_leave_by_their_originals_gate() -> None:
    found = rules(
        object_class("backup", zone=Zone.ARCHIVE, tiers=(tier(1, IR),)),
        object_class(
            "kept",
            replicate=True,
            tiers=(tier(30, GLACIER),),
            retention=Retention("r", 0, 90, Removal.EXPIRE),
        ),
        zone=Zone.ARCHIVE,
    )
    assert found["backup-to-GLACIER_IR"].tags == {Tag.REPLICATE: "yes"}
    assert found["kept-expires"].tags == {Tag.REMOVAL: "kept-90d"}
    assert "kept-to-GLACIER" not in found


# ---- what is refused


@pytest.mark.parametrize(
    "tiers, sentence",
    [
        ((tier(29, IA),), "S3 moves nothing there before 30 days"),
        ((tier(29, IA, Measure.IDLE),), "S3 moves nothing there before 30 days"),
        ((tier(30, IA), tier(59, GLACIER)), "stays there 30 at least"),
        ((tier(30, GLACIER), tier(30, DEEP)), "stays there 1 at least"),
        ((tier(90, GLACIER), tier(30, DEEP)), "stays there 1 at least"),
        ((tier(30, GLACIER, min_bytes=131_071),), "below 131072 bytes a tier costs more"),
        ((tier(30, StorageClass.STANDARD),), "objects begin in STANDARD"),
    ],
)
def test_a_tier_that_s3_would_not_accept_is_refused_with_its_line(
    tiers: tuple[Tier, ...], sentence: str
) -> None:
    with pytest.raises(PolicyError) as raised:
        compile_rules(policy(object_class(tiers=tiers)))
    assert str(raised.value).startswith("classes.yaml:12: class kept: ")
    assert sentence in str(raised.value)


def test_a_ceiling_below_the_floor_is_refused_since_s3_knows_no_floor() -> None:
    retention = Retention("short", 90, 30, Removal.EXPIRE, source=LINE)
    with pytest.raises(PolicyError, match=r"classes\.yaml:12: retention short: .* found 30"):
        compile_rules(policy(object_class(retention=retention)))


def test_more_rules_than_a_bucket_may_have_are_refused() -> None:
    many = [object_class(f"c{n}", tiers=(tier(30, GLACIER),)) for n in range(998)]
    with pytest.raises(PolicyError, match="zone clinical need 1001 lifecycle rules"):
        compile_rules(policy(*many))
    assert len(compile_rules(policy(*many[:-1]))[Zone.CLINICAL]) == 1000


def test_an_idle_tier_for_replicas_is_refused_since_nobody_counts() -> None:
    backup = object_class(zone=Zone.ARCHIVE, tiers=(tier(30, IR, Measure.IDLE),))
    with pytest.raises(PolicyError, match="nobody counts how long a replica lies idle"):
        compile_rules(policy(backup))


# ---- what S3 does


MOVES = (
    LifecycleRule(id="ia", tags={"t": "x"}, min_bytes=200_000, transitions=((30, IA),)),
    LifecycleRule(id="cold", tags={"t": "x"}, min_bytes=200_000, transitions=((90, GLACIER),)),
    LifecycleRule(id="gone", tags={"r": "x"}, expire_days=90, noncurrent_expire_days=5),
)


def version(**changes: Any) -> StoredVersion:
    values: dict[str, Any] = {"tags": {"t": "x"}, "size_bytes": 200_000, "created": BORN}
    return StoredVersion(**{**values, **changes})


@pytest.mark.parametrize(
    "changes, days, wanted",
    [
        ({}, 30, StorageClass.STANDARD),  # not at nine in the morning
        ({}, 30.7, IA),  # the midnight after
        ({}, 91, GLACIER),  # of both the colder
        ({"storage_class": DEEP}, 91, DEEP),  # never back
        ({"size_bytes": 199_999}, 91, StorageClass.STANDARD),
        ({"tags": {"t": "none"}}, 91, StorageClass.STANDARD),
        ({"tags": {}}, 91, StorageClass.STANDARD),
        ({"noncurrent_since": BORN}, 91, StorageClass.STANDARD),
    ],
)
def test_s3_moves_what_carries_the_gate_and_is_old_and_large_enough(
    changes: Mapping[str, Any], days: float, wanted: StorageClass
) -> None:
    assert outcome(MOVES, version(**changes), after(days)) == Outcome(wanted, is_removed=False)


def test_removing_wins_over_moving() -> None:
    both = version(tags={"t": "x", "r": "x"})
    assert outcome(MOVES, both, after(91)) == Outcome(StorageClass.STANDARD, is_removed=True)


def test_a_locked_version_is_hidden_but_never_removed_for_good() -> None:
    locked = {"tags": {"r": "x"}, "is_locked": True}
    assert outcome(MOVES, version(**locked), after(91)).is_removed
    hidden = version(**locked, noncurrent_since=after(91))
    assert not outcome(MOVES, hidden, after(1000)).is_removed
    free = version(tags={"r": "x"}, noncurrent_since=after(91))
    assert outcome(MOVES, free, after(97)).is_removed


# ---- as S3 and templates tell rules

EVERY_KIND = (
    *MOVES,
    LifecycleRule(id="markers", expired_markers=True),
    LifecycleRule(id="uploads", abort_upload_days=7),
    LifecycleRule(id="large", min_bytes=131_072, transitions=((0, DEEP),)),
    LifecycleRule(id="two", tags={"a": "1", "b": "2"}, expire_days=1),
)


@pytest.mark.parametrize("rule", EVERY_KIND, ids=lambda rule: str(rule.id))
def test_a_rule_comes_back_from_s3_as_it_was_put(rule: LifecycleRule) -> None:
    assert rule_from_s3(rule.as_s3()) == rule


def test_disabled_rules_of_a_bucket_are_left_out() -> None:
    told = [{**rule.as_s3(), "Status": "Disabled"} for rule in MOVES[1:]]
    assert rules_from_s3({"Rules": [MOVES[0].as_s3(), *told]}) == MOVES[:1]


@pytest.mark.parametrize(
    "part",
    [
        {"Filter": {"Prefix": "logs/"}},
        {"Prefix": "logs/"},
        {"Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "t", "Value": "x"}]}}},
        {"Filter": {"ObjectSizeLessThan": 5}},
        {"Expiration": {"Date": "2026-01-01"}},
        {"Transitions": [{"Date": "2026-01-01", "StorageClass": "GLACIER"}]},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}},
        {"NoncurrentVersionTransitions": [{"NoncurrentDays": 1, "StorageClass": "GLACIER"}]},
    ],
)
def test_a_rule_that_no_class_compiles_to_is_not_acted_on_by_half(part: Mapping[str, Any]) -> None:
    with pytest.raises(PolicyError, match="lifecycle rule 'theirs'"):
        rule_from_s3({"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": ""}, **part})


def test_a_rule_is_read_from_a_template() -> None:
    declared = {
        "Id": "cold",
        "Status": "Enabled",
        "TagFilters": [{"Key": "t", "Value": "x"}],
        "ObjectSizeGreaterThan": "199999",
        "Transitions": [{"StorageClass": "GLACIER", "TransitionInDays": 90}],
    }
    assert rule_from_template(declared) == MOVES[1]
