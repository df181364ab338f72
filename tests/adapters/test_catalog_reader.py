"""CatalogReader answers people's questions by queries over what steps and relay wrote."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.catalog_reader import CatalogReader
from forebay.adapters.change_log import DynamoChangeLog
from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.services.ports import Change, Claim, RecordedChange
from tests.adapters.conftest import Cloud, calls_of
from tests.unit.fakes import (
    NOON,
    any_finding,
    any_instance,
    any_location,
    any_record,
    any_run,
    any_uid,
)

Told = tuple[DynamoCatalog, DynamoChangeLog]


@pytest.fixture
def told(catalog: DynamoCatalog, change_log: DynamoChangeLog) -> Told:
    return catalog, change_log


def arrived(told: Told, **fields: Any) -> ObjectRecord:
    """Register an object and relay it."""
    record = any_record(**fields)
    assert told[0].register(record)
    told[1].record([RecordedChange(None, record)])
    return record


def moved(told: Told, before: ObjectRecord, state: State, **facts: Any) -> ObjectRecord:
    """Move an object and relay that."""
    after = before.moved_to(state, before.state_since + timedelta(seconds=1), **facts)
    told[0].apply(Change(before, after))
    told[1].record([RecordedChange(before, after)])
    return after


def instance(told: Told, *, site: str = "site-a", **attributes: Any) -> ObjectRecord:
    """Bring one instance to VERIFIED; returns its record."""
    fields: dict[str, Any] = {
        name: attributes.pop(name)
        for name in ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
        if name in attributes
    }
    tokens = attributes.pop("tokens", {})
    facts = {"Modality": "CT", "StudyDate": "20260301"} | attributes
    metadata = any_instance(attributes=facts, **fields).as_metadata()
    before = arrived(told, site=site)
    return moved(told, before, State.VERIFIED, metadata=metadata, subject_tokens=tokens)


def reads(told: Told, mate: str, *, site: str = "site-a", sample: str = "NA1") -> ObjectRecord:
    """Bring one read file to VERIFIED."""
    before = arrived(told, kind=Kind.FASTQ, site=site)
    metadata = {"sample": sample, "mate": mate, "run": "M1_7_FC1", "lane": "-", "chunk": "-"}
    return moved(told, before, State.VERIFIED, metadata=metadata)


def test_object_is_found_by_id(told: Told, reader: CatalogReader) -> None:
    record = arrived(told)

    assert reader.object(record.object_id) == record
    assert reader.object(any_record().object_id) is None
    assert reader.objects([record.object_id, any_record().object_id]) == [record]
    with pytest.raises(ValueError, match="not an object id"):
        reader.object("nonsense")


def test_many_ids_that_are_no_objects_are_simply_not_found(
    told: Told, reader: CatalogReader
) -> None:
    record = arrived(told)
    absent = [any_record().object_id for _ in range(1_200)]
    assert reader.objects([*absent, record.object_id, record.object_id]) == [record, record]


def test_versions_of_a_key_are_found_latest_first(told: Told, reader: CatalogReader) -> None:
    place = any_location()
    found = [
        arrived(
            told,
            location=replace(place, version_id=f"v{number}"),
            arrived_at=NOON + timedelta(hours=number),
        )
        for number in (1, 3, 2)
    ]

    versions = reader.versions(place.bucket, place.key)

    assert [v.object_id for v in versions] == [found[i].object_id for i in (1, 2, 0)]


def test_history_of_an_object_is_told_first_to_last(told: Told, reader: CatalogReader) -> None:
    record = arrived(told)
    moved(told, record, State.QUARANTINED, finding=any_finding())

    history = reader.history(record.object_id)

    assert [(entry.get("from", ""), entry["to"]) for entry in history] == [
        ("", "RECEIVED"),
        ("RECEIVED", "QUARANTINED"),
    ]
    assert history[1]["finding"]["code"] == "DICOM_MALFORMED"


def test_history_that_is_relayed_twice_is_told_once(told: Told, reader: CatalogReader) -> None:
    record = arrived(told)
    change = RecordedChange(None, record)

    told[1].record([change, change])

    assert len(reader.history(record.object_id)) == 1


def test_children_are_found_by_their_parent(told: Told, reader: CatalogReader) -> None:
    parent = arrived(told)
    child = arrived(told, parents=(parent.object_id,), pipeline_run_id="run-1")

    assert reader.children(parent.object_id) == [child.object_id]
    assert reader.children(child.object_id) == []


def test_sites_are_those_that_ever_sent_something(told: Told, reader: CatalogReader) -> None:
    arrived(told, site="site-b")
    arrived(told, site="site-a")
    arrived(told, site="site-a")

    assert reader.sites() == ["site-a", "site-b"]


def test_objects_in_a_state_are_found_latest_first_over_sites_and_shards(
    told: Told, reader: CatalogReader
) -> None:
    found = [
        arrived(told, site=f"site-{n % 3}", state_since=NOON + timedelta(minutes=n))
        for n in range(12)
    ]
    moved(told, found[0], State.VERIFIED, metadata=any_instance().as_metadata())

    assert reader.in_state(State.RECEIVED) == [r.object_id for r in reversed(found[1:])]
    assert reader.in_state(State.RECEIVED, limit=3) == [r.object_id for r in found[:8:-1]]
    assert reader.in_state(State.VERIFIED) == [found[0].object_id]
    assert reader.in_state(State.CONFLICT) == []
    assert reader.count_in_state(State.RECEIVED) == 11
    assert reader.count_in_state(State.VERIFIED) == 1


def test_objects_in_a_state_are_found_by_site_and_time(told: Told, reader: CatalogReader) -> None:
    found = [
        arrived(told, site=f"site-{n % 2}", state_since=NOON + timedelta(minutes=n))
        for n in range(6)
    ]

    since, until = NOON + timedelta(minutes=2), NOON + timedelta(minutes=4, seconds=30)

    ids = [record.object_id for record in found]
    assert reader.in_state(State.RECEIVED, sites=["site-0"]) == [ids[4], ids[2], ids[0]]
    assert reader.in_state(State.RECEIVED, since=since) == [ids[5], ids[4], ids[3], ids[2]]
    assert reader.in_state(State.RECEIVED, until=until) == ids[4::-1]
    assert reader.in_state(State.RECEIVED, since=since, until=until) == [ids[4], ids[3], ids[2]]


def test_object_whose_key_names_no_site_is_found_in_its_state(
    told: Told, reader: CatalogReader
) -> None:
    record = arrived(told, site="")

    assert reader.in_state(State.RECEIVED) == [record.object_id]
    assert reader.count_in_state(State.RECEIVED) == 1


def test_study_is_told_with_its_series_and_modalities(told: Told, reader: CatalogReader) -> None:
    study = any_uid()
    first = instance(told, study_instance_uid=study)
    second = instance(told, study_instance_uid=study, Modality="PT")

    found = reader.study(study)

    assert found
    assert found.study_date == "20260301"
    assert found.site == "site-a"
    assert found.modalities == ("CT", "PT")
    assert len(found.series) == 2
    assert {r.object_id for r in reader.instances(study)} == {first.object_id, second.object_id}
    assert reader.study(any_uid()) is None


def test_instance_is_found_by_its_uid(told: Told, reader: CatalogReader) -> None:
    record = arrived(told)
    sop = any_uid()
    after = record.moved_to(State.VERIFIED, NOON, metadata=any_instance().as_metadata())
    told[0].apply(Change(record, after, [Claim("sop", sop)]))

    assert reader.instance(sop) == after
    assert reader.instance(any_uid()) is None


def test_studies_are_found_by_modality_token_and_date_latest_first(
    told: Told, reader: CatalogReader
) -> None:
    days = ["20251231", "20260115", "20260301", ""]
    uids = [any_uid() for _ in days]
    for uid, day in zip(uids, days, strict=True):
        instance(told, study_instance_uid=uid, StudyDate=day, tokens={"PatientID": "token"})
        instance(told, study_instance_uid=uid, StudyDate=day)

    def found(what: str, value: str, **span: Any) -> list[str]:
        return [study.study_instance_uid for study in reader.studies(what, value, **span)]

    assert found("modality", "CT") == [uids[2], uids[1], uids[0], uids[3]]
    assert found("modality", "MR") == []
    assert found("patientid", "token") == [uids[2], uids[1], uids[0], uids[3]]
    assert found("modality", "CT", since=date(2026, 1, 15)) == [uids[2], uids[1]]
    assert found("modality", "CT", until=date(2026, 1, 15)) == [uids[1], uids[0]]
    assert found("modality", "CT", since=date(2026, 1, 1), until=date(2026, 2, 1)) == [uids[1]]


def test_studies_of_a_range_of_dates_are_found_over_months(
    told: Told, reader: CatalogReader
) -> None:
    days = ["20251130", "20251201", "20260115", "20260301"]
    uids = [any_uid() for _ in days]
    for uid, day in zip(uids, days, strict=True):
        instance(told, study_instance_uid=uid, StudyDate=day)

    found = reader.studies_between(date(2025, 12, 1), date(2026, 2, 28))

    assert [study.study_instance_uid for study in found] == [uids[2], uids[1]]


def test_files_and_runs_of_a_sample_are_found(told: Told, reader: CatalogReader) -> None:
    mates = [reads(told, "R1"), reads(told, "R2")]
    other = reads(told, "R1", site="site-b")
    reads(told, "R1", sample="NA2")
    run = told[0].open_run(any_run(sample="NA1"))

    assert {r.object_id for r in reader.files_of_sample("NA1", sites=["site-a"])} == {
        record.object_id for record in mates
    }
    assert other.object_id in {r.object_id for r in reader.files_of_sample("NA1")}
    assert reader.runs_of_sample("NA1") == [run]


def test_files_of_a_sequencing_run_are_found(told: Told, reader: CatalogReader) -> None:
    mates = {reads(told, "R1").object_id, reads(told, "R2").object_id}

    assert {r.object_id for r in reader.files_of_sequencing_run("M1_7_FC1")} == mates


def test_pipeline_runs_are_found_by_id_state_and_output(told: Told, reader: CatalogReader) -> None:
    catalog = told[0]
    old = catalog.open_run(any_run())
    new = catalog.open_run(any_run(state_since=NOON + timedelta(hours=1)))
    done = catalog.open_run(any_run())
    catalog.move_run(done, done.moved_to(RunState.SUCCEEDED, NOON))
    output = arrived(told, kind=Kind.REPORT, pipeline_run_id=done.run_id)

    assert reader.pipeline_run(old.run_id) == old
    assert reader.pipeline_run("nobody") is None
    assert reader.pipeline_runs(RunState.SUBMITTING) == [new, old]
    assert reader.pipeline_runs(RunState.SUBMITTING, limit=1) == [new]
    assert reader.count_runs(RunState.SUCCEEDED) == 1
    assert reader.outputs_of_run(done.run_id) == [output]


def test_no_question_is_answered_by_a_scan(cloud: Cloud, told: Told, reader: CatalogReader) -> None:
    record = instance(told)

    with calls_of(cloud.client("dynamodb")) as calls:
        reader.history(record.object_id)
        reader.in_state(State.VERIFIED)
        reader.studies("modality", "CT")
        reader.studies_between(date(2026, 1, 1), date(2026, 3, 1))
        reader.files_of_sample("NA1")
        reader.count_in_state(State.VERIFIED)

    assert set(calls) <= {"Query", "GetItem"}


def test_day_of_another_time_zone_is_asked_in_utc(told: Told, reader: CatalogReader) -> None:
    record = arrived(told, state_since=datetime(2026, 3, 1, 12, 30, tzinfo=UTC))

    berlin = timezone(timedelta(hours=1))
    since = datetime(2026, 3, 1, 13, 29, tzinfo=berlin)

    assert reader.in_state(State.RECEIVED, since=since) == [record.object_id]
