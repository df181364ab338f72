"""Indexes of alignments and variants: BAI, CSI, tabix and CRAI.

Read for what they promise of their data. Sources: SAMv1 section 5.2, CSIv1, tabix and CRAMv3
section 12 of hts-specs; the counts of records in the pseudo-bin as htslib and htsjdk write them.
"""

import re
import struct
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.indexes import DataIndex
from forebay.domain.inspection import Inspection
from forebay.formats.gzipped import Inflater
from forebay.formats.hts_refusal import MAX_REFERENCES

__all__ = ["INDEX_MAX_BYTES", "index_format", "inspect_index"]

INDEX_MAX_BYTES: Final = 128 << 20
"""Of an index as stored and inflated; that of a deep human genome has 10 MB."""

_GZIP: Final = b"\x1f\x8b"
_MAGIC: Final = {b"BAI\x01": "bai", b"CSI\x01": "csi", b"TBI\x01": "tbi"}
_NAMED: Final = re.compile(
    r"\.(?:bam|cram|bcf|(?:vcf|sam)\.b?gz)\.(?P<format>bai|csi|tbi|crai)$", re.IGNORECASE
)
# reference, start, span, container's offset, slice's offset in it, slice's size
_CRAI_LINE: Final = re.compile(rb"-?\d+\t-?\d+\t-?\d+\t\d+\t\d+\t\d+(?:\n|$)")
_CRAI_FIELDS: Final = 6
_INT: Final = struct.Struct("<i")
_OFFSET: Final = struct.Struct("<Q")
_BIN: Final = struct.Struct("<Ii")
_CSI_BIN: Final = struct.Struct("<IQi")
_COUNTS: Final = struct.Struct("<QQ")
_CSI_START: Final = struct.Struct("<iii")
_CSI_MAX_DEPTH: Final = 9
_TABIX_START: Final = struct.Struct("<8i")
_BAI_DEPTH: Final = 5
_CHUNK_BYTES: Final = 16
_PSEUDO_CHUNKS: Final = 2


class _MalformedError(Exception):
    """The bytes are no index; carries what was expected."""


def index_format(name: str, content: bytes) -> str:
    """Return `bai`, `csi`, `tbi` or `crai`, empty for what is no index.

    `content` is the start of the file, inflated. A name decides for what cannot be read at all, if
    it is that of an index beside alignments or variants.
    """
    if known := _MAGIC.get(content[:4]):
        return known
    if match := _NAMED.search(name):
        return match["format"].lower()
    return "crai" if name.lower().endswith(".crai") and _CRAI_LINE.match(content) else ""


def inspect_index(data: bytes, *, name: str) -> Inspection[DataIndex]:
    """Inspect an index by itself; whether it fits its data, `judge_index` tells."""
    if not data:
        return _refused(ReasonCode.EMPTY_OBJECT, "is empty", expected="an index", found="0 bytes")
    try:
        content, damage = _inflated(data) if data.startswith(_GZIP) else (data, None)
        if damage:
            return Inspection(Verdict.INVALID, None, (damage,))
        record = _read(content, index_format(name, content))
    except (_MalformedError, struct.error) as error:
        expected = str(error) if isinstance(error, _MalformedError) else "a whole index"
        return _refused(
            ReasonCode.INDEX_MALFORMED,
            "cannot be read: it is cut off or damaged",
            expected=expected,
            found="other bytes",
        )
    return Inspection(Verdict.VALID, record, ())


def _refused(code: ReasonCode, what: str, *, expected: str, found: str) -> Inspection[DataIndex]:
    message = f"The index {what}. Index the data again and send the new one."
    finding = Finding(code, message, Owner.SENDER, "", expected, found)
    return Inspection(Verdict.INVALID, None, (finding,))


def _inflated(data: bytes) -> tuple[bytes, Finding | None]:
    """Return the text of all members, and what is wrong with the compression."""
    inflater = Inflater()
    parts: list[bytes] = []
    size_bytes = 0
    for text in inflater.feed(data):
        parts.append(text)
        size_bytes += len(text)
        if size_bytes > INDEX_MAX_BYTES:
            raise _MalformedError(f"at most {INDEX_MAX_BYTES} bytes")
    inflater.finish()
    return b"".join(parts), inflater.finding


def _read(content: bytes, kind: str) -> DataIndex:
    if kind == "crai":
        return _crai(content)
    if _MAGIC.get(content[:4]) != kind:
        raise _MalformedError(f"the first bytes of a {kind} index")
    if kind == "bai":
        return _binned(content, 4, kind, depth=_BAI_DEPTH)
    if kind == "csi":
        _, depth, aux_bytes = _CSI_START.unpack_from(content, 4)
        if not 0 <= depth <= _CSI_MAX_DEPTH or aux_bytes < 0:
            raise _MalformedError(f"a depth from 0 to {_CSI_MAX_DEPTH}")
        return _binned(content, 4 + _CSI_START.size + aux_bytes, kind, depth=depth)
    references, *_, names_bytes = _TABIX_START.unpack_from(content, 4)
    if names_bytes < 0:
        raise _MalformedError("names of sequences")
    return _binned(
        content[:4] + _INT.pack(references) + content[4 + _TABIX_START.size + names_bytes :],
        4,
        kind,
        depth=_BAI_DEPTH,
    )


def _binned(content: bytes, at: int, kind: str, *, depth: int) -> DataIndex:
    """Read from the number of references on.

    Chunks of a bin are in order, so the last of each tells how far it leads.
    """
    is_csi = kind == "csi"
    layout = _CSI_BIN if is_csi else _BIN
    pseudo_bin = ((1 << (3 * depth + 3)) - 1) // 7 + 1
    (references,) = _INT.unpack_from(content, at)
    at += _INT.size
    if not 0 <= references <= MAX_REFERENCES:
        raise _MalformedError(f"0 to {MAX_REFERENCES} references")
    records: int | None = 0
    end = 0
    for _ in range(references):
        (bins,) = _INT.unpack_from(content, at)
        at += _INT.size
        counted = not bins
        for _ in range(_count(bins)):
            number, *_, chunks = layout.unpack_from(content, at)
            at += layout.size + _CHUNK_BYTES * _count(chunks)
            if number == pseudo_bin and chunks == _PSEUDO_CHUNKS:
                counted = True
                if records is not None:
                    records += sum(_COUNTS.unpack_from(content, at - _CHUNK_BYTES))
            elif chunks:
                end = max(end, *_OFFSET.unpack_from(content, at - _OFFSET.size))
        if not counted:
            records = None
        if not is_csi:
            (windows,) = _INT.unpack_from(content, at)
            at += _INT.size + _OFFSET.size * _count(windows)
    rest = len(content) - at
    if rest not in (0, _OFFSET.size):
        raise _MalformedError("the end of the file after the last reference")
    unplaced = _OFFSET.unpack_from(content, at)[0] if rest else None
    total = None if records is None or unplaced is None else records + unplaced
    return DataIndex(kind, references, total, end >> 16)


def _count(value: int) -> int:
    if value < 0:
        raise _MalformedError("numbers that are not negative")
    return value


def _crai(content: bytes) -> DataIndex:
    references = end = 0
    for line in content.splitlines():
        if not _CRAI_LINE.fullmatch(line):
            raise _MalformedError("lines of six numbers")
        fields = [int(field[:20]) for field in line.split(b"\t", _CRAI_FIELDS)]
        references = max(references, fields[0] + 1)
        end = max(end, sum(fields[3:]))
    return DataIndex("crai", references, None, end)
