"""`forebay release`."""

import click

from forebay.domain.objects import Choice
from forebay_cli.deciding import decide
from forebay_cli.documents import decision_document
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option
from forebay_cli.target import Target, target_options


@click.command()
@click.argument("object_id", metavar="OBJECT")
@click.option("--note", required=True, help="Why; it stays in the record. Name no patient.")
@target_options
@json_option
def release(*, object_id: str, note: str, target: Target, as_json: bool) -> None:
    """Let a quarantined OBJECT be inspected again, under the AWS identity of whoever calls this.

    This overrules no finding: what is still wrong is refused again. It is for what has changed
    since, such as a parser that was corrected or a checksum file that came.

    Exit status: 0 it is inspected again · 1 it cannot be, and nothing was changed · 2 wrong
    usage · 3 trouble.
    """
    output = Output.create(as_json=as_json)
    answer = decide(target.deployment(Home.find()), object_id, Choice.RELEASE, note=note)
    decision = answer.record.decision
    if as_json:
        output.document(
            {
                "object_id": object_id,
                "is_new": answer.is_new,
                "decision": decision_document(decision),
            }
        )
        return
    so = "It is inspected again." if answer.is_new else "It was released already."
    output.facts(
        [
            ("object", object_id),
            ("released by", decision.by if decision else ""),
            ("note", decision.note if decision else ""),
            ("so", f"{so} See what came of it: forebay show {object_id}"),
        ]
    )
