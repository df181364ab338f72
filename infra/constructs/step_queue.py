"""The queues of a step: what it works on, and what it gave up on."""

from typing import Final

from aws_cdk import Duration, aws_cloudwatch, aws_events, aws_events_targets, aws_sns, aws_sqs
from constructs import Construct

from infra.constructs.alarm import Bound, alarm
from infra.settings import Settings
from infra.steps import VISIBILITY_FACTOR, StepSpec, physical_name

__all__ = ["DeadLetters", "StepQueue"]

_TRIES: Final = 5
_RETENTION: Final = Duration.days(14)
"""The most SQS keeps, counted from the first enqueue: also what a message keeps when it moves."""


class DeadLetters(Construct):
    """What a step gave up on.

    Defaults: encrypted, TLS only, kept 14 days, an alarm on the first message.
    """

    def __init__(
        self, scope: Construct, spec: StepSpec, settings: Settings, topic: aws_sns.ITopic
    ) -> None:
        super().__init__(scope, "DeadLetters")
        self.queue = aws_sqs.Queue(
            self,
            "Queue",
            queue_name=f"{physical_name(settings.prefix, spec.step)}-dead",
            encryption=aws_sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=_RETENTION,
        )
        alarm(
            self,
            "DepthAlarm",
            Bound(
                self.queue.metric_approximate_number_of_messages_visible(statistic="Maximum"),
                above=0,
            ),
            tell=topic,
            meaning=f"{spec.step} gave up on a message: `forebay logs {spec.step}` shows why.",
        )
        _age_alarm(self, self.queue, 7 * 86_400, topic, f"{spec.step}'s dead letters expire soon.")


class StepQueue(Construct):
    """A step's queue with its dead letters.

    Defaults: encrypted, TLS only, kept 14 days, dead-lettered after five tries, an alarm on the
    age of the oldest message. See `infra.steps` for its visibility.
    """

    def __init__(
        self, scope: Construct, spec: StepSpec, settings: Settings, topic: aws_sns.ITopic
    ) -> None:
        super().__init__(scope, "Queue")
        self.dead_letters = DeadLetters(self, spec, settings, topic)
        seconds = spec.size.timeout(settings.profile) * VISIBILITY_FACTOR[settings.profile]
        self.queue = aws_sqs.Queue(
            self,
            "Queue",
            queue_name=physical_name(settings.prefix, spec.step),
            encryption=aws_sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(seconds),
            retention_period=_RETENTION,
            dead_letter_queue=aws_sqs.DeadLetterQueue(
                max_receive_count=_TRIES, queue=self.dead_letters.queue
            ),
        )
        _age_alarm(self, self.queue, spec.age_alarm_s, topic, f"{spec.step} is falling behind.")

    def receive(self, pattern: aws_events.EventPattern, bus: aws_events.IEventBus) -> None:
        """Receive a bus's events that match a pattern; undeliverable ones are dead letters too."""
        aws_events.Rule(
            self,
            "Rule",
            event_bus=bus,
            event_pattern=pattern,
            targets=[
                aws_events_targets.SqsQueue(self.queue, dead_letter_queue=self.dead_letters.queue)
            ],
        )


def _age_alarm(
    scope: Construct, queue: aws_sqs.Queue, seconds: int, topic: aws_sns.ITopic, meaning: str
) -> aws_cloudwatch.Alarm:
    return alarm(
        scope,
        "AgeAlarm",
        Bound(queue.metric_approximate_age_of_oldest_message(statistic="Maximum"), above=seconds),
        tell=topic,
        meaning=meaning,
    )
