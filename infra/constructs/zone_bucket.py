"""A bucket of one zone, and the only way in which a function is let into it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from aws_cdk import Aws, Duration, RemovalPolicy, aws_iam, aws_kms, aws_s3
from constructs import Construct

from forebay.domain.policy.lifecycle import LifecycleRule
from forebay.names import Zone, bucket_name
from infra.checks import acknowledge, acknowledge_keys
from infra.constructs.lifecycle import set_rules
from infra.settings import Settings

__all__ = [
    "READ",
    "BucketOptions",
    "Grantee",
    "ZoneBucket",
    "allow_key",
    "allow_objects",
    "send_events",
]

Grantee: TypeAlias = aws_iam.IRole | aws_iam.ManagedPolicy
"""A function's role, or a policy that people's roles are given."""

_WRITES: Final = frozenset({"s3:PutObject"})
READ: Final = ("s3:GetObject", "s3:GetObjectVersion")
"""What it takes to read an object, in whichever version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOptions:
    """What differs between zones.

    `lockable` turns Object Lock on, so that a version can be put under a legal hold. `lock_days`
    does, too, and adds that default retention in governance mode: ops can lift it with a
    permission that no role of this app has. `rules` are those compiled for the zone.
    """

    events: bool = False
    lockable: bool = False
    lock_days: int | None = None
    rules: Sequence[LifecycleRule] = ()
    access_log: aws_s3.IBucket | None = None


class ZoneBucket(Construct):
    """A zone's bucket.

    Defaults: versioned, encrypted with its domain's key (a bucket key, so KMS is not asked per
    object), TLS only, no public access, no ACLs, kept when the stack goes (local: deleted).
    """

    def __init__(
        self,
        scope: Construct,
        zone: Zone,
        *,
        settings: Settings,
        key: aws_kms.IKey,
        options: BucketOptions,
    ) -> None:
        super().__init__(scope, f"Zone{zone.name.title().replace('_', '')}")
        self.zone = zone
        self.key = key
        # Name and ARN are built, not referenced: no export ties the stacks that use them to this.
        self.name = bucket_name(settings.prefix, zone, Aws.ACCOUNT_ID, Aws.REGION)
        self.arn = f"arn:{Aws.PARTITION}:s3:::{self.name}"
        lock = options.lock_days
        self.bucket = aws_s3.Bucket(
            self,
            "Bucket",
            bucket_name=self.name,
            versioned=True,
            encryption=aws_s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            object_lock_enabled=options.lockable or None,
            object_lock_default_retention=None
            if lock is None
            else aws_s3.ObjectLockRetention.governance(Duration.days(lock)),
            server_access_logs_bucket=options.access_log,
            server_access_logs_prefix=f"{zone}/" if options.access_log else None,
            removal_policy=RemovalPolicy.DESTROY if settings.is_local else RemovalPolicy.RETAIN,
        )
        set_rules(self.bucket, options.rules)
        if options.access_log is None:
            acknowledge(self, "S1", "MiniStack writes no access logs; in the cloud they are on.")
        if options.events:
            send_events(self.bucket)

    def allow(self, role: Grantee, *actions: str, under: str = "*") -> None:
        """Let a role do exactly these actions on the objects under a key pattern.

        Grants on the bucket's key follow: Decrypt to read; to write GenerateDataKey, and Decrypt,
        which S3 asks for when a multipart upload is put together.
        """
        allow_objects(role, *actions, keys=f"{self.arn}/{under}")
        wanted = set(actions)
        if wanted & _WRITES:
            allow_key(role, self.key, "s3", "kms:Decrypt", "kms:GenerateDataKey")
        elif not wanted.isdisjoint(READ):
            allow_key(role, self.key, "s3", "kms:Decrypt")

    def allow_listing(
        self, role: Grantee, *, versions: bool = False, uploads: bool = False
    ) -> None:
        """Let a role see which keys exist, and thereby which do not; their versions, too."""
        actions = ["s3:ListBucket"]
        actions += ["s3:ListBucketVersions"] if versions else []
        actions += ["s3:ListBucketMultipartUploads"] if uploads else []
        role.grant_principal.add_to_principal_policy(
            aws_iam.PolicyStatement(actions=actions, resources=[self.arn])
        )


def allow_key(role: Grantee, key: aws_kms.IKey, service: str, *actions: str) -> None:
    """Let a role use a key, only through a service and never directly."""
    role.grant_principal.add_to_principal_policy(
        aws_iam.PolicyStatement(
            actions=list(actions),
            resources=[key.key_arn],
            conditions={
                "StringEquals": {"kms:ViaService": f"{service}.{Aws.REGION}.amazonaws.com"}
            },
        )
    )


def allow_objects(role: Grantee, *actions: str, keys: str) -> None:
    """Let a role do exactly these actions on the keys that an ARN pattern covers."""
    role.grant_principal.add_to_principal_policy(
        aws_iam.PolicyStatement(actions=list(actions), resources=[keys])
    )
    acknowledge_keys(role, keys, "Keys are not known in advance; prefix and actions are exact.")


def send_events(bucket: aws_s3.Bucket) -> None:
    """Send the bucket's events to EventBridge.

    `event_bridge_enabled=True` of the construct would deploy a custom resource, with a function
    of its own, to set this one property.
    """
    resource = bucket.node.default_child
    assert isinstance(resource, aws_s3.CfnBucket)  # noqa: S101 (narrows the construct tree's type)
    resource.notification_configuration = aws_s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=aws_s3.CfnBucket.EventBridgeConfigurationProperty(
            event_bridge_enabled=True
        )
    )
