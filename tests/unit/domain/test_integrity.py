"""Digests: how they are written, who vouched, and what they prove."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.findings import Owner, ReasonCode
from forebay.domain.integrity import (
    DIGEST_BYTES,
    Algorithm,
    Digest,
    Witness,
    declared_in_metadata,
    judge,
    merged,
    normalise_digest,
    same_bytes,
)
from tests.unit.fakes import any_digest, any_hex, b64

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize("algorithm", Algorithm)
def test_hex_uppercase_and_base64_are_one_digest(algorithm: Algorithm) -> None:
    value = any_hex(2 * DIGEST_BYTES[algorithm])

    for text in (value, value.upper(), f" {value}\n", b64(value)):
        assert normalise_digest(algorithm, text) == value


@pytest.mark.parametrize(
    "text", ["", "x", MD5[:-1], f"{MD5}0", f"{MD5}-17", f"g{MD5[1:]}", "====", "é" * 32, f'"{MD5}"']
)
def test_what_is_no_digest_is_none(text: str) -> None:
    assert normalise_digest(Algorithm.MD5, text) is None


@given(st.sampled_from(Algorithm), st.text(max_size=200))
def test_any_text_is_a_digest_of_the_right_length_or_none(algorithm: Algorithm, text: str) -> None:
    value = normalise_digest(algorithm, text)

    assert value is None or len(bytes.fromhex(value)) == DIGEST_BYTES[algorithm]


@pytest.mark.parametrize("name", ["md5", "MD5", "Md5"])
def test_metadata_declares_by_name_in_any_case(name: str) -> None:
    digests, findings = declared_in_metadata({name: MD5.upper(), "source-system": "pacs"})

    assert digests == (Digest(Algorithm.MD5, MD5, Witness.SENDER_METADATA, f"x-amz-meta-{name}"),)
    assert not findings


@pytest.mark.parametrize("name", ["sha256", "sha-256", "SHA_256"])
def test_metadata_names_sha256_with_or_without_a_dash(name: str) -> None:
    digests, _ = declared_in_metadata({name: any_hex(64)})

    assert [d.algorithm for d in digests] == [Algorithm.SHA256]


def test_malformed_declaration_is_a_finding_that_does_not_repeat_it() -> None:
    digests, findings = declared_in_metadata({"md5": "Jane Doe"})

    assert not digests
    (finding,) = findings
    assert (finding.code, finding.owner) == (ReasonCode.DIGEST_MALFORMED, Owner.SENDER)
    assert finding.position == "x-amz-meta-md5"
    assert "Jane" not in str(finding)


def test_matching_evidence_convinces() -> None:
    proof = any_digest(algorithm=Algorithm.MD5, value=MD5)
    said = any_digest(algorithm=Algorithm.MD5, value=MD5, witness=Witness.SENDER_MANIFEST)

    judgement = judge([said], [any_digest(), proof])

    assert judgement.convincing == proof
    assert judgement.finding is None
    assert not judgement.missing


def test_one_wrong_declaration_convicts_among_right_ones() -> None:
    evidence = [any_digest(algorithm=a) for a in (Algorithm.MD5, Algorithm.SHA256)]
    right = any_digest(algorithm=Algorithm.MD5, value=evidence[0].value)
    wrong = any_digest(witness=Witness.SENDER_MANIFEST, source="object-1")

    finding = judge([right, wrong], evidence).finding

    assert finding
    assert finding.code is ReasonCode.DIGEST_MISMATCH
    assert finding.position == "object-1"
    assert finding.expected == f"sha256 {wrong.value}"
    assert finding.found == f"sha256 {evidence[1].value}"
    assert "checksum file" in finding.message


@pytest.mark.parametrize("order", [1, -1])
def test_evidence_that_contradicts_evidence_convicts(order: int) -> None:
    stored = any_digest(algorithm=Algorithm.MD5, value="a" * 32, witness=Witness.STORAGE)
    read = any_digest(algorithm=Algorithm.MD5, value="b" * 32, witness=Witness.FOREBAY)
    said = any_digest(algorithm=Algorithm.MD5, value="a" * 32, witness=Witness.SENDER_MANIFEST)

    judgement = judge([said], [stored, read][::order])

    assert judgement.finding
    assert judgement.convincing == read


def test_declaration_without_evidence_is_missing_not_wrong() -> None:
    said = any_digest(algorithm=Algorithm.SHA512)

    judgement = judge([said, said], [any_digest()])

    assert judgement.missing == (Algorithm.SHA512,)
    assert judgement.finding is None
    assert judgement.convincing is None


def test_nothing_declared_is_nothing_judged() -> None:
    judgement = judge([], [any_digest()])

    assert (judgement.finding, judgement.convincing, judgement.missing) == (None, None, ())


@pytest.mark.parametrize("algorithm", [Algorithm.CRC32, Algorithm.CRC32C])
def test_weak_crc_never_proves_sameness(algorithm: Algorithm) -> None:
    one = any_digest(algorithm=algorithm, witness=Witness.STORAGE)

    assert same_bytes([one], [one]) is None


@pytest.mark.parametrize("algorithm", [Algorithm.CRC32, Algorithm.CRC32C, Algorithm.SHA256])
def test_any_difference_proves_difference(algorithm: Algorithm) -> None:
    shared = any_digest(algorithm=Algorithm.MD5)
    one, two = any_digest(algorithm=algorithm, value="00"), any_digest(algorithm=algorithm)

    assert same_bytes([shared, one], [shared, two]) is False


@pytest.mark.parametrize("algorithm", [Algorithm.CRC64NVME, Algorithm.SHA256, Algorithm.MD5])
def test_strong_digest_proves_sameness(algorithm: Algorithm) -> None:
    one = any_digest(algorithm=algorithm)

    assert same_bytes([one], [one]) is True


def test_declarations_prove_nothing_about_sameness() -> None:
    said = any_digest(witness=Witness.SENDER_METADATA)

    assert same_bytes([said], [said]) is None


def test_without_a_shared_algorithm_nothing_is_known() -> None:
    assert same_bytes([any_digest()], [any_digest(algorithm=Algorithm.MD5)]) is None


def test_merging_keeps_order_and_drops_equals() -> None:
    one, two = any_digest(), any_digest(algorithm=Algorithm.MD5)

    assert merged([one, two], [one]) == (one, two)


@given(st.sampled_from(Algorithm), st.sampled_from(Witness), st.text(max_size=10))
def test_digest_survives_its_stored_shape(
    algorithm: Algorithm, witness: Witness, source: str
) -> None:
    digest = any_digest(algorithm=algorithm, witness=witness, source=source)

    assert Digest.from_dict(digest.as_dict()) == digest
