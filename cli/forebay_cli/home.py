"""Where the project and its local state live on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from forebay_cli.failures import CommandError

ENV_HOME: Final = "FOREBAY_HOME"
STATE_FOLDER: Final = ".forebay"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one checkout; `project` is None outside a checkout (real accounts still work)."""

    project: Path | None
    state: Path

    @classmethod
    def find(cls) -> Self:
        """Find the checkout this command runs from, and the folder for local state.

        The checkout is the nearest folder above the current one that holds the CDK app, else the
        one this package is installed from. `FOREBAY_HOME` moves the state folder.
        """
        project = _checkout_above(Path.cwd()) or _checkout_above(Path(__file__).resolve())
        override = os.environ.get(ENV_HOME)
        if override:
            state = Path(override).expanduser().absolute()
        else:
            state = (project or Path.home()) / STATE_FOLDER
        return cls(project, state)

    def require_project(self) -> Path:
        """Return the checkout, or say that this command needs one."""
        if self.project is None:
            raise CommandError(
                "This command deploys Forebay from its source, and no checkout was found here.",
                "Run it inside a clone of the Forebay repository.",
            )
        return self.project

    @property
    def record(self) -> Path:
        """What `forebay up` wrote about the running local cloud."""
        return self.state / "local.json"

    @property
    def environment(self) -> Path:
        """The emulator's own Python environment."""
        return self.state / "emulator"

    @property
    def scratch(self) -> Path:
        """Temporary files of the emulator and its functions; removed by `forebay down`."""
        return self.state / "scratch"

    @property
    def certificates(self) -> Path:
        """The local certificate of `--secure`."""
        return self.state / "tls"

    @property
    def kept_state(self) -> Path:
        """State of the local cloud when it is kept between runs (`forebay up --persist`)."""
        return self.state / "data"

    @property
    def logs(self) -> Path:
        """Logs of the emulator and of deployments."""
        return self.state / "logs"

    @property
    def uploads(self) -> Path:
        """Journals of multipart uploads that can be resumed."""
        return self.state / "uploads"

    @property
    def demonstration(self) -> Path:
        """The demonstration's data and its results."""
        return self.state / "demo"

    @property
    def synthesized(self) -> Path:
        """The cloud assembly of the local deployment."""
        return self.state / "cdk.out"


def _checkout_above(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / "cdk.json").is_file() and (folder / "local" / "requirements.txt").is_file():
            return folder
    return None
