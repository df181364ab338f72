"""Who keeps the bytes of a duplicate: its original, or nobody but itself."""

from enum import StrEnum

from forebay.domain.objects import ObjectRecord
from forebay.domain.rechecks import DAMAGED
from forebay.domain.states import State


class Standing(StrEnum):
    """What a duplicate may count on; only KEPT lets its arrival expire."""

    KEPT = "kept"
    """A copy of the original was proven equal, or had its time and expired as it was meant to."""
    UNDER_WAY = "under way"
    """No copy yet: its sender may still take the original back."""
    LOST = "lost"
    """The duplicate holds the only bytes, or others than its original keep them."""


def standing_of(original: ObjectRecord | None) -> Standing:
    """Return what became of the bytes of an original; one the catalog does not know may return."""
    if original is None:
        return Standing.UNDER_WAY
    is_damaged = original.finding is not None and original.finding.code in DAMAGED
    if original.state is State.DELETED or (original.state is State.QUARANTINED and is_damaged):
        return Standing.LOST
    if original.state is State.EXPIRED or original.kept_at != original.location:
        return Standing.KEPT
    # What lost its name meanwhile and was sent by another, too, keeps nothing for anybody.
    return Standing.LOST if original.state is State.DUPLICATE else Standing.UNDER_WAY
