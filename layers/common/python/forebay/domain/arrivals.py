"""What an arrival's bucket, key and size say before a byte of it is read."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from forebay.domain.checksum_names import is_checksum_name
from forebay.domain.objects import Kind
from forebay.names import PIPELINES_SITE, Zone

_FASTQ: Final = re.compile(r"\.(?:fastq|fq)(?:\.(?:gz|bgz|bz2|xz|zst))?$", re.IGNORECASE)
_REPORT: Final = re.compile(r"\.(?:json|html)$", re.IGNORECASE)


class Marker(StrEnum):
    """Objects that stand for something else than data."""

    DIRECTORY = "directory marker"
    PLACEHOLDER = "zero-byte placeholder"


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
    if size_bytes == 0 and kind is Kind.UNKNOWN:
        return Marker.PLACEHOLDER
    return None


def _kind(zone: Zone, run_id: str, name: str) -> Kind:
    if is_checksum_name(name):
        return Kind.CHECKSUMS
    if _FASTQ.search(name):
        return Kind.FASTQ
    if run_id and _REPORT.search(name):
        return Kind.REPORT
    # PACS and scanners name files as they please: in the imaging bucket the content decides.
    return Kind.DICOM if zone is Zone.LANDING_IMAGING else Kind.UNKNOWN
