"""The messages between the steps, as frozen dataclasses, and how to read them.

`ObjectCreated` and `StorageChanged` are what S3 tells us; `ObjectChanged` is what the catalog's
stream tells everybody else. Events carry ids, states and reason codes, never what identifies a
person.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Self
from urllib.parse import unquote_plus

from forebay.errors import MessageError
from forebay.names import EVENT_SCHEMA_VERSION, DetailType


@dataclass(frozen=True, slots=True)
class ObjectCreated:
    """S3 says that a version of an object was written.

    `version_id` and `sequencer` are empty when the event does not carry them. The size is what S3
    said at the time; HEAD decides.
    """

    bucket: str
    key: str
    version_id: str
    sequencer: str
    size_bytes: int
    etag: str


class StorageKind(StrEnum):
    """What storage or a person did to a version that was there."""

    REMOVED = "removed"
    """Permanently deleted by a request; a delete marker removes nothing and is no event here."""
    EXPIRED = "expired"
    """Permanently deleted by a lifecycle rule."""
    STORAGE_CLASS_CHANGED = "storage class changed"
    ACCESS_TIER_CHANGED = "access tier changed"
    RESTORE_STARTED = "restore started"
    RESTORED = "restored"
    RESTORE_ENDED = "restore ended"


@dataclass(frozen=True, slots=True)
class StorageChanged:
    """S3 says that something happened to a version; `at` is S3's time in ISO 8601.

    `tier` is the storage class or access tier it came to, `until` when a restored copy ends.
    """

    kind: StorageKind
    bucket: str
    key: str
    version_id: str
    at: str
    tier: str = ""
    until: str = ""


S3Event = ObjectCreated | StorageChanged


@dataclass(frozen=True, slots=True)
class ObjectChanged:
    """The catalog says that an object's record changed; `detail` of an event on the bus.

    (object_id, version) identifies the change: the same pair always says the same.
    """

    detail_type: DetailType
    object_id: str
    version: int
    state: str
    previous_state: str
    at: str
    kind: str
    site: str
    bucket: str
    key: str
    version_id: str
    size_bytes: int
    object_class: str = ""
    placed_bucket: str = ""
    placed_key: str = ""
    placed_version_id: str = ""
    original_id: str = ""
    pipeline_run_id: str = ""
    reason_code: str = ""
    reason_owner: str = ""

    @property
    def subject_id(self) -> str:
        """What the event is about."""
        return self.object_id

    def as_detail(self) -> dict[str, Any]:
        """Return the event's detail as JSON data; empty strings are left out."""
        return _detail(self)

    @classmethod
    def from_envelope(cls, envelope: Mapping[str, Any]) -> Self:
        """Read an EventBridge envelope; raises MessageError naming what is wrong."""
        try:
            detail = dict(envelope["detail"])
            detail.pop("schema_version", None)
            known = {k: v for k, v in detail.items() if k in cls.__dataclass_fields__}
            # What was empty was left out: nothing before, no site in the key, no versioning.
            empty = {"previous_state": "", "site": "", "version_id": ""}
            change = cls(detail_type=DetailType(envelope["detail-type"]), **empty | known)
            if not isinstance(change.object_id, str):
                raise TypeError("object_id is not a text")
        except _WRONG_SHAPE as exc:
            raise MessageError(f"not a catalog change event: {exc}") from exc
        return change


@dataclass(frozen=True, slots=True)
class RunChanged:
    """The catalog says that a pipeline run changed; (run id, version) identifies the change."""

    detail_type: DetailType
    run_id: str
    version: int
    state: str
    previous_state: str
    at: str
    pipeline: str
    pipeline_version: str
    site: str
    sample: str
    error: str = ""

    @property
    def subject_id(self) -> str:
        """What the event is about."""
        return self.run_id

    def as_detail(self) -> dict[str, Any]:
        """Return the event's detail as JSON data; empty strings are left out."""
        return _detail(self)


@dataclass(frozen=True, slots=True)
class PipelineFinished:
    """Step Functions says that an execution reached an end."""

    run_id: str
    status: str
    execution_arn: str
    stopped_at: str
    error: str = ""


CatalogEvent = ObjectChanged | RunChanged

# JSON of another shape shows itself in any of these; OverflowError is a size of `Infinity`.
_WRONG_SHAPE: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


def read_json(body: str) -> dict[str, Any]:
    """Return the JSON object in a message body; raises MessageError."""
    try:
        data = json.loads(body)
    except json.JSONDecodeError as exc:
        raise MessageError(f"the message is not JSON (character {exc.pos})") from exc
    except (ValueError, RecursionError) as exc:
        raise MessageError("the message is JSON that nobody means: too deep or too long") from exc
    if not isinstance(data, dict):
        raise MessageError("the message is JSON, but not an object")
    return data


def read_s3_events(body: str) -> tuple[S3Event, ...]:
    """Return what an S3 message says happened to object versions, in either of S3's two shapes.

    EventBridge sends one event with a plain key; a native notification, perhaps through SNS, sends
    `Records` with URL-encoded keys. Test events, delete markers (they hide, and remove nothing),
    tags and access lists yield nothing.
    """
    data = _unwrapped(read_json(body))
    try:
        if data.get("source") == "aws.s3":
            said = [_from_eventbridge(data)]
        elif data.get("Event") == "s3:TestEvent":
            return ()
        else:
            said = [_from_notification(record) for record in data["Records"]]
        return tuple(event for event in said if event)
    except _WRONG_SHAPE as exc:
        raise MessageError(f"not an S3 event: {exc!r}") from exc


def _unwrapped(data: dict[str, Any]) -> dict[str, Any]:
    """Return what an SNS notification carries, for accounts whose buckets notify a topic."""
    if data.get("Type") == "Notification" and isinstance(data.get("Message"), str):
        return read_json(data["Message"])
    return data


def read_pipeline_event(body: str) -> PipelineFinished:
    """Return what a "Step Functions Execution Status Change" event says; raises MessageError."""
    data = read_json(body)
    try:
        detail = data["detail"]
        return PipelineFinished(
            run_id=detail["name"],
            status=detail["status"],
            execution_arn=detail["executionArn"],
            stopped_at=data["time"],
            error=detail.get("error") or "",
        )
    except _WRONG_SHAPE as exc:
        raise MessageError(f"not a Step Functions status event: {exc!r}") from exc


def utc_text(moment: datetime) -> str:
    """Return ISO 8601 in UTC with microseconds, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_moment(text: str) -> datetime:
    """Return the time `utc_text` wrote."""
    return datetime.fromisoformat(text)


def _detail(event: ObjectChanged | RunChanged) -> dict[str, Any]:
    said = {
        name: getattr(event, name)
        for name in event.__dataclass_fields__
        if name != "detail_type" and getattr(event, name) != ""
    }
    return {"schema_version": EVENT_SCHEMA_VERSION, **said}


_BUS_KINDS: Final = {
    "Object Storage Class Changed": StorageKind.STORAGE_CLASS_CHANGED,
    "Object Access Tier Changed": StorageKind.ACCESS_TIER_CHANGED,
    "Object Restore Initiated": StorageKind.RESTORE_STARTED,
    "Object Restore Completed": StorageKind.RESTORED,
    "Object Restore Expired": StorageKind.RESTORE_ENDED,
}
_NOTIFICATION_KINDS: Final = {
    "ObjectRemoved:Delete": StorageKind.REMOVED,
    "LifecycleExpiration:Delete": StorageKind.EXPIRED,
    "LifecycleTransition": StorageKind.STORAGE_CLASS_CHANGED,
    "IntelligentTiering": StorageKind.ACCESS_TIER_CHANGED,
    "ObjectRestore:Post": StorageKind.RESTORE_STARTED,
    "ObjectRestore:Completed": StorageKind.RESTORED,
    "ObjectRestore:Delete": StorageKind.RESTORE_ENDED,
}


def _from_eventbridge(event: Mapping[str, Any]) -> S3Event | None:
    detail = event["detail"]
    entry = detail["object"]
    bucket, key = _text(detail["bucket"]["name"]), _text(entry["key"])
    version_id = _version(entry.get("version-id"))
    if event["detail-type"] == "Object Created":
        return ObjectCreated(
            bucket=bucket,
            key=key,
            version_id=version_id,
            sequencer=entry.get("sequencer") or "",
            size_bytes=_size(entry.get("size")),
            etag=(entry.get("etag") or "").strip('"'),
        )
    kind = _bus_kind(event["detail-type"], detail)
    if kind is None:
        return None
    return StorageChanged(
        kind=kind,
        bucket=bucket,
        key=key,
        version_id=version_id,
        at=_text(event.get("time") or ""),
        tier=_text(
            detail.get("destination-storage-class") or detail.get("destination-access-tier") or ""
        ),
        until=_text(detail.get("restore-expiry-time") or ""),
    )


def _bus_kind(detail_type: str, detail: Mapping[str, Any]) -> StorageKind | None:
    if detail_type != "Object Deleted":
        return _BUS_KINDS.get(detail_type)
    if detail.get("deletion-type") == "Delete Marker Created":
        return None
    by_lifecycle = detail.get("reason") == "Lifecycle Expiration"
    return StorageKind.EXPIRED if by_lifecycle else StorageKind.REMOVED


def _from_notification(record: Mapping[str, Any]) -> S3Event | None:
    name = record.get("eventName", "").removeprefix("s3:")
    # Some spell `IntelligentTiering:TransitionAccess`, AWS's own pages without the action.
    kind = _NOTIFICATION_KINDS.get(name) or _NOTIFICATION_KINDS.get(name.partition(":")[0])
    is_creation = name.startswith("ObjectCreated:")
    if kind is None and not is_creation:
        return None
    entry = record["s3"]["object"]
    # S3 percent-encodes the UTF-8 bytes of the key and writes spaces as plus signs.
    key = unquote_plus(entry["key"], errors="surrogateescape")
    bucket, version_id = _text(record["s3"]["bucket"]["name"]), _version(entry.get("versionId"))
    if kind is None:
        return ObjectCreated(
            bucket=bucket,
            key=key,
            version_id=version_id,
            sequencer=entry.get("sequencer") or "",
            size_bytes=_size(entry.get("size")),
            etag=(entry.get("eTag") or "").strip('"'),
        )
    tier, until = _tier_and_end(record)
    if kind is not StorageKind.RESTORED:
        until = ""
    at = _text(record.get("eventTime") or "")
    return StorageChanged(kind, bucket, key, version_id, at, tier, until)


def _tier_and_end(record: Mapping[str, Any]) -> tuple[str, str]:
    transition = record.get("lifecycleEventData", {}).get("transitionEventData", {})
    tiering = record.get("intelligentTieringEventData", {})
    restore = record.get("glacierEventData", {}).get("restoreEventData", {})
    tier = transition.get("destinationStorageClass") or tiering.get("destinationAccessTier") or ""
    return _text(tier), _text(restore.get("lifecycleRestorationExpiryTime") or "")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {type(value).__name__}")
    return value


def _size(value: Any) -> int:
    """Return a size in bytes, 0 for what is none: HEAD decides, so it is not worth an event."""
    return value if isinstance(value, int) and value >= 0 else 0


def _version(value: Any) -> str:
    return "" if value in (None, "null") else str(value)
