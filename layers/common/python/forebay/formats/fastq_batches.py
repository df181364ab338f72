"""Whole FASTQ records at once: where their lines are, found with as little looking as possible."""

from collections.abc import Iterator
from functools import cached_property
from typing import Final

import numpy as np

from forebay.formats.read_names import HeadLines
from forebay.formats.text_rows import (
    WORD_BYTES,
    Bytes,
    Offsets,
    Words,
    columns_below,
    gather_rows,
)

__all__ = [
    "QUALITY",
    "SEQUENCE",
    "Batch",
    "any_batch",
    "even_batch",
    "find_ends",
]

HEAD, SEQUENCE, PLUS, QUALITY = range(4)

# Reads are filled up to the length of the longest unless that takes more than this many times
# their bases.
_MAX_FILL: Final = 3
_LINE_FEED: Final = 10
_SPACE: Final = 32
_PLUS_SIGN: Final = 43
_AT: Final = 64
_THREE_CHARACTERS: Final = np.uint32(0xFFFFFF)
_PLUS_LINE: Final = int.from_bytes(b"\n+\n", "little")
_BORDER: Final = int.from_bytes(b"\n@", "little")
_WORD_BITS: Final = 64
_PART_BYTES: Final = 1 << 20
# With its flags, such a part of a text stays in the cache next to the processor.
_FLAGGED_BYTES: Final = 512 << 10


class Batch:
    """Whole records at the start of a text, with the right marks and as many qualities as bases."""

    def __init__(
        self,
        text: bytes,
        heads: HeadLines,
        *,
        sequence_starts: Offsets,
        quality_starts: Offsets,
        lengths: Offsets,
    ) -> None:
        self.text = text
        self.heads = heads
        self.reads = lengths.size
        self.bases = int(lengths.sum())
        self.shortest, self.longest = int(np.min(lengths)), int(np.max(lengths))
        self.size_bytes = int(quality_starts[-1]) + int(lengths[-1]) + 1
        self._starts = {SEQUENCE: sequence_starts, QUALITY: quality_starts}
        self._lengths = lengths

    @property
    def longest_line(self) -> int:
        """The length of the longest line, without a `+` line that repeats the name."""
        return max(self.longest, int(np.max(self.heads.lengths)))

    def letters(self, kind: int) -> Iterator[Bytes]:
        """Yield all sequences or qualities, in parts that stay in cache; see `has_gaps`."""
        if not self.are_rows:
            yield np.frombuffer(b"".join(self.lines(kind)), dtype=np.uint8)
            return
        step = _PART_BYTES // self.longest + 1
        for at in range(0, self.reads, step):
            part = slice(at, at + step)
            rows = gather_rows(self.heads.text, self._starts[kind][part], self.longest)
            if self.has_gaps:
                rows *= columns_below(self._lengths[part], self.longest)
            yield rows.reshape(-1)

    def columns(self, kind: int, width: int) -> Iterator[Bytes]:
        """Yield the first letters of all sequences or qualities as rows, filled with NULs."""
        width = min(width, self.longest)
        step = _PART_BYTES // width + 1
        for at in range(0, self.reads, step):
            part = slice(at, at + step)
            rows = gather_rows(self.heads.text, self._starts[kind][part], width)
            yield rows * columns_below(np.minimum(self._lengths[part], width), width)

    def reads_by_cycle(self, width: int) -> Offsets:
        """Return how many reads have a first base, a second, and so on."""
        ends = np.bincount(np.minimum(self._lengths, width), minlength=width + 1)
        return self.reads - np.cumsum(ends[:-1])

    def lines(self, kind: int) -> list[bytes]:
        """Return the lines of one kind."""
        return self._lines[kind:-1:4]

    @cached_property
    def has_gaps(self) -> bool:
        """Whether NULs stand between the letters of reads."""
        return self.are_rows and self.shortest < self.longest

    @cached_property
    def are_rows(self) -> bool:
        """Whether letters come as rows of `longest` characters, filled with NULs."""
        # Copying a line costs the same for all lengths up to a few hundred characters, so reads of
        # alike length are best filled up to one. A NUL of the text must not be mistaken for that.
        worth_it = 0 < self.reads * self.longest <= _MAX_FILL * self.bases
        return worth_it and not self.heads.may_have_controls

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.text[: self.size_bytes].split(b"\n")


def even_batch(text: bytes) -> Batch | None:
    """Return the whole records of a text if all reads are as long as the first one.

    None when that is not so, or when anything else is not as sequencers write it; then the lines
    have to be looked at one by one. Here only one place per record is searched for, the line end
    before `+`, and all else is checked to be where it must be then.
    """
    characters = np.frombuffer(text, dtype=np.uint8)
    first = text.find(b"\n") + 1
    length = text.find(b"\n", first) - first
    bits = _control_bits(characters)
    sequence_ends = _places_of_pairs(bits)
    if length < 1 or sequence_ends is None:
        return None
    reads = int(sequence_ends.searchsorted(len(text) - (length + 3)))
    if not reads:
        return None
    sequence_ends = sequence_ends[:reads]
    heads = _heads_between(characters, sequence_ends, length)
    if heads is None or not _has_four_controls_each(bits, characters, sequence_ends, length):
        return None
    return Batch(
        text,
        heads,
        sequence_starts=sequence_ends - length,
        quality_starts=sequence_ends + 3,
        lengths=np.full(reads, length),
    )


def _control_bits(characters: Bytes) -> Words:
    """Return one bit per character, the lowest for the first, and zeros up to a whole word."""
    size = characters.size
    bits = np.zeros((size // _WORD_BITS + 1) * WORD_BYTES, dtype=np.uint8)
    for at in range(0, size, _FLAGGED_BYTES):
        packed = np.packbits(characters[at : at + _FLAGGED_BYTES] < _SPACE, bitorder="little")
        bits[at // 8 : at // 8 + packed.size] = packed
    return bits.view("<u8")


def _places_of_pairs(bits: Words) -> Offsets | None:
    """Return where a bit is set together with the next but one, as around `+`.

    None when such places are close to each other.
    """
    pairs = bits >> np.uint64(2)
    pairs[:-1] |= bits[1:] << np.uint64(_WORD_BITS - 2)
    pairs &= bits
    # Of flags, numpy finds those that are set faster than of numbers.
    at = np.flatnonzero(pairs != 0)
    pairs = pairs[at]
    below = pairs - np.uint64(1)
    return None if (pairs & below).any() else at * _WORD_BITS + np.bitwise_count(below)


def _heads_between(characters: Bytes, sequence_ends: Offsets, length: int) -> HeadLines | None:
    """Return the head lines, or None when a mark or line end is not where it should be."""
    quality_ends = sequence_ends + (length + 3)
    starts = np.empty_like(quality_ends)
    starts[0] = 0
    np.add(quality_ends[:-1], 1, out=starts[1:])
    ends = sequence_ends - (length + 1)
    lengths = ends - starts
    middles = gather_rows(characters, sequence_ends, 4).view("<u4")
    borders = gather_rows(characters, quality_ends, 2).view("<u2")
    is_marked = (
        np.min(lengths) > 1
        and characters[0] == _AT
        and (characters[ends] == _LINE_FEED).all()
        and (middles & _THREE_CHARACTERS == _PLUS_LINE).all()
        and (borders[:-1] == _BORDER).all()
        and characters[quality_ends[-1]] == _LINE_FEED
    )
    return HeadLines(characters, starts, lengths, may_have_controls=False) if is_marked else None


def _has_four_controls_each(
    bits: Words, characters: Bytes, sequence_ends: Offsets, length: int
) -> bool:
    """Tell whether line ends are the only control characters, and no whole record is left over."""
    rest = characters[int(sequence_ends[-1]) + length + 4 :]
    rest_controls = int(np.count_nonzero(rest < _SPACE))
    controls = int(np.bitwise_count(bits).sum())
    return rest_controls < 4 and controls == 4 * sequence_ends.size + rest_controls


def any_batch(text: bytes, ends: Offsets, *, may_have_controls: bool) -> Batch | None:
    """Return the whole records of a text, given where lines end, or None when a mark is missing."""
    characters = np.frombuffer(text, dtype=np.uint8)
    head_ends, sequence_ends, plus_ends, quality_ends = ends.reshape(-1, 4).T
    starts = np.zeros_like(head_ends)
    starts[1:] = quality_ends[:-1] + 1
    heads = HeadLines(characters, starts, head_ends - starts, may_have_controls)
    batch = Batch(
        text,
        heads,
        sequence_starts=head_ends + 1,
        quality_starts=plus_ends + 1,
        lengths=sequence_ends - head_ends - 1,
    )
    is_formed = (
        np.array_equal(quality_ends - plus_ends, sequence_ends - head_ends)
        and (characters[starts] == _AT).all()
        and (characters[sequence_ends + 1] == _PLUS_SIGN).all()
        and np.min(heads.lengths) > 1
        and (np.max(plus_ends - sequence_ends) == 2 or _plus_lines_agree(batch))
    )
    return batch if is_formed else None


def find_ends(text: bytes) -> tuple[Offsets, bool]:
    """Return where lines end, and whether line feeds are the only control characters."""
    characters = np.frombuffer(text, dtype=np.uint8)
    controls = np.flatnonzero(characters < _SPACE)
    is_end = characters[controls] == _LINE_FEED
    are_all = bool(is_end.all())
    return controls if are_all else controls[is_end], are_all


def _plus_lines_agree(batch: Batch) -> bool:
    pairs = zip(batch.lines(PLUS), batch.lines(HEAD), strict=True)
    return all(plus in (b"+", b"+" + head[1:]) for plus, head in pairs)
