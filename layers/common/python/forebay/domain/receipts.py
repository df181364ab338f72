"""Safe-to-delete receipts: what a site may delete its local copy on.

A receipt is a JWS in compact form (RFC 7515) signed with ES256 (RFC 7518 section 3.4), so that any
JOSE library verifies it; its payload is canonical JSON. It names files by the keys their sender
gave them: the sender knows them, and needs them to find the files. Receipts are therefore kept in
the encrypted ledger and never logged.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from forebay.domain.integrity import Digest, judge, same_bytes
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State

UPLOAD_BATCH_METADATA: Final = "upload-batch"
"""User metadata by which a sender names what it uploads together."""
RECEIPT_SCHEMA_VERSION: Final = 1
RECEIPT_ALGORITHM: Final = "ES256"
RECEIPT_TYPE: Final = "forebay-receipt+jws"


class ReplicaState(StrEnum):
    """How far the second copy is."""

    NOT_CONFIGURED = "not-configured"
    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    DIFFERENT = "different"
    """Storage has a replica with another checksum."""


class Basis(StrEnum):
    """Why an object's local copy may be deleted, or must not be."""

    STORED = "STORED"
    DUPLICATE_STORED = "DUPLICATE_STORED"
    NO_SENDER_DIGEST = "NO_SENDER_DIGEST"
    """All is well but the link to the sender's file, which `verify --files` can prove."""
    IN_FLIGHT = "IN_FLIGHT"
    AWAITING_DIGEST = "AWAITING_DIGEST"
    REFUSED = "REFUSED"
    CONFLICT = "CONFLICT"
    IGNORED = "IGNORED"
    SUPERSEDED = "SUPERSEDED"
    REMOVED = "REMOVED"
    ORIGINAL_UNSAFE = "ORIGINAL_UNSAFE"
    ORIGINAL_DIFFERS = "ORIGINAL_DIFFERS"
    MISSING = "MISSING"
    HIDDEN = "HIDDEN"
    CHANGED = "CHANGED"
    REPLICA_PENDING = "REPLICA_PENDING"
    REPLICA_FAILED = "REPLICA_FAILED"


SAFE: Final = frozenset({Basis.STORED, Basis.DUPLICATE_STORED})

SENTENCES: Final[dict[Basis, str]] = {
    Basis.STORED: "The stored bytes are those the sender declared.",
    Basis.DUPLICATE_STORED: (
        "The same bytes had arrived before and are stored; they are those the sender declared."
    ),
    Basis.NO_SENDER_DIGEST: (
        "The bytes that arrived are stored, but the sender declared no digest that could be"
        " compared: delete the local file only if it has one of the digests named here."
    ),
    Basis.IN_FLIGHT: "It is still being checked and placed; ask for another receipt later.",
    Basis.AWAITING_DIGEST: "It waits for its checksum file; send that, then ask again.",
    Basis.REFUSED: "It was refused; see the reason code and send the file again, correctly.",
    Basis.CONFLICT: "Another object holds its identity with other bytes; a data steward decides.",
    Basis.IGNORED: "It holds no data, so nothing of it was kept.",
    Basis.SUPERSEDED: "A data steward replaced it by another object; ask which one to keep.",
    Basis.REMOVED: "It was removed from storage after it had arrived.",
    Basis.ORIGINAL_UNSAFE: (
        "It is a duplicate of an object that is not safely stored itself; ask again later."
    ),
    Basis.ORIGINAL_DIFFERS: (
        "It was taken for a duplicate, but no digest proves that the stored object is the same."
    ),
    Basis.MISSING: "The catalog says it is stored, but storage does not have it.",
    Basis.HIDDEN: "Storage has it only as an old version: it was deleted or replaced there.",
    Basis.CHANGED: "The checksum storage has now is not the one that was verified.",
    Basis.REPLICA_PENDING: "Its second copy is not made yet; ask for another receipt later.",
    Basis.REPLICA_FAILED: "Its second copy failed or differs; the platform's engineers must act.",
}

_BY_STATE: Final = {
    State.RECEIVED: Basis.IN_FLIGHT,
    State.VERIFIED: Basis.IN_FLIGHT,
    State.AWAITING_DIGEST: Basis.AWAITING_DIGEST,
    State.QUARANTINED: Basis.REFUSED,
    State.CONFLICT: Basis.CONFLICT,
    State.IGNORED: Basis.IGNORED,
    State.SUPERSEDED: Basis.SUPERSEDED,
    State.EXPIRED: Basis.REMOVED,
    State.DELETED: Basis.REMOVED,
}


@dataclass(frozen=True, slots=True)
class Holding:
    """What storage says right now of the placed version of an object.

    `basis` is STORED, or what is wrong with it; `checksums` and `composite` are storage's own.
    """

    basis: Basis
    version_id: str = ""
    checksums: tuple[Digest, ...] = ()
    composite: str = ""
    replica: ReplicaState = ReplicaState.NOT_CONFIGURED
    replica_checksums: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """One object of a receipt."""

    record: ObjectRecord
    basis: Basis
    holding: Holding | None = None

    @property
    def is_safe(self) -> bool:
        """Whether the sender may delete its copy."""
        return self.basis in SAFE

    def document(self) -> dict[str, Any]:
        """Return the line as JSON data."""
        record, holding = self.record, self.holding
        rechecked = record.rechecked_at
        return {
            "object_id": record.object_id,
            "key": record.location.key,
            "version_id": record.location.version_id,
            "size_bytes": record.size_bytes,
            "arrived_at": _text(record.arrived_at),
            "sender_digests": _digests(record.declared),
            "verified_digests": _digests(record.evidence),
            "composite_checksum": record.composite_checksum,
            "state": record.state.value,
            "reason_code": record.finding.code.value if record.finding else "",
            "catalog_version": record.version,
            "original_id": record.original_id,
            "stored": _stored(holding) if holding and holding.version_id else None,
            "replica": {
                "state": (holding.replica if holding else ReplicaState.NOT_CONFIGURED).value,
                "checksums": _digests(holding.replica_checksums if holding else ()),
            },
            "last_recheck": _text(rechecked) if rechecked else "",
            "safe_to_delete": self.is_safe,
            "basis": self.basis.value,
            "reason": SENTENCES[self.basis],
        }


def replica_basis(state: ReplicaState) -> Basis:
    """Return what a replica's state means for the sender: where there is to be one, it must be."""
    if state is ReplicaState.PENDING:
        return Basis.REPLICA_PENDING
    if state in (ReplicaState.FAILED, ReplicaState.DIFFERENT):
        return Basis.REPLICA_FAILED
    return Basis.STORED


def basis_of(record: ObjectRecord, original: ObjectRecord | None, holding: Holding | None) -> Basis:
    """Decide about one object.

    `original` is what a duplicate duplicates; `holding` is that of the object whose bytes are
    stored: the original's for a duplicate, else its own. None when there is none.
    """
    stored, found = record, Basis.STORED
    if record.state is State.DUPLICATE:
        if original is None or original.state is not State.PLACED:
            return Basis.ORIGINAL_UNSAFE
        if same_bytes(record.evidence, original.evidence) is not True:
            return Basis.ORIGINAL_DIFFERS
        stored, found = original, Basis.DUPLICATE_STORED
    if stored.state is not State.PLACED:
        return _BY_STATE[stored.state]
    if holding is None:
        return Basis.MISSING
    if holding.basis is not Basis.STORED:
        return holding.basis
    return found if _is_confirmed(record) else Basis.NO_SENDER_DIGEST


def receipt_document(
    lines: Iterable[ReceiptLine], *, deployment: str, site: str, batch: str, issued_at: datetime
) -> dict[str, Any]:
    """Return the payload of a receipt; it is safe when every object is, and there is one."""
    objects = sorted((line.document() for line in lines), key=lambda each: each["object_id"])
    return {
        "schema_version": RECEIPT_SCHEMA_VERSION,
        "deployment": deployment,
        "site": site,
        "batch": batch,
        "issued_at": _text(issued_at),
        "objects": objects,
        "size_bytes": sum(each["size_bytes"] for each in objects),
        "safe_to_delete": bool(objects) and all(each["safe_to_delete"] for each in objects),
    }


def signing_input(document: dict[str, Any], key_id: str, *, typ: str = RECEIPT_TYPE) -> bytes:
    """Return what is signed: protected header and payload (RFC 7515 section 5.1)."""
    header = {"alg": RECEIPT_ALGORITHM, "kid": key_id, "typ": typ}
    return b".".join((_encoded(canonical_json(header)), _encoded(canonical_json(document))))


def signed(signing_input: bytes, signature: bytes) -> bytes:
    """Return the receipt: a JWS in compact form."""
    return b".".join((signing_input, _encoded(signature)))


def canonical_json(data: object) -> bytes:
    """Return JSON with sorted keys and no spaces (RFC 8785, for the texts and integers used)."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _is_confirmed(record: ObjectRecord) -> bool:
    judgement = judge(record.declared, record.evidence)
    return judgement.convincing is not None and judgement.finding is None


def _stored(holding: Holding) -> dict[str, Any]:
    return {
        "version_id": holding.version_id,
        "checksums": _digests(holding.checksums),
        "composite": holding.composite,
    }


def _digests(digests: Iterable[Digest]) -> list[dict[str, str]]:
    """Return digests without their sources, which may be names of files."""
    return [
        {"algorithm": d.algorithm.value, "value": d.value, "witness": d.witness.value}
        for d in digests
    ]


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
