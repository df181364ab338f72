"""Who gave an order, over moto's STS: what a signature has to cover, and what is sent anew."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

from forebay.adapters.callers import StsCallers, prove
from forebay.domain.orders import NotProven, Order, Proof
from tests.adapters.conftest import REGION

pytestmark = pytest.mark.usefixtures("aws")

ORDER = Order(
    '{"decision": "end", "exception_id": "EX-1", "note": "n"}', "forebay-decide-exception"
)
Sent = list[Any]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let moto be AWS; it knows who has which key, and checks no signature."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield


def signed_in(name: str) -> Any:
    """Return the credentials of a person who took a role."""
    role = f"arn:aws:iam::{account()}:role/stewards"
    answer = boto3.client("sts", region_name=REGION).assume_role(RoleArn=role, RoleSessionName=name)
    return answer["Credentials"]


def account() -> str:
    return str(boto3.client("sts", region_name=REGION).get_caller_identity()["Account"])


def client_of(credentials: Any) -> Any:
    return boto3.client(
        "sts",
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


def unsigned(watch: Callable[[Any], Any] = lambda _: None) -> Callable[[], Any]:
    def client() -> Any:
        made = boto3.client("sts", region_name=REGION, config=Config(signature_version=UNSIGNED))
        made.meta.events.register(
            "before-send.sts.GetCallerIdentity", lambda request, **_: watch(request)
        )
        return made

    return client


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_an_order_is_of_whoever_signed_it() -> None:
    proof = prove(client_of(signed_in("anna")), ORDER)

    caller = StsCallers(unsigned(), account()).caller(ORDER, proof)

    assert isinstance(caller, str)
    assert caller.endswith(":assumed-role/stewards/anna")


def test_the_receiver_sends_the_digest_of_its_own_order_and_nothing_else_from_outside() -> None:
    sent: Sent = []
    proof = prove(client_of(signed_in("anna")), ORDER)
    other = Order(ORDER.text.replace("end", "approve"), ORDER.function)

    StsCallers(unsigned(sent.append), account()).caller(other, proof)

    (request,) = sent
    headers = {name.lower(): text(value) for name, value in request.headers.items()}
    assert request.url == f"https://sts.{REGION}.amazonaws.com/"
    assert text(request.body) == "Action=GetCallerIdentity&Version=2011-06-15"
    assert headers["x-forebay-order"] == other.digest != ORDER.digest
    assert headers["authorization"] == proof.authorization
    assert headers["x-amz-security-token"] == proof.token
    assert "x-forebay-order" in proof.authorization


@pytest.mark.parametrize(
    "changed, told",
    [
        (("x-forebay-order", "x-other-header"), "does not cover x-forebay-order"),
        (("host;", ""), "does not cover host"),
        (("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "no signature of AWS"),
        (("Signature=", "Signature=\r\nHost: evil, "), "no signature of AWS"),
    ],
)
def test_a_signature_good_for_other_orders_is_not_even_sent(
    changed: tuple[str, str], told: str
) -> None:
    sent: Sent = []
    proof = prove(client_of(signed_in("anna")), ORDER)
    wrong = Proof(proof.authorization.replace(*changed), proof.date, proof.token)

    answer = StsCallers(unsigned(sent.append), account()).caller(ORDER, wrong)

    assert isinstance(answer, NotProven)
    assert told in answer.reason
    assert not sent


@pytest.mark.parametrize(
    "proof",
    [
        Proof("", ""),
        Proof("AWS4-HMAC-SHA256", "20260301T120000Z"),
        Proof("Bearer abc", "20260301T120000Z"),
    ],
)
def test_no_signature_is_no_proof(proof: Proof) -> None:
    assert isinstance(StsCallers(unsigned(), account()).caller(ORDER, proof), NotProven)


def test_another_account_gives_no_orders() -> None:
    proof = prove(client_of(signed_in("anna")), ORDER)

    answer = StsCallers(unsigned(), "999999999999").caller(ORDER, proof)

    assert answer == NotProven("This order was given from another AWS account.")


class Body:
    """An answer's body, as botocore reads it."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def stream(self, *_: Any, **__: Any) -> Any:
        return iter([self.content])


def answering(status: int, code: str) -> Callable[[Any], AWSResponse]:
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
    return lambda request: AWSResponse(request.url, status, HTTPHeaders(), Body(body.encode()))


def test_what_sts_refuses_is_refused_and_what_troubles_it_is_trouble() -> None:
    proof = prove(client_of(signed_in("anna")), ORDER)

    refused = StsCallers(unsigned(answering(403, "SignatureDoesNotMatch")), account())
    answer = refused.caller(ORDER, proof)
    assert isinstance(answer, NotProven)
    assert "SignatureDoesNotMatch" in answer.reason

    troubled = StsCallers(unsigned(answering(503, "ServiceUnavailable")), account())
    with pytest.raises(ClientError):
        troubled.caller(ORDER, proof)
