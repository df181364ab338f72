"""Run the measurements, print them, and write them as JSON.

python -m bench [imports] [calls] [load] [inspect-dicom] [inspect-fastq] [policy]
                [--objects N …] [--runs N] [--reads N]
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import calls, imports, inspect_dicom, inspect_fastq, load, policy

NAMES = ("imports", "calls", "load", "inspect-dicom", "inspect-fastq", "policy")
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("which", nargs="*", choices=[*NAMES, []])
    parser.add_argument(
        "--objects", type=int, nargs="+", default=[100], help="objects in each run under load"
    )
    parser.add_argument("--runs", type=int, default=5, help="runs, or pairs of runs, to measure")
    parser.add_argument(
        "--reads", type=int, default=inspect_fastq.READS, help="reads in the FASTQ file inspected"
    )
    arguments = parser.parse_args()
    benches: dict[str, Callable[[], Any]] = {
        "imports": lambda: imports.measure(runs=arguments.runs),
        "calls": calls.measure,
        "load": lambda: load.measure(counts=arguments.objects),
        "inspect-fastq": lambda: inspect_fastq.measure(reads=arguments.reads, pairs=arguments.runs),
        "inspect-dicom": inspect_dicom.measure,
        "policy": policy.measure,
    }
    results: dict[str, Any] = {"machine": _machine()}
    for name in arguments.which or list(benches):
        print(f"\n{name}")
        results[name] = benches[name]()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nWritten to {path.relative_to(Path.cwd())}")
    return 0


def _machine() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


if __name__ == "__main__":
    sys.exit(main())
