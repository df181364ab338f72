"""dispose_objects: invoked with an approved disposition, work off as much as time allows."""

from typing import Any

from forebay.runtime.disposing import disposition_answer, disposition_request
from forebay.runtime.reconciling import time_is_up
from forebay.runtime.wiring import wiring


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Carry out a disposition; call again while objects are left, it goes on where it stopped."""
    disposition_id = disposition_request(event)
    done = wiring().dispose_objects(disposition_id, is_time_up=time_is_up(context))
    return disposition_answer(done)
