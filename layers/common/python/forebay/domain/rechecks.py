"""Integrity over time: which stored objects to read again, and what their bytes then say."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from random import Random
from typing import Any, Final

from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.integrity import Algorithm, Digest, same_bytes
from forebay.domain.objects import Location, ObjectRecord

SAMPLE_SHARE: Final = 0.1
"""Part of the budget that reads at random, so that no place in the queue is a hiding place."""

DAMAGED: Final = frozenset({ReasonCode.STORED_BYTES_CHANGED, ReasonCode.STORED_BYTES_MISSING})
"""Reasons that are about the stored copy: it is not worth a copy in quarantine."""

_ARCHIVE_TIERS: Final = frozenset(
    {"GLACIER", "DEEP_ARCHIVE", "ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"}
)
_RESTORED: Final = "restored"
_PREFERRED: Final = (
    Algorithm.SHA256,
    Algorithm.SHA512,
    Algorithm.SHA1,
    Algorithm.MD5,
    Algorithm.CRC64NVME,
)


@dataclass(frozen=True, slots=True)
class LastCheck:
    """One stored object in the queue for rechecks: when its bytes were last known to be right."""

    at: datetime
    object_id: str
    size_bytes: int


class Bytes(StrEnum):
    """What is left of an object's stored bytes."""

    EQUAL = "equal"
    CHANGED = "changed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at stored bytes showed; `read_bytes` is 0 when only storage was asked.

    `is_proof` tells that a strong digest of the evidence was among what agreed.
    """

    bytes: Bytes
    digests: tuple[Digest, ...] = ()
    size_bytes: int = 0
    read_bytes: int = 0
    is_proof: bool = False


def pick(
    oldest_first: Iterable[LastCheck], budget_bytes: int, chance: Random
) -> Iterator[LastCheck]:
    """Choose what to read with a budget, in order, until something does not fit.

    What does not fit now is first in the next run. An object larger than the whole budget is read
    alone, with the probability budget / size: over many runs the budget holds, and none is left
    out.
    """
    left = budget_bytes
    for candidate in oldest_first:
        if candidate.size_bytes > budget_bytes:
            if left == budget_bytes and chance.random() * candidate.size_bytes < budget_bytes:
                yield candidate
                return
        elif candidate.size_bytes > left:
            return
        else:
            left -= candidate.size_bytes
            yield candidate


def is_readable(record: ObjectRecord) -> bool:
    """Tell whether storage would let the placed copy be read now, by what its events said.

    What lies in an archive tier must be restored first, which costs money and takes hours: it is
    rechecked when somebody restores it, or brings it back.
    """
    facts: Mapping[str, Any] = record.metadata.get(STORAGE_FACTS, {})
    tiers = {facts.get(name, {}).get("value", "") for name in ("storage_class", "access_tier")}
    is_restored = facts.get("restore", {}).get("value") == _RESTORED
    return is_restored or not tiers & _ARCHIVE_TIERS


def algorithms_to_read(
    record: ObjectRecord, can_compute: Callable[[Algorithm], bool]
) -> tuple[Algorithm, ...]:
    """Return one strong algorithm of the evidence; where there is none, SHA-256 as a beginning."""
    known = {d.algorithm for d in record.evidence if can_compute(d.algorithm)}
    strong = next((algorithm for algorithm in _PREFERRED if algorithm in known), None)
    if strong is not None:
        return (strong,)
    return (*(algorithm for algorithm in Algorithm if algorithm in known), Algorithm.SHA256)


def read_as(
    record: ObjectRecord,
    *,
    size_bytes: int,
    digests: tuple[Digest, ...],
    composite: str = "",
    read_bytes: int = 0,
) -> Reading:
    """Compare what storage holds now with the record's evidence.

    `composite` is storage's checksum of parts, if that is what it has. Of strong and weak digests
    one that differs convicts; where nothing can be compared, the size alone speaks.
    """
    agree = same_bytes(digests, record.evidence)
    both = bool(composite) and bool(record.composite_checksum)
    same_parts = composite == record.composite_checksum
    differs = size_bytes != record.size_bytes or agree is False or (both and not same_parts)
    return Reading(
        Bytes.CHANGED if differs else Bytes.EQUAL,
        digests,
        size_bytes,
        read_bytes,
        is_proof=not differs and (agree is True or (both and same_parts)),
    )


def first_strong(record: ObjectRecord, reading: Reading) -> tuple[Digest, ...]:
    """Return digests this reading is the first to vouch for: later ones are compared with them."""
    return tuple(d for d in reading.digests if not record.digest(d.algorithm))


def finding_of(
    record: ObjectRecord, reading: Reading, *, healed_from: str = "", copy: Location | None = None
) -> Finding:
    """Say that a stored copy is damaged; with `healed_from`, where whole bytes were found.

    With `copy` it says which version is meant, so that the same is not said again.
    """
    place = "copy in quarantine" if copy and copy == record.held else "zone's copy"
    where = f"the {place} of object {record.object_id}"
    if reading.bytes is Bytes.MISSING:
        what = f"The bytes of {where} are not in storage any more"
    else:
        what = f"The bytes of {where} are not those that were verified when it arrived"
    next_step = (
        f"it was replaced by a whole copy from {healed_from}. Find out what did it."
        if healed_from
        else "no whole copy was found. Ask the sender to upload it again, and find out what did it."
    )
    is_missing = reading.bytes is Bytes.MISSING
    expected, found = _difference(record, reading)
    return Finding(
        code=ReasonCode.STORED_BYTES_MISSING if is_missing else ReasonCode.STORED_BYTES_CHANGED,
        message=f"{what}; {next_step}",
        owner=Owner.PLATFORM,
        position=_position(copy) if copy else "",
        expected=expected,
        found=found,
    )


def is_noted(record: ObjectRecord, copy: Location) -> bool:
    """Tell whether a record says already that this very copy of its object is damaged."""
    position = _position(copy)
    return any(w.code in DAMAGED and w.position == position for w in record.warnings)


def _position(copy: Location) -> str:
    return f"version {copy.version_id}"


def _difference(record: ObjectRecord, reading: Reading) -> tuple[str, str]:
    for digest in reading.digests:
        known = record.digest(digest.algorithm)
        if known and known != digest.value:
            name = digest.algorithm.value
            return f"{name} {known}", f"{name} {digest.value}"
    if reading.bytes is Bytes.MISSING:
        return f"{record.size_bytes} bytes", "nothing"
    return f"{record.size_bytes} bytes", f"{reading.size_bytes} bytes"
