"""Metrics as log lines (CloudWatch embedded metric format), one each: alarms name them alone."""

from typing import Final

from aws_lambda_powertools import single_metric
from aws_lambda_powertools.metrics import MetricUnit

from forebay.names import METRICS_NAMESPACE

__all__ = ["COUNT", "MetricUnit", "put_metric"]

COUNT: Final = MetricUnit.Count


def put_metric(name: str, amount: float, *, unit: MetricUnit = COUNT, **dimensions: str) -> None:
    """Write one metric with its dimensions."""
    with single_metric(
        name=name,
        unit=unit,
        value=amount,
        namespace=METRICS_NAMESPACE,
        default_dimensions=dimensions,
    ):
        pass
