"""Many objects through a local cloud of its own: throughput, end-to-end times, API calls.

The flow runs from the first PUT until the last object is PLACED; an object's own time from its PUT
until its record says PLACED. The peer PUTs the same bytes into a bucket nobody listens to, with the
same client and threads. API calls are those of Forebay's functions, by the emulator's access log.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from forebay.adapters.catalog_reader import CatalogReader
from forebay.domain.objects import Location, object_id
from forebay.domain.states import State
from forebay.names import Zone
from forebay_cli import stack_outputs
from forebay_cli.deployment import Account, Deployment
from forebay_cli.home import Home
from forebay_cli.localcloud.lifecycle import running_cloud

COUNTS = (100, 1_000, 10_000)
THREADS = 8
WARM_UP = 4
PATIENCE_SECONDS = 3600
FUNCTIONS = "app/forebay-"


def measure(*, counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """Return what was measured for each number of objects; prints a line for each."""
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as folder:
        environment = os.environ | {"FOREBAY_HOME": folder}
        log = Path(folder) / "access.log"
        try:
            _forebay(environment, "up", "--port", "0", "--access-log", str(log))
            return _Load(_deployment(Path(folder)), log).measure(counts)
        finally:
            _forebay(environment, "down", "--purge")


class _Load:
    """One local cloud under load."""

    def __init__(self, deployment: Deployment, log: Path) -> None:
        self._deployment = deployment
        self._log = log
        self._placed = 0
        self._reader = CatalogReader(
            deployment.account.dynamodb,
            deployment.output(stack_outputs.TABLE),
            deployment.output(stack_outputs.HISTORY_TABLE),
        )

    def measure(self, counts: Sequence[int]) -> dict[str, Any]:
        self._send("warm-up", WARM_UP)
        titles = ("objects", "objects/s", "plain PUTs/s", "p50 s", "p99 s", "calls/object")
        print("  " + "".join(f"{title:>14}" for title in titles))
        return {str(count): self._run(count) for count in counts}

    def _run(self, count: int) -> dict[str, Any]:
        folder = f"load-{count}"
        plain = self._put_all(self._deployment.bucket(Zone.RESEARCH), folder, count)
        peer = max(plain.values()) - min(plain.values())
        logged = self._log.stat().st_size
        sent, seconds = self._send(folder, count)
        calls = calls_by_function(self._log, logged)
        times = sorted(self._times(sent))
        result = {
            "objects_per_s": round(count / seconds, 2),
            "plain_put_per_s": round(count / peer, 2),
            "p50_s": round(statistics.median(times), 2),
            "p99_s": round(times[int(len(times) * 0.99) - 1], 2),
            "calls_per_object": round(calls.total() / count, 2),
            "calls": dict(sorted(calls.items())),
        }
        shown = list(result.values())[:5]
        print(f"  {count:>14,}" + "".join(f"{value:>14,}" for value in shown))
        return result

    def _send(self, folder: str, count: int) -> tuple[dict[str, float], float]:
        """PUT instances and wait until all are placed: when each was sent, and how long it took."""
        started = time.time()
        sent = self._put_all(self._deployment.bucket(Zone.LANDING_IMAGING), folder, count)
        self._placed += count
        _until(lambda: self._reader.count_in_state(State.PLACED) >= self._placed)
        return sent, time.time() - started

    def _put_all(self, bucket: str, folder: str, count: int) -> dict[str, float]:
        """PUT instances; return when each was sent, by object id."""
        s3 = self._deployment.account.s3

        def put(numbered: tuple[int, bytes]) -> tuple[str, float]:
            number, body = numbered
            key, at = f"bench/{folder}/{number}.dcm", time.time()
            answer = s3.put_object(Bucket=bucket, Key=key, Body=body)
            return object_id(Location(bucket, key, answer.get("VersionId", ""))), at

        with ThreadPoolExecutor(THREADS) as pool:
            return dict(pool.map(put, enumerate(instances(count))))

    def _times(self, sent: dict[str, float]) -> Iterator[float]:
        entries = self._reader.entries_in_state(State.PLACED, limit=self._placed)
        placed = {entry.object_id: entry.since for entry in entries}
        for identity, at in sent.items():
            yield (placed[identity] - datetime.fromtimestamp(at, UTC)).total_seconds()


def calls_by_function(log: Path, start: int) -> Counter[str]:
    """Return how many API calls each function made, by the access log from a byte offset on."""
    calls: Counter[str] = Counter()
    with log.open(encoding="utf-8") as lines:
        lines.seek(start)
        for line in lines:
            agent = line.rstrip("\n").rpartition("\t")[2]
            if FUNCTIONS in agent:
                calls[agent.partition(FUNCTIONS)[2].split()[0]] += 1
    return calls


def instances(count: int) -> Iterator[bytes]:
    """Yield DICOM instances that differ in their SOP Instance UID, of one series."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    for _ in range(count):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        body = io.BytesIO()
        dataset.save_as(body)
        yield body.getvalue()


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the objects did not settle in time")
        time.sleep(0.5)


def _deployment(folder: Path) -> Deployment:
    cloud = running_cloud(Home(project=None, state=folder))
    assert cloud is not None
    return Deployment.find(Account.of_local(cloud))


def _forebay(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [str(Path(sys.executable).parent / "forebay"), *arguments],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
