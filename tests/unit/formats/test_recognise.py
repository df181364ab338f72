import bz2
import gzip
import lzma

import pytest

from forebay.formats.recognise import FileKind, recognise

READS = b"@r1\nACGT\n+\nIIII\n@r2\nAC\n+\nII\n"
MD5 = b"d41d8cd98f00b204e9800998ecf8427e"
SHA256 = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
PART10 = bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00\x00\x00\x00\x00"
VCF = b"##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
SAM = b"@HD\tVN:1.6\n@SQ\tSN:1\tLN:9\n"
RUN_INFO = b'<?xml version="1.0"?>\n<RunInfo Version="6"><Run Id="x"/></RunInfo>'

BY_CONTENT = [
    (FileKind.DICOM, PART10),
    (FileKind.DICOM, b"\x02\x00\x00\x00UL\x04\x00\x9a\x00\x00\x00\x02\x00\x01\x00OB"),
    (FileKind.DICOM, b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100\x08\x00\x16\x00"),
    (FileKind.FASTQ, READS),
    (FileKind.FASTQ, READS.replace(b"\n", b"\r\n")),
    (FileKind.FASTQ, b"@r1 a very long line that goes on and on\nACGTN\n+r1\n!!!!!\n"),
    (FileKind.SAM, SAM),
    (FileKind.SAM, b"r1\t0\tchr1\t5\t60\t4M\t*\t0\t0\tACGT\tIIII\n"),
    (FileKind.BAM, b"BAM\x01\x00\x00\x00\x00"),
    (FileKind.CRAM, b"CRAM\x03\x01"),
    (FileKind.VCF, VCF),
    (FileKind.VCF, b"\xef\xbb\xbf" + VCF),
    (FileKind.VCF, b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"),
    (FileKind.BCF, b"BCF\x02\x02\x00\x00\x00\x00"),
    (FileKind.RUN_INFO, RUN_INFO),
    (FileKind.RUN_PARAMETERS, b'<?xml version="1.0"?>\n<RunParameters>\n<RunID>x</RunID>'),
    (FileKind.SAMPLE_SHEET, b"[Header],,\nIEMFileVersion,4,\n\n[Data],,\nSample_ID,index\n"),
    (FileKind.SAMPLE_SHEET, b'\xef\xbb\xbf"[Header]"\r\n'),
    (
        FileKind.RUN_INFO,
        b"<?xml version='1.0'?><!-- a > b -->\n<!DOCTYPE x [<!ENTITY a 'b'>]>" + RUN_INFO[22:],
    ),
    (FileKind.RUN_INFO, b'\n<x:RunInfo xmlns:x="y"/>'),
    (FileKind.SAMPLE_SHEET, b"# made by hand\n,,\n[Data],,\r\nSample_ID,index\r\n"),
    (FileKind.SAMPLE_SHEET, b"[header]\rFileFormatVersion,2\r[Reads]\r"),
    (FileKind.SAMPLE_SHEET, b"[Settings];\nAdapter;A\n[Data];\nSample_ID;index\n"),
    (FileKind.MANIFEST, MD5 + b"  a.fastq.gz\n" + MD5 + b" *b.fastq.gz\n"),
    (FileKind.MANIFEST, SHA256 + b"\n"),
    (FileKind.MANIFEST, b"\\" + MD5 + b"  a\\nb\n"),
    (FileKind.MANIFEST, b"MD5 (a.fastq) = " + MD5 + b"\n"),
    (FileKind.MANIFEST, b"SHA2-256(a.fastq)= " + SHA256 + b"\n"),
    (FileKind.MANIFEST, b"1B2M2Y8AsgTpgAmY7PhCfg==  a.fastq\n"),
    (FileKind.MANIFEST, b"%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n"),
    (FileKind.MANIFEST, b"; made by rhash\na.fastq 3D653119\n"),
    (FileKind.MANIFEST, b"id\tfilename\tmd5\tsize\nx\ta.bam\t" + MD5 + b"\t1\n"),
]


@pytest.mark.parametrize("kind,head", BY_CONTENT)
@pytest.mark.parametrize("name", ["file", "some.txt"])
def test_content_decides_whatever_the_name(kind: FileKind, head: bytes, name: str) -> None:
    assert recognise(name, head) is kind


@pytest.mark.parametrize("kind,head", BY_CONTENT)
def test_content_in_gzip_counts_like_plain_content(kind: FileKind, head: bytes) -> None:
    assert recognise("file.gz", gzip.compress(head)) is kind


@pytest.mark.parametrize(
    "name,kind",
    [
        ("s_R1.fastq.gz", FileKind.FASTQ),
        ("s_R1.fq", FileKind.FASTQ),
        ("s.fastq.bz2", FileKind.FASTQ),
        ("s.g.vcf.gz", FileKind.VCF),
        ("s.vcf.bgz", FileKind.VCF),
        ("s.bam", FileKind.BAM),
        ("s.cram", FileKind.CRAM),
        ("s.bcf", FileKind.BCF),
        ("s.sam", FileKind.SAM),
        ("IM-1.dcm", FileKind.DICOM),
        ("disk/DICOMDIR", FileKind.DICOM),
        ("run/RunInfo.xml", FileKind.RUN_INFO),
        ("run/RunParameters.xml", FileKind.RUN_PARAMETERS),
        ("run/runParameters.xml", FileKind.RUN_PARAMETERS),
        ("run/SampleSheet.csv", FileKind.SAMPLE_SHEET),
        ("run/sample_sheet_v2.csv", FileKind.SAMPLE_SHEET),
        ("md5sum.txt", FileKind.MANIFEST),
        ("s.fastq.gz.md5", FileKind.MANIFEST),
        ("list.sfv", FileKind.MANIFEST),
        ("notes.txt", FileKind.UNKNOWN),
        ("s.fasta", FileKind.UNKNOWN),
    ],
)
@pytest.mark.parametrize("head", [b"", b"\x00\x01\x02\x03", b"words\n"])
def test_the_name_decides_where_the_content_says_nothing(
    name: str, kind: FileKind, head: bytes
) -> None:
    assert recognise(name, head) is kind


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress], ids=["bz2", "xz"])
def test_reads_in_other_compressions_are_known_by_name_only(pack: object) -> None:
    packed = pack(READS)  # type: ignore[operator]
    assert recognise("s.fastq.bz2", packed) is FileKind.FASTQ
    assert recognise("s", packed) is FileKind.UNKNOWN


@pytest.mark.parametrize(
    "name,head,kind",
    [
        ("a.bam.bai", b"BAI\x01" + bytes(8), FileKind.BAM),
        ("a.bai", b"BAI\x01" + bytes(8), FileKind.BAM),
        ("a.cram.crai", b"0\t1\t1\t1\t1\t1\n", FileKind.CRAM),
        ("a.crai", b"0\t1\t1\t1\t1\t1\n", FileKind.CRAM),
        ("a.vcf.gz.tbi", b"", FileKind.VCF),
        ("a.bcf.csi", b"CSI\x01", FileKind.BCF),
        ("a.tbi", b"TBI\x01\1\0\0\0\2\0\0\0", FileKind.VCF),
        ("a.bed.gz.tbi", b"TBI\x01\1\0\0\0\0\0\1\0", FileKind.UNKNOWN),
        ("a.bai", b"words", FileKind.UNKNOWN),
        # of GATK and bgzip
        ("a.vcf.idx", b"TIDX", FileKind.UNKNOWN),
        ("a.vcf.gz.gzi", bytes(8), FileKind.UNKNOWN),
    ],
)
def test_an_index_is_of_the_kind_of_its_data(name: str, head: bytes, kind: FileKind) -> None:
    assert recognise(name, head) is kind


def test_content_beats_a_name_that_lies() -> None:
    assert recognise("s.fastq", PART10) is FileKind.DICOM
    assert recognise("s.txt", gzip.compress(b"BAM\x01" + bytes(99))) is FileKind.BAM
    assert recognise("s.bam", VCF) is FileKind.VCF


def test_reads_whose_qualities_spell_dicm_are_still_reads() -> None:
    start = b"@" + b"r" * 100 + b"\nACGTACGTACGTACGT\n+\n"
    reads = start + b"I" * (128 - len(start)) + b"DICMI\n"
    assert reads[128:132] == b"DICM"
    assert recognise("file", reads) is FileKind.FASTQ


@pytest.mark.parametrize(
    "text",
    [
        b"Internationalization0123 of everything\n",
        b"ACGTACGTACGTACGTACGTACGTAC\t5\nACGT\t7\n",
        b"; settings\n[section]\nkey = value\n",
        b"[Settings]\nUI=dark\n",
        b"[Settings]\ntheme,dark\n",
        b"[Header]\nTitle = some program's\n",
        b"How to: the sheet starts with\n[Header]\nfoo\n",
        b"see <RunInfo> element\n",
        b"<html><body><RunInfo Version='2'></body></html>",
        b"<?xml version='1.0'?><Export><RunParameters/></Export>",
        b"<?a?>" * 800,
        b">chr1 human\nACGT\n",
        b"sample,lane\ns1,1\n",
        b'{"a": 1}\n',
        b"%PDF-1.7\n",
    ],
)
def test_other_text_is_no_checksum_list(text: bytes) -> None:
    assert recognise("notes.txt", text) is FileKind.UNKNOWN


@pytest.mark.parametrize("length", range(0, 200, 7))
def test_any_start_of_a_file_is_recognised_or_unknown_and_never_an_error(length: int) -> None:
    for _, head in BY_CONTENT:
        assert recognise("file", head[:length]) in FileKind
        assert recognise("file.gz", gzip.compress(head)[:length]) in FileKind


DIGEST = b"b1946ac92492d2347c6235b4d2611180"


@pytest.mark.parametrize(
    "text",
    [
        b'{"files": [{"path": "a.txt", "md5": "%s"}]}' % DIGEST,
        b'[{"name": "a.txt", "checksums": [{"type": "md5", "checksum": "%s"}]}]' % DIGEST,
        b'{"a.txt": "%s"}' % DIGEST,
        b'\n{"files": [{"path": "a.txt", "SHA-256": "cut',
    ],
)
@pytest.mark.parametrize("name", ["manifest.json", "d/run7.manifest.json", "x.md5.json"])
def test_json_called_and_shaped_like_a_manifest_is_one(name: str, text: bytes) -> None:
    assert recognise(name, text) is FileKind.MANIFEST
    assert recognise("report.json", text) is FileKind.UNKNOWN


@pytest.mark.parametrize("text", [b'{"name": "app", "version": 3}', b"[]", b""])
def test_other_json_is_no_manifest_whatever_its_name(text: bytes) -> None:
    assert recognise("manifest.json", text) is FileKind.UNKNOWN
