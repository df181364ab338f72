"""`forebay inspect`."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.padding import Padding
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from forebay.domain.findings import Verdict
from forebay.formats.recognise import FileKind
from forebay_cli.failures import EXIT_TROUBLE
from forebay_cli.home import Home
from forebay_cli.inspecting.course import inspect_paths, total_bytes
from forebay_cli.inspecting.judging import Judged
from forebay_cli.inspecting.multiqc import multiqc_document
from forebay_cli.inspecting.remote import inspect_uri, is_uri
from forebay_cli.output import Output, json_option, size_text
from forebay_cli.target import Target, target_options

EXIT_BAD_INPUT: Final = 1
GOOD: Final = frozenset({Verdict.VALID.value, Verdict.WARNING.value})
SHOWN_REASONS: Final = 3
_STYLE: Final = {"valid": "green", "warning": "yellow", "invalid": "red", "unsupported": "magenta"}


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=None, help="Worker processes (default: cores)."
)
@click.option(
    "--multiqc",
    "multiqc_file",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Also write a custom content file for MultiQC; name it …_mqc.json.",
)
@click.option(
    "--no-identifiers",
    is_flag=True,
    help="Leave what identifies a person (PatientID, …) out of the JSON.",
)
@target_options
@json_option
def inspect(  # noqa: PLR0913 - one parameter per option
    *,
    paths: tuple[str, ...],
    jobs: int | None,
    multiqc_file: Path | None,
    no_identifiers: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Judge files as the cloud would: FILE, DIR or s3://bucket/prefix.

    Every file is read once: structure, integrity, statistics, digests; checksum lists and BagIt
    bags are held against the files beside them. `--json` prints one object per line. Files of other
    kinds that lie in a folder are only counted; one that is named itself is bad input.

    Exit status: 0 all good · 1 bad input among them · 2 wrong usage · 3 some could not be read.
    """
    output = Output.create(as_json=as_json)
    judged = list(_judge(output, paths, target, jobs or _cores()))
    if multiqc_file:
        document = json.dumps(multiqc_document(judged), indent=1)
        multiqc_file.write_text(document + "\n", encoding="utf-8")
    if as_json:
        for each in judged:
            document = json.dumps(
                each.document(with_identifiers=not no_identifiers), sort_keys=True, default=list
            )
            click.echo(document)
    else:
        _print(output, judged, _relevant(judged, paths))
    if any(each.trouble for each in judged):
        raise click.exceptions.Exit(EXIT_TROUBLE)
    if any(each.verdict not in GOOD for each in _relevant(judged, paths)):
        raise click.exceptions.Exit(EXIT_BAD_INPUT)


def _judge(output: Output, paths: Iterable[str], target: Target, jobs: int) -> Iterator[Judged]:
    local = [Path(path) for path in paths if not is_uri(path)]
    missing = [str(path) for path in local if not path.exists()]
    if missing:
        raise click.UsageError(f"There is no {', '.join(missing)}.")
    for uri in (path for path in paths if is_uri(path)):
        yield from inspect_uri(target.account(Home.find()).s3, uri, jobs=jobs)
    if local:
        with _bar(output, total_bytes(local)) as advance:
            yield from inspect_paths(local, jobs=jobs, progress=advance)


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
    named = set(paths)
    return [each for each in judged if each.kind != FileKind.UNKNOWN or each.path in named]


def _print(output: Output, judged: list[Judged], relevant: list[Judged]) -> None:
    for each in relevant:
        verdict = "unreadable" if each.trouble else each.verdict
        line = Text(f"{verdict:<12}", style=_STYLE.get(verdict, "red"))
        line.append(f"{each.kind:<15}{size_text(each.size_bytes):>10}  ", style="dim")
        line.append(each.path, style="default")
        output.out.print(line, soft_wrap=True)
        for sentence in [each.trouble] if each.trouble else _sentences(each):
            output.out.print(Padding(Text(sentence), (0, 0, 0, 12)))
    counts = Counter(each.verdict for each in relevant)
    said = [f"{counts[v.value]} {v.value}" for v in Verdict if counts[v.value]]
    if aside := len(judged) - len(relevant):
        said.append(f"{aside} of other kinds left aside")
    output.out.print(" · ".join(said) or "Nothing to judge.")


def _sentences(each: Judged) -> Iterator[str]:
    for finding in each.reasons[:SHOWN_REASONS]:
        where = f" at {finding.position}" if finding.position else ""
        yield f"{finding.code.value}{where}. {finding.message}"
    if (more := len(each.reasons) - SHOWN_REASONS) > 0:
        yield f"… and {more} more; --json prints them all."


def _cores() -> int:
    return len(os.sched_getaffinity(0))
