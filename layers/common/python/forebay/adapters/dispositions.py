"""Dispositions in the catalog's table.

| item | key | written by |
|---|---|---|
| what was asked for | `DISP#<id>`, `REQUEST` | `request_disposition` |
| what was decided | `DISPOK#<id>`, `DECISION` | `decide_disposition`, then `dispose_objects` |
| what became of an object | `DISPDONE#<id>`, `<object id>` | `dispose_objects` |

Without a decision's item nothing is executed, whatever the request's item says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from forebay.adapters import keys
from forebay.adapters.catalog import record_update
from forebay.adapters.items import (
    OBJECT_ENTITY,
    Item,
    from_item,
    item_key,
    object_record,
    to_item,
    value,
)
from forebay.adapters.queries import Query, batch_items, query_items
from forebay.adapters.refusals import NOT_APPLIED, codes_of
from forebay.domain.objects import Location
from forebay.domain.policy.disposition import Disposition, Entry, Stage
from forebay.domain.policy.exceptions import PolicyException, Scope, ScopeKind
from forebay.errors import StaleRecordError
from forebay.events import utc_moment, utc_text
from forebay.names import INDEX_BY_GROUP, SCHEMA_VERSION
from forebay.services.ports import Erasure

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NEW: Final = "attribute_not_exists(pk)"


@dataclass(frozen=True, slots=True)
class DynamoDispositions:
    """`services.ports.Dispositions` in the catalog's table."""

    client: "DynamoDBClient"
    table: str

    def get(self, disposition_id: str) -> Disposition | None:
        """Return one disposition, read consistently."""
        asked = self._get(keys.disposition_key(disposition_id))
        if asked is None:
            return None
        return _disposition(asked, self._get(keys.disposition_decision_key(disposition_id)) or {})

    def add(self, disposition: Disposition) -> None:
        """Write what was asked for; raises StaleRecordError when the id is taken."""
        pk, sk = keys.disposition_key(disposition.disposition_id)
        group = f"{utc_text(disposition.requested_at)}#{disposition.disposition_id}"
        item = {"group_pk": keys.DISPOSITIONS_PK, "group_sk": group, **_asked(disposition)}
        self._put(_item(pk, sk, "disposition", item), _NEW)

    def decide(self, before: Disposition, after: Disposition) -> None:
        """Write what was decided about it; raises StaleRecordError when it moved on."""
        pk, sk = keys.disposition_decision_key(after.disposition_id)
        item = _item(pk, sk, "disposition_decision", _decided(after))
        if before.version:
            self._put(item, "version = :before", {":before": value(before.version)})
        else:
            self._put(item, _NEW)

    def latest(self, limit: int) -> Sequence[Disposition]:
        """Return dispositions, those asked for last first."""
        query = Query(keys.DISPOSITIONS_PK, index=INDEX_BY_GROUP, newest_first=True)
        found = query_items(self.client, query.arguments(self.table), limit=limit)
        asked = [from_item(item) for item in found]
        wanted = [keys.disposition_decision_key(each["disposition_id"]) for each in asked]
        items = map(from_item, batch_items(self.client, self.table, wanted))
        decided = {item["pk"]: item for item in items}
        return [
            _disposition(each, decided.get(pk, {}))
            for each, (pk, _) in zip(asked, wanted, strict=True)
        ]

    def entry(self, disposition_id: str, object_id: str) -> Entry | None:
        """Return what became of one object."""
        found = self._get((keys.disposition_entries_pk(disposition_id), object_id))
        return Entry.from_dict(found) if found else None

    def entries(self, disposition_id: str) -> Iterator[Entry]:
        """Yield what became of its objects, by object id; read consistently."""
        query = Query(keys.disposition_entries_pk(disposition_id), extra={"ConsistentRead": True})
        for item in query_items(self.client, query.arguments(self.table)):
            yield Entry.from_dict(from_item(item))

    def note(self, disposition_id: str, entry: Entry) -> Entry:
        """Write what became of an object unless that is written; return what is written then."""
        try:
            self._put(_entry_item(disposition_id, entry), _NEW)
        except StaleRecordError:
            return self.entry(disposition_id, entry.object_id) or entry
        return entry

    def settle(self, disposition_id: str, entry: Entry) -> None:
        """Write what became of an object over what was written before."""
        self.client.put_item(TableName=self.table, Item=_entry_item(disposition_id, entry))

    def erase(self, erasure: Erasure) -> None:
        """Let an object go in one transaction.

            record    SET … IF version = before.version          it is as it was read
            entry     PUT IF there is none                       no other run decided about it
            decision  CHECK stage = EXECUTING                    it is approved
            scopes    CHECK the same exceptions in the same version, each

        Raises:
            StaleRecordError: something moved on, a hold perhaps; read again.
        """
        entry = _entry_item(erasure.disposition_id, erasure.entry)
        update = record_update(self.table, erasure.before, erasure.after)
        parts: Any = [
            {"Update": update},
            {"Put": {"TableName": self.table, "Item": entry, "ConditionExpression": _NEW}},
            {"ConditionCheck": self._is_executing(erasure.disposition_id)},
            *(
                {"ConditionCheck": self._unchanged(scope, standing)}
                for scope, standing in erasure.standing.items()
            ),
        ]
        try:
            self.client.transact_write_items(TransactItems=parts)
        except ClientError as exc:
            if codes_of(exc) & NOT_APPLIED:
                raise StaleRecordError(
                    f"object {erasure.before.object_id} or what is said of it moved meanwhile"
                ) from exc
            raise

    def forget(self, study: str, date: str, tokens: Mapping[str, str]) -> None:
        """Remove the search entries by which tokens lead to a study, unless they still should.

        They should while a record of the study carries the token: what is stored must be found.
        """
        used = self._tokens_in_use(study)
        unused = {name: token for name, token in tokens.items() if (name, token) not in used}
        for name, token in unused.items():
            key = (keys.find_pk(name.lower(), token), f"{date}#{study}")
            self.client.delete_item(TableName=self.table, Key=item_key(key))
        for name, token in unused.items():
            self._forget_in_study(study, name, token)

    def _tokens_in_use(self, study: str) -> set[tuple[str, str]]:
        query = Query(keys.study_pk(study), index=INDEX_BY_GROUP)
        items = query_items(self.client, query.arguments(self.table))
        ids = [each["object_id"]["S"] for each in items if each["entity"]["S"] == OBJECT_ENTITY]
        # The index lags: the records themselves say what they carry.
        found = batch_items(self.client, self.table, map(keys.object_key, ids))
        return {pair for item in found for pair in object_record(item).subject_tokens.items()}

    def _forget_in_study(self, study: str, name: str, token: str) -> None:
        try:
            self.client.update_item(
                TableName=self.table,
                Key=item_key((keys.study_pk(study), keys.STUDY_SK)),
                UpdateExpression="REMOVE #tokens.#name",
                ConditionExpression="#tokens.#name = :token",
                ExpressionAttributeNames={"#tokens": "tokens", "#name": name},
                ExpressionAttributeValues={":token": value(token)},
            )
        except ClientError as exc:
            if not codes_of(exc) & NOT_APPLIED:
                raise

    def _is_executing(self, disposition_id: str) -> dict[str, Any]:
        return {
            "TableName": self.table,
            "Key": item_key(keys.disposition_decision_key(disposition_id)),
            "ConditionExpression": "#stage = :executing",
            "ExpressionAttributeNames": {"#stage": "stage"},
            "ExpressionAttributeValues": {":executing": value(Stage.EXECUTING.value)},
        }

    def _unchanged(self, scope: Scope, standing: Sequence[PolicyException]) -> dict[str, Any]:
        check: dict[str, Any] = {
            "TableName": self.table,
            "Key": item_key((keys.scope_pk(scope), keys.SCOPE_EXCEPTIONS_SK)),
        }
        values: Item = {":count": value(len(standing))}
        names = {"#all": "exceptions"}  # a reserved word
        terms = ["size(#all) = :count"]
        for place, each in enumerate(standing):
            names |= {"#version": "version", f"#{place}": each.exception_id}
            values[f":{place}"] = value(each.version)
            terms.append(f"#all.#{place}.#version = :{place}")
        none = "" if standing else "attribute_not_exists(#all) OR "
        return check | {
            "ConditionExpression": none + " AND ".join(terms),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }

    def _get(self, key: keys.Key) -> dict[str, Any] | None:
        answer = self.client.get_item(TableName=self.table, Key=item_key(key), ConsistentRead=True)
        return from_item(answer["Item"]) if "Item" in answer else None

    def _put(self, item: Item, condition: str, values: Item | None = None) -> None:
        more: Any = {"ExpressionAttributeValues": values} if values else {}
        try:
            self.client.put_item(
                TableName=self.table, Item=item, ConditionExpression=condition, **more
            )
        except ClientError as exc:
            if codes_of(exc) & NOT_APPLIED:
                raise StaleRecordError("the disposition moved on meanwhile") from exc
            raise


@dataclass(frozen=True, slots=True)
class DynamoCopyHistory:
    """`services.ports.CopyHistory` in the history table."""

    client: "DynamoDBClient"
    history_table: str

    def copies(self, object_id: str) -> Sequence[Location]:
        """Return the versions in zones and quarantine that its record ever named."""
        query = Query(object_id, extra={"ConsistentRead": True})
        found: dict[Location, None] = {}
        for item in query_items(self.client, query.arguments(self.history_table)):
            entry = from_item(item)
            for place in (entry.get("placed"), entry.get("held")):
                if place:
                    found[Location(**place)] = None
        return tuple(found)


def scopes_data(scopes: Iterable[Scope]) -> list[dict[str, str]]:
    """Return scopes as data, with their values: not for the ledger."""
    return [{"kind": each.kind.value, "value": each.value} for each in scopes]


def scopes_of(data: Iterable[Mapping[str, Any]]) -> tuple[Scope, ...]:
    """Return the scopes that `scopes_data` wrote; raises KeyError, TypeError or ValueError."""
    return tuple(Scope(ScopeKind(each["kind"]), str(each["value"])) for each in data)


def _item(pk: str, sk: str, entity: str, data: Mapping[str, Any]) -> Item:
    head = {"pk": pk, "sk": sk, "entity": entity, "schema_version": SCHEMA_VERSION}
    return to_item({**head, **data})


def _entry_item(disposition_id: str, entry: Entry) -> Item:
    pk = keys.disposition_entries_pk(disposition_id)
    return _item(pk, entry.object_id, "disposition_entry", entry.as_dict())


def _asked(disposition: Disposition) -> dict[str, Any]:
    return {
        "disposition_id": disposition.disposition_id,
        "scopes": scopes_data(disposition.scopes),
        "review_due": disposition.review_due or None,
        "reason": disposition.reason,
        "basis": disposition.basis,
        "requested_by": disposition.requested_by,
        "requested_at": utc_text(disposition.requested_at),
        "request": _place(disposition.request),
        "digest": disposition.digest,
        "objects": disposition.objects,
        "size_bytes": disposition.size_bytes,
    }


def _decided(disposition: Disposition) -> dict[str, Any]:
    at = disposition.decided_at
    return {
        "disposition_id": disposition.disposition_id,
        "stage": disposition.stage.value,
        "decided_by": disposition.decided_by,
        "decided_at": utc_text(at) if at else "",
        "note": disposition.note,
        "approved_digest": disposition.approved_digest,
        "certificate": _place(disposition.certificate) if disposition.certificate else None,
        "version": disposition.version,
    }


def _disposition(asked: Mapping[str, Any], decided: Mapping[str, Any]) -> Disposition:
    at = decided.get("decided_at")
    certificate = decided.get("certificate")
    return Disposition(
        disposition_id=asked["disposition_id"],
        scopes=scopes_of(asked.get("scopes", ())),
        review_due=asked.get("review_due", False),
        reason=asked["reason"],
        basis=asked.get("basis", ""),
        requested_by=asked["requested_by"],
        requested_at=utc_moment(asked["requested_at"]),
        request=Location(**asked["request"]),
        digest=asked["digest"],
        objects=asked["objects"],
        size_bytes=asked["size_bytes"],
        stage=Stage(decided.get("stage", Stage.REQUESTED)),
        decided_by=decided.get("decided_by", ""),
        decided_at=utc_moment(at) if at else None,
        note=decided.get("note", ""),
        approved_digest=decided.get("approved_digest", ""),
        certificate=Location(**certificate) if certificate else None,
        version=decided.get("version", 0),
    )


def _place(location: Location) -> dict[str, str]:
    return {"bucket": location.bucket, "key": location.key, "version_id": location.version_id}
