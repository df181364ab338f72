"""The records of a FASTQ text: their rules, their statistics, and which line breaks a rule."""

from itertools import accumulate
from typing import Any, Final

from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.sequencing import ReadsFile
from forebay.formats.fastq_kernel import MAX_CYCLES, RecordCounter, Stop
from forebay.formats.fastq_rules import (
    LETTER_CLASSES,
    MAX_LINE_BYTES,
    ODD_LETTERS,
    Breach,
    breach_of,
    breach_of_unfinished,
    rule_finding,
    too_long_line,
)
from forebay.formats.read_names import UNKNOWN, NameCensus
from forebay.formats.text_digest import TextDigest

__all__ = ["FastqRecords"]

_BATCH_BYTES: Final = 512 << 10
# What is copied of a piece to complete the record that the one before has begun.
_SEAM_BYTES: Final = 16 << 10

_SOLEXA_MIN: Final = 59
_PHRED33: Final = 33
_PHRED64: Final = 64
# Illumina qualities end at Q41, J at offset 33 and i at offset 64. Nothing below 59 and something
# above J speaks for offset 64, unless it goes above i, as only long-read qualities at 33 do.
_PHRED33_USUAL_MAX: Final = 74
_PHRED64_USUAL_MAX: Final = 106


class FastqRecords:
    """Takes FASTQ text in pieces of any size; the answer does not depend on the pieces.

    The first broken rule ends the reading and stands in `finding`.
    """

    def __init__(self) -> None:
        self.finding: Finding | None = None
        self._counter = RecordCounter(LETTER_CLASSES, max_line_bytes=MAX_LINE_BYTES)
        self._names = NameCensus()
        self._names_digest = TextDigest()
        self._content_digest = TextDigest()
        self._rest = b""
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._due_bytes = _BATCH_BYTES
        self._has_returns = False
        self._held_return = b""
        self._crlf_lines = 0
        self._ends_in_newline = True

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
            self._consume(self._with_unix_line_ends(self._taken_pending()))

    def finish(self) -> None:
        """Say that the text ends here."""
        if self.finding is not None:
            return
        text = self._rest + self._with_unix_line_ends(self._taken_pending()) + self._held_return
        self._rest = self._held_return = b""
        if text and not text.endswith(b"\n"):
            self._ends_in_newline = False
            if text.count(b"\n") % 4 == 3:
                if self._has_returns and text.endswith(b"\r"):
                    self._crlf_lines += 1
                    text = text.removesuffix(b"\r")
                text += b"\n"
        self._consume(text)
        rest = self._rest + self._held_return
        if rest and self.finding is None:
            self.finding = self._finding(breach_of_unfinished(rest))

    def conclude(self, *, compression: str) -> tuple[ReadsFile, tuple[Finding, ...]]:
        """Return the record and its warnings; only after `finish`, and without a `finding`."""
        counts, names = self._counter.counts, self._names
        lines = 4 * counts.reads
        self._names_digest.update(self._counter.names())
        record = ReadsFile(
            reads=counts.reads,
            bases=counts.bases,
            min_length=counts.min_length if counts.reads else 0,
            mean_length=counts.bases / counts.reads if counts.reads else 0.0,
            max_length=counts.max_length,
            q20_fraction=_fraction(counts.q20, counts),
            q30_fraction=_fraction(counts.q30, counts),
            gc_fraction=_fraction(counts.gc, counts),
            n_fraction=_fraction(counts.n, counts),
            quality_encoding=_quality_encoding(counts),
            layout="interleaved" if _are_pairs(counts) else "single",
            compression=compression,
            instruments=names.values("instrument"),
            runs=names.values("run"),
            flow_cells=names.values("flow_cell"),
            lanes=names.values("lane"),
            read_numbers=names.read_numbers(counts.mates_in_names, counts.mates_in_comments),
            names_digest=self._names_digest.hexdigest(),
            content_digest=self._content_digest.hexdigest(),
            extra={
                "line_ends": _line_ends(self._crlf_lines, lines - (not self._ends_in_newline)),
                "name_dialects": list(names.values("dialect")),
                "repeated_names_fraction": self._repeated_names(),
                **_quality_extra(counts),
            },
        )
        return record, tuple(self._warnings(record))

    def _taken_pending(self) -> bytes:
        pieces, self._pending, self._pending_bytes = self._pending, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _consume(self, text: bytes) -> None:
        had_returns = self._has_returns
        text, at = self._over_seam(text)
        if self.finding is None and self._has_returns == had_returns:
            at = self._take(text, at)
        self._rest = text[at:]
        if self._has_returns != had_returns:
            rest, self._rest = self._rest, b""
            self._consume(self._with_unix_line_ends(rest))
            return
        # A record much longer than a batch is not searched again for every little that arrives.
        self._due_bytes = max(_BATCH_BYTES, len(self._rest) // 2)
        if self.finding is None and len(self._rest) > MAX_LINE_BYTES:
            breach = too_long_line(self._rest)
            self.finding = self._finding(breach) if breach else None

    def _over_seam(self, text: bytes) -> tuple[bytes, int]:
        """Take the record begun before; return a text to go on with, and from where."""
        if not self._rest:
            return text, 0
        at = self._take(self._rest + text[:_SEAM_BYTES], 0)
        if at < len(self._rest):
            return self._rest + text, at
        return text, at - len(self._rest)

    def _take(self, text: bytes, at: int) -> int:
        """Take all whole records from an offset on; return where they end, or a refused one starts.

        At the first carriage return that matters it returns, too, having noted that there are some.
        """
        while True:
            start = at
            at, stop = self._counter.take(text, start)
            self._content_digest.update(memoryview(text)[start:at])
            if stop is Stop.NAMES_FULL:
                self._names_digest.update(self._counter.names())
            elif stop is Stop.UNKNOWN_ORIGIN:
                self._examine(text, at)
            elif stop is Stop.BROKEN and not self._has_returns and text.find(b"\r", at) >= 0:
                self._has_returns = True
                return at
            else:
                if stop is Stop.BROKEN:
                    self.finding = self._refusal(text, at)
                return at

    def _with_unix_line_ends(self, text: bytes) -> bytes:
        """Return a text without carriage returns at the ends of lines, once some were noted."""
        if not self._has_returns:
            return text
        text = self._held_return + text
        # The line feed that belongs to it may come with the next text.
        self._held_return = b"\r" if text.endswith(b"\r") else b""
        text = text.removesuffix(b"\r")
        self._crlf_lines += text.count(b"\r\n")
        return text.replace(b"\r\n", b"\n")

    def _examine(self, text: bytes, at: int) -> None:
        name = text[at : text.index(b"\n", at)].replace(b"\t", b" ").partition(b" ")[0]
        prefix = self._names.examine(name)
        self._counter.origin_examined(prefix, wants_more=self._names.wants_more)

    def _refusal(self, text: bytes, at: int) -> Finding:
        """Return the finding on a record that was not taken."""
        end = at
        for _ in range(4):
            end = text.index(b"\n", end) + 1
        is_cut = not self._ends_in_newline and end == len(text)
        breach = breach_of(text[at:end], is_cut=is_cut)
        if breach is None:
            raise AssertionError("a record was refused that breaks no rule")
        return self._finding(breach)

    def _finding(self, breach: Breach) -> Finding:
        return rule_finding(breach, record_line=4 * self._counter.counts.reads + 1)

    def _repeated_names(self) -> float:
        """Return the part of names that reads share which are not mates of each other."""
        counts = self._counter.counts
        # Names and comments may not say which mate is which; then both count as one name.
        tells_mates = (counts.mates_in_names | counts.mates_in_comments).bit_count() > 1
        times = 2 if _are_pairs(counts) and not tells_mates else 1
        return round(self._counter.repeated_fraction(times), 6)

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
        if (odd_read := self._counter.counts.first_odd_read) >= 0:
            warnings.append(rule_finding(Breach(1, ODD_LETTERS), record_line=4 * odd_read + 1))
        if record.extra["repeated_names_fraction"]:
            warnings.append(_repeated_names(record.extra["repeated_names_fraction"]))
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


def _repeated_names(fraction: float) -> Finding:
    return Finding(
        code=ReasonCode.FASTQ_REPEATED_NAMES,
        message="Reads share their names with others: was a part of the file written or appended"
        " twice?",
        owner=Owner.DATA_STEWARD,
        expected="another name for each read, mates aside",
        found=f"{fraction:.2%} of the names more than once",
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


def _fraction(count: int, counts: Any) -> float:
    """Return a count as a fraction of all bases."""
    return count / counts.bases if counts.bases else 0.0


def _are_pairs(counts: Any) -> bool:
    """Tell whether reads come in pairs of one name: mates of one fragment behind each other."""
    return bool(counts.reads > 0 and counts.reads % 2 == 0 and counts.unlike_pairs == 0)


def _quality_encoding(counts: Any) -> str:
    """Return what the range of quality characters speaks for; `unknown` without bases."""
    low, high = counts.least_quality, counts.greatest_quality
    if not counts.bases:
        return "unknown"
    if low < _SOLEXA_MIN or not _PHRED33_USUAL_MAX < high <= _PHRED64_USUAL_MAX:
        return "phred33"
    return "solexa64" if low < _PHRED64 else "phred64"


def _quality_extra(counts: Any) -> dict[str, Any]:
    """Return the range of quality characters, means by cycle, and fractions at offset 64."""
    if not counts.bases:
        return {}
    is_phred33 = _quality_encoding(counts) == "phred33"
    extra: dict[str, Any] = {
        "quality_char_min": counts.least_quality,
        "quality_char_max": counts.greatest_quality,
        "quality_by_cycle": _means_by_cycle(counts, _PHRED33 if is_phred33 else _PHRED64),
    }
    if not is_phred33:
        extra["q20_fraction_offset64"] = _fraction(counts.q20_phred64, counts)
        extra["q30_fraction_offset64"] = _fraction(counts.q30_phred64, counts)
    return extra


def _means_by_cycle(counts: Any, offset: int) -> list[float]:
    """Return the mean quality of each cycle that a read has reached, rounded to hundredths."""
    ended = accumulate(counts.reads_of_length[:MAX_CYCLES])
    reads_by_cycle = (counts.reads - gone for gone in ended)
    sums = zip(counts.cycle_sums, reads_by_cycle, strict=True)
    return [round(total / reads - offset, 2) for total, reads in sums if reads]


def _line_ends(crlf_lines: int, lines: int) -> str:
    if not crlf_lines:
        return "lf"
    return "crlf" if crlf_lines >= lines else "mixed"
