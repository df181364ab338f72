"""Agreement with seqkit, dnaio and pysam on FASTQ files that Forebay was not written from."""

import csv
import random
from pathlib import Path

import pytest

from forebay.domain.findings import Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.sequencing import ReadsFile
from forebay.formats.fastq import inspect_fastq
from forebay.formats.source import FileSource, stream_source

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"
TRUTH = CORPUS / "TRUTH_fastq.csv"

pytestmark = pytest.mark.skipif(
    not TRUTH.exists(), reason="the acceptance corpus is not on this machine"
)

REFUSED = {Verdict.INVALID, Verdict.UNSUPPORTED}
# seqkit prints averages with one decimal and percentages with two.
TOLERANCE = 0.051

# Forebay's own decisions where the tools disagree; a change here changes what sites may send.
DISPUTED = {
    "biopython__tricky.fastq": Verdict.INVALID,  # wrapped over several lines
    "cutadapt__lowqual.fastq": Verdict.WARNING,  # reads without bases
    "dnaio__simple.fastq.bz2": Verdict.UNSUPPORTED,
    "htslib__multiline.fq": Verdict.INVALID,
    "picard__0lines.txt": Verdict.INVALID,  # empty file
    "picard__pair1-badnum.txt": Verdict.INVALID,  # another name after +
    "picard__permissive-format-s_1_2_sequence.txt": Verdict.INVALID,  # blank lines
    "sra-tools__014.R2.fastq": Verdict.INVALID,  # blank line at the end
}


def rows(kind: str) -> list[dict[str, str]]:
    if not TRUTH.exists():
        return []
    with TRUTH.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["expected"].split()[0] == kind]


def inspect(row: dict[str, str], *, chunk_bytes: int = 1 << 20) -> Inspection[ReadsFile]:
    with FileSource(CORPUS / row["file"]) as source:
        chunks = stream_source(source, chunk_bytes=chunk_bytes)
        return inspect_fastq(chunks, name=source.name)


def differences(inspection: Inspection[ReadsFile], row: dict[str, str]) -> list[str]:
    record = inspection.record
    if record is None:
        return [f"refused: {inspection.findings[0].code}"]
    found = {
        "reads": record.reads,
        "bases": record.bases,
        "min": record.min_length,
        "avg": record.mean_length,
        "max": record.max_length,
        "Q20": 100 * record.q20_fraction,
        "Q30": 100 * record.q30_fraction,
        "GC": 100 * record.gc_fraction,
    }
    return [
        f"{column}: {value}, not {row[f'seqkit_{column}']}"
        for column, value in found.items()
        if abs(value - float(row[f"seqkit_{column}"])) > TOLERANCE
    ]


def test_valid_files_are_accepted_with_the_statistics_other_tools_count() -> None:
    valid = rows("valid")
    wrong = {row["file"]: found for row in valid if (found := differences(inspect(row), row))}
    assert len(wrong) <= 0.01 * len(valid), wrong


def test_invalid_files_are_refused() -> None:
    # A file that all three tools read alike is called invalid for what is not in it: its mate, or
    # a quality scale that no byte of it tells.
    invalid = [row for row in rows("invalid") if row["agree"] != "yes" or not row["seqkit_reads"]]
    invalid += rows("invalid_or_warn") + rows("invalid_bounded_memory")
    accepted = [row["file"] for row in invalid if inspect(row).verdict not in REFUSED]
    assert len(accepted) <= 0.03 * len(invalid), accepted


def test_quality_of_delete_characters_is_refused_although_all_tools_take_it() -> None:
    row = next(row for row in rows("invalid") if "qual_del_char" in row["file"])
    assert inspect(row).verdict is Verdict.INVALID


def test_bgzf_without_its_end_block_is_refused() -> None:
    for row in rows("valid_or_warn"):
        assert inspect(row).verdict is Verdict.INVALID, row["file"]


def test_disputed_files_are_judged_as_decided() -> None:
    for row in rows("disputed"):
        decided = DISPUTED.get(Path(row["file"]).name)
        if decided is not None:
            assert inspect(row).verdict is decided, row["file"]


def test_swapped_mates_show_in_the_names_digest() -> None:
    (second,) = rows("pair_invalid")
    first = dict(second, file=second["file"].replace("invalid/", "valid/").replace("_R2", "_R1"))
    one, other = inspect(first).record, inspect(second).record
    assert one is not None
    assert other is not None
    assert one.names_digest != other.names_digest


def test_chunk_size_changes_no_verdict_and_no_value() -> None:
    rng = random.Random(20261122)  # noqa: S311
    for kind in ("valid", "invalid", "disputed"):
        for row in rows(kind):
            if (CORPUS / row["file"]).stat().st_size < 60_000:
                chunk_bytes = rng.randrange(1, 3000)
                assert inspect(row, chunk_bytes=chunk_bytes) == inspect(row), row["file"]
