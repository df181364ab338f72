"""Time passes in the local cloud, and S3 does what its lifecycle rules say."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from forebay.domain.integrity import Algorithm
from forebay.domain.policy.standing import storage_class_of
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.states import State
from forebay.names import ENV_CLOCK_AHEAD_SECONDS, Tag, Zone
from forebay_cli import stack_outputs
from forebay_cli.localcloud.emulator import CLOCK_FILE
from forebay_cli.localcloud.moved_clock import MovedClock
from tests.e2e.cloud import Cloud
from tests.e2e.people import excepted
from tests.e2e.samples import write_image, write_study

pytestmark = pytest.mark.slow
"""What policy asks of S3 is in `test_policy`; here is the rest of what S3 does in time."""

SITE = "north"
RETIRED = "retired"
DAYS = 60
LARGE = bytes(250_000)
GATES = {
    "cold": {Tag.TIERING: "to-GLACIER"},
    "small": {Tag.TIERING: "to-GLACIER"},
    "gone": {Tag.REMOVAL: "now"},
    "held": {Tag.REMOVAL: "now"},
    "closed": {Tag.TIERING: "none", Tag.REMOVAL: "none"},
}


@pytest.fixture(scope="module")
def advanced(
    later: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Cloud, Mapping[str, str]]:
    """A cloud two months later, and the version of each key that was put into its clinical zone."""
    folder = tmp_path_factory.mktemp("images")
    write_image(folder / "ct.dcm")
    later.forebay("upload", str(folder), "--site", SITE)
    later.settle(SITE, {"PLACED": 1})
    retired = tmp_path_factory.mktemp("retired") / "ct_of_1998.dcm"
    write_study(retired)
    # The history of a PACS that is retired goes to the archive.
    later.deployment.account.s3.put_object(
        Bucket=later.deployment.bucket(Zone.LANDING_IMAGING),
        Key=f"{RETIRED}/ct.dcm",
        Body=retired.read_bytes(),
        Metadata={"source-system": "pacs-migration"},
        ChecksumAlgorithm="SHA256",
    )
    later.settle(RETIRED, {"PLACED": 1})
    versions = {key: _put(later, key) for key in GATES}
    later.forebay("local", "advance", f"{DAYS}d")
    return later, versions


def _put(cloud: Cloud, key: str) -> str:
    s3, bucket = cloud.deployment.account.s3, cloud.deployment.bucket(Zone.CLINICAL)
    tags = "&".join(f"{name}={value}" for name, value in GATES[key].items())
    body = b"x" if key == "small" else LARGE
    hold = {"ObjectLockLegalHoldStatus": "ON"} if key == "held" else {}
    answer: Any = s3.put_object(Bucket=bucket, Key=key, Body=body, Tagging=tags, **hold)  # type: ignore[arg-type]
    return str(answer["VersionId"])


def _address(cloud: Cloud, key: str) -> dict[str, Any]:
    return {"Bucket": cloud.deployment.bucket(Zone.CLINICAL), "Key": key}


def _code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def test_functions_storage_and_command_line_agree_on_the_time(
    advanced: tuple[Cloud, Mapping[str, str]],
) -> None:
    cloud, _ = advanced
    names = cloud.deployment.by_step(stack_outputs.FUNCTION).values()
    functions = cloud.client("lambda")
    told = {
        functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"][
            ENV_CLOCK_AHEAD_SECONDS
        ]
        for name in names
    }
    ahead = MovedClock.load(cloud.home / CLOCK_FILE).ahead_seconds
    assert ahead > (DAYS - 1) * 86_400
    assert told == {str(ahead)}
    now = datetime.now(UTC) + timedelta(seconds=ahead)
    s3 = cloud.deployment.account.s3
    s3.put_object(**_address(cloud, "new"), Body=b"x")
    written = s3.head_object(**_address(cloud, "new"))["LastModified"]
    assert abs(written - now) < timedelta(minutes=5)


def test_an_image_went_to_the_tier_of_its_class_and_its_arrival_is_gone(
    advanced: tuple[Cloud, Mapping[str, str]],
) -> None:
    cloud, _ = advanced
    [record] = cloud.records(SITE, State.PLACED)
    assert record.placed is not None
    assert record.policy is not None
    assert storage_class_of(record) is record.policy.target is not StorageClass.STANDARD
    s3 = cloud.deployment.account.s3
    stored = s3.head_object(Bucket=record.placed.bucket, Key=record.placed.key)
    assert stored["StorageClass"] == record.policy.target
    assert stored["VersionId"] == record.placed.version_id
    landing = cloud.deployment.bucket(Zone.LANDING_IMAGING)
    assert "Versions" not in s3.list_object_versions(Bucket=landing, Prefix=SITE)


def test_only_what_carries_an_open_gate_and_is_large_enough_moved(
    advanced: tuple[Cloud, Mapping[str, str]],
) -> None:
    cloud, versions = advanced
    s3 = cloud.deployment.account.s3
    found = {key: s3.head_object(**_address(cloud, key)) for key in ("cold", "small", "closed")}
    assert {key: head["VersionId"] for key, head in found.items()} == {
        key: versions[key] for key in found
    }
    classes = {key: head.get("StorageClass", "STANDARD") for key, head in found.items()}
    assert classes == {"cold": "GLACIER", "small": "STANDARD", "closed": "STANDARD"}


def test_what_is_held_is_hidden_and_stays_while_the_rest_is_removed_for_good(
    advanced: tuple[Cloud, Mapping[str, str]],
) -> None:
    cloud, versions = advanced
    bucket, s3 = cloud.deployment.bucket(Zone.CLINICAL), cloud.deployment.account.s3
    held = s3.list_object_versions(Bucket=bucket, Prefix="held")
    assert [version["VersionId"] for version in held["Versions"]] == [versions["held"]]
    assert len(held["DeleteMarkers"]) == 1
    gone = s3.list_object_versions(Bucket=bucket, Prefix="gone")
    assert not {"Versions", "DeleteMarkers"} & gone.keys()
    with pytest.raises(ClientError) as refused:
        s3.delete_object(**_address(cloud, "held"), VersionId=versions["held"])
    assert _code(refused) == "AccessDenied"


def test_an_archived_version_is_read_only_while_its_restored_copy_lasts(
    advanced: tuple[Cloud, Mapping[str, str]],
) -> None:
    cloud, _ = advanced
    s3, cold = cloud.deployment.account.s3, _address(cloud, "cold")
    copied = {**_address(cloud, "copy"), "CopySource": cold}
    for read in (lambda: s3.get_object(**cold), lambda: s3.copy_object(**copied)):
        with pytest.raises(ClientError) as refused:
            read()
        assert _code(refused) == "InvalidObjectState"

    s3.restore_object(**cold, RestoreRequest={"Days": 2})
    cloud.until(lambda: 'ongoing-request="false"' in s3.head_object(**cold)["Restore"])
    assert s3.get_object(**cold)["Body"].read() == LARGE
    s3.copy_object(**copied, StorageClass="STANDARD")

    days = cloud.forebay("local", "advance", "4d")["days"]
    assert "end_restore" in [deed["do"] for day in days for deed in day["deeds"]]
    assert "Restore" not in s3.head_object(**cold)
    with pytest.raises(ClientError) as refused:
        s3.get_object(**cold)
    assert _code(refused) == "InvalidObjectState"


def test_an_archived_study_that_is_to_be_hot_is_restored_and_copied_back(
    advanced: tuple[Cloud, Mapping[str, str]],
) -> None:
    cloud, _ = advanced
    s3 = cloud.deployment.account.s3
    [before] = cloud.records(RETIRED, State.PLACED)
    assert before.placed is not None
    cold: dict[str, Any] = {"Bucket": before.placed.bucket, "Key": before.placed.key}
    assert storage_class_of(before) is StorageClass.GLACIER
    assert s3.head_object(**cold)["StorageClass"] == "GLACIER"
    with pytest.raises(ClientError) as refused:
        s3.get_object(**cold)
    assert _code(refused) == "InvalidObjectState"

    until = datetime.now(UTC) + timedelta(days=DAYS + 100)
    excepted(cloud, "hot", "--object", before.object_id, "--until", f"{until:%Y-%m-%d}")
    cloud.forebay("local", "advance", "2d")

    [after] = cloud.records(RETIRED, State.PLACED)
    assert after.placed is not None
    assert storage_class_of(after) is StorageClass.STANDARD
    assert after.placed.version_id != before.placed.version_id
    warm = s3.get_object(**cold)
    assert (warm["VersionId"], "StorageClass" in warm) == (after.placed.version_id, False)
    assert hashlib.sha256(warm["Body"].read()).hexdigest() == before.digest(Algorithm.SHA256)


def test_policy_was_asked_as_time_went_by(advanced: tuple[Cloud, Mapping[str, str]]) -> None:
    cloud, _ = advanced
    [record] = cloud.records(SITE, State.PLACED)
    assert record.policy is not None
    assert record.policy.decided_at is not None
    assert record.policy.decided_at > datetime.now(UTC) + timedelta(days=7)
