"""A DynamoDB table with string keys, and exact grants."""

from collections.abc import Iterable

from aws_cdk import RemovalPolicy, aws_dynamodb, aws_iam, aws_kms
from constructs import Construct

from infra.constructs.zone_bucket import Grantee, allow_key
from infra.settings import Settings
from infra.tables import PARTITION_KEY, SORT_KEY, Index

__all__ = ["CatalogTable"]


class CatalogTable(Construct):
    """A table.

    Defaults: on demand, point-in-time recovery, encrypted with a key of ours, deletion protection,
    kept when the stack goes (local: neither).
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        key: aws_kms.IKey,
        stream: aws_dynamodb.StreamViewType | None = None,
    ) -> None:
        super().__init__(scope, name.capitalize())
        self.key = key
        self.table = aws_dynamodb.Table(
            self,
            "Table",
            table_name=f"{settings.prefix}-{name}",
            partition_key=_string(PARTITION_KEY),
            sort_key=_string(SORT_KEY),
            billing_mode=aws_dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=aws_dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=key,
            point_in_time_recovery_specification=aws_dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            stream=stream,
            deletion_protection=not settings.is_local,
            removal_policy=RemovalPolicy.DESTROY if settings.is_local else RemovalPolicy.RETAIN,
        )

    def index(self, index: Index) -> None:
        """Add an index."""
        self.table.add_global_secondary_index(
            index_name=index.name,
            partition_key=_string(index.partition),
            sort_key=_string(index.sort),
            projection_type=aws_dynamodb.ProjectionType.INCLUDE
            if index.only
            else aws_dynamodb.ProjectionType.ALL,
            non_key_attributes=list(index.only) or None,
        )

    def expire(self, attribute: str) -> None:
        """Have items swept away some time after this attribute: housekeeping, never a timer."""
        resource = self.table.node.default_child
        assert isinstance(resource, aws_dynamodb.CfnTable)  # noqa: S101 (narrows the tree's type)
        resource.time_to_live_specification = aws_dynamodb.CfnTable.TimeToLiveSpecificationProperty(
            attribute_name=attribute, enabled=True
        )

    def allow(self, role: Grantee, *operations: str) -> None:
        """Let a role do exactly these operations (`GetItem`, …) on the table; no index."""
        role.grant_principal.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=[f"dynamodb:{operation}" for operation in operations],
                resources=[self.table.table_arn],
            )
        )
        self.allow_key(role)

    def allow_items(self, role: Grantee, *operations: str, leading: Iterable[str]) -> None:
        """Let a role do exactly these operations on items whose partition keys begin so."""
        role.grant_principal.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=[f"dynamodb:{operation}" for operation in operations],
                resources=[self.table.table_arn],
                conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(leading)}},
            )
        )
        self.allow_key(role)

    def allow_index(self, role: Grantee, *indexes: str) -> None:
        """Let a role query some indexes of the table."""
        role.grant_principal.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=["dynamodb:Query"],
                resources=[f"{self.table.table_arn}/index/{index}" for index in indexes],
            )
        )
        self.allow_key(role)

    def allow_stream_records(self, role: Grantee) -> None:
        """Let a role read records of the table's stream whose place it was told."""
        role.grant_principal.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=["dynamodb:GetRecords", "dynamodb:GetShardIterator"],
                resources=[self.table.table_stream_arn or ""],
            )
        )
        self.allow_key(role)

    def allow_stream(self, role: Grantee) -> None:
        """Let a role's function be driven by the table's stream."""
        for actions, resource in (
            (["DescribeStream", "GetRecords", "GetShardIterator"], self.table.table_stream_arn),
            (["ListStreams"], "*"),  # knows no resource
        ):
            role.grant_principal.add_to_principal_policy(
                aws_iam.PolicyStatement(
                    actions=[f"dynamodb:{action}" for action in actions],
                    resources=[resource or ""],
                )
            )
        self.allow_key(role)

    def allow_key(self, role: Grantee) -> None:
        """Let a role reach the table's bytes, which it may ask for by other statements."""
        # DynamoDB unwraps the table's key in the name of the caller, to read and to write alike.
        allow_key(role, self.key, "dynamodb", "kms:Decrypt", "kms:DescribeKey")


def _string(name: str) -> aws_dynamodb.Attribute:
    return aws_dynamodb.Attribute(name=name, type=aws_dynamodb.AttributeType.STRING)
