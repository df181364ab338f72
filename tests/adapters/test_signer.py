"""Signatures by KMS, in the form JOSE has them."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey

from forebay.adapters.signer import KmsSigner, raw_signature
from forebay.domain.receipts import signed, signing_input
from forebay.errors import ForebayError
from tests.adapters.conftest import Cloud
from tests.moto_kms import sign_digests_as_kms_does

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SCALARS = st.integers(1, P256_ORDER - 1)


@given(r=SCALARS, s=SCALARS)
def test_der_becomes_r_and_s_of_32_bytes_each(r: int, s: int) -> None:
    raw = raw_signature(encode_dss_signature(r, s))

    assert (int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")) == (r, s)
    assert len(raw) == 64


@pytest.mark.parametrize("r", [1, 127, 128, 255, 256, 2**255, P256_ORDER - 1])
def test_short_and_high_integers_are_padded(r: int) -> None:
    assert raw_signature(encode_dss_signature(r, 1)) == r.to_bytes(32, "big") + b"\0" * 31 + b"\1"


@given(st.binary(max_size=80))
def test_anything_else_is_refused_or_has_the_right_length(data: bytes) -> None:
    try:
        raw = raw_signature(data)
    except ForebayError:
        return
    assert len(raw) == 64


@given(r=SCALARS, s=SCALARS, cut=st.integers(1, 10))
def test_cut_off_der_is_refused(r: int, s: int, cut: int) -> None:
    with pytest.raises(ForebayError, match="DER"):
        raw_signature(encode_dss_signature(r, s)[:-cut])


def test_kms_signs_what_the_public_key_verifies(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cloud.name == "moto":
        sign_digests_as_kms_does(monkeypatch)
    kms = cloud.client("kms")
    key_id = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    signer = KmsSigner(kms, key_id)
    # Larger than the 4,096 bytes that Sign takes as a message.
    text = signing_input({"objects": ["x" * 10_000]}, signer.key_id)

    receipt = signed(text, signer.sign(text))

    der = kms.get_public_key(KeyId=key_id)["PublicKey"]
    public = serialization.load_der_public_key(der)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    registry = jws.JWSRegistry(algorithms=["ES256"])
    registry.max_payload_length = len(receipt)
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    found = jws.deserialize_compact(receipt, ECKey.import_key(pem), registry=registry)
    assert found.headers()["kid"] == key_id
