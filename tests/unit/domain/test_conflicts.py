"""What makes objects the same, in one place; and what a steward sees of two of them."""

from typing import Any

import pytest

from forebay.domain.conflicts import (
    Name,
    bytes_of,
    compare,
    identity_of,
    is_open,
    release_refusal,
    variant_of,
    variant_prefix,
    variant_value,
)
from forebay.domain.findings import ReasonCode
from forebay.domain.integrity import Algorithm
from forebay.domain.naming import check_key, zone_key
from forebay.domain.objects import Choice, Decision, Kind, ObjectRecord
from forebay.domain.states import State
from tests.unit.fakes import (
    NOON,
    any_digest,
    any_finding,
    any_instance,
    any_location,
    any_record,
)

READS: dict[str, Any] = {"sample": "S1", "run": "M1_7_F", "lane": "1", "chunk": "001", "mate": "R1"}


def reads(**fields: Any) -> ObjectRecord:
    location = any_location(key="site-a/run/S1_R1.fastq.gz")
    return any_record(**{"kind": Kind.FASTQ, "location": location, "metadata": READS} | fields)


def test_sop_instance_is_the_same_from_every_site() -> None:
    metadata = any_instance(sop_instance_uid="1.2.3").as_metadata()
    records = [any_record(site=site, metadata=metadata) for site in ("site-a", "site-b")]

    assert {identity_of(record) for record in records} == {Name("sop", "1.2.3")}


def test_reads_and_bytes_are_the_same_within_a_site_only() -> None:
    digest = any_digest()
    here, there = (reads(site=site, digests=(digest,)) for site in ("site-a", "site-b"))

    assert identity_of(here) == Name("reads", "site-a#S1", "M1_7_F#1#001#R1")
    assert identity_of(here) != identity_of(there)
    assert bytes_of(here) == Name("bytes", f"site-a#{digest.value}")
    assert bytes_of(here) != bytes_of(there)


def test_other_files_are_the_same_by_their_key_which_begins_with_the_site() -> None:
    record = any_record(kind=Kind.ALIGNMENTS, location=any_location(key="site-a/x/y.bam"))

    assert identity_of(record) == Name("file", "site-a/x/y.bam")


def kept_both(record: ObjectRecord) -> ObjectRecord:
    return record.amended(NOON, decision=Decision(Choice.KEEP_BOTH, "arn", NOON))


@pytest.mark.parametrize("choice", [None, Choice.KEEP, Choice.REPLACE, Choice.RELEASE])
def test_only_what_stands_beside_another_is_a_variant(choice: Choice | None) -> None:
    decision = Decision(choice, "arn", NOON) if choice else None

    assert variant_of(reads(digests=(any_digest(),), decision=decision)) == ""


@pytest.mark.parametrize(
    "record, key",
    [
        (reads(), "reads/site-a/S1/M1_7_F/variant!{}/S1_R1.fastq.gz"),
        (
            any_record(kind=Kind.VARIANTS, location=any_location(key="site-a/x/y.vcf.gz")),
            "variants/site-a/x/variant!{}/y.vcf.gz",
        ),
    ],
)
def test_variant_lies_where_no_upload_can(record: ObjectRecord, key: str) -> None:
    digest = any_digest()
    variant = kept_both(any_record_with(record, digests=(digest,)))

    assert zone_key(variant) == key.format(digest.value[:32])
    imitation = any_location(key=f"site-a/x/variant!{digest.value[:32]}/y.vcf.gz")
    assert check_key(any_record(kind=Kind.VARIANTS, location=imitation))


def any_record_with(record: ObjectRecord, **changes: Any) -> ObjectRecord:
    return record.amended(NOON, **changes)


def test_variants_of_one_name_are_found_by_it_and_by_no_other() -> None:
    value = variant_value("r#1#001#R1", "ab")

    assert value.startswith(variant_prefix("r#1#001#R1"))
    assert not value.startswith(variant_prefix("r#1#001#R"))
    # The name itself is listed before its variants.
    assert variant_value("-", "ab") > "-"


def test_conflict_is_open_until_somebody_decides() -> None:
    conflict = any_record(state=State.CONFLICT)

    assert is_open(conflict)
    assert not is_open(conflict.amended(NOON, decision=Decision(Choice.KEEP, "arn", NOON)))
    assert not is_open(any_record())


@pytest.mark.parametrize(
    "code, refused",
    [
        (ReasonCode.EMPTY_OBJECT, True),
        (ReasonCode.UNSAFE_NAME, True),
        (ReasonCode.DIGEST_MALFORMED, True),
        (ReasonCode.UNVERSIONED_OBJECT, True),
        (ReasonCode.STORED_BYTES_CHANGED, True),
        (ReasonCode.DIGEST_MISMATCH, False),
        (ReasonCode.DICOM_MALFORMED, False),
    ],
)
def test_looking_again_is_for_what_can_be_found_otherwise(code: ReasonCode, refused: bool) -> None:
    record = any_record(state=State.QUARANTINED, finding=any_finding(code=code))

    assert bool(release_refusal(record)) is refused


def test_two_objects_are_compared_attribute_by_attribute() -> None:
    same = any_digest()
    stored = any_record(
        size_bytes=10,
        digests=(same, any_digest(algorithm=Algorithm.MD5, value="a" * 32)),
        metadata={"Rows": 512, "nested": {"list": [1, 2]}, "storage": {"restore": {}}},
        subject={"PatientID": "P1", "PatientName": "A"},
        warnings=(any_finding(code=ReasonCode.DICOM_VALUE_SUSPECT),),
    )
    arrived = any_record(
        size_bytes=20,
        digests=(same,),
        metadata={"Rows": 512, "Columns": 256, "nested": {"list": [1, 3]}},
        subject={"PatientID": "P1", "PatientName": "B"},
    )

    rows = {row.attribute: row for row in compare(stored, arrived)}

    assert {name for name, row in rows.items() if row.is_equal} == {
        "arrived at",
        "site",
        "source system",
        "upload batch",
        "sha256",
        "Rows",
        "PatientID",
    }
    assert (rows["size in bytes"].stored, rows["size in bytes"].arrived) == ("10", "20")
    assert (rows["md5"].stored, rows["md5"].arrived) == ("a" * 32, "")
    assert (rows["nested.list"].stored, rows["nested.list"].arrived) == ("1, 2", "1, 3")
    assert (rows["Columns"].stored, rows["Columns"].arrived) == ("", "256")
    assert rows["warnings"].stored == "DICOM_VALUE_SUSPECT"
    assert {name for name, row in rows.items() if row.identifying} == {"PatientID", "PatientName"}
