"""What `forebay policy plan` and `apply` print, refuse, and keep."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import click.testing
import pytest

from forebay.domain.policy.plan import Plan, Planned, Rates, Totals
from forebay.domain.policy.pricing import PARTS
from forebay.services.apply_plan import ApplyPlan
from forebay_cli.commands import policy_apply as apply_command
from forebay_cli.commands import policy_plan as plan_command
from forebay_cli.failures import CommandError
from forebay_cli.main import main
from forebay_cli.plan_tables import MEANINGS, headline, markdown, money_text
from forebay_cli.policy_planning import other_folder
from forebay_cli.target import Target
from tests.unit.domain.policy.test_plan import NOW, any_class, any_objects, planned
from tests.unit.domain.policy.test_pricing import PRICES
from tests.unit.services.test_apply_plan import FakeFunction, FakePlanLedger, FixedClock

ANNA = "arn:aws:iam::111122223333:user/anna"


class FakePlanner:
    """Plans over objects in a list; they were applied once the function did so."""

    def __init__(self, objects: list[Planned]) -> None:
        self.objects = objects
        self.function, self.ledger = FakeFunction(objects), FakePlanLedger()
        self.clock, self.digest, self.price_table = FixedClock(), "abc", PRICES
        self.folder, self.identity = Path("policies"), ANNA
        self.asked: list[Any] = []

    @cached_property
    def apply(self) -> ApplyPlan:
        return ApplyPlan(self.function, self.ledger, self.clock, Rates(PRICES))

    def plan(self, *, site: str = "", against: Any = None) -> Plan:
        self.asked.append((site, against))
        totals = Totals.of(self.changed(site, NOW))
        day = date(2025, 9, 14).isoformat()
        return Plan("20260601T000000Z-abc", NOW, "abc", totals, "us-east-1", "USD", day, site)

    def changed(self, site: str, now: datetime) -> Iterator[Planned]:
        for each in self.objects:
            if each.subject.object_id in self.function.done:
                yield replace(each, changes=frozenset(), approvals=frozenset())
            else:
                yield each


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePlanner:
    made = FakePlanner([replace(o, approvals=frozenset()) for o in any_objects(5, 230)])
    monkeypatch.setattr(Target, "deployment", lambda *_: None)
    for command in (plan_command, apply_command):
        monkeypatch.setattr(command, "Planner", lambda *_: made)
    return made


def run(*arguments: str, typed: str = "") -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["policy", *arguments], input=typed)


def test_a_plan_shows_changes_moves_costs_and_the_prices_day(fake: FakePlanner) -> None:
    result = run("plan")

    assert result.exit_code == 0, result.output
    for said in ("2025-09-14", "STANDARD_IA", "monthly", "early deletion", "all moves", "images"):
        assert said in result.stdout


def test_json_is_a_plan_that_reads_back(fake: FakePlanner) -> None:
    said = json.loads(run("plan", "--json").stdout)

    assert Plan.from_dict(said) == fake.plan()


def test_markdown_is_a_comment_with_tables(fake: FakePlanner) -> None:
    said = run("plan", "--markdown").stdout

    assert said.startswith("### What this policy changes")
    assert "| ---: |" in said
    assert len({line.count("|") for line in said.split("\n\n")[2].splitlines()}) == 1


def test_nothing_to_change_says_so(fake: FakePlanner) -> None:
    fake.objects = [planned(any_class(), any_class())]

    assert "Nothing changes." in run("plan").stdout
    assert "Nothing changes." in run("plan", "--markdown").stdout


def test_apply_does_what_was_planned_to_the_cent(fake: FakePlanner, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(run("plan", "--json").stdout)

    result = run("apply", str(plan), "--note", "why", "--yes", "--json")

    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["as_planned"]
    assert said["by"] == ANNA
    assert fake.ledger.documents["20260601T000000Z-abc"]["note"] == "why"


def test_apply_prints_the_plan_and_what_was_done(fake: FakePlanner) -> None:
    result = run("apply", "--note", "why", typed="y\n")

    assert result.exit_code == 0, result.output
    assert result.stdout.count("all moves") == 2
    assert "not what was planned" not in result.stderr


def test_apply_told_no_changes_nothing(fake: FakePlanner) -> None:
    result = run("apply", "--note", "why", typed="n\n")

    assert result.exit_code == 1
    assert not fake.function.done
    assert not fake.ledger.documents


def test_a_plan_that_no_longer_holds_is_refused(fake: FakePlanner, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(run("plan", "--json").stdout)
    fake.objects = fake.objects[: len(fake.objects) // 2]

    result = run("apply", str(plan), "--note", "why", "--yes")

    assert result.exit_code == 1
    assert "has moved on" in result.stderr
    assert not fake.function.done


def test_a_policy_that_is_not_deployed_is_refused(fake: FakePlanner) -> None:
    fake.digest = "other"

    result = run("apply", "--note", "why", "--yes")

    assert result.exit_code == 1
    assert "The deployed policy is abc, not other" in result.stderr


def test_approval_must_be_of_another_person(fake: FakePlanner) -> None:
    kept, gone = any_class(), any_class(replicate=True)
    fake.objects = [planned(kept, gone)]
    fake.function = FakeFunction(fake.objects)

    alone = run("apply", "--note", "why", "--yes")
    herself = run("apply", "--note", "why", "--yes", "--approved-by", "anna")
    other = run("apply", "--note", "why", "--yes", "--approved-by", "bert")

    assert (alone.exit_code, herself.exit_code, other.exit_code) == (1, 1, 0), other.output
    assert "another region of 1 objects" in alone.stderr


def test_what_failed_is_done_by_resuming_and_then_equals_the_plan(fake: FakePlanner) -> None:
    fake.function.fails = (2,)
    first = run("apply", "--note", "why", "--yes")
    second = run("apply", "--resume", "20260601T000000Z-abc", "--yes", "--json")

    assert first.exit_code == 3
    assert "--resume 20260601T000000Z-abc" in first.stderr
    assert second.exit_code == 0, second.output
    assert json.loads(second.stdout)["as_planned"]


def test_why_must_be_said(fake: FakePlanner) -> None:
    assert run("apply", "--yes").exit_code == 2


def test_a_file_that_is_no_plan_is_told_so(fake: FakePlanner, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{}")

    result = run("apply", str(path), "--note", "why", "--yes")

    assert result.exit_code == 3
    assert "is no plan" in result.stderr


@pytest.mark.parametrize(
    "amount, signed, text",
    [
        (0, False, "$0.00"),
        (1, False, "<$0.01"),
        (1, True, "<+$0.01"),
        (-1, True, ">-$0.01"),
        (PARTS * 1234567 // 100, False, "$12,345.67"),
        (-PARTS * 5, True, "-$5.00"),
        (PARTS * 5, True, "+$5.00"),
    ],
)
def test_amounts_are_shown_to_the_cent(amount: int, signed: bool, text: str) -> None:
    assert money_text(amount, signed=signed) == text


def test_prices_of_another_region_are_told_as_that() -> None:
    plan = Plan("p", NOW, "abc", Totals.of([]), "us-east-1", prices_as_of="2026-01-01")
    assert "not those of" not in str(headline(plan))
    elsewhere = replace(plan, deployed_in="eu-central-1")
    assert "not those of eu-central-1, where the objects are" in str(headline(elsewhere))
    assert "not those of eu-central-1" in markdown(elsewhere)
    assert Plan.from_dict(elsewhere.as_dict()) == elsewhere


def test_every_change_and_conflict_is_explained() -> None:
    totals = Totals.of(any_objects(5, 100))

    assert set(totals.changes) <= set(MEANINGS)
    assert markdown(Plan("p", NOW, "abc", totals))


def test_another_branch_is_read_from_git(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "classes.yaml").write_text("old")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["branch", "other"]):
        subprocess.run([*git, *arguments], check=True)
    (folder / "classes.yaml").write_text("new")

    with other_folder("other", folder) as found:
        assert (found / "classes.yaml").read_text() == "old"
    with other_folder(str(folder), folder) as found:
        assert (found / "classes.yaml").read_text() == "new"
    with pytest.raises(CommandError, match="git does not find"), other_folder("none", folder):
        pass
