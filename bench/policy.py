"""Plan time at growing numbers of objects, and what evaluation costs for each that is due.

The catalog is a table in a MiniStack of its own, whose process has the same two cores: what it
takes to answer is in the time of the plan. A pass-through of the same pages (`read s`) tells how
much that is. Each of the measured plans is a run of its own, from the first query to the totals.
"""

import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from forebay.adapters import keys
from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.exceptions import DynamoExceptions, DynamoPolicyBook
from forebay.adapters.items import object_item, to_item
from forebay.adapters.placed_objects import DynamoPlacedObjects, read_plainly
from forebay.adapters.policy import CelPolicy
from forebay.adapters.policy_source import compile_folder
from forebay.adapters.price_table import prices_for
from forebay.adapters.scopes import DynamoObjectsInScope
from forebay.domain.classification import facts_of
from forebay.domain.integrity import Algorithm, Digest, Witness
from forebay.domain.objects import Kind, Location, ObjectRecord, object_id
from forebay.domain.policy.decision import decide
from forebay.domain.policy.plan import Rates
from forebay.domain.policy.pricing import rounded
from forebay.domain.policy.standing import Context, facts_for
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.states import State
from forebay.names import Zone
from forebay.services.evaluate_policy import EvaluatePolicy
from forebay.services.judging import Judge
from forebay.services.ports import Shelf
from forebay_cli.deployment import Connection
from forebay_cli.home import Home
from forebay_cli.localcloud import emulator, ports
from forebay_cli.localcloud.environment import ensure_environment
from forebay_cli.localcloud.interpreters import best_interpreter
from forebay_cli.localcloud.record import ACCESS_KEY, REGION, SECRET_KEY
from forebay_cli.policy_planning import Task, totals_of
from infra.tables import CATALOG_INDEXES, new_table

EVALUATED: Final = 400
"""So many of the objects that are due are evaluated at each size."""
COUNTS: Final = (1_000, 10_000, 100_000)
POLICIES: Final = Path(__file__).resolve().parent.parent / "policies"
PRICED: Final = "eu-central-1"
NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
OLDEST_DAYS: Final = 400
SITES: Final = ("north", "south", "east")
ZONES: Final = {f"bench-{zone}": zone for zone in Zone}


def measure(*, counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """Return what was measured for each number of objects; prints a line for each."""
    results: dict[str, Any] = {}
    print(f"  {'objects':>10}{'plan s':>10}{'read s':>10}{'µs/object':>12}{'peak MiB':>10}")
    with _ministack() as connection:
        client = read_plainly(connection.dynamodb())
        for count in counts:
            table = f"bench-{count}"
            client.create_table(**new_table(table, CATALOG_INDEXES))
            _fill(client, table, count)
            results[str(count)] = {
                **_planned(client, connection, table, count),
                "calls_per_evaluation": _evaluated(connection, table),
            }
    return results


def _planned(client: Any, connection: Connection, table: str, count: int) -> dict[str, Any]:
    placed = DynamoPlacedObjects(client, table, DynamoExceptions(client, table))
    started = time.perf_counter()
    seen = sum(len(page) for page in placed.pages(""))
    read = time.perf_counter() - started
    rates = Rates(prices_for(PRICED, POLICIES))
    task = Task(connection, table, changed_policy(), rates, ZONES, (PRICED,))
    started = time.perf_counter()
    totals = totals_of(task, NOW)
    seconds = time.perf_counter() - started
    assert totals.all.objects == seen == count, (totals.all.objects, seen, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = 1e6 * seconds / count
    print(f"  {count:>10,}{seconds:>10.2f}{read:>10.2f}{each:>12.0f}{peak:>10.0f}")
    return {
        "plan_s": round(seconds, 2),
        "read_s": round(read, 2),
        "peak_mib": round(peak),
        "changed": totals.changed.objects,
        "monthly_before": str(rounded(totals.all.before)),
        "monthly_after": str(rounded(totals.all.after)),
    }


class _Stores:
    """Buckets and the vault, as far as an evaluation asks: it counts, and then stops the clock."""

    def __init__(self, calls: Counter[str]) -> None:
        self.calls = calls

    def now(self) -> datetime:
        return NOW + timedelta(days=self.calls["s3:tags"] >= EVALUATED)

    def tags(self, _: Location) -> dict[str, str]:
        self.calls["s3:tags"] += 1
        return {}

    def storage_class(self, _: Location) -> Shelf:
        self.calls["s3:head"] += 1
        return Shelf(StorageClass.STANDARD)

    def set_tags(self, _: Location, __: Mapping[str, str]) -> bool:
        self.calls["s3:set_tags"] += 1
        return True


def _evaluated(connection: Connection, table: str) -> dict[str, float]:
    """Evaluate the longest due of a table; return calls by kind for each object."""
    calls: Counter[str] = Counter()
    client = connection.dynamodb()

    def count(model: Any, **_: Any) -> None:
        calls[f"dynamodb:{model.name}"] += 1

    client.meta.events.register("before-call", count)
    stores: Any = _Stores(calls)
    book = DynamoPolicyBook(client, table)
    policy = CelPolicy.from_data(compile_folder(POLICIES))
    judge = Judge(DynamoCatalog(client, table), book, policy, (PRICED,))
    exceptions = DynamoExceptions(client, table)
    buckets = {zone: name for name, zone in ZONES.items()}
    scope = DynamoObjectsInScope(client, table)
    evaluate = EvaluatePolicy(judge, stores, stores, stores, exceptions, scope, buckets)
    started, before = time.perf_counter(), time.process_time()
    done = evaluate.due()
    seconds, own = time.perf_counter() - started, time.process_time() - before
    assert not done.failures, done.failures[:1]
    evaluated = len(done.results)
    each = {name: round(number / evaluated, 2) for name, number in sorted(calls.items())}
    print(
        f"  {evaluated} of those due evaluated, {1e3 * seconds / evaluated:.1f} ms each, of which"
        f" {1e3 * own / evaluated:.1f} ms of our own processor time: {each}"
    )
    return {**each, "own_ms": round(1e3 * own / evaluated, 2)}


def changed_policy() -> dict[str, Any]:
    """Return the shipped policy with tiers that begin twice as early."""
    data = compile_folder(POLICIES)
    for chosen in data["classes"].values():
        for tier in chosen["tiers"]:
            tier["after_days"] = max(1, tier["after_days"] // 2)
    return data


def records(count: int) -> Iterator[ObjectRecord]:
    """Yield placed objects as the steps leave them, each judged by the shipped policy."""
    random = Random(5)  # noqa: S311
    policy = CelPolicy.from_data(compile_folder(POLICIES))
    for number in range(count):
        site = SITES[number % len(SITES)]
        moment = NOW - timedelta(days=random.uniform(0, OLDEST_DAYS))
        record = (_instance, _reads)[number % 10 >= 8](number, site, moment)
        chosen = policy.classify(facts_of(record))
        placed = Location(f"bench-{chosen.zone}", f"{number}", f"v{number}")
        record = replace(
            record,
            object_class=chosen.object_class,
            class_rule=chosen.rule,
            retention_class=chosen.retention_class,
            placed=placed,
        )
        facts = facts_for(
            record,
            policy.policy.classes[chosen.object_class],
            policy.policy,
            Context(),
            regions=(PRICED,),
        )
        decided = decide(policy.policy.classes[chosen.object_class], facts, (), moment)
        yield replace(record, policy=replace(decided, policy=policy.policy.digest))


def _instance(number: int, site: str, moment: datetime) -> ObjectRecord:
    study, series = number // 400, number // 100
    return _record(
        f"{site}/{number}.dcm",
        Kind.DICOM,
        moment,
        size_bytes=524_288 + number % 9_000,
        metadata={
            "SOPInstanceUID": f"1.2.826.0.1.3680043.8.498.{number:030d}",
            "SeriesInstanceUID": f"1.2.826.0.1.3680043.8.498.1.{series:028d}",
            "StudyInstanceUID": f"1.2.826.0.1.3680043.8.498.2.{study:028d}",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
            "TransferSyntaxUID": "1.2.840.10008.1.2.4.90",
            "Modality": ("CT", "MR", "CR")[study % 3],
            "Manufacturer": "SIEMENS",
            "BodyPartExamined": "CHEST",
            "StudyDate": f"{moment:%Y%m%d}",
            "Rows": 512,
            "Columns": 512,
            "NumberOfFrames": 1,
        },
    )


def _reads(number: int, site: str, moment: datetime) -> ObjectRecord:
    sample, lane, mate = number // 80, number // 20 % 4 + 1, number // 10 % 2 + 1
    return _record(
        f"{site}/S{sample}_S1_L00{lane}_R{mate}_001.fastq.gz",
        Kind.FASTQ,
        moment,
        size_bytes=2_000_000_000 + number,
        metadata={
            "sample": f"S{sample}",
            "run": f"A01234_{sample // 96:04d}_HXXDSX",
            "lane": f"L00{lane}",
            "mate": mate,
            "chunk": "001",
            "reads": 20_000_000,
            "bases": 3_000_000_000,
            "read_length_min": 151,
            "read_length_max": 151,
            "quality_mean": 35.2,
        },
    )


def _record(
    key: str, kind: Kind, moment: datetime, *, size_bytes: int, metadata: Mapping[str, Any]
) -> ObjectRecord:
    landing = Location("bench-landing", key, f"v-{key}")
    return ObjectRecord(
        object_id(landing),
        landing,
        kind,
        key.partition("/")[0],
        State.PLACED,
        moment,
        3,
        moment,
        size_bytes=size_bytes,
        digests=(Digest(Algorithm.SHA256, f"{hash(key):064x}"[-64:], Witness.FOREBAY),),
        source_system="PACS-1",
        consent_state="granted",
        placed_at=moment,
        metadata=metadata,
    )


def _fill(client: Any, table: str, count: int) -> None:
    for site in SITES:
        item = {"pk": keys.SITES_PK, "sk": site, "entity": "site"}
        client.put_item(TableName=table, Item=to_item(item))
    batch: list[Any] = []
    for record in records(count):
        batch.append({"PutRequest": {"Item": object_item(record)}})
        if len(batch) == 25:
            client.batch_write_item(RequestItems={table: batch})
            batch = []
    if batch:
        client.batch_write_item(RequestItems={table: batch})


@contextmanager
def _ministack() -> Iterator[Connection]:
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as folder:
        home = Home(project=Home.find().project, state=Path(folder))
        python = ensure_environment(home, best_interpreter(), lambda _: None)
        started = emulator.start(home, emulator.EmulatorSettings(ports.any_free_port(), python))
        try:
            yield Connection(REGION, started.endpoint, None, ACCESS_KEY, SECRET_KEY, None)
        finally:
            emulator.stop(started)
