"""`forebay policy explain`."""

from datetime import UTC, datetime, timedelta

import click

from forebay_cli.commands.show import look_up
from forebay_cli.explaining import Explanation, explain
from forebay_cli.failures import WrongUsage
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, table
from forebay_cli.reading import catalog_of
from forebay_cli.target import Target, target_options


@click.command("explain")
@click.argument("reference")
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="What was decided by the end of that day (UTC).",
)
@target_options
@json_option
def policy_explain(*, reference: str, at: datetime | None, target: Target, as_json: bool) -> None:
    """Say why REFERENCE is where it is, when it will move, and why it cannot be deleted.

    REFERENCE is what `forebay show` takes: an object id, an s3:// URI, a Study or SOP Instance UID,
    a sample or a run. The answer is read from the decision that was stored, with the line of the
    policy that said so.
    """
    output = Output.create(as_json=as_json)
    deployment = target.deployment(Home.find())
    now = deployment.account.clock.now()
    if at and at.replace(tzinfo=UTC) > now:
        raise WrongUsage(
            f"Nothing was decided by {at:%Y-%m-%d} yet: it is {now:%Y-%m-%d}.",
            "Without --at the answer names what comes next, and on which day.",
        )
    end = at.replace(tzinfo=UTC) + timedelta(days=1, microseconds=-1) if at else None
    found = explain(look_up(deployment, reference), now, end, catalog_of(deployment).history)
    if as_json:
        output.document({"explanations": [each.document() for each in found]})
        return
    for number, each in enumerate(found):
        if number:
            output.out.print()
        _print(output, each)


def _print(output: Output, told: Explanation) -> None:
    record, decision = told.first, told.decision
    several = len(told.records)
    where = record.placed.uri if record.placed and told.lies_in else ""
    output.facts(
        [
            ("objects" if several > 1 else "object", several if several > 1 else record.object_id),
            ("lies at", where if several == 1 else ""),
            ("in", told.lies_in),
            ("why here", told.why_here),
            ("rests on", told.rests_on if several == 1 else ""),
            ("what next", told.when_moved),
            ("deletion", told.why_not_deleted),
            ("against policy", ", ".join(decision.violations) if decision else ""),
        ]
    )
    if decision is None:
        return
    lines = table("who says", "what", "where it is written", wraps=("what",))
    for line in decision.trace:
        lines.add_row(line.level.value, line.says, line.source)
    output.out.print()
    output.rows(lines)
    output.say(
        f"Decided on {decision.decided_at:%Y-%m-%d %H:%M} UTC under policy {decision.policy}; the"
        " strongest has its say first."
    )
