"""`forebay policy check`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from forebay.domain.policy.classes import Measure, ObjectClass, Removal, Retention, Since
from forebay.domain.policy.soundness import Regions
from forebay_cli.failures import EXIT_FINDINGS
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, table

if TYPE_CHECKING:
    from forebay.adapters.policy_source import Checked

_UNTIL: Final = {Measure.AGE: "old", Measure.IDLE: "idle"}


@click.command("check")
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--region", default="", help="Where it is deployed: must be among residencies.")
@click.option("--replica-region", default="", help="Where it is replicated to: likewise.")
@json_option
def policy_check(*, folder: Path | None, region: str, replica_region: str, as_json: bool) -> None:
    """Check the policy in FOLDER (this checkout's policies/): everything that is wrong, by line.

    Exit code 1 when something is wrong; else the classes are shown.
    """
    # YAML, JSON Schema and CEL take time to import, and only those who check need them.
    from forebay.adapters.policy_source import check_folder  # noqa: PLC0415

    output = Output.create(as_json=as_json)
    where = folder or Home.find().require_project() / "policies"
    checked = check_folder(where, Regions(region, replica_region))
    if as_json:
        output.document(_document(checked))
    else:
        _show(output, checked)
    if checked.problems:
        sys.exit(EXIT_FINDINGS)


def _document(checked: "Checked") -> dict[str, Any]:
    problems = [
        {
            "file": each.source.file,
            "line": each.source.line,
            "place": each.place,
            "says": each.says,
        }
        for each in checked.problems
    ]
    if checked.policy is None:
        return {"problems": problems}
    classes = [
        {
            "name": each.name,
            "owner": each.owner,
            "zone": each.zone,
            "source": str(each.source),
            "latency_seconds": each.latency_seconds,
            "tiers": [
                {
                    "to": tier.storage_class,
                    "after_days": tier.after_days,
                    "measure": tier.measure,
                    "min_bytes": tier.min_bytes,
                }
                for tier in each.tiers
            ],
            "retention": {
                "name": each.retention.name,
                "floor_days": each.retention.floor_days,
                "ceiling_days": each.retention.ceiling_days,
                "removal": each.retention.removal,
                "since": each.retention.since,
            },
        }
        for each in checked.policy.classes.values()
    ]
    return {"problems": [], "policy": checked.policy.digest, "classes": classes}


def _show(output: Output, checked: "Checked") -> None:
    if checked.policy is None:
        for problem in checked.problems:
            output.out.print(str(problem), soft_wrap=True)
        return
    rows = table("class", "owner", "kept", "moves", wraps=("kept", "moves"))
    for each in checked.policy.classes.values():
        rows.add_row(each.name, each.owner, _kept(each.retention), _moves(each))
    output.rows(rows)
    output.say(f"{len(checked.policy.rules)} rules; the policy is {checked.policy.digest}.")


def _moves(chosen: ObjectClass) -> str:
    return ", ".join(
        f"{tier.storage_class} {tier.after_days} d {_UNTIL[tier.measure]}" for tier in chosen.tiers
    )


def _kept(retention: Retention) -> str:
    least = f"at least {retention.floor_days} d" if retention.floor_days else ""
    most = ""
    if retention.removal is not Removal.NEVER:
        how = "expires" if retention.removal is Removal.EXPIRE else "reviewed"
        if retention.since is Since.RUN_SUCCEEDED:
            most = f"{how} {retention.ceiling_days} d after its run succeeded"
        else:
            most = f"{how} after {retention.ceiling_days} d"
    return ", ".join(part for part in (least, most) if part) or "for ever"
