"""One judgement for any file: recognise it, call the parser of its kind, add digests."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.inspection import ByteSource, Inspection
from forebay.domain.integrity import Algorithm, Digest
from forebay.formats.dicom import inspect_dicom
from forebay.formats.digests import digest_chunks
from forebay.formats.fastq import inspect_fastq
from forebay.formats.hts import inspect_hts
from forebay.formats.hts_index import INDEX_MAX_BYTES, inspect_index
from forebay.formats.manifests import inspect_checksum_file
from forebay.formats.recognise import HEAD_BYTES, FileKind, is_index, recognise
from forebay.formats.runs import inspect_run_info, inspect_run_parameters, inspect_sample_sheet
from forebay.formats.source import stream_source

__all__ = ["FileReport", "inspect_any"]

SMALL_FILE_MAX_BYTES: Final = 64 << 20
"""Run files, sheets and checksum lists are read whole; none is ever near this."""
_HTS: Final = frozenset({FileKind.SAM, FileKind.BAM, FileKind.CRAM, FileKind.VCF, FileKind.BCF})


class _Described(Protocol):
    def as_metadata(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class FileReport:
    """What is known of one file after reading it once.

    `subject` holds the attributes that identify a person, apart from the others.
    """

    kind: FileKind
    verdict: Verdict
    findings: tuple[Finding, ...]
    digests: tuple[Digest, ...]
    metadata: Mapping[str, Any]
    subject: Mapping[str, str]


def inspect_any(source: ByteSource, algorithms: Collection[Algorithm]) -> FileReport:
    """Judge one file; raises OSError or Trouble when it cannot be read."""
    head = source.read_range(0, HEAD_BYTES)
    kind = recognise(source.name, head)
    if kind is FileKind.DICOM:
        return _dicom(source, algorithms)
    if kind is FileKind.FASTQ:
        chunks = stream_source(source)
        return _report(kind, inspect_fastq(chunks, name=source.name, algorithms=algorithms))
    if (kind in _HTS or kind is FileKind.UNKNOWN) and is_index(source.name, head):
        return _index(kind, source, algorithms)
    if kind in _HTS:
        chunks = stream_source(source)
        return _report(kind, inspect_hts(chunks, name=source.name, algorithms=algorithms))
    if kind is FileKind.UNKNOWN:
        digests, _ = digest_chunks(stream_source(source), algorithms)
        unknown = _unknown(source)
        return FileReport(kind, Verdict.UNSUPPORTED, (unknown,), digests, {}, {})
    return _small(kind, source, algorithms)


_SMALL: Final[Mapping[FileKind, Callable[..., Inspection[Any]]]] = {
    FileKind.RUN_INFO: inspect_run_info,
    FileKind.RUN_PARAMETERS: inspect_run_parameters,
    FileKind.SAMPLE_SHEET: inspect_sample_sheet,
    FileKind.MANIFEST: inspect_checksum_file,
}


def _small(kind: FileKind, source: ByteSource, algorithms: Collection[Algorithm]) -> FileReport:
    return _whole(kind, _SMALL[kind], source, algorithms, max_bytes=SMALL_FILE_MAX_BYTES)


def _index(kind: FileKind, source: ByteSource, algorithms: Collection[Algorithm]) -> FileReport:
    """Judge an index by itself; one that is sound lacks nothing but the data it indexes."""
    report = _whole(kind, inspect_index, source, algorithms, max_bytes=INDEX_MAX_BYTES)
    if report.verdict is not Verdict.VALID:
        return report
    return replace(report, verdict=Verdict.UNSUPPORTED, findings=(_LONE_INDEX,))


def _whole(
    kind: FileKind,
    inspect: Callable[..., Inspection[Any]],
    source: ByteSource,
    algorithms: Collection[Algorithm],
    *,
    max_bytes: int,
) -> FileReport:
    if source.size_bytes > max_bytes:
        digests, _ = digest_chunks(stream_source(source), algorithms)
        too_large = _too_large(source, max_bytes)
        return FileReport(kind, Verdict.INVALID, (too_large,), digests, {}, {})
    data = b"".join(stream_source(source))
    digests, _ = digest_chunks([data], algorithms)
    return _report(kind, inspect(data, name=source.name), digests)


_LONE_INDEX: Final = Finding(
    code=ReasonCode.INDEX_WITHOUT_DATA,
    message="The file is an index, and the file it indexes is not beside it under the index's name;"
    " send both together.",
    owner=Owner.SENDER,
    expected="the indexed file in the same folder",
    found="no such file",
)


def _dicom(source: ByteSource, algorithms: Collection[Algorithm]) -> FileReport:
    inspection = inspect_dicom(source)
    digests, _ = digest_chunks(stream_source(source), algorithms)
    report = _report(FileKind.DICOM, inspection, digests)
    subject = inspection.record.subject if inspection.record else {}
    return FileReport(
        report.kind, report.verdict, report.findings, digests, report.metadata, subject
    )


def _report(
    kind: FileKind, inspection: Inspection[_Described], digests: tuple[Digest, ...] = ()
) -> FileReport:
    metadata = inspection.record.as_metadata() if inspection.record else {}
    # Content may correct what the first bytes promised: a file named .vcf can hold BCF.
    said = str(metadata.get("format", "")).lower()
    return FileReport(
        FileKind(said) if said in _HTS else kind,
        inspection.verdict,
        inspection.findings,
        digests or inspection.digests,
        metadata,
        {},
    )


def _unknown(source: ByteSource) -> Finding:
    return Finding(
        code=ReasonCode.EMPTY_OBJECT if source.size_bytes == 0 else ReasonCode.UNSUPPORTED_FORMAT,
        message="Neither the content nor the name of this file is of a kind Forebay judges.",
        owner=Owner.SENDER,
        expected="DICOM, FASTQ, SAM/BAM/CRAM, VCF/BCF, run files, sample sheets, checksum lists",
        found=f"{source.size_bytes} bytes of another kind",
    )


def _too_large(source: ByteSource, max_bytes: int) -> Finding:
    return Finding(
        code=ReasonCode.LIMIT_EXCEEDED,
        message="The file is implausibly large for its kind.",
        owner=Owner.SENDER,
        expected=f"at most {max_bytes} bytes",
        found=f"{source.size_bytes} bytes",
    )
