"""evaluate_policy, once a day: how much lies where, how it grows, and what it costs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple, Protocol

from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.pricing import Money, PriceTable, monthly_cost
from forebay.domain.policy.standing import storage_class_of
from forebay.domain.policy.storage_classes import StorageClass
from forebay.services.ports import Clock

DAY = timedelta(days=1)


class PlacedPages(Protocol):
    """Everything that is placed."""

    def pages(self, site: str) -> Iterator[Sequence[ObjectRecord]]:
        """Yield the placed objects of a site, or of all with '', some at a time."""


class Heap(NamedTuple):
    """What lies together: objects of one class in one storage class."""

    object_class: str
    storage_class: StorageClass


@dataclass(slots=True)
class Amount:
    """How many objects, how many bytes they are, and what they cost each month."""

    objects: int = 0
    size_bytes: int = 0
    monthly: Money = 0

    def add(self, size_bytes: int, monthly: Money = 0) -> None:
        """Count one more."""
        self.objects += 1
        self.size_bytes += size_bytes
        self.monthly += monthly


@dataclass(slots=True)
class Census:
    """What is placed; `grown` arrived within the last day. Incomplete when time ran out."""

    heaps: dict[Heap, Amount] = field(default_factory=lambda: defaultdict(Amount))
    grown: Amount = field(default_factory=Amount)
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class CountStored:
    """Page through what is placed, by query and in batches; `seconds` is how long it may take."""

    placed: PlacedPages
    clock: Clock
    seconds: float = 600.0
    prices: PriceTable | None = None
    """Of the deployment's region; without them nothing is said of costs."""

    def __call__(self) -> Census:
        """Count what is placed now; an index that lags by seconds is near enough."""
        began = self.clock.now()
        census = Census()
        for page in self.placed.pages(""):
            for record in page:
                heap = Heap(record.object_class, storage_class_of(record))
                census.heaps[heap].add(record.size_bytes, self._monthly(heap, record.size_bytes))
                if record.state_since > began - DAY:
                    census.grown.add(record.size_bytes)
            if (self.clock.now() - began).total_seconds() >= self.seconds:
                census.is_complete = False
                break
        return census

    def _monthly(self, heap: Heap, size_bytes: int) -> Money:
        if self.prices is None:
            return 0
        return monthly_cost(heap.storage_class, size_bytes, self.prices)
