"""The clock that wakes a step, and what happens when it does not, or when the step fails."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import (
    Duration,
    aws_events,
    aws_events_targets,
    aws_lambda,
    aws_lambda_destinations,
    aws_sns,
)
from constructs import Construct

from forebay.names import Step
from infra.constructs.alarm import Above, Notice, Silent, alarm
from infra.constructs.step_queue import FailureQueue
from infra.runbooks import Runbook
from infra.settings import Settings
from infra.steps import Schedule, trigger_of

__all__ = ["StepSchedule"]

_DAY: int = 24 * 60
_GIVE_UP: int = 2
"""Invocations that could not begin are dropped after so many periods: a later one does the same."""


class StepSchedule(Construct):
    """A rule for each input (one without, when there is none) that invokes a step's function.

    Inputs that are `nightly` come once a day, whatever the step's own rhythm.

    Defaults: what could not be delivered, and what failed in every try, goes to the step's
    failure queue; an alarm on errors, and one when it was not invoked a few times in a row.
    """

    def __init__(  # noqa: PLR0913 - what it wakes, and who is told of what
        self,
        scope: Construct,
        step: Step,
        settings: Settings,
        *,
        function: aws_lambda.Function,
        failures: FailureQueue,
        topic: aws_sns.ITopic,
        inputs: Mapping[str, Mapping[str, Any]],
        nightly: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(scope, "Schedule")
        trigger = trigger_of(step, Schedule)
        minutes = trigger.every(settings.profile)
        age = Duration.minutes(max(1, min(_GIVE_UP * minutes, 6 * 60)))
        function.configure_async_invoke(
            on_failure=aws_lambda_destinations.SqsDestination(failures.queue),
            retry_attempts=trigger.tries,
            max_event_age=age,
        )
        rules = [
            *((each, minutes) for each in enumerate((inputs or {"": {}}).items())),
            *((each, _DAY) for each in enumerate((nightly or {}).items())),
        ]
        for (number, (name, event)), every in rules:
            aws_events.Rule(
                self,
                f"Rule{name}",
                schedule=_schedule(every, number),
                targets=[
                    aws_events_targets.LambdaFunction(
                        function,
                        event=aws_events.RuleTargetInput.from_object(event) if event else None,
                        dead_letter_queue=failures.queue,
                        retry_attempts=trigger.tries,
                        max_event_age=age,
                    )
                ],
            )
        alarm(
            self,
            "ErrorAlarm",
            Above.once(function.metric_errors(statistic="Sum")),
            Notice(f"{step} failed: `forebay logs {step}` shows why.", Runbook.UPKEEP_FAILED),
            tell=topic,
        )
        alarm(
            self,
            "SilentAlarm",
            Silent(function.metric_invocations(statistic="Sum"), minutes, trigger.missed),
            Notice(
                f"{step} was not started {trigger.missed} times in a row.", Runbook.UPKEEP_FAILED
            ),
            tell=topic,
        )


def _schedule(minutes: int, number: int) -> aws_events.Schedule:
    """Return a rate; what runs once a day runs at night, each ten minutes after the one before."""
    if minutes < _DAY:
        return aws_events.Schedule.rate(Duration.minutes(minutes))
    return aws_events.Schedule.cron(hour=str(1 + number * 10 // 60), minute=str(number * 10 % 60))
