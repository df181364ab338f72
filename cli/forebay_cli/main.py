"""The `forebay` command: composes the commands and maps errors to exit codes."""

from typing import Any, Final

import click
from botocore.exceptions import BotoCoreError, ClientError

from forebay.errors import ForebayError
from forebay_cli.aws_errors import explain
from forebay_cli.commands.conflicts import conflicts
from forebay_cli.commands.dead_letters import dead_letters
from forebay_cli.commands.demo import demo
from forebay_cli.commands.dispose import dispose
from forebay_cli.commands.doctor import doctor
from forebay_cli.commands.down import down
from forebay_cli.commands.exceptions import exceptions
from forebay_cli.commands.fetch import fetch
from forebay_cli.commands.find import find
from forebay_cli.commands.inspect import inspect
from forebay_cli.commands.local import local
from forebay_cli.commands.logs import logs
from forebay_cli.commands.policy import policy
from forebay_cli.commands.rebuild import rebuild
from forebay_cli.commands.receipt import receipt
from forebay_cli.commands.reconcile import reconcile
from forebay_cli.commands.release import release
from forebay_cli.commands.show import show
from forebay_cli.commands.status import status
from forebay_cli.commands.up import up
from forebay_cli.commands.upload import upload
from forebay_cli.failures import CommandError

COMMANDS: Final = (
    demo,
    up,
    down,
    doctor,
    inspect,
    upload,
    status,
    show,
    find,
    fetch,
    conflicts,
    release,
    receipt,
    dead_letters,
    reconcile,
    rebuild,
    policy,
    local,
    exceptions,
    dispose,
    logs,
)


class ForebayGroup(click.Group):
    """A group in whose commands every expected failure ends in a sentence and exit code 3."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except (BotoCoreError, ClientError) as exc:
            raise explain(exc) from exc
        except ForebayError as exc:
            raise CommandError(str(exc)) from exc


@click.group(
    cls=ForebayGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="forebay", prog_name="forebay")
def main() -> None:
    """Hold, screen and release medical imaging and genomics data."""


for _command in COMMANDS:
    main.add_command(_command)
