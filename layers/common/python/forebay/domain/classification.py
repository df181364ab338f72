"""Which class an object belongs to, and the facts a rule may ask about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from forebay.domain.objects import ObjectRecord

FACT_TYPES: Final[Mapping[str, str]] = {
    "kind": "string",
    "site": "string",
    "size_bytes": "int",
    "source_system": "string",
    "consent_state": "string",
    "pipeline_run_id": "string",
    "metadata": "map",
}
"""The variables of a rule's `when:` and their CEL types. None identifies a person."""


@dataclass(frozen=True, slots=True)
class Classification:
    """The class a rule chose, with what placement needs of that class."""

    object_class: str
    rule: str
    retention_class: str
    zone: str
    needs_sender_digest: bool = False


def facts_of(record: ObjectRecord) -> dict[str, Any]:
    """Return what classification rules may know of an object."""
    return {
        "kind": record.kind.value,
        "site": record.site,
        "size_bytes": record.size_bytes,
        "source_system": record.source_system,
        "consent_state": record.consent_state,
        "pipeline_run_id": record.pipeline_run_id,
        "metadata": dict(record.metadata),
    }
