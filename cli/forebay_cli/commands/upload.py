"""`forebay upload`."""

import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from forebay.domain.naming import is_safe_name
from forebay_cli.deployment import Deployment
from forebay_cli.failures import EXIT_TROUBLE, CommandError, WrongUsage
from forebay_cli.home import Home
from forebay_cli.output import Output, duration_text, json_option, size_text, table
from forebay_cli.target import Target, target_options
from forebay_cli.uploads.journal import UploadJournal
from forebay_cli.uploads.planning import Destination, Plan, check_site, plan_upload
from forebay_cli.uploads.sending import Result, Sender, SendOptions, SentFile

_PATHS_SHOWN: Final = 10
_BATCH_CHARACTERS: Final = 128


@click.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(exists=True, readable=True, path_type=Path)
)
@click.option("--site", required=True, help="The site that sends: the first part of every key.")
@click.option(
    "--to",
    "destination",
    type=click.Choice([destination.value for destination in Destination]),
    default=Destination.AUTO.value,
    show_default=True,
    help="Landing zone; auto looks at each file.",
)
@click.option(
    "--batch",
    default="",
    help="Folder under the site, such as a run or a shipment; also the name receipts are issued by"
    " (default: no folder, and a new name).",
)
@click.option("--cohort", default="", help="The cohort all files belong to, for exceptions.")
@click.option("--skip-existing", is_flag=True, help="Skip files whose bytes are there already.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Parallel transfers."
)
@target_options
@json_option
def upload(  # noqa: PLR0913 - one parameter per option
    *,
    paths: tuple[Path, ...],
    site: str,
    destination: str,
    batch: str,
    cohort: str,
    skip_existing: bool,
    jobs: int,
    target: Target,
    as_json: bool,
) -> None:
    """Upload files and folders to the landing zones.

    Folders are walked; hidden files are left out. Every file travels with its SHA-256, which S3
    verifies; files above 64 MiB go in parts, and one that broke off is continued by the same
    command. DICOM files get a key made of their content, since their paths often hold names;
    everything else keeps its path relative to the folder given. Checksum files are stored before
    the files they speak of.

    Exit status: 0 all stored · 2 wrong usage · 3 some files could not be stored.
    """
    home = Home.find()
    output = Output.create(as_json=as_json)
    folder = check_batch(batch)
    options = SendOptions(
        check_site(site),
        folder,
        upload_batch=folder or new_batch(),
        cohort=check_cohort(cohort),
        jobs=jobs,
        skip_existing=skip_existing,
    )
    plan = plan_upload(paths, Destination(destination))
    deployment = target.for_sender(home)
    began = time.monotonic()
    sent = send_all(output, deployment, UploadJournal(home.uploads), plan, options)
    report = Report(plan, sent, time.monotonic() - began, options.site)
    if as_json:
        output.document(report.document())
    else:
        report.print(output)
    if report.failed:
        raise click.exceptions.Exit(EXIT_TROUBLE)


def check_batch(batch: str) -> str:
    """Return a batch name without outer slashes; raises WrongUsage when it cannot be a path."""
    parts = batch.strip("/").split("/")
    is_path = not any(part in {".", ".."} for part in parts) and "" not in parts
    # It travels as a header too.
    is_header = batch.isascii() and batch.isprintable() and len(batch) <= _BATCH_CHARACTERS
    if batch.strip("/") and not (is_path and is_header):
        raise WrongUsage(
            f"{batch!r} cannot be a batch.",
            "Use plain path segments, such as 2026-11-22/run7, of at most"
            f" {_BATCH_CHARACTERS} ASCII characters.",
        )
    return batch.strip("/")


def check_cohort(cohort: str) -> str:
    """Return a cohort's name; raises WrongUsage when it is no plain name."""
    if cohort and not is_safe_name(cohort):
        raise WrongUsage(
            f"{cohort!r} is no name of a cohort.",
            "Give up to 255 letters, digits and . _ + = @ , - such as RARE-1; no person's name.",
        )
    return cohort


def new_batch() -> str:
    """Return a name for an upload that was given none: the day, and eight random hex digits."""
    return f"{datetime.now(UTC):%Y-%m-%d}-{secrets.token_hex(4)}"


def send_all(
    output: Output, deployment: Deployment, journal: UploadJournal, plan: Plan, options: SendOptions
) -> list[SentFile]:
    """Send a plan's files under a progress bar."""
    bar = _Bar(output, plan)
    sender = Sender(
        deployment.account.s3,
        deployment.bucket,
        journal,
        replace(options, on_bytes=bar.advance_bytes),
    )
    sent: list[SentFile] = []
    try:
        with bar:
            for outcome in sender.send(plan.files):
                sent.append(outcome)
                bar.advance_files(len(sent))
    except KeyboardInterrupt:
        raise CommandError(
            f"Interrupted after {len(sent)} of {len(plan.files)} files.",
            "Run the same command with --skip-existing: it continues where this one stopped.",
        ) from None
    return sent


class _Bar:
    """Bytes, files and rate, on standard error and only on a terminal."""

    def __init__(self, output: Output, plan: Plan) -> None:
        self._files = len(plan.files)
        self._progress = Progress(
            TextColumn("Uploading"),
            BarColumn(bar_width=30),
            DownloadColumn(binary_units=True),
            TextColumn("{task.fields[files]} files"),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=output.remarks,
            disable=output.as_json or not output.remarks.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=plan.size_bytes, files=f"0/{self._files}")

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance_bytes(self, count: int) -> None:
        self._progress.advance(self._task, count)

    def advance_files(self, done: int) -> None:
        self._progress.update(self._task, files=f"{done}/{self._files}")


@dataclass(frozen=True, slots=True)
class Report:
    """What an upload came to."""

    plan: Plan
    sent: list[SentFile]
    seconds: float
    site: str = ""

    @property
    def batches(self) -> list[str]:
        """The batches receipts can be got for; several when uploads of earlier ones went on."""
        return sorted({file.upload_batch for file in self.sent if file.upload_batch})

    @property
    def failed(self) -> list[SentFile]:
        """The files that could not be stored."""
        return [file for file in self.sent if file.result is Result.FAILED]

    def document(self) -> dict[str, Any]:
        """Return the report as JSON data: each file, and how many ended how."""
        counts = Counter(file.result for file in self.sent)
        return {
            "files": [_file_document(file) for file in self.sent],
            "left_aside": dict(self.plan.left_aside),
            "site": self.site,
            "upload_batches": self.batches,
            **{result.value: counts[result] for result in Result},
            "size_bytes": self.plan.size_bytes,
            "seconds": round(self.seconds, 3),
        }

    def print(self, output: Output) -> None:
        """Print a summary by zone, then every problem."""
        summary = table("landing zone", "files", "size", *(result.value for result in Result))
        for zone in sorted({file.file.zone for file in self.sent}):
            files = [file for file in self.sent if file.file.zone is zone]
            counts = Counter(file.result for file in files)
            size = size_text(sum(file.file.size_bytes for file in files))
            cells = (str(counts[result] or "-") for result in Result)
            summary.add_row(zone.value, str(len(files)), size, *cells)
        output.rows(summary)
        rate = size_text(self.plan.size_bytes / max(self.seconds, 1e-3))
        output.out.print(f"\n{duration_text(self.seconds)}, {rate}/s.")
        _print_problems(output, self.failed, self.plan.left_aside)
        for batch in self.batches:
            output.say(f"Receipt for this batch: forebay receipt get {batch} --site {self.site}")


def _print_problems(
    output: Output, failed: Iterable[SentFile], left_aside: Mapping[str, str]
) -> None:
    """Print what was not stored, by reason."""
    problems: dict[str, list[str]] = {}
    for file in failed:
        problems.setdefault(f"Failed: {file.error}", []).append(str(file.file.path))
    for path, why in left_aside.items():
        problems.setdefault(f"Left aside: {why}", []).append(path)
    for reason, paths in problems.items():
        output.out.print(f"\n{reason}")
        for path in paths[:_PATHS_SHOWN]:
            output.out.print(f"  {path}", soft_wrap=True)
        if len(paths) > _PATHS_SHOWN:
            output.out.print(f"  and {len(paths) - _PATHS_SHOWN} more; --json lists them all")


def _file_document(file: SentFile) -> dict[str, Any]:
    location = file.location
    return {
        "path": str(file.file.path),
        "zone": file.file.zone.value,
        "bucket": location.bucket if location else "",
        "key": location.key if location else "",
        "version_id": location.version_id if location else "",
        "object_id": file.object_id,
        "size_bytes": file.file.size_bytes,
        "sha256": file.sha256,
        "result": file.result.value,
        "upload_batch": file.upload_batch,
        "error": file.error,
    }
