"""decide_disposition: invoked with a person's signed order, approve or refuse a disposition."""

from typing import Any

from forebay.adapters.disposition_orders import decision_of
from forebay.adapters.orders import given_order
from forebay.names import Step
from forebay.runtime.disposing import tell_disposition
from forebay.runtime.wiring import wiring


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Decide about a disposition, which takes another person than the one who asked for it."""
    given = given_order(event, context.function_name)
    decide = wiring().decide_disposition(context.invoked_function_arn)
    return tell_disposition(decide(given, decision_of(given)), Step.DECIDE_DISPOSITION)
