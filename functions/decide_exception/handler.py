"""decide_exception: invoked with a person's signed order, approve, refuse or end an exception."""

from typing import Any

from forebay.adapters.exception_orders import decision_of
from forebay.adapters.orders import given_order
from forebay.names import Step
from forebay.runtime.deciding import tell_exception
from forebay.runtime.wiring import wiring


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Decide about an exception, which takes another person than the one who asked for it."""
    given = given_order(event, context.function_name)
    decide = wiring().decide_exception(context.invoked_function_arn)
    return tell_exception(decide(given, decision_of(given)), Step.DECIDE_EXCEPTION)
