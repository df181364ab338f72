"""Catalog records as JSON data, the way every `--json` of this command line shows them."""

from typing import Any, Final

from forebay.adapters.catalog_reader import Study
from forebay.domain.objects import Decision, Location, ObjectRecord
from forebay.domain.runs import PipelineRun

MASK: Final = "***"
"""What stands for a patient identifier unless `--identifiers` is given."""


def object_document(record: ObjectRecord, *, identifiers: bool) -> dict[str, Any]:
    """Return one object's record; identifiers are masked unless asked for."""
    return {
        "object_id": record.object_id,
        "kind": record.kind.value,
        "site": record.site,
        "state": record.state.value,
        "state_since": record.state_since,
        "version": record.version,
        "arrived_at": record.arrived_at,
        "size_bytes": record.size_bytes,
        "location": location_document(record.location),
        "placed": location_document(record.placed),
        "held": location_document(record.held),
        "disposition": record.disposition,
        "digests": [digest.as_dict() for digest in record.digests],
        "finding": record.finding.as_dict() if record.finding else None,
        "warnings": [finding.as_dict() for finding in record.warnings],
        "original_id": record.original_id,
        "duplicate_count": record.duplicate_count,
        "decision": decision_document(record.decision),
        "class": record.object_class,
        "class_rule": record.class_rule,
        "retention_class": record.retention_class,
        "consent_state": record.consent_state,
        "source_system": record.source_system,
        "cohort": record.cohort,
        "parents": list(record.parents),
        "pipeline_run_id": record.pipeline_run_id,
        "metadata": dict(record.metadata),
        "subject": subject_document(record, identifiers=identifiers),
    }


def decision_document(decision: Decision | None) -> dict[str, Any] | None:
    """Return what a steward decided."""
    if decision is None:
        return None
    return {
        "choice": decision.choice.value,
        "by": decision.by,
        "at": decision.at,
        "note": decision.note,
    }


def subject_document(record: ObjectRecord, *, identifiers: bool) -> dict[str, str]:
    """Return what identifies the person, masked unless asked for."""
    return {name: value if identifiers else MASK for name, value in record.subject.items()}


def location_document(location: Location | None) -> dict[str, str] | None:
    """Return where an object or its copy is."""
    if location is None:
        return None
    return {"bucket": location.bucket, "key": location.key, "version_id": location.version_id}


def run_document(run: PipelineRun) -> dict[str, Any]:
    """Return one pipeline run."""
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "pipeline_version": run.pipeline_version,
        "site": run.site,
        "sample": run.sample,
        "state": run.state.value,
        "state_since": run.state_since,
        "inputs": dict(run.inputs),
        "execution_arn": run.execution_arn,
        "error": run.error,
    }


def study_document(study: Study) -> dict[str, Any]:
    """Return one study."""
    return {
        "study_instance_uid": study.study_instance_uid,
        "study_date": "" if study.study_date == "-" else study.study_date,
        "site": study.site,
        "modalities": list(study.modalities),
        "series": list(study.series),
    }
