"""What the stacks of functions share: layers, and a function, queue or schedule for a step."""

from collections.abc import Iterable, Mapping
from typing import Any

from aws_cdk import Aws, Stack, aws_events, aws_iam, aws_sqs
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from forebay import names
from forebay.names import EVENT_SOURCE, FOLDERS, Step, Zone, bucket_env
from infra import outputs
from infra.bundling import cloud_target, local_target
from infra.constructs.python_layer import PythonLayer
from infra.constructs.replication import archive_name
from infra.constructs.schedule import StepSchedule
from infra.constructs.step_function import StepFunction
from infra.constructs.step_queue import FailureQueue, StepQueue
from infra.foundation import Foundation
from infra.policy import write_policy
from infra.settings import Settings
from infra.steps import STEPS, Layer, Queue, trigger_of

__all__ = ["StepStack", "place_of", "place_of_zone"]


class StepStack(Stack):
    """A stack of steps; everything in it can be deleted and deployed again without losing data."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        base: Foundation,
        *,
        steps: Iterable[Step],
    ) -> None:
        super().__init__(
            scope, name, stack_name=f"{settings.prefix}-{name}", description=f"Forebay: {name}."
        )
        self._settings = settings
        self._base = base
        self._layers = self._build_layers({layer for step in steps for layer in STEPS[step].layers})

    def _build_layers(self, wanted: set[str]) -> dict[str, PythonLayer]:
        """Build layers here, beside their functions: their ARNs change with every version."""
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
            if name in wanted
        }

    def _function(
        self, place: Construct, step: Step, environment: Mapping[str, str]
    ) -> StepFunction:
        """Build a step's function; every step knows the catalog, the state machine of the flow."""
        built = StepFunction(
            place,
            STEPS[step],
            settings=self._settings,
            layers=self._layers,
            environment={names.ENV_TABLE: self._base.catalog.table.table_name, **environment},
        )
        self._say(
            step,
            FunctionName=built.function.function_name,
            LogGroup=built.log_group.log_group_name,
        )
        return built

    def _queue_step(
        self,
        step: Step,
        *,
        environment: Mapping[str, str],
        patterns: Mapping[str, aws_events.EventPattern],
        bus: aws_events.IEventBus,
        failures: aws_sqs.IQueue,
    ) -> aws_iam.IRole:
        """Build a step that works off a queue of events; return its role, to grant to.

        Each pattern is a rule of that name. Events of the bus match when they are ours; S3's and
        Step Functions' own come on the account's default bus.
        """
        trigger = trigger_of(step, Queue)
        place = Construct(self, place_of(step))
        queue = StepQueue(place, step, self._settings, topic=self._base.topic, failures=failures)
        default = aws_events.EventBus.from_event_bus_name(place, "Bus", "default")
        for rule, pattern in patterns.items():
            ours = pattern.source == [EVENT_SOURCE]
            queue.receive(pattern, bus if ours else default, rule=rule)
        built = self._function(place, step, environment)
        built.function.add_event_source(
            sources.SqsEventSource(
                queue.queue,
                batch_size=trigger.batch,
                max_concurrency=STEPS[step].at_most(self._settings.profile),
                report_batch_item_failures=True,
            )
        )
        self._say(
            step,
            QueueUrl=queue.queue.queue_url,
            DeadLetterUrl=queue.dead_letters.queue.queue_url,
        )
        return built.role

    def _scheduled_step(
        self,
        step: Step,
        *,
        environment: Mapping[str, str],
        inputs: Mapping[str, Mapping[str, Any]] | None = None,
        nightly: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> aws_iam.IRole:
        """Build a step that the clock wakes, once for each input; return its role.

        What is `nightly` wakes it besides, once a day.
        """
        place = Construct(self, place_of(step))
        failures = FailureQueue(place, step, self._settings, self._base.topic)
        built = self._function(place, step, environment)
        StepSchedule(
            place,
            step,
            self._settings,
            function=built.function,
            failures=failures,
            topic=self._base.topic,
            inputs=inputs or {},
            nightly=nightly,
        )
        self._say(step, DeadLetterUrl=failures.queue.queue_url)
        return built.role

    def _say(self, step: Step, **values: str) -> None:
        outputs.write(
            self, **{outputs.of_step(what, step): value for what, value in values.items()}
        )

    def _buckets(self, *zones: Zone) -> dict[str, str]:
        """Return the environment that names zones, and the archive where it is asked for and is."""
        named = {zone: self._base.zones[zone].name for zone in zones if zone in self._base.zones}
        if Zone.ARCHIVE in zones and self._settings.replica_region:
            named[Zone.ARCHIVE] = archive_name(self._settings)
        return {bucket_env(zone): name for zone, name in named.items()}

    def _regions(self) -> str:
        """Return where bytes of a zone lie: here, and where the replica is, if there is one."""
        replica = self._settings.replica_region
        return f"{Aws.REGION},{replica}" if replica else Aws.REGION

    def _allow(self, role: aws_iam.IRole, *actions: str, zones: Iterable[Zone]) -> None:
        """Let a role do exactly these actions on the objects of whole zones."""
        for zone in zones:
            self._base.zones[zone].allow(role, *actions)

    def _allow_placed(self, role: aws_iam.IRole, *actions: str, zones: Iterable[Zone]) -> None:
        """Let a role do exactly these actions on what `place_object` placed in zones."""
        for zone in zones:
            for folder in FOLDERS[zone]:
                self._base.zones[zone].allow(role, *actions, under=f"{folder}/*")

    def _allow_listing(self, role: aws_iam.IRole, *zones: Zone) -> None:
        for zone in zones:
            self._base.zones[zone].allow_listing(role)


def place_of(step: Step) -> str:
    """Return the construct id under which everything of a step stands."""
    return step.value.title().replace("_", "")


def place_of_zone(zone: Zone) -> str:
    """Return the construct id of what is there once for a zone."""
    return zone.name.title().replace("_", "")
