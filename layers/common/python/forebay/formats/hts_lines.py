"""Text given in pieces, taken line by line."""

from collections.abc import Callable
from typing import Final

from forebay.domain.findings import ReasonCode
from forebay.formats.hts_refusal import refused

__all__ = ["MAX_LINE_BYTES", "LineFeed"]

# A record of a million samples with a dozen characters each; a read of 4 million bases.
MAX_LINE_BYTES: Final = 32 << 20
_BATCH_BYTES: Final = 256 << 10


class LineFeed:
    """Cuts pieces of any size into batches of whole lines; the result does not depend on pieces.

    `take` gets the lines of a batch, without line feeds. `finish` returns the last line when no
    line feed ends it. Raises RefusedError for a line that is too long.
    """

    def __init__(self, take: Callable[[list[bytes]], None]) -> None:
        self._take = take
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._due_bytes = _BATCH_BYTES
        self._lines = 0

    def feed(self, text: bytes) -> None:
        """Take the next piece of text."""
        self._pending.append(text)
        self._pending_bytes += len(text)
        if self._pending_bytes >= self._due_bytes:
            self._consume()

    def finish(self) -> bytes:
        """Take what is left; return an unfinished last line."""
        self._consume()
        return self._pending[0]

    def _consume(self) -> None:
        *lines, rest = b"".join(self._pending).split(b"\n")
        self._pending = [rest]
        self._pending_bytes = len(rest)
        self._due_bytes = len(rest) + _BATCH_BYTES
        if lines:
            self._take(lines)
            self._lines += len(lines)
        if len(rest) > MAX_LINE_BYTES:
            line = self._lines + 1
            raise refused(
                ReasonCode.LIMIT_EXCEEDED,
                f"Line {line} is longer than {MAX_LINE_BYTES >> 20} MiB, longer than any record.",
                at=f"line {line}",
                expected=f"lines of at most {MAX_LINE_BYTES} bytes",
            )
