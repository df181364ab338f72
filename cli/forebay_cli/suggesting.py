"""What observed access suggests for the idle tiers of a deployment's classes."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from forebay.adapters.accesses import DynamoAccesses
from forebay.adapters.exceptions import DynamoExceptions
from forebay.adapters.placed_objects import DynamoPlacedObjects
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.classes import ObjectClass, Policy
from forebay.domain.policy.pricing import PriceTable, rounded
from forebay.domain.policy.standing import access_scope
from forebay.domain.policy.suggesting import Idle, Saving, Suggestion, saving, suggest
from forebay_cli import stack_outputs
from forebay_cli.deployment import Deployment
from forebay_cli.failures import CommandError

__all__ = ["Suggested", "chosen_classes", "idle_objects", "suggested"]


@dataclass(frozen=True, slots=True)
class Suggested:
    """A suggestion, and what the threshold of now and the suggested one save of what is stored."""

    suggestion: Suggestion
    saves_now: Saving | None = None
    would_save: Saving | None = None
    currency: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as JSON data; amounts are per month, of one currency, rounded to its cent."""
        said = self.suggestion
        return {
            "class": said.object_class,
            "visits": said.visits,
            "scopes": said.scopes,
            "first_day": said.first.isoformat() if said.first else None,
            "last_day": said.last.isoformat() if said.last else None,
            "idle_days_percentiles": {str(p): days for p, days in said.percentiles},
            "storage_class": said.tier.storage_class.value if said.tier else None,
            "when_idle_for_days": said.now,
            "warm_share": said.warm_now,
            "suggested_days": said.warm_after,
            "reason": said.reason or None,
            "saves_now": self._saving(self.saves_now),
            "would_save": self._saving(self.would_save),
        }

    def _saving(self, each: Saving | None) -> dict[str, Any] | None:
        if each is None:
            return None
        return {
            "objects": each.objects,
            "size_bytes": each.size_bytes,
            "monthly": str(rounded(each.monthly)),
            "currency": self.currency,
        }


def chosen_classes(policy: Policy, names: Sequence[str]) -> list[ObjectClass]:
    """Return the classes that are named, or all that have tiers; raises CommandError."""
    unknown = [name for name in names if name not in policy.classes]
    if unknown:
        raise CommandError(
            f"The policy has no class {unknown[0]}.", f"It has: {', '.join(sorted(policy.classes))}"
        )
    if names:
        return [policy.classes[name] for name in names]
    return [each for each in policy.classes.values() if each.tiers]


def suggested(
    deployment: Deployment, classes: Sequence[ObjectClass], prices: PriceTable
) -> list[Suggested]:
    """Return what access to the objects of some classes suggests, by queries alone."""
    client = deployment.account.dynamodb
    table = deployment.output(stack_outputs.TABLE)
    accesses = DynamoAccesses(client, table)
    stored = DynamoPlacedObjects(client, table, DynamoExceptions(client, table))
    suggestions = {each.name: suggest(each, list(accesses.days(each.name))) for each in classes}
    told = {name for name, each in suggestions.items() if each.tier and each.warm_after}
    idle = idle_objects(stored, told, deployment.account.clock.now()) if told else {}
    return [_priced(each, idle.get(name, []), prices) for name, each in suggestions.items()]


def idle_objects(
    stored: DynamoPlacedObjects, classes: Collection[str], now: datetime
) -> Mapping[str, list[Idle]]:
    """Return by class how large each placed object is, and for how long nobody opened its scope."""
    found: dict[str, list[Idle]] = defaultdict(list)
    for page in stored.pages(""):
        wanted = [record for record in page if record.object_class in classes]
        read = stored.last_access({access_scope(record) for record in wanted})
        for record in wanted:
            last = max(_placed_at(record), read.get(access_scope(record), _placed_at(record)))
            found[record.object_class].append(Idle(record.size_bytes, (now - last).days))
    return found


def _placed_at(record: ObjectRecord) -> datetime:
    return record.placed_at or record.state_since


def _priced(said: Suggestion, stored: Sequence[Idle], prices: PriceTable) -> Suggested:
    if said.tier is None or said.warm_after is None:
        return Suggested(said)
    return Suggested(
        said,
        saving(stored, said.tier, prices, after_days=said.tier.after_days),
        saving(stored, said.tier, prices, after_days=said.warm_after),
        prices.currency,
    )
