"""relay_changes: what the catalog's stream says becomes history, ledger and events on the bus."""

from collections.abc import Sequence
from dataclasses import dataclass

from forebay.domain.states import detail_type_of
from forebay.events import CatalogEvent, ObjectChanged, RunChanged, utc_text
from forebay.names import DetailType
from forebay.services.ports import ChangeFeed, ChangeLog, RecordedChange, RecordedRun


@dataclass(frozen=True, slots=True)
class RelayChanges:
    """Relay one batch of the stream, in its order."""

    log: ChangeLog
    feed: ChangeFeed

    def __call__(self, changes: Sequence[RecordedChange | RecordedRun]) -> int:
        """Return how many changes were relayed.

        The stream delivers at least once and in order per object. Everything written here is keyed
        by (object id, version), so a batch that comes again says the same again. History comes
        before the bus: what a subscriber sees can already be explained.

        Raises:
            Trouble: not all was written; the batch must come again.
        """
        fresh = [change for change in changes if _is_change(change)]
        if fresh:
            self.log.record(fresh)
            self.feed.publish([_event(change) for change in fresh])
        return len(fresh)


def event_of(change: RecordedChange) -> ObjectChanged:
    """Return the event that tells of a change; it names no attribute of a person."""
    after = change.after
    before_state = change.before.state if change.before else None
    placed = after.placed
    return ObjectChanged(
        detail_type=detail_type_of(before_state, after.state),
        object_id=after.object_id,
        version=after.version,
        state=after.state.value,
        previous_state=before_state.value if before_state else "",
        at=utc_text(after.changed_at),
        kind=after.kind.value,
        site=after.site,
        bucket=after.location.bucket,
        key=after.location.key,
        version_id=after.location.version_id,
        size_bytes=after.size_bytes,
        object_class=after.object_class,
        placed_bucket=placed.bucket if placed else "",
        placed_key=placed.key if placed else "",
        placed_version_id=placed.version_id if placed else "",
        original_id=after.original_id,
        pipeline_run_id=after.pipeline_run_id,
        reason_code=after.finding.code.value if after.finding else "",
        reason_owner=after.finding.owner.value if after.finding else "",
    )


def run_event_of(change: RecordedRun) -> RunChanged:
    """Return the event that tells of a pipeline run's change."""
    run = change.after
    return RunChanged(
        detail_type=DetailType.PIPELINE_RUN_CHANGED,
        run_id=run.run_id,
        version=run.version,
        state=run.state.value,
        previous_state=change.before.state.value if change.before else "",
        at=utc_text(run.state_since),
        pipeline=run.pipeline,
        pipeline_version=run.pipeline_version,
        site=run.site,
        sample=run.sample,
        error=run.error,
    )


def _event(change: RecordedChange | RecordedRun) -> CatalogEvent:
    return event_of(change) if isinstance(change, RecordedChange) else run_event_of(change)


def _is_change(change: RecordedChange | RecordedRun) -> bool:
    """Tell whether the record's version moved; counters beside it are no change."""
    return change.before is None or change.before.version != change.after.version
