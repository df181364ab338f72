"""What DynamoDB and S3 refused a request for."""

from typing import Final

from botocore.exceptions import ClientError

__all__ = ["NOT_APPLIED", "codes_of"]

NOT_APPLIED: Final = frozenset(
    {
        *("ConditionalCheckFailed", "ConditionalCheckFailedException"),
        *("TransactionConflict", "TransactionConflictException"),
    }
)
"""Another writer was first: a condition did not hold, or its transaction was under way."""


def codes_of(exc: ClientError) -> set[str]:
    """Return what a request was refused for; of a transaction, every part's reason."""
    reasons = exc.response.get("CancellationReasons", [])
    codes = {reason.get("Code", "") for reason in reasons}
    return codes | {exc.response.get("Error", {}).get("Code", "")}
