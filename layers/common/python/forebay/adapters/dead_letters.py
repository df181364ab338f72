"""Dead letters in the catalog's table, the stream's forgotten records, and calls of functions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from forebay.adapters import keys
from forebay.adapters.items import Item, from_item, item_key, to_item, value
from forebay.adapters.queries import query_items
from forebay.domain.dead_letters import (
    DeadLetter,
    Failure,
    LetterGroup,
    LetterState,
    StreamBatch,
)
from forebay.domain.objects import Location
from forebay.errors import StaleRecordError
from forebay.events import utc_moment, utc_text
from forebay.names import INDEX_BY_GROUP, SCHEMA_VERSION, Step
from forebay.services.ports import LostChange

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient

NOTE_DAYS: Final = 15
"""A note outlives its message, which SQS keeps for 14 days at most."""
_NOT_APPLIED: Final = frozenset(
    {"ConditionalCheckFailed", "ConditionalCheckFailedException", "TransactionConflict"}
)
_FORGOTTEN: Final = frozenset(
    {"TrimmedDataAccessException", "ResourceNotFoundException", "ValidationException"}
)
_CHANGES: Final = frozenset({"object", "pipeline_run"})
_EMPTY_PAGES: Final = 10


@dataclass(frozen=True, slots=True)
class DynamoFailureNotes:
    """`services.ports.FailureNotes` beside the catalog's records."""

    client: "DynamoDBClient"
    table: str

    def leave(self, note_id: str, failure: Failure, at: datetime) -> None:
        """Leave a note under the id of the message, over an earlier one."""
        pk, sk = keys.note_key(note_id)
        item = {
            "pk": pk,
            "sk": sk,
            "entity": "failure_note",
            "schema_version": SCHEMA_VERSION,
            **_failure_data(failure),
            "at": utc_text(at),
            "expires_at": int((at + timedelta(days=NOTE_DAYS)).timestamp()),
        }
        self.client.put_item(TableName=self.table, Item=to_item(item))

    def find(self, note_id: str) -> Failure | None:
        """Return the note, None when the function was killed before it could leave one."""
        answer = self.client.get_item(
            TableName=self.table, Key=item_key(keys.note_key(note_id)), ConsistentRead=True
        )
        return _failure(from_item(answer["Item"])) if "Item" in answer else None


@dataclass(frozen=True, slots=True)
class DynamoDeadLetters:
    """`services.ports.DeadLetters` in the catalog's table."""

    client: "DynamoDBClient"
    table: str

    def get(self, letter_id: str) -> DeadLetter | None:
        """Return one letter, read consistently."""
        answer = self.client.get_item(
            TableName=self.table, Key=item_key(keys.letter_key(letter_id)), ConsistentRead=True
        )
        return _letter(answer["Item"]) if "Item" in answer else None

    def put(self, before: DeadLetter | None, after: DeadLetter) -> None:
        """Replace a letter and count it in its group, in one transaction.

        letter   PUT … IF version = before.version, or new    refused: StaleRecordError
        group    ADD to its counts; both groups when the cause changed
        """
        put: dict[str, Any] = {
            "TableName": self.table,
            "Item": _letter_item(after),
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        if before:
            put |= {
                "ConditionExpression": "version = :before",
                "ExpressionAttributeValues": {":before": value(before.version)},
            }
        parts: list[Any] = [{"Put": put}]
        for failure, counts in _counted(before, after).items():
            parts.append({"Update": self._count(failure, counts, after)})
        try:
            self.client.transact_write_items(TransactItems=parts)
        except ClientError as exc:
            reasons = exc.response.get("CancellationReasons", [])
            codes = {reason.get("Code") for reason in reasons}
            if codes & _NOT_APPLIED:
                raise StaleRecordError(f"dead letter {after.letter_id} moved meanwhile") from exc
            raise

    def groups(self) -> Sequence[LetterGroup]:
        """Return all causes with their counts, the latest first."""
        query = {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": value(keys.LETTER_GROUPS_PK)},
        }
        groups = [_group(item) for item in self._items(query)]
        return sorted(groups, key=lambda group: group.last_failed_at, reverse=True)

    def letters(
        self, signature: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[DeadLetter]:
        """Return the letters of one cause, by when they failed last."""
        query = {
            "IndexName": INDEX_BY_GROUP,
            "KeyConditionExpression": "group_pk = :pk AND group_sk BETWEEN :low AND :high",
            "ExpressionAttributeValues": {
                ":pk": value(keys.letters_pk(signature)),
                ":low": value(utc_text(since) if since else "0"),
                ":high": value(f"{utc_text(until) if until else ''}~"),
            },
        }
        return (_letter(item) for item in self._items(query))

    def _count(
        self, failure: Failure, counts: Mapping[str, int], after: DeadLetter
    ) -> dict[str, Any]:
        names = {f"#{name}": name for name in counts}
        values = {f":{name}": value(number) for name, number in counts.items()}
        described = {
            "entity": "letter_group",
            "schema_version": SCHEMA_VERSION,
            **_failure_data(failure),
            "first_failed_at": utc_text(after.first_failed_at),
        }
        # A letter that leaves for another cause says nothing of when this one happened last.
        if failure == after.failure:
            names["#last"], values[":last"] = (
                "last_failed_at",
                value(utc_text(after.last_failed_at)),
            )
        assignments = ["#last = :last"] if "#last" in names else []
        for number, (name, data) in enumerate(described.items()):
            if data != "":
                names[f"#d{number}"], values[f":d{number}"] = name, value(data)
                assignments.append(f"#d{number} = if_not_exists(#d{number}, :d{number})")
        added = ", ".join(f"#{name} :{name}" for name in counts)
        return {
            "TableName": self.table,
            "Key": item_key(keys.letter_group_key(failure.signature)),
            "UpdateExpression": f"SET {', '.join(assignments)} ADD {added}",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }

    def _items(self, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        return query_items(self.client, {"TableName": self.table, **query})


@dataclass(frozen=True, slots=True)
class DynamoStreamRecords:
    """`services.ports.StreamRecords` over the catalog's stream."""

    client: Any
    """A `dynamodbstreams` client, without parameter validation: emulators' positions are shorter
    than those of AWS, and what is no position at all is for the service to refuse.
    """

    def read(self, batch: StreamBatch) -> Sequence[LostChange]:
        """Return what the stream still holds of a batch; it forgets after 24 hours."""
        try:
            iterator = self.client.get_shard_iterator(
                StreamArn=batch.stream_arn,
                ShardId=batch.shard_id,
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                SequenceNumber=batch.first_sequence,
            )["ShardIterator"]
            return self._changes(iterator, int(batch.last_sequence))
        except ClientError as exc:
            if exc.response.get("Error", {}).get("Code") in _FORGOTTEN:
                return ()
            raise

    def _changes(self, iterator: str | None, last: int) -> list[LostChange]:
        changes: list[LostChange] = []
        empty = 0
        while iterator and empty < _EMPTY_PAGES:
            answer = self.client.get_records(ShardIterator=iterator)
            for record in answer["Records"]:
                if int(record["dynamodb"]["SequenceNumber"]) > last:
                    return changes
                changes += lost_changes(record)
                if int(record["dynamodb"]["SequenceNumber"]) == last:
                    return changes
            empty = 0 if answer["Records"] else empty + 1
            iterator = answer.get("NextShardIterator")
        return changes


def lost_changes(record: Mapping[str, Any]) -> list[LostChange]:
    """Return the change one record of the stream holds, in the stream's own shape; none for others.

    Times of the stream's envelope are left out, so that equal changes have equal bodies.
    """
    images = record["dynamodb"]
    after = images.get("NewImage")
    if not after or after.get("entity", {}).get("S") not in _CHANGES:
        return []
    data = from_item({name: after[name] for name in ("object_id", "run_id") if name in after})
    kept = {
        name: {k: v for k, v in images[name].items() if k != "subject"}
        for name in ("OldImage", "NewImage")
        if name in images
    }
    kept["SequenceNumber"] = images["SequenceNumber"]
    body = json.dumps({"Records": [{"dynamodb": kept}]}, sort_keys=True, separators=(",", ":"))
    about = str(data.get("object_id") or data.get("run_id"))
    return [LostChange(about, int(after["version"]["N"]), body)]


@dataclass(frozen=True, slots=True)
class DynamoHistory:
    """`services.ports.History` over the history table."""

    client: "DynamoDBClient"
    table: str

    def has(self, object_id: str, version: int) -> bool:
        """Tell whether a change is in the history."""
        answer = self.client.get_item(
            TableName=self.table,
            Key=item_key(keys.history_key(object_id, version)),
            ConsistentRead=True,
            ProjectionExpression="pk",
        )
        return "Item" in answer


@dataclass(frozen=True, slots=True)
class LambdaFunctions:
    """`services.ports.Functions` over Lambda; `names` are the functions' names by step."""

    client: "LambdaClient"
    names: Mapping[Step, str]

    def invoke(self, step: Step, payload: str, *, version: str = "") -> Mapping[str, Any] | None:
        """Return the answer to a JSON payload, None when the function raised or was killed."""
        qualifier: Any = {"Qualifier": version} if version else {}
        answer = self.client.invoke(
            FunctionName=self.names[step],
            InvocationType="RequestResponse",
            Payload=payload.encode(),
            **qualifier,
        )
        if answer.get("FunctionError"):
            return None
        said = json.loads(answer["Payload"].read() or b"null")
        return said if isinstance(said, dict) else {}


def _counted(before: DeadLetter | None, after: DeadLetter) -> dict[Failure, dict[str, int]]:
    """Return by how much each group's counts grow; a letter that stays counts as it did."""
    counts: dict[Failure, dict[str, int]] = {}

    def add(failure: Failure, name: str, number: int) -> None:
        group = counts.setdefault(failure, {})
        group[name] = group.get(name, 0) + number

    if before:
        add(before.failure, _counter(before.state), -1)
    add(after.failure, _counter(after.state), 1)
    add(after.failure, "failures", after.failures - (before.failures if before else 0))
    return counts


def _counter(state: LetterState) -> str:
    return f"{state.value.lower()}_letters"


def _letter_item(letter: DeadLetter) -> Item:
    pk, sk = keys.letter_key(letter.letter_id)
    return to_item(
        {
            "pk": pk,
            "sk": sk,
            "entity": "dead_letter",
            "schema_version": SCHEMA_VERSION,
            "group_pk": keys.letters_pk(letter.failure.signature),
            "group_sk": f"{utc_text(letter.last_failed_at)}#{letter.letter_id}",
            "letter_id": letter.letter_id,
            **_failure_data(letter.failure),
            "state": letter.state.value,
            "state_since": utc_text(letter.state_since),
            "version": letter.version,
            "failures": letter.failures,
            "first_failed_at": utc_text(letter.first_failed_at),
            "last_failed_at": utc_text(letter.last_failed_at),
            "body_bucket": letter.body.bucket,
            "body_key": letter.body.key,
            "body_version_id": letter.body.version_id,
            "about": letter.about,
            "about_version": letter.about_version or None,
            "deliveries": list(letter.deliveries),
            "replay_id": letter.replay_id,
            "by": letter.by,
            "note": letter.note,
        }
    )


def _letter(item: Mapping[str, Any]) -> DeadLetter:
    data = from_item(item)
    return DeadLetter(
        letter_id=data["letter_id"],
        failure=_failure(data),
        state=LetterState(data["state"]),
        state_since=utc_moment(data["state_since"]),
        version=data["version"],
        failures=data["failures"],
        first_failed_at=utc_moment(data["first_failed_at"]),
        last_failed_at=utc_moment(data["last_failed_at"]),
        body=Location(data["body_bucket"], data["body_key"], data.get("body_version_id", "")),
        about=data.get("about", ""),
        about_version=data.get("about_version", 0),
        deliveries=tuple(data.get("deliveries", ())),
        replay_id=data.get("replay_id", ""),
        by=data.get("by", ""),
        note=data.get("note", ""),
    )


def _group(item: Mapping[str, Any]) -> LetterGroup:
    data = from_item(item)
    return LetterGroup(
        signature=data["sk"],
        failure=_failure(data),
        counts={state: data.get(_counter(state), 0) for state in LetterState},
        failures=data.get("failures", 0),
        first_failed_at=utc_moment(data["first_failed_at"]),
        last_failed_at=utc_moment(data.get("last_failed_at", data["first_failed_at"])),
    )


def _failure_data(failure: Failure) -> dict[str, str]:
    return {"step": failure.step.value, "error": failure.error, "message": failure.message}


def _failure(data: Mapping[str, Any]) -> Failure:
    return Failure(Step(data["step"]), data["error"], data.get("message", ""))
