"""The emulator's own Python environment, made by uv from a lock with hashes.

Functions run inside it; because it holds nothing but the emulator and boto3, a package missing from
a function's layers is missing locally as it would be in the cloud.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud.interpreters import Interpreter

LOCK: Final = Path("local") / "requirements.txt"
_STAMP: Final = "forebay-lock.txt"


def python_of(home: Home) -> Path:
    """Return the path of the emulator's interpreter."""
    return home.environment / "bin" / "python"


def is_current(home: Home, interpreter: Interpreter) -> bool:
    """Tell whether the environment was made from the present lock with this interpreter."""
    stamp = home.environment / _STAMP
    try:
        return stamp.read_text(encoding="ascii") == _fingerprint(home, interpreter)
    except OSError:
        return False


def ensure_environment(home: Home, interpreter: Interpreter, say: Callable[[str], None]) -> Path:
    """Create or refresh the environment unless it is current; return its interpreter."""
    python = python_of(home)
    if is_current(home, interpreter) and python.exists():
        return python
    say(f"Creating the local cloud's environment (Python {interpreter.version_text})")
    uv = find_uv()
    home.state.mkdir(parents=True, exist_ok=True)
    _run_uv([uv, "venv", "--clear", "--python", str(interpreter.path), str(home.environment)])
    lock = home.require_project() / LOCK
    _run_uv(
        [
            *(uv, "pip", "install", "--require-hashes", "--no-deps", "--compile-bytecode"),
            *("--python", str(python), "-r", str(lock)),
        ]
    )
    fingerprint = _fingerprint(home, interpreter)
    (home.environment / _STAMP).write_text(fingerprint, encoding="ascii")
    return python


def find_uv() -> str:
    """Return uv's path: beside this interpreter, or on PATH."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise CommandError(
            "uv is not installed; it makes the environment the local cloud runs in.",
            "Install it from your package index: python3 -m pip install uv",
        )
    return found


def _fingerprint(home: Home, interpreter: Interpreter) -> str:
    lock = (home.require_project() / LOCK).read_bytes()
    return f"{hashlib.sha256(lock).hexdigest()} {interpreter.version_text} {interpreter.path}"


def _run_uv(command: list[str]) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"}
    }
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    done = subprocess.run(  # noqa: S603 - uv, found by find_uv
        command, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CommandError(
            f"uv could not make the local cloud's environment:\n{done.stderr.strip()}",
            "Check that this machine reaches its package index (UV_INDEX_URL, HTTPS_PROXY), "
            "then run the command again.",
        )
