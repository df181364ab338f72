"""`forebay status`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Group
from rich.live import Live

from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.names import Step
from forebay_cli import stack_outputs
from forebay_cli.deployment import Deployment
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, table
from forebay_cli.reading import catalog_of
from forebay_cli.target import Target, target_options

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_REFRESH_SECONDS: Final = 2.0


@click.command()
@click.option("--watch", is_flag=True, help="Refresh every two seconds until Ctrl-C.")
@target_options
@json_option
def status(*, watch: bool, target: Target, as_json: bool) -> None:
    """Show objects by state, steps with their queues, and pipeline runs."""
    if watch and as_json:
        raise click.UsageError("--watch shows a live table; it cannot be combined with --json.")
    output = Output.create(as_json=as_json)
    deployment = target.deployment(Home.find())
    if watch:
        _watch(output, deployment)
    elif as_json:
        output.document(Counts.of(deployment).document())
    else:
        output.out.print(Counts.of(deployment).tables())


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages of one step: waiting, being worked on, and given up on."""

    waiting: int = 0
    in_flight: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """A deployment at one moment; SQS counts are approximate."""

    states: Mapping[State, int]
    steps: Mapping[Step, Backlog]
    runs: Mapping[RunState, int]

    @classmethod
    def of(cls, deployment: Deployment) -> "Counts":
        """Count now."""
        catalog = catalog_of(deployment)
        return cls(
            states={state: catalog.count_in_state(state) for state in State},
            steps=backlogs(deployment),
            runs={state: catalog.count_runs(state) for state in RunState},
        )

    def document(self) -> dict[str, Any]:
        """Return the counts as JSON data."""
        return {
            "states": {state.value: count for state, count in self.states.items()},
            "steps": {
                step.value: {
                    "waiting": backlog.waiting,
                    "in_flight": backlog.in_flight,
                    "dead_letters": backlog.dead_letters,
                }
                for step, backlog in self.steps.items()
            },
            "pipeline_runs": {state.value: count for state, count in self.runs.items()},
        }

    def tables(self) -> Group:
        """Return the counts as tables."""
        objects = table("state", "objects")
        for state, count in self.states.items():
            if count:
                objects.add_row(state.value, str(count))
        if not objects.row_count:
            objects.add_row("-", "nothing has arrived yet")
        steps = table("step", "waiting", "in flight", "dead letters")
        for step, backlog in self.steps.items():
            counts = (backlog.waiting, backlog.in_flight, backlog.dead_letters)
            steps.add_row(step.value, *(str(count or "-") for count in counts))
        runs = table("pipeline runs", "")
        for run_state, count in self.runs.items():
            runs.add_row(run_state.value, str(count or "-"))
        return Group(objects, steps, runs)


def backlogs(deployment: Deployment) -> dict[Step, Backlog]:
    """Return the backlog of every step that has a queue or dead letters."""
    sqs = deployment.account.sqs
    queues = deployment.by_step(stack_outputs.QUEUE)
    dead_letters = deployment.by_step(stack_outputs.DEAD_LETTERS)
    found: dict[Step, Backlog] = {}
    for step in Step:
        if step in queues or step in dead_letters:
            waiting, in_flight = _depth(sqs, queues.get(step, ""))
            given_up, shown = _depth(sqs, dead_letters.get(step, ""))
            found[step] = Backlog(waiting, in_flight, given_up + shown)
    return found


def _depth(sqs: "SQSClient", url: str) -> tuple[int, int]:
    """Return visible and invisible messages of a queue."""
    if not url:
        return 0, 0
    attributes = sqs.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return (
        int(attributes["ApproximateNumberOfMessages"]),
        int(attributes["ApproximateNumberOfMessagesNotVisible"]),
    )


def _watch(output: Output, deployment: Deployment) -> None:
    with Live(console=output.out, auto_refresh=False) as live:
        try:
            while True:
                live.update(Counts.of(deployment).tables(), refresh=True)
                time.sleep(_REFRESH_SECONDS)
        except KeyboardInterrupt:
            return
