"""Decisions of stewards: which conflicts are open, how two objects differ, and who decided."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.catalog_reader import CatalogReader
from forebay.domain.conflicts import Compared, compare, identity_of, is_open
from forebay.domain.objects import Choice, ObjectRecord
from forebay.domain.states import State
from forebay.services.decide_conflict import Decide, Decided
from forebay_cli import stack_outputs
from forebay_cli.commands.show import is_object_id
from forebay_cli.deployment import Deployment
from forebay_cli.documents import MASK, decision_document
from forebay_cli.failures import EXIT_FINDINGS, CommandError


class NotDecidedError(CommandError):
    """The catalog refused a decision; nothing was changed."""

    exit_code = EXIT_FINDINGS


@dataclass(frozen=True, slots=True)
class Conflict:
    """An object kept aside, and the one that holds its identity now."""

    arrived: ObjectRecord
    stored: ObjectRecord

    @property
    def attributes(self) -> tuple[Compared, ...]:
        """Both, attribute by attribute."""
        return compare(self.stored, self.arrived)

    @property
    def identity(self) -> str:
        """What both claim to be."""
        return identity_text(self.arrived)

    def document(self, *, identifiers: bool) -> dict[str, Any]:
        """Return the comparison as JSON data; identifiers are masked unless asked for."""
        return {
            "object_id": self.arrived.object_id,
            "stored_object_id": self.stored.object_id,
            "identity": self.identity,
            "decision": decision_document(self.arrived.decision),
            "attributes": [
                {
                    "attribute": row.attribute,
                    "equal": row.is_equal,
                    "stored": shown(row, row.stored, identifiers=identifiers),
                    "arrived": shown(row, row.arrived, identifiers=identifiers),
                }
                for row in self.attributes
            ],
        }


def conflicts(
    catalog: CatalogReader, *, sites: Iterable[str], decided: bool, limit: int
) -> Sequence[ObjectRecord]:
    """Return conflicts, latest first: the open ones, or with `decided` those kept aside for good.

    Decided ones stay among the rest in the index, so more are asked for than are wanted.
    """
    wanted, asked = limit, limit
    while True:
        ids = catalog.in_state(State.CONFLICT, sites=sites, limit=asked)
        records = catalog.objects(ids)
        found = [r for r in records if r.state is State.CONFLICT and is_open(r) is not decided]
        if len(found) >= wanted or len(ids) < asked:
            return found[:wanted]
        asked *= 4


def conflict(catalog: CatalogReader, object_id: str) -> Conflict:
    """Return a conflict by the id of the object kept aside; raises CommandError for what is none.

    A decided one can be looked at too, as long as it remembers what it was compared with.
    """
    arrived = _object(catalog, object_id)
    if not arrived.original_id:
        raise NotDecidedError(
            f"Object {object_id} is {arrived.state.value}; it is in no conflict.",
            "See what is: forebay conflicts list",
        )
    return Conflict(arrived, _object(catalog, arrived.original_id))


def decide(
    deployment: Deployment, object_id: str, choice: Choice, *, note: str, overrule: bool = False
) -> Decided:
    """Record a decision under the caller's AWS identity; raises NotDecidedError with why not."""
    if not is_object_id(object_id):
        raise _unknown(object_id)
    catalog = DynamoCatalog(deployment.account.dynamodb, deployment.output(stack_outputs.TABLE))
    by, service = deployment.account.caller, Decide(catalog, deployment.account.clock)
    answer = service(object_id, choice, by=by, note=note, overrule=overrule)
    if isinstance(answer, Decided):
        return answer
    raise NotDecidedError(answer.reason, f"Nothing was changed. Look: forebay show {object_id}")


def identity_text(record: ObjectRecord) -> str:
    """Return what an object claims to be, for people."""
    _, group, value = identity_of(record)
    return group if value == "-" else f"{group} {value}".replace("#", " ")


def shown(row: Compared, value: str, *, identifiers: bool) -> str:
    """Return a value as it may be shown."""
    return MASK if row.identifying and value and not identifiers else value


def _object(catalog: CatalogReader, object_id: str) -> ObjectRecord:
    record = catalog.object(object_id) if is_object_id(object_id) else None
    if record is None:
        raise _unknown(object_id)
    return record


def _unknown(object_id: str) -> CommandError:
    return CommandError(
        f"No object {object_id} is known.", "See the open conflicts: forebay conflicts list"
    )
