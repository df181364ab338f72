"""What a plan asks of the catalog, and what it then says of each object."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from forebay.adapters.policy import CelPolicy
from forebay.domain.objects import Kind, Location, ObjectRecord
from forebay.domain.policy.exceptions import (
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
)
from forebay.domain.policy.plan import ChangeKind, Conflict, Planned, Rates
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.states import State
from forebay.names import Zone
from forebay.services.plan_policy import Classes, PlanPolicy, Remembered
from tests.unit.domain.policy.test_pricing import PRICES
from tests.unit.fakes import any_exception, any_record

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ZONES = {"fb-clinical": Zone.CLINICAL, "fb-derived": Zone.DERIVED}


def policy(
    *rules: tuple[str, str], measure: str = "age", since: str = "placed", **tiers: int
) -> CelPolicy:
    """Return a policy: (condition, class) in order; tiers as `GLACIER=30`."""
    ladder = [
        {"to": to, "after_days": after, "measure": measure, "min_bytes": 131072}
        for to, after in tiers.items()
    ]
    name = "then" if since == "placed" else "after-run"
    classes = {
        each: {
            "owner": "us",
            "zone": "derived" if each == "reports" else "clinical",
            "retention": name,
            "tiers": ladder,
        }
        for each in ("images", "reports", "scans")
    }
    expires = {"floor_days": 0, "ceiling_days": 14, "removal": "expire", "since": since}
    never = {"floor_days": 0, "ceiling_days": None, "removal": "never", "since": "placed"}
    said = rules or (("true", "images"),)
    return CelPolicy.from_data(
        {
            "classes": classes,
            "retentions": {name: never if since == "placed" else expires},
            "rules": [
                {"name": f"rule {place}", "when": when, "class": chosen}
                for place, (when, chosen) in enumerate(said)
            ],
        }
    )


@dataclass
class FakePlaced:
    """Everything that is placed, in lists; `asked` notes what was asked for."""

    objects: list[ObjectRecord]
    others: dict[str, ObjectRecord] = field(default_factory=dict)
    active: list[PolicyException] = field(default_factory=list)
    accessed: dict[Scope, datetime] = field(default_factory=dict)
    succeeded: dict[str, datetime] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def pages(self, site: str) -> Iterator[Sequence[ObjectRecord]]:
        for record in self.objects:
            if site in ("", record.site):
                yield [record]

    def records(self, object_ids: Collection[str]) -> dict[str, ObjectRecord]:
        self.asked.append("records")
        return {each: self.others[each] for each in object_ids if each in self.others}

    def exceptions(self) -> Iterable[PolicyException]:
        return self.active

    def last_access(self, scopes: Collection[Scope]) -> dict[Scope, datetime]:
        self.asked.append("last_access")
        return {each: self.accessed[each] for each in scopes if each in self.accessed}

    def runs_succeeded(self, run_ids: Collection[str]) -> dict[str, datetime]:
        self.asked.append("runs_succeeded")
        return {each: self.succeeded[each] for each in run_ids if each in self.succeeded}


def any_image(*, age: int = 100, bucket: str = "fb-clinical", **fields: Any) -> ObjectRecord:
    placed_at = NOW - timedelta(days=age)
    facts: dict[str, Any] = {
        "kind": Kind.DICOM,
        "state": State.PLACED,
        "size_bytes": 10 << 20,
        "placed": Location(bucket, "k", "v"),
        "placed_at": placed_at,
        "object_class": "images",
        "metadata": {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"},
    }
    return any_record(**facts | fields)


def plan(placed: FakePlaced, wanted: CelPolicy, **fields: Any) -> list[Planned]:
    site = fields.pop("site", "")
    made = PlanPolicy(placed, wanted, Rates(PRICES), ZONES, regions=("us-east-1",), **fields)
    return list(made(NOW, site=site))


def test_objects_without_tiers_by_idle_time_need_no_last_access() -> None:
    placed = FakePlaced([any_image()])

    (only,) = plan(placed, policy(GLACIER=30))

    assert placed.asked == []
    assert only.changes == {ChangeKind.FIRST, ChangeKind.MOVE}


def test_what_was_read_lately_stays_where_idle_time_counts() -> None:
    read = Scope(ScopeKind.STUDY, "1.2")
    placed = FakePlaced([any_image(), any_image()], accessed={read: NOW - timedelta(days=3)})

    found = plan(placed, policy(measure="idle", GLACIER=30))

    assert [each.to for each in found] == [StorageClass.STANDARD] * 2
    assert placed.asked == ["last_access"], "one study was asked for once"


def test_a_hold_on_a_study_reaches_what_was_made_from_its_images() -> None:
    image = any_image()
    made = any_image(parents=(image.object_id,), metadata={})
    hold = any_exception(scope=Scope(ScopeKind.STUDY, "1.2"), status=Status.ACTIVE)
    placed = FakePlaced([made], others={image.object_id: image}, active=[hold])

    (only,) = plan(placed, policy(GLACIER=30))

    assert only.decision.exceptions == (hold.exception_id,)
    assert only.to is StorageClass.STANDARD
    assert Conflict.HOLD in only.conflicts


def test_a_hold_on_another_study_does_not_reach_sideways() -> None:
    hold = any_exception(
        kind=ExceptionKind.LEGAL_HOLD, scope=Scope(ScopeKind.STUDY, "9"), status=Status.ACTIVE
    )

    (only,) = plan(FakePlaced([any_image()], active=[hold]), policy(GLACIER=30))

    assert only.decision.exceptions == ()
    assert only.to is StorageClass.GLACIER


def test_what_is_kept_until_its_run_succeeded_goes_after_that() -> None:
    image = any_image(pipeline_run_id="run-1")
    wanted = policy(since="run-succeeded")

    (waits,) = plan(FakePlaced([image]), wanted)
    (gone,) = plan(FakePlaced([image], succeeded={"run-1": NOW - timedelta(days=20)}), wanted)

    assert waits.to is StorageClass.STANDARD
    assert gone.to is None


def test_a_class_of_another_zone_is_a_conflict_and_the_object_keeps_its_own() -> None:
    (only,) = plan(FakePlaced([any_image()]), policy(("true", "reports")))

    assert only.conflicts == {Conflict.ZONE}
    assert only.decision.object_class == "images"


def test_a_rule_that_chooses_another_class_is_a_change_of_class() -> None:
    (only,) = plan(FakePlaced([any_image()]), policy(("kind == 'dicom'", "scans")))

    assert ChangeKind.CLASS in only.changes
    assert only.decision.object_class == "scans"


def test_the_same_policy_says_the_same_of_what_it_judged() -> None:
    (first,) = plan(FakePlaced([any_image(age=10)]), policy(GLACIER=30))
    judged = replace(first.subject, before=first.decision)
    assert judged.before
    again = any_image(age=10, policy=first.decision, class_rule="rule 0")

    (second,) = plan(FakePlaced([again]), policy(GLACIER=30))

    assert not second.is_changed


def test_two_policies_are_compared_as_of_now() -> None:
    placed = FakePlaced([any_image()])

    (only,) = plan(placed, policy(GLACIER=30), against=policy(GLACIER=300))
    (same,) = plan(placed, policy(GLACIER=30), against=policy(GLACIER=30))

    assert ChangeKind.MOVE in only.changes
    assert only.before > only.after
    assert not same.is_changed
    assert same.before == same.after == only.after


def test_only_objects_of_the_site_are_planned() -> None:
    placed = FakePlaced([any_image(site="north"), any_image(site="south")])

    assert len(plan(placed, policy(), site="north")) == 1


def test_equal_facts_are_classified_once() -> None:
    class Counting:
        def __init__(self, of: CelPolicy) -> None:
            self.of, self.calls, self.policy = of, 0, of.policy

        def classify(self, facts: Any) -> Any:
            self.calls += 1
            return self.of.classify(facts)

    counting = Counting(policy(("metadata.Modality == 'CT'", "scans"), ("true", "images")))
    classes = Classes.of(counting)
    said = [
        classes.choose(any_image(metadata={"Modality": modality, "StudyInstanceUID": f"{n}"}))[0]
        for n, modality in enumerate(("CT", "MR", "CT", "MR", "CT"))
    ]

    assert [each.name for each in said] == ["scans", "images", "scans", "images", "scans"]
    assert counting.calls == 2


def test_a_condition_over_all_of_metadata_is_asked_for_every_object() -> None:
    classes = Classes.of(policy(("metadata.exists(k, k == 'x')", "scans"), ("true", "images")))

    assert classes.keywords is None
    assert classes.choose(any_image(metadata={"x": "1"}))[0].name == "scans"
    assert classes.choose(any_image(metadata={"y": "1"}))[0].name == "images"


def test_what_is_remembered_is_bounded() -> None:
    remembered = Remembered(limit=3)
    for number in range(20):
        remembered.learn([number, number + 1], lambda new: dict.fromkeys(new, "known"))
        assert remembered.get(number) == remembered.get(number + 1) == "known"
        assert len(remembered.known) <= 4
