"""Compiles `policies/*.yaml` to the one JSON file that the `policy` layer carries.

What is wrong with a policy is found here, at synth, not by a function at night: the file is YAML
and valid against `policies/schema.json` (where that exists), and every `when:` is a CEL expression
that compiles and answers yes or no. The result is sorted, so the same policy is the same layer.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml
from cel_expr_python import cel

from forebay.domain.classification import FACT_TYPES
from forebay.errors import PolicyError
from forebay.names import FOLDERS, POLICY_FILE, POLICY_PACKAGE
from infra.settings import ROOT

__all__ = ["POLICIES", "compile_policies", "write_policy"]

POLICIES: Final = ROOT / "policies"

_CEL_TYPES: Final = {"string": cel.Type.STRING, "int": cel.Type.INT, "map": cel.Type.DYN}


def compile_policies(folder: Path = POLICIES) -> dict[str, Any]:
    """Return the policies of a folder, checked and merged: the files' top-level keys.

    Raises:
        PolicyError: a file does not say what it must; the sentence names file and place.
    """
    sources = sorted(folder.glob("*.yaml"))
    if not sources:
        raise PolicyError(f"{folder} holds no policy: expected classes.yaml there.")
    merged: dict[str, Any] = {}
    for source in sources:
        document = _read(source)
        for key in document:
            if key in merged:
                raise PolicyError(f"{source.name}: {key!r} is already set by another policy file.")
        _check_conditions(source, document)
        merged |= document
    _check_schema(folder / "schema.json", merged)
    _check_classes(merged)
    return merged


def write_policy(layer: Path, folder: Path = POLICIES) -> None:
    """Write the compiled policies into a built layer, as a package of its own."""
    target = layer / "python" / POLICY_PACKAGE / POLICY_FILE
    target.parent.mkdir(parents=True)
    (target.parent / "__init__.py").write_text('"""The compiled policy of this deployment."""\n')
    target.write_text(json.dumps(compile_policies(folder), indent=1, sort_keys=True) + "\n")


def _read(source: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(source.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise PolicyError(f"{source.name}: not YAML: {error}") from error
    if not isinstance(document, dict):
        raise PolicyError(f"{source.name}: expected a mapping at the top.")
    return document


def _check_schema(schema: Path, document: dict[str, Any]) -> None:
    if not schema.is_file():
        return
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text("utf-8")))
    for error in validator.iter_errors(document):
        place = "/".join(str(part) for part in error.absolute_path) or "the top"
        raise PolicyError(f"policies, at {place}: {error.message}")


def _check_classes(document: dict[str, Any]) -> None:
    """Check that classes are of zones objects are placed in, and rules choose known classes."""
    classes = document.get("classes") or {}
    for name, chosen in classes.items():
        if chosen.get("zone") not in set(FOLDERS):
            zones = ", ".join(sorted(FOLDERS))
            raise PolicyError(
                f"class {name}: nothing is placed in a zone {chosen.get('zone')!r}, only in "
                f"{zones}."
            )
    for rule in document.get("rules") or ():
        if rule.get("class") not in classes:
            raise PolicyError(f"rule {rule.get('name')!r}: no class {rule.get('class')!r}.")


def _check_conditions(source: Path, document: dict[str, Any]) -> None:
    facts = {name: _CEL_TYPES[kind] for name, kind in FACT_TYPES.items()}
    environment = cel.NewEnv(variables=facts)
    for place, condition in _conditions(document, ""):
        try:
            result = environment.compile(condition).return_type()
        except Exception as error:
            raise PolicyError(f"{source.name}, {place}: {condition!r}: {error}") from error
        if result not in (cel.Type.BOOL, cel.Type.DYN):
            raise PolicyError(f"{source.name}, {place}: {condition!r} is not a yes-or-no question.")


def _conditions(node: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield each `when:` with the path that leads to it."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "when" and isinstance(value, str):
                yield f"{place}/when", value
            else:
                yield from _conditions(value, f"{place}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _conditions(value, f"{place}/{index}")
