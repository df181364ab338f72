"""Exceptions from policy: who may do what, and nothing counts of which the ledger does not tell."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from forebay.domain.policy.exceptions import (
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
    person_of,
)
from forebay.errors import Trouble
from forebay.services.decide_exception import (
    Answer,
    ApproveException,
    Changed,
    EndException,
    ExceptionBook,
    NotChanged,
    RefuseException,
    RequestException,
    Wish,
    exception_id,
)
from tests.unit.fakes import NOON, Effects, FakeClock, FakeExceptionHistory, FakeExceptions, any_hex

ANNA = "arn:aws:iam::111122223333:user/anna"
ANNA_AS_STEWARD = "arn:aws:sts::111122223333:assumed-role/steward/anna"
BERT = "arn:aws:iam::111122223333:user/bert"
CARA = "arn:aws:iam::111122223333:user/cara"
STUDY = Scope(ScopeKind.STUDY, "2.25.1")
DAY = timedelta(days=1)


class Desk:
    """The four services over fakes."""

    def __init__(self, effects: Effects | None = None) -> None:
        shared = effects or Effects()
        self.exceptions = FakeExceptions(shared)
        self.history = FakeExceptionHistory(shared)
        self.clock = FakeClock()
        book = ExceptionBook(self.exceptions, self.history)
        self.request = RequestException(book, self.clock, lambda n: bytes.fromhex(any_hex(2 * n)))
        self.approve = ApproveException(book, self.clock)
        self.refuse = RefuseException(book, self.clock)
        self.end = EndException(book, self.clock)

    def asked(self, **fields: Any) -> PolicyException:
        return changed(self.request(any_wish(**fields), by=ANNA))

    def approved(self, **fields: Any) -> PolicyException:
        return changed(self.approve(self.asked(**fields).exception_id, by=BERT))

    def counting(self) -> set[str]:
        return {name for standing in self.exceptions.standing.values() for name in standing}


def any_wish(**fields: Any) -> Wish:
    facts: dict[str, Any] = {
        "kind": ExceptionKind.PIN,
        "scope": STUDY,
        "reason": "still being read",
        "until": NOON + 30 * DAY,
    }
    if fields.get("kind") is ExceptionKind.LEGAL_HOLD:
        facts["until"] = None
    return Wish(**facts | fields)


def changed(answer: Answer) -> PolicyException:
    assert isinstance(answer, Changed), answer
    return answer.exception


def reason(answer: Answer) -> str:
    assert isinstance(answer, NotChanged), answer
    return answer.reason


def test_request_has_no_effect_until_another_person_approves_it() -> None:
    desk = Desk()

    asked = desk.asked()
    assert asked.status is Status.REQUESTED
    assert desk.counting() == set()

    approved = changed(desk.approve(asked.exception_id, by=BERT, note="seen"))
    assert (approved.status, approved.decided_by, approved.note) == (Status.ACTIVE, BERT, "seen")
    assert desk.counting() == {asked.exception_id}
    assert desk.exceptions.pending(10) == [approved]


@pytest.mark.parametrize("same", [ANNA, ANNA_AS_STEWARD])
def test_nobody_decides_about_what_they_asked_for_in_whatever_role(same: str) -> None:
    desk = Desk()
    asked = desk.asked()

    assert "yourself" in reason(desk.approve(asked.exception_id, by=same))
    assert "yourself" in reason(desk.refuse(asked.exception_id, by=same, note="no"))
    assert desk.exceptions.get(asked.exception_id) == asked


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"reason": "  "}, "needs a reason"),
        ({"reason": "x" * 1001}, "1001 characters"),
        ({"until": None}, "needs a day until which"),
        ({"until": NOON}, "has passed"),
        ({"until": NOON + 3000 * DAY}, "too far ahead"),
        ({"kind": ExceptionKind.LEGAL_HOLD, "until": NOON + DAY}, "has no last day"),
        ({"kind": ExceptionKind.RESIDENCY}, "needs the regions"),
        ({"kind": ExceptionKind.RESIDENCY, "regions": ("Europe",)}, "Europe is no AWS region"),
        ({"regions": ("eu-central-1",)}, "belong to a residency"),
        ({"scope": Scope(ScopeKind.STUDY, "")}, "which study?"),
        ({"scope": Scope(ScopeKind.SUBJECT, "PID-4711")}, "never by an identifier"),
    ],
)
def test_wish_nobody_could_approve_is_refused_in_a_sentence(
    fields: dict[str, Any], told: str
) -> None:
    desk = Desk()

    refusal = reason(desk.request(any_wish(**fields), by=ANNA))

    assert told in refusal
    assert "PID-4711" not in refusal
    assert not desk.history.told


@pytest.mark.parametrize("kind", list(ExceptionKind))
def test_every_kind_can_be_asked_for(kind: ExceptionKind) -> None:
    regions = ("eu-central-1", "us-gov-west-1") if kind is ExceptionKind.RESIDENCY else ()

    asked = Desk().asked(kind=kind, regions=regions)

    assert (asked.kind, asked.regions, asked.version) == (kind, regions, 1)


def test_what_ended_or_was_refused_can_not_be_approved() -> None:
    desk = Desk()
    refused, ended = desk.asked(), desk.approved()
    desk.refuse(refused.exception_id, by=BERT, note="too long")
    desk.end(ended.exception_id, by=ANNA, note="done")

    assert "REFUSED" in reason(desk.approve(refused.exception_id, by=CARA))
    assert "ENDED" in reason(desk.approve(ended.exception_id, by=CARA))
    assert "ENDED" in reason(desk.end(ended.exception_id, by=CARA, note="again"))
    assert desk.counting() == set()


def test_request_whose_day_passed_can_not_be_approved() -> None:
    desk = Desk()
    asked = desk.asked(until=NOON + DAY)
    desk.clock.advance(86_400)

    assert "has to ask again" in reason(desk.approve(asked.exception_id, by=BERT))


def test_pin_is_ended_by_anybody_who_may() -> None:
    desk = Desk()
    pin = desk.approved()

    ended = changed(desk.end(pin.exception_id, by=ANNA, note="read"))

    assert (ended.status, ended.ended_by, ended.note) == (Status.ENDED, ANNA, "read")
    assert desk.counting() == set()
    assert desk.exceptions.pending(10) == [ended]


@pytest.mark.parametrize(
    "wish",
    [
        {"kind": ExceptionKind.LEGAL_HOLD},
        {"kind": ExceptionKind.RETENTION},
        {"kind": ExceptionKind.RESIDENCY, "regions": ("eu-central-1",)},
    ],
    ids=lambda wish: wish["kind"].value,
)
def test_what_was_promised_to_others_counts_until_two_persons_end_it(wish: dict[str, Any]) -> None:
    desk = Desk()
    hold = desk.approved(**wish)

    asked = changed(desk.end(hold.exception_id, by=ANNA, note="the case is closed"))
    assert (asked.status, asked.end_asked_by) == (Status.ACTIVE, ANNA)
    assert "another person" in reason(desk.end(hold.exception_id, by=ANNA_AS_STEWARD, note="yes"))
    assert desk.end(hold.exception_id, by=ANNA, note="again") == Changed(asked, is_new=False)
    assert desk.counting() == {hold.exception_id}

    ended = changed(desk.end(hold.exception_id, by=BERT, note="seen"))
    assert (ended.status, ended.end_asked_by, ended.ended_by) == (Status.ENDED, ANNA, BERT)
    assert desk.counting() == set()


def test_refused_end_of_a_legal_hold_has_to_be_asked_for_anew() -> None:
    desk = Desk()
    hold = desk.approved(kind=ExceptionKind.LEGAL_HOLD)
    desk.end(hold.exception_id, by=ANNA, note="the case is closed")

    kept = changed(desk.refuse(hold.exception_id, by=CARA, note="it is not"))
    assert (kept.status, kept.end_asked_by) == (Status.ACTIVE, "")

    again = changed(desk.end(hold.exception_id, by=BERT, note="now it is"))
    assert again.status is Status.ACTIVE


def test_request_is_refused_not_ended() -> None:
    desk = Desk()
    asked = desk.asked()

    assert "refuse it" in reason(desk.end(asked.exception_id, by=BERT, note="no"))
    assert "why" in reason(desk.refuse(asked.exception_id, by=BERT, note=" "))
    refused = changed(desk.refuse(asked.exception_id, by=BERT, note="too long"))
    assert (refused.status, refused.decided_by) == (Status.REFUSED, BERT)
    assert not desk.exceptions.pending(10)


def test_same_decision_again_changes_nothing() -> None:
    desk = Desk()
    approved = desk.approved()
    refused = changed(desk.refuse(desk.asked().exception_id, by=BERT, note="no"))
    told = dict(desk.history.told)

    assert desk.approve(approved.exception_id, by=BERT) == Changed(approved, is_new=False)
    assert desk.refuse(refused.exception_id, by=BERT, note="no") == Changed(refused, is_new=False)
    ended = changed(desk.end(approved.exception_id, by=BERT, note="done"))
    assert desk.end(ended.exception_id, by=BERT, note="done") == Changed(ended, is_new=False)
    assert len(desk.history.told) == len(told) + 1


def test_unknown_exception_is_said_to_be_unknown() -> None:
    assert reason(Desk().approve("EX-none", by=BERT)) == "No exception EX-none is known."


def test_long_note_is_refused() -> None:
    desk = Desk()
    assert "1001" in reason(desk.approve(desk.asked().exception_id, by=BERT, note="x" * 1001))


def test_of_two_persons_at_once_the_first_in_the_ledger_decides() -> None:
    desk = Desk()
    asked = desk.asked()

    def cara_goes_first() -> None:
        changed(desk.refuse(asked.exception_id, by=CARA, note="no"))

    desk.history.before_next_write.append(cara_goes_first)

    late = desk.approve(asked.exception_id, by=BERT)

    assert "REFUSED" in reason(late)
    assert desk.counting() == set()
    assert desk.history.told[asked.exception_id, 2].status is Status.REFUSED


def test_what_was_told_and_not_done_is_done_before_anything_else() -> None:
    desk = Desk()
    asked = desk.asked()
    told = asked.changed(status=Status.ACTIVE, decided_by=CARA, decided_at=NOON)
    desk.history.append(told)

    late = desk.refuse(asked.exception_id, by=BERT, note="no")

    assert "ACTIVE" in reason(late)
    assert desk.exceptions.get(asked.exception_id) == told
    assert desk.counting() == {asked.exception_id}


def _approve(desk: Desk, of: str) -> None:
    changed(desk.approve(of, by=BERT))


def _refuse(desk: Desk, of: str) -> None:
    changed(desk.refuse(of, by=BERT, note="no"))


@pytest.mark.parametrize("act", [_approve, _refuse])
@pytest.mark.parametrize("after", [False, True])
def test_crash_at_any_call_leaves_no_effect_without_history_and_is_made_good(
    act: Callable[[Desk, str], None], *, after: bool
) -> None:
    point = 0
    while True:
        point += 1
        effects = Effects()
        desk = Desk(effects)
        asked = desk.asked()
        effects.calls.clear()
        effects.fail_at, effects.after = point, after
        try:
            act(desk, asked.exception_id)
            break
        except Trouble:
            assert_told(desk)
        effects.fail_at = 0

        act(desk, asked.exception_id)

        assert_told(desk)
        stored = desk.exceptions.get(asked.exception_id)
        assert stored == desk.history.told[asked.exception_id, 2]
    assert point > 2


def test_id_is_made_of_ten_random_bytes() -> None:
    assert exception_id(b"\x00" * 10) == "EX-aaaaaaaaaaaaaaaa"
    with pytest.raises(ValueError, match="10 random bytes, not 3"):
        exception_id(b"abc")


def assert_told(desk: Desk) -> None:
    for stored in desk.exceptions.stored.values():
        assert desk.history.told[stored.exception_id, stored.version] == stored
    for name in desk.counting():
        stored = desk.exceptions.stored[name]
        assert stored.status is Status.ACTIVE


PEOPLE = st.sampled_from([ANNA, ANNA_AS_STEWARD, BERT, CARA])


class Life(RuleBasedStateMachine):
    """Whatever people do in whatever order, what counts was wanted by two of them."""

    @initialize(kind=st.sampled_from([ExceptionKind.LEGAL_HOLD, ExceptionKind.PIN]), by=PEOPLE)
    def ask(self, kind: ExceptionKind, by: str) -> None:
        self.desk = Desk()
        self.id = changed(self.desk.request(any_wish(kind=kind), by=by)).exception_id
        self.seen = Status.REQUESTED

    @rule(by=PEOPLE)
    def approve(self, by: str) -> None:
        self.desk.approve(self.id, by=by)

    @rule(by=PEOPLE)
    def refuse(self, by: str) -> None:
        self.desk.refuse(self.id, by=by, note="no")

    @rule(by=PEOPLE)
    def end(self, by: str) -> None:
        self.desk.end(self.id, by=by, note="done")

    @rule()
    def pass_time(self) -> None:
        self.desk.clock.advance(20 * 86_400)

    @invariant()
    def two_persons_wanted_it(self) -> None:
        now = self.desk.exceptions.stored[self.id]
        if now.status in (Status.ACTIVE, Status.ENDED):
            assert person_of(now.requested_by) != person_of(now.decided_by)
        if now.status is Status.ENDED and now.kind is ExceptionKind.LEGAL_HOLD:
            assert person_of(now.end_asked_by) != person_of(now.ended_by)

    @invariant()
    def what_is_over_stays_over(self) -> None:
        now = self.desk.exceptions.stored[self.id].status
        if self.seen in (Status.REFUSED, Status.ENDED):
            assert now is self.seen
        self.seen = now

    @invariant()
    def only_what_is_active_counts_and_all_is_told(self) -> None:
        now = self.desk.exceptions.stored[self.id]
        assert self.desk.counting() == ({self.id} if now.status is Status.ACTIVE else set())
        assert_told(self.desk)
        assert len(self.desk.history.told) == now.version


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=12, deadline=None)
