"""The queues of a step: what it works on, and what it gave up on."""

from typing import Final

from aws_cdk import Duration, aws_events, aws_events_targets, aws_sns, aws_sqs
from constructs import Construct

from forebay.names import Step
from infra.checks import acknowledge
from infra.constructs.alarm import Above, Notice, alarm
from infra.runbooks import Runbook
from infra.settings import Settings
from infra.steps import Queue, dead_letter_name, physical_name, trigger_of, visibility_s

__all__ = ["DeadLetters", "FailureQueue", "StepQueue"]

_TRIES: Final = 5
_ARCHIVING_TRIES: Final = 10
"""With the visibility of the archiving function, an hour of trouble in the cloud."""
_UNARCHIVED_S: Final = 900
_RETENTION: Final = Duration.days(14)
"""The most SQS keeps, counted from the first enqueue: also what a message keeps when it moves."""


class FailureQueue(Construct):
    """Where a message rests that no function will take up again.

    Defaults: encrypted, TLS only, kept 14 days, an alarm on the first message.
    """

    def __init__(
        self, scope: Construct, step: Step, settings: Settings, topic: aws_sns.ITopic
    ) -> None:
        super().__init__(scope, "Failures")
        self.queue = _queue(self, dead_letter_name(settings.prefix, step))
        acknowledge(self, "SQS3", "It is where messages end: nothing consumes it.")
        alarm(
            self,
            "DepthAlarm",
            Above.once(
                self.queue.metric_approximate_number_of_messages_visible(statistic="Maximum"),
                minutes=1,
            ),
            Notice(
                f"{step} failed for good: `forebay logs {step}` shows why.", Runbook.UPKEEP_FAILED
            ),
            tell=topic,
        )
        _age_alarm(
            self,
            self.queue,
            7 * 86_400,
            Notice(f"What {step} failed on expires in a week.", Runbook.UPKEEP_FAILED),
            topic,
        )


class DeadLetters(Construct):
    """What a step gave up on, until `archive_dead_letters` has written it down.

    Defaults: encrypted, TLS only, kept 14 days, an alarm when a message stays; what cannot be
    archived in ten tries moves on to where nothing consumes it, so that poison does not circle.
    """

    def __init__(
        self,
        scope: Construct,
        step: Step,
        settings: Settings,
        *,
        topic: aws_sns.ITopic,
        failures: aws_sqs.IQueue,
    ) -> None:
        super().__init__(scope, "DeadLetters")
        self.queue = _queue(
            self,
            dead_letter_name(settings.prefix, step),
            visibility_timeout=Duration.seconds(
                visibility_s(Step.ARCHIVE_DEAD_LETTERS, settings.profile)
            ),
            dead_letter_queue=aws_sqs.DeadLetterQueue(
                max_receive_count=_ARCHIVING_TRIES, queue=failures
            ),
        )
        _age_alarm(
            self,
            self.queue,
            _UNARCHIVED_S,
            Notice(
                f"What {step} gave up on is not archived: `forebay logs archive_dead_letters`.",
                Runbook.DEAD_LETTERS,
            ),
            topic,
        )


class StepQueue(Construct):
    """A step's queue with its dead letters.

    Defaults: encrypted, TLS only, kept 14 days, dead-lettered after five tries, an alarm on the
    age of the oldest message. See `infra.steps` for its visibility.
    """

    def __init__(
        self,
        scope: Construct,
        step: Step,
        settings: Settings,
        *,
        topic: aws_sns.ITopic,
        failures: aws_sqs.IQueue,
    ) -> None:
        super().__init__(scope, "Queue")
        self.dead_letters = DeadLetters(self, step, settings, topic=topic, failures=failures)
        self.queue = _queue(
            self,
            physical_name(settings.prefix, step),
            visibility_timeout=Duration.seconds(visibility_s(step, settings.profile)),
            dead_letter_queue=aws_sqs.DeadLetterQueue(
                max_receive_count=_TRIES, queue=self.dead_letters.queue
            ),
        )
        _age_alarm(
            self,
            self.queue,
            trigger_of(step, Queue).age_alarm_s,
            Notice(f"{step} is falling behind.", Runbook.FALLING_BEHIND),
            topic,
        )

    def receive(
        self, pattern: aws_events.EventPattern, bus: aws_events.IEventBus, *, rule: str = "Rule"
    ) -> None:
        """Receive a bus's events that match a pattern; undeliverable ones are dead letters too."""
        aws_events.Rule(
            self,
            rule,
            event_bus=bus,
            event_pattern=pattern,
            targets=[
                aws_events_targets.SqsQueue(self.queue, dead_letter_queue=self.dead_letters.queue)
            ],
        )


def _queue(
    scope: Construct,
    name: str,
    *,
    visibility_timeout: Duration | None = None,
    dead_letter_queue: aws_sqs.DeadLetterQueue | None = None,
) -> aws_sqs.Queue:
    return aws_sqs.Queue(
        scope,
        "Queue",
        queue_name=name,
        encryption=aws_sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        visibility_timeout=visibility_timeout,
        retention_period=_RETENTION,
        dead_letter_queue=dead_letter_queue,
    )


def _age_alarm(
    scope: Construct, queue: aws_sqs.Queue, seconds: int, notice: Notice, topic: aws_sns.ITopic
) -> None:
    oldest = queue.metric_approximate_age_of_oldest_message(statistic="Maximum")
    alarm(scope, "AgeAlarm", Above(oldest, seconds), notice, tell=topic)
