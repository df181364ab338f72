"""Composes the stacks of a deployment, each on what stands before it."""

from aws_cdk import App, Tags

from infra.checks import check
from infra.constructs.domain_key import Domain
from infra.settings import Settings
from infra.stacks.archive import ArchiveStack
from infra.stacks.catalog import CatalogStack
from infra.stacks.ingest import Foundation, IngestStack
from infra.stacks.operations import OperationsStack
from infra.stacks.storage import StorageStack

__all__ = ["compose"]


def compose(app: App, settings: Settings) -> None:
    """Build an app's stacks: storage (and archive), catalog, operations, ingest; check them."""
    storage = StorageStack(app, settings)
    if settings.replica_region:
        storage.add_stack_dependency(ArchiveStack(app, settings))
    operational = storage.keys[Domain.OPERATIONAL]
    catalog = CatalogStack(app, settings, key=operational)
    operations = OperationsStack(app, settings, key=operational)
    IngestStack(
        app,
        settings,
        Foundation(
            zones=storage.zones,
            catalog=catalog.catalog,
            history=catalog.history,
            subject_key=storage.subject_key,
            topic=operations.topic,
        ),
    )
    Tags.of(app).add("forebay:deployment", settings.prefix)
    check(app)
