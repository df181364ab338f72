"""What sequencing read names say: instrument, run, flow cell, lane and mate.

Sources: Illumina BCL Convert and Casava guides, Element and MGI FASTQ descriptions, PacBio BAM
format, NCBI SRA `fastq-dump` output; for 454 its "universal accession numbers" (GS data file
formats, section 2.3.7, as quoted on SEQanswers). Ultima publishes no scheme that was found: its
forms are the examples of Genozip's table of read names and of names in public test data.
"""

import re
from dataclasses import dataclass
from typing import Final

from forebay.formats.fastq_kernel import MAX_ORIGINS

__all__ = ["UNKNOWN", "NameCensus", "Origin", "parse_read_name"]

UNKNOWN: Final = "unknown"
# Names without a prefix in common are looked at one by one; as many as this tell all there is.
_MAX_EXAMINED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where reads come from, as their names tell; empty strings where they do not.

    `prefix` is what all read names of this origin start with, empty when they share nothing.
    """

    dialect: str
    instrument: str = ""
    run: str = ""
    flow_cell: str = ""
    lane: str = ""
    prefix: bytes = b""


_UNKNOWN_ORIGIN: Final = Origin(UNKNOWN)

# <instrument>:<run>:<flow cell>:<lane>:<tile>:<x>:<y>[:<umi>]
_SEVEN_FIELDS: Final = re.compile(
    rb"(?P<prefix>@(?P<instrument>[^:]+):(?P<run>[^:]*):(?P<flow_cell>[^:]+):(?P<lane>\d+):)"
    rb"[^:]+:-?\d+:-?\d+(?::[^:]*)?(?:#[^/]*)?(?:/\d)?"
)
# <instrument>:<lane>:<tile>:<x>:<y>[#<index>][/<mate>]
_FIVE_FIELDS: Final = re.compile(
    rb"(?P<prefix>@(?P<instrument>[^:]+):(?P<lane>\d+):)\d+:-?\d+:-?\d+(?:#[^/]*)?(?:/\d)?"
)
_SRA: Final = re.compile(rb"(?P<prefix>@(?P<run>[SED]RR\d+)\.)\d+(?:\.\d)?(?:/\d)?")
_MGI: Final = re.compile(
    rb"(?P<prefix>@(?P<flow_cell>[A-Z]+\d+[A-Z]?)L(?P<lane>\d)C)\d{3}R\d+(?:_\d+)?(?:/\d)?"
)
_PACBIO: Final = re.compile(
    rb"(?P<prefix>@(?P<run>(?P<instrument>m\w+?)_\d{6}_\d{6}\w*)/)\d+(?:/.*)?"
)
_NANOPORE: Final = re.compile(rb"@[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:_\w+)?")
_ION: Final = re.compile(rb"(?P<prefix>@(?P<run>[A-Z0-9]{5}):)\d{1,5}:\d{1,5}(?:/\d)?")
# Start of the run in six letters, a hash of it, the region of the plate in two digits, and the
# well in five letters, all to base 36 from A to 9; that of the last well, x and y 4095, has a J.
_454: Final = re.compile(
    rb"(?P<prefix>@(?P<run>[A-K][A-Z0-9]{6})0?(?P<lane>(?<=0)[1-9]|1[0-6]))[A-J][A-Z0-9]{4}(?:/\d)?"
)
# Before 2006: <rank>_<x>_<y>
_454_RANKED: Final = re.compile(rb"@\d{6}_\d{4}_\d{4}(?:/\d)?")
# <run>[_<part>]-<sample's barcode: X0003, Z0123 or UGAv3-72>-<read, ten digits>[_<barcode>]
_ULTIMA: Final = re.compile(
    rb"(?P<prefix>@(?P<run>\d{6,9})(?:_\d)?-)(?:[XZ]\d{4}|[A-Za-z]+\d-\d{1,5})-\d{10}"
    rb"(?:_[ACGTN]+)?(?:/\d)?"
)
# <instrument>:<run>:::<ten fields of the read, the ninth with a fraction, then the barcode>:
_ULTIMA_UG100: Final = re.compile(
    rb"(?P<prefix>@(?P<instrument>V\d+):(?P<run>\d+):::)(?:\d+:){7}[YN]:\d(?:\.\d+)?:[A-Z]\d{4}:"
    rb"(?:_[ACGTN]+)?"
)

_DIALECTS: Final = (
    ("illumina-1.8", _SEVEN_FIELDS),
    ("illumina-1.7", _FIVE_FIELDS),
    ("sra", _SRA),
    ("mgi", _MGI),
    ("pacbio", _PACBIO),
    ("nanopore", _NANOPORE),
    ("ion-torrent", _ION),
    ("454", _454),
    ("454", _454_RANKED),
    ("ultima", _ULTIMA),
    ("ultima", _ULTIMA_UG100),
)
_ELEMENT_INSTRUMENT: Final = re.compile(rb"AV\d{6}")
_MATE_IN_COMMENT: Final = frozenset({"illumina-1.8", "element"})


def parse_read_name(name: bytes) -> Origin:
    """Return the origin named by one read name (with its `@`, without its comment)."""
    for dialect, pattern in _DIALECTS:
        if match := pattern.fullmatch(name):
            fields = match.groupdict(b"")
            if dialect == "illumina-1.8" and _ELEMENT_INSTRUMENT.fullmatch(fields["instrument"]):
                dialect = "element"  # noqa: PLW2901 - the same seven fields, another maker
            return Origin(
                dialect=dialect,
                prefix=fields.pop("prefix", b""),
                **{field: value.decode("ascii") for field, value in fields.items()},
            )
    return _UNKNOWN_ORIGIN


class NameCensus:
    """What the read names of a file say, of which one of each origin is to be examined."""

    def __init__(self) -> None:
        self.origins: dict[Origin, None] = {}
        self._examined = 0

    @property
    def has_many_origins(self) -> bool:
        """Whether there are too many origins to list; no more of them are collected then."""
        return len(self.origins) == MAX_ORIGINS

    @property
    def wants_more(self) -> bool:
        """Whether names without a known prefix are still to be examined."""
        return not self.has_many_origins and self._examined < _MAX_EXAMINED

    def examine(self, name: bytes) -> bytes:
        """Note the origin of a name (with its `@`, without its comment); return its prefix."""
        self._examined += 1
        origin = parse_read_name(name)
        self.origins[origin] = None
        return origin.prefix

    def read_numbers(self, in_names: int, in_comments: int) -> tuple[str, ...]:
        """Return which mates the reads are: as names tell, or comments where a dialect has it so.

        Bit n stands for mate n in what either of them tells.
        """
        mates = in_names
        if any(each.dialect in _MATE_IN_COMMENT for each in self.origins):
            mates |= in_comments
        return tuple(str(mate) for mate in range(1, 5) if mates >> mate & 1)

    def values(self, field: str) -> tuple[str, ...]:
        """Return the different values of a field of `Origin`, sorted, without the empty one."""
        return tuple(sorted({getattr(origin, field) for origin in self.origins} - {""}))
