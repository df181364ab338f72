"""`forebay rebuild`."""

import click

from forebay.services.rebuild_catalog import Rebuilt
from forebay_cli.failures import EXIT_FINDINGS
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, table
from forebay_cli.reconciling import Reconciler
from forebay_cli.target import Target, target_options


@click.command()
@click.option("--table", "table_name", default="", help="Rebuild this table, not the catalog.")
@click.option("--history-table", default="", help="And this one, not the history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@target_options
@json_option
def rebuild(
    *, table_name: str, history_table: str, yes: bool, target: Target, as_json: bool
) -> None:
    """Rebuild the catalog from storage alone, after its table was lost.

    Records, runs and history come from the ledger; who the patient is from the headers of the
    stored files; declarations from the stored checksum files. Nothing that is there and newer is
    written over, so it may be run again. What the ledger never heard of, `forebay reconcile` finds.

    Exit status: 0 all is there · 1 something could not be read again · 2 wrong usage · 3 trouble.
    """
    if as_json and not yes:
        raise click.UsageError("With --json nobody can be asked: give --yes.")
    output = Output.create(as_json=as_json)
    reconciler = Reconciler.of(target.deployment(Home.find()))
    if not yes:
        click.confirm(
            "Write what the ledger tells into the tables, wherever it is missing or older?",
            abort=True,
            err=True,
        )
    done = reconciler.rebuild(
        table=table_name, history=history_table, progress=lambda _what, _count: None
    )
    if as_json:
        output.document({"counts": dict(done.counts), "unread": dict(done.unread)})
    else:
        print_rebuilt(output, done)
    if done.unread:
        raise click.exceptions.Exit(EXIT_FINDINGS)


def print_rebuilt(output: Output, done: Rebuilt) -> None:
    """Print what was written, and what could not be read again."""
    output.facts([(what, f"{count:,}") for what, count in sorted(done.counts.items()) if count])
    if not any(done.counts.get(what) for what in ("exceptions", "records", "pipeline runs")):
        output.out.print("Every record the ledger tells of was there already.")
    rows = table("object", "could not be read again")
    for object_id, why in sorted(done.unread.items()):
        rows.add_row(object_id, why)
    if rows.row_count:
        output.rows(rows)
    output.say("See what the ledger never heard of: forebay reconcile")
