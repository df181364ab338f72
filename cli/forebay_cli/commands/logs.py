"""`forebay logs`."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click
from botocore.exceptions import ClientError

from forebay.names import Step
from forebay_cli import stack_outputs
from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option
from forebay_cli.target import Target, target_options

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LAMBDA_LINES: Final = ("START ", "END ", "REPORT ", "INIT_START ")
_POLL_SECONDS: Final = 2.0
# What the logger adds to every line and a person does not need to read.
_HOUSEKEEPING: Final = frozenset(
    {
        "timestamp", "level", "message", "service", "location", "sampling_rate", "xray_trace_id",
        "cold_start", "function_name", "function_memory_size", "function_arn",
        "function_request_id", "requestId", "time", "type", "exception",
    }
)  # fmt: skip


def seconds_of(_context: click.Context, _option: click.Parameter, text: str) -> float:
    """Return a duration such as `90s`, `10m`, `2h` or `1d` in seconds."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a duration such as 90s, 10m, 2h or 1d.")
    return float(match[1]) * _UNITS[match[2]]


@click.command()
@click.argument("step", required=False, type=click.Choice([step.value for step in Step]))
@click.option(
    "--since", callback=seconds_of, default="10m", show_default=True, help="How far back."
)
@click.option("--follow", is_flag=True, help="Go on printing new lines until Ctrl-C.")
@click.option("--object", "object_id", default="", help="Only lines about this object id.")
@target_options
@json_option
def logs(  # noqa: PLR0913 - one parameter per option
    *,
    step: str | None,
    since: float,
    follow: bool,
    object_id: str,
    target: Target,
    as_json: bool,
) -> None:
    """Show what the steps logged, of all steps unless one is named.

    With --json one document, except with --follow: then one JSON object per line, as it comes.
    """
    output = Output.create(as_json=as_json)
    deployment = target.deployment(Home.find())
    groups = deployment.by_step(stack_outputs.LOG_GROUP)
    if step is not None:
        groups = {name: group for name, group in groups.items() if name.value == step}
    if not groups:
        raise CommandError("This deployment has no log group for that step.")
    reader = LogReader(deployment.account.logs, groups, object_id)
    start = datetime.now(UTC).timestamp() - since
    if follow:
        _follow(output, reader, start)
    elif as_json:
        output.document({"events": [line.document() for line in reader.since(start)]})
    else:
        _print(output, reader, start)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line a step logged."""

    event_id: str
    step: Step
    at: datetime
    raw: str

    @property
    def fields(self) -> dict[str, Any]:
        """The structured line; a plain one has a message only."""
        try:
            data = json.loads(self.raw)
        except ValueError:
            return {"message": self.raw.rstrip()}
        return data if isinstance(data, dict) else {"message": self.raw.rstrip()}

    @property
    def is_housekeeping(self) -> bool:
        """Whether this is Lambda's own line, or a metric written as a log line."""
        return self.raw.startswith(_LAMBDA_LINES) or "_aws" in self.fields

    def document(self) -> dict[str, Any]:
        """Return the line as JSON data."""
        return {"step": self.step.value, "at": self.at, **self.fields}

    def text(self) -> str:
        """Return the line for a person."""
        fields = self.fields
        level = str(fields.get("level", "")).ljust(7)
        rest = " ".join(
            f"{name}={_short(value)}"
            for name, value in fields.items()
            if name not in _HOUSEKEEPING and value not in (None, "")
        )
        message = _short(fields.get("message", ""))
        text = f"{self.at:%H:%M:%S} {self.step.value:<16} {level} {message} {rest}".rstrip()
        return f"{text}\n{fields['exception']}" if fields.get("exception") else text


class LogReader:
    """Reads the log groups of the steps, each event once."""

    def __init__(
        self, client: "CloudWatchLogsClient", groups: Mapping[Step, str], object_id: str = ""
    ) -> None:
        self._client = client
        self._groups = groups
        self._object_id = object_id
        self._seen: set[str] = set()

    def since(self, start: float) -> list[LogLine]:
        """Return lines not returned before, from a time (seconds since the epoch) on, in order."""
        lines = [line for step in self._groups for line in self._read(step, start)]
        fresh = [line for line in lines if line.event_id not in self._seen]
        self._seen |= {line.event_id for line in fresh}
        return sorted(fresh, key=lambda line: line.at)

    def _read(self, step: Step, start: float) -> Iterator[LogLine]:
        wanted: dict[str, Any] = {"startTime": int(start * 1000)}
        if self._object_id:
            wanted["filterPattern"] = f'"{self._object_id}"'
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=self._groups[step], **wanted
        )
        try:
            for page in pages:
                for event in page["events"]:
                    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                    # MiniStack gives events no id.
                    event_id = event.get("eventId") or f"{step} {at} {event['message']}"
                    yield LogLine(event_id, step, at, event["message"])
        except ClientError as exc:
            # A function that never ran has no stream, and locally no group either.
            if exc.response["Error"]["Code"] != "ResourceNotFoundException":
                raise


def _follow(output: Output, reader: LogReader, start: float) -> None:
    try:
        while True:
            if output.as_json:
                for line in reader.since(start):
                    click.echo(json.dumps(line.document(), sort_keys=True, default=str))
            else:
                _print(output, reader, start)
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        return


def _print(output: Output, reader: LogReader, start: float) -> None:
    for line in reader.since(start):
        if not line.is_housekeeping:
            output.out.print(line.text(), soft_wrap=True)


def _short(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), default=str)
    return str(value)
