"""What becomes of the demonstration's files, watched from outside as any user could."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from forebay.adapters.catalog_reader import CatalogReader
from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.runs import ENDED, PipelineRun
from forebay.domain.states import IN_FLIGHT, State
from forebay.names import Zone
from forebay_cli.uploads.sending import SentFile

_POLL_SECONDS: Final = 0.4


@dataclass(frozen=True, slots=True)
class Followed:
    """One uploaded file on its way; `expected` are the states in which it may end."""

    name: str
    about: str
    object_id: str
    expected: frozenset[State]
    record: ObjectRecord | None = None
    zone: Zone | None = None

    @property
    def state(self) -> str:
        """The state's name; before the catalog knows the object, that it was uploaded."""
        return self.record.state.value if self.record else "uploaded"

    @property
    def is_settled(self) -> bool:
        """Whether the object reached a state it does not leave by itself, with its copy made."""
        if self.record is None or self.record.state in IN_FLIGHT:
            return False
        # Late evidence may still convict what was placed: wait where that is expected.
        return self.record.state in self.expected or State.QUARANTINED not in self.expected

    @property
    def is_as_expected(self) -> bool:
        """Whether it ended as the story says."""
        return self.record is not None and self.record.state in self.expected

    @property
    def outcome(self) -> str:
        """What became of it, in a sentence."""
        record = self.record
        if record is None:
            return "The catalog does not know it yet."
        if record.finding:
            return record.finding.message
        if record.state is State.PLACED and self.zone:
            return f"{self.zone.value} zone, class {record.object_class}"
        if record.state is State.DUPLICATE:
            return "The same bytes are stored already."
        if record.state is State.CONFLICT:
            return "Another file holds this identity; kept aside, nothing was overwritten."
        return f"Still {record.state.value}."


@dataclass(frozen=True, slots=True)
class Story:
    """The demonstration at one moment."""

    files: tuple[Followed, ...]
    run: PipelineRun | None = None
    reports: tuple[ObjectRecord, ...] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many files are in each state."""
        states = [file.state for file in self.files]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    @property
    def is_over(self) -> bool:
        """Whether every file is settled, and the pipeline's reports are placed."""
        if not all(file.is_settled for file in self.files):
            return False
        if self.run is None or self.run.state not in ENDED:
            return False
        return len(self.reports) > 1 and all(r.state is State.PLACED for r in self.reports)


@dataclass(slots=True)
class Course:
    """Follows files until the story is over; `show` is called whenever something changed."""

    catalog: CatalogReader
    zone_of: Callable[[str], Zone | None]
    sample: str
    site: str
    show: Callable[[Story], None]
    story: Story = field(default_factory=lambda: Story(()))

    def add(self, files: Iterable[Followed]) -> None:
        """Follow more files from now on."""
        self.story = replace(self.story, files=(*self.story.files, *files))
        self.show(self.story)

    def until(self, reached: Callable[[Story], bool], patience_seconds: float) -> bool:
        """Watch until something is reached; False when nothing changed for too long."""
        changed_at = time.monotonic()
        while not reached(self.story):
            before = self.story
            time.sleep(_POLL_SECONDS)
            self._look()
            if self.story != before:
                changed_at = time.monotonic()
            elif time.monotonic() - changed_at > patience_seconds:
                return False
        return True

    def _look(self) -> None:
        before = self.story
        files = tuple(self._look_at(file) for file in before.files)
        run, reports = before.run, before.reports
        if any(file.record and file.record.kind is Kind.FASTQ for file in files):
            run = self._run()
            reports = tuple(self.catalog.outputs_of_run(run.run_id)) if run else ()
        self.story = Story(files, run, reports)
        if self.story != before:
            self.show(self.story)

    def _look_at(self, file: Followed) -> Followed:
        return file if file.is_settled else self._refreshed(file)

    def _refreshed(self, file: Followed) -> Followed:
        record = self.catalog.object(file.object_id)
        zone = self.zone_of(record.placed.bucket) if record and record.placed else None
        return replace(file, record=record, zone=zone)

    def _run(self) -> PipelineRun | None:
        runs = self.catalog.runs_of_sample(self.sample, sites=[self.site])
        return max(runs, key=lambda run: run.state_since, default=None)


def follow(name: str, about: str, sent: SentFile, *expected: State) -> Followed:
    """Return a file to follow from what its upload returned."""
    return Followed(name, about, sent.object_id, frozenset(expected))
