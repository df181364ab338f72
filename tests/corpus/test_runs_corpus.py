"""Agreement with ElementTree and Illumina InterOp on run files Forebay was not written from."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.findings import Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.sequencing_runs import (
    Completion,
    Platform,
    RunInfo,
    RunParameters,
    SampleSheet,
    run_completion,
)
from forebay.formats.runs import (
    inspect_interop,
    inspect_run_info,
    inspect_run_parameters,
    inspect_sample_sheet,
)

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"
TRUTH = CORPUS / "TRUTH_runs.csv"

pytestmark = pytest.mark.skipif(
    not TRUTH.exists(), reason="the acceptance corpus is not on this machine"
)

# Forebay's own decisions: accepted by the tools, and accepted here with a warning.
WARNED = {
    "interop__01_test_invalid_tile_list_exception.xml",  # tiles of a lane that is not there
    "interop__02_test_invalid_run_number.xml",  # a read without a number
    "interop__05_test_zero_swath_count_exception.xml",
    "picard__tileRuns-A67HY-RunInfo.xml",  # no run id, no flow cell
    "cgdemux__hiseqx_samplesheet.csv",  # SampleID as CASAVA wrote it
    "taca__samplesheet_sample_check.csv",  # names of index sets in place of indexes
}


def rows(kind: str = "") -> list[dict[str, str]]:
    if not TRUTH.exists():
        return []
    with TRUTH.open(newline="") as file:
        return [row for row in csv.DictReader(file) if kind in ("", row["kind"])]


def inspect(row: dict[str, str]) -> Inspection[Any]:
    inspectors: dict[str, Callable[..., Inspection[Any]]] = {
        "RunInfo": inspect_run_info,
        "RunParameters": inspect_run_parameters,
        "SampleSheet": inspect_sample_sheet,
    }
    return inspectors[row["kind"]]((CORPUS / row["file"]).read_bytes(), name=row["file"])


def columns(record: Any) -> dict[str, object]:
    match record:
        case RunInfo():
            return {
                "id": record.run_id,
                "number": record.run_number,
                "flowcell": record.flow_cell,
                "instrument": record.instrument,
                "date": record.date,
                "reads": " ".join(
                    f"{read.number or None}:{read.cycles}:{'NY'[read.is_index]}"
                    for read in record.reads
                ),
                "lanes": record.lanes,
                "version": record.version,
            }
        case RunParameters():
            return {
                "id": record.run_id,
                "flowcell": record.flow_cell,
                "instrument": record.instrument,
                "application": record.application,
                "app_version": record.application_version,
                "rta": record.rta_version,
                "itype": record.instrument_type,
            }
        case SampleSheet():
            return {
                "version": record.version,
                "sections": ";".join(record.sections),
                "data_section": record.data_section,
                "n_rows": record.rows,
                "columns": ";".join(record.columns),
            }
    raise AssertionError(record)


def differences(row: dict[str, str]) -> list[str]:
    inspection = inspect(row)
    if inspection.record is None:
        return [f"refused: {inspection.findings[0].message}"]
    return [
        f"{column}: {value}, not {row[column]}"
        for column, value in columns(inspection.record).items()
        if row[column] and str(value) != row[column]
    ]


@pytest.mark.parametrize("kind", ["RunInfo", "RunParameters", "SampleSheet"])
def test_files_that_tools_read_are_accepted_with_their_values(kind: str) -> None:
    valid = [row for row in rows(kind) if row["et"] == "ok"]
    wrong = {row["file"]: found for row in valid if (found := differences(row))}
    assert len(wrong) <= 0.01 * len(valid), wrong


def test_sheets_without_sections_are_refused() -> None:
    bad = [row for row in rows() if row["et"] != "ok"]
    assert [row["file"] for row in bad if inspect(row).record is not None] == []


def test_decisions_of_the_verdicts_page_are_stable() -> None:
    decided = {row["file"]: row for row in rows() if Path(row["file"]).name in WARNED}
    assert len(decided) == len(WARNED)
    verdicts = {name: inspect(row).verdict for name, row in decided.items()}
    assert set(verdicts.values()) == {Verdict.WARNING}, verdicts


def test_no_message_holds_a_value_of_the_file() -> None:
    for row in rows("SampleSheet"):
        inspection = inspect(row)
        if inspection.record:
            text = " ".join(finding.message for finding in inspection.findings)
            assert not [
                sample.line
                for sample in inspection.record.samples
                if len(sample.sample_id) > 3 and sample.sample_id in text
            ]


def test_interop_files_agree_with_the_interop_library() -> None:
    """Counted by interop 1.9.0: tiles, clusters, clusters passing filter."""
    expected = {
        "checkqc__170726_D00118_0303_BCB1TVANXX": (768, 1978693953, 1733718043),
        "checkqc__230825_M04034_0043_000000000-L6NVV": (28, 23469886, 20970625),
    }
    for folder, counts in expected.items():
        path = CORPUS / "runs" / "folders" / folder / "InterOp" / "TileMetricsOut.bin"
        record = inspect_interop(path.read_bytes(), name=path.name).record
        assert record is not None
        assert tuple(record.totals.values()) == counts


def test_all_interop_files_are_valid_and_no_cut_one_is() -> None:
    for path in (CORPUS / "runs" / "folders").glob("*/InterOp/*.bin"):
        data = path.read_bytes()
        assert inspect_interop(data, name=path.name).verdict is Verdict.VALID, path
        assert inspect_interop(data[:-1], name=path.name).verdict is Verdict.INVALID, path


@pytest.mark.parametrize(
    "folder,platform,completion",
    [
        ("cg__190927_A00689_0069_BHLYWYDSXX", Platform.NOVASEQ_6000, Completion.COMPLETE),
        ("illuminatus__201125_A00291_0321_AHWHKYDRXX", Platform.NOVASEQ_6000, Completion.COPYING),
        ("illuminatus__160603_M01270_0196_000000000-AKGDE", Platform.MISEQ, Completion.COPYING),
        ("illuminatus__160812_E00397_0027_AHLYTWCCXX", Platform.HISEQ, Completion.COPYING),
        ("npg-element__20250417_AV244103_1234", Platform.ELEMENT, Completion.COMPLETE),
        ("checkqc__150418_SN7001335_0149_AH32CYBCXX", Platform.HISEQ, Completion.UNKNOWN),
    ],
)
def test_run_folders_are_as_complete_as_their_markers_say(
    folder: str, platform: Platform, completion: Completion
) -> None:
    path = CORPUS / "runs" / "folders" / folder
    names = [each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()]
    assert run_completion(platform, names) is completion
