"""What `forebay reconcile` and `forebay rebuild` print, ask, and exit with."""

import json
from typing import Any

import click.testing
import pytest

from forebay.domain.reconciliation import Report
from forebay.services.rebuild_catalog import Rebuilt
from forebay.services.repair_storage import Repaired
from forebay_cli.commands import rebuild as rebuild_command
from forebay_cli.commands import reconcile as reconcile_command
from forebay_cli.main import main
from forebay_cli.reconciling import Reconciler
from forebay_cli.target import Target
from tests.unit.fakes import any_dicom_body
from tests.unit.reconciling import Reconciling
from tests.unit.services.test_reconcile_storage import (
    arrival_was_not_settled,
    lost_event,
    something_foreign,
    upload_was_begun_and_left,
)
from tests.unit.world import World


class FakeReconciler:
    """The services over a World instead of a deployment."""

    def __init__(self, it: Reconciling) -> None:
        self.it = it
        self.scopes: list[Any] = []
        self.rebuilt = Rebuilt({"records": 2, "changes": 5})

    def compare(self, scope: Any, **_: Any) -> Report:
        self.scopes.append(scope)
        self.it.world.clock.advance(3600)
        return self.it.service(scope)

    def apply(self, report: Report) -> tuple[Repaired, ...]:
        return self.it.apply(report)

    def rebuild(self, **_: Any) -> Rebuilt:
        return self.rebuilt


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeReconciler:
    made = FakeReconciler(Reconciling(World(needs_sender_digest=False)))
    monkeypatch.setattr(Target, "deployment", lambda *_: None)
    for command in (reconcile_command, rebuild_command):
        monkeypatch.setattr(command, "Reconciler", made_of(made))
    return made


def made_of(fake: FakeReconciler) -> Any:
    class Maker(Reconciler):
        @classmethod
        def of(cls, deployment: Any) -> Any:
            return fake

    return Maker


def run(*arguments: str, typed: str = "") -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, arguments, input=typed)


def test_clean_deployment_says_so_and_exits_with_0(fake: FakeReconciler) -> None:
    fake.it.world.image(any_dicom_body())
    fake.it.world.run()

    result = run("reconcile")

    assert result.exit_code == 0, result.output
    assert "Storage and catalog agree." in result.stdout


def test_differences_are_explained_and_exit_with_1(fake: FakeReconciler) -> None:
    lost_event(fake.it)
    something_foreign(fake.it)

    result = run("reconcile")

    assert result.exit_code == 1
    for said in ("missing-in-catalog", "its event was lost", "foreign-object", "access log"):
        assert said in " ".join(result.stdout.split())
    assert len(fake.it.world.catalog.records) == 0


def test_apply_asks_and_does_nothing_when_told_no(fake: FakeReconciler) -> None:
    lost_event(fake.it)

    result = run("reconcile", "--apply", typed="n\n")

    assert result.exit_code == 1
    assert "Carry out this repair?" in result.stderr
    assert not fake.it.world.catalog.records


def test_apply_mends_and_the_next_comparison_is_clean(fake: FakeReconciler) -> None:
    lost_event(fake.it)
    upload_was_begun_and_left(fake.it)

    assert run("reconcile", "--apply", typed="y\n").exit_code == 0
    assert run("reconcile").exit_code == 0
    assert len(fake.it.world.catalog.records) == 1


def test_what_no_program_may_decide_keeps_exit_code_1(fake: FakeReconciler) -> None:
    something_foreign(fake.it)
    arrival_was_not_settled(fake.it)

    result = run("reconcile", "--apply", "--yes")

    assert result.exit_code == 1
    assert "1 done" in result.stdout


def test_json_holds_report_plan_and_outcomes(fake: FakeReconciler) -> None:
    lost_event(fake.it)

    result = run("reconcile", "--json", "--apply", "--yes")

    document = json.loads(result.stdout)
    assert document["report"]["counts"] == {"missing-in-catalog": 1}
    assert document["plan"][0]["repair"] == "register the arrival"
    assert document["repaired"][0]["outcome"] == "done"


def test_key_of_an_arrival_that_is_known_by_id_is_not_shown(fake: FakeReconciler) -> None:
    arrival_was_not_settled(fake.it)

    result = run("reconcile")

    (made,) = fake.it.world.catalog.records
    assert made in result.stdout
    assert "scan.dcm" not in result.output


def test_options_narrow_the_scope(fake: FakeReconciler) -> None:
    run("reconcile", "--zone", "clinical", "--site", "a", "--since", "2026-03-01", "--shallow")

    (scope,) = fake.scopes
    assert (scope.zone, scope.site, scope.deep) == ("clinical", "a", False)
    assert scope.since.isoformat() == "2026-03-01T00:00:00+00:00"


@pytest.mark.parametrize("command", [("reconcile", "--json", "--apply"), ("rebuild", "--json")])
def test_json_cannot_ask(command: tuple[str, ...], fake: FakeReconciler) -> None:
    assert run(*command).exit_code == 2


def test_rebuild_tells_what_it_wrote(fake: FakeReconciler) -> None:
    result = run("rebuild", typed="y\n")

    assert result.exit_code == 0
    assert "records" in result.stdout


def test_rebuild_lists_what_could_not_be_read_again(fake: FakeReconciler) -> None:
    fake.rebuilt = Rebuilt({"changes": 5}, {"some-object": "its bytes are gone"})

    result = run("rebuild", "--yes")

    assert result.exit_code == 1
    assert "its bytes are gone" in result.stdout
    assert "there already" in result.stdout


def test_rebuild_does_nothing_when_told_no(fake: FakeReconciler) -> None:
    assert run("rebuild", typed="n\n").exit_code == 1
