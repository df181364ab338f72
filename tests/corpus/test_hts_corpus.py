"""Agreement with hts-specs, EBI's validator, samtools, bcftools and pysam on files of theirs."""

import csv
import random
import time
from pathlib import Path

import pytest

from forebay.domain.alignments import AlignmentFile
from forebay.domain.findings import Verdict
from forebay.domain.inspection import Inspection
from forebay.formats.hts import HtsFile, inspect_hts
from forebay.formats.source import FileSource, stream_source

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"
TRUTH = CORPUS / "TRUTH_hts.csv"

pytestmark = pytest.mark.skipif(
    not TRUTH.exists(), reason="the acceptance corpus is not on this machine"
)

VALID = ("pass", "tools: ok", "reference_missing")
MALFORMED = ("fail", "tools: fail", "warn_or_fail")
ACCEPTED, REFUSED = True, False

# Forebay's own decisions where the tools disagree; a change here changes what sites may send.
DISPUTED = {
    "bcftools__isec-miss.2.3.vcf": REFUSED,  # a record without its samples
    "hts-specs__sam-failed-hdr.HD3.sam": ACCEPTED,  # the same bytes are in passed/ as well
    "htsjdk__QualityEncodingDetectorTest-illumina-as-standard.bam": ACCEPTED,  # no references
    "htsjdk__ValidateSamFileTest-not_stored_qualities.bam": ACCEPTED,  # no references
    "htsjdk__variant-VcfThatLacksAnIndex.vcf.gz": ACCEPTED,  # gzip, not BGZF: a warning
    "htslib__base_mods-MM-chebi.sam": ACCEPTED,  # no references
    "htslib__vcf44_1.vcf": REFUSED,  # no line feed at the end
    "samtools__1.quickcheck.badeof.bam": REFUSED,  # the end-of-file block is another one
    "samtools__10.quickcheck.notargets.bam": ACCEPTED,  # no references
    "samtools__5.quickcheck.scramble30.truncated.cram": REFUSED,  # no end-of-file container
}


def rows(*kinds: str) -> list[dict[str, str]]:
    if not TRUTH.exists():
        return []
    with TRUTH.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["expected"].startswith(kinds)]


def inspect(row: dict[str, str], *, chunk_bytes: int = 1 << 20) -> Inspection[HtsFile]:
    with FileSource(CORPUS / row["file"]) as source:
        started = time.monotonic()
        chunks = stream_source(source, chunk_bytes=chunk_bytes)
        inspection = inspect_hts(chunks, name=source.name)
        assert time.monotonic() - started < 10, f"{row['file']} took too long"
    return inspection


def values(record: HtsFile) -> dict[str, str]:
    """Return what Forebay read, by the columns of the truth; names stop at five there."""
    metadata = record.as_metadata()
    if isinstance(record, AlignmentFile):
        return {
            "sq": str(metadata["reference_count"]),
            "rg": str(metadata["read_group_count"]),
            "so": metadata["sort_order"],
            "samples": ";".join(metadata["samples"]),
            "eof": str(metadata["eof"]),
            "records": str(metadata["records"]),
        }
    return {
        "fileformat": metadata["file_format"],
        "nsamples": str(metadata["sample_count"]),
        "sample_names": ";".join(metadata["samples"][:5]),
        "bcf_records": str(metadata["records"]),
    }


def differences(inspection: Inspection[HtsFile], row: dict[str, str]) -> list[str]:
    if inspection.record is None:
        return [f"refused: {inspection.findings[0].message}"]
    return [
        f"{column}: {value!r}, not {row[column]!r}"
        for column, value in values(inspection.record).items()
        if row[column] not in ("", "BCF", value)
    ]


def test_valid_files_are_accepted_with_the_values_other_tools_read() -> None:
    valid = rows(*VALID)
    wrong = {row["file"]: found for row in valid if (found := differences(inspect(row), row))}
    refused = [file for file, found in wrong.items() if found[0].startswith("refused")]
    # Where the suites contradict each other, and where the truth is wrong: docs/verdicts.md.
    assert len(refused) <= 0.01 * len(valid), wrong
    assert len(wrong) <= 0.02 * len(valid), wrong


def test_malformed_files_are_refused() -> None:
    malformed = rows(*MALFORMED)
    accepted = [row["file"] for row in malformed if inspect(row).record is not None]
    assert len(accepted) <= 0.03 * len(malformed), accepted


def test_disputed_files_are_judged_as_decided() -> None:
    found = {
        Path(row["file"]).name: inspect(row).record is not None
        for row in rows("disputed", "contradictory")
    }
    assert {name: found[name] for name in DISPUTED if name in found} == {
        name: verdict for name, verdict in DISPUTED.items() if name in found
    }


def test_the_size_of_chunks_changes_nothing() -> None:
    for row in random.Random(3).sample(rows("pass", "fail", "tools"), 60):  # noqa: S311
        whole = inspect(row)
        assert inspect(row, chunk_bytes=1000 + len(row["file"])) == whole, row["file"]


def test_cut_off_containers_are_never_valid() -> None:
    kinds = (".bam", ".cram", ".bcf", ".vcf.gz")
    chosen = [row for row in rows("pass", "tools: ok") if row["file"].endswith(kinds)]
    for row in random.Random(5).sample(chosen, 20):  # noqa: S311
        data = (CORPUS / row["file"]).read_bytes()
        cut = random.Random(row["file"]).randrange(len(data))  # noqa: S311
        inspection = inspect_hts([data[:cut]], name=row["file"])
        assert inspection.verdict is not Verdict.VALID, (row["file"], cut)
