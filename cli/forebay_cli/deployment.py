"""One deployment of Forebay, in the local cloud or in an AWS account: its clients and its names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session as BotocoreSession

from forebay.names import FETCH_APPLICATION, LANDING_ZONES, Step, Zone, bucket_name
from forebay_cli import stack_outputs
from forebay_cli.aws_errors import DENIED
from forebay_cli.clock import REAL_TIME, Clock
from forebay_cli.failures import CommandError
from forebay_cli.localcloud.moved_clock import MovedClock
from forebay_cli.localcloud.people import person_named, sign_in
from forebay_cli.localcloud.record import ACCESS_KEY, SECRET_KEY, LocalCloud

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

DEFAULT_PREFIX: Final = "forebay"
_CONNECTIONS: Final = 32
_FUNCTION_SECONDS: Final = 910


@dataclass(frozen=True, slots=True)
class Connection:
    """What another process needs to speak to an account as this one does, for as long."""

    region: str
    endpoint: str | None
    ca_bundle: str | None
    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)

    def dynamodb(self) -> "DynamoDBClient":
        """Return a client of one's own; what it sends is built by us and need not be checked."""
        session = boto3.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            aws_session_token=self.token,
            region_name=self.region,
        )
        proxies: dict[str, Any] = {"proxies": {}} if self.endpoint else {}
        return session.client(
            "dynamodb",
            endpoint_url=self.endpoint,
            verify=self.ca_bundle,
            config=_config(parameter_validation=False, **proxies),
        )


class Account:
    """Clients for one account and region; each is made when first asked for."""

    def __init__(
        self,
        session: boto3.Session,
        description: str,
        settings: Mapping[str, Any],
        *,
        clock: Clock = REAL_TIME,
    ) -> None:
        self._session = session
        self._settings = settings
        self.description = description
        self.clock = clock

    @classmethod
    def of_local(cls, cloud: LocalCloud) -> "Account":
        """Return the local cloud as an account, deaf to this shell's AWS settings."""
        # (config name, environment variable, default, conversion): no variable, no file.
        silent = {
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
        session = boto3.Session(
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=cloud.region,
            botocore_session=BotocoreSession(session_vars=silent),
        )
        settings: dict[str, Any] = {
            "endpoint_url": cloud.endpoint,
            "verify": cloud.ca_bundle or None,
            "config": _config(proxies={}),
        }
        clock = MovedClock.load(Path(cloud.clock_file)).clock
        place = f"the local cloud at {cloud.endpoint}"
        if name := person_named():
            client = partial(session.client, **settings)
            credentials = sign_in(name, client, cloud.account)
            session = boto3.Session(
                aws_access_key_id=credentials["AccessKeyId"],
                aws_secret_access_key=credentials["SecretAccessKey"],
                aws_session_token=credentials["SessionToken"],
                region_name=cloud.region,
                botocore_session=BotocoreSession(session_vars=silent),
            )
            place += f" as {name}"
        return cls(session, place, settings, clock=clock)

    @classmethod
    def of_profile(cls, profile: str | None, region: str | None) -> "Account":
        """Return a real account by profile and region, from the usual AWS settings."""
        session = boto3.Session(profile_name=profile, region_name=region)
        if not session.region_name:
            raise CommandError(
                "No region is known for this account.",
                "Give --region, or set one in the profile: aws configure set region <region>",
            )
        named = f"profile {profile}" if profile else "the credentials of this shell"
        description = f"AWS {session.region_name} by {named}"
        return cls(session, description, {"config": _config()})

    @cached_property
    def caller(self) -> str:
        """The ARN of whoever calls, as AWS knows it; decisions are recorded under it."""
        return str(self.sts.get_caller_identity()["Arn"])

    @property
    def region(self) -> str:
        """The region."""
        return str(self._session.region_name)

    @property
    def connection(self) -> Connection:
        """What another process needs; its credentials are those of now, and end with them."""
        credentials = self._session.get_credentials()
        if credentials is None:
            raise CommandError(
                f"{self.description}: no credentials were found.",
                "Sign in, or name a profile: --profile.",
            )
        frozen = credentials.get_frozen_credentials()
        return Connection(
            self.region,
            self._settings.get("endpoint_url"),
            self._settings.get("verify"),
            frozen.access_key or "",
            frozen.secret_key or "",
            frozen.token,
        )

    @cached_property
    def s3(self) -> "S3Client":
        """S3."""
        return self._session.client("s3", **self._settings)

    @cached_property
    def reader(self) -> "S3Client":
        """S3 for `forebay fetch`, which notes what it reads: access logs show it by this name."""
        named = Config(user_agent_appid=FETCH_APPLICATION)  # type: ignore[call-arg]
        config = self._settings["config"].merge(named)
        return self._session.client("s3", **{**self._settings, "config": config})

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """DynamoDB."""
        return self._session.client("dynamodb", **self._settings)

    @cached_property
    def sqs(self) -> "SQSClient":
        """SQS."""
        return self._session.client("sqs", **self._settings)

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        """CloudWatch Logs."""
        return self._session.client("logs", **self._settings)

    @cached_property
    def kms(self) -> "KMSClient":
        """KMS."""
        return self._session.client("kms", **self._settings)

    @cached_property
    def functions(self) -> "LambdaClient":
        """Lambda; waits for the longest a function may run: a retry would call it again."""
        config = self._settings["config"].merge(
            Config(read_timeout=_FUNCTION_SECONDS, tcp_keepalive=True)
        )
        return self._session.client("lambda", **{**self._settings, "config": config})

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        """CloudFormation."""
        return self._session.client("cloudformation", **self._settings)

    @cached_property
    def sts(self) -> "STSClient":
        """STS."""
        return self.new_sts()

    def new_sts(self) -> "STSClient":
        """Return a client of STS of one's own, for a request that is like no other."""
        return self._session.client("sts", **self._settings)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed Forebay: an account, a prefix, and the outputs of its stacks."""

    account: Account
    prefix: str
    outputs: Mapping[str, str]

    @classmethod
    def find(cls, account: Account, prefix: str = DEFAULT_PREFIX) -> "Deployment":
        """Read the outputs of a deployment's stacks; raises CommandError when there are none."""
        outputs: dict[str, str] = {}
        for stack in (*stack_outputs.STACKS, *stack_outputs.OPTIONAL_STACKS):
            found = stack_state(account, prefix, stack)
            if found is None and stack in stack_outputs.STACKS:
                name = stack_outputs.stack_name(prefix, stack)
                raise CommandError(
                    f"{account.description} has no stack {name}: Forebay is not deployed there.",
                    "Deploy it: `forebay up` locally, `make deploy` in an account; "
                    "or give the right --profile, --region and --prefix.",
                )
            outputs |= found.outputs if found else {}
        return cls(account, prefix, outputs)

    @classmethod
    def for_sender(cls, account: Account, prefix: str = DEFAULT_PREFIX) -> "Deployment":
        """Return what a sender needs to know of a deployment: its landing buckets.

        A site may put objects and nothing else, so not even read the stacks; then the names follow
        from prefix, account and region, which every caller may ask for.
        """
        try:
            return cls.find(account, prefix)
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in DENIED:
                raise
        identity = account.sts.get_caller_identity()["Account"]
        names = {
            stack_outputs.bucket(zone): bucket_name(prefix, zone, identity, account.region)
            for zone in LANDING_ZONES
        }
        return cls(account, prefix, names)

    def bucket(self, zone: Zone) -> str:
        """Return a zone's bucket."""
        return self.output(stack_outputs.bucket(zone))

    def zone_of(self, bucket: str) -> Zone | None:
        """Return the zone a bucket is, None for a foreign bucket."""
        names = {self.outputs.get(stack_outputs.bucket(zone)): zone for zone in Zone}
        return names.get(bucket)

    def by_step(self, what: str) -> dict[Step, str]:
        """Return something of every step that has it (`stack_outputs.QUEUE`, …)."""
        return stack_outputs.by_step(what, self.outputs)

    def output(self, name: str) -> str:
        """Return one output; raises CommandError when the deployed version does not have it."""
        try:
            return self.outputs[name]
        except KeyError:
            raise CommandError(
                f"The deployment {self.prefix!r} has no output {name}.",
                "It was deployed from another version: deploy this one.",
            ) from None


@dataclass(frozen=True, slots=True)
class StackState:
    """A deployed stack: CloudFormation's status and its outputs."""

    name: str
    status: str
    outputs: Mapping[str, str]


def stack_state(account: Account, prefix: str, stack: str) -> StackState | None:
    """Return one of a deployment's stacks, None when it does not exist."""
    name = stack_outputs.stack_name(prefix, stack)
    try:
        found = account.cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as exc:
        if exc.response["Error"]["Code"] == "ValidationError":
            return None
        raise
    if not found or found[0]["StackStatus"] == "DELETE_COMPLETE":
        return None
    outputs = {
        output["OutputKey"]: output["OutputValue"]
        for output in found[0].get("Outputs", [])
        if "OutputKey" in output and "OutputValue" in output
    }
    return StackState(name, found[0]["StackStatus"], outputs)


def _config(**more: Any) -> Config:
    return Config(
        retries={"mode": "adaptive", "total_max_attempts": 6},
        max_pool_connections=_CONNECTIONS,
        connect_timeout=10,
        read_timeout=120,
        **more,
    )
