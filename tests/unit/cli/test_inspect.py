"""`forebay inspect` as a person or a script meets it."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result
from moto import mock_aws
from pydicom.data import get_testdata_file

from forebay.errors import Trouble
from forebay.formats.any_file import inspect_any
from forebay_cli.inspecting import judging
from forebay_cli.inspecting.finding_files import find_files
from forebay_cli.inspecting.judging import judge_path
from forebay_cli.inspecting.session import shown
from forebay_cli.main import main

KEYS = {"path", "kind", "verdict", "reasons", "digests", "metadata"}
REASON_KEYS = {"code", "message", "position", "expected", "found", "owner"}
READS = b"".join(b"@A00001:1:HXXXXDSXX:1:1101:%d:1 1:N:0:AC\nACGT\n+\nIIII\n" % n for n in range(9))
SHEET = b"[Header]\nFileFormatVersion,2\n\n[BCLConvert_Data]\nSample_ID,index\ns1,ACGT\n"
BUCKET = "shipped"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def judged(*arguments: str | Path, exit_code: int = 0) -> dict[str, dict[str, Any]]:
    """Run with --json; return the objects by the names of their files."""
    result = run("--json", *arguments)
    assert result.exit_code == exit_code, result.output
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    return {Path(document["path"]).name: document for document in documents}


def codes(document: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in document["reasons"]]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def put(folder: Path, **files: bytes) -> Path:
    """Write files; `__` in a name stands for a dot."""
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


@pytest.fixture
def dicom_file(tmp_path: Path) -> Path:
    path = tmp_path / "CT.dcm"
    path.write_bytes(Path(str(get_testdata_file("CT_small.dcm"))).read_bytes())
    return path


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    folder = tmp_path / "bag"
    (folder / "data").mkdir(parents=True)
    put(folder / "data", s__fastq=READS)
    put(folder, bagit__txt=b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    manifest = f"{hashlib.sha512(READS).hexdigest()}  data/s.fastq\n"
    (folder / "manifest-sha512.txt").write_text(manifest)
    return folder


# One object per line


def test_every_line_of_json_has_exactly_the_documented_keys(
    tmp_path: Path, dicom_file: Path
) -> None:
    put(tmp_path, s__fastq=READS, bad__fastq=READS[:-3], RunInfo__xml=b"<RunInfo>", README=b"hi\n")
    put(tmp_path, SampleSheet__csv=SHEET)
    (tmp_path / "gone.fastq").symlink_to(tmp_path / "nowhere")
    documents = judged(tmp_path, exit_code=3)
    assert {name: each["kind"] for name, each in documents.items()} == {
        dicom_file.name: "dicom",
        "s.fastq": "fastq",
        "bad.fastq": "fastq",
        "RunInfo.xml": "run_info",
        "README": "unknown",
        "SampleSheet.csv": "sample_sheet",
        "gone.fastq": "unknown",
    }
    for each in documents.values():
        assert each.keys() == KEYS
        assert each["verdict"] in {"valid", "warning", "invalid", "unsupported"}
        assert all(reason.keys() == REASON_KEYS for reason in each["reasons"])
    assert documents["gone.fastq"]["reasons"][0]["owner"] == "platform"


def test_reads_come_with_digests_and_statistics(tmp_path: Path) -> None:
    packed = gzip.compress(READS)
    put(tmp_path, s__fastq__gz=packed)
    (document,) = judged(tmp_path).values()
    assert document["verdict"] == "valid"
    assert document["digests"] == {
        "md5": md5(packed),
        "sha256": hashlib.sha256(packed).hexdigest(),
    }
    assert document["metadata"]["reads"] == 9
    assert document["metadata"]["flow_cells"] == ["HXXXXDSXX"]


def test_identifiers_are_printed_unless_they_are_declined(dicom_file: Path) -> None:
    with_them = judged(dicom_file)[dicom_file.name]["metadata"]
    without = judged("--no-identifiers", dicom_file)[dicom_file.name]["metadata"]
    assert with_them["PatientID"] == "1CT1"
    assert with_them["SOPInstanceUID"] == without["SOPInstanceUID"]
    assert with_them.keys() - without.keys() >= {"PatientID", "PatientName"}
    assert not {"PatientID", "PatientName", "PatientSex"} & without.keys()


def test_a_not_a_number_is_never_printed_as_such(dicom_file: Path) -> None:
    data = dicom_file.read_bytes()
    at = data.index(b"\x18\x00\x50\x00DS")
    (length,) = data[at + 6 : at + 7]
    assert length == 8
    dicom_file.write_bytes(
        data[: at + 4] + b"FD\x08\x00" + b"\0\0\0\0\0\0\xf8\x7f" + data[at + 16 :]
    )
    document = judged(dicom_file)[dicom_file.name]
    assert codes(document) == ["DICOM_VALUE_SUSPECT"]
    assert "SliceThickness" not in document["metadata"]


# Exit codes


def test_good_files_end_with_0_although_others_lie_beside_them(
    tmp_path: Path, dicom_file: Path
) -> None:
    put(tmp_path, README=b"Reads of the second run.\n", notes__pdf=b"%PDF-1.7\n")
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "1 valid · 2 of other kinds left aside" in result.stdout
    assert dicom_file.name in result.stdout
    assert "README" not in result.stdout


@pytest.mark.parametrize("form", ["{0}", "{1}/./README", "{1}//README"])
def test_a_file_of_another_kind_that_is_named_itself_is_bad_input(
    tmp_path: Path, form: str
) -> None:
    put(tmp_path, README=b"hi\n")
    assert run(form.format(tmp_path / "README", tmp_path)).exit_code == 1


def test_bad_input_ends_with_1_and_says_why(tmp_path: Path) -> None:
    put(tmp_path, s__fastq=READS[:-3], good__fastq=READS)
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "invalid" in result.stdout
    assert "FASTQ_" in result.stdout
    assert "1 valid · 1 invalid" in result.stdout


@pytest.mark.parametrize("arguments", [["/no/such/file"], [], ["--jobs", "0", "."]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_folder_for_multiqc_that_is_not_there_is_noticed_before_reading(tmp_path: Path) -> None:
    put(tmp_path, s__fastq=READS)
    result = run("--multiqc", tmp_path / "no" / "x_mqc.json", tmp_path)
    assert result.exit_code == 2
    assert "no folder" in result.stderr


def test_what_cannot_be_read_ends_with_3_and_is_shown(tmp_path: Path) -> None:
    put(tmp_path, s__fastq=READS)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    result = run(tmp_path)
    assert result.exit_code == 3
    assert "unreadable" in result.stdout
    assert "1 valid · 1 unreadable" in result.stdout


def test_what_is_passed_over_in_a_folder_is_counted(tmp_path: Path, bag: Path) -> None:
    put(tmp_path, s__fastq=READS)
    (tmp_path / ".thumbnail").write_bytes(b"x")
    (tmp_path / ".trash").mkdir()
    (tmp_path / "linked").symlink_to(bag)
    os.mkfifo(tmp_path / "pipe")
    (bag / "data" / ".hidden").write_bytes(b"of the bag, and judged with it")
    result = run("--json", tmp_path)
    assert "Not looked into: hidden files (1), hidden folders (1), links to folders (1)," in (
        " ".join(result.stderr.split())
    )
    assert "pipes or devices (1)" in result.stderr
    (tmp_path / "named").mkdir()
    put(tmp_path / "named", s__fastq=READS)
    assert run(tmp_path / "named").stderr == ""


def test_a_folder_that_cannot_be_opened_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests may run as root, to whom no folder is closed.
    def closed(top: Path, *, onerror: Any) -> Iterator[Any]:
        onerror(PermissionError(13, "Permission denied", str(top)))
        yield from ()

    monkeypatch.setattr("forebay_cli.inspecting.finding_files.os.walk", closed)
    assert find_files([tmp_path]).unreadable == {tmp_path: "Permission denied"}
    assert codes(judged(tmp_path, exit_code=3)[tmp_path.name]) == ["UNREADABLE"]


def test_a_pipe_in_a_folder_is_left_out_and_one_that_is_named_does_not_hang(tmp_path: Path) -> None:
    put(tmp_path, s__fastq=READS)
    os.mkfifo(tmp_path / "pipe")
    assert list(judged(tmp_path)) == ["s.fastq"]
    assert "pipe or device" in judge_path(tmp_path / "pipe", []).trouble


def test_an_empty_folder_has_nothing_to_judge(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0
    assert result.stdout == "Nothing to judge.\n"


# The table


def test_names_cannot_command_the_terminal_nor_break_the_table(tmp_path: Path) -> None:
    assert shown("a\x1b[2Jb.fastq") == "a\\x1b[2Jb.fastq"
    assert shown("\udcff.fastq") == "\\udcff.fastq"
    assert shown("Müller [x].fastq") == "Müller [x].fastq"
    (tmp_path / os.fsdecode(b"\xff\x1b[31m.fastq")).write_bytes(READS)
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "\\udcff\\x1b[31m.fastq" in result.stdout
    assert run("--json", tmp_path).exit_code == 0


def test_only_the_first_reasons_are_printed_and_the_rest_is_counted(tmp_path: Path) -> None:
    lines = "".join(f"{md5(str(n).encode())}  file-{n}\n" for n in range(5))
    put(tmp_path, md5__txt=lines.encode())
    result = run(tmp_path)
    assert result.exit_code == 1
    assert result.stdout.count("LISTED_FILE_MISSING") == 3
    assert "… and 2 more" in result.stdout


# MultiQC


def test_multiqc_gets_a_row_for_every_file_that_counts(tmp_path: Path) -> None:
    for lane in ("one", "two"):
        (tmp_path / lane).mkdir()
        put(tmp_path / lane, s__fastq=READS, README=b"hi\n")
    put(tmp_path / "one", bad__fastq=READS[:-3])
    report = tmp_path / "x_mqc.json"
    assert run("--multiqc", report, tmp_path / "one", tmp_path / "two").exit_code == 1
    document = json.loads(report.read_text())
    assert document["plot_type"] == "table"
    rows = document["data"]
    # Equal names of two folders must not hide each other.
    assert rows.keys() == {
        "bad.fastq",
        str(tmp_path / "one" / "s.fastq"),
        str(tmp_path / "two" / "s.fastq"),
    }
    assert rows["bad.fastq"]["verdict"] == "invalid"
    assert rows["bad.fastq"]["reason"].startswith("FASTQ_")
    assert rows[str(tmp_path / "two" / "s.fastq")]["reads"] == 9


# Checksum lists


@pytest.mark.parametrize("name", ["md5sum.txt", "received.lst"], ids=["by name", "by content"])
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha384", "sha512"])
def test_a_list_that_holds_convicts_nobody(tmp_path: Path, name: str, algorithm: str) -> None:
    put(tmp_path, s__fastq=READS)
    (tmp_path / name).write_text(f"{hashlib.new(algorithm, READS).hexdigest()}  s.fastq\n")
    documents = judged(tmp_path)
    assert documents[name]["kind"] == "manifest"
    assert {each["verdict"] for each in documents.values()} == {"valid"}
    assert algorithm in documents["s.fastq"]["digests"]


@pytest.mark.parametrize("name", ["md5sum.txt", "received.lst"], ids=["by name", "by content"])
def test_a_list_that_does_not_hold_convicts_both_sides(tmp_path: Path, name: str) -> None:
    put(tmp_path, s__fastq=READS)
    (tmp_path / name).write_text(f"{hashlib.sha1(b'x').hexdigest()}  s.fastq\n")  # noqa: S324
    documents = judged(tmp_path, exit_code=1)
    for each in documents.values():
        assert each["verdict"] == "invalid"
        assert codes(each) == ["DIGEST_MISMATCH"]
    assert documents["s.fastq"]["reasons"][0]["position"] == name
    assert documents[name]["reasons"][0]["position"] == "line 1"


def test_a_list_that_names_a_missing_file_is_convicted(tmp_path: Path) -> None:
    put(tmp_path, s__fastq=READS)
    put(tmp_path, MD5SUMS=f"{md5(READS)}  s.fastq\n{md5(b'x')}  lost.fastq\n".encode())
    documents = judged(tmp_path, exit_code=1)
    assert documents["s.fastq"]["verdict"] == "valid"
    assert documents["MD5SUMS"]["verdict"] == "invalid"
    assert codes(documents["MD5SUMS"]) == ["LISTED_FILE_MISSING"]
    assert documents["MD5SUMS"]["reasons"][0]["position"] == "line 2"
    assert documents["MD5SUMS"]["reasons"][0]["found"] == "no file"


def test_a_wrong_size_convicts_the_list_alone_when_the_digest_fits(tmp_path: Path) -> None:
    entry = {"path": "s.fastq", "md5": md5(READS), "size": len(READS) + 1}
    put(tmp_path, s__fastq=READS, checksums__json=json.dumps([entry]).encode())
    documents = judged(tmp_path, exit_code=1)
    assert documents["s.fastq"]["verdict"] == "valid"
    assert codes(documents["checksums.json"]) == ["SIZE_MISMATCH"]
    reason = documents["checksums.json"]["reasons"][0]
    assert (reason["expected"], reason["found"]) == (
        f"{len(READS) + 1} bytes",
        f"{len(READS)} bytes",
    )


def test_a_list_named_alone_is_held_against_the_files_beside_it(tmp_path: Path) -> None:
    put(tmp_path, s__fastq=READS, s__fastq__md5=md5(READS).encode())
    assert list(judged(tmp_path / "s.fastq.md5")) == ["s.fastq.md5"]
    put(tmp_path, s__fastq=READS + READS)
    assert judged(tmp_path / "s.fastq.md5", exit_code=1)["s.fastq.md5"]["verdict"] == "invalid"


# Bags


def test_a_good_bag_is_judged_as_a_whole(bag: Path) -> None:
    documents = judged(bag.parent)
    assert documents.keys() == {"s.fastq", "bag"}
    assert documents["bag"]["kind"] == "manifest"
    assert documents["bag"]["verdict"] == "valid"


def test_a_bag_with_a_changed_file_is_refused(bag: Path) -> None:
    put(bag / "data", s__fastq=READS + READS)
    documents = judged(bag.parent, exit_code=1)
    assert codes(documents["bag"]) == ["DIGEST_MISMATCH"]


def test_a_bag_whose_file_is_a_link_out_of_it_is_refused(tmp_path: Path, bag: Path) -> None:
    inside = bag / "data" / "s.fastq"
    inside.rename(tmp_path / "elsewhere.fastq")
    inside.symlink_to(tmp_path / "elsewhere.fastq")
    (reason,) = judged(bag, exit_code=1)["bag"]["reasons"]
    assert (reason["code"], reason["position"]) == ("UNSAFE_NAME", "data/s.fastq")
    inside.unlink()
    (tmp_path / "elsewhere.fastq").rename(bag / "kept.fastq")
    inside.symlink_to(Path("..") / "kept.fastq")
    assert judged(bag)["bag"]["verdict"] == "valid"


def test_hidden_files_of_a_bag_belong_to_it(bag: Path) -> None:
    (bag / "data" / ".hidden").write_bytes(b"x")
    assert codes(judged(bag, exit_code=1)["bag"]) == ["BAG_UNLISTED_FILE"]
    with (bag / "manifest-sha512.txt").open("a") as manifest:
        manifest.write(f"{hashlib.sha512(b'x').hexdigest()}  data/.hidden\n")
    assert judged(bag)["bag"]["verdict"] == "valid"


def test_a_bag_may_hold_more_files_than_a_process_may_open(bag: Path) -> None:
    with (bag / "manifest-sha512.txt").open("a") as manifest:
        for number in range(300):
            (bag / "data" / f"{number}").write_bytes(b"")
            manifest.write(f"{hashlib.sha512().hexdigest()}  data/{number}\n")
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64));"
        "from pathlib import Path; from forebay_cli.inspecting.judging import judge_path;"
        "print(judge_path(Path(sys.argv[1]), []).verdict)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(bag)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "valid"


# Hostile files


def test_a_file_that_needs_too_much_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, s__fastq=READS)

    def hungry(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(judging, "inspect_any", hungry)
    document = judge_path(tmp_path / "s.fastq", []).document(with_identifiers=True)
    assert document["verdict"] == "invalid"
    assert codes(document) == ["LIMIT_EXCEEDED"]


def test_workers_cannot_take_more_memory_than_their_limit() -> None:
    program = (
        "from forebay_cli.inspecting.judging import MEMORY_LIMIT_BYTES, limit_memory\n"
        "limit_memory()\n"
        "try: bytearray(MEMORY_LIMIT_BYTES)\n"
        "except MemoryError: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "refused"


def test_a_file_that_changes_while_it_is_read_is_trouble_not_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, s__fastq=READS)

    def shrinking(*_: Any) -> None:
        raise Trouble("s.fastq ended at 10 while being read")

    monkeypatch.setattr(judging, "inspect_any", shrinking)
    assert "while being read" in judge_path(tmp_path / "s.fastq", []).trouble


# Objects in S3


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def judged_in_s3(uri: str, exit_code: int = 0) -> dict[str, dict[str, Any]]:
    return judged("--region", "us-east-1", uri, exit_code=exit_code)


def put_objects(s3: Any, **objects: bytes) -> None:
    for name, data in objects.items():
        s3.put_object(Bucket=BUCKET, Key=f"run/{name.replace('__', '.')}", Body=data)


def test_objects_are_judged_like_files(s3: Any, dicom_file: Path) -> None:
    put_objects(s3, s__fastq=READS, CT__dcm=dicom_file.read_bytes(), empty__txt=b"")
    documents = judged_in_s3(f"s3://{BUCKET}/run/")
    assert {name: each["verdict"] for name, each in documents.items()} == {
        "CT.dcm": "valid",
        "empty.txt": "unsupported",
        "s.fastq": "valid",
    }
    local = judged(dicom_file)["CT.dcm"]
    assert documents["CT.dcm"] == local | {"path": f"s3://{BUCKET}/run/CT.dcm"}
    assert all(each.keys() == KEYS for each in documents.values())


def test_an_object_that_is_named_exactly_is_meant_alone(s3: Any) -> None:
    put_objects(s3, s__fastq=READS, s__fastq2=b"x")
    assert list(judged_in_s3(f"s3://{BUCKET}/run/s.fastq")) == ["s.fastq"]
    assert len(judged_in_s3(f"s3://{BUCKET}/run/s")) == 2
    assert judged_in_s3(f"s3://{BUCKET}/run/s.fastq2", exit_code=1)


def test_a_uri_below_which_nothing_is_is_wrong_usage(s3: Any) -> None:
    assert run("--region", "us-east-1", f"s3://{BUCKET}/nothing").exit_code == 2


def test_lists_in_s3_are_held_against_the_objects_beside_them(s3: Any) -> None:
    put_objects(s3, s__fastq=READS, s__fastq__md5=md5(READS).encode())
    assert judged_in_s3(f"s3://{BUCKET}/run/")["s.fastq.md5"]["verdict"] == "valid"
    # Also the object that only the list speaks of.
    assert judged_in_s3(f"s3://{BUCKET}/run/s.fastq.md5")["s.fastq.md5"]["verdict"] == "valid"
    put_objects(s3, s__fastq__md5=md5(b"x").encode())
    documents = judged_in_s3(f"s3://{BUCKET}/run/", exit_code=1)
    assert {each["verdict"] for each in documents.values()} == {"invalid"}
    s3.delete_object(Bucket=BUCKET, Key="run/s.fastq")
    document = judged_in_s3(f"s3://{BUCKET}/run/", exit_code=1)["s.fastq.md5"]
    assert document["reasons"][0]["found"] == "no file"


def test_an_object_that_vanishes_while_it_is_judged_is_trouble(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_objects(s3, s__fastq=READS, other__fastq=READS)
    lock = threading.Lock()

    def after_deletion(source: Any, algorithms: Any) -> Any:
        with lock:
            if source.name.endswith("other.fastq"):
                s3.delete_object(Bucket=BUCKET, Key=source.name)
        return inspect_any(source, algorithms)

    monkeypatch.setattr("forebay_cli.inspecting.remote.inspect_any", after_deletion)
    documents = judged_in_s3(f"s3://{BUCKET}/run/", exit_code=3)
    assert codes(documents["other.fastq"]) == ["UNREADABLE"]
    assert documents["s.fastq"]["verdict"] == "valid"


def test_a_list_that_names_what_no_disk_can_hold_does_not_hide_the_others(tmp_path: Path) -> None:
    put(tmp_path, s__fastq=READS, sums__md5=b"d" * 32 + b"  " + b"x" * 5_000 + b"\n")
    documents = judged(tmp_path, exit_code=1)
    found = {name: document["verdict"] for name, document in documents.items()}
    assert found == {"s.fastq": "valid", "sums.md5": "invalid"}


def test_a_json_manifest_is_compared_like_any_list(tmp_path: Path) -> None:
    entry = {"path": "s.fastq", "md5": "0" * 32}
    put(tmp_path, s__fastq=READS, manifest__json=json.dumps({"files": [entry]}).encode())
    assert run(str(tmp_path)).exit_code == 1
    entry["md5"] = md5(READS)
    put(tmp_path, manifest__json=json.dumps({"files": [entry]}).encode())
    assert run(str(tmp_path)).exit_code == 0


def test_what_lies_beside_a_bag_is_judged_too(bag: Path) -> None:
    put(bag, stray__fastq=READS[:-3])
    found = judged(bag, exit_code=1)
    assert found["stray.fastq"]["verdict"] == "invalid"
    assert "bagit.txt" not in found
