"""Orders about dispositions, and their answers, as they travel to the two steps and back."""

import json
from collections.abc import Mapping
from typing import Any

from forebay.adapters.dispositions import scopes_data, scopes_of
from forebay.adapters.orders import said_in
from forebay.domain.objects import Location
from forebay.domain.orders import Given
from forebay.domain.policy.disposition import Draft, is_disposition_id
from forebay.errors import MessageError
from forebay.services.request_disposition import (
    Decided,
    Decision,
    Refused,
    Verdict,
    request_key,
)


def draft_text(draft: Draft) -> str:
    """Return an order that asks for what a draft lists."""
    return json.dumps(
        {
            "disposition_id": draft.disposition_id,
            "scopes": scopes_data(draft.scopes),
            "version_id": draft.request.version_id,
            "digest": draft.digest,
        }
    )


def draft_of(given: Given, ledger: str) -> Draft:
    """Return the draft that an order asks for, which lies in this bucket; raises MessageError."""
    said = said_in(given)
    identity = _identity(said)
    try:
        version, digest = str(said["version_id"]), str(said["digest"])
        scopes = scopes_of(said["scopes"])
    except (KeyError, TypeError, ValueError) as exc:
        raise MessageError(f"the order asks for no disposition: {exc}") from exc
    return Draft(identity, scopes, Location(ledger, request_key(identity), version), digest)


def decision_text(decision: Decision) -> str:
    """Return an order that decides about a disposition."""
    said = {"decision": decision.verdict.value, "disposition_id": decision.disposition_id}
    return json.dumps({**said, "note": decision.note})


def decision_of(given: Given) -> Decision:
    """Return what an order decides; raises MessageError."""
    said = said_in(given)
    try:
        verdict = Verdict(said["decision"])
    except (KeyError, ValueError) as exc:
        raise MessageError(f"the order decides nothing: {exc}") from exc
    return Decision(verdict, _identity(said), str(said.get("note", "")))


def answer_data(answer: Decided | Refused) -> dict[str, Any]:
    """Return an answer as the function gives it; what there is to know is in the catalog."""
    if isinstance(answer, Refused):
        return {"refused": answer.reason}
    found = answer.disposition
    told = {"disposition_id": found.disposition_id, "stage": found.stage.value}
    return {**told, "is_new": answer.is_new}


def _identity(said: Mapping[str, Any]) -> str:
    identity = said.get("disposition_id")
    if isinstance(identity, str) and is_disposition_id(identity):
        return identity
    raise MessageError('an order about a disposition names it: "disposition_id": "DI-…"')
