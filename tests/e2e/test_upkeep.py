"""What the flow loses is found: dead letters, lost messages, drift; and what is kept is proved."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from forebay import names
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State
from forebay.names import QUEUE_STEPS, Step, Tag, Zone
from forebay_cli import stack_outputs
from tests.e2e.cloud import Cloud
from tests.e2e.samples import write_instances
from tests.e2e.trouble import POISON, age, impatient, invoke, not_listening, without


@pytest.fixture
def functions(cloud: Cloud) -> Any:
    return cloud.client("lambda")


@pytest.fixture(scope="module", autouse=True)
def no_dead_letters(cloud: Cloud) -> None:
    """Close what other tests left on the list."""
    for cause in cloud.forebay("dead-letters", "list")["causes"]:
        which = ("--signature", cause["signature"])
        cloud.forebay("dead-letters", "resolve", *which, "--note", "another test's", "--yes")


def test_poison_in_every_queue_ends_as_one_line_of_dead_letters_each(cloud: Cloud) -> None:
    with impatient(cloud, *QUEUE_STEPS):
        queues = cloud.deployment.by_step(stack_outputs.QUEUE)
        for step in QUEUE_STEPS:
            for body in POISON:
                cloud.deployment.account.sqs.send_message(QueueUrl=queues[step], MessageBody=body)
        wanted = {step.value: len(POISON) for step in QUEUE_STEPS}
        cloud.until(lambda: cloud.open_letters() == wanted, lambda: str(cloud.open_letters()))
    causes = cloud.forebay("dead-letters", "list")["causes"]
    assert len(causes) == len(QUEUE_STEPS)
    assert {cause["error"] for cause in causes} == {"MessageError"}
    for cause in causes:
        which = ("--signature", cause["signature"])
        cloud.forebay("dead-letters", "resolve", *which, "--note", "nobody's", "--yes")
    assert cloud.open_letters() == {}
    assert not any(
        map(cloud.waiting, cloud.deployment.by_step(stack_outputs.DEAD_LETTERS).values())
    )


def test_what_a_bad_deployment_gave_up_on_is_replayed_after_the_fix(
    cloud: Cloud, functions: Any, tmp_path: Path
) -> None:
    site, step = "replayed", Step.PLACE_OBJECT
    write_instances(tmp_path, 3)
    name = cloud.deployment.by_step(stack_outputs.FUNCTION)[step]
    with impatient(cloud, step):
        with without(functions, name, names.ENV_TABLE):
            cloud.forebay("upload", str(tmp_path), "--site", site)
            # A worker that was busy at the change may still do its message the old way.
            cloud.until(lambda: bool(left := _left(cloud, site)) and _would_act(cloud) >= left)
        left = _left(cloud, site)
        [cause] = cloud.forebay("dead-letters", "list")["causes"]
        which = ("--signature", cause["signature"])
        # The cloud is that of all tests: a straggler of another may have met the same fate.
        assert _would_act(cloud, *which) & _of_site(cloud, site) == left
        cloud.forebay("dead-letters", "replay", *which, "--yes")
        cloud.settle(site, {"PLACED": 3})
    cloud.forebay("dead-letters", "resolve", *which, "--done", "--yes")
    assert cloud.open_letters() == {}


def test_an_object_whose_message_was_lost_is_handed_to_its_step_again(
    cloud: Cloud, functions: Any, tmp_path: Path
) -> None:
    site = "swept"
    write_instances(tmp_path, 1)
    deployment = cloud.deployment
    queue = deployment.by_step(stack_outputs.QUEUE)[Step.PLACE_OBJECT]
    with not_listening(functions, deployment.by_step(stack_outputs.FUNCTION)[Step.PLACE_OBJECT]):
        cloud.forebay("upload", str(tmp_path), "--site", site)
        cloud.until(lambda: cloud.counts(site) == {"VERIFIED": 1} and cloud.waiting(queue) == 1)
        deployment.account.sqs.purge_queue(QueueUrl=queue)
    [record] = cloud.records(site, State.VERIFIED)
    age(cloud, record, timedelta(hours=1))

    swept = invoke(functions, cloud, Step.SWEEP_DEADLINES, {})
    assert swept["redriven"] >= 1
    cloud.settle(site, {"PLACED": 1})
    [placed] = cloud.records(site, State.PLACED)
    assert placed.redrives == 0, "counted per state"


def test_a_lost_tag_is_found_repaired_and_then_no_longer_found(
    cloud: Cloud, functions: Any, tmp_path: Path
) -> None:
    site = "drifted"
    write_instances(tmp_path, 2)
    cloud.forebay("upload", str(tmp_path), "--site", site)
    cloud.settle(site, {"PLACED": 2})
    copy = cloud.records(site, State.PLACED)[0].placed
    assert copy is not None
    address = {"Bucket": copy.bucket, "Key": copy.key, "VersionId": copy.version_id}
    s3 = cloud.deployment.account.s3
    tags = s3.get_object_tagging(**address)["TagSet"]  # type: ignore[arg-type]
    s3.delete_object_tagging(**address)

    invoke(functions, cloud, Step.RECONCILE_STORAGE, {"zone": Zone.CLINICAL.value})
    only = ("--zone", Zone.CLINICAL.value, "--site", site, "--grace", "0")
    assert copy.version_id in json.dumps(cloud.forebay("reconcile", *only, expect=1))
    cloud.forebay("reconcile", *only, "--apply", "--yes")
    cloud.forebay("reconcile", *only)
    repaired = s3.get_object_tagging(**address)["TagSet"]  # type: ignore[arg-type]
    # Gates without a tag are closed; to open them is not repair's, but policy's.
    gates = {Tag.TIERING, Tag.REMOVAL, Tag.REPLICATE}
    assert {t["Key"] for t in repaired} == {t["Key"] for t in tags} - gates


def test_stored_bytes_are_read_again_and_their_date_is_recorded(
    cloud: Cloud, functions: Any, tmp_path: Path
) -> None:
    site = "reread"
    write_instances(tmp_path, 2)
    cloud.forebay("upload", str(tmp_path), "--site", site)
    cloud.settle(site, {"PLACED": 2})
    since = datetime.now(UTC)
    metrics = invoke(functions, cloud, Step.RECHECK_OBJECTS, {})
    assert metrics["Differences"] == metrics["RecheckFailures"] == 0
    cloud.until(lambda: all(_reread_since(r, since) for r in cloud.records(site, State.PLACED)))


def test_a_receipt_is_verified_offline_with_the_public_key(cloud: Cloud, tmp_path: Path) -> None:
    site, files = "receipted", tmp_path / "receipted"
    write_instances(files, 3)
    sent = cloud.forebay("upload", str(files), "--site", site)
    cloud.settle(site, {"PLACED": 3})
    receipt, key = tmp_path / "receipt.json", tmp_path / "key.pem"
    [batch] = sent["upload_batches"]
    cloud.forebay("receipt", "get", batch, "--site", site, "--output", str(receipt))
    cloud.forebay("receipt", "key", "--output", str(key))
    covered = ("--key", str(key), "--files", str(files))
    cloud.forebay("receipt", "verify", str(receipt), *covered)
    changed = next(files.iterdir())
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    cloud.forebay("receipt", "verify", str(receipt), *covered, expect=1)


def _left(cloud: Cloud, site: str) -> set[str]:
    """Return the objects that were verified and not placed, once none of the three is earlier."""
    counts = cloud.counts(site)
    if counts.get("VERIFIED", 0) + counts.get("PLACED", 0) < 3:
        return set()
    return {record.object_id for record in cloud.records(site, State.VERIFIED)}


def _of_site(cloud: Cloud, site: str) -> set[str]:
    return {r.object_id for state in State for r in cloud.records(site, state)}


def _would_act(cloud: Cloud, *which: str) -> set[str]:
    """Return the objects of the letters that a replay would hand to their step again."""
    letters = cloud.forebay("dead-letters", "preview", *which)["letters"]
    return {letter["about"] for letter in letters if letter["verdict"] == "WOULD_ACT"}


def _reread_since(record: ObjectRecord, since: datetime) -> bool:
    return record.rechecked_at is not None and record.rechecked_at >= since
