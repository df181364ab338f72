"""What is stored, by when it was last checked and by upload batch."""

from datetime import timedelta
from itertools import islice
from typing import Any

import pytest

from forebay.adapters import keys
from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.change_log import search_entries
from forebay.adapters.items import object_item, to_item
from forebay.adapters.stored_objects import DynamoStoredObjects
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State
from forebay.services.ports import Change, RecordedChange
from tests.unit.fakes import NOON, any_location, any_record


@pytest.fixture
def stored(catalog: DynamoCatalog) -> DynamoStoredObjects:
    """Give the queries over an empty catalog."""
    return DynamoStoredObjects(catalog.client, catalog.table)


def put(catalog: DynamoCatalog, record: ObjectRecord) -> ObjectRecord:
    catalog.client.put_item(TableName=catalog.table, Item=object_item(record))
    return record


def place(catalog: DynamoCatalog, day: int, **fields: Any) -> ObjectRecord:
    facts = {
        "state": State.PLACED,
        "state_since": NOON + timedelta(days=day),
        "placed": any_location(),
        "size_bytes": 100 + day,
    }
    return put(catalog, any_record(**facts | fields))


def test_placed_objects_come_longest_unread_first_from_all_shards(
    catalog: DynamoCatalog, stored: DynamoStoredObjects
) -> None:
    records = [place(catalog, day) for day in (5, 1, 9, 3, 7, 2, 8, 4, 6)]
    put(catalog, any_record(state=State.QUARANTINED))

    found = list(stored.by_last_check())

    expected = sorted(records, key=lambda record: record.state_since)
    assert [each.object_id for each in found] == [record.object_id for record in expected]
    assert [each.size_bytes for each in found] == [record.size_bytes for record in expected]
    assert [each.at for each in found] == [record.state_since for record in expected]
    assert len({keys.shard_of(each.object_id) for each in found}) > 1


def test_range_of_time_bounds_both_ends(
    catalog: DynamoCatalog, stored: DynamoStoredObjects
) -> None:
    for day in range(6):
        place(catalog, day)
    since, until = NOON + timedelta(days=1.5), NOON + timedelta(days=3.5)

    def days(**bounds: Any) -> list[int]:
        return [(each.at - NOON).days for each in stored.by_last_check(**bounds)]

    assert days(since=since) == [2, 3, 4, 5]
    assert days(until=until) == [0, 1, 2, 3]
    assert days(since=since, until=until) == [2, 3]


def test_recheck_sends_an_object_to_the_end(
    catalog: DynamoCatalog, stored: DynamoStoredObjects
) -> None:
    first = place(catalog, 0)
    second = place(catalog, 1)
    now = NOON + timedelta(days=2)

    catalog.apply(Change(first, first.amended(now, rechecked_at=now)))

    assert [each.object_id for each in stored.by_last_check()] == [
        second.object_id,
        first.object_id,
    ]


def test_object_that_leaves_its_place_leaves_the_queue(
    catalog: DynamoCatalog, stored: DynamoStoredObjects
) -> None:
    record = place(catalog, 0)

    catalog.apply(Change(record, record.moved_to(State.QUARANTINED, NOON)))

    assert list(stored.by_last_check()) == []


def test_who_stops_early_reads_one_page_of_each_shard(
    catalog: DynamoCatalog, stored: DynamoStoredObjects
) -> None:
    for day in range(8):
        place(catalog, day)

    assert len(list(islice(stored.by_last_check(), 3))) == 3


def registered(catalog: DynamoCatalog, **fields: Any) -> ObjectRecord:
    record = put(catalog, any_record(**fields))
    for entry in search_entries(RecordedChange(None, record)):
        catalog.client.put_item(TableName=catalog.table, Item=to_item(entry))
    return record


def test_records_of_a_batch_are_found_as_they_are_now(
    catalog: DynamoCatalog, stored: DynamoStoredObjects
) -> None:
    ids = {registered(catalog, upload_batch="run7").object_id for _ in range(105)}
    registered(catalog, upload_batch="run8")
    registered(catalog, upload_batch="run7", site="site-b")
    registered(catalog)

    assert {record.object_id for record in stored.records("site-a", "run7")} == ids
    assert list(stored.records("site-a", "nobody")) == []


def test_names_that_look_alike_together_are_two_batches(
    catalog: DynamoCatalog, stored: DynamoStoredObjects
) -> None:
    mine = registered(catalog, site="a#b", upload_batch="c")
    other = registered(catalog, site="a", upload_batch="b#c")

    assert [record.object_id for record in stored.records("a#b", "c")] == [mine.object_id]
    assert [record.object_id for record in stored.records("a", "b#c")] == [other.object_id]


def test_batch_name_of_any_length_fits_a_key() -> None:
    assert len(keys.batch_pk("site-a", "x" * 100_000)) < 100
