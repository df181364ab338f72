"""`forebay conflicts` and `forebay release`: what a steward sees, decides, and is told."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Choice, Decision, ObjectRecord
from forebay.domain.states import State
from forebay_cli import deciding
from forebay_cli.clock import REAL_TIME
from forebay_cli.commands import conflicts
from forebay_cli.main import main
from tests.unit.fakes import (
    NOON,
    FakeCatalog,
    any_digest,
    any_finding,
    any_instance,
    any_record,
)

ANNA = "arn:aws:sts::111122223333:assumed-role/steward/anna"


class FakeReader:
    """A catalog of a few records, for reading."""

    def __init__(self, catalog: FakeCatalog) -> None:
        self.records = catalog.records

    def object(self, object_id: str) -> ObjectRecord | None:
        if "." not in object_id:
            raise ValueError(object_id)
        return self.records.get(object_id)

    def objects(self, ids: Any) -> list[ObjectRecord]:
        return [self.records[each] for each in ids]

    def in_state(self, state: State, *, sites: Any, limit: int) -> list[str]:
        found = [
            made
            for made, record in self.records.items()
            if record.state is state and (not sites or record.site in sites)
        ]
        return found[:limit]


class FakeAccount:
    """An account whose caller is Anna."""

    dynamodb = None
    caller = ANNA
    clock = REAL_TIME


class FakeDeployment:
    """A deployment with one table."""

    account = FakeAccount()

    def output(self, _name: str) -> str:
        return "table"


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> FakeCatalog:
    made = FakeCatalog()
    reader = FakeReader(made)
    monkeypatch.setattr(conflicts, "catalog_of", lambda _: reader)
    monkeypatch.setattr(deciding, "DynamoCatalog", lambda *_: made)
    monkeypatch.setattr("forebay_cli.target.Target.deployment", lambda *_: FakeDeployment())
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def document(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def instance(catalog: FakeCatalog, **fields: Any) -> ObjectRecord:
    facts: dict[str, Any] = {
        "metadata": any_instance(sop_instance_uid="1.2.3").as_metadata(),
        "subject": {"PatientID": "P1", "PatientName": "Doe^Jane"},
        "digests": (any_digest(algorithm=Algorithm.SHA256),),
    }
    record = any_record(**facts | fields)
    catalog.records[record.object_id] = record
    return record


def in_conflict(catalog: FakeCatalog, **fields: Any) -> tuple[ObjectRecord, ObjectRecord]:
    stored = instance(catalog, state=State.PLACED)
    facts: dict[str, Any] = {
        "state": State.CONFLICT,
        "original_id": stored.object_id,
        "finding": any_finding(),
        "size_bytes": 2000,
        "subject": {"PatientID": "P1", "PatientName": "Roe^Richard"},
    }
    return stored, instance(catalog, **facts | fields)


def test_open_conflicts_are_listed_and_decided_ones_on_request(catalog: FakeCatalog) -> None:
    _, waiting = in_conflict(catalog)
    decision = Decision(Choice.KEEP, ANNA, NOON, "a test image")
    _, decided = in_conflict(catalog, decision=decision, site="site-b")

    (first,) = document("conflicts", "list")["conflicts"]
    (second,) = document("conflicts", "list", "--decided")["conflicts"]

    assert (first["object_id"], first["identity"]) == (waiting.object_id, "1.2.3")
    assert second["object_id"] == decided.object_id
    assert second["decision"]["by"] == ANNA
    assert document("conflicts", "list", "--site", "site-b")["conflicts"] == []
    assert waiting.object_id in run("conflicts", "list").stdout


def test_open_conflicts_are_found_behind_many_decided_ones(catalog: FakeCatalog) -> None:
    decision = Decision(Choice.KEEP, ANNA, NOON)
    for _ in range(20):
        in_conflict(catalog, decision=decision)
    _, waiting = in_conflict(catalog)

    (found,) = document("conflicts", "list", "--limit", "2")["conflicts"]

    assert found["object_id"] == waiting.object_id


def test_nothing_open_is_said(catalog: FakeCatalog) -> None:
    assert "No conflict is open." in run("conflicts", "list").stdout
    assert "No conflict was decided." in run("conflicts", "list", "--decided").stdout


def test_comparison_shows_what_differs_and_no_patient(catalog: FakeCatalog) -> None:
    stored, arrived = in_conflict(catalog)

    result = run("conflicts", "show", arrived.object_id)

    for said in (stored.object_id, arrived.object_id, "1.2.3", "size in bytes", "1000", "2000"):
        assert said in result.stdout
    assert "PatientName" in result.stdout
    assert "PatientID" not in result.stdout  # equal
    assert "Doe" not in result.output
    assert "Roe" not in result.output
    assert "--identifiers" in result.stderr


def test_everything_and_identifiers_are_shown_when_asked_for(catalog: FakeCatalog) -> None:
    _, arrived = in_conflict(catalog)

    said = run("conflicts", "show", arrived.object_id, "--all", "--identifiers").stdout
    rows = document("conflicts", "show", arrived.object_id)["attributes"]

    assert all(value in said for value in ("Doe^Jane", "Roe^Richard", "PatientID", "Modality"))
    by_name = {row["attribute"]: row for row in rows}
    assert by_name["PatientName"] == {
        "attribute": "PatientName",
        "equal": False,
        "stored": "***",
        "arrived": "***",
    }
    assert by_name["PatientID"]["equal"] is True


@pytest.mark.parametrize(
    "option, state",
    [("--keep", State.CONFLICT), ("--replace", State.RECEIVED), ("--keep-both", State.RECEIVED)],
)
def test_decision_is_recorded_with_who_made_it(
    catalog: FakeCatalog, option: str, state: State
) -> None:
    _, arrived = in_conflict(catalog)

    result = run("conflicts", "decide", arrived.object_id, option, "--note", "a test image")

    assert result.exit_code == 0
    record = catalog.records[arrived.object_id]
    assert record.state is state
    assert record.decision
    assert (record.decision.choice.value, record.decision.by, record.decision.note) == (
        option.removeprefix("--"),
        ANNA,
        "a test image",
    )
    again = document("conflicts", "decide", arrived.object_id, option, "--note", "again")
    assert again["is_new"] is False
    assert ANNA in result.stdout


def test_decision_that_cannot_be_made_says_why_and_ends_with_1(catalog: FakeCatalog) -> None:
    stored, arrived = in_conflict(catalog)
    run("conflicts", "decide", arrived.object_id, "--keep", "--note", "x")

    for refused in (
        run("conflicts", "decide", arrived.object_id, "--replace", "--note", "x"),
        run("conflicts", "decide", stored.object_id, "--keep", "--note", "x"),
        run("conflicts", "show", stored.object_id),
        run("release", stored.object_id, "--note", "x"),
    ):
        assert refused.exit_code == 1
        assert refused.stderr.startswith("Error: ")
        assert "What to do" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["conflicts", "decide", "x.y", "--note", "why"],
        ["conflicts", "decide", "x.y", "--keep"],
        ["release", "x.y"],
    ],
)
def test_decision_without_choice_or_note_is_wrong_usage(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.usefixtures("catalog")
@pytest.mark.parametrize("reference", ["nobody", "a" * 24 + "." + "b" * 16])
def test_unknown_object_says_so(reference: str) -> None:
    for result in (
        run("conflicts", "show", reference),
        run("conflicts", "decide", reference, "--keep", "--note", "x"),
        run("release", reference, "--note", "x"),
    ):
        assert result.exit_code in (1, 3)
        assert f"No object {reference} is known." in result.stderr


def test_release_is_recorded_with_who_released(catalog: FakeCatalog) -> None:
    record = instance(catalog, state=State.QUARANTINED, finding=any_finding())

    result = run("release", record.object_id, "--note", "parser corrected")

    assert result.exit_code == 0
    assert ANNA in result.stdout
    now = catalog.records[record.object_id]
    assert now.state is State.RECEIVED
    assert now.decision
    assert (now.decision.choice, now.decision.note) == (Choice.RELEASE, "parser corrected")
    assert document("release", record.object_id, "--note", "x")["is_new"] is False
