"""register_object: one record per arrived version, whatever S3's events do."""

from dataclasses import replace

import pytest

from forebay.domain.findings import ReasonCode
from forebay.domain.integrity import Algorithm, Witness
from forebay.domain.objects import Kind
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.domain.policy.standing import scopes_of
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.errors import MessageError, ObjectMissingError
from forebay.names import Zone
from tests.unit.fakes import (
    BUCKETS,
    any_dicom_body,
    any_hex,
    any_reads_body,
    any_run,
    b64,
    checksum_of,
    location_of,
)
from tests.unit.world import World

IMAGING = BUCKETS[Zone.LANDING_IMAGING]
GENOMICS = BUCKETS[Zone.LANDING_GENOMICS]


def test_arrival_is_recorded_with_site_kind_and_what_storage_knows() -> None:
    world = World()
    body = any_dicom_body()
    event = world.store.upload(
        IMAGING, "site-a/2026/IM1", body, metadata={"source-system": "pacs-1"}
    )

    assert world.register_object(event).is_new

    (record,) = world.catalog.records.values()
    assert (record.kind, record.site, record.state) == (Kind.DICOM, "site-a", State.RECEIVED)
    assert record.location == location_of(event)
    assert record.version == 1
    assert record.arrived_at == world.clock.now()
    assert record.size_bytes == len(body)
    assert record.source_system == "pacs-1"
    assert record.sequencer == event.sequencer
    assert record.digest(Algorithm.CRC64NVME) == checksum_of(Algorithm.CRC64NVME, body)


def test_cohort_is_what_the_upload_names() -> None:
    world = World()
    event = world.store.upload(
        GENOMICS, "site-a/x.vcf", b"##fileformat=VCFv4.3", metadata={"cohort": "RARE-1"}
    )
    world.register_object(event)

    (record,) = world.catalog.records.values()
    assert (record.cohort, record.warnings) == ("RARE-1", ())
    assert Scope(ScopeKind.COHORT, "RARE-1") in scopes_of(record)


@pytest.mark.parametrize("cohort", ["a/b", "../x", "Doe, John\n", "-", "x" * 256])
def test_cohort_that_is_no_plain_name_is_left_out_and_told_without_showing_it(cohort: str) -> None:
    world = World()
    world.register_object(
        world.store.upload(GENOMICS, "site-a/x.vcf", b"##", metadata={"cohort": cohort})
    )

    (record,) = world.catalog.records.values()
    assert record.cohort == ""
    [warning] = record.warnings
    assert warning.position == "x-amz-meta-cohort"
    assert cohort == "-" or cohort not in str(warning.as_dict())


def test_registering_twice_is_registering_once() -> None:
    world = World()
    event = world.store.upload(IMAGING, "site-a/x.dcm", any_dicom_body())

    assert world.register_object(event).is_new
    first = dict(world.catalog.records)
    world.clock.advance(60)

    assert not world.register_object(event).is_new
    assert world.catalog.records == first
    assert len(world.catalog.stream) == 1


def test_event_without_version_is_the_same_arrival_as_the_event_with_it() -> None:
    """MiniStack's events name no version; HEAD does."""
    world = World()
    event = world.store.upload(IMAGING, "site-a/x.dcm", any_dicom_body())

    assert world.register_object(replace(event, version_id="")).is_new
    assert not world.register_object(event).is_new


def test_late_event_of_an_old_version_registers_that_version() -> None:
    world = World()
    first = world.store.upload(IMAGING, "site-a/x.dcm", b"first")
    second = world.store.upload(IMAGING, "site-a/x.dcm", b"second!")

    assert world.register_object(second).is_new
    assert world.register_object(first).is_new

    sizes = {record.sequencer: record.size_bytes for record in world.catalog.records.values()}
    assert sizes == {first.sequencer: 5, second.sequencer: 7}


def test_size_is_what_storage_says_not_what_the_event_said() -> None:
    world = World()
    event = world.store.upload(IMAGING, "site-a/x.dcm", b"1234")

    world.register_object(replace(event, size_bytes=999))

    (record,) = world.catalog.records.values()
    assert record.size_bytes == 4


def test_version_that_is_not_in_storage_is_trouble_and_leaves_no_record() -> None:
    world = World()
    event = world.store.upload(IMAGING, "site-a/x.dcm", b"1234")

    with pytest.raises(ObjectMissingError):
        world.register_object(replace(event, version_id="other"))

    assert not world.catalog.records


def test_bucket_that_is_no_landing_bucket_is_a_message_error() -> None:
    world = World()
    event = world.store.upload(BUCKETS[Zone.CLINICAL], "dicom/x.dcm", b"1234")

    with pytest.raises(MessageError, match="not a landing bucket"):
        world.register_object(event)


@pytest.mark.parametrize(
    "key, body, marker",
    [
        ("site-a/folder/", b"", "directory marker"),
        ("site-a/folder_$folder$", b"", "directory marker"),
        ("site-a/.keep", b"", "zero-byte placeholder"),
    ],
)
def test_markers_are_recorded_and_go_nowhere(key: str, body: bytes, marker: str) -> None:
    world = World()
    marked = world.genomics(key, body)

    world.run()

    assert world.state(marked) is State.IGNORED
    assert world.record(marked).metadata == {"marker": marker}
    assert set(world.deliveries) == {"register_object"}


def test_declared_digests_are_kept_with_who_declared_them() -> None:
    world = World()
    value = any_hex(32)
    world.register_object(
        world.store.upload(
            GENOMICS, "site-a/x.fastq.gz", any_reads_body(), metadata={"Content-MD5": "x"}
        )
    )
    event = world.store.upload(
        GENOMICS, "site-a/y.fastq.gz", any_reads_body(), metadata={"md5": b64(value)}
    )

    world.register_object(event)

    *_, record = world.catalog.records.values()
    (declared,) = record.declared
    assert (declared.value, declared.witness) == (value, Witness.SENDER_METADATA)
    assert declared.source == "x-amz-meta-md5"


def test_unreadable_declaration_is_noted_and_refused_at_inspection() -> None:
    world = World()
    made = world.genomics("site-a/y.fastq.gz", any_reads_body(), metadata={"md5": "nonsense"})

    world.run()

    record = world.record(made)
    assert record.state is State.QUARANTINED
    assert record.finding
    assert record.finding.code is ReasonCode.DIGEST_MALFORMED


def test_pipeline_output_has_the_runs_inputs_as_parents() -> None:
    world = World()
    run = any_run(inputs={"R1": "one", "R2": "two"}, state=RunState.SUBMITTED)
    world.catalog.open_run(run)
    made = world.genomics(f"pipelines/{run.run_id}/NA12878.read_qc.json", b"{}")

    world.run()

    record = world.record(made)
    assert record.kind is Kind.REPORT
    assert record.parents == ("one", "two")
    assert record.pipeline_run_id == run.run_id
    assert record.state is State.PLACED
    assert record.placed
    assert record.placed.bucket == BUCKETS[Zone.DERIVED]
