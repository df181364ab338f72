"""Alignments and variants in one pass: digests of the stored bytes, structure, and the header.

What a file is its content says, not its name: BAM, CRAM, SAM, VCF and BCF, compressed or not.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from forebay.domain.alignments import AlignmentFile, Reference
from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.integrity import Algorithm
from forebay.domain.variants import VariantFile
from forebay.formats.digests import MultiDigest, WorkerThread
from forebay.formats.gzipped import BGZF_EOF, FOREIGN_MAGIC, Inflater
from forebay.formats.hts_assembly import guess_assembly
from forebay.formats.hts_bam import BAM_MAGIC, BamRecords
from forebay.formats.hts_bcf import BCF_MAGIC, BcfRecords
from forebay.formats.hts_bzip2 import BZIP2_MAGIC, Bunzipper
from forebay.formats.hts_cram import CRAM_MAGIC, CramContainers
from forebay.formats.hts_refusal import RefusedError, refused, suspect
from forebay.formats.hts_sam import SamText
from forebay.formats.hts_sam_header import SamHeader
from forebay.formats.hts_vcf import VcfText

__all__ = ["DEFAULT_ALGORITHMS", "HtsFile", "inspect_hts"]

HtsFile = AlignmentFile | VariantFile

DEFAULT_ALGORITHMS: Final = (Algorithm.MD5, Algorithm.SHA256)

_PIECE_BYTES: Final = 256 << 10
_GZIP_MAGIC: Final = b"\x1f\x8b"
_MAGIC_BYTES: Final = 6
_PACKED_SUFFIX: Final = r"\.(?:gz|bgz|bgzf|bz2)"
_SUFFIX: Final = re.compile(rf"\.(bam|cram|sam|bcf|vcf)(?:{_PACKED_SUFFIX})?$", re.IGNORECASE)
_PACKED: Final = re.compile(rf"{_PACKED_SUFFIX}$", re.IGNORECASE)
_INDEX_MAGIC: Final = (
    (b"BAI\x01", "a BAM index"),
    (b"CSI\x01", "a CSI index"),
    (b"TBI\x01", "a tabix index"),
)
_BOM: Final = b"\xef\xbb\xbf"
_SAM_COLUMNS: Final = 11
_FIRST_LINE_BYTES: Final = 64 << 10
_VCF_STARTS: Final = (b"##", b"#CHROM", _BOM + b"##")
_SAM_STARTS: Final = (b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t", b"@CO")
_KNOWN_STARTS: Final = (BAM_MAGIC, BCF_MAGIC, CRAM_MAGIC, *_VCF_STARTS, *_SAM_STARTS)


_Known = BamRecords | BcfRecords | CramContainers | SamText | VcfText
_KINDS: Final[dict[type, str]] = {
    BamRecords: "BAM",
    BcfRecords: "BCF",
    CramContainers: "CRAM",
    SamText: "SAM",
    VcfText: "VCF",
}


def inspect_hts(
    chunks: Iterable[bytes],
    *,
    name: str,
    algorithms: Collection[Algorithm] = DEFAULT_ALGORITHMS,
) -> Inspection[HtsFile]:
    """Inspect a SAM, BAM, CRAM, VCF or BCF file given as the stream of its stored bytes.

    Every chunk is taken, whatever the content turns out to be, so the digests always cover the
    whole file. `name` is the file's name; a warning says when it promises another format.
    """
    stored = MultiDigest(algorithms)
    with WorkerThread("forebay-hash") as hashing, WorkerThread("forebay-parse") as parsing:
        content = _Content(name, parsing)
        for chunk in chunks:
            hashing.submit(stored.update, chunk, size_bytes=len(chunk))
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


class _Content:
    """Recognises how the stored bytes are compressed and hands the content to its parser."""

    def __init__(self, name: str, parsing: WorkerThread) -> None:
        self._parsing = parsing
        self._inflater: Inflater | Bunzipper | None = None
        self._recognised = _Recogniser(name)
        self._start = b""
        self._end = b""
        self._started = False

    def feed(self, chunk: bytes) -> None:
        self._end = (self._end + chunk[-len(BGZF_EOF) :])[-len(BGZF_EOF) :]
        if not self._started:
            self._start += chunk
            if len(self._start) < _MAGIC_BYTES:
                return
            chunk = self._open()
        self._hand_on(chunk)

    def finish(self) -> None:
        if not self._started and self._start:
            self._hand_on(self._open())
        if self._inflater is not None:
            self._inflater.finish()
        self._parsing.close()
        self._recognised.finish()

    def conclude(self) -> tuple[Verdict, HtsFile | None, tuple[Finding, ...]]:
        """Return the verdict, the record if it is acceptable, and why; after `finish`."""
        if not self._start:
            return Verdict.INVALID, None, (_EMPTY_OBJECT,)
        refusal, verdict = self._recognised.finding, self._recognised.verdict
        # Damaged compressed data also shows as damaged content; the cause is the better reason.
        if self._inflater is not None and self._inflater.finding and not self._is_decided():
            refusal, verdict = self._inflater.finding, Verdict.INVALID
        is_bgzf = self._inflater is not None and self._inflater.is_bgzf
        if refusal is None and is_bgzf and self._end != BGZF_EOF:
            refusal = _ODD_END
        if refusal is not None:
            return verdict, None, (refusal,)
        try:
            record, warnings = self._recognised.conclude(
                compression=_compression(self._inflater),
            )
        except RefusedError as error:
            return error.verdict, None, (error.finding,)
        return Verdict.WARNING if warnings else Verdict.VALID, record, warnings

    def _open(self) -> bytes:
        self._started = True
        start = self._start
        if start.startswith(_GZIP_MAGIC):
            self._inflater = Inflater(output_bytes=_PIECE_BYTES)
        elif start.startswith(BZIP2_MAGIC):
            self._inflater = Bunzipper()
        self._start = start[:_MAGIC_BYTES]
        return start

    def _hand_on(self, chunk: bytes) -> None:
        for text in self._texts(chunk):
            self._parsing.submit(self._recognised.feed, text, size_bytes=len(text))

    def _texts(self, chunk: bytes) -> Iterator[bytes]:
        if self._is_decided():
            return
        if self._inflater is None:
            for at in range(0, len(chunk), _PIECE_BYTES):
                yield chunk[at : at + _PIECE_BYTES]
            return
        for text in self._inflater.feed(chunk):
            yield text
            if self._is_decided():
                return

    def _is_decided(self) -> bool:
        """Tell whether the content is refused whatever follows.

        BGZF blocks are whole and verified before their text is seen, so a broken rule is a broken
        rule. Text of plain gzip is seen before its checksum is; damage found later explains more.
        But what exceeds a bound may be a decompression bomb and is not inflated to its end.
        """
        refusal = self._recognised.refusal_of_content
        if refusal is None:
            return False
        is_verified = self._inflater is None or self._inflater.is_bgzf
        return is_verified or refusal.code is ReasonCode.LIMIT_EXCEEDED


class _Recogniser:
    """Chooses the parser by the first bytes of the content and keeps the first refusal.

    `refusal_of_content` is set only when what was read is wrong, not when its end comes too early.
    """

    def __init__(self, name: str) -> None:
        self.finding: Finding | None = None
        self.verdict = Verdict.INVALID
        self.refusal_of_content: Finding | None = None
        self._name = name
        self._start = b""
        self._parser: _Known | None = None

    def feed(self, text: bytes) -> None:
        """Take the next piece of content."""
        if self.finding is not None:
            return
        if self._parser is None:
            self._start += text
            if not _is_enough(self._start):
                return
            text = self._start
        self._guarded(lambda: self._feed(text))
        self.refusal_of_content = self.finding

    def finish(self) -> None:
        """Say that the content ends here."""
        if self.finding is None:
            self._guarded(self._finish)

    def conclude(self, *, compression: str) -> tuple[HtsFile, tuple[Finding, ...]]:
        """Return the record and its warnings; raises RefusedError for a wrong compression."""
        parser = self._parser
        if parser is None:
            raise AssertionError("content was accepted without a parser")
        if isinstance(parser, BamRecords) and compression != "bgzf":
            raise _not_bgzf("BAM")
        if isinstance(parser, CramContainers) and compression != "none":
            raise refused(
                ReasonCode.COMPRESSION_MISLABELED,
                "The CRAM file is compressed once more as a whole; programs cannot read it so."
                " Decompress it and upload it again.",
                at="byte 0",
                expected="a CRAM file",
                found=compression,
            )
        warnings = list(parser.warnings)
        if compression in ("gzip", "bzip2"):
            warnings.append(_PLAIN_GZIP)
        if compression == "none" and _PACKED.search(self._name):
            warnings.append(_NOT_COMPRESSED)
        eof = True if compression == "bgzf" else None
        kind = _kind(parser)
        if _named_kind(self._name) not in ("", kind):
            warnings.append(_misnamed(kind))
        if isinstance(parser, BcfRecords | VcfText):
            return _variants(parser, compression, eof=eof), tuple(warnings)
        record = _alignments(parser, compression, eof=eof)
        # Ordering the programs may have found a broken chain.
        chain = [w for w in parser.header.warnings.values() if w not in warnings]
        return record, (*warnings, *chain)

    def _feed(self, text: bytes) -> None:
        if self._parser is None:
            self._parser = _parser_for(self._start)
            self._start = b""
        self._parser.feed(text)

    def _finish(self) -> None:
        if self._parser is None:
            self._feed(self._start)
        if self._parser is not None:
            self._parser.finish()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except RefusedError as error:
            self.finding, self.verdict = error.finding, error.verdict


def _compression(inflater: Inflater | Bunzipper | None) -> str:
    if inflater is None:
        return "none"
    if isinstance(inflater, Bunzipper):
        return "bzip2"
    return "bgzf" if inflater.is_bgzf else "gzip"


def _parser_for(start: bytes) -> _Known:
    for magic, kind in _INDEX_MAGIC:
        if start.startswith(magic):
            raise _index(kind)
    for magic, kind in FOREIGN_MAGIC:
        if start.startswith(magic):
            raise _compressed_otherwise(kind)
    if start.startswith(BAM_MAGIC):
        return BamRecords()
    if start.startswith(BCF_MAGIC):
        return BcfRecords()
    if start.startswith(CRAM_MAGIC):
        return CramContainers()
    if start.startswith(_VCF_STARTS):
        return VcfText()
    if start.startswith(_SAM_STARTS) or _is_record(start):
        return SamText()
    raise _unknown()


def _kind(parser: _Known) -> str:
    return _KINDS[type(parser)]


def _named_kind(name: str) -> str:
    match = _SUFFIX.search(name)
    return match[1].upper() if match else ""


def _is_enough(start: bytes) -> bool:
    """Tell whether content can be recognised: a SAM record without header needs a whole line."""
    return (
        len(start) >= _FIRST_LINE_BYTES
        or (len(start) >= _MAGIC_BYTES and b"\n" in start)
        or (len(start) >= _MAGIC_BYTES and start.startswith(_KNOWN_STARTS))
    )


def _is_record(start: bytes) -> bool:
    line, _, _ = start[:_FIRST_LINE_BYTES].partition(b"\n")
    return line.count(b"\t") >= _SAM_COLUMNS - 1


def _alignments(
    parser: BamRecords | CramContainers | SamText, compression: str, *, eof: bool | None
) -> AlignmentFile:
    header: SamHeader = parser.header
    references = _references(parser)
    version = header.version
    if isinstance(parser, CramContainers):
        version, compression, eof = parser.version, "cram", parser.eof
    return AlignmentFile(
        format=_kind(parser),
        version=version,
        sort_order=header.sort_order,
        references=references,
        read_groups=tuple(header.read_groups.values()),
        samples=header.samples,
        programs=header.programs(),
        records=parser.records,
        eof=eof,
        assembly=guess_assembly(references),
        compression=compression,
    )


def _references(parser: BamRecords | CramContainers | SamText) -> tuple[Reference, ...]:
    if isinstance(parser, SamText):
        return tuple(parser.header.references.values())
    return parser.references


def _variants(parser: BcfRecords | VcfText, compression: str, *, eof: bool | None) -> VariantFile:
    header = parser.header
    return VariantFile(
        format=_kind(parser),
        file_format=header.file_format,
        samples=header.samples,
        contigs=header.references,
        records=parser.records,
        eof=eof,
        assembly=guess_assembly(header.references),
        compression=compression,
    )


_EMPTY_OBJECT: Final = Finding(
    code=ReasonCode.EMPTY_OBJECT,
    message="The file is empty; upload it again with its content.",
    owner=Owner.SENDER,
    expected="alignments or variants",
    found="0 bytes",
)

_ODD_END: Final = Finding(
    code=ReasonCode.BGZF_EOF_MISSING,
    message=(
        "The BGZF file does not end with the block that marks its end, byte for byte; programs"
        " take it for cut off. Upload the complete file again."
    ),
    owner=Owner.SENDER,
    expected="the 28-byte end-of-file block",
    found="another end",
)

_PLAIN_GZIP: Final = suspect(
    ReasonCode.NOT_BGZF,
    "The file is compressed with gzip or bzip2 instead of bgzip, so it cannot be indexed.",
    expected="BGZF blocks",
    found="another compression",
)


_NOT_COMPRESSED: Final = suspect(
    ReasonCode.COMPRESSION_MISLABELED,
    "The file is named as compressed, but is not; programs that trust its name will fail. Compress"
    " it with bgzip, or name it as what it is.",
    at="byte 0",
    expected="gzip or BGZF",
    found="plain content",
)


def _misnamed(kind: str) -> Finding:
    return suspect(
        ReasonCode.FORMAT_MISLABELED,
        f"The content is {kind}, but the name says otherwise; programs that trust it will fail.",
        at="byte 0",
        expected=f"a name that ends in .{kind.lower()}",
    )


def _not_bgzf(kind: str) -> RefusedError:
    return refused(
        ReasonCode.NOT_BGZF,
        f"The content is {kind}, but it is not compressed in BGZF blocks as {kind} must be;"
        " programs cannot index it. Write it again with samtools view -b.",
        at="byte 0",
        expected="BGZF blocks",
    )


def _index(kind: str) -> RefusedError:
    return refused(
        ReasonCode.INDEX_WITHOUT_DATA,
        f"The file is {kind}, not alignments or variants; name it as an index, and send it beside"
        " the file it indexes.",
        at="byte 0",
        expected="alignments or variants",
        found=kind,
        verdict=Verdict.UNSUPPORTED,
    )


def _compressed_otherwise(kind: str) -> RefusedError:
    return refused(
        ReasonCode.UNSUPPORTED_FORMAT,
        f"The file is compressed with {kind}; alignments and variants are read plain or compressed"
        " with bgzip or gzip. Recompress it and upload it again.",
        at="byte 0",
        expected="plain text, gzip or BGZF",
        found=kind,
        verdict=Verdict.UNSUPPORTED,
    )


def _unknown() -> RefusedError:
    return refused(
        ReasonCode.UNSUPPORTED_FORMAT,
        "The content is none of SAM, BAM, CRAM, VCF and BCF: it starts like none of them.",
        at="byte 0",
        expected="alignments or variants",
        verdict=Verdict.UNSUPPORTED,
    )
