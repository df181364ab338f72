"""Ways to make trouble in a deployment, and to end it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from forebay.adapters import keys
from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.items import object_item
from forebay.domain.objects import ObjectRecord
from forebay.names import Step
from forebay_cli import stack_outputs
from tests.e2e.cloud import Cloud

POISON = ('{"poison": 1}', '{"poison": 2}')
"""Messages that no step can read."""


@contextmanager
def impatient(cloud: Cloud, *steps: Step) -> Iterator[None]:
    """Have failed messages come again after a second, not after the local half minute.

    What other tests left under way is waited for: it would come again, too, while it is worked on.
    """
    sqs = cloud.deployment.account.sqs
    urls = [cloud.deployment.by_step(stack_outputs.QUEUE)[step] for step in steps]
    cloud.until(
        lambda: not any(map(cloud.under_way, urls)),
        lambda: str({url: cloud.under_way(url) for url in urls}),
    )
    before = {
        url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
        for url in urls
    }
    try:
        for url in urls:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
        yield
    finally:
        for url, answer in before.items():
            usual = answer["Attributes"]["VisibilityTimeout"]
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": usual})


@contextmanager
def without(functions: Any, name: str, variable: str) -> Iterator[None]:
    """Deploy a function badly for a while: a variable is missing from its environment."""
    right = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    wrong = {key: value for key, value in right.items() if key != variable}
    assert wrong != right
    try:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": wrong})
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": right})


@contextmanager
def not_listening(functions: Any, name: str) -> Iterator[None]:
    """Turn a function's event source off for a while."""
    [source] = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=source["UUID"], Enabled=True)


def invoke(functions: Any, cloud: Cloud, step: Step, event: Any) -> Any:
    """Call a scheduled function as its schedule would, and wait."""
    name = cloud.deployment.by_step(stack_outputs.FUNCTION)[step]
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


def age(cloud: Cloud, record: ObjectRecord, by: timedelta) -> None:
    """Let an object have been in its state for longer: nobody waits half an hour for a test."""
    catalog = DynamoCatalog(
        cloud.deployment.account.dynamodb, cloud.deployment.output(stack_outputs.TABLE)
    )
    now = catalog.get(record.object_id)
    assert now is not None
    older = now.__class__(
        **{
            **{name: getattr(now, name) for name in now.__slots__},
            "state_since": now.state_since - by,
            "amended_at": None,
        }
    )
    item = object_item(older)
    pk, sk = keys.object_key(record.object_id)
    cloud.deployment.account.dynamodb.update_item(
        TableName=cloud.deployment.output(stack_outputs.TABLE),
        Key={"pk": {"S": pk}, "sk": {"S": sk}},
        UpdateExpression="SET state_since = :since, state_sk = :state, due_sk = :due",
        ExpressionAttributeValues={
            ":since": item["state_since"],
            ":state": item["state_sk"],
            ":due": item["due_sk"],
        },
    )
