"""Orders of people, as they travel to the steps that take them.

An order is a text, so that giver and receiver take the digest of the same bytes; what proves who
gave it stands beside it.
"""

import json
from collections.abc import Mapping
from typing import Any

from forebay.domain.orders import Given, Order, Proof
from forebay.errors import MessageError


def order_event(order: Order, proof: Proof) -> dict[str, Any]:
    """Return the event that carries an order to its function."""
    said = {"authorization": proof.authorization, "date": proof.date, "token": proof.token}
    return {"order": order.text, "proof": said}


def given_order(event: Mapping[str, Any], function: str) -> Given:
    """Return the order of an event, given to the function of this name; raises MessageError."""
    text, said = event.get("order"), event.get("proof")
    if not (isinstance(text, str) and isinstance(said, Mapping)):
        raise MessageError('an order is given with {"order": "…", "proof": {…}}')
    parts = [said.get(name, "") for name in ("authorization", "date", "token")]
    if not all(isinstance(part, str) for part in parts):
        raise MessageError("the proof of who gave an order is made of texts")
    return Given(Order(text, function), Proof(*parts))


def said_in(given: Given) -> dict[str, Any]:
    """Return what an order says, a JSON object; raises MessageError."""
    try:
        said = json.loads(given.order.text)
    except ValueError as exc:
        raise MessageError("the order is not JSON") from exc
    if not isinstance(said, dict):
        raise MessageError("the order is no JSON object")
    return said
