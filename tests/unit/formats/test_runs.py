import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.sequencing_runs import (
    COMPLETION_MARKERS,
    Completion,
    Platform,
    RunInfo,
    RunParameters,
    RunRead,
    platform_from_text,
    run_completion,
)
from forebay.formats.runs import inspect_run_info, inspect_run_parameters

RUN_INFO = """<?xml version="1.0"?>
<RunInfo Version="6">
  <Run Id="20240131_VH00384_146_AACCHKLHV" Number="146">
    <Flowcell>AACCHKLHV</Flowcell>
    <Instrument>VH00384</Instrument>
    <Date>2024-01-31T15:30:32Z</Date>
    <Reads>
      <Read Number="1" NumCycles="151" IsIndexedRead="N" IsReverseComplement="N" />
      <Read Number="2" NumCycles="8" IsIndexedRead="Y" IsReverseComplement="Y" />
    </Reads>
    <FlowcellLayout LaneCount="2" SurfaceCount="2" SwathCount="4" TileCount="16">
      <TileSet TileNamingConvention="FourDigit">
        <Tiles><Tile>1_1101</Tile><Tile>2_1101</Tile></Tiles>
      </TileSet>
    </FlowcellLayout>
  </Run>
</RunInfo>
"""


def info(text: str | bytes) -> RunInfo:
    data = text.encode() if isinstance(text, str) else text
    inspection = inspect_run_info(data, name="RunInfo.xml")
    assert inspection.record is not None, inspection.findings
    return inspection.record


def code(text: str | bytes) -> ReasonCode:
    data = text.encode() if isinstance(text, str) else text
    inspection = inspect_run_info(data, name="RunInfo.xml")
    assert inspection.verdict is Verdict.INVALID
    assert inspection.record is None
    return inspection.findings[0].code


def parameters(body: str) -> RunParameters:
    data = f"<RunParameters>{body}</RunParameters>".encode()
    inspection = inspect_run_parameters(data, name="RunParameters.xml")
    assert inspection.record is not None, inspection.findings
    return inspection.record


def test_run_info_is_read_whole() -> None:
    inspection = inspect_run_info(RUN_INFO.encode(), name="RunInfo.xml")
    assert inspection.verdict is Verdict.VALID
    assert inspection.record == RunInfo(
        run_id="20240131_VH00384_146_AACCHKLHV",
        run_number=146,
        flow_cell="AACCHKLHV",
        instrument="VH00384",
        date="2024-01-31T15:30:32Z",
        day="2024-01-31",
        reads=(RunRead(1, 151, is_index=False), RunRead(2, 8, True, is_reverse_complement=True)),
        lanes=2,
        surfaces=2,
        swaths=4,
        tiles_per_swath=16,
        tiles_listed=2,
        version="6",
    )
    assert inspection.record.as_metadata()["reads"][1]["is_index"] is True


@pytest.mark.parametrize(
    "written,day",
    [
        ("160822", "2016-08-22"),
        ("20240131", "2024-01-31"),
        ("2/8/2017 4:25:41 PM", "2017-02-08"),
        ("2024-01-31T15:30:32Z", "2024-01-31"),
        ("161399", ""),
        ("yesterday", ""),
        ("", ""),
    ],
)
def test_day_of_the_run_is_told_from_every_dialect(written: str, day: str) -> None:
    record = info(RUN_INFO.replace("2024-01-31T15:30:32Z", written))
    assert (record.date, record.day) == (written, day)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_encoding_and_line_ends_do_not_matter(encoding: str, line_end: str) -> None:
    declared = encoding.removesuffix("-sig").replace("latin-1", "iso-8859-1")
    text = RUN_INFO.replace('"1.0"?', f'"1.0" encoding="{declared}"?').replace("\n", line_end)
    assert info(text.encode(encoding)) == info(RUN_INFO)


@pytest.mark.parametrize(
    "before,after",
    [
        (' Number="146"', ""),
        (' Id="20240131_VH00384_146_AACCHKLHV"', ""),
        ("<Flowcell>AACCHKLHV</Flowcell>", ""),
        ('LaneCount="2"', 'LaneCount=""'),
        ('SwathCount="4"', 'SwathCount="0"'),
        ('<Read Number="1" ', "<Read "),
        ("<Tile>2_1101</Tile>", "<Tile>3_1101</Tile>"),
    ],
)
def test_gap_or_oddity_is_a_warning(before: str, after: str) -> None:
    assert before in RUN_INFO
    inspection = inspect_run_info(RUN_INFO.replace(before, after).encode(), name="RunInfo.xml")
    assert inspection.verdict is Verdict.WARNING
    assert inspection.record is not None


@pytest.mark.parametrize(
    "text,reason",
    [
        ("", ReasonCode.EMPTY_OBJECT),
        (" \n", ReasonCode.EMPTY_OBJECT),
        ("run 5", ReasonCode.RUN_FILE_MALFORMED),
        ("\0" * 64, ReasonCode.RUN_FILE_MALFORMED),
        ("<RunParameters/>", ReasonCode.RUN_FILE_MALFORMED),
        ("<RunInfo/>", ReasonCode.RUN_FILE_MALFORMED),
        (RUN_INFO.replace('"151"', '"many"'), ReasonCode.RUN_FILE_MALFORMED),
        (RUN_INFO.replace(' NumCycles="8"', ""), ReasonCode.RUN_FILE_MALFORMED),
        (RUN_INFO + "<RunInfo/>", ReasonCode.RUN_FILE_MALFORMED),
        ('<?xml version="1.0" encoding="utf-7"?><RunInfo/>', ReasonCode.RUN_FILE_MALFORMED),
        ('<?xml version="1.0" encoding="nonsense"?><RunInfo/>', ReasonCode.RUN_FILE_MALFORMED),
    ],
)
def test_document_that_describes_no_run_is_refused(text: str, reason: ReasonCode) -> None:
    assert code(text) is reason


@given(cut=st.integers(1, len(RUN_INFO.rstrip()) - 1))
def test_run_info_cut_anywhere_is_refused(cut: int) -> None:
    assert code(RUN_INFO.rstrip()[:-cut]) in (
        ReasonCode.RUN_FILE_MALFORMED,
        ReasonCode.EMPTY_OBJECT,
    )


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(data: bytes) -> None:
    assert inspect_run_info(data, name="x").verdict is Verdict.INVALID
    assert inspect_run_parameters(data, name="x").verdict is Verdict.INVALID


BILLION_LAUGHS = (
    '<!DOCTYPE RunInfo [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]><RunInfo>&a9;</RunInfo>"
)


@pytest.mark.parametrize(
    "text,reason",
    [
        (BILLION_LAUGHS, ReasonCode.XML_FORBIDDEN),
        (
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><RunInfo>&x;</RunInfo>',
            ReasonCode.XML_FORBIDDEN,
        ),
        ('<!DOCTYPE a SYSTEM "http://x/y.dtd"><RunInfo/>', ReasonCode.XML_FORBIDDEN),
        ("<RunInfo>&undeclared;</RunInfo>", ReasonCode.RUN_FILE_MALFORMED),
        ("<a>" * 1_000_000, ReasonCode.LIMIT_EXCEEDED),
        ("<RunInfo>" + "<a/>" * 800_000, ReasonCode.LIMIT_EXCEEDED),
        ("<RunInfo>" + "x\n" * 1_500_000, ReasonCode.LIMIT_EXCEEDED),
        ("<RunInfo>" + "<![CDATA[x]]>" * 200_000, ReasonCode.LIMIT_EXCEEDED),
        ("<RunInfo>" + " " * (5 << 20), ReasonCode.LIMIT_EXCEEDED),
    ],
    ids=["laughs", "file", "dtd", "entity", "deep", "wide", "text", "cdata", "large"],
)
def test_hostile_xml_is_refused_at_once(text: str, reason: ReasonCode) -> None:
    start = time.perf_counter()
    assert code(text) is reason
    assert time.perf_counter() - start < 2


def test_messages_hold_no_text_of_the_document() -> None:
    text = RUN_INFO.replace('"151"', '"Jane Doe"')
    findings = inspect_run_info(text.encode(), name="Jane Doe/RunInfo.xml").findings
    assert "Jane" not in str([finding.as_dict() for finding in findings])


@pytest.mark.parametrize(
    "body,platform,expected",
    [
        (
            (
                "<RunID>R</RunID><ScannerID>M1</ScannerID><RTAVersion>1.18</RTAVersion>"
                "<Barcode>000-A</Barcode><Chemistry>Amplicon</Chemistry>"
                "<Setup><ApplicationName>MiSeq Control Software</ApplicationName>"
                "<ApplicationVersion>4.0</ApplicationVersion></Setup>"
            ),
            Platform.MISEQ,
            ("R", "M1", "MiSeq Control Software", "4.0", "1.18", "000-A", "Amplicon"),
        ),
        (
            (
                "<Setup><RunID>R</RunID><ScannerID>K1</ScannerID><Barcode>HXX</Barcode>"
                "<ApplicationName>HiSeq X Control Software</ApplicationName>"
                "<ApplicationVersion>3.1</ApplicationVersion><RTAVersion>2.3</RTAVersion></Setup>"
            ),
            Platform.HISEQ,
            ("R", "K1", "HiSeq X Control Software", "3.1", "2.3", "HXX", ""),
        ),
        (
            (
                "<RunID>R</RunID><InstrumentID>NS1</InstrumentID><FlowCellSerial>HBG</FlowCellSerial>"
                "<RTAVersion>2.4</RTAVersion><Chemistry>NextSeq High</Chemistry>"
                "<Setup><ApplicationName>NextSeq Control Software</ApplicationName>"
                "<ApplicationVersion>2.0</ApplicationVersion></Setup>"
            ),
            Platform.NEXTSEQ_500,
            ("R", "NS1", "NextSeq Control Software", "2.0", "2.4", "HBG", "NextSeq High"),
        ),
        (
            (
                "<InstrumentSerialNumber>VH1</InstrumentSerialNumber><RtaVersion>3.6</RtaVersion>"
                "<ApplicationName>NextSeq 1000/2000 Control Software</ApplicationName>"
                "<ApplicationVersion>1.1</ApplicationVersion>"
                "<FlowCellSerialNumber>AAA</FlowCellSerialNumber>"
                "<OutputFolder>/mnt/runs/200602_VH1_33_AAA/</OutputFolder>"
            ),
            Platform.NEXTSEQ_1000,
            (
                "200602_VH1_33_AAA",
                "VH1",
                "NextSeq 1000/2000 Control Software",
                "1.1",
                "3.6",
                "AAA",
                "",
            ),
        ),
        (
            (
                "<RunId>R</RunId><InstrumentName>A1</InstrumentName><RtaVersion>v3</RtaVersion>"
                "<Application>NovaSeq Control Software</Application>"
                "<ApplicationVersion>1.7</ApplicationVersion><Side>A</Side>"
                "<RfidsInfo><FlowCellSerialBarcode>HDS</FlowCellSerialBarcode></RfidsInfo>"
            ),
            Platform.NOVASEQ_6000,
            ("R", "A1", "NovaSeq Control Software", "1.7", "v3", "HDS", ""),
        ),
        (
            (
                "<RunId>R</RunId><InstrumentSerialNumber>LH1</InstrumentSerialNumber>"
                "<Application>control-software</Application>"
                "<SystemSuiteVersion>1.2</SystemSuiteVersion>"
                "<InstrumentType>NovaSeqXPlus</InstrumentType><RecipeName>10B</RecipeName>"
                "<ConsumableInfo><ConsumableInfo><SerialNumber>LT3</SerialNumber><Type>FlowCell</Type>"
                "</ConsumableInfo></ConsumableInfo>"
            ),
            Platform.NOVASEQ_X,
            ("R", "LH1", "control-software", "1.2", "", "LT3", "10B"),
        ),
        (
            (
                "<RunId>R</RunId><InstrumentId>FS1</InstrumentId><RtaVersion>2</RtaVersion>"
                "<ApplicationName>iSeq Control Software</ApplicationName>"
                "<ApplicationVersion>1.4</ApplicationVersion>"
                "<FlowcellEEPROMTag><SerialNumber>BPA</SerialNumber></FlowcellEEPROMTag>"
            ),
            Platform.ISEQ,
            ("R", "FS1", "iSeq Control Software", "1.4", "2", "BPA", ""),
        ),
    ],
)
def test_every_dialect_of_run_parameters_is_read(
    body: str, platform: Platform, expected: tuple[str, ...]
) -> None:
    record = parameters(body)
    assert record.platform is platform
    assert (
        record.run_id,
        record.instrument,
        record.application,
        record.application_version,
        record.rta_version,
        record.flow_cell,
        record.chemistry,
    ) == expected


def test_reagents_are_listed_with_their_role() -> None:
    record = parameters(
        "<RunID>R</RunID><ReagentKitRFIDTag><SerialNumber>MS1</SerialNumber>"
        "<PartNumber>150</PartNumber></ReagentKitRFIDTag><PR2BottleRFIDTag/>"
        "<RfidsInfo><SbsSerialBarcode>NV2</SbsSerialBarcode><SbsCycleKit>300</SbsCycleKit>"
        "</RfidsInfo><CartridgeSerialNumber>EC3</CartridgeSerialNumber>"
    )
    assert [(each.role, each.serial, each.mode) for each in record.consumables] == [
        ("ReagentKit", "MS1", ""),
        ("Sbs", "NV2", "300"),
        ("Cartridge", "EC3", ""),
    ]
    assert record.as_metadata()["consumables"][0]["part_number"] == "150"


def test_unknown_instrument_is_a_warning_for_the_platform_team() -> None:
    data = b"<RunParameters><RunId>R</RunId><Application>New</Application></RunParameters>"
    inspection = inspect_run_parameters(data, name="x")
    assert inspection.verdict is Verdict.WARNING
    assert inspection.record is not None
    assert inspection.record.platform is None


def test_run_parameters_that_name_nothing_are_refused() -> None:
    data = b"<RunParameters><Side>A</Side></RunParameters>"
    assert inspect_run_parameters(data, name="x").verdict is Verdict.INVALID


@pytest.mark.parametrize(
    "platform,names,quiet,completion",
    [
        (Platform.NOVASEQ_6000, ["RunInfo.xml", "RTAComplete.txt"], True, Completion.COPYING),
        (Platform.NOVASEQ_6000, ["RunInfo.xml", "CopyComplete.txt"], False, Completion.COMPLETE),
        (Platform.NOVASEQ_X, ["RTAComplete.txt", "CopyComplete.txt"], True, Completion.COPYING),
        (
            Platform.NOVASEQ_X,
            ["RTAComplete.txt", "CopyComplete.txt", "RunCompletionStatus.xml"],
            False,
            Completion.COMPLETE,
        ),
        (Platform.NEXTSEQ_1000, ["CopyComplete.txt"], False, Completion.COMPLETE),
        (Platform.NEXTSEQ_500, ["RTAComplete.xml"], False, Completion.COPYING),
        (Platform.NEXTSEQ_500, ["RTAComplete.xml"], True, Completion.COMPLETE),
        (Platform.MISEQ, ["RTAComplete.txt"], True, Completion.COMPLETE),
        (Platform.MISEQ, ["Thumbnail_Images/RTAComplete.txt"], True, Completion.UNKNOWN),
        (Platform.HISEQ, ["RTARead1Complete.txt"], True, Completion.COPYING),
        (Platform.ELEMENT, ["RunParameters.json"], False, Completion.COPYING),
        (Platform.ELEMENT, ["RunUploaded.json"], False, Completion.COMPLETE),
        (Platform.SINGULAR, ["run_complete.txt"], False, Completion.COPYING),
        (Platform.SINGULAR, ["transfer_complete.txt"], False, Completion.COMPLETE),
        (Platform.NANOPORE, ["pod5/a.pod5"], False, Completion.COPYING),
        (Platform.NANOPORE, ["final_summary_PAA_1_2.txt"], False, Completion.COMPLETE),
        (Platform.PACBIO, ["hifi_reads/m84.bam"], False, Completion.COPYING),
        (Platform.PACBIO, ["metadata/m84_s1.transferdone"], False, Completion.COMPLETE),
        (Platform.MGI_G400, ["success.txt"], False, Completion.COPYING),
        (Platform.MGI_T7, ["flag.json"], True, Completion.COMPLETE),
        (Platform.MISEQ, [], False, Completion.UNKNOWN),
        (Platform.MISEQ, ["notes.txt"], False, Completion.UNKNOWN),
    ],
)
def test_run_is_complete_when_its_platform_says_so(
    platform: Platform, names: list[str], quiet: bool, completion: Completion
) -> None:
    assert run_completion(platform, names, is_quiet=quiet) is completion


def test_every_platform_has_a_rule_with_its_source() -> None:
    assert set(COMPLETION_MARKERS) == set(Platform)
    assert all(rule.required and rule.source for rule in COMPLETION_MARKERS.values())


@given(st.sets(st.sampled_from(["RTAComplete.txt", "CopyComplete.txt", "RunInfo.xml", "a/b"])))
def test_more_files_never_make_a_run_less_complete(names: set[str]) -> None:
    order = [Completion.UNKNOWN, Completion.COPYING, Completion.COMPLETE]
    for platform in Platform:
        fewer = run_completion(platform, names, is_quiet=True)
        more = run_completion(platform, names | {"CopyComplete.txt"}, is_quiet=True)
        assert order.index(more) >= order.index(fewer)


def test_platform_is_told_by_the_first_text_that_names_one() -> None:
    assert platform_from_text("Other", "NovaSeqXSeries Control Software") is Platform.NOVASEQ_X
    assert platform_from_text("NextSeq2000") is Platform.NEXTSEQ_1000
    assert platform_from_text("MiniSeq Control Software") is Platform.MINISEQ
    assert platform_from_text("", "") is None


UNSAFE = ["../../etc", "a&#10;b", "..", "a\\b", "a&#9;b", "/run"]


@pytest.mark.parametrize("identity", UNSAFE)
def test_an_identity_that_cannot_be_a_name_is_refused_and_not_repeated(identity: str) -> None:
    for good in ("20240131_VH00384_146_AACCHKLHV", ">AACCHKLHV<", ">VH00384<"):
        bad = good.replace(good.strip("<>"), identity)
        inspection = inspect_run_info(RUN_INFO.replace(good, bad).encode(), name="RunInfo.xml")
        assert inspection.verdict is Verdict.INVALID
        assert [each.code for each in inspection.findings] == [ReasonCode.UNSAFE_NAME]
        assert inspection.findings[0].position
        assert identity not in str(inspection.findings)


@pytest.mark.parametrize("identity", UNSAFE)
def test_run_parameters_with_an_unsafe_run_id_are_refused(identity: str) -> None:
    data = f"<RunParameters><RunId>{identity}</RunId></RunParameters>".encode()
    inspection = inspect_run_parameters(data, name="RunParameters.xml")
    assert [each.code for each in inspection.findings] == [ReasonCode.UNSAFE_NAME]


def test_several_runs_are_refused() -> None:
    text = RUN_INFO.replace("</Run>", '</Run><Run Id="other" Number="2"/>')
    assert code(text) is ReasonCode.RUN_FILE_MALFORMED
    assert "several" in inspect_run_info(text.encode(), name="").findings[0].message


def test_two_reads_of_one_number_are_refused() -> None:
    text = RUN_INFO.replace('<Read Number="2"', '<Read Number="1"')
    finding = inspect_run_info(text.encode(), name="").findings[0]
    assert finding.code is ReasonCode.RUN_FILE_MALFORMED
    assert (finding.position, finding.found) == ("line 9", "number 1 again")
