"""API calls and bytes read per object, counted at botocore; the real services run over moto."""

import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from moto import mock_aws
from pydicom.data import get_testdata_file

from bench.deployment import REGION, deploy
from forebay.domain.objects import Kind, Location, ObjectRecord, object_id
from forebay.domain.states import State
from forebay.events import ObjectCreated
from forebay.formats.dicom import inspect_dicom
from forebay.formats.digests import digest_chunks
from forebay.formats.genomics import PARSERS
from forebay.formats.manifests import parse_checksum_file
from forebay.names import Zone
from forebay.runtime.wiring import Wiring
from forebay.services.ports import RecordedChange

READS = 20_000


@dataclass
class Meter:
    """Counts what one step asks of AWS and reads from S3."""

    calls: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0

    def watch(self, client: Any) -> None:
        """Count every call of a client from now on."""
        client.meta.events.register("before-call", self._before)
        client.meta.events.register("after-call.s3.GetObject", self._after_get)

    def _before(self, model: Any, **_: Any) -> None:
        self.calls[f"{model.service_model.service_name}:{model.name}"] += 1

    def _after_get(self, parsed: dict[str, Any], **_: Any) -> None:
        self.bytes_read += parsed.get("ContentLength", 0)


def measure() -> dict[str, Any]:
    """Return calls and bytes per step for one DICOM instance and one FASTQ file."""
    results: dict[str, Any] = {}
    dicom = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    larger = Path(str(get_testdata_file("examples_overlay.dcm"))).read_bytes()
    fastq = _fastq()
    for name, zone, key, body in (
        ("DICOM instance", Zone.LANDING_IMAGING, "north/a.dcm", dicom),
        ("DICOM instance, larger", Zone.LANDING_IMAGING, "north/b.dcm", larger),
        ("FASTQ file", Zone.LANDING_GENOMICS, "north/S1_S1_L001_R1_001.fastq.gz", fastq),
    ):
        results[name] = _one(name, zone, key, body)
    return results


def _one(name: str, zone: Zone, key: str, body: bytes) -> dict[str, Any]:
    with _wired() as (wiring, meter):
        bucket = wiring.settings.bucket(zone)
        s3 = boto3.client("s3", region_name=REGION)
        version = s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=body,
            ChecksumAlgorithm="SHA256",
            Metadata={"sha256": hashlib.sha256(body).hexdigest()},
        )["VersionId"]
        location = Location(bucket, key, version)
        steps = _steps(wiring, location, dicom=zone is Zone.LANDING_IMAGING)
        counts: dict[str, Any] = {}
        for step, run in steps:
            meter.calls.clear()
            meter.bytes_read = 0
            run()
            counts[step] = {"calls": dict(meter.calls), "bytes_read": meter.bytes_read}
        record = wiring.catalog.get(object_id(location))
    total = sum(sum(c["calls"].values()) for c in counts.values())
    read = sum(c["bytes_read"] for c in counts.values())
    assert record is not None
    print(f"  {name}, {len(body):,} bytes, {record.state}: {total} calls, {read:,} bytes read")
    for step, count in counts.items():
        print(f"    {step:<18}{json.dumps(count['calls'])}  {count['bytes_read']:,} bytes")
    return {"size_bytes": len(body), "calls": total, "bytes_read": read, "steps": counts}


def _steps(wiring: Wiring, location: Location, *, dicom: bool) -> list[tuple[str, Any]]:
    identity = object_id(location)
    event = ObjectCreated(location.bucket, location.key, location.version_id, "01", 0, "")
    inspect: Any
    if dicom:
        inspect = wiring.inspect_dicom(inspect_dicom, digest_chunks)
    else:
        inspect = wiring.inspect_genomics(PARSERS, parse_checksum_file, digest_chunks)
    return [
        ("register_object", lambda: wiring.register_object(event)),
        ("inspect", lambda: inspect(identity)),
        ("place_object", lambda: wiring.place_object(identity)),
        ("relay, one change", lambda: wiring.relay_changes(_placed(location, identity))),
    ]


def _placed(location: Location, identity: str) -> list[RecordedChange]:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    record = ObjectRecord(
        identity, location, Kind.DICOM, "north", State.PLACED, moment, 3, moment, size_bytes=1
    )
    return [RecordedChange(None, record)]


@contextmanager
def _wired() -> Iterator[tuple[Wiring, Meter]]:
    with mock_aws():
        wiring = deploy()
        meter = Meter()
        # Building the services makes their clients; only then can they be watched.
        _ = wiring.register_object, wiring.place_object, wiring.relay_changes
        wiring.inspect_dicom(inspect_dicom, digest_chunks)
        for client in wiring.clients.values():
            meter.watch(client)
        yield wiring, meter


def _fastq() -> bytes:
    text = io.StringIO()
    for read in range(READS):
        bases = "ACGT" * 37
        text.write(f"@A1:1:HXXDSX:1:1101:{read}:1 1:N:0:ACGT\n{bases}\n+\n{'F' * len(bases)}\n")
    return gzip.compress(text.getvalue().encode(), 1)
