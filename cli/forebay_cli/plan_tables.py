"""How a plan is shown: as tables for people, and as Markdown for a pull request."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from forebay.domain.policy.plan import (
    Approval,
    ChangeKind,
    Conflict,
    Plan,
    Row,
    Tally,
    Totals,
)
from forebay.domain.policy.pricing import Money, rounded
from forebay_cli.output import Output, size_text, table

__all__ = ["MEANINGS", "costs", "headline", "markdown", "money_text", "print_plan"]

MEANINGS: Final[dict[str, str]] = {
    ChangeKind.FIRST: "never judged by policy before",
    ChangeKind.CLASS: "of another class",
    ChangeKind.MOVE: "to a colder storage class, now",
    ChangeKind.WARM: "brought back, to be read at once",
    ChangeKind.REMOVE: "removed by lifecycle, now",
    ChangeKind.KEEP: "not removed any more",
    ChangeKind.REVIEW: "somebody must approve its disposition, now",
    ChangeKind.RETENTION: "kept for another time",
    ChangeKind.RETAG: "other tags for lifecycle and replication",
    ChangeKind.SCHEDULE: "something else, or another day, comes next",
    ChangeKind.REASON: "the same, for other reasons",
    Conflict.ZONE: "its new class is of another zone: it keeps the old one",
    Conflict.RESIDENCY: "its bytes lie where they must not",
    Conflict.CONSENT: "its class needs a consent that is not given",
    Conflict.HOLD: "a hold, a pin or the like keeps it from what its class says",
    Conflict.REPLICA: "S3 replicates only what is written from now on",
    Approval.SHORTER_RETENTION: "must be kept less long than before",
    Approval.EARLIER_REMOVAL: "removed earlier than before, or at all",
    Approval.OTHER_REGION: "its bytes may be copied to another region",
}
"""What each change, conflict and approval means for an object."""

_CENT: Final = Decimal("0.01")


def money_text(amount: Money, *, signed: bool = False) -> str:
    """Return an amount to the cent; what is less than one, but something, says so."""
    value = rounded(amount)
    if amount and abs(value) < _CENT:
        return ">-$0.01" if amount < 0 else "<+$0.01" if signed else "<$0.01"
    sign = "-" if value < 0 else "+" if signed and value else ""
    return f"{sign}${abs(value):,.2f}"


def _priced(plan: Plan) -> str:
    of = f"{plan.region} as of {plan.prices_as_of}"
    if plan.deployed_in in ("", plan.region):
        return of
    return f"{of} (not those of {plan.deployed_in}, where the objects are)"


def headline(plan: Plan) -> list[tuple[str, str]]:
    """Return what was compared, when, and how much of it changes."""
    every, changed = plan.totals.all, plan.totals.changed
    of_site = f" of site {plan.site}" if plan.site else ""
    return [
        ("plan", plan.plan_id),
        ("policy", f"{plan.policy}, against {plan.against or 'what is stored'}{of_site}"),
        ("as of", f"{plan.made_at:%Y-%m-%d %H:%M} UTC"),
        ("prices", f"{_priced(plan)}, list prices without discounts"),
        (
            "changed",
            (
                f"{changed.objects:,} of {every.objects:,} objects,"
                f" {size_text(changed.size_bytes)} of {size_text(every.size_bytes)}"
            ),
        ),
    ]


def costs(totals: Totals) -> list[tuple[str, str]]:
    """Return what everything costs each month before and after, and what the change costs once."""
    every = totals.all
    difference = every.after - every.before
    share = f", {100 * difference / every.before:+.1f} %" if every.before and difference else ""
    said = [
        (
            "monthly",
            (
                f"{money_text(every.before)} before, {money_text(every.after)} after"
                f" ({money_text(difference, signed=True)}{share})"
            ),
        ),
        (
            "once",
            (
                f"{money_text(every.once)}: requests {money_text(every.requests)}, retrieval"
                f" {money_text(every.retrieval)}, between regions {money_text(every.egress)}, early"
                f" deletion {money_text(every.early_deletion)}"
            ),
        ),
    ]
    if difference < 0 < every.once:
        months = every.once / -difference
        said.append(("pays back", f"after {months:.1f} months" if months >= 0.1 else "within days"))
    return said


def print_plan(output: Output, plan: Plan, *, done: bool = False) -> None:
    """Print a plan, or with `done` what was carried out of one."""
    output.facts(headline(plan))
    totals = plan.totals
    if not (totals.changed.objects or totals.conflicts):
        output.out.print()
        output.out.print("Nothing was done." if done else "Nothing changes.")
        return
    for columns, rows in _tables(totals):
        made = table(*columns, wraps=_wrapping(columns))
        for column in made.columns:
            if column.header in _NUMBERS:
                column.justify = "right"
        for row in rows:
            made.add_row(*row)
        output.out.print()
        output.rows(made)
    output.out.print()
    output.facts(costs(totals))


def markdown(plan: Plan) -> str:
    """Return a plan as a comment for a pull request."""
    totals = plan.totals
    lines = ["### What this policy changes", ""]
    lines += [f"- **{label}**: {said}" for label, said in headline(plan)]
    lines += [f"- **{label}**: {said}" for label, said in costs(totals)]
    if not (totals.changed.objects or totals.conflicts):
        return "\n".join([*lines, "", "Nothing changes.", ""])
    for columns, rows in _tables(totals):
        rules = ["---:" if column in _NUMBERS else "---" for column in columns]
        lines += ["", *(_cells(row) for row in (columns, rules, *rows))]
    if totals.approvals:
        lines += ["", "**A steward has to approve this before it is applied.**"]
    return "\n".join([*lines, ""])


_NUMBERS: Final = frozenset({"objects", "size", "before", "after", "difference", "once"})
_Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def _wrapping(columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(each for each in columns if each == "what that means")


def _tables(totals: Totals) -> Iterator[_Table]:
    """Yield the tables that say something."""
    for title, counted, kinds in (
        ("change", totals.changes, ChangeKind),
        ("conflict", totals.conflicts, Conflict),
        ("needs approval", totals.approvals, Approval),
    ):
        rows = [_tally(kind.value, counted[kind.value]) for kind in kinds if kind.value in counted]
        if rows:
            yield (title, "objects", "size", "what that means", "for example"), rows
        if title == "change":
            yield from _reclassified(totals)
            yield from _moves(totals)
            yield from _by_class(totals)


def _tally(kind: str, tally: Tally) -> tuple[str, ...]:
    example = tally.examples[0] if tally.examples else ""
    return kind, f"{tally.objects:,}", size_text(tally.size_bytes), MEANINGS[kind], example


def _reclassified(totals: Totals) -> Iterator[_Table]:
    rows: list[tuple[str, ...]] = [
        (was, becomes, f"{tally.objects:,}", size_text(tally.size_bytes))
        for (was, becomes), tally in sorted(totals.classes.items())
    ]
    if rows:
        yield ("class was", "becomes", "objects", "size"), rows


def _moves(totals: Totals) -> Iterator[_Table]:
    moving = totals.moving()
    rows = [(*way, *_amounts(row)) for way, row in moving.items()]
    if len(rows) > 1:
        rows.append(("all moves", "", "", *_amounts(_sum(moving.values()))))
    if rows:
        yield ("class", "from", "to", "objects", "size", "before", "after", "once"), rows


def _by_class(totals: Totals) -> Iterator[_Table]:
    """Yield what each class holds, and what that costs."""
    held: dict[str, Row] = {}
    for (name, *_), row in totals.ways.items():
        held.setdefault(name, Row()).merge(row)
    rows: list[tuple[str, ...]] = [
        (
            name,
            f"{row.objects:,}",
            size_text(row.size_bytes),
            money_text(row.before),
            money_text(row.after),
            money_text(row.after - row.before, signed=True),
        )
        for name, row in sorted(held.items())
    ]
    yield ("each month", "objects", "size", "before", "after", "difference"), rows


def _amounts(row: Row) -> tuple[str, ...]:
    return (
        f"{row.objects:,}",
        size_text(row.size_bytes),
        money_text(row.before),
        money_text(row.after),
        money_text(row.once),
    )


def _sum(rows: Iterable[Row]) -> Row:
    total = Row()
    for row in rows:
        total.merge(row)
    return total


def _cells(row: Iterable[str]) -> str:
    # A name may hold what would end the cell.
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
