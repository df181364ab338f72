"""Orders that people give to steps: signed by whoever runs the command, done by the step."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from forebay.adapters.callers import prove
from forebay.adapters.dead_letters import LambdaFunctions
from forebay.adapters.orders import order_event
from forebay.domain.orders import Order, Proof
from forebay.names import Step
from forebay_cli import stack_outputs
from forebay_cli.deployment import Deployment
from forebay_cli.failures import CommandError


@dataclass(frozen=True)
class OrderDesk:
    """Gives orders to the steps of a deployment."""

    deployment: Deployment

    @cached_property
    def functions(self) -> LambdaFunctions:
        """The functions by step."""
        names = self.deployment.by_step(stack_outputs.FUNCTION)
        return LambdaFunctions(self.deployment.account.functions, names)

    def give(self, step: Step, text: str) -> Mapping[str, Any]:
        """Return what a step answers to an order, signed by whoever calls this.

        Raises:
            CommandError: the step failed; nothing was changed, or it is done when tried again.
        """
        order = Order(text, self.functions.names[step])
        answer = self.functions.invoke(step, json.dumps(order_event(order, self.prove(order))))
        if answer is None:
            raise CommandError(
                f"{step} failed.", f"See why: forebay logs {step}. It is safe to try again."
            )
        return answer

    def prove(self, order: Order) -> Proof:
        """Return what proves that an order is of whoever calls this."""
        return prove(self.deployment.account.new_sts(), order)
