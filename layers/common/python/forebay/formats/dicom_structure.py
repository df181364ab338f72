"""What a DICOM data set is made of: VRs, encodings, containers (PS3.5 sections 6.2 and 7)."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "DOUBLE_PIXELS",
    "FLOAT_PIXELS",
    "IMPLICIT_LITTLE",
    "ITEM",
    "ITEM_BYTES",
    "ITEM_END",
    "LONG_VRS",
    "PIXELS",
    "PIXEL_TAGS",
    "SEQUENCE_END",
    "SEQUENCE_END_BYTES",
    "SHORT_VRS",
    "UNDEFINED",
    "VRS",
    "Container",
    "DataSetWalk",
    "Encoding",
    "Open",
    "PixelData",
    "RawValue",
]

FLOAT_PIXELS: Final = 0x7FE00008
DOUBLE_PIXELS: Final = 0x7FE00009
PIXELS: Final = 0x7FE00010
PIXEL_TAGS: Final = frozenset({FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS})

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
ITEM_BYTES: Final = b"\xfe\xff\x00\xe0"
SEQUENCE_END_BYTES: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"

SHORT_VRS: Final = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
)
LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
VRS: Final = SHORT_VRS | LONG_VRS


class Encoding(NamedTuple):
    """How elements are written."""

    is_explicit: bool
    is_little_endian: bool
    is_encapsulated: bool = False


IMPLICIT_LITTLE: Final = Encoding(is_explicit=False, is_little_endian=True)


RawValue: TypeAlias = tuple[str, bytes]
"""A value representation, empty when implicit, and the bytes of a value; nothing is faster."""


class PixelData(NamedTuple):
    """Where the pixel data is.

    `length` is None when it is encapsulated; `fragments` unless all of them were seen.
    """

    tag: int
    value_at: int
    length: int | None
    fragments: int | None = None


@dataclass(slots=True)
class DataSetWalk:
    """What a walk over a data set found; `tags` holds at least those it was asked to note."""

    values: dict[int, RawValue] = field(default_factory=dict)
    items: dict[int, list[dict[int, RawValue]]] = field(default_factory=dict)
    tags: set[int] = field(default_factory=set)
    oversized: list[int] = field(default_factory=list)
    pixels: PixelData | None = None
    last_tag: int = 0
    elements: int = 0
    zero_padding_at: int | None = None
    wrong_table_at: int | None = None


class Container(Enum):
    """What elements and items stand in, as messages name it."""

    DATA_SET = "the data set"
    SEQUENCE = "a sequence"
    ITEM = "a sequence item"
    FRAGMENTS = "encapsulated data"


class Open(NamedTuple):
    """A container whose end is still ahead; an undefined one ends by a delimiter before `end`."""

    kind: Container
    end: int
    is_undefined: bool
    encoding: Encoding
