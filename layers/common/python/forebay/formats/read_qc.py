"""Per-cycle quality and composition of two verified mates, read side by side in flat memory."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forebay.domain.read_qc import MateQuality, PairQuality
from forebay.errors import Trouble
from forebay.formats.gzipped import Inflater

__all__ = ["measure_pair"]

Bytes = NDArray[np.uint8]
Means = NDArray[np.float64]

MAX_CYCLES: Final = 1000
_PHRED_OFFSET: Final = 33
_SCORES: Final = 94
_BASES: Final = "ACGTN"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_LINES: Final = 4
_NEWLINE: Final = 10
_CARRIAGE_RETURN: Final = 13

_CODES: Final = np.full(256, 4, dtype=np.uint8)
for _code, _base in enumerate(_BASES):
    _CODES[[ord(_base), ord(_base.lower())]] = _code


def measure_pair(r1: Iterable[bytes], r2: Iterable[bytes]) -> PairQuality:
    """Measure two mates given as streams of their stored bytes (plain, gzip or BGZF).

    Raises:
        Trouble: the bytes are not the verified ones the catalog speaks of.
    """
    first, second = _Mate(), _Mate()
    pairs = both = 0
    for left, right in _aligned(first.means(r1), second.means(r2)):
        pairs += len(left)
        both += int(np.count_nonzero((left >= 30) & (right >= 30)))
    return PairQuality(first.conclude(), second.conclude(), pairs, both / pairs if pairs else 0.0)


class _Mate:
    def __init__(self) -> None:
        self._reads = 0
        self._bases = 0
        self._shortest = 1 << 62
        self._longest = 0
        self._scores = np.zeros((MAX_CYCLES, _SCORES), dtype=np.int64)
        self._composition = np.zeros((MAX_CYCLES, len(_BASES)), dtype=np.int64)
        self._all_scores = np.zeros(_SCORES, dtype=np.int64)
        self._all_bases = np.zeros(len(_BASES), dtype=np.int64)
        self._gc = np.zeros(101, dtype=np.int64)
        self._means = np.zeros(_SCORES, dtype=np.int64)

    def means(self, chunks: Iterable[bytes]) -> Iterator[Means]:
        """Yield the mean quality of each read, block by block, measuring on the way."""
        for text in _whole_records(_texts(chunks)):
            yield self._measure(text)

    def conclude(self) -> MateQuality:
        cycles = min(self._longest, MAX_CYCLES)
        scores, bases = self._scores[:cycles], self._composition[:cycles]
        totals = np.maximum(bases.sum(axis=1), 1)
        low, middle, high = (_quantile(scores, q) for q in (0.25, 0.5, 0.75))
        called = int(self._all_bases[:4].sum()) or 1
        return MateQuality(
            reads=self._reads,
            bases=self._bases,
            min_length=self._shortest if self._reads else 0,
            max_length=self._longest,
            q20_fraction=self._at_least(20),
            q30_fraction=self._at_least(30),
            gc_fraction=round(float(self._all_bases[1] + self._all_bases[2]) / called, 6),
            cycles_measured=cycles,
            quality_lower_quartile=low,
            quality_median=middle,
            quality_upper_quartile=high,
            base_fractions={
                base: tuple(round(float(f), 4) for f in bases[:, code] / totals)
                for code, base in enumerate(_BASES)
            },
            gc_histogram=tuple(int(n) for n in self._gc),
            quality_histogram=tuple(int(n) for n in self._means),
        )

    def _at_least(self, score: int) -> float:
        return round(float(self._all_scores[score:].sum()) / max(self._bases, 1), 6)

    def _measure(self, text: Bytes) -> Means:
        starts, lengths, quality_starts = _layout(text)
        width = int(lengths.max())
        inside = np.arange(width) < lengths[:, None]
        last = len(text) - 1
        columns = np.arange(width)
        codes = _CODES[text[np.minimum(starts[:, None] + columns, last)]]
        quality = text[np.minimum(quality_starts[:, None] + columns, last)]
        scores = np.minimum(quality - _PHRED_OFFSET, _SCORES - 1).astype(np.int64)
        self._add_totals(lengths, codes[inside], scores[inside])
        self._add_cycles(codes, scores, inside)
        gc = np.where(inside, (codes == 1) | (codes == 2), False).sum(axis=1)
        self._gc += np.bincount(
            np.rint(100 * gc / np.maximum(lengths, 1)).astype(int), minlength=101
        )
        means: Means = np.where(inside, scores, 0).sum(axis=1) / np.maximum(lengths, 1)
        self._means += np.bincount(np.rint(means).astype(int), minlength=_SCORES)
        return means

    def _add_totals(self, lengths: Any, codes: Bytes, scores: Any) -> None:
        self._reads += len(lengths)
        self._bases += int(lengths.sum())
        self._shortest = min(self._shortest, int(lengths.min()))
        self._longest = max(self._longest, int(lengths.max()))
        self._all_bases += np.bincount(codes, minlength=len(_BASES))
        self._all_scores += np.bincount(scores, minlength=_SCORES)

    def _add_cycles(self, codes: Bytes, scores: Any, inside: Any) -> None:
        cycles = min(codes.shape[1], MAX_CYCLES)
        column = np.broadcast_to(np.arange(cycles), (len(codes), cycles))
        within = inside[:, :cycles]
        cycle = column[within]
        for table, values in ((self._composition, codes), (self._scores, scores)):
            kinds = table.shape[1]
            cell = cycle * kinds + values[:, :cycles][within]
            counts = np.bincount(cell, minlength=cycles * kinds)
            table[:cycles] += counts.reshape(cycles, kinds)


def _layout(text: Bytes) -> tuple[Any, Any, Any]:
    """Return where each record's sequence starts, how long it is, and where its quality starts."""
    ends = np.flatnonzero(text == _NEWLINE).reshape(-1, _LINES)
    starts = ends[:, 0] + 1
    lengths = ends[:, 1] - starts
    lengths = lengths - ((lengths > 0) & (text[ends[:, 1] - 1] == _CARRIAGE_RETURN))
    return starts, lengths, ends[:, 2] + 1


def _quantile(scores: Any, fraction: float) -> tuple[int, ...]:
    reached = np.cumsum(scores, axis=1) >= fraction * scores.sum(axis=1, keepdims=True)
    return tuple(int(score) for score in reached.argmax(axis=1))


def _texts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    inflater: Inflater | None = None
    started = False
    for chunk in chunks:
        if not started and chunk:
            inflater = Inflater() if chunk.startswith(_GZIP_MAGIC) else None
            started = True
        if inflater is None:
            yield chunk
        else:
            yield from inflater.feed(chunk)
    if inflater is not None:
        inflater.finish()
        if inflater.finding:
            raise Trouble(f"verified reads no longer decompress: {inflater.finding.code}")


def _whole_records(texts: Iterable[bytes]) -> Iterator[Bytes]:
    rest = b""
    for text in texts:
        held = rest + text
        cut = _last_record_end(held)
        rest = held[cut:]
        if cut:
            yield np.frombuffer(held, dtype=np.uint8, count=cut)
    if rest.strip():
        rest += b"" if rest.endswith(b"\n") else b"\n"
        if rest.count(b"\n") % _LINES:
            raise Trouble("verified reads no longer end with a whole record")
        yield np.frombuffer(rest, dtype=np.uint8)


def _last_record_end(text: bytes) -> int:
    """Return the length of the whole records at the start of `text`, which starts with one."""
    extra = text.count(b"\n") % _LINES
    end = len(text)
    for _ in range(extra + 1):
        end = text.rfind(b"\n", 0, end)
    return end + 1


def _aligned(left: Iterator[Means], right: Iterator[Means]) -> Iterator[tuple[Means, Means]]:
    """Yield equally long pieces of two streams of arrays; raises Trouble when one ends first."""
    a: Means = np.empty(0)
    b: Means = np.empty(0)
    while True:
        a = a if len(a) else next(left, np.empty(0))
        b = b if len(b) else next(right, np.empty(0))
        if not len(a) and not len(b):
            return
        if not len(a) or not len(b):
            raise Trouble("the mates hold different numbers of reads")
        size = min(len(a), len(b))
        yield a[:size], b[:size]
        a, b = a[size:], b[size:]
