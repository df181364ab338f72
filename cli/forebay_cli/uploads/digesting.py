"""Reading a file once before it is sent: its SHA-256, and its CRC-64/NVME whole and by part."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from awscrt import checksums

_CHUNK_BYTES: Final = 1 << 20
_CRC_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class FileDigests:
    """What S3 is told about a file: SHA-256 as hex, CRC-64/NVME as S3 writes it (base64).

    `parts` are the checksums of consecutive parts of the size they were asked for.
    """

    size_bytes: int
    sha256: str
    crc64nvme: str
    parts: tuple[str, ...]

    @property
    def sha256_base64(self) -> str:
        """The SHA-256 as S3 writes it."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode("ascii")


def digest_file(path: Path, part_bytes: int, chunk_bytes: int = _CHUNK_BYTES) -> FileDigests:
    """Read a file once; an empty file has one empty part."""
    sha256 = hashlib.sha256()
    whole = size = 0
    parts: list[str] = []
    with path.open("rb") as file:
        while True:
            part = read = 0
            while read < part_bytes and (chunk := file.read(min(chunk_bytes, part_bytes - read))):
                sha256.update(chunk)
                whole = checksums.crc64nvme(chunk, whole)
                part = checksums.crc64nvme(chunk, part)
                read += len(chunk)
            if read or not parts:
                parts.append(crc_text(part))
                size += read
            if read < part_bytes:
                return FileDigests(size, sha256.hexdigest(), crc_text(whole), tuple(parts))


def crc_text(value: int) -> str:
    """Return a CRC-64 as S3 writes it: base64 of its big-endian bytes."""
    return base64.b64encode(value.to_bytes(_CRC_BYTES, "big")).decode("ascii")
