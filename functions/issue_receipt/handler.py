"""issue_receipt: invoked with a site and an upload batch, answer with a signed receipt."""

from typing import Any

from forebay.runtime.receipts import receipt_answer, receipt_request
from forebay.runtime.wiring import wiring


def handler(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Issue a receipt; the ledger keeps it, the answer holds it unless it is too large."""
    return receipt_answer(wiring().issue_receipt(*receipt_request(event)))
