"""The World of the unit tests over the real adapters, in moto: its stream is DynamoDB's own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.catalog_reader import CatalogReader
from forebay.adapters.change_log import DynamoChangeLog
from forebay.adapters.items import from_item
from forebay.adapters.s3 import S3ObjectStore
from forebay.domain.objects import ObjectRecord, object_id
from forebay.domain.states import State
from forebay.events import ObjectCreated
from forebay.names import Step, Zone
from forebay.runtime.batch import read_stream
from forebay.services.inspecting import Inspector
from forebay.services.ports import RecordedChange, RecordedRun
from tests.adapters.conftest import REGION, Cloud
from tests.unit.fakes import BUCKETS, any_number, digest_chunks, location_of
from tests.unit.world import Message, World

STREAMS: Final = f"https://streams.dynamodb.{REGION}.amazonaws.com"
Items = dict[tuple[str, str], dict[str, Any]]
# What lives for a moment and is void once the table is lost.
_PASSING: Final = ("LEASE#",)


@dataclass
class MotoWorld(World):
    """The flow over DynamoDB and S3 as moto plays them."""

    cloud: Cloud = field(default_factory=lambda: Cloud("moto"))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.s3, self.dynamodb = self.cloud.client("s3"), self.cloud.client("dynamodb")
        for bucket in BUCKETS.values():
            self.s3.create_bucket(Bucket=bucket)
            self.s3.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        self.store = S3ObjectStore(self.s3)  # type: ignore[assignment]
        self.new_tables()

    def new_tables(self) -> None:
        """Lose the tables and get empty ones."""
        self.table, self.history = self.cloud.table(), self.cloud.history_table()
        self.catalog = DynamoCatalog(self.dynamodb, self.table)  # type: ignore[assignment]
        self.reader = CatalogReader(self.dynamodb, self.table, self.history)
        self.log = DynamoChangeLog(  # type: ignore[assignment]
            self.dynamodb, self.table, self.history, self.store, BUCKETS[Zone.LEDGER]
        )
        self.inspector = Inspector(self.catalog, self.store, self.clock, digest_chunks)
        self.relayed = 0
        steps = ("register_object", "inspect_dicom", "inspect_genomics", "place_object")
        self.__dict__.pop("book", None)
        self.__dict__.pop("judge", None)
        for name in (*steps, "submit_pipeline", "record_pipeline", "relay_changes"):
            self.__dict__.pop(name, None)

    def upload(self, zone: Zone, key: str, body: bytes, **how: Any) -> str:
        """Let a sender write an object; its event waits in the queue."""
        metadata = dict(how.get("metadata", {}))
        answer = self.s3.put_object(Bucket=BUCKETS[zone], Key=key, Body=body, Metadata=metadata)
        event = ObjectCreated(
            BUCKETS[zone], key, answer["VersionId"], f"{any_number():016X}", len(body), ""
        )
        self.queue.append(Message(Step.REGISTER_OBJECT, event))
        stored = self.store.head(location_of(event))
        return object_id(stored.location)

    def record(self, of: str) -> ObjectRecord:
        found = self.catalog.get(of)
        assert found
        return found

    def state(self, of: str) -> State:
        return self.record(of).state

    def fresh_changes(self) -> list[RecordedChange | RecordedRun]:
        return list(self._stream())

    def items(self) -> tuple[Items, Items]:
        """Return all items of catalog and history."""
        return self._scan(self.table), self._scan(self.history)

    def _scan(self, table: str) -> Items:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table)
        found = [from_item(item) for page in pages for item in page["Items"]]
        return {
            (item["pk"], item["sk"]): item
            for item in found
            if not str(item["sk"]).startswith(_PASSING)
        }

    def _stream(self) -> Iterator[RecordedChange | RecordedRun]:
        # Named by ARN, a stream has an endpoint of its own that moto does not know.
        streams = Cloud("moto", STREAMS).client("dynamodbstreams")
        arn = self.dynamodb.describe_table(TableName=self.table)["Table"]["LatestStreamArn"]
        shards = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shards[0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records: list[Mapping[str, Any]] = []
        while True:
            answer = streams.get_records(ShardIterator=iterator)
            if not answer["Records"]:
                break
            records += answer["Records"]
            iterator = answer["NextShardIterator"]
        fresh = records[self.relayed :]
        self.relayed = len(records)
        yield from read_stream({"Records": fresh})
