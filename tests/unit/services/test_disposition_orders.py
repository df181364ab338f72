"""Orders about dispositions: for whoever signed them, and of exactly what the ledger lists."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from forebay.adapters.disposition_orders import decision_of, decision_text, draft_of, draft_text
from forebay.domain.orders import Given, Order, Proof
from forebay.domain.policy.disposition import Draft, Stage
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.domain.receipts import canonical_json
from forebay.errors import MessageError
from forebay.names import Zone
from forebay.services.by_order import ByOrder
from forebay.services.request_disposition import (
    MAX_AGE,
    Decided,
    Decision,
    Refused,
    Verdict,
    Wish,
)
from tests.unit.disposing import ANNA, BEN, Disposal
from tests.unit.fakes import BUCKETS, FakeSignatures, any_dicom_body

STUDY = Scope(ScopeKind.STUDY, "2.25.7")


@pytest.fixture
def disposal() -> Disposal:
    made = Disposal()
    made.world.image(any_dicom_body(study_instance_uid=STUDY.value))
    made.settle()
    return made


def signed(text: str, by: str) -> Given:
    order = Order(text, "forebay-step")
    return Given(order, FakeSignatures(by).prove(order))


def request(disposal: Disposal, draft: Draft, by: str) -> Decided | Refused:
    given = signed(draft_text(draft), by)
    step = ByOrder(FakeSignatures(""), disposal.request, Refused)
    return step(given, draft_of(given, BUCKETS[Zone.LEDGER]))


def decide(disposal: Disposal, decision: Decision, by: str) -> Decided | Refused:
    given = signed(decision_text(decision), by)
    return ByOrder(FakeSignatures(""), disposal.decide, Refused)(given, decision_of(given))


def rewritten(disposal: Disposal, draft: Draft, **says: Any) -> Draft:
    """Return a draft whose list says something else, as its requester's client could write it."""
    document = json.loads(disposal.world.store.body(draft.request)) | says
    body = canonical_json(document)
    place = disposal.world.store.put(draft.request, body, content_type="application/json")
    return replace(draft, request=place, digest=_sha256(body))


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_a_disposition_carries_who_is_proven_to_have_asked_and_decided(disposal: Disposal) -> None:
    asked = request(disposal, disposal.drafted(STUDY, basis="GDPR article 17"), ANNA)
    assert isinstance(asked, Decided)
    identity = asked.disposition.disposition_id
    own = decide(disposal, Decision(Verdict.APPROVE, identity), ANNA)
    done = decide(disposal, Decision(Verdict.APPROVE, identity, "seen"), BEN)

    assert isinstance(own, Refused)
    assert "yourself" in own.reason
    assert isinstance(done, Decided)
    assert done.disposition == disposal.dispositions.stored[identity]
    assert (done.disposition.requested_by, done.disposition.decided_by) == (ANNA, BEN)
    assert (done.disposition.stage, done.disposition.note) == (Stage.APPROVED, "seen")
    assert (done.disposition.basis, done.disposition.objects) == ("GDPR article 17", 1)
    preview = disposal.preview(Wish((STUDY,), basis="GDPR article 17"))
    assert not isinstance(preview, Refused)
    assert done.disposition.size_bytes == preview.size_bytes


def test_who_asks_is_who_the_list_names(disposal: Disposal) -> None:
    """Else whoever may ask and approve could ask as somebody else."""
    answer = request(disposal, disposal.drafted(STUDY), BEN)

    assert isinstance(answer, Refused)
    assert ANNA in answer.reason
    assert not disposal.dispositions.stored


def test_nothing_changes_by_an_order_of_nobody(disposal: Disposal) -> None:
    asked = disposal.asked(STUDY)
    nobody = Given(Order("{}", "forebay-step"), Proof("forged", ""))

    draft = ByOrder(FakeSignatures(""), disposal.request, Refused)(nobody, disposal.drafted(STUDY))
    decision = Decision(Verdict.APPROVE, asked.disposition_id)
    decided = ByOrder(FakeSignatures(""), disposal.decide, Refused)(nobody, decision)

    assert isinstance(draft, Refused)
    assert isinstance(decided, Refused)
    assert list(disposal.dispositions.stored.values()) == [asked]


@pytest.mark.parametrize(
    "says, told",
    [
        ({"reason": " "}, "A reason is needed"),
        ({"reason": "x" * 1001}, "1001 characters"),
        ({"legal_basis": "x" * 1001}, "1001 characters"),
        ({"requested_by": BEN}, "asks for it, not"),
        ({"requested_at": "2020-01-01T00:00:00.000000Z"}, "ask anew, by a clock that is right"),
        ({"scopes": ["study 1.2.3"]}, "not listed in the ledger"),
        ({"disposition_id": "DI-aaaaaaaaaaaaaaaa"}, "not listed in the ledger"),
        ({"objects": [{"object_id": "a"}]}, "not listed in the ledger"),
        ({"objects": None}, "not listed in the ledger"),
    ],
)
def test_list_that_should_not_be_asked_for_is_refused_in_a_sentence(
    disposal: Disposal, says: dict[str, Any], told: str
) -> None:
    draft = rewritten(disposal, disposal.drafted(STUDY), **says)

    answer = request(disposal, draft, ANNA)

    assert isinstance(answer, Refused)
    assert told in answer.reason
    assert not disposal.dispositions.stored


def test_list_of_another_digest_or_none_is_refused(disposal: Disposal) -> None:
    draft = disposal.drafted(STUDY)
    text = disposal.world.store.put(draft.request, b"a text", content_type="text/plain")

    other = request(disposal, replace(draft, digest="0" * 64), ANNA)
    none = request(disposal, replace(draft, request=text, digest=_sha256(b"a text")), ANNA)

    assert isinstance(other, Refused)
    assert isinstance(none, Refused)


def test_list_is_asked_for_while_it_is_fresh(disposal: Disposal) -> None:
    draft, late = disposal.drafted(STUDY), disposal.drafted(STUDY)

    assert isinstance(request(disposal, draft, ANNA), Decided)
    disposal.world.clock.advance(MAX_AGE.total_seconds() + 1)
    assert isinstance(request(disposal, late, ANNA), Refused)


def test_same_order_again_changes_nothing_and_another_list_is_refused(disposal: Disposal) -> None:
    draft = disposal.drafted(STUDY)
    first = request(disposal, draft, ANNA)
    assert isinstance(first, Decided)

    again = request(disposal, draft, ANNA)
    other = request(disposal, rewritten(disposal, draft, reason="another"), ANNA)

    assert again == Decided(first.disposition, is_new=False)
    assert isinstance(other, Refused)
    assert disposal.dispositions.stored[draft.disposition_id] == first.disposition


def test_what_is_ordered_is_what_was_written_into_the_order(disposal: Disposal) -> None:
    draft = disposal.drafted(STUDY, Scope(ScopeKind.SUBJECT, "t1"))
    decision = Decision(Verdict.REFUSE, draft.disposition_id, "zu viel \N{BLACK HEART SUIT}")

    assert draft_of(signed(draft_text(draft), ANNA), draft.request.bucket) == draft
    assert decision_of(signed(decision_text(decision), ANNA)) == decision


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"disposition_id": "../x", "decision": "approve", "version_id": "", "digest": ""}',
        '{"disposition_id": "DI-aaaaaaaaaaaaaaaa", "decision": "execute", "scopes": [{}]}',
    ],
)
def test_an_order_that_orders_nothing_is_no_message(text: str) -> None:
    with pytest.raises(MessageError):
        draft_of(signed(text, ANNA), "ledger")
    with pytest.raises(MessageError):
        decision_of(signed(text, ANNA))
