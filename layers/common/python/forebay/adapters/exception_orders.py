"""Orders about exceptions, and their answers, as they travel to the two steps and back."""

import json
from collections.abc import Mapping
from typing import Any

from forebay.adapters.exceptions import exception_data, exception_of
from forebay.adapters.orders import said_in
from forebay.domain.orders import Given
from forebay.domain.policy.exceptions import ExceptionKind, Scope, ScopeKind
from forebay.errors import MessageError
from forebay.events import utc_moment, utc_text
from forebay.services.decide_exception import Answer, Changed, NotChanged, Wish
from forebay.services.exception_orders import Decision, Verb


def wish_text(wish: Wish) -> str:
    """Return an order that asks for an exception."""
    return json.dumps(
        {
            "kind": wish.kind.value,
            "scope_kind": wish.scope.kind.value,
            "scope_value": wish.scope.value,
            "reason": wish.reason,
            "until": utc_text(wish.until) if wish.until else None,
            "regions": list(wish.regions),
        }
    )


def wish_of(given: Given) -> Wish:
    """Return what an order asks for; raises MessageError."""
    said = said_in(given)
    try:
        return Wish(
            ExceptionKind(said["kind"]),
            Scope(ScopeKind(said["scope_kind"]), str(said["scope_value"])),
            str(said["reason"]),
            utc_moment(said["until"]) if said.get("until") else None,
            tuple(str(region) for region in said.get("regions", ())),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise MessageError(f"the order asks for no exception: {exc}") from exc


def decision_text(decision: Decision) -> str:
    """Return an order that decides about an exception."""
    said = {"decision": decision.verb.value, "exception_id": decision.exception_id}
    return json.dumps({**said, "note": decision.note})


def decision_of(given: Given) -> Decision:
    """Return what an order decides; raises MessageError."""
    said = said_in(given)
    try:
        verb, identity = Verb(said["decision"]), str(said["exception_id"])
    except (KeyError, ValueError) as exc:
        raise MessageError(f"the order decides nothing: {exc}") from exc
    return Decision(verb, identity, str(said.get("note", "")))


def answer_data(answer: Answer) -> dict[str, Any]:
    """Return an answer as the function gives it."""
    if isinstance(answer, NotChanged):
        return {"refused": answer.reason}
    return {"exception": exception_data(answer.exception), "is_new": answer.is_new}


def answer_of(data: Mapping[str, Any]) -> Answer:
    """Return the answer that `answer_data` describes."""
    if "refused" in data:
        return NotChanged(str(data["refused"]))
    return Changed(exception_of(data["exception"]), is_new=bool(data["is_new"]))
