"""`forebay policy plan`."""

from pathlib import Path

import click

from forebay.domain.policy.plan import Plan
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option
from forebay_cli.plan_tables import markdown, print_plan
from forebay_cli.policy_planning import Planner, compiled, other_folder
from forebay_cli.target import Target, target_options


@click.command("plan")
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--against",
    metavar="BRANCH|DIR",
    default="",
    help="Compare with the policy of a branch, a commit or a folder, not with what is stored.",
)
@click.option("--site", default="", help="Only what came from this site.")
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another price table than that of the region.",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="For a pull request's comment.")
@target_options
@json_option
def policy_plan(  # noqa: PLR0913 - one parameter per option
    *,
    folder: Path | None,
    against: str,
    site: str,
    prices: Path | None,
    as_markdown: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Show what the policy in FOLDER (this checkout's policies/) would change for what is stored.

    Nothing is changed. Amounts are list prices, to the cent; the table's day is shown.

    --json is what `forebay policy apply` takes.
    """
    if as_json and as_markdown:
        raise click.UsageError("Give --json or --markdown, not both.")
    output = Output.create(as_json=as_json)
    where = folder or Home.find().require_project() / "policies"
    planner = Planner(target.deployment(Home.find()), where, prices)
    plan = _planned(output, planner, site, against)
    if as_json:
        output.document(plan.as_dict())
    elif as_markdown:
        click.echo(markdown(plan))
    else:
        print_plan(output, plan)
        _say_next(output, plan, where)


def _planned(output: Output, planner: Planner, site: str, against: str) -> Plan:
    other = None
    if against:
        with other_folder(against, planner.folder) as folder:
            other = (against, compiled(folder))
    # What is wrong with policy or prices is said before anything is read.
    _ = planner.digest, planner.price_table
    if output.as_json or not output.remarks.is_terminal:
        return planner.plan(site=site, against=other)
    with output.remarks.status("Judging what is stored…"):
        return planner.plan(site=site, against=other)


def _say_next(output: Output, plan: Plan, folder: Path) -> None:
    if plan.totals.approvals:
        output.say("A steward has to approve this: have the change reviewed.")
    if plan.totals.changed.objects and not plan.against:
        output.say(f"Deploy it, then carry it out: forebay policy apply {folder} --note WHY")
