"""The runbook pages: what whoever is woken by an alarm opens.

`docs/runbooks/README.md` is their index. A test holds alarms, pages and index together, and
another runs the pages' commands.
"""

from enum import StrEnum

__all__ = ["Runbook"]


class Runbook(StrEnum):
    """A page of `docs/runbooks/`, without its suffix."""

    CHANGE_FEED = "change-feed"
    CONFLICTS = "conflicts"
    DEAD_LETTERS = "dead-letters"
    DELETED_OUTSIDE_POLICY = "deleted-outside-policy"
    DISPOSITIONS = "dispositions"
    FALLING_BEHIND = "falling-behind"
    OVERDUE = "overdue"
    PIPELINE_FAILED = "pipeline-failed"
    POLICY_VIOLATIONS = "policy-violations"
    RECEIPTS = "receipts"
    RECONCILIATION = "reconciliation"
    STORED_BYTES_CHANGED = "stored-bytes-changed"
    UPKEEP_FAILED = "upkeep-failed"

    @property
    def path(self) -> str:
        """Where the page lies in the repository."""
        return f"docs/runbooks/{self.value}.md"
