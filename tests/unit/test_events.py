"""What S3, the bus and Step Functions send, however they send it."""

import contextlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forebay.errors import MessageError
from forebay.events import (
    ObjectChanged,
    ObjectCreated,
    StorageChanged,
    StorageKind,
    read_json,
    read_pipeline_event,
    read_s3_events,
    utc_text,
)

ROOT = Path(__file__).resolve().parents[2]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def from_bus(key: str = "site-a/x.dcm", *, kind: str = "Object Created", **fields: Any) -> str:
    entry = {"key": key, "size": 5, "etag": "e", "version-id": "v1", "sequencer": "0A"}
    return json.dumps(
        {
            "version": "0",
            "detail-type": kind,
            "source": "aws.s3",
            "detail": {
                "version": "0",
                "bucket": {"name": "landing"},
                "object": {**entry, **fields},
                "reason": "PutObject",
            },
        }
    )


def native(*keys: str, kind: str = "ObjectCreated:Put", **fields: Any) -> str:
    records = [
        {
            "eventVersion": "2.1",
            "eventName": kind,
            "s3": {
                "bucket": {"name": "landing"},
                "object": {"key": key, "size": 5, "eTag": "e", "versionId": "v1", **fields},
            },
        }
        for key in keys
    ]
    return json.dumps({"Records": records})


def with_detail(kind: str, **said: str) -> str:
    """Return an event of a kind whose detail says more than bucket and object."""
    event = json.loads(from_bus(kind=kind))
    event["time"] = "2026-03-01T12:00:00Z"
    event["detail"] |= said
    return json.dumps(event)


def native_with(kind: str, **said: Any) -> str:
    """Return a notification whose record says more than the object."""
    message = json.loads(native("a%2Bb", kind=kind))
    message["Records"][0] |= {"eventTime": "2026-03-01T12:00:00.000Z", **said}
    return json.dumps(message)


def test_eventbridge_event_is_read() -> None:
    assert read_s3_events(from_bus()) == (
        ObjectCreated("landing", "site-a/x.dcm", "v1", "0A", 5, "e"),
    )


@pytest.mark.parametrize("key", ["a+b", "a b", "a%20b", "Müller/日本", "a%2Bb", "a&b=c"])
def test_key_from_eventbridge_is_taken_as_it_is(key: str) -> None:
    assert [event.key for event in read_s3_events(from_bus(key))] == [key]


@pytest.mark.parametrize(
    "written, key",
    [
        ("a%2Bb", "a+b"),
        ("a+b", "a b"),
        ("a%20b", "a b"),
        ("M%C3%BCller/%E6%97%A5%E6%9C%AC", "Müller/日本"),
        ("a%2520b", "a%20b"),
        ("folder/", "folder/"),
    ],
)
def test_key_from_a_notification_is_decoded_once(written: str, key: str) -> None:
    assert [event.key for event in read_s3_events(native(written))] == [key]


def test_notification_of_many_objects_is_read_in_order() -> None:
    assert [event.key for event in read_s3_events(native("a", "b", "c"))] == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload"])
def test_creations_of_every_kind_count(kind: str) -> None:
    assert len(read_s3_events(native("a", kind=kind))) == 1


@pytest.mark.parametrize(
    "body",
    [
        from_bus(kind="Object ACL Updated"),
        from_bus(kind="Object Tags Added"),
        from_bus(kind="Object Tags Deleted"),
        with_detail("Object Deleted", **{"deletion-type": "Delete Marker Created"}),
        native("a", kind="ObjectRemoved:DeleteMarkerCreated"),
        native("a", kind="s3:LifecycleExpiration:DeleteMarkerCreated"),
        native("a", kind="s3:ObjectTagging:Put"),
        native("a", kind="s3:ObjectAcl:Put"),
        native("a", kind="s3:Replication:OperationFailedReplication"),
        native(),
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "landing"}),
    ],
)
def test_what_changes_no_bytes_is_ignored(body: str) -> None:
    assert read_s3_events(body) == ()


@pytest.mark.parametrize(
    "body, kind, tier, until",
    [
        (
            with_detail(
                "Object Deleted",
                **{"deletion-type": "Permanently Deleted", "reason": "DeleteObject"},
            ),
            StorageKind.REMOVED,
            "",
            "",
        ),
        (
            with_detail(
                "Object Deleted",
                **{"deletion-type": "Permanently Deleted", "reason": "Lifecycle Expiration"},
            ),
            StorageKind.EXPIRED,
            "",
            "",
        ),
        # MiniStack names neither reason nor deletion type: HEAD decides.
        (with_detail("Object Deleted"), StorageKind.REMOVED, "", ""),
        (
            with_detail("Object Storage Class Changed", **{"destination-storage-class": "GLACIER"}),
            StorageKind.STORAGE_CLASS_CHANGED,
            "GLACIER",
            "",
        ),
        (
            with_detail(
                "Object Access Tier Changed", **{"destination-access-tier": "ARCHIVE_ACCESS"}
            ),
            StorageKind.ACCESS_TIER_CHANGED,
            "ARCHIVE_ACCESS",
            "",
        ),
        (
            with_detail("Object Restore Initiated", **{"source-storage-class": "GLACIER"}),
            StorageKind.RESTORE_STARTED,
            "",
            "",
        ),
        (
            with_detail(
                "Object Restore Completed", **{"restore-expiry-time": "2026-03-08T00:00:00Z"}
            ),
            StorageKind.RESTORED,
            "",
            "2026-03-08T00:00:00Z",
        ),
        (with_detail("Object Restore Expired"), StorageKind.RESTORE_ENDED, "", ""),
    ],
)
def test_what_became_of_a_version_is_read_from_the_bus(
    body: str, kind: StorageKind, tier: str, until: str
) -> None:
    assert read_s3_events(body) == (
        StorageChanged(kind, "landing", "site-a/x.dcm", "v1", "2026-03-01T12:00:00Z", tier, until),
    )


@pytest.mark.parametrize(
    "body, kind, tier, until",
    [
        (native_with("ObjectRemoved:Delete"), StorageKind.REMOVED, "", ""),
        (native_with("s3:LifecycleExpiration:Delete"), StorageKind.EXPIRED, "", ""),
        (
            native_with(
                "LifecycleTransition",
                lifecycleEventData={
                    "transitionEventData": {"destinationStorageClass": "DEEP_ARCHIVE"}
                },
            ),
            StorageKind.STORAGE_CLASS_CHANGED,
            "DEEP_ARCHIVE",
            "",
        ),
        (
            native_with(
                "IntelligentTiering",
                intelligentTieringEventData={"destinationAccessTier": "ARCHIVE_ACCESS"},
            ),
            StorageKind.ACCESS_TIER_CHANGED,
            "ARCHIVE_ACCESS",
            "",
        ),
        (
            native_with(
                "s3:IntelligentTiering:TransitionAccess",
                intelligentTieringEventData={"destinationAccessTier": "DEEP_ARCHIVE_ACCESS"},
            ),
            StorageKind.ACCESS_TIER_CHANGED,
            "DEEP_ARCHIVE_ACCESS",
            "",
        ),
        (native_with("s3:ObjectRestore:Post"), StorageKind.RESTORE_STARTED, "", ""),
        (
            native_with(
                "ObjectRestore:Completed",
                glacierEventData={
                    "restoreEventData": {
                        "lifecycleRestorationExpiryTime": "2026-03-08T00:00:00.000Z",
                        "lifecycleRestoreStorageClass": "GLACIER",
                    }
                },
            ),
            StorageKind.RESTORED,
            "",
            "2026-03-08T00:00:00.000Z",
        ),
        (native_with("ObjectRestore:Delete"), StorageKind.RESTORE_ENDED, "", ""),
    ],
)
def test_what_became_of_a_version_is_read_from_a_notification(
    body: str, kind: StorageKind, tier: str, until: str
) -> None:
    at = "2026-03-01T12:00:00.000Z"
    assert read_s3_events(body) == (StorageChanged(kind, "landing", "a+b", "v1", at, tier, until),)


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=200))
def test_key_of_any_bytes_is_the_same_in_both_shapes(key: str) -> None:
    (bus,) = read_s3_events(from_bus(key))
    (notified,) = read_s3_events(native(quote_plus(key)))

    assert bus.key == notified.key == key


@pytest.mark.parametrize("version", [None, "null", ""])
def test_null_version_is_no_version(version: str | None) -> None:
    said: dict[str, Any] = {"version-id": version}
    (one,) = read_s3_events(from_bus(**said))
    (two,) = read_s3_events(native("a", versionId=version))

    assert (one.version_id, two.version_id) == ("", "")


def test_event_without_sequencer_size_etag_or_version_is_read() -> None:
    bare = {"source": "aws.s3", "detail-type": "Object Created"}
    bare["detail"] = {"bucket": {"name": "b"}, "object": {"key": "k"}}  # type: ignore[assignment]

    assert read_s3_events(json.dumps(bare)) == (ObjectCreated("b", "k", "", "", 0, ""),)


def test_quotes_around_an_etag_are_dropped() -> None:
    (event,) = read_s3_events(native("a", eTag='"e"'))

    assert isinstance(event, ObjectCreated)
    assert event.etag == "e"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        "null",
        "1" * 5000,
        "[" * 100_000,
        "{}",
        '{"Records": 1}',
        '{"Records": [1]}',
        '{"Records": [{"eventName": null}]}',
        '{"source": "aws.s3"}',
        '{"source": "aws.s3", "detail-type": "Object Created", "detail": []}',
        native("a").replace('"a"', "5"),
        from_bus(etag=5),
        from_bus(bucket=1).replace('{"name": "landing"}', "1"),
    ],
)
def test_what_is_no_s3_event_is_a_message_error(body: str) -> None:
    with pytest.raises(MessageError):
        read_s3_events(body)


@pytest.mark.parametrize("size", ["many", float("inf"), -1, None, 1.5])
def test_size_that_is_none_does_not_lose_the_event(size: object) -> None:
    (event,) = read_s3_events(from_bus(size=size))

    assert isinstance(event, ObjectCreated)
    assert event.size_bytes == 0


def test_notification_through_sns_is_unwrapped() -> None:
    body = json.dumps({"Type": "Notification", "Message": native("a+b.bam")})

    assert [event.key for event in read_s3_events(body)] == ["a b.bam"]


def mutilated(body: str) -> st.SearchStrategy[str]:
    """Return JSON with one of its values replaced by anything."""
    places: list[tuple[str | int, ...]] = []

    def walk(node: Any, path: tuple[str | int, ...]) -> None:
        places.append(path)
        if isinstance(node, dict | list):
            for key in node if isinstance(node, dict) else range(len(node)):
                walk(node[key], (*path, key))

    walk(json.loads(body), ())

    def replaced(place: tuple[str | int, ...], value: Any) -> str:
        data = json.loads(body)
        if not place:
            return json.dumps(value)
        node = data
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = value
        return json.dumps(data)

    return st.builds(replaced, st.sampled_from(places), JSON)


STATES = json.dumps(
    {
        "source": "aws.states",
        "time": "2026-03-01T12:00:00Z",
        "detail": {"name": "read_qc-1", "status": "SUCCEEDED", "executionArn": "arn:x"},
    }
)


@settings(max_examples=300)
@given(
    mutilated(from_bus())
    | mutilated(with_detail("Object Restore Completed", **{"restore-expiry-time": "x"}))
    | mutilated(
        native_with(
            "LifecycleTransition",
            lifecycleEventData={"transitionEventData": {"destinationStorageClass": "GLACIER"}},
        )
    )
    | mutilated(native("a"))
    | mutilated(STATES)
    | st.text()
)
@example('{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": [], "object": []}}]}')
def test_no_message_throws_anything_but_a_message_error(body: str) -> None:
    for read in (read_s3_events, read_pipeline_event):
        with contextlib.suppress(MessageError):
            read(body)


CHANGE = json.dumps(
    {
        "detail-type": "ObjectReceived",
        "detail": {
            "schema_version": "1",
            "object_id": "a.b",
            "version": 1,
            "state": "RECEIVED",
            "at": "2026-03-01T12:00:00.000000Z",
            "kind": "dicom",
            "bucket": "landing",
            "key": "x",
            "size_bytes": 5,
        },
    }
)


@settings(max_examples=200)
@given(mutilated(CHANGE))
def test_no_envelope_throws_anything_but_a_message_error(body: str) -> None:
    try:
        change = ObjectChanged.from_envelope(read_json(body))
    except MessageError:
        return
    assert isinstance(change.object_id, str)


def test_change_without_site_version_or_history_is_read() -> None:
    change = ObjectChanged.from_envelope(json.loads(CHANGE))

    assert (change.site, change.version_id, change.previous_state) == ("", "", "")


def test_end_of_an_execution_is_read() -> None:
    finished = read_pipeline_event(STATES)

    assert (finished.run_id, finished.status, finished.error) == ("read_qc-1", "SUCCEEDED", "")


moments = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(moments, moments)
def test_text_order_of_times_is_their_order(one: datetime, two: datetime) -> None:
    assert (utc_text(one) < utc_text(two)) == (one < two)


def test_time_of_another_zone_is_written_in_utc() -> None:
    berlin = datetime(2026, 3, 1, 13, 0, tzinfo=timezone(timedelta(hours=1)))

    assert utc_text(berlin) == "2026-03-01T12:00:00.000000Z"


def test_the_subscribers_page_tells_every_field_and_every_word_of_a_closed_list() -> None:
    page = (ROOT / "docs/events.md").read_text("utf-8")
    schema = json.loads((ROOT / "events/schemas/object-changed.json").read_text("utf-8"))
    told = set(schema["properties"])
    for field in schema["properties"].values():
        told |= set(field.get("enum", ()))
    assert len(told) > 20
    assert {word for word in told if f"`{word}`" not in page and f"| {word} |" not in page} == set()
