"""What Forebay knows of one DICOM SOP instance."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

UID_PATTERN: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")
UID_MAX_LENGTH: Final = 64
# Old devices write components with leading zeros; to change them would break references.
_TOLERATED_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")

SUBJECT_KEYWORDS: Final = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Attributes that identify a person or an order: they stay in the catalog item, nowhere else."""


@dataclass(frozen=True, slots=True)
class DicomInstance:
    """Identity and attributes of one SOP instance, by DICOM keyword.

    `attributes` holds only what does not identify a person; `subject` holds the rest
    (`SUBJECT_KEYWORDS`). Values are str, int, float or lists of these; dates stay DICOM `YYYYMMDD`.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, str] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, Any]:
        """Return everything but the subject, by DICOM keyword."""
        return {
            "SOPInstanceUID": self.sop_instance_uid,
            "SOPClassUID": self.sop_class_uid,
            "StudyInstanceUID": self.study_instance_uid,
            "SeriesInstanceUID": self.series_instance_uid,
            "TransferSyntaxUID": self.transfer_syntax_uid,
            **self.attributes,
        }


def is_uid(text: str) -> bool:
    """Tell whether text is a valid DICOM UID (PS3.5 §9.1)."""
    return len(text) <= UID_MAX_LENGTH and UID_PATTERN.fullmatch(text) is not None


def is_tolerated_uid(text: str) -> bool:
    """Tell whether text may identify an instance: a UID, leading zeros of components forgiven."""
    return len(text) <= UID_MAX_LENGTH and _TOLERATED_UID.fullmatch(text) is not None
