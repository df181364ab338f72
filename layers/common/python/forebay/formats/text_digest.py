"""A digest of a text that costs next to nothing."""

import hashlib
from typing import Final

from isal import isal_zlib

__all__ = ["SEGMENT_BYTES", "TextDigest"]

SEGMENT_BYTES: Final = 256 << 10


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
            room = SEGMENT_BYTES - self._size_bytes % SEGMENT_BYTES
            part, text = text[:room], text[room:]
            self._crc = isal_zlib.crc32(part, self._crc)
            self._size_bytes += len(part)
            if self._size_bytes % SEGMENT_BYTES == 0:
                self._end_segment()

    def hexdigest(self) -> str:
        """Return the digest; call once, when the text has ended."""
        if self._size_bytes % SEGMENT_BYTES:
            self._end_segment()
        self._sha256.update(self._size_bytes.to_bytes(8, "big"))
        return self._sha256.hexdigest()

    def _end_segment(self) -> None:
        self._sha256.update(self._crc.to_bytes(4, "big"))
        self._crc = 0
