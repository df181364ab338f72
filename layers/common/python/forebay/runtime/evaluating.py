"""What evaluations leave behind: metrics, log lines, answers, and an error on failures."""

from collections import Counter
from typing import Any, Final

from aws_lambda_powertools import Logger

from forebay.domain.policy.decision import Violation
from forebay.domain.policy.pricing import rounded
from forebay.names import Step
from forebay.runtime.metrics import COUNT, MetricUnit, put_metric
from forebay.services.count_stored import Census
from forebay.services.evaluate_policy import Evaluated, Evaluations, Outcome, answers

_STEP: Final = Step.EVALUATE_POLICY.value
_CHANGED: Final = (Outcome.CHANGED, Outcome.WARMED, Outcome.RESTORING)


def report_evaluations(done: Evaluations) -> dict[str, Any]:
    """Write a run's metrics and return them; all of them every run, so that silence shows.

    Raises ExceptionGroup with what failed: the run is a failed one, although others were evaluated.
    """
    counts = {
        "EvaluatedObjects": len(done.results),
        "ChangedObjects": done.count(*_CHANGED),
        "Warmed": done.count(Outcome.WARMED),
        "ExceptionsReached": done.exceptions_reached,
        "EvaluationFailures": len(done.failures),
    }
    for name, amount in counts.items():
        put_metric(name, amount, step=_STEP)
    put_metric("OldestDueSeconds", int(done.late_seconds), unit=MetricUnit.Seconds, step=_STEP)
    _tell_changes(done)
    if done.failures:
        raise ExceptionGroup(
            f"{len(done.failures)} objects could not be evaluated",
            [failure for _, failure in done.failures],
        )
    return counts


def tell_objects(done: Evaluations, policy: str) -> dict[str, Any]:
    """Write the metrics of an order about objects, and return what became of each."""
    _tell_changes(done)
    return {"policy": policy, "objects": list(answers(done))}


def report_census(census: Census) -> dict[str, Any]:
    """Write how much lies where, and how it grows; return the sums."""
    for heap, amount in census.heaps.items():
        place = {"class": heap.object_class, "tier": heap.storage_class.value}
        put_metric("StoredObjects", amount.objects, unit=COUNT, **place)
        put_metric("StoredBytes", amount.size_bytes, unit=MetricUnit.Bytes, **place)
        if amount.monthly:
            # Of what lies there now, at list prices, in the currency of the price table.
            monthly = float(rounded(amount.monthly, 4))
            put_metric("ProjectedMonthlyCost", monthly, unit=COUNT, **place)
    sums = {
        "GrownObjects": census.grown.objects,
        "GrownBytes": census.grown.size_bytes,
        "IncompleteCensus": int(not census.is_complete),
    }
    for name, total in sums.items():
        unit = MetricUnit.Bytes if name.endswith("Bytes") else COUNT
        put_metric(name, total, unit=unit, step=_STEP)
    return {
        "objects": sum(amount.objects for amount in census.heaps.values()),
        "bytes": sum(amount.size_bytes for amount in census.heaps.values()),
        **sums,
    }


def _tell_changes(done: Evaluations) -> None:
    kinds = Counter(
        violation for each in done.results if each.after for violation in each.after.violations
    )
    for violation in Violation:
        put_metric("Violations", kinds[violation], kind=violation.value)
    moves = Counter(move for each in done.results if (move := _transition(each)))
    for (left, entered), times in moves.items():
        put_metric("Transitions", times, unit=COUNT, **{"from": left, "to": entered})
    logger = Logger(service=Step.EVALUATE_POLICY.value)
    for each in done.results:
        if each.after and each.after.violations:
            said = [violation.value for violation in each.after.violations]
            logger.warning("against policy", object_id=each.object_id, violations=said)
    for object_id, failure in done.failures:
        logger.error("trouble", object_id=object_id, error=type(failure).__name__)


def _transition(each: Evaluated) -> tuple[str, str] | None:
    """Return from which to which storage class a decision sends an object."""
    if each.before is None or each.after is None or each.before.target is each.after.target:
        return None
    return each.before.target.value, each.after.target.value
