"""`forebay up`."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.status import Status

from forebay_cli.home import Home
from forebay_cli.localcloud.lifecycle import UpRequest, UpResult, bring_up
from forebay_cli.localcloud.record import LocalCloud
from forebay_cli.output import Output, duration_text, json_option


@click.command()
@click.option(
    "--secure/--open",
    default=None,
    help="TLS and IAM enforcement: a missing grant fails as it would in AWS (default: open).",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port (default 4566; 0: any free one).")
@click.option("--persist", is_flag=True, help="Keep state between `down` and the next `up`.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep state in this folder (implies --persist).",
)
@click.option(
    "--access-log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a line for every API call to this file.",
)
@click.option("--deploy", "deploy_always", is_flag=True, help="Deploy even if nothing changed.")
@json_option
def up(  # noqa: PLR0913 - one parameter per option
    *,
    secure: bool | None,
    port: int | None,
    persist: bool,
    data: Path | None,
    access_log: Path | None,
    deploy_always: bool,
    as_json: bool,
) -> None:
    """Start the local cloud and deploy Forebay to it.

    The local cloud is MiniStack in a Python environment of its own under .forebay/, with the same
    CDK app deployed to it as in AWS. Calling `up` again deploys what changed in the source, and
    nothing otherwise. State is discarded by `forebay down`, so that the next `up` is a fresh cloud,
    unless --persist or --data keeps it.
    """
    home = Home.find()
    output = Output.create(as_json=as_json)
    folder = data.absolute() if data else (home.kept_state if persist else None)
    log = access_log.absolute() if access_log else None
    request = UpRequest(secure, port, folder, deploy_always, log)
    began = time.monotonic()
    with progress(output) as say:
        result = bring_up(home, request, say)
    seconds = time.monotonic() - began
    if as_json:
        output.document({**_document(result), "seconds": round(seconds, 1)})
    else:
        _print(output, result, seconds)


def progress(output: Output) -> AbstractContextManager[Callable[[str], None]]:
    """Return a context whose value shows what goes on: a spinner, or lines without a terminal."""
    if output.as_json:
        return nullcontext(_silent)
    if output.remarks.is_terminal:
        return _Spinner(output.remarks.status("Looking around"))
    return nullcontext(_Lines(output))


class _Spinner(AbstractContextManager[Callable[[str], None]]):
    def __init__(self, status: Status) -> None:
        self._status = status

    def __enter__(self) -> Callable[[str], None]:
        self._status.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def _show(self, text: str) -> None:
        self._status.update(text)


class _Lines:
    """Prints each phase once: without a terminal a count of resources is noise."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = ""

    def __call__(self, text: str) -> None:
        phase = text.partition(":")[0]
        if phase != self._last:
            self._last = phase
            self._output.say(phase)


def _silent(_: str) -> None:
    return


def _document(result: UpResult) -> dict[str, Any]:
    return {
        "local_cloud": public(result.cloud),
        "started": result.started,
        "deployed": result.deployed,
    }


def public(cloud: LocalCloud) -> dict[str, Any]:
    """Return a local cloud as JSON data."""
    return asdict(cloud)


def _print(output: Output, result: UpResult, seconds: float) -> None:
    cloud = result.cloud
    did = {
        (True, True): "The local cloud is up and Forebay is deployed to it",
        (True, False): "The local cloud is up again, with what was deployed before",
        (False, True): "The local cloud was up; what changed is deployed",
        (False, False): "The local cloud is up; nothing to deploy",
    }[result.started, result.deployed]
    output.out.print(f"{did} ({duration_text(seconds)}).")
    output.facts(
        [
            ("endpoint", cloud.endpoint),
            ("mode", "TLS and IAM enforced" if cloud.secure else "open (no TLS, no IAM)"),
            ("state", cloud.data_folder or "discarded by `forebay down`"),
            ("log", cloud.log_file),
            ("stop", "forebay down"),
        ]
    )
