"""Alignments and variants built here byte by byte, so that every rule can be broken on purpose."""

import bz2
import gzip
import hashlib
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.domain.alignments import AlignmentFile, indexed_file_names
from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.integrity import Algorithm
from forebay.domain.variants import VariantFile
from forebay.formats.gzipped import BGZF_EOF
from forebay.formats.hts import HtsFile, inspect_hts

SAM_HEADER = (
    "@HD\tVN:1.6\tSO:coordinate\n"
    "@SQ\tSN:chr1\tLN:248956422\tM5:6aef897c3d6ff0c78aff06ac189178dd\n"
    "@SQ\tSN:chr2\tLN:242193529\n"
    "@RG\tID:a\tSM:s1\tLB:lib\tPL:ILLUMINA\tPU:FC1.1\n"
    "@RG\tID:b\tSM:s1\n"
    "@PG\tID:sort\tPN:samtools\tVN:1.20\tPP:bwa\n"
    "@PG\tID:bwa\tPN:bwa\tVN:0.7.18\n"
)
SAM_RECORD = "r{n}\t0\tchr1\t{n}\t60\t4M\t*\t0\t0\tACGT\tIIII\tNM:i:0\tRG:Z:a\n"
SAM = SAM_HEADER + "".join(SAM_RECORD.format(n=n) for n in range(1, 4))

VCF_HEADER = (
    "##fileformat=VCFv4.3\n"
    '##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    '##FORMAT=<ID=AD,Number=R,Type=Integer,Description="Depths">\n'
    '##FILTER=<ID=q10,Description="Quality below 10">\n'
    '##FILTER=<ID=s50,Description="In less than half of the samples">\n'
    "##contig=<ID=chr1,length=248956422>\n"
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\ts2\n"
)
VCF_RECORDS = (
    "chr1\t10\trs1\tA\tC\t50\tPASS\tDP=7\tGT:AD\t0/1:3,4\t./.\n"
    "chr1\t20\t.\tA\tC,<DEL>\t.\tq10;s50\tDP=8\tGT:AD\t1|2:1,2,3\t0|0:.\n"
)
VCF = VCF_HEADER + VCF_RECORDS


def inspect(data: bytes | str, *, name: str = "x", chunk: int = 1 << 20) -> Inspection[HtsFile]:
    raw = data.encode() if isinstance(data, str) else data
    return inspect_hts((raw[i : i + chunk] for i in range(0, len(raw), chunk)), name=name)


def code(data: bytes | str) -> ReasonCode | None:
    inspection = inspect(data)
    is_accepted = inspection.verdict in (Verdict.VALID, Verdict.WARNING)
    assert is_accepted == (inspection.record is not None)
    return None if is_accepted else inspection.findings[0].code


def bgzf(data: bytes, *, block: int = 200, eof: bool = True) -> bytes:
    blocks = []
    for start in range(0, len(data), block):
        text = data[start : start + block]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(text) + packer.flush()
        head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0"
        size = struct.pack("<H", len(packed) + 25)
        blocks.append(head + size + packed + struct.pack("<II", zlib.crc32(text), len(text)))
    return b"".join(blocks) + (BGZF_EOF if eof else b"")


def bam_record(
    *,
    reference: int = 0,
    position: int = 9,
    name: bytes = b"r1\0",
    cigar: Sequence[int] = (4 << 4,),
    bases: int = 4,
    quality: bytes = b"\x28",
    tags: bytes = b"NMC\0RGZa\0XBBc\x02\0\0\0\x01\x02",
) -> bytes:
    body = struct.pack(
        "<iiBBHHHiiii", reference, position, len(name), 60, 0, len(cigar), 0, bases, -1, -1, 0
    )
    body += name + struct.pack(f"<{len(cigar)}I", *cigar)
    body += b"\x12" * ((bases + 1) // 2) + quality * bases + tags
    return struct.pack("<i", len(body)) + body


def bam_content(*records: bytes, text: str = SAM_HEADER) -> bytes:
    raw = text.encode()
    data = b"BAM\1" + struct.pack("<i", len(raw)) + raw + struct.pack("<i", 2)
    for name, length in ((b"chr1\0", 248956422), (b"chr2\0", 242193529)):
        data += struct.pack("<i", len(name)) + name + struct.pack("<i", length)
    return data + b"".join(records)


BAM = bgzf(bam_content(*(bam_record(position=n) for n in range(9, 40))))


def summed(data: bytes) -> bytes:
    return data + struct.pack("<I", zlib.crc32(data))


def cram_block(method: int, kind: int, data: bytes, raw_bytes: int | None = None) -> bytes:
    raw = len(data) if raw_bytes is None else raw_bytes
    sizes = b"".join(struct.pack(">H", 0x8000 | n) for n in (len(data), raw))
    return summed(bytes([method, kind, 0]) + sizes + data)


def cram_container(
    blocks: bytes, *, records: int, count: int, landmarks: bytes, before: int = 0, start: int = 0
) -> bytes:
    fields = bytes([0, start, 0, records, before, 0, count])
    head = struct.pack("<i", len(blocks)) + fields + landmarks
    return summed(head) + blocks


CRAM_EOF = bytes.fromhex(
    "0f000000ffffffff0fe0454f46000000000100 05bdd94f 0001000606010001000100 ee63014b"
)


def cram(
    *,
    slice_records: int = 2,
    counters: Sequence[int] = (0,),
    starts: Sequence[int] = (0, 1, 2, 3),
    text: str = SAM_HEADER,
) -> bytes:
    raw = text.encode()
    packed = gzip.compress(struct.pack("<i", len(raw)) + raw, mtime=0)
    header = cram_block(1, 0, packed, len(raw) + 4)
    compression = cram_block(0, 1, b"\x01\0\x01\0\x01\0")
    blocks = [
        compression,
        cram_block(0, 2, bytes([0, 5, 4, slice_records, 0, 2, 1, 1]) + bytes(17)),
        cram_block(0, 5, b"core"),
        cram_block(4, 4, b"packed", 50),
    ]
    landmarks = bytes([1, len(compression)])
    return (
        b"CRAM\3\0"
        + bytes(20)
        + cram_container(header, records=0, count=1, landmarks=b"\0")
        + b"".join(
            cram_container(
                b"".join(blocks),
                records=2,
                count=4,
                landmarks=landmarks,
                before=before,
                start=start,
            )
            for before, start in zip(counters, starts, strict=False)
        )
        + CRAM_EOF
    )


def bcf(
    *,
    header_text: str = VCF_HEADER,
    chrom: int = 0,
    identifier: bytes = b"\x07",
    filters: bytes = b"\x00",
    info: bytes = b"",
    formats: bytes = b"",
) -> bytes:
    header = header_text.encode() + b"\0"
    counts = 2 << 16 | bool(info), 2 | bool(formats) << 24
    shared = struct.pack("<iiifII", chrom, 9, 1, 1.0, *counts)
    shared += identifier + b"\x17A\x17C" + filters + info
    record = struct.pack("<II", len(shared), len(formats)) + shared + formats
    return bgzf(b"BCF\2\2" + struct.pack("<I", len(header)) + header + record * 3)


FILES = {
    "sam": SAM.encode(),
    "bam": BAM,
    "cram": cram(),
    "vcf": VCF.encode(),
    "vcf.gz": bgzf(VCF.encode()),
    "bcf": bcf(),
}
COUNTS = {"sam": 3, "bam": 31, "cram": 2, "vcf": 2, "vcf.gz": 2, "bcf": 3}


@pytest.mark.parametrize("kind", FILES)
def test_each_format_is_recognised_by_its_content_and_counted(kind: str) -> None:
    inspection = inspect(FILES[kind], name=f"a.{kind}")
    assert inspection.verdict is Verdict.VALID
    assert inspection.record is not None
    assert inspection.record.records == COUNTS[kind]
    assert inspection.record.format == kind.removesuffix(".gz").upper()


@pytest.mark.parametrize("kind", ["sam", "bam", "cram"])
def test_header_of_alignments_tells_samples_references_and_lineage(kind: str) -> None:
    record = inspect(FILES[kind]).record
    assert isinstance(record, AlignmentFile)
    metadata = record.as_metadata()
    assert metadata["sort_order"] == "coordinate"
    assert metadata["samples"] == ["s1"]
    assert metadata["assembly"] == "GRCh38"
    assert [each["id"] for each in metadata["programs"]] == ["bwa", "sort"]
    assert metadata["references"][0]["m5"] == "6aef897c3d6ff0c78aff06ac189178dd"
    assert metadata["read_groups"][0]["platform_unit"] == "FC1.1"
    assert metadata["eof"] is (None if kind == "sam" else True)


@pytest.mark.parametrize("kind", ["vcf", "vcf.gz", "bcf"])
def test_header_of_variants_tells_format_samples_and_contigs(kind: str) -> None:
    record = inspect(FILES[kind]).record
    assert isinstance(record, VariantFile)
    metadata = record.as_metadata()
    assert metadata["file_format"] == "VCFv4.3"
    assert metadata["samples"] == ["s1", "s2"]
    assert metadata["contigs"] == [{"name": "chr1", "length": 248956422}]
    assert metadata["assembly"] == "GRCh38"


@given(kind=st.sampled_from(sorted(FILES)), chunk=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_any_chunking_gives_the_same_answer(kind: str, chunk: int) -> None:
    assert inspect(FILES[kind], chunk=chunk) == inspect(FILES[kind])


@given(kind=st.sampled_from(["bam", "cram", "vcf.gz", "bcf"]), at=st.floats(0, 1, exclude_max=True))
@settings(max_examples=200, deadline=None)
def test_any_truncation_is_refused(kind: str, at: float) -> None:
    data = FILES[kind]
    assert inspect(data[: int(at * len(data))]).record is None


@given(kind=st.sampled_from(["bam", "vcf.gz", "bcf"]), data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_flipped_bit_in_compressed_payload_is_refused(kind: str, data: st.DataObject) -> None:
    stored = bytearray(FILES[kind])
    at = data.draw(st.integers(18, len(stored) - len(BGZF_EOF) - 1))
    stored[at] ^= 1 << data.draw(st.integers(0, 7))
    # Four bytes of a block's head (time, flags, system) mean nothing to anyone.
    clean = inspect(FILES[kind])
    found = inspect(bytes(stored))
    assert found.verdict is not Verdict.VALID or found.record == clean.record


@given(at=st.integers(26, len(FILES["cram"]) - 1), bit=st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_any_flipped_bit_in_cram_is_refused(at: int, bit: int) -> None:
    stored = bytearray(FILES["cram"])
    stored[at] ^= 1 << bit
    assert inspect(bytes(stored)).record is None


@given(data=st.binary(max_size=400), start=st.sampled_from([b"BAM\1", b"BCF\2\2", b"CRAM\3\0"]))
@settings(max_examples=100, deadline=None)
def test_hostile_bytes_after_a_magic_are_refused_without_an_exception(
    data: bytes, start: bytes
) -> None:
    stored = start + data if start.startswith(b"CRAM") else bgzf(start + data)
    assert inspect(stored).record is None


def test_digests_cover_the_whole_file_even_when_it_is_refused() -> None:
    data = VCF.replace("rs1", "rs 1").encode()
    (digest,) = inspect_hts([data], name="x.vcf", algorithms=[Algorithm.SHA256]).digests
    assert digest.value == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("VN:1.6", "VN:16", ReasonCode.SAM_HEADER_MALFORMED),
        ("SO:coordinate", "SO:query", ReasonCode.SAM_HEADER_MALFORMED),
        ("SN:chr2", "SN:chr1", ReasonCode.SAM_HEADER_MALFORMED),
        ("LN:242193529", "LN:0", ReasonCode.SAM_HEADER_MALFORMED),
        ("M5:6aef", "M5:6AEF", ReasonCode.SAM_HEADER_MALFORMED),
        ("SN:chr2", "SN:chr,2", ReasonCode.SAM_HEADER_MALFORMED),
        ("@RG\tID:b", "@RG\tID:a", ReasonCode.SAM_HEADER_MALFORMED),
        ("@RG\tID:b", "@RX\tID:b", ReasonCode.SAM_HEADER_MALFORMED),
        ("ID:bwa\tPN:bwa", "PN:bwa", ReasonCode.SAM_HEADER_MALFORMED),
        ("r2\t0", "r2@\t0", ReasonCode.SAM_RECORD_MALFORMED),
        ("r2\t0", "r2\t65536", ReasonCode.SAM_RECORD_MALFORMED),
        ("r2\t0\tchr1", "r2\t0\tchr9", ReasonCode.SAM_RECORD_MALFORMED),
        ("r2\t0\tchr1\t2", "r2\t0\tchr1\t-2", ReasonCode.SAM_RECORD_MALFORMED),
        ("2\t60\t4M", "2\t60\t5M", ReasonCode.SAM_RECORD_MALFORMED),
        ("2\t60\t4M", "2\t60\t1M1H2M", ReasonCode.SAM_RECORD_MALFORMED),
        ("ACGT\tIIII", "ACGT\tIII", ReasonCode.SAM_RECORD_MALFORMED),
        ("ACGT\tIIII", "AC1T\tIIII", ReasonCode.SAM_RECORD_MALFORMED),
        ("NM:i:0", "NM:i:", ReasonCode.SAM_RECORD_MALFORMED),
        ("NM:i:0", "NM:i:4294967296", ReasonCode.SAM_RECORD_MALFORMED),
        ("NM:i:0", "NM:f:1e39", ReasonCode.SAM_RECORD_MALFORMED),
        ("NM:i:0", "NM:B:c,128", ReasonCode.SAM_RECORD_MALFORMED),
        ("NM:i:0", "RG:Z:b", ReasonCode.SAM_RECORD_MALFORMED),
        ("\t4M\t*\t0\t0", "\t4M", ReasonCode.SAM_RECORD_MALFORMED),
    ],
)
def test_sam_that_breaks_a_rule_is_refused(old: str, new: str, expected: ReasonCode) -> None:
    assert SAM.count(old)
    assert code(SAM.replace(old, new)) is expected


def test_sam_without_a_line_feed_at_its_end_is_refused_as_cut_off() -> None:
    for cut in (1, 2, 3):
        finding = inspect(SAM[:-cut]).findings[0]
        assert (finding.code, finding.position) == (ReasonCode.SAM_RECORD_MALFORMED, "line 10")
        assert "cut off" in finding.message


@pytest.mark.parametrize("byte", [0, 1, 8, 11, 12, 13, 27, 31, 127])
@pytest.mark.parametrize("column", range(11))
def test_control_characters_in_a_vcf_record_are_refused(byte: int, column: int) -> None:
    fields = VCF_RECORDS.splitlines()[0].split("\t")
    fields[column] = fields[column][:1] + chr(byte) + fields[column][1:] + "x" * (column == 10)
    finding = inspect(VCF_HEADER + "\t".join(fields) + "\n").findings[0]
    assert finding.code is ReasonCode.VCF_RECORD_MALFORMED
    assert f"column {column + 1} " in finding.message


def test_vcf_text_that_is_not_utf8_is_a_warning_before_4_3() -> None:
    data = VCF.replace("DP=7", "XX=M\xfc").encode("latin-1")
    assert code(data) is ReasonCode.VCF_RECORD_MALFORMED
    old = inspect(data.replace(b"VCFv4.3", b"VCFv4.2"))
    assert [each.code for each in old.findings] == [ReasonCode.VCF_RECORD_SUSPECT]


def test_findings_say_the_line() -> None:
    finding = inspect(SAM.replace("r2\t0", "r2\t-1")).findings[0]
    assert finding.position == "line 9"
    assert "FLAG" in finding.message


@pytest.mark.parametrize(
    "old, new",
    [
        ("PP:bwa", "PP:none"),
        ("PN:bwa", "PN:bwa\tPP:sort"),
        ("SO:coordinate", "SO:sorted"),
        ("PL:ILLUMINA", "PL:SEQUENCER"),
    ],
)
def test_odd_sam_headers_are_accepted_with_a_warning(old: str, new: str) -> None:
    inspection = inspect(SAM.replace(old, new))
    assert inspection.verdict is Verdict.WARNING
    assert inspection.findings[0].code is ReasonCode.SAM_HEADER_SUSPECT


def test_a_sort_order_that_is_not_kept_is_a_warning() -> None:
    shuffled = bgzf(bam_content(bam_record(position=9), bam_record(position=3)))
    for data in (shuffled, SAM.replace("chr1\t1\t", "chr1\t5\t").encode()):
        assert [each.code for each in inspect(data).findings] == [ReasonCode.SORT_ORDER_MISMATCH]


@pytest.mark.parametrize(
    "record",
    [
        bam_record(reference=2),
        bam_record(reference=-2),
        bam_record(position=-2),
        bam_record(name=b"r1"),
        bam_record(name=b"r @\0"),
        bam_record(cigar=(5 << 4,)),
        bam_record(cigar=(4 << 4 | 9,)),
        bam_record(bases=-1),
        bam_record(bases=5, cigar=())[:-30],
        bam_record(quality=b"\x5e"),
        bam_record(name=b"\0"),
        bam_record(cigar=(1 << 4, 2 << 4 | 4, 1 << 4)),
        bam_record(cigar=(1 << 4, 2 << 4 | 5, 3 << 4)),
        bam_record(tags=b"NMC\0NMC\1"),
        bam_record(tags=b"XZZa\tb\0"),
        bam_record(tags=b"XZZa\nb\0NMC\0"),
        bam_record(tags=b"XHHABC\0"),
        bam_record(tags=b"XHHABCG\0"),
        bam_record(tags=b"XHHab\0"),
        bam_record(tags=b"NMI\0"),
        bam_record(tags=b"NM?\0"),
        bam_record(tags=b"RGZa"),
        bam_record(tags=b"1MC\0"),
        bam_record(tags=b"XBBc\xff\xff\xff\x7f\x01"),
        struct.pack("<i", -1) + bytes(40),
        struct.pack("<i", 2**31 - 1) + bytes(40),
        struct.pack("<i", 8) + bytes(8),
    ],
)
def test_bam_records_that_do_not_add_up_are_refused(record: bytes) -> None:
    content = bam_content(bam_record(), record)
    assert code(bgzf(content)) in (ReasonCode.BAM_MALFORMED, ReasonCode.BAM_TRUNCATED)


@pytest.mark.parametrize(
    "record",
    [
        bam_record(quality=b"\xff", tags=b""),
        bam_record(quality=b"\x5d", tags=b"XZZ\0XHH\0XIHAB\0"),
        bam_record(cigar=(3 << 4 | 5, 1 << 4 | 4, 2 << 4, 1 << 4 | 4, 3 << 4 | 5)),
        bam_record(bases=0, cigar=()),
    ],
)
def test_bam_records_at_the_edge_of_the_rules_are_valid(record: bytes) -> None:
    assert inspect(bgzf(bam_content(bam_record(), record, record))).verdict is Verdict.VALID


@pytest.mark.parametrize(
    "content",
    [
        b"BAM\1" + struct.pack("<i", -1),
        b"BAM\1" + struct.pack("<i", 2**31 - 1),
        b"BAM\1" + struct.pack("<ii", 0, 2**31 - 1),
        b"BAM\1" + struct.pack("<iii", 0, 1, -5),
        bam_content(text=SAM_HEADER.replace("chr2", "chrX")),
        bam_content(text="").replace(b"chr2\0", b"ch\n2\0"),
        bam_content(text="").replace(b"chr2\0", b"chr2\x01"),
    ],
)
def test_bam_headers_that_lie_about_sizes_are_refused(content: bytes) -> None:
    assert code(bgzf(content)) is not None


def test_bam_without_references_in_its_text_has_those_of_its_list() -> None:
    record = inspect(bgzf(bam_content(bam_record(), text="@HD\tVN:1.6\n"))).record
    assert isinstance(record, AlignmentFile)
    assert [each.name for each in record.references] == ["chr1", "chr2"]


def test_missing_or_odd_end_markers_are_refused() -> None:
    assert code(BAM[: -len(BGZF_EOF)]) is ReasonCode.BGZF_EOF_MISSING
    assert code(BAM + bytes(8)) is ReasonCode.BGZF_EOF_MISSING
    assert code(FILES["cram"][: -len(CRAM_EOF)]) is ReasonCode.CRAM_EOF_MISSING
    assert code(FILES["cram"] + b"\0") is ReasonCode.CRAM_TRUNCATED


# PASS is 0, then DP, GT and AD in the order of the header.
@pytest.mark.parametrize(
    "parts",
    [
        {"filters": b"\x11\x00"},
        {"info": b"\x11\x01\x11\x07"},
        {"info": b"\x12\x01\x00\x11\x07"},
        {"formats": b"\x11\x02\x21\x02\x04\x02\x02"},
        {"header_text": VCF_HEADER.replace('Depth"', 'Depth",IDX=9'), "info": b"\x11\x09\x11\x07"},
        {"header_text": VCF_HEADER.replace("ID=chr1", "ID=chr1,IDX=4"), "chrom": 4},
    ],
)
def test_bcf_records_that_name_what_the_header_defines_are_valid(parts: dict[str, Any]) -> None:
    assert inspect(bcf(**parts)).verdict is Verdict.VALID


@pytest.mark.parametrize(
    "parts",
    [
        {"chrom": 1},
        {"identifier": b"\x11\x01"},
        {"filters": b"\x11\x06"},
        {"filters": b"\x21\x00\x09"},
        {"filters": b"\x17A"},
        {"info": b"\x11\x04\x11\x07"},
        {"info": b"\x11\x02\x11\x07"},
        {"info": b"\x17A\x11\x07"},
        {"info": b"\x00\x11\x07"},
        {"formats": b"\x11\x01\x21\x02\x04\x02\x02"},
        {"header_text": VCF_HEADER.replace('Depth"', 'Depth",IDX=9'), "info": b"\x11\x01\x11\x07"},
        {"header_text": VCF_HEADER.replace("ID=chr1", "ID=chr1,IDX=4")},
    ],
)
def test_bcf_records_that_point_outside_of_the_header_are_refused(parts: dict[str, Any]) -> None:
    assert code(bcf(**parts)) is ReasonCode.BCF_MALFORMED


def test_bcf_whose_header_gives_a_number_twice_is_refused() -> None:
    header = VCF_HEADER.replace('Depth"', 'Depth",IDX=1').replace('Genotype"', 'Genotype",IDX=1')
    assert code(bcf(header_text=header)) is ReasonCode.VCF_HEADER_MALFORMED
    assert code(header + VCF_RECORDS) is None


def test_cram_slices_must_hold_the_records_of_their_container() -> None:
    assert code(cram(slice_records=3)) is ReasonCode.CRAM_MALFORMED


@pytest.mark.parametrize("counters", [(0, 4), (2,), (0, 2, 2, 4), (0, 4, 2)])
def test_cram_with_a_container_missing_doubled_or_swapped_is_refused(
    counters: tuple[int, ...],
) -> None:
    finding = inspect(cram(counters=counters)).findings[0]
    assert finding.code is ReasonCode.CRAM_MALFORMED
    assert finding.expected
    assert finding.found


def test_cram_containers_are_counted_from_0_or_1_and_again_in_joined_files() -> None:
    assert inspect(cram(counters=(0, 2, 4))).verdict is Verdict.VALID
    assert inspect(cram(counters=(1, 3))).verdict is Verdict.VALID
    joined = inspect(cram(counters=(0, 2, 0, 2)))
    assert joined.verdict is Verdict.WARNING
    assert [each.code for each in joined.findings] == [ReasonCode.CRAM_MALFORMED]


def test_cram_containers_that_are_not_in_the_order_of_the_header_are_a_warning() -> None:
    inspection = inspect(cram(counters=(0, 2), starts=(9, 8)))
    assert [each.code for each in inspection.findings] == [ReasonCode.SORT_ORDER_MISMATCH]


def test_cram_of_an_unknown_version_is_unsupported() -> None:
    inspection = inspect(b"CRAM\x09\0" + FILES["cram"][6:])
    assert inspection.verdict is Verdict.UNSUPPORTED


def test_bam_must_be_bgzf_but_text_may_be_gzip_or_bzip2_with_a_warning() -> None:
    assert code(gzip.compress(bam_content())) is ReasonCode.NOT_BGZF
    assert code(bam_content()) is ReasonCode.NOT_BGZF
    for packed in (gzip.compress(VCF.encode()), bz2.compress(VCF.encode())):
        inspection = inspect(packed)
        assert [each.code for each in inspection.findings] == [ReasonCode.NOT_BGZF]
        assert inspection.verdict is Verdict.WARNING
    assert code(bz2.compress(VCF.encode())[:-1]) is ReasonCode.GZIP_TRUNCATED


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", ReasonCode.EMPTY_OBJECT),
        (bgzf(b"BAI\1" + bytes(8)), ReasonCode.INDEX_WITHOUT_DATA),
        (b"PK\3\4" + bytes(20), ReasonCode.UNSUPPORTED_FORMAT),
        (b"just some words\n", ReasonCode.UNSUPPORTED_FORMAT),
        (BGZF_EOF, ReasonCode.UNSUPPORTED_FORMAT),
    ],
)
def test_what_is_neither_alignments_nor_variants_is_refused(
    data: bytes, expected: ReasonCode
) -> None:
    assert code(data) is expected


def test_a_name_that_promises_another_format_is_a_warning() -> None:
    inspection = inspect(BAM, name="a.cram")
    assert [each.code for each in inspection.findings] == [ReasonCode.FORMAT_MISLABELED]


@pytest.mark.parametrize("kind", ["sam", "bam", "cram", "vcf", "vcf.gz", "bcf"])
def test_a_file_put_behind_another_is_told_as_that(kind: str) -> None:
    one = FILES[kind]
    finding = inspect(one + one).findings[0]
    assert f"Another {kind.removesuffix('.gz').upper()} file starts here" in finding.message


@pytest.mark.parametrize(
    "data,position",
    [
        (SAM.replace("chr1\t3\t", "chr1\t248956423\t"), "line 10"),
        (bgzf(bam_content(bam_record(), bam_record(position=248956422))), "record 2"),
        (VCF.replace("chr1\t20\t", "chr1\t248956424\t"), "line 10"),
        (bcf(header_text=VCF_HEADER.replace("length=248956422", "length=8")), "record 1"),
        (cram(text=SAM_HEADER.replace("LN:248956422", "LN:8"), starts=(9,)), "byte"),
    ],
    ids=["sam", "bam", "vcf", "bcf", "cram"],
)
def test_what_lies_behind_the_end_of_its_reference_is_a_warning(
    data: bytes | str, position: str
) -> None:
    inspection = inspect(data)
    assert inspection.verdict is Verdict.WARNING
    (finding,) = inspection.findings
    assert position in finding.position
    assert "another assembly" in finding.message


@pytest.mark.parametrize(
    "group, is_known",
    [("Z:a", True), ("Z:b", True), ("Z:c", False), ("Z:aa", False), ("Z:", False), ("i:1", False)],
)
def test_a_record_of_a_read_group_that_the_header_lacks_is_a_warning(
    group: str, is_known: bool
) -> None:
    kind, text = group.split(":")
    value = text.encode() + b"\0" if kind == "Z" else struct.pack("<i", int(text))
    odd = bam_record(position=10, tags=b"NMC\0RG" + kind.encode() + value)
    bam = bgzf(bam_content(bam_record(), odd, odd))
    second = SAM_RECORD.format(n=2)
    sam = SAM.replace(second, second.replace("RG:Z:a", f"RG:{group}"))

    for data, position in ((bam, "record 2"), (sam, "line 9")):
        inspection = inspect(data)
        told = [(each.code, each.position) for each in inspection.findings]
        assert told == ([] if is_known else [(ReasonCode.READ_GROUP_UNKNOWN, position)])


def test_read_groups_of_records_are_free_where_the_header_has_none() -> None:
    header = "".join(x for x in SAM_HEADER.splitlines(True) if not x.startswith("@RG"))
    odd = bam_record(tags=b"RGZc\0")

    assert inspect(bgzf(bam_content(odd, text=header))).verdict is Verdict.VALID
    assert inspect(header + SAM_RECORD.format(n=1)).verdict is Verdict.VALID


def test_plain_text_named_as_compressed_is_a_warning() -> None:
    for name in ("a.vcf.gz", "a.vcf.bgz"):
        (finding,) = inspect(VCF, name=name).findings
        assert finding.code is ReasonCode.COMPRESSION_MISLABELED


def test_indexes_are_paired_by_name() -> None:
    assert indexed_file_names("a.bam.bai") == ("a.bam",)
    assert indexed_file_names("a.bai") == ("a.bam",)
    assert indexed_file_names("a.vcf.gz.tbi") == ("a.vcf.gz",)
    assert indexed_file_names("a.bam") == ()
