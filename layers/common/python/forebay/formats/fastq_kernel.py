"""Reading whole FASTQ records and counting what they hold, in C (`fastq_kernel.c`)."""

import ctypes
import functools
import mmap
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from forebay.errors import ConfigurationError
from forebay.formats.text_digest import SEGMENT_BYTES

__all__ = ["MAX_CYCLES", "MAX_ORIGINS", "RecordCounter", "Stop"]

MAX_CYCLES: Final = 512
"""More than any short-read sequencer runs; of longer reads, only these are told one by one."""
MAX_ORIGINS: Final = 64
"""Beyond this many different origins a file is a mixture whose full list helps nobody."""

# Python would take an .so for a module of its own.
_LIBRARY: Final = Path(__file__).with_suffix(".native")
_WORD_BYTES: Final = 8
_PLACES: Final = 1 << 16  # of the sample of names
_NONE_YET: Final = 1 << 62


class Stop(IntEnum):
    """Why no more records were taken."""

    ALL_TAKEN = 0
    BROKEN = 1
    UNKNOWN_ORIGIN = 2
    NAMES_FULL = 3


class _Prefix(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char_p), ("size", ctypes.c_size_t))


class _State(ctypes.Structure):
    _fields_ = (
        ("letter_classes", ctypes.c_char_p),
        ("names", ctypes.c_void_p),
        ("names_room", ctypes.c_size_t),
        ("names_due", ctypes.c_size_t),
        ("max_line", ctypes.c_size_t),
        ("origins", _Prefix * MAX_ORIGINS),
        ("known_origins", ctypes.c_int64),
        ("origin_examined", ctypes.c_int64),
        ("wants_origins", ctypes.c_int64),
        ("reads", ctypes.c_int64),
        ("bases", ctypes.c_int64),
        ("gc", ctypes.c_int64),
        ("n", ctypes.c_int64),
        ("q20", ctypes.c_int64),
        ("q30", ctypes.c_int64),
        ("q20_phred64", ctypes.c_int64),
        ("q30_phred64", ctypes.c_int64),
        ("min_length", ctypes.c_int64),
        ("max_length", ctypes.c_int64),
        ("first_odd_read", ctypes.c_int64),
        ("unlike_pairs", ctypes.c_int64),
        ("reads_of_length", ctypes.c_int64 * (MAX_CYCLES + 1)),
        ("cycle_sums", ctypes.c_int64 * MAX_CYCLES),
        ("least_quality", ctypes.c_int64),
        ("greatest_quality", ctypes.c_int64),
        ("mates_in_names", ctypes.c_int64),
        ("mates_in_comments", ctypes.c_int64),
        ("greatest_hash", ctypes.c_uint64),
        ("sampled", ctypes.c_int64),
        ("sampled_hashes", ctypes.c_uint64 * _PLACES),
        ("sampled_times", ctypes.c_uint32 * _PLACES),
        ("names_size", ctypes.c_size_t),
        ("first_mate_at", ctypes.c_size_t),
        ("first_mate_size", ctypes.c_size_t),
        ("stop", ctypes.c_int64),
    )


class RecordCounter:
    """Takes whole records of a FASTQ text; what they hold is counted in `counts`.

    `letter_classes` has a byte for each of the 256 characters: 0 for one allowed as a base, 1 for
    one that is allowed but odd, 2 for one that is refused. Raises ConfigurationError where the C
    part was not built.
    """

    def __init__(self, letter_classes: bytes, *, max_line_bytes: int) -> None:
        # The names of a pair of mates are never parted, however long.
        room = SEGMENT_BYTES + 2 * (max_line_bytes + _WORD_BYTES)
        # Of an anonymous mapping, only what is written takes memory.
        self._names = mmap.mmap(-1, room)
        # Memory that the state points to has to stay.
        self._prefixes: list[bytes] = []
        self._letter_classes = letter_classes
        library = _library()
        self._take = library.fastq_take
        self._sampled_above = library.fastq_sampled_above
        self.counts = _State(
            letter_classes=letter_classes,
            names=ctypes.addressof(ctypes.c_char.from_buffer(self._names)),
            names_room=room,
            names_due=SEGMENT_BYTES,
            max_line=max_line_bytes,
            wants_origins=1,
            min_length=_NONE_YET,
            first_odd_read=-1,
            least_quality=_NONE_YET,
            greatest_hash=(1 << 64) - 1,
        )
        self._counts_at = ctypes.addressof(self.counts)

    def take(self, text: bytes, at: int) -> tuple[int, Stop]:
        """Take records from an offset on; return where the first one not taken starts, and why."""
        at = self._take(self._counts_at, text, at, len(text))
        return at, Stop(self.counts.stop)

    def origin_examined(self, prefix: bytes, *, wants_more: bool) -> None:
        """Let the next name pass, and from now on all that start with `prefix`, unless empty.

        With `wants_more` False, all names pass.
        """
        counts = self.counts
        counts.origin_examined = 1
        counts.wants_origins = int(wants_more)
        if prefix and counts.known_origins < MAX_ORIGINS:
            self._prefixes.append(prefix)
            counts.origins[counts.known_origins] = _Prefix(prefix, len(prefix))
            counts.known_origins += 1

    def repeated_fraction(self, times: int) -> float:
        """Return which part of the different names came more often than so many times.

        Of more than 32,768 names it is estimated from half as many at least, chosen by their hash.
        """
        found: int = self._sampled_above(self._counts_at, times)
        return found / self.counts.sampled if found else 0.0

    def names(self) -> memoryview:
        """Return the names taken since the last call, as the names digest is defined on them."""
        size, self.counts.names_size = self.counts.names_size, 0
        return memoryview(self._names)[:size]


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(str(_LIBRARY))
    except OSError as error:
        raise ConfigurationError(
            f"The FASTQ reader's C part is missing or not of this machine ({error});"
            " tools/setup builds it."
        ) from error
    library.fastq_state_size.restype = ctypes.c_size_t
    if library.fastq_state_size() != ctypes.sizeof(_State):
        raise ConfigurationError(
            "The FASTQ reader's C part is of another version of Forebay; tools/setup builds it."
        )
    library.fastq_sampled_above.restype = ctypes.c_int64
    library.fastq_sampled_above.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    library.fastq_take.restype = ctypes.c_size_t
    library.fastq_take.argtypes = (
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t),
    )
    return library
