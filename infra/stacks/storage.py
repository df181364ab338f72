"""Zones, keys, and what the sites may do: everything that must outlive the code."""

from typing import Final

from aws_cdk import Duration, Stack, aws_iam, aws_kms, aws_s3
from constructs import Construct

from forebay.names import LANDING_ZONES, Zone
from infra import outputs
from infra.constructs.access_log import AccessLog
from infra.constructs.domain_key import Domain, DomainKey, ReceiptKey, SubjectKey
from infra.constructs.inventory import Inventory
from infra.constructs.replication import replicate
from infra.constructs.site_policy import SitePolicy
from infra.constructs.zone_bucket import LANDING_RULES, BucketOptions, ZoneBucket
from infra.settings import Settings

__all__ = ["StorageStack"]

_DOMAIN: Final = {
    Zone.LANDING_IMAGING: Domain.CLINICAL,
    Zone.LANDING_GENOMICS: Domain.GENOMICS,
    Zone.QUARANTINE: Domain.QUARANTINE,
    Zone.CLINICAL: Domain.CLINICAL,
    Zone.GENOMICS: Domain.GENOMICS,
    Zone.DERIVED: Domain.GENOMICS,
    Zone.RESEARCH: Domain.RESEARCH,
    Zone.LEDGER: Domain.OPERATIONAL,
}
"""Whose key a zone is encrypted with (the archive has its own, in its own region)."""

_SENDS_EVENTS: Final = (
    *LANDING_ZONES,
    Zone.QUARANTINE,
    Zone.CLINICAL,
    Zone.GENOMICS,
    Zone.DERIVED,
)
"""Of arrivals, and of what becomes of copies; rules of `ingest` pick what is news."""

_REPLICATED: Final = (Zone.CLINICAL, Zone.GENOMICS)


class StorageStack(Stack):
    """The zones of a deployment, in its own region."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(
            scope,
            "storage",
            stack_name=f"{settings.prefix}-storage",
            description="Forebay: zones and keys.",
            termination_protection=not settings.is_local,
        )
        self.keys = {domain: DomainKey(self, domain, settings).key for domain in Domain}
        self.subject_key = SubjectKey(self, settings).key
        self.receipt_key = ReceiptKey(self, settings).key
        _let_alarms_publish(self.keys[Domain.OPERATIONAL])
        access_log = None if settings.is_local else AccessLog(self, settings).bucket
        self.zones = {
            zone: ZoneBucket(
                self,
                zone,
                settings=settings,
                key=self.keys[domain],
                options=BucketOptions(
                    events=zone in _SENDS_EVENTS,
                    rules=_rules(zone),
                    lock_days=settings.lock_days if zone is Zone.LEDGER else None,
                    access_log=access_log,
                ),
            )
            for zone, domain in _DOMAIN.items()
        }
        if access_log:
            inventory = Inventory(
                self, settings, key=self.keys[Domain.OPERATIONAL], access_log=access_log
            )
            inventory.of(self.zones[zone] for zone in _SENDS_EVENTS)
        if settings.replica_region:
            replicate([self.zones[zone] for zone in _REPLICATED], settings)
        for site in settings.sites:
            SitePolicy(self, site, settings, [self.zones[zone] for zone in LANDING_ZONES])
        names = {outputs.bucket(zone): bucket.name for zone, bucket in self.zones.items()}
        outputs.write(
            self,
            **names,
            SubjectKeyId=self.subject_key.key_id,
            ReceiptKeyId=self.receipt_key.key_id,
        )


def _rules(zone: Zone) -> tuple[aws_s3.LifecycleRule, ...]:
    if zone in LANDING_ZONES:
        return LANDING_RULES
    if zone is Zone.DERIVED:  # what is derived can be derived again: no need of old versions
        return (
            aws_s3.LifecycleRule(
                id="expire-replaced-results", noncurrent_version_expiration=Duration.days(30)
            ),
        )
    return ()


def _let_alarms_publish(key: aws_kms.Key) -> None:
    """Let CloudWatch alarms publish to a topic encrypted with the key; the topic says whose may."""
    key.add_to_resource_policy(
        aws_iam.PolicyStatement(
            principals=[aws_iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=["*"],  # in a key policy, this key
        )
    )
