"""Two clouds for the same promises: moto in this process, and MiniStack in one of its own.

What both agree on is likely AWS.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import uuid4

import boto3
import pytest
import pytest_socket
from botocore.config import Config
from moto import mock_aws

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.catalog_reader import CatalogReader
from forebay.adapters.change_log import DynamoChangeLog
from forebay.adapters.s3 import S3ObjectStore
from forebay_cli.home import Home
from forebay_cli.localcloud import emulator, ports
from forebay_cli.localcloud.environment import ensure_environment
from forebay_cli.localcloud.interpreters import best_interpreter
from forebay_cli.localcloud.record import ACCESS_KEY, SECRET_KEY
from infra.tables import CATALOG_INDEXES, new_table

REGION: Final = "us-east-1"


@dataclass
class Cloud:
    """One emulator; every resource has a name of its own, so tests share it freely."""

    name: str
    endpoint: str | None = None

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        return _client(service, self.endpoint)

    def bucket(self, *, versioned: bool = True) -> str:
        """Create a bucket."""
        name = f"fb-{uuid4().hex[:20]}"
        self.client("s3").create_bucket(Bucket=name)
        if versioned:
            self.client("s3").put_bucket_versioning(
                Bucket=name, VersioningConfiguration={"Status": "Enabled"}
            )
        return name

    def table(self) -> str:
        """Create a table with the keys, indexes and stream of the deployed one."""
        name = f"fb-{uuid4().hex[:20]}"
        self.client("dynamodb").create_table(
            **new_table(name, CATALOG_INDEXES),
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        return name

    def history_table(self) -> str:
        """Create a history table."""
        name = f"fb-{uuid4().hex[:20]}"
        self.client("dynamodb").create_table(**new_table(name))
        return name

    def queue(self) -> tuple[str, str]:
        """Create a queue; returns its URL and ARN."""
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=f"fb-{uuid4().hex[:20]}")["QueueUrl"]
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, answer["Attributes"]["QueueArn"]

    def messages(self, url: str) -> list[Any]:
        """Return the JSON bodies waiting in a queue."""
        found: list[Any] = []
        for _ in range(20):
            answer = self.client("sqs").receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0
            )
            if not answer.get("Messages"):
                return found
            found += [json.loads(message["Body"]) for message in answer["Messages"]]
        return found


@pytest.fixture(params=["moto", "ministack"])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Give each backend in turn."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    if request.param == "moto":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        pytest_socket.disable_socket(allow_unix_socket=True)
        with mock_aws():
            yield Cloud("moto")
        pytest_socket.enable_socket()
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    yield Cloud("ministack", request.getfixturevalue("ministack"))


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a bare emulator on a free port; give its endpoint."""
    home = Home(project=Home.find().project, state=tmp_path_factory.mktemp("emulator"))
    python = ensure_environment(home, best_interpreter(), lambda _: None)
    settings = emulator.EmulatorSettings(ports.any_free_port(), python, None, None)
    started = emulator.start(home, settings)
    yield started.endpoint
    emulator.stop(started)


@pytest.fixture
def catalog(cloud: Cloud) -> DynamoCatalog:
    """Give an empty catalog."""
    return DynamoCatalog(cloud.client("dynamodb"), cloud.table())


@pytest.fixture
def store(cloud: Cloud) -> S3ObjectStore:
    """Give an object store whose single copy ends at 6 MiB and whose parts are 5 MiB."""
    mib = 1024 * 1024
    return S3ObjectStore(cloud.client("s3"), single_copy_max_bytes=6 * mib, part_bytes=5 * mib)


@pytest.fixture
def change_log(cloud: Cloud, catalog: DynamoCatalog, store: S3ObjectStore) -> DynamoChangeLog:
    """Give a change log over the catalog's table."""
    return DynamoChangeLog(
        cloud.client("dynamodb"), catalog.table, cloud.history_table(), store, cloud.bucket()
    )


@pytest.fixture
def reader(catalog: DynamoCatalog, change_log: DynamoChangeLog) -> CatalogReader:
    """Give a reader over the same tables."""
    return CatalogReader(catalog.client, catalog.table, change_log.history_table)


@contextmanager
def calls_of(client: Any) -> Iterator[list[str]]:
    """Note the names of the operations a client calls."""
    names: list[str] = []

    def note(model: Any, **_: Any) -> None:
        names.append(model.name)

    client.meta.events.register("before-call", note)
    yield names
    client.meta.events.unregister("before-call", note)


@cache
def _client(service: str, endpoint: str | None) -> Any:
    # One per process: parsing a service's model takes longer than most tests.
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
    )
