"""What makes a policy unsound although every part of it is well written.

A problem names its place by path, as `classes/clinical-hot/tiers/0/to`; who read the files knows
the line.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from forebay.domain.policy.classes import (
    Measure,
    ObjectClass,
    Removal,
    Retention,
    Rule,
    Since,
    Site,
    Tier,
)
from forebay.domain.policy.storage_classes import STORAGE_FACTS, is_colder
from forebay.names import FOLDERS, Zone

__all__ = ["Problem", "Regions", "misnamed", "of_class", "of_classes", "of_retention", "of_rules"]

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    place: Place
    says: str


@dataclass(frozen=True, slots=True)
class Regions:
    """Where a deployment keeps bytes; empty where that is not known."""

    home: str = ""
    replica: str = ""


_WHEN: Final = {Measure.AGE: "when_older_than", Measure.IDLE: "when_idle_for"}
"""How the files say what the days of a tier are counted from."""


def misnamed(what: str, name: str, known: Mapping[str, object]) -> str:
    """Return the sentence about a name that nothing has."""
    close = get_close_matches(name, known, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f'expected the name of a {what}, found "{name}"{hint}'


def of_retention(retention: Retention) -> Iterator[Problem]:
    """Yield what is wrong with a retention."""
    here: Place = ("retentions", retention.name)
    if retention.removal is Removal.NEVER:
        if retention.ceiling_days is not None:
            yield Problem((*here, "at_most"), "expected none with `then: never`")
        return
    if retention.ceiling_days is None:
        yield Problem(here, f"expected `at_most`, after which to {retention.removal}")
    elif retention.ceiling_days < max(retention.floor_days, 1):
        yield Problem(
            (*here, "at_most"),
            f"expected at least {max(retention.floor_days, 1)} days, as `at_least` promises,"
            f" found {retention.ceiling_days}",
        )


def of_class(chosen: ObjectClass) -> Iterator[Problem]:
    """Yield what is wrong with the tiers of a class."""
    here: Place = ("classes", chosen.name, "tiers")
    for index, tier in enumerate(chosen.tiers):
        facts = STORAGE_FACTS[tier.storage_class]
        if tier.after_days < facts.least_age_days:
            yield Problem(
                (*here, index, _WHEN[tier.measure]),
                f"expected at least {facts.least_age_days}d, before which S3 moves nothing to"
                f" {tier.storage_class}, found {tier.after_days}d",
            )
        if facts.restore_seconds > chosen.latency_seconds:
            yield Problem(
                (*here, index, "to"),
                f"expected a storage class that is read within {chosen.latency_seconds} s, as"
                f" `first_byte_within` promises, found {tier.storage_class}, which takes"
                f" {facts.restore_seconds} s",
            )
        if index:
            yield from _after(chosen.tiers[index - 1], tier, (*here, index))
    yield from _removed_early(chosen, here)


def _after(before: Tier, tier: Tier, here: Place) -> Iterator[Problem]:
    if not is_colder(tier.storage_class, before.storage_class):
        yield Problem(
            (*here, "to"),
            f"expected a storage class that is colder than {before.storage_class}, the tier"
            f" before, found {tier.storage_class}",
        )
        return
    minimum = STORAGE_FACTS[before.storage_class].minimum_days
    if tier.after_days < before.after_days + minimum:
        yield Problem(
            (*here, _WHEN[tier.measure]),
            f"expected at least {before.after_days + minimum}d, since {before.storage_class} is"
            f" charged for {minimum} days, found {tier.after_days}d",
        )


def _removed_early(chosen: ObjectClass, here: Place) -> Iterator[Problem]:
    """Yield a last tier that objects leave by expiring before its minimum duration is over."""
    retention = chosen.retention
    if not chosen.tiers or retention.removal is not Removal.EXPIRE:
        return
    last = chosen.tiers[-1]
    minimum = STORAGE_FACTS[last.storage_class].minimum_days
    ceiling = retention.ceiling_days or 0
    if retention.since is Since.PLACED and ceiling < last.after_days + minimum:
        yield Problem(
            (*here, len(chosen.tiers) - 1, _WHEN[last.measure]),
            f"expected {minimum} days in {last.storage_class}, which are charged, before"
            f" {retention.name} expires after {ceiling}, found {last.after_days}d",
        )


def of_classes(
    classes: Mapping[str, ObjectClass], sites: Mapping[str, Site], regions: Regions
) -> Iterator[Problem]:
    """Yield what classes and sites say against each other, or against the deployment."""
    keys: dict[Zone, ObjectClass] = {}
    for name, chosen in classes.items():
        first = keys.setdefault(chosen.zone, chosen)
        if first.key != chosen.key:
            yield Problem(
                ("classes", name, "key"),
                f'expected "{first.key}", with which {first.name} encrypts the same zone, found'
                f' "{chosen.key}"',
            )
        yield from _against_regions(("classes", name), chosen.residency, _kept_in(chosen, regions))
    for name, site in sites.items():
        home = {regions.home} - {""}
        yield from _against_regions(("sites", name), site.residency, home)
        for chosen in classes.values():
            if _exclude(site.residency, chosen.residency):
                yield Problem(
                    ("sites", name, "residency"),
                    f"expected a region that class {chosen.name} allows, too, found"
                    f" {', '.join(site.residency)}",
                )


def _kept_in(chosen: ObjectClass, regions: Regions) -> set[str]:
    if chosen.zone is Zone.ARCHIVE:
        kept = {regions.replica}
    else:
        kept = {regions.home, regions.replica if chosen.replicate else ""}
    return kept - {""}


def _against_regions(here: Place, residency: Sequence[str], kept: set[str]) -> Iterator[Problem]:
    if residency and (outside := sorted(kept.difference(residency))):
        yield Problem(
            (*here, "residency"),
            f"expected {', '.join(outside)} among them, where this deployment keeps bytes, found"
            f" {', '.join(residency)}",
        )


def _exclude(one: Sequence[str], other: Sequence[str]) -> bool:
    return bool(one and other) and not set(one) & set(other)


def of_rules(
    rules: Mapping[int, Rule], classes: Mapping[str, ObjectClass | None]
) -> Iterator[Problem]:
    """Yield what is wrong with rules, by their place in the list, whatever their conditions say.

    A class is None that exists and is not well written itself.
    """
    named: dict[str, int] = {}
    for index, rule in rules.items():
        first = named.setdefault(rule.name, index)
        if first != index:
            yield Problem(
                ("rules", index, "name"),
                f'expected each name once, found "{rule.name}" as in rules/{first}',
            )
        if rule.object_class not in classes:
            says = misnamed("class", rule.object_class, classes)
            yield Problem(("rules", index, "class"), says)
            continue
        chosen = classes[rule.object_class]
        if chosen and chosen.zone not in FOLDERS:
            zones = ", ".join(sorted(FOLDERS))
            yield Problem(
                ("rules", index, "class"),
                f"expected a class of a zone that objects are placed in ({zones}), found"
                f' "{rule.object_class}", which is of {chosen.zone}',
            )
