"""What S3 does under the compiled rules is what `decide` says, on any object, day by day.

The clock is stepped from midnight to midnight, as S3's lifecycle runs. The evaluator decides when
its decision said it would, and when a fact changes, and sets the gates; S3 does the rest.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.domain.policy.classes import (
    Measure,
    ObjectClass,
    Policy,
    Removal,
    Retention,
    Since,
    Tier,
)
from forebay.domain.policy.decision import FOREVER, GRACE, Action, Facts, PolicyDecision, decide
from forebay.domain.policy.exceptions import (
    BLOCKS_MOVES,
    BLOCKS_REMOVAL,
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
)
from forebay.domain.policy.lifecycle import LifecycleRule, StoredVersion, compile_rules, outcome
from forebay.domain.policy.storage_classes import (
    SMALLEST_MOVED_BYTES,
    STORAGE_FACTS,
    StorageClass,
    is_colder,
)
from forebay.domain.policy.terms import lifecycle_day
from forebay.names import Tag, Zone

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 260
COLDER = tuple(StorageClass)[1:]
LATE = GRACE + 2 * DAY
"""What S3 was asked for is looked after so many days later, and then done the next night."""
ARN = "arn:aws:iam::111122223333:user/steward"


@dataclass
class Course:
    """An object's class, what is excepted for it, and what happens to it on which day."""

    chosen: ObjectClass
    size_bytes: int
    placed_at: datetime
    exceptions: tuple[PolicyException, ...] = ()
    read_at: tuple[datetime, ...] = ()
    run_succeeded_at: datetime | None = None
    deploys: Retention | None = None
    """What its class says from `deployed_at` on; nobody evaluates anything on that account."""
    deployed_at: datetime = FIRST
    approved_at: datetime | None = None
    """When somebody approved that, and applied it."""

    def chosen_at(self, now: datetime) -> ObjectClass:
        """Return the class as it is deployed."""
        if self.deploys and now >= self.deployed_at:
            return replace(self.chosen, retention=self.deploys)
        return self.chosen

    def rules_at(self, now: datetime) -> tuple[LifecycleRule, ...]:
        chosen = self.chosen_at(now)
        return compile_rules(Policy(classes={chosen.name: chosen}, rules=()))[chosen.zone]


@dataclass
class Life:
    """A version as S3 keeps it, and what the evaluator said last."""

    course: Course
    made_at: datetime
    moved_at: datetime | None = None
    storage_class: StorageClass = StorageClass.STANDARD
    is_removed: bool = False
    decision: PolicyDecision | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def facts(self, now: datetime) -> Facts:
        reads = [at for at in self.course.read_at if at <= now]
        succeeded = self.course.run_succeeded_at
        return Facts(
            placed_at=self.course.placed_at,
            version_since=self.made_at,
            moved_at=self.moved_at,
            size_bytes=self.course.size_bytes,
            storage_class=self.storage_class,
            last_access=max(reads, default=None),
            run_succeeded_at=succeeded if succeeded and succeeded <= now else None,
            previous=self.decision,
            is_approved=now == self.course.approved_at,
        )

    def decided(self, now: datetime) -> PolicyDecision:
        return decide(self.course.chosen_at(now), self.facts(now), self.excepted(now), now)

    def excepted(self, now: datetime) -> tuple[PolicyException, ...]:
        return tuple(each for each in self.course.exceptions if each.requested_at <= now)

    def evaluate(self, now: datetime) -> None:
        decision = self.decided(now)
        if decision.action is Action.WARM and decision.to:
            # Restored and copied onto its own key: a new version.
            self.made_at, self.moved_at, self.storage_class = now, None, decision.to
            decision = self.decided(now)
        self.decision = decision
        self.tags = {Tag.TIERING: decision.tiering, Tag.REMOVAL: decision.removal}

    def s3_runs(self, now: datetime) -> None:
        version = StoredVersion(self.tags, self.course.size_bytes, self.made_at, self.storage_class)
        before = self.storage_class
        self.storage_class, self.is_removed = outcome(self.course.rules_at(now), version, now)
        if self.storage_class is not before:
            self.moved_at = now


def changes(course: Course) -> list[datetime]:
    """When a fact changes that the evaluator is told of: access, a run's end, an exception."""
    told = [*course.read_at, *(each.requested_at for each in course.exceptions)]
    return sorted([*told, *([course.run_succeeded_at] if course.run_succeeded_at else [])])


def lived(course: Course) -> Life:
    """Return how an object ends; every night is checked on the way."""
    life = Life(course, course.placed_at)
    life.evaluate(course.placed_at)
    told = changes(course)
    for night in (FIRST + DAY * number for number in range(1, DAYS)):
        while (at := next_evaluation(life, told, night)) is not None:
            life.evaluate(at)
        before, decided = life.storage_class, life.decided(night)
        life.s3_runs(night)
        check_nothing_against_exceptions(life, before, night)
        is_due = decided.action is Action.REMOVE and decided.at is not None and decided.at <= night
        # S3 removes nothing on the day it was made, whenever its run succeeded.
        assert life.is_removed is (is_due and lifecycle_day(life.made_at, 1) <= night)
        if life.is_removed:
            return life
        assert life.storage_class is decided.target
    return life


def next_evaluation(life: Life, told: list[datetime], night: datetime) -> datetime | None:
    """When the evaluator looks at the object next, up to this night's run of S3."""
    assert life.decision
    assert life.decision.decided_at
    due = life.decision.evaluate_at
    moments = [at for at in (*told, *((due,) if due else ())) if at > life.decision.decided_at]
    return min((at for at in moments if at <= night), default=None)


def check_nothing_against_exceptions(life: Life, before: StorageClass, now: datetime) -> None:
    active = {each.kind for each in life.excepted(now) if each.is_active(now)}
    if active & BLOCKS_MOVES:
        assert not is_colder(life.storage_class, before)
    if life.is_removed:
        assert not active & BLOCKS_REMOVAL
        assert life.course.chosen.retention.removal is Removal.EXPIRE
        floor_days = life.course.chosen.retention.floor_days
        assert now >= life.course.placed_at + timedelta(days=floor_days)


moments = st.integers(0, 24 * (DAYS - 40)).map(lambda hours: FIRST + timedelta(hours=hours))


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    measures = draw(st.sampled_from([(Measure.AGE,), (Measure.IDLE,), tuple(Measure)]))
    days = 0
    chosen = draw(st.lists(st.sampled_from(COLDER), unique=True, max_size=3))
    found = [
        Tier(0, draw(st.sampled_from(measures)), each) for each in sorted(chosen, key=COLDER.index)
    ]
    for index, tier in enumerate(found):
        least = STORAGE_FACTS[tier.storage_class].least_age_days
        days = draw(st.integers(max(days + 30, least), days + 90))
        size = draw(st.sampled_from([SMALLEST_MOVED_BYTES, 2 * SMALLEST_MOVED_BYTES]))
        found[index] = replace(tier, after_days=days, min_bytes=size)
    return tuple(found)


@st.composite
def retentions(draw: st.DrawFn) -> Retention:
    removal = draw(st.sampled_from(Removal))
    since = draw(st.sampled_from(Since))
    floor = draw(st.integers(0, 90))
    if removal is Removal.NEVER:
        return Retention("kept", floor)
    least = 1 if since is Since.RUN_SUCCEEDED else max(1, floor)
    return Retention("kept", floor, draw(st.integers(least, 200)), removal, since)


@st.composite
def exceptions(draw: st.DrawFn) -> PolicyException:
    kind = draw(st.sampled_from(ExceptionKind))
    asked = draw(moments)
    lasts = draw(st.integers(1, 24 * 120))
    return PolicyException(
        draw(st.uuids()).hex,
        kind,
        Scope(ScopeKind.OBJECT, "o"),
        "a reason",
        ARN,
        asked,
        Status.ACTIVE,
        until=None if kind is ExceptionKind.LEGAL_HOLD else asked + timedelta(hours=lasts),
    )


@st.composite
def courses(draw: st.DrawFn) -> Course:
    retention = draw(retentions())
    succeeds = draw(st.booleans()) and retention.since is Since.RUN_SUCCEEDED
    return Course(
        ObjectClass(
            "kept",
            "us",
            draw(st.sampled_from([Zone.CLINICAL, Zone.GENOMICS, Zone.DERIVED])),
            retention,
            latency_seconds=draw(st.sampled_from([1, 12 * 3600])),
            tiers=draw(tiers()),
        ),
        draw(st.sampled_from([1, SMALLEST_MOVED_BYTES - 1, SMALLEST_MOVED_BYTES, 10**9])),
        FIRST + timedelta(minutes=draw(st.integers(0, 24 * 60 - 1))),
        tuple(draw(st.lists(exceptions(), max_size=2))),
        tuple(draw(st.lists(moments, max_size=3))),
        draw(moments) if succeeds else None,
    )


@settings(deadline=None)
@given(courses())
def test_s3_does_what_the_evaluator_decides(course: Course) -> None:
    lived(course)


def removed_at(course: Course) -> datetime | None:
    """Return on which night an object is removed whose class is changed on the way."""
    life = Life(course, course.placed_at)
    life.evaluate(course.placed_at)
    told = sorted([*changes(course), *([course.approved_at] if course.approved_at else [])])
    for night in (FIRST + DAY * number for number in range(1, DAYS + 300)):
        while (at := next_evaluation(life, told, night)) is not None:
            life.evaluate(at)
        life.s3_runs(night)
        if life.is_removed:
            return night
    return None


def promised(course: Course, kept: Retention) -> datetime:
    """Return when a retention alone removes an object: the words of the policy, in two lines."""
    since = course.placed_at if kept.since is Since.PLACED else course.run_succeeded_at
    if kept.removal is not Removal.EXPIRE or kept.ceiling_days is None or since is None:
        return FOREVER
    return max(lifecycle_day(since, kept.ceiling_days), course.placed_at + DAY * kept.floor_days)


EXPIRING = st.integers(1, 200).map(lambda days: Retention("kept", 0, days, Removal.EXPIRE))
AGED = st.builds(
    lambda course, kept: replace(course, chosen=replace(course.chosen, retention=kept)),
    courses(),
    EXPIRING,
)


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(courses(), AGED),
    st.one_of(retentions(), EXPIRING),
    st.integers(1, 100),
    st.none() | st.integers(0, 100),
)
def test_a_deployment_removes_nothing_earlier_and_what_was_promised_is_kept(
    course: Course, deploys: Retention, days: int, approved_after: int | None
) -> None:
    deployed_at = course.placed_at + DAY * days
    approved_at = deployed_at + DAY * approved_after if approved_after is not None else None
    course = replace(
        course,
        exceptions=(),
        deploys=deploys,
        deployed_at=deployed_at,
        approved_at=approved_at,
    )
    old, new = (promised(course, each) for each in (course.chosen.retention, deploys))

    gone = removed_at(course)

    if gone is None:
        # Nothing asked for it, or a removal that waits for its approval.
        assert max(old, new) == FOREVER
        assert approved_at is None or new == FOREVER
    elif gone < deployed_at:
        assert gone >= old
    elif approved_at is None or gone < approved_at:
        assert gone >= old, "the rules of new terms reach nothing that was tagged under the old"
        assert old >= FOREVER or gone <= max(old, new, deployed_at) + LATE
    else:
        assert gone >= min(old, new)
        assert gone <= max(new, approved_at) + LATE
