"""A synthesized app, and the questions that tests ask of all its resources."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resource:
    stack: str
    logical_id: str
    type: str
    body: dict[str, Any]

    @property
    def properties(self) -> dict[str, Any]:
        properties: dict[str, Any] = self.body.get("Properties", {})
        return properties

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
        found: list[dict[str, Any]] = resource.properties["PolicyDocument"]["Statement"]
        return found

    def role_statements(self) -> Iterator[tuple[Resource, dict[str, Any]]]:
        return self._statements_of("AWS::IAM::Policy")

    def job_statements(self) -> Iterator[tuple[Resource, dict[str, Any]]]:
        return self._statements_of("AWS::IAM::ManagedPolicy")

    def _statements_of(self, kind: str) -> Iterator[tuple[Resource, dict[str, Any]]]:
        for policy in self.all(kind):
            for statement in self.statements(policy):
                yield policy, statement

    def _resources(self) -> Iterator[Resource]:
        for stack, template in self.templates.items():
            for logical_id, body in template["Resources"].items():
                yield Resource(stack, logical_id, body["Type"], body)
