"""relay_changes: the catalog changed; write history and ledger, publish events."""

from forebay.names import Step
from forebay.runtime.batch import StreamChange, stream_handler
from forebay.runtime.wiring import wiring


def work(changes: list[StreamChange]) -> int:
    """Relay one batch of the stream."""
    return wiring().relay_changes(changes)


handler = stream_handler(Step.RELAY_CHANGES, work)
