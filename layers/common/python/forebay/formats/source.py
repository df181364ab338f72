"""Byte sources that are not in the cloud, and reading any source as a stream."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from forebay.domain.inspection import ByteSource

__all__ = ["STREAM_CHUNK_BYTES", "BytesSource", "FileSource", "stream_source"]

STREAM_CHUNK_BYTES: Final = 1 << 20


class FileSource:
    """A file on disk as a `ByteSource`; a context manager that closes it.

    Reads are positional, so one source may serve several threads. Raises OSError like `open`.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str = "") -> None:
        self._path = Path(path)
        self._name = name or str(self._path)
        self._file = self._path.open("rb", buffering=0)
        self._size_bytes = os.fstat(self._file.fileno()).st_size

    @property
    def name(self) -> str:
        """The path, or the name it was given."""
        return self._name

    @property
    def size_bytes(self) -> int:
        """Size when the file was opened, in bytes."""
        return self._size_bytes

    def read_range(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from offset `start`; shorter only at the end of the file."""
        parts: list[bytes] = []
        while length > 0 and (part := os.pread(self._file.fileno(), length, start)):
            parts.append(part)
            start += len(part)
            length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class BytesSource:
    """Bytes in memory as a `ByteSource`."""

    def __init__(self, data: bytes, *, name: str = "bytes") -> None:
        self._data = data
        self._name = name

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name

    @property
    def size_bytes(self) -> int:
        """Length of the data in bytes."""
        return len(self._data)

    def read_range(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from offset `start`; shorter only at the end."""
        return self._data[start : start + length]


def stream_source(source: ByteSource, *, chunk_bytes: int = STREAM_CHUNK_BYTES) -> Iterator[bytes]:
    """Yield a source from its first byte to its last, `chunk_bytes` at a time."""
    offset = 0
    while offset < source.size_bytes and (chunk := source.read_range(offset, chunk_bytes)):
        yield chunk
        offset += len(chunk)
