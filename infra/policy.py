"""Compiles `policies/` to the JSON files that the `policy` layer carries: rules and prices.

The result is sorted, so the same policy is the same layer.
"""

import json
from pathlib import Path
from typing import Any, Final

from forebay.adapters.policy_source import compile_folder, policy_of
from forebay.adapters.price_table import compiled_prices
from forebay.domain.policy.classes import Policy
from forebay.names import POLICY_FILE, POLICY_PACKAGE, PRICES_FILE
from infra.settings import ROOT

__all__ = ["POLICIES", "compile_policies", "read_policy", "write_policy"]

POLICIES: Final = ROOT / "policies"


def compile_policies(folder: Path = POLICIES) -> dict[str, Any]:
    """Return the compiled policy of a folder.

    Raises:
        PolicyError: what is wrong, a line for each problem with file, line and place.
    """
    return compile_folder(folder)


def read_policy(folder: Path = POLICIES) -> Policy:
    """Return the policy of a folder, for stacks to build what it promises; raises PolicyError."""
    return policy_of(compile_policies(folder))


def write_policy(layer: Path, folder: Path = POLICIES) -> None:
    """Write the compiled policies into a built layer, as a package of its own."""
    target = layer / "python" / POLICY_PACKAGE / POLICY_FILE
    target.parent.mkdir(parents=True)
    (target.parent / "__init__.py").write_text('"""The compiled policy of this deployment."""\n')
    for name, data in (
        (POLICY_FILE, compile_policies(folder)),
        (PRICES_FILE, compiled_prices(folder)),
    ):
        text = json.dumps(data, indent=1, sort_keys=True) + "\n"
        target.with_name(name).write_text(text)
