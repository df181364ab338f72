"""Signatures by a KMS key that never leaves KMS."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forebay.errors import ForebayError

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

P256_BYTES: Final = 32
_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02


@dataclass(frozen=True, slots=True)
class KmsSigner:
    """`services.ports.Signer` over an ECC_NIST_P256 key.

    Only the digest travels to KMS, so a receipt may be larger than the 4,096 bytes Sign takes.
    """

    client: "KMSClient"
    key_id: str

    def sign(self, data: bytes) -> bytes:
        """Return the ES256 signature of `data`: r and s, 32 bytes each."""
        answer = self.client.sign(
            KeyId=self.key_id,
            Message=hashlib.sha256(data).digest(),
            MessageType="DIGEST",
            SigningAlgorithm="ECDSA_SHA_256",
        )
        return raw_signature(answer["Signature"])


def raw_signature(der: bytes, size: int = P256_BYTES) -> bytes:
    """Return an ECDSA signature in DER (RFC 3279 section 2.2.3) as JWS has it: r then s.

    Raises ForebayError when it is not one: DER of a P-256 signature has one-byte lengths only.
    """
    r, s, end = 0, 0, -1
    if len(der) > 2 and der[0] == _SEQUENCE and der[1] == len(der) - 2:
        r, end = _integer(der, 2)
        s, end = _integer(der, end)
    if end != len(der) or max(r, s).bit_length() > 8 * size:
        raise ForebayError("KMS answered with something else than an ECDSA signature in DER")
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _integer(der: bytes, start: int) -> tuple[int, int]:
    """Return an integer and the position after it; (0, -1) when there is none."""
    if start < 0 or len(der) < start + 3 or der[start] != _INTEGER:
        return 0, -1
    end = start + 2 + der[start + 1]
    return int.from_bytes(der[start + 2 : end], "big"), end
