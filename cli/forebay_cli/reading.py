"""The catalog of a deployment, for reading."""

from collections.abc import Callable

from forebay.adapters.catalog_reader import CatalogReader
from forebay.adapters.pseudonyms import KmsPseudonyms
from forebay_cli import stack_outputs
from forebay_cli.deployment import Deployment


def catalog_of(deployment: Deployment) -> CatalogReader:
    """Return a reader of a deployment's catalog and history."""
    return CatalogReader(
        deployment.account.dynamodb,
        deployment.output(stack_outputs.TABLE),
        deployment.output(stack_outputs.HISTORY_TABLE),
    )


def tokens_of(deployment: Deployment) -> Callable[[str, str], str]:
    """Return the function that turns (DICOM keyword, value) into the catalog's search token."""
    key_id = deployment.output(stack_outputs.SUBJECT_KEY)
    return KmsPseudonyms(deployment.account.kms, key_id).token
