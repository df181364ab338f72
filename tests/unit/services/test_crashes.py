"""A worker may die before or after any effect: after redelivery the end is the same."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from forebay.domain.integrity import Algorithm
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State
from forebay.names import Zone
from tests.unit.fakes import (
    BUCKETS,
    Effects,
    any_dicom_body,
    any_hex,
    any_reads_body,
    any_uid,
    checksum_of,
)
from tests.unit.world import World

Story = Callable[[World], None]
READS = "site-a/run1/NA12878_S1_L001_R1_001.fastq.gz"
BODY = any_reads_body()
MATE = any_reads_body()
UIDS: dict[str, Any] = {name: any_uid() for name in ("sop_instance_uid", "study_instance_uid")}
DICOM = any_dicom_body(**UIDS)
OTHER_DICOM = any_dicom_body(**UIDS)


def good_and_duplicate(world: World) -> None:
    world.image(DICOM)
    world.run()
    world.image(DICOM, "site-a/again")


def conflict(world: World) -> None:
    world.image(DICOM)
    world.run()
    world.image(OTHER_DICOM, "site-a/other")


def broken(world: World) -> None:
    world.image(b"no dicom")


def reads_then_sidecar(world: World) -> None:
    world.genomics(READS, BODY)
    world.run()
    world.genomics(f"{READS}.md5", checksum_of(Algorithm.MD5, BODY).encode())


def sidecar_then_reads(world: World) -> None:
    world.genomics(f"{READS}.md5", checksum_of(Algorithm.MD5, BODY).encode())
    world.genomics(READS, BODY)


def late_conviction(world: World) -> None:
    world.image(DICOM)
    world.run()
    world.image(b"0" * 32, "site-a/scan.dcm.md5")


def corrected(world: World) -> None:
    world.genomics(f"{READS}.md5", b"0" * 32)
    world.genomics(READS, BODY)
    world.run()
    world.genomics(f"{READS}.md5", checksum_of(Algorithm.MD5, BODY).encode())


def pair(world: World) -> None:
    for key, body in ((READS, BODY), (READS.replace("_R1_", "_R2_"), MATE)):
        world.genomics(key, body, metadata={"md5": checksum_of(Algorithm.MD5, body)})


STORIES: Mapping[str, Story] = {
    story.__name__: story
    for story in (
        good_and_duplicate,
        conflict,
        broken,
        reads_then_sidecar,
        sidecar_then_reads,
        late_conviction,
        corrected,
        pair,
    )
}


def told(story: Story, effects: Effects) -> World:
    world = World(effects=effects)
    story(world)
    world.run()
    return world


def ends(world: World) -> list[tuple[object, ...]]:
    """Return what counts of every record at the end: no times, versions or ids that chance made."""
    return sorted(
        (
            record.location.key,
            record.size_bytes,
            record.state,
            record.finding.code if record.finding else "",
            record.placed.key if record.placed else "",
            record.held.key.partition("/")[0] if record.held else "",
            record.duplicate_count,
            record.object_class,
            len(record.digests),
        )
        for record in world.catalog.records.values()
    )


@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_crash_at_every_effect_and_redelivery_end_as_if_nothing_happened(
    story: Story, after: bool
) -> None:
    calm = told(story, Effects())
    expected = ends(calm)

    for fail_at in range(1, len(calm.effects.calls) + 1):
        world = told(story, Effects(fail_at=fail_at, after=after))
        where = f"call {fail_at}: {world.effects.calls[fail_at - 1]}"
        assert ends(world) == expected, where
        assert not world.dead_letters, where
        assert len(world.pipelines.started) == len(calm.pipelines.started), where
        for record in world.catalog.records.values():
            assert_kept(world, record, where)


def assert_kept(world: World, record: ObjectRecord, where: str) -> None:
    """What the catalog says is in storage is there, and the landing copy is settled."""
    for kept in (record.placed, record.held):
        if kept:
            assert len(world.store.body(kept)) == record.size_bytes, where
    if record.state is State.PLACED:
        assert world.store.tags(record.location), where
    if record.state is State.QUARANTINED:
        assert record.held, where
        clinical = BUCKETS[Zone.CLINICAL]
        for (bucket, _), versions in world.store.versions.items():
            mine = [
                version.tags
                for version in versions.values()
                if version.metadata.get("forebay-object-id") == record.object_id
            ]
            if bucket == clinical:
                assert all(tags["forebay:verdict"] == "refused" for tags in mine), where


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_event_of_one_change_never_has_two_meanings(story: Story) -> None:
    calm = told(story, Effects())

    for fail_at in range(1, len(calm.effects.calls) + 1, 3):
        world = told(story, Effects(fail_at=fail_at, after=True))
        meanings: dict[tuple[str, int], object] = {}
        for event in world.feed.published:
            said = meanings.setdefault((event.subject_id, event.version), event)
            assert said == event


def test_uploading_everything_again_changes_nothing_but_counters() -> None:
    world = World(needs_sender_digest=False)
    bodies = {f"site-a/{any_hex(4)}-{n}": any_dicom_body() for n in range(20)}
    for key, body in bodies.items():
        world.image(body, key)
    world.run()
    before = dict(world.catalog.records)

    for key, body in bodies.items():
        world.image(body, key)
    world.run()

    for made, record in before.items():
        now = world.record(made)
        assert now.duplicate_count == 1
        assert (now.version, now.state, now.placed) == (record.version, record.state, record.placed)
