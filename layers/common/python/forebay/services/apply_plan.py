"""apply_plan: carry out a plan, a batch at a time, and keep what was done.

    plans/<plan id>.json               the plan, who applies it, why, and who approved it
    plans/<plan id>/<time>-<n>.json    a batch: its objects, and totals of what was done
    objects of a batch ──► evaluate_policy ──► decisions ──► compared with what was ──► totals

Evaluation is idempotent and says what it decided: a plan that was interrupted goes on where it is,
and totals are those of what was done, never of what was planned.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, Protocol

from forebay.domain.policy.decision import Action, PolicyDecision
from forebay.domain.policy.plan import ChangeKind, Plan, Planned, Rates, Totals, compared
from forebay.errors import Trouble
from forebay.events import utc_text
from forebay.names import Step
from forebay.services.ports import Clock, Functions

BATCH: Final = 100


class PlanLedger(Protocol):
    """Plans that were applied, in the ledger."""

    def put(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a document under `plans/`."""

    def get(self, name: str) -> Mapping[str, Any] | None:
        """Return a document, None when there is none."""

    def below(self, plan_id: str) -> Iterator[Mapping[str, Any]]:
        """Yield the batches of a plan, in their order."""


@dataclass(frozen=True, slots=True)
class Mandate:
    """Who has a plan carried out, why, and who approved what needs approval.

    `by` is an AWS identity (ARN).
    """

    by: str
    note: str
    approved_by: str = ""


@dataclass(slots=True)
class Applied:
    """What was done of a plan; `failed` and `untouched` are object ids.

    What is untouched was so already: somebody or something else was faster.
    """

    totals: Totals = field(default_factory=Totals)
    failed: list[str] = field(default_factory=list)
    untouched: int = 0


@dataclass(frozen=True, slots=True)
class ApplyPlan:
    """Have objects evaluated by the deployed function, which alone may change them."""

    functions: Functions
    ledger: PlanLedger
    clock: Clock
    rates: Rates

    def deployed_policy(self, by: str) -> str:
        """Return the digest of the policy that is deployed; raises Trouble without an answer."""
        answer = self._ask([], Mandate(by, ""), "")
        if answer is None:
            raise Trouble("evaluate_policy did not answer; look at its log group")
        return str(answer["policy"])

    def begin(self, plan: Plan, mandate: Mandate) -> None:
        """Write down what is about to be done, by whom, and why."""
        said = {
            "plan": plan.as_dict(),
            "by": mandate.by,
            "note": mandate.note,
            "approved_by": mandate.approved_by,
            "begun_at": utc_text(self.clock.now()),
        }
        self.ledger.put(plan.plan_id, said)

    def earlier(self, plan_id: str) -> tuple[Plan, Mandate, Totals] | None:
        """Return a plan that was begun, and what was done of it so far; None for none."""
        said = self.ledger.get(plan_id)
        if said is None:
            return None
        done = Totals()
        for batch in self.ledger.below(plan_id):
            done.merge(Totals.from_dict(batch["totals"]))
        mandate = Mandate(said["by"], said["note"], said["approved_by"])
        return Plan.from_dict(said["plan"]), mandate, done

    def __call__(
        self, plan_id: str, objects: Iterable[Planned], mandate: Mandate, *, now: datetime
    ) -> Iterator[Applied]:
        """Carry out what a plan says of changed objects; yield what was done, batch by batch.

        `now` is when the objects were judged. A batch whose function fails is among the `failed`.
        """
        changed = (each for each in objects if each.is_changed)
        number = 0
        while batch := list(islice(changed, BATCH)):
            number += 1
            answer = self._ask([each.subject.object_id for each in batch], mandate, plan_id)
            done = self._done(batch, answer, now)
            at = utc_text(self.clock.now())
            said = {
                "at": at,
                "by": mandate.by,
                "objects": [each.subject.object_id for each in batch],
                "failed": done.failed,
                "untouched": done.untouched,
                "totals": done.totals.as_dict(),
            }
            self.ledger.put(f"{plan_id}/{at}-{number:06d}", said)
            yield done

    def _done(
        self, batch: Sequence[Planned], answer: Mapping[str, Any] | None, now: datetime
    ) -> Applied:
        told = {each["object_id"]: each for each in answer["objects"]} if answer else {}
        done = Applied()
        for planned in batch:
            said = told.get(planned.subject.object_id, {"error": "no answer"})
            if said.get("error"):
                done.failed.append(planned.subject.object_id)
            elif not said["changed"]:
                done.untouched += 1
            else:
                decision = PolicyDecision.from_dict(said["decision"])
                done.totals.add(self._compared(planned, decision, now))
        return done

    def _compared(self, planned: Planned, decision: PolicyDecision, now: datetime) -> Planned:
        if ChangeKind.WARM in planned.changes and decision.action is not Action.WARM:
            # It could be read at once, is a new version already, and was judged as that.
            decision = replace(planned.decision, target=decision.target)
        return compared(planned.subject, decision, self.rates, now)

    def _ask(
        self, object_ids: Sequence[str], mandate: Mandate, plan_id: str
    ) -> Mapping[str, Any] | None:
        order = {
            "object_ids": list(object_ids),
            "by": mandate.by,
            "note": mandate.note,
            "plan_id": plan_id,
            "approved_by": mandate.approved_by,
        }
        return self.functions.invoke(Step.EVALUATE_POLICY, json.dumps(order))
