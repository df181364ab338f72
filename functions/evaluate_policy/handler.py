"""evaluate_policy: every quarter of an hour, or by name for an exception or for some objects."""

from dataclasses import replace
from typing import Any, Final

from forebay.runtime.evaluating import report_census, report_evaluations, tell_objects
from forebay.runtime.wiring import wiring
from forebay.services.evaluate_policy import Order

SHARE: Final = 0.8
"""Part of the time that a run plans to use; the rest is for what it is at."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do what is asked: an exception's effect, an order about objects, a census, or what is due."""
    seconds = SHARE * context.get_remaining_time_in_millis() / 1000
    if event.get("census"):
        return report_census(replace(wiring().count_stored, seconds=seconds)())
    evaluate = replace(wiring().evaluate_policy, seconds=seconds)
    if "exception_id" in event:
        return evaluate.exception(event["exception_id"]).as_dict()
    if "object_ids" in event:
        said = (event.get(name, "") for name in ("note", "plan_id", "approved_by"))
        order = Order(event["by"], *said)
        done = evaluate.objects(event["object_ids"], order)
        return tell_objects(done, wiring().classifier.policy.digest)
    return report_evaluations(evaluate())
