"""What the stream leaves behind: history, search entries, and the ledger."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from forebay.adapters import keys
from forebay.adapters.items import (
    OBJECT_ENTITY,
    RUN_ENTITY,
    Item,
    decision_data,
    from_item,
    object_item,
    run_item,
    to_item,
)
from forebay.domain.objects import Kind, Location, ObjectRecord
from forebay.errors import Trouble
from forebay.events import utc_text
from forebay.names import SCHEMA_VERSION
from forebay.services.ports import ObjectStore, RecordedChange, RecordedRun

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_WRITE_ITEMS: Final = 25
BATCH_WRITE_ATTEMPTS: Final = 5
NO_DATE: Final = "-"
LEDGER_CHANGES: Final = "changes/"
_NOT_IN_LEDGER: Final = frozenset(
    {
        # Follow from the rest.
        *("pk", "sk", "state_pk", "state_sk", "group_pk", "group_sk", "due_pk", "due_sk"),
        *("action_pk", "action_sk"),
        *("bucket", "key", "version_id"),
        # Who the patient is stays in the catalog: the ledger can never be erased.
        *("subject", "subject_tokens"),
    }
)


@dataclass(frozen=True, slots=True)
class DynamoChangeLog:
    """`services.ports.ChangeLog`; every write is keyed by what it says, so repeats are harmless."""

    client: "DynamoDBClient"
    table: str
    history_table: str
    store: ObjectStore
    ledger_bucket: str

    def record(self, changes: Sequence[RecordedChange | RecordedRun]) -> None:
        """Write ledger, history and search entries for a batch of changes.

        Raises:
            Trouble: DynamoDB kept refusing some of the items.
        """
        self._write_ledger([ledger_line(change) for change in changes])
        self.index([change for change in changes if isinstance(change, RecordedChange)])

    def index(self, changes: Sequence[RecordedChange]) -> None:
        """Write history and search entries alone: what can be told again from the ledger."""
        history = (history_item(change) for change in changes)
        self._put(self.history_table, _unique(history))
        self._put(self.table, _unique(e for change in changes for e in search_entries(change)))

    def _write_ledger(self, entries: Sequence[Mapping[str, Any]]) -> None:
        lines = [json.dumps(entry, sort_keys=True, separators=(",", ":")) for entry in entries]
        body = ("\n".join(lines) + "\n").encode()
        day = str(entries[0]["at"])[:10].replace("-", "/")
        # Named by content: a batch that comes again writes the same object again.
        name = hashlib.sha256(body).hexdigest()[:32]
        key = f"{LEDGER_CHANGES}{day}/{str(entries[0]['at'])[11:19].replace(':', '')}-{name}.jsonl"
        location = Location(self.ledger_bucket, key)
        self.store.put(location, body, content_type="application/x-ndjson")

    def _put(self, table: str, items: Sequence[Item]) -> None:
        for start in range(0, len(items), BATCH_WRITE_ITEMS):
            batch = items[start : start + BATCH_WRITE_ITEMS]
            pending: Any = {table: [{"PutRequest": {"Item": item}} for item in batch]}
            for _ in range(BATCH_WRITE_ATTEMPTS):
                pending = self.client.batch_write_item(RequestItems=pending)["UnprocessedItems"]
                if not pending:
                    break
            else:
                raise Trouble(f"DynamoDB left items of table {table} unwritten")


def history_entry(change: RecordedChange) -> dict[str, Any]:
    """Return one line of history: what became of an object, with its lineage, and no person."""
    after = change.after
    entry = {
        "object_id": after.object_id,
        "version": after.version,
        "at": utc_text(after.changed_at),
        "from": change.before.state.value if change.before else "",
        "to": after.state.value,
        "site": after.site,
        "kind": after.kind.value,
        "size_bytes": after.size_bytes,
        "source_system": after.source_system,
        "cohort": after.cohort,
        "location": _place(after.location),
        "placed": _place(after.placed),
        "held": _place(after.held),
        "digests": [digest.as_dict() for digest in after.digests],
        "finding": after.finding.as_dict() if after.finding else None,
        "object_class": after.object_class,
        "class_rule": after.class_rule,
        "retention_class": after.retention_class,
        "consent_state": after.consent_state,
        "original_id": after.original_id,
        "decision": decision_data(after.decision),
        "policy": after.policy.as_dict() if after.policy else None,
        "disposition": after.disposition,
        "parents": list(after.parents),
        "pipeline_run_id": after.pipeline_run_id,
    }
    return {name: value for name, value in entry.items() if value not in ("", None, [])}


def ledger_line(change: RecordedChange | RecordedRun) -> dict[str, Any]:
    """Return one line of the ledger: the whole record as it became, without the person.

    From the line of the highest version the record can be rebuilt. `subject_keywords` says which
    attributes of the person to read from the stored file again.
    """
    if isinstance(change, RecordedRun):
        return _run_line(change)
    after = change.after
    item = from_item(object_item(after))
    whole = {name: value for name, value in item.items() if name not in _NOT_IN_LEDGER}
    line = {**whole, **history_entry(change), "entity": OBJECT_ENTITY}
    return line | ({"subject_keywords": sorted(after.subject)} if after.subject else {})


def _run_line(change: RecordedRun) -> dict[str, Any]:
    after = change.after
    item = from_item(run_item(after))
    whole = {name: value for name, value in item.items() if name not in _NOT_IN_LEDGER}
    moved = {"at": utc_text(after.state_since), "to": after.state.value}
    before = {"from": change.before.state.value} if change.before else {}
    return {**whole, **moved, **before, "entity": RUN_ENTITY}


def search_entries(change: RecordedChange) -> list[dict[str, Any]]:
    """Return the study, series, run, site, copy and lineage entries one change adds."""
    after = change.after
    entries = _copy_entries(change)
    if after.version == 1:
        entries.append({"pk": keys.SITES_PK, "sk": after.site or keys.NO_SITE, "entity": "site"})
        if after.upload_batch:
            entries.append(
                {
                    "pk": keys.batch_pk(after.site, after.upload_batch),
                    "sk": f"{NO_DATE}#{after.object_id}",
                    "entity": "batch_member",
                    "object_id": after.object_id,
                }
            )
        entries += [
            {
                "pk": keys.children_pk(parent),
                "sk": after.object_id,
                "entity": "child",
                "kind": after.kind.value,
                "pipeline_run_id": after.pipeline_run_id,
            }
            for parent in after.parents
        ]
    # At every change: an object may join a cohort in any state, and rebuilding tells no difference.
    if after.cohort:
        entries.append(
            {
                "pk": keys.find_pk("cohort", after.cohort),
                "sk": f"{NO_DATE}#{after.object_id}",
                "entity": "cohort_member",
                "object_id": after.object_id,
            }
        )
    # An instance that is no more than a copy or a contradiction of another describes no study.
    if after.state.value == "VERIFIED" and after.kind is Kind.DICOM:
        entries += _study_entries(after)
    if after.state.value == "VERIFIED" and after.kind is Kind.FASTQ:
        entries.append(
            {
                "pk": keys.find_pk("run", str(after.metadata["run"])),
                "sk": f"{NO_DATE}#{after.object_id}",
                "entity": "run_member",
                "object_id": after.object_id,
            }
        )
    return [{"schema_version": SCHEMA_VERSION, **entry} for entry in entries]


def _copy_entries(change: RecordedChange) -> list[dict[str, Any]]:
    """Return what leads from a copy in a zone or in quarantine to its object."""
    before, after = change.before, change.after
    known = {before.placed, before.held} if before else set()
    copies = [copy for copy in (after.placed, after.held) if copy and copy not in known]
    return [
        {
            "pk": pk,
            "sk": sk,
            "entity": "copy",
            "object_id": after.object_id,
        }
        for pk, sk in map(keys.copy_key, copies)
    ]


def _study_entries(record: ObjectRecord) -> list[dict[str, Any]]:
    metadata = record.metadata
    study, series = str(metadata["StudyInstanceUID"]), str(metadata["SeriesInstanceUID"])
    date = str(metadata.get("StudyDate") or NO_DATE)
    modality = str(metadata.get("Modality") or NO_DATE)
    common = {"study": study, "study_date": date, "site": record.site}
    entries: list[dict[str, Any]] = [
        {
            "pk": keys.study_pk(study),
            "sk": keys.STUDY_SK,
            "entity": "study",
            **common,
            "tokens": dict(record.subject_tokens),
        },
        {
            "pk": keys.study_pk(study),
            "sk": f"{keys.SERIES_PREFIX}{series}",
            "entity": "series",
            **common,
            "series": series,
            "modality": modality,
        },
    ]
    found = [
        ("modality", modality),
        ("studydate", date[:6]),
        ("series", series),
        *record.subject_tokens.items(),
    ]
    entries += [
        {
            "pk": keys.find_pk(what.lower(), value),
            "sk": f"{date}#{study}",
            "entity": "search",
            **common,
        }
        for what, value in found
    ]
    return entries


def history_item(change: RecordedChange) -> dict[str, Any]:
    """Return one change as an item of the history table."""
    entry = history_entry(change)
    pk, sk = keys.history_key(str(entry["object_id"]), int(entry["version"]))
    return {"pk": pk, "sk": sk, "schema_version": SCHEMA_VERSION, **entry}


def _unique(entries: Iterable[Mapping[str, Any]]) -> list[Item]:
    """Return items once per key: a batch holds many instances of one study, which is one entry."""
    by_key = {(entry["pk"], entry["sk"]): entry for entry in entries}
    return [to_item(entry) for entry in by_key.values()]


def _place(location: Location | None) -> dict[str, str] | None:
    if location is None:
        return None
    return {"bucket": location.bucket, "key": location.key, "version_id": location.version_id}
