"""What storage costs, exactly: sums over a million objects are right to the cent.

An amount is a whole number of parts of the price table's currency (`PARTS`), so that nothing is
rounded before it is shown. A month has 30 days and a GB 2^30 bytes, as Amazon S3 bills them.

Not priced: volume discounts and free tiers (the first price of a list is taken for all bytes), KMS
requests, and reads by users.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Final, Self

from forebay.domain.policy.storage_classes import (
    SMALLEST_MOVED_BYTES,
    STORAGE_FACTS,
    StorageClass,
    is_colder,
    needs_restore,
)

__all__ = [
    "NEVER_PAYS_BYTES",
    "RESTORED_FOR_DAYS",
    "ClassPrices",
    "Money",
    "MoveCost",
    "PriceTable",
    "break_even_bytes",
    "early_deletion_cost",
    "monthly_cost",
    "move_cost",
    "removal_cost",
    "replication_cost",
    "rounded",
]

Money = int
"""Parts of the currency; see `PARTS`."""

_DAYS: Final = 30
_GB: Final = 1 << 30
_PRICE_DIGITS: Final = 12
"""So many decimals a price per GB may have; one per 1,000 requests three less."""

PARTS: Final[Money] = 10**_PRICE_DIGITS * _GB * _DAYS
"""One unit of the currency: a byte for a day, and one request, cost whole numbers of these."""

RESTORED_FOR_DAYS: Final = 7
"""How long S3 keeps the readable copy of what is restored to be made warm again."""

NEVER_PAYS_BYTES: Final = 1 << 60
"""More than any object has: a move that costs more than it ever saves."""


def rounded(amount: Money, digits: int = 2) -> Decimal:
    """Return an amount in units of the currency, rounded half up away from zero; for display."""
    scale: int = 10**digits
    parts, sign = abs(amount), -1 if amount < 0 else 1
    return Decimal(sign * ((2 * parts * scale + PARTS) // (2 * PARTS))).scaleb(-digits)


@dataclass(frozen=True, slots=True)
class ClassPrices:
    """What one storage class costs, all in `Money`."""

    byte_month: Money
    """To hold a byte for a month."""
    put: Money = 0
    """A PUT or COPY into it."""
    transition: Money = 0
    """A lifecycle transition into it."""
    get: Money = 0
    retrieved_byte: Money = 0
    """To read a byte, beside the request."""
    restore: Money = 0
    """A request to restore an object, at the standard retrieval tier."""

    @classmethod
    def quoted(cls, prices: Mapping[str, Decimal]) -> Self:
        """Return prices as Amazon quotes them: per GB and month, per GB, and per 1,000 requests.

        Raises ValueError for one with more decimals than an amount can hold.
        """
        return cls(
            byte_month=_per_gb(prices["storage_gb_month"]),
            put=_per_1000(prices["put_per_1000"]),
            transition=_per_1000(prices["transition_per_1000"]),
            get=_per_1000(prices["get_per_1000"]),
            retrieved_byte=_per_gb(prices["retrieval_gb"]),
            restore=_per_1000(prices["restore_per_1000"]),
        )


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The prices of one region as they were on a day; `source` says where they were read.

    `egress` is what a byte costs that is copied to another region, by that region or `*`.
    """

    region: str
    currency: str
    as_of: date
    source: str
    classes: Mapping[StorageClass, ClassPrices]
    egress: Mapping[str, Money] = field(default_factory=dict)

    @classmethod
    def quoted(
        cls,
        region: str,
        classes: Mapping[StorageClass, ClassPrices],
        *,
        egress_gb: Mapping[str, Decimal],
        as_of: date,
        source: str,
    ) -> Self:
        """Return a table in US dollars with egress as quoted, per GB."""
        return cls(region, "USD", as_of, source, classes, cls.egress_quoted(egress_gb))

    @staticmethod
    def egress_quoted(egress_gb: Mapping[str, Decimal]) -> dict[str, Money]:
        """Return egress as Amazon quotes it, per GB; raises ValueError for too many decimals."""
        return {to: _per_gb(price) for to, price in egress_gb.items()}

    def egress_to(self, region: str) -> Money:
        """Return what a byte costs that is copied to another region."""
        return self.egress.get(region, self.egress.get("*", 0))


@dataclass(frozen=True, slots=True)
class MoveCost:
    """What a change costs once; parts of it may be nothing."""

    requests: Money = 0
    retrieval: Money = 0
    """Reading what is charged by the byte, and the readable copy of what is restored."""
    egress: Money = 0
    early_deletion: Money = 0
    """For the days an object should have stayed where it was."""

    @property
    def total(self) -> Money:
        """All of it."""
        return self.requests + self.retrieval + self.egress + self.early_deletion

    def __add__(self, other: "MoveCost") -> "MoveCost":
        return MoveCost(
            self.requests + other.requests,
            self.retrieval + other.retrieval,
            self.egress + other.egress,
            self.early_deletion + other.early_deletion,
        )


def monthly_cost(storage_class: StorageClass, size_bytes: int, prices: PriceTable) -> Money:
    """Return what an object costs each month, with what S3 adds to it."""
    facts = STORAGE_FACTS[storage_class]
    billed = max(size_bytes, facts.billed_at_least_bytes) + facts.overhead_bytes
    standard = prices.classes[StorageClass.STANDARD]
    return (
        billed * prices.classes[storage_class].byte_month + facts.index_bytes * standard.byte_month
    )


def early_deletion_cost(
    storage_class: StorageClass, size_bytes: int, prices: PriceTable, *, days_in_class: int
) -> Money:
    """Return what leaving before the minimum of days costs: the storage of those that are left."""
    left = STORAGE_FACTS[storage_class].minimum_days - max(0, days_in_class)
    if left <= 0:
        return 0
    return monthly_cost(storage_class, size_bytes, prices) // _DAYS * left


def removal_cost(
    storage_class: StorageClass, size_bytes: int, prices: PriceTable, *, days_in_class: int
) -> MoveCost:
    """Return what removing an object costs; S3 charges no request for that."""
    early = early_deletion_cost(storage_class, size_bytes, prices, days_in_class=days_in_class)
    return MoveCost(early_deletion=early)


def move_cost(
    from_: StorageClass,
    to: StorageClass,
    size_bytes: int,
    prices: PriceTable,
    *,
    days_in_class: int,
) -> MoveCost:
    """Return what bringing an object from one storage class to another costs once.

    Lifecycle takes it to a colder one. To a warmer one it is read and copied, after a restore
    where it must be restored.
    """
    if from_ is to:
        return MoveCost()
    early = early_deletion_cost(from_, size_bytes, prices, days_in_class=days_in_class)
    source, target = prices.classes[from_], prices.classes[to]
    if is_colder(to, from_):
        return MoveCost(requests=target.transition, early_deletion=early)
    requests = target.put + source.get
    retrieval = size_bytes * source.retrieved_byte
    if needs_restore(from_):
        requests += source.restore
        standard = prices.classes[StorageClass.STANDARD]
        retrieval += size_bytes * standard.byte_month // _DAYS * RESTORED_FOR_DAYS
    return MoveCost(requests, retrieval, early_deletion=early)


def replication_cost(size_bytes: int, prices: PriceTable, *, to_region: str) -> MoveCost:
    """Return what bringing a copy to another region costs once, at this region's prices."""
    put = prices.classes[StorageClass.STANDARD].put
    return MoveCost(requests=put, egress=size_bytes * prices.egress_to(to_region))


def break_even_bytes(to: StorageClass, prices: PriceTable, months: float) -> int:
    """Return the least size for which moving from STANDARD pays within so many months.

    At least SMALLEST_MOVED_BYTES, which S3 moves at all; NEVER_PAYS_BYTES where no size pays.
    """
    facts = STORAGE_FACTS[to]
    standard, target = prices.classes[StorageClass.STANDARD], prices.classes[to]
    stays = Fraction(months)
    saved = (standard.byte_month - target.byte_month) * stays
    added = facts.overhead_bytes * target.byte_month + facts.index_bytes * standard.byte_month
    once = move_cost(StorageClass.STANDARD, to, SMALLEST_MOVED_BYTES, prices, days_in_class=0).total
    if saved <= 0:
        return NEVER_PAYS_BYTES if to is not StorageClass.STANDARD else SMALLEST_MOVED_BYTES
    least = max(SMALLEST_MOVED_BYTES, facts.billed_at_least_bytes)
    return min(NEVER_PAYS_BYTES, max(least, ceil((added * stays + once) / saved)))


@cache
def _per_gb(price: Decimal) -> Money:
    return _whole(Fraction(price) * PARTS / _GB, price)


@cache
def _per_1000(price: Decimal) -> Money:
    return _whole(Fraction(price) * PARTS / 1000, price)


def _whole(parts: Fraction, price: Decimal) -> Money:
    if parts.denominator != 1 or parts < 0:
        raise ValueError(f"{price} is no price: expected none below 0, with few decimals")
    return int(parts)
