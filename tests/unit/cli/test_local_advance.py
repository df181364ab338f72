"""`forebay local advance`, and the clocks it moves."""

import dataclasses
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import click
import click.testing
import psutil
import pytest
from click.testing import CliRunner

from forebay.domain.policy.lifecycle import StoredVersion
from forebay.domain.policy.storage_classes import StorageClass
from forebay.errors import ConfigurationError
from forebay.names import ENV_CLOCK_AHEAD_SECONDS, Step
from forebay.runtime.settings import Settings
from forebay.runtime.wiring import Wiring
from forebay_cli import stack_outputs
from forebay_cli.commands import local
from forebay_cli.deployment import Account, Deployment
from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud import lifecycle, passing
from forebay_cli.localcloud.advancing import Advance, Day, Deed, Version, What
from forebay_cli.localcloud.moved_clock import Moved, MovedClock
from forebay_cli.localcloud.record import LocalCloud
from forebay_cli.main import main

MIDNIGHT = datetime(2026, 4, 1, tzinfo=UTC)
VERSION = Version("dicom/1/2/3.dcm", "v1", StoredVersion({}, 524_288, MIDNIGHT))
DAYS = (
    Day(
        MIDNIGHT,
        (Deed("clinical", What.MOVE, VERSION, MIDNIGHT, StorageClass.GLACIER_IR),),
        {"EvaluatedObjects": 1200, "ChangedObjects": 3},
    ),
    Day(
        MIDNIGHT + timedelta(days=7),
        (
            Deed("landing", What.EXPIRE, VERSION, MIDNIGHT),
            Deed("clinical", What.END_RESTORE, VERSION, MIDNIGHT),
        ),
        {},
    ),
)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalCloud:
    """A local cloud that is recorded as running: the process is this one."""
    monkeypatch.setenv("FOREBAY_HOME", str(tmp_path))
    this, endpoint = psutil.Process(), "http://127.0.0.1:9"
    file = str(tmp_path / "clock.json")
    made = LocalCloud(endpoint, 9, False, this.pid, this.create_time(), clock_file=file)
    made.save(tmp_path / "local.json")
    return made


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[LocalCloud]:
    """Whose functions were told the time; nothing else is asked of the cloud."""
    clouds: list[LocalCloud] = []
    monkeypatch.setattr(local, "tell_functions", clouds.append)
    monkeypatch.setattr(Deployment, "find", lambda account: Deployment(account, "forebay", {}))
    return clouds


def run(*arguments: str) -> click.testing.Result:
    return CliRunner().invoke(main, ["local", "advance", *arguments])


def passes(monkeypatch: pytest.MonkeyPatch, days: tuple[Day, ...]) -> list[tuple[timedelta, bool]]:
    asked: list[tuple[timedelta, bool]] = []

    def call(_: Advance, by: timedelta, *, at_once: bool = False) -> tuple[Day, ...]:
        asked.append((by, at_once))
        return days

    monkeypatch.setattr(Advance, "__call__", call)
    return asked


def test_each_day_is_a_line(
    cloud: LocalCloud, told: list[LocalCloud], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = passes(monkeypatch, DAYS)
    result = run("4w")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()[2:]
    assert lines[0].split() == ["2026-04-01", "1,200", "3", "1", "to", "GLACIER_IR"]
    assert lines[1].split() == ["2026-04-08", "1", "1"]
    assert asked == [(timedelta(weeks=4), False)]
    assert told == [cloud]


@pytest.mark.usefixtures("cloud", "told")
def test_json_names_every_deed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = passes(monkeypatch, DAYS)
    document = json.loads(run("30d", "--at-once", "--json").stdout)
    assert asked == [(timedelta(days=30), True)]
    assert document["days"][0]["deeds"] == [
        {
            "do": "move",
            "bucket": "clinical",
            "key": VERSION.key,
            "version_id": "v1",
            "size_bytes": 524_288,
            "storage_class": "GLACIER_IR",
            "current": True,
        }
    ]


@pytest.mark.usefixtures("cloud", "told")
def test_a_quiet_time_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    passes(monkeypatch, ())
    assert run("12h").stdout == "Nothing fell due.\n"


@pytest.mark.parametrize("text", ["30", "0d", "-1d", "1y", "d", "99999d", "1.5d"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    result = run("--", text)
    assert result.exit_code == 2
    assert text in result.stderr


@pytest.mark.parametrize("option", ["--profile", "--region"])
def test_no_account_can_be_named(option: str) -> None:
    result = run("30d", option, "x")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def test_without_a_local_cloud_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_HOME", str(tmp_path))
    result = run("30d")
    assert result.exit_code == 3
    assert "forebay up" in result.stderr


def test_functions_are_told_although_time_stopped_on_the_way(
    cloud: LocalCloud, told: list[LocalCloud], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*_: object, **__: object) -> None:
        raise click.ClickException("evaluate_policy failed")

    monkeypatch.setattr(Advance, "__call__", call)
    assert run("30d").exit_code != 0
    assert told == [cloud]


def test_the_command_line_shows_the_time_of_an_advanced_cloud(cloud: LocalCloud) -> None:
    moved = MovedClock(86_400, (Moved("2026-03-01T00:00:00.000000+00:00", 86_400),))
    moved.save(Path(cloud.clock_file))
    assert MovedClock.load(Path(cloud.clock_file)) == moved
    ahead = Account.of_local(cloud).clock.now() - datetime.now(UTC)
    assert abs(ahead - timedelta(days=1)) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ahead_seconds": 1}'])
def test_a_clock_that_cannot_be_read_was_not_moved(tmp_path: Path, text: str) -> None:
    (tmp_path / "clock.json").write_text(text)
    assert MovedClock.load(tmp_path / "clock.json") == MovedClock()


def test_functions_show_the_time_they_were_told() -> None:
    clock = Wiring(Settings({ENV_CLOCK_AHEAD_SECONDS: "3600"})).clock
    assert abs(clock.now() - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)


def test_a_function_refuses_a_time_that_is_no_number() -> None:
    with pytest.raises(ConfigurationError, match=ENV_CLOCK_AHEAD_SECONDS):
        _ = Wiring(Settings({ENV_CLOCK_AHEAD_SECONDS: "-5"})).clock


@pytest.fixture
def knocks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, object]]:
    """What was asked of the emulator's own door."""
    asked: list[tuple[str, str, object]] = []
    monkeypatch.setattr(passing, "_knock", lambda _cloud, *what: asked.append(what))
    return asked


class FakeFunctions:
    """Functions with an environment each; setting it replaces all of it, as Lambda does."""

    def __init__(self) -> None:
        self.environments = {"evaluate": {"A": "1"}, "register": {"B": "2"}, "place": {"C": "3"}}
        self.invoked = 0
        self.fails = 0

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        return {"Environment": {"Variables": self.environments[FunctionName]}}

    def update_function_configuration(
        self,
        *,
        FunctionName: str,  # noqa: N803
        Environment: Mapping[str, dict[str, str]],  # noqa: N803
    ) -> None:
        self.environments[FunctionName] = Environment["Variables"]

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        assert (FunctionName, Payload) == ("evaluate", b"{}")
        self.invoked += 1
        if self.invoked <= self.fails:
            answer: dict[str, Any] = {"errorMessage": f"no {self.invoked}"}
            return {"FunctionError": "Unhandled", "Payload": io.StringIO(json.dumps(answer))}
        answer = {"EvaluatedObjects": 2.0, "ChangedObjects": 1.0, "_aws": {}}
        return {"Payload": io.StringIO(json.dumps(answer))}


class FakeAccount:
    def __init__(self) -> None:
        self.functions = FakeFunctions()


def a_deployment() -> tuple[Deployment, dict[str, dict[str, str]]]:
    account = FakeAccount()
    steps = {
        Step.EVALUATE_POLICY: "evaluate",
        Step.REGISTER_OBJECT: "register",
        Step.PLACE_OBJECT: "place",
    }
    outputs = {
        stack_outputs.of_step(stack_outputs.FUNCTION, step): name for step, name in steps.items()
    }
    deployment = Deployment(cast("Account", account), "forebay", outputs)
    return deployment, account.functions.environments


def test_an_evaluation_that_dies_on_the_way_is_tried_again() -> None:
    deployment, _ = a_deployment()
    functions = cast("FakeFunctions", deployment.account.functions)
    functions.fails = 2
    counted = passing.LocalSchedules(deployment).evaluate()
    assert counted == {"EvaluatedObjects": 2, "ChangedObjects": 1}
    assert functions.invoked == 3


def test_an_evaluation_that_always_dies_says_what_its_function_said() -> None:
    deployment, _ = a_deployment()
    cast("FakeFunctions", deployment.account.functions).fails = 9
    with pytest.raises(CommandError, match="evaluate_policy failed: no 3"):
        passing.LocalSchedules(deployment).evaluate()


def test_moving_the_clock_records_it_and_tells_storage_and_who_acts_on_the_time(
    cloud: LocalCloud, knocks: list[tuple[str, str, object]]
) -> None:
    deployment, environments = a_deployment()
    passing.LocalClock(cloud, deployment).move_to(datetime.now(UTC) + timedelta(days=2))
    kept = MovedClock.load(Path(cloud.clock_file))
    assert abs(kept.ahead_seconds - 2 * 86_400) <= 1
    assert [move.by_seconds for move in kept.moves] == [kept.ahead_seconds]
    assert knocks == [("PUT", "clock", {"ahead_seconds": kept.ahead_seconds})]
    ahead = {ENV_CLOCK_AHEAD_SECONDS: str(kept.ahead_seconds)}
    assert environments == {
        "evaluate": {"A": "1", **ahead},
        "register": {"B": "2", **ahead},
        "place": {"C": "3"},
    }


@pytest.mark.usefixtures("knocks")
def test_the_clock_never_goes_back(cloud: LocalCloud) -> None:
    MovedClock(86_400).save(Path(cloud.clock_file))
    deployment, _ = a_deployment()
    passing.LocalClock(cloud, deployment).move_to(datetime.now(UTC))
    assert MovedClock.load(Path(cloud.clock_file)).ahead_seconds == 86_400


@pytest.mark.parametrize("ahead", [0, 86_400])
def test_after_a_deployment_all_functions_are_told_unless_the_clock_stands(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    deployment, environments = a_deployment()
    monkeypatch.setattr(Deployment, "find", lambda _: deployment)
    MovedClock(ahead).save(Path(cloud.clock_file))
    passing.tell_functions(cloud)
    told = [each.get(ENV_CLOCK_AHEAD_SECONDS) for each in environments.values()]
    assert told == [str(ahead) if ahead else None] * 3


def test_a_redeployment_tells_functions_the_time_again(
    cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    monkeypatch.setattr(lifecycle, "cdk_command", lambda _: ["cdk"])
    monkeypatch.setattr(lifecycle, "deploy", lambda *_: happened.append("deployed"))
    monkeypatch.setattr(lifecycle, "tell_functions", lambda _: happened.append("told"))
    lifecycle.bring_up(Home(tmp_path, tmp_path), lifecycle.UpRequest(), print)
    assert happened == ["deployed", "told"]
    assert cloud.process() is not None


def test_an_older_local_cloud_says_to_start_it_anew(cloud: LocalCloud, tmp_path: Path) -> None:
    dataclasses.replace(cloud, clock_file="").save(tmp_path / "local.json")
    result = run("30d")
    assert result.exit_code == 3
    assert "forebay down, then forebay up" in result.stderr
