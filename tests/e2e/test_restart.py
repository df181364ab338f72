"""The cloud itself goes away in mid-load and comes back with what it had stored."""

import os
import subprocess
from pathlib import Path

import pytest

from forebay.adapters.catalog_reader import CatalogReader
from forebay.domain.states import State
from forebay_cli import stack_outputs
from forebay_cli.deployment import Account, Deployment
from forebay_cli.home import Home
from forebay_cli.localcloud.lifecycle import running_cloud
from tests.e2e.cloud import FOREBAY, Cloud
from tests.e2e.samples import write_instances

INSTANCES = 120


@pytest.mark.slow
def test_an_outage_in_mid_load_loses_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_instances(tmp_path / "files", INSTANCES)
    try:
        cloud = _up(home)
        cloud.forebay("upload", str(tmp_path / "files"), "--site", "outage")
        cloud.until(lambda: cloud.counts("outage").get("PLACED", 0) > 0)
        _forebay(home, "down")
        cloud = _up(home)
        assert cloud.counts("outage").get("PLACED", 0) < INSTANCES, "all was done before"
        cloud.settle("outage", {"PLACED": INSTANCES})

        # The emulator may forget a batch of the stream that it was handing over; AWS does not. So
        # outcomes are compared here, and histories in the other tests.
        records = cloud.records("outage", State.PLACED)
        assert {record.duplicate_count for record in records} == {0}
        assert {record.version for record in records} == {3}
    finally:
        _forebay(home, "down", "--purge")


def _up(home: Path) -> Cloud:
    _forebay(home, "up", "--port", "0", "--persist")
    local = running_cloud(Home(project=None, state=home))
    assert local is not None
    deployment = Deployment.find(Account.of_local(local))
    tables = (stack_outputs.TABLE, stack_outputs.HISTORY_TABLE)
    reader = CatalogReader(deployment.account.dynamodb, *map(deployment.output, tables))
    return Cloud(home, deployment, reader)


def _forebay(home: Path, *arguments: str) -> None:
    environment = os.environ | {"FOREBAY_HOME": str(home)}
    done = subprocess.run(
        [FOREBAY, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
