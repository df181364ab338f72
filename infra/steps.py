"""Every function at one glance: what wakes it, how big it is, how many run at once.

A step's name is that of its folder under `functions/`; its physical name, the same for the
function, its queue and its log group, is `{prefix}-{step with hyphens}`.

Visibility of a queue is `VISIBILITY_FACTOR` times its function's timeout: AWS asks for six, so
that a batch throttled a few times is not delivered twice. Locally a second try after a killed
function should not take minutes, and MiniStack does not throttle: two.
"""

from dataclasses import dataclass
from typing import Final

from forebay.names import Step
from infra.settings import Profile

__all__ = ["STEPS", "VISIBILITY_FACTOR", "Layer", "Size", "StepSpec", "physical_name"]

VISIBILITY_FACTOR: Final = {Profile.CLOUD: 6, Profile.LOCAL: 2}
"""Queue visibility over function timeout."""


class Layer:
    """Names of the layers, each a folder under `layers/`."""

    COMMON: Final = "common"
    POWERTOOLS: Final = "powertools"
    DICOM: Final = "dicom"
    GENOMICS: Final = "genomics"
    POLICY: Final = "policy"
    ALL: Final = (COMMON, POWERTOOLS, DICOM, GENOMICS, POLICY)


@dataclass(frozen=True, slots=True)
class Size:
    """What one invocation gets.

    Memory is MB (1,769 MB is one vCPU), the timeouts are seconds, in the cloud and locally.
    """

    memory_mb: int
    timeout_s: int
    local_timeout_s: int

    def timeout(self, profile: Profile) -> int:
        """Return the timeout in seconds."""
        return self.timeout_s if profile is Profile.CLOUD else self.local_timeout_s


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One function.

    `batch` messages per invocation; `concurrency` is the most invocations at a time (for the
    stream: parallel batches per shard); `age_alarm_s` is how old the oldest message may get;
    `invoked` means that a state machine calls it, not a queue.
    """

    step: Step
    size: Size
    batch: int
    concurrency: int
    age_alarm_s: int
    extra_layers: tuple[str, ...] = ()
    invoked: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers; no two hold the same package, so their order means nothing."""
        return (Layer.COMMON, Layer.POWERTOOLS, *self.extra_layers)

    def at_most(self, profile: Profile) -> int:
        """Return how many invocations run at a time.

        Locally each is a process of this machine that unpacks and imports its layers: two, the
        fewest an SQS event source accepts.
        """
        return self.concurrency if profile is Profile.CLOUD else min(self.concurrency, 2)


def physical_name(prefix: str, step: Step) -> str:
    """Return the physical name of a step's function, and of its queue."""
    return f"{prefix}-{step.value.replace('_', '-')}"


_DICOM: Final = (Layer.DICOM,)
_READS: Final = (Layer.GENOMICS,)
_POLICY: Final = (Layer.POLICY,)

# What 10 landing files a second need: a register or place call is ~100 ms, a DICOM header ~200 ms,
# a FASTQ pass one second per 70-80 MB (FACTS: network per environment), hence 15 min and 1 a batch.
STEPS: Final[dict[Step, StepSpec]] = {
    spec.step: spec
    for spec in (
        # step, Size(memory, timeout, local timeout), batch, at most, alarm age, extra layers
        StepSpec(Step.REGISTER_OBJECT, Size(512, 30, 15), 10, 20, 300),
        StepSpec(Step.INSPECT_DICOM, Size(1024, 60, 20), 10, 20, 600, _DICOM),
        StepSpec(Step.INSPECT_GENOMICS, Size(2048, 900, 60), 1, 20, 3600, (*_READS, *_POLICY)),
        StepSpec(Step.PLACE_OBJECT, Size(1024, 900, 20), 5, 20, 1800, _POLICY),
        StepSpec(Step.RELAY_CHANGES, Size(512, 60, 20), 100, 4, 300),
        StepSpec(Step.SUBMIT_PIPELINE, Size(512, 30, 15), 10, 5, 600),
        StepSpec(Step.RUN_READ_QC, Size(2048, 900, 60), 1, 10, 3600, _READS, invoked=True),
        StepSpec(Step.RECORD_PIPELINE, Size(512, 30, 15), 10, 5, 600),
    )
}
