"""What a recheck run leaves behind: metrics, log lines, and an error when something failed."""

from typing import Final

from aws_lambda_powertools import Logger

from forebay.names import Step
from forebay.runtime.metrics import COUNT, MetricUnit, put_metric
from forebay.services.recheck_objects import DIFFERENCES, Outcome, Rechecks

_QUIET: Final = frozenset({Outcome.EQUAL, Outcome.MOVED, Outcome.TOO_LARGE})


def report_rechecks(done: Rechecks) -> dict[str, int]:
    """Write a run's metrics and return them; all of them every run, so that silence shows.

    Raises ExceptionGroup with what failed: the run is a failed one, although the others were read.
    """
    counts = {
        "RecheckedObjects": done.count(Outcome.EQUAL, *DIFFERENCES),
        "RecheckedBytes": done.read_bytes,
        "Differences": done.count(*DIFFERENCES),
        "Healed": done.count(Outcome.HEALED),
        "Convicted": done.count(Outcome.CONVICTED),
        "TooLargeToRecheck": done.count(Outcome.TOO_LARGE),
        "RecheckFailures": len(done.failures),
    }
    for name, amount in counts.items():
        unit = MetricUnit.Bytes if name.endswith("Bytes") else COUNT
        put_metric(name, amount, unit=unit, step=Step.RECHECK_OBJECTS.value)
    _log(done)
    if done.failures:
        raise ExceptionGroup(
            f"{len(done.failures)} objects could not be rechecked",
            [failure for _, failure in done.failures],
        )
    return counts


def _log(done: Rechecks) -> None:
    logger = Logger(service=Step.RECHECK_OBJECTS.value)
    for result in done.results:
        if result.outcome not in _QUIET:
            logger.error(result.outcome.value, object_id=result.object_id)
    for object_id, failure in done.failures:
        logger.error("trouble", object_id=object_id, error=type(failure).__name__)
