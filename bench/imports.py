"""Cold import time of each function, against boto3 with the three clients every function needs.

Whole processes, bytecode warm, functions and the peer in turn; medians. What a function's layers do
not hold is not on its path in the cloud, so importing it here would be seen by the import test.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ROOT / "functions"
BASELINE = "import boto3; [boto3.client(s) for s in ('s3', 'dynamodb', 'sqs')]"
BARE = "pass"


def measure(*, runs: int) -> dict[str, dict[str, float]]:
    """Return seconds per function: median, and ratio to the baseline of the same run."""
    steps = sorted(path.parent.name for path in FUNCTIONS.glob("*/handler.py"))
    programs = {"(python)": BARE, "boto3 + 3 clients": BASELINE}
    programs |= {step: _import_of(step) for step in steps}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for run in range(runs + 1):
        for name, program in programs.items():
            seconds = _seconds(program)
            # The first run writes bytecode.
            if run:
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    baseline = medians["boto3 + 3 clients"]
    print(f"  {'function':<20}{'median ms':>10}{'ratio':>8}")
    for name, value in medians.items():
        print(f"  {name:<20}{1000 * value:>10.0f}{value / baseline:>8.2f}")
    return {
        name: {"median_s": round(value, 4), "ratio": round(value / baseline, 3)}
        for name, value in medians.items()
    }


def _import_of(step: str) -> str:
    return f"import sys; sys.path.insert(0, '{FUNCTIONS / step}'); import handler"


def _seconds(program: str) -> float:
    environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1"}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return time.perf_counter() - started
