"""The records of a FASTQ text: their rules, their statistics, and which line breaks a rule."""

import hashlib
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.sequencing import ReadsFile
from forebay.formats.digests import WorkerThread
from forebay.formats.read_names import (
    UNKNOWN,
    HeadLines,
    NameCensus,
    columns_below,
    gather_rows,
)

__all__ = ["FastqRecords"]

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.intp]
Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]

_BATCH_BYTES: Final = 1 << 20
_SEGMENT_BYTES: Final = 1 << 20
# The longest nanopore reads known are a little over 4 million bases.
_MAX_LINE_BYTES: Final = 8 << 20

# IUPAC nucleotide codes with U, gap and unknown, plus the digits of SOLiD colour space.
_ALPHABET: Final = b"ACGTNURYSWKMBDHVacgtnuryswkmbdhv.-*0123"
_QUALITY_MIN: Final = 33
_QUALITY_MAX: Final = 126
_SOLEXA_MIN: Final = 59
_PHRED64_MIN: Final = 64
# Illumina qualities end at Q41, J at offset 33 and i at offset 64. Nothing below 59 and something
# above J speaks for offset 64, unless it goes above i, as only long-read qualities at 33 do.
_PHRED33_USUAL_MAX: Final = 74
_PHRED64_USUAL_MAX: Final = 106
_QUALITIES: Final = bytes(range(_QUALITY_MIN, _QUALITY_MAX + 1))
# Reads are filled up to the length of the longest unless that takes more than this many times
# their bases.
_MAX_FILL: Final = 3
_HEAD, _SEQUENCE, _PLUS, _QUALITY = range(4)
_LINE_FEED: Final = 10
_SPACE: Final = 32
_PLUS_SIGN: Final = 43
_AT: Final = 64
_THREE_CHARACTERS: Final = np.uint32(0xFFFFFF)
_PLUS_LINE: Final = int.from_bytes(b"\n+\n", "little")
_BORDER: Final = int.from_bytes(b"\n@", "little")
_BOM: Final = b"\xef\xbb\xbf"


class _Batch:
    """Whole records of a text that have the right marks and as many qualities as bases."""

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
        self.reads = len(lengths)
        self.bases = int(np.sum(lengths))
        self.shortest, self.longest = int(np.min(lengths)), int(np.max(lengths))
        self.size_bytes = int(quality_starts[-1]) + int(lengths[-1]) + 1
        self._starts = {_SEQUENCE: sequence_starts, _QUALITY: quality_starts}
        self._lengths = lengths

    def sequences(self) -> Bytes:
        """Return the bases of all reads; NULs may stand between reads."""
        return self._letters(_SEQUENCE)

    def qualities(self) -> Bytes:
        """Return the qualities of all reads; NULs may stand between reads of unequal length."""
        return self._letters(_QUALITY)

    def lines(self, kind: int) -> list[bytes]:
        """Return the lines of one kind."""
        return self._lines[kind:-1:4]

    @cached_property
    def has_gaps(self) -> bool:
        """Whether NULs stand between the reads."""
        return self._are_rows and self.shortest < self.longest

    @cached_property
    def _are_rows(self) -> bool:
        # Copying each line costs the same for all lengths up to a few hundred characters, so reads
        # of alike length are best filled up to one. What is no text must not be mistaken for that.
        worth_it = 0 < self.reads * self.longest <= _MAX_FILL * self.bases
        return worth_it and not self.heads.may_have_controls

    @cached_property
    def _inside(self) -> Flags:
        return columns_below(self._lengths, self.longest)

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.text[: self.size_bytes].split(b"\n")

    def _letters(self, kind: int) -> Bytes:
        if not self._are_rows:
            return np.frombuffer(b"".join(self.lines(kind)), dtype=np.uint8)
        rows = gather_rows(self.heads.text, self._starts[kind], self.longest)
        return (rows * self._inside if self.has_gaps else rows).reshape(-1)


def _even_batch(text: bytes) -> _Batch | None:
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
    reads = int(np.searchsorted(sequence_ends, len(text) - (length + 3)))
    if not reads:
        return None
    sequence_ends = sequence_ends[:reads]
    quality_ends = sequence_ends + (length + 3)
    head_starts = np.zeros_like(quality_ends)
    head_starts[1:] = quality_ends[:-1] + 1
    head_ends = sequence_ends - (length + 1)
    heads = HeadLines(characters, head_starts, head_ends - head_starts, may_have_controls=False)
    rest = characters[int(quality_ends[-1]) + 1 :]
    rest_controls = int(np.count_nonzero(rest < _SPACE))
    is_usual = (
        rest_controls < 4
        and int(np.sum(np.bitwise_count(bits))) == 4 * reads + rest_controls
        and int(np.min(heads.lengths)) > 1
        and int(np.max(heads.lengths)) <= _MAX_LINE_BYTES
        and bool(np.all(characters[head_ends] == _LINE_FEED))
        and _are_marked(characters, sequence_ends, quality_ends)
    )
    return (
        _Batch(
            text,
            heads,
            sequence_starts=head_ends + 1,
            quality_starts=sequence_ends + 3,
            lengths=np.full(reads, length),
        )
        if is_usual
        else None
    )


def _control_bits(characters: Bytes) -> Words:
    """Return one bit per character, the lowest for the first, and zeros up to a whole word."""
    size = len(characters)
    flags = np.empty((size // 64 + 1) * 64, dtype=np.bool_)
    np.less(characters, _SPACE, out=flags[:size])
    flags[size:] = False
    return np.packbits(flags, bitorder="little").view("<u8")


def _places_of_pairs(bits: Words) -> Offsets | None:
    """Return where a bit is set together with the last but one before it: as around `+`.

    None when some are close to each other.
    """
    pairs = bits >> np.uint64(2)
    pairs[:-1] |= bits[1:] << np.uint64(62)
    pairs &= bits
    at = np.flatnonzero(pairs)
    pairs = pairs[at]
    below = pairs - np.uint64(1)
    return None if np.any(pairs & below) else at * 64 + np.bitwise_count(below)


def _are_marked(characters: Bytes, sequence_ends: Offsets, quality_ends: Offsets) -> bool:
    """Tell whether sequences end before a line `+`, and records start with `@`."""
    middles = gather_rows(characters, sequence_ends, 4).view("<u4")[:, 0]
    borders = gather_rows(characters, quality_ends, 2).view("<u2")[:, 0]
    return (
        int(characters[0]) == _AT
        and bool(np.all(middles & _THREE_CHARACTERS == _PLUS_LINE))
        and bool(np.all(borders[:-1] == _BORDER))
        and int(characters[quality_ends[-1]]) == _LINE_FEED
    )


def _any_batch(text: bytes, ends: Offsets, *, may_have_controls: bool) -> _Batch | None:
    """Return the whole records of a text, given where lines end, or None when a mark is missing."""
    characters = np.frombuffer(text, dtype=np.uint8)
    head_ends, sequence_ends, plus_ends, quality_ends = ends.reshape(-1, 4).T
    head_starts = np.zeros_like(head_ends)
    head_starts[1:] = quality_ends[:-1] + 1
    head_lengths = head_ends - head_starts
    lengths = sequence_ends - head_ends - 1
    batch = _Batch(
        text,
        HeadLines(characters, head_starts, head_lengths, may_have_controls),
        sequence_starts=head_ends + 1,
        quality_starts=plus_ends + 1,
        lengths=lengths,
    )
    is_formed = (
        np.array_equal(quality_ends - plus_ends - 1, lengths)
        and bool(np.all(characters[head_starts] == _AT))
        and bool(np.all(characters[sequence_ends + 1] == _PLUS_SIGN))
        and int(np.min(head_lengths)) > 1
        and (int(np.max(plus_ends - sequence_ends)) == 2 or _plus_lines_agree(batch))
        and max(batch.longest, int(np.max(head_lengths))) <= _MAX_LINE_BYTES
    )
    return batch if is_formed else None


class _ContentDigest:
    """The SHA-256 of the CRC-32 of every MiB of a text, big-endian, and of its length.

    Anyone can compute it with zlib, and chance does not change a text without changing it. Four
    times as fast as the whole inspection is what a cryptographic digest of the text would have to
    be; where bytes must be vouched for against intent, the digests of the stored file do that.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._size_bytes = 0
        self._crc = 0

    def update(self, text: memoryview) -> None:
        """Take the next part of the text."""
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
        self._sha256.update(self._size_bytes.to_bytes(8))
        return self._sha256.hexdigest()

    def _end_segment(self) -> None:
        self._sha256.update(self._crc.to_bytes(4))
        self._crc = 0


class FastqRecords:
    """Takes FASTQ text in pieces of any size; the answer does not depend on the pieces.

    The first broken rule ends the reading and stands in `finding`.
    """

    def __init__(self, worker: WorkerThread) -> None:
        self.finding: Finding | None = None
        self._worker = worker
        self._arriving: list[bytes] = []
        self._arriving_bytes = 0
        self._names = NameCensus()
        self._content = _ContentDigest()
        self._tally = _Tally()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._due_bytes = _BATCH_BYTES
        self._line = 1
        self._crlf_lines = 0
        self._ends_in_newline = True
        self._odd_letters_line = 0

    @property
    def gave_up(self) -> bool:
        """Whether the text exceeds a bound, so that whoever produces it can stop."""
        return self.finding is not None and self.finding.code is ReasonCode.LIMIT_EXCEEDED

    def feed(self, text: bytes) -> None:
        """Take the next piece of text."""
        if self.finding is not None:
            return
        self._arriving.append(text)
        self._arriving_bytes += len(text)
        if self._arriving_bytes >= _BATCH_BYTES:
            self._hand_over()

    def finish(self) -> None:
        """Say that the text ends here; what it established is known when the worker is done."""
        self._hand_over()
        self._worker.submit(self._end, None, size_bytes=0)

    def conclude(self, *, compression: str) -> tuple[ReadsFile, tuple[Finding, ...]]:
        """Return the record and its warnings.

        Only after `finish`, without a `finding`, and when the worker is done.
        """
        names, tally = self._names, self._tally
        lines = 4 * tally.reads
        record = ReadsFile(
            reads=tally.reads,
            bases=tally.bases,
            min_length=tally.min_length,
            mean_length=tally.bases / tally.reads if tally.reads else 0.0,
            max_length=tally.max_length,
            q20_fraction=tally.fraction(tally.q20),
            q30_fraction=tally.fraction(tally.q30),
            gc_fraction=tally.fraction(tally.gc),
            n_fraction=tally.fraction(tally.n),
            quality_encoding=tally.quality_encoding,
            layout="interleaved" if names.is_interleaved else "single",
            compression=compression,
            instruments=names.values("instrument"),
            runs=names.values("run"),
            flow_cells=names.values("flow_cell"),
            lanes=names.values("lane"),
            read_numbers=tuple(sorted(names.read_numbers)),
            names_digest=names.digest(),
            content_digest=self._content.hexdigest(),
            extra={
                "line_ends": _line_ends(self._crlf_lines, lines - (not self._ends_in_newline)),
                "name_dialects": list(names.values("dialect")),
                **tally.quality_extra(),
            },
        )
        return record, tuple(self._warnings(record))

    def _hand_over(self) -> None:
        pieces, size_bytes = self._arriving, self._arriving_bytes
        self._arriving, self._arriving_bytes = [], 0
        self._worker.submit(self._add, pieces, size_bytes=size_bytes)

    def _add(self, pieces: list[bytes]) -> None:
        if self.finding is not None:
            return
        self._pending += pieces
        self._pending_bytes += sum(map(len, pieces))
        if self._pending_bytes >= self._due_bytes:
            self._consume()

    def _end(self, _: None) -> None:
        if self.finding is not None:
            return
        text = b"".join(self._pending)
        if text and not text.endswith(b"\n"):
            self._ends_in_newline = False
            if text.count(b"\n") % 4 == 3:
                text += b"\n"
        self._pending = [text]
        self._consume()
        rest = self._pending[0]
        if rest and self.finding is None:
            self.finding = self._unfinished(rest)

    def _consume(self) -> None:
        text = b"".join(self._pending)
        if batch := _even_batch(text):
            self._take(batch)
            cut = batch.size_bytes
        else:
            cut = self._take_lines(text)
        rest = text[cut:]
        self._pending = [rest]
        self._pending_bytes = len(rest)
        # A record much longer than a batch is not searched again for every little that arrives.
        self._due_bytes = len(rest) + max(_BATCH_BYTES, len(rest) // 2)
        if self.finding is None and len(rest) > _MAX_LINE_BYTES:
            self._look_for_long_line(rest)

    def _take_lines(self, text: bytes) -> int:
        """Take the whole records of a text, however they look; return where they end."""
        ends, are_all_controls = _find_ends(text)
        whole = len(ends) // 4 * 4
        if not whole:
            return 0
        cut = int(ends[whole - 1]) + 1
        text = text[:cut]
        if not are_all_controls and b"\r" in text:
            self._crlf_lines += text.count(b"\r\n")
            text = text.replace(b"\r\n", b"\n")
            ends, are_all_controls = _find_ends(text)
        if batch := _any_batch(text, ends[:whole], may_have_controls=not are_all_controls):
            self._take(batch)
        else:
            self.finding = self._locate(text)
        return cut

    def _look_for_long_line(self, rest: bytes) -> None:
        lengths = map(len, rest.split(b"\n"))
        too_long = (i for i, length in enumerate(lengths) if length > _MAX_LINE_BYTES)
        if (index := next(too_long, None)) is not None:
            self.finding = self._broken(self._line + index, _LINE_TOO_LONG)

    def _take(self, batch: _Batch) -> None:
        text = memoryview(batch.text)[: batch.size_bytes]
        if self._names.take(batch.heads) and self._count(batch):
            self._content.update(text)
            self._line += 4 * batch.reads
        else:
            self.finding = self._locate(text.tobytes())

    def _count(self, batch: _Batch) -> bool:
        """Add a batch to the statistics; False when a letter or a quality is not allowed."""
        if not self._tally.add_bases(batch):
            sequences = batch.lines(_SEQUENCE)
            odd = _odd_letters(b"".join(sequences))
            if odd and not odd.isalnum():
                return False
            if odd and not self._odd_letters_line:
                first = next(i for i, sequence in enumerate(sequences) if _odd_letters(sequence))
                self._odd_letters_line = self._line + 4 * first + 1
        return self._tally.add_qualities(batch)

    def _locate(self, text: bytes) -> Finding:
        """Return the finding on the first record of whole records that breaks a rule."""
        lines = text.split(b"\n")
        for index in range(0, len(lines) - 1, 4):
            head, sequence, plus, quality = lines[index : index + 4]
            broken = _broken_rule(head, sequence, plus, quality)
            if broken is not None:
                offset, rule = broken
                at_end = not self._ends_in_newline and index + 5 == len(lines)
                if at_end and rule is _LENGTHS_DIFFER and len(quality) < len(sequence):
                    rule = _CUT_OFF
                found = rule.found or _shape(rule, lines[index + offset], sequence, quality)
                return self._broken(self._line + index + offset, rule, found=found)
        raise AssertionError("a batch was refused, but none of its records")

    def _unfinished(self, rest: bytes) -> Finding:
        """Return the finding on a text whose last record has fewer than four lines."""
        lines = [line.removesuffix(b"\r") for line in rest.removesuffix(b"\n").split(b"\n")]
        if b"\r" in lines[0]:
            return self._broken(self._line, _CR_ONLY)
        if rest != b"@" and (rule := _broken_head(lines[0])):
            return self._broken(self._line, rule)
        if len(lines) > 2 and not lines[2].startswith(b"+"):
            return self._broken(self._line + 2, _PLUS_MISSING)
        return self._broken(
            self._line + len(lines) - 1, _CUT_OFF, found=f"{len(lines)} of 4 lines of a record"
        )

    def _broken(self, line: int, rule: "_Rule", *, found: str = "") -> Finding:
        return Finding(
            code=rule.code,
            message=f"Line {line}: {rule.message}",
            owner=Owner.SENDER,
            position=f"line {line}",
            expected=rule.expected,
            found=found or rule.found,
        )

    def _warnings(self, record: ReadsFile) -> list[Finding]:
        return [
            *self._content_warnings(record),
            *_quality_warnings(record),
            *self._name_warnings(record),
        ]

    def _content_warnings(self, record: ReadsFile) -> list[Finding]:
        warnings = []
        if record.reads == 0:
            warnings.append(_NO_READS)
        elif record.min_length == 0:
            warnings.append(_EMPTY_READS)
        if self._odd_letters_line:
            warnings.append(self._broken(self._odd_letters_line, _ODD_LETTERS))
        if record.extra["line_ends"] == "mixed":
            warnings.append(_MIXED_LINE_ENDS)
        return warnings

    def _name_warnings(self, record: ReadsFile) -> list[Finding]:
        dialects = record.extra["name_dialects"]
        if self._names.has_many_origins:
            return [_many_names("more than a few")]
        if len(dialects) > 1:
            return [_many_names(f"{len(dialects)} naming schemes")]
        if len(record.instruments) > 1 or len(record.flow_cells) > 1:
            found = f"{len(record.instruments)} instruments, {len(record.flow_cells)} flow cells"
            return [_many_names(found)]
        if len(record.read_numbers) > 1 and record.layout != "interleaved":
            return [_many_names("reads of both mates, not interleaved")]
        return [_UNKNOWN_NAMES] if dialects == [UNKNOWN] else []


class _Tally:
    """Counts over all reads so far."""

    def __init__(self) -> None:
        self.reads = self.bases = 0
        self.min_length = self.max_length = 0
        self.gc = self.n = 0
        self.q20 = self.q30 = 0
        self._q20_phred64 = self._q30_phred64 = 0
        self._quality_min, self._quality_max = 255, 0

    def fraction(self, count: int) -> float:
        """Return a count as a fraction of all bases."""
        return count / self.bases if self.bases else 0.0

    @property
    def quality_encoding(self) -> str:
        """What the range of quality characters speaks for; `unknown` without bases."""
        low, high = self._quality_min, self._quality_max
        if not self.bases:
            return "unknown"
        if low < _SOLEXA_MIN or not _PHRED33_USUAL_MAX < high <= _PHRED64_USUAL_MAX:
            return "phred33"
        return "solexa64" if low < _PHRED64_MIN else "phred64"

    def quality_extra(self) -> dict[str, float | int]:
        """Return the range of quality characters, and what they mean if their offset is 64."""
        if not self.bases:
            return {}
        extra: dict[str, float | int] = {
            "quality_char_min": self._quality_min,
            "quality_char_max": self._quality_max,
        }
        if self.quality_encoding != "phred33":
            extra["q20_fraction_offset64"] = self.fraction(self._q20_phred64)
            extra["q30_fraction_offset64"] = self.fraction(self._q30_phred64)
        return extra

    def add_bases(self, batch: _Batch) -> bool:
        """Count reads and bases; False when some are none of A, C, G, T and N."""
        sequences = batch.sequences()
        counts = _count_letters(sequences)
        if sum(counts) < batch.bases:
            # Without bit 5 a lower-case letter is its upper case, and nothing else becomes a letter.
            counts = _count_letters(sequences & np.uint8(0xDF))
        self.min_length = min(self.min_length, batch.shortest) if self.reads else batch.shortest
        self.max_length = max(self.max_length, batch.longest)
        self.reads += batch.reads
        self.bases += batch.bases
        self.gc += counts.gc
        self.n += counts.n
        return sum(counts) == batch.bases

    def add_qualities(self, batch: _Batch) -> bool:
        """Count qualities; False when one is out of range."""
        if not batch.bases:
            return True
        scores = batch.qualities()
        # What is filled up with NUL becomes the greatest.
        low = int(np.min(scores - np.uint8(1))) + 1 if batch.has_gaps else int(np.min(scores))
        high = int(np.max(scores))
        self._quality_min = min(self._quality_min, low)
        self._quality_max = max(self._quality_max, high)
        self.q20 += int(np.count_nonzero(scores >= _QUALITY_MIN + 20))
        self.q30 += int(np.count_nonzero(scores >= _QUALITY_MIN + 30))
        if self._quality_min >= _SOLEXA_MIN:
            self._q20_phred64 += int(np.count_nonzero(scores >= _PHRED64_MIN + 20))
            self._q30_phred64 += int(np.count_nonzero(scores >= _PHRED64_MIN + 30))
        return low >= _QUALITY_MIN and high <= _QUALITY_MAX


class _Rule(NamedTuple):
    """A rule of the format, as it is told when it is broken."""

    code: ReasonCode
    message: str
    expected: str = ""
    found: str = ""


_BLANK_LINE: Final = _Rule(
    ReasonCode.FASTQ_MALFORMED,
    "there is a blank line where a record should start; remove it, or write the file again.",
    expected="a line that starts with @, or the end of the file",
    found="a blank line",
)
_FASTA: Final = _Rule(
    ReasonCode.FASTQ_MALFORMED,
    "this is a FASTA record, which has no qualities; upload the FASTQ file.",
    expected="a line that starts with @",
    found="a line that starts with >",
)
_BYTE_ORDER_MARK: Final = _Rule(
    ReasonCode.FASTQ_MALFORMED,
    "the text starts with a byte-order mark, as editors add it; write the file without.",
    expected="a line that starts with @",
    found="a UTF-8 byte-order mark",
)
_HEAD_MISSING: Final = _Rule(
    ReasonCode.FASTQ_MALFORMED,
    "a record should start here with @ and the read's name. Records must have exactly four lines;"
    " an earlier one may have more or fewer, or be wrapped.",
    expected="a line that starts with @",
)
_NAME_MISSING: Final = _Rule(
    ReasonCode.FASTQ_MALFORMED, "the read has no name.", expected="@ and the read's name"
)
_NAME_UNPRINTABLE: Final = _Rule(
    ReasonCode.FASTQ_MALFORMED,
    "the read's name has characters that are not printable ASCII: the file is damaged.",
    expected="printable ASCII",
)
_PLUS_MISSING: Final = _Rule(
    ReasonCode.FASTQ_MALFORMED,
    "the third line of the record does not start with +. Sequences wrapped over several lines are"
    " not accepted; write each record in four lines.",
    expected="a line that starts with +",
)
_PLUS_DIFFERS: Final = _Rule(
    ReasonCode.FASTQ_MALFORMED,
    "the name after + is not that of the record: parts of two records were joined.",
    expected="+ alone, or + and the same name",
    found="another name",
)
_LENGTHS_DIFFER: Final = _Rule(
    ReasonCode.FASTQ_LENGTH_MISMATCH,
    "the record has not as many qualities as bases: the file is damaged.",
    expected="one quality per base",
)
_CUT_OFF: Final = _Rule(
    ReasonCode.FASTQ_TRUNCATED,
    "the file ends in the middle of a record: it was cut off while it was written or uploaded."
    " Upload the complete file again.",
    expected="the rest of the record",
)
_NOT_BASES: Final = _Rule(
    ReasonCode.FASTQ_ALPHABET,
    "the sequence has characters that no nucleotide sequence can have: the file is damaged.",
    expected="IUPAC nucleotide codes",
)
_ODD_LETTERS: Final = _Rule(
    ReasonCode.FASTQ_ALPHABET,
    "the sequence has letters that are not nucleotide codes; is this a file of another kind?",
    expected="IUPAC nucleotide codes",
    found="other letters",
)
_NOT_QUALITIES: Final = _Rule(
    ReasonCode.FASTQ_QUALITY_RANGE,
    "the qualities have characters outside ! to ~: the file is damaged.",
    expected="characters ! (33) to ~ (126)",
)
_CR_ONLY: Final = _Rule(
    ReasonCode.FASTQ_MALFORMED,
    "lines end in a carriage return alone; convert the file to Unix line ends.",
    expected="line feed, or carriage return and line feed",
    found="carriage return",
)
_LINE_TOO_LONG: Final = _Rule(
    ReasonCode.LIMIT_EXCEEDED,
    f"the record has a line of more than {_MAX_LINE_BYTES >> 20} MiB, longer than any read.",
    expected=f"lines of at most {_MAX_LINE_BYTES} bytes",
)

_NO_READS: Final = Finding(
    code=ReasonCode.FASTQ_EMPTY,
    message="The file holds no reads.",
    owner=Owner.DATA_STEWARD,
    expected="at least one read",
    found="0 reads",
)
_EMPTY_READS: Final = Finding(
    code=ReasonCode.FASTQ_EMPTY,
    message="Some reads have no bases; trimming tools leave such reads when not told to drop them.",
    owner=Owner.DATA_STEWARD,
    expected="at least one base per read",
    found="reads of length 0",
)
_MIXED_LINE_ENDS: Final = Finding(
    code=ReasonCode.FASTQ_MALFORMED,
    message="Some lines end in a line feed, others in carriage return and line feed: was the file"
    " put together from parts?",
    owner=Owner.SENDER,
    expected="one kind of line end",
    found="both kinds",
)
_UNKNOWN_NAMES: Final = Finding(
    code=ReasonCode.FASTQ_NAME_DIALECT_UNKNOWN,
    message="The read names follow no scheme Forebay knows, so instrument, run, flow cell and lane"
    " stay unknown.",
    owner=Owner.DATA_STEWARD,
    expected="names as instruments write them",
)


def _many_names(found: str) -> Finding:
    return Finding(
        code=ReasonCode.FASTQ_MIXED_NAMES,
        message="The read names come from more than one source: was the file put together from"
        " several?",
        owner=Owner.DATA_STEWARD,
        expected="reads of one instrument, flow cell and mate",
        found=found,
    )


def _quality_warnings(record: ReadsFile) -> list[Finding]:
    if record.quality_encoding not in ("phred64", "solexa64"):
        return []
    return [
        Finding(
            code=ReasonCode.FASTQ_QUALITY_RANGE,
            message="The qualities look as if encoded with offset 64, as before 2011; programs that"
            " assume offset 33 take them for far too good. Convert the file.",
            owner=Owner.DATA_STEWARD,
            expected="qualities encoded with offset 33",
            found=record.quality_encoding,
        )
    ]


def _find_ends(text: bytes) -> tuple[Offsets, bool]:
    """Return where lines end, and whether line feeds are the only control characters."""
    characters = np.frombuffer(text, dtype=np.uint8)
    controls = np.flatnonzero(characters < _SPACE)
    is_end = characters[controls] == _LINE_FEED
    are_all = bool(np.all(is_end))
    return controls if are_all else controls[is_end], are_all


def _plus_lines_agree(batch: _Batch) -> bool:
    return all(map(_is_plus, batch.lines(_PLUS), batch.lines(_HEAD)))


class _Letters(NamedTuple):
    """How many letters of each kind."""

    a: int
    t: int
    gc: int
    n: int


def _count_letters(sequences: Bytes) -> _Letters:
    a, t, n = (int(np.count_nonzero(sequences == letter)) for letter in b"ATN")
    # C and G differ in bit 2 alone.
    gc = int(np.count_nonzero(sequences | np.uint8(4) == ord("G")))
    return _Letters(a, t, gc, n)


def _is_printable(head: bytes) -> bool:
    return head.isascii() and head.replace(b"\t", b" ").decode("ascii").isprintable()


def _is_plus(plus: bytes, head: bytes) -> bool:
    return plus[:1] == b"+" and (len(plus) == 1 or plus[1:] == head[1:])


def _odd_letters(sequence: bytes) -> bytes:
    return sequence.translate(None, _ALPHABET)


def _broken_rule(
    head: bytes, sequence: bytes, plus: bytes, quality: bytes
) -> tuple[int, _Rule] | None:
    """Return the first rule a record breaks and the line of the record it is broken in."""
    odd = _odd_letters(sequence)
    checks = (
        (0, _broken_head(head)),
        (0, _LINE_TOO_LONG if len(head) > _MAX_LINE_BYTES else None),
        (2, None if plus.startswith(b"+") else _PLUS_MISSING),
        (2, None if _is_plus(plus, head) else _PLUS_DIFFERS),
        (1, _LINE_TOO_LONG if len(sequence) > _MAX_LINE_BYTES else None),
        (3, None if len(sequence) == len(quality) else _LENGTHS_DIFFER),
        (1, _NOT_BASES if odd and not odd.isalnum() else None),
        (3, _NOT_QUALITIES if quality.translate(None, _QUALITIES) else None),
    )
    return next(((offset, rule) for offset, rule in checks if rule is not None), None)


def _broken_head(head: bytes) -> _Rule | None:
    if head.startswith(b"@"):
        if len(head) == 1:
            return _NAME_MISSING
        return None if _is_printable(head) else _NAME_UNPRINTABLE
    if not head:
        return _BLANK_LINE
    if head.startswith(_BOM):
        return _BYTE_ORDER_MARK
    return _FASTA if head.startswith(b">") else _HEAD_MISSING


def _shape(rule: _Rule, line: bytes, sequence: bytes, quality: bytes) -> str:
    """Say what was found without showing it: a damaged file may hold anything anywhere."""
    if rule in (_LENGTHS_DIFFER, _CUT_OFF):
        return f"{len(sequence)} bases, {len(quality)} qualities"
    return f"other characters in a line of {len(line)}"


def _line_ends(crlf_lines: int, lines: int) -> str:
    if not crlf_lines:
        return "lf"
    return "crlf" if crlf_lines >= lines else "mixed"
