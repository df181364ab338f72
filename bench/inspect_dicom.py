"""DICOM inspection: time per core against pydicom for equal values, and what is read of a file.

Time: the acceptance corpus' valid files where it is present, else pydicom's own test files; both
sides from memory, in turn, one thread; the ratio is of the medians over all pairs. pydicom reads
the same attributes with `specific_tags` and converts each, since values are what is wanted; the
time without conversion stands beside it. What pydicom cannot read, or converts otherwise, is
counted and named, and left out of both sides.

Reads: a request is one call of `read_range`, as it is one GET in the cloud. The attributes come
from the first 64 KiB when the last of them, by pydicom's own offsets, ends there. The judgement
may need one more request: compressed pixel data must be seen to end, or a cut would pass for whole.
Where that request lies is not known before the first, and S3 takes one range per request.
"""

import csv
import io
import logging
import statistics
import struct
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pydicom
from pydicom.data import get_testdata_files
from pydicom.datadict import keyword_for_tag
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from forebay.domain.findings import Verdict
from forebay.formats.dicom import inspect_dicom
from forebay.formats.dicom_values import ATTRIBUTES, IDENTITY, SUBJECT
from forebay.formats.source import BytesSource

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
PAIRS: Final = 7
FIRST_RANGE_BYTES: Final = 64 << 10
VIRTUAL_BYTES: Final = 1 << 30
TAGS: Final = {
    **{keyword: tag for keyword, (tag, _) in (*ATTRIBUTES.items(), *SUBJECT.items())},
    **IDENTITY,
}


@dataclass(slots=True)
class CountingSource:
    """Bytes with what was asked of them; `head` and `tail` may leave a hole of zeros between."""

    head: bytes
    tail: bytes = b""
    size_bytes: int = 0
    name: str = "bench"
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.size_bytes = self.size_bytes or len(self.head) + len(self.tail)

    def read_range(self, start: int, length: int) -> bytes:
        size = self.size_bytes
        end = min(start + length, size)
        self.ranges.append((start, end - start))
        hole_end = size - len(self.tail)
        hole = bytes(max(0, min(end, hole_end) - max(start, len(self.head))))
        tail = self.tail[max(0, start - hole_end) : max(0, end - hole_end)]
        return self.head[start:end] + hole + tail


def measure() -> dict[str, Any]:
    """Return the ratio of times, the share of single requests, and the bytes of a large file."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    files = _files()
    equal = {name: data for name, data in files.items() if _is_equal(name, data)}
    print(f"  {len(equal)} of {len(files)} files, {sum(map(len, equal.values())):,} bytes")
    return {
        "files": len(equal),
        "left_out": sorted(set(files) - set(equal)),
        "time": _times(equal),
        "reads": _reads(files),
        "large_multi_frame": _large(),
    }


def _files() -> dict[str, bytes]:
    truth = CORPUS / "TRUTH_dicom.csv"
    if truth.exists():
        with truth.open(newline="") as file:
            paths = [
                CORPUS / row["file"] for row in csv.DictReader(file) if row["class"] == "valid"
            ]
    else:
        paths = [Path(path) for path in get_testdata_files("*.dcm")]
    files = {path.name: path.read_bytes() for path in paths}
    return {
        name: data
        for name, data in files.items()
        if inspect_dicom(BytesSource(data)).verdict in (Verdict.VALID, Verdict.WARNING)
    }


def _ours(data: bytes) -> dict[str, Any]:
    record = inspect_dicom(BytesSource(data)).record
    assert record is not None
    return record.as_metadata() | dict(record.subject)


def _theirs(data: bytes) -> dict[str, Any]:
    dataset = _parsed(data)
    return {keyword: dataset.get(keyword) for keyword in TAGS}


def _parsed(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(
        io.BytesIO(data), stop_before_pixels=True, specific_tags=list(TAGS.values())
    )


def _is_equal(name: str, data: bytes) -> bool:
    try:
        theirs = {keyword: _plain(value) for keyword, value in _theirs(data).items()}
    except Exception as problem:  # noqa: BLE001 - whatever pydicom raises, it has no values
        print(f"  left out: {name}: pydicom raises {type(problem).__name__}")
        return False
    ours = {keyword: _plain(value) for keyword, value in _ours(data).items()}
    differing = [keyword for keyword in TAGS if ours.get(keyword, "") != theirs[keyword]]
    if differing:
        print(f"  left out: {name}: other {', '.join(differing)}")
    return not differing


def _plain(value: Any) -> Any:
    """Return a value in the form both sides share: numbers, text without padding, no empty ones."""
    if isinstance(value, (list, MultiValue)):
        values = [_plain(each) for each in value]
        return values if any(each != "" for each in values) else ""
    if value is None:
        return ""
    if isinstance(value, (int, float)) or hasattr(value, "as_tuple"):
        return float(value)
    return str(value).strip(" \0")


def _times(files: dict[str, bytes]) -> dict[str, float]:
    sides: dict[str, Callable[[bytes], object]] = {
        "forebay": lambda data: inspect_dicom(BytesSource(data)),
        "pydicom": _theirs,
        "pydicom, values not converted": _parsed,
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    per_file: dict[str, list[float]] = {name: [] for name in files}
    for turn in range(PAIRS + 1):
        took = {side: _seconds(call, files.values()) for side, call in sides.items()}
        # The first turn fills caches.
        if turn:
            for side in sides:
                seconds[side].append(sum(took[side]))
            for name, ours, theirs in zip(files, took["forebay"], took["pydicom"], strict=True):
                per_file[name].append(theirs / ours)
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    for side, value in medians.items():
        print(f"  {side:<32}{1e6 * value / len(files):>8.0f} µs per file")
    of_files = statistics.median(statistics.median(ratios) for ratios in per_file.values())
    ratio = medians["pydicom"] / medians["forebay"]
    bare = medians["pydicom, values not converted"] / medians["forebay"]
    print(f"  pydicom / forebay: {ratio:.2f} over all, {of_files:.2f} for the median file (bar 5)")
    return {
        **{f"{side}_s": round(value, 5) for side, value in medians.items()},
        "ratio": round(ratio, 2),
        "ratio_median_file": round(of_files, 2),
        "ratio_not_converted": round(bare, 2),
        "pairs": PAIRS,
    }


def _seconds(call: Callable[[bytes], object], bodies: Iterable[bytes]) -> list[float]:
    taken = []
    for body in bodies:
        started = time.process_time()
        call(body)
        taken.append(time.process_time() - started)
    return taken


def _reads(files: dict[str, bytes]) -> dict[str, Any]:
    requests: Counter[int] = Counter()
    sizes, later_sizes = [], []
    for data in files.values():
        source = CountingSource(data)
        inspect_dicom(source)
        first, *later = (length for _, length in source.ranges)
        requests[1 + len(later)] += 1
        sizes.append(first + sum(later))
        later_sizes += [sum(later)] if later else []
    within = sum(_last_attribute_end(data) <= FIRST_RANGE_BYTES for data in files.values())
    count = len(files)
    print(
        f"  identity and attributes out of one 64 KiB range: {within} of {count},"
        f" {within / count:.1%} (bar 97)"
    )
    for number, times in sorted(requests.items()):
        print(f"  judged to the last byte with {number} request(s): {times}, {times / count:.1%}")
    print(f"  bytes per file: median {statistics.median(sizes):,.0f}, largest {max(sizes):,}")
    later_median = statistics.median(later_sizes) if later_sizes else 0
    print(f"  bytes behind the first range, where any: median {later_median:,.0f}")
    return {
        "attributes_within_first_range": round(within / count, 4),
        "requests": dict(sorted(requests.items())),
        "median_bytes": statistics.median(sizes),
        "median_bytes_behind_first_range": later_median,
    }


def _last_attribute_end(data: bytes) -> int:
    """Return where the last attribute ends, as pydicom has it; deflated files are read whole."""
    dataset = _parsed(data)
    if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        return len(data)
    raw = [dataset.get_item(tag) for tag in TAGS.values() if tag in dataset]
    return max(
        getattr(each, "value_tell", 0) + (getattr(each, "length", 0) or 0) for each in raw if each
    )


def _large() -> dict[str, int]:
    """Inspect a multi-frame object of 1 GiB, native and compressed, of which only ends exist."""
    found: dict[str, int] = {}
    for kind, source in (("native", _native()), ("compressed", _compressed())):
        inspection = inspect_dicom(source)
        assert inspection.record is not None, inspection.findings
        read = sum(length for _, length in source.ranges)
        print(f"  1 GiB, {kind}: {len(source.ranges)} request(s), {read:,} bytes (bar 262,144)")
        found |= {f"{kind}_bytes": read, f"{kind}_requests": len(source.ranges)}
    return found


def _native() -> CountingSource:
    pixels = VIRTUAL_BYTES
    head = _head("1.2.840.10008.1.2.1", frames=pixels // (1024 * 1024 * 2))
    head += struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, pixels)
    return CountingSource(head, size_bytes=len(head) + pixels)


def _compressed() -> CountingSource:
    frames, fragment = 512, VIRTUAL_BYTES // 512
    head = _head("1.2.840.10008.1.2.4.90", frames=frames)
    head += struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    offsets = [number * (fragment + 8) for number in range(frames)]
    head += struct.pack("<HHI", 0xFFFE, 0xE000, 4 * frames) + struct.pack(f"<{frames}I", *offsets)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, fragment)
    tail = item + bytes(fragment) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    size = len(head) + offsets[-1] + len(tail)
    return CountingSource(head + item, tail, size_bytes=size)


def _head(syntax: str, *, frames: int) -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2.1")
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    for tag in IDENTITY.values():
        setattr(dataset, keyword_for_tag(tag), "1.2.3")
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.3.4"
    dataset.Rows = dataset.Columns = 1024
    dataset.BitsAllocated, dataset.SamplesPerPixel = 16, 1
    dataset.NumberOfFrames = frames
    body = io.BytesIO()
    pydicom.dcmwrite(body, dataset, enforce_file_format=True)
    return body.getvalue()
