"""`forebay dispose`: what people see before, do, and prove afterwards."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from forebay.adapters.disposition_orders import answer_data, decision_of, draft_of
from forebay.adapters.orders import given_order
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.domain.receipts import signed, signing_input
from forebay.names import Step
from forebay.runtime.disposing import disposition_answer, disposition_request
from forebay.services.by_order import ByOrder
from forebay.services.request_disposition import Preview, Refused, Wish
from forebay_cli import disposing
from forebay_cli.disposing import DispositionOffice
from forebay_cli.main import main
from forebay_cli.target import Target
from tests.unit.disposing import ANNA, BEN, Disposal
from tests.unit.fakes import FakeSignatures, any_dicom_body, any_uid

STUDY = any_uid()


class FakeFunctions:
    """Lambda with the three functions of dispositions."""

    def __init__(self, disposal: Disposal) -> None:
        self.disposal = disposal
        self.fails = False

    def invoke(self, *, FunctionName: str, Payload: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        if self.fails:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(b'{"errorMessage":"x"}')}
        answer = self._answer(FunctionName, json.loads(Payload))
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    def _answer(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        disposal, signatures = self.disposal, FakeSignatures("")
        if name == "FunctionNameDisposeObjects":
            return disposition_answer(disposal.dispose(disposition_request(event)))
        given = given_order(event, name)
        if name == Step.REQUEST_DISPOSITION:
            request = ByOrder(signatures, disposal.request, Refused)
            draft = draft_of(given, disposal.draft.ledger)
            return answer_data(request(given, draft))
        assert name == Step.DECIDE_DISPOSITION
        decide = ByOrder(signatures, disposal.decide, Refused)
        return answer_data(decide(given, decision_of(given)))


class FakeDeployment:
    """A deployment over a Disposal; it is its own account."""

    def __init__(self, disposal: Disposal) -> None:
        self.disposal = disposal
        self.caller = ANNA
        self.functions = FakeFunctions(disposal)
        self.clock = disposal.world.clock
        self.account = self

    def output(self, name: str) -> str:
        return name

    def bucket(self, _zone: Any) -> str:
        return self.disposal.draft.ledger

    def by_step(self, _what: str) -> dict[Step, str]:
        return {step: step.value for step in Step}


@pytest.fixture
def disposal() -> Disposal:
    made = Disposal()
    for number in range(2):
        body = any_dicom_body(study_instance_uid=STUDY, subject={"PatientID": "Doe^Jane"})
        made.world.image(body, f"site-a/{number}.dcm")
    made.settle()
    return made


@pytest.fixture
def deployment(disposal: Disposal, monkeypatch: pytest.MonkeyPatch) -> FakeDeployment:
    found = FakeDeployment(disposal)
    monkeypatch.setattr(Target, "deployment", lambda *_: found)
    prove = lambda _, order: FakeSignatures(found.caller).prove(order)  # noqa: E731
    monkeypatch.setattr(DispositionOffice, "prove", prove)
    monkeypatch.setattr(DispositionOffice, "dispositions", disposal.dispositions)
    monkeypatch.setattr(DispositionOffice, "_store", disposal.world.store)
    monkeypatch.setattr(DispositionOffice, "_preview", disposal.preview)
    return found


def run(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, ["dispose", *arguments], input=typed)


def asked() -> str:
    result = run("request", "--study", STUDY, "--reason", "withdrawn", "--json")
    assert result.exit_code == 0, result.output
    return str(json.loads(result.stdout)["disposition_id"])


def approved(deployment: FakeDeployment) -> str:
    made = asked()
    deployment.caller = BEN
    assert run("approve", made).exit_code == 0
    return made


@pytest.mark.usefixtures("deployment")
def test_preview_says_what_would_go_and_changes_nothing(disposal: Disposal) -> None:
    result = run("preview", "--study", STUDY)

    assert result.exit_code == 0, result.output
    assert "2 objects in 4 versions" in result.stdout
    assert "Doe" not in result.output
    assert not disposal.dispositions.stored


@pytest.mark.usefixtures("deployment")
def test_preview_of_something_held_exits_with_1_and_names_the_hold(disposal: Disposal) -> None:
    disposal.hold(Scope(ScopeKind.STUDY, STUDY))

    result = run("preview", "--study", STUDY, "--json")

    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["removable"], told["kept"], told["size_bytes"]) == (0, 2, 0)
    assert told["objects"][0]["blocks"][0]["obstacle"] == "legal-hold"
    assert "site-a/" not in result.stdout


def test_patient_is_named_by_a_token(
    deployment: FakeDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disposing, "tokens_of", lambda _: lambda keyword, _value: f"t-{keyword}")
    named: dict[str, Any] = {**dict.fromkeys(disposing.SCOPES, ()), "patient": ("Doe^Jane",)}

    scopes = DispositionOffice(deployment).scopes(named)  # type: ignore[arg-type]

    assert scopes == (Scope(ScopeKind.SUBJECT, "t-PatientID"),)


def test_a_step_that_fails_is_trouble_and_says_where_to_look(deployment: FakeDeployment) -> None:
    made = asked()
    deployment.caller, deployment.functions.fails = BEN, True

    result = run("approve", made)

    assert result.exit_code == 3
    assert "forebay logs decide_disposition" in " ".join(result.stderr.split())


@pytest.mark.usefixtures("deployment")
def test_whoever_asked_may_not_approve() -> None:
    made = asked()

    result = run("approve", made)

    assert result.exit_code == 1
    assert "another person" in result.stderr


def test_refused_one_is_not_carried_out(deployment: FakeDeployment) -> None:
    made = asked()
    deployment.caller = BEN
    assert run("refuse", made, "--note", "not ours").exit_code == 0

    result = run("execute", made, "--yes")

    assert result.exit_code == 1
    assert "not approved" in result.stderr


def test_execution_asks_for_the_number_of_objects(
    deployment: FakeDeployment, disposal: Disposal
) -> None:
    made = approved(deployment)

    assert run("execute", made, typed="y\n").exit_code == 1
    assert not disposal.vault.deleted
    result = run("execute", made, typed="2\n")

    assert result.exit_code == 0, result.output
    assert len(disposal.vault.deleted) == 4


def test_execution_that_fails_says_how_to_go_on(deployment: FakeDeployment) -> None:
    made = approved(deployment)
    deployment.functions.fails = True

    result = run("execute", made, "--yes")

    assert result.exit_code == 3
    assert f"forebay dispose execute {made}" in result.stderr


def test_certificate_is_saved_and_verified_offline(
    deployment: FakeDeployment, disposal: Disposal, tmp_path: Path
) -> None:
    made = approved(deployment)
    assert run("certificate", made).exit_code == 1  # not done yet
    assert run("execute", made, "--yes", "--json").exit_code == 0
    saved, key = tmp_path / "c.jws", tmp_path / "public.pem"
    key.write_bytes(disposal.signer.public_pem())

    assert run("certificate", made, "-o", str(saved)).exit_code == 0
    result = run("certificate", "--verify", str(saved), "--key", str(key))

    assert result.exit_code == 0, result.output
    assert "2 objects in 4 versions" in result.stdout
    head, dot, signature = saved.read_bytes().rpartition(b".")
    # Not the last character: some of its bits say nothing.
    saved.write_bytes(head + dot + (b"B" if signature[:1] == b"A" else b"A") + signature[1:])
    assert run("certificate", "--verify", str(saved), "--key", str(key)).exit_code == 1


def test_certificate_outlives_the_catalog(
    deployment: FakeDeployment, disposal: Disposal, tmp_path: Path
) -> None:
    made = approved(deployment)
    assert run("execute", made, "--yes", "--json").exit_code == 0
    before, after = tmp_path / "before.jws", tmp_path / "after.jws"
    assert run("certificate", made, "-o", str(before)).exit_code == 0

    disposal.dispositions.stored.clear()

    assert run("certificate", made, "-o", str(after)).exit_code == 0
    assert after.read_bytes() == before.read_bytes()
    other = run("certificate", "DI-aaaaaaaaaaaaaaaa", "-o", str(after))
    assert (other.exit_code, "No disposition" in other.stderr) == (3, True)


def test_receipt_is_no_certificate(disposal: Disposal, tmp_path: Path) -> None:
    text = signing_input({"schema_version": 1}, disposal.signer.key_id)
    saved, key = tmp_path / "r.jws", tmp_path / "public.pem"
    saved.write_bytes(signed(text, disposal.signer.sign(text)))
    key.write_bytes(disposal.signer.public_pem())

    result = run("certificate", "--verify", str(saved), "--key", str(key))

    assert result.exit_code == 1
    assert "not a certificate" in result.stderr


def test_list_and_show_tell_what_became_of_it(deployment: FakeDeployment) -> None:
    assert "No disposition" in run("list").stdout
    made = approved(deployment)
    run("execute", made, "--yes")

    listed = json.loads(run("list", "--json").stdout)["dispositions"]
    shown = json.loads(run("show", made, "--json").stdout)

    assert [each["stage"] for each in listed] == ["DONE"]
    assert [each["outcome"] for each in shown["entries"]] == ["removed", "removed"]
    assert "site-a/" not in json.dumps(shown)
    assert made in run("show", made).stdout


@pytest.mark.usefixtures("deployment")
@pytest.mark.parametrize("command", ["show", "approve", "execute"])
@pytest.mark.parametrize("made", ["DI-aaaaaaaaaaaaaaaa", "nonsense"])
def test_unknown_disposition_is_a_sentence(command: str, made: str) -> None:
    result = run(command, made)

    assert result.exit_code == 3
    assert "forebay dispose list" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["request", "--study", "1.2"],
        ["refuse", "DI-aaaaaaaaaaaaaaaa"],
        ["execute", "DI-aaaaaaaaaaaaaaaa", "--json"],
        ["certificate"],
        ["certificate", "--verify", __file__],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_refusal_and_a_preview_are_told_apart(disposal: Disposal) -> None:
    assert isinstance(disposal.preview(Wish()), Refused)
    assert isinstance(disposal.preview(Wish((Scope(ScopeKind.STUDY, STUDY),))), Preview)
