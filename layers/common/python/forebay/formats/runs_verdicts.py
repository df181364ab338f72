"""How findings about a run's file become a verdict."""

from typing import Any, TypeVar

from forebay.domain.findings import Finding, Verdict
from forebay.domain.inspection import Inspection

__all__ = ["accepted", "refused"]

Record = TypeVar("Record")


def accepted(data: bytes, record: Record, warnings: tuple[Finding, ...]) -> Inspection[Record]:
    """Return a record that was understood, with what was odd about it."""
    verdict = Verdict.WARNING if warnings else Verdict.VALID
    return Inspection(verdict, record, warnings, bytes_read=len(data))


def refused(data: bytes, *findings: Finding, verdict: Verdict = Verdict.INVALID) -> Inspection[Any]:
    """Return a refusal; reasons first."""
    return Inspection(verdict, None, findings, bytes_read=len(data))
