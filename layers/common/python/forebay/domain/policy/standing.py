"""What a record says about how policy may treat it: its scopes, and the facts decisions need."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.classes import ObjectClass, Policy
from forebay.domain.policy.decision import Facts
from forebay.domain.policy.exceptions import PolicyException, Scope, ScopeKind
from forebay.domain.policy.storage_classes import StorageClass


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
    known: Mapping[str, Any] = record.metadata.get(STORAGE_FACTS, {})
    return StorageClass(known.get("storage_class", {}).get("value", StorageClass.STANDARD))


def facts_for(
    record: ObjectRecord,
    chosen: ObjectClass,
    policy: Policy,
    context: Context,
    *,
    regions: tuple[str, ...] = (),
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
        allowed_regions=policy.residency_of(chosen, record.site),
        rule=record.class_rule,
        rule_source=policy.rule_source(record.class_rule),
        previous=record.policy,
    )
