"""How the parsers of alignments and variants refuse a file, and the bounds they keep."""

from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict

__all__ = ["MAX_HEADER_BYTES", "MAX_REFERENCES", "RefusedError", "refused", "suspect"]

MAX_HEADER_BYTES: Final = 64 << 20
# Each costs a few hundred bytes of memory; metagenomes have hundreds of thousands.
MAX_REFERENCES: Final = 1 << 20


class RefusedError(Exception):
    """The file is refused; carries the finding out of the depth of a parser."""

    def __init__(self, finding: Finding, verdict: Verdict = Verdict.INVALID) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.verdict = verdict


def refused(  # noqa: PLR0913 - the fields of a finding
    code: ReasonCode,
    message: str,
    *,
    at: str = "",
    expected: str = "",
    found: str = "",
    verdict: Verdict = Verdict.INVALID,
) -> RefusedError:
    """Return the error that refuses a file; `at` says where: a line, a record or a byte."""
    return RefusedError(Finding(code, message, Owner.SENDER, at, expected, found), verdict)


def suspect(
    code: ReasonCode, message: str, *, at: str = "", expected: str = "", found: str = ""
) -> Finding:
    """Return a warning for the people who know the data."""
    return Finding(code, message, Owner.DATA_STEWARD, at, expected, found)
