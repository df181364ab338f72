"""The record of one arrived object version, and the changes it may undergo."""

import hashlib
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from forebay.domain.findings import OVERDUE_CODES, Finding
from forebay.domain.integrity import EVIDENCE, Algorithm, Digest
from forebay.domain.policy.decision import PolicyDecision
from forebay.domain.states import State, check_transition


class Kind(StrEnum):
    """What an object claims to be, by the bucket and name it arrived under."""

    DICOM = "dicom"
    FASTQ = "fastq"
    ALIGNMENTS = "alignments"
    """SAM, BAM or CRAM."""
    VARIANTS = "variants"
    """VCF or BCF."""
    INDEX = "index"
    """An index that belongs to a file of alignments or variants."""
    RUN_FILE = "run-file"
    """RunInfo.xml, RunParameters.xml or a sample sheet."""
    CHECKSUMS = "checksums"
    """A sidecar or manifest with digests of other objects, or another tag file of a bag."""
    REPORT = "report"
    """JSON or HTML a pipeline made."""
    UNKNOWN = "unknown"


class Choice(StrEnum):
    """What a steward may decide about two objects that claim one identity."""

    KEEP = "keep"
    """The stored object stays; the other remains aside."""
    REPLACE = "replace"
    """The other takes the stored one's place; the stored one is superseded."""
    KEEP_BOTH = "keep-both"
    """Both stay, the other under a key that names its bytes."""
    RELEASE = "release"
    """A quarantined object is inspected again; no finding is overruled."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decided what about an object kept aside, when, and why; `by` is an AWS identity."""

    choice: Choice
    by: str
    at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """One version of one S3 object; `version_id` is empty in an unversioned bucket."""

    bucket: str
    key: str
    version_id: str = ""

    @property
    def uri(self) -> str:
        """The s3:// URI, without the version."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """Everything the catalog holds about one arrived object version.

    `version` counts the changes of this record, from 1. `metadata` never identifies a person;
    `subject` may, and therefore never leaves the catalog item. `subject_tokens` are keyed digests
    of the subject attributes, for search.
    """

    object_id: str
    location: Location
    kind: Kind
    site: str
    state: State
    state_since: datetime
    version: int
    arrived_at: datetime
    size_bytes: int
    amended_at: datetime | None = None
    """When facts last changed within the state, None since the state itself did."""
    etag: str = ""
    sequencer: str = ""
    composite_checksum: str = ""
    """S3's checksum of part checksums, as `<algorithm>:<value>`; comparable only part by part."""
    source_system: str = ""
    cohort: str = ""
    """The study or research group its sender counts it to; exceptions may name it."""
    digests: tuple[Digest, ...] = ()
    finding: Finding | None = None
    warnings: tuple[Finding, ...] = ()
    original_id: str = ""
    """The object this one duplicates or conflicts with."""
    duplicate_count: int = 0
    object_class: str = ""
    class_rule: str = ""
    retention_class: str = ""
    consent_state: str = "unknown"
    upload_batch: str = ""
    """The sender's name for what was uploaded together; receipts are issued by it."""
    decision: Decision | None = None
    """What a steward last decided about this object while it was kept aside."""
    redrives: int = 0
    """How often the sweeper handed the object to its step again in this state."""
    rechecked_at: datetime | None = None
    """When the stored bytes were last read and compared with their digests."""
    placed: Location | None = None
    placed_at: datetime | None = None
    """When the object was placed first: what its retention counts from."""
    version_since: datetime | None = None
    """When the version in `placed` was made, as S3 counts ages; None where that is `placed_at`."""
    policy: PolicyDecision | None = None
    """What policy decided last about the placed copy, and why."""
    held: Location | None = None
    """The copy in quarantine."""
    disposition: str = ""
    """The disposition that removed its bytes."""
    parents: tuple[str, ...] = ()
    pipeline_run_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, str] = field(default_factory=dict)
    subject_tokens: Mapping[str, str] = field(default_factory=dict)

    def moved_to(self, state: State, at: datetime, **changes: Any) -> "ObjectRecord":
        """Return the record after a legal transition; raises IllegalTransitionError otherwise."""
        check_transition(self.state, state)
        fresh: dict[str, Any] = {"redrives": 0, "warnings": self.lasting_warnings}
        return replace(
            self,
            state=state,
            state_since=at,
            amended_at=None,
            version=self.version + 1,
            **fresh | changes,
        )

    def amended(self, at: datetime, **changes: Any) -> "ObjectRecord":
        """Return the record with other facts in the same state, as its next version."""
        return replace(self, amended_at=at, version=self.version + 1, **changes)

    @property
    def changed_at(self) -> datetime:
        """When this version of the record came to be."""
        return self.amended_at or self.state_since

    @property
    def lasting_warnings(self) -> tuple[Finding, ...]:
        """Warnings about the object itself, not about its stay in this state."""
        return tuple(w for w in self.warnings if w.code not in OVERDUE_CODES)

    @property
    def kept_at(self) -> Location:
        """Where the bytes are read from: a copy that was proven equal outlives the arrival.

        What was placed and then refused was proven last when it was set aside.
        """
        return self.held or self.placed or self.location

    @property
    def evidence(self) -> tuple[Digest, ...]:
        """Digests that storage or Forebay vouched for."""
        return tuple(d for d in self.digests if d.witness in EVIDENCE)

    @property
    def declared(self) -> tuple[Digest, ...]:
        """Digests that the sender declared."""
        return tuple(d for d in self.digests if d.witness not in EVIDENCE)

    def digest(self, algorithm: Algorithm) -> str:
        """Return a digest of the evidence, or ''."""
        return next((d.value for d in self.evidence if d.algorithm is algorithm), "")


_PLACE_HASH_BYTES: Final = 15
_VERSION_HASH_BYTES: Final = 10


def place_id(bucket: str, key: str) -> str:
    """Return the id shared by all versions of one key: 24 characters of base 32."""
    return _short_hash(f"{bucket}\n{key}", _PLACE_HASH_BYTES)


def object_id(location: Location, etag: str = "") -> str:
    """Return the id of one object version: `<place id>.<version hash>`.

    Derived, so that registering the same version twice is the same write; split at the dot it is
    the catalog key, so that no index is needed to find an object or all versions of its key. An
    arrival without a version id can be overwritten: `etag` tells what was there from what is.
    """
    version = _short_hash(location.version_id or etag, _VERSION_HASH_BYTES)
    return f"{place_id(location.bucket, location.key)}.{version}"


def split_object_id(value: str) -> tuple[str, str]:
    """Return place id and version hash; raises ValueError when it is not an object id."""
    place, dot, version = value.partition(".")
    if not (dot and len(place) == 24 and len(version) == 16):
        raise ValueError(f"not an object id: {value!r}")
    return place, version


def is_newer(sequencer: str, other: str) -> bool:
    """Tell whether an S3 event sequencer is later than another one of the same key.

    S3 compares them as hex strings, the shorter one right-padded with zeros; an empty one is older.
    """
    width = max(len(sequencer), len(other))
    return sequencer.upper().ljust(width, "0") > other.upper().ljust(width, "0")


def _short_hash(text: str, size: int) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:size]
    return b32encode(digest).decode("ascii").lower()
