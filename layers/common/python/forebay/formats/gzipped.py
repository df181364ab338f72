"""Streaming inflate of gzip (RFC 1952) and BGZF (SAM specification, section 4.1)."""

import struct
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from isal import isal_zlib

from forebay.domain.findings import Finding, Owner, ReasonCode

__all__ = ["BGZF_EOF", "FOREIGN_MAGIC", "Inflater"]

BGZF_EOF: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
FOREIGN_MAGIC: Final = (
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    # Skippable frames, which pzstd writes first; RFC 8878 section 3.1.2.
    *((bytes([number]) + b"\x2a\x4d\x18", "Zstandard") for number in range(0x50, 0x60)),
    # Of properties that xz and lzma write, before the size of the dictionary.
    (b"\x5d\x00\x00", "lzma"),
    (b"PK\x03\x04", "ZIP"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x1f\x9d", "compress"),
)
"""How compressed data starts that nobody here reads; six bytes tell all."""

_MAGIC: Final = b"\x1f\x8b"
# Fixed header plus the one extra field of BGZF; also the least that any member can be.
_HEADER_BYTES: Final = 18
_BGZF_START: Final = b"\x1f\x8b\x08\x04"
_BGZF_EXTRA: Final = b"\x06\x00BC\x02\x00"
# Flags of RFC 1952 section 2.3.1, in the order of the fields they announce.
_FLAGS_AT: Final = 3
_EXTRA: Final = 4
_NAME: Final = 8
_COMMENT: Final = 16
_HEADER_CRC: Final = 2
_RESERVED: Final = 0xE0
_FIXED_BYTES: Final = 10
_HEADER_MAX_BYTES: Final = 4 << 20
# isal reads headers with fields wrongly when they come in pieces, so it is given this one instead.
_PLAIN_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_TRAILER: Final = struct.Struct("<II")
_TRAILER_BYTES: Final = 8
_BGZF_MAX_TEXT_BYTES: Final = 1 << 16
# isal's stubs declare the error as an instance.
_INFLATE_ERROR: Final[Any] = isal_zlib.error
# Its public face, isal.igzip, imports much, and reads in smaller steps.
_READER: Final[Any] = isal_zlib._GzipReader  # noqa: SLF001
# Small pieces keep what the inflater copies back (unused input) small.
_INPUT_BYTES: Final = 256 << 10


class _State(Enum):
    START = 1
    HEADER = 2
    MEMBER = 3
    BLOCK = 4
    PADDING = 5
    FAILED = 6


class Inflater:
    """Inflates any number of gzip members fed in chunks of any size.

    `feed` yields text of at most `output_bytes` (or one BGZF block) at a time; after the last chunk
    call `finish`. The first problem ends the inflating and stands in `finding`, with the byte
    offset of the member it is in; whatever was yielded from that member must not be trusted.
    """

    def __init__(self, *, output_bytes: int = 1 << 20) -> None:
        self.finding: Finding | None = None
        self.members = 0
        self.bgzf_blocks = 0
        self._output_bytes = output_bytes
        self._state = _State.START
        self._held = bytearray()
        self._block_bytes = 0
        self._block_header_bytes = 0
        self._inflate: Any = None
        self._offset = 0
        self._member_at = 0
        self._last_is_bgzf_text = False
        self._may_read_runs = True

    @property
    def is_bgzf(self) -> bool:
        """Whether every member so far was a BGZF block."""
        return 0 < self.members == self.bgzf_blocks

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the text that the next stored bytes complete."""
        view = memoryview(data)
        at = 0
        while at < len(data) and self._state is not _State.FAILED:
            if self._state is _State.MEMBER:
                piece: bytes | memoryview = self._release()
                if not piece:
                    piece = view[at : at + _INPUT_BYTES]
                    at += len(piece)
                    self._offset += len(piece)
                yield from self._inflated(piece)
                unused = len(self._inflate.unused_data)
                at -= unused
                self._offset -= unused
            elif self._state is _State.BLOCK:
                at = self._take(data, at, self._block_bytes)
                if len(self._held) == self._block_bytes and (text := self._block()):
                    yield text
            elif self._state is _State.START:
                if run := self._run(data, at):
                    at, text = run
                    yield text
                else:
                    at = self._start(data, at)
            elif self._state is _State.HEADER:
                at = self._header(data, at)
            else:
                at = self._padding(data, at)

    def finish(self) -> None:
        """Say that the file ends here; sets `finding` when it must not."""
        if self._state is _State.FAILED:
            return
        if self._held or self._state in (_State.MEMBER, _State.BLOCK):
            self._fail(
                ReasonCode.GZIP_TRUNCATED,
                "The compressed file ends in the middle of its data: it was cut off while it was"
                " written or uploaded. Upload the complete file again.",
                expected="the rest of the gzip member",
                found=f"end of file at byte {self._offset}",
            )
        elif self._last_is_bgzf_text:
            self._member_at = self._offset
            self._fail(
                ReasonCode.BGZF_EOF_MISSING,
                "The BGZF file does not end with the empty block that marks its end, so its last"
                " part may be missing. Upload the complete file again.",
                expected="the 28-byte end-of-file block",
                found=f"end of file at byte {self._offset}",
            )

    def _run(self, data: bytes, at: int) -> tuple[int, bytes] | None:
        """Return where a run of whole BGZF blocks ends, and their text.

        None without such blocks, or when one is damaged; one by one, they will tell which.
        """
        if self._held or not self._may_read_runs:
            return None
        end, blocks, text_bytes = _whole_blocks(data, at, self._output_bytes)
        if not blocks:
            return None
        text = _text_of_members(memoryview(data)[at:end], text_bytes)
        if text is None:
            self._may_read_runs = False
            return None
        self._offset += end - at
        self.members += blocks
        self.bgzf_blocks += blocks
        self._last_is_bgzf_text = True
        return end, text

    def _take(self, data: bytes, at: int, wanted: int) -> int:
        """Hold bytes until `wanted` are held; return the position after those taken."""
        end = min(len(data), at + wanted - len(self._held))
        self._held += memoryview(data)[at:end]
        self._offset += end - at
        return end

    def _release(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held

    def _start(self, data: bytes, at: int) -> int:
        if not self._held:
            self._member_at = self._offset
            if data[at] == 0 and self.members:
                self._state = _State.PADDING
                return at
        at = self._take(data, at, _HEADER_BYTES)
        if self._held[:2] != _MAGIC[: len(self._held)]:
            self._not_a_member()
        elif len(self._held) == _HEADER_BYTES:
            self._open_member()
        return at

    def _not_a_member(self) -> None:
        if self.members:
            self._garbage()
        else:
            self._fail(
                ReasonCode.GZIP_CORRUPT,
                "The file does not start as a gzip file does.",
                expected="bytes 1f 8b",
            )

    def _open_member(self) -> None:
        self._last_is_bgzf_text = False
        flags = self._held[_FLAGS_AT]
        if self._held[:4] == _BGZF_START and self._held[10:16] == _BGZF_EXTRA:
            self._open_block(_HEADER_BYTES, int.from_bytes(self._held[16:18], "little") + 1)
        elif flags & _RESERVED:
            self._corrupt("its header has flags that the format reserves")
        elif flags:
            self._state = _State.HEADER
        else:
            self._open_plain()

    def _open_plain(self) -> None:
        self._inflate = isal_zlib.decompressobj(wbits=31)
        self._state = _State.MEMBER

    def _open_block(self, header_bytes: int, block_bytes: int) -> None:
        self._block_header_bytes, self._block_bytes = header_bytes, block_bytes
        if block_bytes < header_bytes + _TRAILER_BYTES:
            self._corrupt("a BGZF block claims to be smaller than its own header")
        else:
            self._state = _State.BLOCK

    def _header(self, data: bytes, at: int) -> int:
        """Read a header with fields; return the position after what is held of the data."""
        size = _header_bytes(self._held)
        if not size:
            at = self._take(data, at, len(self._held) + _INPUT_BYTES)
            size = _header_bytes(self._held)
        if size:
            # What was taken beyond the header is taken again: more than was held before is of now.
            beyond = max(0, len(self._held) - max(size, _HEADER_BYTES))
            del self._held[len(self._held) - beyond :]
            self._offset -= beyond
            at -= beyond
            self._open_described(size)
        elif len(self._held) > _HEADER_MAX_BYTES:
            self._corrupt("its header does not end")
        return at

    def _open_described(self, size: int) -> None:
        header = bytes(self._held[:size])
        if header[_FLAGS_AT] & _HEADER_CRC:
            crc = isal_zlib.crc32(header[:-2]) & 0xFFFF
            if crc != int.from_bytes(header[-2:], "little"):
                self._corrupt("the checksum of its header is wrong")
                return
        if block_bytes := _bgzf_block_bytes(header):
            self._open_block(size, block_bytes)
        else:
            self._held[:size] = _PLAIN_HEADER
            self._open_plain()

    def _inflated(self, piece: bytes | memoryview) -> Iterator[bytes]:
        """Yield the text of a piece of a plain member; ends in START when the member ends."""
        inflate = self._inflate
        while True:
            try:
                text: bytes = inflate.decompress(piece, self._output_bytes)
            except _INFLATE_ERROR as error:
                wrong_sum = "checksum" in str(error)
                self._corrupt("its checksum is wrong" if wrong_sum else "its data is damaged")
                return
            if text:
                yield text
            if inflate.eof:
                self.members += 1
                self._state = _State.START
                return
            piece = inflate.unconsumed_tail
            if not piece and len(text) < self._output_bytes:
                return

    def _block(self) -> bytes:
        """Return the text of the BGZF block held, empty for an end-of-file block."""
        block = self._release()
        crc, text_bytes = _TRAILER.unpack_from(block, len(block) - _TRAILER_BYTES)
        if text_bytes > _BGZF_MAX_TEXT_BYTES:
            self._corrupt("a BGZF block claims more than 64 KiB of text")
            return b""
        try:
            inflate = isal_zlib.decompressobj(wbits=-15)
            # One byte more than promised, so that a block that holds too much is seen.
            text: bytes = inflate.decompress(
                block[self._block_header_bytes : -_TRAILER_BYTES], text_bytes + 1
            )
        except _INFLATE_ERROR:
            self._corrupt("its data is damaged")
            return b""
        if not inflate.eof or len(text) != text_bytes or isal_zlib.crc32(text) != crc:
            self._corrupt("its checksum is wrong")
            return b""
        self.members += 1
        self.bgzf_blocks += 1
        self._last_is_bgzf_text = bool(text)
        self._state = _State.START
        return text

    def _padding(self, data: bytes, at: int) -> int:
        rest = data[at:] if at else data
        zeros = len(rest) - len(rest.lstrip(b"\0"))
        self._offset += zeros
        if zeros < len(rest):
            self._member_at = self._offset
            self._garbage()
        return at + zeros

    def _garbage(self) -> None:
        self._fail(
            ReasonCode.GZIP_TRAILING_GARBAGE,
            "After the compressed data come bytes that are neither gzip nor zero padding: the file"
            " was damaged, or something was appended to it. Upload the original file.",
            expected="another gzip member or the end of the file",
        )

    def _corrupt(self, detail: str) -> None:
        self._fail(
            ReasonCode.GZIP_CORRUPT,
            f"The gzip member at byte {self._member_at} cannot be decompressed: {detail}. The file"
            " was damaged; compare with the original and upload it again.",
            found=detail,
        )

    def _fail(self, code: ReasonCode, message: str, *, expected: str = "", found: str = "") -> None:
        self._state = _State.FAILED
        self._held.clear()
        self.finding = Finding(
            code=code,
            message=message,
            owner=Owner.SENDER,
            position=f"byte {self._member_at}",
            expected=expected,
            found=found,
        )


def _header_bytes(start: bytearray) -> int:
    """Return the size of the header that a member starts with; 0 while its end is not there."""
    flags = start[_FLAGS_AT]
    at = _FIXED_BYTES
    if flags & _EXTRA:
        at += 2 + int.from_bytes(start[at : at + 2], "little")
    for field in (_NAME, _COMMENT):
        if flags & field:
            at = start.find(0, at) + 1
            if not at:
                return 0
    if flags & _HEADER_CRC:
        at += 2
    return at if at <= len(start) else 0


def _bgzf_block_bytes(header: bytes) -> int:
    """Return the size of a block that the extra field tells, 0 where it tells none."""
    if not header[_FLAGS_AT] & _EXTRA:
        return 0
    at = _FIXED_BYTES + 2
    end = at + int.from_bytes(header[at - 2 : at], "little")
    while at + 4 <= end:
        size = int.from_bytes(header[at + 2 : at + 4], "little")
        if header[at : at + 2] == b"BC" and size == 2 and at + 6 <= end:
            return int.from_bytes(header[at + 4 : at + 6], "little") + 1
        at += 4 + size
    return 0


def _whole_blocks(data: bytes, at: int, limit_bytes: int) -> tuple[int, int, int]:
    """Return the end and the number of the whole BGZF blocks with text, and how much they claim."""
    blocks = text_bytes = 0
    while data.startswith(_BGZF_START, at) and data.startswith(_BGZF_EXTRA, at + 10):
        end = at + int.from_bytes(data[at + 16 : at + 18], "little") + 1
        if not at + _HEADER_BYTES + _TRAILER_BYTES <= end <= len(data):
            break
        claimed = int.from_bytes(data[end - 4 : end], "little")
        if not 0 < claimed <= min(_BGZF_MAX_TEXT_BYTES, limit_bytes - text_bytes):
            break
        at = end
        blocks += 1
        text_bytes += claimed
    return at, blocks, text_bytes


def _text_of_members(members: memoryview, text_bytes: int) -> bytes | None:
    """Return the text of whole gzip members, or None unless it is intact and as long as claimed.

    One call for all, because each call has to wait for the interpreter lock.
    """
    reader = _READER(members, len(members))
    try:
        text: bytes = reader.read(text_bytes)
        return text if len(text) == text_bytes and not reader.read(1) else None
    except (OSError, EOFError, _INFLATE_ERROR):
        return None
