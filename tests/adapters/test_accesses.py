"""Reads are counted once per source, last access only moves forward, and pauses are noticed."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from forebay.adapters import keys
from forebay.adapters.accesses import DynamoAccesses
from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.exceptions import DynamoPolicyBook
from forebay.adapters.items import from_item, item_key
from forebay.adapters.price_table import load_prices
from forebay.domain.objects import Location
from forebay.domain.policy.access import Access, AccessDay, Reopened
from forebay.domain.policy.classes import Measure, Tier
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.states import State
from forebay_cli.suggesting import suggested
from tests.adapters.conftest import Cloud
from tests.unit.fakes import NOON, any_class, any_record, any_uid

DAY: Final = timedelta(days=1)
POLICIES: Final = Path(__file__).resolve().parents[2] / "policies"


@pytest.fixture
def accesses(cloud: Cloud) -> DynamoAccesses:
    return DynamoAccesses(cloud.client("dynamodb"), cloud.table())


def access(**fields: Any) -> Access:
    """Return a read of a study that was placed a hundred days ago."""
    whole: dict[str, Any] = {
        "scope": Scope(ScopeKind.STUDY, any_uid()),
        "object_class": "clinical-hot",
        "placed_on": (NOON - 100 * DAY).date(),
        "last_at": NOON,
        "reads": 3,
        "sent_bytes": 700,
        "source": f"log {any_uid()}",
    }
    return Access(**whole | fields)


def again(one: Access, **fields: Any) -> Access:
    return replace(one, source=f"log {any_uid()}", **fields)


def last_access(accesses: DynamoAccesses, scope: Scope) -> Any:
    book = DynamoPolicyBook(accesses.client, accesses.table)
    return book.context((), scope).last_access


def test_one_source_counts_once_however_often_it_is_delivered(accesses: DynamoAccesses) -> None:
    one = access()

    assert [accesses.note(one) for _ in range(3)] == [True, False, False]
    assert accesses.note(again(one))

    (day,) = accesses.days("clinical-hot")
    assert (day.day, day.reads, day.sent_bytes) == (NOON.date(), 6, 1400)
    assert day.placed_on == one.placed_on
    assert last_access(accesses, one.scope) == NOON


def test_half_counted_access_is_completed_by_the_next_delivery(accesses: DynamoAccesses) -> None:
    one = access()
    accesses._move_forward(one)  # the worker died here
    assert list(accesses.days("clinical-hot")) == []

    assert accesses.note(one)

    assert [each.reads for each in accesses.days("clinical-hot")] == [3]


def test_late_log_counts_and_moves_no_access_back(accesses: DynamoAccesses) -> None:
    one = access()
    accesses.note(one)
    accesses.note(again(one, last_at=NOON - 5 * DAY))

    assert last_access(accesses, one.scope) == NOON
    days = [each.day for each in accesses.days("clinical-hot")]
    assert days == [(NOON - 5 * DAY).date(), NOON.date()]


def test_classes_and_scopes_are_counted_apart(accesses: DynamoAccesses) -> None:
    one = access()
    for each in (one, again(one, object_class="derived"), access()):
        accesses.note(each)

    hot = list(accesses.days("clinical-hot"))
    assert len({each.scope_id for each in hot}) == len(hot) == 2
    assert [type(each) for each in accesses.days("derived")] == [AccessDay]
    answer = accesses.client.get_item(
        TableName=accesses.table, Key=item_key(keys.access_key(one.scope))
    )
    assert from_item(answer["Item"])["reads"] == 6


def test_scope_read_after_a_pause_is_pending_until_it_is_seen(accesses: DynamoAccesses) -> None:
    one = access()
    accesses.note(one)
    assert accesses.pending(10) == [Reopened(one.scope, NOON)]

    accesses.note(again(one, last_at=NOON + timedelta(hours=3)))
    (pending,) = accesses.pending(10)
    accesses.seen(pending)
    assert accesses.pending(10) == []

    accesses.note(again(one, last_at=NOON + timedelta(hours=20)))
    assert accesses.pending(10) == []
    accesses.note(again(one, last_at=NOON + 3 * DAY))
    assert accesses.pending(10) == [Reopened(one.scope, NOON + 3 * DAY)]


def test_scope_reopened_once_more_while_it_was_looked_at_stays_pending(
    accesses: DynamoAccesses,
) -> None:
    one = access()
    accesses.note(one)
    (seen,) = accesses.pending(10)
    accesses.note(again(one, last_at=NOON + 2 * DAY))

    accesses.seen(seen)

    assert accesses.pending(10) == [Reopened(one.scope, NOON + 2 * DAY)]


def test_what_was_just_placed_is_not_reopened_by_its_first_reader(accesses: DynamoAccesses) -> None:
    one = access(placed_on=NOON.date())
    accesses.note(one)

    assert accesses.pending(10) == []
    assert last_access(accesses, one.scope) == NOON


def test_somebody_who_waits_is_heard_whatever_was_read_before(accesses: DynamoAccesses) -> None:
    one = access(placed_on=NOON.date())
    accesses.note(one)
    accesses.note(again(one, last_at=NOON + timedelta(minutes=1), asks=True))

    assert accesses.pending(10) == [Reopened(one.scope, NOON + timedelta(minutes=1))]


def test_suggestion_is_read_from_days_and_priced_by_what_is_stored(
    cloud: Cloud, accesses: DynamoAccesses
) -> None:
    chosen = any_class(
        "clinical-hot", tiers=(Tier(90, Measure.IDLE, StorageClass.GLACIER_IR, min_bytes=0),)
    )
    for number in range(300):
        read_at = NOON - (45 - number % 40) * DAY
        one = access(placed_on=(read_at - number % 20 * DAY).date(), last_at=read_at)
        # Its day alone: moto copies the whole table for each transaction.
        accesses.client.update_item(**accesses._parts(one)[1]["Update"])
    catalog = DynamoCatalog(accesses.client, accesses.table)
    record = any_record(
        state=State.PLACED,
        object_class="clinical-hot",
        placed=Location("clinical", "dicom/1", "v1"),
        placed_at=NOON - 100 * DAY,
        size_bytes=1 << 30,
    )
    catalog.register(record)
    log_of_sites = {"pk": {"S": keys.SITES_PK}, "sk": {"S": record.site}}
    accesses.client.put_item(TableName=accesses.table, Item=log_of_sites)
    account: Any = SimpleNamespace(
        dynamodb=accesses.client, clock=SimpleNamespace(now=lambda: NOON)
    )
    deployment: Any = SimpleNamespace(account=account, output=lambda _: accesses.table)
    prices = load_prices(POLICIES / "prices" / "eu-central-1.yaml")

    (found,) = suggested(deployment, [chosen], prices)

    document = found.document()
    assert (document["visits"], document["scopes"]) == (300, 300)
    assert document["suggested_days"] == found.suggestion.warm_after
    assert found.would_save
    assert found.would_save.objects == 1
    assert found.would_save.monthly > 0
