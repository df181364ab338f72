"""Indexes as samtools, bcftools and tabix write them; small ones are written out here."""

import gzip
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.indexes import DataIndex
from forebay.domain.inspection import Inspection
from forebay.formats.hts_index import index_format, inspect_index

PSEUDO_BIN = 37450
UNPLACED = struct.pack("<Q", 3)


def at(byte: int) -> int:
    return byte << 16 | 5


def bins(*, csi: bool, counted: bool = True) -> bytes:
    offset = struct.pack("<Q", at(50)) if csi else b""
    said = struct.pack("<I", 4681) + offset + struct.pack("<iQQ", 1, at(50), at(70))
    if counted:
        said += struct.pack("<I", PSEUDO_BIN) + offset
        said += struct.pack("<iQQQQ", 2, at(50), at(70), 6, 1)
    return struct.pack("<i", 1 + counted) + said


WINDOWS = struct.pack("<iQ", 1, at(50))
EMPTY_REFERENCE = bytes(8)
BAI = b"BAI\1" + struct.pack("<i", 2) + bins(csi=False) + WINDOWS + EMPTY_REFERENCE + UNPLACED
CSI = (b"CSI\1" + struct.pack("<iii", 14, 5, 2) + b"xx" + struct.pack("<i", 2) + bins(csi=True)) + (
    bytes(4) + UNPLACED
)
TBI = b"TBI\1" + struct.pack("<8i", 1, 2, 1, 2, 0, 35, 0, 5) + b"chr1\0"
TBI += bins(csi=False) + WINDOWS + bytes(8)
CRAI = b"0\t24\t198\t44\t10\t37\n1\t1\t9\t91\t10\t30\n-1\t0\t1\t131\t10\t30\n"


def inspect(data: bytes, name: str) -> Inspection[DataIndex]:
    return inspect_index(data, name=name)


@pytest.mark.parametrize(
    "data, name, expected",
    [
        (BAI, "a.bam.bai", DataIndex("bai", 2, 10, 70)),
        (BAI[:-8], "a.bai", DataIndex("bai", 2, None, 70)),
        (gzip.compress(CSI), "a.bam.csi", DataIndex("csi", 2, 10, 70)),
        (gzip.compress(TBI), "a.vcf.gz.tbi", DataIndex("tbi", 1, 7, 70)),
        (gzip.compress(CRAI), "a.cram.crai", DataIndex("crai", 2, None, 171)),
        (CRAI, "a.crai", DataIndex("crai", 2, None, 171)),
    ],
)
def test_an_index_tells_references_records_and_how_far_it_leads(
    data: bytes, name: str, expected: DataIndex
) -> None:
    inspection = inspect(data, name)
    assert inspection.verdict is Verdict.VALID
    assert inspection.record == expected


def test_an_index_without_counts_promises_none() -> None:
    data = b"BAI\1" + struct.pack("<i", 1) + bins(csi=False, counted=False) + WINDOWS + UNPLACED
    assert inspect(data, "a.bai").record == DataIndex("bai", 1, None, 70)


@pytest.mark.parametrize(
    "data, name",
    [
        (b"BAM\1" + BAI[4:], "a.bam.bai"),
        (b"words\n", "a.bam.bai"),
        (b"words\n", "a.cram.crai"),
        (BAI + b"x", "a.bam.bai"),
        (b"BAI\1" + struct.pack("<ii", 1, -1), "a.bam.bai"),
        (b"BAI\1" + struct.pack("<i", (1 << 20) + 1) + bytes(9 << 20), "a.bam.bai"),
        (b"BAI\1" + struct.pack("<iiIi", 1, 1, 4681, 2**31 - 1), "a.bam.bai"),
        (b"CSI\1" + struct.pack("<iii", 14, 5000, 0) + bytes(9), "a.bam.csi"),
        (b"CSI\1" + struct.pack("<iii", 14, 5, -9) + bytes(9), "a.bam.csi"),
        (b"TBI\1" + struct.pack("<8i", 1, 2, 1, 2, 0, 35, 0, -30) + bytes(30), "a.vcf.gz.tbi"),
    ],
)
def test_what_is_no_index_is_refused(data: bytes, name: str) -> None:
    inspection = inspect(data, name)
    assert inspection.verdict is Verdict.INVALID
    assert inspection.findings[0].code is ReasonCode.INDEX_MALFORMED


def test_an_empty_index_is_an_empty_object() -> None:
    assert inspect(b"", "a.bam.bai").findings[0].code is ReasonCode.EMPTY_OBJECT


def test_a_damaged_compression_tells_where() -> None:
    finding = inspect(gzip.compress(CSI)[:-9], "a.bam.csi").findings[0]
    assert finding.code is ReasonCode.GZIP_TRUNCATED


@given(st.integers(0, len(BAI) - 1).filter(lambda size: size != len(BAI) - 8))
def test_no_cut_index_is_valid(size: int) -> None:
    assert inspect(BAI[:size], "a.bam.bai").verdict is Verdict.INVALID


@given(st.binary(max_size=80))
def test_any_bytes_are_judged(data: bytes) -> None:
    for magic, name in [(b"BAI\1", "a.bai"), (b"CSI\1", "a.csi"), (b"TBI\1", "a.tbi")]:
        inspect(magic + data, name)
    inspect(data, "a.cram.crai")


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("x", BAI, "bai"),
        ("x", CSI, "csi"),
        ("x", TBI, "tbi"),
        ("x.crai", CRAI, "crai"),
        ("x.CRAM.CRAI", b"", "crai"),
        ("a.vcf.bgz.tbi", b"words", "tbi"),
        ("x", CRAI, ""),
        ("notes.bai", b"words", ""),
        ("a.bam", b"BAM\1", ""),
    ],
)
def test_an_index_is_known_by_content_or_by_a_name_beside_data(
    name: str, content: bytes, expected: str
) -> None:
    assert index_format(name, content) == expected
