"""What rules may ask of an object, and that the documentation lists just that."""

from pathlib import Path
from typing import Any

import pytest

from forebay.domain.classification import ATTRIBUTES, FACT_TYPES, facts_of, facts_without
from forebay.domain.objects import Kind
from tests.unit.fakes import any_instance, any_location, any_reads_file, any_record

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "policy-attributes.md"
PYTHON_TYPES = {"string": str, "int": int, "map": dict}


def test_documentation_lists_every_attribute_and_no_other() -> None:
    rows = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("| `")]

    assert rows == [
        f"| `{each.name}` | {each.cel_type} | {each.meaning} | {each.taken_from} |"
        for each in ATTRIBUTES
    ]


def test_facts_are_of_the_documented_types_and_no_others() -> None:
    image = any_record(metadata=any_instance().as_metadata())
    reads = any_record(kind=Kind.FASTQ, metadata=any_reads_file().as_metadata())

    facts = facts_of(image) | facts_of(reads)

    assert set(facts) == set(FACT_TYPES)
    assert all(type(value) is PYTHON_TYPES[FACT_TYPES[name]] for name, value in facts.items())


def test_nothing_that_identifies_a_person_is_a_fact() -> None:
    subject = {"PatientID": "P-4711", "PatientName": "Doe^Jane", "AccessionNumber": "A-1"}
    record = any_record(metadata=any_instance().as_metadata(), subject=subject)
    named = any_record(location=any_location(key="site-a/doe_jane.dcm"))

    assert not any(value in str(facts_of(record)) for value in subject.values())
    assert "jane" not in str(facts_of(named))


@pytest.mark.parametrize(
    "date, days",
    [
        ("20261121", 1),
        ("2026.11.21", 1),
        ("20261123", -1),
        ("20263399", None),
        ("", None),
        (["20261121", "20261122"], None),
    ],
)
def test_age_of_a_study_is_from_its_date_to_its_arrival(date: Any, days: int | None) -> None:
    record = any_record(metadata={"StudyDate": date})
    arrived = record.arrived_at.replace(year=2026, month=11, day=22)

    facts = facts_of(any_record(metadata=record.metadata, arrived_at=arrived))

    assert facts.get("study_age_days") == days


@pytest.mark.parametrize(
    "name, suffix",
    [("a.bam", "bam"), ("a.FASTQ.gz", "fastq"), ("a.g.vcf.gz", "vcf"), ("1.2.doe", ""), ("a", "")],
)
def test_suffix_is_of_a_known_format_without_its_compression(name: str, suffix: str) -> None:
    assert facts_of(any_record(location=any_location(key=f"site/{name}")))["suffix"] == suffix


def test_of_an_unknown_object_only_its_kind_is_told() -> None:
    facts = facts_without(Kind.FASTQ)

    assert facts["kind"] == "fastq"
    assert not any(value for name, value in facts.items() if name != "kind")
