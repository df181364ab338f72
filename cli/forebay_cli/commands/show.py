"""`forebay show`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import click
from botocore.exceptions import ClientError

from forebay.adapters.catalog_reader import CatalogReader, Study
from forebay.domain.findings import Finding
from forebay.domain.imaging import is_tolerated_uid
from forebay.domain.objects import Choice, Kind, ObjectRecord, split_object_id
from forebay.domain.runs import PipelineRun
from forebay.domain.states import State
from forebay.names import LANDING_ZONES, Tag
from forebay_cli.deployment import Deployment
from forebay_cli.documents import (
    object_document,
    run_document,
    study_document,
    subject_document,
)
from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, size_text, table
from forebay_cli.reading import catalog_of
from forebay_cli.target import Target, target_options

_S3_URI: Final = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)")
_RUN_ID: Final = re.compile(r"[a-z0-9_-]+-[0-9a-f]{32}")
LISTED: Final = 8
"""How many members of a list are shown; --json has them all."""
_EVERY_CHANGE: Final = frozenset({"version", "at", "from", "to", "pk", "sk", "schema_version"})


@click.command()
@click.argument("reference")
@click.option("--identifiers", is_flag=True, help="Show patient identifiers (default: masked).")
@target_options
@json_option
def show(*, reference: str, identifiers: bool, target: Target, as_json: bool) -> None:
    """Show everything known of an object, study, sample or pipeline run.

    REFERENCE is an object id, an s3:// URI (of an arrival or of its copy in a zone), a Study or SOP
    Instance UID, a sample, a sequencing run, or a pipeline run id.
    """
    output = Output.create(as_json=as_json)
    deployment = target.deployment(Home.find())
    found = look_up(deployment, reference)
    if as_json:
        output.document(found.document(identifiers=identifiers))
    else:
        found.print(output, identifiers=identifiers)


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One object with its relatives and history."""

    record: ObjectRecord
    children: tuple[ObjectRecord, ...] = ()
    parents: tuple[ObjectRecord, ...] = ()
    run: PipelineRun | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    other_versions: tuple[ObjectRecord, ...] = ()

    def document(self, *, identifiers: bool) -> dict[str, Any]:
        """Return the object as JSON data."""
        return {
            "object": object_document(self.record, identifiers=identifiers),
            "children": [record.object_id for record in self.children],
            "producing_run": run_document(self.run) if self.run else None,
            "history": list(self.history),
            "other_versions": [record.object_id for record in self.other_versions],
        }

    def print(self, output: Output, *, identifiers: bool) -> None:
        """Print the object for a person."""
        record = self.record
        output.facts(_identity(record))
        if record.finding:
            _print_finding(output, "reason", record.finding)
        for warning in record.warnings:
            _print_finding(output, "warning", warning)
        if record.metadata:
            output.out.print()
            output.facts(_flat(record.metadata))
        subject = subject_document(record, identifiers=identifiers)
        if subject:
            output.out.print()
            output.facts(subject.items())
            if not identifiers:
                output.say("Patient identifiers are masked; --identifiers shows them.")
        _print_digests(output, record)
        self._print_lineage(output)
        _print_history(output, self.history)

    def _print_lineage(self, output: Output) -> None:
        lineage = table("lineage", "object", "what")
        for relation, records in (
            ("made from", self.parents),
            ("made into", self.children),
            ("other version", self.other_versions),
        ):
            for record in records:
                lineage.add_row(relation, record.object_id, _brief(record))
        if self.run:
            run = self.run
            lineage.add_row(
                "made by", run.run_id, f"{run.pipeline} {run.pipeline_version}, {run.state}"
            )
        if self.record.original_id:
            lineage.add_row(*_original(self.record))
        if lineage.row_count:
            output.out.print()
            output.out.print(lineage)


@dataclass(frozen=True, slots=True)
class FoundSeveral:
    """A study, sample, sequencing run or pipeline run, with the objects that belong to it."""

    title: str
    objects: tuple[ObjectRecord, ...]
    study: Study | None = None
    runs: tuple[PipelineRun, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def document(self, *, identifiers: bool) -> dict[str, Any]:
        """Return all of it as JSON data."""
        return {
            "study": study_document(self.study) if self.study else None,
            "objects": [object_document(r, identifiers=identifiers) for r in self.objects],
            "pipeline_runs": [run_document(run) for run in self.runs],
        }

    def print(self, output: Output, *, identifiers: bool) -> None:
        """Print all of it for a person."""
        output.out.print(self.title)
        if self.more:
            output.facts(self.more.items())
        if identifiers and self.objects and self.objects[0].subject:
            output.facts(self.objects[0].subject.items())
        print_objects(output, self.objects)
        print_runs(output, self.runs)


def look_up(deployment: Deployment, reference: str) -> FoundObject | FoundSeveral:
    """Return what a reference means; raises CommandError when nothing is known by it."""
    catalog = catalog_of(deployment)
    if match := _S3_URI.fullmatch(reference):
        return _by_uri(deployment, catalog, match["bucket"], match["key"])
    if is_object_id(reference):
        return _by_id(catalog, reference)
    if is_tolerated_uid(reference) and "." in reference:
        return _by_uid(catalog, reference)
    if _RUN_ID.fullmatch(reference) and (run := catalog.pipeline_run(reference)):
        return _by_run(catalog, run)
    return _by_sample(catalog, reference)


def print_objects(output: Output, records: Iterable[ObjectRecord]) -> None:
    """Print a list of objects."""
    records = list(records)
    if not records:
        return
    rows = table("object", "state", "site", "size", "what", wraps=("site", "what"))
    for record in records:
        rows.add_row(
            record.object_id,
            record.state.value,
            record.site,
            size_text(record.size_bytes),
            _brief(record),
        )
    output.rows(rows)


def print_runs(output: Output, runs: Iterable[PipelineRun]) -> None:
    """Print a list of pipeline runs."""
    runs = list(runs)
    if not runs:
        return
    rows = table("pipeline run", "state", "sample", "since", "error")
    for run in runs:
        rows.add_row(run.run_id, run.state.value, run.sample, _when(run.state_since), run.error)
    output.rows(rows)


def _by_id(catalog: CatalogReader, object_id: str) -> FoundObject:
    record = catalog.object(object_id)
    if record is None:
        raise _unknown(object_id)
    return _whole(catalog, record)


def _by_uri(
    deployment: Deployment, catalog: CatalogReader, bucket: str, key: str
) -> FoundObject | FoundSeveral:
    versions = catalog.versions(bucket, key)
    if versions:
        return _whole(catalog, versions[0], versions[1:])
    zone = deployment.zone_of(bucket)
    if zone is None or zone in LANDING_ZONES:
        raise _unknown(f"s3://{bucket}/{key}")
    if known := catalog.objects(catalog.objects_at(bucket, key)):
        return _whole(catalog, next((r for r in known if _is_at(r, bucket, key)), known[-1]))
    # A copy from before copies were indexed says itself whose it is.
    try:
        tags = deployment.account.s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    except ClientError as exc:
        if exc.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            raise _unknown(f"s3://{bucket}/{key}") from exc
        raise
    ids = [tag["Value"] for tag in tags if tag["Key"] == Tag.OBJECT_ID.value]
    record = catalog.object(ids[0]) if ids else None
    if record is None:
        raise _unknown(f"s3://{bucket}/{key}")
    return _whole(catalog, record)


def _is_at(record: ObjectRecord, bucket: str, key: str) -> bool:
    copies = (record.placed, record.held)
    return any(copy and (copy.bucket, copy.key) == (bucket, key) for copy in copies)


def _by_uid(catalog: CatalogReader, uid: str) -> FoundObject | FoundSeveral:
    instance = catalog.instance(uid)
    if instance:
        return _whole(catalog, instance)
    study = catalog.study(uid)
    if study is None:
        raise _unknown(uid)
    more = {
        "date": study.study_date,
        "modalities": ", ".join(study.modalities),
        "series": len(study.series),
        "site": study.site,
    }
    records = tuple(catalog.instances(uid))
    return FoundSeveral(f"Study {uid}", records, study=study, more=more)


def _by_run(catalog: CatalogReader, run: PipelineRun) -> FoundSeveral:
    records = catalog.objects(run.inputs.values())
    more = {
        "pipeline": f"{run.pipeline} {run.pipeline_version}",
        "state": run.state.value,
        "since": _when(run.state_since),
        "sample": run.sample,
        "site": run.site,
        "execution": run.execution_arn,
        "error": run.error,
    }
    records += catalog.outputs_of_run(run.run_id)
    return FoundSeveral(f"Pipeline run {run.run_id}", tuple(records), runs=(run,), more=more)


def _by_sample(catalog: CatalogReader, name: str) -> FoundSeveral:
    records = catalog.files_of_sample(name)
    if records:
        runs = catalog.runs_of_sample(name)
        return FoundSeveral(f"Sample {name}", tuple(records), runs=tuple(runs))
    records = catalog.files_of_sequencing_run(name)
    if records:
        return FoundSeveral(f"Sequencing run {name}", tuple(records))
    raise _unknown(name)


def _whole(
    catalog: CatalogReader, record: ObjectRecord, others: Iterable[ObjectRecord] = ()
) -> FoundObject:
    run = catalog.pipeline_run(record.pipeline_run_id) if record.pipeline_run_id else None
    return FoundObject(
        record,
        children=tuple(catalog.objects(catalog.children(record.object_id))),
        parents=tuple(catalog.objects(record.parents)),
        run=run,
        history=tuple(catalog.history(record.object_id)),
        other_versions=tuple(others),
    )


def _unknown(reference: str) -> CommandError:
    return CommandError(
        f"Nothing is known by {reference}.",
        "Give an object id, an s3:// URI, a Study or SOP Instance UID, a sample, a sequencing run "
        "or a pipeline run id; `forebay find` searches.",
    )


def is_object_id(text: str) -> bool:
    """Tell whether text is an object's id."""
    try:
        split_object_id(text)
    except ValueError:
        return False
    return True


def _identity(record: ObjectRecord) -> list[tuple[str, object]]:
    return [
        ("object", record.object_id),
        ("state", f"{record.state.value} since {_when(record.state_since)}"),
        ("kind", record.kind.value),
        ("site", record.site),
        ("size", size_text(record.size_bytes)),
        ("arrived", f"{_when(record.arrived_at)} as {record.location.uri}"),
        ("placed", record.placed.uri if record.placed else ""),
        ("held", record.held.uri if record.held else ""),
        ("class", record.object_class),
        ("because", record.class_rule),
        ("retention", record.retention_class),
        ("consent", record.consent_state),
        ("duplicates", record.duplicate_count or ""),
        ("source", record.source_system),
        ("cohort", record.cohort),
        ("decided", _decided(record)),
    ]


def _original(record: ObjectRecord) -> tuple[str, str, str]:
    if record.state is State.SUPERSEDED:
        return "replaced by", record.original_id, "as a steward decided"
    if record.decision and record.decision.choice is Choice.REPLACE:
        return "replaces", record.original_id, "as a steward decided"
    return "original", record.original_id, "the first to arrive"


def _decided(record: ObjectRecord) -> str:
    if record.decision is None:
        return ""
    told = record.decision
    note = f": {told.note}" if told.note else ""
    return f"{told.choice.value} on {_when(told.at)} by {told.by}{note}"


def _print_finding(output: Output, label: str, finding: Finding) -> None:
    output.out.print()
    output.facts(
        [
            (label, finding.code.value),
            ("", finding.message),
            ("position", finding.position),
            ("expected", finding.expected),
            ("found", finding.found),
            ("who acts", finding.owner.value),
        ]
    )


def _flat(metadata: Mapping[str, Any]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in sorted(metadata.items()):
        if isinstance(value, Mapping):
            rows += [(f"{name}.{inner}", text) for inner, text in _flat(value)]
        elif isinstance(value, (list, tuple)):
            rows.append((name, _listed(value)))
        elif isinstance(value, float):
            rows.append((name, f"{value:.4g}"))
        else:
            rows.append((name, value))
    return rows


def _listed(values: Sequence[Any]) -> str:
    """Return a list in one line; what has parts is called by its name, what is long is counted."""
    texts = [
        str(item.get("name") or item.get("id") or "") if isinstance(item, Mapping) else str(item)
        for item in values
    ]
    if len(texts) > LISTED:
        return f"{', '.join(texts[:LISTED])} … ({len(texts)} in all)"
    return ", ".join(texts)


def _print_digests(output: Output, record: ObjectRecord) -> None:
    """Print each digest once, with everybody who vouched for it."""
    witnesses: dict[tuple[str, str], list[str]] = {}
    for digest in record.digests:
        source = f" ({digest.source})" if digest.source else ""
        said = witnesses.setdefault((digest.algorithm.value, digest.value), [])
        said.append(f"{digest.witness.value}{source}")
    rows: list[tuple[str, object]] = []
    for (algorithm, value), said in witnesses.items():
        rows += [(algorithm, value), ("", f"vouched for by {', '.join(said)}")]
    if rows:
        output.out.print()
        output.facts(rows)


def _print_history(output: Output, history: Iterable[Mapping[str, Any]]) -> None:
    changes = table("history", "when", "state", "why")
    before: Mapping[str, Any] = {}
    for change in history:
        when = str(change.get("at", ""))[:19].replace("T", " ")
        changes.add_row(
            str(change.get("version", "")), when, str(change.get("to", "")), _why(before, change)
        )
        before = change
    if changes.row_count:
        output.out.print()
        output.out.print(changes)


def _why(before: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    """Return what made a change, or what it recorded when the state stayed."""
    if change.get("from") == change.get("to"):
        names = [n for n in change if change[n] != before.get(n) and n not in _EVERY_CHANGE]
        return f"recorded: {', '.join(sorted(names))}"
    finding = change.get("finding") or {}
    return str(finding.get("code") or change.get("class_rule") or "")


def _brief(record: ObjectRecord) -> str:
    """Return what an object is in a few words, without naming a person."""
    metadata = record.metadata
    if record.finding:
        return record.finding.code.value
    if "Modality" in metadata:
        return f"{metadata['Modality']} {metadata.get('StudyDate', '')}".strip()
    if "sample" in metadata:
        return " ".join(str(metadata.get(name, "")) for name in ("sample", "lane", "mate")).strip()
    # A DICOM arrival's key is a digest: it says nothing to a person.
    return "DICOM" if record.kind is Kind.DICOM else record.location.key.rsplit("/", 1)[-1]


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
