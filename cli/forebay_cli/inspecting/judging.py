"""Judging one file in a worker process, and what it reports back."""

import resource
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.integrity import Algorithm
from forebay.formats.any_file import FileReport, inspect_any
from forebay.formats.bagit import inspect_bag
from forebay.formats.source import FileSource
from forebay_cli.inspecting.finding_files import files_of_bag

MEMORY_LIMIT_BYTES: Final = 4 << 30
"""Address space of a worker: a hostile file ends its worker, not the machine."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One line of `forebay inspect`; `trouble` is set when the file could not be read at all."""

    path: str
    kind: str
    verdict: str
    reasons: tuple[Finding, ...] = ()
    digests: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    subject: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    trouble: str = ""

    def refused(self, finding: Finding) -> "Judged":
        """Return the judgement with one more reason, which convicts."""
        reasons = (finding, *self.reasons)
        return replace(self, verdict=Verdict.INVALID.value, reasons=reasons)

    def document(self, *, with_identifiers: bool) -> dict[str, Any]:
        """Return the JSON object of this file."""
        document = {
            "path": self.path,
            "kind": self.kind,
            "verdict": self.verdict,
            "reasons": [finding.as_dict() for finding in self.reasons],
            "digests": self.digests,
            "metadata": self.metadata | (self.subject if with_identifiers else {}),
        }
        return document | ({"trouble": self.trouble} if self.trouble else {})


def limit_memory() -> None:
    """Bound a worker process; called once as it starts."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


def judge_file(path: Path, algorithms: Collection[Algorithm]) -> Judged:
    """Judge one file on disk; never raises for what is in it."""
    try:
        with FileSource(path) as source:
            size = source.size_bytes
            report = inspect_any(source, algorithms)
    except OSError as exc:
        return Judged(str(path), "unknown", "unsupported", trouble=f"{exc.strerror or exc}")
    except MemoryError:
        return _too_big(path)
    return of_report(str(path), report, size)


def judge_bag(folder: Path) -> Judged:
    """Judge a BagIt bag as a whole."""
    opened: dict[str, FileSource] = {}
    try:
        for name, path in files_of_bag(folder).items():
            opened[name] = FileSource(path, name=name)
        inspection = inspect_bag(opened)
    except OSError as exc:
        return Judged(str(folder), "manifest", "unsupported", trouble=f"{exc.strerror or exc}")
    finally:
        for source in opened.values():
            source.close()
    return Judged(
        path=str(folder),
        kind="manifest",
        verdict=inspection.verdict.value,
        reasons=inspection.findings,
        metadata=inspection.record.as_metadata() if inspection.record else {},
        size_bytes=inspection.bytes_read,
    )


def of_report(path: str, report: FileReport, size_bytes: int) -> Judged:
    """Return the line for a report."""
    return Judged(
        path=path,
        kind=report.kind.value,
        verdict=report.verdict.value,
        reasons=report.findings,
        digests={digest.algorithm.value: digest.value for digest in report.digests},
        metadata=dict(report.metadata),
        subject=dict(report.subject),
        size_bytes=size_bytes,
    )


def crashed(path: Path) -> Judged:
    """Return the line for a file whose worker died: a verdict, not an outage."""
    finding = Finding(
        code=ReasonCode.LIMIT_EXCEEDED,
        message="Reading this file killed its process; it is refused as hostile or broken.",
        owner=Owner.SENDER,
        expected="a file that can be read within bounds",
        found="a crash of the parser",
    )
    return Judged(str(path), "unknown", Verdict.INVALID.value, (finding,))


def _too_big(path: Path) -> Judged:
    finding = Finding(
        code=ReasonCode.LIMIT_EXCEEDED,
        message="Reading this file needs more memory than any sound one does.",
        owner=Owner.SENDER,
        expected=f"at most {MEMORY_LIMIT_BYTES} bytes",
        found="more",
    )
    return Judged(str(path), "unknown", Verdict.INVALID.value, (finding,))
