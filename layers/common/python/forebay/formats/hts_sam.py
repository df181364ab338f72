"""SAM text: the rules of a record (SAMv1 §1.4 and §1.5)."""

import re
import struct
from typing import Final

from forebay.domain.findings import Finding, ReasonCode
from forebay.formats.hts_lines import LineFeed
from forebay.formats.hts_refusal import (
    MAX_HEADER_BYTES,
    RefusedError,
    beyond_reference,
    joined,
    refused,
    suspect,
    unknown_group,
)
from forebay.formats.hts_sam_header import REFERENCE_NAME, SamHeader

__all__ = ["SamText", "Sorting", "cigar_query_length"]

_FIELDS: Final = 11
_HEADER_STARTS: Final = (b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t", b"@CO\t")
_NAME: Final = re.compile(rb"[!-?A-~]{1,254}")
_REFERENCE: Final = re.compile(REFERENCE_NAME.encode())
_NUMBER: Final = re.compile(rb"[0-9]{1,19}")
_SIGNED: Final = re.compile(rb"[-+]?[0-9]{1,19}")
_CIGAR_OPERATION: Final = re.compile(rb"([0-9]{1,10})([MIDNSHPX=])")
_CIGAR: Final = re.compile(rb"(?:[0-9]{1,10}[MIDNSHPX=])+")
# Hard clips only at the ends, soft clips only between them and the rest.
_CLIPS: Final = re.compile(rb"H?S?[MIDNPX=]*S?H?")
_QUERY_OPERATIONS: Final = b"MIS=X"
_SEQUENCE: Final = b"=.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_QUALITIES: Final = bytes(range(33, 127))
# Possessive, so that long digits do not make it try every way to split them.
_FLOAT: Final = rb"[-+]?(?:[0-9]*+\.[0-9]++|[0-9]++)(?:[eE][-+]?[0-9]++)?"
_OPTIONAL: Final = re.compile(
    rb"([A-Za-z][A-Za-z0-9]):(?:"
    rb"A:[!-~]|i:(?P<i>[-+]?[0-9]+)|f:(?P<f>" + _FLOAT + rb")|Z:[ -~]*|H:(?:[0-9A-F]{2})*"
    rb"|B:(?:(?P<whole>[cCsSiI])(?P<wholes>(?:,[-+]?[0-9]+)*)|f(?P<floats>(?:," + _FLOAT + rb")*)))"
)
# The grammar of SAMv1 lets an array be empty, but not without its type.
_RANGES: Final = {
    b"c": (-(2**7), 2**7 - 1),
    b"C": (0, 2**8 - 1),
    b"s": (-(2**15), 2**15 - 1),
    b"S": (0, 2**16 - 1),
    b"i": (-(2**31), 2**31 - 1),
    b"I": (0, 2**32 - 1),
}
_MAX_POSITION: Final = 2**31 - 1
_CACHED: Final = 1 << 14
_CACHED_BYTES: Final = 200
_TO_SHAPE: Final = bytes.maketrans(b"123456789", b"000000000")
# So many digits may be more than a field can hold, or not.
_MANY_DIGITS: Final = b"0" * 10


class Sorting:
    """Whether records keep the order the header promises; only `coordinate` is checked."""

    def __init__(self, sort_order: str) -> None:
        self._is_checked = sort_order == "coordinate"
        self._last = (0, 0)
        self.warning: Finding | None = None

    def check(self, reference: int, position: int, at: str) -> None:
        """Compare a record with the one before; `reference` is its index, negative for none."""
        if self._is_checked:
            key = (reference if reference >= 0 else _MAX_POSITION, position)
            if key < self._last:
                self.broken(at)
            self._last = key

    def broken(self, at: str) -> None:
        """Remember where the order is broken."""
        self._is_checked = False
        self.warning = suspect(
            ReasonCode.SORT_ORDER_MISMATCH,
            f"The header says the records are sorted by coordinate, but {at} is not in order;"
            " programs that trust the header will miss records. Sort the file again.",
            at=at,
            expected="records in the order of reference and position",
        )


class SamText:
    """A SAM file given as pieces of text."""

    def __init__(self) -> None:
        self.header = SamHeader()
        self.records = 0
        self._feed = LineFeed(self._lines)
        self._line = 0
        self._header_bytes = 0
        self._sorting: Sorting | None = None
        self._indices: dict[bytes, int] = {}
        self._lengths: tuple[int, ...] = ()
        self._beyond: Finding | None = None
        self._known_groups: frozenset[bytes] = frozenset()
        self._unknown_group: Finding | None = None
        self._is_long = False
        self._cigars: dict[bytes, int] = {}
        self._good_fields: set[bytes] = set()
        self._blank_line = 0

    @property
    def warnings(self) -> list[Finding]:
        """What was odd, once everything is read."""
        sorting = self._sorting.warning if self._sorting else None
        odd = (sorting, self._beyond, self._unknown_group)
        return [*self.header.warnings.values(), *(each for each in odd if each)]

    def feed(self, text: bytes) -> None:
        """Take the next piece of text."""
        self._feed.feed(text)

    def finish(self) -> None:
        """Take the end of the text."""
        rest = self._feed.finish()
        if rest:
            self._line += 1
            raise self._broken(
                "the last one has no line feed at its end: the file was cut off, or written by"
                " hand. Upload the complete file again.",
                expected="a line feed at the end of the file",
                found="end of file",
            )

    def _lines(self, lines: list[bytes]) -> None:
        for raw in lines:
            self._line += 1
            line = raw.removesuffix(b"\r")
            if not line:
                self._blank_line = self._blank_line or self._line
            elif self._blank_line:
                raise self._broken("there is a blank line before it.")
            elif line.startswith(b"@") and self._sorting is None:
                self._header_line(line)
            else:
                self._record(line)

    def _header_line(self, line: bytes) -> None:
        self._header_bytes += len(line)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise refused(
                ReasonCode.LIMIT_EXCEEDED,
                f"The header is larger than {MAX_HEADER_BYTES >> 20} MiB.",
                at=f"line {self._line}",
            )
        self.header.add(line)

    def _record(self, line: bytes) -> None:
        if self._sorting is None:
            self._sorting = Sorting(self.header.sort_order)
            names = self.header.references
            self._indices = {name.encode(): index for index, name in enumerate(names)}
            self._lengths = tuple(each.length for each in names.values())
            self._is_long = any(length > _MAX_POSITION for length in self._lengths)
            groups = self.header.read_groups
            self._known_groups = frozenset(b"RG:Z:" + each.encode() for each in groups)
        fields = line.split(b"\t")
        if len(fields) < _FIELDS:
            if line.startswith(_HEADER_STARTS):
                raise joined(
                    ReasonCode.SAM_RECORD_MALFORMED,
                    "SAM",
                    at=f"line {self._line}",
                    tool="samtools cat or samtools merge",
                )
            raise self._broken(
                "a record must have at least 11 columns separated by tabs.",
                expected="11 columns or more",
                found=f"{len(fields)} columns",
            )
        self.records += 1
        self._mandatory(fields)
        if len(fields) > _FIELDS:
            self._optional(fields[_FIELDS:])

    def _mandatory(self, fields: list[bytes]) -> None:
        name, flag, reference, position, quality, cigar, mate, mate_position, span = fields[:9]
        if _NAME.fullmatch(name) is None:
            raise self._broken(
                "the read's name (QNAME) is empty, too long, or has characters not allowed.",
                expected="1 to 254 printable characters without @",
            )
        self._number(flag, "FLAG", 2**16 - 1)
        index = self._reference(reference, "RNAME")
        at = self._number(position, "POS", _MAX_POSITION)
        if index >= 0 and at > self._lengths[index]:
            self._beyond = self._beyond or beyond_reference(f"line {self._line}")
        self._number(quality, "MAPQ", 2**8 - 1)
        if mate != b"=":
            self._reference(mate, "RNEXT")
        self._number(mate_position, "PNEXT", _MAX_POSITION)
        if _SIGNED.fullmatch(span) is None or not (
            self._is_long or abs(int(span)) <= _MAX_POSITION
        ):
            raise self._broken("TLEN is not a whole number.", expected="a whole number of 32 bits")
        self._bases(cigar, fields[9], fields[10])
        if self._sorting is not None:
            self._sorting.check(index, at, f"line {self._line}")

    def _number(self, text: bytes, column: str, limit: int) -> int:
        value = int(text) if _NUMBER.fullmatch(text) else -1
        if 0 <= value <= limit or (self._is_long and value > limit == _MAX_POSITION):
            return value
        raise self._broken(
            f"{column} is not a whole number in its range.", expected=f"0 to {limit}"
        )

    def _reference(self, name: bytes, column: str) -> int:
        if name == b"*":
            return -1
        index = self._indices.get(name)
        if index is not None:
            return index
        if _REFERENCE.fullmatch(name) is None:
            raise self._broken(f"{column} is not a name a reference sequence can have.")
        if self._indices:
            raise self._broken(
                f"{column} names a reference sequence the header does not have.",
                expected="a name of an @SQ line, or *",
            )
        return -1

    def _bases(self, cigar: bytes, sequence: bytes, quality: bytes) -> None:
        is_absent = sequence == b"*"
        if not sequence or (sequence.translate(None, _SEQUENCE) and not is_absent):
            raise self._broken("SEQ has characters that are no bases.", expected="letters, = and .")
        if not quality or quality.translate(None, _QUALITIES):
            raise self._broken(
                "QUAL has characters outside ! to ~.", expected="characters ! (33) to ~ (126)"
            )
        if quality != b"*" and (is_absent or len(quality) != len(sequence)):
            raise self._broken(
                "SEQ and QUAL differ in length.",
                expected="one quality per base",
                found=f"{0 if is_absent else len(sequence)} bases, {len(quality)} qualities",
            )
        if cigar != b"*":
            length = self._cigar(cigar)
            if not is_absent and length != len(sequence):
                raise self._broken(
                    "CIGAR and SEQ differ in length.",
                    expected=f"{length} bases, by CIGAR",
                    found=f"{len(sequence)} bases",
                )

    def _cigar(self, cigar: bytes) -> int:
        length = self._cigars.get(cigar)
        if length is None:
            length = cigar_query_length(cigar)
            if length is None:
                raise self._broken(
                    "CIGAR is not a valid list of operations.",
                    expected="numbers with MIDNSHP=X, clips only at the ends, or *",
                )
            if len(self._cigars) < _CACHED and len(cigar) <= _CACHED_BYTES:
                self._cigars[cigar] = length
        return length

    def _optional(self, fields: list[bytes]) -> None:
        tags = {field[:2] for field in fields}
        if len(tags) != len(fields):
            raise self._broken("an optional field is given twice.")
        if b"RG" in tags and self._known_groups and self._known_groups.isdisjoint(fields):
            self._unknown_group = unknown_group(f"line {self._line}")
            self._known_groups = frozenset()
        # With all digits taken for 0, few fields differ; only arrays and powers depend on more.
        shapes = b"\t".join(fields).translate(_TO_SHAPE).split(b"\t")
        if self._good_fields.issuperset(shapes):
            return
        for field, shape in zip(fields, shapes, strict=True):
            match = _OPTIONAL.fullmatch(field)
            if match is None or not _is_in_range(match):
                raise self._broken(
                    f"optional field {fields.index(field) + 1} is malformed or out of range.",
                    expected="TAG:TYPE:VALUE as SAMv1 section 1.5 defines it",
                )
            if _is_rememberable(shape) and len(self._good_fields) < _CACHED:
                self._good_fields.add(shape)

    def _broken(self, rule: str, *, expected: str = "", found: str = "") -> RefusedError:
        return refused(
            ReasonCode.SAM_RECORD_MALFORMED,
            f"Line {self._line}: {rule}",
            at=f"line {self._line}",
            expected=expected,
            found=found,
        )


def cigar_query_length(cigar: bytes) -> int | None:
    """Return how many bases of the read a CIGAR covers, None when it breaks a rule."""
    if _CIGAR.fullmatch(cigar) is None:
        return None
    operations = _CIGAR_OPERATION.findall(cigar)
    letters = b"".join(letter for _, letter in operations)
    if _CLIPS.fullmatch(letters) is None or any(int(n) >= 2**28 for n, _ in operations):
        return None
    return sum(int(number) for number, letter in operations if letter in _QUERY_OPERATIONS)


def _is_rememberable(shape: bytes) -> bool:
    """Tell whether a field is right or wrong whatever its digits are."""
    is_short = len(shape) <= _CACHED_BYTES and _MANY_DIGITS not in shape
    kind = shape[3:4]
    return is_short and (kind in b"AiZH" or (kind == b"f" and b"e" not in shape[5:].lower()))


def _is_in_range(match: re.Match[bytes]) -> bool:
    number, single, kind = match["i"], match["f"], match["whole"]
    if number is not None:
        return len(number) < 1000 and -(2**31) <= int(number) < 2**32
    if single is not None:
        return _is_single(single)
    if kind is not None:
        low, high = _RANGES[kind]
        values = match["wholes"].split(b",")[1:]
        return all(len(value) < 1000 and low <= int(value) <= high for value in values)
    return all(map(_is_single, (match["floats"] or b"").split(b",")[1:]))


def _is_single(text: bytes) -> bool:
    """Tell whether a number can be held in single precision without becoming infinite or zero."""
    value = float(text)
    try:
        stored: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return False
    has_digits = any(digit in text.lower().split(b"e")[0] for digit in b"123456789")
    return stored != 0 or not has_digits
