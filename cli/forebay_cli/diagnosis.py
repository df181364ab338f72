"""What `forebay doctor` looks at: this machine, the local cloud, or an account."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from forebay_cli import stack_outputs
from forebay_cli.aws_errors import explain
from forebay_cli.deployment import Account, stack_state
from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud import emulator, environment, ports
from forebay_cli.localcloud.deploying import cdk_command, require_node, source_fingerprint
from forebay_cli.localcloud.interpreters import LAMBDA_VERSION, best_interpreter
from forebay_cli.localcloud.lifecycle import running_cloud
from forebay_cli.localcloud.record import LocalCloud
from forebay_cli.target import Target

LEFT_OUT: Final = {
    "archive in a second region": "MiniStack does not replicate between regions",
    "S3 server access logs": "MiniStack writes none",
    "S3 Inventory": "MiniStack writes none; `forebay reconcile` lists the buckets",
    "EventBridge archive and replay": "MiniStack's CloudFormation makes no event archives",
    "retries of scheduled functions": "MiniStack starts them once; the next run does the work",
    "retention and termination protection": "a local cloud is meant to be thrown away",
    "arm64": "functions run on this machine's processor, with layers built for it",
}
"""What the local profile does not have, and why."""

_BOOTSTRAP_STACK: Final = "CDKToolkit"
_RECOMMENDED_NODE: Final = 22
_HEALTHY: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `advice` says what to do about it."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine_machine(home: Home) -> Iterator[Check]:
    """Look at what `forebay up` needs of this machine."""
    yield _guarded("Python", _check_python)
    yield _guarded("uv", _check_uv)
    yield _guarded("Node.js", _check_node)
    yield _guarded("CDK", lambda: _check_cdk(home))
    yield _guarded("emulator", lambda: _check_emulator(home))


def examine_local_cloud(home: Home) -> Iterator[Check]:
    """Look at the local cloud, or at whether one could start."""
    cloud = running_cloud(home)
    if cloud is None:
        yield _check_port(ports.DEFAULT_PORT)
        yield Check("local cloud", Verdict.NOTE, "not up", "Start it: forebay up")
        return
    yield _check_health(cloud)
    yield _check_deployed(home, cloud)
    yield from examine_stacks(Account.of_local(cloud), Target().prefix)


def examine_account(target: Target, home: Home) -> Iterator[Check]:
    """Look at a real account: credentials, bootstrap, stacks."""
    account = target.account(home)
    identity = _guarded("credentials", lambda: _check_identity(account))
    yield identity
    if identity.verdict is not Verdict.BAD:
        yield _guarded("bootstrap", lambda: _check_bootstrap(account))
        yield from examine_stacks(account, target.prefix)


def examine_stacks(account: Account, prefix: str) -> Iterator[Check]:
    """Look at the stacks of a deployment."""
    for stack in stack_outputs.STACKS:
        name = stack_outputs.stack_name(prefix, stack)
        yield _guarded(f"stack {name}", lambda stack=stack: _check_stack(account, prefix, stack))  # type: ignore[misc]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except CommandError as exc:
        return Check(name, Verdict.BAD, exc.message, exc.hint)
    except (BotoCoreError, ClientError) as exc:
        error = explain(exc)
        return Check(name, Verdict.BAD, error.message, error.hint)


def _check_python() -> Check:
    interpreter = best_interpreter()
    found = f"{interpreter.version_text} at {interpreter.path}"
    if interpreter.matches_lambda:
        return Check("Python", Verdict.GOOD, found)
    wanted = ".".join(map(str, LAMBDA_VERSION))
    advice = f"Functions run under {wanted} in AWS; install it to run the same version here."
    return Check("Python", Verdict.NOTE, found, advice)


def _check_uv() -> Check:
    return Check("uv", Verdict.GOOD, f"{_version([environment.find_uv()])}")


def _check_node() -> Check:
    version = require_node()
    if int(version.partition(".")[0]) >= _RECOMMENDED_NODE:
        return Check("Node.js", Verdict.GOOD, version)
    advice = f"It works; Node {_RECOMMENDED_NODE} is the oldest that still gets fixes."
    return Check("Node.js", Verdict.NOTE, version, advice)


def _check_cdk(home: Home) -> Check:
    project = home.require_project()
    cdk_command(project)
    manifest = project / "node_modules" / "aws-cdk" / "package.json"
    version = json.loads(manifest.read_text(encoding="utf-8"))["version"]
    return Check("CDK", Verdict.GOOD, f"{version} in {project / 'node_modules'}")


def _check_emulator(home: Home) -> Check:
    if environment.is_current(home, best_interpreter()):
        return Check("emulator", Verdict.GOOD, f"environment in {home.environment}")
    return Check("emulator", Verdict.NOTE, "no current environment", "`forebay up` makes it.")


def _check_port(port: int) -> Check:
    name = f"port {port}"
    if ports.is_free(port):
        return Check(name, Verdict.GOOD, "free")
    advice = f"Stop it, or use another port: forebay up --port {port + 1}"
    return Check(name, Verdict.BAD, f"taken by {ports.holder_of(port)}", advice)


def _check_health(cloud: LocalCloud) -> Check:
    mode = "TLS and IAM enforced" if cloud.secure else "open"
    if emulator.is_healthy(cloud):
        return Check("local cloud", Verdict.GOOD, f"up at {cloud.endpoint}, {mode}")
    advice = f"Read {cloud.log_file}, then: forebay down; forebay up"
    return Check("local cloud", Verdict.BAD, f"{cloud.endpoint} does not answer", advice)


def _check_deployed(home: Home, cloud: LocalCloud) -> Check:
    if cloud.deployed == source_fingerprint(home.require_project()):
        return Check("deployment", Verdict.GOOD, "this source")
    found = "an older state of the source" if cloud.deployed else "nothing"
    return Check("deployment", Verdict.NOTE, found, "Deploy: forebay up")


def _check_identity(account: Account) -> Check:
    identity = account.sts.get_caller_identity()
    found = f"{identity['Arn']} ({account.description})"
    return Check("credentials", Verdict.GOOD, found)


def _check_bootstrap(account: Account) -> Check:
    try:
        stacks = account.cloudformation.describe_stacks(StackName=_BOOTSTRAP_STACK)["Stacks"]
    except ClientError as exc:
        if exc.response["Error"]["Code"] != "ValidationError":
            raise
        advice = "Prepare account and region once: npx cdk bootstrap"
        return Check("bootstrap", Verdict.BAD, f"no stack {_BOOTSTRAP_STACK}", advice)
    outputs = {o.get("OutputKey"): o.get("OutputValue") for o in stacks[0].get("Outputs", [])}
    return Check("bootstrap", Verdict.GOOD, f"version {outputs.get('BootstrapVersion', 'unknown')}")


def _check_stack(account: Account, prefix: str, stack: str) -> Check:
    state = stack_state(account, prefix, stack)
    name = f"stack {stack_outputs.stack_name(prefix, stack)}"
    if state is None:
        return Check(name, Verdict.BAD, "not deployed", "`forebay up`, or in AWS: make deploy")
    if state.status in _HEALTHY:
        return Check(name, Verdict.GOOD, state.status)
    return Check(name, Verdict.BAD, state.status, "See its events, then deploy again.")


def _version(command: list[str], flag: str = "--version") -> str:
    done = subprocess.run(  # noqa: S603 - a program found on PATH
        [*command, flag], capture_output=True, text=True, check=False
    )
    return f"{done.stdout.strip() or 'unknown version'} at {Path(command[0])}"
