"""What a site may do: put its own arrivals, and nothing else."""

from collections.abc import Sequence

from aws_cdk import Aws, aws_iam
from constructs import Construct

from infra.checks import acknowledge_keys
from infra.constructs.zone_bucket import ZoneBucket
from infra.settings import Settings

__all__ = ["SitePolicy"]


class SitePolicy(Construct):
    """A managed policy, to attach to the role or user that a site's gateway signs with.

    It may put objects below `<site>/` of the landing buckets, in parts too, and see and abort its
    own unfinished uploads. It cannot read back, list, tag or delete.
    """

    def __init__(
        self, scope: Construct, site: str, settings: Settings, landing: Sequence[ZoneBucket]
    ) -> None:
        super().__init__(scope, f"Site-{site}")
        arrivals = [f"{zone.arn}/{site}/*" for zone in landing]
        policy = aws_iam.ManagedPolicy(
            self,
            "Policy",
            managed_policy_name=f"{settings.prefix}-site-{site}",
            description=f"Forebay: what the site {site} may do.",
            statements=[
                aws_iam.PolicyStatement(
                    actions=[
                        "s3:PutObject",
                        "s3:AbortMultipartUpload",
                        "s3:ListMultipartUploadParts",
                    ],
                    resources=arrivals,
                ),
                aws_iam.PolicyStatement(
                    actions=["kms:Decrypt", "kms:GenerateDataKey"],
                    resources=[zone.key.key_arn for zone in landing],
                    conditions={
                        "StringEquals": {"kms:ViaService": f"s3.{Aws.REGION}.amazonaws.com"}
                    },
                ),
            ],
        )
        for keys in arrivals:
            acknowledge_keys(policy, keys, "A site names its own files, below its own prefix.")
