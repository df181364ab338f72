"""A KMS key for one domain of data, so that a role for one cannot read another."""

from enum import StrEnum

from aws_cdk import Duration, RemovalPolicy, aws_iam, aws_kms
from constructs import Construct

from infra.settings import Settings

__all__ = ["Domain", "DomainKey", "ReceiptKey", "SubjectKey", "allow_signing"]


class Domain(StrEnum):
    """What data is about, and therefore who may hold its key."""

    CLINICAL = "clinical"
    GENOMICS = "genomics"
    RESEARCH = "research"
    OPERATIONAL = "operational"
    QUARANTINE = "quarantine"
    """What was refused, of any domain: for stewards only."""


class DomainKey(Construct):
    """A rotated symmetric key; its policy leaves permissions to IAM.

    Defaults: yearly rotation; kept when the stack goes (local: deleted).
    """

    def __init__(self, scope: Construct, domain: Domain, settings: Settings) -> None:
        super().__init__(scope, f"Key{domain.value.capitalize()}")
        self.key = aws_kms.Key(
            self,
            "Key",
            alias=f"alias/{settings.prefix}-{domain}",
            description=f"Forebay: {domain} data.",
            enable_key_rotation=True,
            removal_policy=_removal(settings),
            pending_window=Duration.days(30),
        )


class SubjectKey(Construct):
    """The HMAC key that turns patient identifiers into search tokens.

    Tokens are stored; with another key no patient would be found again. Hence it is kept, and not
    rotated (KMS does not rotate HMAC keys).
    """

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, "SubjectKey")
        self.key = aws_kms.Key(
            self,
            "Key",
            alias=f"alias/{settings.prefix}-subject",
            description="Forebay: HMAC of patient identifiers.",
            key_spec=aws_kms.KeySpec.HMAC_256,
            key_usage=aws_kms.KeyUsage.GENERATE_VERIFY_MAC,
            removal_policy=_removal(settings),
            pending_window=Duration.days(30),
        )


class ReceiptKey(Construct):
    """The key pair that receipts are signed with; anybody may hold the public half.

    A receipt is verified years later and offline: the key is kept, and not rotated (KMS does not
    rotate key pairs).
    """

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, "ReceiptKey")
        self.key = aws_kms.Key(
            self,
            "Key",
            alias=f"alias/{settings.prefix}-receipts",
            description="Forebay: signature of receipts.",
            key_spec=aws_kms.KeySpec.ECC_NIST_P256,
            key_usage=aws_kms.KeyUsage.SIGN_VERIFY,
            removal_policy=_removal(settings),
            pending_window=Duration.days(30),
        )


def allow_signing(role: aws_iam.IRole, key: aws_kms.IKey, settings: Settings) -> None:
    """Let a role sign with the receipt key, in the one way that verifiers expect."""
    how = {"kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST"}
    role.add_to_principal_policy(
        aws_iam.PolicyStatement(
            actions=["kms:Sign"],
            resources=[key.key_arn],
            # MiniStack does not know these conditions, and would refuse.
            conditions=None if settings.is_local else {"StringEquals": how},
        )
    )


def _removal(settings: Settings) -> RemovalPolicy:
    return RemovalPolicy.DESTROY if settings.is_local else RemovalPolicy.RETAIN
