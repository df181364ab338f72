"""The compiled policy and the evaluator of its conditions: Google's CEL."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, Self

from cel_expr_python import cel

from forebay.domain.classification import FACT_TYPES, Classification
from forebay.errors import PolicyError
from forebay.names import POLICY_FILE, POLICY_PACKAGE

_CEL_TYPES: Final = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "map": cel.Type.DYN,
}


def compile_condition(text: str) -> Any:
    """Return a compiled `when:`; raises PolicyError with CEL's own words and position."""
    env = cel.NewEnv(variables={name: _CEL_TYPES[kind] for name, kind in FACT_TYPES.items()})
    try:
        return env.compile(text)
    except Exception as exc:
        # The binding raises plain exceptions of several kinds for one and the same: a bad rule.
        raise PolicyError(f"the condition `{text}` is not valid CEL: {exc}") from exc


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    condition: Any
    chosen: Classification


@dataclass(frozen=True, slots=True)
class CelPolicy:
    """`services.ports.Classifier` over a compiled policy: the first rule that holds decides."""

    rules: tuple[_Rule, ...]

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
        classes = data["classes"]
        return cls(tuple(_rule(entry, classes) for entry in data["rules"]))

    def classify(self, facts: Mapping[str, Any]) -> Classification:
        """Return the class of an object with these facts; raises PolicyError when no rule holds."""
        for rule in self.rules:
            if _holds(rule.condition, facts):
                return rule.chosen
        raise PolicyError("no classification rule holds for the object; end the list with `true`")


def _rule(entry: Mapping[str, Any], classes: Mapping[str, Any]) -> _Rule:
    name, wanted = entry["name"], entry["class"]
    if wanted not in classes:
        raise PolicyError(f"rule {name} names class {wanted}, which does not exist")
    chosen = classes[wanted]
    return _Rule(
        name,
        compile_condition(entry["when"]),
        Classification(
            object_class=wanted,
            rule=name,
            retention_class=chosen["retention"],
            zone=chosen["zone"],
            needs_sender_digest=chosen.get("needs_sender_digest", False),
        ),
    )


def _holds(condition: Any, facts: Mapping[str, Any]) -> bool:
    result = condition.eval(data=dict(facts))
    # An attribute the object does not have makes a condition an error, which is not true.
    return result.type() == cel.Type.BOOL and bool(result.value())
