"""What is due, from the catalog's indexes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from forebay.adapters import keys
from forebay.adapters.queries import Query, query_items
from forebay.domain.findings import Owner
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.events import utc_text
from forebay.names import INDEX_BY_DUE, INDEX_BY_STATE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class DynamoAgenda:
    """`services.ports.Agenda` over the indexes `by_due` and `by_state`."""

    client: "DynamoDBClient"
    table: str

    def ended_leases(self, now: datetime, limit: int) -> list[str]:
        """Return ids of objects whose lease ended."""
        return self._due((keys.lease_pk(shard) for shard in range(keys.STATE_SHARDS)), now, limit)

    def due_objects(self, now: datetime, limit: int) -> list[str]:
        """Return ids of objects whose deadline passed and of which nobody was told."""
        return self._due((keys.due_pk(shard) for shard in range(keys.DUE_SHARDS)), now, limit)

    def count_overdue(self, state: State, owner: Owner) -> int:
        """Return how many objects in a state wait for a person: those of one page, 1 MB."""
        query = Query(keys.overdue_pk(state, owner), index=INDEX_BY_DUE)
        return self.client.query(**query.arguments(self.table), Select="COUNT")["Count"]

    def runs_in(self, state: RunState, before: datetime, limit: int) -> list[str]:
        """Return ids of pipeline runs that came into a state before then, the oldest first."""
        query = Query(f"RUN-{state.value}", index=INDEX_BY_STATE, low=" ", high=utc_text(before))
        items = self._items(query, limit)
        return [item["state_sk"]["S"].partition("#")[2] for item in items]

    def _due(self, partitions: Iterable[str], now: datetime, limit: int) -> list[str]:
        """Return the longest due of all partitions together."""
        found: list[tuple[str, str]] = []
        for pk in partitions:
            query = Query(pk, index=INDEX_BY_DUE, low=" ", high=utc_text(now))
            found += [(i["due_sk"]["S"], i["object_id"]["S"]) for i in self._items(query, limit)]
        return [object_id for _, object_id in sorted(found)[:limit]]

    def _items(self, query: Query, limit: int) -> Iterator[Mapping[str, Any]]:
        return query_items(self.client, query.arguments(self.table), limit=limit)
