"""API calls, bytes and capacity units per object; the real services run over moto.

Calls and bytes are counted at botocore, units by DynamoDB's rules.
"""

import gzip
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from moto import mock_aws
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from bench.capacity import CapacityMeter
from bench.deployment import CATALOG, REGION, deploy
from forebay.domain.objects import Location, object_id
from forebay.domain.states import State
from forebay.events import ObjectCreated
from forebay.formats.dicom import inspect_dicom
from forebay.formats.digests import digest_chunks
from forebay.formats.genomics import PARSERS
from forebay.formats.manifests import parse_checksum_file
from forebay.names import Zone
from forebay.runtime.batch import read_stream
from forebay.runtime.wiring import Wiring

READS: Final = 20_000
STREAM_BATCH: Final = 100
"""So many changes at most come to `relay_changes` at once (infra/steps.py)."""
SERIES: Final = 100
"""So many instances come at once when the cost of full batches is measured."""


@dataclass
class Meter:
    """Counts what is asked of AWS, read from S3, and taken of DynamoDB's capacity."""

    capacity: CapacityMeter
    asked: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0

    def watch(self, client: Any) -> None:
        """Count every call of a client from now on."""
        client.meta.events.register("before-call", self._before)
        client.meta.events.register("after-call.s3.GetObject", self._after_get)

    def take(self, *, over: int = 1) -> dict[str, Any]:
        """Return what was counted, for each of so many objects, and begin anew."""
        taken = {
            "calls": round(self.asked.total() / over, 2),
            "asked": {name: round(count / over, 2) for name, count in sorted(self.asked.items())},
            "bytes_read": self.bytes_read // over,
            "write_units": round(self.capacity.writes / over, 2),
            "read_units": round(self.capacity.reads / over, 2),
        }
        self.asked.clear()
        self.bytes_read = 0
        self.capacity.clear()
        return taken

    def _before(self, model: Any, **_: Any) -> None:
        self.asked[f"{model.service_model.service_name}:{model.name}"] += 1

    def _after_get(self, parsed: dict[str, Any], **_: Any) -> None:
        self.bytes_read += parsed.get("ContentLength", 0)


@dataclass
class Sent:
    """One object and the functions' work on it, over one deployment."""

    wiring: Wiring
    zone: Zone
    key: str
    body: bytes
    identity: str = ""

    def upload(self) -> None:
        """Put the object where a site does."""
        bucket = self.wiring.settings.bucket(self.zone)
        version = boto3.client("s3", region_name=REGION).put_object(
            Bucket=bucket,
            Key=self.key,
            Body=self.body,
            ChecksumAlgorithm="SHA256",
            Metadata={"sha256": hashlib.sha256(self.body).hexdigest()},
        )["VersionId"]
        self.event = ObjectCreated(bucket, self.key, version, "01", 0, "")
        self.identity = object_id(Location(bucket, self.key, version))

    def steps(self) -> Mapping[str, Callable[[], object]]:
        """Return each step's work, in order."""
        inspect: Any
        if self.zone is Zone.LANDING_IMAGING:
            inspect = self.wiring.inspect_dicom(inspect_dicom, digest_chunks)
        else:
            inspect = self.wiring.inspect_genomics(PARSERS, parse_checksum_file, digest_chunks)
        return {
            "register_object": lambda: self.wiring.register_object(self.event),
            "inspect": lambda: inspect(self.identity),
            "place_object": lambda: self.wiring.place_object(self.identity),
        }


def measure() -> dict[str, Any]:
    """Return what each step costs one object alone, and one of a hundred that come at once."""
    together = f"DICOM instance, of {SERIES} that come at once"
    return {
        "DICOM instance": _printed("DICOM instance", measure_dicom()),
        "DICOM instance, larger": _printed(
            "DICOM instance, larger", measure_dicom("examples_overlay.dcm")
        ),
        "DICOM instance, of a series": _printed(
            together, _measured(Zone.LANDING_IMAGING, _series(SERIES), at_once=STREAM_BATCH)
        ),
        "FASTQ file": _printed("FASTQ file", measure_fastq()),
    }


def measure_dicom(name: str = "CT_small.dcm") -> dict[str, Any]:
    """Return what one of pydicom's test files costs that comes alone."""
    body = Path(str(get_testdata_file(name))).read_bytes()
    return _measured(Zone.LANDING_IMAGING, {"north/a.dcm": body})


def measure_fastq(*, reads: int = READS) -> dict[str, Any]:
    """Return what a FASTQ file of so many reads costs that comes alone."""
    key = "north/S1_S1_L001_R1_001.fastq.gz"
    return _measured(Zone.LANDING_GENOMICS, {key: _fastq(reads)})


def _measured(zone: Zone, files: Mapping[str, bytes], *, at_once: int = 1) -> dict[str, Any]:
    """Send files through all steps, each step in turn; so many changes are relayed at once."""
    with _wired() as (wiring, meter):
        many = [Sent(wiring, zone, key, body) for key, body in files.items()]
        for sent in many:
            sent.upload()
        counts = {}
        for step in many[0].steps():
            for sent in many:
                sent.steps()[step]()
            counts[step] = meter.take(over=len(many))
        _relay(wiring, at_once=at_once)
        counts["relay_changes"] = meter.take(over=len(many))
        for sent in many:
            record = wiring.catalog.get(sent.identity)
            assert record is not None
            assert record.state is State.PLACED, record
    return {"size_bytes": len(many[0].body), **_sums(counts.values()), "steps": counts}


def _sums(counts: Collection[Mapping[str, Any]]) -> dict[str, Any]:
    asked: Counter[str] = Counter()
    for count in counts:
        asked.update(count["asked"])
    sums = {
        name: round(sum(count[name] for count in counts), 2)
        for name in ("calls", "bytes_read", "write_units", "read_units")
    }
    return {**sums, "asked": dict(asked)}


def _printed(name: str, taken: dict[str, Any]) -> dict[str, Any]:
    print(f"  {name}, {taken['size_bytes']:,} bytes")
    print(f"    {'':<16}{'calls':>7}{'WCU':>7}{'RCU':>5}{'bytes read':>12}")
    for step, count in {**taken["steps"], "in all": taken}.items():
        print(
            f"    {step:<16}{count['calls']:>7g}{count['write_units']:>7g}{count['read_units']:>5g}"
            f"{count['bytes_read']:>12,}"
        )
        if step != "in all":
            print(f"      {', '.join(f'{call} {n:g}' for call, n in count['asked'].items())}")
    return taken


def _relay(wiring: Wiring, *, at_once: int) -> None:
    """Hand what the catalog's stream holds to the relay, so many changes at once."""
    # moto knows the streams by the region's address only.
    config = Config(account_id_endpoint_mode="disabled")
    streams = boto3.client("dynamodbstreams", region_name=REGION, config=config)
    (stream,) = streams.list_streams(TableName=CATALOG)["Streams"]
    (shard,) = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=stream["StreamArn"],
        ShardId=shard["ShardId"],
        ShardIteratorType="TRIM_HORIZON",
    )["ShardIterator"]
    records: list[Any] = []
    while (answer := streams.get_records(ShardIterator=iterator))["Records"]:
        records += answer["Records"]
        iterator = answer["NextShardIterator"]
    for start in range(0, len(records), at_once):
        changes = read_stream({"Records": records[start : start + at_once]})
        if changes:
            wiring.relay_changes(changes)


@contextmanager
def _wired() -> Iterator[tuple[Wiring, Meter]]:
    with mock_aws():
        wiring = deploy()
        # Building the services makes their clients; only then can they be watched.
        _ = wiring.register_object, wiring.place_object, wiring.relay_changes
        wiring.inspect_dicom(inspect_dicom, digest_chunks)
        lookup = boto3.client("dynamodb", region_name=REGION)
        meter = Meter(CapacityMeter(wiring.clients["dynamodb"], lookup))
        for client in wiring.clients.values():
            meter.watch(client)
        yield wiring, meter


def _series(count: int) -> dict[str, bytes]:
    """Return instances of one series by key."""
    files = {}
    dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
    for number in range(count):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber = number
        body = io.BytesIO()
        dataset.save_as(body)
        files[f"north/{number}.dcm"] = body.getvalue()
    return files


def _fastq(reads: int) -> bytes:
    text = io.StringIO()
    for read in range(reads):
        bases = "ACGT" * 37
        text.write(f"@A1:1:HXXDSX:1:1101:{read}:1 1:N:0:ACGT\n{bases}\n+\n{'F' * len(bases)}\n")
    return gzip.compress(text.getvalue().encode(), 1)
