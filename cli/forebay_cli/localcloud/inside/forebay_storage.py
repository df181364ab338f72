"""What the emulator's S3 lacks: a movable clock, and hands that do what lifecycle rules say.

MiniStack stores lifecycle rules and storage classes, but no call of its API changes the class of a
stored version, and its CloudFormation drops a bucket's lifecycle and Object Lock. This application
is MiniStack's, with that put right, and with a door of its own:

    PUT  /_forebay/clock              {"ahead_seconds": n}: S3's times are so far ahead from now on
    GET  /_forebay/storage/<bucket>   all versions, oldest first, with what lifecycle looks at
    POST /_forebay/storage/<bucket>   a list of {"do", "key", "version_id", "storage_class"}:
                                      move · expire · forget_marker · end_restore

It decides nothing: `forebay local advance` does, by the rules that are deployed. What it does is
announced as S3 announces its own lifecycle, and stops at a legal hold or a retention as S3 does.
Requests are not signed, as those to MiniStack's own `/_ministack` are not.
"""

import json
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from ministack import app as emulator
from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners

DOOR: Final = "/_forebay/"
LIFECYCLE: Final = "s3.amazonaws.com"
"""Who does it, as S3's events call it: no principal, so that no policy stands in its way."""

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Answer = tuple[int, Any]

# By the emulator's own loader: modules it did not load itself are not saved when it stops.
s3: Final = emulator._get_module("s3")


class AheadTime:
    """The module `time`, as S3 is to see it."""

    def __init__(self) -> None:
        self.ahead_seconds = 0

    def time(self) -> float:
        """Return seconds since the epoch, by the moved clock."""
        return time.time() + self.ahead_seconds

    def iso(self) -> str:
        """Return the time by the moved clock, as S3 writes it."""
        now = datetime.now(UTC) + timedelta(seconds=self.ahead_seconds)
        return now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


clock: Final = AheadTime()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request: this module's own, or any of the emulator's."""
    if scope["type"] != "http" or not scope["path"].startswith(DOOR):
        await emulator.app(scope, receive, send)
        return
    set_request_account_id(os.environ.get("MINISTACK_ACCOUNT_ID", "000000000000"))
    set_request_region(os.environ.get("MINISTACK_REGION"))
    status, answer = _answer(scope["method"], scope["path"], await _body(receive))
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def _body(receive: Receive) -> Any:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return json.loads(body or b"null")


def _answer(method: str, path: str, body: Any) -> Answer:
    what, _, bucket = path.removeprefix(DOOR).partition("/")
    if (method, what) == ("PUT", "clock"):
        clock.ahead_seconds = int(body["ahead_seconds"])
        return 200, {"now": clock.iso()}
    if what != "storage" or bucket not in s3._buckets:
        return 404, {"error": f"nothing is at {path}"}
    if method == "POST":
        return 200, {"done": [_ACTIONS[each["do"]](bucket, each) for each in body]}
    return 200, {"versions": list(_versions(bucket))}


def _versions(bucket: str) -> Iterator[dict[str, Any]]:
    for name, key in list(s3._object_versions):
        if name != bucket:
            continue
        versions = s3._object_versions[name, key]
        for entry, after in zip(versions, [*versions[1:], None], strict=True):
            version_id = entry["version_id"]
            yield {
                "key": key,
                "version_id": version_id,
                "is_marker": bool(entry.get("is_delete_marker")),
                "created": entry["last_modified"],
                "noncurrent_since": after["last_modified"] if after else None,
                "size_bytes": entry["size"],
                "storage_class": entry.get("storage_class") or "STANDARD",
                "tags": s3._object_tags.get((bucket, key, version_id), {}),
                "is_locked": s3._check_object_lock(bucket, key, {}, version_id) is not None,
                "restored_until": _restored_until(bucket, key, version_id),
            }


def _restored_until(bucket: str, key: str, version_id: str) -> str | None:
    held = s3._buckets[bucket]["objects"].get(key) or {}
    restore = held.get("restore") if held.get("version_id") == version_id else None
    return s3._restore_expiry_iso(restore["expires_at"]) if restore else None


def _move(bucket: str, order: Mapping[str, str]) -> bool:
    """Change the storage class of a version where it lies."""
    entry, current = _entry(bucket, order), s3._buckets[bucket]["objects"].get(order["key"])
    if entry is None:
        return False
    entry["storage_class"] = order["storage_class"]
    if current and current.get("version_id") == entry["version_id"]:
        current["storage_class"] = order["storage_class"]
    s3._persist_version_state(bucket, order["key"], s3._buckets[bucket])
    told = {"destination-storage-class": order["storage_class"]}
    _announce(bucket, order["key"], "Object Storage Class Changed", entry, told)
    return True


def _expire(bucket: str, order: Mapping[str, str]) -> bool:
    """Hide the current version below a marker; remove a noncurrent one unless it is locked."""
    key, held, entry = order["key"], s3._buckets[bucket], _entry(bucket, order)
    if entry is None or entry.get("is_delete_marker"):
        return False
    told = {"reason": "Lifecycle Expiration"}
    if entry["is_latest"]:
        marker = s3._record_delete_marker(bucket, key, held["objects"].get(key))
        held["objects"].pop(key, None)
        told["deletion-type"] = "Delete Marker Created"
        _announce(bucket, key, "Object Deleted", {"version_id": marker}, told)
        return True
    if s3._check_object_lock(bucket, key, {}, entry["version_id"]):
        return False
    s3._delete_object_version(held, bucket, key, entry["version_id"])
    told["deletion-type"] = "Permanently Deleted"
    _announce(bucket, key, "Object Deleted", entry, told)
    return True


def _forget_marker(bucket: str, order: Mapping[str, str]) -> bool:
    """Remove a delete marker below which nothing is left."""
    versions = s3._object_versions.get((bucket, order["key"])) or []
    if not all(each.get("is_delete_marker") for each in versions):
        return False
    held = s3._buckets[bucket]
    found, _ = s3._delete_object_version(held, bucket, order["key"], order["version_id"])
    return bool(found)


def _end_restore(bucket: str, order: Mapping[str, str]) -> bool:
    """End a restored copy: the version lies in its archive alone again."""
    current = s3._buckets[bucket]["objects"].get(order["key"]) or {}
    if current.get("version_id") != order["version_id"] or not current.pop("restore", None):
        return False
    told = {"source-storage-class": current.get("storage_class", "")}
    _announce(bucket, order["key"], "Object Restore Expired", current, told)
    return True


_ACTIONS: Final = {
    "move": _move,
    "expire": _expire,
    "forget_marker": _forget_marker,
    "end_restore": _end_restore,
}


def _entry(bucket: str, order: Mapping[str, str]) -> Any:
    versions = s3._object_versions.get((bucket, order["key"])) or []
    return next((each for each in versions if each["version_id"] == order["version_id"]), None)


def _announce(
    bucket: str, key: str, detail_type: str, entry: Mapping[str, Any], told: Mapping[str, str]
) -> None:
    """Send the event S3 sends of its own lifecycle, where the bucket has EventBridge switched on.

    Source: Amazon S3 User Guide, "EventBridge event message structure".
    """
    if "EventBridgeConfiguration" not in s3._bucket_notifications.get(bucket, ""):
        return
    request_id, account = uuid.uuid4().hex[:16].upper(), s3.get_account_id()
    about = {
        "key": key,
        "size": entry.get("size", 0),
        "etag": entry.get("etag", "").strip('"'),
        "version-id": entry["version_id"],
        "sequencer": s3._next_event_sequencer("s3:ObjectRemoved:Delete"),
    }
    detail = {
        "version": "0",
        "bucket": {"name": bucket},
        "object": {name: value for name, value in about.items() if value != ""},
        "request-id": request_id,
        "requester": LIFECYCLE,
        **told,
    }
    eventbridge._dispatch_event(
        {
            "EventId": str(uuid.uuid4()),
            "Source": "aws.s3",
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "EventBusName": "default",
            "Time": clock.iso(),
            "Resources": [f"arn:aws:s3:::{bucket}"],
            "Account": account,
            "Region": s3.bucket_region(bucket),
        }
    )


def _unless_archived(copy: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse to copy from a version that must be restored first, as S3 does."""

    @wraps(copy)
    def careful(*arguments: Any) -> Any:
        return _archived(arguments[-1]) or copy(*arguments)

    return careful


def _restored_too(read: Callable[..., Any]) -> Callable[..., Any]:
    """Read the current version as such also when it is named by its id.

    MiniStack notes a restore with the key alone, and would tell nothing of it by the id.
    """

    @wraps(read)
    def careful(bucket: str, key: str, headers: Any, query: Any = None) -> Any:
        named = dict(query or {})
        version_id = s3._qp(named, "versionId", "")
        current = (s3._buckets.get(bucket) or {"objects": {}})["objects"].get(key) or {}
        if version_id and version_id == current.get("version_id"):
            del named["versionId"]
        return read(bucket, key, headers, named)

    return careful


def _archived(headers: Mapping[str, str]) -> Any:
    path, _, query = headers.get("x-amz-copy-source", "").partition("?")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    current = (s3._buckets.get(bucket) or {"objects": {}})["objects"].get(key) or {}
    version_id = parse_qs(query).get("versionId", [current.get("version_id", "")])[0]
    entry = _entry(bucket, {"key": key, "version_id": version_id}) or {}
    is_archived = entry.get("storage_class") in s3._ARCHIVE_STORAGE_CLASSES
    is_current = current.get("version_id") == version_id
    if not is_archived or (is_current and s3._sync_restore(bucket, key, current) == "restored"):
        return None
    return s3._invalid_object_state(bucket, key, entry["storage_class"])


def _lifecycle_of(declared: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_rule(rule) for rule in declared.get("Rules") or ()]


def _rule(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule of a template as S3's API shows it; refuse what is not known here."""
    rule = dict(declared)
    expiration = {
        "Days": _number(rule.pop("ExpirationInDays", None)),
        "ExpiredObjectDeleteMarker": rule.pop("ExpiredObjectDeleteMarker", None),
    }
    shown = {
        "ID": rule.pop("Id", ""),
        "Status": rule.pop("Status"),
        "Filter": _filter(rule),
        "Transitions": [
            {"Days": _number(each["TransitionInDays"]), "StorageClass": each["StorageClass"]}
            for each in rule.pop("Transitions", ())
        ],
        "Expiration": {name: value for name, value in expiration.items() if value is not None},
        "NoncurrentVersionExpiration": rule.pop("NoncurrentVersionExpiration", None),
        "AbortIncompleteMultipartUpload": rule.pop("AbortIncompleteMultipartUpload", None),
    }
    if rule:
        raise ValueError(f"the local cloud does not know {', '.join(sorted(rule))} of a rule")
    return {name: value for name, value in shown.items() if value or name == "Filter"}


def _filter(rule: dict[str, Any]) -> dict[str, Any]:
    tags = [dict(tag) for tag in rule.pop("TagFilters", ())]
    sizes: dict[str, Any] = {
        name: _number(rule.pop(name))
        for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan")
        if name in rule
    }
    prefix = {"Prefix": rule.pop("Prefix")} if "Prefix" in rule else {}
    if len(tags) + len(sizes) + len(prefix) > 1:
        return {"And": {**prefix, "Tags": tags, **sizes}}
    return {"Tag": tags[0]} if tags else sizes or prefix or {"Prefix": ""}


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _put_lifecycle(bucket: str, rules: list[dict[str, Any]]) -> None:
    if refused := s3._lifecycle_rules_error(rules):
        raise ValueError(f"bucket {bucket}: {refused[2].decode(errors='replace')}")
    s3._bucket_lifecycle[bucket] = rules


def _put_lock(bucket: str, default: Mapping[str, Any] | None) -> None:
    s3._bucket_object_lock[bucket] = {
        "enabled": True,
        "default_retention": dict(default) if default else None,
    }


def _default_retention(declared: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = (declared.get("Rule") or {}).get("DefaultRetention")
    return {name: _plain(value) for name, value in found.items()} if found else None


def _plain(value: Any) -> Any:
    return int(value) if str(value).isdecimal() else value


def _stays(_: str) -> None:
    """Object Lock cannot be switched off again."""


s3.time = clock
s3.now_iso = clock.iso
s3._head_object = _restored_too(s3._head_object)
s3._get_object = _restored_too(s3._get_object)
s3._copy_object = _unless_archived(s3._copy_object)
s3._upload_part_copy = _unless_archived(s3._upload_part_copy)
# (property, how to read it, what puts it, what takes it away again); the lock before its default.
provisioners._S3_BUCKET_CONFIGURATIONS += (
    ("LifecycleConfiguration", _lifecycle_of, _put_lifecycle, s3._delete_bucket_lifecycle),
    ("ObjectLockEnabled", lambda _: None, _put_lock, _stays),
    ("ObjectLockConfiguration", _default_retention, _put_lock, _stays),
)
