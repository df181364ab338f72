"""Several digests of one stream in one pass, computed beside the reader."""

import hashlib
import importlib
import queue
import threading
import zlib
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Any, Final, Self

from forebay.domain.integrity import DIGEST_BYTES, Algorithm, Digest, Witness

__all__ = ["WorkerThread", "MultiDigest", "can_compute", "digest_chunks"]

_HASHLIB: Final = frozenset({Algorithm.MD5, Algorithm.SHA1, Algorithm.SHA256, Algorithm.SHA512})
_AWSCRT: Final = {Algorithm.CRC32C: "crc32c", Algorithm.CRC64NVME: "crc64nvme"}

# Handing a chunk to another thread costs about as much as hashing this many bytes.
_WORTH_A_THREAD_BYTES: Final = 32 << 10
_QUEUED_CHUNKS: Final = 32


class MultiDigest:
    """Several digests fed together.

    Algorithms that need the optional `awscrt` (CRC32C, CRC64NVME) are left out where it is not
    installed, as `can_compute` tells; `digests` then simply does not hold them.
    """

    def __init__(self, algorithms: Collection[Algorithm]) -> None:
        self.size_bytes = 0
        self._hashes = {
            algorithm: hashlib.new(algorithm.value, usedforsecurity=False)
            for algorithm in dict.fromkeys(algorithms)
            if algorithm in _HASHLIB
        }
        self._crc_functions = {
            algorithm: function
            for algorithm in dict.fromkeys(algorithms)
            if (function := _crc_function(algorithm)) is not None
        }
        self._crcs = dict.fromkeys(self._crc_functions, 0)

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        self.size_bytes += len(chunk)
        for each in self._hashes.values():
            each.update(chunk)
        for algorithm, function in self._crc_functions.items():
            self._crcs[algorithm] = function(chunk, self._crcs[algorithm])

    def digests(self) -> tuple[Digest, ...]:
        """Return the digests so far, in the order of `Algorithm`."""
        values = {algorithm: each.hexdigest() for algorithm, each in self._hashes.items()}
        for algorithm, crc in self._crcs.items():
            values[algorithm] = f"{crc:0{2 * DIGEST_BYTES[algorithm]}x}"
        return tuple(
            Digest(algorithm, values[algorithm], Witness.FOREBAY)
            for algorithm in Algorithm
            if algorithm in values
        )


class WorkerThread:
    """Runs calls that take data in order on one worker thread, at most `queued` chunks behind.

    hashlib, isal and numpy release the interpreter lock, so hashing overlaps with reading on. The
    thread starts with the first chunk that is worth it; leaving the context waits for it.
    """

    def __init__(self, *, queued: int = _QUEUED_CHUNKS) -> None:
        self._queue: queue.Queue[tuple[Callable[[bytes], object], bytes] | None] = queue.Queue(
            queued
        )
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, update: Callable[[bytes], object], data: bytes) -> None:
        """Call `update(data)` soon, after every call submitted before."""
        if self._thread is None:
            if len(data) < _WORTH_A_THREAD_BYTES:
                update(data)
                return
            self._thread = threading.Thread(target=self._run, name="forebay-hash", daemon=True)
            self._thread.start()
        self._queue.put((update, data))

    def close(self) -> None:
        """Wait until everything submitted is done; raises what an update raised."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            update, data = task
            try:
                if self._error is None:
                    update(data)
            except BaseException as error:  # noqa: BLE001 - handed to the caller by close()
                self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def digest_chunks(
    chunks: Iterable[bytes], algorithms: Collection[Algorithm]
) -> tuple[tuple[Digest, ...], int]:
    """Return the digests of a stream, vouched for by Forebay, and its size in bytes."""
    digest = MultiDigest(algorithms)
    with WorkerThread() as thread:
        for chunk in chunks:
            thread.submit(digest.update, chunk)
    return digest.digests(), digest.size_bytes


def can_compute(algorithm: Algorithm) -> bool:
    """Tell whether this installation can compute a digest."""
    return algorithm in _HASHLIB or _crc_function(algorithm) is not None


def _crc_function(algorithm: Algorithm) -> Callable[[bytes, int], int] | None:
    if algorithm is Algorithm.CRC32:
        return zlib.crc32
    if algorithm not in _AWSCRT:
        return None
    try:
        checksums: Any = importlib.import_module("awscrt.checksums")
    except ImportError:
        return None
    function: Callable[[bytes, int], int] = getattr(checksums, _AWSCRT[algorithm])
    return function
