"""An alarm that tells somebody, and says which page to open."""

from dataclasses import dataclass

from aws_cdk import Duration, aws_cloudwatch, aws_cloudwatch_actions, aws_sns
from constructs import Construct

from forebay.names import METRICS_NAMESPACE
from infra.runbooks import Runbook

__all__ = ["Above", "Notice", "Silent", "alarm", "forebay_metric"]


@dataclass(frozen=True, slots=True)
class Above:
    """A metric and what it should not be above, in `breaching` of `periods` of some minutes.

    No data is no alarm: a queue nobody uses reports nothing.
    """

    metric: aws_cloudwatch.Metric
    bound: float
    minutes: int = 1
    breaching: int = 5
    periods: int = 10

    @classmethod
    def once(cls, metric: aws_cloudwatch.Metric, *, minutes: int = 5) -> "Above":
        """Return the condition that something happened at all."""
        return cls(metric, 0, minutes=minutes, breaching=1, periods=1)


@dataclass(frozen=True, slots=True)
class Silent:
    """A metric that should never be zero for so many periods of some minutes; nor missing."""

    metric: aws_cloudwatch.Metric
    minutes: int
    periods: int


@dataclass(frozen=True, slots=True)
class Notice:
    """The sentence that whoever is woken reads, and the page they then open."""

    meaning: str
    runbook: Runbook

    def __str__(self) -> str:
        """Return what the alarm's description says."""
        return f"{self.meaning} Runbook: {self.runbook.path}"


def alarm(
    scope: Construct,
    name: str,
    when: Above | Silent,
    notice: Notice,
    *,
    tell: aws_sns.ITopic,
) -> aws_cloudwatch.Alarm:
    """Raise an alarm, and tell a topic when it begins and when it is over."""
    comparison = aws_cloudwatch.ComparisonOperator
    missing = aws_cloudwatch.TreatMissingData
    is_above = isinstance(when, Above)
    raised = aws_cloudwatch.Alarm(
        scope,
        name,
        metric=when.metric.with_(period=Duration.minutes(when.minutes)),
        threshold=when.bound if isinstance(when, Above) else 1,
        comparison_operator=comparison.GREATER_THAN_THRESHOLD
        if is_above
        else comparison.LESS_THAN_THRESHOLD,
        evaluation_periods=when.periods,
        datapoints_to_alarm=when.breaching if isinstance(when, Above) else when.periods,
        treat_missing_data=missing.NOT_BREACHING if is_above else missing.BREACHING,
        alarm_description=str(notice),
    )
    raised.add_alarm_action(aws_cloudwatch_actions.SnsAction(tell))
    raised.add_ok_action(aws_cloudwatch_actions.SnsAction(tell))
    return raised


def forebay_metric(name: str, statistic: str = "Sum", **dimensions: str) -> aws_cloudwatch.Metric:
    """Return a metric that the functions write themselves."""
    return aws_cloudwatch.Metric(
        namespace=METRICS_NAMESPACE,
        metric_name=name,
        dimensions_map=dimensions,
        statistic=statistic,
    )
