"""TIFF headers in the preamble of DICOM files: a second reading of the same image, or of another.

PS3.10 section 7.1 allows a preamble that makes the file a TIFF file too. It must then lead to the
same image: the size in its first directory is that of the object, or of its tiles.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.formats.dicom_reader import RangeReader

__all__ = ["judge_tiff"]

_ORDERS: Final = {b"II": "<", b"MM": ">"}
_IMAGE_SIZE: Final = (256, 257)
_TILE_SIZE: Final = (322, 323)
_NUMBER_CODES: Final = {3: "H", 4: "I", 16: "Q"}
_MAX_ENTRIES: Final = 64


class _Layout(NamedTuple):
    """The formats of an offset and of a count of entries, and where the first offset stands."""

    offset_code: str
    count_code: str
    first_offset_at: int


_LAYOUTS: Final = {42: _Layout("I", "H", 4), 43: _Layout("Q", "Q", 8)}


def judge_tiff(
    reader: RangeReader, preamble: bytes, attributes: Mapping[str, Any]
) -> Finding | None:
    """Return what is wrong with a preamble that makes the file a TIFF file, None when nothing is.

    A header that leads to no directory opens nothing, and is left over from another file.
    """
    numbers = _first_directory(reader, preamble)
    if not numbers:
        return None
    rows, columns = attributes.get("Rows"), attributes.get("Columns")
    frames = attributes.get("NumberOfFrames", 1)
    if isinstance(rows, int) and isinstance(columns, int) and isinstance(frames, int):
        sizes = {tuple(map(numbers.get, tags)) for tags in (_IMAGE_SIZE, _TILE_SIZE)}
        # Frames are tiles, or one image when they stand below each other.
        if sizes & {(columns, rows), (columns, rows * frames)}:
            return None
    return Finding(
        code=ReasonCode.DICOM_POLYGLOT,
        message="The file is a TIFF file as well, and shows another image to programs that read it"
        " as one. Have the sending system checked.",
        owner=Owner.DATA_STEWARD,
        position="byte 0",
        expected="128 zero bytes, or a TIFF header that leads to the same image",
        found="a TIFF image of another size",
    )


def _first_directory(reader: RangeReader, preamble: bytes) -> dict[int, int]:
    """Return the numbers in the first TIFF directory by tag; empty when there is no directory."""
    order = _ORDERS.get(preamble[:2])
    if order is None:
        return {}
    layout = _LAYOUTS.get(struct.unpack_from(f"{order}H", preamble, 2)[0])
    if layout is None:
        return {}
    (at,) = struct.unpack_from(order + layout.offset_code, preamble, layout.first_offset_at)
    count_bytes, offset_bytes = (
        struct.calcsize(layout.count_code),
        struct.calcsize(layout.offset_code),
    )
    entry_bytes = 4 + 2 * offset_bytes
    wanted = min(count_bytes + _MAX_ENTRIES * entry_bytes, reader.size_bytes - at)
    if wanted < count_bytes + entry_bytes:
        return {}
    directory = reader.take(at, wanted)
    (count,) = struct.unpack_from(order + layout.count_code, directory)
    held = (len(directory) - count_bytes) // entry_bytes
    numbers = {}
    for index in range(min(count, held)):
        start = count_bytes + index * entry_bytes
        tag, kind = struct.unpack_from(f"{order}HH", directory, start)
        if kind in _NUMBER_CODES:
            value_at = start + 4 + offset_bytes
            value = directory[value_at : value_at + offset_bytes].ljust(8, b"\0")
            (numbers[tag],) = struct.unpack_from(order + _NUMBER_CODES[kind], value)
    return numbers if _IMAGE_SIZE[0] in numbers else {}
