"""run_read_qc: both mates in, the same two reports out however often."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from forebay.domain.objects import Location
from forebay.domain.read_qc import MateQuality, PairQuality
from forebay.errors import MessageError, ObjectMissingError
from forebay.names import Zone
from forebay.services.run_read_qc import RunReadQc, read_request
from tests.unit.fakes import BUCKETS, FakeStore, location_of

LANDING = BUCKETS[Zone.LANDING_GENOMICS]


def quality(reads: int) -> MateQuality:
    return MateQuality(
        reads=reads,
        bases=reads * 2,
        min_length=2,
        max_length=2,
        q20_fraction=1.0,
        q30_fraction=0.5,
        gc_fraction=0.4,
        cycles_measured=2,
        quality_lower_quartile=(30, 20),
        quality_median=(35, 30),
        quality_upper_quartile=(40, 38),
        base_fractions=dict.fromkeys("ACGTN", (0.2, 0.2)),
        gc_histogram=(0,) * 50 + (reads,) + (0,) * 50,
        quality_histogram=(0,) * 35 + (reads,),
    )


def measure(r1: Iterable[bytes], r2: Iterable[bytes]) -> PairQuality:
    """Measure the stand-in for reads: its length."""
    first, second = (sum(len(chunk) for chunk in chunks) for chunks in (r1, r2))
    return PairQuality(quality(first), quality(second), pairs=first, both_q30_fraction=0.5)


def request(store: FakeStore, **fields: Any) -> dict[str, Any]:
    reads = {}
    for mate in ("R1", "R2"):
        at = location_of(store.upload(BUCKETS[Zone.GENOMICS], f"reads/{mate}", b"ACGT"))
        reads[mate] = {
            "object_id": mate,
            "bucket": at.bucket,
            "key": at.key,
            "version_id": at.version_id,
            "sha256": "0" * 64,
        }
    facts = {"run_id": "run-1", "pipeline": "read_qc", "version": "1", "site": "site-a"}
    return {**facts, "sample": "NA1", "reads": reads, **fields}


def test_reports_are_handed_in_under_the_runs_prefix() -> None:
    store = FakeStore()

    answer = RunReadQc(store, measure, LANDING)(read_request(request(store)))

    keys = ["pipelines/run-1/NA1.read_qc.json", "pipelines/run-1/NA1.read_qc.html"]
    assert [output["key"] for output in answer["outputs"]] == keys
    report = json.loads(store.body(Location(LANDING, keys[0])))
    assert (report["pairs"], report["sample"], report["run_id"]) == (4, "NA1", "run-1")
    assert report["inputs"]["R2"] == {"object_id": "R2", "sha256": "0" * 64}


def test_equal_inputs_give_equal_bytes() -> None:
    store = FakeStore()
    run, asked = RunReadQc(store, measure, LANDING), read_request(request(store))

    run(asked)
    run(asked)

    for key in store.keys(LANDING):
        bodies = {version.body for version in store.versions[LANDING, key].values()}
        assert len(bodies) == 1


def test_report_page_escapes_what_senders_named() -> None:
    store = FakeStore()
    asked = read_request(request(store, sample="<script>alert(1)</script>"))

    RunReadQc(store, measure, LANDING)(asked)

    (page,) = [store.body(Location(LANDING, k)) for k in store.keys(LANDING) if "html" in k]
    assert b"<script>" not in page
    assert b"&lt;script&gt;" in page


def test_input_that_is_gone_is_trouble_and_nothing_is_handed_in() -> None:
    store = FakeStore()
    asked = request(store)
    store.expire(Location(asked["reads"]["R1"]["bucket"], asked["reads"]["R1"]["key"]))

    with pytest.raises(ObjectMissingError):
        RunReadQc(store, measure, LANDING)(read_request(asked))

    assert not store.keys(LANDING)


@pytest.mark.parametrize("missing", ["run_id", "sample", "reads"])
def test_request_that_lacks_something_is_a_message_error(missing: str) -> None:
    asked = request(FakeStore())
    del asked[missing]

    with pytest.raises(MessageError, match=missing):
        read_request(asked)


def test_request_without_a_mate_is_a_message_error() -> None:
    asked = request(FakeStore())
    del asked["reads"]["R2"]

    with pytest.raises(MessageError, match="R2"):
        read_request(asked)
