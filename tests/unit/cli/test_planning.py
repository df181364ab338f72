"""Which files are sent where, under which key."""

from pathlib import Path

import pytest

from forebay.names import Zone
from forebay_cli.failures import CommandError
from forebay_cli.uploads.planning import (
    Destination,
    Plan,
    PlannedFile,
    check_site,
    landing_zone,
    plan_upload,
)

DICOM = b"\0" * 128 + b"DICM" + b"rest"
MD5 = "0123456789abcdef0123456789abcdef"


def write(path: Path, body: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def plan(*paths: Path, to: Destination = Destination.AUTO) -> Plan:
    return plan_upload(paths, to)


def by_name(made: Plan) -> dict[str, PlannedFile]:
    return {file.name: file for file in made.files}


@pytest.mark.parametrize(
    "name,body,zone",
    [
        ("IM0001", DICOM, Zone.LANDING_IMAGING),
        ("no_preamble.dcm", b"\x08\x00", Zone.LANDING_IMAGING),
        ("a.fastq.gz", b"", Zone.LANDING_GENOMICS),
        ("a.fq", b"", Zone.LANDING_GENOMICS),
        ("a.fastq.gz.md5", b"", Zone.LANDING_GENOMICS),
        ("md5sums.txt", b"", Zone.LANDING_GENOMICS),
        ("a.bam", b"", Zone.LANDING_GENOMICS),
        ("a.vcf.gz", b"", Zone.LANDING_GENOMICS),
        ("RunInfo.xml", b"", Zone.LANDING_GENOMICS),
        ("notes.docx", b"PK", None),
        ("short", b"DICM", None),
    ],
)
def test_zone_is_told_by_magic_then_by_name(
    tmp_path: Path, name: str, body: bytes, zone: Zone | None
) -> None:
    assert landing_zone(write(tmp_path / name, body)) is zone


def test_a_person_can_say_where_files_go(tmp_path: Path) -> None:
    file = write(tmp_path / "notes.docx")
    [planned] = plan(file, to=Destination.GENOMICS).files
    assert planned.zone is Zone.LANDING_GENOMICS


def test_dicom_keys_hold_no_part_of_the_path(tmp_path: Path) -> None:
    write(tmp_path / "SMITH^JOHN" / "19700101" / "IM1", DICOM)
    [planned] = plan(tmp_path).files
    assert planned.key("site-a", "batch7", "ab" * 32) == "site-a/batch7/" + "ab" * 16 + ".dcm"


def test_genomics_keys_keep_the_relative_path(tmp_path: Path) -> None:
    write(tmp_path / "lane1" / "s_R1.fastq.gz")
    [planned] = plan(tmp_path).files
    assert planned.key("lab", "", "ab" * 32) == "lab/lane1/s_R1.fastq.gz"


def test_a_single_file_is_named_by_its_name(tmp_path: Path) -> None:
    [planned] = plan(write(tmp_path / "deep" / "s_R1.fastq.gz")).files
    assert planned.key("lab", "run1", "") == "lab/run1/s_R1.fastq.gz"


def test_two_files_for_one_key_are_refused_with_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "one" / "s_R1.fastq")
    write(tmp_path / "two" / "s_R1.fastq")
    with pytest.raises(CommandError, match="would get the same key") as refused:
        plan(tmp_path / "one", tmp_path / "two")
    assert "--batch" in refused.value.hint


def test_equal_names_in_imaging_folders_are_no_clash(tmp_path: Path) -> None:
    write(tmp_path / "one" / "IM1", DICOM)
    write(tmp_path / "two" / "IM1", DICOM + b"other")
    assert len(plan(tmp_path / "one", tmp_path / "two").files) == 2


def test_hidden_files_are_left_out_and_unknown_ones_named(tmp_path: Path) -> None:
    write(tmp_path / ".DS_Store")
    write(tmp_path / ".git" / "a.fastq")
    unknown = write(tmp_path / "notes.docx")
    made = plan(tmp_path)
    assert made.files == ()
    assert list(made.left_aside) == [str(unknown)]


def test_checksum_files_come_first(tmp_path: Path) -> None:
    for name in ("a.fastq", "a.fastq.md5", "b.fastq"):
        write(tmp_path / name)
    assert [file.is_checksums for file in plan(tmp_path).files] == [True, False, False]


def test_the_digest_of_a_dicom_sidecar_travels_with_its_file(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", DICOM)
    sidecar = write(tmp_path / "a.dcm.md5", f"{MD5.upper()}  a.dcm\n".encode())
    made = plan(tmp_path)
    assert by_name(made)["a.dcm"].declared == {"md5": MD5}
    assert "travels with a.dcm" in made.left_aside[str(sidecar)]


def test_a_dicom_sidecar_without_its_file_is_left_aside(tmp_path: Path) -> None:
    sidecar = write(tmp_path / "gone.dcm.md5", MD5.encode())
    made = plan(tmp_path)
    assert made.files == ()
    assert str(sidecar) in made.left_aside


@pytest.mark.parametrize("site", ["", "UPPER", "a/b", "pipelines", "-x", "x" * 32])
def test_impossible_sites_are_refused(site: str) -> None:
    with pytest.raises(CommandError, match="cannot be a site"):
        check_site(site)
