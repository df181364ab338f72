"""Events as others recorded them, read as register_object reads them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from forebay.errors import MessageError
from forebay.events import ObjectCreated, StorageChanged, StorageKind, read_s3_events

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
TRUTH = CORPUS / "TRUTH_events.csv"
pytestmark = pytest.mark.skipif(not TRUTH.exists(), reason="the corpus is not beside the project")


def expectations() -> dict[str, list[dict[str, str]]]:
    by_file: dict[str, list[dict[str, str]]] = {}
    if TRUTH.exists():
        with TRUTH.open(newline="") as file:
            for row in csv.DictReader(file):
                by_file.setdefault(row["file"], []).append(row)
    return by_file


def bodies(file: str) -> list[str]:
    """Return the message bodies a file stands for: SQS records, or the file itself."""
    text = (CORPUS / file).read_text("utf-8")
    try:
        data: Any = json.loads(text)
    except ValueError:
        return [text]
    records = data.get("Records", []) if isinstance(data, dict) else []
    inside = [record["body"] for record in records if "body" in record]
    return inside or [text]


def read(body: str) -> list[ObjectCreated]:
    try:
        return [e for e in read_s3_events(body) if isinstance(e, ObjectCreated)]
    except MessageError:
        return []


@pytest.mark.parametrize("file", sorted(expectations()))
def test_recorded_event_yields_exactly_the_created_objects(file: str) -> None:
    created = [row for row in expectations()[file] if "Created" in row["event"]]
    found = [event for body in bodies(file) for event in read(body)]
    assert [(event.bucket, event.key) for event in found] == [
        (row["bucket"], row["key"]) for row in created
    ]


@pytest.mark.parametrize(
    "file, expected",
    [
        (
            "lambda-go__s3-glacier-event.json",
            (StorageKind.RESTORED, "glacier-test.txt", "", "2023-05-17T15:00:00.456Z"),
        ),
        (
            "lambda-go__s3-intelligenttier-event.json",
            (StorageKind.ACCESS_TIER_CHANGED, "intelligent-tier-test.dat", "ARCHIVE_ACCESS", ""),
        ),
        (
            "lambda-go__s3-lifecycle-event.json",
            (StorageKind.STORAGE_CLASS_CHANGED, "lifecycle-test.dat", "GLACIER", ""),
        ),
        (
            "powertools__s3EventBridgeNotificationObjectRestoreCompletedEvent.json",
            (StorageKind.RESTORED, "IMG_m7fzo3.jpg", "", "2021-11-13T00:00:00Z"),
        ),
        ("derived__delete.json", (StorageKind.REMOVED, "a.dcm", "", "")),
        # Delete markers hide, and remove nothing.
        ("powertools__s3EventBridgeNotificationObjectDeletedEvent.json", None),
        ("powertools__s3EventBridgeNotificationObjectExpiredEvent.json", None),
        ("lambda-go__s3-replication-event.json", None),
    ],
)
def test_recorded_change_of_storage_is_read(file: str, expected: tuple[str, ...] | None) -> None:
    found = [event for body in bodies(f"events/{file}") for event in read_s3_events(body)]
    said = [(e.kind, e.key, e.tier, e.until) for e in found if isinstance(e, StorageChanged)]
    assert said == ([expected] if expected else [])
    assert len(said) == len(found)


def test_key_with_traversal_is_read_as_it_is_and_refused_later() -> None:
    body = json.dumps(
        {
            "Records": [
                {
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": "b"}, "object": {"key": "in/..%2F..%2Fetc/passwd"}},
                }
            ]
        }
    )
    [event] = read_s3_events(body)
    assert event.key == "in/../../etc/passwd"
