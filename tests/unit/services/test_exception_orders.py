"""Orders about exceptions: what is ordered is what was signed, by whoever is proven to have."""

import json

import pytest

from forebay.adapters.exception_orders import decision_of, decision_text, wish_of, wish_text
from forebay.adapters.orders import given_order, order_event
from forebay.domain.orders import Given, NotProven, Order, Proof
from forebay.domain.policy.exceptions import ExceptionKind, Scope, ScopeKind, Status
from forebay.errors import MessageError
from forebay.services.by_order import ByOrder
from forebay.services.decide_exception import Answer, Changed, NotChanged, Wish
from forebay.services.exception_orders import DecideException, Decision, Verb
from tests.unit.fakes import any_exception
from tests.unit.services.test_decide_exception import ANNA, ANNA_AS_STEWARD, BERT, Desk

UNPROVEN = NotProven("AWS does not confirm who gave this order.")
WISH = Wish(ExceptionKind.LEGAL_HOLD, Scope(ScopeKind.STUDY, "2.25.1"), "case 12")


class Callers:
    """Says who gave every order."""

    def __init__(self, said: str | NotProven) -> None:
        self.said = said

    def caller(self, order: Order, proof: Proof) -> str | NotProven:
        return self.said


def request(desk: Desk, by: str | NotProven) -> Answer:
    return ByOrder(Callers(by), desk.request, NotChanged)(given("{}"), WISH)


def decide(desk: Desk, by: str | NotProven, decision: Decision) -> Answer:
    act = DecideException(
        {Verb.APPROVE: desk.approve, Verb.REFUSE: desk.refuse, Verb.END: desk.end}
    )
    return ByOrder(Callers(by), act, NotChanged)(given("{}"), decision)


def given(text: str, function: str = "forebay-decide-exception") -> Given:
    return Given(Order(text, function), Proof("signed", "20260301T120000Z"))


def test_an_exception_carries_who_is_proven_to_have_asked_decided_and_ended() -> None:
    desk = Desk()

    asked = request(desk, ANNA)
    assert isinstance(asked, Changed)
    identity = asked.exception.exception_id
    approved = decide(desk, BERT, Decision(Verb.APPROVE, identity))
    decide(desk, ANNA, Decision(Verb.END, identity, "closed"))
    ended = decide(desk, BERT, Decision(Verb.END, identity, "agreed"))

    assert isinstance(approved, Changed)
    assert isinstance(ended, Changed)
    assert asked.exception.requested_by == ANNA
    assert (approved.exception.decided_by, approved.exception.status) == (BERT, Status.ACTIVE)
    assert (ended.exception.end_asked_by, ended.exception.ended_by) == (ANNA, BERT)
    assert ended.exception.status is Status.ENDED


@pytest.mark.parametrize("verb", list(Verb))
def test_nothing_changes_by_an_order_of_nobody(verb: Verb) -> None:
    desk = Desk()
    before = any_exception(status=Status.ACTIVE if verb is Verb.END else Status.REQUESTED)
    desk.exceptions.stored[before.exception_id] = before

    assert request(desk, UNPROVEN) == NotChanged(UNPROVEN.reason)
    answer = decide(desk, UNPROVEN, Decision(verb, before.exception_id, "a note"))

    assert answer == NotChanged(UNPROVEN.reason)
    assert list(desk.exceptions.stored.values()) == [before]


def test_whoever_asked_does_not_approve_whatever_role_they_took() -> None:
    desk = Desk()
    asked = request(desk, ANNA)
    assert isinstance(asked, Changed)

    answer = decide(desk, ANNA_AS_STEWARD, Decision(Verb.APPROVE, asked.exception.exception_id))

    assert isinstance(answer, NotChanged)
    assert "yourself" in answer.reason


def test_what_is_ordered_is_what_was_written_into_the_order() -> None:
    decision = Decision(Verb.REFUSE, "EX-1", "zu lang: 5 Jahre \N{BLACK HEART SUIT}")
    order = Order(decision_text(decision), "f")
    event = json.loads(json.dumps(order_event(order, Proof("a", "b", "c"))))

    received = given_order(event, "f")

    assert received == Given(order, Proof("a", "b", "c"))
    assert decision_of(received) == decision
    assert wish_of(given(wish_text(WISH))) == WISH


def test_the_digest_tells_orders_and_the_functions_they_are_for_apart() -> None:
    texts = {Order(text, name).digest for text in ("{}", "{ }") for name in ("one", "two")}

    assert len(texts) == 4


def test_a_proof_is_in_no_representation() -> None:
    shown = repr(Given(Order("{}", "f"), Proof("AWS4 Signature=abc", "20260301T120000Z", "tok")))

    assert "abc" not in shown
    assert "tok" not in shown


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"order": {}, "proof": {}},
        {"order": "{}"},
        {"order": "{}", "proof": {"authorization": 1}},
    ],
)
def test_an_event_without_order_or_proof_is_no_message(event: dict[str, object]) -> None:
    with pytest.raises(MessageError):
        given_order(event, "f")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"decision": "forget", "exception_id": "EX-1"}', '{"decision": "end"}'],
)
def test_an_order_that_orders_nothing_is_no_message(text: str) -> None:
    with pytest.raises(MessageError):
        decision_of(given(text))
    with pytest.raises(MessageError):
        wish_of(given(text))
