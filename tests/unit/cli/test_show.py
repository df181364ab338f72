"""What a reference means, and what is shown of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.states import State
from forebay_cli.commands import show
from forebay_cli.documents import MASK, object_document
from forebay_cli.failures import CommandError
from forebay_cli.output import Output
from tests.unit.fakes import any_finding, any_location, any_record, any_run


@dataclass
class FakeReader:
    """A catalog of a few records."""

    records: list[ObjectRecord] = field(default_factory=list)
    runs: dict[str, Any] = field(default_factory=dict)

    def object(self, object_id: str) -> ObjectRecord | None:
        return next((r for r in self.records if r.object_id == object_id), None)

    def objects(self, ids: Any) -> list[ObjectRecord]:
        return [r for r in self.records if r.object_id in set(ids)]

    def versions(self, bucket: str, key: str) -> list[ObjectRecord]:
        return [r for r in self.records if (r.location.bucket, r.location.key) == (bucket, key)]

    def instance(self, uid: str) -> ObjectRecord | None:
        return next((r for r in self.records if r.metadata.get("SOPInstanceUID") == uid), None)

    def pipeline_run(self, run_id: str) -> Any:
        return self.runs.get(run_id)

    def files_of_sample(self, sample: str) -> list[ObjectRecord]:
        return [r for r in self.records if r.metadata.get("sample") == sample]

    def study(self, _uid: str) -> None:
        return None

    def nothing(self, *_: Any, **__: Any) -> list[Any]:
        return []

    children = history = outputs_of_run = runs_of_sample = files_of_sequencing_run = nothing


class FakeDeployment:
    """Names no zone."""

    def zone_of(self, _bucket: str) -> None:
        return None


@pytest.fixture
def look_up(monkeypatch: pytest.MonkeyPatch) -> Any:
    def look(reader: FakeReader, reference: str) -> Any:
        monkeypatch.setattr(show, "catalog_of", lambda _: reader)
        return show.look_up(FakeDeployment(), reference)  # type: ignore[arg-type]

    return look


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.034"])
def test_an_object_is_found_by_id_uri_and_uid(look_up: Any, uid: str) -> None:
    location = Location("landing", "lab/ab.dcm", "v1")
    record = any_record(location=location, metadata={"SOPInstanceUID": uid})
    reader = FakeReader([record])
    for reference in (record.object_id, "s3://landing/lab/ab.dcm", uid):
        assert look_up(reader, reference).record is record


def test_several_versions_show_the_latest_and_name_the_others(look_up: Any) -> None:
    place = {"bucket": "landing", "key": "lab/ab.dcm"}
    new = any_record(location=Location(**place, version_id="v2"))
    old = any_record(location=Location(**place, version_id="v1"))
    found = look_up(FakeReader([new, old]), "s3://landing/lab/ab.dcm")
    assert (found.record, found.other_versions) == (new, (old,))


def test_a_sample_is_found_by_name(look_up: Any) -> None:
    record = any_record(metadata={"sample": "S1"})
    assert look_up(FakeReader([record]), "S1").objects == (record,)


def test_a_run_is_shown_with_its_inputs(look_up: Any) -> None:
    record = any_record()
    run = any_run(run_id="read_qc-" + "0" * 32, inputs={"R1": record.object_id})
    found = look_up(FakeReader([record], {run.run_id: run}), run.run_id)
    assert (found.runs, found.objects) == ((run,), (record,))


@pytest.mark.parametrize(
    "reference", ["nobody", "1.2.3", "s3://elsewhere/key", "a" * 24 + "." + "b" * 16]
)
def test_an_unknown_reference_says_what_can_be_given(look_up: Any, reference: str) -> None:
    with pytest.raises(CommandError, match="Nothing is known by") as refused:
        look_up(FakeReader(), reference)
    assert "SOP Instance UID" in refused.value.hint


def subject_of(document: Mapping[str, Any]) -> Any:
    return document["subject"]


def test_identifiers_are_masked_unless_asked_for() -> None:
    record = any_record(subject={"PatientID": "P1"})
    assert subject_of(object_document(record, identifiers=False)) == {"PatientID": MASK}
    assert subject_of(object_document(record, identifiers=True)) == {"PatientID": "P1"}


def test_what_is_printed_holds_reason_digest_and_no_identifier(
    capsys: pytest.CaptureFixture[str],
) -> None:
    finding = any_finding(message="It was cut off. [Send] it again.")
    record = any_record(
        state=State.QUARANTINED, finding=finding, held=any_location(), subject={"PatientID": "P1"}
    )
    show.FoundObject(record).print(Output.create(), identifiers=False)
    printed = capsys.readouterr().out
    assert finding.message in printed
    assert "P1" not in printed
    assert record.object_id in printed


def test_an_amended_record_says_what_was_recorded() -> None:
    before = {"version": 2, "from": "RECEIVED", "to": "QUARANTINED", "at": "1"}
    after = {"version": 3, "from": "QUARANTINED", "to": "QUARANTINED", "at": "1", "held": {}}
    assert show._why(before, after) == "recorded: held"
