"""Deploying the CDK app to the local cloud with the project's own CDK command line."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud.emulator import client_environment, log_tail
from forebay_cli.localcloud.record import LocalCloud

OLDEST_NODE: Final = 20
_SOURCES: Final = ("infra", "functions", "layers", "policies", "pipelines")
_SOURCE_FILES: Final = ("app.py", "cdk.json", "package-lock.json")
_IGNORED_FOLDERS: Final = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache"})
# What a person's shell says about their real account must not reach the local deployment.
_FOREIGN: Final = frozenset(
    {
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    }
)
_RESOURCE_LINE: Final = re.compile(
    r"^(?P<stack>[\w-]+) \|\s*(?P<done>\d+)/(?P<all>\d+) \|[^|]*\|\s*(?P<status>\w+)\s*\|"
    r"\s*(?P<type>[\w:]+)"
)
_STACK_LINE: Final = re.compile(r"^(?P<stack>[\w-]+): (?P<what>deploying\.\.\.|creating)")


def cdk_command(project: Path) -> list[str]:
    """Return the pinned CDK command line; raises CommandError when it or Node is missing."""
    require_node()
    cdk = project / "node_modules" / ".bin" / "cdk"
    if not cdk.exists():
        raise CommandError(
            "The project's CDK command line is not installed.",
            f"Run `npm ci` in {project}.",
        )
    return [str(cdk)]


def require_node() -> str:
    """Return Node's version; raises CommandError when it is missing or too old."""
    node = shutil.which("node")
    if node is None:
        raise CommandError(
            "Node.js is not installed; the CDK command line runs on it.",
            f"Install Node {OLDEST_NODE} or newer (22 recommended) from https://nodejs.org.",
        )
    done = subprocess.run(  # noqa: S603 - node, found on PATH
        [node, "--version"], capture_output=True, text=True, check=False
    )
    version = done.stdout.strip().removeprefix("v")
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST_NODE:
        raise CommandError(
            f"Node.js {version or '(unknown version)'} is too old for the CDK command line.",
            f"Install Node {OLDEST_NODE} or newer (22 recommended); PATH has {node} first.",
        )
    return version


def source_fingerprint(project: Path) -> str:
    """Return a digest of everything a deployment is made from."""
    digest = hashlib.sha256()
    for path in _source_files(project):
        digest.update(f"{path.relative_to(project)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def deploy(home: Home, cloud: LocalCloud, on_progress: Callable[[str], None]) -> None:
    """Deploy all stacks of the local profile; raises CommandError with the end of the log.

    A cloud that nothing was deployed to yet is bootstrapped first, as a real account is.
    """
    project = home.require_project()
    cdk = cdk_command(project)
    home.logs.mkdir(parents=True, exist_ok=True)
    log_file = home.logs / "deploy.log"
    settings = deployment_environment(home, cloud)
    with log_file.open("w", encoding="utf-8") as log:
        if not cloud.deployed:
            on_progress("preparing the account")
            environment = f"aws://{cloud.account}/{cloud.region}"
            # Outside the project: bootstrapping needs no app, and with one it would synthesize it.
            bootstrap = [*cdk, "bootstrap", environment, "--no-notices"]
            _run(bootstrap, home.scratch, settings, log)
        on_progress("synthesizing")
        command = [*cdk, "deploy", "--all", *_deploy_arguments(home, cloud)]
        _run(command, project, settings, log, on_progress)


def _deploy_arguments(home: Home, cloud: LocalCloud) -> list[str]:
    return [
        *("--app", f"{sys.executable} app.py", "--output", str(home.synthesized)),
        # Change sets bring nothing here, and the emulator's cost a second per stack.
        *("--method", "direct", "--require-approval", "never"),
        *("--progress", "events", "--no-notices", "--no-version-reporting"),
        *("--context", "forebay:profile=local"),
        *("--context", f"forebay:python={cloud.python}"),
    ]


def _run(
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    log: IO[str],
    on_progress: Callable[[str], None] = lambda _: None,
) -> None:
    child = subprocess.Popen(  # noqa: S603 - the project's own CDK
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        for line in child.stdout or ():
            log.write(line)
            log.flush()
            if step := progress_of(line):
                on_progress(step)
        code = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
    if code != 0:
        raise CommandError(
            f"`cdk {command[1]}` failed (exit code {code}):\n{log_tail(log.name, 25)}",
            f"Read {log.name}; the emulator's own log is emulator.log beside it.",
        )


def deployment_environment(home: Home, cloud: LocalCloud) -> dict[str, str]:
    """Return the environment of the CDK: this shell's, without its AWS settings, pointed here."""
    nowhere = home.scratch / "home" / "aws"
    return {
        **{name: value for name, value in os.environ.items() if not _is_foreign(name)},
        **client_environment(cloud),
        "AWS_CONFIG_FILE": f"{nowhere}-config",
        "AWS_SHARED_CREDENTIALS_FILE": f"{nowhere}-credentials",
        "CDK_DEFAULT_ACCOUNT": cloud.account,
        "CDK_DEFAULT_REGION": cloud.region,
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    }


def _is_foreign(name: str) -> bool:
    # The app lets FOREBAY_<SETTING> override its context; the local profile takes no overrides.
    return name in _FOREIGN or name.startswith("FOREBAY_")


def progress_of(line: str) -> str:
    """Return what a line of CDK's output says about progress; '' when it says nothing."""
    if match := _RESOURCE_LINE.match(line):
        return f"{match['stack']}: {match['done']} of {match['all']} resources"
    if match := _STACK_LINE.match(line):
        return f"{match['stack']}: deploying"
    return ""


def _source_files(project: Path) -> Iterator[Path]:
    for name in _SOURCE_FILES:
        if (project / name).is_file():
            yield project / name
    for name in _SOURCES:
        for folder, folders, files in os.walk(project / name):
            folders[:] = sorted(set(folders) - _IGNORED_FOLDERS)
            for file in sorted(files):
                if not file.endswith(".pyc"):
                    yield Path(folder) / file
