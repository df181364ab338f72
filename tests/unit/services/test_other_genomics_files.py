"""Alignments, variants, indexes and run files take the same way as reads."""

import pytest

from forebay.domain.states import State
from tests.unit.world import World

VCF = b"""##fileformat=VCFv4.3
##contig=<ID=chr1,length=1000>
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
chr1\t10\t.\tA\tC\t.\t.\t.
"""
SAM_HEADER = b"@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:1000\n"
SAM = SAM_HEADER + b"r1\t0\tchr1\t1\t60\t4M\t*\t0\t0\tACGT\tFFFF\n"
RUN_INFO = b"""<?xml version="1.0"?>
<RunInfo Version="2"><Run Id="160603_M01270_0196_000000000-AKGDE" Number="196">
<Flowcell>000000000-AKGDE</Flowcell><Instrument>M01270</Instrument><Date>160603</Date>
<Reads><Read Number="1" NumCycles="301" IsIndexedRead="N"/></Reads>
<FlowcellLayout LaneCount="1" SurfaceCount="2" SwathCount="1" TileCount="14"/></Run></RunInfo>
"""


@pytest.mark.parametrize(
    "key,body,placed",
    [
        ("site-a/wgs/x.vcf", VCF, "variants/site-a/wgs/x.vcf"),
        ("site-a/wgs/x.sam", SAM, "alignments/site-a/wgs/x.sam"),
        ("site-a/wgs/x.bam.bai", b"BAI\1\0\0\0\0", "alignments/site-a/wgs/x.bam.bai"),
        ("site-a/run7/RunInfo.xml", RUN_INFO, "runs/site-a/run7/RunInfo.xml"),
    ],
)
def test_a_sound_file_is_placed_under_its_own_path(key: str, body: bytes, placed: str) -> None:
    world = World(needs_sender_digest=False)
    made = world.genomics(key, body)
    world.run()
    record = world.record(made)
    assert record.state is State.PLACED, record.finding
    assert record.placed is not None
    assert record.placed.key == placed


@pytest.mark.parametrize(
    "key,body",
    [
        ("site-a/x.vcf", VCF.replace(b"\t10\t", b"\tten\t")),
        ("site-a/x.sam", SAM.replace(b"4M", b"5M")),
        ("site-a/x.bam", b"not a BAM at all"),
        ("site-a/run7/RunInfo.xml", RUN_INFO[:200]),
    ],
)
def test_a_broken_file_is_quarantined_with_its_reason(key: str, body: bytes) -> None:
    world = World(needs_sender_digest=False)
    made = world.genomics(key, body)
    world.run()
    record = world.record(made)
    assert record.state is State.QUARANTINED
    assert record.finding is not None
    assert record.finding.message.endswith(".")
    assert record.held is not None


def test_other_bytes_under_the_same_key_are_a_conflict() -> None:
    world = World(needs_sender_digest=False)
    first = world.genomics("site-a/x.vcf", VCF)
    world.run()
    second = world.genomics("site-a/x.vcf", VCF.replace(b"\t10\t", b"\t11\t"))
    world.run()
    assert world.state(first) is State.PLACED
    assert world.state(second) is State.CONFLICT
    assert world.record(second).original_id == first


def test_what_was_understood_of_variants_is_in_the_catalog() -> None:
    world = World(needs_sender_digest=False)
    made = world.genomics("site-a/x.vcf", VCF)
    world.run()
    metadata = world.record(made).metadata
    assert (metadata["file_format"], metadata["records"]) == ("VCFv4.3", 1)
