"""How the parsers of alignments and variants refuse a file, and the bounds they keep."""

from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict

__all__ = [
    "MAX_HEADER_BYTES",
    "MAX_REFERENCES",
    "RefusedError",
    "beyond_contig",
    "beyond_reference",
    "joined",
    "refused",
    "suspect",
    "unknown_group",
]

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


def joined(code: ReasonCode, kind: str, *, at: str, tool: str) -> RefusedError:
    """Return the error that refuses files of one kind put one behind the other."""
    return refused(
        code,
        f"Another {kind} file starts here: files were joined byte by byte, and programs read the"
        f" first of them or none. Join them with {tool}.",
        at=at,
        expected="one header, at the start",
        found=f"the start of another {kind} file",
    )


def beyond_reference(at: str) -> Finding:
    """Return the warning that an alignment starts behind the end of its reference."""
    return suspect(
        ReasonCode.POSITION_BEYOND_REFERENCE,
        "An alignment starts behind the end of its reference as the header has it: the reads may"
        " have been aligned to another assembly.",
        at=at,
        expected="positions within LN of the @SQ line",
        found="a position beyond it",
    )


def unknown_group(at: str) -> Finding:
    """Return the warning that a record is of a read group that the header does not have."""
    return suspect(
        ReasonCode.READ_GROUP_UNKNOWN,
        "A record is of a read group (RG) that the header does not have, so its sample is not known"
        " and callers will refuse it. Write the header again with all read groups.",
        at=at,
        expected="the ID of an @RG line",
        found="another one",
    )


def beyond_contig(at: str) -> Finding:
    """Return the warning that a variant lies behind the end of its contig."""
    return suspect(
        ReasonCode.VCF_RECORD_SUSPECT,
        "A variant lies behind the end of its contig as the header has it: it may have been called"
        " against another assembly.",
        at=at,
        expected="POS of at most the contig's length, or one more for its end",
        found="a position beyond it",
    )


def suspect(
    code: ReasonCode, message: str, *, at: str = "", expected: str = "", found: str = ""
) -> Finding:
    """Return a warning for the people who know the data."""
    return Finding(code, message, Owner.DATA_STEWARD, at, expected, found)
