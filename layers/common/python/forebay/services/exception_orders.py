"""request_exception, decide_exception: orders about exceptions, by who is proven to give them.

Nobody but these two steps writes an exception: that two persons agree is decided here, not by the
command line of whoever asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from forebay.domain.orders import NotProven, Order, Proof
from forebay.services.decide_exception import (
    Answer,
    ApproveException,
    EndException,
    NotChanged,
    RefuseException,
    RequestException,
    Wish,
)
from forebay.services.ports import Callers


class Verb(StrEnum):
    """What can be ordered about an exception that was asked for."""

    APPROVE = "approve"
    REFUSE = "refuse"
    END = "end"


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decides about an exception."""

    verb: Verb
    exception_id: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """An order and its proof."""

    order: Order
    proof: Proof = field(repr=False)


@dataclass(frozen=True, slots=True)
class RequestByOrder:
    """The request_exception step."""

    callers: Callers
    request: RequestException

    def __call__(self, given: Given, wish: Wish) -> Answer:
        """Ask for an exception as whoever gave the order; raises StaleRecordError."""
        by = self.callers.caller(given.order, given.proof)
        return NotChanged(by.reason) if isinstance(by, NotProven) else self.request(wish, by=by)


@dataclass(frozen=True, slots=True)
class DecideByOrder:
    """The decide_exception step."""

    callers: Callers
    services: Mapping[Verb, ApproveException | RefuseException | EndException]

    def __call__(self, given: Given, decision: Decision) -> Answer:
        """Decide as whoever gave the order; raises StaleRecordError."""
        by = self.callers.caller(given.order, given.proof)
        if isinstance(by, NotProven):
            return NotChanged(by.reason)
        decide = self.services[decision.verb]
        return decide(decision.exception_id, by=by, note=decision.note)
