"""Equal causes are one line, and a signature never tells whom they befell."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.dead_letters import (
    MESSAGE_LENGTH,
    SIGNATURE_LENGTH,
    Failure,
    LetterState,
    StreamBatch,
    letter_id,
    normalised,
    read_object,
    step_of_queue,
)
from forebay.domain.objects import Location, object_id
from forebay.errors import MessageError
from forebay.names import Step
from tests.unit.fakes import NOON, any_dead_letter, any_failure

CAUSES = [
    (
        "object mx2vunbanlqfopn7cs7qpuhl.vdqizs2aje64ou3n is not in the catalog",
        "object <value> is not in the catalog",
    ),
    ("pipeline run read_qc-0123456789abcdef moved", "pipeline run <value> moved"),
    ("the message is not JSON (character 17)", "the message is not JSON (character <value>)"),
    ("not an S3 event: KeyError('detail')", "not an S3 event: KeyError(<text>)"),
    (
        "bucket forebay-landing-imaging-111122223333-eu-central-1 is not a landing bucket",
        "bucket <value> is not a landing bucket",
    ),
    (
        "(AccessDenied) User: arn:aws:sts::111122223333:assumed-role/forebay/x may not perform:",
        "(AccessDenied) User: <value> may not perform:",
    ),
    (
        's3:GetObject on resource: "arn:aws:s3:::b/Doe "Jane" 1.dcm" because no policy (ID: 7SC0)',
        "s3:GetObject on resource: <text> because no policy (ID: <value>)",
    ),
    ("could not read s3://landing/a/Doe_Jane.dcm", "could not read <value>"),
    ("instance 1.2.840.10008.5.1.4.1.1.2 of 2.25.1", "instance <value> of <value>"),
    ("name Müller^Jürgen is too long", "name <value> is too long"),
    ("versions 1, 2 and 3 of 9f86d081884c7d65", "versions <value> and <value> of <value>"),
    ("", ""),
]


@pytest.mark.parametrize("message, sentence", CAUSES)
def test_message_keeps_its_words_and_loses_what_is_of_one_object(
    message: str, sentence: str
) -> None:
    assert normalised(message) == sentence


def test_causes_differ_by_step_error_and_sentence() -> None:
    failures = [
        Failure.of(Step.PLACE_OBJECT, "Trouble", "storage failed"),
        Failure.of(Step.REGISTER_OBJECT, "Trouble", "storage failed"),
        Failure.of(Step.PLACE_OBJECT, "KeyError", "storage failed"),
        Failure.of(Step.PLACE_OBJECT, "Trouble", "catalog failed"),
    ]
    assert len({failure.signature for failure in failures}) == 4
    assert {len(failure.signature) for failure in failures} == {SIGNATURE_LENGTH}


def test_error_that_is_no_name_of_an_error_is_not_kept() -> None:
    assert Failure.of(Step.PLACE_OBJECT, "Doe^Jane 1970", "").error == "Error"
    assert Failure.of(Step.PLACE_OBJECT, "AccessDenied (HeadObject)", "").error == (
        "AccessDenied (HeadObject)"
    )


any_key = st.text(min_size=1, max_size=40)
ids = st.one_of(
    st.builds(lambda key, version: object_id(Location("b", key, version)), any_key, any_key),
    st.uuids().map(str),
    st.uuids().map(lambda each: each.hex),
    st.integers(min_value=0).map(str),
    st.floats(min_value=0, allow_infinity=False, allow_nan=False).map(lambda each: f"{each:.3f}"),
    st.text("0123456789abcdef", min_size=8, max_size=64),
    st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=24, max_size=24),
    st.lists(st.integers(0, 10**9), min_size=4, max_size=8).map(
        lambda parts: ".".join(map(str, parts))
    ),
)


@given(first=ids, second=ids)
def test_no_id_ever_changes_what_a_sentence_says(first: str, second: str) -> None:
    said = [f"object {each} of the run is (still) waiting: {each}." for each in (first, second)]
    assert (
        normalised(said[0])
        == normalised(said[1])
        == ("object <value> of the run is (still) waiting: <value>.")
    )


@given(st.lists(st.uuids(), min_size=2, max_size=2), any_key, any_key)
def test_ids_and_quoted_keys_of_one_kind_never_change_the_signature(
    uuids: list[UUID], key: str, other: str
) -> None:
    def failure(uuid: UUID, key: str) -> Failure:
        made = object_id(Location("b", key, "v"))
        quoted = key.replace("\n", "").replace('"', "")
        return Failure.of(
            Step.PLACE_OBJECT, "Trouble", f'object {made} in request {uuid} was "{quoted}" before'
        )

    assert failure(uuids[0], key) == failure(uuids[1], other)


@given(st.text(max_size=2000))
def test_any_message_is_normalised_once_and_for_all(message: str) -> None:
    once = normalised(message)
    assert normalised(once) == once
    assert len(once) <= MESSAGE_LENGTH
    assert "\n" not in once


@given(st.text(max_size=50))
def test_no_digit_and_no_foreign_letter_survives(message: str) -> None:
    said = normalised(message)
    kept = [
        word for word in ("S3", "s3", "SHA256", "SHA-256", "SHA1", "MD5", "UTF-8") if word in said
    ]
    assert kept or not any(c.isdigit() for c in said)
    assert not any(c.isalpha() and not c.isascii() for c in said)


def test_same_body_of_a_step_is_the_same_letter() -> None:
    assert letter_id(Step.PLACE_OBJECT, "body") == letter_id(Step.PLACE_OBJECT, "body")
    assert letter_id(Step.PLACE_OBJECT, "body") != letter_id(Step.REGISTER_OBJECT, "body")
    assert letter_id(Step.PLACE_OBJECT, "\udcff lone surrogate")


def test_letter_that_fails_again_is_open_under_its_latest_cause_and_keeps_its_beginning() -> None:
    letter = any_dead_letter()
    closed = letter.replayed(NOON, replay_id="r1", by="steward")
    cause = any_failure(message="another sentence")
    later = NOON + timedelta(hours=1)

    again = closed.failed_again(cause, later, delivery="m2", body=Location("ledger", "k", "v2"))

    assert (again.state, again.failure, again.failures) == (LetterState.OPEN, cause, 2)
    assert (again.first_failed_at, again.last_failed_at) == (letter.first_failed_at, later)
    assert (again.replay_id, again.by) == ("r1", "steward")
    assert again.deliveries == (*letter.deliveries, "m2")
    assert again.version == letter.version + 2


def test_letter_remembers_a_bounded_number_of_deliveries() -> None:
    letter = any_dead_letter()
    for number in range(100):
        letter = letter.failed_again(letter.failure, NOON, delivery=f"d{number}", body=letter.body)
    assert letter.failures == 101
    assert len(letter.deliveries) == 20
    assert letter.deliveries[-1] == "d99"


def test_resolution_keeps_the_replay_it_rests_on() -> None:
    replayed = any_dead_letter().replayed(NOON, replay_id="r1", by="a")
    resolved = replayed.resolved(NOON, note="done", by="b")
    assert (resolved.replay_id, resolved.by, resolved.note) == ("r1", "b", "done")


@pytest.mark.parametrize("step", Step)
def test_step_is_told_by_its_dead_letter_queue(step: Step) -> None:
    name = f"my-prefix-{step.value.replace('_', '-')}-dead"
    assert step_of_queue(name) is step
    assert step_of_queue(f"arn:aws:sqs:eu-central-1:111122223333:{name}") is step


@pytest.mark.parametrize("name", ["forebay-place-object", "forebay-other-dead", "", "-dead"])
def test_other_queue_is_refused(name: str) -> None:
    with pytest.raises(MessageError):
        step_of_queue(name)


def test_positions_of_a_stream_are_read() -> None:
    info = {
        "streamArn": "arn",
        "shardId": "s",
        "startSequenceNumber": "1",
        "endSequenceNumber": "9",
        "batchSize": 3,
    }
    assert StreamBatch.of({"DDBStreamBatchInfo": info}) == StreamBatch("arn", "s", "1", "9", 3)
    assert StreamBatch.of({"detail": {}}) is None
    with pytest.raises(MessageError):
        StreamBatch.of({"DDBStreamBatchInfo": {"streamArn": "arn"}})


@pytest.mark.parametrize("text", ["", "no json", "[1]", "[" * 100_000, '"text"', "1" * 5000])
def test_body_that_is_no_object_is_empty(text: str) -> None:
    assert read_object(text) == {}
