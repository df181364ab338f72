"""The parts that let time pass in a running local cloud: its clock, its storage, its schedules."""

import json
import math
import ssl
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from forebay.adapters import keys
from forebay.adapters.queries import Query, query_items
from forebay.domain.policy.lifecycle import LifecycleRule, StoredVersion, rules_from_s3
from forebay.domain.policy.storage_classes import StorageClass
from forebay.events import utc_moment, utc_text
from forebay.names import ENV_CLOCK_AHEAD_SECONDS, INDEX_BY_ACTION, Step, Zone
from forebay_cli import stack_outputs
from forebay_cli.deployment import Account, Deployment
from forebay_cli.failures import CommandError
from forebay_cli.localcloud.advancing import Deed, Version
from forebay_cli.localcloud.moved_clock import Moved, MovedClock
from forebay_cli.localcloud.record import LocalCloud

_AT_ONCE: Final = 8
_DOOR_SECONDS: Final = 60
_PATIENCE_SECONDS: Final = 120.0
_QUIET_LOOKS: Final = 2
_LOOK_EVERY_SECONDS: Final = 0.3
_ATTEMPTS: Final = 3
_JUST_AFTER: Final = timedelta(microseconds=1)


def tell_storage(cloud: LocalCloud) -> None:
    """Set the clock of a local cloud's storage to what was recorded."""
    ahead = MovedClock.load(Path(cloud.clock_file)).ahead_seconds
    _knock(cloud, "PUT", "clock", {"ahead_seconds": ahead})


def tell_functions(cloud: LocalCloud) -> None:
    """Set the clock of all functions to what was recorded: a deployment sets it back."""
    ahead = MovedClock.load(Path(cloud.clock_file)).ahead_seconds
    if ahead:
        _tell_functions(Deployment.find(Account.of_local(cloud)), ahead)


def _tell_functions(deployment: Deployment, ahead_seconds: int, *steps: Step) -> None:
    found = deployment.by_step(stack_outputs.FUNCTION)
    names = [name for step, name in found.items() if step in (steps or found)]
    functions = deployment.account.functions

    def tell(name: str) -> None:
        known = functions.get_function_configuration(FunctionName=name)
        told = known.get("Environment", {}).get("Variables", {})
        told = {**told, ENV_CLOCK_AHEAD_SECONDS: str(ahead_seconds)}
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": told})

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(tell, names))


def _knock(cloud: LocalCloud, method: str, place: str, body: object = None) -> Any:
    """Ask what `localcloud/inside/forebay_storage.py` added to the emulator."""
    context = ssl.create_default_context(cafile=cloud.ca_bundle) if cloud.ca_bundle else None
    # The address is the loopback endpoint of the record; no proxy may stand in between.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(  # noqa: S310 - see above
        f"{cloud.endpoint}/_forebay/{place}", json.dumps(body).encode(), method=method
    )
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_DOOR_SECONDS) as answer:
            return json.load(answer)
    except (OSError, ValueError) as exc:
        raise CommandError(
            f"The local cloud at {cloud.endpoint} did not let its clock be moved: {exc}",
            "It may be of an older version: forebay down, then forebay up.",
        ) from exc


@dataclass(frozen=True, slots=True)
class LocalClock:
    """The clock of a running local cloud: `advancing.MovableClock`.

    On its way it moves the functions that act on the time alone: a function starts anew whenever
    its environment changes, which takes seconds. `tell_functions` moves the others in the end.
    """

    cloud: LocalCloud
    deployment: Deployment

    def now(self) -> datetime:
        """Return the time."""
        return MovedClock.load(self._file).clock.now()

    def move_to(self, moment: datetime) -> None:
        """Set it; the record is written first, so that what is interrupted can be done again."""
        before = MovedClock.load(self._file)
        real = datetime.now(UTC)
        ahead = max(before.ahead_seconds, math.ceil((moment - real).total_seconds()))
        moved = Moved(utc_text(real), ahead - before.ahead_seconds)
        MovedClock(ahead, (*before.moves, moved)).save(self._file)
        tell_storage(self.cloud)
        _tell_functions(self.deployment, ahead, *_TIMELY)

    @property
    def _file(self) -> Path:
        return Path(self.cloud.clock_file)


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """The buckets of a running local cloud: `advancing.Storage`."""

    cloud: LocalCloud
    deployment: Deployment

    def rules(self) -> Mapping[str, Sequence[LifecycleRule]]:
        """Return the rules that are deployed, by bucket."""
        outputs = self.deployment.outputs
        names = [outputs.get(stack_outputs.bucket(zone), "") for zone in Zone]
        return {name: self._rules(name) for name in names if name}

    def _rules(self, bucket: str) -> Sequence[LifecycleRule]:
        s3 = self.deployment.account.s3
        try:
            found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
                return ()
            raise
        return rules_from_s3(found)

    def versions(self, bucket: str) -> Sequence[Version]:
        """Return all versions of a bucket."""
        found = _knock(self.cloud, "GET", f"storage/{bucket}")["versions"]
        keys_of = [each["key"] for each in found]
        return [_version(each, is_lone=keys_of.count(each["key"]) == 1) for each in found]

    def act(self, bucket: str, deeds: Sequence[Deed]) -> Sequence[bool]:
        """Do it; False for each that storage refused."""
        orders = [deed.document() for deed in deeds]
        done: list[bool] = _knock(self.cloud, "POST", f"storage/{bucket}", orders)["done"]
        return done


def _version(said: Mapping[str, Any], *, is_lone: bool) -> Version:
    hidden, until = said["noncurrent_since"], said["restored_until"]
    return Version(
        key=said["key"],
        version_id=said["version_id"],
        stored=StoredVersion(
            tags=said["tags"],
            size_bytes=said["size_bytes"],
            created=datetime.fromisoformat(said["created"]),
            storage_class=StorageClass(said["storage_class"]),
            noncurrent_since=datetime.fromisoformat(hidden) if hidden else None,
            is_locked=said["is_locked"],
        ),
        is_marker=said["is_marker"],
        is_lone=is_lone,
        restored_until=datetime.fromisoformat(until) if until else None,
    )


@dataclass(frozen=True, slots=True)
class LocalSchedules:
    """What Forebay's scheduled functions do in a local cloud: `advancing.Scheduled`."""

    deployment: Deployment
    patience_seconds: float = _PATIENCE_SECONDS
    functions: Mapping[Step, str] = field(default_factory=dict)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return when policy looks at an object next, later than a moment."""
        low = utc_text(moment + _JUST_AFTER)
        firsts = (self._first(keys.action_pk(shard), low) for shard in range(keys.DUE_SHARDS))
        return min((first for first in firsts if first), default=None)

    def _first(self, partition: str, low: str) -> datetime | None:
        query = Query(partition, INDEX_BY_ACTION, low=low)
        arguments = query.arguments(self.deployment.output(stack_outputs.TABLE))
        client = self.deployment.account.dynamodb
        for item in query_items(client, arguments, limit=1):
            return utc_moment(item["action_sk"]["S"].partition("#")[0])
        return None

    def evaluate(self) -> Mapping[str, int]:
        """Let policy work off what is due; raises CommandError with what its function said."""
        name = self.deployment.output(stack_outputs.of_step(stack_outputs.FUNCTION, _EVALUATE))
        answer: Any = None
        # Lambda tries what a schedule invokes twice more, too. Here it matters when the emulator
        # ends all processes of a function because one, overtaken by a move of the clock, died.
        for _ in range(_ATTEMPTS):
            done = self.deployment.account.functions.invoke(FunctionName=name, Payload=b"{}")
            answer = json.load(done["Payload"])
            if "FunctionError" not in done:
                said = answer or {}
                return {each: int(said[each]) for each in _COUNTED if each in said}
        raise CommandError(
            f"{_EVALUATE} failed: {answer.get('errorMessage', answer)}",
            f"Look: forebay logs {_EVALUATE}. Then run the command again: the clock stands "
            "where it failed.",
        )

    def settle(self) -> None:
        """Wait until the queues of all steps are empty."""
        deadline = time.monotonic() + self.patience_seconds
        looks = 0
        while looks < _QUIET_LOOKS:
            looks = 0 if self._waiting() else looks + 1
            if time.monotonic() > deadline:
                raise CommandError(
                    f"Steps were still at work after {self.patience_seconds:.0f} s.",
                    "See what they do: forebay status. Then run the command again.",
                )
            time.sleep(_LOOK_EVERY_SECONDS)

    def _waiting(self) -> int:
        sqs, counts = self.deployment.account.sqs, 0
        for url in self.deployment.by_step(stack_outputs.QUEUE).values():
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_IN_QUEUE))
            counts += sum(int(found["Attributes"][name]) for name in _IN_QUEUE)
        return counts


_EVALUATE: Final = Step.EVALUATE_POLICY
_TIMELY: Final = (Step.EVALUATE_POLICY, Step.REGISTER_OBJECT)
"""Who decides by the time, and who records when S3 did something."""
_COUNTED: Final = ("EvaluatedObjects", "ChangedObjects")
_IN_QUEUE: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
