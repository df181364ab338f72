"""Lines of a text as rows of a matrix, and a digest of a text that costs next to nothing."""

import functools
import hashlib
from typing import Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

__all__ = [
    "WORD_BYTES",
    "Bytes",
    "Flags",
    "Offsets",
    "TextDigest",
    "Words",
    "columns_below",
    "gather_rows",
    "masks_below",
]

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Offsets = NDArray[np.intp]
Flags = NDArray[np.bool_]

WORD_BYTES: Final = 8

_TABLE_WIDTH: Final = 256
_SEGMENT_BYTES: Final = 256 << 10


def gather_rows(text: Bytes, starts: Offsets, width: int) -> Bytes:
    """Return `width` characters from each of the ascending starts, one row each.

    Rows that reach beyond the end of the text are filled with NUL.
    """
    if (missing := int(starts[-1]) + width - text.size) > 0:
        text = np.concatenate((text, np.zeros(missing, dtype=np.uint8)))
    # A row is one item of this view, so that numpy copies it as a whole.
    windows: NDArray[np.void] = np.ndarray(
        (text.size - width + 1,), dtype=_row_type(width), buffer=text, strides=(1,)
    )
    return windows[starts].view(np.uint8).reshape(starts.size, width)


def columns_below(lengths: Offsets, width: int) -> Flags:
    """Return a matrix that tells which columns come before the length given for each row."""
    small = np.min_scalar_type(width)
    inside: Flags = np.arange(width, dtype=small) < lengths.astype(small)[:, np.newaxis]
    return inside


def masks_below(lengths: Offsets, width: int) -> Bytes:
    """Return the same as bytes of ones and of zeros, to clear what follows a text in its row."""
    if width > _TABLE_WIDTH:
        return columns_below(lengths, width) * np.uint8(0xFF)
    return _mask_table(width)[lengths].view(np.uint8).reshape(lengths.size, width)


@functools.cache
def _row_type(width: int) -> np.dtype[np.void]:
    return np.dtype((np.void, width))


@functools.cache
def _mask_table(width: int) -> NDArray[np.void]:
    table = columns_below(np.arange(width + 1), width) * np.uint8(0xFF)
    return table.view(_row_type(width)).reshape(-1)


class TextDigest:
    """The SHA-256 of the CRC-32 of every 256 KiB of a text and of its length, all big-endian.

    Anyone with zlib can compute it. Two texts that differ by chance have different digests; unlike
    a cryptographic digest it does not withstand intent, which the digests of the stored bytes do.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._size_bytes = 0
        self._crc = 0

    def update(self, text: memoryview) -> None:
        """Take the next bytes of the text."""
        while text:
            room = _SEGMENT_BYTES - self._size_bytes % _SEGMENT_BYTES
            part, text = text[:room], text[room:]
            self._crc = isal_zlib.crc32(part, self._crc)
            self._size_bytes += len(part)
            if self._size_bytes % _SEGMENT_BYTES == 0:
                self._end_segment()

    def hexdigest(self) -> str:
        """Return the digest; call once, when the text has ended."""
        if self._size_bytes % _SEGMENT_BYTES:
            self._end_segment()
        self._sha256.update(self._size_bytes.to_bytes(8, "big"))
        return self._sha256.hexdigest()

    def _end_segment(self) -> None:
        self._sha256.update(self._crc.to_bytes(4, "big"))
        self._crc = 0
