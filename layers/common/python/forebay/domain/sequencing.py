"""What Forebay knows of one file of sequencing reads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class ReadsFile:
    """Statistics and origin of one FASTQ file.

    Fractions are of bases, 0 to 1. `names_digest` is a hex digest over the read names, in order,
    without mate suffix or comment: equal for two mates of one pair whose reads match one by one.
    """

    reads: int
    bases: int
    min_length: int
    mean_length: float
    max_length: int
    q20_fraction: float
    q30_fraction: float
    gc_fraction: float
    n_fraction: float
    quality_encoding: str
    layout: str
    compression: str
    instruments: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    flow_cells: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    read_numbers: tuple[str, ...] = ()
    names_digest: str = ""
    content_digest: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape stored in the catalog; lists instead of tuples."""
        return {
            "reads": self.reads,
            "bases": self.bases,
            "min_length": self.min_length,
            "mean_length": self.mean_length,
            "max_length": self.max_length,
            "q20_fraction": self.q20_fraction,
            "q30_fraction": self.q30_fraction,
            "gc_fraction": self.gc_fraction,
            "n_fraction": self.n_fraction,
            "quality_encoding": self.quality_encoding,
            "layout": self.layout,
            "compression": self.compression,
            "instruments": list(self.instruments),
            "runs": list(self.runs),
            "flow_cells": list(self.flow_cells),
            "lanes": list(self.lanes),
            "read_numbers": list(self.read_numbers),
            "names_digest": self.names_digest,
            "content_digest": self.content_digest,
            **self.extra,
        }


@dataclass(frozen=True, slots=True)
class ReadsName:
    """What a FASTQ file's name says: sample, lane, mate and chunk.

    `mate` is `R1`, `R2` or empty for single-end; `lane` and `chunk` are empty when not named.
    """

    sample: str
    mate: str
    lane: str = ""
    chunk: str = ""


_SUFFIX: Final = re.compile(r"\.(?:fastq|fq)(?:\.(?:gz|bgz|bz2|xz|zst))?$", re.IGNORECASE)
# bcl2fastq and BCL Convert: <sample>_S<n>[_L<lane>]_R<mate>_<chunk>
_ILLUMINA: Final = re.compile(
    r"(?P<sample>.+?)_S\d+(?:_L(?P<lane>\d{3}))?_(?P<mate>R[12])_(?P<chunk>\d{3})"
)
# <sample>[_L<lane>]_R1, <sample>_1, <sample>.R1: archives and core facilities
_COMMON: Final = re.compile(
    r"(?P<sample>.+?)(?:_L(?P<lane>\d{1,3}))?[._](?:R(?P<r>[12])|(?P<n>[12]))(?:_(?P<chunk>\d{3}))?"
)


def parse_reads_name(file_name: str) -> ReadsName:
    """Return what a FASTQ file name says; its stem is the sample where no convention fits."""
    stem = _SUFFIX.sub("", file_name)
    if match := _ILLUMINA.fullmatch(stem):
        return ReadsName(match["sample"], match["mate"], match["lane"] or "", match["chunk"] or "")
    if match := _COMMON.fullmatch(stem):
        return ReadsName(
            match["sample"],
            f"R{match['r'] or match['n']}",
            match["lane"] or "",
            match["chunk"] or "",
        )
    return ReadsName(stem, "")


def mates_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return how two mates disagree, given by their metadata; empty if they agree."""
    reads = first.get("reads"), second.get("reads")
    if reads[0] != reads[1]:
        return f"The mates hold different numbers of reads (R1 {reads[0]} and R2 {reads[1]})"
    if first.get("names_digest", "") != second.get("names_digest", ""):
        return "The mates' read names differ or come in another order"
    return ""
