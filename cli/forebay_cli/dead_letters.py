"""Dead letters of a deployment: the services over its clients, and how people name letters."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final, TypeVar

import click

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.dead_letters import (
    DynamoDeadLetters,
    DynamoFailureNotes,
    DynamoHistory,
    LambdaFunctions,
)
from forebay.adapters.queues import SqsQueues
from forebay.adapters.s3 import S3ObjectStore
from forebay.domain.dead_letters import (
    LETTER_ID_LENGTH,
    NO_ANSWER,
    DeadLetter,
    Failure,
    LetterGroup,
    LetterState,
)
from forebay.names import Zone
from forebay.runtime.wiring import READ_QC
from forebay.services.preview_dead_letters import PreviewDeadLetters
from forebay.services.replay_dead_letters import Desk, ReplayDeadLetters
from forebay.services.submit_pipeline import RunPlanner
from forebay_cli import stack_outputs
from forebay_cli.deployment import Deployment
from forebay_cli.failures import CommandError

Named = TypeVar("Named")

_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400}
_THROTTLED: Final = re.compile(r"Throttl|TooManyRequests|SlowDown|ProvisionedThroughput|Timeout")
_DENIED: Final = re.compile(r"AccessDenied|Unauthorized|NO_PERMISSIONS|Forbidden")
_MESSAGE: Final = frozenset({"MessageError"})


@dataclass(frozen=True)
class Office:
    """The services that work on a deployment's dead letters; each is made when first needed."""

    deployment: Deployment

    @cached_property
    def letters(self) -> DynamoDeadLetters:
        """The catalogue of letters."""
        return DynamoDeadLetters(self.deployment.account.dynamodb, self._table)

    @cached_property
    def store(self) -> S3ObjectStore:
        """The buckets: bodies and records lie in the ledger."""
        return S3ObjectStore(self.deployment.account.s3)

    @cached_property
    def desk(self) -> Desk:
        """Where decisions are taken and recorded."""
        ledger = self.deployment.bucket(Zone.LEDGER)
        return Desk(self.letters, self.store, self.deployment.account.clock, ledger)

    @cached_property
    def preview(self) -> PreviewDeadLetters:
        """What a replay would come to."""
        dynamodb = self.deployment.account.dynamodb
        catalog = DynamoCatalog(dynamodb, self._table)
        history = DynamoHistory(dynamodb, self.deployment.output(stack_outputs.HISTORY_TABLE))
        runs = RunPlanner(catalog, self.deployment.account.clock, READ_QC)
        return PreviewDeadLetters(self.letters, catalog, history, self.store, runs)

    @cached_property
    def replay(self) -> ReplayDeadLetters:
        """The replay itself."""
        account = self.deployment.account
        return ReplayDeadLetters(
            self.desk,
            DynamoFailureNotes(account.dynamodb, self._table),
            SqsQueues(account.sqs, self.deployment.by_step(stack_outputs.QUEUE)),
            LambdaFunctions(account.functions, self.deployment.by_step(stack_outputs.FUNCTION)),
            self.preview,
            time.sleep,
        )

    @property
    def caller(self) -> str:
        """The AWS identity that decides."""
        return self.deployment.account.caller

    @property
    def _table(self) -> str:
        return self.deployment.output(stack_outputs.TABLE)

    def group(self, reference: str) -> LetterGroup | None:
        """Return the cause whose signature begins so, None when none does."""
        found = [g for g in self.letters.groups() if g.signature.startswith(reference)]
        return _single(reference, found, [each.signature for each in found])

    def letter(self, reference: str) -> DeadLetter | None:
        """Return the letter whose id begins so, None when none does."""
        if len(reference) == LETTER_ID_LENGTH:
            return self.letters.get(reference)
        found = [x for x in self._all_letters() if x.letter_id.startswith(reference)]
        return _single(reference, found, [each.letter_id for each in found])

    def _all_letters(self) -> Iterator[DeadLetter]:
        for group in self.letters.groups():
            yield from self.letters.letters(group.signature)


def _single(reference: str, found: Sequence[Named], names: Iterable[str]) -> Named | None:
    if len(found) > 1:
        raise click.UsageError(
            f"{reference} is the beginning of several: {', '.join(sorted(names)[:5])}. Give more."
        )
    return found[0] if found else None


def unknown(reference: str) -> CommandError:
    """Return the error of a reference that names nothing."""
    return CommandError(
        f"No dead letter and no signature begins with {reference}.",
        "`forebay dead-letters list --all` shows the signatures, `show <signature>` the letters.",
    )


def moment_of(_context: click.Context, _option: click.Parameter, text: str) -> datetime | None:
    """Return the time an option names: `90m`, `2h`, `1d` ago, or a date and time in UTC."""
    if not text:
        return None
    if match := re.fullmatch(r"(\d+)([mhd])", text):
        return datetime.now(UTC) - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise click.BadParameter(
            f"{text!r} is no time: write 2h or 1d (ago), 2026-03-01 or 2026-03-01T12:30."
        ) from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def advice(failure: Failure) -> str:
    """Return what a person does about a cause."""
    step = failure.step.value
    if failure.error == NO_ANSWER[0]:
        return f"Look for timeouts and memory: forebay logs {step} --since 1d. Then replay."
    if failure.error.startswith("EventBridge"):
        return "The queue could not be reached: deploy again, then replay."
    if _DENIED.search(failure.error):
        return "A grant is missing: deploy it, then replay."
    if failure.error in _MESSAGE:
        return "Fix the step and try it on one: replay --limit 1 --to-version <version>."
    if _THROTTLED.search(failure.error):
        return "The load was too high for a while: replay, more slowly: --rate 2."
    return "Preview, then replay; what fails again comes back under its cause."


def state_text(group: LetterGroup) -> str:
    """Return the letters of a cause by state, such as `2 open, 5 replayed`."""
    parts = [
        f"{group.counts.get(s, 0)} {s.value.lower()}" for s in LetterState if group.counts.get(s)
    ]
    return ", ".join(parts) or "none"
