"""CelPolicy: the first rule that holds decides, and a bad policy says where it is bad."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from forebay.adapters.policy import CelPolicy, compile_condition
from forebay.domain.classification import facts_of
from forebay.domain.objects import Kind
from forebay.errors import PolicyError
from infra.policy import compile_policies
from tests.unit.fakes import any_instance, any_location, any_record

CLASSES = {
    "hot": {"retention": "10y", "zone": "clinical"},
    "raw": {"retention": "5y", "zone": "genomics", "needs_sender_digest": True},
}


def policy(*rules: tuple[str, str]) -> CelPolicy:
    entries = [{"name": f"rule {when}", "when": when, "class": name} for when, name in rules]
    return CelPolicy.from_data({"classes": CLASSES, "rules": entries})


def facts(**fields: Any) -> dict[str, Any]:
    return facts_of(any_record(**fields))


def test_first_rule_that_holds_decides() -> None:
    chosen = policy(("kind == 'fastq'", "raw"), ("true", "hot"))

    assert chosen.classify(facts(kind=Kind.FASTQ)).object_class == "raw"
    assert chosen.classify(facts(kind=Kind.DICOM)).object_class == "hot"


def test_classification_tells_rule_retention_zone_and_digest_demand() -> None:
    chosen = policy(("true", "raw")).classify(facts())

    assert (chosen.rule, chosen.retention_class, chosen.zone) == ("rule true", "5y", "genomics")
    assert chosen.needs_sender_digest


@pytest.mark.parametrize(
    "when, holds",
    [
        ("metadata.Modality == 'CT'", True),
        ("metadata.Modality == 'MR'", False),
        ("metadata['Modality'] in ['CT', 'PT']", True),
        ("metadata.Nothing == 'CT'", False),
        ("has(metadata.Nothing)", False),
        ("size_bytes > 999 && site.startsWith('site-')", True),
        ("metadata.SliceThickness < 2.0", True),
        ("metadata.Modality > 5", False),
        ("pipeline_run_id != ''", False),
        ("'a' in metadata.Flags", True),
    ],
)
def test_conditions_ask_about_facts_and_what_is_absent_is_not_true(when: str, holds: bool) -> None:
    attributes = {"Modality": "CT", "SliceThickness": 1.25, "Flags": ["a", "b"]}
    known = facts(metadata=any_instance(attributes=attributes).as_metadata())

    chosen = policy((when, "raw"), ("true", "hot")).classify(known)

    assert (chosen.object_class == "raw") is holds


def test_object_of_no_class_is_a_policy_error() -> None:
    with pytest.raises(PolicyError, match="no classification rule holds"):
        policy(("kind == 'fastq'", "raw")).classify(facts())


@pytest.mark.parametrize("when", ["kind ==", "patient == 'x'", "subject.PatientID == 'x'", ""])
def test_condition_that_is_no_cel_or_asks_for_a_person_is_a_policy_error(when: str) -> None:
    with pytest.raises(PolicyError, match="not valid CEL"):
        compile_condition(when)


def test_rule_for_a_class_that_does_not_exist_is_a_policy_error() -> None:
    with pytest.raises(PolicyError, match="nothing"):
        policy(("true", "nothing"))


@pytest.mark.parametrize("text", ["", "no json"])
def test_file_that_is_no_policy_is_a_policy_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)

    with pytest.raises(PolicyError, match="cannot be read"):
        CelPolicy.load(path)
    with pytest.raises(PolicyError, match="cannot be read"):
        CelPolicy.load(tmp_path / "missing.json")


@pytest.mark.parametrize(
    "kind, fields, expected",
    [
        (Kind.DICOM, {}, "clinical-hot"),
        (Kind.FASTQ, {}, "genomics-raw"),
        (Kind.CHECKSUMS, {}, "genomics-manifest"),
        (Kind.REPORT, {"pipeline_run_id": "run-1"}, "derived"),
    ],
)
def test_repositorys_own_policy_classifies_every_kind(
    tmp_path: Path, kind: Kind, fields: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(compile_policies()))

    chosen = CelPolicy.load(path).classify(facts(kind=kind, **fields))

    assert chosen.object_class == expected
    assert chosen.needs_sender_digest is (kind is Kind.FASTQ)


@pytest.mark.parametrize(
    "kind, key, run, expected",
    [
        (Kind.ALIGNMENTS, "pipelines/r/a.bam", "r", "genomics-intermediate"),
        (Kind.INDEX, "pipelines/r/a.bam.bai", "r", "genomics-intermediate"),
        (Kind.FASTQ, "pipelines/r/a.fastq.gz", "r", "genomics-intermediate"),
        (Kind.ALIGNMENTS, "pipelines/r/a.cram", "r", "genomics-final"),
        (Kind.VARIANTS, "pipelines/r/a.vcf.gz", "r", "genomics-final"),
        (Kind.ALIGNMENTS, "site-a/a.bam", "", "genomics-final"),
        (Kind.RUN_FILE, "site-a/RunInfo.xml", "", "genomics-manifest"),
    ],
)
def test_what_pipelines_make_on_the_way_is_told_from_results(
    kind: Kind, key: str, run: str, expected: str
) -> None:
    known = facts(kind=kind, location=any_location(key=key), pipeline_run_id=run)

    assert CelPolicy.from_data(compile_policies()).classify(known).object_class == expected


@pytest.mark.parametrize(
    "date, expected",
    [
        ("20200101", "clinical-archive"),
        ("20251122", "clinical-warm"),
        ("", "clinical-hot"),
    ],
)
def test_studies_of_a_retired_pacs_are_as_warm_as_they_are_young(date: str, expected: str) -> None:
    known = facts(
        source_system="pacs-migration",
        arrived_at=datetime(2026, 11, 22, tzinfo=UTC),
        metadata={"StudyDate": date},
    )

    assert CelPolicy.from_data(compile_policies()).classify(known).object_class == expected


def test_the_policy_behind_a_classification_is_there_with_its_lines() -> None:
    loaded = CelPolicy.from_data(compile_policies())

    chosen = loaded.policy.classes[loaded.classify(facts()).object_class]

    assert chosen.tiers[0].source.file == "classes.yaml"
    assert loaded.policy.rule_source("instances are clinical").startswith("classification.yaml:")
