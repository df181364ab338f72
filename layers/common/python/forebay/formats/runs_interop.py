"""Binary metrics files of a run's `InterOp` folder: version, shape and counts.

Layouts: Illumina InterOp library, "Binary file formats". All numbers are little-endian; byte 0 is
the version, byte 1 the size of a record, except where records vary in length.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.sequencing_runs import InteropFile
from forebay.formats.runs_verdicts import accepted, refused

__all__ = ["inspect_interop", "is_interop_name"]

_NAME: Final = re.compile(r"(?:.*/)?(?P<metric>[A-Za-z0-9]+Metrics[A-Za-z0-9]*?)(?:Out)?\.bin")
_MAX_LANE: Final = 16
_ALL_QUALITIES: Final = 50


@dataclass(frozen=True, slots=True)
class _Layout:
    """One version of one file.

    `record_bytes` is 0 where it follows from the header (`header`). `header` names how: `plain`
    is version and size alone, `bins` adds quality bins, `histogram` the same and a count for each,
    `channels` a channel count, `adapters` a list of adapters, `density` a float, `walk` means
    records of varying length and no size byte.
    """

    record_bytes: int = 0
    header: str = "plain"
    tile_bytes: int = 2


def _fixed(*sizes: tuple[int, int, int]) -> dict[int, _Layout]:
    return {version: _Layout(size, tile_bytes=tile) for version, size, tile in sizes}


_QUALITY: Final[Mapping[int, _Layout]] = {
    4: _Layout(206),
    5: _Layout(206, "bins"),
    6: _Layout(0, "histogram"),
    7: _Layout(0, "histogram", 4),
}
_COLLAPSED: Final[Mapping[int, _Layout]] = {
    **{version: _Layout(0) for version in (2, 3, 4)},
    5: _Layout(0, "bins"),
    6: _Layout(0, "bins"),
}
_LAYOUTS: Final[Mapping[str, Mapping[int, _Layout]]] = {
    "TileMetrics": {2: _Layout(10), 3: _Layout(15, "density", 4)},
    "ExtractionMetrics": {2: _Layout(38), 3: _Layout(0, "channels", 4)},
    "ErrorMetrics": {
        **_fixed((3, 30, 2), (4, 12, 4), (5, 16, 4)),
        6: _Layout(0, "adapters", 4),
    },
    "CorrectedIntMetrics": _fixed((2, 48, 2), (3, 34, 2), (4, 28, 4)),
    "EmpiricalPhasingMetrics": _fixed((1, 14, 2), (2, 16, 4)),
    "QMetrics": _QUALITY,
    "QMetricsByLane": _QUALITY,
    "QMetrics2030": _COLLAPSED,
    "IndexMetrics": {1: _Layout(0, "walk"), 2: _Layout(0, "walk", 4)},
    "ControlMetrics": {1: _Layout(0, "walk")},
}


class _Broken(Exception):
    def __init__(self, what: str, *, offset: int, expected: str, found: str = "") -> None:
        super().__init__(what)
        self.offset = offset
        self.expected = expected
        self.found = found


def is_interop_name(name: str) -> bool:
    """Tell whether a file is named as a binary metrics file."""
    return _NAME.fullmatch(name) is not None


def inspect_interop(data: bytes, *, name: str) -> Inspection[InteropFile]:
    """Inspect a binary metrics file; `name` says which metric it is.

    Refused: an empty file, a record size that the version has not, a last record cut off.
    Unsupported: a metric or version that Forebay does not know.
    """
    match = _NAME.fullmatch(name)
    layouts = _LAYOUTS.get(match["metric"]) if match else None
    if not data:
        return refused(data, _finding(_Broken("is empty", offset=0, expected="a header")))
    layout = layouts.get(data[0]) if layouts else None
    if match is None or layout is None:
        return refused(data, _unknown(data[0]), verdict=Verdict.UNSUPPORTED)
    try:
        record = _read(match["metric"], layout, data)
    except _Broken as broken:
        return refused(data, _finding(broken))
    return accepted(data, record, tuple(_oddities(record)))


def _read(metric: str, layout: _Layout, data: bytes) -> InteropFile:
    if layout.header == "walk":
        lanes = list(_walk(metric, layout, data))
        return InteropFile(metric, data[0], 0, len(lanes), tuple(sorted(set(lanes))))
    start, size = _header(layout, data)
    body = memoryview(data)[start:]
    if len(body) % size:
        whole = start + len(body) // size * size
        raise _Broken(
            "ends within a record; it was cut off or is still being written",
            offset=whole,
            expected=f"{size} bytes",
            found=f"{len(data) - whole} bytes",
        )
    lanes = sorted({lane for (lane,) in struct.iter_unpack(f"<H{size - 2}x", body)})
    totals = _tile_totals(data[0], body) if metric == "TileMetrics" else {}
    return InteropFile(metric, data[0], size, len(body) // size, tuple(lanes), totals)


def _header(layout: _Layout, data: bytes) -> tuple[int, int]:
    """Return where records start and how long each is."""
    size = _byte(data, 1)
    start, expected = 2, layout.record_bytes or size
    if layout.header in ("bins", "histogram"):
        has_bins = _byte(data, 2) != 0
        bins = _byte(data, 3) if has_bins else 0
        start = 4 + 3 * bins if has_bins else 3
        if layout.header == "histogram":
            expected = 4 + layout.tile_bytes + 4 * (bins or _ALL_QUALITIES)
    elif layout.header == "channels":
        start, expected = 3, 8 + 6 * _byte(data, 2)
    elif layout.header == "density":
        start = 6
    elif layout.header == "adapters":
        adapters, length = _unpack("<HH", data, 2)
        start, expected = 6 + adapters * length, 12 + 4 * adapters
    least = 4 + layout.tile_bytes
    if size != expected or size < least or len(data) < start:
        raise _Broken(
            "has a header that its version does not allow",
            offset=1,
            expected=f"records of {max(expected, least)} bytes",
            found=f"{size} bytes",
        )
    return start, size


def _walk(metric: str, layout: _Layout, data: bytes) -> Iterator[int]:
    """Yield the lane of each record of varying length."""
    offset = 1
    fixed = 2 + layout.tile_bytes + 2
    while offset < len(data):
        (lane,) = _unpack("<H", data, offset)
        end = offset + fixed
        if metric == "ControlMetrics":
            end = _after_text(data, _after_text(data, end)) + 4
        else:
            end = _after_text(data, end) + (4 if layout.tile_bytes == 2 else 8)
            end = _after_text(data, _after_text(data, end))
        if end > len(data):
            raise _cut(offset)
        yield lane
        offset = end


def _after_text(data: bytes, offset: int) -> int:
    (length,) = _unpack("<H", data, offset)
    return offset + 2 + int(length)


def _unpack(form: str, data: bytes, offset: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, offset)
    except struct.error as error:
        raise _cut(offset) from error


def _byte(data: bytes, offset: int) -> int:
    if offset >= len(data):
        raise _cut(offset)
    return data[offset]


def _cut(offset: int) -> _Broken:
    return _Broken(
        "ends within a record; it was cut off or is still being written",
        offset=offset,
        expected="a whole record",
    )


_CLUSTERS_CODE: Final = 102
_CLUSTERS_PF_CODE: Final = 103


def _tile_totals(version: int, body: memoryview) -> dict[str, float]:
    """Return clusters and clusters passing filter, over all tiles."""
    clusters: dict[tuple[int, int], float] = {}
    passing: dict[tuple[int, int], float] = {}
    if version == 2:
        for lane, tile, code, value in struct.iter_unpack("<HHHf", body):
            if code == _CLUSTERS_CODE:
                clusters[lane, tile] = value
            elif code == _CLUSTERS_PF_CODE:
                passing[lane, tile] = value
    else:
        for lane, tile, code, count, count_pf in struct.iter_unpack("<HIcff", body):
            if code == b"t":
                clusters[lane, tile], passing[lane, tile] = count, count_pf
    return {
        "tiles": len(clusters),
        "clusters": sum(clusters.values()),
        "clusters_pf": sum(passing.values()),
    }


def _oddities(record: InteropFile) -> Iterator[Finding]:
    if not record.records:
        yield _odd("holds no records", expected="one or more")
    if any(not 1 <= lane <= _MAX_LANE for lane in record.lanes):
        yield _odd("speaks of lanes that no flow cell has", expected=f"1 to {_MAX_LANE}")


def _odd(what: str, *, expected: str) -> Finding:
    return Finding(
        code=ReasonCode.RUN_VALUE_SUSPECT,
        message=f"The InterOp file {what}.",
        owner=Owner.INSTRUMENT,
        expected=expected,
    )


def _finding(broken: _Broken) -> Finding:
    return Finding(
        code=ReasonCode.INTEROP_MALFORMED,
        message=f"The InterOp file {broken}; copy it again when the run is complete.",
        owner=Owner.SENDER,
        position=str(broken.offset),
        expected=broken.expected,
        found=broken.found,
    )


def _unknown(version: int) -> Finding:
    return Finding(
        code=ReasonCode.UNSUPPORTED_FORMAT,
        message="The InterOp file is of a metric or version that Forebay does not know, so it was"
        " not checked.",
        owner=Owner.PLATFORM,
        expected="a documented metric and version",
        found=f"version {version}",
    )
