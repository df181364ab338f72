"""`forebay doctor`."""

from collections.abc import Iterable
from typing import Final

import click
from rich.text import Text

from forebay_cli import diagnosis
from forebay_cli.diagnosis import Check, Verdict
from forebay_cli.failures import EXIT_TROUBLE
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option
from forebay_cli.target import Target, target_options

_STYLES: Final = {Verdict.GOOD: "green", Verdict.NOTE: "cyan", Verdict.BAD: "bold red"}


@click.command()
@target_options
@json_option
def doctor(*, target: Target, as_json: bool) -> None:
    """Check this machine and the local cloud, or a real account, and say what to do.

    With --profile or --region: credentials, bootstrap and stacks of that account.

    Exit status: 0 no problem · 3 a problem was found.
    """
    home = Home.find()
    output = Output.create(as_json=as_json)
    sections = {"this machine": list(diagnosis.examine_machine(home))}
    if target.is_local:
        sections["local cloud"] = list(diagnosis.examine_local_cloud(home))
    else:
        sections["account"] = list(diagnosis.examine_account(target, home))
    if as_json:
        output.document(_document(sections))
    else:
        _print(output, sections)
    checks = [check for section in sections.values() for check in section]
    if any(check.verdict is Verdict.BAD for check in checks):
        raise click.exceptions.Exit(EXIT_TROUBLE)


def _document(sections: dict[str, list[Check]]) -> dict[str, object]:
    return {
        "checks": [
            {
                "section": name,
                "name": check.name,
                "verdict": check.verdict.value,
                "found": check.found,
                "advice": check.advice,
            }
            for name, checks in sections.items()
            for check in checks
        ],
        "left_out_locally": diagnosis.LEFT_OUT,
    }


def _print(output: Output, sections: dict[str, list[Check]]) -> None:
    for name, checks in sections.items():
        output.out.print(Text(name, style="bold"))
        _print_checks(output, checks)
        output.out.print()
    output.out.print(Text("what the local cloud leaves out", style="bold"))
    output.facts((f"  {what}", why) for what, why in diagnosis.LEFT_OUT.items())


def _print_checks(output: Output, checks: Iterable[Check]) -> None:
    for check in checks:
        line = Text("  ")
        line.append(f"{check.verdict.value:<8}", style=_STYLES[check.verdict])
        line.append(f"{check.name}: {check.found}")
        output.out.print(line, soft_wrap=True)
        if check.advice and check.verdict is not Verdict.GOOD:
            output.out.print(f"          → {check.advice}", soft_wrap=True)
