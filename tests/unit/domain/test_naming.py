"""No sender chooses a path in a zone: keys are made of validated parts."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.arrivals import read_key
from forebay.domain.findings import ReasonCode
from forebay.domain.naming import (
    check_key,
    has_zone_key,
    held_key,
    instance_key,
    is_safe_name,
    zone_key,
)
from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.sequencing import parse_reads_name
from forebay.names import Zone
from tests.unit.fakes import any_finding, any_location, any_record, any_uid

NASTY = st.text(alphabet=f"{string.ascii_letters}0123._-/ \\\x00\n'\"é%+..//", max_size=30)


def arrived(key: str, zone: Zone = Zone.LANDING_GENOMICS, **fields: object) -> ObjectRecord:
    said = read_key(zone, key)
    facts = {"kind": said.kind, "site": said.site, "pipeline_run_id": said.pipeline_run_id}
    return any_record(location=any_location(key=key), **facts | fields)


@pytest.mark.parametrize(
    "key",
    [
        "x.fastq.gz",
        "/x.fastq.gz",
        "../x.fastq.gz",
        "site-a/../site-b/x.fastq.gz",
        "site-a/./x.fastq.gz",
        "site-a//x.fastq.gz",
        "-rf/x.fastq.gz",
        ".hidden/x.fastq.gz",
        "site a/x.fastq.gz",
        "site-a/x y.fastq.gz",
        "site-a/-x.fastq.gz",
        "site-a/.x.fastq.gz",
        "site-a/x\n.fastq.gz",
        "site-a/x\\y.fastq.gz",
        f"site-a/{'x' * 255}.fastq.gz",
        f"{'s' * 64}/x.fastq.gz",
    ],
)
def test_unsafe_key_is_refused_in_words_that_do_not_repeat_it(key: str) -> None:
    finding = check_key(arrived(key))

    assert finding
    assert finding.code is ReasonCode.UNSAFE_NAME
    assert key not in str(finding)


@pytest.mark.parametrize(
    "key",
    [
        "site-a/x.fastq.gz",
        "site-a/run 7/x.fastq.gz",
        "Hospital.1_b/a/b/c/NA12878_S1_L001_R1_001.fastq.gz",
        "site-a/_x+y=z@1,2-3.fastq.gz",
    ],
)
def test_plain_key_is_accepted(key: str) -> None:
    assert check_key(arrived(key)) is None


def test_instances_may_be_named_as_scanners_please() -> None:
    assert check_key(arrived("site-a/Müller^Hans 1", Zone.LANDING_IMAGING)) is None


@given(NASTY, NASTY)
def test_reads_that_are_accepted_never_escape_their_folder(path: str, name: str) -> None:
    record = arrived(f"{path}/{name}.fastq.gz")
    if check_key(record) is None:
        sample = parse_reads_name(record.location.key.rpartition("/")[2]).sample
        record = arrived(record.location.key, metadata={"sample": sample, "run": "unknown"})

        key = zone_key(record)

        assert key.startswith(f"reads/{record.site}/")
        assert key.count("/") == 4
        assert not {"", ".", ".."} & set(key.split("/"))


@given(NASTY)
def test_checksum_files_and_reports_never_escape_their_folder(name: str) -> None:
    for key in (f"site-a/{name}.md5", f"pipelines/{name}.json"):
        record = arrived(key)
        if check_key(record) is None:
            parts = zone_key(record).split("/")
            assert not {"", ".", ".."} & set(parts)
            assert parts[0] in ("checksums", "reports")


def test_instance_is_filed_by_study_series_and_instance() -> None:
    study, series, sop = any_uid(), any_uid(), any_uid()
    metadata = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "SOPInstanceUID": sop,
    }

    assert zone_key(any_record(metadata=metadata)) == f"dicom/{study}/{series}/{sop}.dcm"


@pytest.mark.parametrize(
    "bad", ["", "..", "1..2", ".1", "1.", "1.2/3", "1.\u0662", "1.2\n", "1." * 33, "1.2 "]
)
@pytest.mark.parametrize("level", ["Study", "Series", "SOP"])
def test_instance_with_an_invalid_uid_gets_no_key(level: str, bad: str) -> None:
    metadata = {f"{each}InstanceUID": any_uid() for each in ("Study", "Series", "SOP")}

    with pytest.raises(ValueError, match="invalid UID"):
        instance_key(metadata | {f"{level}InstanceUID": bad})


@given(st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}", fullmatch=True))
def test_every_uid_of_digits_and_dots_names_an_instance(uid: str) -> None:
    metadata = {f"{level}InstanceUID": uid for level in ("Study", "Series", "SOP")}

    assert instance_key(metadata) == f"dicom/{uid}/{uid}/{uid}.dcm"


def test_files_in_quarantine_are_filed_by_reason_and_id() -> None:
    record = any_record(finding=any_finding(code=ReasonCode.NOT_DICOM))

    assert held_key(record) == f"NOT_DICOM/{record.object_id}"
    assert held_key(any_record()).startswith("UNSTATED/")


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "-a", "a b", "a\n", "ä", "a" * 256])
def test_unsafe_segments_are_known_as_such(text: str) -> None:
    assert not is_safe_name(text)


def test_only_what_was_understood_has_a_key_in_its_zone() -> None:
    assert has_zone_key(any_record(metadata={"SOPInstanceUID": any_uid()}))
    assert has_zone_key(any_record(kind=Kind.FASTQ, metadata={"sample": "NA1"}))
    assert not has_zone_key(any_record())
    assert not has_zone_key(any_record(kind=Kind.UNKNOWN))


@pytest.mark.parametrize(
    "kind,key,expected",
    [
        (Kind.ALIGNMENTS, "north/wgs/x.bam", "alignments/north/wgs/x.bam"),
        (Kind.INDEX, "north/wgs/x.bam.bai", "alignments/north/wgs/x.bam.bai"),
        (Kind.VARIANTS, "north/wgs/x.vcf.gz", "variants/north/wgs/x.vcf.gz"),
        (Kind.INDEX, "north/wgs/x.vcf.gz.tbi", "variants/north/wgs/x.vcf.gz.tbi"),
        (Kind.RUN_FILE, "north/run7/RunInfo.xml", "runs/north/run7/RunInfo.xml"),
    ],
)
def test_what_belongs_together_keeps_its_path(kind: Kind, key: str, expected: str) -> None:
    record = any_record(kind=kind, site="north", location=any_location(key=key))
    assert check_key(record) is None
    assert zone_key(record) == expected


def test_path_that_is_kept_must_be_safe_in_every_segment() -> None:
    location = any_location(key="north/a b;c/x.bam")
    finding = check_key(any_record(kind=Kind.ALIGNMENTS, site="north", location=location))
    assert finding is not None
    assert finding.code is ReasonCode.UNSAFE_NAME
