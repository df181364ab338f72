"""Giving an object to its step again: a message to the step's own queue, never an event."""

import json

from forebay.domain.objects import ObjectRecord
from forebay.names import EVENT_SOURCE
from forebay.services.ports import RecordedChange
from forebay.services.relay_changes import event_of


def envelope(record: ObjectRecord) -> str:
    """Return the message that says an object came into its state, as the bus would have it."""
    change = event_of(RecordedChange(None, record))
    return json.dumps(
        {
            "source": EVENT_SOURCE,
            "detail-type": change.detail_type.value,
            "time": change.at,
            "resources": [change.subject_id],
            "detail": change.as_detail(),
        },
        separators=(",", ":"),
    )
