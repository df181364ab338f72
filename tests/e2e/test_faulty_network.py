"""Calls of the functions are throttled, refused and cut off; nothing is lost or done twice."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay_cli import stack_outputs
from forebay_cli.home import Home
from forebay_cli.localcloud.lifecycle import running_cloud
from tests.e2e.cloud import Cloud
from tests.e2e.fault_proxy import Fault, FaultProxy
from tests.e2e.samples import write_instances, write_pair

FAULTS = (
    Fault("s3", 0.15, (503, "SlowDown")),
    Fault("s3", 0.05, (500, "InternalError"), after=True),
    Fault("s3", 0.05),
    Fault("dynamodb", 0.15, (400, "ProvisionedThroughputExceededException")),
    Fault("dynamodb", 0.05, (500, "InternalServerError"), after=True),
    Fault("dynamodb", 0.05),
    Fault("events", 0.10, (503, "ThrottlingException")),
)
INSTANCES = 20


def test_a_faulty_network_loses_nothing_and_doubles_nothing(cloud: Cloud, tmp_path: Path) -> None:
    site = "faulty"
    write_instances(tmp_path / "faulty", INSTANCES)
    write_pair(tmp_path / "reads", "FAULTY1")
    cloud.forebay("upload", str(tmp_path), "--site", site)

    sites = (site, f"{site}-again")
    with faulty_network(cloud, FAULTS) as proxy:
        cloud.forebay("upload", str(tmp_path), "--site", sites[1])
        cloud.until(lambda: sum(map(cloud.outcomes, sites)) == 2 * (INSTANCES + 4))

    assert min(proxy.injected[service] for service in ("s3", "dynamodb", "events")) > 0
    placed, duplicates = (
        [record for s in sites for record in cloud.records(s, state)]
        for state in (State.PLACED, State.DUPLICATE)
    )
    # The uploads overlap: either site's copy may be the first of an instance.
    images = {record.object_id: record for record in placed if record.kind is Kind.DICOM}
    assert len(images) == len(duplicates) == INSTANCES
    assert len(placed) == INSTANCES + 8
    assert {record.original_id for record in duplicates} == set(images)
    assert [record.duplicate_count for record in images.values()] == [1] * INSTANCES
    runs = cloud.reader.runs_of_sample("FAULTY1")
    cloud.until(
        lambda: all(
            run.state is RunState.SUCCEEDED for run in cloud.reader.runs_of_sample("FAULTY1")
        )
    )
    assert len({run.run_id for run in runs}) == len(runs)
    # A batch of the stream that met a fault is relayed again some seconds later.
    cloud.until(lambda: all(len(told_of(cloud, r)) >= r.version for r in placed + duplicates))
    for record in placed + duplicates:
        history = told_of(cloud, record)
        assert [entry["version"] for entry in history] == list(range(1, record.version + 1))


@contextmanager
def faulty_network(cloud: Cloud, faults: Sequence[Fault]) -> Iterator[FaultProxy]:
    """Let every function reach AWS only through a faulty proxy."""
    local = running_cloud(Home(project=None, state=cloud.home))
    assert local is not None
    client: Any = cloud.client("lambda")
    names = cloud.deployment.by_step(stack_outputs.FUNCTION).values()
    before = {
        name: client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        for name in names
    }
    proxy = FaultProxy(local.endpoint, local.ca_bundle, faults)
    with proxy.running() as endpoint:
        try:
            for name, variables in before.items():
                _configure(client, name, variables | {"AWS_ENDPOINT_URL": endpoint})
            yield proxy
        finally:
            proxy.faults = ()
            for name, variables in before.items():
                _configure(client, name, variables)


def _configure(client: Any, name: str, variables: dict[str, str]) -> None:
    client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def told_of(cloud: Cloud, record: ObjectRecord) -> list[dict[str, Any]]:
    return cloud.reader.history(record.object_id)
