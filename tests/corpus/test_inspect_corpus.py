"""The whole corpus through the door that `forebay inspect` opens: recognised, judged, in time."""

import csv
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from forebay.domain.findings import Verdict
from forebay.domain.integrity import Algorithm
from forebay.formats.any_file import FileReport, inspect_any
from forebay.formats.recognise import FileKind
from forebay.formats.source import FileSource
from forebay_cli.inspecting.course import inspect_found
from forebay_cli.inspecting.finding_files import find_files

CORPUS = (Path(__file__).parents[2] / ".." / "shared" / "corpus").resolve()

pytestmark = pytest.mark.skipif(
    not CORPUS.exists(), reason="the acceptance corpus is not on this machine"
)

MAX_SECONDS = 20
MIN_ACCEPTED = 0.99
MIN_REFUSED = 0.97
ACCEPTED = {Verdict.VALID, Verdict.WARNING}
RUN_KINDS = {
    "RunInfo": FileKind.RUN_INFO,
    "RunParameters": FileKind.RUN_PARAMETERS,
    "SampleSheet": FileKind.SAMPLE_SHEET,
}
ALIGNMENTS_AND_VARIANTS = {
    FileKind.SAM,
    FileKind.BAM,
    FileKind.CRAM,
    FileKind.VCF,
    FileKind.BCF,
}
# An empty file without a telling name, and one that is named for what it does not hold.
OTHER_KINDS = {
    "fastq/disputed/picard__0lines.txt": FileKind.UNKNOWN,
    "hts/derived__bam_named.cram": FileKind.BAM,
}
# Decided otherwise than the truth; docs/verdicts.md says why.
DECIDED = {
    "dicom/valid/derived__polyglot_html_preamble.dcm",
    "dicom/valid/derived__polyglot_mz_preamble.dcm",
    "fastq/invalid/picard__bad1.fastq",
    "fastq/invalid/sra-tools__004.truncated_2.fq.gz",
}


def rows(category: str) -> list[dict[str, str]]:
    path = CORPUS / f"TRUTH_{category}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def judge(file: str) -> FileReport:
    with FileSource(CORPUS / file) as source:
        started = time.monotonic()
        report = inspect_any(source, frozenset({Algorithm.SHA256}))
        assert time.monotonic() - started < MAX_SECONDS, f"{file} took too long"
    return report


def expected_kinds(category: str) -> Iterator[tuple[str, set[FileKind]]]:
    for row in rows(category):
        file = row["file"]
        if file in OTHER_KINDS:
            yield file, {OTHER_KINDS[file]}
        elif category == "hts":
            suffixes = {suffix.lstrip(".") for suffix in Path(file).suffixes}
            named = {kind for kind in ALIGNMENTS_AND_VARIANTS if kind in suffixes}
            yield file, named or ALIGNMENTS_AND_VARIANTS
        else:
            yield file, {RUN_KINDS[row["kind"]] if category == "runs" else FileKind(category)}


@pytest.mark.parametrize("category", ["dicom", "fastq", "hts", "runs"])
def test_every_file_is_recognised_as_what_it_is(category: str) -> None:
    wrong = {
        file: judge(file).kind
        for file, kinds in expected_kinds(category)
        if judge(file).kind not in kinds
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "category,column,valid,malformed",
    [
        ("dicom", "class", ["valid"], ["malformed", "incomplete", "dicomdir"]),
        ("fastq", "expected", ["valid"], ["invalid", "invalid_or_warn", "invalid_bounded_memory"]),
        (
            "hts",
            "expected",
            ["pass", "tools: ok", "reference_missing"],
            ["fail", "tools: fail", "warn_or_fail"],
        ),
        ("runs", "et", ["ok"], ["no sections"]),
    ],
)
def test_verdicts_agree_with_the_truth(
    category: str, column: str, valid: list[str], malformed: list[str]
) -> None:
    counts: Counter[tuple[str, bool]] = Counter()
    wrong = []
    for row in rows(category):
        file, truth = row["file"], row[column].partition(" (")[0]
        if truth in (*valid, *malformed):
            side = "valid" if truth in valid else "malformed"
            agrees = (judge(file).verdict in ACCEPTED) is (truth in valid)
            assert agrees is False or file not in DECIDED, f"{file} was decided otherwise"
            counts[side, agrees or file in DECIDED] += 1
            wrong += [] if agrees else [(file, judge(file).verdict.value)]
    accepted, refused = _share(counts, "valid"), _share(counts, "malformed")
    print(f"{category}: {accepted:.1%} of valid accepted, {refused:.1%} of malformed refused")  # noqa: T201
    assert accepted >= MIN_ACCEPTED, wrong
    assert refused >= MIN_REFUSED, wrong


def _share(counts: Counter[tuple[str, bool]], side: str) -> float:
    total = counts[side, True] + counts[side, False]
    return counts[side, True] / total if total else 1.0


def test_lists_and_bags_are_judged_with_the_files_beside_them() -> None:
    truth = {row["case"]: row["expected"] for row in rows("manifests")}
    files = {row["case"]: row["manifest"] for row in rows("manifests")}
    judged = {
        each.path: each
        for each in inspect_found(
            find_files([CORPUS / "manifests"]), jobs=2, progress=lambda _: None
        )
    }
    wrong = []
    for case, expected in truth.items():
        each = judged.get(str(CORPUS / case)) or judged[str(CORPUS / case / files[case])]
        is_accepted = each.verdict in ACCEPTED
        if each.kind != FileKind.MANIFEST or (
            expected in ("ok", "ok_with_unlisted", "fail", "reject", "unsupported")
            and is_accepted is not expected.startswith("ok")
        ):
            wrong.append((case, expected, each.kind, each.verdict))
    assert wrong == []


def test_no_other_file_of_the_corpus_crashes_or_takes_long() -> None:
    for path in sorted(CORPUS.rglob("*")):
        if path.is_file() and path.stat().st_size:
            assert judge(path.relative_to(CORPUS).as_posix()).verdict in Verdict
