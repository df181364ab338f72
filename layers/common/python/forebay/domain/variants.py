"""What Forebay knows of one file of variants (VCF or BCF)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forebay.domain.alignments import Reference, within_bytes


@dataclass(frozen=True, slots=True)
class VariantFile:
    """Header and size of one file of variants.

    `file_format` is the value of the first line, such as `VCFv4.2`; `contigs` are those the header
    defines, with length 0 where it gives none.
    """

    format: str
    file_format: str
    samples: tuple[str, ...]
    contigs: tuple[Reference, ...]
    records: int
    eof: bool | None
    assembly: str = ""
    compression: str = "none"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape stored in the catalog; lists stop as for alignments."""
        return {
            "format": self.format,
            "file_format": self.file_format,
            "sample_count": len(self.samples),
            "samples": within_bytes(self.samples),
            "contig_count": len(self.contigs),
            "contigs": within_bytes(each.as_dict() for each in self.contigs),
            "assembly": self.assembly,
            "records": self.records,
            "eof": self.eof,
            "compression": self.compression,
            **self.extra,
        }
