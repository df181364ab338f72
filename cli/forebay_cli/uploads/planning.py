"""Which files to send, where to, and under which key.

Keys never carry a patient identifier. Paths of DICOM files often do (`SMITH^JOHN/IM0001`), so a
DICOM file's key is made of its content: `<site>/<batch>/<first 32 hex digits of its SHA-256>.dcm`;
sending it again makes a new version of the same key. Everything else keeps its path relative to the
folder that was named.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from forebay.domain.arrivals import read_key
from forebay.domain.checksum_names import sidecar_target
from forebay.domain.integrity import CRYPTOGRAPHIC, normalise_digest
from forebay.domain.objects import Kind
from forebay.names import PIPELINES_SITE, Zone
from forebay_cli.failures import CommandError, WrongUsage

SITE_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_DICOM_NAME: Final = re.compile(r"(?:\.(?:dcm|dicom|ima)|(?:^|/)DICOMDIR)$", re.IGNORECASE)
_GENOMICS_NAME: Final = re.compile(
    r"\.(?:bam|bai|cram|crai|sam|csi|tbi|fasta|fa|fai|bed)(?:\.b?gz)?$"
    r"|\.(?:vcf|bcf|gvcf)(?:\.b?gz)?$"
    r"|(?:^|/)(?:RunInfo|RunParameters|runParameters|RunCompletionStatus)\.xml$"
    r"|(?:^|/)(?:RTAComplete|CopyComplete)\.(?:txt|xml)$"
    r"|(?:^|/)SampleSheet[^/]*\.csv$"
)
_MAGIC_OFFSET: Final = 128
_DIGEST_LINE_BYTES: Final = 4096


class Destination(StrEnum):
    """What a person may say about where files go."""

    AUTO = "auto"
    IMAGING = "imaging"
    GENOMICS = "genomics"


_ZONES: Final = {
    Destination.IMAGING: Zone.LANDING_IMAGING,
    Destination.GENOMICS: Zone.LANDING_GENOMICS,
}


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file to send.

    `name` is its path relative to the folder that was named. `declared` are digests a sidecar gave
    for a DICOM file, by algorithm: its key holds no name that an uploaded sidecar could refer to.
    """

    path: Path
    name: str
    zone: Zone
    size_bytes: int
    declared: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_checksums(self) -> bool:
        """Whether this is a sidecar or list of digests; those travel first."""
        return read_key(self.zone, self.name).kind is Kind.CHECKSUMS

    def key(self, site: str, batch: str, sha256: str) -> str:
        """Return the landing key for content with this SHA-256 (hex)."""
        content_named = self.zone is Zone.LANDING_IMAGING
        name = f"{sha256[:32]}.dcm" if content_named else self.name
        return "/".join(filter(None, (site, batch, name)))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, and what was left aside with the reason."""

    files: tuple[PlannedFile, ...]
    left_aside: Mapping[str, str]

    @property
    def size_bytes(self) -> int:
        """Bytes to send."""
        return sum(file.size_bytes for file in self.files)


def check_site(site: str) -> str:
    """Return a site's name; raises WrongUsage with the rule when it cannot be one."""
    if not SITE_PATTERN.fullmatch(site) or site == PIPELINES_SITE:
        raise WrongUsage(
            f"{site!r} cannot be a site.",
            "A site is 1 to 31 lower-case letters, digits and hyphens "
            f"(and not {PIPELINES_SITE!r}, which pipelines use).",
        )
    return site


def plan_upload(paths: Iterable[Path], destination: Destination) -> Plan:
    """Walk files and folders and decide what is sent where.

    Raises CommandError when two files would get the same key.
    """
    planned: dict[str, PlannedFile] = {}
    left_aside: dict[str, str] = {}
    for path, name in _walk(paths):
        zone = landing_zone(path, destination)
        if zone is None:
            left_aside[str(path)] = "neither DICOM nor a known genomics file; send it with --to"
        elif zone is Zone.LANDING_GENOMICS and name in planned:
            raise CommandError(
                f"{planned[name].path} and {path} would get the same key.",
                "Upload the folders one by one, each with its own --batch.",
            )
        else:
            # Imaging keys come from content; the path keeps such files apart here.
            label = name if zone is Zone.LANDING_GENOMICS else str(path)
            planned[label] = PlannedFile(path, name, zone, path.stat().st_size)
    return _with_declarations(planned.values(), left_aside)


def landing_zone(path: Path, destination: Destination = Destination.AUTO) -> Zone | None:
    """Return a file's landing zone by its first bytes and name; None when neither tells."""
    if destination is not Destination.AUTO:
        return _ZONES[destination]
    if _DICOM_NAME.search(path.name) or _has_dicom_magic(path):
        return Zone.LANDING_IMAGING
    target = sidecar_target(path.name)
    if target and _DICOM_NAME.search(target):
        return Zone.LANDING_IMAGING
    kind = read_key(Zone.LANDING_GENOMICS, path.name).kind
    if kind is not Kind.UNKNOWN or _GENOMICS_NAME.search(path.name):
        return Zone.LANDING_GENOMICS
    return None


def _walk(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in sorted(names):
                    file = Path(folder) / name
                    if not name.startswith(".") and file.is_file():
                        yield file, file.relative_to(path).as_posix()
        else:
            yield path, path.name


def _has_dicom_magic(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(_MAGIC_OFFSET)
        return file.read(4) == b"DICM"


def _with_declarations(planned: Iterable[PlannedFile], left_aside: dict[str, str]) -> Plan:
    """Turn sidecars of DICOM files into declarations that travel with the file itself."""
    files = list(planned)
    by_path = {file.path: file for file in files if file.zone is Zone.LANDING_IMAGING}
    for sidecar in [file for file in by_path.values() if file.is_checksums]:
        files.remove(sidecar)
        target = by_path.get(Path(sidecar_target(str(sidecar.path))))
        declared = _read_declaration(sidecar.path)
        if target is None or not declared:
            left_aside[str(sidecar.path)] = "a checksum file that speaks of no DICOM file here"
            continue
        left_aside[str(sidecar.path)] = f"its digest travels with {target.name}"
        files.remove(target)
        merged = {**target.declared, **declared}
        by_path[target.path] = PlannedFile(
            target.path, target.name, target.zone, target.size_bytes, merged
        )
        files.append(by_path[target.path])
    return Plan(tuple(sorted(files, key=lambda f: (not f.is_checksums, str(f.path)))), left_aside)


def _read_declaration(path: Path) -> dict[str, str]:
    """Return the digest in a sidecar, by algorithm, as lower-case hex."""
    with path.open(encoding="utf-8", errors="replace") as file:
        words = file.read(_DIGEST_LINE_BYTES).split()
    for algorithm in CRYPTOGRAPHIC:
        for word in (words[:1], words[-1:]):
            value = normalise_digest(algorithm, word[0]) if word else None
            if value:
                return {algorithm.value: value}
    return {}
