"""What a deployer may choose.

Every setting is a CDK context value `forebay:<name>` (in `cdk.json` or `-c forebay:<name>=…`), and
an environment variable `FOREBAY_<NAME>` overrides it. Defaults deploy to a cloud account.

| setting | default | meaning |
|---|---|---|
| `profile` | `cloud` | `cloud`, or `local` for MiniStack |
| `prefix` | `forebay` | first part of every physical name |
| `replica_region` | none | second region; adds the `archive` stack and replication into it |
| `alarm_email` | none | address that alarms are mailed to |
| `log_retention_days` | 90 | log groups; one of the values CloudWatch Logs accepts |
| `lock_days` | 365 | Object Lock default retention of ledger and archive (governance mode) |
| `event_archive_days` | 30 | EventBridge archives of arrivals and changes, for replay |
| `recheck_bytes_per_day` | 1000000000000 | how much of what is stored is read again each day: a |
| | | petabyte in under three years; 10 GB locally |
| `reserve_concurrency` | `true` | bound functions that no queue bounds by reserving concurrency; |
| | | `false` in an account whose Lambda quota is still the 10 of a new account |
| `sites` | none | site names, comma separated; each gets a put-only policy for its own prefix |
| `python` | this one | interpreter that local layers are built for: the one MiniStack runs under |
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from forebay.errors import ConfigurationError
from forebay.names import PIPELINES_SITE

__all__ = ["ROOT", "Profile", "Settings"]

ROOT: Final = Path(__file__).resolve().parent.parent
"""The repository."""

_PREFIX: Final = re.compile(r"[a-z][a-z0-9-]{1,14}")
"""Short enough that `{prefix}-landing-genomics-{account}-{region}` stays a bucket name (≤ 63)."""
_SITE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_LOG_RETENTION_DAYS: Final = (7, 14, 30, 60, 90, 180, 365, 731, 1827, 3653)


class Profile(StrEnum):
    """Where the app is deployed to."""

    CLOUD = "cloud"
    LOCAL = "local"


_RECHECK_BYTES: Final = {Profile.CLOUD: 10**12, Profile.LOCAL: 10**10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A deployment's settings, checked."""

    profile: Profile = Profile.CLOUD
    prefix: str = "forebay"
    replica_region: str | None = None
    alarm_email: str | None = None
    log_retention_days: int = 90
    lock_days: int = 365
    event_archive_days: int = 30
    recheck_bytes_per_day: int = _RECHECK_BYTES[Profile.CLOUD]
    reserve_concurrency: bool = True
    sites: tuple[str, ...] = ()
    python: Path = Path(sys.executable)

    @classmethod
    def read(
        cls, context: Callable[[str], object], environment: Mapping[str, str] | None = None
    ) -> "Settings":
        """Read the settings from a look-up of context values and an environment (the process's).

        Raises:
            ConfigurationError: a value is not what the setting accepts; the sentence names both.
        """
        values = _Source(context, os.environ if environment is None else environment)
        profile = _profile(values)
        return cls(
            profile=profile,
            prefix=_matching(values, "prefix", _PREFIX, "2 to 15 lower-case letters, digits, -")
            or "forebay",
            replica_region=_matching(values, "replica_region", _REGION, "a region, as eu-west-1"),
            alarm_email=_matching(values, "alarm_email", _EMAIL, "an e-mail address"),
            log_retention_days=_number(values, "log_retention_days", 90, _LOG_RETENTION_DAYS),
            lock_days=_number(values, "lock_days", 365, range(1, 36_501)),
            event_archive_days=_number(values, "event_archive_days", 30, range(1, 3651)),
            recheck_bytes_per_day=_number(
                values, "recheck_bytes_per_day", _RECHECK_BYTES[profile], range(10**18)
            ),
            reserve_concurrency=_yes(values, "reserve_concurrency", default=True),
            sites=_sites(values),
            python=_interpreter(values),
        )

    @property
    def is_local(self) -> bool:
        """Whether this deploys to MiniStack."""
        return self.profile is Profile.LOCAL


@dataclass(frozen=True, slots=True)
class _Source:
    context: Callable[[str], object]
    environment: Mapping[str, str]

    def get(self, name: str) -> str | None:
        """Return the environment's value, else the context's; empty means not set."""
        value: object = self.environment.get(f"FOREBAY_{name.upper()}")
        if value is None:
            value = self.context(f"forebay:{name}")
        if isinstance(value, list):
            value = ",".join(str(item) for item in value)
        return str(value).strip() or None if value is not None else None


def _refused(name: str, value: str, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"forebay:{name} (or FOREBAY_{name.upper()}) must be {wanted}; it is {value!r}."
    )


def _profile(values: _Source) -> Profile:
    value = values.get("profile") or Profile.CLOUD.value
    if value not in set(Profile):
        raise _refused("profile", value, "cloud or local")
    return Profile(value)


def _matching(values: _Source, name: str, pattern: re.Pattern[str], wanted: str) -> str | None:
    value = values.get(name)
    if value is not None and not pattern.fullmatch(value):
        raise _refused(name, value, wanted)
    return value


def _number(values: _Source, name: str, default: int, allowed: range | tuple[int, ...]) -> int:
    value = values.get(name)
    if value is None:
        return default
    if not value.isdecimal() or int(value) not in allowed:
        choices = (
            f"a whole number from {allowed[0]} to {allowed[-1]}"
            if isinstance(allowed, range)
            else "one of " + ", ".join(map(str, allowed))
        )
        raise _refused(name, value, choices)
    return int(value)


def _yes(values: _Source, name: str, *, default: bool) -> bool:
    value = values.get(name)
    if value is None:
        return default
    if value.lower() not in {"true", "false"}:
        raise _refused(name, value, "true or false")
    return value.lower() == "true"


def _sites(values: _Source) -> tuple[str, ...]:
    sites = tuple(site.strip() for site in (values.get("sites") or "").split(",") if site.strip())
    for site in sites:
        if not _SITE.fullmatch(site) or site == PIPELINES_SITE:
            raise _refused(
                "sites",
                site,
                "names of 1 to 31 lower-case letters, digits and hyphens, separated by commas "
                f"(and not {PIPELINES_SITE!r}, which pipelines use)",
            )
    return tuple(dict.fromkeys(sites))


def _interpreter(values: _Source) -> Path:
    value = values.get("python")
    if value is None:
        return Path(sys.executable)
    if not Path(value).is_file():
        raise _refused("python", value, "the path of a Python interpreter")
    return Path(value)
