"""Which zone each class demands, from the compiled policy; CEL is not needed for that."""

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from forebay.names import POLICY_FILE, POLICY_PACKAGE


def class_zones(path: Path | None = None) -> dict[str, str]:
    """Return zone by class; {} where the function was deployed without the policy."""
    try:
        policy: Traversable = path or files(POLICY_PACKAGE) / POLICY_FILE
        data = json.loads(policy.read_text(encoding="utf-8"))
    except (ModuleNotFoundError, FileNotFoundError):
        return {}
    return {name: chosen["zone"] for name, chosen in data["classes"].items()}
