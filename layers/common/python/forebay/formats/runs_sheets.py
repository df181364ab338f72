"""Sample sheets of version 1 (bcl2fastq, IEM) and 2 (BCL Convert).

Rules: Illumina Connected "Sample Sheet Structure, Section Requirements" and the BCL Convert guide.
What makes demultiplexing ambiguous or the columns uncertain is refused; what Illumina's software
would complain of, but a laboratory can mean, is a warning.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.sequencing_runs import SampleSheet, SheetSample
from forebay.formats.runs_verdicts import accepted, refused

__all__ = ["MAX_SHEET_BYTES", "UNSAFE_ID", "inspect_sample_sheet"]

MAX_SHEET_BYTES: Final = 32 << 20
_NAMED_AT_MOST: Final = 20
_SAMPLE_ID_MAX_LENGTH: Final = 100
_MAX_LANE: Final = 8

_BOM: Final = b"\xef\xbb\xbf"
_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_SECTION: Final = re.compile(r"\[(?P<name>[^\[\]]+)\]")
_DATA_SECTIONS: Final = ("bclconvert_data", "data")
# Sheets that carry other systems' attributes have columns that differ from these in case only.
_SPELLINGS: Final = {
    "sampleid": ("Sample_ID", "SampleID"),
    "lane": ("Lane",),
    "index": ("index", "Index"),
    "index2": ("index2", "Index2"),
}
_CASAVA: Final = frozenset({"fcid", "lane", "sampleid", "sampleref"})

_INDEX: Final = re.compile(r"[ACGT]*")
_GOOD_ID: Final = re.compile(r"[A-Za-z0-9_-]*")
UNSAFE_ID: Final = re.compile(r"[/\\\x00-\x1f\x7f]|^\.{1,2}$")
"""What must not stand in an identity that becomes a name of folders and files."""

# Free text, names and addresses stay out of the record.
_KEPT_HEADER: Final = frozenset(
    {
        "application",
        "assay",
        "chemistry",
        "fileformatversion",
        "iemfileversion",
        "indexadapters",
        "indexorientation",
        "indexsettings",
        "instrumentplatform",
        "instrumenttype",
        "workflow",
    }
)
_KEPT_SETTINGS: Final = frozenset(
    {
        "adapter",
        "adapterread1",
        "adapterread2",
        "barcodemismatchesindex1",
        "barcodemismatchesindex2",
        "fastqcompressionformat",
        "minimumtrimmedreadlength",
        "nolanesplitting",
        "overridecycles",
        "softwareversion",
        "trimumi",
    }
)


def inspect_sample_sheet(
    data: bytes,
    *,
    name: str,  # noqa: ARG001 - as all inspections are called
) -> Inspection[SampleSheet]:
    """Inspect a sample sheet; `name` is not read, the content decides.

    Refused: no sections, a section twice, broken quoting, a data section without `Sample_ID`,
    values beyond the last column, a sample id that is a path, two samples of one lane that no
    index tells apart. CASAVA sheets, which have no sections, are unsupported.
    """
    text, findings = _decoded(data)
    if text is None:
        return refused(data, *findings)
    parts = _Sections(findings)
    for line, cells in _rows(text, parts):
        parts.take(line, cells)
    if not parts.by_name:
        return _without_sections(data, parts)
    table = _Table.of(parts)
    record = _record(parts, table)
    parts.warn_all(_sheet_oddities(record, parts))
    if table:
        _judge_samples(parts, table, record.samples)
    if parts.reasons:
        return refused(data, *parts.reasons, *parts.warnings)
    return accepted(data, record, tuple(parts.warnings))


def _decoded(data: bytes) -> tuple[str | None, list[Finding]]:
    """Return the text, None with the reason when it is none."""
    if not data.removeprefix(_BOM).strip():
        return None, [_finding(ReasonCode.EMPTY_OBJECT, "is empty", expected="sections")]
    if len(data) > MAX_SHEET_BYTES:
        return None, [
            _finding(
                ReasonCode.LIMIT_EXCEEDED,
                "is larger than a sample sheet can be",
                expected=f"at most {MAX_SHEET_BYTES} bytes",
                found=f"{len(data)} bytes",
            )
        ]
    if data.startswith(_WIDE_BOMS) or b"\0" in data:
        return None, [
            _finding(
                ReasonCode.SAMPLE_SHEET_MALFORMED,
                "is not plain text; it may be a spreadsheet or UTF-16",
                expected="ASCII text, comma-separated",
            )
        ]
    return _text(data)


def _text(data: bytes) -> tuple[str, list[Finding]]:
    odd = []
    if data.startswith(_BOM):
        odd.append(_odd("starts with a byte-order mark, which some software takes for a name"))
    plain = data.removeprefix(_BOM)
    try:
        text = plain.decode("utf-8")
    except UnicodeDecodeError:
        odd.append(_odd("is not UTF-8; it was read as Latin-1", expected="ASCII"))
        return plain.decode("latin-1"), odd
    if not text.isascii():
        odd.append(_odd("holds characters beyond ASCII", expected="ASCII"))
    return text, odd


class _Sections:
    """Collects the rows of each section, and what is wrong with the sheet."""

    def __init__(self, warnings: list[Finding]) -> None:
        self.names: list[str] = []
        self.by_name: dict[str, list[tuple[int, list[str]]]] = {}
        self.loose: list[tuple[int, list[str]]] = []
        self.reasons: list[Finding] = []
        self.warnings = warnings
        self._rows = self.loose

    def take(self, line: int, cells: list[str]) -> None:
        """Take one row that is neither blank nor a comment."""
        first = cells[0]
        if not first.startswith("["):
            self._rows.append((line, cells))
            return
        match = _SECTION.fullmatch(first)
        if match is None or any(cells[1:]):
            self.refuse(
                "has a section heading that is none", line=line, expected="[Name] and nothing else"
            )
            self._rows = []
            return
        self._open(match["name"].strip(), line)

    def _open(self, name: str, line: int) -> None:
        self._rows = []
        if name.lower() in self.by_name:
            self.refuse(
                "has a section twice, so that it is not clear which one counts",
                line=line,
                expected="each section once",
                code=ReasonCode.SAMPLE_SHEET_AMBIGUOUS,
            )
            return
        self.names.append(name)
        self.by_name[name.lower()] = self._rows

    def refuse(
        self,
        what: str,
        *,
        line: int,
        expected: str,
        found: str = "",
        code: ReasonCode = ReasonCode.SAMPLE_SHEET_MALFORMED,
    ) -> None:
        """Note a reason for refusal."""
        self.reasons.append(_finding(code, what, line=line, expected=expected, found=found))

    def warn_all(self, findings: Iterable[Finding]) -> None:
        """Note what is odd."""
        self.warnings.extend(findings)


def _rows(text: str, parts: _Sections) -> Iterator[tuple[int, list[str]]]:
    """Yield line and cells, without surrounding blanks, of every row that says something."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not cells[0].startswith("#"):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error:
        parts.refuse(
            "has broken quotes or an oversized value; it may be cut off",
            line=line,
            expected="comma-separated values, quotes in pairs",
        )


def _without_sections(data: bytes, parts: _Sections) -> Inspection[SampleSheet]:
    if parts.reasons:
        return refused(data, *parts.reasons, *parts.warnings)
    heading = {_key(cell) for cell in parts.loose[0][1]} if parts.loose else set()
    if heading >= _CASAVA:
        finding = _finding(
            ReasonCode.UNSUPPORTED_FORMAT,
            "is of the CASAVA kind, without sections, which bcl2fastq2 and BCL Convert do not read",
            expected="[Header] and [Data]",
        )
        return refused(data, finding, verdict=Verdict.UNSUPPORTED)
    finding = _finding(
        ReasonCode.SAMPLE_SHEET_MALFORMED,
        "has no sections, so it is no sample sheet of an Illumina run",
        expected="[Header] and [Data] or [BCLConvert_Data]",
    )
    return refused(data, finding)


@dataclass(slots=True)
class _Table:
    """The data section: columns by position, and rows."""

    section: str
    heading_line: int
    columns: tuple[str, ...]
    rows: list[tuple[int, list[str]]]
    places: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: _Sections) -> "_Table | None":
        for section in _DATA_SECTIONS:
            if rows := parts.by_name.get(section):
                (line, columns), *body = rows
                written = next(name for name in parts.names if name.lower() == section)
                table = cls(written, line, tuple(columns), body)
                for place, column in enumerate(columns):
                    table.places.setdefault(_key(column), place)
                table.places.update(_spelled_places(columns))
                return table
        return None

    def has(self, key: str) -> bool:
        return key in self.places

    def cell(self, cells: Sequence[str], key: str) -> str:
        place = self.places.get(key, len(cells))
        return cells[place] if place < len(cells) else ""

    def sample(self, line: int, cells: Sequence[str]) -> SheetSample:
        return SheetSample(
            sample_id=self.cell(cells, "sampleid"),
            lane=self.cell(cells, "lane"),
            index=self.cell(cells, "index"),
            index2=self.cell(cells, "index2"),
            project=self.cell(cells, "sampleproject") or self.cell(cells, "project"),
            line=line,
        )


def _spelled_places(columns: Sequence[str]) -> dict[str, int]:
    """Return the places of the columns that are spelled as Illumina spells them."""
    return {
        key: columns.index(spelling)
        for key, spellings in _SPELLINGS.items()
        for spelling in reversed(spellings)
        if spelling in columns
    }


def _record(parts: _Sections, table: _Table | None) -> SampleSheet:
    header = _pairs(parts, "header")
    settings = _pairs(parts, "bclconvert_settings") or _pairs(parts, "settings")
    guess = "2" if "bclconvert_data" in parts.by_name else "1"
    reads = parts.by_name.get("reads", [])
    return SampleSheet(
        version=header.get("fileformatversion", "") or guess,
        sections=tuple(parts.names),
        data_section=table.section if table else "",
        columns=table.columns if table else (),
        samples=tuple(table.sample(line, cells) for line, cells in table.rows) if table else (),
        header={key: value for key, value in header.items() if key in _KEPT_HEADER},
        settings={key: value for key, value in settings.items() if key in _KEPT_SETTINGS},
        read_cycles=tuple("=".join(cell for cell in cells if cell) for _, cells in reads),
    )


def _pairs(parts: _Sections, section: str) -> dict[str, str]:
    rows = parts.by_name.get(section, [])
    return {_key(cells[0]): cells[1] if len(cells) > 1 else "" for _, cells in rows}


def _sheet_oddities(record: SampleSheet, parts: _Sections) -> Iterator[Finding]:
    if parts.loose:
        yield _odd("has lines before its first section, which no software reads")
    if record.version not in ("1", "2"):
        yield _odd("states a version that is not known", expected="1 or 2")
    if not record.data_section:
        yield _odd("has no data section, so it tells nothing of samples", expected="[Data]")
    elif not record.samples:
        yield _odd("lists no samples", expected="one row for each sample and lane")


def _judge_samples(parts: _Sections, table: _Table, samples: Sequence[SheetSample]) -> None:
    _judge_columns(parts, table)
    _judge_widths(parts, table)
    if not table.has("sampleid"):
        return
    _judge_ids(parts, table, samples)
    _judge_values(parts, samples)
    if table.has("index") or table.has("index2"):
        _judge_indexes(parts, samples)


def _judge_columns(parts: _Sections, table: _Table) -> None:
    times = Counter(column for column in table.columns if column)
    twice = {column for column, count in times.items() if count > 1}
    if not _SPELLINGS.keys().isdisjoint(map(_key, twice)):
        parts.refuse(
            "names a column twice, so that it is not clear which one counts",
            line=table.heading_line,
            expected="each column once",
            code=ReasonCode.SAMPLE_SHEET_AMBIGUOUS,
        )
    elif twice:
        parts.warn_all([_odd("names a column twice", line=table.heading_line)])
    if not table.has("sampleid"):
        parts.refuse(
            "has a data section without a Sample_ID column",
            line=table.heading_line,
            expected="Sample_ID",
        )
    elif table.columns[table.places["sampleid"]].lower() != "sample_id":
        parts.warn_all(
            [
                _odd(
                    "names the column of samples as CASAVA did; newer software does not read it",
                    line=table.heading_line,
                    expected="Sample_ID",
                )
            ]
        )


def _judge_widths(parts: _Sections, table: _Table) -> None:
    # Trailing commas are padding that spreadsheets leave behind.
    named = (place for place, column in enumerate(table.columns, start=1) if column)
    width = max(named, default=0)
    wide = [line for line, cells in table.rows if any(cells[width:])]
    if wide:
        parts.refuse(
            "has values beyond its last column; a comma inside a value may have shifted them"
            + _also(wide),
            line=wide[0],
            expected=f"{width} columns",
        )
    if narrow := [line for line, cells in table.rows if len(cells) < width]:
        parts.warn_all(
            [_odd("has rows with fewer values than columns" + _also(narrow), line=narrow[0])]
        )


def _judge_ids(parts: _Sections, table: _Table, samples: Sequence[SheetSample]) -> None:
    unsafe = [each.line for each in samples if UNSAFE_ID.search(each.sample_id)]
    if unsafe:
        parts.refuse(
            "has a sample id with a path separator or control character" + _also(unsafe),
            line=unsafe[0],
            expected="letters, digits, - and _",
            code=ReasonCode.UNSAFE_NAME,
        )
    nameless = [each.line for each in samples if not each.sample_id]
    if nameless and table.section.lower() == "bclconvert_data":
        parts.refuse(
            "has rows without a sample id" + _also(nameless), line=nameless[0], expected="Sample_ID"
        )
    elif nameless:
        parts.warn_all([_odd("has rows without a sample id" + _also(nameless), line=nameless[0])])


def _judge_values(parts: _Sections, samples: Sequence[SheetSample]) -> None:
    oddities = (
        (
            "has a sample id with characters that Illumina's software refuses",
            "letters, digits, - and _",
            [each.line for each in samples if not _GOOD_ID.fullmatch(each.sample_id)],
        ),
        (
            "has a sample id that is too long",
            f"at most {_SAMPLE_ID_MAX_LENGTH} characters",
            [each.line for each in samples if len(each.sample_id) > _SAMPLE_ID_MAX_LENGTH],
        ),
        (
            "has an index that is not a sequence",
            "A, C, G, T",
            [each.line for each in samples if not _is_index(each)],
        ),
        (
            "has a lane that is not a lane number",
            f"1 to {_MAX_LANE}",
            [each.line for each in samples if not _is_lane(each.lane)],
        ),
    )
    parts.warn_all(
        _odd(what + _also(lines), line=lines[0], expected=expected)
        for what, expected, lines in oddities
        if lines
    )


def _is_index(sample: SheetSample) -> bool:
    return bool(_INDEX.fullmatch(sample.index) and _INDEX.fullmatch(sample.index2))


def _is_lane(text: str) -> bool:
    return not text or (text.isdecimal() and text.isascii() and 1 <= int(text[:9]) <= _MAX_LANE)


def _judge_indexes(parts: _Sections, samples: Sequence[SheetSample]) -> None:
    """Refuse two rows of one lane with the same indexes; no lane means all lanes."""
    lanes_of: dict[tuple[str, str], set[str]] = {}
    clashes = []
    for each in samples:
        seen = lanes_of.setdefault((each.index.upper(), each.index2.upper()), set())
        if each.lane in seen or "" in seen or (seen and not each.lane):
            clashes.append(each.line)
        seen.add(each.lane)
    if clashes:
        parts.refuse(
            "gives two samples of one lane the same index, so that their reads cannot be told apart"
            + _also(clashes),
            line=clashes[0],
            expected="different indexes in each lane",
            code=ReasonCode.SAMPLE_SHEET_AMBIGUOUS,
        )


def _also(lines: Sequence[int]) -> str:
    """Return where else the same is found, bounded, for the end of a clause."""
    others = lines[1:_NAMED_AT_MOST]
    if not others:
        return ""
    more = f" and {len(lines) - _NAMED_AT_MOST} more" if len(lines) > _NAMED_AT_MOST else ""
    return f" (also in line {', '.join(map(str, others))}{more})"


def _key(name: str) -> str:
    """Return a column or setting's name without case, blanks and underscores."""
    return name.lower().replace("_", "").replace(" ", "")


def _odd(what: str, *, line: int = 0, expected: str = "") -> Finding:
    position = f"line {line}" if line else ""
    return Finding(
        code=ReasonCode.SAMPLE_SHEET_SUSPECT,
        message=f"The sample sheet {what}.",
        owner=Owner.SENDER,
        position=position,
        expected=expected,
    )


def _finding(
    code: ReasonCode, what: str, *, line: int = 0, expected: str, found: str = ""
) -> Finding:
    return Finding(
        code=code,
        message=f"The sample sheet {what}; correct it and send it again.",
        owner=Owner.SENDER,
        position=f"line {line}" if line else "",
        expected=expected,
        found=found,
    )
