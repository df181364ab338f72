"""What sequencing read names say: instrument, run, flow cell, lane and mate.

Sources: Illumina BCL Convert and Casava guides, Element and MGI FASTQ descriptions, PacBio BAM
format, NCBI SRA `fastq-dump` output.
"""

import functools
import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from forebay.formats.text_rows import (
    WORD_BYTES,
    Bytes,
    Flags,
    Offsets,
    TextDigest,
    Words,
    columns_below,
    gather_rows,
    masks_below,
)

__all__ = ["HeadLines", "NameCensus", "Origin", "parse_read_name"]

UNKNOWN: Final = "unknown"
# Beyond this many different origins a file is a mixture whose full list helps nobody.
_MAX_ORIGINS: Final = 64
# Bounds the memory that one long line among many short ones takes.
_MATRIX_BYTES: Final = 4 << 20
_TAB: Final = 9
_SPACE: Final = 32
_SLASH: Final = 47
_COLON: Final = 58
_DELETE: Final = 127
_MATES: Final = frozenset(b"1234")
# Names without a prefix in common are looked at one by one; as many as this tell all there is.
_MAX_EXAMINED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where reads come from, as their names tell; empty strings where they do not.

    `prefix` is what all read names of this origin start with, empty when they share nothing.
    """

    dialect: str
    instrument: str = ""
    run: str = ""
    flow_cell: str = ""
    lane: str = ""
    prefix: bytes = b""


_UNKNOWN_ORIGIN: Final = Origin(UNKNOWN)

# <instrument>:<run>:<flow cell>:<lane>:<tile>:<x>:<y>[:<umi>]
_SEVEN_FIELDS: Final = re.compile(
    rb"(?P<prefix>@(?P<instrument>[^:]+):(?P<run>[^:]*):(?P<flow_cell>[^:]+):(?P<lane>\d+):)"
    rb"[^:]+:-?\d+:-?\d+(?::[^:]*)?(?:#[^/]*)?(?:/\d)?"
)
# <instrument>:<lane>:<tile>:<x>:<y>[#<index>][/<mate>]
_FIVE_FIELDS: Final = re.compile(
    rb"(?P<prefix>@(?P<instrument>[^:]+):(?P<lane>\d+):)\d+:-?\d+:-?\d+(?:#[^/]*)?(?:/\d)?"
)
_SRA: Final = re.compile(rb"(?P<prefix>@(?P<run>[SED]RR\d+)\.)\d+(?:\.\d)?(?:/\d)?")
_MGI: Final = re.compile(
    rb"(?P<prefix>@(?P<flow_cell>[A-Z]+\d+[A-Z]?)L(?P<lane>\d)C)\d{3}R\d+(?:_\d+)?(?:/\d)?"
)
_PACBIO: Final = re.compile(
    rb"(?P<prefix>@(?P<run>(?P<instrument>m\w+?)_\d{6}_\d{6}\w*)/)\d+(?:/.*)?"
)
_NANOPORE: Final = re.compile(rb"@[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:_\w+)?")
_ION: Final = re.compile(rb"(?P<prefix>@(?P<run>[A-Z0-9]{5}):)\d{1,5}:\d{1,5}(?:/\d)?")

_DIALECTS: Final = (
    ("illumina-1.8", _SEVEN_FIELDS),
    ("illumina-1.7", _FIVE_FIELDS),
    ("sra", _SRA),
    ("mgi", _MGI),
    ("pacbio", _PACBIO),
    ("nanopore", _NANOPORE),
    ("ion-torrent", _ION),
)
_ELEMENT_INSTRUMENT: Final = re.compile(rb"AV\d{6}")
_MATE_IN_COMMENT: Final = frozenset({"illumina-1.8", "element"})


def parse_read_name(name: bytes) -> Origin:
    """Return the origin named by one read name (with its `@`, without its comment)."""
    for dialect, pattern in _DIALECTS:
        if match := pattern.fullmatch(name):
            fields = match.groupdict(b"")
            if dialect == "illumina-1.8" and _ELEMENT_INSTRUMENT.fullmatch(fields["instrument"]):
                dialect = "element"  # noqa: PLW2901 - the same seven fields, another maker
            return Origin(
                dialect=dialect,
                prefix=fields.pop("prefix", b""),
                **{field: value.decode("ascii") for field, value in fields.items()},
            )
    return _UNKNOWN_ORIGIN


@dataclass(frozen=True, slots=True)
class HeadLines:
    """First lines of records, `@` included: where they start in a text, and how long they are.

    `may_have_controls` is False when the text is known to hold no control character but line feeds.
    """

    text: Bytes
    starts: Offsets
    lengths: Offsets
    may_have_controls: bool = True

    def split(self) -> "tuple[HeadLines, ...]":
        """Return the lines in groups of alike length, so that a matrix of each group is small."""
        reads = len(self.starts)
        if reads == 1 or reads * int(np.max(self.lengths)) <= _MATRIX_BYTES:
            return (self,)
        parts = (slice(0, reads // 2), slice(reads // 2, reads))
        return tuple(
            group
            for part in parts
            for group in HeadLines(
                self.text, self.starts[part], self.lengths[part], self.may_have_controls
            ).split()
        )

    def rows(self) -> Bytes:
        """Return the lines as rows of whole words; what follows a line stands behind it."""
        return gather_rows(self.text, self.starts, _whole_words(self.lengths))

    def at(self, columns: Offsets) -> Bytes:
        """Return one character of each line."""
        return self.text.take(self.starts + columns, mode="clip")

    def first(self, index: int, length: int) -> bytes:
        """Return the first characters of one line."""
        start = self.starts[index]
        return self.text[start : start + length].tobytes()


class NameCensus:
    """Takes all read names of a file, in order; the answer does not depend on the batches.

    The names digest is the `TextDigest` of the names, with `@`, without comment and mate suffix,
    each filled up with one to eight NULs to a multiple of eight bytes.
    """

    def __init__(self) -> None:
        self.origins: dict[Origin, None] = {}
        self.has_many_origins = False
        self._digest = TextDigest()
        self._reads = 0
        self._examined = 0
        self._pairs_match = True
        self._waiting_for_mate = b""
        self._mates_in_names: set[int] = set()
        self._mates_in_comments: set[int] = set()

    def take(self, heads: HeadLines) -> bool:
        """Count head lines; False when one has characters that are not printable ASCII."""
        return all(map(self._take_alike, heads.split()))

    @property
    def read_numbers(self) -> set[str]:
        """Which mates the reads are, as their names tell, or their comments in such dialects."""
        mates = self._mates_in_names
        if any(each.dialect in _MATE_IN_COMMENT for each in self.origins):
            mates = mates | self._mates_in_comments
        return set(map(chr, mates))

    @property
    def is_interleaved(self) -> bool:
        """Whether reads come in pairs of one name: mates of one fragment behind each other."""
        return self._pairs_match and self._reads > 0 and self._reads % 2 == 0

    def digest(self) -> str:
        """Return the hex names digest."""
        return self._digest.hexdigest()

    def values(self, field: str) -> tuple[str, ...]:
        """Return the different values of a field of `Origin`, sorted, without the empty one."""
        return tuple(sorted({getattr(origin, field) for origin in self.origins} - {""}))

    def _take_alike(self, heads: HeadLines) -> bool:
        rows = heads.rows()
        if not _are_printable(rows, heads):
            return False
        lengths = _name_lengths(rows, heads)
        bare_lengths = self._without_mates(heads, lengths)
        width = _whole_words(bare_lengths)
        names = (
            gather_rows(heads.text, heads.starts, width) & masks_below(bare_lengths, width)
        ).view(np.uint64)
        self._count_origins(names, heads, lengths)
        are_mates = heads.at(lengths + 2) == _COLON
        self._mates_in_comments |= _mates(heads.at(lengths + 1), are_mates=are_mates)
        self._add_to_digest(names, bare_lengths)
        if self._pairs_match:
            self._match_pairs(names)
        self._reads += len(names)
        return True

    def _count_origins(self, names: Words, heads: HeadLines, lengths: Offsets) -> None:
        if self.has_many_origins or self._examined == _MAX_EXAMINED:
            return
        prefixes = tuple(each.prefix for each in self.origins if each.prefix)
        is_known = np.zeros(len(names), dtype=np.bool_)
        for prefix in prefixes:
            is_known |= _start_with(names, prefix)
        if is_known.all():
            return
        is_new = ~is_known
        for index in np.flatnonzero(is_new).tolist():
            name = heads.first(index, int(lengths[index]))
            if prefixes and name.startswith(prefixes):
                continue
            if self._examined == _MAX_EXAMINED:
                return
            self._examined += 1
            origin = parse_read_name(name)
            if origin not in self.origins:
                self.origins[origin] = None
                prefixes = tuple(each.prefix for each in self.origins if each.prefix)
                if len(self.origins) == _MAX_ORIGINS:
                    self.has_many_origins = True
                    return

    def _without_mates(self, heads: HeadLines, lengths: Offsets) -> Offsets:
        """Return the lengths of names without `/1` and `/2`."""
        are_mates = heads.at(lengths - 2) == _SLASH
        if not are_mates.any():
            return lengths
        digits = heads.at(lengths - 1)
        self._mates_in_names |= _mates(digits, are_mates=are_mates)
        bare: Offsets = lengths - 2 * (are_mates & ((digits == ord("1")) | (digits == ord("2"))))
        return bare

    def _add_to_digest(self, names: Words, lengths: Offsets) -> None:
        width = names.shape[1]
        if int(np.min(lengths)) // WORD_BYTES + 1 < width:
            names = names[columns_below(lengths // WORD_BYTES + 1, width)]
        self._digest.update(memoryview(names).cast("B"))

    def _match_pairs(self, names: Words) -> None:
        if self._waiting_for_mate:
            if self._waiting_for_mate != _name(names[0]):
                self._pairs_match = False
            names = names[1:]
        is_odd = len(names) % 2
        self._waiting_for_mate = _name(names[-1]) if is_odd else b""
        seconds = names[1::2]
        self._pairs_match &= np.array_equal(names[0 : 2 * len(seconds) : 2], seconds)


def _mates(digits: Bytes, *, are_mates: Flags) -> set[int]:
    """Return the different digits that number mates."""
    if not are_mates.all():
        digits = digits[are_mates]
    # Nearly always they are all the same.
    kinds = digits[:1] if (digits == digits[:1]).all() else digits
    return set(_MATES.intersection(kinds.tolist()))


def _whole_words(lengths: Offsets) -> int:
    """Return the multiple of eight that is more than all lengths."""
    return (int(np.max(lengths)) // WORD_BYTES + 1) * WORD_BYTES


def _name(words: Words) -> bytes:
    return words.tobytes().rstrip(b"\0")


def _are_printable(rows: Bytes, heads: HeadLines) -> bool:
    """Tell whether lines hold nothing but printable characters and tabs."""
    if not heads.may_have_controls and int(np.max(rows)) < _DELETE:
        return True
    is_bad = ((rows < _SPACE) & (rows != _TAB)) | (rows >= _DELETE)
    return not (is_bad & columns_below(heads.lengths, rows.shape[1])).any()


def _name_lengths(rows: Bytes, heads: HeadLines) -> Offsets:
    """Return how long each line is up to its first blank."""
    is_blank = rows == _SPACE
    if heads.may_have_controls:
        is_blank |= rows == _TAB
    elif (
        lengths := _lengths_if_comments_alike(int(np.count_nonzero(is_blank)), heads)
    ) is not None:
        return lengths
    first = is_blank.argmax(axis=1)
    return np.where((first > 0) & (first < heads.lengths), first, heads.lengths)


def _lengths_if_comments_alike(blanks: int, heads: HeadLines) -> Offsets | None:
    """Return the lengths of names if each line has one blank, as far from its end as the first."""
    if blanks == 0:
        return heads.lengths
    comment = heads.first(0, int(heads.lengths[0])).partition(b" ")[2]
    lengths = heads.lengths - (len(comment) + 1)
    is_alike = (
        blanks == len(lengths)
        and int(np.min(lengths)) > 0
        and bool((heads.at(lengths) == _SPACE).all())
    )
    return lengths if is_alike else None


def _start_with(names: Words, prefix: bytes) -> Flags:
    """Tell which names start with a prefix, comparing whole words."""
    wanted, mask = _prefix_words(prefix)
    if len(wanted) > names.shape[1]:
        return np.zeros(len(names), dtype=np.bool_)
    last = len(wanted) - 1
    matches: Flags = names[:, last] & mask == wanted[last]
    for column in range(last):
        matches &= names[:, column] == wanted[column]
    return matches


@functools.lru_cache(maxsize=_MAX_ORIGINS)
def _prefix_words(prefix: bytes) -> tuple[Words, np.uint64]:
    """Return a prefix as words, and which bits of the last one count."""
    size = -len(prefix) % WORD_BYTES + len(prefix)
    ones = (b"\xff" * len(prefix)).ljust(size, b"\0")
    wanted = np.frombuffer(prefix.ljust(size, b"\0"), dtype=np.uint64)
    return wanted, np.frombuffer(ones, dtype=np.uint64)[-1]
