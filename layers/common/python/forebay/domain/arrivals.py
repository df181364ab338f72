"""What an arrival's bucket, key and size say before a byte of it is read."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from forebay.domain.alignments import indexed_file_names
from forebay.domain.checksum_names import is_bag_tag_file, is_checksum_name
from forebay.domain.objects import Kind
from forebay.names import PIPELINES_SITE, Zone

_FASTQ: Final = re.compile(r"\.(?:fastq|fq)(?:\.(?:gz|bgz|bz2|xz|zst))?$", re.IGNORECASE)
_ALIGNMENTS: Final = re.compile(r"\.(?:sam(?:\.b?gz)?|bam|cram)$", re.IGNORECASE)
_VARIANTS: Final = re.compile(r"\.(?:g?vcf(?:\.b?gz)?|bcf)$", re.IGNORECASE)
_RUN_FILE: Final = re.compile(
    r"RunInfo\.xml|RunParameters\.xml|sample_?sheet[^/]*\.csv", re.IGNORECASE
)
# Signs that a run has ended, not data; what they mean per platform is in COMPLETION_MARKERS.
_COMPLETION: Final = re.compile(
    r"(?:RTA|Copy|Sequenc(?:e|ing)|RTARead\d|Analysis)Complete\.(?:txt|xml)"
    r"|RunCompletionStatus\.xml|\w+_Netcopy_complete\w*\.txt",
    re.IGNORECASE,
)
COMPLETION_MAX_BYTES: Final = 64 * 1024
_REPORT: Final = re.compile(r"\.(?:json|html)$", re.IGNORECASE)


class Marker(StrEnum):
    """Objects that stand for something else than data."""

    DIRECTORY = "directory marker"
    PLACEHOLDER = "zero-byte placeholder"
    COMPLETION = "run completion marker"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the key alone says; `site` is the first path segment, `name` the last."""

    kind: Kind
    site: str
    name: str
    pipeline_run_id: str = ""


def read_key(zone: Zone, key: str) -> Arrival:
    """Return what a landing key says; a key without a site has an empty one."""
    site, _, rest = key.partition("/")
    if not rest:
        site, rest = "", key
    name = rest.rsplit("/", 1)[-1]
    run_id = rest.partition("/")[0] if site == PIPELINES_SITE and "/" in rest else ""
    return Arrival(_kind(zone, run_id, name), site, name, run_id)


def marker(kind: Kind, key: str, size_bytes: int) -> Marker | None:
    """Return what kind of marker an object is, None for data.

    A zero-byte file that claims to be data is not a marker: it is a failed upload, and judged.
    """
    if key.endswith(("/", "_$folder$")):
        return Marker.DIRECTORY
    if kind is not Kind.UNKNOWN:
        return None
    if _COMPLETION.fullmatch(key.rpartition("/")[2]) and size_bytes <= COMPLETION_MAX_BYTES:
        return Marker.COMPLETION
    return None if size_bytes else Marker.PLACEHOLDER


_BY_NAME: Final = (
    (_FASTQ, Kind.FASTQ),
    (_ALIGNMENTS, Kind.ALIGNMENTS),
    (_VARIANTS, Kind.VARIANTS),
)


def _kind(zone: Zone, run_id: str, name: str) -> Kind:
    if is_checksum_name(name) or is_bag_tag_file(name):
        return Kind.CHECKSUMS
    for pattern, kind in _BY_NAME:
        if pattern.search(name):
            return kind
    if _RUN_FILE.fullmatch(name):
        return Kind.RUN_FILE
    if indexed_file_names(name):
        return Kind.INDEX
    if run_id and _REPORT.search(name):
        return Kind.REPORT
    # PACS and scanners name files as they please: in the imaging bucket the content decides.
    return Kind.DICOM if zone is Zone.LANDING_IMAGING else Kind.UNKNOWN
