"""How the command line fails: a sentence that says what happened, and one that says what to do.

Exit codes: 0 all well · 1 bad input, or differences were found · 2 the command was used wrongly ·
3 something outside failed, or part of the work could not be done. `forebay_cli.main.main` maps
every expected error to one of these.
"""

from typing import IO, Any, Final

import click

EXIT_OK: Final = 0
EXIT_FINDINGS: Final = 1
EXIT_USAGE: Final = 2
EXIT_TROUBLE: Final = 3


class CommandError(click.ClickException):
    """A command could not do its work; `hint` says what the person can do about it."""

    exit_code = EXIT_TROUBLE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error and its hint to standard error."""
        click.echo(f"Error: {self.format_message()}", file=file, err=True)
        if self.hint:
            click.echo(f"  What to do: {self.hint}", file=file, err=True)


class WrongUsage(CommandError):
    """A command was called with something it cannot take."""

    exit_code = EXIT_USAGE
