"""The engines: Google's atheris where it is installed, else a mutating one of our own.

atheris is guided by coverage and finds far more in a long run. It has wheels for CPython 3.11 to
3.13 on x86-64 Linux only, so that macOS and arm64 go without. Ours changes the seeds at random and
checks the same assertions; it is deterministic for a given number of runs, which is why the unit
tests use it wherever they run.
"""

import hashlib
import importlib.util
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fuzz.targets import Target

FINDINGS: Final = Path(__file__).parent / "findings"
MAX_INPUT_BYTES: Final = 16 << 10
MEMORY_LIMIT_MIB: Final = 2048
_INTERESTING: Final = (b"\0", b"\xff", b"\x7f", b"\n", b"\t", b"\xff\xff\xff\xff", b"\0\0\0\x80")


def why_no_atheris() -> str:
    """Return why atheris cannot be used, empty when it can."""
    if importlib.util.find_spec("atheris") is not None:
        return ""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"atheris is not installed (wheels: x86-64 Linux, 3.11 to 3.13; this is {version})"


def run_atheris(target_name: str, *, seconds: float) -> None:
    """Fuzz with atheris; ends the process, with a code that is not 0 when something was found."""
    atheris: Any = __import__("atheris")
    # The parsers are imported here for the first time in this process.
    with atheris.instrument_imports(include=["forebay"]):
        from fuzz.targets import TARGETS  # noqa: PLC0415
    target = TARGETS[target_name]
    FINDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        options = [
            f"-max_total_time={max(1, round(seconds))}",
            f"-max_len={MAX_INPUT_BYTES}",
            "-timeout=20",
            f"-rss_limit_mb={MEMORY_LIMIT_MIB}",
            f"-artifact_prefix={FINDINGS}/{target.name}-",
            "-verbosity=0",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, folder], target.check)
        atheris.Fuzz()


def run_mutations(
    target: "Target", *, seconds: float | None = None, runs: int | None = None, seed: int = 1
) -> int:
    """Fuzz with random changes, for a time or a number of runs; returns the number of runs.

    Raises what the target raises, after keeping the input below `fuzz/findings`.
    """
    rng = random.Random(seed)
    pool = list(target.seeds)
    deadline = None if seconds is None else time.monotonic() + seconds
    done = 0
    for data in pool:
        _check(target, data)
    while (runs is None or done < runs) and (deadline is None or time.monotonic() < deadline):
        data = _mutated(rng, rng.choice(pool), pool)
        _check(target, data)
        done += 1
        # A few changed inputs become seeds themselves, so that changes add up.
        if done % 50 == 0:
            pool[len(target.seeds) + done // 50 % 50 :] = [data]
    return done


def _check(target: "Target", data: bytes) -> None:
    try:
        target.check(data)
    except BaseException:
        FINDINGS.mkdir(exist_ok=True)
        name = f"{target.name}-{hashlib.sha256(data).hexdigest()[:16]}"
        (FINDINGS / name).write_bytes(data)
        print(f"Found by {target.name}; kept as {FINDINGS / name}", file=sys.stderr)  # noqa: T201
        raise


def _mutated(rng: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    for _ in range(1 << rng.randrange(4)):
        data = rng.choice(_MUTATIONS)(rng, bytearray(data or b"\0"), rng.choice(pool))
    return data[:MAX_INPUT_BYTES]


def _flip(rng: random.Random, data: bytearray, _: bytes) -> bytes:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _replace(rng: random.Random, data: bytearray, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    value = rng.choice(_INTERESTING)
    data[at : at + len(value)] = value
    return bytes(data)


def _add(rng: random.Random, data: bytearray, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    data[at] = (data[at] + rng.randrange(-9, 10)) % 256
    return bytes(data)


def _insert(rng: random.Random, data: bytearray, _: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(data)


def _cut(rng: random.Random, data: bytearray, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 17)]
    return bytes(data)


def _end(rng: random.Random, data: bytearray, _: bytes) -> bytes:
    return bytes(data[: rng.randrange(len(data) + 1)])


def _repeat(rng: random.Random, data: bytearray, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    part = data[at : at + rng.randrange(1, 65)]
    data[at:at] = part * rng.randrange(1, 9)
    return bytes(data)


def _splice(rng: random.Random, data: bytearray, other: bytes) -> bytes:
    at, start = rng.randrange(len(data) + 1), rng.randrange(len(other) + 1)
    return bytes(data[:at]) + other[start : start + rng.randrange(1, 257)] + bytes(data[at:])


_MUTATIONS: Final[tuple[Callable[[random.Random, bytearray, bytes], bytes], ...]] = (
    _flip,
    _replace,
    _add,
    _insert,
    _cut,
    _end,
    _repeat,
    _splice,
)
