"""An alarm that tells somebody."""

from aws_cdk import Duration, aws_cloudwatch, aws_cloudwatch_actions, aws_sns
from constructs import Construct

__all__ = ["alarm"]


def alarm(
    scope: Construct,
    name: str,
    *,
    above: float,
    metric: aws_cloudwatch.Metric,
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
        metric=metric.with_(period=Duration.minutes(1)),
        threshold=above,
        comparison_operator=aws_cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=10,
        datapoints_to_alarm=5,
        treat_missing_data=aws_cloudwatch.TreatMissingData.NOT_BREACHING,
        alarm_description=meaning,
    )
    raised.add_alarm_action(aws_cloudwatch_actions.SnsAction(tell))
    raised.add_ok_action(aws_cloudwatch_actions.SnsAction(tell))
    return raised
