"""Accesses to what is stored, in the catalog's table.

| item | key | holds |
|---|---|---|
| scope | `ACCESS#<kind>#<hash>`, `ACCESS` | `last_access`, `reads` in total, its name |
| day | same, `DAY#<day>#<class>` | `reads`, `sent_bytes`, `placed_on`; listed in `by_group` |
| source | same, `READ#<source>#<day>#<class>` | that it was counted; swept away after a time |

Every write is an UpdateItem under one leading key, so that readers need no right to put an item
over another, nor to write into the partitions of exceptions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from forebay.adapters import keys
from forebay.adapters.items import from_item, item_key, value
from forebay.adapters.queries import Query, batch_items, query_items
from forebay.domain.policy.access import REOPENED_AFTER, Access, AccessDay, Reopened
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.errors import Trouble
from forebay.events import utc_moment, utc_text
from forebay.names import INDEX_BY_DUE, INDEX_BY_GROUP, SCHEMA_VERSION

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REMEMBERED_DAYS: Final = 90
"""How long a source is known to be counted: dead letters are replayed within weeks, if at all."""
_ATTEMPTS: Final = 5
_RESERVED: Final = {"#reads": "reads"}
_REFUSED: Final = "ConditionalCheckFailed"


@dataclass(frozen=True, slots=True)
class DynamoAccesses:
    """`services.ports.Accesses` and `ReopenedScopes` in the catalog's table."""

    client: "DynamoDBClient"
    table: str

    def note(self, access: Access) -> bool:
        """Note reads of a scope; False when this source's were counted already.

            last access  SET IF later than what is there        idempotent: forward only
                         and due to be looked at IF a day later than what is there
            ── one transaction ──────────────────────────────────────────────────────────
            source       SET counted IF new                     refused: False
            day          ADD reads, bytes
            scope        ADD reads

        A crash between the two leaves a last access that is true, and a count that comes with the
        next delivery. Raises Trouble when others kept writing to the same items.
        """
        self._move_forward(access)
        for _ in range(_ATTEMPTS):
            try:
                self.client.transact_write_items(TransactItems=self._parts(access))
            except self.client.exceptions.TransactionCanceledException as exc:
                reasons: list[Any] = list(exc.response.get("CancellationReasons", [])) or [{}]
                if reasons[0].get("Code") == _REFUSED:
                    return False
                continue  # two files of one moment count the same study
            return True
        raise Trouble("others kept counting accesses to the same scope")

    def days(self, object_class: str) -> Iterator[AccessDay]:
        """Yield the days on which objects of a class were read, by day; the index lags a little."""
        query = Query(keys.access_days_pk(object_class), index=INDEX_BY_GROUP)
        for item in query_items(self.client, query.arguments(self.table)):
            data = from_item(item)
            yield AccessDay(
                scope_id=data["pk"],
                day=date.fromisoformat(data["day"]),
                placed_on=date.fromisoformat(data["placed_on"]),
                reads=data["reads"],
                sent_bytes=data["sent_bytes"],
            )

    def pending(self, limit: int) -> Sequence[Reopened]:
        """Return scopes that were read again after a pause, the longest ago first."""
        query = Query(keys.REOPENED_PK, index=INDEX_BY_DUE)
        found = query_items(self.client, query.arguments(self.table), limit=limit)
        wanted = [(item["pk"]["S"], item["sk"]["S"]) for item in found]
        items = {item["pk"]["S"]: item for item in batch_items(self.client, self.table, wanted)}
        # The index lags: what was seen meanwhile has left it.
        kept = (items[pk] for pk, _ in wanted if "due_pk" in items.get(pk, {}))
        return [_reopened(item) for item in kept]

    def seen(self, reopened: Reopened) -> None:
        """Note that a scope was looked at; one that was reopened once more stays pending."""
        self._update(
            keys.access_key(reopened.scope),
            "REMOVE due_pk, due_sk",
            condition="due_sk = :at",
            values={":at": {"S": utc_text(reopened.at)}},
        )

    def _move_forward(self, access: Access) -> None:
        at = utc_text(access.last_at)
        values = {
            ":at": value(at),
            ":kind": value(access.scope.kind.value),
            ":value": value(access.scope.value),
            **_kind("access"),
        }
        forward = f"SET last_access = :at, scope_kind = :kind, scope_value = :value, {_KIND}"
        due = f"{forward}, due_pk = :due, due_sk = :at"
        pending = {":due": value(keys.REOPENED_PK)}
        paused = {":paused": value(utc_text(access.last_at - REOPENED_AFTER))}
        key = keys.access_key(access.scope)
        later = "attribute_not_exists(last_access) OR last_access < "
        if access.asks and self._update(
            key, due, condition=f"{later}:at", values={**values, **pending}
        ):
            return
        if access.may_reopen and self._update(
            key, due, condition=f"{later}:paused", values={**values, **pending, **paused}
        ):
            return
        self._update(key, forward, condition=f"{later}:at", values=values)

    def _parts(self, access: Access) -> Any:
        scope, day, chosen = access.scope, access.day, access.object_class
        source = keys.read_key(scope, day, chosen, source=access.source)
        day_key = keys.access_day_key(scope, day, chosen)
        until = access.last_at + timedelta(days=REMEMBERED_DAYS)
        counted = {":reads": value(access.reads)}
        text = f"{day:%Y-%m-%d}"
        return [
            {
                "Update": self._request(
                    source,
                    f"SET expires_at = :until, {_KIND}",
                    condition="attribute_not_exists(pk)",
                    values={":until": value(int(until.timestamp())), **_kind("access_source")},
                )
            },
            {
                "Update": self._request(
                    day_key,
                    "SET #day = :day, placed_on = if_not_exists(placed_on, :placed_on),"
                    f" group_pk = :group, group_sk = :place, {_KIND}"
                    " ADD #reads :reads, sent_bytes :sent",
                    values={
                        ":day": value(text),
                        ":placed_on": value(f"{access.placed_on:%Y-%m-%d}"),
                        ":group": value(keys.access_days_pk(chosen)),
                        ":place": value(f"{text}#{day_key[0]}"),
                        ":sent": value(access.sent_bytes),
                        **counted,
                        **_kind("access_day"),
                    },
                    names={"#day": "day", **_RESERVED},
                )
            },
            {
                "Update": self._request(
                    keys.access_key(scope), "ADD #reads :reads", values=counted, names=_RESERVED
                )
            },
        ]

    def _update(
        self, key: keys.Key, update: str, *, condition: str, values: Mapping[str, Any]
    ) -> bool:
        request = self._request(key, update, condition=condition, values=values)
        try:
            self.client.update_item(**request)
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _request(
        self,
        key: keys.Key,
        update: str,
        *,
        values: Mapping[str, Any],
        condition: str = "",
        names: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        return {
            "TableName": self.table,
            "Key": item_key(key),
            "UpdateExpression": update,
            "ExpressionAttributeValues": dict(values),
            **({"ConditionExpression": condition} if condition else {}),
            **({"ExpressionAttributeNames": dict(names)} if names else {}),
        }


_KIND: Final = "entity = :entity, schema_version = :schema_version"


def _kind(entity: str) -> dict[str, Any]:
    return {":entity": value(entity), ":schema_version": value(SCHEMA_VERSION)}


def _reopened(item: Mapping[str, Any]) -> Reopened:
    scope = Scope(ScopeKind(item["scope_kind"]["S"]), item["scope_value"]["S"])
    return Reopened(scope, utc_moment(item["due_sk"]["S"]))
