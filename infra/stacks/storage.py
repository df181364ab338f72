"""Zones, keys, and what the sites may do: everything that must outlive the code."""

from typing import Final

from aws_cdk import Stack, Token, aws_iam, aws_kms
from constructs import Construct

from forebay.domain.policy.classes import ObjectClass, Policy
from forebay.domain.policy.lifecycle import compile_rules
from forebay.errors import PolicyError
from forebay.names import LANDING_ZONES, Zone
from infra import outputs
from infra.constructs.access_log import AccessLog
from infra.constructs.bucket_guard import GUARDED_ZONES, guard
from infra.constructs.domain_key import Domain, DomainKey, ReceiptKey, SubjectKey
from infra.constructs.inventory import Inventory
from infra.constructs.replication import ARCHIVE_KEY, replicate
from infra.constructs.site_policy import SitePolicy
from infra.constructs.zone_bucket import BucketOptions, ZoneBucket
from infra.settings import Settings

__all__ = ["StorageStack", "check_classes"]

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

_LOCKABLE: Final = (Zone.CLINICAL, Zone.GENOMICS, Zone.DERIVED, Zone.RESEARCH)
"""Where a legal hold may reach an object: it is set on the version itself, and S3 keeps it."""


class StorageStack(Stack):
    """The zones of a deployment, in its own region."""

    def __init__(self, scope: Construct, settings: Settings, policy: Policy) -> None:
        super().__init__(
            scope,
            "storage",
            stack_name=f"{settings.prefix}-storage",
            description="Forebay: zones and keys.",
            termination_protection=not settings.is_local,
        )
        check_classes(policy, settings, self.region)
        rules = compile_rules(policy)
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
                    rules=rules[zone],
                    lockable=zone in _LOCKABLE,
                    lock_days=settings.lock_days if zone is Zone.LEDGER else None,
                    access_log=access_log,
                ),
            )
            for zone, domain in _DOMAIN.items()
        }
        for zone in GUARDED_ZONES:
            if zone in self.zones:
                guard(self.zones[zone], settings)
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


def check_classes(policy: Policy, settings: Settings, region: str) -> None:
    """Refuse a class that this deployment cannot keep.

    The region is known where an account is asked; a local cloud's stands for another.

    Raises:
        PolicyError: another key than its zone's, a replica nobody makes, or a forbidden region.
    """
    home = None if settings.is_local or Token.is_unresolved(region) else region
    for each in policy.classes.values():
        key = ARCHIVE_KEY if each.zone is Zone.ARCHIVE else _DOMAIN[each.zone].value
        if each.key and each.key != key:
            raise _refused(each, f"zone {each.zone} is encrypted with key {key}, not {each.key}")
        if each.replicate and each.zone not in _REPLICATED:
            zones = " and ".join(_REPLICATED)
            raise _refused(each, f"zone {each.zone} is not replicated; only {zones} are")
        replica = settings.replica_region if each.replicate else None
        lies = settings.replica_region if each.zone is Zone.ARCHIVE else home
        for place, what in ((lies, "deployed to"), (replica, "replicated to")):
            if place and each.residency and place not in each.residency:
                allowed = ", ".join(each.residency)
                raise _refused(each, f"it is {what} {place}; its residency allows {allowed}")


def _refused(each: ObjectClass, why: str) -> PolicyError:
    return PolicyError(f"{each.source}: class {each.name}: {why}.")


def _let_alarms_publish(key: aws_kms.Key) -> None:
    """Let CloudWatch alarms publish to a topic encrypted with the key; the topic says whose may."""
    key.add_to_resource_policy(
        aws_iam.PolicyStatement(
            principals=[aws_iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=["*"],  # in a key policy, this key
        )
    )
