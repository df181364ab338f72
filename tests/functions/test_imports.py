"""Importing does nothing: no environment, no client, no socket, no library of another function."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
STEPS: Final = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
HEAVY: Final = frozenset(
    {"pydicom", "numpy", "isal", "pysam", "cel_expr_python", "aws_xray_sdk", "aws_cdk", "awscrt"}
)
MAY_LOAD: Final[dict[str, frozenset[str]]] = {
    "inspect_genomics": frozenset({"numpy", "isal"}),
    "run_read_qc": frozenset({"numpy", "isal"}),
}
# Lambda's boto3 comes without awscrt.
NOT_IN_LAMBDA: Final = ("awscrt",)
NOT_IN_LAYER: Final[dict[str, tuple[str, ...]]] = {
    # Its parser is all in the common layer.
    "inspect_dicom": ("pydicom", "numpy", "isal"),
}
HANDLER_MAX_LINES: Final = 30

_GUARDED: Final = """
import builtins, importlib, importlib.util, json, os, pkgutil, socket, sys
task = json.loads(sys.argv[1])
for name in task["absent"]:
    sys.modules[name] = None

def refuse(*args, **kwargs):
    raise AssertionError("I/O at import")

import boto3, botocore.session
socket.socket.connect = refuse
boto3.client = boto3.resource = refuse
botocore.session.Session.create_client = refuse
environment = dict(os.environ)

class Watched(dict):
    def __getitem__(self, name):
        if str(name).startswith("FOREBAY"):
            refuse()
        return super().__getitem__(name)
    get = lambda self, name, default=None: self[name] if name in self else default
    def __contains__(self, name):
        if str(name).startswith("FOREBAY"):
            refuse()
        return super().__contains__(name)

os.environ = Watched(environment)
names = list(task["modules"])
for package in task["packages"]:
    found = importlib.import_module(package)
    names += [m.name for m in pkgutil.walk_packages(found.__path__, f"{package}.")]
for name in names:
    importlib.import_module(name)
for path in task["files"]:
    spec = importlib.util.spec_from_file_location("handler", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.handler)
tops = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
print(json.dumps({"imported": names, "tops": sorted(tops)}))
"""


def imported(**task: Any) -> dict[str, Any]:
    """Import in a process with an empty environment; return what was loaded."""
    whole = {"modules": [], "packages": [], "files": [], "absent": []} | task
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _GUARDED, json.dumps(whole)],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("step", STEPS)
def test_handler_imports_without_environment_and_loads_only_its_own_libraries(step: str) -> None:
    path = ROOT / "functions" / step / "handler.py"

    loaded = imported(files=[str(path)], absent=NOT_IN_LAMBDA + NOT_IN_LAYER.get(step, ()))

    assert HEAVY & set(loaded["tops"]) <= MAY_LOAD.get(step, frozenset())


def test_every_module_imports_without_environment_client_or_io() -> None:
    loaded = imported(packages=["forebay"])

    assert len(loaded["imported"]) > 30
    assert not {"aws_xray_sdk", "aws_cdk"} & set(loaded["tops"])


def test_domain_events_and_services_need_nothing_but_the_standard_library() -> None:
    modules = ["forebay.names", "forebay.errors", "forebay.events"]

    packages = ["forebay.domain", "forebay.services"]
    loaded = imported(modules=modules, packages=packages, absent=NOT_IN_LAMBDA)

    # boto3 is loaded by the guard itself.
    assert not (HEAVY | {"aws_lambda_powertools", "moto"}) & set(loaded["tops"])


@pytest.mark.parametrize("step", STEPS)
def test_handler_is_short_and_alone_in_its_folder(step: str) -> None:
    folder = ROOT / "functions" / step
    lines = [line for line in (folder / "handler.py").read_text().splitlines() if line.strip()]

    assert len(lines) <= HANDLER_MAX_LINES
    # /var/task comes before the layers: another file here could hide a layer's module.
    beside = {path.name for path in folder.iterdir()} - {"__pycache__"}
    assert beside == {"handler.py"}
