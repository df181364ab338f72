"""What Forebay knows of one file of alignments (SAM, BAM or CRAM)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_LISTED_BYTES: Final = 96 << 10
"""How much of one list goes into metadata: a catalog item holds 400 KB in all."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One @SQ line: a reference sequence, its length in bases, and the MD5 of its bases."""

    name: str
    length: int
    m5: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape; no `m5` where there is none."""
        shape: dict[str, Any] = {"name": self.name, "length": self.length}
        return {**shape, "m5": self.m5} if self.m5 else shape


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """One @RG line: which sample, library and platform unit its reads come from."""

    id: str
    sample: str = ""
    library: str = ""
    platform: str = ""
    platform_unit: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON shape; empty values are left out."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class Program:
    """One @PG line: a program that made or changed the file; `previous` is the id before it."""

    id: str
    name: str = ""
    version: str = ""
    previous: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON shape; empty values are left out."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class AlignmentFile:
    """Header and size of one file of alignments.

    `sort_order` is the SO of @HD as written, empty without one. `programs` stand in the order of
    their chains, first to last. `eof` tells whether the end marker of BGZF or CRAM is there, None
    for formats that have none. `assembly` is a guess by reference lengths, empty when unsure.
    """

    format: str
    version: str
    sort_order: str
    references: tuple[Reference, ...]
    read_groups: tuple[ReadGroup, ...]
    samples: tuple[str, ...]
    programs: tuple[Program, ...]
    records: int
    eof: bool | None
    assembly: str = ""
    compression: str = "none"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape stored in the catalog.

        Lists stop at `MAX_LISTED_BYTES`; `reference_count` and `read_group_count` are of all.
        """
        return {
            "format": self.format,
            "version": self.version,
            "sort_order": self.sort_order,
            "reference_count": len(self.references),
            "references": within_bytes(each.as_dict() for each in self.references),
            "assembly": self.assembly,
            "read_group_count": len(self.read_groups),
            "read_groups": within_bytes(each.as_dict() for each in self.read_groups),
            "samples": within_bytes(self.samples),
            "programs": within_bytes(each.as_dict() for each in self.programs),
            "records": self.records,
            "eof": self.eof,
            "compression": self.compression,
            **self.extra,
        }


def within_bytes(values: Iterable[Any], *, limit: int = MAX_LISTED_BYTES) -> list[Any]:
    """Return the first values, as many as fit into about `limit` bytes of JSON."""
    listed: list[Any] = []
    for value in values:
        limit -= len(str(value)) + 2
        if limit < 0:
            break
        listed.append(value)
    return listed


_INDEX_SUFFIXES: Final = {
    ".bai": (".bam",),
    ".csi": (".bam", ".vcf.gz", ".bcf", ".sam.gz"),
    ".tbi": (".vcf.gz", ".vcf.bgz"),
    ".crai": (".cram",),
    ".gzi": (".gz",),
}


def indexed_file_names(index_name: str) -> tuple[str, ...]:
    """Return the names the data of an index may have, likeliest first; empty when it is no index.

    `x.bam.bai` belongs to `x.bam`, and so does Picard's `x.bai`.
    """
    lower = index_name.lower()
    for suffix, data_suffixes in _INDEX_SUFFIXES.items():
        if lower.endswith(suffix):
            stem = index_name[: -len(suffix)]
            if stem.lower().endswith((*data_suffixes, ".gz", ".bgz", ".bam", ".bcf", ".cram")):
                return (stem,)
            return tuple(stem + each for each in data_suffixes)
    return ()
