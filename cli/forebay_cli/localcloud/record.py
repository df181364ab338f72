"""What is known about the running local cloud: `.forebay/local.json`."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import psutil

ACCESS_KEY: Final = "test"
"""The emulator's root credentials, whatever the profile; they open nothing but the emulator."""
SECRET_KEY: Final = "test"  # noqa: S105 - not a secret, see above
ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"

_START_TOLERANCE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """A local cloud that was started: where it listens and which process it is.

    `started_at` is the process's own start time (seconds since the epoch), so that a process id
    that was given to another program is never taken for the emulator. `deployed` is a fingerprint
    of the source that was last deployed, empty before the first deployment ended well. `clock_file`
    says how far its clock was moved.
    """

    endpoint: str
    port: int
    secure: bool
    pid: int
    started_at: float
    region: str = REGION
    account: str = ACCOUNT
    ca_bundle: str = ""
    log_file: str = ""
    data_folder: str = ""
    python: str = ""
    deployed: str = ""
    clock_file: str = ""

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Return what was recorded; None when there is no record or it cannot be understood."""
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(**data)
        except (OSError, ValueError, TypeError):
            return None

    def save(self, path: Path) -> None:
        """Write the record whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(".partial")
        staged.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        staged.replace(path)

    def with_deployed(self, fingerprint: str) -> "LocalCloud":
        """Return the record after a deployment of that source."""
        return replace(self, deployed=fingerprint)

    def process(self) -> psutil.Process | None:
        """Return the emulator's process if it is alive and still the same one."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < _START_TOLERANCE_SECONDS
            dead = process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same and not dead else None
