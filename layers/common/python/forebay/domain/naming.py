"""Which keys may enter, and the keys objects get in their zones."""

import re
from typing import Any, Final

from forebay.domain.alignments import indexed_file_names
from forebay.domain.conflicts import variant_of
from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.imaging import is_tolerated_uid
from forebay.domain.objects import Kind, ObjectRecord
from forebay.names import Folder

_SAFE_SITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# Wide enough for what instruments write, too narrow for separators, quotes and control characters.
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@,-]{0,254}")


def check_key(record: ObjectRecord) -> Finding | None:
    """Return why an arrival's key cannot be accepted, None when it can.

    Instances are renamed by UID, so only their site matters. Reads, checksums and reports keep
    their file name, everything else its whole path.
    """
    if not _SAFE_SITE.fullmatch(record.site):
        return _unsafe("has no usable site prefix", "<site>/<path>, site of letters, digits, . _ -")
    segments = record.location.key.split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        return _unsafe("has an empty, '.' or '..' path segment", "plain path segments")
    if record.kind is not Kind.DICOM and not _SAFE_NAME.fullmatch(segments[-1]):
        return _unsafe(
            "ends in a file name with unsafe characters", "letters, digits, . _ + = @ , -"
        )
    if record.kind in _KEEP_PATH and not all(is_safe_name(segment) for segment in segments):
        return _unsafe(
            "has a path segment with unsafe characters", "letters, digits, . _ + = @ , -"
        )
    return None


def is_safe_name(text: str) -> bool:
    """Tell whether text may stand as a segment of a key."""
    return _SAFE_NAME.fullmatch(text) is not None


def zone_key(record: ObjectRecord) -> str:
    """Return the key of a verified object in its zone; derived from validated parts only.

    What stands beside another object of its identity lies in a folder named by its bytes, where no
    sender's name can be: an exclamation mark is safe in S3, but not accepted in an upload's key.
    """
    key = _plain_key(record)
    if variant := variant_of(record):
        folder, _, name = key.rpartition("/")
        return f"{folder}/variant!{variant}/{name}"
    return key


def _plain_key(record: ObjectRecord) -> str:
    metadata = record.metadata
    if record.kind is Kind.DICOM:
        return instance_key(metadata)
    name = record.location.key.rsplit("/", 1)[-1]
    if record.kind is Kind.FASTQ:
        return f"{Folder.READS}/{record.site}/{metadata['sample']}/{metadata['run']}/{name}"
    if record.kind is Kind.REPORT:
        return f"{Folder.REPORTS}/{record.pipeline_run_id}/{name}"
    if record.kind in _KEEP_PATH:
        return f"{_folder_of(record, name)}/{record.location.key}"
    return f"{Folder.CHECKSUMS}/{record.site}/{record.object_id}/{name}"


_KEEP_PATH: Final = frozenset({Kind.ALIGNMENTS, Kind.VARIANTS, Kind.INDEX, Kind.RUN_FILE})


def _folder_of(record: ObjectRecord, name: str) -> Folder:
    """Return the folder of a file that keeps its path; an index goes where its data goes."""
    if record.kind is Kind.RUN_FILE:
        return Folder.RUNS
    indexed = indexed_file_names(name) if record.kind is Kind.INDEX else ()
    is_variants = record.kind is Kind.VARIANTS or any("vcf" in n or "bcf" in n for n in indexed[:1])
    return Folder.VARIANTS if is_variants else Folder.ALIGNMENTS


def has_zone_key(record: ObjectRecord) -> bool:
    """Tell whether an object was understood well enough to get a key in its zone."""
    needed = {Kind.DICOM: "SOPInstanceUID", Kind.FASTQ: "sample"}.get(record.kind)
    return record.kind is not Kind.UNKNOWN and (needed is None or needed in record.metadata)


def instance_key(metadata: Any) -> str:
    """Return `dicom/<study>/<series>/<sop>.dcm`; raises ValueError on what is no UID."""
    uids = [metadata[f"{level}InstanceUID"] for level in ("Study", "Series", "SOP")]
    if not all(is_tolerated_uid(uid) for uid in uids):
        raise ValueError("an instance with an invalid UID must not get a key")
    return f"{Folder.DICOM}/{'/'.join(uids)}.dcm"


def held_key(record: ObjectRecord) -> str:
    """Return the key of an object's copy in quarantine."""
    reason = record.finding.code.value if record.finding else "UNSTATED"
    return f"{reason}/{record.object_id}"


def _unsafe(what: str, expected: str) -> Finding:
    return Finding(
        code=ReasonCode.UNSAFE_NAME,
        message=f"The key of this upload {what}; upload it again under a plain key.",
        owner=Owner.SENDER,
        expected=expected,
        # The key itself may hold a name; the catalog has it, the sentence does not.
        found="see the object's location",
    )
