"""Which class an object belongs to, and the attributes a rule may ask about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from forebay.domain.objects import Kind, ObjectRecord


@dataclass(frozen=True, slots=True)
class Attribute:
    """One variable of a rule's `when:`; `cel_type` is `string`, `int` or `map`.

    Texts are empty where nothing is known. A number that is not known is absent, and a condition
    that asks for it does not hold.
    """

    name: str
    cel_type: str
    meaning: str
    taken_from: str


_RECORD: Final = "all"
_DICOM: Final = "DICOM"
_READS: Final = "FASTQ"
_FILES: Final = "alignments, variants"
_RUNS: Final = "run files"

ATTRIBUTES: Final = (
    Attribute(
        "kind",
        "string",
        "`dicom`, `fastq`, `alignments`, `variants`, `index`, `run-file`, `checksums` or `report`",
        _RECORD,
    ),
    Attribute("site", "string", "who sent it: the first segment of its key", _RECORD),
    Attribute("size_bytes", "int", "how large it is", _RECORD),
    Attribute("suffix", "string", "end of its name without compression, as `bam`", _RECORD),
    Attribute("source_system", "string", "what the sender says it comes from", _RECORD),
    Attribute("consent_state", "string", "`granted`, `refused`, … or `unknown`", _RECORD),
    Attribute("pipeline_run_id", "string", "the pipeline run that made it", _RECORD),
    Attribute("modality", "string", "Modality (0008,0060), as `CT`", _DICOM),
    Attribute("body_part", "string", "BodyPartExamined (0018,0015), as `CHEST`", _DICOM),
    Attribute("manufacturer", "string", "Manufacturer (0008,0070)", _DICOM),
    Attribute("sop_class", "string", "SOPClassUID (0008,0016)", _DICOM),
    Attribute("transfer_syntax", "string", "TransferSyntaxUID (0002,0010)", _DICOM),
    Attribute("study_age_days", "int", "days from StudyDate (0008,0020) to arrival", _DICOM),
    Attribute("sample", "string", "sample in the file's name", _READS),
    Attribute("run", "string", "sequencing run, `<instrument>_<number>_<flow cell>`", _READS),
    Attribute("lane", "string", "lane in the file's name, as `L001`", _READS),
    Attribute("read_count", "int", "reads in the file", _READS),
    Attribute("format", "string", "`SAM`, `BAM`, `CRAM`, `VCF` or `BCF`", _FILES),
    Attribute("assembly", "string", "the reference's assembly, where the header says it", _FILES),
    Attribute("platform", "string", "family of the sequencer, as `novaseq-6000`", _RUNS),
    Attribute("metadata", "map", "everything else that was read from it, by keyword", "all"),
)
"""What rules may ask about. None identifies a person."""

FACT_TYPES: Final[Mapping[str, str]] = {each.name: each.cel_type for each in ATTRIBUTES}


@dataclass(frozen=True, slots=True)
class Classification:
    """The class a rule chose, with what placement needs of that class."""

    object_class: str
    rule: str
    retention_class: str
    zone: str
    needs_sender_digest: bool = False


def facts_of(record: ObjectRecord) -> dict[str, Any]:
    """Return what classification rules may know of an object, by attribute."""
    said = record.metadata
    facts = {
        "kind": record.kind.value,
        "site": record.site,
        "size_bytes": record.size_bytes,
        "suffix": _suffix(record),
        "source_system": record.source_system,
        "consent_state": record.consent_state,
        "pipeline_run_id": record.pipeline_run_id,
        "metadata": dict(said),
        **{name: _text(said.get(key)) for name, key in _TEXTS.items()},
    }
    numbers = {"study_age_days": _study_age_days(record), "read_count": said.get("reads")}
    return facts | {name: value for name, value in numbers.items() if isinstance(value, int)}


_TEXTS: Final = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "manufacturer": "Manufacturer",
    "sop_class": "SOPClassUID",
    "transfer_syntax": "TransferSyntaxUID",
    "sample": "sample",
    "run": "run",
    "lane": "lane",
    "format": "format",
    "assembly": "assembly",
    "platform": "platform",
}
"""Texts by the keyword they have in an object's metadata."""

# A name may hold anything; of it, only endings that are known to be of formats are told.
_SUFFIX: Final = re.compile(
    r"\.(sam|bam|cram|bai|csi|crai|tbi|g?vcf|bcf|fastq|fq|json|html|xml|csv|dcm)"
    r"(?:\.(?:gz|bgz|bz2|xz|zst))?$",
    re.IGNORECASE,
)
_DATE: Final = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})")
"""DICOM PS3.5 table 6.2-1; with dots as ACR-NEMA wrote it."""


def _suffix(record: ObjectRecord) -> str:
    found = _SUFFIX.search(record.location.key)
    return found[1].lower() if found else ""


def _text(value: Any) -> str:
    """Return a metadata value as text; of several values none is the one, and `-` is no value."""
    return value if isinstance(value, str) and value != "-" else ""


def _study_age_days(record: ObjectRecord) -> int | None:
    """Return how old the study was when it arrived; a date that is none tells nothing."""
    found = _DATE.fullmatch(_text(record.metadata.get("StudyDate")))
    if not found:
        return None
    try:
        made = date(*map(int, found.groups()))
    except ValueError:
        return None
    return (record.arrived_at.date() - made).days


def facts_without(kind: Kind) -> dict[str, Any]:
    """Return the facts of an object of which nothing but its kind is known."""
    texts = {each.name: "" for each in ATTRIBUTES if each.cel_type == "string"}
    return {**texts, "kind": kind.value, "size_bytes": 0, "metadata": {}}
