"""The resources the services need, made in moto as the CDK app would make them."""

import json
import os
from pathlib import Path
from typing import Final

import boto3

from forebay.names import (
    ENV_BUS,
    ENV_HISTORY_TABLE,
    ENV_POLICY_PATH,
    ENV_REGIONS,
    ENV_STATE_MACHINES,
    ENV_SUBJECT_KEY,
    ENV_TABLE,
    Zone,
    bucket_env,
)
from forebay.runtime.settings import Settings
from forebay.runtime.wiring import Wiring
from infra.policy import compile_policies
from infra.tables import CATALOG_INDEXES, new_table

REGION: Final = "us-east-1"
CATALOG: Final = "bench-catalog"
HISTORY: Final = "bench-history"


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
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        **new_table(CATALOG, CATALOG_INDEXES),
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    dynamodb.create_table(**new_table(HISTORY))
    boto3.client("events").create_event_bus(Name="bench")
    key = boto3.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    policy = Path(os.environ.get("TMPDIR", "/tmp")) / f"bench-policy-{os.getpid()}.json"  # noqa: S108
    policy.write_text(json.dumps(compile_policies()))
    environment = {
        ENV_TABLE: CATALOG,
        ENV_HISTORY_TABLE: HISTORY,
        ENV_BUS: "bench",
        ENV_SUBJECT_KEY: key["KeyMetadata"]["KeyId"],
        ENV_POLICY_PATH: str(policy),
        ENV_REGIONS: REGION,
        ENV_STATE_MACHINES: "{}",
        **{bucket_env(zone): f"bench-{zone}" for zone in Zone},
    }
    return Wiring(Settings(environment))
