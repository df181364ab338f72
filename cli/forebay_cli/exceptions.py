"""Exceptions of a deployment: what stands, what people order, and how they name a scope."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any, Final

import click

from forebay.adapters.exception_orders import answer_of, decision_text, wish_text
from forebay.adapters.exceptions import DynamoExceptions
from forebay.domain.policy.exceptions import PolicyException, Scope, ScopeKind, Status
from forebay.events import utc_text
from forebay.names import Step
from forebay.services.decide_exception import Answer, Changed, Wish
from forebay.services.exception_orders import Decision
from forebay.services.ports import ObjectsInScope
from forebay_cli import stack_outputs
from forebay_cli.clock import Clock
from forebay_cli.commands.show import is_object_id
from forebay_cli.failures import EXIT_FINDINGS, CommandError
from forebay_cli.orders import OrderDesk
from forebay_cli.reading import tokens_of

SCOPES: Final[Mapping[str, ScopeKind]] = {
    "object": ScopeKind.OBJECT,
    "series": ScopeKind.SERIES,
    "study": ScopeKind.STUDY,
    "sample": ScopeKind.SAMPLE,
    "run": ScopeKind.RUN,
    "cohort": ScopeKind.COHORT,
    "patient": ScopeKind.SUBJECT,
}
"""By option of `exceptions request`."""


class NotChangedError(CommandError):
    """An exception could not be changed; nothing was."""

    exit_code = EXIT_FINDINGS


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a change came; what is not complete goes on without anybody waiting for it."""

    objects: int
    is_complete: bool


@dataclass(frozen=True)
class ExceptionOffice(OrderDesk):
    """What stands of a deployment's exceptions, and the steps that change them, by order."""

    @cached_property
    def exceptions(self) -> DynamoExceptions:
        """The exceptions as they stand."""
        table = self.deployment.output(stack_outputs.TABLE)
        return DynamoExceptions(self.deployment.account.dynamodb, table)

    @cached_property
    def scopes(self) -> ObjectsInScope:
        """What scopes name."""
        from forebay.adapters.scopes import DynamoObjectsInScope  # noqa: PLC0415 - for one command

        table = self.deployment.output(stack_outputs.TABLE)
        return DynamoObjectsInScope(self.deployment.account.dynamodb, table)

    @cached_property
    def clock(self) -> Clock:
        """The time at which people decide."""
        return self.deployment.account.clock

    @property
    def token(self) -> Callable[[str, str], str]:
        """What turns a patient's ID into the catalog's search token."""
        return tokens_of(self.deployment)

    def request(self, wish: Wish) -> Answer:
        """Ask for an exception, as whoever calls this."""
        return answer_of(self.give(Step.REQUEST_EXCEPTION, wish_text(wish)))

    def decide(self, decision: Decision) -> Answer:
        """Approve, refuse or end an exception, as whoever calls this."""
        return answer_of(self.give(Step.DECIDE_EXCEPTION, decision_text(decision)))

    def get(self, exception_id: str) -> PolicyException:
        """Return one exception; raises CommandError when there is none."""
        found = self.exceptions.get(exception_id)
        if found is None:
            raise CommandError(
                f"No exception {exception_id} is known.", "See which are: forebay exceptions list"
            )
        return found

    def listed(self, statuses: Sequence[Status], limit: int) -> list[PolicyException]:
        """Return exceptions by status, in each those asked for last first."""
        return [
            each
            for status in statuses
            for each in islice(self.exceptions.with_status(status), limit)
        ]

    def is_known(self, scope: Scope) -> bool:
        """Tell whether a scope names anything that is in the catalog."""
        return next(iter(self.scopes.objects(scope)), None) is not None

    def spread(self, exception_id: str) -> Reached:
        """Have everything an exception reaches judged anew, call by call while it gets further.

        Each answer counts from the first object on. What waits for something else (a placement, a
        restore) is not waited for.
        """
        payload = json.dumps({"exception_id": exception_id})
        reached = Reached(0, is_complete=False)
        while not reached.is_complete:
            answer = self.functions.invoke(Step.EVALUATE_POLICY, payload)
            if answer is None:
                break
            before, reached = reached, Reached(int(answer["reached"]), bool(answer["is_complete"]))
            if reached.objects <= before.objects:
                break
        return reached


def scope_of(named: Mapping[str, str], token: Callable[[str, str], str]) -> Scope:
    """Return the one scope that options name; raises UsageError for none, several or no such name.

    A patient's ID becomes a token here, and is in nothing that is returned or raised.
    """
    given = {option: value for option, value in named.items() if value}
    if len(given) != 1:
        options = ", ".join(f"--{option}" for option in SCOPES)
        raise click.UsageError(f"Say what it is about, with one of {options}.")
    ((option, value),) = given.items()
    kind = SCOPES[option]
    if kind is ScopeKind.SUBJECT:
        return Scope(kind, token("PatientID", value))
    if kind is ScopeKind.OBJECT and not is_object_id(value):
        raise click.UsageError(f"{value} is no object id: forebay find shows them.")
    site, slash, name = value.partition("/")
    if kind is ScopeKind.SAMPLE and not (site and name):
        raise click.UsageError(f"{value} names no site: write --sample SITE/SAMPLE.")
    if kind is ScopeKind.RUN and slash and not (site and name):
        raise click.UsageError(f"{value} is no run: write --run SITE/RUN, or a pipeline run's id.")
    return Scope(kind, value)


def settled(answer: Answer) -> Changed:
    """Return what was changed; raises NotChangedError with why it could not be."""
    if isinstance(answer, Changed):
        return answer
    raise NotChangedError(answer.reason, "Nothing was changed.")


def status_text(exception: PolicyException, now: datetime) -> str:
    """Return how an exception stands: its status, or that its day has passed."""
    return "over" if is_over(exception, now) else exception.status.value


def is_over(exception: PolicyException, now: datetime) -> bool:
    """Tell whether an exception that nobody ended counts no more, since its day has passed."""
    return exception.status is Status.ACTIVE and not exception.is_active(now)


def exception_document(exception: PolicyException, now: datetime) -> dict[str, Any]:
    """Return an exception as JSON data, the empty parts too."""
    moments = ("requested_at", "until", "decided_at", "ended_at")
    names = ("exception_id", "reason", "requested_by", "decided_by", "end_asked_by", "ended_by")
    said = {name: getattr(exception, name) for name in (*names, "note", "version")}
    times = {name: getattr(exception, name) for name in moments}
    return {
        **said,
        **{name: utc_text(at) if at else None for name, at in times.items()},
        "kind": exception.kind.value,
        "status": exception.status.value,
        "is_over": is_over(exception, now),
        "scope": {"kind": exception.scope.kind.value, "value": exception.scope.value},
        "regions": list(exception.regions),
    }
