"""Composes the stacks of a deployment, each on what stands before it."""

from aws_cdk import App, Tags

from infra.checks import check
from infra.constructs.domain_key import Domain
from infra.foundation import Foundation
from infra.policy import read_policy
from infra.settings import Settings
from infra.stacks.archive import ArchiveStack
from infra.stacks.catalog import CatalogStack
from infra.stacks.ingest import IngestStack
from infra.stacks.operations import OperationsStack
from infra.stacks.policy import PolicyStack
from infra.stacks.storage import StorageStack
from infra.stacks.upkeep import UpkeepStack

__all__ = ["compose"]


def compose(app: App, settings: Settings) -> None:
    """Build an app's stacks: storage (and archive), catalog, operations, ingest, policy, upkeep."""
    policy = read_policy()
    storage = StorageStack(app, settings, policy)
    if settings.replica_region:
        storage.add_stack_dependency(ArchiveStack(app, settings, policy))
    operational = storage.keys[Domain.OPERATIONAL]
    catalog = CatalogStack(app, settings, key=operational)
    operations = OperationsStack(app, settings, key=operational)
    base = Foundation(
        zones=storage.zones,
        catalog=catalog.catalog,
        history=catalog.history,
        subject_key=storage.subject_key,
        receipt_key=storage.receipt_key,
        topic=operations.topic,
    )
    ingest = IngestStack(app, settings, base)
    # Policy and upkeep speak of queues before them by name.
    policies = PolicyStack(app, settings, base)
    policies.add_stack_dependency(ingest)
    UpkeepStack(app, settings, base).add_stack_dependency(policies)
    Tags.of(app).add("forebay:deployment", settings.prefix)
    check(app)
