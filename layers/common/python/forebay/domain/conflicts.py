"""What makes two objects the same, what happens when they are, and how two of them are compared.

The policy, in one place. An object holds the names below; each can be held by one object only:

| kind | identity | valid | same identity, same bytes | same identity, other bytes |
|---|---|---|---|---|
| DICOM | SOP Instance UID | everywhere: UIDs are global (PS3.5 §9) | DUPLICATE | CONFLICT |
| reads | sample, run, lane, chunk, mate | within a site | DUPLICATE | CONFLICT |
| other files | landing key, which begins with the site | within a site | DUPLICATE | CONFLICT |
| all but DICOM | SHA-256 | within a site | DUPLICATE | cannot be |

Equal bytes from two sites stay two objects, unless they are the same SOP instance: sample names and
reference files repeat between sites, and a site may withdraw what is its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from forebay.domain.findings import ReasonCode
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Choice, Kind, ObjectRecord
from forebay.domain.states import State
from forebay.events import utc_text

SOP_NAMESPACE: Final = "sop"
READS_NAMESPACE: Final = "reads"
FILE_NAMESPACE: Final = "file"
BYTES_NAMESPACE: Final = "bytes"
WHOLE_GROUP: Final = "-"
"""The value of a name whose group has no parts."""

RELEASED: Final = frozenset({State.QUARANTINED, State.CONFLICT, State.EXPIRED, State.DELETED})
"""A holder in one of these states gives up its names to the next that verifies."""

UNCHANGEABLE: Final = frozenset(
    {
        ReasonCode.EMPTY_OBJECT,
        ReasonCode.UNSAFE_NAME,
        ReasonCode.DIGEST_MALFORMED,
        ReasonCode.UNVERSIONED_OBJECT,
        ReasonCode.STORED_BYTES_CHANGED,
        ReasonCode.STORED_BYTES_MISSING,
    }
)
"""Findings about what a stored version is and stays: looking again cannot find otherwise."""

STORAGE_FACTS: Final = "storage"
"""Metadata that storage tells of a copy later: tier and restores, no property of the bytes."""

VARIANT_HEX: Final = 32


class Name(NamedTuple):
    """A name that at most one object may hold: (namespace, group, value)."""

    namespace: str
    group: str
    value: str = WHOLE_GROUP


def identity_of(record: ObjectRecord) -> Name:
    """Return the identity under which other bytes are a conflict, of a record with metadata."""
    metadata = record.metadata
    if record.kind is Kind.DICOM:
        return Name(SOP_NAMESPACE, str(metadata["SOPInstanceUID"]))
    if record.kind is Kind.FASTQ:
        parts = ("run", "lane", "chunk", "mate")
        return Name(
            READS_NAMESPACE,
            f"{record.site}#{metadata['sample']}",
            "#".join(str(metadata[part]) for part in parts),
        )
    return Name(FILE_NAMESPACE, record.location.key)


def bytes_of(record: ObjectRecord) -> Name:
    """Return the name that makes the same bytes from the same site a duplicate."""
    return Name(BYTES_NAMESPACE, f"{record.site}#{record.digest(Algorithm.SHA256)}")


def variant_of(record: ObjectRecord) -> str:
    """Return what tells an object that stands beside its identity's first holder, '' for none.

    Derived from the bytes, so that the same bytes once more find it.
    """
    if record.decision is None or record.decision.choice is not Choice.KEEP_BOTH:
        return ""
    return record.digest(Algorithm.SHA256)[:VARIANT_HEX]


def variant_prefix(value: str) -> str:
    """Return how the values of all variants of a name begin."""
    return f"{value}#="


def variant_value(value: str, variant: str) -> str:
    """Return the value of a variant's name; no name a sender chose holds an equals sign there."""
    return f"{variant_prefix(value)}{variant}"


def is_open(record: ObjectRecord) -> bool:
    """Tell whether a steward must still decide about a conflict."""
    return record.state is State.CONFLICT and record.decision is None


def refusal_of(record: ObjectRecord, holder: ObjectRecord | None, choice: Choice) -> str:
    """Return why a conflict cannot be decided so, '' when it can."""
    if record.state is not State.CONFLICT:
        return f"Object {record.object_id} is {record.state.value}, not in conflict."
    if choice is Choice.REPLACE and holder and holder.state is State.VERIFIED:
        return (
            f"Object {holder.object_id}, which would be replaced, is still being placed."
            " Decide again in a minute."
        )
    return ""


def release_refusal(record: ObjectRecord) -> str:
    """Return why an object cannot be inspected again, '' when it can."""
    if record.state is not State.QUARANTINED:
        return f"Object {record.object_id} is {record.state.value}, not in quarantine."
    if record.finding and record.finding.code in UNCHANGEABLE:
        return (
            f"Object {record.object_id} was refused for {record.finding.code.value}: looking again"
            " cannot find otherwise. It must be uploaded again."
        )
    return ""


@dataclass(frozen=True, slots=True)
class Compared:
    """One attribute of two objects; `identifying` values must not be shown unasked."""

    attribute: str
    stored: str
    arrived: str
    identifying: bool = False

    @property
    def is_equal(self) -> bool:
        """Whether both say the same."""
        return self.stored == self.arrived


def compare(stored: ObjectRecord, arrived: ObjectRecord) -> tuple[Compared, ...]:
    """Compare attribute by attribute: what they are, their bytes, their metadata, their subject."""
    facts = (_facts(stored), _facts(arrived))
    bytes_ = (_digests(stored), _digests(arrived))
    metadata = (dict(_flat(stored.metadata)), dict(_flat(arrived.metadata)))
    plain = [
        Compared(name, left.get(name, ""), right.get(name, ""))
        for left, right in (facts, bytes_, metadata)
        for name in _names(left, right)
    ]
    subject = [
        Compared(name, stored.subject.get(name, ""), arrived.subject.get(name, ""), True)
        for name in _names(stored.subject, arrived.subject)
    ]
    return (*plain, *subject)


def _facts(record: ObjectRecord) -> dict[str, str]:
    return {
        "arrived at": utc_text(record.arrived_at),
        "site": record.site,
        "source system": record.source_system,
        "upload batch": record.upload_batch,
        "size in bytes": str(record.size_bytes),
        "warnings": ", ".join(sorted({finding.code.value for finding in record.warnings})),
    }


def _digests(record: ObjectRecord) -> dict[str, str]:
    return {digest.algorithm.value: digest.value for digest in record.evidence}


def _names(*sides: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for side in sides for name in side))


def _flat(metadata: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str]]:
    for name, value in sorted(metadata.items()):
        if not under and name == STORAGE_FACTS:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{under}{name}", ", ".join(str(entry) for entry in value)
        else:
            yield f"{under}{name}", str(value)
