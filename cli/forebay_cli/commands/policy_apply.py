"""`forebay policy apply`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from forebay.domain.policy.exceptions import person_of
from forebay.domain.policy.plan import Plan
from forebay.services.apply_plan import Applied, Mandate
from forebay_cli.failures import EXIT_FINDINGS, CommandError
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option
from forebay_cli.plan_tables import print_plan
from forebay_cli.policy_planning import Planner, read_plan
from forebay_cli.target import Target, target_options


class NotAppliedError(CommandError):
    """A plan must not be carried out so; nothing was changed."""

    exit_code = EXIT_FINDINGS


@dataclass(frozen=True, slots=True)
class _Work:
    """A plan to carry out, by whom and why, and what was done of it before."""

    plan: Plan
    mandate: Mandate
    done: Applied
    is_new: bool = True


@click.command("apply")
@click.argument(
    "planned", metavar="[PLAN|FOLDER]", required=False, type=click.Path(exists=True, path_type=Path)
)
@click.option("--note", default="", help="Why; it stays in the ledger. Name no patient.")
@click.option("--approved-by", default="", help="Who approved what needs approval; another person.")
@click.option("--resume", metavar="PLAN_ID", default="", help="Go on with a plan that was begun.")
@click.option("--site", default="", help="Only what came from this site.")
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another price table than that of the region.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@target_options
@json_option
def policy_apply(  # noqa: PLR0913 - one parameter per option
    *,
    planned: Path | None,
    note: str,
    approved_by: str,
    resume: str,
    site: str,
    prices: Path | None,
    yes: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Carry out what the deployed policy changes, in batches that can be interrupted.

    PLAN is what `forebay policy plan --json` wrote: it is carried out only while it still says
    what would change. With a FOLDER (this checkout's policies/) a plan is made, and shown first.
    The policy must be deployed. Who applies it, why, and each batch are kept in the ledger.

    Exit status: 0 all was done · 1 it must not be done so, and nothing was changed ·
    2 wrong usage · 3 trouble: some objects are left, go on with --resume.
    """
    if not (note or resume):
        raise click.UsageError("Say why: --note. It stays in the ledger.")
    if as_json and not yes:
        raise click.UsageError("With --json nobody can be asked: give --yes.")
    output = Output.create(as_json=as_json)
    is_file = planned is not None and planned.is_file()
    folder = planned if planned and not is_file else Home.find().require_project() / "policies"
    planner = Planner(target.deployment(Home.find()), folder, prices)
    _check_deployed(planner)
    if resume:
        work = _resumed(planner, resume)
    else:
        mandate = Mandate(planner.identity, note, approved_by)
        plan = _fresh(planner, read_plan(planned)) if planned and is_file else None
        work = _Work(plan or planner.plan(site=site), mandate, Applied())
        _check_approved(work)
    if not as_json and work.is_new:
        print_plan(output, work.plan)
    if work.is_new and work.plan.totals.changed.objects and not (yes or _agreed(work.plan)):
        raise NotAppliedError("Nothing was changed.")
    if work.is_new:
        planner.apply.begin(work.plan, work.mandate)
    done = _carried_out(output, planner, work)
    _tell(output, work, done)


def _check_deployed(planner: Planner) -> None:
    deployed = planner.apply.deployed_policy(planner.identity)
    if deployed != planner.digest:
        raise NotAppliedError(
            f"The deployed policy is {deployed}, not {planner.digest} of {planner.folder}.",
            "Deploy this one first: `forebay up` locally, `make deploy` in an account.",
        )


def _check_approved(work: _Work) -> None:
    needed, mandate = work.plan.totals.approvals, work.mandate
    if not needed:
        return
    told = ", ".join(f"{kind} of {tally.objects:,} objects" for kind, tally in needed.items())
    if not mandate.approved_by:
        raise NotAppliedError(
            f"A steward has to approve this: {told}.",
            "Have it reviewed, and say who approved it: --approved-by NAME",
        )
    if person_of(mandate.approved_by) == person_of(mandate.by):
        raise NotAppliedError(
            "Who applies a plan cannot approve it.", "Another person must: --approved-by NAME"
        )


def _fresh(planner: Planner, plan: Plan) -> Plan:
    """Return a plan that still holds, as it is now under its own name."""
    if plan.against:
        raise NotAppliedError(
            "This plan compares two policies, not a policy with what is stored.",
            "Make another one, without --against.",
        )
    if plan.policy != planner.digest:
        raise NotAppliedError(
            f"The plan is of policy {plan.policy}; {planner.folder} holds {planner.digest}.",
            "Make another one: forebay policy plan --json > plan.json",
        )
    now = planner.plan(site=plan.site)
    if not now.totals.same_work(plan.totals):
        raise NotAppliedError(
            f"What is stored has moved on since {plan.made_at:%Y-%m-%d %H:%M} UTC:"
            f" {plan.totals.changed.objects:,} objects were to change then,"
            f" {now.totals.changed.objects:,} now, or they cost something else.",
            "Make another one: forebay policy plan --json > plan.json",
        )
    return replace(now, plan_id=plan.plan_id)


def _resumed(planner: Planner, plan_id: str) -> _Work:
    found = planner.apply.earlier(plan_id)
    if found is None:
        raise NotAppliedError(f"No plan {plan_id} was ever begun.")
    plan, mandate, done = found
    if plan.policy != planner.digest:
        raise NotAppliedError(
            f"Plan {plan_id} is of policy {plan.policy}; {planner.digest} is deployed.",
            "Plan and apply that one: forebay policy plan",
        )
    return _Work(plan, replace(mandate, by=planner.identity), Applied(done), is_new=False)


def _agreed(plan: Plan) -> bool:
    objects = plan.totals.changed.objects
    these = "this object" if objects == 1 else f"these {objects:,} objects"
    return click.confirm(f"Apply the policy to {these}?", default=False, err=True)


def _carried_out(output: Output, planner: Planner, work: _Work) -> Applied:
    now, done = planner.clock.now(), work.done
    objects = planner.changed(work.plan.site, now)
    batches = planner.apply(work.plan.plan_id, objects, work.mandate, now=now)
    for batch in _shown(output, batches, done, work.plan.totals.changed.objects):
        done.totals.merge(batch.totals)
        done.failed += batch.failed
        done.untouched += batch.untouched
    return done


def _shown(
    output: Output, batches: Iterable[Applied], done: Applied, wanted: int
) -> Iterator[Applied]:
    if output.as_json or not output.remarks.is_terminal:
        yield from batches
        return
    with output.remarks.status("Applying…") as status:
        for batch in batches:
            yield batch
            status.update(f"Applied to {done.totals.changed.objects:,} of {wanted:,} objects…")


def _tell(output: Output, work: _Work, done: Applied) -> None:
    plan = replace(work.plan, totals=done.totals)
    if output.as_json:
        output.document(_document(plan, work, done))
    else:
        output.out.print()
        output.out.print("Done")
        print_plan(output, plan, done=True)
        if not done.totals.same_work(work.plan.totals):
            output.say("That is not what was planned: objects were changed or failed meanwhile.")
        if done.untouched:
            output.say(f"{done.untouched:,} objects were so already.")
    if done.failed:
        raise CommandError(
            f"{len(done.failed):,} objects could not be evaluated, {done.failed[0]} among them.",
            f"See why: forebay logs. Then go on: forebay policy apply --resume {plan.plan_id}",
        )


def _document(plan: Plan, work: _Work, done: Applied) -> dict[str, Any]:
    return {
        **plan.as_dict(),
        "by": work.mandate.by,
        "note": work.mandate.note,
        "approved_by": work.mandate.approved_by,
        "as_planned": done.totals.same_work(work.plan.totals),
        "failed": done.failed,
        "untouched": done.untouched,
    }
