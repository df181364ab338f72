"""The bucket of S3's server access logs in a region."""

from aws_cdk import Aws, Duration, RemovalPolicy, aws_s3
from constructs import Construct

from infra.checks import acknowledge
from infra.constructs.zone_bucket import send_events
from infra.settings import Settings

__all__ = ["AccessLog", "access_log_name"]


def access_log_name(settings: Settings) -> str:
    """Return the name of the bucket of access logs, built as that of a zone."""
    return f"{settings.prefix}-access-log-{Aws.ACCOUNT_ID}-{Aws.REGION}"


class AccessLog(Construct):
    """Who read or wrote which object; kept as long as logs are.

    Encrypted by S3: it cannot write access logs with a key of ours. Each log object that is
    delivered is told to EventBridge, for `learn_access`.
    """

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, "AccessLog")
        self.bucket = aws_s3.Bucket(
            self,
            "Bucket",
            bucket_name=access_log_name(settings),
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
        send_events(self.bucket)
        acknowledge(self, "S1", "It is the access log; logging itself would never end.")
