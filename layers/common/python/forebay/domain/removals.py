"""What it means when storage says that bytes are gone, or lie in another tier."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.decision import NONE, Action
from forebay.domain.states import State
from forebay.events import StorageChanged, StorageKind

REMOVALS: Final = frozenset({StorageKind.REMOVED, StorageKind.EXPIRED})
UNREAD: Final = frozenset({State.RECEIVED, State.AWAITING_DIGEST})
"""States in which a deleted arrival is lost at once; of a verified one a copy may exist already."""

_STORED: Final = frozenset({State.PLACED, State.SUPERSEDED})
_ASIDE: Final = frozenset({State.QUARANTINED, State.CONFLICT})
_RESTORE: Final = {
    StorageKind.RESTORE_STARTED: "started",
    StorageKind.RESTORED: "restored",
    StorageKind.RESTORE_ENDED: "ended",
}
_ORDER: Final = tuple(_RESTORE.values())
"""Within one second, a restore goes this way."""


def source_deleted(*, by_lifecycle: bool = False) -> Finding:
    """Return why an arrival has no bytes any more."""
    if by_lifecycle:
        return Finding(
            code=ReasonCode.DELETED_OUTSIDE_POLICY,
            message=(
                "A lifecycle rule removed the upload before it was judged; only settled uploads"
                " may expire. Correct the rule, and ask the sender to upload it again."
            ),
            owner=Owner.PLATFORM,
            expected="the uploaded version",
            found="no such version",
        )
    return Finding(
        code=ReasonCode.SOURCE_DELETED,
        message=(
            "The upload was deleted or overwritten before it was judged, and no copy of it exists."
            " Upload it again if it was meant to be kept."
        ),
        owner=Owner.SENDER,
        expected="the uploaded version",
        found="no such version",
    )


def without_source(
    record: ObjectRecord, at: datetime, *, by_lifecycle: bool = False
) -> ObjectRecord:
    """Return the record of an arrival whose only bytes were removed; an earlier reason is kept."""
    earlier = (record.finding,) if record.finding else ()
    return record.moved_to(
        State.DELETED,
        at,
        finding=source_deleted(by_lifecycle=by_lifecycle),
        warnings=(*record.lasting_warnings, *earlier),
    )


def without_copy(
    record: ObjectRecord, copy: Location, at: datetime, *, by_lifecycle: bool
) -> ObjectRecord | None:
    """Return the record after the copy it counts on was removed, None when it counts on another."""
    counted_on = (
        record.placed
        if record.state in _STORED
        else record.held
        if record.state in _ASIDE
        else None
    )
    if copy != counted_on:
        return None
    if by_lifecycle and _may_expire(record):
        return record.moved_to(State.EXPIRED, at)
    earlier = (record.finding,) if record.finding else ()
    return record.moved_to(
        State.DELETED,
        at,
        finding=_deleted_outside_policy(),
        warnings=(*record.lasting_warnings, *earlier),
    )


def _may_expire(record: ObjectRecord) -> bool:
    """Tell whether lifecycle was let to remove the copy a record counts on.

    What is kept aside, and what was placed before policy judged it, is its bucket's business.
    """
    if record.state not in _STORED or record.policy is None:
        return True
    return record.policy.removal != NONE


def with_storage_facts(
    record: ObjectRecord, event: StorageChanged, at: datetime
) -> ObjectRecord | None:
    """Return the record with what storage says of its copy, None when that is known or outdated.

    Events come in any order: of two about the same fact the later counts, by S3's own time.
    """
    known: Mapping[str, Any] = record.metadata.get(STORAGE_FACTS, {})
    fact, said = _fact(event)
    before: Mapping[str, Any] = known.get(fact, {})
    if before and _moment(before) >= _moment(said):
        return None
    metadata = {**record.metadata, STORAGE_FACTS: {**known, fact: said}}
    after = record.amended(at, metadata=metadata)
    return _due_once_readable(after, event, at)


def _due_once_readable(record: ObjectRecord, event: StorageChanged, at: datetime) -> ObjectRecord:
    """Let policy go on with what it had restored, while the readable copy is there."""
    policy = record.policy
    if event.kind is not StorageKind.RESTORED or policy is None or policy.action is not Action.WARM:
        return record
    return replace(record, policy=replace(policy, evaluate_at=at))


def _moment(said: Mapping[str, Any]) -> tuple[str, int]:
    value = said["value"]
    return said["at"], _ORDER.index(value) if value in _ORDER else 0


def _fact(event: StorageChanged) -> tuple[str, dict[str, str]]:
    if event.kind in _RESTORE:
        until = {"until": event.until} if event.until else {}
        return "restore", {"value": _RESTORE[event.kind], "at": event.at, **until}
    name = "access_tier" if event.kind is StorageKind.ACCESS_TIER_CHANGED else "storage_class"
    return name, {"value": event.tier, "at": event.at}


def _deleted_outside_policy() -> Finding:
    return Finding(
        code=ReasonCode.DELETED_OUTSIDE_POLICY,
        message=(
            "The stored copy was deleted, and no decision allowed it. Find out who did, in the"
            " access log and CloudTrail; heal from the replica, or ask the sender for the object."
        ),
        owner=Owner.PLATFORM,
        expected="the stored version",
        found="no such version",
    )
