"""Finding the Python interpreter the local cloud runs under.

The emulator runs functions with its own interpreter, so 3.13, the version of the cloud's Lambda
runtime, is preferred; otherwise the newest that Forebay supports. Interpreters are looked for on
PATH and among pyenv's versions (uv knows PATH only); none is ever downloaded.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forebay_cli.failures import CommandError

ENV_PYTHON: Final = "FOREBAY_PYTHON"
LAMBDA_VERSION: Final = (3, 13)
OLDEST: Final = (3, 11)
_NAMES: Final = ("python3.13", "python3.15", "python3.14", "python3.12", "python3.11", "python3")
_ASK_VERSION: Final = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter that was started and answered."""

    path: Path
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        """The version as people write it."""
        return ".".join(str(number) for number in self.version)

    @property
    def matches_lambda(self) -> bool:
        """Whether functions run under the same minor version as in the cloud."""
        return self.version[:2] == LAMBDA_VERSION


def best_interpreter() -> Interpreter:
    """Return `FOREBAY_PYTHON`, else 3.13 if this machine has it, else the newest from 3.11 on."""
    chosen = os.environ.get(ENV_PYTHON)
    if chosen:
        return _required(Path(chosen))
    found: list[Interpreter] = []
    for path in _candidates():
        interpreter = ask_version(path)
        if interpreter is None:
            continue
        if interpreter.matches_lambda:
            return interpreter
        found.append(interpreter)
    if not found:
        raise CommandError(
            "No Python 3.11 or newer was found on this machine.",
            f"Install Python 3.13, or set {ENV_PYTHON} to an interpreter.",
        )
    return max(found, key=lambda interpreter: interpreter.version)


def ask_version(path: Path) -> Interpreter | None:
    """Return the interpreter at a path if it starts and is new enough (pyenv's shims may not)."""
    try:
        answer = subprocess.run(  # noqa: S603 - a path this module found
            [str(path), "-c", _ASK_VERSION],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", answer)
    if match is None:
        return None
    version = (int(match[1]), int(match[2]), int(match[3]))
    return Interpreter(path, version) if version >= OLDEST else None


def _required(path: Path) -> Interpreter:
    interpreter = ask_version(path)
    if interpreter is None:
        raise CommandError(
            f"{ENV_PYTHON} names {path}, which is not a working Python 3.11 or newer.",
            f"Correct {ENV_PYTHON} or unset it.",
        )
    return interpreter


def _candidates() -> Iterator[Path]:
    if sys.version_info[:2] == LAMBDA_VERSION:
        yield _base_of_this_process()
    for name in _NAMES[:1]:
        yield from _on_path(name)
    yield from _pyenv_versions()
    for name in _NAMES[1:]:
        yield from _on_path(name)
    yield _base_of_this_process()


def _base_of_this_process() -> Path:
    return Path(getattr(sys, "_base_executable", sys.executable) or sys.executable)


def _on_path(name: str) -> Iterator[Path]:
    found = shutil.which(name)
    if found:
        yield Path(found)


def _pyenv_versions() -> Iterator[Path]:
    roots = dict.fromkeys((Path(os.environ.get("PYENV_ROOT", "~/.pyenv")), Path("~/.pyenv")))
    for root in roots:
        versions = (root.expanduser() / "versions").glob("3.*/bin/python3")
        usable = [path for path in versions if _minor(path.parent.parent.name) >= OLDEST]
        # 3.13 first, so that the search can stop there.
        yield from sorted(usable, key=lambda p: _minor(p.parent.parent.name) != LAMBDA_VERSION)


def _minor(folder_name: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", folder_name)
    return (int(match[1]), int(match[2])) if match else (0, 0)
