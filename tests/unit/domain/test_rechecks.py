"""Which objects are read again, and what their bytes then say."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.adapters.keys import due_key
from forebay.domain.findings import Owner, ReasonCode
from forebay.domain.integrity import Algorithm, Digest, Witness
from forebay.domain.objects import ObjectRecord
from forebay.domain.rechecks import (
    Bytes,
    LastCheck,
    Reading,
    algorithms_to_read,
    finding_of,
    is_readable,
    pick,
    read_as,
)
from forebay.domain.removals import with_storage_facts
from forebay.domain.states import State
from forebay.events import StorageChanged, StorageKind
from tests.unit.fakes import NOON, any_digest, any_location, any_record

SIZES = st.lists(st.integers(0, 100), max_size=30)


def chance_of(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a sample, no secret


def queue(sizes: list[int]) -> list[LastCheck]:
    return [LastCheck(NOON + timedelta(n), f"{n}", size) for n, size in enumerate(sizes)]


@given(sizes=SIZES, budget=st.integers(0, 100), seed=st.integers())
def test_no_run_reads_more_than_its_budget_but_one_large_object_alone(
    sizes: list[int], budget: int, seed: int
) -> None:
    chosen = list(pick(queue(sizes), budget, chance_of(seed)))

    total = sum(each.size_bytes for each in chosen)
    assert total <= budget or [each.size_bytes for each in chosen if each.size_bytes] == [total]


@given(sizes=SIZES, budget=st.integers(1, 100), seed=st.integers())
def test_every_object_is_read_in_the_end(sizes: list[int], budget: int, seed: int) -> None:
    waiting, chance = queue(sizes), chance_of(seed)
    for _ in range(20_000):
        if not waiting:
            break
        chosen = set(pick(waiting, budget, chance))
        waiting = [each for each in waiting if each not in chosen]

    assert not waiting


def test_over_many_runs_large_objects_keep_to_the_budget() -> None:
    chance = chance_of(7)
    runs = [list(pick(queue([1000]), 100, chance)) for _ in range(2000)]

    read = sum(each.size_bytes for chosen in runs for each in chosen)
    assert read / len(runs) == pytest.approx(100, rel=0.25)


@pytest.mark.parametrize(
    "known, read",
    [
        ([Algorithm.MD5, Algorithm.SHA256], (Algorithm.SHA256,)),
        ([Algorithm.MD5], (Algorithm.MD5,)),
        ([Algorithm.CRC32], (Algorithm.CRC32, Algorithm.SHA256)),
        ([Algorithm.CRC64NVME], (Algorithm.SHA256,)),
        ([], (Algorithm.SHA256,)),
    ],
)
def test_one_strong_digest_is_computed_and_where_there_is_none_a_sha256_begins(
    known: list[Algorithm], read: tuple[Algorithm, ...]
) -> None:
    record = any_record(digests=tuple(any_digest(algorithm=each) for each in known))

    def can_compute(algorithm: Algorithm) -> bool:
        return algorithm is not Algorithm.CRC64NVME

    assert algorithms_to_read(record, can_compute) == read


def test_a_senders_claim_is_no_evidence() -> None:
    claim = any_digest(algorithm=Algorithm.MD5, witness=Witness.SENDER_METADATA)
    record = any_record(digests=(claim,))

    assert algorithms_to_read(record, lambda _: True) == (Algorithm.SHA256,)


def test_composite_checksum_proves_and_convicts() -> None:
    record = any_record(composite_checksum="crc32:AAAA-2")

    same = read_as(record, size_bytes=1000, digests=(), composite="crc32:AAAA-2")
    other = read_as(record, size_bytes=1000, digests=(), composite="crc32:BBBB-2")

    assert (same.bytes, same.is_proof) == (Bytes.EQUAL, True)
    assert (other.bytes, other.is_proof) == (Bytes.CHANGED, False)


def test_size_alone_convicts_but_proves_nothing() -> None:
    record = any_record()

    assert read_as(record, size_bytes=999, digests=()).bytes is Bytes.CHANGED
    assert not read_as(record, size_bytes=1000, digests=()).is_proof


def test_finding_names_both_digests_and_who_acts_but_no_key() -> None:
    good = any_digest()
    bad = Digest(good.algorithm, "0" * 64, Witness.FOREBAY)
    record = any_record(digests=(good,))

    finding = finding_of(record, Reading(Bytes.CHANGED, (bad,), 1000))

    assert finding.code is ReasonCode.STORED_BYTES_CHANGED
    assert finding.owner is Owner.PLATFORM
    assert (finding.expected, finding.found) == (f"sha256 {good.value}", f"sha256 {'0' * 64}")
    assert record.object_id in finding.message
    assert record.location.key not in finding.message


def test_missing_bytes_have_a_code_of_their_own() -> None:
    finding = finding_of(any_record(), Reading(Bytes.MISSING))

    assert finding.code is ReasonCode.STORED_BYTES_MISSING
    assert finding.found == "nothing"


def told(*events: tuple[StorageKind, str]) -> ObjectRecord:
    record = any_record(state=State.PLACED, placed=any_location())
    for second, (kind, tier) in enumerate(events):
        at = f"2026-03-01T12:00:{second:02}.000Z"
        event = StorageChanged(kind, "zone", "key", "v1", at, tier, "")
        record = with_storage_facts(record, event, NOON) or record
    return record


@pytest.mark.parametrize(
    "events, readable",
    [
        ([], True),
        ([(StorageKind.STORAGE_CLASS_CHANGED, "GLACIER_IR")], True),
        ([(StorageKind.STORAGE_CLASS_CHANGED, "GLACIER")], False),
        ([(StorageKind.STORAGE_CLASS_CHANGED, "DEEP_ARCHIVE")], False),
        ([(StorageKind.ACCESS_TIER_CHANGED, "ARCHIVE_ACCESS")], False),
        (
            [(StorageKind.STORAGE_CLASS_CHANGED, "GLACIER"), (StorageKind.RESTORE_STARTED, "")],
            False,
        ),
        ([(StorageKind.STORAGE_CLASS_CHANGED, "GLACIER"), (StorageKind.RESTORED, "")], True),
        (
            [
                (StorageKind.STORAGE_CLASS_CHANGED, "GLACIER"),
                (StorageKind.RESTORED, ""),
                (StorageKind.RESTORE_ENDED, ""),
            ],
            False,
        ),
    ],
)
def test_what_lies_in_an_archive_tier_waits_outside_the_queue_until_it_is_restored(
    events: list[tuple[StorageKind, str]], readable: bool
) -> None:
    record = told(*events)

    assert is_readable(record) is readable
    assert (due_key(record) is not None) is readable
