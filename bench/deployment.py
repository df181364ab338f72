"""The resources the services need, made in moto as the CDK app would make them."""

import json
import os
from pathlib import Path
from typing import Any

import boto3

from forebay.names import (
    ENV_BUS,
    ENV_HISTORY_TABLE,
    ENV_POLICY_PATH,
    ENV_STATE_MACHINES,
    ENV_SUBJECT_KEY,
    ENV_TABLE,
    INDEX_BY_GROUP,
    INDEX_BY_STATE,
    Zone,
    bucket_env,
)
from forebay.runtime.settings import Settings
from forebay.runtime.wiring import Wiring
from infra.policy import compile_policies

REGION = "us-east-1"


def deploy() -> Wiring:
    """Create buckets, tables, bus and key; return services wired to them."""
    os.environ.update(
        AWS_DEFAULT_REGION=REGION,
        AWS_ACCESS_KEY_ID="bench",
        AWS_SECRET_ACCESS_KEY="bench",  # noqa: S106
    )
    s3 = boto3.client("s3")
    for zone in Zone:
        s3.create_bucket(Bucket=f"bench-{zone}")
        s3.put_bucket_versioning(
            Bucket=f"bench-{zone}", VersioningConfiguration={"Status": "Enabled"}
        )
    _tables(boto3.client("dynamodb"))
    boto3.client("events").create_event_bus(Name="bench")
    key = boto3.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    policy = Path(os.environ.get("TMPDIR", "/tmp")) / f"bench-policy-{os.getpid()}.json"  # noqa: S108
    policy.write_text(json.dumps(compile_policies()))
    environment = {
        ENV_TABLE: "bench-catalog",
        ENV_HISTORY_TABLE: "bench-history",
        ENV_BUS: "bench",
        ENV_SUBJECT_KEY: key["KeyMetadata"]["KeyId"],
        ENV_POLICY_PATH: str(policy),
        ENV_STATE_MACHINES: "{}",
        **{bucket_env(zone): f"bench-{zone}" for zone in Zone},
    }
    return Wiring(Settings(environment))


def _tables(dynamodb: Any) -> None:
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    names = ["pk", "sk", "state_pk", "state_sk", "group_pk", "group_sk"]
    indexes = [
        {
            "IndexName": index,
            "KeySchema": [
                {"AttributeName": f"{stem}_pk", "KeyType": "HASH"},
                {"AttributeName": f"{stem}_sk", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
        for index, stem in ((INDEX_BY_STATE, "state"), (INDEX_BY_GROUP, "group"))
    ]
    dynamodb.create_table(
        TableName="bench-catalog",
        KeySchema=keys,
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in names],
        GlobalSecondaryIndexes=indexes,
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.create_table(
        TableName="bench-history",
        KeySchema=keys,
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in names[:2]],
        BillingMode="PAY_PER_REQUEST",
    )
