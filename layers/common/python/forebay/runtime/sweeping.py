"""What a sweep leaves behind: metrics of what it did, and of what waits for a person."""

from aws_lambda_powertools import Logger

from forebay.names import Step
from forebay.runtime.batch import count_outcomes
from forebay.runtime.metrics import put_metric
from forebay.services.sweep_deadlines import Sweep


def report_sweep(sweep: Sweep) -> dict[str, int]:
    """Write a sweep's metrics and return what it did; `Overdue` also where nothing is.

    Raises ExceptionGroup with what failed: the run is a failed one, although it did the rest.
    """
    count_outcomes(Step.SWEEP_DEADLINES, sweep.outcomes)
    for (state, owner), amount in sweep.overdue.items():
        put_metric("Overdue", amount, state=state, owner=owner.value)
    overdue = sum(sweep.overdue.values())
    logger = Logger(service=Step.SWEEP_DEADLINES.value)
    for subject_id, failure in sweep.failures:
        logger.error("failed", subject_id=subject_id, error=type(failure).__name__)
    logger.info("swept", done=sweep.outcomes, overdue=overdue)
    if sweep.failures:
        failed = [failure for _, failure in sweep.failures]
        raise ExceptionGroup(f"{len(failed)} objects or runs could not be looked after", failed)
    return {**sweep.outcomes, "overdue": overdue}
