"""Exceptions in the table, what reaches an object, what is due, and their history in the ledger."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from forebay.adapters import keys
from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.exceptions import DynamoExceptions, DynamoPolicyBook, S3ExceptionHistory
from forebay.adapters.items import item_key, to_item
from forebay.adapters.queries import batch_items
from forebay.domain.policy.decision import PolicyDecision
from forebay.domain.policy.exceptions import (
    ExceptionKind,
    PolicyException,
    Scope,
    ScopeKind,
    Status,
)
from forebay.domain.policy.standing import Context
from forebay.domain.policy.storage_classes import StorageClass
from forebay.domain.states import State
from forebay.errors import StaleRecordError, Trouble
from forebay.events import utc_text
from forebay.names import SCHEMA_VERSION
from forebay.services.ports import Change
from tests.adapters.conftest import Cloud, calls_of
from tests.unit.fakes import NOON, any_exception, any_record, any_uid

SECOND = timedelta(seconds=1)
ANNA = "arn:aws:iam::111122223333:user/anna"
BERT = "arn:aws:iam::111122223333:user/bert"


@pytest.fixture
def exceptions(catalog: DynamoCatalog) -> DynamoExceptions:
    return DynamoExceptions(catalog.client, catalog.table)


@pytest.fixture
def book(catalog: DynamoCatalog) -> DynamoPolicyBook:
    return DynamoPolicyBook(catalog.client, catalog.table)


@pytest.fixture
def history(cloud: Cloud) -> S3ExceptionHistory:
    return S3ExceptionHistory(cloud.client("s3"), cloud.bucket())


def asked(exceptions: DynamoExceptions, **fields: Any) -> PolicyException:
    made = any_exception(**fields)
    exceptions.put(None, made)
    return made


def approved(exceptions: DynamoExceptions, **fields: Any) -> PolicyException:
    before = asked(exceptions, **fields)
    after = approval(before)
    exceptions.put(before, after)
    return after


def approval(before: PolicyException, by: str = BERT) -> PolicyException:
    return before.changed(status=Status.ACTIVE, decided_by=by, decided_at=NOON + SECOND)


def end(of: PolicyException) -> PolicyException:
    return of.changed(
        status=Status.ENDED, ended_by=ANNA, ended_at=NOON + 2 * SECOND, note="the case is closed"
    )


def reaching(book: DynamoPolicyBook, *scopes: Scope) -> tuple[PolicyException, ...]:
    return book.context(scopes, scopes[-1]).exceptions


def test_every_attribute_comes_back(exceptions: DynamoExceptions) -> None:
    whole = any_exception(
        kind=ExceptionKind.RESIDENCY,
        until=NOON + 365 * 86_400 * SECOND,
        regions=("eu-central-1", "eu-west-1"),
        status=Status.ENDED,
        decided_by=BERT,
        decided_at=NOON + SECOND,
        end_asked_by=ANNA,
        ended_by=BERT,
        ended_at=NOON + 2 * SECOND,
        note="närmare, 結",
    )

    exceptions.put(None, whole)

    assert exceptions.get(whole.exception_id) == whole
    assert exceptions.get("EX-none") is None


def test_request_reaches_nothing_until_it_is_approved(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    before = asked(exceptions)
    assert reaching(book, before.scope) == ()
    assert exceptions.pending(10) == []

    after = approval(before)
    exceptions.put(before, after)

    assert reaching(book, before.scope) == (after,)
    assert exceptions.pending(10) == [after]


def test_what_ended_is_gone_from_its_scope_and_has_an_effect_to_reach(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    scope = Scope(ScopeKind.STUDY, any_uid())
    ended, other = (approved(exceptions, scope=scope) for _ in range(2))
    exceptions.reached(ended)
    exceptions.put(ended, end(ended))

    assert reaching(book, scope) == (other,)
    assert exceptions.pending(10) == [other, end(ended)]


def test_refusal_leaves_no_trace_on_the_scope(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    before = asked(exceptions)
    refused = before.changed(status=Status.REFUSED, decided_by=BERT, decided_at=NOON)
    exceptions.put(before, refused)

    key = (keys.scope_pk(before.scope), keys.SCOPE_EXCEPTIONS_SK)
    assert not list(batch_items(exceptions.client, exceptions.table, [key]))
    assert exceptions.pending(10) == []
    assert list(exceptions.with_status(Status.REFUSED)) == [refused]


def test_second_approval_is_refused_and_the_first_stands(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    before = asked(exceptions)
    first = approval(before)
    exceptions.put(before, first)

    with pytest.raises(StaleRecordError, match=before.exception_id):
        exceptions.put(before, approval(before, by="arn:aws:iam::1:user/cara"))

    assert exceptions.get(before.exception_id) == first
    assert reaching(book, before.scope) == (first,)


def test_of_many_who_decide_at_once_one_does(
    cloud: Cloud, exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    before = asked(exceptions)
    wanted = [approval(before, by=f"arn:aws:iam::1:user/{n}") for n in range(6)]

    def put(after: PolicyException) -> bool:
        try:
            exceptions.put(before, after)
        except StaleRecordError:
            return False
        return True

    # A transaction that moto refuses also takes back what another thread wrote meanwhile.
    with ThreadPoolExecutor(1 if cloud.name == "moto" else 6) as pool:
        won = list(pool.map(put, wanted))

    assert won.count(True) == 1
    assert reaching(book, before.scope) == (wanted[won.index(True)],)


def test_same_id_is_not_given_twice(exceptions: DynamoExceptions) -> None:
    first = asked(exceptions)

    with pytest.raises(StaleRecordError):
        exceptions.put(None, replace(first, reason="another"))


def test_late_refusal_of_what_was_approved_changes_nothing(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    before = asked(exceptions)
    after = approval(before)
    exceptions.put(before, after)

    with pytest.raises(StaleRecordError):
        exceptions.put(before, before.changed(status=Status.REFUSED, decided_by=ANNA))

    assert reaching(book, before.scope) == (after,)


def test_lists_are_by_status_those_asked_for_last_first(exceptions: DynamoExceptions) -> None:
    old, new = (asked(exceptions, requested_at=NOON + n * SECOND) for n in range(2))
    active = approved(exceptions)

    assert list(exceptions.with_status(Status.REQUESTED)) == [new, old]
    assert list(exceptions.with_status(Status.ACTIVE)) == [active]


def test_reached_change_is_pending_no_more_but_a_later_one_is(exceptions: DynamoExceptions) -> None:
    first = approved(exceptions)
    exceptions.put(first, end(first))

    exceptions.reached(first)
    assert exceptions.pending(10) == [end(first)]

    exceptions.reached(end(first))
    assert exceptions.pending(10) == []
    assert exceptions.get(first.exception_id) == end(first)


def test_pending_is_bounded_and_begins_with_the_oldest(exceptions: DynamoExceptions) -> None:
    made = []
    for number in range(3):
        before = asked(exceptions)
        after = replace(approval(before), decided_at=NOON + (10 - number) * SECOND)
        exceptions.put(before, after)
        made.append(after)

    assert exceptions.pending(2) == [made[2], made[1]]


def test_context_of_25_scopes_is_one_request(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    scopes = [Scope(ScopeKind.OBJECT, any_uid()) for _ in range(25)]
    made = [approved(exceptions, scope=scope) for scope in scopes]

    with calls_of(book.client) as calls:
        context = book.context((*scopes, scopes[0]), scopes[3])

    assert calls == ["BatchGetItem"]
    assert context == Context(tuple(sorted(made, key=lambda each: each.exception_id)))


def test_context_of_more_scopes_than_one_request_takes_is_whole(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    scopes = [Scope(ScopeKind.OBJECT, any_uid()) for _ in range(130)]
    last = approved(exceptions, scope=scopes[-1])

    assert reaching(book, *scopes) == (last,)


def test_context_tells_the_last_access_to_what_is_accessed_together(book: DynamoPolicyBook) -> None:
    study, series = Scope(ScopeKind.STUDY, any_uid()), Scope(ScopeKind.SERIES, any_uid())
    item = {
        "pk": keys.access_pk(study),
        "sk": keys.SCOPE_ACCESS_SK,
        "last_access": utc_text(NOON),
        "schema_version": SCHEMA_VERSION,
    }
    book.client.put_item(TableName=book.table, Item=to_item(item))

    assert book.context((study, series), study) == Context(last_access=NOON)
    assert book.context((study, series), series) == Context()


def test_equal_values_of_other_kinds_are_other_scopes(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    hold = approved(exceptions, scope=Scope(ScopeKind.STUDY, "2.25.1"))

    assert reaching(book, Scope(ScopeKind.SERIES, "2.25.1")) == ()
    assert reaching(book, Scope(ScopeKind.STUDY, "2.25.1")) == (hold,)


class Holding:
    """A client that gives one item of each request and holds the others back, or gives none."""

    def __init__(self, client: Any, *, gives: int) -> None:
        self.client = client
        self.gives = gives

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - as boto3 calls it
        ((table, asked),) = RequestItems.items()
        now, later = asked["Keys"][: self.gives], asked["Keys"][self.gives :]
        answer: Any = {"Responses": {}, "UnprocessedKeys": {}}
        if now:
            answer = self.client.batch_get_item(RequestItems={table: {**asked, "Keys": now}})
        if later:
            answer["UnprocessedKeys"] = {table: {**asked, "Keys": later}}
        return answer


def test_items_that_are_held_back_are_asked_for_again(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    scopes = [Scope(ScopeKind.OBJECT, any_uid()) for _ in range(15)]
    made = {approved(exceptions, scope=scope).exception_id for scope in scopes}
    slow: Any = Holding(book.client, gives=1)

    context = DynamoPolicyBook(slow, book.table).context(scopes, scopes[0])

    assert {each.exception_id for each in context.exceptions} == made


def test_what_is_never_given_is_trouble_not_silence(book: DynamoPolicyBook) -> None:
    deaf: Any = Holding(book.client, gives=0)
    scope = Scope(ScopeKind.STUDY, any_uid())

    with pytest.raises(Trouble, match="unread"):
        DynamoPolicyBook(deaf, book.table).context([scope], scope)


def test_placed_object_is_due_at_once_then_when_policy_said(
    catalog: DynamoCatalog, book: DynamoPolicyBook
) -> None:
    record = any_record()
    catalog.register(record)
    assert book.due(NOON + SECOND, 10) == []
    for state in (State.VERIFIED, State.PLACED):
        before, record = record, record.moved_to(state, NOON)
        catalog.apply(Change(before, record))
    assert book.due(NOON, 10) == [record.object_id]

    decided = PolicyDecision("clinical-hot", StorageClass.STANDARD, evaluate_at=NOON + SECOND)
    after = record.amended(NOON, policy=decided)
    catalog.apply(Change(record, after))

    assert book.due(NOON, 10) == []
    assert book.due(NOON + SECOND, 10) == [record.object_id]


def test_due_is_bounded_and_begins_with_the_longest(
    catalog: DynamoCatalog, book: DynamoPolicyBook
) -> None:
    ids = []
    for number in range(20):
        record = any_record()
        catalog.register(record)
        for state in (State.VERIFIED, State.PLACED):
            before, record = record, record.moved_to(state, NOON - number * SECOND)
            catalog.apply(Change(before, record))
        ids.append(record.object_id)

    assert book.due(NOON, 5) == ids[::-1][:5]
    assert book.due(NOON - 15 * SECOND, 100) == ids[::-1][:5]


def test_item_says_no_more_than_the_exception(exceptions: DynamoExceptions) -> None:
    hold = approved(exceptions)

    answer = exceptions.client.get_item(
        TableName=exceptions.table, Key=item_key(keys.exception_key(hold.exception_id))
    )

    assert "expires_at" not in answer["Item"]
    assert answer["Item"]["entity"] == {"S": "exception"}
    assert answer["Item"]["schema_version"] == {"N": str(SCHEMA_VERSION)}


def test_version_is_told_once(history: S3ExceptionHistory) -> None:
    first = any_exception()
    other = replace(first, reason="another")

    assert history.append(first)
    assert not history.append(other)

    assert history.get(first.exception_id, 1) == first


def test_latest_version_of_each_is_told(history: S3ExceptionHistory) -> None:
    one, two = any_exception(), any_exception()
    versions = [one]
    for _ in range(11):
        versions.append(versions[-1].changed(status=Status.ACTIVE, note=str(len(versions))))
    for each in (*versions, two):
        assert history.append(each)

    assert sorted(history.latest(), key=lambda each: each.version) == [two, versions[-1]]


def test_forged_request_is_nobodys_decision(history: S3ExceptionHistory) -> None:
    forged = any_exception(status=Status.ACTIVE, decided_by=BERT, decided_at=NOON)
    honest = any_exception()
    history.append(forged)
    history.append(honest)
    # Whoever may ask may write names that end like a request's; they are no versions.
    body = history.client.get_object(
        Bucket=history.bucket, Key=f"exceptions/{forged.exception_id}/0000000001.json"
    )["Body"].read()
    for name in (
        f"{honest.exception_id}/0000000009.json/0000000001.json",
        f"{honest.exception_id}/x/0000000001.json",
        "EX-other/0000000001.json",
    ):
        history.client.put_object(Bucket=history.bucket, Key=f"exceptions/{name}", Body=body)

    assert list(history.latest()) == [honest]


def test_ledger_holds_plain_json(history: S3ExceptionHistory) -> None:
    hold = any_exception()
    history.append(hold)

    answer = history.client.get_object(
        Bucket=history.bucket, Key=f"exceptions/{hold.exception_id}/0000000001.json"
    )

    told = json.loads(answer["Body"].read())
    assert told["status"] == "REQUESTED"
    assert told["requested_by"] == hold.requested_by
    assert "until" not in told


def test_restored_exception_stands_as_before(
    exceptions: DynamoExceptions, book: DynamoPolicyBook, cloud: Cloud
) -> None:
    hold = approved(exceptions)
    lost = DynamoExceptions(exceptions.client, cloud.table())

    assert lost.restore(hold)
    assert not lost.restore(hold)

    assert lost.get(hold.exception_id) == hold
    assert reaching(replace(book, table=lost.table), hold.scope) == (hold,)
    assert lost.pending(10) == [hold]


def test_what_is_newer_in_the_table_stays(
    exceptions: DynamoExceptions, book: DynamoPolicyBook
) -> None:
    hold = approved(exceptions)
    exceptions.put(hold, end(hold))

    assert not exceptions.restore(hold)

    assert exceptions.get(hold.exception_id) == end(hold)
    assert reaching(book, hold.scope) == ()
