"""An alarm that tells somebody."""

from dataclasses import dataclass

from aws_cdk import Duration, aws_cloudwatch, aws_cloudwatch_actions, aws_sns
from constructs import Construct

__all__ = ["Bound", "alarm"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A metric and what it should not be above."""

    metric: aws_cloudwatch.Metric
    above: float


def alarm(
    scope: Construct,
    name: str,
    bound: Bound,
    *,
    tell: aws_sns.ITopic,
    meaning: str,
) -> aws_cloudwatch.Alarm:
    """Raise an alarm when a metric is above a bound in five one-minute periods of ten.

    No data is no alarm: a queue nobody uses reports nothing. `meaning` is the sentence that whoever
    is woken reads.
    """
    raised = aws_cloudwatch.Alarm(
        scope,
        name,
        metric=bound.metric.with_(period=Duration.minutes(1)),
        threshold=bound.above,
        comparison_operator=aws_cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=10,
        datapoints_to_alarm=5,
        treat_missing_data=aws_cloudwatch.TreatMissingData.NOT_BREACHING,
        alarm_description=meaning,
    )
    raised.add_alarm_action(aws_cloudwatch_actions.SnsAction(tell))
    raised.add_ok_action(aws_cloudwatch_actions.SnsAction(tell))
    return raised
