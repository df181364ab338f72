"""S3's storage classes and the facts about them that decisions depend on.

Source: Amazon S3 User Guide, "Understanding and managing Amazon S3 storage classes" and "Managing
the lifecycle of objects" (considerations for transitions).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class StorageClass(StrEnum):
    """The storage classes that policy may name, from the fastest to the slowest."""

    STANDARD = "STANDARD"
    STANDARD_IA = "STANDARD_IA"
    GLACIER_IR = "GLACIER_IR"
    GLACIER = "GLACIER"
    """Glacier Flexible Retrieval."""
    DEEP_ARCHIVE = "DEEP_ARCHIVE"


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """What S3 demands of a storage class.

    `minimum_days` are charged even when an object leaves earlier; `least_age_days` is how old an
    object must be before lifecycle may bring it there; `billed_at_least_bytes` is the least size
    charged; `overhead_bytes` are added to every object at this class's price, and
    `index_bytes` at the price of STANDARD. `restore_seconds` is how long a standard restore takes,
    0 where reading needs none.
    """

    minimum_days: int = 0
    least_age_days: int = 0
    billed_at_least_bytes: int = 0
    overhead_bytes: int = 0
    index_bytes: int = 0
    restore_seconds: int = 0


KIB: Final = 1024
_HOUR: Final = 3600

STORAGE_FACTS: Final = {
    StorageClass.STANDARD: StorageFacts(),
    StorageClass.STANDARD_IA: StorageFacts(
        minimum_days=30, least_age_days=30, billed_at_least_bytes=128 * KIB
    ),
    StorageClass.GLACIER_IR: StorageFacts(minimum_days=90, billed_at_least_bytes=128 * KIB),
    StorageClass.GLACIER: StorageFacts(
        minimum_days=90, overhead_bytes=32 * KIB, index_bytes=8 * KIB, restore_seconds=5 * _HOUR
    ),
    StorageClass.DEEP_ARCHIVE: StorageFacts(
        minimum_days=180, overhead_bytes=32 * KIB, index_bytes=8 * KIB, restore_seconds=12 * _HOUR
    ),
}

SMALLEST_MOVED_BYTES: Final = 128 * KIB
"""Below it S3 moves nothing by default, and no storage class pays."""

COLDNESS: Final = {each: place for place, each in enumerate(StorageClass)}
"""From the warmest, by number: what sorts storage classes."""


def is_colder(one: StorageClass, other: StorageClass) -> bool:
    """Tell whether a storage class is slower and cheaper to hold than another."""
    return COLDNESS[one] > COLDNESS[other]


def needs_restore(storage_class: StorageClass) -> bool:
    """Tell whether bytes there must be restored before they can be read."""
    return STORAGE_FACTS[storage_class].restore_seconds > 0
