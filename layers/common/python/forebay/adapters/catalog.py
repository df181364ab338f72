"""The catalog in DynamoDB."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from forebay.adapters import keys
from forebay.adapters.items import (
    Item,
    from_item,
    item_key,
    lease_item,
    lease_of,
    object_item,
    object_record,
    pipeline_run,
    run_item,
    to_item,
    value,
)
from forebay.adapters.queries import query_items
from forebay.domain.integrity import Digest
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.runs import PipelineRun
from forebay.errors import StaleRecordError
from forebay.events import utc_text
from forebay.names import SCHEMA_VERSION
from forebay.services.ports import (
    Applied,
    Change,
    Claim,
    ClaimHeld,
    Declarations,
    Lease,
    Outcome,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_CONFLICT_CODES: Final = frozenset({"ConditionalCheckFailed", "TransactionConflict"})
_FAILED_CONDITION: Final = "ConditionalCheckFailedException"
# The counter belongs to others' transactions; a change of the record must not write over it.
_NOT_OURS: Final = frozenset({"pk", "sk", "duplicate_count"})


@dataclass(frozen=True, slots=True)
class DynamoCatalog:
    """`services.ports.Catalog` over one table."""

    client: "DynamoDBClient"
    table: str

    def register(self, record: ObjectRecord) -> bool:
        """Put a new record; False when this object version is known already."""
        return self._put_new(object_item(record))

    def get(self, object_id: str) -> ObjectRecord | None:
        """Return the record of one object version."""
        item = self._get(keys.object_key(object_id))
        return object_record(item) if item else None

    def get_with_declarations(self, object_id: str) -> tuple[ObjectRecord | None, Declarations]:
        """Return a record together with what checksum files said about its key, in one request."""
        pk, sk = keys.object_key(object_id)
        wanted: Any = [item_key((pk, sk)), item_key((pk, keys.DECLARED_SK))]
        found: dict[str, Item] = {}
        while wanted:
            answer = self.client.batch_get_item(
                RequestItems={self.table: {"Keys": wanted, "ConsistentRead": True}}
            )
            found |= {item["sk"]["S"]: item for item in answer["Responses"].get(self.table, [])}
            wanted = _unprocessed(answer, self.table)
        record = object_record(found[sk]) if sk in found else None
        return record, _declarations(found.get(keys.DECLARED_SK))

    def versions_of(self, bucket: str, key: str) -> tuple[ObjectRecord, ...]:
        """Return the records of all versions of one key."""
        items = self._query(keys.place_pk(bucket, key), prefix=keys.VERSION_PREFIX)
        return tuple(object_record(item) for item in items)

    def objects_copied_to(self, bucket: str, key: str) -> tuple[str, ...]:
        """Return the objects that have or had a copy under a key of a zone or of quarantine."""
        pk, _ = keys.copy_key(Location(bucket, key))
        found = (item["object_id"]["S"] for item in self._query(pk))
        return tuple(dict.fromkeys(found))

    def holders(self, namespace: str, group: str) -> Mapping[str, str]:
        """Return who holds the names of a group: value → object id."""
        pk, _ = keys.claim_key(namespace, group, "")
        return {item["sk"]["S"]: item["holder"]["S"] for item in self._query(pk)}

    def apply(self, change: Change) -> Outcome:
        """Make one change in one transaction.

            record   SET … IF version = before.version        refused: StaleRecordError
            claims   PUT … IF free, mine, or to be taken over  refused: ClaimHeld
            declared CHECK revision unchanged                  refused: StaleRecordError
            counter  ADD 1 to the duplicate's original
            also     SET … IF version = its before.version     refused: StaleRecordError

        Raises:
            StaleRecordError: a record or the declarations moved on; read again.
        """
        parts: list[dict[str, Any]] = [{"Update": self._update(change.before, change.after)}]
        parts += [{"Put": self._claim(claim, change.after)} for claim in change.claims]
        if change.declarations is not None:
            parts.append({"ConditionCheck": self._undisturbed(change)})
        if change.counts_on:
            parts.append({"Update": self._count(change.counts_on)})
        parts += [{"Update": self._update(before, after)} for before, after in change.also]
        try:
            self._write(parts)
        except ClientError as exc:
            return self._refused(exc, change)
        return Applied()

    def declare(self, bucket: str, key: str, digests: Iterable[Digest]) -> Declarations:
        """Add digests a checksum file declares for a key; idempotent per (source, algorithm)."""
        pk = keys.place_pk(bucket, key)
        item = self._get((pk, keys.DECLARED_SK))
        before = _declarations(item)
        by_source = {(d.source, d.algorithm): d for d in (*before.digests, *digests)}
        after = Declarations(tuple(by_source.values()), before.revision + 1)
        if after.digests == before.digests:
            return before
        self._replace_declarations(pk, before.revision, after)
        return after

    def take_lease(self, lease: Lease, now: datetime) -> bool:
        """Take the lease on an object in one conditional write; False when another holds it.

        free │ ended │ mine (the message came again) │ void (the record moved on)
        """
        return self._put_if(
            lease_item(lease),
            "attribute_not_exists(pk) OR ends_at <= :now OR holder = :mine"
            " OR record_version < :version",
            {
                ":now": value(utc_text(now)),
                ":mine": value(lease.holder),
                ":version": value(lease.record_version),
            },
        )

    def get_lease(self, object_id: str) -> Lease | None:
        """Return the lease on an object, be it ended."""
        item = self._get(keys.lease_key(object_id))
        return lease_of(item) if item else None

    def end_lease(self, lease: Lease) -> bool:
        """Remove this very lease; False when it was gone, or another took its place."""
        try:
            self.client.delete_item(
                TableName=self.table,
                Key=item_key(keys.lease_key(lease.object_id)),
                ConditionExpression="holder = :mine AND ends_at = :until",
                ExpressionAttributeValues={
                    ":mine": value(lease.holder),
                    ":until": value(utc_text(lease.until)),
                },
            )
        except ClientError as exc:
            if _code(exc) == _FAILED_CONDITION:
                return False
            raise
        return True

    def open_run(self, run: PipelineRun) -> PipelineRun:
        """Put a pipeline run unless it exists; returns the one that is stored."""
        if self._put_new(run_item(run)):
            return run
        return self.get_run(run.run_id) or run

    def get_run(self, run_id: str) -> PipelineRun | None:
        """Return a pipeline run."""
        item = self._get(keys.run_key(run_id))
        return pipeline_run(item) if item else None

    def move_run(self, before: PipelineRun, after: PipelineRun) -> None:
        """Replace a run's record; raises StaleRecordError when it moved on."""
        try:
            self.client.put_item(
                TableName=self.table,
                Item=run_item(after),
                ConditionExpression="version = :before",
                ExpressionAttributeValues={":before": value(before.version)},
            )
        except ClientError as exc:
            if _code(exc) == _FAILED_CONDITION:
                raise StaleRecordError(f"pipeline run {before.run_id} moved meanwhile") from exc
            raise

    def _put_new(self, item: Item) -> bool:
        return self._put_if(item, "attribute_not_exists(pk)", {})

    def _put_if(self, item: Item, condition: str, values: Item) -> bool:
        more: Any = {"ExpressionAttributeValues": values} if values else {}
        try:
            self.client.put_item(
                TableName=self.table, Item=item, ConditionExpression=condition, **more
            )
        except ClientError as exc:
            if _code(exc) == _FAILED_CONDITION:
                return False
            raise
        return True

    def _get(self, key: keys.Key) -> Item | None:
        answer = self.client.get_item(TableName=self.table, Key=item_key(key), ConsistentRead=True)
        return answer.get("Item")

    def _query(self, pk: str, *, prefix: str = "") -> Iterator[Mapping[str, Any]]:
        condition, values = "pk = :pk", {":pk": value(pk)}
        if prefix:
            condition, values = (
                f"{condition} AND begins_with(sk, :sk)",
                values | {":sk": value(prefix)},
            )
        arguments = {
            "TableName": self.table,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
        }
        return query_items(self.client, arguments)

    def _write(self, parts: Sequence[dict[str, Any]]) -> None:
        if len(parts) == 1:
            self.client.update_item(**parts[0]["Update"])
        else:
            self.client.transact_write_items(TransactItems=list(parts))  # type: ignore[arg-type]

    def _update(self, was: ObjectRecord, will_be: ObjectRecord) -> dict[str, Any]:
        return record_update(self.table, was, will_be)

    def _claim(self, claim: Claim, holder: ObjectRecord) -> dict[str, Any]:
        condition = "attribute_not_exists(pk) OR holder = :mine"
        values = {":mine": value(holder.object_id)}
        if claim.takes_over:
            condition += " OR holder = :gone"
            values[":gone"] = value(claim.takes_over)
        return {
            "TableName": self.table,
            "Item": claim_item(claim, holder.object_id, holder.changed_at),
            "ConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def _undisturbed(self, change: Change) -> dict[str, Any]:
        pk, _ = keys.object_key(change.after.object_id)
        check: dict[str, Any] = {"TableName": self.table, "Key": item_key((pk, keys.DECLARED_SK))}
        revision = change.declarations.revision if change.declarations else 0
        if revision:
            values = {":revision": value(revision)}
            return check | {
                "ConditionExpression": "revision = :revision",
                "ExpressionAttributeValues": values,
            }
        return check | {"ConditionExpression": "attribute_not_exists(pk)"}

    def _count(self, object_id: str) -> dict[str, Any]:
        return {
            "TableName": self.table,
            "Key": item_key(keys.object_key(object_id)),
            "UpdateExpression": "ADD duplicate_count :one",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeValues": {":one": value(1)},
        }

    def _refused(self, exc: ClientError, change: Change) -> ClaimHeld:
        reasons = exc.response.get("CancellationReasons", [])
        for claim, reason in zip(change.claims, reasons[1:], strict=False):
            if reason.get("Code") == "ConditionalCheckFailed":
                return ClaimHeld(claim, self._holder(claim, reason.get("Item")))
        refused = {reason.get("Code") for reason in reasons} | {_code(exc)}
        if refused & (_CONFLICT_CODES | {_FAILED_CONDITION}):
            raise StaleRecordError(f"object {change.before.object_id} moved meanwhile") from exc
        raise exc

    def _holder(self, claim: Claim, item: Mapping[str, Any] | None) -> str:
        key = keys.claim_key(claim.namespace, claim.group, claim.value)
        found = item or self._get(key) or {}
        return str(found.get("holder", {}).get("S", ""))

    def _replace_declarations(self, pk: str, revision: int, after: Declarations) -> None:
        item = to_item(
            {
                "pk": pk,
                "sk": keys.DECLARED_SK,
                "entity": "declarations",
                "schema_version": SCHEMA_VERSION,
                "revision": after.revision,
                "digests": [digest.as_dict() for digest in after.digests],
            }
        )
        try:
            self.client.put_item(
                TableName=self.table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk) OR revision = :before",
                ExpressionAttributeValues={":before": value(revision)},
            )
        except ClientError as exc:
            if _code(exc) == _FAILED_CONDITION:
                raise StaleRecordError("another checksum file spoke of the same key") from exc
            raise


def record_update(table: str, was: ObjectRecord, will_be: ObjectRecord) -> dict[str, Any]:
    """Return the update that makes a record what it will be, if it is still what it was."""
    before, after = object_item(was), object_item(will_be)
    changed = {k: v for k, v in after.items() if before.get(k) != v and k not in _NOT_OURS}
    removed = [k for k in before if k not in after and k not in _NOT_OURS]
    names = {f"#{i}": name for i, name in enumerate([*changed, *removed])}
    values = {f":{i}": v for i, v in enumerate(changed.values())}
    expression = "SET " + ", ".join(f"#{i} = :{i}" for i in range(len(changed)))
    if removed:
        places = range(len(changed), len(names))
        expression += " REMOVE " + ", ".join(f"#{i}" for i in places)
    return {
        "TableName": table,
        "Key": item_key(keys.object_key(will_be.object_id)),
        "UpdateExpression": expression,
        "ConditionExpression": "version = :before",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values | {":before": value(was.version)},
    }


def claim_item(claim: Claim, holder: str, since: datetime) -> Item:
    """Return the item by which an object holds a name since then."""
    pk, sk = keys.claim_key(claim.namespace, claim.group, claim.value)
    return to_item(
        {
            "pk": pk,
            "sk": sk,
            "entity": "claim",
            "schema_version": SCHEMA_VERSION,
            "holder": holder,
            "since": utc_text(since),
        }
    )


def _declarations(item: Mapping[str, Any] | None) -> Declarations:
    if not item:
        return Declarations()
    data = from_item(item)
    digests = tuple(Digest.from_dict(entry) for entry in data.get("digests", ()))
    return Declarations(digests, data["revision"])


def _unprocessed(answer: Any, table: str) -> list[Item]:
    keys_left: list[Item] = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
    return keys_left


def _code(exc: ClientError) -> str:
    return exc.response.get("Error", {}).get("Code", "")
