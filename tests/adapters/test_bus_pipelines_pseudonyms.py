"""The bus, the pipeline engine and the key that makes tokens."""

import json
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from forebay.adapters.bus import EventBridgeFeed
from forebay.adapters.pipelines import StepFunctionsPipelines
from forebay.adapters.pseudonyms import KmsPseudonyms
from forebay.errors import ConfigurationError, Trouble
from forebay.events import ObjectChanged
from forebay.services.ports import RecordedChange, RecordedRun
from forebay.services.relay_changes import event_of, run_event_of
from tests.adapters.conftest import Cloud, calls_of
from tests.unit.fakes import any_record, any_run


@pytest.fixture
def bus(cloud: Cloud) -> tuple[EventBridgeFeed, str]:
    """Give a bus whose events all go to one queue."""
    events, name = cloud.client("events"), f"fb-{uuid4().hex[:12]}"
    events.create_event_bus(Name=name)
    url, arn = cloud.queue()
    pattern = json.dumps({"source": ["forebay"], "detail": {"kind": ["dicom"]}})
    events.put_rule(Name=f"{name}-all", EventBusName=name, EventPattern=pattern)
    events.put_targets(Rule=f"{name}-all", EventBusName=name, Targets=[{"Id": "q", "Arn": arn}])
    return EventBridgeFeed(events, name), url


def test_change_reaches_a_subscriber_and_reads_back_as_it_was(
    cloud: Cloud, bus: tuple[EventBridgeFeed, str]
) -> None:
    feed, url = bus
    change = event_of(RecordedChange(None, any_record()))

    feed.publish([change])

    (envelope,) = waited(cloud, url, 1)
    assert envelope["source"] == "forebay"
    assert envelope["detail-type"] == "ObjectReceived"
    assert envelope["resources"] == [change.object_id]
    assert ObjectChanged.from_envelope(envelope) == change


def test_events_that_a_rule_does_not_want_do_not_come(
    cloud: Cloud, bus: tuple[EventBridgeFeed, str]
) -> None:
    feed, url = bus

    feed.publish([run_event_of(RecordedRun(None, any_run()))])
    feed.publish([event_of(RecordedChange(None, any_record()))])

    (envelope,) = waited(cloud, url, 1)
    assert envelope["detail-type"] == "ObjectReceived"


def test_many_changes_are_published_ten_at_a_time(
    cloud: Cloud, bus: tuple[EventBridgeFeed, str]
) -> None:
    feed, url = bus
    changes = [event_of(RecordedChange(None, any_record())) for _ in range(23)]

    with calls_of(cloud.client("events")) as calls:
        feed.publish(changes)

    assert calls == ["PutEvents"] * 3
    found = {envelope["detail"]["object_id"] for envelope in waited(cloud, url, 23)}
    assert found == {change.object_id for change in changes}


def test_entries_that_the_bus_refuses_are_trouble() -> None:
    class Refusing:
        def put_events(self, **_: Any) -> dict[str, Any]:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}

    client: Any = Refusing()

    with pytest.raises(Trouble, match="ThrottlingException"):
        EventBridgeFeed(client, "bus").publish([event_of(RecordedChange(None, any_record()))])


def test_nothing_published_is_no_call(cloud: Cloud) -> None:
    with calls_of(cloud.client("events")) as calls:
        EventBridgeFeed(cloud.client("events"), "bus").publish([])

    assert calls == []


@pytest.fixture
def machine(cloud: Cloud) -> str:
    """Give a state machine that waits, so that its executions are still running."""
    states = {
        "Wait": {"Type": "Wait", "Seconds": 600, "Next": "Done"},
        "Done": {"Type": "Succeed"},
    }
    definition = {"StartAt": "Wait", "States": states}
    arn: str = cloud.client("stepfunctions").create_state_machine(
        name=f"fb-{uuid4().hex[:12]}",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::123456789012:role/any",
    )["stateMachineArn"]
    return arn


def test_run_is_started_under_its_own_name_with_its_payload(cloud: Cloud, machine: str) -> None:
    pipelines = StepFunctionsPipelines(cloud.client("stepfunctions"), {"read_qc": machine})
    run = any_run(payload={"sample": "NA1", "reads": {"R1": {"key": "ü"}}})

    arn = pipelines.start(run)

    execution = cloud.client("stepfunctions").describe_execution(executionArn=arn)
    assert execution["name"] == run.run_id
    assert json.loads(execution["input"]) == run.payload
    assert arn == f"{machine.replace(':stateMachine:', ':execution:')}:{run.run_id}"


@pytest.mark.parametrize("ended", [False, True])
def test_run_that_is_started_is_not_started_again(cloud: Cloud, machine: str, ended: bool) -> None:
    client = cloud.client("stepfunctions")
    pipelines = StepFunctionsPipelines(client, {"read_qc": machine})
    run = any_run(payload={"sample": "NA1"})
    arn = pipelines.start(run)
    if ended:
        client.stop_execution(executionArn=arn)

    assert pipelines.start(run) == arn
    assert pipelines.start(replace(run, payload={"sample": "other"})) == arn

    executions = client.list_executions(stateMachineArn=machine)["executions"]
    assert len(executions) == 1


def test_run_that_is_under_way_has_no_outcome(cloud: Cloud, machine: str) -> None:
    pipelines = StepFunctionsPipelines(cloud.client("stepfunctions"), {"read_qc": machine})
    run = any_run()

    assert pipelines.outcome(replace(run, execution_arn=pipelines.start(run))) is None


def test_run_that_ended_says_how(cloud: Cloud, machine: str) -> None:
    client = cloud.client("stepfunctions")
    pipelines = StepFunctionsPipelines(client, {"read_qc": machine})
    run = any_run()
    run = replace(run, execution_arn=pipelines.start(run))
    client.stop_execution(executionArn=run.execution_arn)

    outcome = pipelines.outcome(run)

    assert outcome
    assert (outcome.run_id, outcome.status) == (run.run_id, "ABORTED")
    assert outcome.execution_arn == run.execution_arn
    assert outcome.stopped_at.endswith("Z")


def test_run_that_the_engine_does_not_know_is_not_found(cloud: Cloud, machine: str) -> None:
    pipelines = StepFunctionsPipelines(cloud.client("stepfunctions"), {"read_qc": machine})
    execution = machine.replace(":stateMachine:", ":execution:")
    run = any_run(execution_arn=f"{execution}:read_qc-gone")

    outcome = pipelines.outcome(run)

    assert outcome
    assert outcome.status == "NOT_FOUND"


def test_pipeline_without_a_machine_is_a_configuration_error(cloud: Cloud) -> None:
    with pytest.raises(ConfigurationError, match="read_qc"):
        StepFunctionsPipelines(cloud.client("stepfunctions"), {}).start(any_run())


@pytest.fixture
def key(cloud: Cloud) -> str:
    """Give an HMAC key."""
    answer = cloud.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    found: str = answer["KeyMetadata"]["KeyId"]
    return found


def test_equal_values_give_equal_tokens_and_spaces_do_not_count(cloud: Cloud, key: str) -> None:
    pseudonyms = KmsPseudonyms(cloud.client("kms"), key)
    again = KmsPseudonyms(cloud.client("kms"), key)

    token = pseudonyms.token("PatientID", "0001")

    assert len(token) == 64
    assert bytes.fromhex(token)
    assert again.token("PatientID", " 0001 ") == token
    assert again.token("PatientID", "0002") != token
    assert again.token("AccessionNumber", "0001") != token


def test_token_cannot_be_made_without_the_key(cloud: Cloud, key: str) -> None:
    other = cloud.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    client = cloud.client("kms")

    ours = KmsPseudonyms(client, key).token("PatientID", "0001")

    assert KmsPseudonyms(client, other["KeyMetadata"]["KeyId"]).token("PatientID", "0001") != ours


def test_value_that_was_asked_for_is_not_asked_for_again(cloud: Cloud, key: str) -> None:
    pseudonyms = KmsPseudonyms(cloud.client("kms"), key)

    with calls_of(cloud.client("kms")) as calls:
        for _ in range(3):
            pseudonyms.token("PatientID", "0001")

    assert calls == ["GenerateMac"]


def waited(cloud: Cloud, url: str, count: int) -> list[Any]:
    """Return at least `count` messages of a queue; MiniStack delivers in its own time."""
    found: list[Any] = []
    for _ in range(50):
        found += cloud.messages(url)
        if len(found) >= count:
            break
        time.sleep(0.1)
    return found
