"""Events that come twice, late and out of order: every object version still has one outcome."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.states import State
from forebay.names import Step, Zone
from forebay_cli import stack_outputs
from tests.e2e.cloud import Cloud
from tests.e2e.samples import write_instances

REPEATED = 0.05
THREADS = 8


@pytest.mark.parametrize(
    "objects", [pytest.param(200, id="smoke"), pytest.param(5_000, marks=pytest.mark.slow)]
)
def test_repeated_and_shuffled_events_give_one_outcome_each(
    cloud: Cloud, tmp_path: Path, objects: int
) -> None:
    site, before = f"lying{objects}", cloud.given_up()
    write_instances(tmp_path / site, objects)
    chance = random.Random(objects)  # noqa: S311 - test data
    files = sorted((tmp_path / site).iterdir())
    chance.shuffle(files)
    with ThreadPoolExecutor(THREADS) as pool:
        events = list(pool.map(lambda path: _put(cloud, site, path), files))
    again = chance.sample(events, int(objects * REPEATED)) * 2
    chance.shuffle(again)

    for event in again:
        _tell(cloud, event)
    # Patience grows with the load; the flow takes some 15 a second on two cores.
    cloud.settle(site, {"PLACED": objects}, patience_seconds=120 + objects // 5)

    records = cloud.records(site, State.PLACED)
    assert len({record.location for record in records}) == objects
    assert len({record.metadata["SOPInstanceUID"] for record in records}) == objects
    assert {record.version for record in records} == {3}
    assert {record.duplicate_count for record in records} == {0}
    for record in chance.sample(records, min(objects, 100)):
        history = cloud.reader.history(record.object_id)
        assert [entry["version"] for entry in history] == [1, 2, 3]
    assert cloud.given_up() == before


def _put(cloud: Cloud, site: str, path: Path) -> dict[str, Any]:
    """Upload one file; return the event that S3 sends for it."""
    bucket, key = cloud.deployment.bucket(Zone.LANDING_IMAGING), f"{site}/{path.name}"
    body = path.read_bytes()
    answer = cloud.deployment.account.s3.put_object(Bucket=bucket, Key=key, Body=body)
    entry = {
        "key": key,
        "size": len(body),
        "etag": answer["ETag"].strip('"'),
        "version-id": answer["VersionId"],
        "sequencer": f"{time.time_ns():016X}",
    }
    detail = {"version": "0", "bucket": {"name": bucket}, "object": entry, "reason": "PutObject"}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}


def _tell(cloud: Cloud, event: dict[str, Any]) -> None:
    url = cloud.deployment.by_step(stack_outputs.QUEUE)[Step.REGISTER_OBJECT]
    cloud.deployment.account.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
