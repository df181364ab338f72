"""How a scheduled comparison reads its input, watches its time, and reports."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from aws_lambda_powertools import Logger

from forebay.domain.reconciliation import Report
from forebay.names import Step
from forebay.runtime.metrics import put_metric

SPARE_SHARE: Final = 0.15
"""What is left of an invocation for confirming suspects and writing the report."""


def time_is_up(context: Any) -> Callable[[], bool]:
    """Return whether an invocation is about to run out of time."""
    spare_ms = SPARE_SHARE * context.get_remaining_time_in_millis()
    return lambda: context.get_remaining_time_in_millis() < spare_ms


def report_differences(report: Report) -> dict[str, Any]:
    """Write the metrics and one log line of a comparison; return the handler's answer."""
    counts = {kind.value: count for kind, count in sorted(report.counts.items())}
    for kind, count in {"all": sum(counts.values()), **counts}.items():
        put_metric("Differences", count, kind=kind)
    answer = _answer(report, counts)
    Logger(service=Step.RECONCILE_STORAGE.value).info("compared", **answer)
    return answer


def _answer(report: Report, counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "report_id": report.report_id,
        "zone": report.scope.zone.value if report.scope.zone else "all",
        "checked": dict(report.checked),
        "counts": dict(counts),
        "complete": report.is_complete,
    }
