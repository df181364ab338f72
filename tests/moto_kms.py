"""What moto's KMS lacks: it takes a digest for a message and hashes it again."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed


def sign_digests_as_kms_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Sign` with MessageType DIGEST sign the digest it is given."""

    def sign(self: Any, message: bytes, signing_algorithm: str) -> bytes:
        assert signing_algorithm == "ECDSA_SHA_256"
        signature: bytes = self.private_key.sign(message, ec.ECDSA(Prehashed(hashes.SHA256())))
        return signature

    monkeypatch.setattr("moto.kms.utils.ECDSAPrivateKey.sign", sign)
