"""Compiles the files of `policies/` to the policy of the layer, or says all that is wrong.

    classes.yaml ┐                 well-shaped parts          sound parts
    classif….yaml├─► one document ────(schema.json)─────► Policy ────(soundness, CEL)───► JSON
    sites.yaml   ┘    with lines

What is wrong with a policy is found here, at synth, not by a function at night. A part that is not
well shaped does not keep the others from being checked.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from forebay.adapters.compiled_policy import data_of, policy_of
from forebay.adapters.policy import answer, compile_condition, fault, is_question
from forebay.adapters.policy_files import (
    Document,
    PlacedProblem,
    placed_problems,
    read_document,
    shape_problems,
)
from forebay.adapters.price_table import PRICES_FOLDER, check_prices
from forebay.domain.classification import FACT_TYPES, facts_without
from forebay.domain.objects import Kind
from forebay.domain.policy import soundness
from forebay.domain.policy.classes import (
    Measure,
    ObjectClass,
    Policy,
    Removal,
    Retention,
    Rule,
    Since,
    Site,
    Source,
    Tier,
)
from forebay.domain.policy.lifecycle import compile_rules
from forebay.domain.policy.pricing import NEVER_PAYS_BYTES, PriceTable, break_even_bytes
from forebay.domain.policy.soundness import Place, Problem, Regions
from forebay.domain.policy.storage_classes import (
    SMALLEST_MOVED_BYTES,
    STORAGE_FACTS,
    StorageClass,
)
from forebay.errors import PolicyError
from forebay.names import Zone

__all__ = ["Checked", "PlacedProblem", "check_folder", "compile_folder", "policy_of"]

_NOWHERE_GIVEN: Final = Regions()
_DAYS_OF: Final = {"d": 1.0, "w": 7.0, "y": 365.25}
_SECONDS_OF: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_DAYS_A_MONTH: Final = 30


@dataclass(frozen=True, slots=True)
class Checked:
    """A policy, or everything that is wrong with its files in their order."""

    policy: Policy | None
    problems: tuple[PlacedProblem, ...] = ()


def compile_folder(folder: Path, regions: Regions = _NOWHERE_GIVEN) -> dict[str, Any]:
    """Return the compiled policy of a folder; raises PolicyError with one line per problem."""
    checked = check_folder(folder, regions)
    if checked.policy is None:
        raise PolicyError("\n".join(map(str, checked.problems)))
    return data_of(checked.policy)


def check_folder(folder: Path, regions: Regions = _NOWHERE_GIVEN) -> Checked:
    """Read and check the policy of a folder.

    Raises PolicyError where there is none.
    """
    if not any(folder.glob("*.yaml")):
        raise PolicyError(f"{folder} holds no policy: expected classes.yaml there.")
    tables = [check_prices(each) for each in sorted((folder / PRICES_FOLDER).glob("*.yaml"))]
    document = read_document(folder)
    reading = _Reading(document, [table for table, _ in tables if table])
    policy = reading.policy(regions)
    found = (
        *placed_problems(document, reading.problems),
        *itertools.chain.from_iterable(problems for _, problems in tables),
    )
    if found:
        return Checked(None, found)
    try:
        compile_rules(policy)
    except PolicyError as error:
        # Its sentence names the bucket, or a line of its own.
        return Checked(None, (PlacedProblem(document.source(("classes",)), "", str(error)),))
    return Checked(policy_of(data_of(policy)))


class _Reading:
    """Builds what is well shaped, and gathers what is wrong."""

    def __init__(self, document: Document, prices: Sequence[PriceTable]) -> None:
        self.document, self.prices = document, prices
        self.problems = list(shape_problems(document))
        if any(not problem.place for _, problem in document.problems):
            # What a file that cannot be read would have said is not missing.
            self.problems = [each for each in self.problems if each.place]
        self._misshapen = {each.place[:2] for each in self.problems}

    def policy(self, regions: Regions) -> Policy:
        """Return what could be built; it is whole where there are no problems."""
        retentions = {
            name: self._retention(name, said) for name, said in self._parts("retentions").items()
        }
        classes = {
            name: self._class(name, said, retentions)
            for name, said in self._parts("classes").items()
        }
        sites = {
            name: Site(name, said["owner"], _residency(said), source=self._source("sites", name))
            for name, said in self._parts("sites").items()
        }
        rules = {
            int(index): Rule(
                said["name"].strip(),
                said["when"].strip(),
                said["class"],
                source=self._source("rules", int(index)),
            )
            for index, said in self._parts("rules").items()
        }
        for retention in retentions.values():
            self.problems += soundness.of_retention(retention)
        for chosen in classes.values():
            self.problems += soundness.of_class(chosen)
            self.problems += _losing(chosen)
        self.problems += soundness.of_classes(classes, sites, regions)
        if not self._is_misshapen("classes"):
            known = dict.fromkeys(self.document.data["classes"]) | classes
            self.problems += soundness.of_rules(rules, known)
        self._ask(rules)
        return Policy(classes, tuple(rules.values()), sites)

    def _is_misshapen(self, name: str) -> bool:
        return (name,) in self._misshapen or name not in self.document.data

    def _parts(self, name: str) -> Mapping[str, Any]:
        """Return the well-shaped parts of a top-level mapping or list, by name or index."""
        said = self.document.data.get(name, {})
        if (name,) in self._misshapen or not isinstance(said, (dict, list)):
            return {}
        parts = said.items() if isinstance(said, dict) else enumerate(said)
        return {str(key): each for key, each in parts if (name, key) not in self._misshapen}

    def _source(self, *place: str | int) -> Source:
        return self.document.source(place)

    def _retention(self, name: str, said: Mapping[str, Any]) -> Retention:
        return Retention(
            name,
            _days(said["at_least"]),
            ceiling_days=_days(said["at_most"]) if "at_most" in said else None,
            removal=Removal(said["then"]),
            since=Since(said.get("counted_from", Since.PLACED)),
            source=self._source("retentions", name),
        )

    def _class(
        self, name: str, said: Mapping[str, Any], retentions: Mapping[str, Retention]
    ) -> ObjectClass:
        wanted = said["retention"]
        known = self.document.data.get("retentions", {})
        if wanted not in known and not self._is_misshapen("retentions"):
            says = soundness.misnamed("retention", wanted, known)
            self.problems.append(Problem(("classes", name, "retention"), says))
        retention = retentions.get(wanted) or Retention(wanted)
        return ObjectClass(
            name,
            said["owner"].strip(),
            zone=Zone(said["zone"]),
            retention=retention,
            description=said["description"].strip(),
            latency_seconds=_seconds(said["first_byte_within"]),
            tiers=self._tiers(name, said.get("tiers", ()), retention),
            replicate=said.get("replicate", False),
            residency=_residency(said),
            key=said["key"],
            needs_consent=said.get("needs_consent", False),
            needs_sender_digest=said.get("needs_sender_digest", False),
            source=self._source("classes", name),
        )

    def _tiers(
        self, name: str, said: Sequence[Mapping[str, Any]], retention: Retention
    ) -> tuple[Tier, ...]:
        days = [_days(each.get("when_idle_for") or each["when_older_than"]) for each in said]
        ends = [*days[1:], retention.floor_days]
        return tuple(
            Tier(
                after,
                Measure.IDLE if "when_idle_for" in each else Measure.AGE,
                storage_class=StorageClass(each["to"]),
                min_bytes=_least_worth_moving(StorageClass(each["to"]), end - after, self.prices),
                source=self._source("classes", name, "tiers", index),
            )
            for index, (each, after, end) in enumerate(zip(said, days, ends, strict=False))
        )

    def _ask(self, rules: Mapping[int, Rule]) -> None:
        """Compile every condition, and find out which objects no rule can hold for."""
        conditions: dict[int, Any] = {}
        for index, rule in rules.items():
            place: Place = ("rules", index, "when")
            try:
                condition = compile_condition(rule.condition)
            except PolicyError as error:
                self.problems += (Problem(place, says) for says in _cel_sentences(error))
                continue
            if not is_question(condition):
                says = "expected a question with the answer yes or no, found one with another"
                self.problems.append(Problem(place, f"{says}: {condition.return_type()}"))
            elif says := _fault(condition, rule.condition):
                says = f"expected a condition that can be asked of some object, found: {says}"
                self.problems.append(Problem(place, says))
            else:
                conditions[index] = condition
        self.problems += _idle(rules, conditions)
        if rules and len(conditions) == len(self.document.data["rules"]):
            self.problems += _homeless(conditions)


def _fault(condition: Any, text: str) -> str:
    """Return why a condition fails for every object that comes so far, '' when none is found.

    What it compares with stands in it: objects of which just that is known come farthest.
    """
    texts = dict.fromkeys(("", *(said for pair in _CEL_TEXT.findall(text) for said in pair)))
    for kind, said in itertools.product(Kind, texts):
        facts = {name: said if cel == "string" else 1 for name, cel in FACT_TYPES.items()}
        if says := fault(condition, facts | {"kind": kind.value, "metadata": {}}):
            return says
    return ""


def _idle(rules: Mapping[int, Rule], conditions: Mapping[int, Any]) -> Iterator[Problem]:
    """Yield rules that never decide anything."""
    always: int | None = None
    asked: dict[str, int] = {}
    for index, condition in conditions.items():
        place: Place = ("rules", index, "when")
        first = asked.setdefault(rules[index].condition, index)
        # What is known without any fact is the same for every object.
        known = answer(condition, {})
        if always is not None:
            yield Problem(
                ("rules", index), f"expected none after rules/{always}, which holds for all objects"
            )
        elif first != index:
            yield Problem(place, f"expected another condition than that of rules/{first}")
        elif known is False:
            yield Problem(
                place, "expected a condition that some object fulfils, found one none does"
            )
        if known and always is None:
            always = index


def _homeless(conditions: Mapping[int, Any]) -> Iterator[Problem]:
    """Yield kinds of objects for which, if nothing but their kind is known, no rule holds."""
    for kind in Kind:
        facts = facts_without(kind)
        if kind is Kind.UNKNOWN or any(answer(each, facts) for each in conditions.values()):
            continue
        yield Problem(
            ("rules",),
            f"expected a rule for every object, found none for one of which nothing but kind"
            f" '{kind}' is known",
        )


def _losing(chosen: ObjectClass) -> Iterator[Problem]:
    for index, tier in enumerate(chosen.tiers):
        if tier.min_bytes >= NEVER_PAYS_BYTES:
            yield Problem(
                ("classes", chosen.name, "tiers", index),
                f"expected a tier that saves something, found that {tier.storage_class} for so"
                " short a time costs more than STANDARD, by the folder's price tables",
            )


def _least_worth_moving(to: StorageClass, days: int, prices: Iterable[PriceTable]) -> int:
    """Return the least size for which a tier pays in so many days, where storage is dearest.

    It is not known at synth in which of the regions a policy will be deployed.
    """
    months = max(days, STORAGE_FACTS[to].minimum_days) / _DAYS_A_MONTH
    return max(
        (break_even_bytes(to, table, months) for table in prices), default=SMALLEST_MOVED_BYTES
    )


_CEL_TEXT: Final = re.compile(r"'([^'\n]*)'|\"([^\"\n]*)\"")
_CEL_ERROR: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.+)")


def _cel_sentences(error: PolicyError) -> Iterator[str]:
    """Yield CEL's own words, one line for each thing it did not understand."""
    found = _CEL_ERROR.findall(str(error))
    for line, column, says in found:
        where = f"line {line}, character" if line != "1" else "character"
        yield f"expected CEL, found at {where} {int(column)}: {says}"
    if not found:
        yield f"expected CEL: {' '.join(str(error).split())}"


def _days(text: str) -> int:
    return _measured(text, lambda unit: _DAYS_OF[unit])


def _seconds(text: str) -> int:
    return _measured(text, lambda unit: _SECONDS_OF[unit])


def _measured(text: str, size_of: Callable[[str], float]) -> int:
    """Return a duration, rounded up: no promise is a day short."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    return -int(-int(number) * size_of(text[len(number) :]) // 1)


def _residency(said: Mapping[str, Any]) -> tuple[str, ...]:
    named = said.get("residency", "any")
    return () if named == "any" else tuple(named)
