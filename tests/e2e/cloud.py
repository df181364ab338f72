"""The deployed whole, and the command line pointed at it."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forebay.adapters.catalog_reader import CatalogReader
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import IN_FLIGHT, State
from forebay_cli import stack_outputs
from forebay_cli.deployment import Deployment

if TYPE_CHECKING:
    from mypy_boto3_sqs.literals import QueueAttributeNameType

FOREBAY = str(Path(sys.executable).parent / "forebay")
PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Cloud:
    """The deployed whole, and the command line pointed at it."""

    home: Path
    deployment: Deployment
    reader: CatalogReader

    def forebay(self, *arguments: str, expect: int = 0) -> Any:
        """Run a command with `--json`; return what it printed."""
        done = subprocess.run(
            [FOREBAY, *arguments, "--json"],
            env=os.environ | {"FOREBAY_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
        return lines[0] if len(lines) == 1 else lines

    def counts(self, site: str) -> dict[str, int]:
        """Return how many objects of a site are in each state."""
        found = {
            state.value: len(self.reader.in_state(state, sites=[site], limit=20_000))
            for state in State
        }
        return {state: count for state, count in found.items() if count}

    def outcomes(self, site: str) -> int:
        """Return how many objects of a site are no longer in flight."""
        counts = self.counts(site)
        return sum(count for state, count in counts.items() if State(state) not in IN_FLIGHT)

    def client(self, service: str) -> Any:
        """Return a client for a service the command line does not use."""
        account = self.deployment.account
        return account._session.client(service, **account._settings)  # type: ignore[call-overload]

    def waiting(self, url: str) -> int:
        """Return how many messages wait in a queue."""
        return self._messages(url, "ApproximateNumberOfMessages")

    def under_way(self, url: str) -> int:
        """Return how many messages of a queue wait, or were received and not deleted yet."""
        received = self._messages(url, "ApproximateNumberOfMessagesNotVisible")
        return self.waiting(url) + received

    def _messages(self, url: str, attribute: "QueueAttributeNameType") -> int:
        attributes = self.deployment.account.sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=[attribute]
        )["Attributes"]
        return int(attributes[attribute])

    def open_letters(self) -> dict[str, int]:
        """Return how many archived dead letters of each step are open."""
        causes = self.forebay("dead-letters", "list")["causes"]
        return {cause["step"]: cause["letters"]["OPEN"] for cause in causes}

    def given_up(self) -> dict[str, int]:
        """Return what the steps gave up on and nobody resolved: archived already, or about to be.

        Compare with what it was before: the cloud is that of all tests.
        """
        queues = self.deployment.by_step(stack_outputs.DEAD_LETTERS)
        about_to_be = Counter({step.value: self.waiting(url) for step, url in queues.items()})
        return dict(about_to_be + Counter(self.open_letters()))

    def records(self, site: str, state: State) -> list[ObjectRecord]:
        """Return the records of a site in a state."""
        return self.reader.objects(self.reader.in_state(state, sites=[site], limit=20_000))

    def settle(
        self, site: str, expected: dict[str, int], *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Wait until a site's objects stand as expected."""
        self.until(
            lambda: self.counts(site) == expected,
            lambda: f"{self.counts(site)}, not {expected}",
            patience_seconds=patience_seconds,
        )

    @staticmethod
    def until(
        done: Callable[[], bool],
        describe: Callable[[], str] = lambda: "",
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Wait for a condition; fail with a description when patience ends."""
        deadline = time.monotonic() + patience_seconds
        while not done():
            assert time.monotonic() < deadline, describe()
            time.sleep(0.5)
