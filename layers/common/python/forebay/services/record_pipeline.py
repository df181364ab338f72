"""record_pipeline: an execution reached its end; say so in the catalog."""

from dataclasses import dataclass
from typing import Final

from forebay.domain.runs import ENDED, PipelineRun, RunState
from forebay.errors import ObjectMissingError
from forebay.events import PipelineFinished
from forebay.services.ports import Catalog, Clock

RUNNING: Final = "RUNNING"
SUCCEEDED: Final = "SUCCEEDED"


@dataclass(frozen=True, slots=True)
class RecordPipeline:
    """Record the outcome of one execution."""

    catalog: Catalog
    clock: Clock

    def __call__(self, event: PipelineFinished) -> PipelineRun:
        """Return the run after the event; an ended run stays as it is.

        Raises:
            ObjectMissingError: the run is not in the catalog (yet).
            StaleRecordError: it moved meanwhile; try again.
        """
        run = self.catalog.get_run(event.run_id)
        if run is None:
            raise ObjectMissingError(f"pipeline run {event.run_id} is not in the catalog")
        if event.status == RUNNING or run.state in ENDED:
            return run
        succeeded = event.status == SUCCEEDED
        after = run.moved_to(
            RunState.SUCCEEDED if succeeded else RunState.FAILED,
            self.clock.now(),
            execution_arn=event.execution_arn,
            error="" if succeeded else f"The execution ended {event.status} {event.error}".strip(),
        )
        self.catalog.move_run(run, after)
        return after
