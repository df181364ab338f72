"""The app, synthesized once per profile."""

import json
import os
from pathlib import Path

import pytest

os.environ["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] = "20"

from infra.lint import DEPLOYMENTS, synthesize
from tests.infra.deployed import Deployment


def synthesized(profile: str, folder: Path) -> Deployment:
    """Nothing is built and no account is asked; cdk-nag's findings would raise."""
    paths = synthesize(DEPLOYMENTS[profile], folder)
    templates = {path.name.split(".")[0]: json.loads(path.read_text("utf-8")) for path in paths}
    return Deployment(profile, templates)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return synthesized("cloud", tmp_path_factory.mktemp("cloud"))


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return synthesized("local", tmp_path_factory.mktemp("local"))


@pytest.fixture(params=["cloud", "local"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    found: Deployment = request.getfixturevalue(request.param)
    return found
