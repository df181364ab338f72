"""Classes as the lifecycle rules of S3's buckets, and what S3 does with a version under them.

A filter can demand a tag but not its absence, so no rule moves or removes what does not carry an
open gate (`decision`: `Tag.TIERING`, `Tag.REMOVAL`). What a rule without a gate does is
housekeeping: stale uploads, markers without versions, settled arrivals, replaced results.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

from forebay.domain.policy.classes import (
    Measure,
    ObjectClass,
    Policy,
    Removal,
    Since,
    Tier,
)
from forebay.domain.policy.decision import REMOVE_NOW, directed
from forebay.domain.policy.storage_classes import (
    COLDNESS,
    SMALLEST_MOVED_BYTES,
    STORAGE_FACTS,
    StorageClass,
    is_colder,
)
from forebay.domain.policy.terms import Terms, lifecycle_day
from forebay.errors import PolicyError
from forebay.names import LANDING_SETTLED, LANDING_ZONES, REPLICATE_YES, Tag, Zone

__all__ = [
    "MOST_RULES",
    "LifecycleRule",
    "Outcome",
    "StoredVersion",
    "check_tiers",
    "compile_rules",
    "outcome",
    "rule_from_s3",
    "rule_from_template",
    "rules_from_s3",
]

MOST_RULES: Final = 1000
"""That one bucket may have. Amazon S3 User Guide, "Setting a lifecycle configuration"."""

_LANDING_DAYS: Final = 7
"""Where no class is of the zone."""
_ABORT_UPLOAD_DAYS: Final = 7
"""An instrument's upload may pause over a weekend, not for a week."""
_REPLACED_RESULT_DAYS: Final = 30
_NEXT_RUN_DAYS: Final = 1
"""The least number of days an expiration may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRule:
    """One rule of a bucket: what it asks of a version, and what S3 then does, after how many days.

    `transitions` and `expire_days` count from when a current version was made,
    `noncurrent_expire_days` from when another took its place.
    """

    id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    min_bytes: int = 0
    transitions: tuple[tuple[int, StorageClass], ...] = ()
    expire_days: int | None = None
    noncurrent_expire_days: int | None = None
    expired_markers: bool = False
    """Remove delete markers below which no version is left."""
    abort_upload_days: int | None = None

    def as_s3(self) -> dict[str, Any]:
        """Return the rule as PutBucketLifecycleConfiguration takes it."""
        expiration = {
            "Days": self.expire_days,
            "ExpiredObjectDeleteMarker": self.expired_markers or None,
        }
        said = {
            "ID": self.id,
            "Status": "Enabled",
            "Transitions": [
                {"Days": days, "StorageClass": storage_class.value}
                for days, storage_class in self.transitions
            ],
            "Expiration": _without_empty(expiration),
            "NoncurrentVersionExpiration": _without_empty(
                {"NoncurrentDays": self.noncurrent_expire_days}
            ),
            "AbortIncompleteMultipartUpload": _without_empty(
                {"DaysAfterInitiation": self.abort_upload_days}
            ),
        }
        return _without_empty(said) | {"Filter": self._filter()}

    def _filter(self) -> dict[str, Any]:
        tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        larger = {"ObjectSizeGreaterThan": self.min_bytes - 1} if self.min_bytes else {}
        if len(tags) + len(larger) > 1:
            return {"And": {"Tags": tags, **larger}}
        return {"Tag": tags[0]} if tags else larger or {"Prefix": ""}

    def reaches(self, version: "StoredVersion") -> bool:
        """Tell whether a version is one that the rule is about."""
        tagged = all(version.tags.get(name) == value for name, value in self.tags.items())
        return tagged and version.size_bytes >= self.min_bytes


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What S3's lifecycle looks at of an object's version.

    `noncurrent_since` is when another version or a delete marker took its place, None for the
    current one. `is_locked` is true under a legal hold or a retention of Object Lock.
    """

    tags: Mapping[str, str]
    size_bytes: int
    created: datetime
    storage_class: StorageClass = StorageClass.STANDARD
    noncurrent_since: datetime | None = None
    is_locked: bool = False


class Outcome(NamedTuple):
    """Where a version lies once S3 has acted, and whether it was removed.

    A current version that is removed lies below a delete marker, as a noncurrent one, until its
    rule removes that for good.
    """

    storage_class: StorageClass
    is_removed: bool


def outcome(rules: Iterable[LifecycleRule], version: StoredVersion, now: datetime) -> Outcome:
    """Return what S3 makes of a version under a bucket's rules, run once every midnight UTC.

    Of several transitions the coldest is made, of several expirations the soonest, and never one
    to a warmer storage class. A locked version is hidden by a marker, but never removed for good.

    Amazon S3 User Guide, "How Amazon S3 handles conflicts in lifecycle configurations" and
    "Lifecycle and S3 Object Lock".
    """
    reaching = [rule for rule in rules if rule.reaches(version)]
    since = version.noncurrent_since
    if since is not None:
        gone = any(_is_due(since, rule.noncurrent_expire_days, now) for rule in reaching)
        return Outcome(version.storage_class, gone and not version.is_locked)
    if any(_is_due(version.created, rule.expire_days, now) for rule in reaching):
        return Outcome(version.storage_class, is_removed=True)
    arrived = version.storage_class
    for rule in reaching:
        for days, storage_class in rule.transitions:
            if _is_due(version.created, days, now) and is_colder(storage_class, arrived):
                arrived = storage_class
    return Outcome(arrived, is_removed=False)


def compile_rules(policy: Policy) -> Mapping[Zone, tuple[LifecycleRule, ...]]:
    """Return the lifecycle rules of every zone's bucket.

    Raises:
        PolicyError: S3 would refuse a rule, or a class asks for what its rules cannot keep; the
            sentence names the line.
    """
    compiled = {zone: (*_housekeeping(zone, policy), *_of_classes(zone, policy)) for zone in Zone}
    for zone, rules in compiled.items():
        if len(rules) > MOST_RULES:
            raise PolicyError(
                f"The classes in zone {zone} need {len(rules)} lifecycle rules; a bucket has at "
                f"most {MOST_RULES}. Merge classes, or move some to another zone."
            )
    return compiled


def rules_from_s3(configuration: Mapping[str, Any]) -> tuple[LifecycleRule, ...]:
    """Return the enabled rules of an answer to GetBucketLifecycleConfiguration."""
    found = configuration.get("Rules", ())
    return tuple(rule_from_s3(rule) for rule in found if rule.get("Status") != "Disabled")


def rule_from_s3(rule: Mapping[str, Any]) -> LifecycleRule:
    """Return a rule as GetBucketLifecycleConfiguration tells it.

    Raises:
        PolicyError: the rule has a part that Forebay never compiles: somebody else's rule, which
            must not be acted on by half.
    """
    selected = _filter_of(rule)
    expiration = rule.get("Expiration", {})
    noncurrent = rule.get("NoncurrentVersionExpiration", {})
    if (
        selected.keys() - {"Tags", "ObjectSizeGreaterThan"}
        or expiration.keys() - {"Days", "ExpiredObjectDeleteMarker"}
        or noncurrent.keys() - {"NoncurrentDays"}
        or any("Days" not in each for each in rule.get("Transitions", ()))
        or rule.get("NoncurrentVersionTransitions")
    ):
        raise PolicyError(
            f"lifecycle rule {rule.get('ID')!r}: it filters or acts in a way that no class "
            "compiles to. Who added it to the bucket should remove it."
        )
    return LifecycleRule(
        id=rule.get("ID", ""),
        tags={tag["Key"]: tag["Value"] for tag in selected.get("Tags", ())},
        min_bytes=int(selected.get("ObjectSizeGreaterThan", -1)) + 1,
        transitions=tuple(
            (int(each["Days"]), StorageClass(each["StorageClass"]))
            for each in rule.get("Transitions", ())
        ),
        expire_days=_days(expiration.get("Days")),
        noncurrent_expire_days=_days(noncurrent.get("NoncurrentDays")),
        expired_markers=bool(expiration.get("ExpiredObjectDeleteMarker")),
        abort_upload_days=_days(
            rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        ),
    )


def rule_from_template(rule: Mapping[str, Any]) -> LifecycleRule:
    """Return a rule as a template's `AWS::S3::Bucket` declares it.

    For a local cloud whose CloudFormation drops a bucket's lifecycle: what was deployed is in the
    stack's template.
    """
    return LifecycleRule(
        id=rule["Id"],
        tags={tag["Key"]: tag["Value"] for tag in rule.get("TagFilters", ())},
        min_bytes=int(rule.get("ObjectSizeGreaterThan", -1)) + 1,
        transitions=tuple(
            (int(each["TransitionInDays"]), StorageClass(each["StorageClass"]))
            for each in rule.get("Transitions", ())
        ),
        expire_days=_days(rule.get("ExpirationInDays")),
        noncurrent_expire_days=_days(
            rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
        ),
        expired_markers=bool(rule.get("ExpiredObjectDeleteMarker")),
        abort_upload_days=_days(
            rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        ),
    )


def _without_empty(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value not in (None, {}, [])}


def _filter_of(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule's filter in one shape: alone or below `And`, an empty prefix means nothing."""
    given = rule.get("Filter") or {}
    selected = dict(given.get("And") or given)
    if "Tag" in selected:
        selected["Tags"] = [selected.pop("Tag")]
    prefix = selected.pop("Prefix", "") or rule.get("Prefix", "")
    return selected | ({"Prefix": prefix} if prefix else {})


def _days(value: object) -> int | None:
    return None if value is None else int(str(value))


def _is_due(since: datetime, days: int | None, now: datetime) -> bool:
    return days is not None and lifecycle_day(since, days) <= now


def _housekeeping(zone: Zone, policy: Policy) -> Iterator[LifecycleRule]:
    yield LifecycleRule(id="abort-stale-uploads", abort_upload_days=_ABORT_UPLOAD_DAYS)
    if zone in LANDING_ZONES:
        # Only what is marked settled ever expires, and only versions that were: an arrival that is
        # stuck, or was overwritten before it was placed, stays until somebody looked. S3 counts
        # days from arrival.
        days = _landing_days(zone, policy)
        yield LifecycleRule(
            id="expire-settled-arrivals",
            tags={Tag.LANDING.value: LANDING_SETTLED},
            expire_days=days,
            noncurrent_expire_days=days,
        )
    if zone is Zone.DERIVED:  # what is derived can be derived again: no need of old versions
        yield LifecycleRule(
            id="expire-replaced-results", noncurrent_expire_days=_REPLACED_RESULT_DAYS
        )
    if zone is not Zone.LEDGER:
        yield LifecycleRule(id="remove-expired-markers", expired_markers=True)


def _landing_days(zone: Zone, policy: Policy) -> int:
    """Return how long a settled arrival stays: the longest that a class of its zone says."""
    staging = [
        each.retention.ceiling_days or 0
        for each in policy.classes.values()
        if each.zone is zone and each.retention.removal is Removal.EXPIRE
    ]
    return max(staging, default=0) or _LANDING_DAYS


def _of_classes(zone: Zone, policy: Policy) -> Iterator[LifecycleRule]:
    if zone in LANDING_ZONES:
        return
    if zone is Zone.ARCHIVE:
        yield from _of_archive(policy)
        return
    classes = [each for _, each in sorted(policy.classes.items()) if each.zone is zone]
    for chosen in classes:
        check_tiers(chosen)
        yield from _by_age(chosen, {Tag.TIERING.value: chosen.name})
    yield from _directed(classes)
    yield from _removals(classes)


def _of_archive(policy: Policy) -> Iterator[LifecycleRule]:
    """Yield the rules of the replicas: they carry their originals' tags, as those change.

    A replica is never read in daily work, so that the archive's classes alone move it; it leaves
    when its original may.
    """
    for _, chosen in sorted(policy.classes.items()):
        if chosen.zone is Zone.ARCHIVE:
            check_tiers(chosen)
            if idle := [tier for tier in chosen.tiers if tier.measure is Measure.IDLE]:
                raise PolicyError(
                    f"{idle[0].source}: class {chosen.name}: nobody counts how long a replica lies "
                    "idle; expected a tier by age."
                )
            yield from _by_age(chosen, {Tag.REPLICATE.value: REPLICATE_YES})
    yield from _removals(
        [each for _, each in sorted(policy.classes.items()) if each.replicate], always=True
    )


def _by_age(chosen: ObjectClass, gate: Mapping[str, str]) -> Iterator[LifecycleRule]:
    for tier in chosen.tiers:
        if tier.measure is Measure.AGE:
            yield LifecycleRule(
                id=f"{chosen.name}-to-{tier.storage_class}",
                tags=gate,
                min_bytes=tier.min_bytes,
                transitions=((tier.after_days, tier.storage_class),),
            )


def _directed(classes: Sequence[ObjectClass]) -> Iterator[LifecycleRule]:
    """Yield a rule for every storage class that Forebay asks for where it counts idle time."""
    smallest: dict[StorageClass, int] = {}
    for chosen in classes:
        if any(tier.measure is Measure.IDLE for tier in chosen.tiers):
            for tier in chosen.tiers:
                known = smallest.get(tier.storage_class, tier.min_bytes)
                smallest[tier.storage_class] = min(known, tier.min_bytes)
    for storage_class in StorageClass:
        if storage_class in smallest:
            days = max(_NEXT_RUN_DAYS, STORAGE_FACTS[storage_class].least_age_days)
            yield LifecycleRule(
                id=f"directed-{directed(storage_class)}",
                tags={Tag.TIERING.value: directed(storage_class)},
                min_bytes=smallest[storage_class],
                transitions=((days, storage_class),),
            )


def _removals(classes: Sequence[ObjectClass], *, always: bool = False) -> Iterator[LifecycleRule]:
    for chosen in classes:
        retention = chosen.retention
        if retention.removal is Removal.EXPIRE and retention.since is Since.PLACED:
            yield _expiry(chosen)
    if classes or always:
        yield LifecycleRule(
            id="remove-now",
            tags={Tag.REMOVAL.value: REMOVE_NOW},
            expire_days=_NEXT_RUN_DAYS,
            noncurrent_expire_days=_NEXT_RUN_DAYS,
        )


def _expiry(chosen: ObjectClass) -> LifecycleRule:
    retention = chosen.retention
    ceiling, floor = retention.ceiling_days, retention.floor_days
    if not ceiling or ceiling < floor:
        raise PolicyError(
            f"{retention.source}: retention {retention.name}: what expires needs a ceiling of at "
            f"least a day and not below its floor of {floor} days; found {ceiling}."
        )
    return LifecycleRule(
        id=f"{chosen.name}-expires",
        tags={Tag.REMOVAL.value: Terms.of(retention).gate(chosen.name)},
        expire_days=ceiling,
        # S3 counts from when the version was hidden. One that somebody overwrote on its first day
        # is hidden before its floor has passed, hence the floor once more.
        noncurrent_expire_days=max(_NEXT_RUN_DAYS, floor),
    )


def check_tiers(chosen: ObjectClass) -> None:
    """Refuse tiers that S3 would not accept, or that would cost more than they save.

    Amazon S3 User Guide, "Transitioning objects using Amazon S3 Lifecycle" (constraints).

    Raises:
        PolicyError: a tier is too early, too small, or before a warmer one; with its line.
    """
    for tier in chosen.tiers:
        least = STORAGE_FACTS[tier.storage_class].least_age_days
        if tier.storage_class is StorageClass.STANDARD:
            raise _refused(chosen, tier, "objects begin in STANDARD, and no tier leads there")
        if tier.after_days < least:
            raise _refused(chosen, tier, f"S3 moves nothing there before {least} days")
        if tier.min_bytes < SMALLEST_MOVED_BYTES:
            raise _refused(
                chosen, tier, f"below {SMALLEST_MOVED_BYTES} bytes a tier costs more than it saves"
            )
    for measure in Measure:
        of_measure = [tier for tier in chosen.tiers if tier.measure is measure]
        of_measure.sort(key=lambda tier: COLDNESS[tier.storage_class])
        for warmer, colder in pairwise(of_measure):
            stays = max(1, STORAGE_FACTS[warmer.storage_class].least_age_days)
            if colder.after_days < warmer.after_days + stays:
                raise _refused(
                    chosen,
                    colder,
                    f"what went to {warmer.storage_class} after {warmer.after_days} days stays "
                    f"there {stays} at least",
                )


def _refused(chosen: ObjectClass, tier: Tier, why: str) -> PolicyError:
    return PolicyError(
        f"{tier.source}: class {chosen.name}: {tier.storage_class} after {tier.after_days} days of "
        f"{tier.measure}, from {tier.min_bytes} bytes: {why}."
    )
