"""What a receipt is asked for with, and what is answered."""

from typing import Any

import pytest

from forebay.domain.objects import Location
from forebay.errors import MessageError
from forebay.runtime.receipts import INLINE_BYTES, receipt_answer, receipt_request
from forebay.services.issue_receipt import Receipt

PLACE = Location("ledger", "receipts/a/b/1.jws", "v1")


@pytest.mark.parametrize("event", [{}, {"site": "a"}, {"site": "a", "batch": ""}, {"batch": ["b"]}])
def test_incomplete_request_says_how_to_ask(event: Any) -> None:
    with pytest.raises(MessageError, match='"batch"'):
        receipt_request(event)


def test_unknown_batch_has_no_objects_and_is_not_safe() -> None:
    assert receipt_answer(None) == {"objects": 0, "safe_objects": 0, "safe_to_delete": False}


def test_receipt_larger_than_lambda_may_answer_is_only_named() -> None:
    small = receipt_answer(Receipt(b"x" * INLINE_BYTES, PLACE, 1, 1, is_safe=True))
    large = receipt_answer(Receipt(b"x" * (INLINE_BYTES + 1), PLACE, 1, 1, is_safe=True))

    assert len(small["receipt"]) == INLINE_BYTES
    assert "receipt" not in large
    assert (large["bucket"], large["key"], large["version_id"]) == ("ledger", PLACE.key, "v1")
