"""Starting, watching and stopping the emulator's process."""

import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud.certificate import Certificate
from forebay_cli.localcloud.ports import HOST
from forebay_cli.localcloud.record import ACCESS_KEY, ACCOUNT, REGION, SECRET_KEY, LocalCloud

HEALTH_PATH: Final = "/_ministack/health"
_APPLICATION: Final = Path(__file__).parent / "inside" / "forebay_storage.py"
"""MiniStack, with what its S3 lacks."""
CLOCK_FILE: Final = "clock.json"
ACCESS_LOG_FORMAT: Final = (
    "%(t)s\t%(m)s\t%(U)s\t%(q)s\t%({x-amz-target}i)s\t%(s)s\t%({user-agent}i)s"
)
"""Tab separated: time, method, path, query, X-Amz-Target, status, user agent."""
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_KILL_SECONDS: Final = 5.0
_LOG_TAIL_LINES: Final = 15


_started: Final[list["subprocess.Popen[bytes]"]] = []
"""Kept, since a Popen that is thrown away warns that its process still runs; it is meant to."""


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """How to start the emulator.

    `data_folder` None discards all state when it stops; `access_log` gets a line per API call.
    """

    port: int
    python: Path
    certificate: Certificate | None = None
    data_folder: Path | None = None
    access_log: Path | None = None

    @property
    def endpoint(self) -> str:
        """The one endpoint of all services; an IP address makes S3 clients use path style."""
        return f"{'https' if self.certificate else 'http'}://{HOST}:{self.port}"


def start(home: Home, settings: EmulatorSettings) -> LocalCloud:
    """Start the emulator in a session of its own and wait until it answers."""
    log_file = home.logs / "emulator.log"
    for folder in (home.logs, home.scratch, home.scratch / "home"):
        folder.mkdir(parents=True, exist_ok=True)
    if settings.data_folder:
        settings.data_folder.mkdir(parents=True, exist_ok=True)
    with log_file.open("wb") as log:
        child = subprocess.Popen(  # noqa: S603 - the interpreter of our own environment
            _command(settings),
            cwd=home.scratch,
            env=_environment(home, settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _started.append(child)
    cloud = LocalCloud(
        endpoint=settings.endpoint,
        port=settings.port,
        secure=settings.certificate is not None,
        pid=child.pid,
        started_at=psutil.Process(child.pid).create_time(),
        ca_bundle=str(settings.certificate.bundle) if settings.certificate else "",
        log_file=str(log_file),
        data_folder=str(settings.data_folder or ""),
        clock_file=str((settings.data_folder or home.state) / CLOCK_FILE),
        python=str(settings.python),
    )
    cloud.save(home.record)
    _await_health(cloud, child)
    return cloud


def stop(cloud: LocalCloud) -> bool:
    """End the emulator, its functions and everything else in its session; False if none ran."""
    process = cloud.process()
    family = _session(cloud)
    if process:
        # The emulator first and alone: given the chance it saves its state.
        process.terminate()
        psutil.wait_procs([process], timeout=_STOP_SECONDS)
    family += _session(cloud)
    for member in family:
        _kill(member)
    psutil.wait_procs(family, timeout=_KILL_SECONDS)
    for child in _started:
        child.poll()
    return bool(family)


def is_healthy(cloud: LocalCloud) -> bool:
    """Tell whether the emulator answers at its endpoint."""
    context = ssl.create_default_context(cafile=cloud.ca_bundle) if cloud.ca_bundle else None
    # The address is the loopback endpoint this module made; no proxy may stand in between.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(cloud.endpoint + HEALTH_PATH, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def log_tail(log_file: str, lines: int = _LOG_TAIL_LINES) -> str:
    """Return the last lines of a log, indented for an error message."""
    try:
        text = Path(log_file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(f"  | {line}" for line in text.splitlines()[-lines:])


def client_environment(cloud: LocalCloud) -> dict[str, str]:
    """Return the environment in which AWS tools talk to this local cloud and to nothing else."""
    trust = {}
    if cloud.ca_bundle:
        names = ("NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        trust = dict.fromkeys(names, cloud.ca_bundle)
    return {
        "AWS_ENDPOINT_URL": cloud.endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": cloud.region,
        "AWS_DEFAULT_REGION": cloud.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": _no_proxy(),
        "no_proxy": _no_proxy(),
        **trust,
    }


def _no_proxy() -> str:
    present = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    return ",".join(filter(None, (present, HOST, "localhost")))


def _command(settings: EmulatorSettings) -> list[str]:
    # The ASGI server rather than `python -m ministack`, which would also bind port 443 under TLS
    # and leave a pid file in the machine's temporary folder.
    command = [str(settings.python), "-m", "hypercorn", f"{_APPLICATION}:app"]
    # In this very process: a supervisor that dies would leave its worker on the port.
    command += ["--workers", "0"]
    command += ["--bind", f"{HOST}:{settings.port}", "--keep-alive", "75"]
    if settings.access_log:
        command += ["--access-logfile", str(settings.access_log)]
        command += ["--access-logformat", ACCESS_LOG_FORMAT]
    if settings.certificate:
        command += ["--certfile", str(settings.certificate.certificate)]
        command += ["--keyfile", str(settings.certificate.key)]
    return command


def _environment(home: Home, settings: EmulatorSettings) -> dict[str, str]:
    """Return the emulator's whole environment.

    Functions inherit it, so nothing of the person's own environment goes in: no AWS profile, no
    credentials, no proxy, and a home folder without `~/.aws`.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(home.scratch / "home"),
        "TMPDIR": str(home.scratch),
        "PYTHONUNBUFFERED": "1",
        "GATEWAY_PORT": str(settings.port),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        # Listeners of services Forebay does not use would take further ports.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    if settings.certificate:
        environment |= {
            "USE_SSL": "1",
            "AUTH": "true",
            "MINISTACK_SSL_CERT": str(settings.certificate.certificate),
            "MINISTACK_SSL_KEY": str(settings.certificate.key),
            **settings.certificate.trust(),
        }
    if settings.data_folder:
        environment |= {
            "PERSIST_STATE": "1",
            "STATE_DIR": str(settings.data_folder / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(settings.data_folder / "s3"),
        }
    return environment


def _await_health(cloud: LocalCloud, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise CommandError(
                f"The emulator ended while starting (exit code {child.returncode}):\n"
                f"{log_tail(cloud.log_file)}",
                f"Read {cloud.log_file}; `forebay doctor` checks this machine.",
            )
        if is_healthy(cloud):
            return
        time.sleep(0.1)
    stop(cloud)
    raise CommandError(
        f"The emulator did not answer at {cloud.endpoint} within {_START_SECONDS:.0f} s:\n"
        f"{log_tail(cloud.log_file)}",
        f"Read {cloud.log_file}; `forebay doctor` checks this machine.",
    )


def _session(cloud: LocalCloud) -> list[psutil.Process]:
    """Return all processes of the emulator's session, also those that outlived it.

    While a session has members its id is not given to another process, so that a foreign process
    of that id means that nobody is left.
    """
    if psutil.pid_exists(cloud.pid) and cloud.process() is None and not _is_zombie(cloud.pid):
        return []
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == cloud.pid:
                members.append(process)
        except OSError:
            continue
    return members


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
