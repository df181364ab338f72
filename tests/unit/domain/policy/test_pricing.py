"""What storage costs: exact, never negative, and worked out by hand where that is possible."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.policy.pricing import (
    NEVER_PAYS_BYTES,
    PARTS,
    RESTORED_FOR_DAYS,
    ClassPrices,
    PriceTable,
    break_even_bytes,
    early_deletion_cost,
    monthly_cost,
    move_cost,
    replication_cost,
    rounded,
)
from forebay.domain.policy.storage_classes import (
    SMALLEST_MOVED_BYTES,
    STORAGE_FACTS,
    StorageClass,
    is_colder,
)
from forebay.services.evaluate_policy import RESTORE_DAYS

GIB = 1 << 30
QUOTES = {
    StorageClass.STANDARD: ("0.023", "0.005", "0", "0.0004", "0", "0"),
    StorageClass.STANDARD_IA: ("0.0125", "0.01", "0.01", "0.001", "0.01", "0"),
    StorageClass.GLACIER_IR: ("0.004", "0.02", "0.02", "0.01", "0.03", "0"),
    StorageClass.GLACIER: ("0.0036", "0.03", "0.03", "0.0004", "0.01", "0.05"),
    StorageClass.DEEP_ARCHIVE: ("0.00099", "0.05", "0.05", "0.0004", "0.02", "0.10"),
}
NAMES = (
    "storage_gb_month",
    "put_per_1000",
    "transition_per_1000",
    "get_per_1000",
    "retrieval_gb",
    "restore_per_1000",
)
PRICES = PriceTable.quoted(
    "us-east-1",
    {
        each: ClassPrices.quoted(dict(zip(NAMES, map(Decimal, quote), strict=True)))
        for each, quote in QUOTES.items()
    },
    egress_gb={"us-east-2": Decimal("0.01"), "*": Decimal("0.02")},
    as_of=date(2025, 9, 14),
    source="a test",
)
classes = st.sampled_from(StorageClass)
sizes = st.integers(0, 50 << 40)
days = st.integers(-5, 400)


def dollars(amount: int) -> Fraction:
    return Fraction(amount, PARTS)


def test_a_terabyte_costs_what_the_price_list_says() -> None:
    assert rounded(monthly_cost(StorageClass.STANDARD, 1024 * GIB, PRICES)) == Decimal("23.55")


def test_archived_objects_are_charged_for_what_s3_adds() -> None:
    added = Fraction(32 * 1024, GIB) * Fraction("0.0036") + Fraction(8 * 1024, GIB) * Fraction(
        "0.023"
    )

    assert dollars(monthly_cost(StorageClass.GLACIER, 0, PRICES)) == added


def test_small_objects_are_charged_as_128_kib_in_infrequent_access() -> None:
    small = monthly_cost(StorageClass.STANDARD_IA, 1, PRICES)

    assert small == monthly_cost(StorageClass.STANDARD_IA, SMALLEST_MOVED_BYTES, PRICES)


def test_moving_colder_costs_a_transition_request() -> None:
    cost = move_cost(StorageClass.STANDARD, StorageClass.GLACIER, GIB, PRICES, days_in_class=30)

    assert dollars(cost.total) == Fraction("0.00003")


def test_leaving_after_20_of_90_days_costs_the_70_that_are_left() -> None:
    early = early_deletion_cost(StorageClass.GLACIER_IR, 3 * GIB, PRICES, days_in_class=20)

    assert dollars(early) == 3 * Fraction("0.004") * 70 / 30


def test_warming_from_the_archive_costs_restore_retrieval_and_a_copy() -> None:
    cost = move_cost(
        StorageClass.DEEP_ARCHIVE, StorageClass.STANDARD, GIB, PRICES, days_in_class=200
    )

    assert dollars(cost.requests) == Fraction("0.005") / 1000 + Fraction("0.0004") / 1000 + (
        Fraction("0.10") / 1000
    )
    assert dollars(cost.retrieval) == Fraction("0.02") + Fraction("0.023") * 7 / 30
    assert cost.early_deletion == 0


def test_the_readable_copy_is_priced_for_as_long_as_it_is_kept() -> None:
    assert RESTORED_FOR_DAYS == RESTORE_DAYS


def test_egress_depends_on_the_region_it_goes_to() -> None:
    near = replication_cost(GIB, PRICES, to_region="us-east-2")
    far = replication_cost(GIB, PRICES, to_region="eu-west-1")

    assert dollars(near.egress) == Fraction("0.01")
    assert dollars(far.egress) == Fraction("0.02")


@given(one=sizes, other=sizes, storage_class=classes)
def test_larger_objects_never_cost_less(one: int, other: int, storage_class: StorageClass) -> None:
    low, high = sorted((one, other))

    assert monthly_cost(storage_class, low, PRICES) <= monthly_cost(storage_class, high, PRICES)


@given(size=sizes, storage_class=classes, stayed=days)
def test_early_deletion_is_never_negative_and_ends_with_the_minimum(
    size: int, storage_class: StorageClass, stayed: int
) -> None:
    early = early_deletion_cost(storage_class, size, PRICES, days_in_class=stayed)

    assert early >= 0
    assert (early > 0) == (
        max(stayed, 0) < STORAGE_FACTS[storage_class].minimum_days
        and (monthly_cost(storage_class, size, PRICES) > 0)
    )


@given(size=sizes, source=classes, target=classes, stayed=days)
def test_a_move_costs_the_exact_sum_of_its_parts(
    size: int, source: StorageClass, target: StorageClass, stayed: int
) -> None:
    cost = move_cost(source, target, size, PRICES, days_in_class=stayed)
    parts = (cost.requests, cost.retrieval, cost.egress, cost.early_deletion)

    assert min(parts) >= 0
    assert cost.total == sum(parts)
    assert (cost.total == 0) == (source is target)


@given(to=classes, months=st.floats(0.1, 120))
def test_break_even_is_the_least_size_that_pays(to: StorageClass, months: float) -> None:
    size = break_even_bytes(to, PRICES, months)
    if to is StorageClass.STANDARD:
        assert size == SMALLEST_MOVED_BYTES
        return

    def gain(of: int) -> Fraction:
        saved = monthly_cost(StorageClass.STANDARD, of, PRICES) - monthly_cost(to, of, PRICES)
        once = move_cost(StorageClass.STANDARD, to, of, PRICES, days_in_class=0).total
        return saved * Fraction(months) - once

    assert gain(size) >= 0
    assert size == SMALLEST_MOVED_BYTES or gain(size - 1) < 0


@given(to=classes, months=st.floats(0.1, 60), longer=st.floats(0.1, 60))
def test_the_longer_it_stays_the_smaller_pays(
    to: StorageClass, months: float, longer: float
) -> None:
    assert break_even_bytes(to, PRICES, months + longer) <= break_even_bytes(to, PRICES, months)


def test_a_class_that_saves_nothing_never_pays() -> None:
    dear = PRICES.classes[StorageClass.STANDARD]
    prices = PriceTable("x", "USD", PRICES.as_of, "", dict.fromkeys(StorageClass, dear))

    assert break_even_bytes(StorageClass.GLACIER, prices, 12) == NEVER_PAYS_BYTES


@pytest.mark.parametrize("price", ["-0.01", "0.0000000000001"])
def test_a_price_that_is_none_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match="is no price"):
        ClassPrices.quoted(dict.fromkeys(NAMES, Decimal(price)))


@given(cents=st.integers(-(10**9), 10**9))
def test_whole_cents_are_shown_as_they_are(cents: int) -> None:
    assert rounded(cents * PARTS // 100) == Decimal(cents) / 100


@given(size=sizes, parts=st.integers(1, 50))
def test_sums_are_exact_however_bytes_are_divided(size: int, parts: int) -> None:
    each = monthly_cost(StorageClass.STANDARD, size, PRICES)

    assert each * parts == monthly_cost(StorageClass.STANDARD, size * parts, PRICES)


def test_standard_is_the_warmest() -> None:
    assert not any(is_colder(StorageClass.STANDARD, each) for each in StorageClass)
