"""Composes the stacks of a deployment, each on what stands before it."""

from aws_cdk import App, Tags

from infra.checks import check
from infra.constructs.domain_key import Domain
from infra.foundation import Foundation
from infra.settings import Settings
from infra.stacks.archive import ArchiveStack
from infra.stacks.catalog import CatalogStack
from infra.stacks.ingest import IngestStack
from infra.stacks.operations import OperationsStack
from infra.stacks.storage import StorageStack
from infra.stacks.upkeep import UpkeepStack

__all__ = ["compose"]


def compose(app: App, settings: Settings) -> None:
    """Build an app's stacks: storage (and archive), catalog, operations, ingest, upkeep."""
    storage = StorageStack(app, settings)
    if settings.replica_region:
        storage.add_stack_dependency(ArchiveStack(app, settings))
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
    # Upkeep speaks of the flow's queues by name.
    UpkeepStack(app, settings, base).add_stack_dependency(ingest)
    Tags.of(app).add("forebay:deployment", settings.prefix)
    check(app)
