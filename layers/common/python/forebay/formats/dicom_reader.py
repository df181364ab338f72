"""Reading the head of a DICOM file by ranges, within bounds."""

from dataclasses import dataclass
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.inspection import ByteSource
from forebay.errors import Trouble

__all__ = ["DicomLimits", "RangeReader", "RefusedError", "refused"]

_MAX_WINDOW_BYTES: Final = 4 << 20
# After a jump over a large value usually little is left: the tail, or a few more elements.
_JUMP_WINDOW_BYTES: Final = 16 << 10
_SHORT_JUMP_BYTES: Final = 256 << 10
# What is left of the file is taken at once when it is no more than this.
_TAIL_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class DicomLimits:
    """Bounds on what one inspection reads and does; hostile files meet them first.

    `max_value_bytes`: a longer attribute is left out of the record.
    `max_sequence_bytes`: of a longer sequence of defined length only the head is walked.
    `refuse_polyglots`: False turns a preamble that makes the file executable into a warning.
    """

    first_read_bytes: int = 64 << 10
    max_read_bytes: int = 64 << 20
    max_inflated_bytes: int = 64 << 20
    max_value_bytes: int = 4 << 10
    max_sequence_bytes: int = 64 << 10
    max_elements: int = 1_000_000
    max_depth: int = 64
    refuse_polyglots: bool = True


class RefusedError(Exception):
    """The file is refused; carries the finding out of the depth of a parser."""

    def __init__(self, finding: Finding, verdict: Verdict = Verdict.INVALID) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.verdict = verdict


def refused(  # noqa: PLR0913 - the fields of a finding
    code: ReasonCode,
    message: str,
    *,
    at: int | None = None,
    expected: str = "",
    found: str = "",
    owner: Owner = Owner.SENDER,
    verdict: Verdict = Verdict.INVALID,
) -> RefusedError:
    """Return the error that refuses a file for a reason at a byte offset."""
    position = "" if at is None else f"byte {at}"
    return RefusedError(Finding(code, message, owner, position, expected, found), verdict)


class RangeReader:
    """A window that slides forward over a source.

    The first request takes `first_read_bytes`; later ones double while reading goes on without a
    gap, so that a head of many megabytes costs few requests and a small one costs one.
    """

    def __init__(self, source: ByteSource, limits: DicomLimits) -> None:
        self.size_bytes = source.size_bytes
        self.bytes_read = 0
        self.requests = 0
        self._source = source
        self._max_read_bytes = limits.max_read_bytes
        self._window = b""
        self._start = 0
        self._next_bytes = limits.first_read_bytes

    def window(self, at: int, length: int) -> tuple[bytes, int]:
        """Return a buffer and the index in it from which at least `length` bytes from `at` stand.

        The caller has made sure that the file has these bytes.
        """
        index = at - self._start
        if index < 0 or index + length > len(self._window):
            self._slide(at, length)
            index = 0
        return self._window, index

    def held(self) -> tuple[bytes, int]:
        """Return the bytes that are here, and the offset at which they start."""
        return self._window, self._start

    def take(self, at: int, length: int) -> bytes:
        """Return exactly `length` bytes from offset `at`."""
        window, index = self.window(at, length)
        return window[index : index + length]

    def holds(self, at: int, length: int) -> bool:
        """Tell whether these bytes can be had without a request."""
        return self._start <= at and at + length <= self._start + len(self._window)

    def _slide(self, at: int, length: int) -> None:
        gap = at - (self._start + len(self._window))
        is_jump = not -len(self._window) <= gap <= _SHORT_JUMP_BYTES
        wanted = _JUMP_WINDOW_BYTES if is_jump and self.requests else self._next_bytes
        rest = self.size_bytes - at
        wanted = rest if rest <= _TAIL_BYTES else min(max(wanted, length), rest)
        if self.bytes_read + wanted > self._max_read_bytes:
            raise refused(
                ReasonCode.LIMIT_EXCEEDED,
                "What precedes and follows the pixel data is larger than Forebay reads.",
                at=at,
                expected=f"at most {self._max_read_bytes} bytes",
                owner=Owner.DATA_STEWARD,
            )
        self._window = self._source.read_range(at, wanted)
        self._start = at
        self.requests += 1
        self.bytes_read += len(self._window)
        if len(self._window) < length:
            raise Trouble(f"{self._source.name} ended at {at + len(self._window)} while being read")
        self._next_bytes = min(2 * max(wanted, _JUMP_WINDOW_BYTES), _MAX_WINDOW_BYTES)
