"""What keeps the deployment honest: it finds what the flow lost, and proves what it kept.

Read `UpkeepStack.__init__` for the order, and each `_wire_*` for one step: what wakes it, what it
is told, what it may do, when somebody is told. Queues, functions and machines of the flow are
spoken of by name: a reference would tie the stacks to each other.
"""

from typing import Final

from aws_cdk import Aws, CfnResource, aws_iam, aws_sqs
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from forebay import names
from forebay.domain.deadlines import RUN_DEADLINES, WATCHED
from forebay.domain.findings import Owner
from forebay.names import (
    FOLDERS,
    INDEX_BY_DUE,
    INDEX_BY_STATE,
    LANDING_ZONES,
    QUEUE_STEPS,
    Step,
    Zone,
    queue_env,
)
from infra.checks import acknowledge_keys
from infra.constructs.alarm import Above, Notice, alarm, forebay_metric
from infra.constructs.domain_key import allow_signing
from infra.constructs.job_policy import JobPolicies
from infra.constructs.pipeline_machine import machine_name
from infra.constructs.replication import allow_archive
from infra.constructs.step_function import StepFunction
from infra.constructs.zone_bucket import READ
from infra.foundation import Foundation
from infra.runbooks import Runbook
from infra.settings import Settings
from infra.stacks.ingest import READ_QC
from infra.stacks.step_stack import StepStack, place_of, place_of_zone
from infra.steps import (
    DeadLetters,
    dead_letter_arn,
    queue_arn,
    queue_url,
    trigger_of,
)

__all__ = ["ARCHIVED", "STEPS_OF_UPKEEP", "UpkeepStack"]

STEPS_OF_UPKEEP: Final = (
    Step.ARCHIVE_DEAD_LETTERS,
    Step.SWEEP_DEADLINES,
    Step.RECONCILE_STORAGE,
    Step.RECHECK_OBJECTS,
    Step.ISSUE_RECEIPT,
)
ARCHIVED: Final = (*QUEUE_STEPS, Step.RELAY_CHANGES)
"""The steps whose dead letters can be replayed, and are archived for that."""

_REDRIVEN: Final = (
    Step.INSPECT_DICOM,
    Step.INSPECT_GENOMICS,
    Step.PLACE_OBJECT,
    Step.SUBMIT_PIPELINE,
)
_RECONCILED: Final = (
    *LANDING_ZONES,
    Zone.CLINICAL,
    Zone.GENOMICS,
    Zone.DERIVED,
    Zone.QUARANTINE,
)
_OVERDUE: Final = (
    *((state.value, owner) for state, owner in WATCHED),
    *((state.value, Owner.PLATFORM) for state in RUN_DEADLINES),
)
_MANY_REDRIVEN: Final = 100
"""In an hour: a killed function or two hand back a few."""

_READ_TAGS: Final = ("s3:GetObjectTagging", "s3:GetObjectVersionTagging")
_HEAL: Final = (
    *READ,
    *_READ_TAGS,
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    "s3:AbortMultipartUpload",
)


class UpkeepStack(StepStack):
    """Dead letters, deadlines, reconciliation, rechecks, receipts; and what people may do."""

    def __init__(self, scope: Construct, settings: Settings, base: Foundation) -> None:
        super().__init__(
            scope,
            "upkeep",
            settings,
            base,
            steps=STEPS_OF_UPKEEP,
        )
        self._wire_archive_dead_letters()
        self._wire_sweep_deadlines()
        self._wire_reconcile_storage()
        self._wire_recheck_objects()
        receipts = self._wire_issue_receipt()
        JobPolicies(self, settings, base, receipts=receipts.function)

    def _wire_archive_dead_letters(self) -> None:
        """What every step gave up on → the ledger, with its cause; one line per cause."""
        step = Step.ARCHIVE_DEAD_LETTERS
        trigger = trigger_of(step, DeadLetters)
        place = Construct(self, place_of(step))
        built = self._function(place, step, self._buckets(Zone.LEDGER))
        for source in ARCHIVED:
            arn = dead_letter_arn(self._settings, source)
            queue = aws_sqs.Queue.from_queue_arn(place, f"From{place_of(source)}", arn)
            built.function.add_event_source(
                sources.SqsEventSource(
                    queue,
                    batch_size=trigger.batch,
                    max_concurrency=trigger.at_most,
                    report_batch_item_failures=True,
                )
            )
            alarm(
                place,
                f"NewFrom{place_of(source)}",
                Above.once(forebay_metric("DeadLetters", step=source.value)),
                Notice(
                    f"{source} gave up on something: `forebay dead-letters list` says why.",
                    Runbook.DEAD_LETTERS,
                ),
                tell=self._base.topic,
            )
        self._base.catalog.allow(built.role, "GetItem", "PutItem", "UpdateItem")
        # The relay's letters only name the place of the records in the stream.
        self._base.catalog.allow_stream_records(built.role)
        self._base.zones[Zone.LEDGER].allow(built.role, "s3:PutObject", under="dead-letters/*")

    def _wire_sweep_deadlines(self) -> None:
        """Expired leases, objects too long in a state → handed to their step, or to people."""
        machine = machine_name(self._settings.prefix, READ_QC)
        where = f"{Aws.REGION}:{Aws.ACCOUNT_ID}"
        arns = {READ_QC: f"arn:{Aws.PARTITION}:states:{where}:stateMachine:{machine}"}
        role = self._scheduled_step(
            Step.SWEEP_DEADLINES,
            environment={
                names.ENV_STATE_MACHINES: self.to_json_string(arns),
                **{queue_env(step): queue_url(self._settings, step) for step in _REDRIVEN},
            },
        )
        self._base.catalog.allow(role, "DeleteItem", "GetItem", "PutItem", "UpdateItem")
        self._base.catalog.allow_index(role, INDEX_BY_DUE, INDEX_BY_STATE)
        # AWS asks for one action for both calls, MiniStack for the name of the call.
        batch = ["sqs:SendMessageBatch"] if self._settings.is_local else []
        if batch:
            policy = role.node.find_child("DefaultPolicy").node.default_child
            assert isinstance(policy, CfnResource)  # noqa: S101 (narrows the tree's type)
            policy.add_metadata("cfn-lint", {"config": {"ignore_checks": ["W3037"]}})
        role.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=["sqs:SendMessage", *batch],
                resources=[queue_arn(self._settings, step) for step in _REDRIVEN],
            )
        )
        runs = f"arn:{Aws.PARTITION}:states:{where}:execution:{machine}:*"
        role.add_to_principal_policy(
            aws_iam.PolicyStatement(actions=["states:DescribeExecution"], resources=[runs])
        )
        acknowledge_keys(role, runs, "The runs of one machine; their names are not known here.")
        self._alarm_overdue()

    def _alarm_overdue(self) -> None:
        place = Construct(self, "Overdue")
        for state, owner in _OVERDUE:
            alarm(
                place,
                f"{state.title()}Of{owner.title()}".replace("-", "").replace("_", ""),
                Above.once(
                    forebay_metric("Overdue", "Maximum", state=state, owner=owner.value), minutes=15
                ),
                Notice(
                    f"What is {state} is past its deadline, and the {owner} should act.",
                    Runbook.CONFLICTS if owner is Owner.DATA_STEWARD else Runbook.OVERDUE,
                ),
                tell=self._base.topic,
            )
        redriven = forebay_metric("Outcomes", step=Step.SWEEP_DEADLINES.value, outcome="redriven")
        alarm(
            place,
            "ManyRedriven",
            Above(redriven, _MANY_REDRIVEN, minutes=60, breaching=1, periods=1),
            Notice(
                "Messages get lost or functions die: much had to be handed to its step again.",
                Runbook.OVERDUE,
            ),
            tell=self._base.topic,
        )

    def _wire_reconcile_storage(self) -> None:
        """Storage, catalog and replica compared, zone by zone → a report; no repair."""
        with_archive = self._settings.replica_region is not None
        zones = (*_RECONCILED, Zone.ARCHIVE) if with_archive else _RECONCILED
        role = self._scheduled_step(
            Step.RECONCILE_STORAGE,
            environment=self._buckets(*zones, Zone.LEDGER),
            inputs={place_of_zone(zone): {"zone": zone.value} for zone in zones},
        )
        self._allow(role, *READ, *_READ_TAGS, zones=_RECONCILED)
        for zone in _RECONCILED:
            self._base.zones[zone].allow_listing(role, versions=True, uploads=True)
        if with_archive:
            allow_archive(role, self._settings, *READ, *_READ_TAGS, "s3:GetObjectRetention")
        self._base.catalog.allow(role, "BatchGetItem", "GetItem", "Query")
        self._base.catalog.allow_index(role, INDEX_BY_STATE)
        self._base.zones[Zone.LEDGER].allow(
            role, "s3:GetObject", "s3:PutObject", under="reconciliation/*"
        )
        self._base.zones[Zone.LEDGER].allow_listing(role)
        alarm(
            self,
            "DifferencesAlarm",
            Above.once(forebay_metric("Differences", "Maximum", kind="all"), minutes=60),
            Notice(
                "Storage and catalog disagree: `forebay reconcile` names each difference.",
                Runbook.RECONCILIATION,
            ),
            tell=self._base.topic,
        )

    def _wire_recheck_objects(self) -> None:
        """Stored bytes against their digests, so many a day → the date, or an alarm and healing."""
        role = self._scheduled_step(
            Step.RECHECK_OBJECTS,
            environment={
                names.ENV_RECHECK_BYTES_PER_DAY: str(self._settings.recheck_bytes_per_day),
                **self._buckets(*FOLDERS, Zone.ARCHIVE),
            },
        )
        self._allow_placed(role, *_HEAL, zones=FOLDERS)
        self._allow(role, *READ, "s3:GetObjectVersionTagging", zones=LANDING_ZONES)
        self._allow_listing(role, *FOLDERS, *LANDING_ZONES)
        if self._settings.replica_region:
            allow_archive(role, self._settings, *READ, "s3:GetObjectVersionTagging")
        self._base.catalog.allow(role, "GetItem", "UpdateItem")
        self._base.catalog.allow_index(role, INDEX_BY_DUE)
        alarm(
            self,
            "StoredBytesAlarm",
            Above.once(forebay_metric("Differences", step=Step.RECHECK_OBJECTS.value), minutes=60),
            Notice(
                "Stored bytes are no longer those that were verified.", Runbook.STORED_BYTES_CHANGED
            ),
            tell=self._base.topic,
        )

    def _wire_issue_receipt(self) -> StepFunction:
        """An upload batch → what is kept of it, signed."""
        step = Step.ISSUE_RECEIPT
        built = self._function(
            Construct(self, place_of(step)),
            step,
            {
                names.ENV_RECEIPT_KEY: self._base.receipt_key.key_id,
                **self._buckets(*FOLDERS, Zone.LEDGER, Zone.ARCHIVE),
            },
        )
        self._allow_placed(built.role, *READ, zones=FOLDERS)
        self._allow_listing(built.role, *FOLDERS)
        if self._settings.replica_region:
            allow_archive(built.role, self._settings, *READ)
        self._base.catalog.allow(built.role, "BatchGetItem", "GetItem", "Query")
        self._base.zones[Zone.LEDGER].allow(built.role, "s3:PutObject", under="receipts/*")
        allow_signing(built.role, self._base.receipt_key, self._settings)
        alarm(
            built,
            "ErrorAlarm",
            Above.once(built.function.metric_errors(statistic="Sum")),
            Notice(f"{step} failed: `forebay logs {step}` shows why.", Runbook.RECEIPTS),
            tell=self._base.topic,
        )
        return built
