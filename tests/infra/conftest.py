"""The app, synthesized once per profile: its templates, and questions over all resources."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] = "1"

from infra.lint import DEPLOYMENTS, synthesize


@dataclass(frozen=True)
class Resource:
    stack: str
    logical_id: str
    type: str
    body: dict[str, Any]

    @property
    def properties(self) -> dict[str, Any]:
        return self.body.get("Properties", {})

    def __str__(self) -> str:
        return f"{self.stack}/{self.logical_id}"


@dataclass(frozen=True)
class Deployment:
    profile: str
    templates: dict[str, dict[str, Any]]

    def all(self, *types: str) -> list[Resource]:
        found = [resource for resource in self._resources() if resource.type in types]
        assert found, f"no {types} in any template: the test would prove nothing"
        return found

    def statements(self, resource: Resource) -> list[dict[str, Any]]:
        return resource.properties["PolicyDocument"]["Statement"]

    def role_statements(self) -> Iterator[tuple[Resource, dict[str, Any]]]:
        for policy in self.all("AWS::IAM::Policy"):
            for statement in self.statements(policy):
                yield policy, statement

    def _resources(self) -> Iterator[Resource]:
        for stack, template in self.templates.items():
            for logical_id, body in template["Resources"].items():
                yield Resource(stack, logical_id, body["Type"], body)


def read_templates(paths: list[Path]) -> dict[str, dict[str, Any]]:
    return {path.name.split(".")[0]: json.loads(path.read_text("utf-8")) for path in paths}


def deployed(profile: str, folder: Path) -> Deployment:
    return Deployment(profile, read_templates(synthesize(DEPLOYMENTS[profile], folder)))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return deployed("cloud", tmp_path_factory.mktemp("cloud"))


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return deployed("local", tmp_path_factory.mktemp("local"))


@pytest.fixture(params=["cloud", "local"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    found: Deployment = request.getfixturevalue(request.param)
    return found
