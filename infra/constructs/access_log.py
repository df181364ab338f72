"""The bucket of S3's server access logs in a region."""

from aws_cdk import Aws, Duration, RemovalPolicy, aws_s3
from constructs import Construct

from infra.checks import acknowledge
from infra.settings import Settings

__all__ = ["AccessLog"]


class AccessLog(Construct):
    """Who read or wrote which object; kept as long as logs are.

    Encrypted by S3: it cannot write access logs with a key of ours.
    """

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, "AccessLog")
        self.bucket = aws_s3.Bucket(
            self,
            "Bucket",
            bucket_name=f"{settings.prefix}-access-log-{Aws.ACCOUNT_ID}-{Aws.REGION}",
            versioned=True,
            encryption=aws_s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                aws_s3.LifecycleRule(
                    id="expire",
                    expiration=Duration.days(settings.log_retention_days),
                    noncurrent_version_expiration=Duration.days(1),
                    abort_incomplete_multipart_upload_after=Duration.days(2),
                )
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )
        acknowledge(self, "S1", "It is the access log; logging itself would never end.")
