"""decide_exception: what can be decided about an exception that somebody asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from forebay.services.decide_exception import (
    Answer,
    ApproveException,
    EndException,
    RefuseException,
)


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
class DecideException:
    """Decide about exceptions, whatever it is that is decided."""

    services: Mapping[Verb, ApproveException | RefuseException | EndException]

    def __call__(self, decision: Decision, *, by: str) -> Answer:
        """Do what was decided; raises StaleRecordError."""
        decide = self.services[decision.verb]
        return decide(decision.exception_id, by=by, note=decision.note)
