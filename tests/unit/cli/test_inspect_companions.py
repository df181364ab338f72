"""`forebay inspect` over files that are judged together."""

import gzip
import struct
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from forebay.formats.gzipped import BGZF_EOF
from tests.unit.cli.test_inspect import BUCKET, codes, judged
from tests.unit.formats.test_gzipped import bgzf_block

RECORDS = 3
VCF = b"##fileformat=VCFv4.3\n##contig=<ID=1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
VCF += b"".join(b"1\t%d\t.\tA\tC\t.\tPASS\t.\n" % (n + 1) for n in range(RECORDS))
DATA = bgzf_block(VCF) + BGZF_EOF


def tabix(*, records: int = RECORDS, end: int = len(DATA) - len(BGZF_EOF)) -> bytes:
    start = b"TBI\1" + struct.pack("<8i", 1, 2, 1, 2, 0, 35, 0, 2) + b"1\0"
    bins = struct.pack("<iIiQQ", 2, 4681, 1, 80, end << 16)
    counts = struct.pack("<IiQQQQ", 37450, 2, 80, end << 16, records, 0)
    return gzip.compress(start + bins + counts + struct.pack("<iQ", 1, 80) + bytes(8))


def test_an_index_is_judged_with_its_data(tmp_path: Path) -> None:
    (tmp_path / "a.vcf.gz").write_bytes(DATA)
    (tmp_path / "a.vcf.gz.tbi").write_bytes(tabix())
    found = judged(tmp_path)["a.vcf.gz.tbi"]
    assert (found["kind"], found["verdict"], found["reasons"]) == ("vcf", "valid", [])
    assert found["metadata"]["indexed_records"] == RECORDS


def test_the_data_of_an_index_is_read_though_not_named(tmp_path: Path) -> None:
    (tmp_path / "a.vcf.gz").write_bytes(DATA)
    (tmp_path / "a.vcf.gz.tbi").write_bytes(tabix(records=9))
    documents = judged(tmp_path / "a.vcf.gz.tbi")
    assert list(documents) == ["a.vcf.gz.tbi"]
    assert codes(documents["a.vcf.gz.tbi"]) == ["INDEX_MISMATCH"]
    assert documents["a.vcf.gz.tbi"]["verdict"] == "warning"


def test_an_index_of_another_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "a.vcf.gz").write_bytes(DATA)
    (tmp_path / "a.vcf.gz.tbi").write_bytes(tabix(end=len(DATA) + 1))
    found = judged(tmp_path, exit_code=1)
    assert found["a.vcf.gz"]["verdict"] == "valid"
    assert found["a.vcf.gz.tbi"]["verdict"] == "invalid"
    assert codes(found["a.vcf.gz.tbi"]) == ["INDEX_MISMATCH"]


@pytest.mark.parametrize(
    "name, data, code",
    [
        ("a.vcf.gz.tbi", tabix(), "INDEX_WITHOUT_DATA"),
        ("a.bam.bai", b"BAI\1" + bytes(4), "INDEX_WITHOUT_DATA"),
        ("a.bam.bai", b"BAI\1", "INDEX_MALFORMED"),
        ("a.bam.bai", b"", "EMPTY_OBJECT"),
    ],
)
def test_an_index_that_lacks_its_data_or_is_damaged_is_bad_input(
    tmp_path: Path, name: str, data: bytes, code: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert codes(judged(tmp_path, exit_code=1)[name]) == [code]


def test_an_index_of_something_else_is_left_aside(tmp_path: Path) -> None:
    (tmp_path / "a.bed.gz").write_bytes(bgzf_block(b"1\t5\t9\n") + BGZF_EOF)
    (tmp_path / "a.bed.gz.tbi").write_bytes(tabix(end=30))
    assert {each["kind"] for each in judged(tmp_path).values()} == {"unknown"}


def test_objects_in_s3_are_judged_together_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="x/a.vcf.gz", Body=DATA)
        s3.put_object(Bucket=BUCKET, Key="x/a.vcf.gz.tbi", Body=tabix())
        found = judged("--region", "us-east-1", f"s3://{BUCKET}/x/a.vcf.gz.tbi")
    assert found["a.vcf.gz.tbi"]["verdict"] == "valid"


def reads(*order: int, mate: int = 1, name: bytes = b"A00001:1:HXX:1:1101:%d:1") -> bytes:
    return b"".join(b"@" + name % n + b" %d:N:0:AC\nACGT\n+\nIIII\n" % mate for n in order)


def paired(folder: Path, exit_code: int, **files: bytes) -> dict[str, dict[str, Any]]:
    for name, data in files.items():
        (folder / f"{name}.fastq").write_bytes(data)
    return judged(folder, exit_code=exit_code)


def test_mates_that_agree_are_valid(tmp_path: Path) -> None:
    found = paired(tmp_path, 0, s_R1=reads(1, 2, 3), s_R2=reads(1, 2, 3, mate=2))
    assert {each["verdict"] for each in found.values()} == {"valid"}


@pytest.mark.parametrize(
    "second, says",
    [
        (reads(2, 1, 3, mate=2), "order"),
        (reads(1, 2, mate=2), "R1 3 and R2 2"),
        (reads(1, 2), "R1 3 and R2 2"),
    ],
)
def test_mates_that_disagree_are_both_invalid(tmp_path: Path, second: bytes, says: str) -> None:
    found = paired(tmp_path, 1, s_S1_L001_R1_001=reads(1, 2, 3), s_S1_L001_R2_001=second)
    for mate, other in (("R1", "R2"), ("R2", "R1")):
        each = found[f"s_S1_L001_{mate}_001.fastq"]
        assert each["verdict"] == "invalid"
        assert codes(each) == ["FASTQ_MATES_DIFFER"]
        assert says in each["reasons"][0]["message"]
        assert each["reasons"][0]["position"] == f"s_S1_L001_{other}_001.fastq"


def test_files_of_another_sample_lane_or_folder_are_no_mates(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "s_R2.fastq").write_bytes(reads(7))
    paired(tmp_path, 0, s_R1=reads(1), t_R2=reads(2), s_L001_R2=reads(3))


def test_numbered_samples_whose_reads_are_all_first_mates_are_no_pair(tmp_path: Path) -> None:
    paired(tmp_path, 0, rep_1=reads(1, 2), rep_2=reads(3))


def test_a_mate_that_is_refused_tells_why_by_itself(tmp_path: Path) -> None:
    found = paired(tmp_path, 1, s_1=reads(1, 2), s_2=reads(1, 2, mate=2)[:-3])
    assert found["s_1.fastq"]["verdict"] == "valid"
    assert codes(found["s_2.fastq"]) != ["FASTQ_MATES_DIFFER"]


def test_names_of_the_archive_may_hold_the_mate_so_they_are_a_warning(tmp_path: Path) -> None:
    names = {"s_1": b"SRR1.%d.1", "s_2": b"SRR1.%d.2"}
    found = paired(tmp_path, 0, **{key: reads(1, 2, name=name) for key, name in names.items()})
    assert {each["verdict"] for each in found.values()} == {"warning"}
    paired(tmp_path, 1, s_2=reads(1, name=names["s_2"]))
