"""What a bucket's policy forbids to everybody: deleting, lifting holds, retagging what is held."""

from typing import Final

from aws_cdk import Aws, aws_iam

from forebay.names import HOLD_LEGAL, Step, Tag, Zone
from infra.constructs.zone_bucket import ZoneBucket
from infra.settings import Settings
from infra.steps import physical_name

__all__ = ["GUARDED_ZONES", "disposer_arn", "evaluator_arn", "guard"]

GUARDED_ZONES: Final = (
    Zone.CLINICAL,
    Zone.GENOMICS,
    Zone.DERIVED,
    Zone.RESEARCH,
    Zone.QUARANTINE,
    Zone.ARCHIVE,
)
"""Where placed objects and their copies lie, and what was refused: a hold may reach that, too."""

_DELETES: Final = ("s3:DeleteObject", "s3:DeleteObjectVersion")
_RETENTION: Final = "s3:PutObjectRetention"
_LOCKS: Final = (
    "s3:PutObjectLegalHold",
    _RETENTION,
    "s3:BypassGovernanceRetention",
)
_RETAGS: Final = (
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersionTagging",
)


def disposer_arn(settings: Settings) -> str:
    """Return the ARN of the one role that may delete: that of `dispose_objects`."""
    return _role_arn(physical_name(settings.prefix, Step.DISPOSE_OBJECTS))


def evaluator_arn(settings: Settings) -> str:
    """Return the ARN of the one role that sets and lifts holds: that of `evaluate_policy`."""
    return _role_arn(physical_name(settings.prefix, Step.EVALUATE_POLICY))


def guard(zone: ZoneBucket, settings: Settings) -> None:
    """Forbid in a zone's bucket policy what no grant elsewhere may then allow.

    The bucket's lifecycle is no principal: none of this reaches it, gates and locks do. Held
    objects are protected from deletion by their Object Lock and by who may delete at all, since
    `s3:ExistingObjectTag` is not supported for deleting or overwriting an object, while it is for
    its tags.

    Amazon S3 User Guide, "Tagging and access control policies"; Service Authorization Reference,
    "Actions, resources, and condition keys for Amazon S3".
    """
    objects = f"{zone.arn}/*"
    disposer = physical_name(settings.prefix, Step.DISPOSE_OBJECTS)
    evaluator = physical_name(settings.prefix, Step.EVALUATE_POLICY)
    but_disposal = _unless(settings, disposer)
    but_policy = _unless(settings, evaluator, disposer)
    # Of what is held, too, the steps refuse readers what late evidence convicted.
    but_steps = _unless(settings, f"{settings.prefix}-*")
    held = {"StringEquals": {f"s3:ExistingObjectTag/{Tag.HOLD}": HOLD_LEGAL}}
    # People who repair the archive copy with its retention: without a bypass it can only grow.
    locks = [each for each in _LOCKS if zone.zone is not Zone.ARCHIVE or each != _RETENTION]
    for sid, actions, resource, conditions in (
        ("OnlyDisposalDeletes", _DELETES, objects, but_disposal),
        ("NobodyDeletesTheBucket", ("s3:DeleteBucket",), zone.arn, {}),
        ("OnlyPolicyLocks", locks, objects, but_policy),
        ("OnlyStepsRetagWhatIsHeld", _RETAGS, objects, but_steps | held),
    ):
        zone.bucket.add_to_resource_policy(
            aws_iam.PolicyStatement(
                sid=sid,
                effect=aws_iam.Effect.DENY,
                principals=[aws_iam.AnyPrincipal()],
                actions=list(actions),
                resources=[resource],
                conditions=conditions,
            )
        )


def _unless(settings: Settings, *names: str) -> dict[str, dict[str, list[str]]]:
    """Return the condition that leaves out roles of these names.

    `aws:PrincipalArn` of a function is its role on AWS. MiniStack compares the session instead
    (`core/iam_evaluator.py`, `_resolve_condition_key`), so that locally both are named.
    """
    callers = [_role_arn(name) for name in names]
    if settings.is_local:
        account = f"arn:{Aws.PARTITION}:sts::{Aws.ACCOUNT_ID}"
        callers += [f"{account}:assumed-role/{name}/*" for name in names]
    return {"ArnNotLike": {"aws:PrincipalArn": callers}}


def _role_arn(name: str) -> str:
    return f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/{name}"
