"""The three questions about an object, answered from what was decided."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forebay.domain.conflicts import STORAGE_FACTS
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.classes import (
    Measure,
    ObjectClass,
    Removal,
    Retention,
    Source,
    Tier,
)
from forebay.domain.policy.decision import Facts, PolicyDecision, decide
from forebay.domain.policy.exceptions import (
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
)
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.states import State
from forebay.events import utc_text
from forebay.names import Zone
from forebay_cli.commands.show import FoundObject, FoundSeveral
from forebay_cli.explaining import Explanation
from forebay_cli.explaining import explain as explained
from forebay_cli.failures import CommandError
from tests.unit.fakes import any_finding, any_record

PLACED = datetime(2026, 1, 10, 9, tzinfo=UTC)
HOT = ObjectClass(
    "clinical-hot",
    "imaging",
    Zone.CLINICAL,
    Retention("10y", 3650, source=Source("classes.yaml", 12)),
    tiers=(Tier(30, Measure.IDLE, StorageClass.GLACIER_IR, source=Source("classes.yaml", 9)),),
)
HOLD = PolicyException(
    "EX-1",
    ExceptionKind.LEGAL_HOLD,
    Scope(ScopeKind.STUDY, "1.2.3"),
    "litigation",
    "arn:aws:iam::1:user/a",
    PLACED,
    Status.ACTIVE,
)


def placed(*exceptions: PolicyException, object_class: ObjectClass = HOT) -> ObjectRecord:
    facts = Facts(
        PLACED, 1_000_000, rule="instances are clinical", rule_source="classification.yaml:4"
    )
    decision = decide(object_class, facts, exceptions, PLACED + timedelta(days=1))
    return any_record(state=State.PLACED, object_class=object_class.name, policy=decision)


def explain(
    found: FoundObject | FoundSeveral, at: datetime | None, *, now: datetime = PLACED
) -> list[Explanation]:
    known = found.history if isinstance(found, FoundObject) else ()
    return explained(found, now, at, lambda _: known)


def lying_in(record: ObjectRecord, storage_class: StorageClass) -> ObjectRecord:
    said = {"storage_class": {"value": storage_class.value, "at": "2026-02-10T01:00:00Z"}}
    return replace(record, metadata={**record.metadata, STORAGE_FACTS: said})


def test_the_rule_and_its_line_say_why_it_is_here() -> None:
    (told,) = explain(FoundObject(placed()), None)
    assert told.why_here == (
        "It is clinical-hot by the rule: instances are clinical (classification.yaml:4)."
    )


def test_the_next_move_is_told_with_its_day() -> None:
    (told,) = explain(FoundObject(placed()), None)
    assert told.when_moved == "It moves to GLACIER_IR on 2026-02-10."


def test_the_strongest_reason_against_deletion_comes_first() -> None:
    (told,) = explain(FoundObject(placed(HOLD)), None)
    first, second = told.why_not_deleted.split("; ")
    assert first == "legal hold: neither moved nor removed: legal-hold on study 1.2.3 (EX-1)"
    assert second.startswith("retention floor: not removed before 2036-01-08 (classes.yaml:12)")
    assert told.when_moved == "It stays as it is."


def test_what_nothing_forbids_still_takes_an_approved_disposition() -> None:
    free = replace(HOT, retention=Retention("none", removal=Removal.NEVER))
    (told,) = explain(FoundObject(placed(object_class=free)), None)
    assert "forebay dispose" in told.why_not_deleted


def test_what_is_not_placed_says_why() -> None:
    finding = any_finding()
    (told,) = explain(
        FoundObject(any_record(state=State.QUARANTINED, finding=finding, policy=None)), None
    )
    assert finding.message in told.why_here
    assert told.when_moved == told.why_not_deleted == "It is not placed."


def test_objects_decided_alike_are_one_explanation() -> None:
    several = [placed(), placed(), placed(HOLD)]
    told = explain(FoundSeveral("Study", tuple(several)), None)
    assert sorted(len(each.records) for each in told) == [1, 2]


def history_of(*decisions: tuple[datetime, Any]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"at": utc_text(at), "policy": decision.as_dict() if decision else None}
        for at, decision in decisions
    )


def test_the_past_is_told_from_the_decision_stored_then() -> None:
    now, before = placed(), placed(HOLD).policy
    history = history_of((PLACED, before), (PLACED + timedelta(days=9), now.policy))
    (told,) = explain(FoundObject(now, history=history), PLACED + timedelta(days=3))
    assert told.decision == before
    (told,) = explain(FoundObject(now, history=history), PLACED + timedelta(days=9))
    assert told.decision == now.policy


def test_before_it_arrived_nothing_is_told() -> None:
    found = FoundObject(placed(), history=history_of((PLACED, None)))
    with pytest.raises(CommandError, match="not known then"):
        explain(found, PLACED - timedelta(days=1))


def test_the_past_of_a_study_is_told_of_what_was_known_then() -> None:
    old, young = placed(HOLD), placed()
    assert old.policy
    histories = {
        "old": history_of((PLACED, old.policy)),
        "young": history_of((PLACED + timedelta(days=9), young.policy)),
    }
    study = FoundSeveral(
        "Study", (replace(old, object_id="old"), replace(young, object_id="young"))
    )
    day = PLACED + timedelta(days=3)
    (told,) = explained(study, PLACED + timedelta(days=30), day, histories.__getitem__)
    assert [record.object_id for record in told.records] == ["old"]
    assert told.decision == old.policy
    assert told.lies_in == ""
    with pytest.raises(CommandError, match="None of it was known"):
        explained(study, PLACED, PLACED - timedelta(days=1), histories.__getitem__)


def test_where_it_lies_and_what_the_decision_rests_on_is_told() -> None:
    (told,) = explain(FoundObject(placed()), None)
    assert told.lies_in == "STANDARD"
    assert told.rests_on.startswith(f"{told.first.size_bytes:,} bytes")
    assert told.document()["storage_class"] == "STANDARD"


def test_when_it_was_last_read_is_told_as_it_was_known_then() -> None:
    read = PLACED + timedelta(days=3)
    decision = decide(HOT, Facts(PLACED, 1_000_000, last_access=read), (), read)
    stored = PolicyDecision.from_dict(decision.as_dict())
    (told,) = explain(FoundObject(replace(placed(), policy=stored)), None)

    assert "last read on 2026-01-13" in told.rests_on
    later = replace(decision, last_access=read + timedelta(hours=1))
    assert decision.is_same(later)  # nothing is written for another read that changes no day


def test_what_moved_since_the_decision_is_told_as_moved() -> None:
    moved = lying_in(placed(), StorageClass.GLACIER_IR)
    (told,) = explain(FoundObject(moved), None)
    assert told.lies_in == "GLACIER_IR since 2026-02-10"
    assert told.when_moved.startswith("It moved to GLACIER_IR; policy looks at it again on 2026-")


def test_what_is_gone_lies_nowhere_and_does_not_move() -> None:
    gone = replace(placed(), state=State.EXPIRED, state_since=PLACED + timedelta(days=40))
    (told,) = explain(FoundObject(gone), None)
    assert told.why_here == "It is gone: EXPIRED since 2026-02-19, by its bucket's lifecycle."
    assert (told.lies_in, told.why_not_deleted) == ("", "It is deleted.")
    assert "moves" not in told.when_moved


def test_what_expires_by_itself_needs_no_disposition_and_may_be_late() -> None:
    brief = replace(
        HOT,
        retention=Retention("5d", 0, ceiling_days=5, removal=Removal.EXPIRE),
        tiers=(),
    )
    record = placed(object_class=brief)
    (told,) = explain(FoundObject(record), None)
    assert told.when_moved == "It is removed on 2026-01-16: its bucket's lifecycle does it."
    assert "removes it by itself" in told.why_not_deleted
    (late,) = explain(FoundObject(record), None, now=PLACED + timedelta(days=8))
    assert late.when_moved.startswith("It was due to be removed on 2026-01-16")
