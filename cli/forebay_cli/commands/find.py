"""`forebay find`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import click

from forebay.adapters.catalog_reader import CatalogReader, Study
from forebay.domain.states import State
from forebay_cli.commands.show import print_objects, print_runs
from forebay_cli.documents import MASK, object_document, run_document, study_document
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, table
from forebay_cli.reading import catalog_of, tokens_of
from forebay_cli.searching import Criteria, Found, search
from forebay_cli.target import Target, target_options

_DAY: Final = click.DateTime(formats=["%Y-%m-%d", "%Y%m%d"])
_SHOWN: Final = ("PatientID", "PatientName", "AccessionNumber")


@click.command()
@click.option("--patient", default="", help="Patient ID, exactly as the modality sent it.")
@click.option("--accession", default="", help="Accession number.")
@click.option("--modality", default="", help="Modality of a series, such as CT or MR.")
@click.option("--from", "since", type=_DAY, help="First day: of the study, else of the state.")
@click.option("--to", "until", type=_DAY, help="Last day: of the study, else of the state.")
@click.option("--sample", default="", help="Sample: its read files and pipeline runs.")
@click.option("--run", default="", help="Sequencing run: its read files.")
@click.option(
    "--state",
    type=click.Choice([state.value for state in State], case_sensitive=False),
    help="Objects in this state.",
)
@click.option("--site", default="", help="Only from this site.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--identifiers", is_flag=True, help="Show patient identifiers (default: masked).")
@target_options
@json_option
def find(  # noqa: PLR0913 - one parameter per option
    *,
    identifiers: bool,
    target: Target,
    as_json: bool,
    since: datetime | None,
    until: datetime | None,
    state: str | None,
    **named: Any,
) -> None:
    """Find studies by patient, accession, modality or date; objects by sample, run, state or site.

    Patient IDs and accession numbers are never stored as plain search keys: they are turned into
    tokens by a key in KMS, so whoever searches needs the right to use that key.
    """
    output = Output.create(as_json=as_json)
    criteria = Criteria(
        **named,
        state=State(state) if state else None,
        since=since.date() if since else None,
        until=until.date() if until else None,
    )
    deployment = target.deployment(Home.find())
    catalog = catalog_of(deployment)
    found = search(catalog, criteria, tokens_of(deployment))
    shown = found.studies if identifiers else ()
    people = {study.study_instance_uid: _subject(catalog, study) for study in shown}
    if as_json:
        output.document(_document(found, people, identifiers=identifiers))
    else:
        _print(output, found, people)


def _subject(catalog: CatalogReader, study: Study) -> Mapping[str, str]:
    records = catalog.instances(study.study_instance_uid)
    return records[0].subject if records else {}


def _document(
    found: Found, people: Mapping[str, Mapping[str, str]], *, identifiers: bool
) -> dict[str, Any]:
    return {
        "studies": [
            {
                **study_document(study),
                "subject": dict(people.get(study.study_instance_uid, dict.fromkeys(_SHOWN, MASK))),
            }
            for study in found.studies
        ],
        "objects": [object_document(r, identifiers=identifiers) for r in found.objects],
        "pipeline_runs": [run_document(run) for run in found.runs],
    }


def _print(output: Output, found: Found, people: Mapping[str, Mapping[str, str]]) -> None:
    if not (found.studies or found.objects or found.runs):
        output.out.print("Nothing found.")
    _print_studies(output, found.studies, people)
    print_objects(output, found.objects)
    print_runs(output, found.runs)


def _print_studies(
    output: Output, studies: Iterable[Study], people: Mapping[str, Mapping[str, str]]
) -> None:
    rows = table("study", "date", "modalities", "series", "site", wraps=("modalities", "site"))
    for study in studies:
        rows.add_row(
            study.study_instance_uid,
            study.study_date,
            ", ".join(study.modalities),
            str(len(study.series)),
            study.site,
        )
    if rows.row_count:
        output.rows(rows)
    for study_uid, subject in people.items():
        output.out.print()
        named = ((keyword, subject.get(keyword)) for keyword in _SHOWN)
        output.facts([("study", study_uid), *named])
