"""DynamoDB's capacity units, by its published rules: emulators do not count them.

Units: bytes in, capacity units out. Source: the DynamoDB developer guide, "Item sizes and formats",
"Read and write operations" and "Using global secondary indexes".
"""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any, Final, TypeAlias

from infra.tables import CATALOG_INDEXES, PARTITION_KEY, SORT_KEY, Index

__all__ = ["CapacityMeter", "item_size"]

Item: TypeAlias = Mapping[str, Any]
Place: TypeAlias = tuple[str, str, str]

WRITE_UNIT_BYTES: Final = 1024
READ_UNIT_BYTES: Final = 4096
_NESTED_BYTES: Final = 3


def item_size(item: Item) -> int:
    """Return the bytes of an item: names and values."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    kind, content = next(iter(value.items()))
    match kind:
        case "S" | "B":
            return len(content.encode() if kind == "S" else content)
        case "N":
            return ceil(len(content.strip("-").replace(".", "")) / 2) + 1
        case "SS":
            return sum(len(each.encode()) for each in content)
        case "L":
            return _NESTED_BYTES + sum(1 + _value_size(each) for each in content)
        case "M":
            return _NESTED_BYTES + item_size(content) + len(content)
        case _:
            return 1


class CapacityMeter:
    """Counts the units that one client's calls would take."""

    def __init__(self, client: Any, lookup: Any) -> None:
        """Watch a client; `lookup` is another one, to see what a write found and left."""
        self.writes = 0.0
        self.reads = 0.0
        self._lookup = lookup
        self._before: dict[Place, Item] = {}
        self._asked: Mapping[str, Any] = {}
        client.meta.events.register("provide-client-params.dynamodb", self._note)
        client.meta.events.register("after-call.dynamodb", self._count)

    def clear(self) -> None:
        """Begin anew."""
        self.writes = self.reads = 0.0

    def _note(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        self._asked = params
        self._before = {place: self._find(place) for place in _written(model.name, params)}

    def _count(self, model: Any, parsed: Mapping[str, Any], **_: Any) -> None:
        asked, before = self._asked, self._before
        if parsed["ResponseMetadata"]["HTTPStatusCode"] != 200:
            return
        factor = 2 if model.name.startswith("Transact") else 1
        for place, old in before.items():
            new = self._find(place)
            self.writes += factor * _units(max(item_size(old), item_size(new)), WRITE_UNIT_BYTES)
            self.writes += sum(_index_writes(index, old, new) for index in CATALOG_INDEXES)
        share = 1 if asked.get("ConsistentRead") else 0.5
        match model.name:
            case "GetItem":
                self.reads += share * _units(item_size(parsed.get("Item", {})), READ_UNIT_BYTES)
            case "Query":
                size = sum(map(item_size, parsed["Items"]))
                self.reads += share * _units(size, READ_UNIT_BYTES)
            case "BatchGetItem":
                tables = asked["RequestItems"]
                for table, items in parsed["Responses"].items():
                    share = 1 if tables[table].get("ConsistentRead") else 0.5
                    missing = len(tables[table]["Keys"]) - len(items)
                    sizes = [item_size(item) for item in items] + [0] * missing
                    self.reads += share * sum(_units(size, READ_UNIT_BYTES) for size in sizes)

    def _find(self, place: Place) -> Item:
        table, pk, sk = place
        key = {PARTITION_KEY: {"S": pk}, SORT_KEY: {"S": sk}}
        found: Item = self._lookup.get_item(TableName=table, Key=key).get("Item", {})
        return found


def _units(size: int, unit_bytes: int) -> int:
    return max(1, ceil(size / unit_bytes))


def _index_writes(index: Index, old: Item, new: Item) -> int:
    was, now = _projected(index, old), _projected(index, new)
    if was == now:
        return 0
    keys = (*index.keys, PARTITION_KEY, SORT_KEY)
    if was and now and all(was[key] == now[key] for key in keys):
        return _units(max(item_size(was), item_size(now)), WRITE_UNIT_BYTES)
    return sum(_units(item_size(each), WRITE_UNIT_BYTES) for each in (was, now) if each)


def _projected(index: Index, item: Item) -> Item:
    if any(key not in item for key in index.keys):
        return {}
    if not index.only:
        return item
    names = {*index.only, *index.keys, PARTITION_KEY, SORT_KEY}
    return {name: value for name, value in item.items() if name in names}


def _written(operation: str, params: Mapping[str, Any]) -> Iterator[Place]:
    match operation:
        case "PutItem" | "UpdateItem" | "DeleteItem":
            yield _place(params["TableName"], params)
        case "TransactWriteItems":
            for part in params["TransactItems"]:
                (request,) = part.values()
                yield _place(request["TableName"], request)
        case "BatchWriteItem":
            for table, requests in params["RequestItems"].items():
                for request in requests:
                    yield _place(table, *request.values())


def _place(table: str, request: Mapping[str, Any]) -> Place:
    key = request.get("Key") or request["Item"]
    return table, key[PARTITION_KEY]["S"], key[SORT_KEY]["S"]
