"""Plans over a deployment: two processes read and judge, each its part of what is stored."""

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from forebay.adapters.dead_letters import LambdaFunctions
from forebay.adapters.exceptions import DynamoExceptions
from forebay.adapters.placed_objects import DynamoPlacedObjects, read_plainly
from forebay.adapters.plan_ledger import S3PlanLedger
from forebay.adapters.price_table import load_prices, prices_for
from forebay.domain.policy.plan import Plan, Planned, Rates, Totals, plan_id
from forebay.domain.policy.pricing import PriceTable
from forebay.names import FOLDERS, Zone, bucket_name
from forebay.services.apply_plan import ApplyPlan
from forebay.services.plan_policy import PlanPolicy
from forebay_cli import stack_outputs
from forebay_cli.clock import Clock
from forebay_cli.deployment import Connection, Deployment
from forebay_cli.failures import CommandError

PROCESSES: Final = 2
"""At most as many as `by_state` has shards; the second starts while the first is at work."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a process needs to plan: data only, to be sent to it."""

    connection: Connection
    table: str
    policy: Mapping[str, Any]
    rates: Rates
    zones: Mapping[str, Zone]
    regions: tuple[str, ...]
    against: Mapping[str, Any] | None = None
    site: str = ""

    def planned(self, now: datetime, *, part: int = 0, parts: int = 1) -> Iterator[Planned]:
        """Yield what the plan says of each object of one part of what is stored."""
        # CEL takes time to import, which commands that plan nothing should not wait for.
        from forebay.adapters.policy import CelPolicy  # noqa: PLC0415

        exceptions = DynamoExceptions(self.connection.dynamodb(), self.table)
        client = read_plainly(self.connection.dynamodb())
        placed = DynamoPlacedObjects(client, self.table, exceptions, part=part, parts=parts)
        plan = PlanPolicy(
            placed,
            CelPolicy.from_data(self.policy),
            self.rates,
            self.zones,
            self.regions,
            CelPolicy.from_data(self.against) if self.against else None,
        )
        return plan(now, site=self.site)

    def totals(self, now: datetime, part: int = 0, parts: int = 1) -> Totals:
        """Return the totals of one part."""
        return Totals.of(self.planned(now, part=part, parts=parts))


def totals_of(task: Task, now: datetime, processes: int = PROCESSES) -> Totals:
    """Return the totals of everything that is stored."""
    others = range(1, processes)
    # Not forked: threads and connections of this process would be torn.
    with ProcessPoolExecutor(max(1, len(others)), mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(task.totals, now, part, processes) for part in others]
        totals = task.totals(now, 0, processes)
        for each in waiting:
            totals.merge(each.result())
    return totals


@dataclass(frozen=True)
class Planner:
    """Plans of one policy over one deployment; `prices` is a file, None for the region's table."""

    deployment: Deployment
    folder: Path
    prices: Path | None = None

    @property
    def clock(self) -> Clock:
        """The time a plan is made at."""
        return self.deployment.account.clock

    @cached_property
    def policy(self) -> Mapping[str, Any]:
        """The compiled policy of the folder."""
        return compiled(self.folder)

    @cached_property
    def digest(self) -> str:
        """What tells this policy from others."""
        from forebay.adapters.compiled_policy import policy_of  # noqa: PLC0415

        return policy_of(self.policy).digest

    @cached_property
    def price_table(self) -> PriceTable:
        """The prices amounts are worked out from."""
        if self.prices:
            return load_prices(self.prices)
        return prices_for(self.deployment.account.region, self.folder)

    @property
    def rates(self) -> Rates:
        """Prices, and where replicas go."""
        replicas = self._regions[1:]
        return Rates(self.price_table, replicas[0] if replicas else "")

    def task(self, site: str) -> Task:
        """Return what has to be planned."""
        outputs = self.deployment.outputs
        names = {outputs.get(stack_outputs.bucket(zone), ""): zone for zone in FOLDERS}
        return Task(
            self.deployment.account.connection,
            self.deployment.output(stack_outputs.TABLE),
            self.policy,
            self.rates,
            {name: zone for name, zone in names.items() if name},
            self._regions,
            site=site,
        )

    def plan(self, *, site: str = "", against: tuple[str, Mapping[str, Any]] | None = None) -> Plan:
        """Return what the policy would change, against what is stored or another policy."""
        now = self.clock.now()
        task = self.task(site)
        name, other = against or ("", None)
        totals = totals_of(replace(task, against=other), now)
        return Plan(
            plan_id(self.digest, now),
            now,
            self.digest,
            totals,
            region=self.price_table.region,
            prices_as_of=self.price_table.as_of.isoformat(),
            site=site,
            against=name,
            deployed_in=self.deployment.account.region,
        )

    def changed(self, site: str, now: datetime) -> Iterator[Planned]:
        """Yield what the plan says of each object, as it is now."""
        return self.task(site).planned(now)

    @cached_property
    def apply(self) -> ApplyPlan:
        """What carries a plan out."""
        account = self.deployment.account
        return ApplyPlan(
            LambdaFunctions(account.functions, self.deployment.by_step(stack_outputs.FUNCTION)),
            S3PlanLedger(account.s3, self.deployment.bucket(Zone.LEDGER)),
            self.clock,
            self.rates,
        )

    @cached_property
    def identity(self) -> str:
        """The AWS identity of whoever calls this."""
        return self.deployment.account.sts.get_caller_identity()["Arn"]

    @cached_property
    def _regions(self) -> tuple[str, ...]:
        """Home, then where the archive is: a bucket's name ends with its region."""
        home = self.deployment.account.region
        archive = self.deployment.outputs.get(stack_outputs.bucket(Zone.ARCHIVE), "")
        begins = re.escape(bucket_name(self.deployment.prefix, Zone.ARCHIVE, "", ""))[:-1]
        found = re.fullmatch(rf"{begins}\d+-(.+)", archive)
        return (home, found[1]) if found and found[1] != home else (home,)


def compiled(folder: Path) -> Mapping[str, Any]:
    """Return the compiled policy of a folder; raises PolicyError with all that is wrong."""
    # YAML, JSON Schema and CEL take time to import.
    from forebay.adapters.policy_source import compile_folder  # noqa: PLC0415

    return compile_folder(folder)


@contextmanager
def other_folder(named: str, folder: Path) -> Iterator[Path]:
    """Give the folder of another policy: a folder, or the same one in a branch or commit."""
    if Path(named).is_dir():
        yield Path(named)
        return
    top = _git(folder, "rev-parse", "--show-toplevel").decode().strip()
    path = folder.resolve().relative_to(Path(top).resolve()).as_posix()
    commit = _git(folder, "rev-parse", "--verify", "--end-of-options", f"{named}^{{commit}}")
    packed = _git(Path(top), "archive", commit.decode().strip(), "--", path)
    with TemporaryDirectory(prefix="forebay-policy-") as scratch:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(scratch, filter="data")
        yield Path(scratch) / path


def read_plan(path: Path) -> Plan:
    """Return the plan that `forebay policy plan --json` wrote; raises CommandError for none."""
    try:
        return Plan.from_dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CommandError(
            f"{path} is no plan: {type(exc).__name__}: {exc}.",
            "Write one: forebay policy plan --json > plan.json",
        ) from exc


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and names cannot be options
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the caller's own git
            capture_output=True,
            check=False,
        )
    except OSError as exc:
        raise CommandError(f"git cannot be run: {exc}.", "Give a folder instead.") from exc
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise CommandError(
            f"git does not find the other policy: {said}",
            "Give a branch or commit of this checkout, or a folder.",
        )
    return done.stdout
