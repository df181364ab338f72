"""submit_pipeline: start a pipeline once its inputs are complete and placed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from forebay.domain.conflicts import identity_of
from forebay.domain.integrity import Algorithm
from forebay.domain.objects import ObjectRecord
from forebay.domain.runs import ENDED, PipelineRun, RunState, run_id
from forebay.domain.sequencing import mates_difference
from forebay.domain.states import State
from forebay.errors import ObjectMissingError
from forebay.services.ports import Catalog, Clock, Pipelines

MATES: Final = ("R1", "R2")


@dataclass(frozen=True, slots=True)
class PairedReadsPipeline:
    """A pipeline that wants both mates of a sample's reads."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class SubmitPipeline:
    """Submit the run that a placed read file completes."""

    catalog: Catalog
    pipelines: Pipelines
    clock: Clock
    pipeline: PairedReadsPipeline

    def __call__(self, object_id: str) -> PipelineRun | None:
        """Return the run, None while the pair is incomplete.

        Both mates' events may come at once, twice, or after the run ended: the run's id is derived
        from pipeline, version and input digests, and the engine knows executions by that name.

            claim the run (put if absent) ──► start by name ──► write SUBMITTED
                                         │                 │
                            crash: same id again      crash: same name again
        """
        planner = RunPlanner(self.catalog, self.clock, self.pipeline)
        pair = planner.pair_of(object_id)
        if pair is None:
            return None
        run = self.catalog.open_run(planner.run_over(pair))
        if run.state in ENDED or run.state is RunState.SUBMITTED:
            return run
        return self._start(run, pair)

    def _start(self, run: PipelineRun, pair: Mapping[str, ObjectRecord]) -> PipelineRun:
        if mismatch := _mates_differ(pair):
            after = run.moved_to(RunState.FAILED, self.clock.now(), error=mismatch)
        else:
            arn = self.pipelines.start(run)
            after = run.moved_to(RunState.SUBMITTED, self.clock.now(), execution_arn=arn)
        self.catalog.move_run(run, after)
        return after


@dataclass(frozen=True, slots=True)
class RunPlanner:
    """Which run a placed read file completes; reads only."""

    catalog: Catalog
    clock: Clock
    pipeline: PairedReadsPipeline

    def pair_of(self, object_id: str) -> Mapping[str, ObjectRecord] | None:
        """Return the placed mates by `R1` and `R2`, None while the pair is incomplete."""
        record = self.catalog.get(object_id)
        if record is None:
            raise ObjectMissingError(f"object {object_id} is not in the catalog")
        if record.state is not State.PLACED or record.metadata.get("mate") not in MATES:
            return None
        identity = identity_of(record)
        holders = self.catalog.holders(identity.namespace, identity.group)
        place = identity.value.rpartition("#")[0]
        pair: dict[str, ObjectRecord] = {}
        for mate in MATES:
            holder = holders.get(f"{place}#{mate}", "")
            found = self.catalog.get(holder) if holder else None
            if found is None or found.state is not State.PLACED:
                return None
            pair[mate] = found
        return pair

    def run_over(self, pair: Mapping[str, ObjectRecord]) -> PipelineRun:
        """Return the run over a pair as it would be claimed first."""
        first = pair["R1"]
        digests = [(mate, record.digest(Algorithm.SHA256)) for mate, record in pair.items()]
        identity = run_id(self.pipeline.name, self.pipeline.version, digests)
        return PipelineRun(
            run_id=identity,
            pipeline=self.pipeline.name,
            pipeline_version=self.pipeline.version,
            site=first.site,
            sample=str(first.metadata["sample"]),
            state=RunState.SUBMITTING,
            state_since=self.clock.now(),
            inputs={mate: record.object_id for mate, record in pair.items()},
            payload={
                "run_id": identity,
                "pipeline": self.pipeline.name,
                "version": self.pipeline.version,
                "site": first.site,
                "sample": first.metadata["sample"],
                "reads": {mate: _input(record) for mate, record in pair.items()},
            },
        )


def _input(record: ObjectRecord) -> dict[str, Any]:
    if record.placed is None:
        raise ObjectMissingError(f"object {record.object_id} is PLACED without a place")
    return {
        "object_id": record.object_id,
        "bucket": record.placed.bucket,
        "key": record.placed.key,
        "version_id": record.placed.version_id,
        "sha256": record.digest(Algorithm.SHA256),
    }


def _mates_differ(pair: Mapping[str, ObjectRecord]) -> str:
    difference = mates_difference(pair["R1"].metadata, pair["R2"].metadata)
    return f"{difference}; the pair was not processed." if difference else ""
