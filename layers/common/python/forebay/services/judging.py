"""What policy says of one object: what reaches it is looked up, and `decide` decides.

Placement and evaluation ask here, so that a copy is born as an evaluation would leave it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.classes import ObjectClass, Since
from forebay.domain.policy.decision import NONE, Level, PolicyDecision, decide
from forebay.domain.policy.exceptions import Scope
from forebay.domain.policy.standing import Context, access_scope, facts_for, scopes_of
from forebay.domain.runs import ENDED, PipelineRun, RunState
from forebay.errors import PolicyError
from forebay.names import HOLD_LEGAL, REPLICATE_YES, Tag
from forebay.services.ports import Catalog, Classifier, PolicyBook

GATES: Final = (Tag.TIERING, Tag.REMOVAL)
"""Tags that lifecycle rules ask for: `none` is closed, and so is none at all."""

_RUN_ENDS_WITHIN: Final = timedelta(days=1)
"""How soon to ask again whether a run has ended, where days are counted from its end."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Decide about single objects; `regions` are the home region, then those of replicas."""

    catalog: Catalog
    book: PolicyBook
    classifier: Classifier
    regions: tuple[str, ...] = ()

    def decision(
        self,
        record: ObjectRecord,
        now: datetime,
        *,
        is_replicated: bool = False,
        is_approved: bool = False,
    ) -> PolicyDecision:
        """Return what policy wants of a placed object, or of one that is about to be placed.

        With `is_approved` somebody agreed that it may be removed earlier than was decided before.

        Raises:
            PolicyError: the policy of this deployment does not know the object's class.
        """
        policy = self.classifier.policy
        chosen = policy.classes.get(record.object_class)
        if chosen is None:
            raise PolicyError(
                f"policies/classes.yaml: expected the class {record.object_class!r} of object"
                f" {record.object_id}, and it is not there; its owner must add it, or have the"
                " object classified anew"
            )
        run = self._run(record, chosen)
        context = self._context(record, run)
        home, replicas = self.regions[:1], self.regions[1:]
        facts = facts_for(
            record, chosen, policy, context, regions=self.regions if is_replicated else home
        )
        facts = replace(
            facts,
            replica_regions=() if is_replicated else replicas,
            is_approved=is_approved,
        )
        said = decide(chosen, facts, context.exceptions, now)
        said = replace(said, policy=policy.digest)
        return _waiting(said, now) if run and run.state not in ENDED else said

    def _run(self, record: ObjectRecord, chosen: ObjectClass) -> PipelineRun | None:
        if chosen.retention.since is not Since.RUN_SUCCEEDED or not record.pipeline_run_id:
            return None
        return self.catalog.get_run(record.pipeline_run_id)

    def _context(self, record: ObjectRecord, run: PipelineRun | None) -> Context:
        scopes = tuple(dict.fromkeys(scopes_reaching(self.catalog, record)))
        context = self.book.context(scopes, access_scope(record))
        if run and run.state is RunState.SUCCEEDED:
            return replace(context, run_succeeded_at=run.state_since)
        return context


def scopes_reaching(catalog: Catalog, record: ObjectRecord) -> Iterator[Scope]:
    """Yield the scopes of an object and of all it was made from; never of its siblings."""
    yield from scopes_of(record)
    seen = {record.object_id}
    older = [*record.parents]
    # Whatever their number: one hold that is missed is one too many.
    while older:
        parent = older.pop()
        if parent not in seen and (made := catalog.get(parent)):
            yield from scopes_of(made)
            older += made.parents
        seen.add(parent)


def is_held(decision: PolicyDecision) -> bool:
    """Tell whether a legal hold reaches the object."""
    return any(line.level is Level.LEGAL_HOLD for line in decision.trace)


def tags_for(record: ObjectRecord, decision: PolicyDecision) -> dict[str, str]:
    """Return the tags that policy wants on the placed version of a record."""
    tags: dict[str, str] = {
        Tag.CLASS.value: record.object_class,
        Tag.RETENTION.value: record.retention_class,
        Tag.TIERING.value: decision.tiering,
        Tag.REMOVAL.value: decision.removal,
        Tag.REPLICATE.value: REPLICATE_YES if decision.replicate else NONE,
    }
    return tags | ({Tag.HOLD.value: HOLD_LEGAL} if is_held(decision) else {})


def _waiting(said: PolicyDecision, now: datetime) -> PolicyDecision:
    soon = now + _RUN_ENDS_WITHIN
    return replace(said, evaluate_at=min(said.evaluate_at or soon, soon))
