"""`forebay down`."""

import click

from forebay_cli.home import Home
from forebay_cli.localcloud.lifecycle import bring_down
from forebay_cli.output import Output, json_option


@click.command()
@click.option(
    "--purge",
    is_flag=True,
    help="Also remove kept state, logs, certificate and the emulator's environment.",
)
@json_option
def down(*, purge: bool, as_json: bool) -> None:
    """Stop the local cloud and everything it started.

    Its state goes with it, unless it was started with --persist or --data. Succeeds when nothing
    runs.
    """
    output = Output.create(as_json=as_json)
    stopped = bring_down(Home.find(), purge=purge)
    if as_json:
        output.document({"stopped": stopped, "purged": purge})
        return
    output.out.print("The local cloud is stopped." if stopped else "No local cloud was running.")
    if purge:
        output.out.print("Its environment, logs and kept state are removed.")
