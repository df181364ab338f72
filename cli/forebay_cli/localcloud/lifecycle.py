"""`forebay up` and `forebay down`: the local cloud from nothing to deployed, and back."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud import emulator, ports
from forebay_cli.localcloud.certificate import ensure_certificate
from forebay_cli.localcloud.deploying import cdk_command, deploy, source_fingerprint
from forebay_cli.localcloud.environment import ensure_environment
from forebay_cli.localcloud.interpreters import best_interpreter
from forebay_cli.localcloud.passing import tell_functions, tell_storage
from forebay_cli.localcloud.record import LocalCloud

_PORT_FILE: Final = "port"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class UpRequest:
    """What the person asked `forebay up` for; None means "no matter"."""

    secure: bool | None = None
    port: int | None = None
    data_folder: Path | None = None
    deploy_always: bool = False
    access_log: Path | None = None


@dataclass(frozen=True, slots=True)
class UpResult:
    """What `forebay up` did."""

    cloud: LocalCloud
    started: bool
    deployed: bool


def running_cloud(home: Home) -> LocalCloud | None:
    """Return the local cloud if its process is alive."""
    cloud = LocalCloud.load(home.record)
    return cloud if cloud and cloud.process() else None


def bring_up(home: Home, request: UpRequest, say: Say) -> UpResult:
    """Start the local cloud unless it runs, and deploy unless this source is deployed."""
    project = home.require_project()
    cdk_command(project)
    cloud = running_cloud(home)
    started = cloud is None
    if cloud is None:
        cloud = _start(home, request, say)
    else:
        _require_same(cloud, request)
    fingerprint = source_fingerprint(project)
    if cloud.deployed == fingerprint and not request.deploy_always:
        return UpResult(cloud, started, deployed=False)
    deploy(home, cloud, lambda step: say(f"Deploying · {step}"))
    tell_functions(cloud)
    cloud = cloud.with_deployed(fingerprint)
    cloud.save(home.record)
    return UpResult(cloud, started, deployed=True)


def bring_down(home: Home, *, purge: bool) -> bool:
    """Stop the local cloud and remove what it left; True if one was running.

    State kept by `--persist` stays, unless `purge`, which also removes the emulator's environment.
    """
    cloud = LocalCloud.load(home.record)
    stopped = emulator.stop(cloud) if cloud else False
    home.record.unlink(missing_ok=True)
    (home.state / emulator.CLOCK_FILE).unlink(missing_ok=True)
    leftovers = [home.scratch, home.synthesized]
    if purge:
        leftovers += [home.environment, home.certificates, home.logs]
        leftovers += [home.kept_state, home.demonstration]
    for folder in leftovers:
        shutil.rmtree(folder, ignore_errors=True)
    if purge:
        _remove_if_empty(home.uploads)
        _remove_if_empty(home.state)
    return stopped


def _start(home: Home, request: UpRequest, say: Say) -> LocalCloud:
    port = _port(request)
    ports.require_free(port)
    shutil.rmtree(home.scratch, ignore_errors=True)
    python = ensure_environment(home, best_interpreter(), say)
    certificate = ensure_certificate(home) if request.secure else None
    say("Starting the emulator")
    settings = emulator.EmulatorSettings(
        port, python, certificate, request.data_folder, request.access_log
    )
    # The clock of kept state lies with that state; any other belongs to a cloud that is gone.
    (home.state / emulator.CLOCK_FILE).unlink(missing_ok=True)
    cloud = emulator.start(home, settings)
    tell_storage(cloud)
    if request.data_folder:
        (request.data_folder / _PORT_FILE).write_text(f"{port}\n")
    return cloud


def _port(request: UpRequest) -> int:
    """Return the port to serve on: kept state holds queue URLs, which end where it was served."""
    kept = request.data_folder / _PORT_FILE if request.data_folder else None
    if kept is None or not kept.is_file():
        port = ports.DEFAULT_PORT if request.port is None else request.port
        return port or ports.any_free_port()
    port = int(kept.read_text())
    if request.port not in (None, 0, port):
        raise CommandError(
            f"The state in {request.data_folder} was kept at port {port} and works only there.",
            f"Give --port {port} or none, or another folder.",
        )
    return port


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _require_same(cloud: LocalCloud, request: UpRequest) -> None:
    wishes = {
        "--port": request.port not in (None, 0, cloud.port),
        "--secure": request.secure is not None and request.secure != cloud.secure,
        "--persist": request.data_folder is not None
        and str(request.data_folder) != cloud.data_folder,
    }
    differing = [name for name, differs in wishes.items() if differs]
    if differing:
        raise CommandError(
            f"A local cloud is already up at {cloud.endpoint}, started with another "
            f"{' and '.join(differing)}.",
            "Stop it first (`forebay down`), or start another: FOREBAY_HOME=<folder> forebay up",
        )
