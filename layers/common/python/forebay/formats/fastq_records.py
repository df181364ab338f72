"""The records of a FASTQ text: their rules, their statistics, and which line breaks a rule."""

from typing import Any, Final, NamedTuple

import numpy as np

from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.sequencing import ReadsFile
from forebay.formats.fastq_batches import (
    QUALITY,
    SEQUENCE,
    Batch,
    any_batch,
    even_batch,
    find_ends,
)
from forebay.formats.read_names import UNKNOWN, NameCensus
from forebay.formats.text_rows import Bytes, TextDigest

__all__ = ["FastqRecords"]

MAX_CYCLES: Final = 512
"""More than any short-read sequencer runs; of longer reads, only these are told one by one."""
_BATCH_BYTES: Final = 2 << 20
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
_A: Final = 65
_T: Final = 84
_BOM: Final = b"\xef\xbb\xbf"


class FastqRecords:
    """Takes FASTQ text in pieces of any size; the answer does not depend on the pieces.

    The first broken rule ends the reading and stands in `finding`.
    """

    def __init__(self) -> None:
        self.finding: Finding | None = None
        self._names = NameCensus()
        self._content = TextDigest()
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

    def feed(self, pieces: list[bytes]) -> None:
        """Take the next pieces of text."""
        if self.finding is not None:
            return
        self._pending += pieces
        self._pending_bytes += sum(map(len, pieces))
        if self._pending_bytes >= self._due_bytes:
            self._consume()

    def finish(self) -> None:
        """Say that the text ends here."""
        if self.finding is not None:
            return
        text = b"".join(self._pending)
        if text and not text.endswith(b"\n"):
            self._ends_in_newline = False
            if text.count(b"\n") % 4 == 3:
                text += b"\n"
        self._pending = [text]
        if text:
            self._consume()
        rest = self._pending[0]
        if rest and self.finding is None:
            self.finding = self._unfinished(rest)

    def conclude(self, *, compression: str) -> tuple[ReadsFile, tuple[Finding, ...]]:
        """Return the record and its warnings; only after `finish`, and without a `finding`."""
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

    def _consume(self) -> None:
        text = b"".join(self._pending)
        if batch := even_batch(text):
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
        ends, are_all_controls = find_ends(text)
        whole = len(ends) // 4 * 4
        if not whole:
            return 0
        cut = int(ends[whole - 1]) + 1
        text = text[:cut]
        if not are_all_controls and b"\r" in text:
            self._crlf_lines += text.count(b"\r\n")
            text = text.replace(b"\r\n", b"\n")
            ends, are_all_controls = find_ends(text)
        if batch := any_batch(text, ends[:whole], may_have_controls=not are_all_controls):
            self._take(batch)
        else:
            self.finding = self._locate(text)
        return cut

    def _look_for_long_line(self, rest: bytes) -> None:
        lengths = map(len, rest.split(b"\n"))
        too_long = (i for i, length in enumerate(lengths) if length > _MAX_LINE_BYTES)
        if (index := next(too_long, None)) is not None:
            self.finding = self._broken(self._line + index, _LINE_TOO_LONG)

    def _take(self, batch: Batch) -> None:
        text = memoryview(batch.text)[: batch.size_bytes]
        is_bounded = batch.longest_line <= _MAX_LINE_BYTES
        if is_bounded and self._names.take(batch.heads) and self._count(batch):
            self._content.update(text)
            self._line += 4 * batch.reads
        else:
            self.finding = self._locate(text.tobytes())

    def _count(self, batch: Batch) -> bool:
        """Add a batch to the statistics; False when a letter or a quality is not allowed."""
        if not self._tally.add_bases(batch):
            sequences = batch.lines(SEQUENCE)
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
        self._cycles = _Cycles()

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

    def quality_extra(self) -> dict[str, Any]:
        """Return the range of quality characters, means by cycle, and fractions at offset 64."""
        if not self.bases:
            return {}
        offset = _QUALITY_MIN if self.quality_encoding == "phred33" else _PHRED64_MIN
        extra: dict[str, Any] = {
            "quality_char_min": self._quality_min,
            "quality_char_max": self._quality_max,
            "quality_by_cycle": self._cycles.means(offset),
        }
        if self.quality_encoding != "phred33":
            extra["q20_fraction_offset64"] = self.fraction(self._q20_phred64)
            extra["q30_fraction_offset64"] = self.fraction(self._q30_phred64)
        return extra

    def add_bases(self, batch: Batch) -> bool:
        """Count reads and bases; False when some are none of A, C, G, T and N."""
        known = 0
        for letters in batch.letters(SEQUENCE):
            is_usual = letters.size > 0 and _are_upper_bases(letters)
            counts = _count_upper_bases(letters) if is_usual else _count_letters(letters)
            known += counts.known
            self.gc += counts.gc
            self.n += counts.n
        self.min_length = min(self.min_length, batch.shortest) if self.reads else batch.shortest
        self.max_length = max(self.max_length, batch.longest)
        self.reads += batch.reads
        self.bases += batch.bases
        return known == batch.bases

    def add_qualities(self, batch: Batch) -> bool:
        """Count qualities; False when one is out of range."""
        if not batch.bases:
            return True
        low, high = 255, 0
        for scores in batch.letters(QUALITY):
            # By subtraction, a NUL between reads becomes the greatest of all.
            shift = 1 if batch.has_gaps else 0
            least = np.min(scores - np.uint8(1)) if shift else np.min(scores)
            low = min(low, int(least) + shift)
            high = max(high, int(np.max(scores)))
            if batch.are_rows and batch.longest <= MAX_CYCLES:
                self._cycles.add(scores.reshape(-1, batch.longest))
            self.q20 += int(np.count_nonzero(scores >= _QUALITY_MIN + 20))
            self.q30 += int(np.count_nonzero(scores >= _QUALITY_MIN + 30))
            if self._quality_min >= _SOLEXA_MIN:
                self._q20_phred64 += int(np.count_nonzero(scores >= _PHRED64_MIN + 20))
                self._q30_phred64 += int(np.count_nonzero(scores >= _PHRED64_MIN + 30))
        if not (batch.are_rows and batch.longest <= MAX_CYCLES):
            for rows in batch.columns(QUALITY, MAX_CYCLES):
                self._cycles.add(rows)
        self._cycles.reads += batch.reads_by_cycle(MAX_CYCLES)
        self._quality_min = min(self._quality_min, low)
        self._quality_max = max(self._quality_max, high)
        return low >= _QUALITY_MIN and high <= _QUALITY_MAX


class _Cycles:
    """Sums of quality characters by cycle, of the first `MAX_CYCLES` of each read."""

    def __init__(self) -> None:
        self.reads = np.zeros(MAX_CYCLES, dtype=np.int64)
        self._sums = np.zeros(MAX_CYCLES, dtype=np.int64)

    def add(self, rows: Bytes) -> None:
        """Add rows of characters, with NUL where a read has ended."""
        width = rows.shape[1]
        # As many rows as their sum surely fits a byte are added as bytes, which is fastest.
        stack = max(1, 255 // max(1, int(np.max(rows))))
        whole = rows.shape[0] // stack * stack
        stacked: Bytes = rows[:whole].reshape(stack, -1).sum(axis=0, dtype=np.uint8)
        self._sums[:width] += stacked.reshape(-1, width).sum(axis=0, dtype=np.uint32)
        self._sums[:width] += rows[whole:].sum(axis=0, dtype=np.uint32)

    def means(self, offset: int) -> list[float]:
        """Return the mean quality of each cycle, rounded to hundredths."""
        cycles = int(np.count_nonzero(self.reads))
        means = self._sums[:cycles] / self.reads[:cycles] - offset
        return [round(mean, 2) for mean in means.tolist()]


class _Letters(NamedTuple):
    """How many letters are bases or N, upper or lower case, and how many are C or G, or N."""

    known: int
    gc: int
    n: int


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


def _are_upper_bases(letters: Bytes) -> bool:
    """Tell whether letters are nothing but A, C, G, T and N.

    Of the characters from A to T these five alone become 4 to 36 by this product and mask, which
    were found by trial; least and greatest cost a fraction of counting.
    """
    folded = letters * np.uint8(69)
    folded &= np.uint8(101)
    return bool(
        np.min(letters) >= _A
        and np.max(letters) <= _T
        and np.min(folded) >= 4
        and np.max(folded) <= 36
    )


def _count_upper_bases(letters: Bytes) -> _Letters:
    """Count letters that are nothing but A, C, G, T and N."""
    # Of these, N alone has bit 3; C, G and N have bit 1.
    n = int(np.count_nonzero(letters & np.uint8(8)))
    return _Letters(known=letters.size, gc=int(np.count_nonzero(letters & np.uint8(2))) - n, n=n)


def _count_letters(letters: Bytes) -> _Letters:
    """Count letters that may be any."""
    # Without bit 5 lower-case letters are upper-case, and nothing else becomes a letter.
    upper = letters & np.uint8(0xDF)
    a, c, g, t, n = (int(np.count_nonzero(upper == letter)) for letter in b"ACGTN")
    return _Letters(known=a + c + g + t + n, gc=c + g, n=n)


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
