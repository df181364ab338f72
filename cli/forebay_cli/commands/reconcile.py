"""`forebay reconcile`."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click

from forebay.domain.reconciliation import (
    EXPLANATIONS,
    Action,
    Difference,
    DifferenceKind,
    Report,
    Scope,
    repair_plan,
)
from forebay.names import LANDING_ZONES, Zone
from forebay.services.repair_storage import Outcome, Repaired
from forebay_cli.failures import EXIT_FINDINGS, EXIT_TROUBLE
from forebay_cli.home import Home
from forebay_cli.output import Output, duration_text, json_option, table
from forebay_cli.reconciling import Reconciler, as_utc
from forebay_cli.target import Target, target_options

EXAMPLES: Final = 3
_TIME: Final = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@click.option(
    "--zone", type=click.Choice([zone.value for zone in Zone]), help="Only this zone's bucket."
)
@click.option("--site", default="", help="Only what came from this site.")
@click.option("--since", type=_TIME, help="Only what was written since; UTC.")
@click.option(
    "--deep/--shallow",
    default=True,
    show_default=True,
    help="Ask for tags and checksums of each version, or trust what the listing shows.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=15,
    show_default=True,
    help="Minutes for which what is new counts as in flight.",
)
@click.option(
    "--inventory", default="", help="manifest.json of an S3 Inventory report, instead of listing."
)
@click.option("--apply", "applies", is_flag=True, help="Repair, after asking.")
@click.option("--yes", is_flag=True, help="With --apply: do not ask.")
@target_options
@json_option
def reconcile(  # noqa: PLR0913 - one parameter per option
    *,
    zone: str | None,
    site: str,
    since: datetime | None,
    deep: bool,
    grace: float,
    inventory: str,
    applies: bool,
    yes: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Compare storage, catalog and replica both ways; name each difference, and repair it.

    Nothing is changed without --apply, and no stored byte is deleted even then. Every difference
    was seen twice with fresh reads; what is younger than --grace is in flight.

    Exit status: 0 nothing differs (any more) · 1 differences · 2 wrong usage · 3 trouble.
    """
    if as_json and applies and not yes:
        raise click.UsageError("With --json nobody can be asked: give --apply --yes.")
    output = Output.create(as_json=as_json)
    reconciler = Reconciler.of(target.deployment(Home.find()))
    scope = Scope(Zone(zone) if zone else None, site, as_utc(since), deep, grace * 60)
    report = _compared(output, reconciler, scope, inventory)
    plan = repair_plan(report.differences)
    if not as_json:
        print_report(output, report, plan)
    done: tuple[Repaired, ...] = ()
    if plan and applies and (yes or _agreed(output, plan)):
        done = reconciler.apply(report)
        if not as_json:
            print_outcomes(output, done)
    if as_json:
        output.document(document(report, plan, done))
    if code := exit_code(report, done):
        raise click.exceptions.Exit(code)


def document(report: Report, plan: Sequence[Action], done: Sequence[Repaired]) -> dict[str, Any]:
    """Return the report, what would mend it, and what was done about it."""
    return {
        "report": report.as_dict(),
        "plan": [
            {"repair": action.repair.value, "difference": action.difference.as_dict()}
            for action in plan
        ],
        "repaired": [each.as_dict() for each in done],
    }


def exit_code(report: Report, done: Sequence[Repaired]) -> int:
    """Return 0 when nothing differs or all was mended, 3 when a repair failed, else 1."""
    if any(each.outcome is Outcome.FAILED for each in done):
        return EXIT_TROUBLE
    mended = {each.action.difference for each in done if each.outcome is not Outcome.LEFT}
    return EXIT_FINDINGS if set(report.differences) - mended else 0


def print_report(output: Output, report: Report, plan: Sequence[Action]) -> None:
    """Print counts by kind with who acts, then examples, then the plan."""
    seconds = (report.ended_at - report.started_at).total_seconds()
    checked = ", ".join(_counted(count, what) for what, count in sorted(report.checked.items()))
    output.say(f"Compared {checked or 'nothing'} in {duration_text(seconds)}.")
    if report.is_clean:
        output.out.print("Storage and catalog agree.")
        return
    rows = table("difference", "count", "who acts", "repair", wraps=("repair",))
    for kind, count in sorted(report.counts.items(), key=lambda each: (-each[1], each[0])):
        said = EXPLANATIONS[kind]
        repair = said.repair.value if said.repair else "a person decides"
        rows.add_row(kind.value, f"{count:,}", said.owner.value, repair)
    output.rows(rows)
    for kind in sorted(report.counts):
        _print_kind(output, kind, [d for d in report.differences if d.kind is kind])
    if plan:
        planned = Counter(action.repair.value for action in plan)
        output.out.print()
        output.facts([("plan", "; ".join(f"{n} × {what}" for what, n in planned.items()))])  # noqa: RUF001


def print_outcomes(output: Output, done: Sequence[Repaired]) -> None:
    """Print what became of the plan; each thing that was not simply done in a line of its own."""
    counts = Counter(each.outcome for each in done)
    output.out.print()
    output.facts(
        [("applied", ", ".join(f"{count} {what.value}" for what, count in counts.items()))]
    )
    rows = table("not simply done", "object", "why")
    for each in done:
        if each.outcome is not Outcome.DONE:
            about = each.action.difference
            rows.add_row(each.outcome.value, about.object_id or _where(about), each.said)
    if rows.row_count:
        output.rows(rows)
    output.say("What was handed to a step takes a moment; compare again: forebay reconcile")


def _compared(output: Output, reconciler: Reconciler, scope: Scope, inventory: str) -> Report:
    if output.as_json or not output.remarks.is_terminal:
        return reconciler.compare(scope, manifest=inventory, progress=lambda _what, _count: None)
    with output.remarks.status("Listing…") as status:
        return reconciler.compare(
            scope,
            manifest=inventory,
            progress=lambda what, count: status.update(f"Compared {count:,} {what}…"),
        )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what.removesuffix('s') if count == 1 else what}"


def _agreed(output: Output, plan: Sequence[Action]) -> bool:
    output.out.print()
    these = "this repair" if len(plan) == 1 else f"these {len(plan)} repairs"
    return click.confirm(f"Carry out {these}?", default=False, err=True)


def _print_kind(output: Output, kind: DifferenceKind, found: Sequence[Difference]) -> None:
    said = EXPLANATIONS[kind]
    output.out.print()
    facts: list[tuple[str, object]] = [(kind.value, said.sentence), ("", said.advice)]
    for each in found[:EXAMPLES]:
        facts.append(("", f"{each.object_id or '-'}  {_where(each)}"))
        if each.found:
            facts.append(("", f"  {each.found}"))
    if len(found) > EXAMPLES:
        facts.append(("", f"and {len(found) - EXAMPLES:,} more: --json lists them"))
    output.facts(facts)


def _where(difference: Difference) -> str:
    """Return where it lies; a sender's key may hold a name, so an arrival known by id has none."""
    is_known_arrival = difference.zone in LANDING_ZONES and (
        difference.kind is not DifferenceKind.MISSING_IN_CATALOG and difference.object_id
    )
    if difference.location is None or is_known_arrival:
        return difference.zone
    return difference.location.uri
