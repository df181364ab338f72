"""Stacks compose; what they compose is in `infra.constructs`."""
