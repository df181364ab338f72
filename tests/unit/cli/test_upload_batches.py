"""The name receipts are issued by: given, or made; and told at the end."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from forebay.domain.objects import Location
from forebay_cli.commands import upload
from forebay_cli.failures import CommandError
from forebay_cli.main import main
from forebay_cli.target import Target
from forebay_cli.uploads.planning import Plan
from forebay_cli.uploads.sending import Result, SendOptions, SentFile


@pytest.mark.parametrize("batch", ["run 7", "2026-11-22/run7", "x" * 126, ""])
def test_plain_names_are_batches(batch: str) -> None:
    assert upload.check_batch(batch) == batch
    assert upload.check_batch(f"/{batch}/") == batch


@pytest.mark.parametrize("batch", ["../x", "a//b", "a/./b", "Käse", "a\nb", "x" * 129])
def test_what_cannot_be_a_path_and_a_header_is_no_batch(batch: str) -> None:
    with pytest.raises(CommandError, match="cannot be a batch"):
        upload.check_batch(batch)


def test_made_names_are_the_day_and_chance() -> None:
    first, second = upload.new_batch(), upload.new_batch()

    assert re.fullmatch(r"20\d\d-\d\d-\d\d-[0-9a-f]{8}", first)
    assert first != second


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[SendOptions]:
    """Give the options of uploads that send nothing anywhere."""
    options: list[SendOptions] = []

    def send_all(_: Any, __: Any, ___: Any, plan: Plan, how: SendOptions) -> list[SentFile]:
        options.append(how)
        place = Location("landing", "lab/k", "v")
        return [
            SentFile(file, Result.UPLOADED, place, "00", upload_batch=how.upload_batch)
            for file in plan.files
        ]

    monkeypatch.setattr(upload, "send_all", send_all)
    monkeypatch.setattr(Target, "for_sender", lambda *_: None)
    (tmp_path / "a.fastq").write_bytes(b"@")
    return options


def test_upload_ends_with_how_to_get_the_receipt(seen: list[SendOptions], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["upload", str(tmp_path), "--site", "lab"])

    [options] = seen
    assert result.exit_code == 0, result.output
    assert f"forebay receipt get {options.upload_batch} --site lab" in result.stderr
    assert options.batch == ""


def test_given_batch_is_folder_and_name(seen: list[SendOptions], tmp_path: Path) -> None:
    CliRunner().invoke(main, ["upload", str(tmp_path), "--site", "lab", "--batch", "run7"])

    [options] = seen
    assert (options.batch, options.upload_batch) == ("run7", "run7")


def test_cohort_goes_with_every_file(seen: list[SendOptions], tmp_path: Path) -> None:
    arguments = ["upload", str(tmp_path), "--site", "lab", "--cohort", "RARE-1"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    [options] = seen
    assert options.cohort == "RARE-1"

    refused = CliRunner().invoke(main, [*arguments[:-1], "a/b"])
    assert refused.exit_code == 2
    assert "is no name of a cohort" in refused.stderr
