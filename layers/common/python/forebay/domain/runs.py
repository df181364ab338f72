"""One run of a pipeline over verified inputs."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """Where a pipeline run stands."""

    SUBMITTING = "SUBMITTING"
    """Claimed; the engine may or may not have it. Submitting again is harmless."""
    SUBMITTED = "SUBMITTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED})


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """A run is identified by pipeline, version and input digests: equal inputs, equal run."""

    run_id: str
    pipeline: str
    pipeline_version: str
    site: str
    sample: str
    state: RunState
    state_since: datetime
    version: int = 1
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Role of each input (`R1`, `R2`) → object id."""
    execution_arn: str = ""
    error: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What the engine is given."""

    def moved_to(self, state: RunState, at: datetime, **changes: Any) -> "PipelineRun":
        """Return the run in another state, as its next version."""
        return replace(self, state=state, state_since=at, version=self.version + 1, **changes)


def run_id(pipeline: str, version: str, input_digests: Iterable[tuple[str, str]]) -> str:
    """Return `<pipeline>-<32 hex>`, derived from version and inputs, fit for an execution name."""
    text = "\n".join([pipeline, version, *(f"{role}={d}" for role, d in sorted(input_digests))])
    return f"{pipeline}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
