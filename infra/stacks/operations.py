"""What tells people: the alarm topic and the dashboard.

Deployed before `ingest`, whose alarms publish to the topic. The dashboard therefore speaks of
functions and queues by name (`infra.steps.physical_name`): a reference would point the other way.
"""

from collections.abc import Iterator

from aws_cdk import (
    Aws,
    Duration,
    Stack,
    aws_cloudwatch,
    aws_iam,
    aws_kms,
    aws_sns,
    aws_sns_subscriptions,
)
from constructs import Construct

from forebay.names import Step
from infra import outputs
from infra.settings import Settings
from infra.steps import STEPS, Invoked, physical_name

__all__ = ["OperationsStack"]


class OperationsStack(Stack):
    """An encrypted topic that only takes TLS, and one dashboard: a row for each step."""

    def __init__(self, scope: Construct, settings: Settings, *, key: aws_kms.IKey) -> None:
        super().__init__(
            scope,
            "operations",
            stack_name=f"{settings.prefix}-operations",
            description="Forebay: alarms and dashboard.",
        )
        self.topic = aws_sns.Topic(
            self,
            "Alarms",
            topic_name=f"{settings.prefix}-alarms",
            display_name="Forebay alarms",
            master_key=key,
            enforce_ssl=True,
        )
        # The policy that refuses plain HTTP takes the place of SNS's own, which let the account in.
        self.topic.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=[aws_iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if settings.alarm_email:
            self.topic.add_subscription(
                aws_sns_subscriptions.EmailSubscription(settings.alarm_email)
            )
        dashboard = aws_cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=settings.prefix,
            default_interval=Duration.hours(6),
            widgets=[list(_row(step, settings.prefix)) for step in STEPS],
        )
        outputs.write(
            self, AlarmTopicArn=self.topic.topic_arn, DashboardName=dashboard.dashboard_name
        )


def _row(step: Step, prefix: str) -> Iterator[aws_cloudwatch.IWidget]:
    """Yield a step's graphs: how much it does and how often it fails, how long it takes, its queue.

    Only queue-driven steps have a queue; the others' graph shows their dead letters. What is called
    by name has neither.
    """
    name = physical_name(prefix, step)
    function = {"FunctionName": name}
    yield _graph(
        f"{step}: invocations",
        _metric("AWS/Lambda", "Invocations", "Sum", function),
        _metric("AWS/Lambda", "Errors", "Sum", function),
        _metric("AWS/Lambda", "Throttles", "Sum", function),
    )
    yield _graph(
        f"{step}: duration",
        _metric("AWS/Lambda", "Duration", "p50", function),
        _metric("AWS/Lambda", "Duration", "p99", function),
    )
    if isinstance(STEPS[step].trigger, Invoked):
        return
    yield _graph(
        f"{step}: waiting, dead",
        _metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", {"QueueName": name}),
        _metric(
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "Maximum",
            {"QueueName": f"{name}-dead"},
        ),
    )


def _graph(title: str, *metrics: aws_cloudwatch.IMetric) -> aws_cloudwatch.GraphWidget:
    return aws_cloudwatch.GraphWidget(title=title, left=list(metrics), width=8, height=5)


def _metric(
    namespace: str, name: str, statistic: str, dimensions: dict[str, str]
) -> aws_cloudwatch.Metric:
    return aws_cloudwatch.Metric(
        namespace=namespace, metric_name=name, statistic=statistic, dimensions_map=dimensions
    )
