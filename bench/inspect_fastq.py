"""FASTQ inspection as whole processes against its peers, in pairs; memory; digests in one pass.

Peers that are not installed are reported as missing. Wall and processor seconds are of the whole
process, start of the interpreter included. Bytecode is cached for all of them, as it is in any
installation.
"""

import importlib.util
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from forebay.domain.integrity import Algorithm
from forebay.formats.digests import can_compute, digest_chunks
from forebay.formats.gzipped import BGZF_EOF

READS: Final = 1_150_000
READ_LENGTH: Final = 150
PAIRS: Final = 5
MEMORY_GIGABYTES: Final = (0.1, 1.0, 10.0)
MEMORY_AT_MOST: Final = 64 << 20
BLOCK_READS: Final = 10_000
BGZF_BLOCK_BYTES: Final = 65_280
DIGESTED_BYTES: Final = 512 << 20

INSPECT: Final = """
import sys
from forebay.formats.fastq import inspect_fastq
from forebay.formats.source import FileSource, stream_source
name, times = sys.argv[1], int(sys.argv[2])
def chunks():
    for _ in range(times):
        with FileSource(name) as source:
            yield from stream_source(source)
found = inspect_fastq(chunks(), name=name)
assert found.record is not None, found
"""
LOADED: Final = """
import forebay.formats.fastq
import forebay.formats.source
"""
# What wait4() tells is at least the size of the process that forked, so each tells its own.
PEAK: Final = """
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
GRZ_CHECK: Final = """
import mmap, sys, grz_check
with open(sys.argv[1], "rb") as file:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        assert grz_check.validate_fastq(data).is_valid
"""


@dataclass(frozen=True)
class Run:
    """What the operating system says about one finished process."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Bar:
    """A number to reach: our command over a peer's, wall or processor time, on so many cores."""

    title: str
    file: str
    peer: str
    measure: str
    cores: int
    at_most: float


BARS: Final = (
    Bar("gzip -t", "gzip", "gzip", "wall", 2, 0.40),
    Bar("seqkit stats -a", "gzip", "seqkit", "wall", 2, 0.50),
    Bar("md5sum, then grz-check", "gzip", "md5sum+grz-check", "wall", 2, 0.90),
    Bar("igzip -t", "gzip", "igzip", "wall", 2, 2.4),
    Bar("gzip -t", "gzip", "gzip", "wall", 1, 0.60),
    Bar("grz-check", "gzip", "grz-check", "cpu", 1, 1.0),
    Bar("grz-check, BGZF", "bgzf", "grz-check", "wall", 2, 1.0),
)


def measure(*, reads: int = READS, pairs: int = PAIRS) -> dict[str, Any]:
    """Return all ratios, the memory and the digest throughput; prints them on the way."""
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as name:
        folder = Path(name)
        files = generate(folder, reads=reads)
        peers = _peers(folder)
        results: dict[str, Any] = {
            "reads": reads,
            "stored_bytes": {kind: path.stat().st_size for kind, path in files.items()},
            "load_before": os.getloadavg(),
        }
        print(f"  {reads:,} reads, {results['stored_bytes']}, load {results['load_before'][0]:.1f}")
        with _as_installed(folder):
            results["bars"] = [_compare(bar, files[bar.file], peers, pairs) for bar in BARS]
            results["memory"] = _memory(files["gzip"])
        results["digests"] = _digests(files["gzip"], pairs)
        results["load_after"] = os.getloadavg()
        print(f"  load {results['load_after'][0]:.1f}")
    return results


def generate(folder: Path, *, reads: int) -> dict[str, Path]:
    """Write the same reads as gzip and as BGZF, always the same bytes; return where they are."""
    files = {"gzip": folder / "reads.fastq.gz", "bgzf": folder / "reads_bgzf.fastq.gz"}
    with ProcessPoolExecutor() as pool:
        jobs = [
            pool.submit(write, path, reads)
            for write, path in ((_write_gzip, files["gzip"]), (_write_bgzf, files["bgzf"]))
        ]
        for job in jobs:
            job.result()
    return files


def _write_gzip(path: Path, reads: int) -> None:
    compressor = zlib.compressobj(6, wbits=31)
    with path.open("wb") as file:
        for text in _texts(reads):
            file.write(compressor.compress(text))
        file.write(compressor.flush())


def _write_bgzf(path: Path, reads: int) -> None:
    rest = b""
    with path.open("wb") as file:
        for text in itertools.chain(_texts(reads), [b""]):
            held = rest + text
            cut = len(held) // BGZF_BLOCK_BYTES * BGZF_BLOCK_BYTES if text else len(held)
            for at in range(0, cut, BGZF_BLOCK_BYTES):
                file.write(_bgzf_block(held[at : min(at + BGZF_BLOCK_BYTES, cut)]))
            rest = held[cut:]
        file.write(BGZF_EOF)


def _bgzf_block(text: bytes) -> bytes:
    compressor = zlib.compressobj(6, wbits=-15)
    body = compressor.compress(text) + compressor.flush()
    start = bytes.fromhex("1f8b08040000000000ff060042430200")
    size = (len(body) + 25).to_bytes(2, "little")
    end = zlib.crc32(text).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    return start + size + body + end


def _texts(reads: int) -> Iterator[bytes]:
    """Yield reads as a NovaSeq writes them: four qualities, names of varying length."""
    rng = np.random.default_rng(20261122)
    genome = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, 4_000_000, dtype=np.uint8)]
    for first in range(0, reads, BLOCK_READS):
        count = min(BLOCK_READS, reads - first)
        starts = rng.integers(0, len(genome) - READ_LENGTH, count)
        bases = genome[starts[:, None] + np.arange(READ_LENGTH)]
        chance = rng.random((count, READ_LENGTH), dtype=np.float32)
        bases[chance < 0.002] = ord("N")
        bins = np.frombuffer(b"#,:F", np.uint8)
        qualities = bins[np.searchsorted([0.002, 0.025, 0.06], chance, side="right")]
        columns = rng.integers(1000, 33_000, count).tolist()
        yield b"".join(
            b"@A00689:69:HLYWYDSXX:2:%d:%d:%d 1:N:0:ACGTACGT+TTGCAACC\n%b\n+\n%b\n"
            % (1101 + n // 20_000, x, 1000 + n * 7 % 36_000, base, quality)
            for n, x, base, quality in zip(
                range(first, first + count),
                columns,
                map(bytes, bases),
                map(bytes, qualities),
                strict=True,
            )
        )


def _peers(folder: Path) -> dict[str, list[str] | None]:
    """Return the commands that check a file, which is to follow; None for those not here."""
    seqkit, igzip, gzip = map(shutil.which, ("seqkit", "igzip", "gzip"))
    python = _python_with_grz_check(folder)
    both = 'md5sum "$2" && exec "$0" -c "$1" "$2"'
    return {
        "gzip": [gzip, "-t"] if gzip else None,
        "seqkit": [seqkit, "stats", "-a"] if seqkit else None,
        "igzip": [igzip, "-t"] if igzip else None,
        "grz-check": [python, "-c", GRZ_CHECK] if python else None,
        "md5sum+grz-check": ["sh", "-c", both, python, GRZ_CHECK] if python else None,
    }


def _python_with_grz_check(folder: Path) -> str | None:
    if importlib.util.find_spec("grz_check"):
        return sys.executable
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        return None
    python = folder / "grz" / "bin" / "python"
    commands = (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "grz")],
        [uv, "pip", "install", "--quiet", "--python", str(python), "grz-check"],
    )
    done = all(subprocess.run(each, check=False).returncode == 0 for each in commands)
    return str(python) if done else None


def _compare(
    bar: Bar, path: Path, peers: dict[str, list[str] | None], pairs: int
) -> dict[str, Any]:
    command = peers[bar.peer]
    result: dict[str, Any] = asdict(bar)
    label = f"{bar.measure} / {bar.title}, {bar.cores} core{'s' * (bar.cores > 1)}"
    if command is None:
        print(f"  {label:<44} peer missing")
        return {**result, "missing": True}
    ours: list[float] = []
    theirs: list[float] = []
    with _on_cores(bar.cores):
        _ours(path)
        _run([*command, str(path)])
        for _ in range(pairs):
            ours.append(getattr(_ours(path), bar.measure))
            theirs.append(getattr(_run([*command, str(path)]), bar.measure))
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    verdict = "reached" if ratio <= bar.at_most else "not reached"
    print(
        f"  {label:<44} {statistics.median(ours):.3f} s / {statistics.median(theirs):.3f} s ="
        f" {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), bar {bar.at_most}: {verdict}"
    )
    return {**result, "ours": ours, "theirs": theirs, "ratio": ratio}


def _ours(path: Path) -> Run:
    return _run([sys.executable, "-c", INSPECT, str(path), "1"])


def _run(command: Sequence[str]) -> Run:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Run(wall, usage.ru_utime + usage.ru_stime)


@contextmanager
def _as_installed(folder: Path) -> Iterator[None]:
    """Let interpreters started from here cache bytecode in a folder."""
    before = dict(os.environ)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """Let this process and those it starts use only so many processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _memory(path: Path) -> list[dict[str, Any]]:
    """Return the peak over the interpreter with everything loaded, for inputs of several sizes."""
    floor = _peak_bytes(LOADED + PEAK)
    results = []
    for gigabytes in MEMORY_GIGABYTES:
        times = max(1, round(gigabytes * 1e9 / path.stat().st_size))
        size = times * path.stat().st_size
        over = _peak_bytes(INSPECT + PEAK, str(path), str(times)) - floor
        verdict = "reached" if over <= MEMORY_AT_MOST else "not reached"
        print(
            f"  memory over the interpreter's {floor / (1 << 20):.1f} MiB, {size / 1e9:5.2f} GB:"
            f" {over / (1 << 20):.1f} MiB, bar {MEMORY_AT_MOST >> 20} MiB: {verdict}"
        )
        results.append({"stored_bytes": size, "peak_over_interpreter_bytes": over})
    return results


def _peak_bytes(code: str, *arguments: str) -> int:
    """Return the most memory that a Python program occupies, as it prints it in KiB."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return int(done.stdout) << 10


def _digests(path: Path, pairs: int) -> dict[str, Any]:
    """Return the throughput of three digests in one pass over that of MD5 alone."""
    data = path.read_bytes()
    chunks = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]
    chunks *= max(1, DIGESTED_BYTES // len(data))
    three = [Algorithm.MD5, Algorithm.SHA256, Algorithm.CRC64NVME]
    if not can_compute(Algorithm.CRC64NVME):
        print("  crc64nvme needs awscrt, which is missing")
        return {"missing": True}
    ratios = []
    for _ in range(pairs):
        alone = _seconds(lambda: digest_chunks(chunks, three[:1]))
        ratios.append(alone / _seconds(lambda: digest_chunks(chunks, three)))
    ratio = statistics.median(ratios)
    print(f"  md5+sha256+crc64nvme over md5 alone: {ratio:.3f} of the throughput, bar 0.95")
    return {"ratio": ratio, "at_least": 0.95, "megabytes": sum(map(len, chunks)) / 1e6}


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
