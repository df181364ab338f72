"""Whoever opens a study is learned from logs, once; Forebay's own reading is no access."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.access import (
    Access,
    Reopened,
    StorageRead,
    is_counted,
    is_moved,
)
from forebay.domain.policy.decision import PolicyDecision
from forebay.domain.policy.standing import access_scope
from forebay.domain.policy.storage_classes import StorageClass
from forebay.events import ObjectCreated
from forebay.formats.access_log import parse_access_log
from forebay.names import Step
from forebay.services.learn_access import LearnAccess, Learned
from tests.unit.fakes import BUCKETS, NOON, any_dicom_body, any_uid
from tests.unit.world import World

ANNA = "arn:aws:sts::111122223333:assumed-role/forebay-radiology/anna"


@dataclass
class FakeAccesses:
    """`Accesses` and `ReopenedScopes` in memory."""

    noted: list[Access] = field(default_factory=list)
    opened: list[Reopened] = field(default_factory=list)

    def note(self, access: Access) -> bool:
        known = [(each.scope, each.source, each.day, each.object_class) for each in self.noted]
        if (access.scope, access.source, access.day, access.object_class) in known:
            return False
        self.noted.append(access)
        return True

    def pending(self, limit: int) -> list[Reopened]:
        return self.opened[:limit]

    def seen(self, reopened: Reopened) -> None:
        self.opened.remove(reopened)


def line(record: ObjectRecord, *, who: str = ANNA, version: str = "-", agent: str = "v/1") -> str:
    assert record.placed
    return (
        f"owner {record.placed.bucket} [10/Apr/2026:12:00:00 +0000] 192.0.2.3 {who} ID"
        f' REST.GET.OBJECT {record.placed.key} "GET / HTTP/1.1" 200 - 100 100 7 7 "-" "{agent}"'
        f" {version} host SigV4"
    )


@pytest.fixture
def world() -> World:
    return World()


def placed(world: World, study: str = "") -> ObjectRecord:
    body = any_dicom_body(study_instance_uid=study or any_uid())
    made = world.image(body, f"site-a/{any_uid()}.dcm")
    world.run()
    return world.record(made)


def learn(world: World, accesses: FakeAccesses, *lines: str) -> tuple[Learned, ObjectCreated]:
    log = world.store.upload("access-log", "clinical/2026-04-10", "\n".join(lines).encode())
    return learner(world, accesses)(log), log


def learner(world: World, accesses: FakeAccesses) -> LearnAccess:
    zones = frozenset(BUCKETS.values())
    return LearnAccess(world.catalog, world.store, accesses, parse_access_log, zones, "forebay")


def test_images_of_a_study_are_one_access_to_the_study(world: World) -> None:
    study, accesses = any_uid(), FakeAccesses()
    one, two = placed(world, study), placed(world, study)

    learned, _ = learn(world, accesses, line(one), line(two), line(two))

    (access,) = accesses.noted
    assert access.scope == access_scope(one) == access_scope(two)
    assert (access.reads, access.sent_bytes) == (3, 300)
    assert access.object_class == one.object_class
    assert (learned.counted, learned.scopes, learned.is_news) == (3, 1, True)


def test_log_delivered_twice_is_news_once(world: World) -> None:
    accesses = FakeAccesses()
    _, log = learn(world, accesses, line(placed(world)))

    again = learner(world, accesses)(log)

    assert not again.is_news
    assert len(accesses.noted) == 1


def test_bad_lines_are_told_and_strangers_are_counted_apart(world: World) -> None:
    record, accesses = placed(world), FakeAccesses()
    assert record.placed
    stranger = replace(record, placed=replace(record.placed, key="dicom/unknown"))
    other = replace(record, placed=replace(record.placed, bucket="somebody-s-bucket"))

    learned, _ = learn(world, accesses, line(record), "?", line(stranger), line(other))

    assert [bad.number for bad in learned.bad_lines] == [2]
    assert (learned.counted, learned.unknown, learned.passed_over) == (1, 1, 1)


def test_version_that_was_replaced_is_an_access_all_the_same(world: World) -> None:
    record, accesses = placed(world), FakeAccesses()

    learn(world, accesses, line(record, version="an-older-one"))

    assert [each.scope for each in accesses.noted] == [access_scope(record)]


@pytest.mark.parametrize(
    "who, agent, counts",
    [
        (ANNA, "v/1", True),
        ("arn:aws:iam::111122223333:user/bert", "v/1", True),
        ("-", "v/1", True),
        ("arn:aws:sts::1:assumed-role/forebay-upkeep-R1/forebay-recheck-objects", "v/1", False),
        ("arn:aws:sts::1:assumed-role/forebay-policy-R/forebay-evaluate-policy", "v/1", False),
        ("arn:aws:sts::1:assumed-role/forebay-storage-R/s3-replication", "v/1", False),
        ("arn:aws:sts::1:assumed-role/other-upkeep-R/forebay-recheck-objects", "v/1", True),
        ("svc:s3.amazonaws.com", "v/1", False),
        (ANNA, "Boto3/1.40 md/x app/forebay-fetch", False),
        (ANNA, "app/forebay-fetcher", True),
    ],
)
def test_only_what_somebody_reads_counts(who: str, agent: str, *, counts: bool) -> None:
    read = StorageRead("clinical", ("k",), "", NOON, requester=who, agent=agent)
    assert is_counted(read, "forebay") is counts


def test_every_function_s_own_reading_is_passed_over() -> None:
    for step in Step:
        who = f"arn:aws:sts::1:assumed-role/fb-x/fb-{step.value.replace('_', '-')}"
        assert not is_counted(StorageRead("b", ("k",), "", NOON, requester=who), "fb")


@pytest.mark.parametrize(
    "fields, moved",
    [
        ({"target": StorageClass.STANDARD}, False),
        ({"target": StorageClass.STANDARD, "tiering": "clinical-hot"}, False),
        ({"target": StorageClass.STANDARD, "tiering": "to-GLACIER"}, True),
        ({"target": StorageClass.GLACIER}, True),
    ],
)
def test_only_what_lies_elsewhere_or_is_about_to_is_looked_at(
    world: World, fields: dict[str, Any], *, moved: bool
) -> None:
    record = placed(world)
    decided = replace(record, policy=PolicyDecision("clinical-hot", **fields))
    assert is_moved(decided) is moved
    assert not is_moved(replace(record, policy=None))


def test_study_that_is_read_again_is_evaluated_before_its_day(world: World) -> None:
    record = placed(world)
    world.clock.advance(41 * 86_400)
    world.evaluate_policy()
    idle = world.record(record.object_id)
    assert idle.policy
    assert is_moved(idle)
    at = world.clock.now() + timedelta(hours=1)
    scope = access_scope(idle)
    world.clock.advance(3600)
    world.book.accesses[scope] = at
    accesses = FakeAccesses(opened=[Reopened(scope, at)])

    replace(world.evaluate_policy, reopened=accesses)()

    after = world.record(record.object_id).policy
    assert after
    assert after.target is StorageClass.STANDARD
    assert not after.tiering.startswith("to-")
    assert accesses.opened == []
