"""Builds Lambda layers without Docker, byte for byte the same each time.

A layer's folder `layers/<name>/` holds either `python/` (our own code, copied, its C compiled for
the target) or `requirements.txt` (third-party wheels, pinned with hashes, installed by uv for the
target). What
Lambda's Python runtime brings itself (boto3 and what it depends on) is not listed there.

`requirements.txt` is exported from the one lock. After changing a pin::

    python -m infra.bundling

What makes two builds identical: hashed pins; one compiling interpreter of the target's minor
version, `PYTHONHASHSEED=0`, unchecked-hash bytecode whose paths start with `/opt`; sorted work;
fixed modification times. `/opt` is read-only in Lambda, so a layer without bytecode would compile
itself at every cold start (measured on pydicom: 108 → 448 ms).

Builds are kept under `.forebay/layers/`, keyed by everything that goes into them.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forebay.errors import ConfigurationError
from infra import native
from infra.native import CLOUD_MACHINE, compile_sources, host_machine
from infra.settings import ROOT

__all__ = ["RUNTIME_PACKAGES", "Target", "build", "cloud_target", "export_pins", "local_target"]

RUNTIME_PACKAGES: Final = (
    "boto3",
    "botocore",
    "jmespath",
    "python-dateutil",
    "s3transfer",
    "six",
    "urllib3",
)
"""What Lambda's Python runtime brings: shipped again, it would only cost cold-start time."""

CLOUD_PYTHON: Final = "3.13"
_CLOUD_PLATFORM: Final = "aarch64-manylinux_2_28"  # Lambda on AL2023 has glibc 2.34
_EPOCH: Final = 315_532_800  # 1980-01-01, the first moment a zip entry can carry
_CACHE: Final = ROOT / ".forebay" / "layers"
_KEPT_BUILDS: Final = 3

_NOT_SHIPPED: Final = (
    "**/__pycache__",
    ".lock",
    "**/*.pyi",
    "**/*.pyc",
    "**/*.c",
    "**/*.h",
    "**/*.a",
    "**/*.lib",
    "**/tests",
    "**/test_files",
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/WHEEL",
    "*.dist-info/direct_url.json",
    "*.dist-info/licenses",
    "*.dist-info/sboms",
    "bin",
    "bazel-project",  # cel-expr-python's wheel carries its build tree
    "cel_expr_python/ext",  # 36 MB of extension functions that no policy uses
    "numpy/f2py",
    "numpy/distutils",
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a layer is built for: a Python minor version on a platform.

    `uv_platform` is None for this host; `compiler` is an interpreter of the same minor version, or
    None where this machine has none.
    """

    name: str
    python_version: str
    uv_platform: str | None
    compiler: Path | None


def cloud_target() -> Target:
    """Return Lambda's target: Linux on arm64, Python 3.13."""
    return Target("cloud", CLOUD_PYTHON, _CLOUD_PLATFORM, _interpreter_of(CLOUD_PYTHON))


def local_target(interpreter: Path) -> Target:
    """Return this host's target, for the interpreter that MiniStack runs functions with."""
    version = _minor_version(interpreter)
    return Target(f"local-{platform.machine()}", version, None, interpreter)


def build(layer: Path, output: Path, target: Target) -> None:
    """Build a layer into an empty or missing folder, from the cache where it holds this build."""
    kept = _CACHE / f"{layer.name}-{target.name}-{_key(layer, target)}"
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            fresh = Path(scratch) / "layer"
            build_fresh(layer, fresh, target)
            try:
                fresh.replace(kept)
            except OSError:  # another synth finished the same build first
                if not kept.is_dir():
                    raise
    shutil.copytree(kept, output, dirs_exist_ok=True)
    os.utime(kept)
    _forget_old_builds(f"{layer.name}-{target.name}-")


def build_fresh(layer: Path, output: Path, target: Target) -> None:
    """Build a layer into a folder, without the cache."""
    packages = output / "python"
    packages.mkdir(parents=True)
    own_code = layer / "python"
    if own_code.is_dir():
        ignored = shutil.ignore_patterns("*.native")  # of this machine
        shutil.copytree(own_code, packages, ignore=ignored, dirs_exist_ok=True)
        compile_sources(packages, CLOUD_MACHINE if target.uv_platform else host_machine())
    else:
        _install(layer / "requirements.txt", packages, target)
    _strip(packages)
    _compile(output, target)
    _fix_times(output)


def export_pins(layer: Path) -> None:
    """Write a layer's `requirements.txt`: its `requirements.in`, pinned by the project's lock."""
    omitted = [f"--no-emit-package={name}" for name in RUNTIME_PACKAGES]
    _uv(
        *("pip", "compile", "--quiet", str(layer / "requirements.in")),
        *("--constraints", str(ROOT / "requirements.lock"), *omitted),
        *("--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--no-emit-index-url", "--no-annotate", "--no-header"),
        *("--output-file", str(layer / "requirements.txt")),
    )


def _key(layer: Path, target: Target) -> str:
    """Return a digest of everything a build depends on."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(native.__file__).read_bytes())
    digest.update(repr((target.python_version, target.uv_platform)).encode())
    if target.compiler:
        digest.update(_full_version(target.compiler).encode())
    for path in _files(layer):
        digest.update(f"{path.relative_to(layer)}\n{path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _forget_old_builds(prefix: str) -> None:
    """Keep the few builds of a layer that were used last; sources change all day."""
    builds = sorted(_CACHE.glob(f"{prefix}*"), key=lambda path: path.stat().st_mtime)
    for old in builds[:-_KEPT_BUILDS]:
        shutil.rmtree(old, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".native":
            yield path


def _install(requirements: Path, packages: Path, target: Target) -> None:
    where = ["--target", str(packages), "--python-version", target.python_version]
    if target.uv_platform:
        where += ["--python-platform", target.uv_platform]
    _uv(
        *("pip", "install", "--quiet", "--python", str(target.compiler or sys.executable), *where),
        *("--only-binary", ":all:", "--require-hashes", "--no-deps", "--link-mode", "copy"),
        *("--requirements", str(requirements)),
    )


def _uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (ours)
    if done.returncode:
        raise ConfigurationError(f"uv {' '.join(arguments[:2])} failed:\n{done.stderr.strip()}")


def _strip(packages: Path) -> None:
    for pattern in _NOT_SHIPPED:
        for path in sorted(packages.glob(pattern), reverse=True):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _compile(output: Path, target: Target) -> None:
    if target.compiler is None:
        _say(f"no Python {target.python_version} found: the layer ships without bytecode")
        return
    done = subprocess.run(  # noqa: S603 (an interpreter the deployer named, fixed arguments)
        [
            *(str(target.compiler), "-I", "-m", "compileall", "-q", "-f", "-r", "40"),
            *("--invalidation-mode", "unchecked-hash"),
            *("-s", str(output), "-p", "/opt", str(output / "python")),
        ],
        env={"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:  # a wheel may carry a template that is no Python; the import would show
        _say(f"some files did not compile:\n{done.stdout.strip()}")


def _fix_times(output: Path) -> None:
    for path in (*sorted(output.rglob("*"), reverse=True), output):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (_EPOCH, _EPOCH))


def _interpreter_of(version: str) -> Path | None:
    """Return an interpreter of a minor version: this one, or one on PATH or under pyenv."""
    for candidate in _candidates(version):
        if _minor_version(candidate) == version:
            return candidate
    return None


def _candidates(version: str) -> Iterable[Path]:
    yield Path(sys.executable)
    found = shutil.which(f"python{version}")
    if found:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)


def _minor_version(interpreter: Path) -> str:
    return ".".join(_full_version(interpreter).split(".")[:2])


def _full_version(interpreter: Path) -> str:
    """Return the version as `3.13.0`, or nothing for what does not run (a pyenv shim, say)."""
    if interpreter == Path(sys.executable):
        return platform.python_version()
    done = subprocess.run(  # noqa: S603 (an interpreter found by name, fixed arguments)
        [str(interpreter), "-I", "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _say(message: str) -> None:
    print(f"layers: {message}", file=sys.stderr)  # noqa: T201 (a note to whoever deploys)


if __name__ == "__main__":
    for folder in sorted((ROOT / "layers").iterdir()):
        if (folder / "requirements.in").is_file():
            export_pins(folder)
            _say(f"{folder.name}/requirements.txt written")
