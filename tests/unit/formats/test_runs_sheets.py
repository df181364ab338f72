import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.sequencing_runs import SampleSheet, SheetSample
from forebay.formats.runs import inspect_sample_sheet

V2 = """[Header]
FileFormatVersion,2
RunName,Jane Doe
InstrumentPlatform,NovaSeqXSeries

[Reads]
Read1Cycles,151
Index1Cycles,10

[BCLConvert_Settings]
SoftwareVersion,4.1.7

[BCLConvert_Data]
Lane,Sample_ID,Index,Index2,Sample_Project
1,S1,ACGTACGTAC,TTTTTTTTTT,P
1,S2,ACGTACGTAG,TTTTTTTTTT,P
2,S1,ACGTACGTAC,TTTTTTTTTT,P
"""
V1 = """[Header]
IEMFileVersion,4
Investigator Name,Jane Doe
[Reads]
151
151
[Settings]
Adapter,CTGTCTCTTATA
[Data]
Sample_ID,Sample_Name,index,Description
S1,one,ACGT,"a, b"
S2,two,ACGA,
"""


def inspect(text: str | bytes) -> Inspection[SampleSheet]:
    data = text.encode() if isinstance(text, str) else text
    return inspect_sample_sheet(data, name="SampleSheet.csv")


def sheet(text: str | bytes) -> SampleSheet:
    record = inspect(text).record
    assert record is not None, inspect(text).findings
    return record


def refusal(text: str | bytes) -> ReasonCode:
    inspection = inspect(text)
    assert inspection.verdict in (Verdict.INVALID, Verdict.UNSUPPORTED)
    assert inspection.record is None
    return inspection.findings[0].code


def test_version_two_is_read_whole() -> None:
    assert inspect(V2).verdict is Verdict.VALID
    record = sheet(V2)
    assert record.version == "2"
    assert record.sections == ("Header", "Reads", "BCLConvert_Settings", "BCLConvert_Data")
    assert record.data_section == "BCLConvert_Data"
    assert record.columns == ("Lane", "Sample_ID", "Index", "Index2", "Sample_Project")
    assert record.rows == 3
    assert record.samples[0] == SheetSample("S1", "1", "ACGTACGTAC", "TTTTTTTTTT", "P", 15)
    assert record.read_cycles == ("Read1Cycles=151", "Index1Cycles=10")
    assert record.settings == {"softwareversion": "4.1.7"}


def test_version_one_is_read_whole() -> None:
    assert inspect(V1).verdict is Verdict.VALID
    record = sheet(V1)
    assert (record.version, record.data_section, record.rows) == ("1", "Data", 2)
    assert record.read_cycles == ("151", "151")


def test_metadata_holds_no_free_text_and_no_sample() -> None:
    metadata = sheet(V2).as_metadata()
    assert "Jane" not in str(metadata)
    assert metadata["samples"] == 2
    assert metadata["lanes"] == ["1", "2"]


@pytest.mark.parametrize("text", [V1, V2])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", ",,,,\n"),
        lambda text: text.replace("[Header]", "# made by hand\n\n[Header]"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("S1", " S1 "),
    ],
    ids=["crlf", "cr", "commas", "comment", "no-end", "blanks"],
)
def test_dress_of_the_text_does_not_matter(text: str, spoil: object) -> None:
    assert callable(spoil)
    dressed, plain = sheet(spoil(text)), sheet(text)
    assert [each.sample_id for each in dressed.samples] == [s.sample_id for s in plain.samples]
    assert dressed.sections == plain.sections
    assert inspect(spoil(text)).verdict is Verdict.VALID


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + V1,
        V1.replace("one", "één"),
        V1.replace("S1", "S 1"),
        V1.replace("S1", "S" * 101),
        V1.replace("ACGT,", "SI-GA-A1,"),
        V1.replace("ACGT,", "ACNN,"),
        V1.replace("Sample_ID", "SampleID"),
        V1.replace("Sample_ID", "Sample_ID,sample_id").replace("S1,", "S1,x,"),
        V1.replace("Sample_ID", "Note,Note,Sample_ID").replace("S1,", ",,S1,"),
        "loose,line\n" + V1,
        V1.replace("S2,two,ACGA,", "S2,two,ACGA"),
        V1.replace("S2,", ","),
        V1[: V1.index("[Data]")],
        V1[: V1.index("S1")],
        V2.replace("FileFormatVersion,2", "FileFormatVersion,3"),
        V2.replace("2,S1", "99,S1"),
    ],
)
def test_what_a_laboratory_can_mean_is_a_warning(text: str) -> None:
    inspection = inspect(text)
    assert inspection.verdict is Verdict.WARNING
    assert inspection.record is not None
    assert {each.code for each in inspection.findings} == {ReasonCode.SAMPLE_SHEET_SUSPECT}


def test_text_that_is_not_utf8_is_read_with_a_warning() -> None:
    assert inspect(V1.replace("one", "één").encode("latin-1")).verdict is Verdict.WARNING


def test_column_spelled_as_illumina_does_wins_over_another_case() -> None:
    text = V1.replace("Sample_ID,", "sample_id,Sample_ID,").replace("S1,", "77,S1,")
    assert sheet(text.replace("S2,", "78,S2,")).samples[0].sample_id == "S1"


@pytest.mark.parametrize(
    "text,reason",
    [
        ("", ReasonCode.EMPTY_OBJECT),
        ("\ufeff\n", ReasonCode.EMPTY_OBJECT),
        ("DUMMY\n", ReasonCode.SAMPLE_SHEET_MALFORMED),
        ("# only a comment", ReasonCode.SAMPLE_SHEET_MALFORMED),
        ("id,samplesheet,lane\n1,2,3\n", ReasonCode.SAMPLE_SHEET_MALFORMED),
        ("FCID,Lane,SampleID,SampleRef,Index\nF,1,S,hg19,ACGT", ReasonCode.UNSUPPORTED_FORMAT),
        (V1.encode("utf-16"), ReasonCode.SAMPLE_SHEET_MALFORMED),
        ("[Data]\nSample_ID\n\0", ReasonCode.SAMPLE_SHEET_MALFORMED),
        (V1 + "[Data]\nSample_ID\nS9\n", ReasonCode.SAMPLE_SHEET_AMBIGUOUS),
        (V1 + "[data]\nSample_ID\nS9\n", ReasonCode.SAMPLE_SHEET_AMBIGUOUS),
        (V1.replace("[Data]", "[Data"), ReasonCode.SAMPLE_SHEET_MALFORMED),
        (V1.replace('b"', "b"), ReasonCode.SAMPLE_SHEET_MALFORMED),
        (V1.replace("Sample_ID,", "Name,"), ReasonCode.SAMPLE_SHEET_MALFORMED),
        (V1.replace('"a, b"', "a, b"), ReasonCode.SAMPLE_SHEET_MALFORMED),
        (V1.replace("Sample_Name", "Sample_ID"), ReasonCode.SAMPLE_SHEET_AMBIGUOUS),
        (V1.replace("ACGA", "acgt"), ReasonCode.SAMPLE_SHEET_AMBIGUOUS),
        (V2.replace("ACGTACGTAG", "ACGTACGTAC"), ReasonCode.SAMPLE_SHEET_AMBIGUOUS),
        (V2.replace("2,S1", ",S1"), ReasonCode.SAMPLE_SHEET_AMBIGUOUS),
        (V2.replace("2,S1", "2,"), ReasonCode.SAMPLE_SHEET_MALFORMED),
        (V1.replace("S1", "../S1"), ReasonCode.UNSAFE_NAME),
        (V1.replace("S1", "a\\b"), ReasonCode.UNSAFE_NAME),
        (V1.replace("S1", ".."), ReasonCode.UNSAFE_NAME),
        (V1.replace("S1", "S\x071"), ReasonCode.UNSAFE_NAME),
        ("[Data]\nSample_ID\n" + "x" * 200_000, ReasonCode.SAMPLE_SHEET_MALFORMED),
    ],
)
def test_sheet_that_could_mix_up_samples_is_refused(text: str | bytes, reason: ReasonCode) -> None:
    assert refusal(text) is reason


def test_finding_says_the_lines_and_never_the_sample() -> None:
    text = V2.replace("ACGTACGTAG", "ACGTACGTAC").replace("S2", "DOE_JANE")
    finding = inspect(text).findings[0]
    assert finding.position == "line 16"
    assert "DOE" not in str(finding.as_dict())


def test_many_equal_findings_are_one_and_bounded() -> None:
    rows = "\n".join(f"S{n},ACGT" for n in range(5000))
    finding = inspect(f"[Data]\nSample_ID,index\n{rows}\n").findings[0]
    assert len(finding.message) < 500
    assert "more" in finding.message


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(data: bytes) -> None:
    assert inspect(b"[Data]\n" + data).verdict in Verdict
    assert inspect(data).verdict in Verdict


@given(
    st.lists(
        st.tuples(
            st.sampled_from("12345678"), st.text("ACGT", min_size=1, max_size=4), st.just("S")
        ),
        max_size=20,
    )
)
def test_sheet_is_refused_exactly_when_a_lane_has_an_index_twice(
    rows: list[tuple[str, str, str]],
) -> None:
    body = "".join(f"{lane},{index},{name}\n" for lane, index, name in rows)
    is_clash = len({row[:2] for row in rows}) < len(rows)
    inspection = inspect(f"[Header]\n[Data]\nLane,index,Sample_ID\n{body}")
    assert (inspection.verdict is Verdict.INVALID) is is_clash
