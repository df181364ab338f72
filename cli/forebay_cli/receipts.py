"""Checking a receipt without any cloud: its signature, and the local files it speaks of.

Nothing here imports boto3: a site verifies on whatever machine holds the public key.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey

from forebay.domain.integrity import Algorithm, Digest, Witness, same_bytes
from forebay.domain.policy.disposition import CERTIFICATE_TYPE, DISPOSITION_SCHEMA_VERSION
from forebay.domain.receipts import (
    RECEIPT_ALGORITHM,
    RECEIPT_SCHEMA_VERSION,
    RECEIPT_TYPE,
    SAFE,
    Basis,
)
from forebay.formats.digests import can_compute, digest_chunks

_COMPACT: Final = re.compile(rb"([\w-]+)\.([\w-]+)\.([\w-]{86})", re.ASCII)
_CHUNK_BYTES: Final = 1 << 20
_PROVABLE: Final = SAFE | {Basis.NO_SENDER_DIGEST}
"""With these, a local file of the same bytes may go."""


class ReceiptError(click.ClickException):
    """A receipt or its key is not what it must be: bad input, exit code 1."""


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """A receipt whose signature is that of the key it was verified with."""

    key_id: str
    document: Mapping[str, Any]

    @property
    def objects(self) -> tuple[Mapping[str, Any], ...]:
        """One entry per object of the batch."""
        return tuple(self.document["objects"])

    @property
    def is_safe(self) -> bool:
        """Whether every object of the batch is safely stored."""
        return bool(self.document["safe_to_delete"])


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One local file: whether the receipt covers its deletion, by which object, and why."""

    path: Path
    is_covered: bool
    why: str
    object_id: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """A kind of signed document: what it is called, its type and version, and how it is fetched."""

    name: str
    typ: str
    version: int
    fetched_by: str


RECEIPT: Final = Signed("receipt", RECEIPT_TYPE, RECEIPT_SCHEMA_VERSION, "forebay receipt get")
CERTIFICATE: Final = Signed(
    "certificate",
    CERTIFICATE_TYPE,
    DISPOSITION_SCHEMA_VERSION,
    "forebay dispose certificate",
)


def verify_receipt(data: bytes, public_key: bytes) -> VerifiedReceipt:
    """Verify a receipt with a public key in PEM.

    Raises:
        ReceiptError: the receipt is cut off, changed, of another key or of a newer version.
    """
    return VerifiedReceipt(*verify_signed(data, public_key, RECEIPT))


def verify_signed(data: bytes, public_key: bytes, kind: Signed) -> tuple[str, dict[str, Any]]:
    """Return the key's id and what a document of a kind says, verified with a public key in PEM.

    Raises:
        ReceiptError: it is cut off, changed, of another key, another kind or a newer version.
    """
    compact = _COMPACT.fullmatch(data.removesuffix(b"\n"))
    if compact is None or not _is_canonical(compact[3]):
        raise ReceiptError(
            f"This is not a whole {kind.name}: it was cut off, or it is another kind of file."
            f" Fetch it again: {kind.fetched_by}."
        )
    registry = jws.JWSRegistry(algorithms=[RECEIPT_ALGORITHM])
    # The library's bounds are those of web tokens; a receipt has a line per object.
    registry.max_payload_length = len(data)
    try:
        found = jws.deserialize_compact(compact[0], _key(public_key), registry=registry)
    except BadSignatureError:
        raise ReceiptError(
            f"The signature does not fit: the {kind.name} was changed after it was issued, or it"
            " was signed with another key. Delete nothing on it."
        ) from None
    except (JoseError, ValueError) as exc:
        raise ReceiptError(
            f"The {kind.name} cannot be read ({exc}): it was changed after it was issued."
            " Delete nothing on it."
        ) from None
    return _understood(found, kind)


def check_files(receipt: VerifiedReceipt, paths: Iterable[Path]) -> Iterator[CheckedFile]:
    """Say of each local file whether it may be deleted, by digests computed from it now."""
    by_size: dict[int, list[Mapping[str, Any]]] = {}
    for entry in receipt.objects:
        by_size.setdefault(entry["size_bytes"], []).append(entry)
    for path in paths:
        yield _checked(path, by_size)


def files_under(folder: Path) -> list[Path]:
    """Return every file that would go with a folder, hidden ones and links too."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _checked(path: Path, by_size: Mapping[int, list[Mapping[str, Any]]]) -> CheckedFile:
    if path.is_symlink() or not path.is_file():
        return CheckedFile(path, is_covered=False, why="It is not a plain file.")
    candidates = {
        entry["object_id"]: _digests(entry) for entry in by_size.get(path.stat().st_size, [])
    }
    wanted = {d.algorithm for digests in candidates.values() for d in digests}
    computed = _computed(path, wanted) if wanted else ()
    same = {each for each, digests in candidates.items() if same_bytes(computed, digests)}
    found = [e for e in by_size.get(path.stat().st_size, []) if e["object_id"] in same]
    for entry in found:
        if Basis(entry["basis"]) in _PROVABLE:
            why = "Its bytes are stored."
            return CheckedFile(path, is_covered=True, why=why, object_id=entry["object_id"])
    if found:
        return CheckedFile(
            path, is_covered=False, why=found[0]["reason"], object_id=found[0]["object_id"]
        )
    return CheckedFile(path, is_covered=False, why="No object of this receipt has its bytes.")


def _computed(path: Path, wanted: Iterable[Algorithm]) -> tuple[Digest, ...]:
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
        return digest_chunks(chunks, [each for each in wanted if can_compute(each)])[0]


def _digests(entry: Mapping[str, Any]) -> tuple[Digest, ...]:
    return tuple(
        Digest(Algorithm(each["algorithm"]), each["value"], Witness(each["witness"]))
        for each in entry["verified_digests"]
    )


def _understood(found: jws.CompactSignature, kind: Signed) -> tuple[str, dict[str, Any]]:
    header = found.headers()
    document = json.loads(found.payload)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if header.get("typ") != kind.typ or version is None:
        raise ReceiptError(f"The signature is good, but what it signs is not a {kind.name}.")
    if version != kind.version:
        raise ReceiptError(
            f"The {kind.name} is of version {version}, which this forebay does not know:"
            " upgrade it."
        )
    return str(header.get("kid", "")), document


def _key(public_key: bytes) -> ECKey:
    try:
        key = load_pem_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ReceiptError(
            "The key is not a P-256 public key in PEM. Fetch it: forebay receipt key -o public.pem"
        )
    return ECKey.import_key(public_key)


def _is_canonical(signature: bytes) -> bool:
    """Tell whether no bit of the last character is idle: else two texts were one signature."""
    raw = base64.urlsafe_b64decode(signature + b"==")
    return base64.urlsafe_b64encode(raw).rstrip(b"=") == signature
