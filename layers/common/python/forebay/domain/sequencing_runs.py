"""Sequencing runs: what their files say, and when a run folder is whole."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final


class Platform(StrEnum):
    """Families of instruments that write alike."""

    MISEQ = "miseq"
    HISEQ = "hiseq"
    """HiSeq 1000 to 4000 and HiSeq X."""
    NEXTSEQ_500 = "nextseq-500"
    """NextSeq 500 and 550."""
    NEXTSEQ_1000 = "nextseq-1000"
    """NextSeq 1000 and 2000."""
    ISEQ = "iseq"
    MINISEQ = "miniseq"
    NOVASEQ_6000 = "novaseq-6000"
    NOVASEQ_X = "novaseq-x"
    """NovaSeq X and X Plus."""
    ELEMENT = "element"
    SINGULAR = "singular"
    MGI_T7 = "mgi-t7"
    MGI_G400 = "mgi-g400"
    """DNBSEQ-G400, sold before as MGISEQ-2000."""
    NANOPORE = "nanopore"
    PACBIO = "pacbio"


@dataclass(frozen=True, slots=True)
class RunRead:
    """One read of a run, in the order of sequencing; `number` is 0 where the file gives none."""

    number: int
    cycles: int
    is_index: bool
    is_reverse_complement: bool = False


@dataclass(frozen=True, slots=True)
class RunInfo:
    """`RunInfo.xml`: what was sequenced, as the instrument planned it.

    Texts are empty and counts 0 where the file does not say. `date` is as written, which differs
    between instruments; `day` is the same as `YYYY-MM-DD`, empty when it cannot be told.
    """

    run_id: str
    run_number: int
    flow_cell: str
    instrument: str
    date: str
    day: str
    reads: tuple[RunRead, ...]
    lanes: int = 0
    surfaces: int = 0
    swaths: int = 0
    tiles_per_swath: int = 0
    tiles_listed: int = 0
    version: str = ""

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape stored in the catalog."""
        return {
            "run_id": self.run_id,
            "run_number": self.run_number,
            "flow_cell": self.flow_cell,
            "instrument": self.instrument,
            "date": self.date,
            "day": self.day,
            "reads": [
                {
                    "number": read.number,
                    "cycles": read.cycles,
                    "is_index": read.is_index,
                    "is_reverse_complement": read.is_reverse_complement,
                }
                for read in self.reads
            ],
            "lanes": self.lanes,
            "surfaces": self.surfaces,
            "swaths": self.swaths,
            "tiles_per_swath": self.tiles_per_swath,
            "tiles_listed": self.tiles_listed,
            "version": self.version,
        }


@dataclass(frozen=True, slots=True)
class Consumable:
    """A flow cell, reagent kit or buffer of a run; `role` is the instrument's own word for it."""

    role: str
    serial: str = ""
    part_number: str = ""
    lot: str = ""
    mode: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON shape stored in the catalog."""
        return {
            "role": self.role,
            "serial": self.serial,
            "part_number": self.part_number,
            "lot": self.lot,
            "mode": self.mode,
        }


@dataclass(frozen=True, slots=True)
class RunParameters:
    """`RunParameters.xml`: with what it was sequenced.

    `instrument_type` is the file's own word, or the application's name where it has none. Names of
    experiments and operators are left out: they are free text.
    """

    platform: Platform | None
    instrument_type: str
    instrument: str
    application: str
    application_version: str
    rta_version: str
    run_id: str
    flow_cell: str
    flow_cell_type: str = ""
    chemistry: str = ""
    side: str = ""
    consumables: tuple[Consumable, ...] = ()

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape stored in the catalog."""
        return {
            "platform": self.platform.value if self.platform else "",
            "instrument_type": self.instrument_type,
            "instrument": self.instrument,
            "application": self.application,
            "application_version": self.application_version,
            "rta_version": self.rta_version,
            "run_id": self.run_id,
            "flow_cell": self.flow_cell,
            "flow_cell_type": self.flow_cell_type,
            "chemistry": self.chemistry,
            "side": self.side,
            "consumables": [each.as_dict() for each in self.consumables],
        }


@dataclass(frozen=True, slots=True)
class SheetSample:
    """One row of a sample sheet's data section, as written; empty where a column is missing."""

    sample_id: str
    lane: str = ""
    index: str = ""
    index2: str = ""
    project: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class SampleSheet:
    """A sample sheet of version 1 (bcl2fastq) or 2 (BCL Convert).

    `header` and `settings` hold the technical fields only; `samples` carries sample ids, which are
    pseudonyms, and stays out of `as_metadata`.
    """

    version: str
    sections: tuple[str, ...]
    data_section: str
    columns: tuple[str, ...]
    samples: tuple[SheetSample, ...]
    header: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    read_cycles: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the data section, without its column names."""
        return len(self.samples)

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape stored in the catalog."""
        return {
            "version": self.version,
            "sections": list(self.sections),
            "data_section": self.data_section,
            "columns": list(self.columns),
            "rows": self.rows,
            "samples": len({sample.sample_id for sample in self.samples}),
            "lanes": sorted({sample.lane for sample in self.samples if sample.lane}),
            "header": dict(self.header),
            "settings": dict(self.settings),
            "read_cycles": list(self.read_cycles),
        }


@dataclass(frozen=True, slots=True)
class InteropFile:
    """One binary metrics file from a run's `InterOp` folder.

    `record_bytes` is 0 where records vary in length. `totals` holds sums over the tiles where the
    metric has them: clusters, clusters passing filter.
    """

    metric: str
    version: int
    record_bytes: int
    records: int
    lanes: tuple[int, ...] = ()
    totals: Mapping[str, float] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape stored in the catalog."""
        return {
            "metric": self.metric,
            "version": self.version,
            "record_bytes": self.record_bytes,
            "records": self.records,
            "lanes": list(self.lanes),
            "totals": dict(self.totals),
        }


class Completion(StrEnum):
    """How far a run folder has come."""

    COMPLETE = "complete"
    COPYING = "copying"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CompletionRule:
    """What shows that a run folder is whole.

    All of `required` must be there; each is a tuple of which any one will do. Names are relative to
    the run folder and may hold `*`, which does not cross a `/`. `signs` tell that a folder is such
    a run at all. Where `needs_quiescence`, the markers are written before the last file is copied,
    so that the folder must also have been left alone for some time.
    """

    required: tuple[tuple[str, ...], ...]
    needs_quiescence: bool
    signs: tuple[str, ...] = ()
    source: str = ""


_ILLUMINA_SIGNS: Final = (
    "RunInfo.xml",
    "RunParameters.xml",
    "runParameters.xml",
    "RTAComplete.txt",
    "RTAComplete.xml",
    "RTARead*Complete.txt",
    "SequencingComplete.txt",
    "SequenceComplete.txt",
    "CopyComplete.txt",
    "RunCompletionStatus.xml",
)
_RTA_DONE: Final = ("RTAComplete.txt", "RTAComplete.xml")
_RTA_RULE: Final = CompletionRule(
    required=(_RTA_DONE,),
    needs_quiescence=True,
    signs=_ILLUMINA_SIGNS,
    source="Illumina system guides, output folder structure; no marker follows the copy",
)
_COPY_RULE: Final = CompletionRule(
    required=(("CopyComplete.txt",),),
    needs_quiescence=False,
    signs=_ILLUMINA_SIGNS,
    source="Illumina Knowledge 2426 and 2443: flag files of NovaSeq 6000 and NextSeq 1000/2000",
)

COMPLETION_MARKERS: Final[Mapping[Platform, CompletionRule]] = {
    Platform.MISEQ: _RTA_RULE,
    Platform.HISEQ: _RTA_RULE,
    Platform.NEXTSEQ_500: _RTA_RULE,
    Platform.MINISEQ: _RTA_RULE,
    Platform.ISEQ: _RTA_RULE,
    Platform.NEXTSEQ_1000: _COPY_RULE,
    Platform.NOVASEQ_6000: _COPY_RULE,
    Platform.NOVASEQ_X: CompletionRule(
        required=(_RTA_DONE, ("CopyComplete.txt",), ("RunCompletionStatus.xml",)),
        needs_quiescence=False,
        signs=_ILLUMINA_SIGNS,
        source="NovaSeq X Series guide, output folder structure",
    ),
    Platform.ELEMENT: CompletionRule(
        required=(("RunUploaded.json",),),
        needs_quiescence=False,
        signs=("RunManifest.json", "RunManifest.csv", "RunParameters.json"),
        source="Element run output files: RunUploaded.json is the last file transferred",
    ),
    Platform.SINGULAR: CompletionRule(
        required=(("transfer_complete.txt",),),
        needs_quiescence=False,
        signs=("run_config.json", "run_summary.json", "run_complete.txt"),
        source="Singular Genomics G4 user guide, run folder",
    ),
    Platform.MGI_T7: CompletionRule(
        required=(("flag.json",),),
        needs_quiescence=True,
        signs=("L0*",),
        source="as site scripts watch it (seqbot); not confirmed by the vendor",
    ),
    Platform.MGI_G400: CompletionRule(
        required=(("success.txt",),),
        needs_quiescence=True,
        signs=("L0*",),
        source="as site scripts watch it (seqbot); not confirmed by the vendor",
    ),
    Platform.NANOPORE: CompletionRule(
        required=(("final_summary_*.txt", "final_summary.txt"),),
        needs_quiescence=False,
        signs=("pod5/*", "fast5*/*", "fastq_*/*", "bam_*/*", "sample_sheet_*.csv"),
        source="MinKNOW output specification: written once all files of the run were written",
    ),
    Platform.PACBIO: CompletionRule(
        required=(("*.transferdone", "metadata/*.transferdone"),),
        needs_quiescence=False,
        signs=(".*.metadata.xml", "*.subreadset.xml", "metadata/*.xml", "hifi_reads/*"),
        source="PacBio file formats; one marker for each cell, so ask for each cell's folder",
    ),
}
"""Which files end a run folder, by platform: the one table of it."""


def run_completion(
    platform: Platform, present_names: Collection[str], *, is_quiet: bool = False
) -> Completion:
    """Tell how far a run folder has come.

    Args:
        platform: who writes the folder.
        present_names: files that are there, relative to the run folder, with `/`.
        is_quiet: the folder has been left alone for as long as the site demands; only platforms
            without a marker for the end of the copy ask for it.
    """
    rule = COMPLETION_MARKERS[platform]
    if all(_is_present(names, present_names) for names in rule.required):
        done = is_quiet or not rule.needs_quiescence
        return Completion.COMPLETE if done else Completion.COPYING
    marks = (*(name for names in rule.required for name in names), *rule.signs)
    return Completion.COPYING if _is_present(marks, present_names) else Completion.UNKNOWN


def _is_present(patterns: Collection[str], names: Collection[str]) -> bool:
    return any(_matches(pattern, name) for pattern in patterns for name in names)


def _matches(pattern: str, name: str) -> bool:
    wanted, parts = pattern.split("/"), name.split("/")
    return len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))


_PLATFORM_WORDS: Final = (
    ("novaseqx", Platform.NOVASEQ_X),
    ("novaseq x", Platform.NOVASEQ_X),
    ("control-software", Platform.NOVASEQ_X),
    ("novaseq", Platform.NOVASEQ_6000),
    ("nextseq 1000", Platform.NEXTSEQ_1000),
    ("nextseq1000", Platform.NEXTSEQ_1000),
    ("nextseq 2000", Platform.NEXTSEQ_1000),
    ("nextseq2000", Platform.NEXTSEQ_1000),
    ("nextseq", Platform.NEXTSEQ_500),
    ("miniseq", Platform.MINISEQ),
    ("miseq", Platform.MISEQ),
    ("hiseq", Platform.HISEQ),
    ("hiscan", Platform.HISEQ),
    ("iseq", Platform.ISEQ),
    ("aviti", Platform.ELEMENT),
)


def platform_from_text(*texts: str) -> Platform | None:
    """Return the platform that the first telling text names: an instrument type or application."""
    for text in texts:
        lower = text.lower()
        for word, platform in _PLATFORM_WORDS:
            if word in lower:
                return platform
    return None
