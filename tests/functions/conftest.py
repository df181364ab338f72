"""A deployment in moto: what infra creates, as far as a function can see it."""

import gzip
import importlib.util
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from uuid import uuid4

import boto3
import pytest
import pytest_socket
from moto import mock_aws
from pydicom.data import get_testdata_file

from forebay.adapters.catalog_reader import CatalogReader
from forebay.domain.objects import Location, ObjectRecord, object_id
from forebay.events import ObjectCreated
from forebay.names import (
    ENV_BUS,
    ENV_HISTORY_TABLE,
    ENV_POLICY_PATH,
    ENV_PREFIX,
    ENV_RECEIPT_KEY,
    ENV_RECHECK_BYTES_PER_DAY,
    ENV_REGIONS,
    ENV_STATE_MACHINES,
    ENV_SUBJECT_KEY,
    ENV_TABLE,
    QUEUE_STEPS,
    Step,
    Zone,
    bucket_env,
    queue_env,
)
from forebay.runtime import batch, wiring
from forebay.services.ports import RecordedChange
from infra.policy import compile_policies
from infra.tables import CATALOG_INDEXES, Index, new_table
from tests.moto_kms import sign_digests_as_kms_does

ROOT: Final = Path(__file__).resolve().parents[2]
EVENTS: Final = ROOT / "events"
REGION: Final = "eu-central-1"
ACCOUNT: Final = "111122223333"

CT: Final = Location(
    f"forebay-landing-imaging-{ACCOUNT}-{REGION}",
    "st-anna/2026/03/01/IM 0001+1.dcm",
    "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH",
)
CT_AGAIN: Final = Location(
    CT.bucket, "st-anna/2026/03/01/IM0001-again.dcm", "8TnqXbR1vYw.KcPzjLmGdSfUeHaQoI5n"
)
R1: Final = Location(
    f"forebay-landing-genomics-{ACCOUNT}-{REGION}",
    "st-anna/run7/NA12878_S1_L001_R1_001.fastq.gz",
    "QUpfdndhfd8438MNFDN93jdnJFkdmqnh",
)
R2: Final = Location(R1.bucket, R1.key.replace("_R1_", "_R2_"), "L4kqtJlcpXroDTDmpUMLUo.3sL4kqtJl")
R1_MD5: Final = Location(R1.bucket, f"{R1.key}.md5", "f.aTDZ1kqNPBk7cbXkRWqWqIHKzVQMd4")
ACCESS_LOG: Final = Location(
    f"forebay-access-log-{ACCOUNT}-{REGION}",
    "clinical/2026-04-10-12-30-59-0A1B2C3D4E5F6071",
    "hJ8kLm2nB.vC4xZ6aSdF1gQwErTyUiO0",
)
FOLDER: Final = Location(R1.bucket, "st-anna/run7/", "aVzC.kq8tM7nJkPzqXlRw3uYdGbTsE2h")
PLACED_R1: Final = Location(
    f"forebay-genomics-{ACCOUNT}-{REGION}",
    "reads/st-anna/NA12878/A00689_7_HXXX/NA12878_S1_L001_R1_001.fastq.gz",
    "xC4vB8nM.Qw2ErTyUiOpAsDfGhJkLz6l",
)
PLACED_R2: Final = Location(
    PLACED_R1.bucket, PLACED_R1.key.replace("_R1_", "_R2_"), "mN7bV2cXz.Lk9JhGfDsAqWeRtYuIoP3x"
)
PLACED_CT: Final = Location(
    f"forebay-clinical-{ACCOUNT}-{REGION}",
    "dicom/1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
    "/1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
    "/1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322.dcm",
    "pQ7wE9rT.yU1iO3pA5sD7fG9hJ2kL4z",
)


def event(name: str) -> dict[str, Any]:
    """Return a sample event, as Lambda hands it over."""
    found: dict[str, Any] = json.loads((EVENTS / name).read_text())
    return found


def load_handler(step: str) -> ModuleType:
    """Load a function's handler as Lambda does: a file beside nothing else."""
    path = ROOT / "functions" / step / "handler.py"
    spec = importlib.util.spec_from_file_location(f"handler_of_{step}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def real_ct() -> bytes:
    """Return a real CT instance, shipped with pydicom."""
    return Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()


def any_fastq(mate: int, *, count: int = 25) -> bytes:
    """Return a small gzip FASTQ with Illumina names; mates share their names."""
    reads = [
        f"@A00689:7:HXXX:1:1101:{number}:1000 {mate}:N:0:ACGT\n{'ACGTN'[mate:] * 20}\n+\n"
        f"{'I' * (20 * (5 - mate))}\n"
        for number in range(count)
    ]
    return gzip.compress("".join(reads).encode(), mtime=0)


@dataclass
class FakeLambdaContext:
    """What Powertools reads of Lambda's context."""

    function_name: str = "forebay-test"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:forebay-test"
    aws_request_id: str = "5c1b0b9e-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


@dataclass
class VersionIds:
    """Gives moto the version ids that the sample events speak of."""

    waiting: deque[str] = field(default_factory=deque)

    def uuid4(self) -> str:
        return self.waiting.popleft() if self.waiting else str(uuid4())


class Deployment:
    """The resources of one deployment, and how a test reaches into them."""

    def __init__(self, versions: VersionIds) -> None:
        self.versions = versions
        self.s3 = _client("s3")
        self.dynamodb = _client("dynamodb")
        self.buckets = {zone: f"forebay-{zone.value}-{ACCOUNT}-{REGION}" for zone in Zone}
        for name in self.buckets.values():
            self.s3.create_bucket(
                Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
            self.s3.put_bucket_versioning(
                Bucket=name, VersioningConfiguration={"Status": "Enabled"}
            )
        self.table = self._table("forebay-catalog", CATALOG_INDEXES)
        self.history = self._table("forebay-history")
        self.queue = self._bus_to_queue("forebay")
        self.machine = self._machine("forebay-read-qc")
        self.queues = {
            step: _client("sqs").create_queue(QueueName=f"forebay-{step.value.replace('_', '-')}")
            for step in QUEUE_STEPS
        }
        key = _client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
        self.subject_key = key["KeyMetadata"]["KeyId"]
        signing = _client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
        self.receipt_key = signing["KeyMetadata"]["KeyId"]
        self.reader = CatalogReader(self.dynamodb, self.table, self.history)

    def environment(self, policy: Path) -> dict[str, str]:
        """Return the environment infra gives the functions, all of it to each."""
        buckets = {bucket_env(zone): name for zone, name in self.buckets.items()}
        return {
            ENV_TABLE: self.table,
            ENV_HISTORY_TABLE: self.history,
            ENV_BUS: "forebay",
            ENV_SUBJECT_KEY: self.subject_key,
            ENV_RECEIPT_KEY: self.receipt_key,
            ENV_RECHECK_BYTES_PER_DAY: str(24 * 10**9),
            ENV_PREFIX: "forebay",
            ENV_REGIONS: REGION,
            ENV_STATE_MACHINES: json.dumps({"read_qc": self.machine}),
            ENV_POLICY_PATH: str(policy),
            **{queue_env(step): queue["QueueUrl"] for step, queue in self.queues.items()},
            **buckets,
        }

    def invoke(self, step: str, message: dict[str, Any]) -> dict[str, Any]:
        """Invoke a function in a process of its own, as far as its caches tell."""
        wiring.wiring.cache_clear()
        answer: dict[str, Any] = load_handler(step).handler(message, FakeLambdaContext())
        return answer

    def put(self, location: Location, body: bytes, **how: Any) -> Location:
        """Write an object as the version a sample event speaks of."""
        self.versions.waiting.append(location.version_id)
        self.s3.put_object(Bucket=location.bucket, Key=location.key, Body=body, **how)
        assert not self.versions.waiting
        return location

    def arrived(self, location: Location, body: bytes, **how: Any) -> str:
        """Put an object and register it."""
        self.put(location, body, **how)
        event = ObjectCreated(location.bucket, location.key, location.version_id, "", 0, "")
        wiring.wiring.cache_clear()
        wiring.wiring().register_object(event)
        return object_id(location)

    def relay(self, made: str) -> None:
        """Let the stream's entries for a record's first version be written."""
        record = replace(self.record(made), version=1)
        wiring.wiring().relay_changes([RecordedChange(None, record)])

    def record(self, of: str | Location) -> ObjectRecord:
        """Return what the catalog holds."""
        found = self.reader.object(of if isinstance(of, str) else object_id(of))
        assert found
        return found

    def body(self, location: Location) -> bytes:
        """Return what is stored."""
        answer = self.s3.get_object(
            Bucket=location.bucket, Key=location.key, VersionId=location.version_id
        )
        found: bytes = answer["Body"].read()
        return found

    def tags(self, location: Location) -> dict[str, str]:
        """Return a version's tags."""
        answer = self.s3.get_object_tagging(
            Bucket=location.bucket, Key=location.key, VersionId=location.version_id
        )
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def published(self) -> list[Any]:
        """Return the events that reached a subscriber of the bus."""
        answer = _client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    def waiting(self, step: Step) -> list[str]:
        """Return the bodies of the messages in a step's queue."""
        answer = _client("sqs").receive_message(
            QueueUrl=self.queues[step]["QueueUrl"], MaxNumberOfMessages=10
        )
        return [message["Body"] for message in answer.get("Messages", [])]

    def _table(self, name: str, indexes: tuple[Index, ...] = ()) -> str:
        self.dynamodb.create_table(**new_table(name, indexes))
        return name

    def _bus_to_queue(self, name: str) -> str:
        sqs, events = _client("sqs"), _client("events")
        url: str = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        events.create_event_bus(Name=name)
        pattern = json.dumps({"source": ["forebay"]})
        events.put_rule(Name="all", EventBusName=name, EventPattern=pattern)
        target = {"Id": "queue", "Arn": answer["Attributes"]["QueueArn"]}
        events.put_targets(Rule="all", EventBusName=name, Targets=[target])
        return url

    def _machine(self, name: str) -> str:
        definition = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
        arn: str = _client("stepfunctions").create_state_machine(
            name=name,
            definition=json.dumps(definition),
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/any",
        )["stateMachineArn"]
        return arn


Story = Callable[[Deployment], None]


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the repository's policy, compiled as infra compiles it."""
    path = tmp_path_factory.mktemp("policy") / "policy.json"
    path.write_text(json.dumps(compile_policies()))
    return path


@pytest.fixture(scope="session", autouse=True)
def loggers() -> None:
    """Let Powertools bind its loggers to a stream that outlives each test's capture."""
    for step in Step:
        batch._logger(step)


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch, policy: Path) -> Iterator[Deployment]:
    """Give a deployment and its environment; no socket is opened."""
    aws = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        # By account, a stream's ARN names a host that moto does not know.
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    }
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    sign_digests_as_kms_does(monkeypatch)
    versions = VersionIds()
    monkeypatch.setattr("moto.s3.models.random", versions)
    pytest_socket.disable_socket(allow_unix_socket=True)
    with mock_aws():
        made = Deployment(versions)
        for name, value in made.environment(policy).items():
            monkeypatch.setenv(name, value)
        yield made
    wiring.wiring.cache_clear()
    pytest_socket.enable_socket()


@cache
def _client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]
