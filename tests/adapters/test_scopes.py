"""DynamoObjectsInScope finds what a scope names and all below it, and nothing beside it."""

from typing import Any

import pytest

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.change_log import DynamoChangeLog
from forebay.adapters.scopes import DynamoObjectsInScope
from forebay.domain.objects import Kind
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.domain.states import State
from forebay.services.ports import Change, RecordedChange
from tests.unit.fakes import NOON, any_record, any_run, any_uid

TOKEN = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def scopes(catalog: DynamoCatalog) -> DynamoObjectsInScope:
    return DynamoObjectsInScope(catalog.client, catalog.table, workers=1)


class Shelf:
    """Puts verified objects into catalog and indexes."""

    def __init__(self, catalog: DynamoCatalog, log: DynamoChangeLog) -> None:
        self.catalog = catalog
        self.log = log

    def put(self, **fields: Any) -> str:
        record = any_record(**fields)
        assert self.catalog.register(record)
        verified = record.moved_to(State.VERIFIED, NOON)
        self.catalog.apply(Change(record, verified))
        self.log.index([RecordedChange(None, record), RecordedChange(record, verified)])
        return record.object_id

    def image(self, study: str, series: str = "", token: str = TOKEN, **fields: Any) -> str:
        metadata = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series or any_uid(),
            "SOPInstanceUID": any_uid(),
        }
        return self.put(metadata=metadata, subject_tokens={"PatientID": token}, **fields)

    def reads(self, sample: str, run: str = "M1_7_FC1", **fields: Any) -> str:
        metadata = {"sample": sample, "run": run, "lane": "1", "mate": "R1"}
        return self.put(kind=Kind.FASTQ, metadata=metadata, **fields)


@pytest.fixture
def shelf(catalog: DynamoCatalog, change_log: DynamoChangeLog) -> Shelf:
    return Shelf(catalog, change_log)


def found(scopes: DynamoObjectsInScope, kind: ScopeKind, value: str) -> list[str]:
    return list(scopes.objects(Scope(kind, value)))


def test_study_and_series_name_their_instances(shelf: Shelf, scopes: DynamoObjectsInScope) -> None:
    study, series = any_uid(), any_uid()
    first, second = shelf.image(study, series), shelf.image(study, series)
    beside = shelf.image(study)
    shelf.image(any_uid())

    assert set(found(scopes, ScopeKind.STUDY, study)) == {first, second, beside}
    assert set(found(scopes, ScopeKind.SERIES, series)) == {first, second}
    assert found(scopes, ScopeKind.STUDY, any_uid()) == []


def test_series_whose_uid_begins_another_is_another(
    shelf: Shelf, scopes: DynamoObjectsInScope
) -> None:
    short = shelf.image("2.25.1", "2.25.7")
    shelf.image("2.25.1", "2.25.77")

    assert found(scopes, ScopeKind.SERIES, "2.25.7") == [short]


def test_subject_names_the_instances_of_that_patient_alone(
    shelf: Shelf, scopes: DynamoObjectsInScope
) -> None:
    mixed = any_uid()
    hers = {shelf.image(any_uid()), shelf.image(mixed)}
    shelf.image(mixed, token=OTHER)

    assert set(found(scopes, ScopeKind.SUBJECT, TOKEN)) == hers


def test_sample_and_run_are_those_of_one_site(shelf: Shelf, scopes: DynamoObjectsInScope) -> None:
    one, two = shelf.reads("NA1"), shelf.reads("NA1", run="M1_8_FC2")
    third = shelf.reads("NA2")
    shelf.reads("NA1", site="site-b")

    assert set(found(scopes, ScopeKind.SAMPLE, "site-a/NA1")) == {one, two}
    assert set(found(scopes, ScopeKind.RUN, "site-a/M1_7_FC1")) == {one, third}


def test_cohort_names_whatever_is_in_it_now(
    shelf: Shelf, scopes: DynamoObjectsInScope, catalog: DynamoCatalog
) -> None:
    stays, leaves = (shelf.put(kind=Kind.VARIANTS, cohort="RARE-1") for _ in range(2))
    record = catalog.get(leaves)
    assert record
    catalog.apply(Change(record, record.amended(NOON, cohort="RARE-2")))

    assert found(scopes, ScopeKind.COHORT, "RARE-1") == [stays]


def test_object_names_itself_when_it_exists(shelf: Shelf, scopes: DynamoObjectsInScope) -> None:
    made = shelf.reads("NA1")

    assert found(scopes, ScopeKind.OBJECT, made) == [made]
    assert found(scopes, ScopeKind.OBJECT, any_record().object_id) == []


def test_pipeline_run_names_its_outputs_of_every_kind(
    shelf: Shelf, scopes: DynamoObjectsInScope, catalog: DynamoCatalog
) -> None:
    parent = shelf.reads("NA1")
    run = catalog.open_run(any_run(inputs={"R1": parent}))
    made: dict[str, Any] = {"parents": (parent,), "pipeline_run_id": run.run_id}
    report = shelf.put(kind=Kind.REPORT, **made)
    trimmed = shelf.reads("NA1", **made)
    shelf.put(kind=Kind.REPORT, parents=(parent,), pipeline_run_id="read_qc-other")

    assert set(found(scopes, ScopeKind.RUN, run.run_id)) == {report, trimmed}


def test_descendants_follow_generation_by_generation_each_once(
    shelf: Shelf, scopes: DynamoObjectsInScope
) -> None:
    roots = [shelf.reads("NA1"), shelf.reads("NA1")]
    child = shelf.put(kind=Kind.ALIGNMENTS, parents=tuple(roots))
    grandchildren = {shelf.put(kind=Kind.VARIANTS, parents=(child,)) for _ in range(2)}
    great = shelf.put(kind=Kind.REPORT, parents=tuple(grandchildren))
    sibling = shelf.reads("NA2")
    shelf.put(kind=Kind.ALIGNMENTS, parents=(sibling,))

    order = found(scopes, ScopeKind.SAMPLE, "site-a/NA1")

    assert set(order[:2]) == set(roots)
    assert order[2] == child
    assert set(order[3:5]) == grandchildren
    assert order[5:] == [great]
    assert found(scopes, ScopeKind.SAMPLE, "site-a/NA1") == order
    assert set(found(scopes, ScopeKind.OBJECT, child)) == {child, *grandchildren, great}


def test_lineage_that_bites_its_tail_ends(
    shelf: Shelf, scopes: DynamoObjectsInScope, change_log: DynamoChangeLog
) -> None:
    first = shelf.reads("NA1")
    second = shelf.put(kind=Kind.ALIGNMENTS, parents=(first,))
    looped = any_record(object_id=first, parents=(second,))
    change_log.index([RecordedChange(None, looped)])

    assert found(scopes, ScopeKind.OBJECT, first) == [first, second]


def test_more_instances_than_one_request_reads_are_all_found(
    catalog: DynamoCatalog, scopes: DynamoObjectsInScope
) -> None:
    metadata = {"StudyInstanceUID": "2.25.9", "SeriesInstanceUID": "2.25.10"}
    records = [any_record(metadata=metadata | {"SOPInstanceUID": any_uid()}) for _ in range(130)]
    for record in records:
        catalog.register(record)

    study = found(scopes, ScopeKind.STUDY, "2.25.9")

    assert sorted(study) == sorted(record.object_id for record in records)
