"""request_exception: invoked with a person's signed order, note what exception they ask for."""

from typing import Any

from forebay.adapters.exception_orders import wish_of
from forebay.adapters.orders import given_order
from forebay.names import Step
from forebay.runtime.deciding import tell_exception
from forebay.runtime.wiring import wiring


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Ask for an exception from policy; it counts once another person approves it."""
    given = given_order(event, context.function_name)
    request = wiring().request_exception(context.invoked_function_arn)
    return tell_exception(request(given, wish_of(given)), Step.REQUEST_EXCEPTION)
