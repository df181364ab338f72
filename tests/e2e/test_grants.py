"""Each role can do what it was granted, and nothing else: try it and see AccessDenied."""

import hashlib
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from forebay.names import Step, Zone
from forebay_cli import stack_outputs
from tests.e2e.cloud import Cloud

ACCOUNT = "000000000000"
KEY = "probe/nothing"
READERS_OF_LANDING_IMAGING = {
    Step.REGISTER_OBJECT,
    Step.INSPECT_DICOM,
    Step.INSPECT_GENOMICS,
    Step.PLACE_OBJECT,
}
WRITERS_OF_RECORDS = {Step.INSPECT_DICOM, Step.INSPECT_GENOMICS, Step.PLACE_OBJECT}

READERS_OF_QUARANTINE = {
    Step.REGISTER_OBJECT,
    Step.INSPECT_DICOM,
    Step.INSPECT_GENOMICS,
    Step.PLACE_OBJECT,
    Step.RECONCILE_STORAGE,
    Step.DISPOSE_OBJECTS,  # to see what exists: its role has no key to read it
}
DELETERS_OF_ITEMS = {
    Step.INSPECT_GENOMICS,  # leases
    Step.PLACE_OBJECT,
    Step.SWEEP_DEADLINES,
    Step.DISPOSE_OBJECTS,  # search entries of a person who is forgotten
}

Act = Callable[[Any, Any], Any]
"""(client maker, deployment) → call."""


def _s3(call: str, zone: Zone, key: str = KEY, **more: Any) -> Act:
    return lambda client, d: getattr(client("s3"), call)(Bucket=d.bucket(zone), Key=key, **more)


def _table(call: str, output: str = stack_outputs.TABLE, **more: Any) -> Act:
    return lambda client, d: getattr(client("dynamodb"), call)(TableName=d.output(output), **more)


ITEM_KEY = {"pk": {"S": "PROBE"}, "sk": {"S": "PROBE"}}
ACTIONS: dict[str, tuple[Act, set[Step]]] = {
    "delete from clinical": (_s3("delete_object", Zone.CLINICAL), set()),
    "delete from landing": (_s3("delete_object", Zone.LANDING_IMAGING), set()),
    "delete from the ledger": (_s3("delete_object", Zone.LEDGER), set()),
    "write into clinical": (
        _s3("put_object", Zone.CLINICAL, "dicom/probe", Body=b"x"),
        {Step.PLACE_OBJECT, Step.RECHECK_OBJECTS, Step.EVALUATE_POLICY},
    ),
    "write beside the instances": (_s3("put_object", Zone.CLINICAL, Body=b"x"), set()),
    "write into research": (_s3("put_object", Zone.RESEARCH, Body=b"x"), set()),
    "write the ledger": (
        _s3("put_object", Zone.LEDGER, "changes/probe", Body=b"x"),
        {Step.RELAY_CHANGES},
    ),
    "write elsewhere in the ledger": (_s3("put_object", Zone.LEDGER, Body=b"x"), set()),
    "hand in pipeline output": (
        _s3("put_object", Zone.LANDING_GENOMICS, "pipelines/probe", Body=b"x"),
        {Step.RUN_READ_QC},
    ),
    "upload as a site": (_s3("put_object", Zone.LANDING_GENOMICS, Body=b"x"), set()),
    "read quarantine": (_s3("get_object", Zone.QUARANTINE), READERS_OF_QUARANTINE),
    "read the ledger": (_s3("get_object", Zone.LEDGER), set()),
    "delete an item": (_table("delete_item", Key=ITEM_KEY), DELETERS_OF_ITEMS),
    "scan the catalog": (_table("scan"), set()),
    "delete history": (_table("delete_item", stack_outputs.HISTORY_TABLE, Key=ITEM_KEY), set()),
    "drop the catalog": (_table("delete_table"), set()),
    "stop encryption": (
        lambda client, d: client("kms").disable_key(KeyId=d.output(stack_outputs.SUBJECT_KEY)),
        set(),
    ),
    "make a search token": (
        lambda client, d: client("kms").generate_mac(
            KeyId=d.output(stack_outputs.SUBJECT_KEY), MacAlgorithm="HMAC_SHA_256", Message=b"x"
        ),
        {Step.INSPECT_DICOM},
    ),
    "sign": (
        lambda client, d: client("kms").sign(
            KeyId=d.output(stack_outputs.RECEIPT_KEY),
            Message=bytes(32),
            MessageType="DIGEST",
            SigningAlgorithm="ECDSA_SHA_256",
        ),
        {Step.ISSUE_RECEIPT, Step.DISPOSE_OBJECTS},
    ),
    "write a dead letter": (
        _s3("put_object", Zone.LEDGER, "dead-letters/probe", Body=b"x"),
        {Step.ARCHIVE_DEAD_LETTERS},
    ),
    "write a receipt": (
        _s3("put_object", Zone.LEDGER, "receipts/probe", Body=b"x"),
        {Step.ISSUE_RECEIPT},
    ),
    "publish events": (
        lambda client, d: client("events").put_events(
            Entries=[
                {
                    "EventBusName": d.output(stack_outputs.BUS),
                    "Source": "probe",
                    "DetailType": "Probe",
                    "Detail": "{}",
                }
            ]
        ),
        {Step.RELAY_CHANGES},
    ),
    "send to a queue": (
        lambda client, d: client("sqs").send_message(
            QueueUrl=d.by_step(stack_outputs.QUEUE)[Step.PLACE_OBJECT], MessageBody="{}"
        ),
        {Step.SWEEP_DEADLINES},
    ),
    "invoke a function": (
        lambda client, d: client("lambda").invoke(
            FunctionName=d.by_step(stack_outputs.FUNCTION)[Step.RUN_READ_QC]
        ),
        set(),
    ),
    "make a user": (lambda client, _: client("iam").create_user(UserName="probe"), set()),
}


@pytest.mark.parametrize("step", list(Step))
def test_a_role_can_do_nothing_beyond_its_grants(cloud: Cloud, step: Step) -> None:
    client = _clients_of(cloud, step)
    outcomes = {name: _allowed(act, client, cloud) for name, (act, _) in ACTIONS.items()}
    assert {name for name, allowed in outcomes.items() if allowed} == {
        name for name, (_, steps) in ACTIONS.items() if step in steps
    }


@pytest.mark.parametrize("step", sorted(WRITERS_OF_RECORDS))
def test_a_role_can_do_what_it_was_granted(cloud: Cloud, step: Step) -> None:
    client = _clients_of(cloud, step)
    table = cloud.deployment.output(stack_outputs.TABLE)
    assert "Item" not in client("dynamodb").get_item(TableName=table, Key=ITEM_KEY)


def _allowed(act: Act, client: Any, cloud: Cloud) -> bool:
    try:
        act(client, cloud.deployment)
    except ClientError as exc:
        # What is refused for another reason was allowed to be asked.
        return exc.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException", "403")
    return True


def _clients_of(cloud: Cloud, step: Step) -> Callable[[str], Any]:
    """Return a client maker with the credentials the function itself is given.

    MiniStack derives a function's session from its own ARN and its role's, and knows the session
    once the function has started; an invocation that fails on its payload is enough.
    """
    deployment = cloud.deployment
    session = boto3.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    settings = deployment.account._settings  # the endpoint and its certificate
    name = deployment.by_step(stack_outputs.FUNCTION)[step]
    functions = session.client("lambda", **settings)
    configuration = functions.get_function_configuration(FunctionName=name)
    functions.invoke(FunctionName=name, Payload=b'{"Records": []}')
    digest = hashlib.sha256(
        f"{configuration['FunctionArn']}:{configuration['Role']}".encode()
    ).hexdigest()
    mine = boto3.Session(
        aws_access_key_id=f"ASIA{digest[:16].upper()}",
        aws_secret_access_key=hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
        aws_session_token=hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
        region_name="us-east-1",
    )
    maker: Any = mine
    return lambda service: maker.client(service, **settings)
