"""The commands as a whole: documented, honest about failure, and quiet at import."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from forebay.names import Step, Zone
from forebay_cli import stack_outputs
from forebay_cli.commands.logs import LogLine, seconds_of
from forebay_cli.deployment import Account
from forebay_cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[3]
IDS = [command.name for command in COMMANDS]


def leaves(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    """Return a command, or those of a group, with the words they are called by."""
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [
        leaf for word, each in command.commands.items() for leaf in leaves(each, f"{name} {word}")
    ]


LEAVES = [leaf for command in COMMANDS for leaf in leaves(command, command.name or "")]
LEAF_IDS = [name for name, _ in LEAVES]


@pytest.fixture
def no_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_HOME", str(tmp_path))


def run(*arguments: str) -> click.testing.Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("command", [command for _, command in LEAVES], ids=LEAF_IDS)
def test_every_command_and_option_has_help(command: click.Command) -> None:
    assert command.help
    assert len(command.get_short_help_str(limit=200)) > 20
    options = [p for p in command.params if isinstance(p, click.Option)]
    silent = [option.name for option in options if not option.help]
    assert silent in ([], ["limit"])


@pytest.mark.parametrize("name", IDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"forebay {name}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [command for _, command in LEAVES], ids=LEAF_IDS)
def test_every_command_speaks_json(command: click.Command) -> None:
    assert "as_json" in {parameter.name for parameter in command.params}


@pytest.mark.parametrize(
    "arguments", [["status"], ["show", "x"], ["find", "--site", "a"], ["logs"]]
)
@pytest.mark.usefixtures("no_cloud")
def test_without_a_local_cloud_commands_say_what_to_do(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 3
    assert "The local cloud is not up" in result.stderr
    assert "forebay up" in result.stderr


@pytest.mark.usefixtures("no_cloud")
def test_down_without_a_cloud_is_no_failure() -> None:
    result = run("down", "--json")
    assert result.exit_code == 0
    assert result.stdout == '{"purged": false, "stopped": false}\n'


@pytest.mark.parametrize(
    "arguments",
    [
        ["upload", "--site", "a"],
        ["upload", "/nowhere/at/all", "--site", "a"],
        ["logs", "no_such_step"],
        ["logs", "--since", "tomorrow"],
        ["find", "--state", "LOST"],
        ["status", "--watch", "--json"],
    ],
)
@pytest.mark.usefixtures("no_cloud")
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unknown_profile_is_a_sentence_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    result = run("status", "--profile", "nobody", "--region", "eu-west-1")
    assert result.exit_code == 3
    assert "nobody" in result.stderr
    assert "Traceback" not in result.output


def test_the_local_account_is_deaf_to_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.cli.test_local_cloud import a_cloud  # noqa: PLC0415

    monkeypatch.setenv("AWS_PROFILE", "production")
    account = Account.of_local(a_cloud())
    assert account.s3.meta.endpoint_url == "http://127.0.0.1:9"


def test_output_names_are_those_the_stacks_write() -> None:
    outputs = pytest.importorskip("infra.outputs")
    assert all(stack_outputs.bucket(zone) == outputs.bucket(zone) for zone in Zone)
    for what in (stack_outputs.QUEUE, stack_outputs.LOG_GROUP):
        assert all(stack_outputs.of_step(what, s) == outputs.of_step(what, s) for s in Step)


def test_importing_the_command_line_loads_no_cdk_and_no_parser() -> None:
    heavy = {"aws_cdk", "pydicom", "numpy", "pysam"}
    code = f"import sys, forebay_cli.main; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.strip() == "[]"


def duration(text: str) -> float:
    command = click.Command("x")
    return seconds_of(click.Context(command), click.Option(["--since"]), text)


def test_durations_are_read_in_their_units() -> None:
    assert [duration(text) for text in ("90s", "10m", "2h", "1d")] == [90, 600, 7200, 86_400]


def test_log_lines_are_shown_without_housekeeping() -> None:
    from datetime import UTC, datetime  # noqa: PLC0415

    raw = '{"level":"INFO","message":"placed","object_id":"abc","cold_start":true}'
    line = LogLine("1", Step.PLACE_OBJECT, datetime(2026, 3, 1, 12, tzinfo=UTC), raw)
    assert line.text() == "12:00:00 place_object     INFO    placed object_id=abc"
    assert LogLine("1", Step.PLACE_OBJECT, line.at, "START RequestId: 1").is_housekeeping
