"""The compiled policy and the evaluator of its conditions: Google's CEL."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, Self

from cel_expr_python import cel

from forebay.adapters.compiled_policy import policy_of
from forebay.domain.classification import FACT_TYPES, Classification
from forebay.domain.policy.classes import Policy, Rule
from forebay.errors import PolicyError
from forebay.names import POLICY_FILE, POLICY_PACKAGE

_CEL_TYPES: Final = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "map": cel.Type.DYN,
}


_FAULTS: Final = re.compile(r"invalid regular expression|divide by zero|modulus by zero")


@cache
def _environment() -> Any:
    return cel.NewEnv(variables={name: _CEL_TYPES[kind] for name, kind in FACT_TYPES.items()})


def compile_condition(text: str) -> Any:
    """Return a compiled `when:`; raises PolicyError with CEL's own words and position."""
    try:
        return _environment().compile(text)
    except Exception as exc:
        # The binding raises plain exceptions of several kinds for one and the same: a bad rule.
        raise PolicyError(f"the condition `{text}` is not valid CEL: {exc}") from exc


def is_question(condition: Any) -> bool:
    """Tell whether a compiled condition answers yes or no, whatever the object."""
    return bool(condition.return_type() == cel.Type.BOOL)


def holds(condition: Any, facts: Mapping[str, Any]) -> bool:
    """Tell whether a compiled condition is true of an object with these facts."""
    return answer(condition, facts) is True


def answer(condition: Any, facts: Mapping[str, Any]) -> bool | None:
    """Return what a compiled condition says of facts, None where they do not suffice.

    An attribute the object does not have makes a condition an error, which is not true.
    """
    result = condition.eval(data=dict(facts))
    return bool(result.value()) if result.type() == cel.Type.BOOL else None


def fault(condition: Any, facts: Mapping[str, Any]) -> str:
    """Return why a condition can be asked of no object, if these facts show it, else ''.

    That an object lacks an attribute, or has one of another type, is no fault of the condition.
    """
    result = condition.eval(data=dict(facts))
    said = str(result.value()) if result.type() == cel.Type.ERROR else ""
    return said.removeprefix("INVALID_ARGUMENT: ") if _FAULTS.search(said) else ""


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    condition: Any
    chosen: Classification


@dataclass(frozen=True, slots=True)
class CelPolicy:
    """`services.ports.Classifier` over a compiled policy: the first rule that holds decides."""

    rules: tuple[_Rule, ...]
    policy: Policy
    """Classes, rules and sites, for those who need more of a class than its name."""

    @classmethod
    def deployed(cls) -> Self:
        """Read the policy layer's policy; raises PolicyError when the layer is missing."""
        try:
            return cls.load(files(POLICY_PACKAGE) / POLICY_FILE)
        except ModuleNotFoundError as exc:
            raise PolicyError("this function was deployed without the policy layer") from exc

    @classmethod
    def load(cls, path: Traversable) -> Self:
        """Read the compiled policy; raises PolicyError when it is not one."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise PolicyError(f"the compiled policy {path} cannot be read: {exc}") from exc
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Build the policy from its data: `classes` by name and an ordered list of `rules`."""
        policy = policy_of(data)
        return cls(tuple(_rule(rule, policy) for rule in policy.rules), policy)

    def classify(self, facts: Mapping[str, Any]) -> Classification:
        """Return the class of an object with these facts; raises PolicyError when no rule holds."""
        for rule in self.rules:
            if holds(rule.condition, facts):
                return rule.chosen
        raise PolicyError("no classification rule holds for the object; end the list with `true`")


def _rule(rule: Rule, policy: Policy) -> _Rule:
    chosen = policy.classes.get(rule.object_class)
    if chosen is None:
        raise PolicyError(f"rule {rule.name} names class {rule.object_class}, which does not exist")
    return _Rule(
        rule.name,
        compile_condition(rule.condition),
        Classification(
            object_class=chosen.name,
            rule=rule.name,
            retention_class=chosen.retention.name,
            zone=chosen.zone,
            needs_sender_digest=chosen.needs_sender_digest,
        ),
    )
