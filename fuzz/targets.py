# ruff: noqa: S101 - assertions are what fuzzing is about
"""What is fuzzed: each target gives bytes to a parser and asserts what must hold for any bytes.

1. No exception leaves a parser, `forebay.errors.Trouble` excepted, which is about the world.
2. There is always a verdict; anything but `valid` has a finding, and only what is accepted has a
   record.
3. The answer does not depend on how the bytes are cut into chunks or ranges.
4. An input of a few KiB takes seconds at most; the process has a memory limit.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from forebay.domain.findings import Verdict
from forebay.domain.inspection import Inspection
from forebay.errors import Trouble
from forebay.formats.bagit import inspect_bag
from forebay.formats.dicom import DicomLimits, inspect_dicom
from forebay.formats.fastq import inspect_fastq
from forebay.formats.hts import inspect_hts
from forebay.formats.hts_index import inspect_index
from forebay.formats.manifests import inspect_checksum_file
from forebay.formats.recognise import FileKind, recognise
from forebay.formats.runs import (
    inspect_interop,
    inspect_run_info,
    inspect_run_parameters,
    inspect_sample_sheet,
)
from forebay.formats.source import BytesSource, stream_source
from fuzz import seeds

MAX_SECONDS: Final = 5.0
_ACCEPTED: Final = frozenset({Verdict.VALID, Verdict.WARNING})
_ENCAPSULATED: Final = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff"

Judge = Callable[[bytes, int], Inspection[Any]]
"""Judges bytes in chunks of a size."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser under test, and what to start from."""

    name: str
    judge: Judge
    seeds: tuple[bytes, ...]

    def check(self, data: bytes) -> None:
        """Assert all that must hold; raises AssertionError, or whatever the parser raises."""
        started = time.monotonic()
        whole = _judged(self.judge, data, 1 << 20)
        if whole is not None:
            _check_answer(whole)
            chunk_bytes = 1 + sum(data) % 97
            _check_equal(whole, _judged(self.judge, data, chunk_bytes), chunk_bytes, data)
        seconds = time.monotonic() - started
        assert seconds < MAX_SECONDS, f"took {seconds:.1f} s"


def _judged(judge: Judge, data: bytes, chunk_bytes: int) -> Inspection[Any] | None:
    try:
        return judge(data, chunk_bytes)
    except Trouble:
        return None


def _check_answer(inspection: Inspection[Any]) -> None:
    assert inspection.verdict in Verdict
    assert inspection.findings or inspection.verdict is Verdict.VALID, "a refusal without reason"
    assert not inspection.findings or inspection.verdict is not Verdict.VALID
    assert (inspection.record is not None) is (inspection.verdict in _ACCEPTED)
    for finding in inspection.findings:
        assert finding.message
        assert finding.as_dict()


def _check_equal(
    one: Inspection[Any], other: Inspection[Any] | None, chunk_bytes: int, data: bytes
) -> None:
    assert other is not None
    if data[128:132] == b"DICM" and _ENCAPSULATED in data:
        # How far fragments are followed depends on what one range brings; what is read does not.
        if one.record is not None and other.record is not None:
            assert one.record == other.record
        return
    told = [replace(each, bytes_read=0, requests=0) for each in (one, other)]
    assert repr(told[0]) == repr(told[1]), f"another answer in chunks of {chunk_bytes}"


def _stream(data: bytes, chunk_bytes: int) -> Iterator[bytes]:
    return stream_source(BytesSource(data), chunk_bytes=chunk_bytes)


def _dicom(data: bytes, chunk_bytes: int) -> Inspection[Any]:
    limits = DicomLimits(
        first_read_bytes=min(chunk_bytes, 64 << 10), max_inflated_bytes=1 << 20, max_elements=50_000
    )
    return inspect_dicom(BytesSource(data), limits=limits)


def _reads(name: str, pack: Callable[[bytes], bytes]) -> Judge:
    return lambda data, chunk_bytes: inspect_fastq(_stream(pack(data), chunk_bytes), name=name)


def _hts(name: str, pack: Callable[[bytes], bytes]) -> Judge:
    return lambda data, chunk_bytes: inspect_hts(_stream(pack(data), chunk_bytes), name=name)


def _as_it_is(data: bytes) -> bytes:
    return data


def _whole(*inspectors: Callable[..., Inspection[Any]], names: Iterable[str]) -> Judge:
    """Judge bytes that are read whole; one more byte at the end chooses the parser and the name."""
    choices = [(inspect, name) for inspect in inspectors for name in names]

    def judge(data: bytes, _: int) -> Inspection[Any]:
        inspect, name = choices[data[-1] % len(choices) if data else 0]
        return inspect(data[:-1], name=name)

    return judge


def _each(bodies: Iterable[bytes], choice: int) -> tuple[bytes, ...]:
    return tuple(body + bytes([choice]) for body in bodies)


def _bag(data: bytes, chunk_bytes: int) -> Inspection[Any]:
    """Judge a bag whose tag files are the parts of the data between lines of `===`."""
    del chunk_bytes
    names = ("bagit.txt", "manifest-md5.txt", "bag-info.txt", "fetch.txt", "tagmanifest-md5.txt")
    parts = dict(zip(names, data.split(b"===\n"), strict=False))
    files = {name: BytesSource(part, name=name) for name, part in parts.items()}
    return inspect_bag(files | {"data/a": BytesSource(b"x")})


def _recognised(data: bytes, chunk_bytes: int) -> Inspection[Any]:
    del chunk_bytes
    kind = recognise("file", data)
    assert kind in FileKind
    return Inspection(Verdict.VALID, kind)


_LISTS: Final = ("x.md5", "SHA256SUMS", "list.txt", "manifest.json", "x.sha512")
_METRICS: Final = (
    "TileMetricsOut.bin",
    "QMetricsOut.bin",
    "ErrorMetricsOut.bin",
    "ExtractionMetricsOut.bin",
    "IndexMetricsOut.bin",
    "CorrectedIntMetricsOut.bin",
)

TARGETS: Final = {
    target.name: target
    for target in (
        Target("dicom", _dicom, tuple(map(seeds.dicom, seeds.DICOM_SYNTAXES))),
        Target("fastq", _reads("s.fastq", _as_it_is), (seeds.READS,)),
        Target("fastq-in-gzip", _reads("s.fastq.gz", seeds.gzipped), (seeds.READS,)),
        Target(
            "gzip",
            _reads("s.fastq.gz", _as_it_is),
            (seeds.gzipped(seeds.READS), seeds.bgzf(seeds.READS, block=40)),
        ),
        Target("manifests", _whole(inspect_checksum_file, names=_LISTS), _each(seeds.MANIFESTS, 2)),
        Target("bagit", _bag, (b"===\n".join(seeds.BAG), b"===\n".join(seeds.BAG[:2]))),
        Target(
            "runs-xml",
            _whole(inspect_run_info, inspect_run_parameters, names=("x.xml",)),
            (seeds.RUN_INFO + b"\0", seeds.RUN_PARAMETERS + b"\1"),
        ),
        Target(
            "runs-sheets", _whole(inspect_sample_sheet, names=("x.csv",)), _each(seeds.SHEETS, 0)
        ),
        Target(
            "runs-interop", _whole(inspect_interop, names=_METRICS), _each([seeds.TILE_METRICS], 0)
        ),
        Target("sam", _hts("s.sam", _as_it_is), ((seeds.LINES + seeds.ALIGNED * 2).encode(),)),
        Target("vcf", _hts("s.vcf", _as_it_is), (seeds.VARIANTS.encode(),)),
        Target("bam", _hts("s.bam", seeds.bgzf), (seeds.bam(),)),
        Target("bcf", _hts("s.bcf", seeds.bgzf), (seeds.bcf(),)),
        Target("cram", _hts("s.cram", _as_it_is), (seeds.cram(seeds.cram_blocks()),)),
        Target("cram-blocks", _hts("s.cram", seeds.cram), (seeds.cram_blocks(),)),
        Target(
            "hts-index",
            _whole(inspect_index, names=("s.bam.bai", "s.cram.crai")),
            (seeds.bai() + b"\0", seeds.CRAI + b"\1"),
        ),
        Target(
            "recognise",
            _recognised,
            (seeds.READS, seeds.gzipped(seeds.VARIANTS.encode()), *seeds.MANIFESTS),
        ),
    )
}
