"""Agreement with two independent DICOM tools on files that Forebay was not written from."""

import csv
import random
import time
from pathlib import Path

import pytest

from forebay.domain.findings import Verdict
from forebay.domain.imaging import DicomInstance
from forebay.domain.inspection import Inspection
from forebay.formats.dicom import inspect_dicom
from forebay.formats.source import BytesSource, FileSource

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"
TRUTH = CORPUS / "TRUTH_dicom.csv"

pytestmark = pytest.mark.skipif(
    not TRUTH.exists(), reason="the acceptance corpus is not on this machine"
)

REFUSED = {Verdict.INVALID, Verdict.UNSUPPORTED}


def rows(*classes: str) -> list[dict[str, str]]:
    if not TRUTH.exists():
        return []
    with TRUTH.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["class"] in classes]


def inspect(row: dict[str, str]) -> Inspection[DicomInstance]:
    with FileSource(CORPUS / row["file"]) as source:
        started = time.monotonic()
        inspection = inspect_dicom(source)
        assert time.monotonic() - started < 10, f"{row['file']} took too long"
    return inspection


def differences(inspection: Inspection[DicomInstance], row: dict[str, str]) -> list[str]:
    if inspection.record is None:
        return [f"refused: {inspection.findings[0].code}"]
    values = inspection.record.as_metadata() | dict(inspection.record.subject)
    keywords = [column.removesuffix("_pydicom") for column in row if column.endswith("_pydicom")]
    # A record holds no empty values, and truth writes an absent one as an empty cell.
    return [
        f"{keyword}: {values.get(keyword, '')!r}, not {row[f'{keyword}_pydicom']!r}"
        for keyword in keywords
        if str(values.get(keyword, "")) != row[f"{keyword}_pydicom"]
    ]


def test_valid_files_are_accepted_with_the_values_other_tools_read() -> None:
    # What to do about a polyglot preamble is Forebay's own decision, tested below.
    valid = [row for row in rows("valid") if row["expected"] != "accept_with_warning"]
    wrong = {row["file"]: found for row in valid if (found := differences(inspect(row), row))}
    assert len(wrong) <= 0.01 * len(valid), wrong


def test_malformed_files_are_refused() -> None:
    malformed = [row for row in rows("malformed") if not row["expected"].endswith("_or_warn")]
    accepted = [row["file"] for row in malformed if inspect(row).verdict not in REFUSED]
    assert len(accepted) <= 0.03 * len(malformed), accepted


def test_files_to_reject_or_warn_about_are_never_silently_valid() -> None:
    questionable = [row for row in rows("malformed") if row["expected"].endswith("_or_warn")]
    assert [row["file"] for row in questionable if inspect(row).verdict is Verdict.VALID] == []


def test_files_without_identity_or_syntax_are_refused_with_a_reason() -> None:
    for row in rows("incomplete"):
        inspection = inspect(row)
        assert inspection.verdict is Verdict.INVALID, row["file"]
        assert inspection.findings, row["file"]


def test_media_directories_are_unsupported() -> None:
    for row in rows("dicomdir"):
        assert inspect(row).verdict is Verdict.UNSUPPORTED, row["file"]


def test_executable_preambles_are_refused() -> None:
    for row in rows("valid"):
        if row["expected"] == "accept_with_warning":
            assert inspect(row).verdict is Verdict.INVALID, row["file"]


def test_valid_files_cut_anywhere_are_never_valid() -> None:
    rng = random.Random(20261122)  # noqa: S311
    accepted: list[tuple[str, int, int]] = []
    for row in rows("valid"):
        data = (CORPUS / row["file"]).read_bytes()
        if row["expected"] != "accept" or inspect(row).record is None:
            continue
        cuts = [len(data) - 1, *(rng.randrange(len(data)) for _ in range(20))]
        accepted += [
            (row["file"], cut, len(data))
            for cut in cuts
            if inspect_dicom(BytesSource(data[:cut])).verdict is Verdict.VALID
        ]
    # A cut exactly between two elements of an object without pixels cannot be seen in the file.
    assert len(accepted) <= 2, accepted
