"""Streaming decompression of bzip2, which some archives use for VCF."""

import bz2
from collections.abc import Iterator
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode

__all__ = ["BZIP2_MAGIC", "Bunzipper"]

BZIP2_MAGIC: Final = b"BZh"
_PIECE_BYTES: Final = 256 << 10


class Bunzipper:
    """Decompresses any number of bzip2 streams fed in chunks of any size.

    Works as `Inflater` does: the first problem ends it and stands in `finding`.
    """

    is_bgzf: Final = False

    def __init__(self) -> None:
        self.finding: Finding | None = None
        self._unpack = bz2.BZ2Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the text that the next stored bytes complete."""
        while self.finding is None:
            if self._unpack.eof:
                data = self._unpack.unused_data + data
                if not data:
                    return
                self._unpack = bz2.BZ2Decompressor()
            try:
                text = self._unpack.decompress(data, _PIECE_BYTES)
            except (OSError, ValueError):
                self.finding = _CORRUPT
                return
            data = b""
            if text:
                yield text
            elif self._unpack.needs_input:
                return

    def finish(self) -> None:
        """Say that the file ends here; sets `finding` when it must not."""
        if self.finding is None and not self._unpack.eof:
            self.finding = _TRUNCATED


_CORRUPT: Final = Finding(
    code=ReasonCode.GZIP_CORRUPT,
    message="The bzip2 data cannot be decompressed: the file was damaged.",
    owner=Owner.SENDER,
    found="damaged bzip2 data",
)
_TRUNCATED: Final = Finding(
    code=ReasonCode.GZIP_TRUNCATED,
    message="The bzip2 data ends in its middle: the file was cut off. Upload it completely.",
    owner=Owner.SENDER,
    expected="the rest of the bzip2 data",
    found="end of file",
)
