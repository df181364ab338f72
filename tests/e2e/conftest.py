"""One local cloud with TLS and IAM enforcement for the whole suite, on a free port of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forebay.adapters.catalog_reader import CatalogReader
from forebay_cli import stack_outputs
from forebay_cli.deployment import Account, Deployment
from forebay_cli.home import Home
from forebay_cli.localcloud.lifecycle import running_cloud
from tests.e2e.cloud import FOREBAY, Cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def later(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud whose time passes: no other test should find its clock moved."""
    with running(tmp_path_factory.mktemp("later")) as cloud:
        yield cloud


@contextmanager
def running(home: Path) -> Iterator[Cloud]:
    """Start a local cloud in a folder of its own, and stop it in the end."""
    environment = os.environ | {"FOREBAY_HOME": str(home)}
    up = [FOREBAY, "up", "--secure", "--port", "0"]
    try:
        done = subprocess.run(up, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        local = running_cloud(Home(project=None, state=home))
        assert local is not None
        deployment = Deployment.find(Account.of_local(local))
        reader = CatalogReader(
            deployment.account.dynamodb,
            deployment.output(stack_outputs.TABLE),
            deployment.output(stack_outputs.HISTORY_TABLE),
        )
        yield Cloud(home, deployment, reader)
    finally:
        down = [FOREBAY, "down", "--purge"]
        subprocess.run(down, env=environment, capture_output=True, check=True)
