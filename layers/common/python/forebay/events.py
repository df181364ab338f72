"""The messages between the steps, as frozen dataclasses, and how to read them.

`ObjectCreated` is what S3 tells us; `ObjectChanged` is what the catalog's stream tells everybody
else. Events carry ids, states and reason codes, never attributes of a person.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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


def read_s3_events(body: str) -> tuple[ObjectCreated, ...]:
    """Return the object versions an S3 message speaks of, in either of S3's two shapes.

    EventBridge sends one event with a plain key; a native notification, perhaps through SNS, sends
    `Records` with URL-encoded keys. Test events and kinds other than creation yield nothing.
    """
    data = _unwrapped(read_json(body))
    try:
        if data.get("source") == "aws.s3":
            return (_from_eventbridge(data),) if data["detail-type"] == "Object Created" else ()
        if data.get("Event") == "s3:TestEvent":
            return ()
        return tuple(
            _from_notification(record["s3"])
            for record in data["Records"]
            if record.get("eventName", "").removeprefix("s3:").startswith("ObjectCreated:")
        )
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


def _detail(event: ObjectChanged | RunChanged) -> dict[str, Any]:
    said = {
        name: getattr(event, name)
        for name in event.__dataclass_fields__
        if name != "detail_type" and getattr(event, name) != ""
    }
    return {"schema_version": EVENT_SCHEMA_VERSION, **said}


def _from_eventbridge(event: Mapping[str, Any]) -> ObjectCreated:
    detail = event["detail"]
    entry = detail["object"]
    return ObjectCreated(
        bucket=detail["bucket"]["name"],
        key=entry["key"],
        version_id=_version(entry.get("version-id")),
        sequencer=entry.get("sequencer") or "",
        size_bytes=_size(entry.get("size")),
        etag=(entry.get("etag") or "").strip('"'),
    )


def _from_notification(s3: Mapping[str, Any]) -> ObjectCreated:
    entry = s3["object"]
    return ObjectCreated(
        bucket=s3["bucket"]["name"],
        # S3 percent-encodes the UTF-8 bytes of the key and writes spaces as plus signs.
        key=unquote_plus(entry["key"], errors="surrogateescape"),
        version_id=_version(entry.get("versionId")),
        sequencer=entry.get("sequencer") or "",
        size_bytes=_size(entry.get("size")),
        etag=(entry.get("eTag") or "").strip('"'),
    )


def _size(value: Any) -> int:
    """Return a size in bytes, 0 for what is none: HEAD decides, so it is not worth an event."""
    return value if isinstance(value, int) and value >= 0 else 0


def _version(value: Any) -> str:
    return "" if value in (None, "null") else str(value)
