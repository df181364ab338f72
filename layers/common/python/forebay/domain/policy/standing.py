"""What a record says about how policy may treat it: its scopes, and the facts decisions need."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.classes import ObjectClass, Policy
from forebay.domain.policy.decision import Facts, is_directed
from forebay.domain.policy.exceptions import PolicyException, Scope, ScopeKind
from forebay.domain.policy.storage_classes import StorageClass
from forebay.events import utc_moment

IDLE: Final = "idle"
"""Says of a storage class that idle time is why the copy lies there."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the catalog holds about an object beside its record.

    `exceptions` are those whose scope reaches it, whether they count now or not; `last_access` is
    that of its study, its sample, or itself; `run_succeeded_at` that of the run that made it.
    """

    exceptions: tuple[PolicyException, ...] = ()
    last_access: datetime | None = None
    run_succeeded_at: datetime | None = None


ACCESSED_TOGETHER: Final = (ScopeKind.STUDY, ScopeKind.SAMPLE, ScopeKind.OBJECT)
"""Who opens one image of a study opens the study: access is counted by the first of these."""


def scopes_of(record: ObjectRecord) -> tuple[Scope, ...]:
    """Return everything an exception may name to reach an object, from the widest."""
    said = record.metadata
    found: list[Scope] = []
    if record.cohort:
        found.append(Scope(ScopeKind.COHORT, record.cohort))
    found += [
        Scope(ScopeKind.SUBJECT, token)
        for name, token in sorted(record.subject_tokens.items())
        if name == "PatientID"
    ]
    if study := said.get("StudyInstanceUID"):
        found.append(Scope(ScopeKind.STUDY, str(study)))
    if sample := said.get("sample"):
        found.append(Scope(ScopeKind.SAMPLE, f"{record.site}/{sample}"))
    if run := said.get("run"):
        found.append(Scope(ScopeKind.RUN, f"{record.site}/{run}"))
    if record.pipeline_run_id:
        found.append(Scope(ScopeKind.RUN, record.pipeline_run_id))
    if series := said.get("SeriesInstanceUID"):
        found.append(Scope(ScopeKind.SERIES, str(series)))
    return (*found, Scope(ScopeKind.OBJECT, record.object_id))


def access_scope(record: ObjectRecord) -> Scope:
    """Return under what the accesses to an object are counted."""
    scopes = {scope.kind: scope for scope in scopes_of(record)}
    return next(scopes[kind] for kind in ACCESSED_TOGETHER if kind in scopes)


def storage_class_of(record: ObjectRecord) -> StorageClass:
    """Return where storage said last that the placed copy lies; it begins in STANDARD."""
    return StorageClass(_moved(record).get("value", StorageClass.STANDARD))


def made_at(record: ObjectRecord) -> datetime:
    """Return when the placed version was made."""
    return record.version_since or record.placed_at or record.state_since


def was_idle(record: ObjectRecord) -> bool:
    """Tell whether a placed copy lies where idle time had it moved."""
    if storage_class_of(record) is StorageClass.STANDARD:
        return False
    asked = record.policy is not None and is_directed(record.policy.tiering)
    return asked or "by" in _moved(record)


def moved_by_idle_time(record: ObjectRecord) -> ObjectRecord:
    """Return the record with the reason for its place, where no gate will tell it any more."""
    known: Mapping[str, Any] = record.metadata.get(STORAGE_FACTS, {})
    said = {**known, "storage_class": {**_moved(record), "by": IDLE}}
    return replace(record, metadata={**record.metadata, STORAGE_FACTS: said})


def _moved(record: ObjectRecord) -> Mapping[str, Any]:
    known: Mapping[str, Any] = record.metadata.get(STORAGE_FACTS, {})
    moved: Mapping[str, Any] = known.get("storage_class", {})
    return moved


def facts_for(  # noqa: PLR0913 - what only plans know comes by name
    record: ObjectRecord,
    chosen: ObjectClass,
    policy: Policy,
    context: Context,
    *,
    regions: tuple[str, ...] = (),
    replica_regions: tuple[str, ...] = (),
    is_approved: bool = False,
) -> Facts:
    """Return what a decision about a placed object is made from."""
    return Facts(
        placed_at=record.placed_at or record.state_since,
        size_bytes=record.size_bytes,
        storage_class=storage_class_of(record),
        last_access=context.last_access,
        run_succeeded_at=context.run_succeeded_at,
        consent_state=record.consent_state,
        regions=regions,
        replica_regions=replica_regions,
        allowed_regions=policy.residency_of(chosen, record.site),
        rule=record.class_rule,
        rule_source=policy.rule_source(record.class_rule),
        previous=record.policy,
        version_since=record.version_since,
        moved_at=utc_moment(moved) if (moved := _moved(record).get("at")) else None,
        was_idle=was_idle(record),
        is_approved=is_approved,
    )
