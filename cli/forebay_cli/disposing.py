"""Dispositions of a deployment: the services over its clients, with the rights of whoever calls."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

from forebay.adapters.disposition_orders import decision_text, draft_text
from forebay.domain.objects import Location
from forebay.domain.policy.decision import Action
from forebay.domain.policy.disposition import (
    Candidate,
    Disposition,
    Draft,
    Entry,
    Stage,
    is_disposition_id,
)
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.errors import ObjectMissingError
from forebay.events import utc_text
from forebay.names import Step, Zone
from forebay.services.request_disposition import (
    Decision,
    DraftDisposition,
    Preview,
    PreviewDisposition,
    Refused,
    Surveyor,
    Wish,
    certificate_key,
)
from forebay_cli import stack_outputs
from forebay_cli.failures import EXIT_FINDINGS, CommandError
from forebay_cli.home import Home
from forebay_cli.orders import OrderDesk
from forebay_cli.reading import tokens_of

SCOPES: Final[Mapping[str, ScopeKind]] = {
    "object": ScopeKind.OBJECT,
    "study": ScopeKind.STUDY,
    "sample": ScopeKind.SAMPLE,
    "run": ScopeKind.RUN,
    "patient": ScopeKind.SUBJECT,
}
"""By option."""
_CHUNK_BYTES: Final = 1 << 20
_Answer = TypeVar("_Answer")


class NotDisposedError(CommandError):
    """A disposition could not be asked for, decided or carried out; nothing was changed."""

    exit_code = EXIT_FINDINGS


@dataclass(frozen=True)
class DispositionOffice(OrderDesk):
    """What stands of a deployment's dispositions, and the steps that change them, by order.

    What is listed is looked up with the rights of whoever calls; each service is made when needed.
    """

    @cached_property
    def dispositions(self) -> Any:
        """The dispositions as they stand."""
        from forebay.adapters.dispositions import DynamoDispositions  # noqa: PLC0415

        return DynamoDispositions(self.deployment.account.dynamodb, self._table)

    def scopes(self, named: Mapping[str, Sequence[str]]) -> tuple[Scope, ...]:
        """Return the scopes that options name; a patient by the catalog's search token."""
        return tuple(self._scope(SCOPES[name], each) for name in SCOPES for each in named[name])

    def preview(self, wish: Wish) -> Preview:
        """Return what a wish would delete; raises NotDisposedError."""
        return _or_refusal(self._preview(wish), Preview)

    def request(self, wish: Wish) -> Disposition:
        """Ask for a disposition; raises NotDisposedError."""
        draft = DraftDisposition(
            self._preview, self._store, self.deployment.bucket(Zone.LEDGER), os.urandom
        )
        made = _or_refusal(draft(wish, by=self.deployment.account.caller), Draft)
        return self._done(Step.REQUEST_DISPOSITION, draft_text(made))

    def decide(self, decision: Decision) -> Disposition:
        """Approve or refuse a disposition; raises NotDisposedError."""
        self.known(decision.disposition_id)
        return self._done(Step.DECIDE_DISPOSITION, decision_text(decision))

    def known(self, disposition_id: str) -> Disposition:
        """Return a disposition; raises CommandError for what is none."""
        found = self._found(disposition_id)
        if found is None:
            raise _unknown(disposition_id)
        return found

    def execute(
        self, disposition_id: str, progress: Callable[[Mapping[str, Any]], None]
    ) -> Mapping[str, Any]:
        """Carry out a disposition, call by call; raises NotDisposedError, CommandError."""
        while True:
            answer = self._invoked(disposition_id)
            if "refused" in answer:
                raise NotDisposedError(answer["refused"], "Nothing was deleted.")
            progress(answer)
            if answer["stage"] == Stage.DONE:
                return answer

    def certificate(self, disposition_id: str) -> bytes:
        """Return the certificate of a disposition that is done.

        A catalog that was rebuilt does not know it any more; the ledger has it all the same.

        Raises:
            NotDisposedError: it is not done yet.
            CommandError: neither knows such a disposition.
        """
        found = self._found(disposition_id)
        if found and found.certificate is None:
            raise NotDisposedError(
                f"Disposition {disposition_id} is {found.stage.value}:"
                " there is a certificate when it is DONE.",
                f"Carry it out: forebay dispose execute {disposition_id}",
            )
        in_ledger = Location(self.deployment.bucket(Zone.LEDGER), certificate_key(disposition_id))
        place = found.certificate if found and found.certificate else in_ledger
        try:
            return b"".join(self._store.chunks(place, _CHUNK_BYTES))
        except ObjectMissingError as exc:
            raise _unknown(disposition_id) from exc

    def _found(self, disposition_id: str) -> Disposition | None:
        is_one = is_disposition_id(disposition_id)
        found: Disposition | None = self.dispositions.get(disposition_id) if is_one else None
        return found

    @property
    def _table(self) -> str:
        return self.deployment.output(stack_outputs.TABLE)

    @property
    def _store(self) -> Any:
        from forebay.adapters.s3 import S3ObjectStore  # noqa: PLC0415 - not for showing

        return S3ObjectStore(self.deployment.account.s3)

    @cached_property
    def _preview(self) -> PreviewDisposition:
        from forebay.adapters.catalog import DynamoCatalog  # noqa: PLC0415 - not for showing
        from forebay.adapters.compiled_policy import policy_of  # noqa: PLC0415
        from forebay.adapters.dispositions import DynamoCopyHistory  # noqa: PLC0415
        from forebay.adapters.exceptions import DynamoPolicyBook  # noqa: PLC0415
        from forebay.adapters.policy_source import compile_folder  # noqa: PLC0415 - CEL
        from forebay.adapters.scopes import DynamoObjectsInScope  # noqa: PLC0415
        from forebay.adapters.shredder import S3KeptVersions  # noqa: PLC0415

        account, table = self.deployment.account, self._table
        names = {z: self.deployment.outputs.get(stack_outputs.bucket(z), "") for z in Zone}
        surveyor = Surveyor(
            DynamoCatalog(account.dynamodb, table),
            DynamoPolicyBook(account.dynamodb, table),
            S3KeptVersions(account.s3),
            DynamoCopyHistory(
                account.dynamodb, self.deployment.output(stack_outputs.HISTORY_TABLE)
            ),
            policy_of(compile_folder(Home.find().require_project() / "policies")),
            {zone: name for zone, name in names.items() if name},
        )
        scopes = DynamoObjectsInScope(account.dynamodb, table)
        return PreviewDisposition(surveyor, scopes, self._due, self.deployment.account.clock)

    def _due(self) -> Iterator[str]:
        """Yield the placed objects whose class says that somebody has to decide about them."""
        from forebay.adapters.exceptions import DynamoExceptions  # noqa: PLC0415
        from forebay.adapters.placed_objects import DynamoPlacedObjects  # noqa: PLC0415

        client, now = self.deployment.account.dynamodb, self.deployment.account.clock.now()
        placed = DynamoPlacedObjects(client, self._table, DynamoExceptions(client, self._table))
        for page in placed.pages(""):
            for record in page:
                said = record.policy
                if said and said.action is Action.REVIEW and said.at and said.at <= now:
                    yield record.object_id

    def _scope(self, kind: ScopeKind, value: str) -> Scope:
        if kind is ScopeKind.SUBJECT:
            value = tokens_of(self.deployment)("PatientID", value)
        return Scope(kind, value)

    def _done(self, step: Step, text: str) -> Disposition:
        """Have a step do what an order says, and return the disposition as it is then."""
        answer = self.give(step, text)
        if "refused" in answer:
            raise NotDisposedError(answer["refused"], "Nothing was changed.")
        return self.known(answer["disposition_id"])

    def _invoked(self, disposition_id: str) -> dict[str, Any]:
        step = Step.DISPOSE_OBJECTS
        name = self.deployment.output(stack_outputs.of_step(stack_outputs.FUNCTION, step))
        request = json.dumps({"disposition_id": disposition_id}).encode()
        answer = self.deployment.account.functions.invoke(FunctionName=name, Payload=request)
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise CommandError(
                f"The disposition stopped half way: {found.get('errorMessage') or found}",
                f"See its log: forebay logs {step}. Then go on: forebay dispose execute"
                f" {disposition_id}",
            )
        return found


def disposition_document(disposition: Disposition) -> dict[str, Any]:
    """Return a disposition as JSON data."""
    place = disposition.certificate
    return {
        "disposition_id": disposition.disposition_id,
        "stage": disposition.stage.value,
        "scopes": [str(scope) for scope in disposition.scopes],
        "review_due": disposition.review_due,
        "reason": disposition.reason,
        "legal_basis": disposition.basis,
        "requested_by": disposition.requested_by,
        "requested_at": utc_text(disposition.requested_at),
        "decided_by": disposition.decided_by,
        "decided_at": utc_text(disposition.decided_at) if disposition.decided_at else "",
        "note": disposition.note,
        "objects": disposition.objects,
        "size_bytes": disposition.size_bytes,
        "request_sha256": disposition.digest,
        "certificate": place.uri if place else "",
    }


def candidate_document(candidate: Candidate) -> dict[str, Any]:
    """Return an object of a preview as JSON data."""
    return candidate.as_dict()


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return what became of an object as JSON data; no token, no key of a sender."""
    return {
        "object_id": entry.object_id,
        "outcome": entry.outcome.value,
        "at": utc_text(entry.at),
        "copies": [copy.told() for copy in entry.copies],
        "why": [block.as_dict() for block in entry.blocks],
        "says": entry.says,
    }


def _unknown(disposition_id: str) -> CommandError:
    return CommandError(
        f"No disposition {disposition_id} is known.", "See what is: forebay dispose list"
    )


def _or_refusal(answer: object, wanted: type[_Answer]) -> _Answer:
    if isinstance(answer, Refused):
        raise NotDisposedError(answer.reason, "Nothing was changed.")
    assert isinstance(answer, wanted)  # noqa: S101 - narrows the two answers there are
    return answer
