"""`forebay exceptions`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from forebay.domain.policy.exceptions import ExceptionKind, PolicyException, Status
from forebay.services.decide_exception import Changed, Wish
from forebay.services.exception_orders import Decision, Verb
from forebay_cli.exceptions import (
    SCOPES,
    ExceptionOffice,
    Reached,
    exception_document,
    scope_of,
    settled,
    status_text,
)
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, table
from forebay_cli.target import Target, target_options

_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])
_OPEN: Final = (Status.REQUESTED, Status.ACTIVE)
_NOTE: Final = "it stays in the record. Name no patient."


@click.group()
def exceptions() -> None:
    """Ask for, approve, refuse and end exceptions from policy: holds, pins, longer retention."""


@exceptions.command("request")
@click.argument("kind", type=click.Choice([kind.value for kind in ExceptionKind]))
@click.option("--object", "object", default="", help="One object, by its id.")
@click.option("--series", default="", help="A series, by its UID.")
@click.option("--study", default="", help="A study, by its UID.")
@click.option("--sample", default="", help="A sample, as SITE/SAMPLE.")
@click.option("--run", default="", help="A sequencing run, as SITE/RUN, or a pipeline run's id.")
@click.option("--cohort", default="", help="A cohort, by name.")
@click.option("--patient", default="", help="A patient, by the ID exactly as the modality sent it.")
@click.option("--until", type=_DAY, help="Day (UTC) at whose beginning it ends; not of a hold.")
@click.option("--within", "regions", multiple=True, help="Of residency: an AWS region; repeat.")
@click.option("--reason", required=True, help=f"Why; {_NOTE}")
@target_options
@json_option
def request(  # noqa: PLR0913 - one parameter per option
    *,
    kind: str,
    until: datetime | None,
    regions: tuple[str, ...],
    reason: str,
    target: Target,
    as_json: bool,
    **named: str,
) -> None:
    """Ask for an exception of a KIND; it counts once another person approves it.

    It reaches what is named and everything made from it, now and later. Of a patient, only a token
    made by a key in KMS is kept: whoever asks needs the right to use that key.
    """
    output = Output.create(as_json=as_json)
    office = ExceptionOffice(target.deployment(Home.find()))
    scope = scope_of({option: named[option] for option in SCOPES}, office.token)
    day = until.replace(tzinfo=UTC) if until else None
    wish = Wish(ExceptionKind(kind), scope, reason, day, regions)
    asked = settled(office.request(wish)).exception
    _told(output, office, Changed(asked))
    if not office.is_known(scope):
        output.say("The catalog knows nothing of it yet: it will count for what arrives.")
    output.say(f"Another person approves it: forebay exceptions approve {asked.exception_id}")


@exceptions.command("approve")
@click.argument("exception_id", metavar="ID")
@click.option("--note", default="", help=f"What was looked at; {_NOTE}")
@target_options
@json_option
def approve(*, exception_id: str, note: str, target: Target, as_json: bool) -> None:
    """Let exception ID count, under the AWS identity of whoever calls this.

    Exit status: 0 it counts · 1 it cannot be approved, and nothing was changed · 2 wrong usage ·
    3 trouble.
    """
    output = Output.create(as_json=as_json)
    office = ExceptionOffice(target.deployment(Home.find()))
    answer = settled(office.decide(Decision(Verb.APPROVE, exception_id, note)))
    _told(output, office, answer, office.spread(exception_id))


@exceptions.command("refuse")
@click.argument("exception_id", metavar="ID")
@click.option("--note", required=True, help=f"Why; {_NOTE}")
@target_options
@json_option
def refuse(*, exception_id: str, note: str, target: Target, as_json: bool) -> None:
    """Refuse exception ID, or the end that somebody asked for of one that counts."""
    output = Output.create(as_json=as_json)
    office = ExceptionOffice(target.deployment(Home.find()))
    _told(output, office, settled(office.decide(Decision(Verb.REFUSE, exception_id, note))))


@exceptions.command("end")
@click.argument("exception_id", metavar="ID")
@click.option("--note", required=True, help=f"Why; {_NOTE}")
@target_options
@json_option
def end(*, exception_id: str, note: str, target: Target, as_json: bool) -> None:
    """Let exception ID count no more.

    A legal hold, a retention or a residency exception ends when two persons called this.
    """
    output = Output.create(as_json=as_json)
    office = ExceptionOffice(target.deployment(Home.find()))
    answer = settled(office.decide(Decision(Verb.END, exception_id, note)))
    if answer.exception.status is Status.ENDED:
        _told(output, office, answer, office.spread(exception_id))
        return
    _told(output, office, answer)
    output.say(f"It counts until another person agrees: forebay exceptions end {exception_id}")


@exceptions.command("list")
@click.option(
    "--status",
    type=click.Choice([status.value for status in Status], case_sensitive=False),
    help="Only of this status (default: REQUESTED and ACTIVE).",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@target_options
@json_option
def list_(*, status: str | None, limit: int, target: Target, as_json: bool) -> None:
    """List exceptions, those asked for last first."""
    output = Output.create(as_json=as_json)
    office = ExceptionOffice(target.deployment(Home.find()))
    found, now = office.listed([Status(status)] if status else _OPEN, limit), office.clock.now()
    if as_json:
        output.document({"exceptions": [exception_document(each, now) for each in found]})
    elif found:
        _print(output, found, now)
    else:
        output.out.print("No exception is so.")


@exceptions.command("show")
@click.argument("exception_id", metavar="ID")
@target_options
@json_option
def show(*, exception_id: str, target: Target, as_json: bool) -> None:
    """Show exception ID: what it asks for, who decided, and why."""
    office = ExceptionOffice(target.deployment(Home.find()))
    _told(Output.create(as_json=as_json), office, Changed(office.get(exception_id)))


def _print(output: Output, found: Sequence[PolicyException], now: datetime) -> None:
    rows = table("exception", "status", "kind", "until", "about", "reason")
    for each in found:
        rows.add_row(
            each.exception_id,
            status_text(each, now),
            each.kind.value,
            f"{each.until:%Y-%m-%d}" if each.until else "-",
            str(each.scope),
            each.reason,
        )
    output.rows(rows)


def _told(
    output: Output, office: ExceptionOffice, answer: Changed, reached: Reached | None = None
) -> None:
    exception, now = answer.exception, office.clock.now()
    if output.as_json:
        document: dict[str, Any] = {"exception": exception_document(exception, now)}
        if reached:
            document |= {"reached": reached.objects, "is_complete": reached.is_complete}
        output.document({**document, "is_new": answer.is_new})
        return
    output.facts(
        [
            ("exception", exception.exception_id),
            ("status", status_text(exception, now)),
            ("kind", exception.kind.value),
            ("about", str(exception.scope)),
            ("until", f"{exception.until:%Y-%m-%d}" if exception.until else None),
            ("regions", ", ".join(exception.regions)),
            ("reason", exception.reason),
            ("asked by", exception.requested_by),
            ("decided by", exception.decided_by),
            ("end asked by", exception.end_asked_by),
            ("ended by", exception.ended_by),
            ("note", exception.note),
            ("objects", _reached_text(reached)),
        ]
    )
    if not answer.is_new:
        output.say("That was decided already; nothing was changed.")


def _reached_text(reached: Reached | None) -> str | None:
    if reached is None:
        return None
    if reached.is_complete:
        return f"{reached.objects:,} judged anew"
    return f"{reached.objects:,} judged anew; the others follow, evaluate_policy goes on"
