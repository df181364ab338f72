"""The change feed on EventBridge."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from forebay.errors import Trouble
from forebay.events import CatalogEvent
from forebay.names import EVENT_SOURCE

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

MAX_ENTRIES: Final = 10


@dataclass(frozen=True, slots=True)
class EventBridgeFeed:
    """`services.ports.ChangeFeed` over one bus."""

    client: "EventBridgeClient"
    bus: str

    def publish(self, changes: Sequence[CatalogEvent]) -> None:
        """Publish changes ten at a time; raises Trouble unless all were accepted."""
        for start in range(0, len(changes), MAX_ENTRIES):
            entries = [self._entry(change) for change in changes[start : start + MAX_ENTRIES]]
            answer = self.client.put_events(Entries=entries)
            if answer["FailedEntryCount"]:
                codes = {entry.get("ErrorCode", "") for entry in answer["Entries"]} - {""}
                raise Trouble(
                    f"the bus refused {answer['FailedEntryCount']} of {len(entries)} events:"
                    f" {', '.join(sorted(codes))}"
                )

    def _entry(self, change: CatalogEvent) -> "PutEventsRequestEntryTypeDef":
        return {
            "EventBusName": self.bus,
            "Source": EVENT_SOURCE,
            "DetailType": change.detail_type.value,
            "Detail": json.dumps(change.as_detail(), separators=(",", ":")),
            "Time": datetime.fromisoformat(change.at),
            "Resources": [change.subject_id],
        }
