"""What kind of file this is: by its first bytes, and by its name only where bytes cannot tell."""

import re
from enum import StrEnum
from typing import Any, Final

from isal import isal_zlib

from forebay.domain.alignments import indexed_file_names
from forebay.domain.checksum_names import DIGEST_WORDS
from forebay.formats.hts_index import index_format
from forebay.formats.manifests import is_checksum_name

__all__ = ["HEAD_BYTES", "FileKind", "is_index", "recognise"]

HEAD_BYTES: Final = 64 << 10
_TEXT_BYTES: Final = 4096
_GZIP: Final = b"\x1f\x8b"
_INFLATE_ERROR: Any = isal_zlib.error
_DICOM_AT: Final = 128
_BAI: Final = b"BAI\x01"
_TABIX: Final = b"TBI\x01"
_TABIX_PRESET_AT: Final = 8
_TABIX_VCF: Final = b"\x02"


class FileKind(StrEnum):
    """Kinds of files that Forebay can judge, as `forebay inspect` names them."""

    DICOM = "dicom"
    FASTQ = "fastq"
    SAM = "sam"
    BAM = "bam"
    CRAM = "cram"
    VCF = "vcf"
    BCF = "bcf"
    RUN_INFO = "run_info"
    RUN_PARAMETERS = "run_parameters"
    SAMPLE_SHEET = "sample_sheet"
    MANIFEST = "manifest"
    UNKNOWN = "unknown"


_BINARY: Final = (
    (b"BAM\x01", FileKind.BAM),
    (b"CRAM", FileKind.CRAM),
    (b"BCF\x02", FileKind.BCF),
    (b"BCF\x04", FileKind.BCF),
)
_SAM_HEADER: Final = re.compile(rb"@(?:HD|SQ|RG|PG|CO)\t")
_SAM_RECORD: Final = re.compile(
    rb"[^\t@\n][^\t\n]*\t\d+\t[^\t\n]+\t\d+\t\d+\t(?:\*|[0-9MIDNSHPX=]+)\t"
)
# Two records' worth of shape: a name, bases, and whatever follows; blank lines may come first.
_FASTQ: Final = re.compile(rb"(?:\s*\n)?@\S[^\n]*\r?\n[A-Za-z.*=-]+\r?\n[^\t\n]")
# Digests as coreutils, BSD and base64 writers put them, hashdeep, SFV, and tables with a heading.
# Base64 counts only with its padding: else every line of a long word and a blank would do.
_MANIFEST: Final = re.compile(
    rb"\\?[0-9A-Fa-f]{32,128}(?:[ \t][^\n]+)?(?:\r?\n|$)"
    rb"|(?:[0-9A-Za-z+/]{22}==|[0-9A-Za-z+/]{27}=|[0-9A-Za-z+/]{38}==|[0-9A-Za-z+/]{43}=|[0-9A-Za-z+/]{86}==)"
    rb"[ \t][ *]?[^\n]+(?:\r?\n|$)"
    rb"|(?:MD5|SHA-?\d+)[^\n]*\([^\n]+\) ?= ?[0-9A-Fa-f]{32}"
    rb"|%%%% HASHDEEP-"
    rb"|(?:;[^\n]*\n)+[^\n;]+ [0-9A-Fa-f]{8}\r?(?:\n|$)"
    rb"|[^\n]*\t(?:" + DIGEST_WORDS.encode() + rb")(?:sum)?[\t\r\n]",
    re.IGNORECASE,
)
# Many a JSON is called so; one that pairs names with digests from its start is meant as a manifest.
_JSON_MANIFEST_NAME: Final = re.compile(
    r"(?:^|/)[^/]*(?:manifest|checksum|md5|sha\d+)[^/]*\.json$", re.IGNORECASE
)
_JSON_MANIFEST: Final = re.compile(
    rb"\s*+[{\[][^\0]{0,4096}?\"(?:(?:md5|sha-?(?:1|224|256|384|512))(?:sum)?|checksums?|digests?)"
    rb"\"\s*+:"
    rb"|\s*+\{\s*+\"[^\"\0]{1,1024}\"\s*+:\s*+\"[0-9A-Fa-f]{32,128}\"",
    re.IGNORECASE,
)
# What may stand before the root; possessive, since a stranger's bytes could be split many ways.
_PROLOG: Final = rb"(?>\s++|<\?(?>.*?\?>)|<!--(?>.*?-->)|<!DOCTYPE[^<>\[]*+(?:\[(?>.*?\]\s*>)|>))*+"
_RUN_INFO: Final = re.compile(_PROLOG + rb"<(?:\w+:)?RunInfo[\s/>]", re.DOTALL)
_RUN_PARAMETERS: Final = re.compile(
    _PROLOG + rb"<(?:\w+:)?RunParameters[\s/>]", re.DOTALL | re.IGNORECASE
)
# A section first, blank lines and comments aside; and not the key=value of other programs.
_SHEET: Final = re.compile(
    rb"(?>(?:[\s,;]|#[^\r\n]*+[\r\n])*+)"
    rb'"?\[(?:Header|Data|Settings|Reads|BCLConvert_\w+|Manifests)\][^\r\n]*+'
    rb"(?![\r\n]+[\w. ]*+=)",
    re.IGNORECASE,
)
_SHEET_SECTION: Final = re.compile(
    rb'^\s*"?\[(?:Header|Data|BCLConvert_Data)\]', re.MULTILINE | re.IGNORECASE
)
_NO_PREAMBLE: Final = re.compile(rb"\x02\x00[\x00-\x16]\x00(?:UL|OB|UI|SH)|\x08\x00[\x00-\x18]\x00")
_NAMES: Final = (
    (re.compile(r"\.(?:fastq|fq)(?:\.\w+)?$", re.IGNORECASE), FileKind.FASTQ),
    # Not the indexes of GATK and bgzip, which are no business of ours.
    (re.compile(r"\.g?vcf(?!(?:\.\w+)*\.(?:idx|gzi)$)(?:\.\w+)*$", re.IGNORECASE), FileKind.VCF),
    (re.compile(r"\.sfv$", re.IGNORECASE), FileKind.MANIFEST),
    (re.compile(r"\.bam$", re.IGNORECASE), FileKind.BAM),
    (re.compile(r"\.cram$", re.IGNORECASE), FileKind.CRAM),
    (re.compile(r"\.bcf$", re.IGNORECASE), FileKind.BCF),
    (re.compile(r"\.sam(?:\.b?gz)?$", re.IGNORECASE), FileKind.SAM),
    (re.compile(r"\.(?:dcm|dicom|ima)$|(?:^|/)DICOMDIR$", re.IGNORECASE), FileKind.DICOM),
    (re.compile(r"(?:^|/)RunInfo[^/]*\.xml$", re.IGNORECASE), FileKind.RUN_INFO),
    (re.compile(r"(?:^|/)RunParameters[^/]*\.xml$", re.IGNORECASE), FileKind.RUN_PARAMETERS),
    (
        re.compile(r"(?:^|/)[^/]*sample_?sheet[^/]*\.csv[^/]*$", re.IGNORECASE),
        FileKind.SAMPLE_SHEET,
    ),
)


def recognise(name: str, head: bytes) -> FileKind:
    """Return the kind of a file from its name and its first `HEAD_BYTES` bytes.

    The content decides where it can: a BAM named .txt is a BAM. A name decides for what cannot be
    read at all, so that a broken FASTQ is judged as a FASTQ.
    """
    if is_checksum_name(name):
        return FileKind.MANIFEST
    content = _content(head)
    # Qualities of reads may spell DICM just there; a preamble that looks like reads is no DICOM.
    if content[_DICOM_AT : _DICOM_AT + 4] == b"DICM" and not _FASTQ.match(content):
        return FileKind.DICOM
    if index_format(name, content):
        return _indexed_kind(name, content)
    if _JSON_MANIFEST_NAME.search(name) and _JSON_MANIFEST.match(content):
        return FileKind.MANIFEST
    return _by_content(content) or _by_name(name) or _by_looks(content) or FileKind.UNKNOWN


def is_index(name: str, head: bytes) -> bool:
    """Tell whether a file is an index; `recognise` gives the kind of what it indexes."""
    return bool(index_format(name, _content(head)))


def _indexed_kind(name: str, content: bytes) -> FileKind:
    """Return the kind of an index's data: by the data's name, else by the index."""
    for data_name in indexed_file_names(name)[:1]:
        if name.lower().startswith(data_name.lower()) and (kind := _by_name(data_name)):
            return kind
    if content.startswith(_TABIX):
        is_vcf = content[_TABIX_PRESET_AT : _TABIX_PRESET_AT + 1] == _TABIX_VCF
        return FileKind.VCF if is_vcf else FileKind.UNKNOWN
    if content.startswith(_BAI):
        return FileKind.BAM
    return FileKind.CRAM if index_format(name, content) == "crai" else FileKind.UNKNOWN


def _by_content(content: bytes) -> FileKind | None:
    for magic, kind in _BINARY:
        if content.startswith(magic):
            return kind
    text = content[:_TEXT_BYTES].removeprefix(b"\xef\xbb\xbf")
    if text.startswith((b"##fileformat=", b"#CHROM\t")):
        return FileKind.VCF
    if _SAM_HEADER.match(text):
        return FileKind.SAM
    if _RUN_INFO.match(text):
        return FileKind.RUN_INFO
    if _RUN_PARAMETERS.match(text):
        return FileKind.RUN_PARAMETERS
    is_sheet = _SHEET.match(text) and _SHEET_SECTION.search(text.replace(b"\r", b"\n"))
    return FileKind.SAMPLE_SHEET if is_sheet else None


def _by_name(name: str) -> FileKind | None:
    return next((kind for pattern, kind in _NAMES if pattern.search(name)), None)


def _by_looks(content: bytes) -> FileKind | None:
    if _FASTQ.match(content):
        return FileKind.FASTQ
    if _SAM_RECORD.match(content):
        return FileKind.SAM
    if _MANIFEST.match(content) and b"\0" not in content[:_TEXT_BYTES]:
        return FileKind.MANIFEST
    return FileKind.DICOM if _NO_PREAMBLE.match(content) else None


def _content(head: bytes) -> bytes:
    return _inflated(head) if head.startswith(_GZIP) else head


def _inflated(head: bytes) -> bytes:
    try:
        start: bytes = isal_zlib.decompressobj(wbits=31).decompress(head, _TEXT_BYTES)
    except _INFLATE_ERROR:
        return b""
    return start
