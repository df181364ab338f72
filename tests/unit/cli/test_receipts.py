"""Receipts are verified with a key and nothing else, and believed only when whole and genuine."""

import hashlib
import io
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.integrity import Algorithm
from forebay.domain.receipts import signed, signing_input
from forebay_cli.main import main
from forebay_cli.receipts import ReceiptError, check_files, files_under, verify_receipt
from forebay_cli.target import Target
from tests.unit.fakes import FakeSigner, any_dicom_body
from tests.unit.world import World

BATCH = "run7"
BODIES = {f"{number}.dcm": any_dicom_body() for number in range(3)}


@cache
def world() -> World:
    """Give a world that holds a batch of three instances."""
    made = World()
    send(made, BODIES)
    return made


def send(world: World, bodies: dict[str, bytes], **metadata: str) -> None:
    for name, body in bodies.items():
        digest = {"sha256": hashlib.sha256(body).hexdigest()}
        how = {"upload-batch": BATCH, **digest, **metadata}
        world.image(body, f"site-a/{name}", metadata=how, checksum=Algorithm.SHA256)
    world.run()


def issue(world: World) -> bytes:
    receipt = world.issue_receipt("site-a", BATCH)
    assert receipt
    return receipt.jws


@cache
def whole() -> tuple[bytes, bytes]:
    """Return a receipt and its public key."""
    return issue(world()), world().signer.public_pem()


def test_genuine_receipt_is_understood() -> None:
    found = verify_receipt(*whole())

    assert found.is_safe
    assert found.key_id == FakeSigner.key_id
    assert {entry["key"] for entry in found.objects} == {f"site-a/{name}" for name in BODIES}


def test_newline_an_editor_added_does_no_harm() -> None:
    data, key = whole()

    assert verify_receipt(data + b"\n", key).is_safe


@given(st.data())
def test_no_single_changed_byte_passes(data: st.DataObject) -> None:
    jws, key = whole()
    at = data.draw(st.integers(0, len(jws) - 1), label="at")
    byte = data.draw(st.integers(0, 255).filter(lambda each: each != jws[at]), label="byte")

    with pytest.raises(ReceiptError):
        verify_receipt(jws[:at] + bytes([byte]) + jws[at + 1 :], key)


@pytest.mark.parametrize("byte", range(256))
def test_no_other_last_byte_passes(byte: int) -> None:
    # Four bits of the last character mean nothing to a lenient decoder.
    jws, key = whole()
    if byte == jws[-1]:
        return

    with pytest.raises(ReceiptError):
        verify_receipt(jws[:-1] + bytes([byte]), key)


@given(st.data())
def test_no_cut_off_receipt_passes(data: st.DataObject) -> None:
    jws, key = whole()
    length = data.draw(st.integers(0, len(jws) - 1))

    with pytest.raises(ReceiptError):
        verify_receipt(jws[:length], key)


def test_another_key_does_not_fit() -> None:
    with pytest.raises(ReceiptError, match="signature does not fit"):
        verify_receipt(whole()[0], FakeSigner().public_pem())


def pem_of(kind: str) -> bytes:
    pem, public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(pem, public)
    if kind == "private":
        secret, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return world().signer.private_key.private_bytes(pem, secret, plain)
    return b"-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize("kind", ["p384", "private", "broken"])
def test_what_is_no_p256_public_key_is_refused_with_advice(kind: str) -> None:
    with pytest.raises(ReceiptError, match="forebay receipt key"):
        verify_receipt(whole()[0], pem_of(kind))


def resigned(document: Any, header: dict[str, str] | None = None) -> bytes:
    signer = world().signer
    text = signing_input(document, signer.key_id)
    if header:
        # A payload is written as a header is.
        text = signing_input(header, "").split(b".")[1] + b"." + text.split(b".")[1]
    return signed(text, signer.sign(text))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "forebay-receipt+jws"},
        {"alg": "HS256", "typ": "forebay-receipt+jws"},
        {"alg": "ES256", "typ": "JWT"},
    ],
)
def test_other_algorithms_and_other_signed_things_are_no_receipts(header: dict[str, str]) -> None:
    document = verify_receipt(*whole()).document

    with pytest.raises(ReceiptError):
        verify_receipt(resigned(document, header), whole()[1])


def test_receipt_of_a_newer_version_asks_for_an_upgrade() -> None:
    document = {**verify_receipt(*whole()).document, "schema_version": 2}

    with pytest.raises(ReceiptError, match="upgrade"):
        verify_receipt(resigned(document), whole()[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the sender's folder, key and receipt."""
    (tmp_path / "files" / "deep").mkdir(parents=True)
    for name, body in BODIES.items():
        (tmp_path / "files" / "deep" / f"local-name-of-{name}").write_bytes(body)
    (tmp_path / "r.jws").write_bytes(whole()[0])
    (tmp_path / "public.pem").write_bytes(whole()[1])
    return tmp_path


def run(*arguments: object) -> click.testing.Result:
    return CliRunner().invoke(main, ["receipt", *map(str, arguments)])


def verify(folder: Path, *more: object) -> click.testing.Result:
    return run("verify", folder / "r.jws", "--key", folder / "public.pem", *more)


def test_verify_says_that_all_may_go(folder: Path) -> None:
    result = verify(folder, "--files", folder / "files")

    assert result.exit_code == 0, result.output
    assert "yes, all of it" in result.stdout
    assert "3 of 3 local files may be deleted." in result.stdout


@pytest.mark.parametrize("harm", ["changed", "grown", "new", "link"])
def test_local_file_the_receipt_does_not_speak_of_is_to_be_kept(folder: Path, harm: str) -> None:
    first = folder / "files" / "deep" / "local-name-of-0.dcm"
    if harm == "changed":
        first.write_bytes(first.read_bytes()[:-1] + b"?")
    elif harm == "grown":
        first.write_bytes(first.read_bytes() + b"?")
    elif harm == "new":
        (folder / "files" / ".hidden").write_bytes(b"never sent")
    else:
        (folder / "files" / "link").symlink_to(first)

    result = verify(folder, "--files", folder / "files")

    assert result.exit_code == 1
    assert "Keep:" in result.stdout
    assert "3 of 3" not in result.stdout


def test_json_names_each_file_and_its_object(folder: Path) -> None:
    result = verify(folder, "--files", folder / "files", "--json")

    told = json.loads(result.stdout)
    ids = {entry["object_id"] for entry in told["receipt"]["objects"]}
    assert told["verified"] is True
    assert {each["object_id"] for each in told["files"]} == ids
    assert all(each["covered"] for each in told["files"])


def test_changed_receipt_ends_with_1_and_a_clear_sentence(folder: Path) -> None:
    jws = whole()[0]
    middle = len(jws) // 2
    other = b"A" if jws[middle : middle + 1] != b"A" else b"B"
    (folder / "r.jws").write_bytes(jws[:middle] + other + jws[middle + 1 :])

    result = verify(folder)

    assert result.exit_code == 1
    assert "changed after it was issued" in result.stderr
    assert "Delete nothing on it" in result.stderr


def test_unsafe_batch_ends_with_1_and_names_what_to_keep(folder: Path) -> None:
    unsafe = World()
    send(unsafe, {**BODIES, "bad.dcm": b"no dicom"})
    (folder / "r.jws").write_bytes(issue(unsafe))
    (folder / "public.pem").write_bytes(unsafe.signer.public_pem())
    (folder / "files" / "bad.dcm").write_bytes(b"no dicom")

    result = verify(folder, "--files", folder / "files")

    assert result.exit_code == 1
    assert "site-a/bad.dcm (NOT_DICOM)" in result.stdout
    assert "3 of 4 local files may be deleted." in result.stdout


def test_local_digests_prove_what_the_sender_declared_no_digest_for(tmp_path: Path) -> None:
    quiet = World()
    body = any_dicom_body()
    quiet.image(body, "site-a/1.dcm", metadata={"upload-batch": BATCH}, checksum=Algorithm.SHA256)
    quiet.run()
    (tmp_path / "1.dcm").write_bytes(body)

    found = verify_receipt(issue(quiet), quiet.signer.public_pem())

    assert not found.is_safe
    assert [each.is_covered for each in check_files(found, files_under(tmp_path))] == [True]


def test_weak_digest_alone_covers_no_file(tmp_path: Path) -> None:
    quiet = World()
    body = any_dicom_body()
    quiet.image(body, "site-a/1.dcm", metadata={"upload-batch": BATCH}, checksum=Algorithm.CRC32)
    quiet.run()
    (tmp_path / "1.dcm").write_bytes(body)

    found = verify_receipt(issue(quiet), quiet.signer.public_pem())

    assert [each.is_covered for each in check_files(found, files_under(tmp_path))] == [False]


_OFFLINE = """
import sys
for name in ("boto3", "botocore", "aws_lambda_powertools"):
    sys.modules[name] = None
import socket
socket.socket = None
from pathlib import Path
from forebay_cli.receipts import check_files, files_under, verify_receipt
found = verify_receipt(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes())
assert all(each.is_covered for each in check_files(found, files_under(Path(sys.argv[3]))))
print(len(found.objects))
"""


def test_verifying_needs_no_aws_client_and_no_network(folder: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-c", _OFFLINE),
            *(folder / "r.jws", folder / "public.pem", folder / "files"),
        ],
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


class FakeFunctions:
    """Answers `invoke` as the function does."""

    def __init__(self, answer: dict[str, Any], error: str = "") -> None:
        self.answer = answer
        self.error = {"FunctionError": error} if error else {}
        self.asked: list[Any] = []

    def invoke(self, **request: Any) -> dict[str, Any]:
        self.asked.append(json.loads(request["Payload"]))
        return {"Payload": io.BytesIO(json.dumps(self.answer).encode()), **self.error}


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Give a way to say what the function answers."""
    monkeypatch.chdir(tmp_path)

    def answer(**account: Any) -> None:
        deployment = SimpleNamespace(output=lambda name: name, account=SimpleNamespace(**account))
        monkeypatch.setattr(Target, "deployment", lambda *_: deployment)

    return answer


ANSWER = {"objects": 3, "safe_objects": 3, "safe_to_delete": True} | {
    "bucket": "ledger",
    "key": "receipts/site-a/run7/1.jws",
    "version_id": "v1",
}


def test_get_saves_what_verify_takes(answering: Any, folder: Path) -> None:
    functions = FakeFunctions({**ANSWER, "receipt": whole()[0].decode()})
    answering(functions=functions)

    result = run("get", BATCH, "--site", "site-a", "-o", folder / "r.jws")

    assert result.exit_code == 0, result.output
    assert functions.asked == [{"site": "site-a", "batch": BATCH}]
    assert verify(folder).exit_code == 0


def test_large_receipt_is_read_from_the_ledger(answering: Any, tmp_path: Path) -> None:
    body = SimpleNamespace(get_object=lambda **_: {"Body": io.BytesIO(whole()[0])})
    answering(functions=FakeFunctions({**ANSWER, "safe_to_delete": False}), s3=body)

    result = run("get", "2026/run7", "--site", "site-a")

    assert result.exit_code == 1
    assert (tmp_path / "receipt-site-a-2026-run7.jws").read_bytes() == whole()[0]


def test_unknown_batch_ends_with_1(answering: Any) -> None:
    answering(functions=FakeFunctions({"objects": 0}))

    result = run("get", "nobody", "--site", "site-a")

    assert result.exit_code == 1
    assert "Nothing is known of a batch 'nobody'" in result.stderr


def test_failing_function_ends_with_3(answering: Any) -> None:
    answering(functions=FakeFunctions({"errorMessage": "KMS is down"}, error="Unhandled"))

    result = run("get", BATCH, "--site", "site-a")

    assert result.exit_code == 3
    assert "KMS is down" in result.stderr
    assert "forebay logs issue_receipt" in result.stderr


def test_key_is_written_as_pem(answering: Any, folder: Path) -> None:
    der = (
        world()
        .signer.private_key.public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    answering(kms=SimpleNamespace(get_public_key=lambda **_: {"PublicKey": der}))

    assert run("key").stdout.encode() == whole()[1]
    assert run("key", "-o", folder / "public.pem").exit_code == 0
    assert (folder / "public.pem").read_bytes() == whole()[1]
