"""Run folders of sequencers: `RunInfo.xml`, `RunParameters.xml`, sample sheets, markers, InterOp.

XML dialects follow what the control software of each instrument writes; Illumina publishes no
schema, so a value is looked for at every place where a known dialect keeps it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.inspection import Inspection
from forebay.domain.sequencing_runs import (
    COMPLETION_MARKERS,
    Completion,
    CompletionRule,
    Consumable,
    Platform,
    RunInfo,
    RunParameters,
    RunRead,
    platform_from_text,
    run_completion,
)
from forebay.formats.runs_interop import inspect_interop
from forebay.formats.runs_sheets import UNSAFE_ID, inspect_sample_sheet
from forebay.formats.runs_verdicts import accepted, refused
from forebay.formats.runs_xml import XmlElement, XmlRefusedError, parse_xml

__all__ = [
    "COMPLETION_MARKERS",
    "Completion",
    "CompletionRule",
    "Platform",
    "inspect_interop",
    "inspect_run_info",
    "inspect_run_parameters",
    "inspect_sample_sheet",
    "run_completion",
]

_DIGITS: Final = re.compile(r"[0-9]{1,9}")


def inspect_run_info(
    data: bytes,
    *,
    name: str,  # noqa: ARG001 - as all inspections are called
) -> Inspection[RunInfo]:
    """Inspect a `RunInfo.xml`; `name` is not read, the content decides.

    Refused: what is not XML, holds a DTD, has another root, several runs, an identity that cannot
    be a name, a read without a count of cycles, or a number that two reads have. Warnings: an
    identity or layout that the file leaves out.
    """
    root = _root(data, "RunInfo")
    if isinstance(root, Finding):
        return refused(data, root)
    runs = list(root.all("Run"))
    if len(runs) != 1:
        return refused(data, _several(runs[1]) if runs else _missing("RunInfo", "a Run element"))
    run = runs[0]
    wrong = [*_unsafe_names(run), *_wrong_reads(run), *_repeated_reads(run)]
    if wrong:
        return refused(data, *wrong)
    record = _run_info(root, run)
    return accepted(data, record, (*_gaps(record), *_odd_layout(run, record)))


def inspect_run_parameters(
    data: bytes,
    *,
    name: str,  # noqa: ARG001 - as all inspections are called
) -> Inspection[RunParameters]:
    """Inspect a `RunParameters.xml` of any Illumina instrument; `name` is not read.

    Refused: what is not XML, holds a DTD, has another root, an identity that cannot be a name, or
    names neither run, instrument nor application. Warnings: an identity left out, an instrument
    that Forebay does not know.
    """
    root = _root(data, "RunParameters")
    if isinstance(root, Finding):
        return refused(data, root)
    record = _run_parameters(root)
    told = {"run id": record.run_id, "instrument": record.instrument, "flow cell": record.flow_cell}
    if unsafe := list(_unsafe("RunParameters", told)):
        return refused(data, *unsafe)
    if not (record.run_id or record.instrument or record.application):
        return refused(data, _missing("RunParameters", "a run, an instrument or an application"))
    return accepted(data, record, tuple(_parameter_gaps(record)))


def _root(data: bytes, tag: str) -> XmlElement | Finding:
    if not data.strip():
        return Finding(
            code=ReasonCode.EMPTY_OBJECT,
            message=f"The {tag} file is empty; copy it again from the run folder.",
            owner=Owner.SENDER,
            expected=f"a {tag} document",
            found="nothing",
        )
    try:
        root = parse_xml(data)
    except XmlRefusedError as error:
        return Finding(
            code=error.code,
            message=f"The {tag} file {error}; copy it again from the run folder.",
            owner=Owner.SENDER,
            position=error.position,
            expected=error.expected,
            found=error.found,
        )
    return root if root.tag == tag else _missing(tag, f"the root element {tag}")


def _missing(tag: str, what: str) -> Finding:
    return Finding(
        code=ReasonCode.RUN_FILE_MALFORMED,
        message=f"The {tag} file lacks {what}, so it does not describe a run; send the one that"
        " the instrument wrote.",
        owner=Owner.SENDER,
        expected=what,
        found="another document",
    )


def _run_info(root: XmlElement, run: XmlElement) -> RunInfo:
    layout = run.first("FlowcellLayout")
    counts = layout.attributes if layout else {}
    date = run.value("Date")
    return RunInfo(
        run_id=run.attributes.get("Id", "").strip(),
        run_number=_count(run.attributes.get("Number", "")),
        flow_cell=run.value("Flowcell"),
        instrument=run.value("Instrument"),
        date=date,
        day=_day(date),
        reads=tuple(_read(each) for each in _reads(run)),
        lanes=_count(counts.get("LaneCount", "")),
        surfaces=_count(counts.get("SurfaceCount", "")),
        swaths=_count(counts.get("SwathCount", "")),
        tiles_per_swath=_count(counts.get("TileCount", "")),
        tiles_listed=sum(1 for _ in run.all("FlowcellLayout/TileSet/Tiles/Tile")),
        version=root.attributes.get("Version", "").strip(),
    )


def _several(second: XmlElement) -> Finding:
    return Finding(
        code=ReasonCode.RUN_FILE_MALFORMED,
        message="The RunInfo file describes several runs, so it is not clear which one this is;"
        " send the one that the instrument wrote.",
        owner=Owner.SENDER,
        position=f"line {second.line}",
        expected="one Run element",
        found="several",
    )


def _unsafe_names(run: XmlElement) -> Iterator[Finding]:
    told = {
        "run id": run.attributes.get("Id", ""),
        "flow cell": run.value("Flowcell"),
        "instrument": run.value("Instrument"),
    }
    return _unsafe("RunInfo", told, line=run.line)


def _unsafe(tag: str, told: Mapping[str, str], *, line: int = 0) -> Iterator[Finding]:
    for what, value in told.items():
        if UNSAFE_ID.search(value.strip()):
            yield Finding(
                code=ReasonCode.UNSAFE_NAME,
                message=f"The {tag} file has a {what} with a path separator or control character;"
                " it becomes the name of folders and files. Send the file that the instrument"
                " wrote.",
                owner=Owner.SENDER,
                position=f"line {line}" if line else "",
                expected="letters, digits, '-' and '_'",
                # The value itself may be made to harm where it is shown.
                found=f"{len(value)} characters",
            )


def _reads(run: XmlElement) -> Iterator[XmlElement]:
    return run.all("Reads/Read")


def _read(element: XmlElement) -> RunRead:
    attributes = element.attributes
    return RunRead(
        number=_count(attributes.get("Number", "")),
        cycles=_count(attributes["NumCycles"]),
        is_index=attributes.get("IsIndexedRead", "").strip().upper() == "Y",
        is_reverse_complement=attributes.get("IsReverseComplement", "").strip().upper() == "Y",
    )


def _wrong_reads(run: XmlElement) -> Iterator[Finding]:
    for element in _reads(run):
        cycles = element.attributes.get("NumCycles", "").strip()
        if not _DIGITS.fullmatch(cycles):
            yield Finding(
                code=ReasonCode.RUN_FILE_MALFORMED,
                message="The RunInfo file has a read without a number of cycles; send the one that"
                " the instrument wrote.",
                owner=Owner.SENDER,
                position=f"line {element.line}",
                expected="NumCycles, a whole number",
                found=f"{len(cycles)} characters",
            )


def _repeated_reads(run: XmlElement) -> Iterator[Finding]:
    seen: set[int] = set()
    for element in _reads(run):
        number = _count(element.attributes.get("Number", ""))
        if number and number in seen:
            yield Finding(
                code=ReasonCode.RUN_FILE_MALFORMED,
                message="The RunInfo file gives two reads the same number, so they cannot be told"
                " apart; send the one that the instrument wrote.",
                owner=Owner.SENDER,
                position=f"line {element.line}",
                expected="a number for each read",
                found=f"number {number} again",
            )
        seen.add(number)


def _gaps(record: RunInfo) -> Iterator[Finding]:
    told = {
        "run id": record.run_id,
        "run number": record.run_number,
        "flow cell": record.flow_cell,
        "instrument": record.instrument,
        "reads": record.reads,
        "lane count": record.lanes,
    }
    if gaps := [what for what, value in told.items() if not value]:
        yield Finding(
            code=ReasonCode.RUN_FILE_INCOMPLETE,
            message=f"The RunInfo file does not state: {', '.join(gaps)}. The run is kept, but"
            " cannot be found by that.",
            owner=Owner.INSTRUMENT,
            expected=", ".join(told),
            found=f"{len(told) - len(gaps)} of {len(told)}",
        )
    if any(not read.number for read in record.reads):
        yield _odd("numbers not all of its reads", expected="Number of each Read")


def _odd_layout(run: XmlElement, record: RunInfo) -> Iterator[Finding]:
    layout = run.first("FlowcellLayout")
    if layout is None:
        return
    zero = [name for name, value in layout.attributes.items() if not value.strip().strip("0")]
    if zero:
        yield _odd(f"gives no {', '.join(sorted(zero))} of the flow cell", expected="1 or more")
    tiles = {tile.text.partition("_")[0] for tile in layout.all("TileSet/Tiles/Tile")}
    beyond = [lane for lane in tiles if not 1 <= _count(lane) <= max(record.lanes, 1)]
    if beyond and record.lanes:
        yield _odd("lists tiles on lanes that the flow cell has not", expected="lane_tile")


def _odd(what: str, *, expected: str) -> Finding:
    return Finding(
        code=ReasonCode.RUN_VALUE_SUSPECT,
        message=f"The RunInfo file {what}.",
        owner=Owner.INSTRUMENT,
        expected=expected,
    )


_DAY_FORMS: Final = (
    re.compile(r"(?P<y>20\d\d)-(?P<m>\d\d)-(?P<d>\d\d)(?:T.*)?"),
    re.compile(r"(?P<y>20\d\d)(?P<m>\d\d)(?P<d>\d\d)"),
    re.compile(r"(?P<y>\d\d)(?P<m>\d\d)(?P<d>\d\d)"),
    # The instruments' software runs under an American locale.
    re.compile(r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>20\d\d)(?: .*)?"),
)


def _day(text: str) -> str:
    for form in _DAY_FORMS:
        if match := form.fullmatch(text):
            year, month, day = (int(match[part]) for part in "ymd")
            is_day = 1 <= month <= 12 and 1 <= day <= 31
            return f"{year % 100 + 2000:04}-{month:02}-{day:02}" if is_day else ""
    return ""


def _count(text: str) -> int:
    text = text.strip()
    return int(text) if _DIGITS.fullmatch(text) else 0


def _run_parameters(root: XmlElement) -> RunParameters:
    application = root.value("ApplicationName", "Application", "Setup/ApplicationName")
    written_type = root.value("InstrumentType")
    return RunParameters(
        platform=platform_from_text(written_type, application),
        instrument_type=written_type or application.removesuffix(" Control Software"),
        instrument=root.value(
            "InstrumentSerialNumber",
            "InstrumentName",
            "InstrumentID",
            "InstrumentId",
            "ScannerID",
            "Setup/ScannerID",
        ),
        application=application,
        application_version=root.value(
            "ApplicationVersion", "Setup/ApplicationVersion", "MCSVersion", "SystemSuiteVersion"
        ),
        rta_version=root.value("RtaVersion", "RTAVersion", "Setup/RTAVersion"),
        run_id=root.value("RunId", "RunID", "Setup/RunID") or _folder_name(root),
        flow_cell=_flow_cell(root),
        flow_cell_type=root.value(
            "RfidsInfo/FlowCellMode", "FlowCellType", "FlowCellName", "Setup/Flowcell"
        ),
        chemistry=root.value(
            "Chemistry", "Setup/RapidRunChemistry", "Setup/ChemistryVersion", "RecipeName"
        ),
        side=root.value("Side", "Setup/FCPosition"),
        consumables=tuple(_consumables(root)),
    )


def _folder_name(root: XmlElement) -> str:
    """Return the run folder's name, which is the run id where a dialect has no other place."""
    return re.split(r"[/\\]", root.value("OutputFolder").rstrip("/\\"))[-1]


def _flow_cell(root: XmlElement) -> str:
    for consumable in root.all("ConsumableInfo/ConsumableInfo"):
        if consumable.value("Type") == "FlowCell":
            return consumable.value("SerialNumber")
    return root.value(
        "RfidsInfo/FlowCellSerialBarcode",
        "FlowCellSerialNumber",
        "FlowcellRFIDTag/SerialNumber",
        "FlowCellRfidTag/SerialNumber",
        "FlowcellEEPROMTag/SerialNumber",
        "FlowCellSerial",
        "Barcode",
        "Setup/Barcode",
    )


_TAGGED_KITS: Final = (
    ("ReagentKit", ("ReagentKitRFIDTag", "ReagentKitRfidTag")),
    ("PR2Bottle", ("PR2BottleRFIDTag", "PR2BottleRfidTag")),
)
_NOVASEQ_KITS: Final = ("Sbs", "Cluster", "Buffer", "LibraryTube")
_HISEQ_KITS: Final = (
    ("Sbs", "Setup/ReagentKits/Sbs/SbsReagentKit/ID"),
    ("Index", "Setup/ReagentKits/Index/ReagentKit/ID"),
    ("Pe", "Setup/ReagentKits/Pe/ReagentKit/ID"),
)


def _consumables(root: XmlElement) -> Iterator[Consumable]:
    """Yield flow cell, kits and buffers that have a serial or part number, by dialect."""
    for each in _all_consumables(root):
        if each.serial or each.part_number:
            yield each


def _all_consumables(root: XmlElement) -> Iterator[Consumable]:
    for info in root.all("ConsumableInfo/ConsumableInfo"):
        yield _consumable(info.value("Type"), info, mode=info.value("Mode"))
    for role, tags in _TAGGED_KITS:
        for tag in tags:
            yield from (_consumable(role, element) for element in root.all(tag))
    for role in _NOVASEQ_KITS:
        yield Consumable(
            role,
            serial=root.value(f"RfidsInfo/{role}SerialBarcode"),
            part_number=root.value(f"RfidsInfo/{role}PartNumber"),
            lot=root.value(f"RfidsInfo/{role}LotNumber"),
            mode=root.value(f"RfidsInfo/{role}CycleKit"),
        )
    for role, path in _HISEQ_KITS:
        yield from (Consumable(role, serial=element.text) for element in root.all(path))
    yield Consumable(
        "Cartridge",
        serial=root.value("CartridgeSerialNumber"),
        part_number=root.value("CartridgePartNumber"),
        lot=root.value("CartridgeLotNumber"),
    )


def _consumable(role: str, element: XmlElement, *, mode: str = "") -> Consumable:
    return Consumable(
        role,
        serial=element.value("SerialNumber"),
        part_number=element.value("PartNumber"),
        lot=element.value("LotNumber"),
        mode=mode,
    )


def _parameter_gaps(record: RunParameters) -> Iterator[Finding]:
    told = {
        "run id": record.run_id,
        "instrument": record.instrument,
        "application": record.application,
        "application version": record.application_version,
    }
    if gaps := [what for what, value in told.items() if not value]:
        yield Finding(
            code=ReasonCode.RUN_FILE_INCOMPLETE,
            message=f"The RunParameters file does not state: {', '.join(gaps)}. The run is kept,"
            " but cannot be found by that.",
            owner=Owner.INSTRUMENT,
            expected=", ".join(told),
            found=f"{len(told) - len(gaps)} of {len(told)}",
        )
    if record.platform is None:
        yield Finding(
            code=ReasonCode.RUN_VALUE_SUSPECT,
            message="The RunParameters file names an instrument that Forebay does not know, so it"
            " cannot tell when such a run is complete.",
            owner=Owner.PLATFORM,
            expected="an Illumina instrument type or control software",
        )
