"""Which deployment a command speaks to: the local cloud, or an account by profile and region."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from forebay_cli.deployment import DEFAULT_PREFIX, Account, Deployment
from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud.lifecycle import running_cloud


@dataclass(frozen=True, slots=True)
class Target:
    """What the person said about where to go; nothing at all means the local cloud."""

    profile: str | None = None
    region: str | None = None
    prefix: str = DEFAULT_PREFIX

    @property
    def is_local(self) -> bool:
        """Whether this is the local cloud; a real account is only ever used when named."""
        return self.profile is None and self.region is None

    def account(self, home: Home) -> Account:
        """Return the account; raises CommandError when the local cloud is meant and not up."""
        if not self.is_local:
            return Account.of_profile(self.profile, self.region)
        cloud = running_cloud(home)
        if cloud is None:
            raise CommandError(
                "The local cloud is not up, and no account was named.",
                "Start it: forebay up. Or name an account: --profile, --region.",
            )
        return Account.of_local(cloud)

    def for_sender(self, home: Home) -> Deployment:
        """Return the deployment as a sender sees it."""
        return Deployment.for_sender(self.account(home), self.prefix)

    def deployment(self, home: Home) -> Deployment:
        """Return the deployment with its names."""
        return Deployment.find(self.account(home), self.prefix)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--profile`, `--region` and `--prefix` to a command, passed as one `target`."""

    @click.option("--profile", help="AWS profile of a real account (default: the local cloud).")
    @click.option("--region", help="AWS region of a real account.")
    @click.option(
        "--prefix", default=DEFAULT_PREFIX, show_default=True, help="Prefix of the deployment."
    )
    @wraps(command)
    def wrapped(
        *args: Any, profile: str | None, region: str | None, prefix: str, **kwargs: Any
    ) -> Any:
        return command(*args, target=Target(profile, region, prefix), **kwargs)

    return wrapped
