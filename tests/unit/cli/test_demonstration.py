"""The demonstration's data and its course."""

import gzip
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.runs import PipelineRun, RunState
from forebay.domain.states import State
from forebay.names import Zone
from forebay_cli.demonstration import course as course_module
from forebay_cli.demonstration import imaging, reads
from forebay_cli.demonstration.course import Course, Followed, Story
from tests.unit.fakes import any_finding, any_location, any_record, any_run


@pytest.fixture(scope="module")
def sequencing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequencing")
    reads.write_reads(folder, reads=50)
    return folder


def test_the_same_call_writes_the_same_bytes(sequencing: Path, tmp_path: Path) -> None:
    reads.write_reads(tmp_path, reads=50)
    for path in sequencing.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_mates_are_whole_records_with_equal_names(sequencing: Path) -> None:
    sample = reads.SAMPLES[0]
    lines = [
        gzip.decompress((sequencing / sample.file_name(mate)).read_bytes()).decode().split("\n")
        for mate in reads.MATES
    ]
    names = [[line.split()[0] for line in mate[:-1:4]] for mate in lines]
    assert names[0] == names[1]
    assert len(set(names[0])) == 50
    assert {len(line) for mate in lines for line in mate[1::4]} == {reads.READ_BASES}


def test_exactly_one_checksum_is_wrong(sequencing: Path) -> None:
    wrong = []
    for sidecar in sequencing.glob("*.md5"):
        said, name = sidecar.read_text().split()
        if hashlib.md5((sequencing / name).read_bytes()).hexdigest() != said:  # noqa: S324
            wrong.append(name)
    assert wrong == [reads.SAMPLES[1].file_name("R2")]


def test_all_images_come_with_pydicom_and_claim_one_identity_each(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    imaging.copy_images(tmp_path)
    read = [
        pydicom.dcmread(tmp_path / image.name, stop_before_pixels=True) for image in imaging.IMAGES
    ]
    assert len({str(dataset.SOPInstanceUID) for dataset in read}) == len(imaging.IMAGES)
    assert len({str(dataset.file_meta.TransferSyntaxUID) for dataset in read}) >= 4
    assert len({dataset.Modality for dataset in read}) >= 6


@dataclass
class FakeReader:
    """A catalog in which every look moves the objects one step on."""

    steps: dict[str, list[ObjectRecord]]
    run: PipelineRun | None = None
    reports: list[ObjectRecord] = field(default_factory=list)

    def object(self, object_id: str) -> ObjectRecord | None:
        steps = self.steps[object_id]
        return steps.pop(0) if len(steps) > 1 else steps[0]

    def runs_of_sample(self, _sample: str, **_: Any) -> list[PipelineRun]:
        return [self.run] if self.run else []

    def outputs_of_run(self, _run_id: str) -> list[ObjectRecord]:
        return self.reports


def followed(object_id: str, *expected: State) -> Followed:
    return Followed("a file", "about it", object_id, frozenset(expected))


def a_course(reader: FakeReader, monkeypatch: pytest.MonkeyPatch) -> Course:
    monkeypatch.setattr(course_module, "_POLL_SECONDS", 0)
    shown: list[Story] = []
    return Course(
        reader,  # type: ignore[arg-type]
        lambda _: Zone.GENOMICS,
        sample="S",
        site="lab",
        show=shown.append,
    )


def test_the_story_is_over_when_files_are_settled_and_reports_placed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received = any_record(kind=Kind.FASTQ, state=State.RECEIVED)
    placed = replace(received, state=State.PLACED, placed=any_location(), object_class="raw")
    report = any_record(state=State.PLACED)
    reader = FakeReader(
        {"a": [received, placed]}, any_run(state=RunState.SUCCEEDED), [report, report]
    )
    course = a_course(reader, monkeypatch)
    course.add([followed("a", State.PLACED)])
    assert course.until(lambda story: story.is_over, patience_seconds=5)
    [file] = course.story.files
    assert file.is_as_expected
    assert file.outcome == "genomics zone, class raw"


def test_late_evidence_is_waited_for_where_it_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    placed = any_record(kind=Kind.FASTQ, state=State.PLACED)
    finding = any_finding()
    refused = replace(placed, state=State.QUARANTINED, finding=finding)
    course = a_course(FakeReader({"a": [placed, refused]}), monkeypatch)
    course.add([followed("a", State.QUARANTINED)])
    assert course.until(lambda story: story.files[0].is_settled, patience_seconds=5)
    assert course.story.files[0].outcome == finding.message


def test_patience_ends_when_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = any_record(state=State.RECEIVED)
    course = a_course(FakeReader({"a": [stuck]}), monkeypatch)
    course.add([followed("a", State.PLACED)])
    assert not course.until(lambda story: story.is_over, patience_seconds=0.01)
    assert not course.story.files[0].is_as_expected
