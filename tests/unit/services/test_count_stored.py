"""The census: every placed object is in one heap, priced as it lies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.pricing import monthly_cost
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.states import State
from forebay.services.count_stored import CountStored, Heap
from tests.unit.domain.policy.test_pricing import PRICES
from tests.unit.fakes import FakeClock, any_record


@dataclass
class FakePlaced:
    """Some pages."""

    given: Sequence[Sequence[ObjectRecord]]

    def pages(self, site: str) -> Iterator[Sequence[ObjectRecord]]:
        assert not site
        yield from self.given


def stored(size: int, clock: FakeClock, *, days: float, tier: StorageClass) -> ObjectRecord:
    facts = {STORAGE_FACTS: {"storage_class": {"value": tier.value, "at": ""}}}
    since = clock.now() - timedelta(days=days)
    record = any_record(state=State.PLACED, size_bytes=size, object_class="clinical-hot")
    return replace(record, state_since=since, metadata=facts)


def test_objects_are_counted_by_class_and_tier_with_their_monthly_cost() -> None:
    clock = FakeClock()
    old = stored(10**9, clock, days=9, tier=StorageClass.GLACIER_IR)
    new = stored(500, clock, days=0.5, tier=StorageClass.STANDARD)

    census = CountStored(FakePlaced([[old], [new, new]]), clock, prices=PRICES)()

    cold = census.heaps[Heap("clinical-hot", StorageClass.GLACIER_IR)]
    warm = census.heaps[Heap("clinical-hot", StorageClass.STANDARD)]
    assert (cold.objects, cold.size_bytes) == (1, 10**9)
    assert (warm.objects, warm.size_bytes) == (2, 1000)
    assert cold.monthly == monthly_cost(StorageClass.GLACIER_IR, 10**9, PRICES)
    assert warm.monthly == 2 * monthly_cost(StorageClass.STANDARD, 500, PRICES)
    assert (census.grown.objects, census.grown.size_bytes) == (2, 1000)
    assert census.is_complete


def test_census_that_runs_out_of_time_says_so() -> None:
    clock = FakeClock()
    page = [stored(1, clock, days=1, tier=StorageClass.STANDARD)]
    census = CountStored(FakePlaced([page, page]), clock, seconds=0.0)()
    assert not census.is_complete
    assert sum(heap.objects for heap in census.heaps.values()) == 1


def test_without_prices_nothing_is_said_of_costs() -> None:
    clock = FakeClock()
    page = [stored(1, clock, days=1, tier=StorageClass.STANDARD)]
    census = CountStored(FakePlaced([page]), clock)()
    assert {heap.monthly for heap in census.heaps.values()} == {0}
