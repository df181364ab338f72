"""`forebay policy suggest`."""

from pathlib import Path

import click

from forebay.domain.policy.pricing import rounded
from forebay.domain.policy.suggesting import WARM_SHARE
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, size_text, table
from forebay_cli.policy_planning import Planner
from forebay_cli.suggesting import Suggested, chosen_classes, suggested
from forebay_cli.target import Target, target_options


@click.command("suggest")
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--class", "names", multiple=True, help="Only this class; may be given again.")
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another price table than that of the region.",
)
@target_options
@json_option
def policy_suggest(
    *,
    folder: Path | None,
    names: tuple[str, ...],
    prices: Path | None,
    target: Target,
    as_json: bool,
) -> None:
    """Suggest idle thresholds for the classes in FOLDER (policies/), from who opened what when.

    A visit is a day on which a study, a sample or an object was opened; what counts is for how long
    nobody had opened it before. The suggested threshold is the least with which 99 of 100 visits
    would have found it where it began. Where there is too little data for that, nothing is
    suggested.
    """
    # CEL and YAML take time to import.
    from forebay.adapters.compiled_policy import policy_of  # noqa: PLC0415

    output = Output.create(as_json=as_json)
    where = folder or Home.find().require_project() / "policies"
    deployment = target.deployment(Home.find())
    planner = Planner(deployment, where, prices)
    classes = chosen_classes(policy_of(planner.policy), names)
    found = suggested(deployment, classes, planner.price_table)
    if as_json:
        output.document({"suggestions": [each.document() for each in found]})
        return
    _print(output, found)
    output.say(
        f"Warm is what is found where it began; {WARM_SHARE:.0%} of visits should be. Savings are"
        f" per month against STANDARD, without moves and reads, at prices of"
        f" {planner.price_table.as_of}."
    )


def _print(output: Output, found: list[Suggested]) -> None:
    rows = table("class", "visits", "idle days 50/90/95/99/max", "now", "suggested", "why, saving")
    for each in found:
        said = each.suggestion
        now = f"{said.now}d" if said.now else "-"
        warm = f" ({said.warm_now:.1%} warm)" if said.warm_now is not None else ""
        days = "/".join(str(days) for _, days in said.percentiles) or "-"
        wanted = f"{said.warm_after}d" if said.warm_after else "-"
        rows.add_row(said.object_class, str(said.visits), days, now + warm, wanted, _why(each))
    output.rows(rows)


def _why(each: Suggested) -> str:
    said = each.suggestion
    if said.reason:
        return said.reason
    if each.would_save is None or each.saves_now is None:
        return "no tier of this class counts idle time"
    saved, now = (rounded(one.monthly) for one in (each.would_save, each.saves_now))
    what = f"{each.would_save.objects} objects, {size_text(each.would_save.size_bytes)}"
    return f"{what} idle for longer: {saved} {each.currency} a month, {now} as it is"
