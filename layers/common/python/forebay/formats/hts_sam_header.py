"""The header of SAM, BAM and CRAM: its rules (SAMv1 §1.3) and what it tells."""

import re
from typing import Final, NamedTuple

from forebay.domain.alignments import Program, ReadGroup, Reference
from forebay.domain.findings import Finding, ReasonCode
from forebay.formats.hts_refusal import MAX_REFERENCES, RefusedError, refused, suspect

__all__ = ["REFERENCE_NAME", "SamHeader"]

REFERENCE_NAME: Final = r"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*"

_REFERENCE_NAME: Final = re.compile(REFERENCE_NAME)
_TAG: Final = re.compile(r"([A-Za-z][A-Za-z0-9]):([^\x00-\x1f\x7f]+)")
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+")
_LENGTH: Final = re.compile(r"[1-9][0-9]{0,18}")
_MAX_LENGTH: Final = 2**31 - 1
_SORTED_BY: Final = "sorted"

# Values of tags, by record type. Free text and what no rule of SAMv1 bounds is not here.
_RULES: Final = {
    "HD": {
        "VN": _VERSION,
        "SO": re.compile(r"unknown|unsorted|queryname|coordinate|sorted"),
        "GO": re.compile(r"none|query|reference"),
        "SS": re.compile(r"(?:coordinate|queryname|unsorted)(?::[A-Za-z0-9_-]+)+"),
    },
    "SQ": {
        "SN": _REFERENCE_NAME,
        "LN": _LENGTH,
        "AH": re.compile(rf"\*|{REFERENCE_NAME}(?::[0-9]+-[0-9]+)?"),
        "AN": re.compile(r"[0-9A-Za-z][0-9A-Za-z*+.@_|-]*(?:,[0-9A-Za-z][0-9A-Za-z*+.@_|-]*)*"),
        "M5": re.compile(r"[0-9a-f]{32}"),
        "TP": re.compile(r"linear|circular"),
    },
    "RG": {"FO": re.compile(r"\*|[ACMGRSVTWYHKDBN]+")},
    "PG": {},
}
_REQUIRED: Final = {"HD": ("VN",), "SQ": ("SN", "LN"), "RG": ("ID",), "PG": ("ID",)}
_PLATFORMS: Final = re.compile(
    r"(?:CAPILLARY|DNBSEQ|ELEMENT|HELICOS|ILLUMINA|IONTORRENT|LS454|ONT|PACBIO|SINGULAR|SOLID"
    r"|ULTIMA)?",
    re.IGNORECASE,
)
# What else the specification bounds; tools write other values, and nothing depends on them.
_USUAL: Final = {
    ("RG", "PL"): _PLATFORMS,
    ("RG", "PI"): re.compile(r"[0-9]+"),
    ("RG", "DT"): re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[T ].*)?"),
}


class _Line(NamedTuple):
    kind: str
    tags: dict[str, str]
    at: str


class SamHeader:
    """Takes header lines one by one and refuses the first that breaks a rule.

    `where` names the lines in findings: `line 3` of a SAM file, `header line 3` of a BAM file.
    """

    def __init__(self, *, where: str = "line", is_binary: bool = False) -> None:
        # Files from before 2018 have names that SAM text could not hold; records have numbers.
        self._tolerated = "SN" if is_binary else ""
        self.version = ""
        self.sort_order = ""
        self.assembly_names: set[str] = set()
        self.references: dict[str, Reference] = {}
        self.read_groups: dict[str, ReadGroup] = {}
        self.warnings: dict[str, Finding] = {}
        self._programs: dict[str, Program] = {}
        self._where = where
        self._lines = 0

    @property
    def samples(self) -> tuple[str, ...]:
        """The sample names of the read groups, once each, in order."""
        names = (group.sample for group in self.read_groups.values())
        return tuple(dict.fromkeys(name for name in names if name))

    def add(self, raw: bytes) -> None:
        """Take the next line, without its line feed."""
        self._lines += 1
        at = f"{self._where} {self._lines}"
        text = self._decoded(raw.removesuffix(b"\r"), at)
        if text.startswith("@CO"):
            if text[3:4] not in ("", "\t"):
                raise _broken("after @CO must come a tab.", at)
            return
        line = self._split(text, at)
        take = {"HD": self._head, "SQ": self._reference, "RG": self._group, "PG": self._program}
        take[line.kind](line)

    def programs(self) -> tuple[Program, ...]:
        """Return the programs in the order of their chains; warns of a chain that is broken."""
        ordered: dict[str, Program] = {}
        for program in self._programs.values():
            chain = []
            at: Program | None = program
            while at is not None and at.id not in ordered and at not in chain:
                chain.append(at)
                if at.previous and at.previous not in self._programs:
                    self._warn(_DANGLING)
                at = self._programs.get(at.previous)
            if at is not None and at in chain:
                self._warn(_CYCLE)
            ordered.update((each.id, each) for each in reversed(chain))
        return tuple(ordered.values())

    def _decoded(self, raw: bytes, at: str) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self._warn(_NOT_UTF8, at=at)
            return raw.decode("latin-1")

    def _split(self, text: str, at: str) -> _Line:
        kind, *fields = text.split("\t")
        kind = kind.removeprefix("@")
        if kind not in _RULES:
            raise _broken("the line is of no known kind.", at, expected="@HD, @SQ, @RG, @PG or @CO")
        tags: dict[str, str] = {}
        for field in fields:
            match = _TAG.fullmatch(field)
            if match is None:
                raise _broken(
                    f"a field of the @{kind} line is not a tag with a value.",
                    at,
                    expected="two letters, a colon and a value, separated by tabs",
                )
            tag, value = match.groups()
            if tag in tags:
                raise _broken(f"the @{kind} line has {tag} twice.", at)
            tags[tag] = value
        _check_values(kind, tags, at, except_for=self._tolerated)
        self._note_unusual(kind, tags, at)
        return _Line(kind, tags, at)

    def _note_unusual(self, kind: str, tags: dict[str, str], at: str) -> None:
        for (of, tag), rule in _USUAL.items():
            if of == kind and tag in tags and rule.fullmatch(tags[tag]) is None:
                self._warn(_unusual(kind, tag), at=at)

    def _head(self, line: _Line) -> None:
        if self._lines > 1:
            raise _broken("@HD must be the first line.", line.at)
        self.version = line.tags["VN"]
        self.sort_order = line.tags.get("SO", "")
        if self.sort_order == _SORTED_BY:
            self._warn(_OLD_SORT_ORDER, at=line.at)

    def _reference(self, line: _Line) -> None:
        name, length = line.tags["SN"], int(line.tags["LN"])
        if name in self.references:
            raise _broken("two @SQ lines have the same SN.", line.at)
        if len(self.references) >= MAX_REFERENCES:
            raise refused(
                ReasonCode.LIMIT_EXCEEDED,
                f"The header has more than {MAX_REFERENCES} reference sequences.",
                at=line.at,
            )
        if _REFERENCE_NAME.fullmatch(name) is None:
            self._warn(_unusual("SQ", "SN"), at=line.at)
        if length > _MAX_LENGTH:
            self._warn(_LONG_REFERENCE, at=line.at)
        self.assembly_names.add(line.tags.get("AS", ""))
        self.references[name] = Reference(name, length, line.tags.get("M5", ""))

    def _group(self, line: _Line) -> None:
        tags = line.tags
        if tags["ID"] in self.read_groups:
            raise _broken("two @RG lines have the same ID.", line.at)
        self.read_groups[tags["ID"]] = ReadGroup(
            id=tags["ID"],
            sample=tags.get("SM", ""),
            library=tags.get("LB", ""),
            platform=tags.get("PL", ""),
            platform_unit=tags.get("PU", ""),
        )

    def _program(self, line: _Line) -> None:
        tags = line.tags
        if tags["ID"] in self._programs:
            raise _broken("two @PG lines have the same ID.", line.at)
        self._programs[tags["ID"]] = Program(
            id=tags["ID"],
            name=tags.get("PN", ""),
            version=tags.get("VN", ""),
            previous=tags.get("PP", ""),
        )

    def _warn(self, message: str, *, at: str = "") -> None:
        if message not in self.warnings:
            finding = suspect(ReasonCode.SAM_HEADER_SUSPECT, message, at=at)
            self.warnings[message] = finding


def _check_values(kind: str, tags: dict[str, str], at: str, *, except_for: str) -> None:
    for tag in _REQUIRED[kind]:
        if tag not in tags:
            raise _broken(f"the @{kind} line has no {tag}.", at, expected=f"the tag {tag}")
    for tag, rule in _RULES[kind].items():
        if tag in tags and tag != except_for and rule.fullmatch(tags[tag]) is None:
            raise _broken(
                f"the value of {tag} in the @{kind} line is not allowed.",
                at,
                expected=f"a value as SAMv1 section 1.3 defines {tag}",
            )


def _broken(rule: str, at: str, *, expected: str = "") -> RefusedError:
    where = at[:1].upper() + at[1:]
    return refused(
        ReasonCode.SAM_HEADER_MALFORMED,
        f"{where}: {rule} Correct the header, for example with samtools reheader.",
        at=at,
        expected=expected,
    )


def _unusual(kind: str, tag: str) -> str:
    return f"An @{kind} line has a value of {tag} that the SAM specification does not know."


_DANGLING: Final = "An @PG line names a previous program (PP) that the header does not have."
_CYCLE: Final = "The @PG lines name each other as previous program (PP) in a circle."
_NOT_UTF8: Final = "The header holds text that is not UTF-8."
_OLD_SORT_ORDER: Final = (
    "The header says SO:sorted, as programs did before 2010; programs today take that for unknown."
)
_LONG_REFERENCE: Final = (
    "A reference is longer than 2147483647 bases; BAM and many programs cannot hold it."
)
