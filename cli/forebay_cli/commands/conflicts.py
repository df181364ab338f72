"""`forebay conflicts`."""

from typing import Final

import click

from forebay.domain.conflicts import Compared
from forebay.domain.objects import Choice
from forebay_cli.deciding import (
    Conflict,
    conflict,
    identity_text,
    shown,
)
from forebay_cli.deciding import (
    conflicts as find_conflicts,
)
from forebay_cli.deciding import (
    decide as record_decision,
)
from forebay_cli.documents import decision_document, object_document
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, table
from forebay_cli.reading import catalog_of
from forebay_cli.target import Target, target_options

_TOLD: Final = {
    Choice.KEEP: "The stored object stays; this one remains aside, in quarantine.",
    Choice.REPLACE: "This object is inspected again and takes the stored one's place, which is"
    " then SUPERSEDED; its bytes remain as an older version.",
    Choice.KEEP_BOTH: "This object is inspected again and placed beside the stored one, in a folder"
    " named by its bytes.",
}


@click.group()
def conflicts() -> None:
    """Compare objects that claim one identity with different bytes, and decide between them."""


@conflicts.command("list")
@click.option("--site", default="", help="Only from this site.")
@click.option("--decided", is_flag=True, help="Those a steward decided to keep aside, instead.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@target_options
@json_option
def list_(*, site: str, decided: bool, limit: int, target: Target, as_json: bool) -> None:
    """List the conflicts that wait for a decision, the latest first."""
    output = Output.create(as_json=as_json)
    catalog = catalog_of(target.deployment(Home.find()))
    sites = (site,) if site else ()
    found = find_conflicts(catalog, sites=sites, decided=decided, limit=limit)
    if as_json:
        documents = [
            {
                **object_document(record, identifiers=False),
                "identity": identity_text(record),
            }
            for record in found
        ]
        output.document({"conflicts": documents})
        return
    if not found:
        output.out.print("No conflict was decided." if decided else "No conflict is open.")
        return
    rows = table("conflict", "site", "since", "identity", wraps=("site", "identity"))
    for record in found:
        since = f"{record.state_since:%Y-%m-%d}"
        rows.add_row(record.object_id, record.site, since, identity_text(record))
    output.rows(rows)
    if not decided:
        output.say("Compare one with what is stored: forebay conflicts show <conflict>")


@conflicts.command("show")
@click.argument("object_id", metavar="CONFLICT")
@click.option("--all", "everything", is_flag=True, help="Show what is equal, too.")
@click.option("--identifiers", is_flag=True, help="Show patient identifiers (default: masked).")
@target_options
@json_option
def show(
    *, object_id: str, everything: bool, identifiers: bool, target: Target, as_json: bool
) -> None:
    """Compare CONFLICT with the object that holds its identity, attribute by attribute.

    Without --identifiers, what identifies a patient is only said to be equal or different.
    """
    output = Output.create(as_json=as_json)
    found = conflict(catalog_of(target.deployment(Home.find())), object_id)
    if as_json:
        output.document(found.document(identifiers=identifiers))
    else:
        _print(output, found, everything=everything, identifiers=identifiers)


@conflicts.command("decide")
@click.argument("object_id", metavar="CONFLICT")
@click.option("--keep", "choice", flag_value=Choice.KEEP.value, help="Keep what is stored.")
@click.option(
    "--replace", "choice", flag_value=Choice.REPLACE.value, help="Replace what is stored by it."
)
@click.option("--keep-both", "choice", flag_value=Choice.KEEP_BOTH.value, help="Keep both.")
@click.option("--note", required=True, help="Why; it stays in the record. Name no patient.")
@click.option("--overrule", is_flag=True, help="Decide otherwise than was decided to keep.")
@target_options
@json_option
def decide(  # noqa: PLR0913 - one parameter per option
    *,
    object_id: str,
    choice: str | None,
    note: str,
    overrule: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Decide about CONFLICT, under the AWS identity of whoever calls this.

    Exit status: 0 the decision stands · 1 it could not be made, and nothing was changed ·
    2 wrong usage · 3 trouble.
    """
    if choice is None:
        raise click.UsageError("Say how to decide: --keep, --replace or --keep-both.")
    output = Output.create(as_json=as_json)
    deployment = target.deployment(Home.find())
    chosen = Choice(choice)
    answer = record_decision(deployment, object_id, chosen, note=note, overrule=overrule)
    decision = decision_document(answer.record.decision)
    if as_json:
        output.document({"object_id": object_id, "is_new": answer.is_new, "decision": decision})
        return
    said = _TOLD[chosen] if answer.is_new else "That was decided already; nothing was changed."
    output.facts(_facts(object_id, decision, said))


def _facts(
    object_id: str, decision: dict[str, object] | None, said: str
) -> list[tuple[str, object]]:
    told = decision or {}
    return [
        ("conflict", object_id),
        ("decision", told.get("choice")),
        ("by", told.get("by")),
        ("note", told.get("note")),
        ("so", said),
    ]


def _print(output: Output, found: Conflict, *, everything: bool, identifiers: bool) -> None:
    facts: list[tuple[str, object]] = [
        ("stored", f"{found.stored.object_id}  {found.stored.state.value}"),
        ("arrived", f"{found.arrived.object_id}  {found.arrived.state.value}"),
        ("identity", found.identity),
    ]
    if decision := found.arrived.decision:
        when = f"{decision.at:%Y-%m-%d %H:%M} UTC"
        facts.append(("decision", f"{decision.choice.value}, {when}, by {decision.by}"))
        facts.append(("note", decision.note))
    output.facts(facts)
    rows = table("", "attribute", "stored", "arrived", wraps=("attribute", "stored", "arrived"))
    equal = 0
    for row in found.attributes:
        equal += row.is_equal
        if everything or not row.is_equal:
            values = (shown(row, value, identifiers=identifiers) for value in _both(row))
            rows.add_row("=" if row.is_equal else "≠", row.attribute, *values)
    output.out.print()
    output.rows(rows)
    if equal and not everything:
        output.say(f"{equal} more are equal; --all shows them.")
    if any(row.identifying for row in found.attributes) and not identifiers:
        output.say("Patient identifiers are masked; --identifiers shows them.")
    if found.arrived.decision is None:
        output.say(
            f"Decide: forebay conflicts decide {found.arrived.object_id} --note WHY, with\n"
            "  --keep, --replace or --keep-both."
        )


def _both(row: Compared) -> tuple[str, str]:
    return row.stored or "-", row.arrived or "-"
