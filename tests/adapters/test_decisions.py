"""Decisions and deletions over the real adapters: the transactions are DynamoDB's own."""

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_socket
from moto import mock_aws

from forebay.domain.objects import Choice
from forebay.domain.states import State
from forebay.events import StorageChanged, StorageKind
from forebay.names import Tag
from forebay.services.decide_conflict import Decided
from tests.adapters.conftest import REGION
from tests.adapters.moto_world import MotoWorld
from tests.unit.fakes import any_dicom_body, any_uid

UIDS: dict[str, Any] = {
    name: any_uid() for name in ("sop_instance_uid", "study_instance_uid", "series_instance_uid")
}
FIRST = any_dicom_body(pixels=b"one", **UIDS)
OTHER = any_dicom_body(pixels=b"two", **UIDS)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[MotoWorld]:
    """Give the whole flow over moto."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    pytest_socket.disable_socket(allow_unix_socket=True)
    with mock_aws():
        yield MotoWorld()
    pytest_socket.enable_socket()


def in_conflict(world: MotoWorld) -> tuple[str, str]:
    first = world.image(FIRST, "site-a/first")
    world.run()
    other = world.image(OTHER, "site-a/other")
    world.run()
    assert world.state(other) is State.CONFLICT
    return first, other


@pytest.mark.parametrize("choice", [Choice.REPLACE, Choice.KEEP_BOTH])
def test_decision_is_carried_out_from_the_held_copy(world: MotoWorld, choice: Choice) -> None:
    first, other = in_conflict(world)
    landing = world.record(other).location
    world.s3.delete_object(Bucket=landing.bucket, Key=landing.key, VersionId=landing.version_id)

    assert isinstance(world.decide(other, choice, by="arn", note=""), Decided)
    world.run()

    stored, arrived = world.record(first), world.record(other)
    kept = State.SUPERSEDED if choice is Choice.REPLACE else State.PLACED
    assert (stored.state, arrived.state) == (kept, State.PLACED)
    assert stored.placed
    assert arrived.placed
    assert (stored.placed.key == arrived.placed.key) is (choice is Choice.REPLACE)
    verdict = "superseded" if choice is Choice.REPLACE else "verified"
    assert world.store.tags(stored.placed)[Tag.VERDICT] == verdict
    assert world.reader.instance(UIDS["sop_instance_uid"]) == (
        arrived if choice is Choice.REPLACE else stored
    )
    assert not world.dead_letters

    again = world.image(OTHER, "site-a/again")
    world.run()

    assert world.record(again).state is State.DUPLICATE
    assert world.record(again).original_id == other


def test_copy_that_was_deleted_is_found_by_its_place(world: MotoWorld) -> None:
    made = world.image(FIRST, "site-a/first")
    world.run()
    copy = world.record(made).placed
    assert copy
    world.s3.delete_object(Bucket=copy.bucket, Key=copy.key, VersionId=copy.version_id)

    kind = StorageKind.REMOVED
    world.tell(StorageChanged(kind, copy.bucket, copy.key, "", "2026-03-01T00:00:00Z"))
    world.run()

    assert world.record(made).state is State.DELETED
    assert not world.dead_letters
