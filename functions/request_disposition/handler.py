"""request_disposition: invoked with a person's signed order, note what they want deleted."""

from typing import Any

from forebay.adapters.disposition_orders import draft_of
from forebay.adapters.orders import given_order
from forebay.names import Step, Zone
from forebay.runtime.disposing import tell_disposition
from forebay.runtime.wiring import wiring


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Ask for a disposition; nothing is deleted unless another person approves it."""
    given = given_order(event, context.function_name)
    request = wiring().request_disposition(context.invoked_function_arn)
    draft = draft_of(given, wiring().settings.bucket(Zone.LEDGER))
    return tell_disposition(request(given, draft), Step.REQUEST_DISPOSITION)
