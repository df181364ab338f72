import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.integrity import Algorithm
from forebay.formats import any_file
from forebay.formats.any_file import FileReport, inspect_any
from forebay.formats.recognise import FileKind
from forebay.formats.source import BytesSource

BOTH = frozenset({Algorithm.MD5, Algorithm.SHA256})
READS = b"@r1\nACGT\n+\nIIII\n"
VCF = b"##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def inspect(data: bytes, name: str = "file", **_: Any) -> FileReport:
    return inspect_any(BytesSource(data, name=name), BOTH)


def dicom_file() -> bytes:
    return Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()


@pytest.mark.parametrize(
    "data,name,kind,verdict",
    [
        (dicom_file(), "a", FileKind.DICOM, Verdict.VALID),
        (dicom_file()[:-9], "a", FileKind.DICOM, Verdict.INVALID),
        (gzip.compress(dicom_file()), "a.dcm.gz", FileKind.DICOM, Verdict.INVALID),
        (READS, "a", FileKind.FASTQ, Verdict.WARNING),
        (gzip.compress(READS)[:-1], "a.fastq.gz", FileKind.FASTQ, Verdict.INVALID),
        (VCF, "a", FileKind.VCF, Verdict.VALID),
        (b"", "a.bam", FileKind.BAM, Verdict.INVALID),
        (b"<RunInfo>", "a", FileKind.RUN_INFO, Verdict.INVALID),
        (b"[Header]\n[Data]\nSample_ID,index\n", "a", FileKind.SAMPLE_SHEET, Verdict.WARNING),
        (hashlib.md5(READS).hexdigest().encode(), "a.md5", FileKind.MANIFEST, Verdict.VALID),  # noqa: S324
        (b"", "a.md5", FileKind.MANIFEST, Verdict.INVALID),
        (b"hello\n", "a.txt", FileKind.UNKNOWN, Verdict.UNSUPPORTED),
    ],
)
def test_every_kind_gets_its_verdict_and_all_digests(
    data: bytes, name: str, kind: FileKind, verdict: Verdict
) -> None:
    report = inspect(data, name)
    assert (report.kind, report.verdict) == (kind, verdict)
    assert bool(report.findings) is (verdict is not Verdict.VALID)
    assert {each.algorithm: each.value for each in report.digests} == {
        Algorithm.MD5: hashlib.md5(data).hexdigest(),  # noqa: S324
        Algorithm.SHA256: hashlib.sha256(data).hexdigest(),
    }


def test_what_identifies_a_person_is_kept_apart() -> None:
    report = inspect(dicom_file())
    assert report.subject["PatientID"] == "1CT1"
    assert "PatientID" not in report.metadata


def test_an_empty_file_of_no_kind_is_called_empty() -> None:
    assert inspect(b"").findings[0].code is ReasonCode.EMPTY_OBJECT


def test_a_huge_checksum_list_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_file, "SMALL_FILE_MAX_BYTES", 10)
    report = inspect(b"x" * 11, "a.md5")
    assert report.verdict is Verdict.INVALID
    assert report.findings[0].code is ReasonCode.LIMIT_EXCEEDED
    assert report.digests


def test_content_corrects_the_kind_that_a_name_promised() -> None:
    assert inspect(VCF, "a.bam").kind is FileKind.VCF
