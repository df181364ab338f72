"""Every function at one glance: what wakes it, how big it is, how many run at once.

A step's name is that of its folder under `functions/`; its physical name, the same for the
function, its queue and its log group, is `{prefix}-{step with hyphens}`.

Visibility of a queue is `VISIBILITY_FACTOR` times its function's timeout: AWS asks for six, so
that a batch throttled a few times is not delivered twice. Locally a second try after a killed
function should not take minutes, and MiniStack does not throttle: two.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from aws_cdk import Aws

from forebay.names import Step
from infra.settings import Profile, Settings

__all__ = [
    "STEPS",
    "DeadLetters",
    "Invoked",
    "Layer",
    "Queue",
    "Schedule",
    "Size",
    "StepSpec",
    "Stream",
    "dead_letter_arn",
    "dead_letter_name",
    "function_arn",
    "physical_name",
    "queue_arn",
    "queue_url",
    "trigger_of",
    "visibility_s",
]

VISIBILITY_FACTOR: Final = {Profile.CLOUD: 6, Profile.LOCAL: 2}
"""Queue visibility over function timeout."""


class Layer:
    """Names of the layers, each a folder under `layers/`."""

    COMMON: Final = "common"
    POWERTOOLS: Final = "powertools"
    GENOMICS: Final = "genomics"
    POLICY: Final = "policy"
    ALL: Final = (COMMON, POWERTOOLS, GENOMICS, POLICY)


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
class Queue:
    """Woken by its own queue, `batch` messages at a time; `age_alarm_s` is how old one may get."""

    batch: int
    at_most: int
    age_alarm_s: int


@dataclass(frozen=True, slots=True)
class Stream:
    """Woken by the catalog's stream; `at_most` batches of a shard run in parallel."""

    batch: int
    at_most: int
    age_alarm_s: int


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Woken by what the other steps gave up on; `at_most` is per dead-letter queue."""

    batch: int
    at_most: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Woken by the clock every so many minutes, in the cloud and locally.

    `missed` in a row are an alarm; `tries` is how often a failed one is begun again at once.
    """

    minutes: int
    local_minutes: int
    missed: int
    tries: int = 2
    at_most: int = 1

    def every(self, profile: Profile) -> int:
        """Return the minutes between two invocations."""
        return self.minutes if profile is Profile.CLOUD else self.local_minutes


@dataclass(frozen=True, slots=True)
class Invoked:
    """Called by name: by a state machine, or by a person."""

    at_most: int


Trigger: TypeAlias = Queue | Stream | DeadLetters | Schedule | Invoked
_T = TypeVar("_T", Queue, Stream, DeadLetters, Schedule, Invoked)


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One function: its size, what wakes it, and the layers beyond those that all have."""

    step: Step
    size: Size
    trigger: Trigger
    extra_layers: tuple[str, ...] = ()
    named_role: bool = False
    """Its role is named as its function: bucket policies of another stack speak of it."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers; no two hold the same package, so their order means nothing."""
        return (Layer.COMMON, Layer.POWERTOOLS, *self.extra_layers)

    def at_most(self, profile: Profile) -> int:
        """Return how many invocations run at a time.

        Locally each is a process of this machine that unpacks and imports its layers: two, the
        fewest an SQS event source accepts.
        """
        most = self.trigger.at_most
        return most if profile is Profile.CLOUD else min(most, 2)


def trigger_of(step: Step, kind: type[_T]) -> _T:
    """Return what wakes a step, which must be of this kind; raises TypeError when it is not."""
    trigger = STEPS[step].trigger
    if not isinstance(trigger, kind):
        raise TypeError(f"{step} is woken by {trigger}, not by a {kind.__name__}")
    return trigger


def visibility_s(step: Step, profile: Profile) -> int:
    """Return for how many seconds a message that a step works on stays hidden from others."""
    return STEPS[step].size.timeout(profile) * VISIBILITY_FACTOR[profile]


def physical_name(prefix: str, step: Step) -> str:
    """Return the physical name of a step's function, and of its queue."""
    return f"{prefix}-{step.value.replace('_', '-')}"


def dead_letter_name(prefix: str, step: Step) -> str:
    """Return the physical name of a step's dead-letter queue."""
    return f"{physical_name(prefix, step)}-dead"


def function_arn(settings: Settings, step: Step) -> str:
    """Return the ARN of a step's function, built as that of its queue."""
    name = physical_name(settings.prefix, step)
    return f"arn:{Aws.PARTITION}:lambda:{Aws.REGION}:{Aws.ACCOUNT_ID}:function:{name}"


def queue_arn(settings: Settings, step: Step) -> str:
    """Return the ARN of a step's queue, built: a reference would tie the stacks to each other."""
    return _queue_arn(physical_name(settings.prefix, step))


def queue_url(settings: Settings, step: Step) -> str:
    """Return the URL of a step's queue, built as its ARN; the local cloud knows it by its name."""
    name = physical_name(settings.prefix, step)
    return f"https://sqs.{Aws.REGION}.{Aws.URL_SUFFIX}/{Aws.ACCOUNT_ID}/{name}"


def dead_letter_arn(settings: Settings, step: Step) -> str:
    """Return the ARN of a step's dead-letter queue, built as that of its queue."""
    return _queue_arn(dead_letter_name(settings.prefix, step))


def _queue_arn(name: str) -> str:
    return f"arn:{Aws.PARTITION}:sqs:{Aws.REGION}:{Aws.ACCOUNT_ID}:{name}"


_READS: Final = (Layer.GENOMICS,)
_POLICY: Final = (Layer.POLICY,)

_DAY: Final = 24 * 60

# What 10 landing files a second need: a register or place call is ~100 ms, a DICOM header ~200 ms,
# a FASTQ pass one second per 70-80 MB (FACTS: network per environment), hence 15 min and 1 a batch.
STEPS: Final[dict[Step, StepSpec]] = {
    spec.step: spec
    for spec in (
        # step, Size(memory, timeout, local timeout), Queue(batch, at most, alarm age), extra layers
        StepSpec(Step.REGISTER_OBJECT, Size(512, 30, 15), Queue(10, 20, 300)),
        StepSpec(Step.INSPECT_DICOM, Size(1024, 60, 20), Queue(10, 20, 600)),
        StepSpec(
            Step.INSPECT_GENOMICS, Size(2048, 900, 60), Queue(1, 20, 3600), (*_READS, *_POLICY)
        ),
        StepSpec(Step.PLACE_OBJECT, Size(1024, 900, 20), Queue(5, 20, 1800), _POLICY),
        StepSpec(Step.RELAY_CHANGES, Size(512, 60, 20), Stream(100, 4, 300)),
        StepSpec(Step.SUBMIT_PIPELINE, Size(512, 30, 15), Queue(10, 5, 600)),
        StepSpec(Step.RUN_READ_QC, Size(2048, 900, 60), Invoked(10), _READS),
        StepSpec(Step.RECORD_PIPELINE, Size(512, 30, 15), Queue(10, 5, 600)),
        # Upkeep: what finds what the flow lost.
        StepSpec(Step.ARCHIVE_DEAD_LETTERS, Size(512, 60, 20), DeadLetters(10, 2)),
        StepSpec(Step.SWEEP_DEADLINES, Size(512, 120, 30), Schedule(5, 1, missed=4)),
        StepSpec(
            Step.RECONCILE_STORAGE, Size(1024, 900, 120), Schedule(_DAY, _DAY, missed=2, at_most=2)
        ),
        # The next hour goes on where this one failed; at once it would read its budget again.
        StepSpec(Step.RECHECK_OBJECTS, Size(2048, 900, 60), Schedule(60, 60, missed=3, tries=0)),
        StepSpec(Step.ISSUE_RECEIPT, Size(1024, 300, 30), Invoked(5)),
        # Policy. A run that failed is not begun again at once: the next goes on where it stopped.
        StepSpec(
            Step.EVALUATE_POLICY,
            Size(1024, 900, 60),
            Schedule(15, 1, missed=4, tries=0, at_most=2),
            _POLICY,
            named_role=True,
        ),
        # A log of S3 is minutes of requests to a bucket; each object in it costs two reads of 5 ms.
        StepSpec(Step.LEARN_ACCESS, Size(512, 300, 30), Queue(1, 5, 3600)),
        StepSpec(Step.REQUEST_EXCEPTION, Size(512, 30, 15), Invoked(2)),
        StepSpec(Step.DECIDE_EXCEPTION, Size(512, 30, 15), Invoked(2)),
        # A list of 50,000 objects is some 50 MB of JSON, and is read to be believed.
        StepSpec(Step.REQUEST_DISPOSITION, Size(1024, 60, 15), Invoked(2)),
        StepSpec(Step.DECIDE_DISPOSITION, Size(1024, 60, 15), Invoked(2)),
        StepSpec(Step.DISPOSE_OBJECTS, Size(1024, 900, 60), Invoked(2), _POLICY, named_role=True),
    )
}
