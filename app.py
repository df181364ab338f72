"""Forebay's CDK app: settings → stacks → checks. See `infra/__init__.py`."""

from aws_cdk import App

from infra.deployment import compose
from infra.settings import Settings

if __name__ == "__main__":
    APP = App()
    compose(APP, Settings.read(APP.node.try_get_context))
    APP.synth()
