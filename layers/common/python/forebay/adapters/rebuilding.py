"""The tables of a catalog that is made anew; what is there and newer is never written over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from forebay.adapters import keys
from forebay.adapters.catalog import claim_item
from forebay.adapters.change_log import DynamoChangeLog
from forebay.adapters.exceptions import DynamoExceptions
from forebay.adapters.items import TOLD_VERSION, Item, item_key, object_item, run_item, value
from forebay.domain.objects import ObjectRecord
from forebay.domain.policy.exceptions import PolicyException
from forebay.domain.runs import PipelineRun
from forebay.events import utc_text
from forebay.services.ports import Claim, RecordedChange

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class DynamoLostTables:
    """`services.rebuild_catalog.LostTables`: every write is conditional and may be repeated."""

    client: "DynamoDBClient"
    table: str
    log: DynamoChangeLog

    def put_object(self, record: ObjectRecord) -> bool:
        """Write a record unless this or a higher version is there; tell whether it was written."""
        return self._put_version(object_item(record), record.version)

    def put_run(self, run: PipelineRun) -> bool:
        """Do the same for a pipeline run."""
        return self._put_version(run_item(run), run.version)

    def put_claim(self, claim: Claim, holder: str, since: datetime) -> None:
        """Let an object hold a name unless another took it later."""
        self._put(
            claim_item(claim, holder, since),
            "attribute_not_exists(pk) OR since < :since",
            {":since": value(utc_text(since))},
        )

    def put_subject(self, record: ObjectRecord) -> None:
        """Write the person into a record of this very version."""
        item = object_item(record)
        told = {name: item[name] for name in ("subject", "subject_tokens") if name in item}
        if told:
            self._update(
                record.object_id,
                "SET " + ", ".join(f"{name} = :{name}" for name in told),
                "version = :version",
                {f":{name}": v for name, v in told.items()} | {":version": value(record.version)},
            )

    def put_duplicates(self, object_id: str, count: int) -> None:
        """Write how many duplicates an object has, unless more are known."""
        self._update(
            object_id,
            "SET duplicate_count = :count",
            "attribute_exists(pk) AND"
            " (attribute_not_exists(duplicate_count) OR duplicate_count < :count)",
            {":count": value(count)},
        )

    def put_exception(self, exception: PolicyException) -> bool:
        """Write an exception, and what its scope says, unless this or a higher version is there."""
        return DynamoExceptions(self.client, self.table).restore(exception)

    def index(self, changes: Sequence[RecordedChange]) -> None:
        """Write the history and search entries of changes."""
        self.log.index(changes)

    def _put_version(self, item: Item, version: int) -> bool:
        return self._put(
            item | {TOLD_VERSION: value(version)},
            "attribute_not_exists(pk) OR version < :version",
            {":version": value(version)},
        )

    def _put(self, item: Item, condition: str, values: Mapping[str, Any]) -> bool:
        try:
            self.client.put_item(
                TableName=self.table,
                Item=item,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _update(
        self, object_id: str, expression: str, condition: str, values: Mapping[str, Any]
    ) -> None:
        try:
            self.client.update_item(
                TableName=self.table,
                Key=item_key(keys.object_key(object_id)),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
        except ClientError as exc:
            if exc.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
