"""All placed objects, fast: what a plan needs of them and no more.

Ids come from `by_state`, page by page; their items in batches of 100, several at once. boto3 takes
longer to understand such an answer than DynamoDB to give it (each value is an object that tells its
type): `read_plainly` lets a client return it as the JSON it is.
"""

import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from forebay.adapters import keys
from forebay.adapters.items import item_key, record_of
from forebay.adapters.queries import Query, query_items
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.exceptions import PolicyException, Scope, Status
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.errors import Trouble
from forebay.events import utc_moment
from forebay.names import INDEX_BY_STATE
from forebay.services.ports import Exceptions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_GET_ITEMS: Final = 100
BATCH_GET_ATTEMPTS: Final = 8
_WORKERS: Final = 3
_AHEAD: Final = 4
"""Batches that are read ahead for each worker: memory holds no more than these."""

_OF_RECORD: Final = (
    "object_id",
    "bucket",
    "key",
    "kind",
    "site",
    "state",
    "state_since",
    "version",
    "arrived_at",
    "size_bytes",
    "source_system",
    "cohort",
    "object_class",
    "class_rule",
    "consent_state",
    "placed",
    "placed_at",
    "version_since",
    "policy",
    "parents",
    "pipeline_run_id",
    "metadata",
    "subject_tokens",
)
"""Attributes that classification, scopes and decisions are made from; none names a person."""


def read_plainly(client: "DynamoDBClient") -> "DynamoDBClient":
    """Let a client of one's own return items as DynamoDB's JSON, without boto3's model of it."""
    for operation in ("BatchGetItem", "Query"):
        client.meta.events.register(f"before-parse.dynamodb.{operation}", _as_it_is)
    return client


def _as_it_is(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    if response_dict["status_code"] < 300:
        customized_response_dict.update(json.loads(response_dict["body"]))
        response_dict["body"] = b"{}"


@dataclass(frozen=True, slots=True)
class DynamoPlacedObjects:
    """`services.plan_policy.PlacedObjects` in the catalog's table; reads are eventually consistent.

    `exceptions_of` are the exceptions. `client` need not read plainly, but then it is slow. Of
    `parts` readers that share the work, this one is `part`, from 0; at most `keys.STATE_SHARDS`.
    """

    client: "DynamoDBClient"
    table: str
    exceptions_of: Exceptions
    workers: int = _WORKERS
    batch: int = BATCH_GET_ITEMS
    part: int = 0
    parts: int = 1

    def pages(self, site: str) -> Iterator[Sequence[ObjectRecord]]:
        """Yield the placed objects of a site, or of all with '', a batch at a time.

        Raises:
            Trouble: DynamoDB kept holding items back.
        """
        ids = self._ids(site)
        waiting: deque[Future[list[Any]]] = deque()
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                while True:
                    while len(waiting) < self.workers * _AHEAD and (
                        group := list(islice(ids, self.batch))
                    ):
                        waiting.append(pool.submit(self._items, group))
                    if not waiting:
                        return
                    records = map(_record, waiting.popleft().result())
                    # The index lags: what moved on meanwhile is not placed any more.
                    yield [record for record in records if record.state is State.PLACED]
            finally:
                for future in waiting:
                    future.cancel()

    def records(self, object_ids: Collection[str]) -> dict[str, ObjectRecord]:
        """Return the records that exist among some ids."""
        found = (_record(item) for group in _groups(object_ids) for item in self._items(group))
        return {record.object_id: record for record in found}

    def exceptions(self) -> Iterable[PolicyException]:
        """Return the exceptions that were approved and have not been ended."""
        return self.exceptions_of.with_status(Status.ACTIVE)

    def last_access(self, scopes: Collection[Scope]) -> dict[Scope, datetime]:
        """Return when scopes were last read; one that never was is left out."""
        wanted = {keys.access_key(scope): scope for scope in scopes}
        return {
            wanted[item["pk"]["S"], item["sk"]["S"]]: utc_moment(item["last_access"]["S"])
            for group in _groups(wanted)
            for item in self._batch(group, ("pk", "sk", "last_access"))
        }

    def runs_succeeded(self, run_ids: Collection[str]) -> dict[str, datetime]:
        """Return when pipeline runs ended well; one that did not is left out."""
        wanted = [keys.run_key(run_id) for run_id in run_ids]
        return {
            item["run_id"]["S"]: utc_moment(item["state_since"]["S"])
            for group in _groups(wanted)
            for item in self._batch(group, ("run_id", "state", "state_since"))
            if item["state"]["S"] == RunState.SUCCEEDED
        }

    def _ids(self, site: str) -> Iterator[str]:
        for pk in self._partitions(site):
            for item in query_items(self.client, self._of_partition(pk)):
                yield item["state_sk"]["S"].partition("#")[2]

    def _of_partition(self, pk: str) -> dict[str, Any]:
        # Older than expressions, as in `_batch`.
        is_it = {"AttributeValueList": [{"S": pk}], "ComparisonOperator": "EQ"}
        return {
            "TableName": self.table,
            "IndexName": INDEX_BY_STATE,
            "KeyConditions": {"state_pk": is_it},
            "AttributesToGet": ["state_sk"],
        }

    def _partitions(self, site: str) -> Iterator[str]:
        sites = [site] if site else self._sites()
        for each in sites:
            for shard in range(self.part, keys.STATE_SHARDS, self.parts):
                yield keys.state_pk(State.PLACED, shard, each)

    def _sites(self) -> Iterator[str]:
        found = query_items(self.client, Query(keys.SITES_PK).arguments(self.table))
        return (item["sk"]["S"] for item in found)

    def _items(self, object_ids: Iterable[str]) -> list[Mapping[str, Any]]:
        return self._batch([keys.object_key(each) for each in object_ids], _OF_RECORD)

    def _batch(
        self, wanted: Iterable[keys.Key], attributes: Sequence[str]
    ) -> list[Mapping[str, Any]]:
        # Older than expressions and cheaper to understand; no name of it can be a reserved word.
        projection = {"AttributesToGet": list(attributes)}
        left: list[Any] = [item_key(key) for key in wanted]
        found: list[Mapping[str, Any]] = []
        for _ in range(BATCH_GET_ATTEMPTS):
            request: Any = {self.table: {"Keys": left, **projection}}
            answer = self.client.batch_get_item(RequestItems=request)
            found += answer["Responses"].get(self.table, [])
            rest: Any = answer.get("UnprocessedKeys", {})
            left = rest.get(self.table, {}).get("Keys", [])
            if not left:
                return found
        raise Trouble("DynamoDB left items of the catalog unread")


def _groups(wanted: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(wanted)
    while group := list(islice(rest, BATCH_GET_ITEMS)):
        yield group


def _record(item: Mapping[str, Any]) -> ObjectRecord:
    return record_of(_plain_map(item))


def _plain_map(said: Mapping[str, Any]) -> dict[str, Any]:
    # Most values are text, which need not be asked what they are.
    return {name: each["S"] if "S" in each else _plain(each) for name, each in said.items()}


def _plain(said: Mapping[str, Any]) -> Any:
    """Return a value of DynamoDB's JSON; as `items.from_item`, but without boto3's Decimal."""
    ((kind, data),) = said.items()
    match kind:
        case "S" | "BOOL":
            return data
        case "M":
            return _plain_map(data)
        case "L":
            return [_plain(each) for each in data]
        case "N":
            number = float(data)
            return int(data) if data.lstrip("-").isdecimal() else _whole(number)
        case "NULL":
            return None
    return data


def _whole(number: float) -> int | float:
    return int(number) if number.is_integer() else number
