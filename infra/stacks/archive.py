"""The archive: immutable copies in a second region.

A stack of its own because it is in another region; left out locally, since MiniStack does not
replicate between regions.
"""

from aws_cdk import Environment, RemovalPolicy, Stack, aws_kms
from constructs import Construct

from forebay.domain.policy.classes import Policy
from forebay.domain.policy.lifecycle import compile_rules
from forebay.names import Zone
from infra import outputs
from infra.constructs.access_log import AccessLog
from infra.constructs.bucket_guard import guard
from infra.constructs.replication import ARCHIVE_KEY
from infra.constructs.zone_bucket import BucketOptions, ZoneBucket
from infra.settings import Settings

__all__ = ["ArchiveStack"]


class ArchiveStack(Stack):
    """The archive bucket and its key."""

    def __init__(self, scope: Construct, settings: Settings, policy: Policy) -> None:
        super().__init__(
            scope,
            "archive",
            stack_name=f"{settings.prefix}-archive",
            description="Forebay: immutable copies.",
            env=Environment(region=settings.replica_region),
            termination_protection=True,
        )
        key = aws_kms.Key(
            self,
            "Key",
            alias=f"alias/{settings.prefix}-{ARCHIVE_KEY}",
            description="Forebay: the archive.",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        archive = ZoneBucket(
            self,
            Zone.ARCHIVE,
            settings=settings,
            key=key,
            options=BucketOptions(
                lock_days=settings.lock_days,
                rules=compile_rules(policy)[Zone.ARCHIVE],
                access_log=AccessLog(self, settings).bucket,
            ),
        )
        guard(archive, settings)
        outputs.write(self, **{outputs.bucket(Zone.ARCHIVE): archive.name})
