"""`forebay policy`: what the policy says, what a change would do, and why something is as it is."""

import click

from forebay_cli.commands.policy_apply import policy_apply
from forebay_cli.commands.policy_check import policy_check
from forebay_cli.commands.policy_explain import policy_explain
from forebay_cli.commands.policy_plan import policy_plan
from forebay_cli.commands.policy_suggest import policy_suggest


@click.group()
def policy() -> None:
    """Check, plan, apply and explain policy."""


policy.add_command(policy_check)
policy.add_command(policy_plan)
policy.add_command(policy_apply)
policy.add_command(policy_explain)
policy.add_command(policy_suggest)
