"""The flow: bus, queues, functions, layers, state machine, and who may do what.

Read `IngestStack.__init__` for the order, and each `_wire_*` for one step: what wakes it, what it
is told, what it may do. Grants are exact actions on exact keys; what is not listed is denied.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_cdk import Duration, aws_events, aws_iam, aws_lambda
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from forebay import names
from forebay.names import (
    DELETED_OUTSIDE_POLICY,
    EVENT_SOURCE,
    FOLDERS,
    LANDING_ZONES,
    DetailType,
    Step,
    Zone,
)
from infra import outputs
from infra.checks import acknowledge
from infra.constructs.alarm import Above, Notice, alarm, forebay_metric
from infra.constructs.event_archive import EventArchive
from infra.constructs.pipeline_machine import PipelineMachine
from infra.constructs.step_queue import DeadLetters, FailureQueue
from infra.constructs.zone_bucket import READ
from infra.foundation import Foundation
from infra.runbooks import Runbook
from infra.settings import Settings
from infra.stacks.step_stack import StepStack, place_of
from infra.steps import STEPS, Stream, trigger_of

__all__ = ["READ_QC", "STEPS_OF_THE_FLOW", "IngestStack"]

READ_QC: Final = "read_qc"
STEPS_OF_THE_FLOW: Final = (
    Step.REGISTER_OBJECT,
    Step.INSPECT_DICOM,
    Step.INSPECT_GENOMICS,
    Step.PLACE_OBJECT,
    Step.RELAY_CHANGES,
    Step.RUN_READ_QC,
    Step.SUBMIT_PIPELINE,
    Step.RECORD_PIPELINE,
)

# How long one record that always fails stands in the way. Only records of its quarter of a shard
# wait (`Stream.at_most` batches run side by side). Halving a batch of 100 until the record is alone
# takes 7 failures, then come 11 tries: 18 of about a second each for a bug, and 18 minutes at the
# very most, for one that hangs until the function's timeout of 60 s each time. The age alarm rings
# after 5. More tries would not help in an outage either: Lambda does not count what it could not
# invoke, the clients retry throttling inside one try, and what is given up is archived at once.
_STREAM_TRIES: Final = 10
_STREAM_AGE_HOURS: Final = 12
"""A stream keeps 24 hours: what the relay gave up on can be read again for as long once more."""

_CONDITION_OF_COPIES: Final = (
    "Object Deleted",
    "Object Restore Initiated",
    "Object Restore Completed",
    "Object Restore Expired",
    "Object Storage Class Changed",
    "Object Access Tier Changed",
)
"""What S3 tells of a placed copy that is news: not that we made it, or tagged it."""
_ZONES_OF_COPIES: Final = (Zone.CLINICAL, Zone.GENOMICS, Zone.DERIVED, Zone.QUARANTINE)


class IngestStack(StepStack):
    """From S3's event to the last step: bus, queues, functions, state machine."""

    def __init__(self, scope: Construct, settings: Settings, base: Foundation) -> None:
        super().__init__(
            scope,
            "ingest",
            settings,
            base,
            steps=STEPS_OF_THE_FLOW,
        )
        self.bus = aws_events.EventBus(self, "Bus", event_bus_name=settings.prefix)
        outputs.write(self, BusName=self.bus.event_bus_name)
        # Here, since the dead-letter queues are: a queue must be there before another names it.
        self._failures = FailureQueue(
            Construct(self, place_of(Step.ARCHIVE_DEAD_LETTERS)),
            Step.ARCHIVE_DEAD_LETTERS,
            settings,
            base.topic,
        )
        self._wire_register_object()
        self._wire_inspect_dicom()
        self._wire_inspect_genomics()
        self._wire_place_object()
        self._wire_relay_changes()
        machine = self._wire_run_read_qc()
        self._wire_submit_pipeline(machine)
        self._wire_record_pipeline(machine)
        if not settings.is_local:
            self._archive_events()

    def _wire_register_object(self) -> None:
        """Arrivals, and what becomes of arrivals and copies later → catalog."""
        role = self._flow_step(
            Step.REGISTER_OBJECT,
            environment=self._buckets(*LANDING_ZONES, *_ZONES_OF_COPIES),
            patterns={
                "Rule": self._s3_events(*LANDING_ZONES, tells=("Object Created", "Object Deleted")),
                "CopiesRule": self._s3_events(*_ZONES_OF_COPIES, tells=_CONDITION_OF_COPIES),
            },
        )
        zones = (*LANDING_ZONES, *_ZONES_OF_COPIES)
        self._allow(role, *READ, zones=zones)
        # Without it S3 answers "forbidden" instead of "not there" of what was deleted.
        self._allow_listing(role, *zones)
        for zone in LANDING_ZONES:
            self._base.zones[zone].allow_listing(role, versions=True)
        self._base.catalog.allow(role, "GetItem", "PutItem", "Query", "UpdateItem")
        alarm(
            self,
            "DeletedOutsidePolicyAlarm",
            Above.once(
                forebay_metric(
                    "Outcomes", step=Step.REGISTER_OBJECT.value, outcome=DELETED_OUTSIDE_POLICY
                )
            ),
            Notice(
                "A placed copy was deleted, and no decision allowed it.",
                Runbook.DELETED_OUTSIDE_POLICY,
            ),
            tell=self._base.topic,
        )

    def _wire_inspect_dicom(self) -> None:
        """Received DICOM → verified, quarantined, duplicate, conflict."""
        role = self._flow_step(
            Step.INSPECT_DICOM,
            environment={
                names.ENV_SUBJECT_KEY: self._base.subject_key.key_id,
                **self._buckets(Zone.LANDING_IMAGING),
            },
            patterns=_changes(DetailType.OBJECT_RECEIVED, kind=["dicom"]),
        )
        self._allow(role, *READ, zones=[Zone.LANDING_IMAGING, Zone.QUARANTINE])
        self._claim_identity(role)
        self._base.catalog.allow(role, "Query")  # what a steward lets stand beside an identity
        # To compare with the holder of a UID where checksums alone cannot decide.
        self._allow_placed(role, *READ, zones=[Zone.CLINICAL])
        role.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=["kms:GenerateMac"], resources=[self._base.subject_key.key_arn]
            )
        )

    def _wire_inspect_genomics(self) -> None:
        """Everything else that was received → verified, quarantined, awaiting its digest."""
        role = self._flow_step(
            Step.INSPECT_GENOMICS,
            environment=self._buckets(*LANDING_ZONES),
            patterns=_changes(DetailType.OBJECT_RECEIVED, kind=[{"anything-but": ["dicom"]}]),
        )
        self._allow(role, *READ, zones=[*LANDING_ZONES, Zone.QUARANTINE])
        self._claim_identity(role)
        # Whom a checksum file speaks of; and its leases are deleted.
        self._base.catalog.allow(role, "DeleteItem", "Query")
        # A checksum file that comes late is judged by the copy: the landing copy may be gone.
        self._allow_placed(role, *READ, zones=FOLDERS)

    def _wire_place_object(self) -> None:
        """Outcomes → copies in their zone, tags, settled landing versions."""
        destinations = {
            **{zone: [f"{folder}/*" for folder in folders] for zone, folders in FOLDERS.items()},
            Zone.QUARANTINE: ["*"],
        }
        role = self._flow_step(
            Step.PLACE_OBJECT,
            environment={
                names.ENV_REGIONS: self._regions(),
                **self._buckets(*LANDING_ZONES, *destinations),
            },
            patterns=_changes(
                DetailType.OBJECT_VERIFIED,
                DetailType.OBJECT_QUARANTINED,
                DetailType.OBJECT_DUPLICATED,
                DetailType.OBJECT_CONFLICTED,
            ),
        )
        for zone in LANDING_ZONES:
            self._base.zones[zone].allow(
                role,
                "s3:GetObject",
                "s3:GetObjectTagging",
                "s3:GetObjectVersion",
                "s3:GetObjectVersionTagging",
                "s3:PutObjectTagging",
                "s3:PutObjectVersionTagging",
            )
        for zone, patterns in destinations.items():
            # Without it S3 answers "forbidden" instead of "not there" when a copy is looked for.
            self._base.zones[zone].allow_listing(role)
            for keys in patterns:
                self._base.zones[zone].allow(
                    role,
                    "s3:AbortMultipartUpload",
                    "s3:GetObject",
                    "s3:GetObjectTagging",
                    "s3:GetObjectVersion",
                    "s3:GetObjectVersionTagging",
                    "s3:PutObject",
                    "s3:PutObjectTagging",
                    "s3:PutObjectVersionTagging",
                    under=keys,
                )
        # It deletes its leases; exceptions and last access are read in one batch.
        self._base.catalog.allow(role, "BatchGetItem", "DeleteItem", "GetItem", "UpdateItem")

    def _wire_relay_changes(self) -> None:
        """Changes of the catalog → history, projections, ledger, bus."""
        spec, stream = STEPS[Step.RELAY_CHANGES], trigger_of(Step.RELAY_CHANGES, Stream)
        place = Construct(self, place_of(spec.step))
        dead_letters = DeadLetters(
            place,
            spec.step,
            self._settings,
            topic=self._base.topic,
            failures=self._failures.queue,
        )
        acknowledge(dead_letters, "SQS3", "It is a dead-letter queue: of a stream, not a queue.")
        step = self._function(
            place,
            spec.step,
            {
                names.ENV_HISTORY_TABLE: self._base.history.table.table_name,
                names.ENV_BUS: self.bus.event_bus_name,
                **self._buckets(Zone.LEDGER),
            },
        )
        alarm(
            step,
            "AgeAlarm",
            Above(
                step.function.metric("IteratorAge", statistic="Maximum"), stream.age_alarm_s * 1000
            ),
            Notice(
                "relay_changes is falling behind: events, history and ledger are late.",
                Runbook.CHANGE_FEED,
            ),
            tell=self._base.topic,
        )
        self._base.catalog.allow_stream(step.role)
        step.function.add_event_source_mapping(
            "Stream",
            event_source_arn=self._base.catalog.table.table_stream_arn,
            starting_position=aws_lambda.StartingPosition.TRIM_HORIZON,
            batch_size=stream.batch,
            parallelization_factor=spec.at_most(self._settings.profile),
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            retry_attempts=_STREAM_TRIES,
            max_record_age=Duration.hours(_STREAM_AGE_HOURS),
            on_failure=sources.SqsDlq(dead_letters.queue),
            filters=[
                aws_lambda.FilterCriteria.filter(
                    {"dynamodb": {"NewImage": {"entity": {"S": ["object", "pipeline_run"]}}}}
                )
            ],
        )
        self._base.catalog.allow(step.role, "BatchWriteItem", "PutItem")
        self._base.history.allow(step.role, "BatchWriteItem")
        self._base.zones[Zone.LEDGER].allow(step.role, "s3:PutObject", under="changes/*")
        self.bus.grant_put_events_to(step.role)
        self._say(spec.step, DeadLetterUrl=dead_letters.queue.queue_url)

    def _wire_run_read_qc(self) -> PipelineMachine:
        """A pair of reads → a report that arrives like any other object."""
        step = self._function(
            Construct(self, place_of(Step.RUN_READ_QC)),
            Step.RUN_READ_QC,
            self._buckets(Zone.GENOMICS, Zone.LANDING_GENOMICS),
        )
        self._base.zones[Zone.GENOMICS].allow(
            step.role, "s3:GetObject", "s3:GetObjectVersion", under="reads/*"
        )
        self._base.zones[Zone.LANDING_GENOMICS].allow(
            step.role, "s3:PutObject", under=f"{names.PIPELINES_SITE}/*"
        )
        machine = PipelineMachine(
            self,
            READ_QC,
            settings=self._settings,
            functions={Step.RUN_READ_QC.value: step.function},
            topic=self._base.topic,
        )
        arn, group = machine.machine.state_machine_arn, machine.log_group.log_group_name
        outputs.write(
            self,
            **{
                outputs.of_pipeline("StateMachineArn", READ_QC): arn,
                outputs.of_pipeline("StateMachineLogGroup", READ_QC): group,
            },
        )
        return machine

    def _wire_submit_pipeline(self, machine: PipelineMachine) -> None:
        """Placed reads → a run, once their mates are placed too."""
        arns = {machine.name: machine.machine.state_machine_arn}
        role = self._flow_step(
            Step.SUBMIT_PIPELINE,
            environment={names.ENV_STATE_MACHINES: self.to_json_string(arns)},
            patterns=_changes(DetailType.OBJECT_PLACED, kind=["fastq"]),
        )
        self._base.catalog.allow(role, "GetItem", "PutItem", "Query")
        role.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=["states:StartExecution"], resources=[machine.machine.state_machine_arn]
            )
        )

    def _wire_record_pipeline(self, machine: PipelineMachine) -> None:
        """A run's end → its record."""
        role = self._flow_step(
            Step.RECORD_PIPELINE,
            environment={},
            patterns={
                "Rule": aws_events.EventPattern(
                    source=["aws.states"],
                    detail_type=["Step Functions Execution Status Change"],
                    detail={"stateMachineArn": [machine.machine.state_machine_arn]},
                )
            },
        )
        self._base.catalog.allow(role, "GetItem", "PutItem")

    def _archive_events(self) -> None:
        """Keep what was said on both buses, to say it again: at scale, or to a new subscriber."""
        anything = aws_events.EventPattern(source=[EVENT_SOURCE])
        EventArchive(self, "changes", self._settings, self.bus, anything)
        default = aws_events.EventBus.from_event_bus_name(self, "DefaultBus", "default")
        arrivals = self._s3_events(*LANDING_ZONES, tells=("Object Created", "Object Deleted"))
        EventArchive(self, "arrivals", self._settings, default, arrivals)

    def _flow_step(
        self,
        step: Step,
        *,
        environment: Mapping[str, str],
        patterns: Mapping[str, aws_events.EventPattern],
    ) -> aws_iam.IRole:
        role = self._queue_step(
            step,
            environment=environment,
            patterns=patterns,
            bus=self.bus,
            failures=self._failures.queue,
        )
        # What goes wrong leaves a note, from which a dead letter gets its reason.
        self._base.catalog.allow(role, "PutItem")
        return role

    def _s3_events(self, *zones: Zone, tells: Sequence[str]) -> aws_events.EventPattern:
        return aws_events.EventPattern(
            source=["aws.s3"],
            detail_type=list(tells),
            detail={"bucket": {"name": [self._base.zones[zone].name for zone in zones]}},
        )

    def _claim_identity(self, role: aws_iam.IRole) -> None:
        """Let a step move an object's state and claim an identity with it, in one transaction."""
        self._base.catalog.allow(
            role, "BatchGetItem", "ConditionCheckItem", "GetItem", "PutItem", "UpdateItem"
        )


def _changes(
    *detail_types: DetailType, kind: list[Any] | None = None
) -> dict[str, aws_events.EventPattern]:
    """Match changes of the catalog, of some kinds of object where `kind` says so."""
    return {
        "Rule": aws_events.EventPattern(
            source=[EVENT_SOURCE],
            detail_type=[detail_type.value for detail_type in detail_types],
            detail={"kind": kind} if kind else None,
        )
    }
