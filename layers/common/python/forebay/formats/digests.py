"""Several digests of one stream in one pass, computed beside the reader."""

import hashlib
import importlib
import os
import queue
import threading
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from forebay.domain.integrity import CRYPTOGRAPHIC, DIGEST_BYTES, Algorithm, Digest, Witness

__all__ = ["MultiDigest", "SharedDigest", "WorkerThread", "can_compute", "digest_chunks"]

Data = TypeVar("Data")

_HASHLIB: Final = frozenset(CRYPTOGRAPHIC)
_AWSCRT: Final = {Algorithm.CRC32C: "crc32c", Algorithm.CRC64NVME: "crc64nvme"}

# From fast to slow, as processors with SHA extensions are.
_SLOWNESS: Final = (
    Algorithm.CRC64NVME,
    Algorithm.CRC32C,
    Algorithm.CRC32,
    Algorithm.SHA1,
    Algorithm.SHA224,
    Algorithm.SHA256,
    Algorithm.SHA384,
    Algorithm.SHA512,
    Algorithm.MD5,
)

# Handing a chunk to another thread costs about as much as hashing this many bytes.
_WORTH_A_THREAD_BYTES: Final = 32 << 10
_QUEUED_CALLS: Final = 3
# So many shared calls wait for the worker before they are done without it.
_SHARED_CALLS: Final = 3


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


class SharedDigest:
    """Several digests in two parts of about equal work, for two threads: the slowest, and the rest.

    Both parts must be fed with the whole stream.
    """

    def __init__(self, algorithms: Collection[Algorithm]) -> None:
        slowest = max(algorithms, key=_SLOWNESS.index, default=None)
        self.slowest = MultiDigest([slowest] if slowest else [])
        self.others = MultiDigest([each for each in algorithms if each is not slowest])

    @property
    def size_bytes(self) -> int:
        """The size of the stream."""
        return self.slowest.size_bytes

    def digests(self) -> tuple[Digest, ...]:
        """Return the digests so far, in the order of `Algorithm`."""
        found = {each.algorithm: each for each in self.slowest.digests() + self.others.digests()}
        return tuple(found[each] for each in Algorithm if each in found)


class WorkerThread:
    """Runs calls that take data in order on one thread, at most `queued` calls behind.

    hashlib, isal and our C release the interpreter lock, so such work overlaps with reading on. The
    thread starts with the first data that is worth it, and only where the process may use as many
    `processors`; leaving the context waits for it. Calls are to be submitted by one thread.
    """

    def __init__(self, name: str, *, processors: int = 2, queued: int = _QUEUED_CALLS) -> None:
        self._name = name
        self._has_processor = _processors() >= processors
        self._queue: queue.Queue[Callable[[], object] | None] = queue.Queue(queued)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._shared: deque[Callable[[], object]] = deque()
        self._sharing = threading.Lock()

    def share(self, call: Callable[[Data], object], data: Data, *, size_bytes: int) -> None:
        """Call `call(data)` after every call shared before, on whichever thread has time for it.

        The worker takes one whenever nothing else is left for it to do; what it has no time for is
        done here. Shared and submitted calls are not ordered among each other.
        """
        if self._thread is None:
            self._start_for(size_bytes)
        if self._thread is None:
            call(data)
            return
        self._shared.append(partial(call, data))
        while len(self._shared) > _SHARED_CALLS:
            self._do_shared()

    def submit(self, call: Callable[[Data], object], data: Data, *, size_bytes: int) -> None:
        """Call `call(data)` soon, after every call submitted before."""
        if self._thread is None:
            self._start_for(size_bytes)
        if self._thread is None:
            call(data)
        else:
            self._queue.put(partial(call, data))

    def close(self) -> None:
        """Wait until everything submitted is done; raises what a call raised."""
        if self._thread is not None:
            while self._do_shared():
                pass
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _start_for(self, size_bytes: int) -> None:
        if size_bytes >= _WORTH_A_THREAD_BYTES and self._has_processor:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                call = self._next()
                if call is None:
                    return
                if self._error is None:
                    call()
            except BaseException as error:  # noqa: BLE001 - handed to the submitter by close()
                self._error = error

    def _next(self) -> Callable[[], object] | None:
        while True:
            try:
                return self._queue.get_nowait()
            except queue.Empty:
                if not self._do_shared():
                    return self._queue.get()

    def _do_shared(self) -> bool:
        """Do the next shared call, on whichever thread this is; False when there is none."""
        with self._sharing:
            if not self._shared:
                return False
            call = self._shared.popleft()
            call()
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def digest_chunks(
    chunks: Iterable[bytes], algorithms: Collection[Algorithm]
) -> tuple[tuple[Digest, ...], int]:
    """Return the digests of a stream, vouched for by Forebay, and its size in bytes."""
    digest = SharedDigest(algorithms)
    with WorkerThread("hash-1") as first, WorkerThread("hash-2") as second:
        for chunk in chunks:
            first.submit(digest.slowest.update, chunk, size_bytes=len(chunk))
            second.submit(digest.others.update, chunk, size_bytes=len(chunk))
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
