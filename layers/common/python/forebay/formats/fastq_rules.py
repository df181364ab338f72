"""The rules of a FASTQ record, and which of them a refused record breaks."""

from typing import Final, NamedTuple

from forebay.domain.findings import Finding, Owner, ReasonCode

__all__ = [
    "LETTER_CLASSES",
    "MAX_LINE_BYTES",
    "ODD_LETTERS",
    "Breach",
    "breach_of",
    "breach_of_unfinished",
    "rule_finding",
    "too_long_line",
]

# The longest nanopore reads known are a little over 4 million bases.
MAX_LINE_BYTES: Final = 8 << 20

# IUPAC nucleotide codes with U, gap and unknown, plus the digits of SOLiD colour space.
_ALPHABET: Final = b"ACGTNURYSWKMBDHVacgtnuryswkmbdhv.-*0123"
_QUALITIES: Final = bytes(range(33, 126 + 1))
_BOM: Final = b"\xef\xbb\xbf"


def _letter_class(letter: bytes) -> int:
    if letter in _ALPHABET:
        return 0
    return 1 if letter.isalnum() else 2


LETTER_CLASSES: Final = bytes(_letter_class(bytes([code])) for code in range(256))
"""By character: 0 for one that may be a base, 1 for an odd letter or digit, 2 for any other."""


class Rule(NamedTuple):
    """A rule of the format, as it is told when it is broken."""

    code: ReasonCode
    message: str
    expected: str = ""
    found: str = ""


class Breach(NamedTuple):
    """A broken rule, in which line of the record (from 0), and what was found there."""

    offset: int
    rule: Rule
    found: str = ""


def breach_of(record: bytes, *, is_cut: bool) -> Breach | None:
    """Return the first rule that a record of four lines breaks.

    `is_cut` tells that its last line had no line feed, because the text ends there.
    """
    head, sequence, plus, quality = record.split(b"\n", 4)[:4]
    broken = _broken_rule(head, sequence, plus, quality)
    if broken is None:
        return None
    offset, rule = broken
    if is_cut and rule is _LENGTHS_DIFFER and len(quality) < len(sequence):
        rule = _CUT_OFF
    line = (head, sequence, plus, quality)[offset]
    return Breach(offset, rule, rule.found or _shape(rule, line, sequence, quality))


def breach_of_unfinished(rest: bytes) -> Breach:
    """Return the rule that a text breaks whose last record has fewer than four lines."""
    lines = [line.removesuffix(b"\r") for line in rest.removesuffix(b"\n").split(b"\n")]
    if b"\r" in lines[0]:
        return Breach(0, _CR_ONLY)
    if rest != b"@" and (rule := _broken_head(lines[0])):
        return Breach(0, rule)
    if len(lines) > 2 and not lines[2].startswith(b"+"):
        return Breach(2, _PLUS_MISSING)
    return Breach(len(lines) - 1, _CUT_OFF, f"{len(lines)} of 4 lines of a record")


def too_long_line(rest: bytes) -> Breach | None:
    """Return the breach if the record that begins here has a line longer than any read."""
    for offset, line in enumerate(rest.split(b"\n")):
        if len(line) > MAX_LINE_BYTES:
            return Breach(offset, _LINE_TOO_LONG)
    return None


def rule_finding(breach: Breach, *, record_line: int) -> Finding:
    """Return the finding on a breach by the record whose first line has a number, from 1."""
    line, rule = record_line + breach.offset, breach.rule
    return Finding(
        code=rule.code,
        message=f"Line {line}: {rule.message}",
        owner=Owner.SENDER,
        position=f"line {line}",
        expected=rule.expected,
        found=breach.found or rule.found,
    )


_BLANK_LINE: Final = Rule(
    ReasonCode.FASTQ_MALFORMED,
    "there is a blank line where a record should start; remove it, or write the file again.",
    expected="a line that starts with @, or the end of the file",
    found="a blank line",
)
_FASTA: Final = Rule(
    ReasonCode.FASTQ_MALFORMED,
    "this is a FASTA record, which has no qualities; upload the FASTQ file.",
    expected="a line that starts with @",
    found="a line that starts with >",
)
_BYTE_ORDER_MARK: Final = Rule(
    ReasonCode.FASTQ_MALFORMED,
    "the text starts with a byte-order mark, as editors add it; write the file without.",
    expected="a line that starts with @",
    found="a UTF-8 byte-order mark",
)
_HEAD_MISSING: Final = Rule(
    ReasonCode.FASTQ_MALFORMED,
    "a record should start here with @ and the read's name. Records must have exactly four lines;"
    " an earlier one may have more or fewer, or be wrapped.",
    expected="a line that starts with @",
)
_NAME_MISSING: Final = Rule(
    ReasonCode.FASTQ_MALFORMED, "the read has no name.", expected="@ and the read's name"
)
_NAME_UNPRINTABLE: Final = Rule(
    ReasonCode.FASTQ_MALFORMED,
    "the read's name has characters that are not printable ASCII: the file is damaged.",
    expected="printable ASCII",
)
_PLUS_MISSING: Final = Rule(
    ReasonCode.FASTQ_MALFORMED,
    "the third line of the record does not start with +. Sequences wrapped over several lines are"
    " not accepted; write each record in four lines.",
    expected="a line that starts with +",
)
_PLUS_DIFFERS: Final = Rule(
    ReasonCode.FASTQ_MALFORMED,
    "the name after + is not that of the record: parts of two records were joined.",
    expected="+ alone, or + and the same name",
    found="another name",
)
_LENGTHS_DIFFER: Final = Rule(
    ReasonCode.FASTQ_LENGTH_MISMATCH,
    "the record has not as many qualities as bases: the file is damaged.",
    expected="one quality per base",
)
_CUT_OFF: Final = Rule(
    ReasonCode.FASTQ_TRUNCATED,
    "the file ends in the middle of a record: it was cut off while it was written or uploaded."
    " Upload the complete file again.",
    expected="the rest of the record",
)
_NOT_BASES: Final = Rule(
    ReasonCode.FASTQ_ALPHABET,
    "the sequence has characters that no nucleotide sequence can have: the file is damaged.",
    expected="IUPAC nucleotide codes",
)
ODD_LETTERS: Final = Rule(
    ReasonCode.FASTQ_ALPHABET,
    "the sequence has letters that are not nucleotide codes; is this a file of another kind?",
    expected="IUPAC nucleotide codes",
    found="other letters",
)
_NOT_QUALITIES: Final = Rule(
    ReasonCode.FASTQ_QUALITY_RANGE,
    "the qualities have characters outside ! to ~: the file is damaged.",
    expected="characters ! (33) to ~ (126)",
)
_CR_ONLY: Final = Rule(
    ReasonCode.FASTQ_MALFORMED,
    "lines end in a carriage return alone; convert the file to Unix line ends.",
    expected="line feed, or carriage return and line feed",
    found="carriage return",
)
_LINE_TOO_LONG: Final = Rule(
    ReasonCode.LIMIT_EXCEEDED,
    f"the record has a line of more than {MAX_LINE_BYTES >> 20} MiB, longer than any read.",
    expected=f"lines of at most {MAX_LINE_BYTES} bytes",
)


def _broken_rule(
    head: bytes, sequence: bytes, plus: bytes, quality: bytes
) -> tuple[int, Rule] | None:
    """Return the first rule a record breaks and the line of the record it is broken in."""
    odd = sequence.translate(None, _ALPHABET)
    checks = (
        (0, _broken_head(head)),
        (0, _LINE_TOO_LONG if len(head) > MAX_LINE_BYTES else None),
        (2, None if plus.startswith(b"+") else _PLUS_MISSING),
        (2, None if _is_plus(plus, head) else _PLUS_DIFFERS),
        (1, _LINE_TOO_LONG if len(sequence) > MAX_LINE_BYTES else None),
        (3, None if len(sequence) == len(quality) else _LENGTHS_DIFFER),
        (1, _NOT_BASES if odd and not odd.isalnum() else None),
        (3, _NOT_QUALITIES if quality.translate(None, _QUALITIES) else None),
    )
    return next(((offset, rule) for offset, rule in checks if rule is not None), None)


def _broken_head(head: bytes) -> Rule | None:
    if head.startswith(b"@"):
        if len(head) == 1:
            return _NAME_MISSING
        return None if _is_printable(head) else _NAME_UNPRINTABLE
    if not head:
        return _BLANK_LINE
    if head.startswith(_BOM):
        return _BYTE_ORDER_MARK
    return _FASTA if head.startswith(b">") else _HEAD_MISSING


def _is_printable(head: bytes) -> bool:
    return head.isascii() and head.replace(b"\t", b" ").decode("ascii").isprintable()


def _is_plus(plus: bytes, head: bytes) -> bool:
    return plus[:1] == b"+" and (len(plus) == 1 or plus[1:] == head[1:])


def _shape(rule: Rule, line: bytes, sequence: bytes, quality: bytes) -> str:
    """Say what was found without showing it: a damaged file may hold anything anywhere."""
    if rule in (_LENGTHS_DIFFER, _CUT_OFF):
        return f"{len(sequence)} bases, {len(quality)} qualities"
    return f"other characters in a line of {len(line)}"
