"""Judging one file in a worker process, and what it reports back."""

import resource
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.integrity import Algorithm
from forebay.errors import Trouble
from forebay.formats.any_file import FileReport, inspect_any
from forebay.formats.bagit import inspect_bag
from forebay.formats.recognise import FileKind
from forebay.formats.source import FileSource
from forebay_cli.inspecting.finding_files import files_of_bag

MEMORY_LIMIT_BYTES: Final = 4 << 30
"""Address space of a worker: a hostile file ends its worker, not the machine."""
UNREADABLE: Final = "UNREADABLE"
"""The reason's code where a file could not be read: no finding about the file, and never stored."""


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

    @property
    def shown_verdict(self) -> str:
        """The verdict for people, to whom a file that could not be read is not a kind of file."""
        return "unreadable" if self.trouble else self.verdict

    def refused(self, finding: Finding) -> "Judged":
        """Return the judgement with one more reason, which convicts."""
        reasons = (finding, *self.reasons)
        return replace(self, verdict=Verdict.INVALID.value, reasons=reasons)

    def document(self, *, with_identifiers: bool) -> dict[str, Any]:
        """Return the JSON object of this file."""
        return {
            "path": self.path,
            "kind": self.kind,
            "verdict": self.verdict,
            "reasons": [_unreadable_reason(self.trouble)] if self.trouble else self._reasons(),
            "digests": self.digests,
            "metadata": self.metadata | (self.subject if with_identifiers else {}),
        }

    def _reasons(self) -> list[dict[str, str]]:
        return [finding.as_dict() for finding in self.reasons]


def limit_memory() -> None:
    """Bound a worker process; called once as it starts."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


def judge_path(path: Path, algorithms: Collection[Algorithm]) -> Judged:
    """Judge one file on disk, or a folder as a bag; never raises for what is in it."""
    try:
        return _judge_bag(path) if path.is_dir() else _judge_file(path, algorithms)
    except (OSError, Trouble) as exc:
        return unreadable(str(path), getattr(exc, "strerror", None) or str(exc))
    except MemoryError:
        return _too_big(path)


def _judge_file(path: Path, algorithms: Collection[Algorithm]) -> Judged:
    if path.exists() and not path.is_file():
        return unreadable(str(path), "It is a pipe or device, which can be read only once")
    with FileSource(path) as source:
        return of_report(str(path), inspect_any(source, algorithms), source.size_bytes)


def _judge_bag(folder: Path) -> Judged:
    paths = files_of_bag(folder)
    inspection = inspect_bag({name: _FileOfBag(path) for name, path in paths.items()})
    judged = Judged(
        path=str(folder),
        kind=FileKind.MANIFEST.value,
        verdict=inspection.verdict.value,
        reasons=inspection.findings,
        metadata=inspection.record.as_metadata() if inspection.record else {},
        size_bytes=inspection.bytes_read,
    )
    inside = folder.resolve()
    for name, path in paths.items():
        if not path.resolve().is_relative_to(inside):
            judged = judged.refused(_leads_outside(name))
    return judged


def _leads_outside(name: str) -> Finding:
    return Finding(
        code=ReasonCode.UNSAFE_NAME,
        message="A file of the bag is a link to one outside of it, which will not be there where"
        " the bag is unpacked: put the file itself into the bag.",
        owner=Owner.SENDER,
        position=name,
        expected="a file within the bag",
        found="a link that leads outside",
    )


class _FileOfBag:
    """A ByteSource that is open only while it is read: bags hold more files than a process may."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.size_bytes = path.stat().st_size

    def read_range(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        with FileSource(self.name) as source:
            return source.read_range(start, length)


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


def crashed(path: PurePath) -> Judged:
    """Return the line for a file whose worker died: a verdict, not an outage."""
    finding = Finding(
        code=ReasonCode.LIMIT_EXCEEDED,
        message="Reading this file killed its process; it is refused as hostile or broken.",
        owner=Owner.SENDER,
        expected="a file that can be read within bounds",
        found="a crash of the parser",
    )
    return Judged(str(path), FileKind.UNKNOWN.value, Verdict.INVALID.value, (finding,))


def unreadable(path: str, reason: str) -> Judged:
    """Return the line for what could not be read, which says nothing about its content."""
    return Judged(path, FileKind.UNKNOWN.value, Verdict.UNSUPPORTED.value, trouble=reason)


def failed(path: PurePath, problem: BaseException) -> Judged:
    """Return the line for a file at which a parser failed by a bug of ours."""
    name = type(problem).__name__
    return unreadable(str(path), f"Forebay failed at it ({name}); please report this")


def _unreadable_reason(trouble: str) -> dict[str, str]:
    return {
        "code": UNREADABLE,
        "message": f"The file could not be read: {trouble}.",
        "position": "",
        "expected": "a file that can be read",
        "found": trouble,
        "owner": Owner.PLATFORM.value,
    }


def _too_big(path: Path) -> Judged:
    finding = Finding(
        code=ReasonCode.LIMIT_EXCEEDED,
        message="Reading this file needs more memory than any sound one does.",
        owner=Owner.SENDER,
        expected=f"at most {MEMORY_LIMIT_BYTES} bytes",
        found="more",
    )
    return Judged(str(path), FileKind.UNKNOWN.value, Verdict.INVALID.value, (finding,))
