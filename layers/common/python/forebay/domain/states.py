"""The state machine of one arrived object version (architecture §4)."""

from enum import StrEnum
from typing import Final

from forebay.errors import IllegalTransitionError
from forebay.names import DetailType


class State(StrEnum):
    """Where an arrived object version stands."""

    RECEIVED = "RECEIVED"
    AWAITING_DIGEST = "AWAITING_DIGEST"
    VERIFIED = "VERIFIED"
    PLACED = "PLACED"
    QUARANTINED = "QUARANTINED"
    DUPLICATE = "DUPLICATE"
    CONFLICT = "CONFLICT"
    IGNORED = "IGNORED"
    SUPERSEDED = "SUPERSEDED"
    """A steward decided that another object replaces this one; its bytes remain."""
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"


TRANSITIONS: Final[dict[State | None, frozenset[State]]] = {
    # Deleted at once: its sender removed it before its event was worked off.
    None: frozenset({State.RECEIVED, State.IGNORED, State.DELETED}),
    State.RECEIVED: frozenset(
        {
            State.VERIFIED,
            State.QUARANTINED,
            State.AWAITING_DIGEST,
            State.DUPLICATE,
            State.CONFLICT,
            State.DELETED,
        }
    ),
    # Deleted in flight: the sender removed the bytes before they were copied.
    State.AWAITING_DIGEST: frozenset({State.RECEIVED, State.DELETED}),
    # Late evidence (a manifest that came after the file) may still convict what was let through.
    State.VERIFIED: frozenset({State.PLACED, State.QUARANTINED, State.DELETED}),
    State.PLACED: frozenset({State.QUARANTINED, State.SUPERSEDED, State.EXPIRED, State.DELETED}),
    State.SUPERSEDED: frozenset({State.EXPIRED, State.DELETED}),
    State.QUARANTINED: frozenset({State.RECEIVED, State.EXPIRED, State.DELETED}),
    # Its original was lost before it was kept: the duplicate takes its place.
    State.DUPLICATE: frozenset({State.RECEIVED, State.EXPIRED, State.DELETED}),
    State.CONFLICT: frozenset({State.RECEIVED, State.EXPIRED, State.DELETED}),
    State.IGNORED: frozenset(),
    State.EXPIRED: frozenset(),
    State.DELETED: frozenset(),
}

IN_FLIGHT: Final = frozenset({State.RECEIVED, State.AWAITING_DIGEST, State.VERIFIED})
"""States an object is expected to leave by itself."""

_DETAIL_TYPES: Final[dict[State, DetailType]] = {
    State.RECEIVED: DetailType.OBJECT_RECEIVED,
    State.AWAITING_DIGEST: DetailType.OBJECT_AWAITING_DIGEST,
    State.VERIFIED: DetailType.OBJECT_VERIFIED,
    State.PLACED: DetailType.OBJECT_PLACED,
    State.QUARANTINED: DetailType.OBJECT_QUARANTINED,
    State.DUPLICATE: DetailType.OBJECT_DUPLICATED,
    State.CONFLICT: DetailType.OBJECT_CONFLICTED,
    State.IGNORED: DetailType.OBJECT_IGNORED,
    State.SUPERSEDED: DetailType.OBJECT_SUPERSEDED,
    State.EXPIRED: DetailType.OBJECT_EXPIRED,
    State.DELETED: DetailType.OBJECT_DELETED,
}


def check_transition(before: State | None, after: State) -> None:
    """Raise IllegalTransitionError unless `after` may follow `before`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(f"an object may not go from {before} to {after}")


def detail_type_of(before: State | None, after: State) -> DetailType:
    """Return the event that says a record went from `before` to `after`."""
    return DetailType.OBJECT_UPDATED if before == after else _DETAIL_TYPES[after]
