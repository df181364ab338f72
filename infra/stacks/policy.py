"""What keeps stored objects as policy wants them: storage classes, holds, disposition.

Read `PolicyStack.__init__` for the order, and each `_wire_*` for one step: what wakes it, what it
is told, what it may do, when somebody is told.
"""

from typing import Final

from aws_cdk import Aws, aws_events, aws_iam, aws_sqs
from constructs import Construct

from forebay import names
from forebay.domain.policy.decision import Violation
from forebay.names import (
    FOLDERS,
    INDEX_BY_ACTION,
    INDEX_BY_DUE,
    INDEX_BY_GROUP,
    INDEX_BY_STATE,
    LANDING_ZONES,
    Step,
    Zone,
)
from infra.constructs.access_log import access_log_name
from infra.constructs.alarm import Above, Notice, alarm, forebay_metric
from infra.constructs.domain_key import allow_signing
from infra.constructs.replication import archive_arn
from infra.constructs.zone_bucket import READ, allow_objects
from infra.foundation import Foundation
from infra.runbooks import Runbook
from infra.settings import Settings
from infra.stacks.step_stack import StepStack, place_of
from infra.steps import dead_letter_arn

__all__ = ["STEPS_OF_POLICY", "PolicyStack"]

STEPS_OF_POLICY: Final = (
    Step.EVALUATE_POLICY,
    Step.LEARN_ACCESS,
    Step.REQUEST_EXCEPTION,
    Step.DECIDE_EXCEPTION,
    Step.REQUEST_DISPOSITION,
    Step.DECIDE_DISPOSITION,
    Step.DISPOSE_OBJECTS,
)

_LATE_S: Final = 6 * 3600
"""How long after its time an object may be evaluated: S3's lifecycle itself runs once a day."""
_KEEP: Final = (
    "s3:GetObject",
    "s3:GetObjectLegalHold",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionTagging",
    "s3:PutObjectLegalHold",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
)
_DISPOSE: Final = (
    "s3:DeleteObjectVersion",
    "s3:GetObject",
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectVersion",
)
"""What exists, its locks, and its end; no key goes with it: whoever deletes cannot read."""
_WARM: Final = ("s3:AbortMultipartUpload", "s3:PutObject", "s3:RestoreObject")


class PolicyStack(StepStack):
    """Evaluation of policy, what it learns from, and disposition."""

    def __init__(self, scope: Construct, settings: Settings, base: Foundation) -> None:
        super().__init__(
            scope,
            "policy",
            settings,
            base,
            steps=STEPS_OF_POLICY,
        )
        self._wire_evaluate_policy()
        self._wire_learn_access()
        self._wire_request_exception()
        self._wire_decide_exception()
        self._wire_request_disposition()
        self._wire_decide_disposition()
        self._wire_dispose_objects()

    def _wire_evaluate_policy(self) -> None:
        """Objects that are due, and exceptions that changed → gates, holds, storage classes."""
        role = self._scheduled_step(
            Step.EVALUATE_POLICY,
            environment={names.ENV_REGIONS: self._regions(), **self._buckets(*FOLDERS)},
            nightly={"Census": {"census": True}},
        )
        self._allow_placed(role, *_KEEP, *_WARM, zones=FOLDERS)
        self._allow_listing(role, *FOLDERS)
        self._base.catalog.allow(role, "BatchGetItem", "GetItem", "Query", "UpdateItem")
        self._base.catalog.allow_index(
            role, INDEX_BY_ACTION, INDEX_BY_DUE, INDEX_BY_GROUP, INDEX_BY_STATE
        )
        self._alarm_policy()

    def _wire_learn_access(self) -> None:
        """Access logs of the zones → who opened which study or sample, and when last.

        Locally nobody writes them: `forebay fetch` alone notes what is read.
        """
        log = access_log_name(self._settings)
        role = self._queue_step(
            Step.LEARN_ACCESS,
            environment={
                names.ENV_PREFIX: self._settings.prefix,
                **self._buckets(*FOLDERS),
            },
            patterns={
                "Rule": aws_events.EventPattern(
                    source=["aws.s3"],
                    detail_type=["Object Created"],
                    detail={
                        "bucket": {"name": [log]},
                        "object": {"key": [{"prefix": f"{zone}/"} for zone in FOLDERS]},
                    },
                )
            },
            bus=aws_events.EventBus.from_event_bus_name(self, "DefaultBus", "default"),
            failures=aws_sqs.Queue.from_queue_arn(
                self, "Unarchived", dead_letter_arn(self._settings, Step.ARCHIVE_DEAD_LETTERS)
            ),
        )
        allow_objects(
            role,
            "s3:GetObject",
            "s3:GetObjectVersion",
            keys=f"arn:{Aws.PARTITION}:s3:::{log}/*",
        )
        # PutItem: the note of why a message failed.
        self._base.catalog.allow(role, "GetItem", "PutItem", "Query", "UpdateItem")

    def _wire_request_exception(self) -> None:
        """A person's signed order → an exception that somebody asked for, and nothing more."""
        role = self._order_step(Step.REQUEST_EXCEPTION)
        self._base.catalog.allow_items(role, "PutItem", leading=("EXC#*",))
        # The first version is what is asked for; the others, and so every decision, are not its.
        self._base.zones[Zone.LEDGER].allow(
            role, "s3:PutObject", under="exceptions/*/0000000001.json"
        )

    def _wire_decide_exception(self) -> None:
        """Another person's signed order → an exception that counts, or counts no more."""
        role = self._order_step(Step.DECIDE_EXCEPTION)
        # What a transaction does, each of its items has to be allowed.
        self._base.catalog.allow_items(
            role, "GetItem", "PutItem", "UpdateItem", leading=("EXC#*", "SCOPE#*")
        )
        self._base.zones[Zone.LEDGER].allow(role, *READ, "s3:PutObject", under="exceptions/*")

    def _wire_request_disposition(self) -> None:
        """A person's signed order → a disposition that somebody asked for, and nothing more."""
        role = self._order_step(Step.REQUEST_DISPOSITION)
        self._base.catalog.allow_items(role, "GetItem", "PutItem", leading=("DISP#*",))
        self._base.catalog.allow_items(role, "GetItem", leading=("DISPOK#*",))
        self._base.zones[Zone.LEDGER].allow(role, *READ, under="dispositions/*/request.json")

    def _wire_decide_disposition(self) -> None:
        """Another person's signed order → a disposition that may be carried out, or may not."""
        role = self._order_step(Step.DECIDE_DISPOSITION)
        self._base.catalog.allow_items(role, "GetItem", leading=("DISP#*",))
        self._base.catalog.allow_items(role, "GetItem", "PutItem", leading=("DISPOK#*",))
        self._base.zones[Zone.LEDGER].allow(role, *READ, under="dispositions/*/request.json")

    def _order_step(self, step: Step) -> aws_iam.IRole:
        """Build a step that writes what people order, and return its role; nobody else writes it.

        No alarm: whoever gave the order is told at once what went wrong.
        """
        place = Construct(self, place_of(step))
        return self._function(place, step, self._buckets(Zone.LEDGER)).role

    def _wire_dispose_objects(self) -> None:
        """An approved disposition → the only deletions of stored objects, and their certificate."""
        step = Step.DISPOSE_OBJECTS
        zones = (*FOLDERS, *LANDING_ZONES, Zone.QUARANTINE)
        built = self._function(
            Construct(self, place_of(step)),
            step,
            {
                names.ENV_HISTORY_TABLE: self._base.history.table.table_name,
                names.ENV_RECEIPT_KEY: self._base.receipt_key.key_id,
                **self._buckets(*zones, Zone.ARCHIVE, Zone.LEDGER),
            },
        )
        placed = [f"{self._base.zones[z].arn}/{folder}/*" for z in FOLDERS for folder in FOLDERS[z]]
        whole = [f"{self._base.zones[z].arn}/*" for z in (*LANDING_ZONES, Zone.QUARANTINE)]
        for keys in (*placed, *whole):
            allow_objects(built.role, *_DISPOSE, keys=keys)
        for zone in zones:
            self._base.zones[zone].allow_listing(built.role, versions=True)
        if self._settings.replica_region:
            archive = archive_arn(self._settings)
            allow_objects(built.role, *_DISPOSE, keys=f"{archive}/*")
            built.role.add_to_principal_policy(
                aws_iam.PolicyStatement(
                    actions=["s3:ListBucket", "s3:ListBucketVersions"], resources=[archive]
                )
            )
        self._base.zones[Zone.LEDGER].allow(
            built.role, *READ, "s3:PutObject", under="dispositions/*"
        )
        self._base.catalog.allow(
            built.role,
            *("BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem"),
            *("PutItem", "Query", "UpdateItem"),
        )
        self._base.catalog.allow_index(built.role, INDEX_BY_GROUP)
        self._base.history.allow(built.role, "Query")
        allow_signing(built.role, self._base.receipt_key, self._settings)
        alarm(
            built,
            "ErrorAlarm",
            Above.once(built.function.metric_errors(statistic="Sum")),
            Notice(f"{step} failed: `forebay logs {step}` shows why.", Runbook.DISPOSITIONS),
            tell=self._base.topic,
        )

    def _alarm_policy(self) -> None:
        place = Construct(self, "Violations")
        for violation in Violation:
            alarm(
                place,
                violation.value.title().replace("-", ""),
                Above.once(forebay_metric("Violations", kind=violation.value), minutes=15),
                Notice(
                    f"Stored objects are against policy: {violation.value}.",
                    Runbook.POLICY_VIOLATIONS,
                ),
                tell=self._base.topic,
            )
        alarm(
            place,
            "LateAlarm",
            Above(
                forebay_metric("OldestDueSeconds", "Maximum", step=Step.EVALUATE_POLICY.value),
                _LATE_S,
                minutes=15,
                breaching=2,
                periods=3,
            ),
            Notice(
                "evaluate_policy is falling behind: objects are judged hours after their time.",
                Runbook.POLICY_VIOLATIONS,
            ),
            tell=self._base.topic,
        )
