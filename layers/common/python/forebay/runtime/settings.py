"""What a function's environment says, read once and checked."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from forebay.errors import ConfigurationError
from forebay.names import (
    ENV_BUS,
    ENV_CLOCK_AHEAD_SECONDS,
    ENV_HISTORY_TABLE,
    ENV_POLICY_PATH,
    ENV_PREFIX,
    ENV_RECEIPT_KEY,
    ENV_RECHECK_BYTES_PER_DAY,
    ENV_REGIONS,
    ENV_STATE_MACHINES,
    ENV_SUBJECT_KEY,
    ENV_TABLE,
    QUEUE_STEPS,
    Step,
    Zone,
    bucket_env,
    queue_env,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of one function; a value is demanded when it is first used."""

    environment: Mapping[str, str]

    @classmethod
    def from_process(cls) -> Self:
        """Read the process's environment."""
        return cls(dict(os.environ))

    @property
    def table(self) -> str:
        """Name of the catalog table."""
        return self._required(ENV_TABLE)

    @property
    def history_table(self) -> str:
        """Name of the history table."""
        return self._required(ENV_HISTORY_TABLE)

    @property
    def bus(self) -> str:
        """Name of the event bus."""
        return self._required(ENV_BUS)

    @property
    def subject_key(self) -> str:
        """Id of the HMAC key for search tokens."""
        return self._required(ENV_SUBJECT_KEY)

    @property
    def application(self) -> str:
        """How this function names itself to AWS, as seen in CloudTrail and access logs."""
        return f"forebay-{self.environment.get('POWERTOOLS_SERVICE_NAME', '') or 'local'}"

    @property
    def receipt_key(self) -> str:
        """Id of the asymmetric key that signs receipts."""
        return self._required(ENV_RECEIPT_KEY)

    @property
    def recheck_bytes_per_day(self) -> int:
        """How many stored bytes are read again each day."""
        text = self._required(ENV_RECHECK_BYTES_PER_DAY)
        if not text.isdecimal():
            raise ConfigurationError(f"{ENV_RECHECK_BYTES_PER_DAY} is not a number of bytes")
        return int(text)

    @property
    def clock_ahead_seconds(self) -> int:
        """How far the clock is ahead of the real time: 0 but in a local cloud that was advanced."""
        text = self.environment.get(ENV_CLOCK_AHEAD_SECONDS, "0")
        if not text.isdecimal():
            raise ConfigurationError(f"{ENV_CLOCK_AHEAD_SECONDS} is not a number of seconds")
        return int(text)

    @property
    def policy_path(self) -> Path | None:
        """Another compiled policy than that of the policy layer, None for the layer's."""
        text = self.environment.get(ENV_POLICY_PATH, "")
        return Path(text) if text else None

    @property
    def buckets(self) -> dict[Zone, str]:
        """Names of the buckets this function was given."""
        names = {zone: self.environment.get(bucket_env(zone), "") for zone in Zone}
        return {zone: name for zone, name in names.items() if name}

    @property
    def prefix(self) -> str:
        """Prefix of the deployment."""
        return self._required(ENV_PREFIX)

    @property
    def regions(self) -> tuple[str, ...]:
        """Where bytes of a zone lie: the home region, then the replica's."""
        return tuple(self._required(ENV_REGIONS).split(","))

    @property
    def state_machines(self) -> dict[str, str]:
        """State machine ARNs by pipeline name."""
        text = self._required(ENV_STATE_MACHINES)
        try:
            machines: Any = json.loads(text)
        except ValueError as exc:
            raise ConfigurationError(f"{ENV_STATE_MACHINES} is not JSON") from exc
        return dict(machines)

    @property
    def queues(self) -> dict[Step, str]:
        """URLs of the steps' queues this function was given."""
        urls = {step: self.environment.get(queue_env(step), "") for step in QUEUE_STEPS}
        return {step: url for step, url in urls.items() if url}

    def bucket(self, zone: Zone) -> str:
        """Return the bucket of a zone; raises ConfigurationError when it was not given."""
        return self._required(bucket_env(zone))

    def _required(self, name: str) -> str:
        value = self.environment.get(name, "")
        if not value:
            raise ConfigurationError(f"environment variable {name} is not set; deploy again")
        return value
