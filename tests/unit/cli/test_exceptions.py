"""`forebay exceptions` over fakes: what people say, what is asked for, and what is told back."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from click.testing import CliRunner, Result

from forebay.adapters.exception_orders import answer_data, decision_of, wish_of
from forebay.adapters.orders import given_order
from forebay.domain.orders import Order, Proof
from forebay.domain.policy.exceptions import ExceptionKind, Scope, ScopeKind, Status
from forebay.names import Step
from forebay.services.by_order import ByOrder
from forebay.services.decide_exception import (
    ApproveException,
    EndException,
    ExceptionBook,
    NotChanged,
    RefuseException,
    RequestException,
)
from forebay.services.exception_orders import DecideException, Verb
from forebay_cli.commands import exceptions as command
from forebay_cli.exceptions import ExceptionOffice
from forebay_cli.main import main
from forebay_cli.target import Target
from tests.unit.fakes import (
    FakeClock,
    FakeExceptionHistory,
    FakeExceptions,
    FakePseudonyms,
    FakeSignatures,
    any_exception,
    any_record,
)

Run = Callable[..., Result]
ANNA = "arn:aws:iam::111122223333:user/anna"
BERT = "arn:aws:iam::111122223333:user/bert"
HOLD = ("request", "legal-hold", "--reason", "case 12")
PIN = ("request", "pin", "--until", "2026-06-01", "--reason", "still read")


class Desk(ExceptionOffice):
    """An office over fakes: the steps decide, evaluate_policy gives the answers it is told to."""

    def __init__(self) -> None:
        stored = FakeExceptions()
        book, clock = ExceptionBook(stored, FakeExceptionHistory()), FakeClock()
        self.answers: list[Mapping[str, Any] | None] = []
        self.asked: list[Any] = []
        self.known: dict[Scope, list[str]] = {}
        self.__dict__ |= {
            "exceptions": stored,
            "clock": clock,
            "functions": self,
            "scopes": self,
            "objects": lambda scope: iter(self.known.get(scope, ())),
            "names": {step: f"forebay-{step}" for step in Step},
            "person": ANNA,
            "request_step": RequestException(book, clock, os.urandom),
            "decide_step": DecideException(
                {
                    Verb.APPROVE: ApproveException(book, clock),
                    Verb.REFUSE: RefuseException(book, clock),
                    Verb.END: EndException(book, clock),
                }
            ),
        }

    def prove(self, order: Order) -> Proof:
        return FakeSignatures(self.__dict__["person"]).prove(order)

    @property
    def token(self) -> Callable[[str, str], str]:
        return FakePseudonyms().token

    def invoke(self, step: Step, payload: str) -> Mapping[str, Any] | None:
        message = json.loads(payload)
        if step is Step.EVALUATE_POLICY:
            self.asked.append(message)
            return self.answers.pop(0) if self.answers else {"reached": 0, "is_complete": True}
        if self.__dict__.get("is_broken"):
            return None
        given = given_order(message, f"forebay-{step}")
        if step is Step.REQUEST_EXCEPTION:
            request = ByOrder(FakeSignatures(""), self.__dict__["request_step"], NotChanged)
            return answer_data(request(given, wish_of(given)))
        decide = ByOrder(FakeSignatures(""), self.__dict__["decide_step"], NotChanged)
        return answer_data(decide(given, decision_of(given)))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(command, "ExceptionOffice", lambda _: desk)
    monkeypatch.setattr(Target, "deployment", lambda *_: None)

    def invoke(*arguments: str, by: str = ANNA) -> Result:
        desk.__dict__["person"] = by
        return CliRunner().invoke(main, ["exceptions", *arguments])

    return invoke


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def asked(run: Run, *arguments: str) -> str:
    return str(document(run(*arguments, "--json"))["exception"]["exception_id"])


def test_request_is_told_with_who_may_approve_it(run: Run, desk: Desk) -> None:
    result = run(*HOLD, "--study", "2.25.1")

    (stored,) = desk.exceptions.stored.values()  # type: ignore[attr-defined]
    assert stored.scope == Scope(ScopeKind.STUDY, "2.25.1")
    assert (stored.kind, stored.requested_by) == (ExceptionKind.LEGAL_HOLD, ANNA)
    assert "REQUESTED" in result.stdout
    assert f"Another person approves it: forebay exceptions approve {stored.exception_id}" in (
        result.stderr
    )
    assert not desk.asked


def test_request_says_when_nothing_is_known_of_what_it_is_about(run: Run, desk: Desk) -> None:
    told = "The catalog knows nothing of it yet: it will count for what arrives."

    assert told in run(*HOLD, "--study", "2.25.1").stderr
    desk.known[Scope(ScopeKind.STUDY, "2.25.1")] = ["an object"]
    assert told not in run(*HOLD, "--study", "2.25.1").stderr


def test_patient_is_never_stored_or_printed(run: Run, desk: Desk) -> None:
    result = run(*HOLD, "--patient", "Xq7Zk")

    (stored,) = desk.exceptions.stored.values()  # type: ignore[attr-defined]
    assert stored.scope == Scope(ScopeKind.SUBJECT, FakePseudonyms().token("PatientID", "Xq7Zk"))
    assert "Xq7Zk" not in result.output
    assert "Xq7Zk" not in repr(stored)


@pytest.mark.parametrize(
    "option, value, kind",
    [
        ("--object", any_record().object_id, ScopeKind.OBJECT),
        ("--series", "2.25.7", ScopeKind.SERIES),
        ("--sample", "site-a/NA1", ScopeKind.SAMPLE),
        ("--run", "site-a/M1_7_FC1", ScopeKind.RUN),
        ("--run", "read_qc-0123", ScopeKind.RUN),
        ("--cohort", "RARE-1", ScopeKind.COHORT),
    ],
)
def test_scope_is_what_the_option_names(
    run: Run, desk: Desk, option: str, value: str, kind: ScopeKind
) -> None:
    document(run(*PIN, option, value, "--json"))

    (stored,) = desk.exceptions.stored.values()  # type: ignore[attr-defined]
    assert stored.scope == Scope(kind, value)


@pytest.mark.parametrize(
    "arguments, told",
    [
        ((), "with one of --object"),
        (("--study", "1", "--cohort", "2"), "with one of --object"),
        (("--sample", "NA1"), "write --sample SITE/SAMPLE"),
        (("--run", "/M1"), "write --run SITE/RUN"),
        (("--object", "no-id"), "no object id"),
    ],
)
def test_scope_that_is_none_is_wrong_usage(
    run: Run, desk: Desk, arguments: tuple[str, ...], told: str
) -> None:
    result = run(*PIN, *arguments)

    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
    assert not desk.exceptions.stored  # type: ignore[attr-defined]


def test_refused_wish_ends_in_a_sentence_and_status_1(run: Run) -> None:
    result = run(*PIN[:2], "--reason", "still read", "--study", "2.25.1")

    assert result.exit_code == 1
    assert "needs a day until which it counts" in result.output


def test_regions_belong_to_residency(run: Run, desk: Desk) -> None:
    where = ("--within", "eu-central-1", "--within", "eu-west-1")
    until = ("--until", "2027-06-01", "--reason", "by contract")
    document(run("request", "residency", *until, "--cohort", "RARE-1", *where, "--json"))

    (stored,) = desk.exceptions.stored.values()  # type: ignore[attr-defined]
    assert stored.regions == ("eu-central-1", "eu-west-1")


def test_approval_says_how_many_objects_were_reached(run: Run, desk: Desk) -> None:
    made = asked(run, *HOLD, "--study", "2.25.1")
    desk.answers = [{"reached": 900, "is_complete": False}, {"reached": 2000, "is_complete": True}]

    result = run("approve", made, by=BERT)

    assert "2,000 judged anew" in result.stdout
    assert desk.asked == [{"exception_id": made}] * 2


@pytest.mark.parametrize(
    "answers",
    [[None], [{"reached": 7, "is_complete": False}, {"reached": 7, "is_complete": False}]],
)
def test_approval_stands_when_evaluation_gets_no_further(
    run: Run, desk: Desk, answers: list[Any]
) -> None:
    made = asked(run, *HOLD, "--study", "2.25.1")
    desk.answers = answers

    told = document(run("approve", made, "--json", by=BERT))

    assert told["exception"]["status"] == "ACTIVE"
    assert told["is_complete"] is False
    assert not desk.answers


def test_own_request_can_not_be_approved(run: Run, desk: Desk) -> None:
    made = asked(run, *HOLD, "--study", "2.25.1")

    result = run("approve", made)

    assert result.exit_code == 1
    assert "yourself" in result.output
    assert not desk.asked


def test_a_step_that_fails_is_trouble_and_says_where_to_look(run: Run, desk: Desk) -> None:
    made = asked(run, *HOLD, "--study", "2.25.1")
    desk.__dict__["is_broken"] = True

    result = run("approve", made, by=BERT)

    assert result.exit_code == 3
    assert "forebay logs decide_exception" in " ".join(result.output.split())
    assert not desk.asked


def test_end_of_a_hold_takes_two(run: Run, desk: Desk) -> None:
    made = asked(run, *HOLD, "--study", "2.25.1")
    run("approve", made, by=BERT)
    desk.asked.clear()

    first = run("end", made, "--note", "closed")
    assert "It counts until another person agrees" in first.stderr
    assert not desk.asked

    second = document(run("end", made, "--note", "seen", "--json", by=BERT))
    assert second["exception"]["status"] == "ENDED"
    assert desk.asked == [{"exception_id": made}]


def test_refusal_is_shown_with_its_note(run: Run) -> None:
    made = asked(run, *PIN, "--study", "2.25.1")
    assert run("refuse", made, "--note", "too long", by=BERT).exit_code == 0

    shown = run("show", made)

    assert "REFUSED" in shown.stdout
    assert "too long" in shown.stdout
    assert run("show", "EX-none").exit_code == 3


def test_list_shows_what_is_open_and_what_is_over(run: Run, desk: Desk) -> None:
    made = asked(run, *PIN, "--study", "2.25.1")
    over = any_exception(status=Status.ACTIVE, kind=ExceptionKind.PIN, until=desk.clock.now())
    desk.exceptions.stored[over.exception_id] = over  # type: ignore[attr-defined]

    text = run("list").stdout
    assert made in text
    assert "over" in text

    told = document(run("list", "--json"))["exceptions"]
    assert {each["exception_id"]: each["is_over"] for each in told} == {
        made: False,
        over.exception_id: True,
    }
    assert "over" in run("show", over.exception_id).stdout
    assert document(run("list", "--status", "ended", "--json"))["exceptions"] == []
    assert "No exception is so." in run("list", "--status", "REFUSED").stdout
