"""Functions die in mid-work; nothing is lost, and nothing is said twice differently."""

import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from forebay.domain.states import State
from forebay_cli import stack_outputs
from tests.e2e.cloud import Cloud
from tests.e2e.samples import write_instances, write_pair

VICTIMS = ("inspect-dicom", "inspect-genomics", "place-object", "register-object", "relay-changes")
KILLS = 6


@pytest.fixture(scope="module")
def subscriber(cloud: Cloud) -> str:
    """A queue that hears everything the bus says, as an outside subscriber would."""
    account = cloud.deployment.account
    events: Any = cloud.client("events")
    url = account.sqs.create_queue(QueueName="everything")["QueueUrl"]
    arn = account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    bus = cloud.deployment.output(stack_outputs.BUS)
    pattern = json.dumps({"source": ["forebay"], "detail": {"site": ["killed"]}})
    events.put_rule(Name="everything", EventBusName=bus, EventPattern=pattern)
    target = {"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}
    events.put_targets(Rule="everything", EventBusName=bus, Targets=[target])
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": target["Arn"],
            }
        ],
    }
    account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    return url


def test_killed_functions_lose_nothing_and_contradict_nothing(
    cloud: Cloud, subscriber: str, tmp_path: Path
) -> None:
    site = "killed"
    write_instances(tmp_path / "killed", 30)
    write_pair(tmp_path / "reads", "KILL01", reads=20_000)
    cloud.forebay("upload", str(tmp_path), "--site", site)
    killed = _kill_workers(cloud)
    assert killed >= KILLS, "the functions finished before they could be killed"
    cloud.settle(site, {"PLACED": 34})

    said: dict[tuple[str, int], str] = {}
    for event in _heard(cloud, subscriber):
        detail = event["detail"]
        if "object_id" not in detail:
            continue
        meaning = json.dumps([event["detail-type"], detail], sort_keys=True)
        change = (detail["object_id"], detail["version"])
        assert said.setdefault(change, meaning) == meaning
    for record in cloud.records(site, State.PLACED):
        versions = sorted(v for (object_id, v) in said if object_id == record.object_id)
        assert versions == list(range(1, record.version + 1))


def _kill_workers(cloud: Cloud) -> int:
    """Kill function processes while they work, again and again."""
    scratch = str(cloud.home)
    killed = 0
    deadline = time.monotonic() + 60
    while killed < KILLS and time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            busy = scratch in line and any(victim in line for victim in VICTIMS)
            if busy and killed < KILLS:
                process.kill()
                killed += 1
        time.sleep(0.3)
    return killed


def _heard(cloud: Cloud, url: str) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    while True:
        answer = cloud.deployment.account.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2
        )
        messages = answer.get("Messages", [])
        if not messages:
            return heard
        heard += [json.loads(message["Body"]) for message in messages]
        for message in messages:
            cloud.deployment.account.sqs.delete_message(
                QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
            )
