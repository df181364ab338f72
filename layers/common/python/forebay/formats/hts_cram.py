"""CRAM: file definition, containers, blocks and their checksums (CRAMv3 §6 to §9).

Records inside slices are not decoded: that needs the reference. What holds them together is
checked instead: every checksum, every length, and the counts of containers, slices and blocks.
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple

from forebay.domain.alignments import Reference
from forebay.domain.findings import Finding, ReasonCode, Verdict
from forebay.formats.hts_refusal import (
    MAX_HEADER_BYTES,
    RefusedError,
    beyond_reference,
    joined,
    refused,
    suspect,
)
from forebay.formats.hts_sam import Sorting
from forebay.formats.hts_sam_header import SamHeader

__all__ = ["CRAM_MAGIC", "CramContainers"]

CRAM_MAGIC: Final = b"CRAM"

_VERSIONS: Final = {(2, 0), (2, 1), (3, 0), (3, 1)}
_DEFINITION_BYTES: Final = 26
_EOF_START: Final = 4542278  # the letters EOF
_MAX_SMALL_BLOCK_BYTES: Final = MAX_HEADER_BYTES
_OLD_HEADER_SLACK_BYTES: Final = 8
_MAX_BLOCKS: Final = 1 << 20
_MAX_LANDMARKS: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 20
_FILE_HEADER, _COMPRESSION_HEADER, _SLICE_HEADER, _RESERVED, _EXTERNAL, _CORE = range(6)
_MULTIPLE_REFERENCES: Final = -2
_RAW, _GZIP, _BZIP2, _LZMA = range(4)
_METHODS: Final = {2: 4, 3: 4, 31: 8}

# A coroutine that parses asks for so many bytes and gets them.
_Wanted = Generator[int, bytes, None]


class _Container(NamedTuple):
    length: int
    reference: int
    start: int
    span: int
    records: int
    records_before: int
    blocks: int
    landmarks: tuple[int, ...]

    @property
    def is_end(self) -> bool:
        return self.reference == -1 and self.start == _EOF_START and not self.records


class _Block(NamedTuple):
    method: int
    kind: int
    stored_bytes: int
    raw_bytes: int


class _Slice(NamedTuple):
    reference: int
    start: int
    span: int
    records: int
    blocks: int


class CramContainers:
    """Takes the stored bytes of a CRAM file in pieces of any size."""

    def __init__(self) -> None:
        self.header = SamHeader(where="header line", is_binary=True)
        self.references: tuple[Reference, ...] = ()
        self.version = ""
        self.records = 0
        self.containers = 0
        self.eof = False
        self._restarted: Finding | None = None
        self._records_in_part = 0
        self._sorting: Sorting | None = None
        self._beyond: Finding | None = None
        self._major = 3
        self._methods = 0
        self._held = bytearray()
        self._offset = 0
        self._crc = 0
        self._left_bytes = 0
        self._parser = self._file()
        self._wanted = next(self._parser)

    @property
    def warnings(self) -> list[Finding]:
        """What was odd, once everything is read."""
        sorting = self._sorting.warning if self._sorting else None
        odd = (self._restarted, sorting, self._beyond)
        found = (each for each in odd if each is not None)
        return [*self.header.warnings.values(), *found]

    def feed(self, data: bytes) -> None:
        """Take the next stored bytes."""
        at = 0
        while at < len(data):
            part = data[at : at + self._wanted - len(self._held)]
            at += len(part)
            self._held += part
            if len(self._held) == self._wanted:
                piece = bytes(self._held)
                self._held.clear()
                self._offset += len(piece)
                self._crc = zlib.crc32(piece, self._crc)
                self._left_bytes -= len(piece)
                self._wanted = self._parser.send(piece)

    def finish(self) -> None:
        """Take the end of the file."""
        if self._held or (self._left_bytes > 0) or not self.containers:
            raise self._truncated()
        if not self.eof:
            raise refused(
                ReasonCode.CRAM_EOF_MISSING,
                "The CRAM file does not end with the container that marks its end, so its last"
                " part may be missing. Upload the complete file again.",
                at=f"byte {self._offset}",
                expected="the end-of-file container",
                found="end of file",
            )

    def _truncated(self) -> RefusedError:
        return refused(
            ReasonCode.CRAM_TRUNCATED,
            "The CRAM file ends in the middle of its data: it was cut off while it was written or"
            " uploaded. Upload the complete file again.",
            at=f"byte {self._offset + len(self._held)}",
            expected="the rest of a container",
        )

    def _file(self) -> _Wanted:
        definition = yield _DEFINITION_BYTES
        major, minor = definition[4], definition[5]
        self.version = f"{major}.{minor}"
        if (major, minor) not in _VERSIONS:
            raise refused(
                ReasonCode.UNSUPPORTED_FORMAT,
                f"The file says it is CRAM {self.version}, which does not exist or is not"
                " supported.",
                at="byte 4",
                expected="CRAM 2.0, 2.1, 3.0 or 3.1",
                found=self.version,
                verdict=Verdict.UNSUPPORTED,
            )
        self._major = major
        self._methods = _METHODS[31 if (major, minor) == (3, 1) else major]
        # CRAM 2.0 has no end-of-file container.
        self.eof = (major, minor) == (2, 0)
        while True:
            yield from self._container()

    def _container(self) -> _Wanted:
        began = self._offset
        self._crc = 0
        container = yield from self._container_header(began)
        # Files put together by programs may end twice.
        if self.eof and self.version != "2.0" and not container.is_end:
            raise self._broken(began, "data follows the end-of-file container")
        if self.containers and container.is_end:
            self.eof = True
        self._left_bytes = container.length
        if not self.containers:
            yield from self._header_container(container, began)
        else:
            if container.records:
                self._in_sequence(container, began)
            yield from self._data_container(container, began)
        self.containers += 1
        self.records += container.records

    def _in_sequence(self, container: _Container, began: int) -> None:
        """Check that no container before this one is missing, doubled or out of place."""
        counter = container.records_before
        if not self.records:
            # The specification said until 2025 that counting starts at 1.
            self._records_in_part = int(counter == 1)
        if counter == 0 and self._records_in_part:
            # `samtools cat` keeps the counters of each file it joins.
            self._restarted = self._restarted or _restarted(began, self._records_in_part)
            self._records_in_part = 0
        if counter != self._records_in_part:
            raise refused(
                ReasonCode.CRAM_MALFORMED,
                f"The container at byte {began} does not continue the count of records: a"
                " container is missing, doubled or out of place. Upload the complete file again.",
                at=f"byte {began}",
                expected=f"record {self._records_in_part}",
                found=f"record {counter}",
            )
        self._records_in_part += container.records
        if self._sorting is None:
            self._sorting = Sorting(self.header.sort_order)
        self._check_span(container, began)
        if container.reference != _MULTIPLE_REFERENCES:
            self._sorting.check(
                container.reference, container.start, f"the container at byte {began}"
            )

    def _check_span(self, container: _Container, began: int) -> None:
        if 0 <= container.reference < len(self.references):
            length = self.references[container.reference].length
            if container.start > length:
                self._beyond = self._beyond or beyond_reference(f"byte {began}")

    def _container_header(self, began: int) -> Generator[int, bytes, _Container]:
        start_of_header = yield 4
        if start_of_header == CRAM_MAGIC and self.eof:
            raise joined(ReasonCode.CRAM_MALFORMED, "CRAM", at=f"byte {began}", tool="samtools cat")
        length = int.from_bytes(start_of_header, "little", signed=True)
        # Whatever comes next belongs to this container, so the file must not end here.
        self._left_bytes = 1 << 62
        reference = yield from self._itf8()
        start = yield from self._itf8()
        span = yield from self._itf8()
        records = yield from self._itf8()
        before = yield from self._ltf8() if self._major > 2 else self._itf8()
        yield from self._ltf8()
        blocks = yield from self._itf8()
        count = yield from self._itf8()
        if not (0 <= count <= _MAX_LANDMARKS and 0 <= blocks <= _MAX_BLOCKS and length >= 0):
            raise self._broken(began, "its header claims sizes no container has")
        landmarks = []
        for _ in range(count):
            landmark = yield from self._itf8()
            landmarks.append(landmark)
        if self._major > 2:
            yield from self._checksum(began, "container header")
        container = _Container(
            length, reference, start, span, records, before, blocks, tuple(landmarks)
        )
        if container.records < 0 or (container.reference >= len(self.references) > 0):
            raise self._broken(began, "its header names a reference or a count that cannot be")
        return container

    def _header_container(self, container: _Container, began: int) -> _Wanted:
        if self._major < 3:
            # Early writers of CRAM 2.1 gave a length that is a few bytes too short.
            self._left_bytes += _OLD_HEADER_SLACK_BYTES
        block = yield from self._block_header(began)
        if block.kind != _FILE_HEADER:
            raise self._broken(began, "the first block is not the header of the file")
        text = yield from self._small_block(block, began)
        if len(text) < 4:
            raise self._broken(began, "the header of the file is too short")
        length = int.from_bytes(text[:4], "little", signed=True)
        if not 0 <= length <= len(text) - 4:
            raise self._broken(began, "the length of the header text does not fit its block")
        lines = text[4 : 4 + length].rstrip(b"\0").split(b"\n")
        for line in lines[:-1] if not lines[-1] else lines:
            self.header.add(line)
        self.references = tuple(self.header.references.values())
        if self._major < 3:
            self._left_bytes -= _OLD_HEADER_SLACK_BYTES
        # Room left for the header to grow: further blocks or plain bytes, without meaning.
        for _ in range(1, container.blocks):
            block = yield from self._block_header(began)
            yield from self._skip_block(block, began)
        yield from self._pass(self._left_bytes, None)
        self._left_bytes = 0

    def _data_container(self, container: _Container, began: int) -> _Wanted:
        origin = self._offset
        slices: list[_Slice] = []
        blocks_of_slices = 0
        count = 0
        while self._left_bytes:
            at = self._offset - origin
            block = yield from self._block_header(began)
            count += 1
            if (count == 1) != (block.kind == _COMPRESSION_HEADER):
                raise self._broken(began, "its blocks are not in the order the format demands")
            if block.kind == _SLICE_HEADER:
                if at not in container.landmarks[len(slices) : len(slices) + 1]:
                    raise self._broken(began, "a slice is not where the container says")
                header = yield from self._small_block(block, began)
                slices.append(self._slice(header, began))
                blocks_of_slices += 1 + slices[-1].blocks
            else:
                yield from self._skip_block(block, began)
        if not container.is_end:
            # How many blocks a container says it has is wrong in files of htsjdk; slices are right.
            self._check_counts(container, slices, blocks_of_slices - count, began)

    def _check_counts(
        self, container: _Container, slices: list[_Slice], missing_blocks: int, began: int
    ) -> None:
        if len(slices) != len(container.landmarks):
            raise self._broken(began, "it has not as many slices as it says")
        if slices and missing_blocks != -1:
            raise self._broken(began, "its slices have not as many blocks as they say")
        if sum(each.records for each in slices) != container.records:
            raise self._broken(began, "its slices have not as many records as it says")

    def _slice(self, header: bytes, began: int) -> _Slice:
        reader = _Numbers(header)
        try:
            reference, start, span, records = (reader.itf8() for _ in range(4))
            _ = reader.ltf8() if self._major > 2 else reader.itf8()
            blocks = reader.itf8()
        except IndexError:
            raise self._broken(began, "the header of a slice is too short") from None
        is_known = reference >= _MULTIPLE_REFERENCES and not reference >= len(self.references) > 0
        if not is_known or records < 0 or blocks < 0:
            raise self._broken(began, "the header of a slice has impossible numbers")
        if start < 0 or span < 0:
            raise self._broken(began, "a slice has a negative position")
        return _Slice(reference, start, span, records, blocks)

    def _block_header(self, began: int) -> Generator[int, bytes, _Block]:
        self._crc = 0
        method, kind = yield from self._inside(2, began)
        yield from self._itf8()
        stored = yield from self._itf8()
        raw = yield from self._itf8()
        trailer = 4 if self._major > 2 else 0
        if not 0 <= stored <= self._left_bytes - trailer or raw < 0:
            raise self._broken(began, "a block is larger than its container")
        if method > self._methods or kind > _CORE or (method == _RAW and stored != raw):
            raise self._broken(began, "the header of a block has values the format does not know")
        return _Block(method, kind, stored, raw)

    def _inside(self, length: int, began: int) -> Generator[int, bytes, bytes]:
        if self._left_bytes < length:
            raise self._broken(began, "its blocks do not fit into it")
        return (yield length)

    def _small_block(self, block: _Block, began: int) -> Generator[int, bytes, bytes]:
        """Return the content of a block that must be understood."""
        if max(block.stored_bytes, block.raw_bytes) > _MAX_SMALL_BLOCK_BYTES:
            raise refused(
                ReasonCode.LIMIT_EXCEEDED,
                f"A header in the CRAM file is larger than {_MAX_SMALL_BLOCK_BYTES >> 20} MiB.",
                at=f"byte {began}",
            )
        content = _Unpacking(block)
        yield from self._pass(block.stored_bytes, content.feed)
        if self._major > 2:
            yield from self._checksum(began, "block")
        text = content.finish()
        if text is None:
            raise self._broken(began, "a header block cannot be decompressed")
        return text

    def _skip_block(self, block: _Block, began: int) -> _Wanted:
        # Before CRAM 3 blocks have no checksum; gzip, bzip2 and lzma have their own.
        content = _Unpacking(block, keep=False) if self._major < 3 else None
        yield from self._pass(block.stored_bytes, content.feed if content else None)
        if self._major > 2:
            yield from self._checksum(began, "block")
        elif content and content.finish() is None:
            raise self._broken(began, "a block cannot be decompressed")

    def _pass(self, length: int, take: Callable[[bytes], None] | None) -> _Wanted:
        while length > 0:
            piece = yield min(length, _PIECE_BYTES)
            length -= len(piece)
            if take is not None:
                take(piece)

    def _checksum(self, began: int, what: str) -> _Wanted:
        computed = self._crc
        stored = int.from_bytes((yield 4), "little")
        if stored != computed:
            raise refused(
                ReasonCode.CRAM_CHECKSUM,
                f"The checksum of a {what} in the container at byte {began} is wrong: the file was"
                " damaged. Compare it with the original and upload it again.",
                at=f"byte {began}",
                expected=f"{stored:08x}",
                found=f"{computed:08x}",
            )

    def _itf8(self) -> Generator[int, bytes, int]:
        first = (yield 1)[0]
        extra = _itf8_extra(first)
        rest = (yield extra) if extra else b""
        return _itf8_value(first, rest)

    def _ltf8(self) -> Generator[int, bytes, int]:
        first = (yield 1)[0]
        extra = _ltf8_extra(first)
        rest = (yield extra) if extra else b""
        return _ltf8_value(first, rest)

    def _broken(self, began: int, rule: str) -> RefusedError:
        return refused(
            ReasonCode.CRAM_MALFORMED,
            f"The container at byte {began} is damaged: {rule}.",
            at=f"byte {began}",
            found=rule,
        )


def _restarted(began: int, expected: int) -> Finding:
    return suspect(
        ReasonCode.CRAM_MALFORMED,
        "The count of records starts again at 0 inside the CRAM file: files were joined with"
        " samtools cat, or a container is doubled. Check that the number of records is right.",
        at=f"byte {began}",
        expected=f"record {expected}",
        found="record 0",
    )


class _Unpacking:
    """Decompresses a block with a checksum of its own; other blocks are kept as they are."""

    def __init__(self, block: _Block, *, keep: bool = True) -> None:
        self._block = block
        self._keep = keep
        self._parts: list[bytes] = []
        self._length = 0
        self._is_bad = False
        makers: dict[int, Callable[[], Any]] = {
            _GZIP: lambda: zlib.decompressobj(wbits=31),
            _BZIP2: bz2.BZ2Decompressor,
            _LZMA: lzma.LZMADecompressor,
        }
        maker = makers.get(block.method) if block.stored_bytes else None
        self._unpack = maker() if maker else None

    def feed(self, piece: bytes) -> None:
        if self._unpack is None:
            self._take(piece)
        while self._unpack is not None and not self._is_bad and not self._unpack.eof:
            try:
                text = self._unpack.decompress(piece, _PIECE_BYTES)
            except (zlib.error, OSError, lzma.LZMAError, ValueError):
                self._is_bad = True
                return
            self._take(text)
            piece = getattr(self._unpack, "unconsumed_tail", b"")
            if not piece and (len(text) < _PIECE_BYTES or self._length > self._block.raw_bytes):
                return

    def finish(self) -> bytes | None:
        """Return the content (empty when not kept), None when it is not as the block says."""
        if self._unpack is not None and not self._unpack.eof:
            self._is_bad = True
        is_plain = self._unpack is not None or self._block.method == _RAW
        if self._is_bad or (is_plain and self._length != self._block.raw_bytes):
            return None
        # A header is never compressed with CRAM's own codecs.
        return b"".join(self._parts) if is_plain or not self._keep else None

    def _take(self, text: bytes) -> None:
        self._length += len(text)
        self._is_bad |= self._unpack is not None and self._length > self._block.raw_bytes
        if self._keep:
            self._parts.append(text)


class _Numbers:
    """Reads numbers of variable length; IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def itf8(self) -> int:
        first = self._data[self._at]
        return _itf8_value(first, self._rest(_itf8_extra(first)))

    def ltf8(self) -> int:
        first = self._data[self._at]
        return _ltf8_value(first, self._rest(_ltf8_extra(first)))

    def _rest(self, extra: int) -> bytes:
        start = self._at + 1
        self._at = start + extra
        if self._at > len(self._data):
            raise IndexError
        return self._data[start : self._at]


def _itf8_extra(first: int) -> int:
    return min(_ltf8_extra(first), 4)


def _itf8_value(first: int, rest: bytes) -> int:
    extra = len(rest)
    if extra == 4:
        value = ((first & 0x0F) << 28) | (int.from_bytes(rest[:3], "big") << 4) | (rest[3] & 0x0F)
    else:
        value = ((first & (0xFF >> (extra + 1))) << (8 * extra)) | int.from_bytes(rest, "big")
    return int(struct.unpack("<i", struct.pack("<I", value & 0xFFFFFFFF))[0])


def _ltf8_extra(first: int) -> int:
    """Return how many bytes follow: as many as there are leading one bits."""
    return 8 - (first ^ 0xFF).bit_length()


def _ltf8_value(first: int, rest: bytes) -> int:
    extra = len(rest)
    value = ((first & (0xFF >> min(extra + 1, 8))) << (8 * extra)) | int.from_bytes(rest, "big")
    return value - 2**64 if value >= 2**63 else value
