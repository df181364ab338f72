"""The language of `policies/`: what a class promises for the objects in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from forebay.domain.policy.storage_classes import SMALLEST_MOVED_BYTES, StorageClass
from forebay.names import Zone


class Measure(StrEnum):
    """What the days of a tier are counted from."""

    AGE = "age"
    """Since the object was placed: the bucket's lifecycle rules can do that alone."""
    IDLE = "idle"
    """Since anybody read it, or its study or sample: only Forebay knows."""


class Since(StrEnum):
    """What the days until removal are counted from."""

    PLACED = "placed"
    RUN_SUCCEEDED = "run-succeeded"
    """The pipeline run that made the object ended well; until then it stays."""


class Removal(StrEnum):
    """How an object leaves when its time is over."""

    NEVER = "never"
    EXPIRE = "expire"
    """Its bucket's lifecycle rules remove it: what can be made or sent again."""
    REVIEW = "review"
    """Somebody approves a disposition first: originals."""


@dataclass(frozen=True, slots=True)
class Source:
    """The place of a definition in the policy's files, from line 1."""

    file: str
    line: int

    def __str__(self) -> str:
        """Return `file:line`."""
        return f"{self.file}:{self.line}"


NOWHERE: Final = Source("built in", 0)


@dataclass(frozen=True, slots=True)
class Tier:
    """After so many days objects of at least `min_bytes` are kept in `storage_class`."""

    after_days: int
    measure: Measure
    storage_class: StorageClass
    min_bytes: int = SMALLEST_MOVED_BYTES
    """Smaller ones stay where they are: S3's overhead would cost more than the tier saves."""
    source: Source = NOWHERE


@dataclass(frozen=True, slots=True)
class Retention:
    """How long objects are kept: at least `floor_days`, then removed after `ceiling_days`.

    Both count from `since`, the floor from placement. `ceiling_days` is None with NEVER.
    """

    name: str
    floor_days: int = 0
    ceiling_days: int | None = None
    removal: Removal = Removal.NEVER
    since: Since = Since.PLACED
    source: Source = NOWHERE


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """What is promised for the objects of one class.

    `latency_seconds` is the longest a reader may wait for the first byte; `tiers` are in the order
    of their storage classes. `residency` are the regions its bytes may lie in, none named means
    any. `key` names the domain key its zone is encrypted with.
    """

    name: str
    owner: str
    zone: Zone
    retention: Retention
    description: str = ""
    latency_seconds: int = 1
    tiers: tuple[Tier, ...] = ()
    replicate: bool = False
    residency: tuple[str, ...] = ()
    key: str = ""
    needs_consent: bool = False
    needs_sender_digest: bool = False
    source: Source = NOWHERE


@dataclass(frozen=True, slots=True)
class Site:
    """What is agreed with a site; `name` is `*` for all that are not listed."""

    name: str
    owner: str = ""
    residency: tuple[str, ...] = ()
    source: Source = NOWHERE


ANY_SITE: Final = Site("*")


@dataclass(frozen=True, slots=True)
class Rule:
    """A classification rule: the first whose condition holds chooses the class."""

    name: str
    condition: str
    object_class: str
    source: Source = NOWHERE


@dataclass(frozen=True, slots=True)
class Policy:
    """Classes by name, rules in order, sites by name; `digest` tells one policy from another."""

    classes: Mapping[str, ObjectClass]
    rules: tuple[Rule, ...]
    sites: Mapping[str, Site] = field(default_factory=dict)
    digest: str = ""

    def site(self, name: str) -> Site:
        """Return what is agreed with a site, or with any."""
        return self.sites.get(name) or self.sites.get("*") or ANY_SITE

    def rule_source(self, name: str) -> str:
        """Return where a classification rule is written, '' for one that is gone."""
        return next((str(rule.source) for rule in self.rules if rule.name == name), "")

    def residency_of(self, object_class: ObjectClass, site: str) -> frozenset[str] | None:
        """Return the regions both class and site allow, None for any region."""
        allowed = [
            set(each) for each in (object_class.residency, self.site(site).residency) if each
        ]
        return frozenset(set.intersection(*allowed)) if allowed else None
