"""Compiles what little C Forebay has: `<name>.c` becomes `<name>.native` beside it.

One compiler from the lock builds for this machine and for Lambda's alike (`zig cc`, which is clang
with every target in it), so neither a compiler nor Docker has to be there. For the checkout::

    python -m infra.native
"""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

from forebay.errors import ConfigurationError
from infra.settings import ROOT

__all__ = ["CLOUD_MACHINE", "compile_sources", "host_machine"]

CLOUD_MACHINE: Final = ("-target", "aarch64-linux-gnu", "-mcpu=neoverse_n1")
"""Lambda on arm64 is Graviton2 or newer."""

_CODE: Final = ROOT / "layers" / "common" / "python"
_CACHE: Final = ROOT / ".forebay" / "zig"
# Nothing of the C library is linked: memchr and the like are those of the process it is loaded in.
_OPTIONS: Final = (
    *("-std=c17", "-O3", "-Wall", "-Wextra", "-Werror"),
    *("-fPIC", "-shared", "-nostdlib", "-s"),
)


def host_machine() -> tuple[str, ...]:
    """Return the compiler's options for this machine, and for others of its kind since 2013."""
    if platform.machine() in ("x86_64", "AMD64"):
        return ("-mcpu=x86_64_v3",) if _has_avx2() else ("-mcpu=x86_64_v2",)
    return ("-mcpu=baseline",)


def compile_sources(folder: Path, machine: tuple[str, ...]) -> list[Path]:
    """Compile every C source in a folder, and return the libraries; raises ConfigurationError."""
    return [_compile(source, machine) for source in sorted(folder.rglob("*.c"))]


def _compile(source: Path, machine: tuple[str, ...]) -> Path:
    library = source.with_suffix(".native")
    command = [sys.executable, "-m", "ziglang", "cc", *_OPTIONS, *machine]
    done = subprocess.run(  # noqa: S603 (ours, fixed arguments)
        [*command, str(source), "-o", str(library)],
        env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(_CACHE), "ZIG_LOCAL_CACHE_DIR": str(_CACHE)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigurationError(f"{source.name} could not be compiled:\n{done.stderr.strip()}")
    return library


def _has_avx2() -> bool:
    """Tell whether this processor has what all have had since 2013; assumed where nothing tells."""
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text("ascii")
    except OSError:
        return True


if __name__ == "__main__":
    compile_sources(_CODE, host_machine())
