"""inspect_genomics: reads wait for their sender's digest, checksum files wake or convict them."""

import pytest

from forebay.domain.findings import ReasonCode
from forebay.domain.integrity import Algorithm, Witness
from forebay.domain.objects import Choice, ObjectRecord
from forebay.domain.states import State
from forebay.errors import StaleRecordError
from forebay.names import Step, Tag, Zone
from forebay.services.inspecting import Result
from forebay.services.ports import Claim, ClaimHeld
from tests.unit.fakes import BUCKETS, NOON, any_dicom_body, any_hex, any_reads_body, checksum_of
from tests.unit.world import World

READS = "site-a/run1/NA12878_S1_L001_R1_001.fastq.gz"


def md5(body: bytes) -> str:
    return checksum_of(Algorithm.MD5, body)


def sidecar(body: bytes, path: str = "") -> bytes:
    return f"{md5(body)} {path}".encode()


def reads_read(world: World, made: str) -> int:
    return world.store.bytes_read.get(world.record(made).location, 0)


def code(record: ObjectRecord) -> ReasonCode:
    assert record.finding
    return record.finding.code


def test_reads_with_a_declared_digest_are_verified_in_one_pass() -> None:
    world = World()
    body = any_reads_body(bases=b"A" * 3_000_000)
    made = world.received(lambda: world.genomics(READS, body, metadata={"md5": md5(body)}))

    assert world.inspect_genomics(made) is Result.VERIFIED

    record = world.record(made)
    assert reads_read(world, made) == len(body)
    assert record.digest(Algorithm.MD5) == md5(body)
    assert record.digest(Algorithm.SHA256) == checksum_of(Algorithm.SHA256, body)
    said = {key: record.metadata[key] for key in ("sample", "mate", "lane", "chunk", "run")}
    assert said == {
        "sample": "NA12878",
        "mate": "R1",
        "lane": "001",
        "chunk": "001",
        "run": "M1_7_FC1",
    }
    assert world.catalog.claims[("reads", "site-a#NA12878", "M1_7_FC1#001#001#R1")] == made


def test_digest_of_another_algorithm_is_computed_in_the_same_pass() -> None:
    world = World()
    body = any_reads_body()
    declared = {"sha512": checksum_of(Algorithm.SHA512, body)}
    made = world.received(lambda: world.genomics(READS, body, metadata=declared))

    assert world.inspect_genomics(made) is Result.VERIFIED
    assert reads_read(world, made) == len(body)


@pytest.mark.parametrize("instrument", ["../../M1", "M1/x", "", "M" * 300, "Müller"])
def test_instrument_name_unfit_for_a_key_makes_the_run_unknown(instrument: str) -> None:
    world = World(needs_sender_digest=False)
    made = world.genomics(READS, any_reads_body(instruments=[instrument], flow_cells=[".."]))

    world.run()

    record = world.record(made)
    assert record.placed
    assert ".." not in record.placed.key.split("/")


def test_reads_of_mixed_origin_have_no_run() -> None:
    world = World(needs_sender_digest=False)
    made = world.genomics(READS, any_reads_body(flow_cells=["FC1", "FC2"]))

    world.run()

    assert world.record(made).metadata["run"] == "unknown"


def test_truncated_gzip_is_quarantined_with_byte_offset() -> None:
    world = World()
    made = world.received(lambda: world.genomics(READS, b"x" * 50))

    assert world.inspect_genomics(made) is Result.QUARANTINED

    record = world.record(made)
    assert code(record) is ReasonCode.GZIP_TRUNCATED
    assert record.finding
    assert record.finding.position == "byte 50"
    assert record.digest(Algorithm.MD5) == md5(b"x" * 50)


def test_wrong_digest_explains_a_broken_file_before_its_format_does() -> None:
    world = World()
    made = world.received(lambda: world.genomics(READS, b"x" * 50, metadata={"md5": any_hex(32)}))

    world.inspect_genomics(made)

    record = world.record(made)
    assert code(record) is ReasonCode.DIGEST_MISMATCH
    assert [warning.code for warning in record.warnings] == [ReasonCode.GZIP_TRUNCATED]


@pytest.mark.parametrize("key", ["site-a/notes.docx", "site-a/x.bam"])
def test_file_of_no_known_kind_is_quarantined_unread(key: str) -> None:
    world = World()
    made = world.genomics(key, b"something")

    world.run()

    assert code(world.record(made)) is ReasonCode.UNSUPPORTED_FORMAT
    assert world.record(made).location not in world.store.bytes_read or world.record(made).held


@pytest.mark.parametrize("name", ["a b.fastq.gz", "naïve.fastq.gz", "-rf.fastq.gz", "x'.fastq"])
def test_unsafe_file_name_is_quarantined(name: str) -> None:
    world = World()
    made = world.genomics(f"site-a/{name}", any_reads_body())

    world.run()

    assert code(world.record(made)) is ReasonCode.UNSAFE_NAME
    assert not world.dead_letters


def test_sidecar_before_reads_verifies_them() -> None:
    world = World()
    body = any_reads_body()
    noted = world.genomics(f"{READS}.md5", sidecar(body))
    world.run()

    made = world.genomics(READS, body)
    world.run()

    assert world.state(noted) is State.PLACED
    assert world.state(made) is State.PLACED
    vouched = [d for d in world.record(made).declared if d.witness is Witness.SENDER_MANIFEST]
    assert [d.value for d in vouched] == [md5(body)]


def test_reads_without_a_digest_wait_and_their_sidecar_wakes_them_unread() -> None:
    world = World()
    body = any_reads_body()
    made = world.genomics(READS, body)
    world.run()
    assert world.state(made) is State.AWAITING_DIGEST
    assert reads_read(world, made) == len(body)

    world.genomics(f"{READS}.md5", sidecar(body))
    world.run()

    assert world.state(made) is State.PLACED
    assert reads_read(world, made) == len(body)
    assert world.record(made).metadata["reads"] == 4


def test_reads_sent_twice_before_their_sidecar_are_both_woken() -> None:
    world = World()
    body = any_reads_body()
    first = world.genomics(READS, body)
    second = world.genomics(READS, body)
    world.run()
    assert world.state(first) is world.state(second) is State.AWAITING_DIGEST

    world.genomics(f"{READS}.md5", sidecar(body))
    world.run()

    assert {world.state(first), world.state(second)} == {State.PLACED, State.DUPLICATE}


def test_wrong_sidecar_for_waiting_reads_quarantines_them() -> None:
    world = World()
    made = world.genomics(READS, any_reads_body())
    world.run()

    world.genomics(f"{READS}.md5", any_hex(32).encode())
    world.run()

    assert code(world.record(made)) is ReasonCode.DIGEST_MISMATCH
    assert world.record(made).held


def test_list_for_a_folder_wakes_every_file_it_names() -> None:
    world = World()
    bodies = {f"S{n}_R1.fastq.gz": any_reads_body(names_digest=str(n)) for n in range(3)}
    made = [world.genomics(f"site-a/{name}", body) for name, body in bodies.items()]
    world.run()

    lines = [f"{md5(body)} ./{name}" for name, body in bodies.items()]
    noted = world.genomics("site-a/md5sums.txt", "\n".join(lines).encode())
    world.run()

    assert {world.state(each) for each in made} == {State.PLACED}
    assert world.record(noted).metadata == {"declares": 3}


def test_manifests_of_a_bag_speak_of_payload_and_tag_files() -> None:
    world = World()
    body, info = any_reads_body(), b"Payload-Oxum: 1.1\n"
    tags = {"bagit.txt": b"BagIt-Version: 1.0\n", "bag-info.txt": info}
    made = [world.genomics("site-a/bag/data/S1_R1.fastq.gz", body)]
    made += [world.genomics(f"site-a/bag/{name}", data) for name, data in tags.items()]
    manifest = f"{md5(body)} data/S1_R1.fastq.gz\n".encode()
    made.append(world.genomics("site-a/bag/manifest-md5.txt", manifest))
    listed = {**tags, "manifest-md5.txt": manifest}
    lines = [f"{md5(data)} {name}" for name, data in listed.items()]
    made.append(world.genomics("site-a/bag/tagmanifest-md5.txt", "\n".join(lines).encode()))
    world.run()

    assert [world.state(each) for each in made] == [State.PLACED] * 5
    assert all(world.record(each).digest(Algorithm.MD5) for each in made[:4])


def test_tag_file_that_its_manifest_contradicts_is_quarantined() -> None:
    world = World()
    made = world.genomics("site-a/bag/bag-info.txt", b"Payload-Oxum: 1.1\n")
    world.genomics("site-a/bag/tagmanifest-md5.txt", f"{any_hex(32)} bag-info.txt\n".encode())
    world.run()

    assert code(world.record(made)) is ReasonCode.DIGEST_MISMATCH


def test_bag_that_wants_files_fetched_is_refused_that() -> None:
    world = World()
    made = world.genomics("site-a/bag/fetch.txt", b"https://example.org/x 1 data/x\n")
    world.run()

    assert code(world.record(made)) is ReasonCode.BAG_FETCH_REFUSED


def test_sidecar_speaks_of_its_neighbour_whatever_name_its_writer_had() -> None:
    world = World()
    body = any_reads_body()
    made = world.genomics(READS, body)
    world.run()

    world.genomics(f"{READS}.md5", sidecar(body, "data/before-renaming.fastq.gz"))
    world.run()

    assert world.state(made) is State.PLACED


def test_list_of_one_line_speaks_of_the_file_it_names() -> None:
    """`md5sum x.fastq.gz > NA12878.md5` is no sidecar of a file called NA12878."""
    world = World()
    body = any_reads_body()
    made = world.genomics(READS, body)
    world.run()

    name = READS.rpartition("/")[2]
    world.genomics("site-a/run1/NA12878.md5", sidecar(body, name))
    world.run()

    assert world.state(made) is State.PLACED


def test_one_bad_line_and_the_list_declares_nothing() -> None:
    world = World()
    body = any_reads_body()
    made = world.genomics("site-a/S1_R1.fastq.gz", body)
    listed = world.genomics("site-a/md5sums.txt", f"{md5(body)} S1_R1.fastq.gz\nbad".encode())

    world.run()

    assert code(world.record(listed)) is ReasonCode.MANIFEST_MALFORMED
    assert world.state(made) is State.AWAITING_DIGEST
    assert not world.catalog.declared


def test_damaged_checksum_file_declares_nothing() -> None:
    """Its own digest is judged before a word of it is believed."""
    world = World()
    body = any_reads_body()
    made = world.genomics(READS, body)
    listed = world.genomics(f"{READS}.md5", sidecar(body), metadata={"md5": any_hex(32)})

    world.run()

    assert code(world.record(listed)) is ReasonCode.DIGEST_MISMATCH
    assert world.state(made) is State.AWAITING_DIGEST
    assert not world.catalog.declared


def test_empty_list_is_quarantined() -> None:
    world = World()
    listed = world.genomics("site-a/md5sums.txt", b"\n")

    world.run()

    assert world.state(listed) is State.QUARANTINED


def test_implausibly_large_checksum_file_is_quarantined_unread() -> None:
    world = World()
    made = world.received(
        lambda: world.genomics("site-a/md5sums.txt", b" " * (16 * 1024 * 1024 + 1))
    )

    world.inspect_genomics(made)

    assert code(world.record(made)) is ReasonCode.LIMIT_EXCEEDED
    assert not world.store.bytes_read


def test_lost_wakeup_is_impossible_sidecar_between_read_and_wait() -> None:
    """The sidecar lands after the inspection read the declarations, before it writes WAITING."""
    world = World()
    body = any_reads_body()
    made = world.received(lambda: world.genomics(READS, body))
    noted = world.received(lambda: world.genomics(f"{READS}.md5", sidecar(body)))

    def sidecar_first() -> None:
        assert world.inspect_genomics(noted) is Result.VERIFIED
        assert world.state(made) is State.RECEIVED

    world.catalog.before_next_write.append(sidecar_first)

    with pytest.raises(StaleRecordError):
        world.inspect_genomics(made)

    assert world.inspect_genomics(made) is Result.VERIFIED


def test_lost_wakeup_is_impossible_wait_between_declaration_and_look() -> None:
    """The inspection writes WAITING after the sidecar declared, before it looks for sleepers."""
    world = World()
    body = any_reads_body()
    made = world.received(lambda: world.genomics(READS, body))
    noted = world.received(lambda: world.genomics(f"{READS}.md5", sidecar(body)))
    versions_of = world.catalog.versions_of

    def inspected_meanwhile(bucket: str, key: str) -> tuple[ObjectRecord, ...]:
        if key == READS:
            assert world.inspect_genomics(made) is Result.VERIFIED
        return versions_of(bucket, key)

    world.catalog.versions_of = inspected_meanwhile  # type: ignore[method-assign]

    world.inspect_genomics(noted)

    assert world.state(made) is State.VERIFIED


def test_waking_loses_against_another_worker_and_comes_again() -> None:
    world = World()
    body = any_reads_body()
    made = world.genomics(READS, body)
    world.run()
    world.genomics(f"{READS}.md5", sidecar(body))

    def move() -> None:
        world.catalog.records[made] = world.record(made).amended(NOON, source_system="other")

    world.work_off(world.queue.popleft())
    world.catalog.before_next_write.append(move)
    world.run()

    assert world.state(made) is State.PLACED
    assert not world.dead_letters


def test_corrected_sidecar_clears_the_quarantine_of_good_reads_unread() -> None:
    world = World()
    body = any_reads_body()
    made = world.genomics(READS, body)
    world.genomics(f"{READS}.md5", any_hex(32).encode())
    world.run()
    assert code(world.record(made)) is ReasonCode.DIGEST_MISMATCH
    held = world.record(made).held
    assert held

    world.genomics(f"{READS}.md5", sidecar(body))
    world.run()

    record = world.record(made)
    assert record.state is State.PLACED
    assert record.finding is None
    assert record.held is None
    assert reads_read(world, made) == len(body)
    assert world.store.body(held) == body


def test_corrected_sidecar_that_still_disagrees_clears_nothing() -> None:
    world = World()
    made = world.genomics(READS, any_reads_body())
    world.genomics(f"{READS}.md5", any_hex(32).encode())
    world.run()
    before = world.record(made)

    world.genomics(f"{READS}.md5", any_hex(32).encode())
    world.run()

    assert world.record(made) == before


def test_first_sidecar_that_is_told_of_last_does_not_undo_its_correction() -> None:
    world = World()
    body = any_reads_body()
    made = world.genomics(READS, body)
    world.run()
    wrong = world.genomics(f"{READS}.md5", any_hex(32).encode())
    right = world.genomics(f"{READS}.md5", sidecar(body))
    world.queue.reverse()

    world.run()

    assert world.state(made) is State.PLACED
    assert world.record(wrong).metadata == {"superseded_by": right}
    assert world.record(right).metadata == {"declares": 1}


def test_sidecar_does_not_clear_what_is_broken() -> None:
    world = World()
    body = b"x" * 50
    made = world.genomics(READS, body)
    world.run()

    world.genomics(f"{READS}.md5", sidecar(body))
    world.run()

    assert code(world.record(made)) is ReasonCode.GZIP_TRUNCATED


def test_late_sidecar_convicts_placed_reads_and_withdraws_them() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    made = world.genomics(READS, body)
    world.run()
    placed = world.record(made).placed
    assert placed
    assert world.store.tags(placed)[Tag.VERDICT] == "verified"

    world.genomics(f"{READS}.md5", any_hex(32).encode())
    world.run()

    record = world.record(made)
    assert record.state is State.QUARANTINED
    assert record.placed == placed
    assert world.store.tags(placed)[Tag.VERDICT] == "refused"
    assert record.held
    assert record.held.bucket == BUCKETS[Zone.QUARANTINE]


def test_late_sidecar_convicts_placed_reads_whose_landing_copy_is_gone() -> None:
    world = World(needs_sender_digest=False)
    made = world.genomics(READS, any_reads_body())
    world.run()
    world.store.expire(world.record(made).location)

    world.genomics(f"{READS}.md5", any_hex(32).encode())
    world.run()

    record = world.record(made)
    assert record.state is State.QUARANTINED
    assert record.placed
    assert world.store.tags(record.placed)[Tag.VERDICT] == "refused"
    assert record.held
    assert not world.dead_letters


def test_late_sidecar_of_an_algorithm_nobody_computed_is_compared_by_reading() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    good, bad = world.genomics(READS, body), world.image(any_dicom_body())
    world.run()

    world.genomics(f"{READS}.sha512", checksum_of(Algorithm.SHA512, body).encode())
    world.image(any_hex(32).encode(), "site-a/scan.dcm.md5")
    world.run()

    record = world.record(good)
    assert record.state is State.PLACED
    assert record.digest(Algorithm.SHA512) == checksum_of(Algorithm.SHA512, body)
    assert code(world.record(bad)) is ReasonCode.DIGEST_MISMATCH


def damaged(world: World, body: bytes) -> str:
    made = world.genomics(READS, body)
    world.run()
    placed = world.record(made).placed
    assert placed
    world.store.damage(placed)
    return made


def test_late_sidecar_is_compared_with_the_arrival_where_the_copy_is_damaged() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    made = damaged(world, body)

    world.genomics(f"{READS}.sha512", checksum_of(Algorithm.SHA512, body).encode())
    world.run()

    record = world.record(made)
    assert record.state is State.PLACED
    assert record.digest(Algorithm.SHA512) == checksum_of(Algorithm.SHA512, body)


def test_damage_to_the_only_copy_is_never_blamed_on_who_sent_a_late_sidecar() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    made = damaged(world, body)
    world.store.expire(world.record(made).location)

    world.genomics(f"{READS}.sha512", checksum_of(Algorithm.SHA512, body).encode())
    world.run()

    assert world.state(made) is State.PLACED
    assert world.record(made).digest(Algorithm.SHA512) == ""
    assert len(world.dead_letters) == 1

    world.recheck()

    assert code(world.record(made)) is ReasonCode.STORED_BYTES_CHANGED


def test_released_object_is_not_judged_by_a_damaged_copy() -> None:
    world = World(needs_sender_digest=False)
    made = world.genomics(READS, b"broken")
    world.run()
    before = world.record(made)
    assert before.held
    world.store.damage(before.held)

    world.decide(made, Choice.RELEASE, by="arn:steward", note="again")
    world.run()

    record = world.record(made)
    assert record.state is State.RECEIVED
    assert record.evidence == before.evidence
    assert world.dead_letters


def test_late_sidecar_that_agrees_is_noted_without_a_state_change() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    made = world.genomics(READS, body)
    world.run()
    before = world.record(made)

    world.genomics(f"{READS}.md5", sidecar(body))
    world.run()

    after = world.record(made)
    assert after.state is State.PLACED
    assert after.version == before.version + 1
    assert [d.witness for d in after.declared] == [Witness.SENDER_MANIFEST]


def test_sidecar_of_the_next_version_does_not_convict_the_placed_one() -> None:
    world = World()
    first, second = any_reads_body(), any_reads_body()
    made = world.genomics(READS, first)
    world.genomics(f"{READS}.md5", sidecar(first))
    world.run()
    assert world.state(made) is State.PLACED

    world.genomics(f"{READS}.md5", sidecar(second))
    world.run()

    assert world.state(made) is State.PLACED


def test_sidecar_of_a_duplicate_speaks_to_its_original() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    original = world.genomics(READS, body)
    world.run()
    copy = world.genomics("site-a/again/NA12878_S1_L001_R1_001.fastq.gz", body)
    world.run()
    assert world.state(copy) is State.DUPLICATE

    world.genomics("site-a/again/NA12878_S1_L001_R1_001.fastq.gz.md5", any_hex(32).encode())
    world.run()

    assert world.state(original) is State.QUARANTINED


def test_checksum_file_that_comes_twice_changes_nothing_the_second_time() -> None:
    world = World()
    body = any_reads_body()
    made = world.genomics(READS, body)
    world.genomics(f"{READS}.md5", sidecar(body))
    world.run()
    before = world.record(made)

    again = world.genomics(f"{READS}.md5", sidecar(body))
    world.run()

    assert world.record(made) == before
    assert world.state(again) is State.DUPLICATE


def test_same_reads_under_another_name_are_a_duplicate() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    original = world.genomics(READS, body)
    world.run()

    again = world.genomics("site-a/other/renamed_R1.fastq.gz", body)
    world.run()

    assert world.state(again) is State.DUPLICATE
    assert world.record(original).duplicate_count == 1


def test_same_reads_from_another_site_are_not_a_duplicate() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    world.genomics(READS, body)
    other = world.genomics(READS.replace("site-a", "site-b"), body)

    world.run()

    assert world.state(other) is State.PLACED


def test_other_reads_in_the_same_place_of_a_sample_are_a_conflict() -> None:
    world = World(needs_sender_digest=False)
    original = world.genomics(READS, any_reads_body())
    world.run()
    before = world.record(original)

    other = world.genomics(READS, any_reads_body())
    world.run()

    record = world.record(other)
    assert code(record) is ReasonCode.SAME_IDENTITY_OTHER_BYTES
    assert record.original_id == original
    assert record.held
    assert world.record(original) == before


def test_both_names_of_a_quarantined_holder_are_taken_over() -> None:
    world = World(needs_sender_digest=False)
    body = any_reads_body()
    first = world.genomics(READS, body)
    world.run()
    world.genomics(f"{READS}.md5", any_hex(32).encode())
    world.run()
    assert world.state(first) is State.QUARANTINED

    again = world.genomics(READS.replace("run1", "resent"), body)
    world.run()

    assert world.state(again) is State.PLACED
    assert set(world.catalog.holders("reads", "site-a#NA12878").values()) == {again}


def test_holder_that_keeps_changing_is_trouble_not_an_endless_loop() -> None:
    world = World(needs_sender_digest=False)
    first = world.genomics(READS, any_reads_body())
    world.run()
    world.catalog.records[first] = world.record(first).moved_to(State.QUARANTINED, NOON)
    again = world.received(lambda: world.genomics(READS, any_reads_body()))
    held = ClaimHeld(Claim("reads", "site-a#NA12878", takes_over=first), first)
    world.catalog.apply = lambda change: held  # type: ignore[method-assign]

    with pytest.raises(StaleRecordError, match="keeps changing"):
        world.inspect_genomics(again)


def test_report_of_a_pipeline_is_verified_by_its_digest() -> None:
    world = World()
    made = world.genomics("pipelines/read_qc-1/NA12878.read_qc.html", b"<html>")

    world.run()

    assert world.state(made) is State.PLACED
    assert world.record(made).digest(Algorithm.SHA256) == checksum_of(Algorithm.SHA256, b"<html>")


def test_markers_of_other_steps_are_left_alone() -> None:
    world = World()
    made = world.genomics("site-a/x.fastq.gz", any_reads_body())
    world.run()

    assert world.inspect_genomics(made) is Result.ALREADY_DONE
    assert world.deliveries[Step.INSPECT_GENOMICS] == 1
