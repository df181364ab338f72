"""The catalog and its history."""

from typing import Final

from aws_cdk import Stack, aws_dynamodb, aws_kms
from constructs import Construct

from infra import outputs
from infra.constructs.catalog_table import CatalogTable
from infra.settings import Settings
from infra.tables import CATALOG_INDEXES

__all__ = ["CatalogStack"]

_EXPIRY: Final = "expires_at"
"""Only notes carry it: of failed tries, and of access logs that were counted."""


class CatalogStack(Stack):
    """One table that is the state machine, with its stream; one that remembers."""

    def __init__(self, scope: Construct, settings: Settings, *, key: aws_kms.IKey) -> None:
        super().__init__(
            scope,
            "catalog",
            stack_name=f"{settings.prefix}-catalog",
            description="Forebay: catalog and history.",
            termination_protection=not settings.is_local,
        )
        self.catalog = CatalogTable(
            self,
            "catalog",
            settings=settings,
            key=key,
            stream=aws_dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
        )
        for index in CATALOG_INDEXES:
            self.catalog.index(index)
        self.catalog.expire(_EXPIRY)
        self.history = CatalogTable(self, "history", settings=settings, key=key)
        outputs.write(
            self,
            TableName=self.catalog.table.table_name,
            HistoryTableName=self.history.table.table_name,
        )
