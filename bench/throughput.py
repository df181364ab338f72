"""Objects per second through a local cloud of its own, against plain PUTs in the same run.

The clock of the flow runs from the first PUT until every object is PLACED; the peer PUTs the same
bytes into a bucket nobody listens to, with the same client and threads.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from forebay.adapters.catalog_reader import CatalogReader
from forebay.domain.states import State
from forebay.names import Zone
from forebay_cli import stack_outputs
from forebay_cli.deployment import Account, Deployment
from forebay_cli.home import Home
from forebay_cli.localcloud.lifecycle import running_cloud

THREADS = 8
PATIENCE_SECONDS = 600


def measure(*, objects: int) -> dict[str, Any]:
    """Return objects per second of flow and peer, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"FOREBAY_HOME": folder}
        try:
            _forebay(environment, "up", "--port", "0")
            return _measured(_deployment(Path(folder)), objects)
        finally:
            _forebay(environment, "down", "--purge")


def _measured(deployment: Deployment, objects: int) -> dict[str, Any]:
    bodies = instances(objects)
    landing = deployment.bucket(Zone.LANDING_IMAGING)
    # Warm every function first: cold starts are measured by themselves.
    for body in instances(4):
        deployment.account.s3.put_object(Bucket=landing, Key=f"warm/{time.time_ns()}", Body=body)
    reader = CatalogReader(
        deployment.account.dynamodb,
        deployment.output(stack_outputs.TABLE),
        deployment.output(stack_outputs.HISTORY_TABLE),
    )
    _until(lambda: reader.count_in_state(State.PLACED) >= 4)
    peer = _put_all(deployment, deployment.bucket(Zone.RESEARCH), bodies)
    started = time.perf_counter()
    puts = _put_all(deployment, landing, bodies)
    _until(lambda: reader.count_in_state(State.PLACED) >= objects + 4)
    flow = time.perf_counter() - started
    print(f"  {objects} DICOM instances of {len(bodies[0]):,} bytes, {THREADS} threads")
    print(f"  plain PUTs        {objects / peer:8.1f} objects/s")
    print(f"  PUTs with events  {objects / puts:8.1f} objects/s")
    print(f"  until PLACED      {objects / flow:8.1f} objects/s")
    print(f"  time until PLACED / time of the plain PUTs: {flow / peer:.1f}")
    return {
        "objects": objects,
        "plain_put_per_s": round(objects / peer, 2),
        "landing_put_per_s": round(objects / puts, 2),
        "placed_per_s": round(objects / flow, 2),
        "flow_to_put_time_ratio": round(flow / peer, 2),
    }


def instances(count: int) -> list[bytes]:
    """Return DICOM instances that differ in their SOP Instance UID."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    bodies = []
    for _ in range(count):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        body = io.BytesIO()
        dataset.save_as(body)
        bodies.append(body.getvalue())
    return bodies


def _put_all(deployment: Deployment, bucket: str, bodies: list[bytes]) -> float:
    s3 = deployment.account.s3
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(
            pool.map(
                lambda pair: s3.put_object(Bucket=bucket, Key=f"bench/{pair[0]}.dcm", Body=pair[1]),
                enumerate(bodies),
            )
        )
    return time.perf_counter() - started


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the objects did not settle in time")
        time.sleep(0.25)


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
