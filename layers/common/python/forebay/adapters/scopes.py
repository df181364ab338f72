"""Which objects a scope names, and what was made of them, from the catalog's indexes."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from forebay.adapters import keys
from forebay.adapters.items import OBJECT_ENTITY, object_record
from forebay.adapters.queries import Query, batch_items, query_items
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.domain.policy.standing import scopes_of
from forebay.names import INDEX_BY_GROUP

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH: Final = 100
_WORKERS: Final = 8
"""Each object's children are a query of their own: most of the time is waiting."""


@dataclass(frozen=True, slots=True)
class DynamoObjectsInScope:
    """`services.ports.ObjectsInScope`, by queries, never by a scan.

    | scope | found by |
    |---|---|
    | cohort | search entries `cohort` |
    | subject | search entries `patientid` → studies → instances |
    | study, series | `by_group`; of a series, its study by search entries `series` |
    | sample | `by_group` |
    | sequencing run | search entries `run` |
    | pipeline run | what its inputs were made into |
    | object | its key |

    An index may name what has changed since: an object counts only when its record says so now.
    """

    client: "DynamoDBClient"
    table: str
    workers: int = _WORKERS

    def objects(self, scope: Scope) -> Iterator[str]:
        """Yield the ids of all objects in a scope, and of all made from them, each once.

        Generation by generation, in the same order each time while nothing is added. Held in
        memory are the ids alone.
        """
        seen: set[str] = set()
        generation = list(self._fresh(self._named(scope), seen))
        while generation:
            yield from generation
            generation = list(self._fresh(self._children(generation), seen))

    def _fresh(self, object_ids: Iterable[str], seen: set[str]) -> Iterator[str]:
        for object_id in object_ids:
            if object_id not in seen:
                seen.add(object_id)
                yield object_id

    def _named(self, scope: Scope) -> Iterator[str]:
        """Yield the objects whose records name the scope."""
        candidates = self._candidates(scope)
        while wanted := dict.fromkeys(islice(candidates, _BATCH)):
            found = {
                record.object_id: record
                for record in map(object_record, self._records(wanted))
                if scope in scopes_of(record)
            }
            yield from (object_id for object_id in wanted if object_id in found)

    def _candidates(self, scope: Scope) -> Iterator[str]:
        match scope.kind:
            case ScopeKind.OBJECT:
                yield scope.value
            case ScopeKind.STUDY:
                yield from self._group(keys.study_pk(scope.value))
            case ScopeKind.SERIES:
                for study in self._studies("series", scope.value):
                    yield from self._group(keys.study_pk(study), prefix=f"{scope.value}#")
            case ScopeKind.SUBJECT:
                for study in self._studies("patientid", scope.value):
                    yield from self._group(keys.study_pk(study))
            case ScopeKind.SAMPLE:
                site, _, sample = scope.value.partition("/")
                yield from self._group(keys.sample_group(site, sample))
            case ScopeKind.RUN:
                yield from self._run(scope.value)
            case ScopeKind.COHORT:
                yield from self._members("cohort", scope.value)

    def _run(self, run: str) -> Iterator[str]:
        site, slash, sequenced = run.partition("/")
        if slash:
            yield from self._members("run", sequenced)
            return
        # Outputs that are reads or images are grouped with their likes: ask their parents, too.
        yield from self._group(f"PRUN#{site}")
        for item in batch_items(self.client, self.table, [keys.run_key(run)]):
            yield from self._children(each["S"] for each in item["inputs"]["M"].values())

    def _children(self, object_ids: Iterable[str]) -> Iterator[str]:
        parents = iter(object_ids)
        with ThreadPoolExecutor(self.workers) as pool:
            while some := list(islice(parents, _BATCH)):
                for children in pool.map(self._children_of, some):
                    yield from children

    def _children_of(self, object_id: str) -> list[str]:
        return [item["sk"]["S"] for item in self._items(Query(keys.children_pk(object_id)))]

    def _studies(self, what: str, value: str) -> Iterator[str]:
        found = (item["study"]["S"] for item in self._items(Query(keys.find_pk(what, value))))
        yield from dict.fromkeys(found)

    def _members(self, what: str, value: str) -> Iterator[str]:
        query = Query(keys.find_pk(what, value))
        return (item["object_id"]["S"] for item in self._items(query))

    def _group(self, pk: str, *, prefix: str = "") -> Iterator[str]:
        query = Query(pk, index=INDEX_BY_GROUP, prefix=prefix)
        for item in self._items(query):
            if item["entity"]["S"] == OBJECT_ENTITY:
                yield item["object_id"]["S"]

    def _records(self, object_ids: Iterable[str]) -> Iterator[Mapping[str, Any]]:
        wanted = [keys.object_key(object_id) for object_id in object_ids]
        return batch_items(self.client, self.table, wanted)

    def _items(self, query: Query) -> Iterator[Mapping[str, Any]]:
        return query_items(self.client, query.arguments(self.table))
