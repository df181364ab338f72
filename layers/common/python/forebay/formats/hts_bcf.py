"""BCF: its header and the arithmetic of every record (VCFv4.3 §6)."""

import struct
from typing import Final

from forebay.domain.findings import Finding, ReasonCode, Verdict
from forebay.formats.hts_refusal import (
    MAX_HEADER_BYTES,
    RefusedError,
    beyond_contig,
    joined,
    refused,
)
from forebay.formats.hts_vcf_header import VcfHeader

__all__ = ["BCF_MAGIC", "BcfRecords"]

BCF_MAGIC: Final = b"BCF"

_VERSION: Final = b"\x02\x02"
# As the size of the first part of a record it would be 38 million bytes.
_MAGIC_NUMBER: Final = int.from_bytes(BCF_MAGIC + b"\x02", "little")
_HEADER_BYTES: Final = 9
_BATCH_BYTES: Final = 1 << 20
_MAX_RECORD_BYTES: Final = 256 << 20
_LENGTHS: Final = struct.Struct("<II")
_SITE_BYTES: Final = 24
_ELEMENT_BYTES: Final = {0: 0, 1: 1, 2: 2, 3: 4, 5: 4, 7: 1}
_LONG: Final = 15
# Missing values may have no type.
_TEXT: Final = (0, 7)
_NO_VALUE: Final = 0
_ONE_BYTE: Final = 0x11
_INTEGERS: Final = {1: "b", 2: "h", 3: "i"}


class BcfRecords:
    """Takes the uncompressed content of a BCF file in pieces of any size."""

    def __init__(self) -> None:
        self.header = VcfHeader()
        self.records = 0
        self._pending = b""
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._due_bytes = _HEADER_BYTES
        self._in_header = True
        self._infos: frozenset[int] = frozenset()
        self._formats: frozenset[int] = frozenset()
        self._last_positions: dict[int, int] = {}
        self._beyond: Finding | None = None

    @property
    def warnings(self) -> list[Finding]:
        """What was odd, once everything is read."""
        return [*self.header.warnings.values(), *([self._beyond] if self._beyond else [])]

    def feed(self, text: bytes) -> None:
        """Take the next piece of content."""
        self._parts.append(text)
        self._part_bytes += len(text)
        if self._part_bytes >= self._due_bytes:
            self._consume()

    def finish(self) -> None:
        """Take the end of the content."""
        self._consume()
        if self._in_header or self._part_bytes:
            where = "header" if self._in_header else f"record {self.records + 1}"
            raise refused(
                ReasonCode.BCF_TRUNCATED,
                f"The BCF file ends in the middle of its {where}: it was cut off, or other bytes"
                " follow its last record. Upload the complete file again.",
                at=where,
                expected="the rest of it",
                found=f"end of file after {self._part_bytes} bytes of it",
            )

    def _consume(self) -> None:
        data = b"".join(self._parts)
        at = 0
        if self._in_header and len(data) >= _HEADER_BYTES:
            at = self._header(data)
        if not self._in_header:
            at = self._take(data, at)
        rest = data[at:] if at else data
        self._parts = [rest] if rest else []
        self._part_bytes = len(rest)

    def _header(self, data: bytes) -> int:
        if data[3:5] != _VERSION:
            raise refused(
                ReasonCode.UNSUPPORTED_FORMAT,
                "The file is BCF of a version other than 2.2, which programs no longer read."
                " Convert it with bcftools.",
                at="byte 3",
                expected="BCF 2.2",
                found=f"{data[3]}.{data[4]}",
                verdict=Verdict.UNSUPPORTED,
            )
        length = int.from_bytes(data[5:9], "little")
        if length > MAX_HEADER_BYTES:
            raise refused(
                ReasonCode.LIMIT_EXCEEDED,
                f"The header is larger than {MAX_HEADER_BYTES >> 20} MiB.",
                at="header",
                expected=f"at most {MAX_HEADER_BYTES} bytes",
                found=f"{length} bytes",
            )
        end = _HEADER_BYTES + length
        if len(data) < end:
            self._due_bytes = end
            return 0
        text = data[_HEADER_BYTES:end].rstrip(b"\0")
        for line in text.removesuffix(b"\n").split(b"\n"):
            self.header.add(line)
        self.header.finish()
        if self.header.conflicts:
            raise self.header.conflicts
        names = self.header.keys.name_of.items()
        self._infos = frozenset(index for index, name in names if name in self.header.info)
        self._formats = frozenset(index for index, name in names if name in self.header.format)
        self._last_positions = {
            index: self.header.last_position(name)
            for index, name in self.header.contig_index.name_of.items()
        }
        self._in_header = False
        self._due_bytes = _BATCH_BYTES
        return end

    def _take(self, data: bytes, at: int) -> int:
        self._due_bytes = _BATCH_BYTES
        while at + 8 <= len(data):
            shared, individual = _LENGTHS.unpack_from(data, at)
            size = 8 + shared + individual
            if shared == _MAGIC_NUMBER:
                where = f"record {self.records + 1}"
                raise joined(ReasonCode.BCF_MALFORMED, "BCF", at=where, tool="bcftools concat")
            if shared < _SITE_BYTES or size > _MAX_RECORD_BYTES:
                raise self._broken("it claims a size no record can have")
            if at + size > len(data):
                self._due_bytes = max(_BATCH_BYTES, size)
                break
            try:
                self._record(data[at + 8 : at + 8 + shared], data[at + 8 + shared : at + size])
            except (IndexError, struct.error, KeyError):
                raise self._broken("its values do not fit into its size") from None
            self.records += 1
            at += size
        return at

    def _record(self, shared: bytes, individual: bytes) -> None:
        chrom, position, _, _, allele_info, format_sample = struct.unpack_from("<iiiIII", shared)
        samples, formats = format_sample & 0xFFFFFF, format_sample >> 24
        alleles, info = allele_info >> 16, allele_info & 0xFFFF
        last = self._last_positions.get(chrom)
        if last is None or position < -1:
            raise self._broken("its position is not on a contig of the header")
        if position >= last and self._beyond is None:
            self._beyond = beyond_contig(f"record {self.records + 1}")
        if samples != len(self.header.samples) and (samples or formats):
            raise self._broken("it has not as many samples as the header")
        self._site(shared, alleles, info)
        at = 0
        for _ in range(formats):
            start, at = at, _after_value(individual, at)
            self._key(individual[start:at], self._formats, "FORMAT")
            at = _after_value(individual, at, times=samples)
        if at != len(individual):
            raise self._broken("the values of its samples do not fit into its size")

    def _site(self, shared: bytes, alleles: int, info: int) -> None:
        at = _SITE_BYTES
        # ID, then the alleles, then FILTER; INFO are pairs of key and value.
        for what in ("ID", *["allele"] * alleles):
            if shared[at] & 15 not in _TEXT:
                raise self._broken(f"its {what} is not text")
            at = _after_value(shared, at)
        start, at = at, _after_value(shared, at)
        filters = _integers(shared[start:at]) if shared[start] != _NO_VALUE else ()
        if not self.header.keys.name_of.keys() >= set(filters):
            raise self._broken("FILTER is not in the header")
        for _ in range(info):
            start, at = at, _after_value(shared, at)
            self._key(shared[start:at], self._infos, "INFO")
            at = _after_value(shared, at)
        if at != len(shared):
            raise self._broken("its values do not fit into its size")

    def _key(self, value: bytes, known: frozenset[int], what: str) -> None:
        keys = (value[1],) if value[0] == _ONE_BYTE else _integers(value)
        if len(keys) != 1 or keys[0] not in known:
            raise self._broken(f"a key of {what} is not in the header")

    def _broken(self, rule: str) -> RefusedError:
        return refused(
            ReasonCode.BCF_MALFORMED,
            f"Record {self.records + 1} of the BCF file is damaged: {rule}.",
            at=f"record {self.records + 1}",
            found=rule,
        )


def _integers(value: bytes) -> tuple[int, ...]:
    """Return the integers of a typed value; KeyError when it has none."""
    width, kind = _ELEMENT_BYTES[value[0] & 15], _INTEGERS[value[0] & 15]
    count = value[0] >> 4
    if count == _LONG:
        count = (len(value) - 2 - _ELEMENT_BYTES[value[1] & 15]) // width
    return struct.unpack(f"<{count}{kind}", value[len(value) - count * width :])


def _after_value(data: bytes, at: int, *, times: int = 1) -> int:
    """Return where a typed value ends; IndexError when it does not fit."""
    count, element = data[at] >> 4, _ELEMENT_BYTES[data[at] & 15]
    at += 1
    if count == _LONG:
        width = _ELEMENT_BYTES[data[at] & 15]
        count = int.from_bytes(data[at + 1 : at + 1 + width], "little")
        at += 1 + width
    at += count * element * times
    if at > len(data):
        raise IndexError
    return at
