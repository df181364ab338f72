"""The flow: bus, queues, functions, layers, state machine, and who may do what.

Read `IngestStack.__init__` for the order, and each `_wire_*` for one step: what wakes it, what it
is told, what it may do. Grants are exact actions on exact keys; what is not listed is denied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import Duration, Stack, aws_events, aws_iam, aws_kms, aws_lambda, aws_sns
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from forebay import names
from forebay.names import (
    EVENT_SOURCE,
    FOLDERS,
    LANDING_ZONES,
    DetailType,
    Step,
    Zone,
    bucket_env,
)
from infra import outputs
from infra.bundling import cloud_target, local_target
from infra.checks import acknowledge
from infra.constructs.alarm import Bound, alarm
from infra.constructs.catalog_table import CatalogTable
from infra.constructs.pipeline_machine import PipelineMachine
from infra.constructs.python_layer import PythonLayer
from infra.constructs.step_function import StepFunction
from infra.constructs.step_queue import DeadLetters, StepQueue
from infra.constructs.zone_bucket import ZoneBucket
from infra.policy import write_policy
from infra.settings import Settings
from infra.steps import STEPS, Layer

__all__ = ["Foundation", "IngestStack"]

READ_QC: Final = "read_qc"

_STREAM_TRIES: Final = 20
_STREAM_AGE_HOURS: Final = 12
"""A stream keeps 24 hours: what the relay gave up on can be read again for as long once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What the flow stands on, from the other stacks."""

    zones: Mapping[Zone, ZoneBucket]
    catalog: CatalogTable
    history: CatalogTable
    subject_key: aws_kms.IKey
    topic: aws_sns.ITopic


class IngestStack(Stack):
    """Everything that can be deleted and deployed again without losing anything."""

    def __init__(self, scope: Construct, settings: Settings, base: Foundation) -> None:
        super().__init__(
            scope,
            "ingest",
            stack_name=f"{settings.prefix}-ingest",
            description="Forebay: the flow.",
        )
        self._settings = settings
        self._base = base
        self._layers = self._build_layers()
        self.bus = aws_events.EventBus(self, "Bus", event_bus_name=settings.prefix)
        outputs.write(self, BusName=self.bus.event_bus_name)
        self._wire_register_object()
        self._wire_inspect_dicom()
        self._wire_inspect_genomics()
        self._wire_place_object()
        self._wire_relay_changes()
        machine = self._wire_run_read_qc()
        self._wire_submit_pipeline(machine)
        self._wire_record_pipeline(machine)

    def _wire_register_object(self) -> None:
        """Arrivals → catalog."""
        role = self._queue_step(
            Step.REGISTER_OBJECT,
            environment=self._buckets(*LANDING_ZONES),
            pattern=aws_events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [self._base.zones[zone].name for zone in LANDING_ZONES]}
                },
            ),
        )
        self._read_landing(role, *LANDING_ZONES)
        self._base.catalog.allow(role, "GetItem", "PutItem")

    def _wire_inspect_dicom(self) -> None:
        """Received DICOM → verified, quarantined, duplicate, conflict."""
        role = self._queue_step(
            Step.INSPECT_DICOM,
            environment={
                names.ENV_SUBJECT_KEY: self._base.subject_key.key_id,
                **self._buckets(Zone.LANDING_IMAGING),
            },
            pattern=_changes(DetailType.OBJECT_RECEIVED, kind=["dicom"]),
        )
        self._read_landing(role, Zone.LANDING_IMAGING)
        self._claim_identity(role)
        # To compare with the holder of a UID where checksums alone cannot decide.
        self._read_placed(role, Zone.CLINICAL)
        role.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=["kms:GenerateMac"], resources=[self._base.subject_key.key_arn]
            )
        )

    def _wire_inspect_genomics(self) -> None:
        """Everything else that was received → verified, quarantined, awaiting its digest."""
        role = self._queue_step(
            Step.INSPECT_GENOMICS,
            environment=self._buckets(*LANDING_ZONES),
            pattern=_changes(DetailType.OBJECT_RECEIVED, kind=[{"anything-but": ["dicom"]}]),
        )
        self._read_landing(role, *LANDING_ZONES)
        self._claim_identity(role)
        self._base.catalog.allow(role, "Query")  # whom a checksum file speaks of
        # A checksum file that comes late is judged by the copy: the landing copy may be gone.
        self._read_placed(role, *FOLDERS)

    def _wire_place_object(self) -> None:
        """Outcomes → copies in their zone, tags, settled landing versions."""
        destinations = {
            **{zone: [f"{folder}/*" for folder in folders] for zone, folders in FOLDERS.items()},
            Zone.QUARANTINE: ["*"],
        }
        role = self._queue_step(
            Step.PLACE_OBJECT,
            environment=self._buckets(*LANDING_ZONES, *destinations),
            pattern=_changes(
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
        self._base.catalog.allow(role, "GetItem", "UpdateItem")

    def _wire_relay_changes(self) -> None:
        """Changes of the catalog → history, projections, ledger, bus."""
        spec = STEPS[Step.RELAY_CHANGES]
        place = Construct(self, _place(spec.step))
        dead_letters = DeadLetters(place, spec, self._settings, self._base.topic)
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
            Bound(
                step.function.metric("IteratorAge", statistic="Maximum"), spec.age_alarm_s * 1000
            ),
            tell=self._base.topic,
            meaning="relay_changes is falling behind: events, history and ledger are late.",
        )
        self._base.catalog.allow_stream(step.role)
        step.function.add_event_source_mapping(
            "Stream",
            event_source_arn=self._base.catalog.table.table_stream_arn,
            starting_position=aws_lambda.StartingPosition.TRIM_HORIZON,
            batch_size=spec.batch,
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
        self._base.catalog.allow(step.role, "BatchWriteItem")
        self._base.history.allow(step.role, "BatchWriteItem")
        self._base.zones[Zone.LEDGER].allow(step.role, "s3:PutObject", under="changes/*")
        self.bus.grant_put_events_to(step.role)
        outputs.write(
            self, **{outputs.of_step("DeadLetterUrl", spec.step): dead_letters.queue.queue_url}
        )

    def _wire_run_read_qc(self) -> PipelineMachine:
        """A pair of reads → a report that arrives like any other object."""
        step = self._function(
            Construct(self, _place(Step.RUN_READ_QC)),
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
        role = self._queue_step(
            Step.SUBMIT_PIPELINE,
            environment={names.ENV_STATE_MACHINES: self.to_json_string(arns)},
            pattern=_changes(DetailType.OBJECT_PLACED, kind=["fastq"]),
        )
        self._base.catalog.allow(role, "GetItem", "PutItem", "Query")
        role.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=["states:StartExecution"], resources=[machine.machine.state_machine_arn]
            )
        )

    def _wire_record_pipeline(self, machine: PipelineMachine) -> None:
        """A run's end → its record."""
        role = self._queue_step(
            Step.RECORD_PIPELINE,
            environment={},
            pattern=aws_events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [machine.machine.state_machine_arn]},
            ),
        )
        self._base.catalog.allow(role, "GetItem", "PutItem")

    def _build_layers(self) -> dict[str, PythonLayer]:
        """Build the layers here, beside their functions: their ARNs change with every version."""
        settings = self._settings
        target = local_target(settings.python) if settings.is_local else cloud_target()
        return {
            name: PythonLayer(
                self,
                name,
                settings=settings,
                target=target,
                finish=write_policy if name == Layer.POLICY else None,
            )
            for name in Layer.ALL
        }

    def _queue_step(
        self, step: Step, *, environment: Mapping[str, str], pattern: aws_events.EventPattern
    ) -> aws_iam.IRole:
        """Build a step that works off a queue of events; return its role, to grant to.

        Events of the bus match when they are ours; S3's and Step Functions' own come on the
        account's default bus.
        """
        spec = STEPS[step]
        place = Construct(self, _place(step))
        queue = StepQueue(place, spec, self._settings, self._base.topic)
        ours = pattern.source == [EVENT_SOURCE]
        queue.receive(
            pattern,
            self.bus if ours else aws_events.EventBus.from_event_bus_name(place, "Bus", "default"),
        )
        built = self._function(place, step, environment)
        built.function.add_event_source(
            sources.SqsEventSource(
                queue.queue,
                batch_size=spec.batch,
                max_concurrency=spec.at_most(self._settings.profile),
                report_batch_item_failures=True,
            )
        )
        outputs.write(
            self,
            **{
                outputs.of_step("QueueUrl", step): queue.queue.queue_url,
                outputs.of_step("DeadLetterUrl", step): queue.dead_letters.queue.queue_url,
            },
        )
        return built.role

    def _function(
        self,
        place: Construct,
        step: Step,
        environment: Mapping[str, str],
    ) -> StepFunction:
        """Build a step's function; every step knows the catalog, the state machine of the flow."""
        built = StepFunction(
            place,
            STEPS[step],
            settings=self._settings,
            layers=self._layers,
            environment={names.ENV_TABLE: self._base.catalog.table.table_name, **environment},
        )
        outputs.write(
            self,
            **{
                outputs.of_step("FunctionName", step): built.function.function_name,
                outputs.of_step("LogGroup", step): built.log_group.log_group_name,
            },
        )
        return built

    def _buckets(self, *zones: Zone) -> dict[str, str]:
        return {bucket_env(zone): self._base.zones[zone].name for zone in zones}

    def _read_landing(self, role: aws_iam.IRole, *zones: Zone) -> None:
        for zone in zones:
            self._base.zones[zone].allow(role, "s3:GetObject", "s3:GetObjectVersion")

    def _read_placed(self, role: aws_iam.IRole, *zones: Zone) -> None:
        for zone in zones:
            for folder in FOLDERS[zone]:
                self._base.zones[zone].allow(
                    role, "s3:GetObject", "s3:GetObjectVersion", under=f"{folder}/*"
                )

    def _claim_identity(self, role: aws_iam.IRole) -> None:
        """Let a step move an object's state and claim an identity with it, in one transaction."""
        self._base.catalog.allow(
            role, "BatchGetItem", "ConditionCheckItem", "GetItem", "PutItem", "UpdateItem"
        )


def _place(step: Step) -> str:
    """Return the construct id under which everything of a step stands."""
    return step.value.title().replace("_", "")


def _changes(*detail_types: DetailType, kind: list[Any] | None = None) -> aws_events.EventPattern:
    """Match changes of the catalog, of some kinds of object where `kind` says so."""
    return aws_events.EventPattern(
        source=[EVENT_SOURCE],
        detail_type=[detail_type.value for detail_type in detail_types],
        detail={"kind": kind} if kind else None,
    )
