"""What sequencing read names say: instrument, run, flow cell, lane and mate.

Sources: Illumina BCL Convert and Casava guides, Element and MGI FASTQ descriptions, PacBio BAM
format, NCBI SRA `fastq-dump` output.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from forebay.formats.digests import HashThread

__all__ = ["NameCensus", "Origin", "parse_read_name"]

UNKNOWN: Final = "unknown"
# Beyond this many different origins a file is a mixture whose full list helps nobody.
_MAX_ORIGINS: Final = 64
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

_DIALECTS: Final = (
    ("illumina-1.8", _SEVEN_FIELDS),
    ("illumina-1.7", _FIVE_FIELDS),
    ("sra", _SRA),
    ("mgi", _MGI),
    ("pacbio", _PACBIO),
    ("nanopore", _NANOPORE),
    ("ion-torrent", _ION),
)
_COMMENT: Final = re.compile(rb"[ \t][^\n]*")
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
    """Takes all read names of a file, in order; the answer does not depend on the batches.

    The names digest goes over the names without comment and mate suffix, one a line.
    """

    def __init__(self, hashing: HashThread) -> None:
        self.origins: dict[Origin, None] = {}
        self.read_numbers: set[str] = set()
        self.has_many_origins = False
        self._hashing = hashing
        self._sha256 = hashlib.sha256()
        self._reads = 0
        self._examined = 0
        self._pairs_match = True
        self._waiting_for_mate = b""

    def take(self, heads: bytes, reads: int) -> None:
        """Count head lines, with their `@` and line feeds."""
        names, shared_comment = _without_comments(heads)
        self._count_origins(names, reads)
        if any(each.dialect in _MATE_IN_COMMENT for each in self.origins):
            self._find_mates(shared_comment or heads, b" %s:", 1 if shared_comment else reads)
        if b"/" in names:
            self._find_mates(names, b"/%s\n", reads)
        if b"/" in names:
            names = names.replace(b"/1\n", b"\n").replace(b"/2\n", b"\n")
        self._hashing.submit(self._sha256.update, names)
        if self._pairs_match:
            self._match_pairs(names)
        self._reads += reads

    @property
    def is_interleaved(self) -> bool:
        """Whether reads come in pairs of one name: mates of one fragment behind each other."""
        return self._pairs_match and self._reads > 0 and self._reads % 2 == 0

    def digest(self) -> str:
        """Return the hex names digest; call when the hashing is done."""
        return self._sha256.hexdigest()

    def values(self, field: str) -> tuple[str, ...]:
        """Return the different values of a field of `Origin`, sorted, without the empty one."""
        return tuple(sorted({getattr(origin, field) for origin in self.origins} - {""}))

    def _count_origins(self, names: bytes, reads: int) -> None:
        if self.has_many_origins or self._examined == _MAX_EXAMINED:
            return
        lines = b"\n" + names
        # Nearly every file has one origin: one scan instead of one match per read.
        known = sum(lines.count(b"\n" + each.prefix) for each in self.origins if each.prefix)
        if known == reads:
            return
        prefixes = tuple(each.prefix for each in self.origins if each.prefix)
        for name in names.splitlines():
            if prefixes and name.startswith(prefixes):
                continue
            if self._examined == _MAX_EXAMINED:
                return
            self._examined += 1
            origin = parse_read_name(name)
            if origin not in self.origins:
                self.origins[origin] = None
                prefixes = tuple(each.prefix for each in self.origins if each.prefix)
                if len(self.origins) == _MAX_ORIGINS:
                    self.has_many_origins = True
                    return

    def _find_mates(self, text: bytes, form: bytes, reads: int) -> None:
        # Once all reads are accounted for there is no need to look for other mates.
        for number in sorted("1234", key=lambda number: number not in self.read_numbers):
            if count := text.count(form % number.encode()):
                self.read_numbers.add(number)
                reads -= count
                if reads <= 0:
                    return

    def _match_pairs(self, bare: bytes) -> None:
        names = bare.split(b"\n")
        names.pop()
        if self._waiting_for_mate:
            names.insert(0, self._waiting_for_mate)
        self._waiting_for_mate = names.pop() if len(names) % 2 else b""
        self._pairs_match = names[0::2] == names[1::2]


def _without_comments(heads: bytes) -> tuple[bytes, bytes]:
    """Return head lines without what follows the first blank, and their comment if shared."""
    if b"\t" not in heads:
        at = heads.find(b" ")
        if at < 0:
            return heads, b""
        # Reads of one sample mostly share one comment.
        comment = heads[at : heads.index(b"\n", at) + 1]
        bare = heads.replace(comment, b"\n")
        if b" " not in bare:
            return bare, comment
    return _COMMENT.sub(b"", heads), b""
