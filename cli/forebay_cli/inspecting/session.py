"""The session behind `forebay inspect`: judge, print, and tell how it ended.

Apart from the command, because it imports the parsers, which no other command should wait for.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich.padding import Padding
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from forebay.domain.findings import Verdict
from forebay.formats.recognise import FileKind
from forebay_cli.failures import EXIT_OK, EXIT_TROUBLE
from forebay_cli.home import Home
from forebay_cli.inspecting.course import inspect_found
from forebay_cli.inspecting.finding_files import find_files
from forebay_cli.inspecting.judging import Judged
from forebay_cli.inspecting.multiqc import multiqc_document
from forebay_cli.inspecting.remote import inspect_uri, is_uri
from forebay_cli.output import Output, size_text
from forebay_cli.target import Target

EXIT_BAD_INPUT: Final = 1
GOOD: Final = frozenset({Verdict.VALID.value, Verdict.WARNING.value})
SHOWN_REASONS: Final = 3
_STYLE: Final = {
    "valid": "green",
    "warning": "yellow",
    "invalid": "red",
    "unsupported": "magenta",
    "unreadable": "red",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for."""

    paths: tuple[str, ...]
    jobs: int | None
    multiqc_file: Path | None
    with_identifiers: bool
    target: Target


def run(output: Output, request: Request) -> int:
    """Judge everything, print it, and return the exit code."""
    jobs = request.jobs or _cores()
    _require(request)
    judged = list(_judge(output, request.paths, request.target, jobs))
    relevant = _relevant(judged, request.paths)
    if request.multiqc_file:
        text = json.dumps(multiqc_document(relevant), indent=1)
        request.multiqc_file.write_text(text + "\n", encoding="utf-8")
    if output.as_json:
        _print_lines(judged, with_identifiers=request.with_identifiers)
    else:
        _print(output, judged, relevant)
    if any(each.trouble for each in judged):
        return EXIT_TROUBLE
    return EXIT_OK if all(each.verdict in GOOD for each in relevant) else EXIT_BAD_INPUT


def _require(request: Request) -> None:
    """Refuse what cannot work before hours are spent on reading."""
    missing = [path for path in request.paths if not is_uri(path) and not Path(path).exists()]
    if missing:
        raise click.UsageError(f"There is no {', '.join(map(shown, missing))}.")
    if request.multiqc_file and not request.multiqc_file.parent.is_dir():
        raise click.UsageError(f"There is no folder {shown(str(request.multiqc_file.parent))}.")


def _print_lines(judged: Iterable[Judged], *, with_identifiers: bool) -> None:
    for each in judged:
        document = each.document(with_identifiers=with_identifiers)
        click.echo(json.dumps(document, sort_keys=True, default=list))


def _judge(output: Output, paths: Iterable[str], target: Target, jobs: int) -> Iterator[Judged]:
    local = [Path(path) for path in paths if not is_uri(path)]
    for uri in (path for path in paths if is_uri(path)):
        yield from inspect_uri(target.account(Home.find()).s3, uri, jobs=jobs)
    if local:
        found = find_files(local)
        with _bar(output, found.size_bytes) as advance:
            yield from inspect_found(found, jobs=jobs, progress=advance)
        _tell_passed_over(output, found.passed_over)


def _tell_passed_over(output: Output, passed_over: Mapping[str, int]) -> None:
    """Say what was not looked into, to programs too: it may be what somebody meant to ship."""
    counts = [f"{what} ({count})" for what, count in passed_over.items()]
    if counts:
        output.remarks.print(f"Not looked into: {', '.join(counts)}. Name one to have it judged.")


@contextmanager
def _bar(output: Output, size_bytes: int) -> Iterator[Any]:
    progress = Progress(
        TextColumn("Inspecting"),
        BarColumn(bar_width=30),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        console=output.remarks,
        disable=output.as_json or not output.remarks.is_terminal,
        transient=True,
    )
    with progress:
        task = progress.add_task("", total=size_bytes)
        yield lambda count: progress.advance(task, count)


def _relevant(judged: Iterable[Judged], paths: Iterable[str]) -> list[Judged]:
    """Return what decides: a README beside the data is nobody's mistake."""
    named = {path if is_uri(path) else str(Path(path)) for path in paths}
    return [
        each
        for each in judged
        if each.kind != FileKind.UNKNOWN or each.trouble or each.path in named
    ]


def _print(output: Output, judged: list[Judged], relevant: list[Judged]) -> None:
    for each in relevant:
        verdict = each.shown_verdict
        line = Text(f"{verdict:<12}", style=_STYLE.get(verdict, "red"))
        line.append(f"{each.kind:<15}{size_text(each.size_bytes):>10}  ", style="dim")
        line.append(shown(each.path), style="default")
        output.out.print(line, soft_wrap=True)
        for sentence in [each.trouble] if each.trouble else _sentences(each):
            output.out.print(Padding(Text(sentence), (0, 0, 0, 12)))
    counts = Counter(each.shown_verdict for each in relevant)
    said = [f"{count} {verdict}" for verdict in _STYLE if (count := counts[verdict])]
    if aside := len(judged) - len(relevant):
        said.append(f"{aside} of other kinds left aside")
    output.out.print(" · ".join(said) or "Nothing to judge.")


def _sentences(each: Judged) -> Iterator[str]:
    for finding in each.reasons[:SHOWN_REASONS]:
        where = f" at {finding.position}" if finding.position else ""
        yield f"{finding.code.value}{where}. {finding.message}"
    if (more := len(each.reasons) - SHOWN_REASONS) > 0:
        yield f"… and {more} more; --json prints them all."


def shown(path: str) -> str:
    """Return a path fit for a terminal: file names may hold escapes, and bytes that are no text."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
