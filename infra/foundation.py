"""What functions stand on, from the stacks of what must outlive them."""

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import aws_kms, aws_sns

from forebay.names import Zone
from infra.constructs.catalog_table import CatalogTable
from infra.constructs.zone_bucket import ZoneBucket

__all__ = ["Foundation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """Zones, tables, keys and the topic that alarms go to."""

    zones: Mapping[Zone, ZoneBucket]
    catalog: CatalogTable
    history: CatalogTable
    subject_key: aws_kms.IKey
    receipt_key: aws_kms.IKey
    topic: aws_sns.ITopic
