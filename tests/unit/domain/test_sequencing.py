"""What FASTQ file names say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.sequencing import ReadsName, parse_reads_name


@pytest.mark.parametrize(
    "name, sample, mate, lane, chunk",
    [
        # BCL Convert
        ("NA12878_S1_L001_R1_001.fastq.gz", "NA12878", "R1", "001", "001"),
        ("NA12878_S12_R2_001.fastq.gz", "NA12878", "R2", "", "001"),
        ("A_B-C_S1_L008_R2_003.fq.gz", "A_B-C", "R2", "008", "003"),
        ("S1_S2_L001_R1_001.fastq", "S1", "R1", "001", "001"),
        # archives and core facilities
        ("SRR001666_1.fastq.gz", "SRR001666", "R1", "", ""),
        ("SRR001666_2.fastq", "SRR001666", "R2", "", ""),
        ("tumor.R1.fq.gz", "tumor", "R1", "", ""),
        ("tumor_L2_R2.fastq.gz", "tumor", "R2", "2", ""),
        ("tumor_L002_R2_001.fastq.gz", "tumor", "R2", "002", "001"),
        ("tumor.2.fastq", "tumor", "R2", "", ""),
        # no convention
        ("tumor.fastq.gz", "tumor", "", "", ""),
        ("SRR001666.FASTQ.GZ", "SRR001666", "", "", ""),
        ("NA12878_S1_L001_I1_001.fastq.gz", "NA12878_S1_L001_I1_001", "", "", ""),
        ("NA12878_R3.fastq.gz", "NA12878_R3", "", "", ""),
        ("_1.fastq.gz", "_1", "", "", ""),
        ("plain", "plain", "", "", ""),
    ],
)
def test_name_says_sample_mate_lane_and_chunk(
    name: str, sample: str, mate: str, lane: str, chunk: str
) -> None:
    assert parse_reads_name(name) == ReadsName(sample, mate, lane, chunk)


@pytest.mark.parametrize(
    "name", ["NA1_S1_L001_R{}_001.fastq.gz", "SRR1_{}.fastq.gz", "a.R{}.fq", "b_L2_R{}.fastq"]
)
def test_mates_differ_in_nothing_but_the_mate(name: str) -> None:
    one, two = (parse_reads_name(name.format(mate)) for mate in (1, 2))

    assert (one.mate, two.mate) == ("R1", "R2")
    assert (one.sample, one.lane, one.chunk) == (two.sample, two.lane, two.chunk)


@given(st.text(min_size=1, max_size=40))
def test_any_name_has_a_sample_or_is_only_a_suffix(name: str) -> None:
    parsed = parse_reads_name(name)

    assert parsed.sample in name
    assert parsed.mate in ("", "R1", "R2")
