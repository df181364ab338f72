"""Who reads what is stored, as logs and the command line tell it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.decision import is_directed
from forebay.domain.policy.exceptions import Scope
from forebay.domain.policy.standing import storage_class_of
from forebay.domain.policy.storage_classes import StorageClass
from forebay.names import FETCH_APPLICATION, Step

__all__ = [
    "Access",
    "AccessDay",
    "BadLine",
    "Reopened",
    "StorageRead",
    "is_counted",
    "is_moved",
]

REOPENED_AFTER: Final = timedelta(days=1)
"""A pause longer than this is worth a look at where the objects lie."""
_ROLE: Final = re.compile(r"arn:[^:]*:sts::[0-9]*:assumed-role/([^/]+)/(.+)")
_REPLICATION: Final = "s3-replication"
"""The session name S3 takes the role of a replication rule with."""
_SERVICE: Final = "svc:"


@dataclass(frozen=True, slots=True)
class StorageRead:
    """A request that was answered with bytes of an object.

    `keys` is the object's key in each way in which the log may mean it, the likeliest first.
    `version_id` is empty where the request named none. `requester` and `agent` are as logged.
    """

    bucket: str
    keys: tuple[str, ...]
    version_id: str
    at: datetime
    sent_bytes: int = 0
    requester: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a log that is none, from line 1; what it holds is not repeated."""

    number: int
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Reads of what a scope names, of objects of one class, on one day.

    `source` names where they were told, and is counted once: a log object's version, or one call of
    a command. With `asks`, somebody waits for it to become readable.
    """

    scope: Scope
    object_class: str
    placed_on: date
    last_at: datetime
    reads: int
    sent_bytes: int
    source: str
    asks: bool = False

    @property
    def day(self) -> date:
        """The day, in UTC."""
        return self.last_at.astimezone(UTC).date()

    @property
    def may_reopen(self) -> bool:
        """Whether policy may have moved it before: what was just placed is where it began."""
        return self.asks or self.day - self.placed_on > REOPENED_AFTER


@dataclass(frozen=True, slots=True)
class AccessDay:
    """What was counted of a scope on a day; `scope_id` tells scopes apart, and names none."""

    scope_id: str
    day: date
    placed_on: date
    reads: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class Reopened:
    """A scope that was read again at a moment, after a pause."""

    scope: Scope
    at: datetime


def is_counted(read: StorageRead, prefix: str) -> bool:
    """Tell whether a read is somebody's: not of this deployment's functions, nor of S3 itself.

    Functions read everything again in time (`recheck_objects`), replication all that is new. Their
    roles are named by their stack, `{prefix}-…`, and a function's session by the function, so that
    a person's role of such a name still counts. What `forebay fetch` reads it has noted itself.
    """
    if read.requester.startswith(_SERVICE) or f"app/{FETCH_APPLICATION}" in read.agent.split():
        return False
    match = _ROLE.fullmatch(read.requester)
    if match is None or not match[1].startswith(f"{prefix}-"):
        return True
    return match[2] not in _sessions(prefix)


def is_moved(record: ObjectRecord) -> bool:
    """Tell whether an object was moved, or is about to be, so that reading it changes its place."""
    decision = record.policy
    if record.placed is None or decision is None:
        return False  # not stored, or due already
    asked = is_directed(decision.tiering)
    where = {storage_class_of(record), decision.target}
    return asked or where != {StorageClass.STANDARD}


def _sessions(prefix: str) -> Mapping[str, None]:
    functions = (f"{prefix}-{step.value.replace('_', '-')}" for step in Step)
    return dict.fromkeys((*functions, _REPLICATION))
