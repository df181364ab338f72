"""`forebay fetch`."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from forebay.adapters.accesses import DynamoAccesses
from forebay.adapters.catalog_reader import CatalogReader
from forebay.domain.objects import ObjectRecord
from forebay_cli import stack_outputs
from forebay_cli.commands.show import is_object_id
from forebay_cli.failures import EXIT_FINDINGS, CommandError
from forebay_cli.fetching import GOOD, Came, Fetch, Fetched
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, size_text, table
from forebay_cli.reading import catalog_of
from forebay_cli.target import Target, target_options


@click.command()
@click.argument("object_id", metavar="[OBJECT_ID]", required=False)
@click.option("--study", metavar="UID", help="Every instance of this study.")
@click.option("--sample", help="Every read file of this sample.")
@click.option("--site", default="", help="With --sample: only of this site.")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write into; nothing in it is overwritten.",
)
@click.option("--restore", is_flag=True, help="Ask for what is archived, to be fetched later.")
@target_options
@json_option
def fetch(  # noqa: PLR0913 - one parameter per option
    *,
    object_id: str | None,
    study: str | None,
    sample: str | None,
    site: str,
    folder: Path,
    restore: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Fetch a placed object, a study or a sample, checked against what was verified at arrival.

    A file is whole under its name, or not there. The read is noted: what is opened stays warm, or
    becomes so again.

    Exit status: 0 all is there · 1 something is not · 2 wrong usage · 3 trouble.
    """
    if sum(map(bool, (object_id, study, sample))) != 1:
        raise click.UsageError("Say what to fetch: an OBJECT_ID, --study or --sample.")
    output = Output.create(as_json=as_json)
    deployment = target.deployment(Home.find())
    catalog = catalog_of(deployment)
    records = _records(catalog, object_id=object_id, study=study, sample=sample, site=site)
    account = deployment.account
    accesses = DynamoAccesses(account.dynamodb, deployment.output(stack_outputs.TABLE))
    get = Fetch(account.reader, accesses, account.clock.now)
    found = list(get(records, folder, restore=restore))
    if as_json:
        output.document({"objects": [each.document() for each in found]})
    else:
        _print(output, found, folder)
    if any(each.came not in GOOD for each in found):
        sys.exit(EXIT_FINDINGS)


def _records(
    catalog: CatalogReader,
    *,
    object_id: str | None,
    study: str | None,
    sample: str | None,
    site: str,
) -> Sequence[ObjectRecord]:
    """Return what is meant: an object in any state, of a study or sample what is placed."""
    if object_id:
        record = catalog.object(object_id) if is_object_id(object_id) else None
        if record is None:
            raise CommandError(
                f"No object {object_id} is known.",
                "`forebay find` searches; --study and --sample fetch whole studies and samples.",
            )
        return [record]
    if study:
        records, what = catalog.instances(study), f"study {study}"
    else:
        sites = (site,) if site else ()
        records, what = catalog.files_of_sample(sample or "", sites=sites), f"sample {sample}"
    placed = [record for record in records if record.placed and record.state.value == "PLACED"]
    if not placed:
        raise CommandError(
            f"Nothing is stored of {what}.", "See what is known: forebay show, or forebay find."
        )
    return placed


def _print(output: Output, found: Sequence[Fetched], folder: Path) -> None:
    good = [each for each in found if each.came in GOOD]
    sizes = size_text(sum(each.record.size_bytes for each in good))
    if good:
        output.out.print(f"{len(good)} of {len(found)} are in {folder}, {sizes}, all verified.")
    others = Counter((each.came, each.why) for each in found if each.came not in GOOD)
    if not others:
        return
    rows = table("object", "outcome", "why", wraps=("why",))
    for each in found:
        if each.came not in GOOD:
            rows.add_row(each.record.object_id, each.came.value, each.why)
    output.rows(rows)
    if any(each.came is Came.ASKED for each in found):
        output.say(
            "Where a class moves by age, not by idle time, an access alone brings nothing back:"
            "\n  forebay exceptions request --kind hot"
        )
