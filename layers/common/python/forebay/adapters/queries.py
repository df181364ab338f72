"""DynamoDB queries and batches of keys: their arguments, and their answers page by page."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from forebay.adapters import keys
from forebay.adapters.items import item_key
from forebay.errors import Trouble
from forebay.names import INDEX_BY_ACTION, INDEX_BY_DUE, INDEX_BY_GROUP, INDEX_BY_STATE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_GET_ITEMS: Final = 100
BATCH_GET_ATTEMPTS: Final = 8
_STEMS: Final = {
    INDEX_BY_STATE: "state",
    INDEX_BY_GROUP: "group",
    INDEX_BY_DUE: "due",
    INDEX_BY_ACTION: "action",
}
"""By index: what its key attributes are called, before `_pk` and `_sk`."""


@dataclass(frozen=True, slots=True)
class Query:
    """Arguments of one DynamoDB query: a partition, optionally a sort key range or prefix."""

    pk: str
    index: str = ""
    prefix: str = ""
    low: str = ""
    high: str = ""
    newest_first: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self, table: str) -> dict[str, Any]:
        """Return the keyword arguments of `client.query`."""
        stem = _STEMS.get(self.index, "")
        names = {"#pk": f"{stem}_pk" if stem else "pk"}
        values = {":pk": {"S": self.pk}}
        condition = "#pk = :pk"
        if self.prefix:
            condition += " AND begins_with(#sk, :sk)"
            values[":sk"] = {"S": self.prefix}
        elif self.low or self.high:
            condition += " AND #sk BETWEEN :low AND :high"
            values |= {":low": {"S": self.low or " "}, ":high": {"S": self.high or "~"}}
        if "#sk" in condition:
            names["#sk"] = f"{stem}_sk" if stem else "sk"
        return {
            "TableName": table,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": not self.newest_first,
            **({"IndexName": self.index} if self.index else {}),
            **self.extra,
        }


def query_items(
    client: "DynamoDBClient", arguments: Mapping[str, Any], *, limit: int | None = None
) -> Iterator[Mapping[str, Any]]:
    """Yield the items a query finds, at most `limit`; a page is read when it is needed."""
    wanted = dict(arguments)
    left = limit
    while True:
        if left is not None:
            wanted["Limit"] = left
        answer = client.query(**wanted)
        yield from answer["Items"]
        if left is not None:
            left -= len(answer["Items"])
        if not answer.get("LastEvaluatedKey") or (left is not None and left <= 0):
            return
        wanted["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def batch_items(
    client: "DynamoDBClient", table: str, wanted: Iterable[keys.Key]
) -> Iterator[Mapping[str, Any]]:
    """Yield the items that exist among the keys, each once, read consistently.

    Raises:
        Trouble: DynamoDB kept holding items back.
    """
    left: list[Any] = [item_key(key) for key in dict.fromkeys(wanted)]
    held_back = 0
    while left:
        batch, left = left[:BATCH_GET_ITEMS], left[BATCH_GET_ITEMS:]
        answer: Any = client.batch_get_item(
            RequestItems={table: {"Keys": batch, "ConsistentRead": True}}
        )
        found = answer["Responses"].get(table, [])
        yield from found
        unread = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
        left += unread
        held_back = held_back + 1 if unread and not found else 0
        if held_back > BATCH_GET_ATTEMPTS:
            raise Trouble("DynamoDB left items of the catalog unread")
