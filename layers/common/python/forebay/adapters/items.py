"""Catalog records as DynamoDB items, and back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from forebay.adapters import keys
from forebay.domain.findings import Finding
from forebay.domain.integrity import Digest
from forebay.domain.objects import Choice, Decision, Kind, Location, ObjectRecord
from forebay.domain.policy.decision import PolicyDecision
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import State
from forebay.events import utc_moment, utc_text
from forebay.names import SCHEMA_VERSION, Step
from forebay.services.ports import Lease

Item = dict[str, Any]
"""An item in DynamoDB's own JSON: attribute → {type: value}."""

OBJECT_ENTITY: Final = "object"
LEASE_ENTITY: Final = "lease"
RUN_ENTITY: Final = "pipeline_run"
TOLD_VERSION: Final = "told_version"
"""Of a rebuilt item: the version the ledger tells of already, so that nobody is told again."""

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def to_item(data: Mapping[str, Any]) -> Item:
    """Return plain data as an item; None, '' and empty collections are left out."""
    return {name: value(v) for name, v in data.items() if v not in (None, "", [], {}, ())}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as plain data; numbers become int where whole, float otherwise."""
    return {name: _plain(_deserializer.deserialize(v)) for name, v in item.items()}


def item_key(key: keys.Key) -> Item:
    """Return the key attributes of an item."""
    pk, sk = key
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def value(data: Any) -> dict[str, Any]:
    """Return one value in DynamoDB's JSON."""
    return dict(_serializer.serialize(_storable(data)))


def object_item(record: ObjectRecord) -> Item:
    """Return the item of an object's record."""
    pk, sk = keys.object_key(record.object_id)
    group = keys.group_key(record)
    due = keys.due_key(record)
    action = keys.action_key(record)
    shard = keys.shard_of(record.object_id)
    return to_item(
        {
            "pk": pk,
            "sk": sk,
            "entity": OBJECT_ENTITY,
            "schema_version": SCHEMA_VERSION,
            "state_pk": keys.state_pk(record.state, shard, record.site),
            "state_sk": f"{utc_text(record.state_since)}#{record.object_id}",
            "group_pk": group[0] if group else "",
            "group_sk": group[1] if group else "",
            "due_pk": due[0] if due else "",
            "due_sk": due[1] if due else "",
            "action_pk": action[0] if action else "",
            "action_sk": action[1] if action else "",
            "object_id": record.object_id,
            "bucket": record.location.bucket,
            "key": record.location.key,
            "version_id": record.location.version_id,
            "kind": record.kind.value,
            "site": record.site,
            "state": record.state.value,
            "state_since": utc_text(record.state_since),
            "version": record.version,
            "arrived_at": utc_text(record.arrived_at),
            "size_bytes": record.size_bytes,
            "amended_at": utc_text(record.amended_at) if record.amended_at else "",
            "etag": record.etag,
            "sequencer": record.sequencer,
            "composite_checksum": record.composite_checksum,
            "source_system": record.source_system,
            "cohort": record.cohort,
            "digests": [digest.as_dict() for digest in record.digests],
            "finding": record.finding.as_dict() if record.finding else None,
            "warnings": [finding.as_dict() for finding in record.warnings],
            "original_id": record.original_id,
            "object_class": record.object_class,
            "class_rule": record.class_rule,
            "retention_class": record.retention_class,
            "consent_state": record.consent_state,
            "upload_batch": record.upload_batch,
            "decision": decision_data(record.decision),
            "redrives": record.redrives or None,
            "rechecked_at": utc_text(record.rechecked_at) if record.rechecked_at else "",
            "placed": _location_data(record.placed),
            "placed_at": utc_text(record.placed_at) if record.placed_at else "",
            "version_since": utc_text(record.version_since) if record.version_since else "",
            "policy": record.policy.as_dict() if record.policy else None,
            "held": _location_data(record.held),
            "disposition": record.disposition,
            "parents": list(record.parents),
            "pipeline_run_id": record.pipeline_run_id,
            "metadata": dict(record.metadata),
            "subject": dict(record.subject),
            "subject_tokens": dict(record.subject_tokens),
        }
    )


def object_record(item: Mapping[str, Any]) -> ObjectRecord:
    """Return the record an item holds."""
    return record_of(from_item(item))


def record_of(data: Mapping[str, Any]) -> ObjectRecord:
    """Return the record that an item's plain data describe; what is not there is empty."""
    return ObjectRecord(
        object_id=data["object_id"],
        location=Location(data["bucket"], data["key"], data.get("version_id", "")),
        kind=Kind(data["kind"]),
        site=data.get("site", ""),
        state=State(data["state"]),
        state_since=utc_moment(data["state_since"]),
        version=data["version"],
        arrived_at=utc_moment(data["arrived_at"]),
        size_bytes=data["size_bytes"],
        amended_at=utc_moment(data["amended_at"]) if "amended_at" in data else None,
        etag=data.get("etag", ""),
        sequencer=data.get("sequencer", ""),
        composite_checksum=data.get("composite_checksum", ""),
        source_system=data.get("source_system", ""),
        cohort=data.get("cohort", ""),
        digests=tuple(Digest.from_dict(entry) for entry in data.get("digests", ())),
        finding=Finding.from_dict(data["finding"]) if "finding" in data else None,
        warnings=tuple(Finding.from_dict(entry) for entry in data.get("warnings", ())),
        original_id=data.get("original_id", ""),
        duplicate_count=data.get("duplicate_count", 0),
        object_class=data.get("object_class", ""),
        class_rule=data.get("class_rule", ""),
        retention_class=data.get("retention_class", ""),
        consent_state=data.get("consent_state", "unknown"),
        upload_batch=data.get("upload_batch", ""),
        decision=_decision(data.get("decision")),
        redrives=data.get("redrives", 0),
        rechecked_at=utc_moment(data["rechecked_at"]) if "rechecked_at" in data else None,
        placed=_location(data.get("placed")),
        placed_at=utc_moment(data["placed_at"]) if "placed_at" in data else None,
        version_since=utc_moment(data["version_since"]) if "version_since" in data else None,
        policy=PolicyDecision.from_dict(data["policy"]) if "policy" in data else None,
        held=_location(data.get("held")),
        disposition=data.get("disposition", ""),
        parents=tuple(data.get("parents", ())),
        pipeline_run_id=data.get("pipeline_run_id", ""),
        metadata=data.get("metadata", {}),
        subject=data.get("subject", {}),
        subject_tokens=data.get("subject_tokens", {}),
    )


def run_item(run: PipelineRun) -> Item:
    """Return the item of a pipeline run."""
    pk, sk = keys.run_key(run.run_id)
    return to_item(
        {
            "pk": pk,
            "sk": sk,
            "entity": RUN_ENTITY,
            "schema_version": SCHEMA_VERSION,
            "group_pk": keys.sample_group(run.site, run.sample),
            "group_sk": f"~run#{run.run_id}",
            "state_pk": f"RUN-{run.state.value}",
            "state_sk": f"{utc_text(run.state_since)}#{run.run_id}",
            "run_id": run.run_id,
            "pipeline": run.pipeline,
            "pipeline_version": run.pipeline_version,
            "site": run.site,
            "sample": run.sample,
            "state": run.state.value,
            "state_since": utc_text(run.state_since),
            "version": run.version,
            "inputs": dict(run.inputs),
            "execution_arn": run.execution_arn,
            "error": run.error,
            "payload": dict(run.payload),
        }
    )


def pipeline_run(item: Mapping[str, Any]) -> PipelineRun:
    """Return the pipeline run an item holds."""
    return run_of(from_item(item))


def run_of(data: Mapping[str, Any]) -> PipelineRun:
    """Return the pipeline run that an item's plain data describe."""
    return PipelineRun(
        run_id=data["run_id"],
        pipeline=data["pipeline"],
        pipeline_version=data["pipeline_version"],
        site=data.get("site", ""),
        sample=data["sample"],
        state=RunState(data["state"]),
        state_since=utc_moment(data["state_since"]),
        version=data["version"],
        inputs=data.get("inputs", {}),
        execution_arn=data.get("execution_arn", ""),
        error=data.get("error", ""),
        payload=data.get("payload", {}),
    )


def lease_item(lease: Lease) -> Item:
    """Return the item of a lease; no stream filter lets it pass, so it is no change."""
    pk, sk = keys.lease_key(lease.object_id)
    until = utc_text(lease.until)
    return to_item(
        {
            "pk": pk,
            "sk": sk,
            "entity": LEASE_ENTITY,
            "schema_version": SCHEMA_VERSION,
            "due_pk": keys.lease_pk(keys.shard_of(lease.object_id)),
            "due_sk": f"{until}#{lease.object_id}",
            "object_id": lease.object_id,
            "record_version": lease.record_version,
            "step": lease.step.value,
            "holder": lease.holder,
            "ends_at": until,
        }
    )


def lease_of(item: Mapping[str, Any]) -> Lease:
    """Return the lease an item holds."""
    data = from_item(item)
    return Lease(
        object_id=data["object_id"],
        record_version=data["record_version"],
        step=Step(data["step"]),
        holder=data["holder"],
        until=utc_moment(data["ends_at"]),
    )


def decision_data(decision: Decision | None) -> dict[str, str] | None:
    """Return a decision as it is stored."""
    if decision is None:
        return None
    return {
        "choice": decision.choice.value,
        "by": decision.by,
        "at": utc_text(decision.at),
        "note": decision.note,
    }


def _decision(data: Mapping[str, str] | None) -> Decision | None:
    if not data:
        return None
    return Decision(Choice(data["choice"]), data["by"], utc_moment(data["at"]), data["note"])


def _location_data(location: Location | None) -> dict[str, str] | None:
    if location is None:
        return None
    return {"bucket": location.bucket, "key": location.key, "version_id": location.version_id}


def _location(data: Mapping[str, str] | None) -> Location | None:
    return Location(data["bucket"], data["key"], data["version_id"]) if data else None


def _storable(data: Any) -> Any:
    if isinstance(data, float):
        return Decimal(repr(data))
    if isinstance(data, Mapping):
        return {key: _storable(entry) for key, entry in data.items()}
    if isinstance(data, list | tuple):
        return [_storable(entry) for entry in data]
    return data


def _plain(data: Any) -> Any:
    if isinstance(data, Decimal):
        return int(data) if data == data.to_integral_value() else float(data)
    if isinstance(data, dict):
        return {key: _plain(entry) for key, entry in data.items()}
    if isinstance(data, list):
        return [_plain(entry) for entry in data]
    return data
