"""`forebay local`: what only a local cloud can do."""

import re
import time
from datetime import timedelta
from typing import Any, Final

import click

from forebay_cli.commands.up import progress
from forebay_cli.deployment import Account, Deployment
from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud.advancing import Advance, Day, What
from forebay_cli.localcloud.lifecycle import running_cloud
from forebay_cli.localcloud.passing import LocalClock, LocalSchedules, LocalStorage, tell_functions
from forebay_cli.localcloud.record import LocalCloud
from forebay_cli.output import Output, duration_text, json_option, table

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LONGEST: Final = timedelta(days=3653)
"""Ten years: whoever asks for more has mistyped."""


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        match = re.fullmatch(r"(\d{1,5})([hdw])", str(value))
        if not match:
            self.fail(
                f"expected hours, days or weeks as 12h, 30d or 4w, found {value!r}", param, ctx
            )
        duration = int(match[1]) * _UNITS[match[2]]
        if not timedelta() < duration <= _LONGEST:
            self.fail(f"expected 1h to {_LONGEST.days}d, found {value!r}", param, ctx)
        return duration


@click.group()
def local() -> None:
    """What only the local cloud can do; no account is ever touched."""


@local.command()
@click.argument("duration", type=_Duration())
@click.option(
    "--at-once", is_flag=True, help="In one leap: S3 and policy act once, at the end of the time."
)
@json_option
def advance(*, duration: timedelta, at_once: bool, as_json: bool) -> None:
    """Let time pass in the local cloud, such as 12h, 30d or 4w.

    The clock of its functions, of its storage and of this command line moves ahead, and cannot be
    moved back. On each day with something due, policy is evaluated, then S3's lifecycle does what
    the deployed rules say: it moves, expires and removes versions, ends restored copies, and sends
    the events S3 sends. The clock stays ahead until `forebay down`; with `up --persist` it is kept
    with the state.
    """
    output = Output.create(as_json=as_json)
    cloud = _require_local(Home.find())
    deployment = Deployment.find(Account.of_local(cloud))
    clock = LocalClock(cloud, deployment)
    before, began = clock.now(), time.monotonic()
    with progress(output) as say:
        time_passes = Advance(
            clock,
            LocalStorage(cloud, deployment),
            LocalSchedules(deployment),
            lambda day: say(f"{day.at:%Y-%m-%d}"),
        )
        try:
            days = time_passes(duration, at_once=at_once)
        finally:
            tell_functions(cloud)
    after = clock.now()
    if as_json:
        found = {"from": before, "to": after, "days": [day.document() for day in days]}
        output.document(found)
        return
    _print(output, days)
    seconds = duration_text(time.monotonic() - began)
    output.say(f"It is {after:%Y-%m-%d %H:%M} UTC in the local cloud now ({seconds}).")


def _require_local(home: Home) -> LocalCloud:
    cloud = running_cloud(home)
    if cloud is None:
        raise CommandError(
            "The local cloud is not up, and no other clock can be moved.", "Start it: forebay up"
        )
    if not cloud.clock_file:
        raise CommandError(
            "The local cloud was started by an older version, whose clock cannot be moved.",
            "Start it anew: forebay down, then forebay up.",
        )
    return cloud


def _print(output: Output, days: tuple[Day, ...]) -> None:
    rows = table("day", "evaluated", "changed", "moved", "hidden or removed", "restores ended")
    for day in days:
        moved = ", ".join(f"{count} to {to}" for to, count in day.moved.items())
        rows.add_row(
            f"{day.at:%Y-%m-%d}",
            _count(day.evaluated.get("EvaluatedObjects", 0)),
            _count(day.evaluated.get("ChangedObjects", 0)),
            moved,
            _count(day.count(What.EXPIRE, What.FORGET_MARKER)),
            _count(day.count(What.END_RESTORE)),
        )
    if rows.row_count:
        output.rows(rows)
    else:
        output.out.print("Nothing fell due.")


def _count(number: int) -> str:
    return f"{number:,}" if number else ""
