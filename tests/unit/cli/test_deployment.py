"""Which names a command works with, by what its credentials may read."""

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from forebay.names import Zone
from forebay_cli.deployment import Account, Deployment


class SiteAccount:
    """An account seen with credentials that may put objects and nothing else."""

    region = "eu-central-1"
    description = "an account"

    def __init__(self, code: str = "AccessDenied") -> None:
        self.code = code
        self.cloudformation = self
        self.sts = self

    def describe_stacks(self, **_: str) -> None:
        raise ClientError({"Error": {"Code": self.code, "Message": ""}}, "DescribeStacks")

    def get_caller_identity(self) -> dict[str, Any]:
        return {"Account": "123456789012"}


def test_a_sender_that_may_not_read_stacks_gets_the_landing_buckets_by_name() -> None:
    deployment = Deployment.for_sender(cast("Account", SiteAccount()), "forebay")
    expected = "forebay-landing-imaging-123456789012-eu-central-1"
    assert deployment.bucket(Zone.LANDING_IMAGING) == expected


def test_another_error_than_denial_is_not_hidden_from_a_sender() -> None:
    with pytest.raises(ClientError):
        Deployment.for_sender(cast("Account", SiteAccount("Throttling")), "forebay")
