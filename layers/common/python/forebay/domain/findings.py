"""Reason codes and findings: how a judgement about bad input is stored and shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self


class Owner(StrEnum):
    """Who should act on a finding."""

    SENDER = "sender"
    """The person or system that uploaded: send the file again, correctly."""
    INSTRUMENT = "instrument"
    """The owner of the modality or sequencer that wrote the file."""
    DATA_STEWARD = "data-steward"
    """Someone who knows the data must decide."""
    PLATFORM = "platform"
    """The engineers who run Forebay."""


class Verdict(StrEnum):
    """What an inspection concluded about one file."""

    VALID = "valid"
    WARNING = "warning"
    INVALID = "invalid"
    UNSUPPORTED = "unsupported"


class ReasonCode(StrEnum):
    """Why an object was refused, or what was odd about it.

    Codes are stable: dashboards, policies and people's habits depend on them.
    """

    # any object
    EMPTY_OBJECT = "EMPTY_OBJECT"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    UNSAFE_NAME = "UNSAFE_NAME"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    # integrity
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    DIGEST_MALFORMED = "DIGEST_MALFORMED"
    MANIFEST_MALFORMED = "MANIFEST_MALFORMED"
    LISTED_FILE_MISSING = "LISTED_FILE_MISSING"
    SIZE_MISMATCH = "SIZE_MISMATCH"
    # integrity over time
    STORED_BYTES_CHANGED = "STORED_BYTES_CHANGED"
    STORED_BYTES_MISSING = "STORED_BYTES_MISSING"
    # DICOM
    NOT_DICOM = "NOT_DICOM"
    DICOM_POLYGLOT = "DICOM_POLYGLOT"
    DICOM_TRUNCATED = "DICOM_TRUNCATED"
    DICOM_MALFORMED = "DICOM_MALFORMED"
    DICOM_META_MISSING = "DICOM_META_MISSING"
    DICOM_IDENTITY_MISSING = "DICOM_IDENTITY_MISSING"
    DICOM_UID_INVALID = "DICOM_UID_INVALID"
    DICOM_IDENTITY_MISMATCH = "DICOM_IDENTITY_MISMATCH"
    DICOM_TRANSFER_SYNTAX_UNKNOWN = "DICOM_TRANSFER_SYNTAX_UNKNOWN"
    DICOM_PIXEL_LENGTH_MISMATCH = "DICOM_PIXEL_LENGTH_MISMATCH"
    DICOM_TRAILING_BYTES = "DICOM_TRAILING_BYTES"
    DICOM_CHARSET_REPAIRED = "DICOM_CHARSET_REPAIRED"
    DICOM_VALUE_SUSPECT = "DICOM_VALUE_SUSPECT"
    DICOMDIR = "DICOMDIR"
    # compression
    GZIP_TRUNCATED = "GZIP_TRUNCATED"
    GZIP_CORRUPT = "GZIP_CORRUPT"
    GZIP_TRAILING_GARBAGE = "GZIP_TRAILING_GARBAGE"
    BGZF_EOF_MISSING = "BGZF_EOF_MISSING"
    COMPRESSION_MISLABELED = "COMPRESSION_MISLABELED"
    # FASTQ
    FASTQ_MALFORMED = "FASTQ_MALFORMED"
    FASTQ_TRUNCATED = "FASTQ_TRUNCATED"
    FASTQ_LENGTH_MISMATCH = "FASTQ_LENGTH_MISMATCH"
    FASTQ_ALPHABET = "FASTQ_ALPHABET"
    FASTQ_QUALITY_RANGE = "FASTQ_QUALITY_RANGE"
    FASTQ_EMPTY = "FASTQ_EMPTY"
    FASTQ_NAME_DIALECT_UNKNOWN = "FASTQ_NAME_DIALECT_UNKNOWN"
    FASTQ_MIXED_NAMES = "FASTQ_MIXED_NAMES"
    FASTQ_REPEATED_NAMES = "FASTQ_REPEATED_NAMES"
    FASTQ_MATES_DIFFER = "FASTQ_MATES_DIFFER"
    # sequencing runs
    RUN_FILE_MALFORMED = "RUN_FILE_MALFORMED"
    RUN_FILE_INCOMPLETE = "RUN_FILE_INCOMPLETE"
    RUN_VALUE_SUSPECT = "RUN_VALUE_SUSPECT"
    XML_FORBIDDEN = "XML_FORBIDDEN"
    SAMPLE_SHEET_MALFORMED = "SAMPLE_SHEET_MALFORMED"
    SAMPLE_SHEET_AMBIGUOUS = "SAMPLE_SHEET_AMBIGUOUS"
    SAMPLE_SHEET_SUSPECT = "SAMPLE_SHEET_SUSPECT"
    INTEROP_MALFORMED = "INTEROP_MALFORMED"
    # bags
    BAG_MALFORMED = "BAG_MALFORMED"
    BAG_INCOMPLETE = "BAG_INCOMPLETE"
    BAG_UNLISTED_FILE = "BAG_UNLISTED_FILE"
    BAG_FETCH_REFUSED = "BAG_FETCH_REFUSED"
    BAG_SUSPECT = "BAG_SUSPECT"
    # alignments and variants
    FORMAT_MISLABELED = "FORMAT_MISLABELED"
    INDEX_WITHOUT_DATA = "INDEX_WITHOUT_DATA"
    INDEX_MALFORMED = "INDEX_MALFORMED"
    INDEX_MISMATCH = "INDEX_MISMATCH"
    NOT_BGZF = "NOT_BGZF"
    SAM_HEADER_MALFORMED = "SAM_HEADER_MALFORMED"
    SAM_HEADER_SUSPECT = "SAM_HEADER_SUSPECT"
    SAM_RECORD_MALFORMED = "SAM_RECORD_MALFORMED"
    SORT_ORDER_MISMATCH = "SORT_ORDER_MISMATCH"
    POSITION_BEYOND_REFERENCE = "POSITION_BEYOND_REFERENCE"
    READ_GROUP_UNKNOWN = "READ_GROUP_UNKNOWN"
    BAM_MALFORMED = "BAM_MALFORMED"
    BAM_TRUNCATED = "BAM_TRUNCATED"
    CRAM_MALFORMED = "CRAM_MALFORMED"
    CRAM_TRUNCATED = "CRAM_TRUNCATED"
    CRAM_CHECKSUM = "CRAM_CHECKSUM"
    CRAM_EOF_MISSING = "CRAM_EOF_MISSING"
    VCF_HEADER_MALFORMED = "VCF_HEADER_MALFORMED"
    VCF_HEADER_SUSPECT = "VCF_HEADER_SUSPECT"
    VCF_RECORD_MALFORMED = "VCF_RECORD_MALFORMED"
    VCF_RECORD_SUSPECT = "VCF_RECORD_SUSPECT"
    VCF_NOT_SORTED = "VCF_NOT_SORTED"
    VCF_DUPLICATE = "VCF_DUPLICATE"
    VCF_TRUNCATED = "VCF_TRUNCATED"
    BCF_MALFORMED = "BCF_MALFORMED"
    BCF_TRUNCATED = "BCF_TRUNCATED"
    # identity
    SAME_IDENTITY_OTHER_BYTES = "SAME_IDENTITY_OTHER_BYTES"
    # what others did to the stored object
    UNVERSIONED_OBJECT = "UNVERSIONED_OBJECT"
    SOURCE_DELETED = "SOURCE_DELETED"
    DELETED_OUTSIDE_POLICY = "DELETED_OUTSIDE_POLICY"
    # deadlines
    DIGEST_OVERDUE = "DIGEST_OVERDUE"
    DECISION_OVERDUE = "DECISION_OVERDUE"
    STEP_OVERDUE = "STEP_OVERDUE"


OVERDUE_CODES: Final = frozenset(
    {ReasonCode.DIGEST_OVERDUE, ReasonCode.DECISION_OVERDUE, ReasonCode.STEP_OVERDUE}
)
"""What is said of an object's stay in a state, and no longer true once it left."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One judgement about a file, in words a technician understands.

    `message` is a whole sentence and never holds a patient identifier. `position` is a byte offset
    into the file as stored, or a line such as `line 17`; empty when the finding is about the whole.
    """

    code: ReasonCode
    message: str
    owner: Owner
    position: str = ""
    expected: str = ""
    found: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON shape stored in the catalog and printed by the command line."""
        return {
            "code": self.code.value,
            "message": self.message,
            "position": self.position,
            "expected": self.expected,
            "found": self.found,
            "owner": self.owner.value,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a finding from `as_dict`."""
        return cls(
            code=ReasonCode(data["code"]),
            message=data["message"],
            owner=Owner(data["owner"]),
            position=data.get("position", ""),
            expected=data.get("expected", ""),
            found=data.get("found", ""),
        )
