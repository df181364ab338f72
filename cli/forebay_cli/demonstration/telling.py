"""How the demonstration is shown: live on a terminal, line by line elsewhere."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from rich.live import Live
from rich.table import Table
from rich.text import Text

from forebay.domain.states import State
from forebay_cli.demonstration.course import Followed, Story
from forebay_cli.output import Output, table

_STYLES: Final = {
    State.PLACED.value: "green",
    State.DUPLICATE.value: "cyan",
    State.QUARANTINED.value: "yellow",
    State.CONFLICT.value: "yellow",
}


class Screen(AbstractContextManager["Screen"]):
    """Shows a story while it happens."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._live: Live | None = None
        self._last = ""
        if output.out.is_terminal and not output.as_json:
            self._live = Live(console=output.out, auto_refresh=False, transient=True)

    def __enter__(self) -> "Screen":  # noqa: PYI034 - Self is for subclasses, there are none
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, story: Story) -> None:
        """Show the story as it is now."""
        if self._live:
            self._live.update(_moving(story), refresh=True)
            return
        line = " · ".join(f"{count} {state}" for state, count in story.counts.items())
        if story.run:
            line += f" · pipeline {story.run.state.value}"
        if line != self._last:
            self._last = line
            self._output.say(f"  {line}")


def outcomes(story: Story) -> Table:
    """Return the last table: what became of each file, and why."""
    made = table("file", "what it is", "outcome", "why, or where")
    for file in story.files:
        made.add_row(file.name, file.about, _coloured(file), file.outcome)
    return made


def report(story: Story, result: Mapping[str, Any], html: Path) -> list[tuple[str, object]]:
    """Return the pipeline's key numbers, from its JSON report."""
    mates = result["mates"]
    per_mate = " · ".join(
        f"{name} {mate['q30_fraction']:.1%} ≥ Q30, GC {mate['gc_fraction']:.1%}"
        for name, mate in sorted(mates.items())
    )
    return [
        ("pipeline", f"{result['pipeline']} {result['pipeline_version']}"),
        ("sample", result["sample"]),
        ("pairs", f"{result['pairs']:,} (both mates ≥ Q30: {result['both_q30_fraction']:.1%})"),
        ("mates", per_mate),
        ("report", _relative(html)),
        ("run", story.run.run_id if story.run else ""),
    ]


def _moving(story: Story) -> Table:
    made = table("file", "what it is", "state")
    for file in story.files:
        made.add_row(file.name, file.about, _coloured(file))
    run = story.run
    made.add_row("read QC pipeline", "from both mates", run.state.value if run else "waiting")
    return made


def _coloured(file: Followed) -> Text:
    return Text(file.state, style=_STYLES.get(file.state, ""))


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
