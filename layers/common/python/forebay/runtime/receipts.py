"""How `issue_receipt` is asked, and how it answers."""

from collections.abc import Mapping
from typing import Any, Final

from forebay.errors import MessageError
from forebay.services.issue_receipt import Receipt

INLINE_BYTES: Final = 4 * 1024 * 1024
"""Lambda answers with 6 MB at most; a larger receipt is read from the ledger."""


def receipt_request(event: Mapping[str, Any]) -> tuple[str, str]:
    """Return site and batch; raises MessageError."""
    site, batch = event.get("site"), event.get("batch")
    if not (isinstance(site, str) and isinstance(batch, str) and site and batch):
        raise MessageError('a receipt is asked for with {"site": "…", "batch": "…"}')
    return site, batch


def receipt_answer(receipt: Receipt | None) -> dict[str, Any]:
    """Return the answer as JSON data; `objects` is 0 when nothing is known of the batch."""
    if receipt is None:
        return {"objects": 0, "safe_objects": 0, "safe_to_delete": False}
    where = receipt.location
    answer: dict[str, Any] = {
        "objects": receipt.objects,
        "safe_objects": receipt.safe_objects,
        "safe_to_delete": receipt.is_safe,
        "bucket": where.bucket,
        "key": where.key,
        "version_id": where.version_id,
    }
    if len(receipt.jws) <= INLINE_BYTES:
        answer["receipt"] = receipt.jws.decode("ascii")
    return answer
