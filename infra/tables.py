"""The keys and indexes of the tables, as data: deployed by a stack, and made alike in emulators."""

from dataclasses import dataclass
from typing import Any, Final

from forebay.names import INDEX_BY_ACTION, INDEX_BY_DUE, INDEX_BY_GROUP, INDEX_BY_STATE

__all__ = ["CATALOG_INDEXES", "PARTITION_KEY", "SORT_KEY", "Index", "new_table"]

PARTITION_KEY: Final = "pk"
SORT_KEY: Final = "sk"


@dataclass(frozen=True, slots=True)
class Index:
    """An index over two string attributes; it holds all others, too, or `only` some."""

    name: str
    partition: str
    sort: str
    only: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, str]:
        """Its key attributes: an item without them is not in it."""
        return self.partition, self.sort


CATALOG_INDEXES: Final = (
    Index(
        INDEX_BY_STATE,
        "state_pk",
        "state_sk",
        ("object_id", "site", "kind", "state_since", "size_bytes"),
    ),
    Index(INDEX_BY_GROUP, "group_pk", "group_sk"),
    Index(INDEX_BY_DUE, "due_pk", "due_sk", ("object_id", "entity", "size_bytes")),
    Index(INDEX_BY_ACTION, "action_pk", "action_sk", ("object_id", "size_bytes")),
)


def new_table(name: str, indexes: tuple[Index, ...] = ()) -> dict[str, Any]:
    """Return what DynamoDB's CreateTable takes for a table of these keys and indexes."""
    attributes = [PARTITION_KEY, SORT_KEY, *(key for index in indexes for key in index.keys)]
    table: dict[str, Any] = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": each, "AttributeType": "S"} for each in attributes
        ],
        "KeySchema": _key_schema(PARTITION_KEY, SORT_KEY),
    }
    if indexes:
        table["GlobalSecondaryIndexes"] = [
            {
                "IndexName": index.name,
                "KeySchema": _key_schema(*index.keys),
                "Projection": _projection(index),
            }
            for index in indexes
        ]
    return table


def _projection(index: Index) -> dict[str, Any]:
    if not index.only:
        return {"ProjectionType": "ALL"}
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(index.only)}


def _key_schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]
