"""Applying a plan: in batches, kept in the ledger, and told as it was done."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from forebay.domain.policy.plan import Plan, Planned, Rates, Totals, plan_id
from forebay.errors import Trouble
from forebay.names import Step
from forebay.services.apply_plan import BATCH, Applied, ApplyPlan, Mandate
from tests.unit.domain.policy.test_plan import NOW, any_objects
from tests.unit.domain.policy.test_pricing import PRICES

BOSS = Mandate("arn:aws:iam::111122223333:user/anna", "tiers are reviewed", "bert")


class FakeFunction:
    """evaluate_policy, which decides as was planned; `fails` on these calls, from 1."""

    def __init__(self, objects: list[Planned], *fails: int) -> None:
        self.planned = {each.subject.object_id: each for each in objects}
        self.fails, self.calls = fails, 0
        self.done: set[str] = set()

    def invoke(self, step: Step, payload: str, *, version: str = "") -> Mapping[str, Any] | None:
        assert step is Step.EVALUATE_POLICY
        order = json.loads(payload)
        self.calls += 1
        if self.calls in self.fails:
            return None
        said = []
        for each in order["object_ids"]:
            decision = self.planned[each].decision
            said.append(
                {
                    "object_id": each,
                    "changed": each not in self.done,
                    "decision": decision.as_dict(),
                    "class": decision.object_class,
                }
            )
            self.done.add(each)
        return {"policy": "abc", "objects": said}


class FakePlanLedger:
    """Documents by name."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}

    def put(self, name: str, document: Mapping[str, Any]) -> None:
        self.documents[name] = json.loads(json.dumps(document))

    def get(self, name: str) -> Mapping[str, Any] | None:
        return self.documents.get(name)

    def below(self, plan_id: str) -> Iterator[Mapping[str, Any]]:
        for name in sorted(self.documents):
            if name.startswith(f"{plan_id}/"):
                yield self.documents[name]


class FixedClock:
    def now(self) -> Any:
        return NOW


def applier(function: FakeFunction, ledger: FakePlanLedger) -> ApplyPlan:
    return ApplyPlan(function, ledger, FixedClock(), Rates(PRICES))


def sum_of(batches: Iterator[Applied]) -> Applied:
    total = Applied()
    for each in batches:
        total.totals.merge(each.totals)
        total.failed += each.failed
        total.untouched += each.untouched
    return total


def test_what_is_done_equals_the_plan_to_the_object_and_the_part() -> None:
    objects = any_objects(5, 350)
    apply = applier(FakeFunction(objects), FakePlanLedger())

    done = sum_of(apply("p", objects, BOSS, now=NOW))

    planned = Totals.of(each for each in objects if each.is_changed)
    assert done.totals == planned
    assert done.totals.same_work(Totals.of(objects))
    assert not done.failed


def test_batches_are_bounded_and_kept_with_who_did_it() -> None:
    objects = any_objects(5, 350)
    function, ledger = FakeFunction(objects), FakePlanLedger()

    list(applier(function, ledger)("p", objects, BOSS, now=NOW))

    changed = sum(each.is_changed for each in objects)
    assert function.calls == -(-changed // BATCH) == len(ledger.documents)
    assert all(len(each["objects"]) <= BATCH for each in ledger.documents.values())
    assert {each["by"] for each in ledger.documents.values()} == {BOSS.by}


def test_what_was_interrupted_goes_on_and_sums_up_to_the_plan() -> None:
    objects = any_objects(6, 450)
    function, ledger = FakeFunction(objects), FakePlanLedger()
    apply = applier(function, ledger)
    plan = Plan(plan_id("abc", NOW), NOW, "abc", Totals.of(objects))
    apply.begin(plan, BOSS)
    next(apply(plan.plan_id, objects, BOSS, now=NOW))

    found = apply.earlier(plan.plan_id)
    assert found is not None
    before, mandate, done = found
    left = [
        each for each in objects if each.is_changed and each.subject.object_id not in function.done
    ]
    done.merge(sum_of(apply(plan.plan_id, left, mandate, now=NOW)).totals)

    assert before == plan
    assert mandate == BOSS
    assert done.same_work(plan.totals)


def test_a_batch_whose_function_fails_is_told_and_the_others_are_done() -> None:
    objects = [each for each in any_objects(5, 400) if each.is_changed]
    apply = applier(FakeFunction(objects, 1), FakePlanLedger())

    done = sum_of(apply("p", objects, BOSS, now=NOW))

    assert done.failed == [each.subject.object_id for each in objects[:BATCH]]
    assert done.totals.changed.objects == len(objects) - BATCH


def test_what_is_so_already_is_not_counted_as_done() -> None:
    objects = [each for each in any_objects(5, 50) if each.is_changed]
    function = FakeFunction(objects)
    function.done = {each.subject.object_id for each in objects[:7]}

    done = sum_of(applier(function, FakePlanLedger())("p", objects, BOSS, now=NOW))

    assert done.untouched == 7
    assert done.totals.changed.objects == len(objects) - 7


def test_the_deployed_policy_is_asked_for_without_touching_an_object() -> None:
    function = FakeFunction([])

    assert applier(function, FakePlanLedger()).deployed_policy(BOSS.by) == "abc"
    with pytest.raises(Trouble, match="did not answer"):
        applier(FakeFunction([], 1), FakePlanLedger()).deployed_policy(BOSS.by)


def test_a_plan_that_was_never_begun_cannot_go_on() -> None:
    assert applier(FakeFunction([]), FakePlanLedger()).earlier("p") is None
    assert replace(BOSS, note="x").by == BOSS.by
