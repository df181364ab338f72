"""cdk-nag (AwsSolutions) on every stack, and how a finding is acknowledged.

A finding is fixed, or acknowledged one by one, with its reason, next to the construct it is about.
The rule's id carries the finding, as `AwsSolutions-IAM5[Resource::*]`.
"""

from aws_cdk import Acknowledgment, App, Aws, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct

__all__ = ["acknowledge", "acknowledge_keys", "check"]


def check(app: App) -> None:
    """Run the checks when the app is synthesized; a finding stops it."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def acknowledge(construct: IConstruct, finding: str, reason: str) -> None:
    """Accept one finding on a construct and what it contains."""
    Validations.of(construct).acknowledge(
        Acknowledgment(id=f"AwsSolutions-{finding}", reason=reason)
    )


def acknowledge_keys(construct: IConstruct, resource: str, reason: str) -> None:
    """Accept the wildcard at the end of one resource, such as the keys of a bucket below a prefix.

    cdk-nag names a resource by its ARN, with `<AWS::Region>` where the template has a reference.
    """
    for token, name in (
        (Aws.PARTITION, "Partition"),
        (Aws.REGION, "Region"),
        (Aws.ACCOUNT_ID, "AccountId"),
    ):
        resource = resource.replace(token, f"<AWS::{name}>")
    acknowledge(construct, f"IAM5[Resource::{resource}]", reason)
