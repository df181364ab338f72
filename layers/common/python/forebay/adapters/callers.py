"""Who gave an order: a request to STS is signed by the giver and sent by whoever has to know.

    giver     POST GetCallerIdentity, header X-Forebay-Order = digest of the order, signed; keeps
              the headers of the signature
    receiver  sends the same request to its own STS, with the digest of the order it was given

The receiver builds the request anew, from constants: nothing but date, token and signature comes
from outside. A signature for another order, another region or another service is refused by STS.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from forebay.domain.orders import NotProven, Order, Proof

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

_HEADER: Final = "X-Forebay-Order"
_COVERED: Final = frozenset({"content-type", "host", "x-amz-date", _HEADER.lower()})
_SIGNED: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^ ,]+, ?SignedHeaders=(?P<headers>[a-z0-9;-]+), ?"
    r"Signature=[0-9a-f]{64}"
)
_DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_TOKEN: Final = re.compile(r"[!-~]*")
_TROUBLE: Final = 500
"""From this HTTP status on it is STS that failed, not the proof."""


def prove(client: "STSClient", order: Order) -> Proof:
    """Return what proves that an order is of whoever `client` signs for.

    The client must be a new one: it is marked for this order.
    """
    signed: dict[str, str] = {}

    def keep(request: Any, **_: object) -> None:
        for name, value in request.headers.items():
            signed[name.lower()] = value.decode() if isinstance(value, bytes) else value

    client.meta.events.register("before-call.sts.GetCallerIdentity", _naming(order))
    client.meta.events.register("before-send.sts.GetCallerIdentity", keep)
    client.get_caller_identity()
    token = signed.get("x-amz-security-token", "")
    return Proof(signed["authorization"], signed["x-amz-date"], token)


@dataclass(frozen=True, slots=True)
class StsCallers:
    """`services.ports.Callers` over STS; `unsigned` returns a new client that signs nothing."""

    unsigned: Callable[[], "STSClient"]
    account: str

    def caller(self, order: Order, proof: Proof) -> str | NotProven:
        """Return the ARN of whoever gave an order; raises ClientError when STS is in trouble."""
        if refusal := _malformed(proof):
            return NotProven(refusal)
        client = self.unsigned()
        client.meta.events.register("before-call.sts.GetCallerIdentity", _naming(order, proof))
        try:
            identity = client.get_caller_identity()
        except ClientError as exc:
            if exc.response["ResponseMetadata"].get("HTTPStatusCode", _TROUBLE) >= _TROUBLE:
                raise
            code = exc.response["Error"]["Code"]
            return NotProven(
                f"AWS does not confirm who gave this order ({code}): give it again, signed by"
                " yourself, for this deployment, at most five minutes ago."
            )
        if identity["Account"] != self.account:
            return NotProven("This order was given from another AWS account.")
        return identity["Arn"]


def _naming(order: Order, proof: Proof | None = None) -> Callable[..., None]:
    """Return what writes an order, and its signature if there is one, into a request."""
    headers = {_HEADER: order.digest}
    if proof:
        headers |= {"Authorization": proof.authorization, "X-Amz-Date": proof.date}
        headers |= {"X-Amz-Security-Token": proof.token} if proof.token else {}

    def name(params: Any, **_: object) -> None:
        params["headers"].update(headers)

    return name


def _malformed(proof: Proof) -> str:
    """Return why a proof proves nothing, '' when STS has to say.

    A signature that does not cover the order would be good for any order.
    """
    signed = _SIGNED.fullmatch(proof.authorization)
    if not (signed and _DATE.fullmatch(proof.date) and _TOKEN.fullmatch(proof.token)):
        return "The proof of who gave this order is no signature of AWS, version 4."
    missing = _COVERED - set(signed["headers"].split(";"))
    return f"The signature does not cover {', '.join(sorted(missing))}." if missing else ""
