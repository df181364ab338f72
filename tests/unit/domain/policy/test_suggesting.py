"""Suggested thresholds follow from visits, and are withheld where data do not carry them."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from forebay.domain.policy.access import AccessDay
from forebay.domain.policy.classes import Measure, Tier
from forebay.domain.policy.pricing import ClassPrices, PriceTable, rounded
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.policy.suggesting import Idle, least_visits, saving, suggest, visits
from tests.unit.fakes import any_class

START = date(2026, 1, 1)
TIER = Tier(90, Measure.IDLE, StorageClass.GLACIER_IR, min_bytes=1000)
CLASS = any_class("clinical-hot", tiers=(TIER,))


def read(scope: str, *offsets: int, placed: int = 0) -> list[AccessDay]:
    """Return days on which a scope was read, so many days after the first of January."""
    placed_on = START + timedelta(placed)
    return [AccessDay(scope, START + timedelta(each), placed_on, 10, 100) for each in offsets]


def test_first_visit_counts_from_placement_and_the_next_from_the_last() -> None:
    days = read("a", 60, 3, 10)  # the index may list them in any order

    assert [visit.idle_days for visit in visits(days)] == [3, 7, 50]


def test_threshold_is_the_least_that_leaves_99_of_100_visits_warm() -> None:
    days = [day for n in range(297) for day in read(f"s{n}", 20 + n % 3)]
    days += [day for n in range(3) for day in read(f"late{n}", 400)]

    said = suggest(CLASS, days)

    assert said.visits == 300
    assert dict(said.percentiles)[99] == 22
    assert said.warm_after == 23
    assert said.warm_now == pytest.approx(0.99)
    assert said.now == 90


def test_nothing_is_suggested_from_too_few_visits() -> None:
    days = [day for n in range(least_visits() - 1) for day in read(f"s{n}", n)]

    said = suggest(CLASS, days)

    assert said.warm_after is None
    assert "299 visits, and it takes 300" in said.reason


def test_pauses_longer_than_was_watched_cannot_be_ruled_out() -> None:
    days = [day for n in range(400) for day in read(f"s{n}", n % 5, placed=-30)]

    said = suggest(CLASS, days)

    assert said.warm_after is None
    assert "watched for 4 days" in said.reason


def test_class_nobody_read_says_so() -> None:
    said = suggest(CLASS, [])
    assert (said.visits, said.percentiles, said.warm_now, said.warm_after) == (0, (), None, None)
    assert "too little data" in said.reason


def test_threshold_is_never_sooner_than_s3_moves_anything() -> None:
    tier = Tier(40, Measure.IDLE, StorageClass.STANDARD_IA)
    days = [day for n in range(400) for day in read(f"s{n}", n % 100, placed=n % 100)]

    assert suggest(any_class("x", tiers=(tier,)), days).warm_after == 30


def test_saving_is_of_what_lies_idle_now_and_is_large_enough() -> None:
    quoted = dict.fromkeys(
        (
            *("storage_gb_month", "put_per_1000", "transition_per_1000"),
            *("get_per_1000", "retrieval_gb", "restore_per_1000"),
        ),
        Decimal(0),
    )
    prices = PriceTable.quoted(
        "eu-central-1",
        {
            StorageClass.STANDARD: ClassPrices.quoted(quoted | {"storage_gb_month": Decimal(3)}),
            StorageClass.GLACIER_IR: ClassPrices.quoted(quoted | {"storage_gb_month": Decimal(1)}),
        },
        egress_gb={},
        as_of=START,
        source="a test",
    )
    stored = [Idle(1 << 30, 100), Idle(1 << 30, 30), Idle(1 << 30, 29), Idle(999, 100)]

    found = saving(stored, TIER, prices, after_days=30)

    assert (found.objects, found.size_bytes) == (2, 2 << 30)
    assert rounded(found.monthly) == Decimal("4.00")
    assert rounded(saving(stored, TIER, prices, after_days=90).monthly) == Decimal("2.00")
