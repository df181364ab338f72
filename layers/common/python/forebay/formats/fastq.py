"""FASTQ in one pass: digests of the stored bytes, structure, and statistics.

The format is the strict four-line one of Cock et al. 2010 (doi:10.1093/nar/gkp1137): no wrapped
sequences, no blank lines, and a `+` line that is empty or repeats the name.
"""

import ctypes
import functools
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.integrity import Algorithm
from forebay.domain.sequencing import ReadsFile
from forebay.formats.digests import MultiDigest, WorkerThread
from forebay.formats.fastq_records import FastqRecords
from forebay.formats.gzipped import FOREIGN_MAGIC, Inflater

__all__ = ["DEFAULT_ALGORITHMS", "inspect_fastq"]

DEFAULT_ALGORITHMS: Final = (Algorithm.MD5, Algorithm.SHA256)

_PIECE_BYTES: Final = 1 << 20
# What the reading may be ahead of the parsing.
_QUEUED_CALLS: Final = 8
# Of malloc.h; larger blocks are returned to the system at once, and fetched again for each batch.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BLOCK_BYTES: Final = 16 << 20
_KEPT_BYTES: Final = 32 << 20

_GZIP_MAGIC: Final = b"\x1f\x8b"
_FOREIGN_MAGIC: Final = ((b"BZh", "bzip2"), *FOREIGN_MAGIC)
_MAGIC_BYTES: Final = 6
_GZIP_SUFFIXES: Final = (".gz", ".bgz", ".bgzf", ".gzip")


def inspect_fastq(
    chunks: Iterable[bytes],
    *,
    name: str,
    algorithms: Collection[Algorithm] = DEFAULT_ALGORITHMS,
) -> Inspection[ReadsFile]:
    """Inspect a FASTQ file, plain, gzip or BGZF, given as the stream of its stored bytes.

    Every chunk is taken, whatever the content turns out to be, so the digests always cover the
    whole file. `name` is the file's name: it tells what compression the sender meant.
    """
    _keep_freed_memory()
    stored = MultiDigest(algorithms)
    with WorkerThread("parse", queued=_QUEUED_CALLS) as parsing:
        content = _Content(name, parsing)
        for chunk in chunks:
            # Whether inflating or parsing takes longer differs from file to file.
            parsing.share(stored.update, chunk, size_bytes=len(chunk))
            content.feed(chunk)
        content.finish()
    verdict, record, findings = content.conclude()
    return Inspection(
        verdict=verdict,
        record=record,
        findings=findings,
        digests=stored.digests(),
        bytes_read=stored.size_bytes,
        requests=1,
    )


@functools.cache
def _keep_freed_memory() -> None:
    """Let the C library keep what is freed; a third of the time went into fetching it anew."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


class _Text:
    """Hands the pieces of a text, some at a time, to the records on the worker's thread.

    Until the worker is done, `records` is its own.
    """

    def __init__(self, worker: WorkerThread) -> None:
        self.records = FastqRecords()
        self._worker = worker
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    @property
    def is_refused(self) -> bool:
        """Whether the text exceeds a bound, so that whoever produces it can stop."""
        return self.records.gave_up

    def feed(self, piece: bytes) -> None:
        """Take the next piece of text."""
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        if self._size_bytes >= _PIECE_BYTES:
            self._hand_over()

    def finish(self) -> None:
        """Say that the text ends here."""
        self._hand_over()
        self._worker.submit(lambda _: self.records.finish(), None, size_bytes=0)

    def _hand_over(self) -> None:
        pieces, size_bytes = self._pieces, self._size_bytes
        self._pieces, self._size_bytes = [], 0
        self._worker.submit(self.records.feed, pieces, size_bytes=size_bytes)


class _Content:
    """Recognises how the stored bytes are compressed and hands the text on."""

    def __init__(self, name: str, parsing: WorkerThread) -> None:
        self._is_named_gzip = name.lower().endswith(_GZIP_SUFFIXES)
        self._text = _Text(parsing)
        self._inflater: Inflater | None = None
        self._start = b""
        self._started = False
        self._foreign = ""

    def feed(self, chunk: bytes) -> None:
        if not self._started:
            self._start += chunk
            if len(self._start) < _MAGIC_BYTES:
                return
            chunk = self._open()
        for text in self._texts(chunk):
            self._text.feed(text)

    def finish(self) -> None:
        if not self._started and self._start:
            for text in self._texts(self._open()):
                self._text.feed(text)
        if self._inflater is not None:
            self._inflater.finish()
        self._text.finish()

    def conclude(self) -> tuple[Verdict, ReadsFile | None, tuple[Finding, ...]]:
        """Return the verdict, the record if it is acceptable, and why; after `finish`."""
        if self._foreign:
            return Verdict.UNSUPPORTED, None, (_unsupported(self._foreign),)
        if refusal := self._refusal():
            return Verdict.INVALID, None, (refusal,)
        record, warnings = self._text.records.conclude(compression=self._compression())
        if self._inflater is not None and not self._is_named_gzip:
            warnings = (*warnings, _GZIP_WITHOUT_SUFFIX)
        return Verdict.WARNING if warnings else Verdict.VALID, record, warnings

    def _open(self) -> bytes:
        self._started = True
        self._foreign = next((kind for magic, kind in _FOREIGN_MAGIC if self._is(magic)), "")
        if self._is(_GZIP_MAGIC):
            self._inflater = Inflater(output_bytes=_PIECE_BYTES)
        start, self._start = self._start, self._start[:_MAGIC_BYTES]
        return start

    def _is(self, magic: bytes) -> bool:
        return self._start.startswith(magic)

    def _texts(self, chunk: bytes) -> Iterator[bytes]:
        if self._foreign or self._text.is_refused:
            return
        if self._inflater is None:
            for at in range(0, len(chunk), _PIECE_BYTES):
                yield chunk[at : at + _PIECE_BYTES]
            return
        for text in self._inflater.feed(chunk):
            yield text
            # A single line without end may be a decompression bomb.
            if self._text.is_refused:
                return

    def _refusal(self) -> Finding | None:
        if not self._start:
            return _EMPTY_OBJECT
        if self._inflater is None and self._is_named_gzip:
            return _NOT_GZIP
        # Damaged compressed data also shows as damaged text; the cause is the better reason.
        if self._inflater is not None and self._inflater.finding and not self._text.is_refused:
            return self._inflater.finding
        return self._text.records.finding

    def _compression(self) -> str:
        if self._inflater is None:
            return "none"
        return "bgzf" if self._inflater.is_bgzf else "gzip"


_EMPTY_OBJECT: Final = Finding(
    code=ReasonCode.EMPTY_OBJECT,
    message="The file is empty; upload it again with its content.",
    owner=Owner.SENDER,
    expected="FASTQ records",
    found="0 bytes",
)

_NOT_GZIP: Final = Finding(
    code=ReasonCode.COMPRESSION_MISLABELED,
    message=(
        "The file is named as a gzip file, but its content is not compressed; programs that trust"
        " the name will fail. Compress it or rename it, and upload it again."
    ),
    owner=Owner.SENDER,
    position="byte 0",
    expected="gzip data (bytes 1f 8b)",
    found="uncompressed data",
)

_GZIP_WITHOUT_SUFFIX: Final = Finding(
    code=ReasonCode.COMPRESSION_MISLABELED,
    message="The file is gzip-compressed, but its name does not say so.",
    owner=Owner.SENDER,
    position="byte 0",
    expected="a name that ends in .gz",
)


def _unsupported(kind: str) -> Finding:
    return Finding(
        code=ReasonCode.UNSUPPORTED_FORMAT,
        message=(
            f"The file is compressed with {kind}; Forebay reads FASTQ plain or gzip-compressed."
            " Recompress it with gzip or bgzip and upload it again."
        ),
        owner=Owner.SENDER,
        position="byte 0",
        expected="plain text or gzip",
        found=kind,
    )
