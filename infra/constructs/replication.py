"""Replication of zones into the archive in the second region."""

from collections.abc import Sequence
from typing import Final

from aws_cdk import Aws, aws_iam, aws_s3
from constructs import Construct

from forebay.names import REPLICATE_YES, Tag, Zone, bucket_name
from infra.checks import acknowledge_keys
from infra.constructs.zone_bucket import Grantee, ZoneBucket, allow_key, allow_objects
from infra.settings import Settings

__all__ = ["ARCHIVE_KEY", "allow_archive", "archive_arn", "archive_name", "replicate"]

ARCHIVE_KEY: Final = "archive"
"""The alias of the archive's key, after the prefix."""


def archive_name(settings: Settings) -> str:
    """Return the archive's bucket name.

    Its region is not ours, and CloudFormation cannot reference across regions: both stacks build
    the name.
    """
    region = settings.replica_region or ""
    return bucket_name(settings.prefix, Zone.ARCHIVE, Aws.ACCOUNT_ID, region)


def archive_arn(settings: Settings) -> str:
    """Return the archive's bucket ARN."""
    return f"arn:{Aws.PARTITION}:s3:::{archive_name(settings)}"


def allow_archive(role: Grantee, settings: Settings, *actions: str) -> None:
    """Let a role do exactly these actions on the archive's objects, list them, and decrypt."""
    allow_objects(role, *actions, keys=f"{archive_arn(settings)}/*")
    role.grant_principal.add_to_principal_policy(
        aws_iam.PolicyStatement(
            actions=["s3:ListBucket", "s3:ListBucketVersions"], resources=[archive_arn(settings)]
        )
    )
    allow_archive_key(role, settings, "kms:Decrypt")


def allow_archive_key(role: Grantee, settings: Settings, *actions: str) -> None:
    """Let a role use the archive's key through S3; its id is another region's: its alias is not."""
    region = settings.replica_region
    keys = f"arn:{Aws.PARTITION}:kms:{region}:{Aws.ACCOUNT_ID}:key/*"
    role.grant_principal.add_to_principal_policy(
        aws_iam.PolicyStatement(
            actions=list(actions),
            resources=[keys],
            conditions={
                "ForAnyValue:StringEquals": {
                    "kms:ResourceAliases": f"alias/{settings.prefix}-{ARCHIVE_KEY}"
                },
                "StringEquals": {"kms:ViaService": f"s3.{region}.amazonaws.com"},
            },
        )
    )
    acknowledge_keys(role, keys, "The condition leaves one key: the archive's alias.")


def replicate(zones: Sequence[ZoneBucket], settings: Settings) -> None:
    """Copy into the archive, under the same keys, the new versions of some zones that may be there.

    S3 reads the tag that says so when a version is made: it is set with the copy.
    Delete markers are not copied: what is deleted here stays there until its lock and its class
    allow otherwise.
    """
    for zone in zones:
        resource = zone.bucket.node.default_child
        assert isinstance(resource, aws_s3.CfnBucket)  # noqa: S101 (narrows the tree's type)
        role = _Replicator(zone, settings).role
        resource.replication_configuration = aws_s3.CfnBucket.ReplicationConfigurationProperty(
            role=role.role_arn, rules=[_rule(settings)]
        )


class _Replicator(Construct):
    """The role S3 replicates a zone with."""

    def __init__(self, zone: ZoneBucket, settings: Settings) -> None:
        super().__init__(zone, "Replication")
        self.role = aws_iam.Role(
            self, "Role", assumed_by=aws_iam.ServicePrincipal("s3.amazonaws.com")
        )
        self.role.add_to_policy(
            aws_iam.PolicyStatement(
                actions=["s3:GetReplicationConfiguration", "s3:ListBucket"], resources=[zone.arn]
            )
        )
        allow_objects(
            self.role,
            "s3:GetObjectVersionAcl",
            "s3:GetObjectVersionForReplication",
            "s3:GetObjectVersionTagging",
            keys=f"{zone.arn}/*",
        )
        allow_objects(
            self.role, "s3:ReplicateObject", "s3:ReplicateTags", keys=f"{archive_arn(settings)}/*"
        )
        allow_key(self.role, zone.key, "s3", "kms:Decrypt")
        allow_archive_key(self.role, settings, "kms:Encrypt")


def _rule(settings: Settings) -> aws_s3.CfnBucket.ReplicationRuleProperty:
    key = (
        f"arn:{Aws.PARTITION}:kms:{settings.replica_region}:{Aws.ACCOUNT_ID}"
        f":alias/{settings.prefix}-{ARCHIVE_KEY}"
    )
    bucket = aws_s3.CfnBucket
    return bucket.ReplicationRuleProperty(
        id="archive",
        priority=1,
        status="Enabled",
        filter=bucket.ReplicationRuleFilterProperty(
            tag_filter=bucket.TagFilterProperty(key=Tag.REPLICATE.value, value=REPLICATE_YES)
        ),
        delete_marker_replication=bucket.DeleteMarkerReplicationProperty(status="Disabled"),
        source_selection_criteria=bucket.SourceSelectionCriteriaProperty(
            sse_kms_encrypted_objects=bucket.SseKmsEncryptedObjectsProperty(status="Enabled")
        ),
        destination=bucket.ReplicationDestinationProperty(
            bucket=f"arn:{Aws.PARTITION}:s3:::{archive_name(settings)}",
            encryption_configuration=bucket.EncryptionConfigurationProperty(replica_kms_key_id=key),
        ),
    )
