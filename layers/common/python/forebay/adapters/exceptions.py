"""Exceptions from policy in the catalog's table, their history in the ledger, and what is due.

| item | key | holds |
|---|---|---|
| exception | `EXC#<id>`, `EXCEPTION` | the exception as it stands |
| scope | `SCOPE#<kind>#<hash>`, `EXCEPTIONS` | `exceptions`: id → those that are ACTIVE |
| access | `ACCESS#<kind>#<hash>`, `ACCESS` | `last_access` |

What reaches an object is read from the scopes' items alone: an exception that is not in its scope's
item has no effect, whatever its own item says. Who may write the one may not write the other.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from forebay.adapters import keys
from forebay.adapters.items import Item, from_item, item_key, to_item, value
from forebay.adapters.queries import Query, batch_items, query_items
from forebay.adapters.refusals import NOT_APPLIED, codes_of
from forebay.domain.policy.exceptions import (
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
)
from forebay.domain.policy.standing import Context
from forebay.errors import StaleRecordError
from forebay.events import utc_moment, utc_text
from forebay.names import INDEX_BY_ACTION, INDEX_BY_DUE, INDEX_BY_GROUP, SCHEMA_VERSION

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

LEDGER_EXCEPTIONS: Final = "exceptions/"
_LEDGER_KEY: Final = re.compile(r"exceptions/(?P<id>[A-Za-z0-9-]+)/(?P<version>[0-9]{10})\.json")
_TAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_RESERVED: Final = {"#exceptions": "exceptions"}
"""DynamoDB keeps the word for itself."""
_WITH_EFFECT: Final = frozenset({Status.ACTIVE, Status.ENDED})


@dataclass(frozen=True, slots=True)
class DynamoExceptions:
    """`services.ports.Exceptions` in the catalog's table."""

    client: "DynamoDBClient"
    table: str

    def get(self, exception_id: str) -> PolicyException | None:
        """Return one exception, read consistently."""
        answer = self.client.get_item(
            TableName=self.table,
            Key=item_key(keys.exception_key(exception_id)),
            ConsistentRead=True,
        )
        return exception_of(from_item(answer["Item"])) if "Item" in answer else None

    def put(self, before: PolicyException | None, after: PolicyException) -> None:
        """Write an exception and what its scope says, in one transaction.

            scope      SET exceptions = {} IF there is none       (ahead; says nothing)
            exception  PUT … IF version = before.version, or new  refused: StaleRecordError
            scope      ACTIVE: SET exceptions.<id>   ENDED: REMOVE exceptions.<id>

        One that was only asked for, or refused, leaves the scope alone.
        """
        put = self._exception(
            after,
            "version = :before" if before else "attribute_not_exists(pk)",
            {":before": value(before.version)} if before else {},
        )
        self._write(put, after)

    def restore(self, exception: PolicyException) -> bool:
        """Write an exception as the ledger tells it; False when this or a later version is there.

        What it reaches is pending again: nobody knows how far the lost table had come.
        """
        put = self._exception(
            exception,
            "attribute_not_exists(pk) OR version < :version",
            {":version": value(exception.version)},
        )
        try:
            self._write(put, exception)
        except StaleRecordError:
            return False
        return True

    def with_status(self, status: Status) -> Iterator[PolicyException]:
        """Yield exceptions of one status, those asked for last first."""
        query = Query(keys.exceptions_pk(status), index=INDEX_BY_GROUP, newest_first=True)
        found = query_items(self.client, query.arguments(self.table))
        return (exception_of(from_item(item)) for item in found)

    def pending(self, limit: int) -> Sequence[PolicyException]:
        """Return exceptions whose last change has not reached every object, the oldest first."""
        query = Query(keys.EFFECTS_PK, index=INDEX_BY_DUE)
        found = query_items(self.client, query.arguments(self.table), limit=limit)
        wanted = [(item["pk"]["S"], item["sk"]["S"]) for item in found]
        items = {item["pk"]["S"]: item for item in batch_items(self.client, self.table, wanted)}
        # The index lags: what was reached meanwhile has left it.
        kept = (items[pk] for pk, _ in wanted if "due_pk" in items.get(pk, {}))
        return [exception_of(from_item(item)) for item in kept]

    def reached(self, exception: PolicyException) -> None:
        """Note that the last change reached every object; a later change is pending still."""
        try:
            self.client.update_item(
                TableName=self.table,
                Key=item_key(keys.exception_key(exception.exception_id)),
                UpdateExpression="REMOVE due_pk, due_sk",
                ConditionExpression="version = :version",
                ExpressionAttributeValues={":version": value(exception.version)},
            )
        except ClientError as exc:
            if not codes_of(exc) & NOT_APPLIED:
                raise

    def _write(self, put: Mapping[str, Any], after: PolicyException) -> None:
        try:
            if after.status not in _WITH_EFFECT:
                self.client.put_item(**put)
                return
            # An entry of a map cannot be set before there is a map.
            self.client.update_item(**self._room(after.scope))
            parts: Any = [{"Put": put}, {"Update": self._standing(after)}]
            self.client.transact_write_items(TransactItems=parts)
        except ClientError as exc:
            if codes_of(exc) & NOT_APPLIED:
                raise StaleRecordError(f"exception {after.exception_id} moved meanwhile") from exc
            raise

    def _exception(
        self, exception: PolicyException, condition: str, values: Item
    ) -> dict[str, Any]:
        pk, sk = keys.exception_key(exception.exception_id)
        is_pending = exception.status in _WITH_EFFECT
        changed_at = utc_text(changed_at_of(exception))
        item = to_item(
            {
                "pk": pk,
                "sk": sk,
                "entity": "exception",
                "schema_version": SCHEMA_VERSION,
                "group_pk": keys.exceptions_pk(exception.status),
                "group_sk": f"{utc_text(exception.requested_at)}#{exception.exception_id}",
                "due_pk": keys.EFFECTS_PK if is_pending else "",
                "due_sk": f"{changed_at}#{exception.exception_id}" if is_pending else "",
                **exception_data(exception),
            }
        )
        more = {"ExpressionAttributeValues": values} if values else {}
        return {"TableName": self.table, "Item": item, "ConditionExpression": condition, **more}

    def _room(self, scope: Scope) -> dict[str, Any]:
        return {
            **self._scope(scope),
            "UpdateExpression": "SET #exceptions = if_not_exists(#exceptions, :none),"
            " entity = :entity, schema_version = :schema_version",
            "ExpressionAttributeNames": _RESERVED,
            "ExpressionAttributeValues": {
                ":none": {"M": {}},
                ":entity": value("scope_exceptions"),
                ":schema_version": value(SCHEMA_VERSION),
            },
        }

    def _standing(self, after: PolicyException) -> dict[str, Any]:
        update = {
            **self._scope(after.scope),
            "ExpressionAttributeNames": {**_RESERVED, "#id": after.exception_id},
        }
        if after.status is Status.ENDED:
            return update | {"UpdateExpression": "REMOVE #exceptions.#id"}
        return update | {
            "UpdateExpression": "SET #exceptions.#id = :data",
            "ExpressionAttributeValues": {":data": value(exception_data(after))},
        }

    def _scope(self, scope: Scope) -> dict[str, Any]:
        key = item_key((keys.scope_pk(scope), keys.SCOPE_EXCEPTIONS_SK))
        return {"TableName": self.table, "Key": key}


@dataclass(frozen=True, slots=True)
class DynamoPolicyBook:
    """`services.ports.PolicyBook` in the catalog's table."""

    client: "DynamoDBClient"
    table: str

    def context(self, scopes: Sequence[Scope], accessed_as: Scope) -> Context:
        """Return what reaches an object: in one request, for each hundred scopes.

        Raises:
            Trouble: DynamoDB kept holding items back.
        """
        accessed = keys.access_key(accessed_as)
        wanted = [(keys.scope_pk(scope), keys.SCOPE_EXCEPTIONS_SK) for scope in scopes]
        exceptions: dict[str, PolicyException] = {}
        last_access = None
        for item in batch_items(self.client, self.table, (accessed, *wanted)):
            data = from_item(item)
            if data["sk"] == keys.SCOPE_ACCESS_SK:
                last_access = utc_moment(data["last_access"])
            for said in data.get("exceptions", {}).values():
                exceptions[said["exception_id"]] = exception_of(said)
        return Context(tuple(exceptions[each] for each in sorted(exceptions)), last_access)

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        """Return ids of objects that policy has to look at, the longest due first."""
        found: list[tuple[str, str]] = []
        for shard in range(keys.DUE_SHARDS):
            # Every key goes on after the time: `~` lets in those of this very moment.
            query = Query(
                keys.action_pk(shard), index=INDEX_BY_ACTION, low=" ", high=f"{utc_text(now)}~"
            )
            items = query_items(self.client, query.arguments(self.table), limit=limit)
            found += [(item["action_sk"]["S"], item["object_id"]["S"]) for item in items]
        return [object_id for _, object_id in sorted(found)[:limit]]


@dataclass(frozen=True, slots=True)
class S3ExceptionHistory:
    """`services.ports.ExceptionHistory` in the ledger: `exceptions/<id>/<version>.json`.

    Each version is written once; S3 itself refuses the second (If-None-Match).
    """

    client: "S3Client"
    bucket: str

    def append(self, exception: PolicyException) -> bool:
        """Write one version; False when that version was told before."""
        body = json.dumps(exception_data(exception), sort_keys=True, indent=1) + "\n"
        try:
            self.client.put_object(
                Bucket=self.bucket,
                Key=_ledger_key(exception.exception_id, exception.version),
                Body=body.encode(),
                ContentType="application/json",
                ChecksumAlgorithm="SHA256",
                IfNoneMatch="*",
            )
        except ClientError as exc:
            if codes_of(exc) & _TAKEN:
                return False
            raise
        return True

    def get(self, exception_id: str, version: int) -> PolicyException:
        """Return one version that was told."""
        return self._read(_ledger_key(exception_id, version))

    def latest(self) -> Iterator[PolicyException]:
        """Yield the last version of every exception.

        The first version is what was asked for. Whoever may ask may write that name, and nothing
        else: a first version that says more is nobody's decision, and is left out.
        """
        last: tuple[str, str] | None = None
        for exception_id, key in self._keys():
            if last and last[0] != exception_id:
                yield from self._told(last[1])
            last = exception_id, key
        if last:
            yield from self._told(last[1])

    def _told(self, key: str) -> Iterator[PolicyException]:
        exception = self._read(key)
        named = _ledger_key(exception.exception_id, exception.version) == key
        if named and (exception.version > 1 or exception.status is Status.REQUESTED):
            yield exception

    def _keys(self) -> Iterator[tuple[str, str]]:
        """Yield id and key of every version, in order of both."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=LEDGER_EXCEPTIONS
        )
        for page in pages:
            for entry in page.get("Contents", []):
                if match := _LEDGER_KEY.fullmatch(entry["Key"]):
                    yield match["id"], entry["Key"]

    def _read(self, key: str) -> PolicyException:
        answer = self.client.get_object(Bucket=self.bucket, Key=key)
        return exception_of(json.loads(answer["Body"].read()))


def changed_at_of(exception: PolicyException) -> datetime:
    """Return when an exception came to be as it is."""
    return exception.ended_at or exception.decided_at or exception.requested_at


def exception_data(exception: PolicyException) -> dict[str, Any]:
    """Return an exception as it is stored and told; what is empty is left out."""
    data = {
        "exception_id": exception.exception_id,
        "kind": exception.kind.value,
        "scope_kind": exception.scope.kind.value,
        "scope_value": exception.scope.value,
        "reason": exception.reason,
        "requested_by": exception.requested_by,
        "requested_at": utc_text(exception.requested_at),
        "status": exception.status.value,
        "until": _text(exception.until),
        "regions": list(exception.regions),
        "decided_by": exception.decided_by,
        "decided_at": _text(exception.decided_at),
        "end_asked_by": exception.end_asked_by,
        "ended_by": exception.ended_by,
        "ended_at": _text(exception.ended_at),
        "note": exception.note,
        "version": exception.version,
    }
    return {name: said for name, said in data.items() if said not in ("", [])}


def exception_of(data: Mapping[str, Any]) -> PolicyException:
    """Return the exception that `exception_data` describes."""
    return PolicyException(
        exception_id=data["exception_id"],
        kind=ExceptionKind(data["kind"]),
        scope=Scope(ScopeKind(data["scope_kind"]), data["scope_value"]),
        reason=data["reason"],
        requested_by=data["requested_by"],
        requested_at=utc_moment(data["requested_at"]),
        status=Status(data["status"]),
        until=_moment(data.get("until")),
        regions=tuple(data.get("regions", ())),
        decided_by=data.get("decided_by", ""),
        decided_at=_moment(data.get("decided_at")),
        end_asked_by=data.get("end_asked_by", ""),
        ended_by=data.get("ended_by", ""),
        ended_at=_moment(data.get("ended_at")),
        note=data.get("note", ""),
        version=data["version"],
    )


def _ledger_key(exception_id: str, version: int) -> str:
    return f"{LEDGER_EXCEPTIONS}{exception_id}/{version:010d}.json"


def _text(at: datetime | None) -> str:
    return utc_text(at) if at else ""


def _moment(text: str | None) -> datetime | None:
    return utc_moment(text) if text else None
