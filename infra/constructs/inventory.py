"""S3 Inventory of the zones: what is stored, without listing it."""

from collections.abc import Iterable
from typing import Final

from aws_cdk import Aws, Duration, RemovalPolicy, aws_iam, aws_kms, aws_s3
from constructs import Construct

from infra.constructs.zone_bucket import ZoneBucket
from infra.settings import Settings

__all__ = ["Inventory"]

_FIELDS: Final = [
    "Size",
    "LastModifiedDate",
    "StorageClass",
    "ETag",
    "IsMultipartUploaded",
    "ReplicationStatus",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ObjectLockLegalHoldStatus",
    "ChecksumAlgorithm",
]
_KEPT_DAYS: Final = 90


class Inventory(Construct):
    """A bucket that S3 writes weekly inventories into, of all versions.

    Not the ledger: its lock would keep every report for a year. Defaults: as of a zone's bucket;
    reports expire after 90 days.
    """

    def __init__(
        self,
        scope: Construct,
        settings: Settings,
        *,
        key: aws_kms.Key,
        access_log: aws_s3.IBucket,
    ) -> None:
        super().__init__(scope, "Inventory")
        self.bucket = aws_s3.Bucket(
            self,
            "Bucket",
            bucket_name=f"{settings.prefix}-inventory-{Aws.ACCOUNT_ID}-{Aws.REGION}",
            versioned=True,
            encryption=aws_s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                aws_s3.LifecycleRule(
                    id="expire-reports",
                    expiration=Duration.days(_KEPT_DAYS),
                    noncurrent_version_expiration=Duration.days(7),
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                )
            ],
            server_access_logs_bucket=access_log,
            server_access_logs_prefix="inventory/",
            removal_policy=RemovalPolicy.RETAIN,
        )
        key.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=[aws_iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["kms:GenerateDataKey"],
                resources=["*"],  # in a key policy, this key
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )

    def of(self, zones: Iterable[ZoneBucket]) -> None:
        """Have each of these zones listed into `<zone>/`."""
        for zone in zones:
            zone.bucket.add_inventory(
                destination=aws_s3.InventoryDestination(bucket=self.bucket, prefix=zone.zone.value),
                format=aws_s3.InventoryFormat.CSV,
                frequency=aws_s3.InventoryFrequency.WEEKLY,
                include_object_versions=aws_s3.InventoryObjectVersion.ALL,
                inventory_id="weekly",
                optional_fields=_FIELDS,
            )
