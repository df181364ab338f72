"""inspect_dicom: verified, refused, duplicate or conflict, without reading a byte twice."""

from typing import Any

import pytest

from forebay.domain.findings import ReasonCode
from forebay.domain.integrity import Algorithm, Witness
from forebay.domain.states import State
from forebay.errors import ObjectMissingError, StaleRecordError
from forebay.services.inspecting import Result
from tests.unit.fakes import FakePseudonyms, any_dicom_body, any_hex, any_uid, b64, checksum_of
from tests.unit.world import World


def test_good_instance_is_verified_with_metadata_tokens_and_its_name_taken() -> None:
    world = World()
    sop = any_uid()
    made = world.received(
        lambda: world.image(any_dicom_body(sop_instance_uid=sop, subject={"PatientID": "P 1 "}))
    )

    assert world.inspect_dicom(made) is Result.VERIFIED

    record = world.record(made)
    assert record.state is State.VERIFIED
    assert record.metadata["SOPInstanceUID"] == sop
    assert record.metadata["Modality"] == "CT"
    assert record.subject == {"PatientID": "P 1 "}
    assert record.subject_tokens == {"PatientID": FakePseudonyms().token("PatientID", "P 1")}
    assert world.catalog.claims == {("sop", sop, "-"): made}


def test_instance_with_storage_checksum_is_read_by_its_header_only() -> None:
    world = World()
    made = world.received(lambda: world.image(any_dicom_body(pixels=b"p" * 1_000_000)))

    world.inspect_dicom(made)

    assert world.store.bytes_read[world.record(made).location] == 4096


def test_instance_without_full_object_checksum_gets_forebay_as_first_witness() -> None:
    world = World()
    body = any_dicom_body(pixels=b"p" * 100)
    made = world.received(lambda: world.image(body, checksum=Algorithm.CRC32, part_bytes=64))

    world.inspect_dicom(made)

    record = world.record(made)
    assert record.composite_checksum.startswith("crc32:")
    assert record.digest(Algorithm.SHA256) == checksum_of(Algorithm.SHA256, body)


def test_truncated_instance_is_quarantined_with_byte_position() -> None:
    world = World()
    made = world.received(lambda: world.image(b"DICM" + b"x" * 96))

    assert world.inspect_dicom(made) is Result.QUARANTINED

    finding = world.record(made).finding
    assert finding
    assert (finding.code, finding.position) == (ReasonCode.DICOM_TRUNCATED, "byte 100")
    assert not world.catalog.claims


def test_empty_upload_is_quarantined_unread() -> None:
    world = World()
    made = world.received(lambda: world.image(b""))

    assert world.inspect_dicom(made) is Result.QUARANTINED

    finding = world.record(made).finding
    assert finding
    assert finding.code is ReasonCode.EMPTY_OBJECT
    assert not world.store.bytes_read


@pytest.mark.parametrize(
    "key", ["scan.dcm", "-bad/scan.dcm", "site-a//scan.dcm", "site-a/../site-b/scan.dcm"]
)
def test_key_that_escapes_its_site_is_quarantined_unread(key: str) -> None:
    world = World()
    made = world.image(any_dicom_body(), key)

    world.run()

    record = world.record(made)
    assert record.state is State.QUARANTINED
    assert record.finding
    assert record.finding.code is ReasonCode.UNSAFE_NAME
    assert not world.store.bytes_read
    assert not world.dead_letters


@pytest.mark.parametrize("write", [str.lower, str.upper, b64])
def test_matching_declaration_in_any_spelling_convinces(write: object) -> None:
    world = World()
    body = any_dicom_body()
    assert callable(write)
    text = write(checksum_of(Algorithm.MD5, body))
    made = world.received(lambda: world.image(body, metadata={"md5": text}))

    assert world.inspect_dicom(made) is Result.VERIFIED

    witnesses = {d.witness for d in world.record(made).digests if d.algorithm is Algorithm.MD5}
    assert witnesses == {Witness.FOREBAY, Witness.SENDER_METADATA}


def test_wrong_declaration_is_quarantined_with_both_digests() -> None:
    world = World()
    body = any_dicom_body()
    wrong = any_hex(32)
    made = world.received(lambda: world.image(body, metadata={"md5": wrong}))

    assert world.inspect_dicom(made) is Result.QUARANTINED

    finding = world.record(made).finding
    assert finding
    assert finding.code is ReasonCode.DIGEST_MISMATCH
    assert finding.expected == f"md5 {wrong}"
    assert finding.found == f"md5 {checksum_of(Algorithm.MD5, body)}"
    assert finding.position == "x-amz-meta-md5"


def test_declaration_that_storage_can_judge_costs_no_read() -> None:
    world = World()
    body = any_dicom_body(pixels=b"p" * 100_000)
    declared = {"sha256": checksum_of(Algorithm.SHA256, body)}
    made = world.received(lambda: world.image(body, checksum=Algorithm.SHA256, metadata=declared))

    world.inspect_dicom(made)

    assert world.store.bytes_read[world.record(made).location] == 4096


def test_second_inspection_does_nothing() -> None:
    world = World()
    made = world.received(lambda: world.image(any_dicom_body()))
    world.inspect_dicom(made)
    before = dict(world.catalog.records)

    assert world.inspect_dicom(made) is Result.ALREADY_DONE
    assert world.catalog.records == before


def test_object_the_catalog_does_not_know_is_trouble() -> None:
    with pytest.raises(ObjectMissingError):
        World().inspect_dicom("nobody")


def test_same_bytes_again_are_a_duplicate_counted_on_the_original() -> None:
    world = World()
    body = any_dicom_body()
    original = world.image(body)
    world.run()
    version = world.record(original).version

    again = world.image(body)
    elsewhere = world.image(body, "site-b/other-name")
    world.run()

    assert world.state(again) is world.state(elsewhere) is State.DUPLICATE
    assert world.record(again).original_id == original
    assert world.record(original).duplicate_count == 2
    assert world.record(original).version == version
    assert world.state(original) is State.PLACED


def test_redelivered_duplicate_is_counted_once() -> None:
    world = World()
    body = any_dicom_body()
    original = world.image(body)
    world.run()
    again = world.received(lambda: world.image(body))

    world.inspect_dicom(again)
    world.inspect_dicom(again)

    assert world.record(original).duplicate_count == 1


def test_same_instance_with_other_bytes_is_a_conflict_and_nothing_is_overwritten() -> None:
    world = World()
    levels = ("sop", "series", "study")
    same: dict[str, Any] = {f"{level}_instance_uid": any_uid() for level in levels}
    original = world.image(any_dicom_body(**same))
    world.run()
    placed = world.record(original)
    assert placed.placed
    stored = world.store.body(placed.placed)

    other = world.image(any_dicom_body(**same))
    world.run()

    record = world.record(other)
    assert record.state is State.CONFLICT
    assert record.original_id == original
    assert record.finding
    assert record.finding.code is ReasonCode.SAME_IDENTITY_OTHER_BYTES
    assert record.held
    assert world.record(original) == placed
    assert world.store.body(placed.placed) == stored
    assert len(world.store.versions[placed.placed.bucket, placed.placed.key]) == 1
    assert world.catalog.claims[("sop", same["sop_instance_uid"], "-")] == original


def test_weak_checksums_that_agree_do_not_make_a_duplicate_without_reading_both() -> None:
    world = World()
    body = any_dicom_body()
    original = world.image(body, checksum=Algorithm.CRC32)
    world.run()

    again = world.image(body, checksum=Algorithm.CRC32)
    world.run()

    record = world.record(again)
    assert record.state is State.DUPLICATE
    assert record.digest(Algorithm.SHA256) == checksum_of(Algorithm.SHA256, body)
    placed = world.record(original).placed
    assert placed
    assert world.store.bytes_read[placed] == len(body)


def test_quarantined_holder_gives_its_name_to_the_next_good_upload() -> None:
    world = World()
    sop = any_uid()
    body = any_dicom_body(sop_instance_uid=sop)
    first = world.image(body)
    world.run()
    _convict(world, first)

    second = world.image(any_dicom_body(sop_instance_uid=sop), "site-a/again.dcm")
    world.run()

    assert world.state(first) is State.QUARANTINED
    assert world.state(second) is State.PLACED
    assert world.catalog.claims[("sop", sop, "-")] == second


def test_two_uploads_of_one_instance_at_once_leave_one_verified() -> None:
    world = World()
    body = any_dicom_body()
    first = world.received(lambda: world.image(body))
    second = world.received(lambda: world.image(body))
    world.catalog.before_next_write.append(lambda: _ignore(world.inspect_dicom(second)))

    assert world.inspect_dicom(first) is Result.DUPLICATE

    assert world.state(second) is State.VERIFIED
    assert world.record(first).original_id == second


def test_record_that_moved_meanwhile_is_stale_and_nothing_is_claimed() -> None:
    world = World()
    made = world.received(lambda: world.image(any_dicom_body()))
    record = world.record(made)

    def move() -> None:
        world.catalog.records[made] = record.amended(record.state_since, source_system="other")

    world.catalog.before_next_write.append(move)

    with pytest.raises(StaleRecordError):
        world.inspect_dicom(made)

    assert not world.catalog.claims


def _convict(world: World, made: str) -> None:
    """Let a late sidecar convict an object."""
    key = world.record(made).location.key
    world.image(any_hex(32).encode(), f"{key}.md5")
    world.run()
    assert world.state(made) is State.QUARANTINED


def _ignore(_: object) -> None:
    """Give a callback of no result."""
