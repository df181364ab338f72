"""Compiled lifecycle rules as a template declares them."""

from collections.abc import Sequence

from aws_cdk import Duration, aws_s3

from forebay.domain.policy.lifecycle import LifecycleRule
from forebay.domain.policy.storage_classes import StorageClass

__all__ = ["set_rules"]


def set_rules(bucket: aws_s3.Bucket, rules: Sequence[LifecycleRule]) -> None:
    """Give a bucket, which has none, its lifecycle rules."""
    resource = bucket.node.default_child
    assert isinstance(resource, aws_s3.CfnBucket)  # noqa: S101 (narrows the construct tree's type)
    for index, rule in enumerate(rules):
        bucket.add_lifecycle_rule(
            id=rule.id,
            tag_filters=dict(rule.tags) or None,
            transitions=[_transition(*each) for each in rule.transitions] or None,
            expiration=_days(rule.expire_days),
            noncurrent_version_expiration=_days(rule.noncurrent_expire_days),
            expired_object_delete_marker=rule.expired_markers or None,
            abort_incomplete_multipart_upload_after=_days(rule.abort_upload_days),
        )
        if rule.min_bytes:
            # S3 says "greater than" where a tier says "at least". CDK writes a number;
            # CloudFormation's schema has a string.
            resource.add_property_override(
                f"LifecycleConfiguration.Rules.{index}.ObjectSizeGreaterThan",
                str(rule.min_bytes - 1),
            )


def _transition(days: int, storage_class: StorageClass) -> aws_s3.Transition:
    return aws_s3.Transition(
        storage_class=aws_s3.StorageClass(storage_class.value),
        transition_after=Duration.days(days),
    )


def _days(days: int | None) -> Duration | None:
    return None if days is None else Duration.days(days)
