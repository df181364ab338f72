"""BAM: its header and the arithmetic of every record (SAMv1 §4.2)."""

import re
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forebay.domain.alignments import Reference
from forebay.domain.findings import Finding, ReasonCode
from forebay.formats.hts_refusal import (
    MAX_HEADER_BYTES,
    MAX_REFERENCES,
    RefusedError,
    beyond_reference,
    joined,
    refused,
    unknown_group,
)
from forebay.formats.hts_sam import Sorting
from forebay.formats.hts_sam_header import SamHeader

__all__ = ["BAM_MAGIC", "BamRecords"]

BAM_MAGIC: Final = b"BAM\x01"

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_BATCH_BYTES: Final = 1 << 20
# A read of 4 million bases with a signal trace or methylation calls beside it.
_MAX_RECORD_BYTES: Final = 128 << 20
_INT: Final = struct.Struct("<i")
_FIXED_BYTES: Final = 36
_LEAST_BYTES: Final = 32
_OPERATIONS: Final = 9
_INT_MAX: Final = 2**31 - 1
# Of MIDNSHP=X, those that use up bases of the read; the rest are no operations.
_USES_QUERY: Final = np.array([1, 1, 0, 0, 1, 0, 0, 1, 1, *[0] * 7], dtype=np.int64)
_IS_ALNUM: Final = np.array([chr(c).isalnum() and c < 128 for c in range(256)])
_IS_ALPHA: Final = np.array([chr(c).isalpha() and c < 128 for c in range(256)])
_IS_NAME: Final = np.array([33 <= c <= 126 and c != 64 for c in range(256)])
# A byte of text is from space to tilde; smaller ones wrap around when space is taken off.
_SPACE, _TEXTS = np.uint8(32), 94
_IS_HEX: Final = np.array([chr(c) in "0123456789ABCDEF" for c in range(256)])
# Programs have written spaces; what is odd beyond that is told of the header's text.
_IS_PRINTED: Final = re.compile(r"[^\x00-\x1f\x7f]+")
# As the size of a record it would be 22 million bytes.
_MAGIC_NUMBER: Final = int.from_bytes(BAM_MAGIC, "little")
_RG: Final = int.from_bytes(b"RG", "big")
_SOFT_CLIP, _HARD_CLIP = 4, 5
_MAX_QUALITY: Final = 93
_NO_QUALITIES: Final = 255


def _sizes(table: dict[str, int]) -> Numbers:
    sizes = np.zeros(256, dtype=np.int64)
    for letters, size in table.items():
        sizes[list(letters.encode())] = size
    return sizes


_VALUE_BYTES: Final = _sizes({"AcC": 1, "sS": 2, "iIf": 4})
_ELEMENT_BYTES: Final = _sizes({"cC": 1, "sS": 2, "iIf": 4})


class BamRecords:
    """Takes the uncompressed content of a BAM file in pieces of any size."""

    def __init__(self) -> None:
        self.header = SamHeader(where="header line", is_binary=True)
        self.references: tuple[Reference, ...] = ()
        self.records = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._due_bytes = len(BAM_MAGIC) + 4
        self._in_header = True
        self._sorting = Sorting("")
        self._last_key = 0
        self._lengths = np.zeros(1, dtype=np.int64)
        self._beyond: Finding | None = None
        self._known_groups: dict[int, list[bytes]] = {}
        self._unknown_group: Finding | None = None

    @property
    def warnings(self) -> list[Finding]:
        """What was odd, once everything is read."""
        odd = (self._sorting.warning, self._beyond, self._unknown_group)
        return [*self.header.warnings.values(), *(each for each in odd if each)]

    def feed(self, text: bytes) -> None:
        """Take the next piece of content."""
        self._pending.append(text)
        self._pending_bytes += len(text)
        if self._pending_bytes >= self._due_bytes:
            self._consume()

    def finish(self) -> None:
        """Take the end of the content."""
        if self._pending_bytes:
            self._due_bytes = 0
            self._consume()
        if self._in_header:
            raise refused(
                ReasonCode.BAM_TRUNCATED,
                "The BAM file ends in the middle of its header: it was cut off. Upload the complete"
                " file again.",
                at="header",
                expected="the rest of the header",
                found=f"end of file after {self._pending_bytes} bytes",
            )
        if self._pending_bytes:
            raise refused(
                ReasonCode.BAM_TRUNCATED,
                f"The BAM file ends in the middle of record {self.records + 1}: it was cut off"
                " while it was written, or other bytes follow its last record. Write it again.",
                at=f"record {self.records + 1}",
                expected="a whole record, or the end of the file",
                found=f"{self._pending_bytes} bytes",
            )

    def _consume(self) -> None:
        data = b"".join(self._pending)
        at = 0
        if self._in_header:
            at = self._header(data)
        if not self._in_header:
            at = self._take(data, at)
        rest = data[at:] if at else data
        self._pending = [rest] if rest else []
        self._pending_bytes = len(rest)

    def _header(self, data: bytes) -> int:
        """Read the header if it is there whole; return where the records start."""
        reader = _HeaderReader(data)
        try:
            text = reader.text(_bounded(reader.number(), MAX_HEADER_BYTES, "text"))
            count = _bounded(reader.number(), MAX_REFERENCES, "list of references")
            references = [reader.reference() for _ in range(count)]
        except _IncompleteError as incomplete:
            # Reading again from the start is cheap if what is there doubles each time.
            self._due_bytes = max(incomplete.needed_bytes, 2 * len(data))
            return 0
        self._in_header = False
        self._due_bytes = _BATCH_BYTES
        self._understand(text, references)
        return reader.at

    def _understand(self, text: bytes, references: list[Reference]) -> None:
        lines = text.rstrip(b"\0").split(b"\n")
        for line in lines[:-1] if not lines[-1] else lines:
            self.header.add(line)
        described = self.header.references
        if described and [(r.name, r.length) for r in references] != [
            (r.name, r.length) for r in described.values()
        ]:
            raise refused(
                ReasonCode.BAM_MALFORMED,
                "The references of the BAM file are not those its header text lists in @SQ lines.",
                at="header",
                expected=f"{len(described)} references, as in the text",
                found=f"{len(references)} references",
            )
        self.references = tuple(described.values()) or tuple(references)
        # Records without a reference, whose index is -1, may have any position.
        lengths = [*(each.length for each in self.references), _INT_MAX]
        self._lengths = np.array(lengths, dtype=np.int64)
        for group in map(str.encode, self.header.read_groups):
            self._known_groups.setdefault(len(group), []).append(group)
        self._sorting = Sorting(self.header.sort_order)
        self._is_sorted = self.header.sort_order == "coordinate"

    def _take(self, data: bytes, at: int) -> int:
        """Check the whole records from `at`; return where they end."""
        starts, end = self._walk(data, at)
        if starts:
            self._check(np.frombuffer(data, dtype=np.uint8), np.array(starts, dtype=np.int64), end)
            self.records += len(starts)
        return end

    def _walk(self, data: bytes, at: int) -> tuple[list[int], int]:
        starts: list[int] = []
        append, size_at = starts.append, _INT.unpack_from
        end = len(data)
        try:
            while True:
                (size,) = size_at(data, at)
                following = at + 4 + size
                if following > end or size <= _LEAST_BYTES:
                    break
                append(at)
                at = following
        except struct.error:
            size = _BATCH_BYTES
        if size == _MAGIC_NUMBER and data[at + 8 : at + 9] in (b"@", b"\0"):
            raise joined(
                ReasonCode.BAM_MALFORMED,
                "BAM",
                at=f"record {self.records + len(starts) + 1}",
                tool="samtools cat",
            )
        if not _LEAST_BYTES < size <= _MAX_RECORD_BYTES:
            raise _odd_size(self.records + len(starts) + 1, size)
        self._due_bytes = max(_BATCH_BYTES, 4 + size)
        return starts, at

    def _check(self, data: Bytes, starts: Numbers, end: int) -> None:
        ends = np.append(starts[1:], end)
        fixed = data[starts[:, None] + np.arange(_FIXED_BYTES)]
        words = fixed.view("<i4").astype(np.int64)
        name_bytes = words[:, 3] & 0xFF
        operations = words[:, 4] & 0xFFFF
        bases = words[:, 5]
        names = starts + _FIXED_BYTES
        cigars = names + name_bytes
        tags = cigars + 4 * operations + (bases + 1) // 2 + bases
        self._require((bases >= 0) & (tags <= ends), "its lengths do not fit into its size")
        count = len(self.references)
        for column, what in ((1, "reference"), (6, "mate's reference")):
            is_known = (words[:, column] >= -1) & (words[:, column] < count)
            self._require(is_known, f"its {what} is not in the header")
        self._require((words[:, 2] >= -1) & (words[:, 7] >= -1), "its position is negative")
        self._check_positions(words)
        self._check_names(data, names, name_bytes)
        self._check_cigars(data, cigars, operations, bases)
        self._check_qualities(data, tags - bases, tags)
        self._check_tags(data, tags, ends)
        self._check_order(words)

    def _require(self, holds: Flags, rule: str) -> None:
        if not holds.all():
            raise _broken(self.records + int(np.argmin(holds)) + 1, rule)

    def _check_positions(self, words: Numbers) -> None:
        if self._beyond is None:
            is_beyond = words[:, 2] >= self._lengths[words[:, 1]]
            if is_beyond.any():
                record = self.records + int(np.argmax(is_beyond)) + 1
                self._beyond = beyond_reference(f"record {record}")

    def _check_names(self, data: Bytes, names: Numbers, lengths: Numbers) -> None:
        self._require(lengths > 1, "its name is empty")
        self._require(data[names + lengths - 1] == 0, "its name does not end in a zero byte")
        inside = lengths - 1
        is_odd = ~_IS_NAME[data[_spans(names, inside)]]
        if is_odd.any():
            index = int(np.searchsorted(np.cumsum(inside), int(np.argmax(is_odd)), side="right"))
            raise _broken(self.records + index + 1, "its name has characters not allowed")

    def _check_cigars(
        self, data: Bytes, cigars: Numbers, operations: Numbers, bases: Numbers
    ) -> None:
        total = int(operations.sum())
        if not total:
            return
        at = np.repeat(cigars, operations) + 4 * _ranks(operations)
        values = data[at[:, None] + np.arange(4)].view("<u4").ravel()
        owner = np.repeat(np.arange(len(operations)), operations)
        is_odd = (values & 15) >= _OPERATIONS
        if is_odd.any():
            index = int(owner[np.argmax(is_odd)])
            raise _broken(self.records + index + 1, "its CIGAR has an unknown operation")
        self._check_clips(values & 15, owner, operations)
        used = (values >> 4).astype(np.int64) * _USES_QUERY[values & 15]
        lengths = np.bincount(owner, weights=used, minlength=len(operations)).astype(np.int64)
        fits = (lengths == bases) | (operations == 0) | (bases == 0)
        self._require(fits, "its CIGAR and its bases differ in length")

    def _check_clips(self, codes: NDArray[np.uint32], owner: Numbers, operations: Numbers) -> None:
        """Hard clips stand only at the ends, soft clips only between them and the rest."""
        clips = np.flatnonzero((codes == _SOFT_CLIP) | (codes == _HARD_CLIP))
        if not len(clips):
            return
        last = np.cumsum(operations) - 1
        of = owner[clips]
        is_end = (clips == last[of]) | (clips == last[of] - operations[of] + 1)
        # What follows or precedes is of the same record unless the clip is at an end itself.
        before, after = codes[clips - 1], codes[np.minimum(clips + 1, len(codes) - 1)]
        is_beside = (before == _HARD_CLIP) | (after == _HARD_CLIP)
        fits = is_end | ((codes[clips] == _SOFT_CLIP) & is_beside)
        if not fits.all():
            record = self.records + int(of[np.argmin(fits)]) + 1
            raise _broken(record, "its CIGAR has a clip inside the read")

    def _check_qualities(self, data: Bytes, starts: Numbers, ends: Numbers) -> None:
        owners = np.flatnonzero(starts < ends)
        if not len(owners):
            return
        starts, ends = starts[owners], ends[owners]
        high = np.flatnonzero(data > _MAX_QUALITY)
        fits = np.searchsorted(high, starts) == np.searchsorted(high, ends)
        fits |= data[starts] == _NO_QUALITIES
        if not fits.all():
            record = self.records + int(owners[np.argmin(fits)]) + 1
            raise _broken(record, f"it has a quality above {_MAX_QUALITY}")

    def _check_tags(self, data: Bytes, at: Numbers, ends: Numbers) -> None:
        """Step through the optional fields of all records together, one field at a time."""
        owners = np.flatnonzero(at < ends)
        at, ends = at[owners], ends[owners]
        stops: Numbers | None = None
        seen: list[Numbers] = []
        groups: list[Numbers] = []
        while len(owners):
            self._tag_holds(at + 4 <= ends, owners)
            kinds = data[at + 2]
            self._tag_holds(_IS_ALPHA[data[at]] & _IS_ALNUM[data[at + 1]], owners)
            seen.append(owners << 16 | data[at].astype(np.int64) << 8 | data[at + 1])
            sizes = _VALUE_BYTES[kinds]
            texts = np.flatnonzero((kinds == ord("Z")) | (kinds == ord("H")))
            if len(texts):
                # The first byte that is no text must be the zero at the end.
                stops = np.flatnonzero(data - _SPACE > _TEXTS) if stops is None else stops
                following = np.searchsorted(stops, at[texts] + 3)
                self._tag_holds(following < len(stops), owners[texts])
                sizes[texts] = stops[following] - at[texts] - 2
                self._tag_holds(data[stops[following]] == 0, owners[texts])
                digits = texts[kinds[texts] == ord("H")]
                if len(digits):
                    self._check_hex(data, at[digits] + 3, sizes[digits] - 1, owners[digits])
            arrays = np.flatnonzero(kinds == ord("B"))
            if len(arrays):
                sizes[arrays] = self._array_bytes(data, at[arrays], ends[arrays], owners[arrays])
            self._tag_holds((sizes > 0) & (at + 3 + sizes <= ends), owners)
            if self._known_groups and len(found := np.flatnonzero(seen[-1] & 0xFFFF == _RG)):
                is_text = kinds[found] == ord("Z")
                lengths = np.where(is_text, sizes[found] - 1, 0)
                groups.append(np.stack((owners[found], at[found] + 3, lengths)))
            at = at + 3 + sizes
            unfinished = at < ends
            owners, at, ends = owners[unfinished], at[unfinished], ends[unfinished]
        self._check_twins(seen)
        if groups:
            self._check_groups(data, *np.concatenate(groups, axis=1))

    def _check_groups(self, data: Bytes, owners: Numbers, at: Numbers, lengths: Numbers) -> None:
        """Note the first record that is of a read group the header does not have."""
        is_known: Flags = np.zeros(len(owners), dtype=np.bool_)
        for length, names in self._known_groups.items():
            same = np.flatnonzero(lengths == length)
            texts = data[at[same, None] + np.arange(length)].view(f"S{length}").ravel()
            is_known[same] = np.isin(texts, names)
        if not is_known.all():
            record = self.records + int(min(owners[~is_known])) + 1
            self._unknown_group = unknown_group(f"record {record}")
            self._known_groups = {}

    def _check_hex(self, data: Bytes, at: Numbers, lengths: Numbers, owners: Numbers) -> None:
        self._tag_holds(lengths % 2 == 0, owners)
        is_hex = _IS_HEX[data[_spans(at, lengths)]]
        self._tag_holds(is_hex, np.repeat(owners, lengths))

    def _check_twins(self, seen: list[Numbers]) -> None:
        if len(seen) < 2:
            return
        keys = np.sort(np.concatenate(seen))
        twins = keys[1:][keys[1:] == keys[:-1]]
        if len(twins):
            raise _broken(
                self.records + int(twins[0] >> 16) + 1, "an optional field is given twice"
            )

    def _array_bytes(self, data: Bytes, at: Numbers, ends: Numbers, owners: Numbers) -> Numbers:
        self._tag_holds(at + 8 <= ends, owners)
        counts = data[at[:, None] + np.arange(4, 8)].view("<u4").ravel().astype(np.int64)
        elements = _ELEMENT_BYTES[data[at + 3]]
        self._tag_holds(elements > 0, owners)
        sizes: Numbers = 5 + counts * elements
        return sizes

    def _tag_holds(self, holds: Flags, owners: Numbers) -> None:
        if not holds.all():
            record = self.records + int(owners[np.argmin(holds)]) + 1
            raise _broken(record, "its optional fields are malformed")

    def _check_order(self, words: Numbers) -> None:
        if not self._is_sorted:
            return
        references = np.where(words[:, 1] < 0, MAX_REFERENCES, words[:, 1])
        keys = np.append(self._last_key, references * 2**32 + words[:, 2] + 1)
        falls = keys[1:] < keys[:-1]
        self._last_key = int(keys[-1])
        if falls.any():
            self._is_sorted = False
            self._sorting.broken(f"record {self.records + int(np.argmax(falls)) + 1}")


class _IncompleteError(Exception):
    """More of the header is needed."""

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(needed_bytes)
        self.needed_bytes = needed_bytes


class _HeaderReader:
    """Reads the binary header from its start."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = len(BAM_MAGIC)

    def number(self) -> int:
        return int.from_bytes(self.text(4), "little", signed=True)

    def text(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self._data):
            raise _IncompleteError(end)
        text = self._data[self.at : end]
        self.at = end
        return text

    def reference(self) -> Reference:
        name = self.text(_bounded(self.number(), 1 << 16, "name of a reference"))
        length = self.number()
        if not name.endswith(b"\0") or length < 0:
            raise refused(
                ReasonCode.BAM_MALFORMED,
                "The list of references in the BAM header is damaged.",
                at="header",
                expected="names that end in a zero byte, with lengths of 0 or more",
            )
        text = name[:-1].decode("latin-1")
        if _IS_PRINTED.fullmatch(text) is None:
            raise refused(
                ReasonCode.BAM_MALFORMED,
                "The list of references in the BAM header has a name that is empty or has control"
                " characters. Write the file again with a clean header.",
                at="header",
                expected="names of printable characters",
            )
        return Reference(text, length)


def _bounded(value: int, limit: int, what: str) -> int:
    if 0 <= value <= limit:
        return value
    raise refused(
        ReasonCode.LIMIT_EXCEEDED if value > limit else ReasonCode.BAM_MALFORMED,
        f"The {what} in the BAM header claims a size that is negative or beyond any real file.",
        at="header",
        expected=f"0 to {limit}",
        found=str(value),
    )


def _odd_size(record: int, size: int) -> RefusedError:
    if size > _MAX_RECORD_BYTES:
        return _broken(record, f"it claims {size} bytes, more than any read")
    return _broken(record, "its size is smaller than a record can be")


def _broken(record: int, rule: str) -> RefusedError:
    return refused(
        ReasonCode.BAM_MALFORMED,
        f"Record {record} of the BAM file is damaged: {rule}.",
        at=f"record {record}",
        found=rule,
    )


def _ranks(counts: Numbers) -> Numbers:
    """Return 0, 1, … for each count, one after the other."""
    total = int(counts.sum())
    first = np.cumsum(counts) - counts
    return np.arange(total, dtype=np.int64) - np.repeat(first, counts)


def _spans(starts: Numbers, lengths: Numbers) -> Numbers:
    """Return the indices of all positions of all spans, one after the other."""
    return np.repeat(starts, lengths) + _ranks(lengths)
