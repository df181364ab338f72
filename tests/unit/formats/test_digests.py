import hashlib
import sys
import threading
import time
import zlib
from typing import Never

import pytest

from forebay.domain.integrity import CRYPTOGRAPHIC, Algorithm, Witness
from forebay.formats import digests
from forebay.formats.digests import MultiDigest, WorkerThread, can_compute, digest_chunks

DATA = b"forebay" * 50_000


@pytest.mark.parametrize("chunk_bytes", [1000, 65_536, 100_000, len(DATA)])
def test_digests_are_those_of_hashlib_whatever_the_chunk_size(chunk_bytes: int) -> None:
    chunks = (DATA[at : at + chunk_bytes] for at in range(0, len(DATA), chunk_bytes))
    found, size_bytes = digest_chunks(
        chunks,
        (*CRYPTOGRAPHIC, Algorithm.CRC32),
    )
    assert size_bytes == len(DATA)
    assert {each.witness for each in found} == {Witness.FOREBAY}
    values = {each.algorithm: each.value for each in found}
    for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512"):
        assert values[Algorithm(name)] == hashlib.new(name, DATA).hexdigest()
    assert values[Algorithm.CRC32] == f"{zlib.crc32(DATA):08x}"


def test_empty_stream_has_the_digest_of_nothing() -> None:
    found, size_bytes = digest_chunks([], [Algorithm.MD5])
    assert size_bytes == 0
    assert found[0].value == "d41d8cd98f00b204e9800998ecf8427e"


# check values of the CRC catalogue for "123456789"
@pytest.mark.parametrize(
    "algorithm,value",
    [(Algorithm.CRC32C, "e3069283"), (Algorithm.CRC64NVME, "ae8b14860a799888")],
)
def test_crt_checksums_have_their_published_check_value(algorithm: Algorithm, value: str) -> None:
    pytest.importorskip("awscrt.checksums", reason="awscrt is optional")
    found, _ = digest_chunks([b"1234", b"56789"], [algorithm])
    assert found[0].value == value


def test_crt_checksums_are_left_out_where_awscrt_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "awscrt.checksums", None)
    digest = MultiDigest([Algorithm.MD5, Algorithm.CRC64NVME])
    assert [each.algorithm for each in digest.digests()] == [Algorithm.MD5]
    assert not can_compute(Algorithm.CRC64NVME)
    assert can_compute(Algorithm.SHA512)


def test_failing_update_is_raised_when_the_thread_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digests, "_processors", lambda: 2)

    def fail(data: bytes) -> Never:
        raise ValueError("no")

    thread = WorkerThread("test", queued=1)
    for _ in range(5):
        thread.submit(fail, b"", size_bytes=digests._WORTH_A_THREAD_BYTES)
    with pytest.raises(ValueError, match="no"):
        thread.close()


@pytest.mark.parametrize("processors,is_started", [(1, False), (2, True)])
def test_thread_is_started_only_where_it_has_a_processor(
    processors: int, is_started: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_processors", lambda: processors)
    names: list[str] = []
    with WorkerThread("test") as thread:
        for size_bytes in (1, digests._WORTH_A_THREAD_BYTES):
            thread.submit(
                lambda _: names.append(threading.current_thread().name), b"", size_bytes=size_bytes
            )
    assert names == ["MainThread", "test" if is_started else "MainThread"]


@pytest.mark.parametrize(
    "algorithms", [[Algorithm.SHA256], [Algorithm.CRC32, Algorithm.MD5], list(Algorithm)]
)
def test_digests_do_not_depend_on_how_they_are_shared_among_threads(
    algorithms: list[Algorithm],
) -> None:
    together = MultiDigest(algorithms)
    together.update(DATA)
    found, size_bytes = digest_chunks([DATA], algorithms)
    assert found == together.digests()
    assert size_bytes == len(DATA)


@pytest.mark.parametrize("worker_seconds", [0, 0.002])
def test_shared_calls_are_done_in_order_by_whoever_has_time(worker_seconds: float) -> None:
    done: list[tuple[int, str]] = []
    with WorkerThread("test", processors=1) as worker:
        for number in range(50):
            worker.submit(lambda _: time.sleep(worker_seconds), None, size_bytes=1 << 20)
            worker.share(
                lambda n: done.append((n, threading.current_thread().name)), number, size_bytes=1
            )
    assert [number for number, _ in done] == list(range(50))
    assert ("MainThread" in {name for _, name in done}) or not worker_seconds


def test_failing_shared_call_is_raised_by_whoever_shared_it() -> None:
    def fail(_: object) -> None:
        raise ValueError("broken")

    def share_many() -> None:
        with WorkerThread("test", processors=1) as worker:
            worker.submit(lambda _: None, None, size_bytes=1 << 20)
            for _ in range(20):
                worker.share(fail, None, size_bytes=1)

    with pytest.raises(ValueError, match="broken"):
        share_many()
