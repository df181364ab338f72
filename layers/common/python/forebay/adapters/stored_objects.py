"""What is stored, by when it was last checked and by what it was uploaded with."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from forebay.adapters import keys
from forebay.adapters.items import item_key, object_record
from forebay.adapters.queries import query_items
from forebay.domain.objects import ObjectRecord
from forebay.domain.rechecks import LastCheck
from forebay.errors import Trouble
from forebay.events import utc_moment, utc_text
from forebay.names import INDEX_BY_DUE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_GET_ITEMS: Final = 100
BATCH_GET_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class DynamoStoredObjects:
    """`services.ports.StoredObjects` and `UploadBatches` over the catalog table."""

    client: "DynamoDBClient"
    table: str

    def by_last_check(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LastCheck]:
        """Yield placed objects last checked in a range of time, the longest ago first.

        A page of each shard is read when it is needed, so a caller that stops early reads little.
        """
        shards = [self._shard(shard, since, until) for shard in range(keys.STATE_SHARDS)]
        return heapq.merge(*shards, key=lambda each: (each.at, each.object_id))

    def records(self, site: str, batch: str) -> Iterator[ObjectRecord]:
        """Yield the records of a batch, as they are now; raises Trouble when throttled."""
        arguments = {
            "TableName": self.table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": keys.batch_pk(site, batch)}},
            "ConsistentRead": True,
        }
        ids = (item["object_id"]["S"] for item in query_items(self.client, arguments))
        while group := list(islice(ids, BATCH_GET_ITEMS)):
            found = self._records(group)
            yield from (found[each] for each in group if each in found)

    def _shard(
        self, shard: int, since: datetime | None, until: datetime | None
    ) -> Iterator[LastCheck]:
        arguments = {
            "TableName": self.table,
            "IndexName": INDEX_BY_DUE,
            "KeyConditionExpression": "due_pk = :pk AND due_sk BETWEEN :low AND :high",
            "ExpressionAttributeValues": {
                ":pk": {"S": keys.recheck_pk(shard)},
                ":low": {"S": utc_text(since) if since else " "},
                ":high": {"S": utc_text(until) if until else "~"},
            },
        }
        for item in query_items(self.client, arguments):
            at, _, object_id = item["due_sk"]["S"].partition("#")
            yield LastCheck(utc_moment(at), object_id, int(item["size_bytes"]["N"]))

    def _records(self, object_ids: Sequence[str]) -> dict[str, ObjectRecord]:
        wanted: Any = [item_key(keys.object_key(each)) for each in object_ids]
        found: dict[str, ObjectRecord] = {}
        for _ in range(BATCH_GET_ATTEMPTS):
            answer = self.client.batch_get_item(
                RequestItems={self.table: {"Keys": wanted, "ConsistentRead": True}}
            )
            records = [object_record(item) for item in answer["Responses"].get(self.table, [])]
            found |= {record.object_id: record for record in records}
            left: Mapping[str, Any] = answer.get("UnprocessedKeys", {})
            wanted = left.get(self.table, {}).get("Keys", [])
            if not wanted:
                return found
        raise Trouble("DynamoDB left records of an upload batch unread")
