"""sweep_deadlines: every few minutes, find what stands still and give it to its step again."""

from typing import Any

from forebay.runtime.sweeping import report_sweep
from forebay.runtime.wiring import wiring


def handler(_event: dict[str, Any], _context: Any) -> dict[str, int]:
    """Sweep once; answer with what was done and how much waits for a person."""
    return report_sweep(wiring().sweep_deadlines())
