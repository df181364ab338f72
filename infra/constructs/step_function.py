"""The function of a step."""

from collections.abc import Mapping
from typing import Final

from aws_cdk import Duration, RemovalPolicy, aws_iam, aws_lambda, aws_logs
from constructs import Construct

from forebay.names import METRICS_NAMESPACE
from infra.checks import acknowledge
from infra.constructs.python_layer import RUNTIME, PythonLayer
from infra.settings import ROOT, Settings
from infra.steps import Invoked, Layer, Schedule, StepSpec, physical_name

__all__ = ["StepFunction", "log_group"]

FUNCTIONS: Final = ROOT / "functions"

# glibc keeps an arena per thread and gives freed memory back late: a single pass over a large file
# would hold on to every buffer it used. OpenBLAS starts a thread per core to add up 150 numbers.
_GENOMICS_ENVIRONMENT: Final = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "OPENBLAS_NUM_THREADS": "1",
}


class StepFunction(Construct):
    """A step's function, of the folder `functions/<step>/`.

    Defaults: a role of its own that may write its own log group and traces and nothing else; JSON
    logs with retention; active tracing by the service, while the X-Ray SDK is never imported
    (it costs 0.4 s); sizes from `infra.steps`. Where no event source bounds how many run at
    once, reserved concurrency does.
    """

    def __init__(
        self,
        scope: Construct,
        spec: StepSpec,
        *,
        settings: Settings,
        layers: Mapping[str, PythonLayer],
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, "Function")
        name = physical_name(settings.prefix, spec.step)
        self.log_group = log_group(self, f"/aws/lambda/{name}", settings)
        self.role = aws_iam.Role(
            self,
            "Role",
            role_name=name if spec.named_role else None,
            assumed_by=aws_iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        self.log_group.grant_write(self.role)
        self.function = aws_lambda.Function(
            self,
            "Function",
            function_name=name,
            runtime=RUNTIME,
            architecture=layers[Layer.COMMON].architecture,
            handler="handler.handler",
            code=aws_lambda.Code.from_asset(
                str(FUNCTIONS / spec.step.value), exclude=["__pycache__", "*.pyc"]
            ),
            layers=[layers[layer].version for layer in spec.layers],
            role=self.role,
            memory_size=spec.size.memory_mb,
            timeout=Duration.seconds(spec.size.timeout(settings.profile)),
            environment={**_environment(spec), **environment},
            reserved_concurrent_executions=_reserved(spec, settings),
            tracing=aws_lambda.Tracing.ACTIVE,
            log_group=self.log_group,
            logging_format=aws_lambda.LoggingFormat.JSON,
            application_log_level_v2=aws_lambda.ApplicationLogLevel.INFO,
            system_log_level_v2=aws_lambda.SystemLogLevel.WARN,
        )
        acknowledge(
            self.role,
            "IAM5[Resource::*]",
            "X-Ray's PutTraceSegments and PutTelemetryRecords know no resource.",
        )
        acknowledge(
            self.function,
            "L1",
            "3.13 on purpose: the layers' wheels and bytecode are built and tested for it.",
        )


def log_group(scope: Construct, name: str, settings: Settings) -> aws_logs.LogGroup:
    """Return a log group with the deployment's retention; logs go with the stack."""
    group = aws_logs.LogGroup(
        scope, "Logs", log_group_name=name, removal_policy=RemovalPolicy.DESTROY
    )
    resource = group.node.default_child
    assert isinstance(resource, aws_logs.CfnLogGroup)  # noqa: S101 (narrows the tree's type)
    resource.retention_in_days = settings.log_retention_days
    return group


def _reserved(spec: StepSpec, settings: Settings) -> int | None:
    unbounded = isinstance(spec.trigger, Invoked | Schedule)
    wanted = unbounded and settings.reserve_concurrency
    return spec.at_most(settings.profile) if wanted else None


def _environment(spec: StepSpec) -> dict[str, str]:
    values = {
        "POWERTOOLS_SERVICE_NAME": spec.step.value,
        "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
        "POWERTOOLS_TRACE_DISABLED": "true",
        "LOG_LEVEL": "INFO",
    }
    if Layer.GENOMICS in spec.layers:
        values |= _GENOMICS_ENVIRONMENT
    return values
