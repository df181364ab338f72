"""What buckets hold, listed by S3 or read from an inventory report; and their locks."""

import gzip
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.catalog_reader import CatalogReader
from forebay.adapters.change_log import DynamoChangeLog
from forebay.adapters.inventory import InventoryListing, S3Listing, S3Locks
from forebay.domain.objects import Location
from forebay.domain.states import State
from forebay.errors import MessageError, ObjectMissingError
from forebay.services.ports import RecordedChange
from tests.adapters.conftest import Cloud
from tests.unit.fakes import NOON, any_location, any_record

SCHEMA = (
    "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag,"
    " ObjectLockRetainUntilDate"
)


def put(cloud: Cloud, bucket: str, key: str, body: bytes = b"x") -> str:
    return str(cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=body)["VersionId"])


def test_every_version_is_listed_in_key_order_without_delete_markers(cloud: Cloud) -> None:
    bucket = cloud.bucket()
    versions = {put(cloud, bucket, "site/b", b"1"), put(cloud, bucket, "site/b", b"22")}
    put(cloud, bucket, "site/a")
    put(cloud, bucket, "other/z")
    cloud.client("s3").delete_object(Bucket=bucket, Key="site/a")

    rows = list(S3Listing(cloud.client("s3")).versions(bucket, prefix="site/"))

    assert [row.location.key for row in rows] == ["site/a", "site/b", "site/b"]
    assert {row.location.version_id for row in rows[1:]} == versions
    assert sorted(row.size_bytes for row in rows) == [1, 1, 2]
    assert all(row.modified_at.tzinfo and row.etag for row in rows)


def test_listing_goes_on_after_a_key(cloud: Cloud) -> None:
    bucket = cloud.bucket()
    for key in ("a", "b", "b/1", "c"):
        put(cloud, bucket, key)

    rows = S3Listing(cloud.client("s3")).versions(bucket, after="b")

    assert [row.location.key for row in rows] == ["b/1", "c"]


def test_keys_of_any_characters_survive_the_listing(cloud: Cloud) -> None:
    bucket = cloud.bucket()
    keys = {"site/M\u00fcller +1%20&.dcm", "site/a b", "site/\u65e5\u672c"}
    for key in keys:
        put(cloud, bucket, key)

    rows = S3Listing(cloud.client("s3")).versions(bucket)

    assert {row.location.key for row in rows} == keys


def test_unfinished_upload_is_listed_until_it_is_aborted(cloud: Cloud) -> None:
    bucket, s3 = cloud.bucket(), cloud.client("s3")
    listing = S3Listing(s3)
    made = s3.create_multipart_upload(Bucket=bucket, Key="site/huge")["UploadId"]

    (upload,) = listing.uploads(bucket)

    assert (upload.location, upload.upload_id) == (Location(bucket, "site/huge"), made)
    assert listing.abort(upload.location, made)
    assert list(listing.uploads(bucket)) == []
    assert not listing.abort(upload.location, made)


def inventory(cloud: Cloud, rows: list[list[str]], **fields: Any) -> InventoryListing:
    """Write a report as S3 Inventory does: two data files and their manifest."""
    bucket, s3 = cloud.bucket(), cloud.client("s3")
    files = []
    for number, part in enumerate((rows[:1], rows[1:])):
        text = "".join(",".join(f'"{value}"' for value in row) + "\n" for row in part)
        key = f"inventory/source/weekly/data/{number}.csv.gz"
        s3.put_object(Bucket=bucket, Key=key, Body=gzip.compress(text.encode()))
        files.append({"key": key, "size": 1, "MD5checksum": "0"})
    manifest = {
        "sourceBucket": "source",
        "destinationBucket": f"arn:aws:s3:::{bucket}",
        "version": "2016-11-30",
        "fileFormat": "CSV",
        "fileSchema": SCHEMA,
        "files": files,
        **fields,
    }
    key = "inventory/source/weekly/2026-03-01T01-00Z/manifest.json"
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(manifest).encode())
    return InventoryListing(s3, Location(bucket, key))


ROWS = [
    ["source", "site/b+1%25", "v1", "true", "false", "5", "2026-03-01T12:00:00.000Z", "e1", ""],
    ["source", "site/c", "v2", "true", "true", "", "2026-03-01T12:00:00.000Z", "", ""],
    [
        *("source", "site/d", "null", "true", "false", "7", "2026-03-02T12:00:00.000Z", "e2"),
        "2027-03-02T12:00:00.000Z",
    ],
]


def test_inventory_is_read_as_a_listing(cloud: Cloud) -> None:
    first, second = inventory(cloud, ROWS).versions("source")

    assert first.location == Location("source", "site/b 1%", "v1")
    assert (first.size_bytes, first.modified_at) == (5, datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert (first.is_locked, second.is_locked) == (False, True)
    assert second.location == Location("source", "site/d", "")


def test_inventory_is_narrowed_by_prefix_and_marker(cloud: Cloud) -> None:
    listing = inventory(cloud, ROWS)

    assert [row.location.key for row in listing.versions("source", after="site/b 1%")] == ["site/d"]
    assert list(listing.versions("source", prefix="elsewhere/")) == []
    assert list(listing.versions("another")) == []


@pytest.mark.parametrize(
    "fields, said", [({"fileFormat": "ORC"}, "ORC"), ({"fileSchema": "Bucket, Key"}, "VersionId")]
)
def test_inventory_of_another_shape_says_what_is_wrong(
    cloud: Cloud, fields: dict[str, str], said: str
) -> None:
    with pytest.raises(MessageError, match=said):
        list(inventory(cloud, ROWS, **fields).versions("source"))


def locked_bucket(cloud: Cloud, **configuration: Any) -> str:
    bucket, s3 = f"fb-{uuid4().hex[:20]}", cloud.client("s3")
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    if configuration:
        s3.put_object_lock_configuration(
            Bucket=bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": configuration},
        )
    return bucket


def test_bucket_without_default_retention_demands_no_lock(cloud: Cloud) -> None:
    locks = S3Locks(cloud.client("s3"))
    lockable = locked_bucket(cloud)
    version = put(cloud, lockable, "k")

    assert not locks.is_demanded(cloud.bucket())
    assert not locks.is_demanded(lockable)
    assert not locks.is_locked(Location(lockable, "k", version))
    with pytest.raises(ObjectMissingError):
        locks.is_locked(Location(lockable, "none"))


def test_version_is_locked_as_its_bucket_demands(cloud: Cloud) -> None:
    bucket = locked_bucket(cloud, DefaultRetention={"Mode": "GOVERNANCE", "Days": 30})
    place = Location(bucket, "k", put(cloud, bucket, "k"))
    locks = S3Locks(cloud.client("s3"))

    assert locks.is_demanded(bucket)
    locks.lock(place)
    assert locks.is_locked(place)


def test_copy_leads_to_its_object(
    catalog: DynamoCatalog, change_log: DynamoChangeLog, reader: CatalogReader
) -> None:
    record = any_record(state=State.VERIFIED)
    placed, held = any_location(bucket="clinical"), any_location(bucket="quarantine")
    moved = record.moved_to(State.PLACED, NOON, placed=placed, held=held)
    change_log.record([RecordedChange(record, moved)])

    found = reader.objects_of_copies([placed, held, any_location()])

    assert found == {placed: record.object_id, held: record.object_id}
    assert reader.objects_at(placed.bucket, placed.key) == [record.object_id]
    assert reader.objects_at(placed.bucket, "another") == []


def test_records_are_read_a_hundred_at_a_time(
    catalog: DynamoCatalog, reader: CatalogReader
) -> None:
    records = [any_record() for _ in range(130)]
    for record in records:
        catalog.register(record)

    found = reader.records({record.object_id for record in records} | {any_record().object_id})

    assert found == {record.object_id: record for record in records}


def test_objects_are_iterated_by_state_and_site(
    catalog: DynamoCatalog, change_log: DynamoChangeLog, reader: CatalogReader
) -> None:
    records = [any_record(site=site) for site in ("a", "a", "b", "")]
    for record in records:
        catalog.register(record)
        change_log.record([RecordedChange(None, record)])
    everybody = {record.object_id for record in records}

    assert set(reader.ids_in_states(State)) == everybody
    assert set(reader.ids_in_states([State.RECEIVED], site="b")) == {records[2].object_id}
    assert set(reader.ids_in_states([State.PLACED])) == set()
    assert set(reader.ids_in_states(State, since=NOON)) == everybody
    assert set(reader.ids_in_states(State, since=NOON.replace(hour=13))) == set()
