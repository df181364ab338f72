"""The published schemas describe exactly what the change feed says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from forebay.domain.objects import Kind, Location
from forebay.domain.runs import PipelineRun, RunState, run_id
from forebay.domain.states import State
from forebay.events import ObjectChanged, RunChanged
from forebay.services.ports import RecordedChange, RecordedRun
from forebay.services.relay_changes import event_of, run_event_of
from tests.unit.fakes import NOON, any_finding, any_record

SCHEMAS = Path(__file__).resolve().parents[2] / "events" / "schemas"


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text("utf-8"))


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("kind", list(Kind))
def test_an_object_event_fits_its_schema_in_every_state_and_kind(state: State, kind: Kind) -> None:
    full = replace(
        any_record(),
        state=state,
        kind=kind,
        placed=Location("bucket", "key", "version"),
        finding=any_finding(),
        original_id="original",
        pipeline_run_id="run",
    )
    for record in (full, any_record(state=state, kind=kind)):
        detail = event_of(RecordedChange(None, record)).as_detail()
        jsonschema.validate(detail, schema("object-changed.json"))


@pytest.mark.parametrize("state", list(RunState))
def test_a_run_event_fits_its_schema_in_every_state(state: RunState) -> None:
    identity = run_id("read_qc", "1", [("R1", "aa")])
    run = PipelineRun(identity, "read_qc", "1", "north", "HG001", state, NOON, error="why")
    detail = run_event_of(RecordedRun(run, run)).as_detail()
    jsonschema.validate(detail, schema("pipeline-run-changed.json"))


@pytest.mark.parametrize(
    "event,name",
    [(ObjectChanged, "object-changed.json"), (RunChanged, "pipeline-run-changed.json")],
)
def test_a_schema_names_every_field_and_no_other(event: Any, name: str) -> None:
    fields = set(event.__dataclass_fields__) - {"detail_type"} | {"schema_version"}
    assert set(schema(name)["properties"]) == fields
