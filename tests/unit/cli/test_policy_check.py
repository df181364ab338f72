"""`forebay policy check` tells everything that is wrong, or what is promised."""

import json
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from forebay_cli.main import main

POLICIES = Path(__file__).resolve().parents[3] / "policies"


def check(*arguments: str) -> click.testing.Result:
    return CliRunner().invoke(main, ["policy", "check", *arguments])


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Copy the project's policy and misspell a class and a storage class."""
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    for name, old in (
        ("classes.yaml", "to: GLACIER_IR"),
        ("classification.yaml", "class: derived"),
    ):
        path = tmp_path / name
        text = path.read_text("utf-8")
        path.write_text(text.replace(old, f"{old}x", 1), "utf-8")
    return tmp_path


def test_good_policy_is_shown_as_a_table_of_classes() -> None:
    result = check(str(POLICIES))

    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if line.startswith("clinical-hot "))
    assert "imaging-platform" in row
    assert "at least 3653 d" in row
    assert "GLACIER_IR 30 d idle" in row


def test_without_a_folder_the_checkout_s_policy_is_checked() -> None:
    assert check().stdout == check(str(POLICIES)).stdout


def test_good_policy_as_json_has_its_digest_and_classes() -> None:
    document = json.loads(check(str(POLICIES), "--json").stdout)

    assert document["problems"] == []
    assert len(document["policy"]) == 16
    hot = next(each for each in document["classes"] if each["name"] == "clinical-hot")
    assert hot["retention"]["name"] == "clinical-10y"
    assert hot["tiers"][0]["to"] == "GLACIER_IR"


def test_every_problem_is_a_line_and_the_exit_code_is_1(wrong: Path) -> None:
    result = check(str(wrong))

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert "classes/clinical-hot/tiers/0/to: expected one of" in lines[0]
    assert lines[1].startswith("classification.yaml:")
    assert lines[1].endswith('found "derivedx"; did you mean "derived"?')


def test_problems_as_json_have_file_and_line(wrong: Path) -> None:
    result = check(str(wrong), "--json")

    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert set(document) == {"problems"}
    assert [each["file"] for each in document["problems"]] == [
        "classes.yaml",
        "classification.yaml",
    ]
    assert all(each["line"] > 1 and each["place"] and each["says"] for each in document["problems"])


def test_region_that_a_class_does_not_allow_is_a_problem(tmp_path: Path) -> None:
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "classes.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("residency: any", "residency: [eu-west-1]", 1), "utf-8")

    result = check(str(tmp_path), "--region", "us-east-1")

    assert result.exit_code == 1
    assert "expected us-east-1 among them" in result.stdout


def test_folder_without_a_policy_is_said_to_be_none(tmp_path: Path) -> None:
    result = check(str(tmp_path))

    assert result.exit_code == 3
    assert "holds no policy" in result.stderr
