"""A receipt says of each object what storage has now, and whether its sender may delete it."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from forebay.domain.integrity import Algorithm
from forebay.domain.objects import Location
from forebay.domain.receipts import SENTENCES, Basis, canonical_json
from forebay.domain.states import State
from forebay.names import Zone
from forebay.services.issue_receipt import Receipt, receipt_key
from tests.unit.fakes import BUCKETS, NOON, StoredVersion, any_dicom_body, any_reads_body, any_uid
from tests.unit.world import World

BODY = any_dicom_body()
SITE, BATCH = "site-a", "2026-03-01-run7"


@pytest.fixture
def world() -> World:
    """Give a world without an archive."""
    return with_buckets(World(), {z: n for z, n in BUCKETS.items() if z is not Zone.ARCHIVE})


def with_buckets(world: World, buckets: dict[Zone, str]) -> World:
    world.issue_receipt = replace(world.issue_receipt, buckets=buckets)
    return world


def sent(world: World, body: bytes = BODY, key: str = "site-a/1.dcm", **how: Any) -> str:
    """Send as `forebay upload` does: with a SHA-256 and the name of the batch."""
    digest = {"sha256": hashlib.sha256(body).hexdigest()}
    how.setdefault("checksum", Algorithm.SHA256)
    metadata = {"upload-batch": BATCH, **how.pop("metadata", digest)}
    return world.image(body, key, metadata=metadata, **how)


def placed(world: World, made: str) -> Location:
    found = world.record(made).placed
    assert found
    return found


def issued(world: World, batch: str = BATCH) -> Receipt:
    receipt = world.issue_receipt(SITE, batch)
    assert receipt
    return receipt


def document(receipt: Receipt) -> Any:
    payload = receipt.jws.split(b".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + b"=="))


def line(world: World, made: str) -> Any:
    entries = document(issued(world))["objects"]
    return next(entry for entry in entries if entry["object_id"] == made)


def test_stored_object_may_go_and_everything_the_issue_asks_for_is_there(world: World) -> None:
    made = sent(world)
    world.run()

    receipt = issued(world)
    told = document(receipt)
    entry = told["objects"][0]
    record = world.record(made)
    sha256 = hashlib.sha256(BODY).hexdigest()
    assert receipt.is_safe
    assert told["safe_to_delete"] is True
    assert (told["site"], told["batch"], told["schema_version"]) == (SITE, BATCH, 1)
    assert told["deployment"] == BUCKETS[Zone.LEDGER]
    assert entry["key"] == "site-a/1.dcm"
    assert entry["sender_digests"] == [
        {"algorithm": "sha256", "value": sha256, "witness": "sender-metadata"}
    ]
    assert entry["stored"]["checksums"][0]["value"] == sha256
    assert entry["stored"]["version_id"] == placed(world, made).version_id
    assert (entry["state"], entry["catalog_version"]) == ("PLACED", record.version)
    assert entry["replica"]["state"] == "not-configured"
    assert (entry["safe_to_delete"], entry["basis"]) == (True, "STORED")


def test_receipt_is_a_jws_that_any_jose_library_verifies(world: World) -> None:
    sent(world)
    world.run()

    receipt = issued(world)

    key = ECKey.import_key(world.signer.public_pem())
    found = jws.deserialize_compact(receipt.jws, key, algorithms=["ES256"])
    assert found.headers() == {
        "alg": "ES256",
        "kid": world.signer.key_id,
        "typ": "forebay-receipt+jws",
    }
    assert canonical_json(json.loads(found.payload)) == found.payload


def test_ledger_keeps_every_receipt(world: World) -> None:
    sent(world)
    world.run()

    first = issued(world)
    world.clock.advance()
    second = issued(world)

    assert world.store.body(first.location) == first.jws
    assert first.location.key != second.location.key
    assert (
        first.location.key
        == f"receipts/{SITE}/{BATCH}/{NOON:%Y-%m-%dT}" + (first.location.key.rsplit("T", 1)[1])
    )


def test_unknown_batch_has_no_receipt(world: World) -> None:
    sent(world)
    world.run()

    assert world.issue_receipt(SITE, "another") is None
    assert world.issue_receipt("site-b", BATCH) is None


def in_flight(world: World) -> str:
    return world.received(lambda: sent(world))


def refused(world: World) -> str:
    made = sent(world, b"no dicom")
    world.run()
    return made


def conflicting(world: World) -> str:
    uids: dict[str, Any] = {"sop_instance_uid": any_uid(), "study_instance_uid": any_uid()}
    world.image(any_dicom_body(**uids), "site-a/first.dcm")
    world.run()
    made = sent(world, any_dicom_body(**uids))
    world.run()
    return made


def awaiting(world: World) -> str:
    made = world.genomics(
        "site-a/run1/NA12878_S1_L001_R1_001.fastq.gz",
        any_reads_body(),
        metadata={"upload-batch": BATCH},
    )
    world.run()
    return made


def without_digest(world: World) -> str:
    made = sent(world, metadata={})
    world.run()
    return made


def missing(world: World) -> str:
    made = sent(world)
    world.run()
    world.store.expire(placed(world, made))
    return made


def changed(world: World) -> str:
    made = sent(world)
    world.run()
    world.store.damage(placed(world, made))
    return made


def replaced(world: World) -> str:
    made = sent(world)
    world.run()
    place = placed(world, made)
    world.store.upload(place.bucket, place.key, b"something else")
    return made


def convicted(world: World) -> str:
    made = changed(world)
    world.store.expire(world.record(made).location)
    world.recheck()
    assert world.state(made) is State.QUARANTINED
    return made


def duplicate_of_lost(world: World) -> str:
    original = world.image(BODY, "site-a/original.dcm", checksum=Algorithm.SHA256)
    world.run()
    made = sent(world)
    world.run()
    world.store.expire(placed(world, original))
    return made


def duplicate_of_convicted(world: World) -> str:
    made = duplicate_of_lost(world)
    world.store.expire(world.record(world.record(made).original_id).location)
    world.recheck()
    return made


@pytest.mark.parametrize(
    "story, basis",
    [
        (in_flight, Basis.IN_FLIGHT),
        (refused, Basis.REFUSED),
        (conflicting, Basis.CONFLICT),
        (awaiting, Basis.AWAITING_DIGEST),
        (without_digest, Basis.NO_SENDER_DIGEST),
        (missing, Basis.MISSING),
        (changed, Basis.CHANGED),
        (replaced, Basis.HIDDEN),
        (convicted, Basis.REFUSED),
        (duplicate_of_lost, Basis.MISSING),
        (duplicate_of_convicted, Basis.ORIGINAL_UNSAFE),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_is_not_safe_says_why(
    world: World, story: Callable[[World], str], basis: Basis
) -> None:
    made = story(world)

    entry = line(world, made)

    assert (entry["basis"], entry["safe_to_delete"]) == (basis.value, False)
    assert entry["reason"] == SENTENCES[basis]
    assert document(issued(world))["safe_to_delete"] is False


def test_refused_object_names_its_reason_code(world: World) -> None:
    assert line(world, refused(world))["reason_code"] == "NOT_DICOM"


def test_one_unsafe_object_makes_the_batch_unsafe(world: World) -> None:
    sent(world)
    sent(world, b"no dicom", "site-a/2.dcm")
    world.run()

    receipt = issued(world)

    assert (receipt.objects, receipt.safe_objects, receipt.is_safe) == (2, 1, False)


def test_duplicate_of_what_is_stored_may_go(world: World) -> None:
    original = world.image(BODY, "site-a/original.dcm", checksum=Algorithm.SHA256)
    world.run()
    made = sent(world)
    world.run()
    assert world.state(made) is State.DUPLICATE

    entry = line(world, made)

    assert (entry["basis"], entry["safe_to_delete"]) == ("DUPLICATE_STORED", True)
    assert entry["original_id"] == original
    assert entry["stored"]["version_id"] == placed(world, original).version_id


def test_second_equal_copy_over_the_placed_one_hides_nothing(world: World) -> None:
    made = sent(world)
    world.run()
    place = placed(world, made)
    world.store.upload(place.bucket, place.key, BODY, checksum=Algorithm.SHA256)

    assert line(world, made)["safe_to_delete"] is True


def replica(world: World, made: str, body: bytes = BODY) -> None:
    place = placed(world, made)
    versions = world.store.versions.setdefault((BUCKETS[Zone.ARCHIVE], place.key), {})
    versions[place.version_id] = StoredVersion(body, checksum=Algorithm.SHA256)


@pytest.mark.parametrize(
    "status, body, state, basis",
    [
        ("", None, "not-configured", Basis.STORED),
        ("PENDING", None, "pending", Basis.REPLICA_PENDING),
        ("FAILED", None, "failed", Basis.REPLICA_FAILED),
        ("COMPLETED", BODY, "completed", Basis.STORED),
        ("", BODY, "completed", Basis.STORED),
        ("COMPLETED", BODY[:-1] + b"?", "different", Basis.REPLICA_FAILED),
        ("COMPLETED", None, "failed", Basis.REPLICA_FAILED),
    ],
)
def test_where_there_is_to_be_a_second_copy_it_must_be_there(
    status: str, body: bytes | None, state: str, basis: Basis
) -> None:
    world = with_buckets(World(), dict(BUCKETS))
    made = sent(world)
    world.run()
    world.store._version(placed(world, made))[1].replication = status
    if body:
        replica(world, made, body)

    entry = line(world, made)

    assert (entry["replica"]["state"], entry["basis"]) == (state, basis.value)
    assert bool(entry["replica"]["checksums"]) == (body is not None)


def test_receipt_tells_when_the_bytes_were_last_read(world: World) -> None:
    made = sent(world)
    world.run()
    assert line(world, made)["last_recheck"] == ""

    world.recheck()

    assert line(world, made)["last_recheck"].startswith(f"{NOON + timedelta(days=8):%Y-%m-%d}")


@pytest.mark.parametrize("batch", ["a/../../changes", "x" * 2000, "Müller, Anna", "a b/c"])
def test_name_of_a_batch_never_leaves_its_folder_in_the_ledger(batch: str) -> None:
    key = receipt_key(SITE, batch, NOON)

    assert key.startswith(f"receipts/{SITE}/")
    assert key.count("/") == 3
    assert len(key.encode()) < 1024
    assert key != receipt_key(SITE, f"{batch}.", NOON)
