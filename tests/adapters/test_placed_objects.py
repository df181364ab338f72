"""Reading what is placed: all of it, once, as it was written, in both clouds."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from forebay.adapters import keys
from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.exceptions import DynamoExceptions
from forebay.adapters.items import object_item, run_item, to_item, value
from forebay.adapters.placed_objects import DynamoPlacedObjects, read_plainly
from forebay.adapters.plan_ledger import S3PlanLedger
from forebay.adapters.price_table import load_prices, prices_for
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.decision import PolicyDecision
from forebay.domain.policy.exceptions import Scope, ScopeKind
from forebay.domain.policy.pricing import rounded
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.errors import PolicyError
from tests.adapters.conftest import Cloud
from tests.unit.fakes import any_record, any_run

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
POLICIES = Path(__file__).resolve().parents[2] / "policies"


def any_placed(**fields: Any) -> ObjectRecord:
    facts: dict[str, Any] = {
        "state": State.PLACED,
        "placed": Location("fb-clinical", "k", "v"),
        "placed_at": NOON,
        "metadata": {"Rows": 512, "SliceThickness": 1.5, "ImageType": ["A", "B"], "x": {"y": "z"}},
        "subject_tokens": {"PatientID": "t0ken"},
        "policy": PolicyDecision("images", StorageClass.STANDARD, replicate=True, decided_at=NOON),
    }
    return any_record(**facts | fields)


def put(catalog: DynamoCatalog, *records: ObjectRecord) -> None:
    for record in records:
        catalog.client.put_item(TableName=catalog.table, Item=object_item(record))
        site = {"pk": keys.SITES_PK, "sk": record.site, "entity": "site"}
        catalog.client.put_item(TableName=catalog.table, Item=to_item(site))


def placed_in(catalog: DynamoCatalog, **fields: Any) -> DynamoPlacedObjects:
    exceptions = DynamoExceptions(catalog.client, catalog.table)
    return DynamoPlacedObjects(catalog.client, catalog.table, exceptions, **fields)


def ids(placed: DynamoPlacedObjects, site: str = "") -> list[str]:
    return sorted(record.object_id for page in placed.pages(site) for record in page)


def test_every_placed_object_is_read_once_in_small_batches(catalog: DynamoCatalog) -> None:
    records = [any_placed(site=("north", "south")[n % 2]) for n in range(23)]
    put(catalog, *records, any_record(state=State.VERIFIED))

    pages = list(placed_in(catalog, batch=4, workers=2).pages(""))

    assert sorted(r.object_id for page in pages for r in page) == sorted(
        r.object_id for r in records
    )
    assert max(len(page) for page in pages) <= 4


def test_parts_share_everything_and_nothing_twice(catalog: DynamoCatalog) -> None:
    records = [any_placed(site="north") for _ in range(20)]
    put(catalog, *records)

    parts = [ids(placed_in(catalog, part=part, parts=2)) for part in range(2)]

    assert sorted(parts[0] + parts[1]) == sorted(record.object_id for record in records)
    assert not set(parts[0]) & set(parts[1])


def test_a_site_is_read_alone(catalog: DynamoCatalog) -> None:
    north, south = any_placed(site="north"), any_placed(site="south")
    put(catalog, north, south)

    assert ids(placed_in(catalog), "south") == [south.object_id]


@pytest.mark.parametrize("plainly", [True, False])
def test_a_record_is_read_as_it_was_written_but_names_nobody(
    cloud: Cloud, catalog: DynamoCatalog, plainly: bool
) -> None:
    import boto3  # noqa: PLC0415 - a client of its own: what reads plainly is not shared

    record = any_placed(site="north", subject={"PatientName": "Doe^Jane"})
    put(catalog, record)
    client = boto3.client("dynamodb", endpoint_url=cloud.endpoint)
    client = read_plainly(client) if plainly else client
    placed = DynamoPlacedObjects(client, catalog.table, DynamoExceptions(client, catalog.table))

    ((found,),) = placed.pages("")

    for name in ("object_id", "kind", "site", "size_bytes", "placed_at", "policy", "parents"):
        assert getattr(found, name) == getattr(record, name), name
    assert found.subject_tokens == record.subject_tokens
    assert found.subject == {}
    if plainly:
        assert found.metadata == record.metadata


def test_last_access_and_runs_are_read_for_those_that_have_them(catalog: DynamoCatalog) -> None:
    read, unread = Scope(ScopeKind.STUDY, "1.2"), Scope(ScopeKind.STUDY, "1.3")
    item = {
        "pk": {"S": keys.access_key(read)[0]},
        "sk": {"S": keys.access_key(read)[1]},
        "last_access": value("2026-06-01T12:00:00.000000Z"),
    }
    catalog.client.put_item(TableName=catalog.table, Item=item)
    well = any_run(state=RunState.SUCCEEDED, state_since=NOON)
    badly = any_run(state=RunState.FAILED)
    for run in (well, badly):
        catalog.client.put_item(TableName=catalog.table, Item=run_item(run))
    placed = placed_in(catalog)

    assert placed.last_access([read, unread]) == {read: NOON}
    assert placed.runs_succeeded([well.run_id, badly.run_id, "none"]) == {well.run_id: NOON}


def test_a_plan_in_the_ledger_reads_back_with_its_batches_in_order(cloud: Cloud) -> None:
    ledger = S3PlanLedger(cloud.client("s3"), cloud.bucket())
    ledger.put("p", {"note": "why"})
    for number in (2, 1):
        ledger.put(f"p/2026-{number:06d}", {"number": number})

    assert ledger.get("p") == {"note": "why"}
    assert ledger.get("q") is None
    assert [each["number"] for each in ledger.below("p")] == [1, 2]


@pytest.mark.parametrize("region", ["eu-central-1", "eu-west-1", "us-east-1"])
def test_shipped_prices_are_whole_and_say_where_they_are_from(region: str) -> None:
    table = prices_for(region, POLICIES)

    assert set(table.classes) == set(StorageClass)
    assert "https://aws.amazon.com/s3/pricing/" in table.source
    gib_month = table.classes[StorageClass.STANDARD].byte_month << 30
    assert 0.02 < rounded(gib_month, 4) < 0.03
    assert table.egress_to("somewhere") > 0


def test_a_region_without_prices_is_told_which_there_are() -> None:
    with pytest.raises(PolicyError, match=r"no prices for mars-1.*eu-central-1, eu-west-1"):
        prices_for("mars-1", POLICIES)


@pytest.mark.parametrize(
    "line, instead, says",
    [
        ("as_of: 2025-09-14", "as_of: soon", ":8: as_of: expected a date like 2026-01-31"),
        ("as_of: 2025-09-14", "as_of: 2025-02-30", ':8: as_of: expected a value, found "2025-'),
        ("currency: USD", "currency: EUR", ':7: currency: expected one of USD, found "EUR"'),
        ("put_per_1000: 0.005", "put_per_1000: x", "STANDARD/put_per_1000: expected a price"),
        ("put_per_1000: 0.005", "putt: 1", "STANDARD/putt: expected one of get_per_1000"),
        ("put_per_1000: 0.005", "put_per_1000: true", "found true"),
        ("put_per_1000: 0.005", "put_per_1000: -1", "found -1"),
        ("put_per_1000: 0.005", "put_per_1000: .inf", "expected a price"),
        ("put_per_1000: 0.005", "put_per_1000: .nan", "storage_classes/STANDARD: "),
        ("  DEEP_ARCHIVE:", "  DEEPER:", "storage_classes: expected `DEEP_ARCHIVE`, found nothing"),
        ("region: us-east-1", "region: us-east-1\nregion: us-east-1", "region: expected it once"),
        ("region: us-east-1", "regoin: us-east-1", "expected `region`, found nothing"),
        ("region: us-east-1", "region: [", "not YAML"),
        ("region: us-east-1", "region: mars", "expected an AWS region like eu-central-1"),
        ("egress_gb:", "egress_gb:\n  mars: 1", "egress_gb/mars: expected an AWS region"),
        ("egress_gb:", "egress_gb:\n  mx-central-1: 1.0e-15", "egress_gb/mx-central-1: "),
    ],
)
def test_a_wrong_price_table_says_where_and_what(
    tmp_path: Path, line: str, instead: str, says: str
) -> None:
    text = (POLICIES / "prices" / "us-east-1.yaml").read_text("utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(line, instead, 1), "utf-8")

    with pytest.raises(PolicyError, match=r"mine\.yaml") as raised:
        load_prices(path)

    assert says in str(raised.value)


def test_all_that_is_wrong_with_a_price_table_is_told_at_once(tmp_path: Path) -> None:
    text = (POLICIES / "prices" / "us-east-1.yaml").read_text("utf-8")
    path = tmp_path / "mine.yaml"
    wrong = text.replace("currency: USD", "currency: EUR").replace(
        "get_per_1000: 0.0004", "gets: 1"
    )
    path.write_text(wrong, "utf-8")

    with pytest.raises(PolicyError) as raised:
        load_prices(path)

    lines = str(raised.value).splitlines()
    assert len(lines) == 1 + 2 * wrong.count("gets: 1")
    assert all(re.match(rf"{path}:[0-9]+: ", line) for line in lines)
