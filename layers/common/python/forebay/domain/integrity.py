"""Digests, who vouched for them, and whether they agree (architecture §6)."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from forebay.domain.findings import Finding, Owner, ReasonCode


class Algorithm(StrEnum):
    """Digest and checksum algorithms, by the names S3 and coreutils use in lower case."""

    MD5 = "md5"
    SHA1 = "sha1"
    SHA224 = "sha224"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"
    CRC32 = "crc32"
    CRC32C = "crc32c"
    CRC64NVME = "crc64nvme"


DIGEST_BYTES: Final[dict[Algorithm, int]] = {
    Algorithm.MD5: 16,
    Algorithm.SHA1: 20,
    Algorithm.SHA224: 28,
    Algorithm.SHA256: 32,
    Algorithm.SHA384: 48,
    Algorithm.SHA512: 64,
    Algorithm.CRC32: 4,
    Algorithm.CRC32C: 4,
    Algorithm.CRC64NVME: 8,
}


CRYPTOGRAPHIC: Final = (
    Algorithm.MD5,
    Algorithm.SHA1,
    Algorithm.SHA256,
    Algorithm.SHA512,
    Algorithm.SHA224,
    Algorithm.SHA384,
)
"""Those whose digests are long enough to be known by their length, from the most usual."""


class Witness(StrEnum):
    """Who vouched for a digest."""

    SENDER_METADATA = "sender-metadata"
    """`x-amz-meta-<algorithm>` on the object."""
    SENDER_MANIFEST = "sender-manifest"
    """A sidecar or manifest file."""
    STORAGE = "storage"
    """S3's own full-object checksum, verified by S3 at upload."""
    FOREBAY = "forebay"
    """Computed by Forebay while reading the object."""


EVIDENCE: Final = frozenset({Witness.STORAGE, Witness.FOREBAY})
"""Witnesses that saw the stored bytes; the others only claim to know them."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest of the whole stored object: lower-case hex, and who vouched for it.

    `source` says where a declaration was found: the key of a checksum file, or a header's name.
    """

    algorithm: Algorithm
    value: str
    witness: Witness
    source: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON shape stored in the catalog."""
        return {
            "algorithm": self.algorithm.value,
            "value": self.value,
            "witness": self.witness.value,
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a digest from `as_dict`."""
        return cls(
            Algorithm(data["algorithm"]),
            data["value"],
            Witness(data["witness"]),
            data.get("source", ""),
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome of comparing declarations with evidence.

    `convincing` is the evidence that settled it; `finding` is set when a declaration is wrong;
    `missing` lists algorithms that were declared and for which no evidence was available yet.
    """

    finding: Finding | None = None
    convincing: Digest | None = None
    missing: tuple[Algorithm, ...] = ()


_ALGORITHM_NAMES: Final = frozenset(algorithm.value for algorithm in Algorithm)
_HEX: Final = re.compile(r"[0-9a-fA-F]+")


def normalise_digest(algorithm: Algorithm, text: str) -> str | None:
    """Return a digest given in hex or base64 as lower-case hex, None when it is neither."""
    text = text.strip()
    size = DIGEST_BYTES[algorithm]
    if len(text) == 2 * size and _HEX.fullmatch(text):
        return text.lower()
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == size else None


def declared_in_metadata(
    metadata: Mapping[str, str],
) -> tuple[tuple[Digest, ...], tuple[Finding, ...]]:
    """Return the digests a sender declared as `x-amz-meta-<algorithm>`, and what was unreadable.

    `metadata` is S3 user metadata without the `x-amz-meta-` prefix; names in any case.
    """
    digests: list[Digest] = []
    findings: list[Finding] = []
    for name, text in metadata.items():
        plain = name.lower().replace("-", "").replace("_", "")
        if plain not in _ALGORITHM_NAMES:
            continue
        algorithm = Algorithm(plain)
        value = normalise_digest(algorithm, text)
        if value is None:
            findings.append(
                Finding(
                    code=ReasonCode.DIGEST_MALFORMED,
                    message=(
                        f"The upload declares a {algorithm.value} digest in x-amz-meta-{name} that"
                        " is neither hex nor base64 of the right length; upload it again with a"
                        " correct one."
                    ),
                    owner=Owner.SENDER,
                    position=f"x-amz-meta-{name}",
                    expected=f"{2 * DIGEST_BYTES[algorithm]} hex digits, or base64",
                    found=f"{len(text)} characters",
                )
            )
        else:
            digests.append(Digest(algorithm, value, Witness.SENDER_METADATA, f"x-amz-meta-{name}"))
    return tuple(digests), tuple(findings)


def judge(declared: Iterable[Digest], evidence: Iterable[Digest]) -> Judgement:
    """Compare what senders declared with what storage and Forebay know.

    A declaration that any evidence contradicts convicts; one for which there is no evidence of the
    same algorithm is reported in `missing`, so that the caller can decide to read the object.
    """
    known: dict[Algorithm, list[Digest]] = {}
    for digest in evidence:
        known.setdefault(digest.algorithm, []).append(digest)
    convincing: Digest | None = None
    missing: list[Algorithm] = []
    for declaration in declared:
        proofs = known.get(declaration.algorithm, ())
        for proof in proofs:
            if proof.value != declaration.value:
                return Judgement(finding=_mismatch(declaration, proof), convincing=proof)
            convincing = convincing or proof
        if not proofs:
            missing.append(declaration.algorithm)
    return Judgement(convincing=convincing, missing=tuple(dict.fromkeys(missing)))


def merged(*groups: Iterable[Digest]) -> tuple[Digest, ...]:
    """Return all digests once each, in order; the later of equal ones is dropped."""
    return tuple(dict.fromkeys(digest for group in groups for digest in group))


def same_bytes(ours: Iterable[Digest], theirs: Iterable[Digest]) -> bool | None:
    """Tell whether two objects hold the same bytes; None when what is known cannot decide.

    One differing digest is enough to say no. A 32-bit CRC alone is never enough to say yes: by it
    one changed object in four thousand million would be thrown away as a duplicate.
    """
    left = {d.algorithm: d.value for d in ours if d.witness in EVIDENCE}
    right = {d.algorithm: d.value for d in theirs if d.witness in EVIDENCE}
    shared = left.keys() & right.keys()
    if any(left[algorithm] != right[algorithm] for algorithm in shared):
        return False
    return True if shared - _WEAK else None


_WEAK: Final = frozenset({Algorithm.CRC32, Algorithm.CRC32C})


def _mismatch(declaration: Digest, proof: Digest) -> Finding:
    said_by = {
        Witness.SENDER_METADATA: "the upload's own metadata",
        Witness.SENDER_MANIFEST: "the sender's checksum file",
    }.get(declaration.witness, declaration.witness.value)
    name = declaration.algorithm.value
    return Finding(
        code=ReasonCode.DIGEST_MISMATCH,
        message=(
            f"The {name} of the file's bytes is not the one in {said_by}: the file was changed or"
            " damaged on its way, or the checksum belongs to another file. Compare with the"
            " original and upload it again."
        ),
        owner=Owner.SENDER,
        position=declaration.source.rpartition("/")[2],
        expected=f"{name} {declaration.value}",
        found=f"{name} {proof.value}",
    )
