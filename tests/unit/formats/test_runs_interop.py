import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.sequencing_runs import InteropFile
from forebay.formats.runs import inspect_interop
from forebay.formats.runs_interop import is_interop_name

TILES_V2 = b"\x02\x0a" + b"".join(
    struct.pack("<HHHf", lane, 1101, code, value)
    for lane in (1, 2)
    for code, value in ((100, 800.0), (102, 1000.0), (103, 900.0), (300, 0.5))
)
TILES_V3 = (
    b"\x03\x0f"
    + struct.pack("<f", 0.5)
    + b"".join(struct.pack("<HIcff", lane, 1101, b"t", 10.0, 9.0) for lane in (1, 4))
    + struct.pack("<HIcIf", 1, 1101, b"r", 1, 0.3)
)
INDEX_V1 = (
    b"\x01"
    + struct.pack("<HHH", 1, 1101, 1)
    + b"".join((b"\x04\0ACGT", struct.pack("<I", 7), b"\x02\0S1", b"\x01\0P"))
)
INDEX_V2 = (
    b"\x02"
    + struct.pack("<HIH", 1, 1101, 1)
    + b"".join((b"\x04\0ACGT", struct.pack("<Q", 7), b"\x02\0S1", b"\x01\0P"))
)
CONTROL = b"\x01" + struct.pack("<HHH", 1, 1101, 1) + b"\x02\0ab\x00\0" + struct.pack("<I", 3)
RECORD = struct.pack("<HHH", 1, 1101, 1)
RECORD_WIDE = struct.pack("<HIH", 1, 1101, 1)


def inspect(metric: str, data: bytes) -> Inspection[InteropFile]:
    return inspect_interop(data, name=f"run/InterOp/{metric}Out.bin")


@pytest.mark.parametrize(
    "metric,data,version,size,records",
    [
        ("TileMetrics", TILES_V2, 2, 10, 8),
        ("TileMetrics", TILES_V3, 3, 15, 3),
        ("ExtractionMetrics", b"\x02\x26" + RECORD + bytes(32), 2, 38, 1),
        ("ExtractionMetrics", b"\x03\x14\x02" + RECORD_WIDE + bytes(12), 3, 20, 1),
        ("ErrorMetrics", b"\x03\x1e" + RECORD + bytes(24), 3, 30, 1),
        ("ErrorMetrics", b"\x04\x0c" + RECORD_WIDE + bytes(4), 4, 12, 1),
        ("ErrorMetrics", b"\x06\x10\x01\0\x02\0AC" + RECORD_WIDE + bytes(8), 6, 16, 1),
        ("CorrectedIntMetrics", b"\x03\x22" + RECORD + bytes(28), 3, 34, 1),
        ("EmpiricalPhasingMetrics", b"\x02\x10" + RECORD_WIDE + bytes(8), 2, 16, 1),
        ("QMetrics", b"\x04\xce" + RECORD + bytes(200), 4, 206, 1),
        ("QMetrics", b"\x06\x0e\x01\x02" + bytes(6) + RECORD + bytes(8), 6, 14, 1),
        ("QMetrics", b"\x06\xce\x00" + RECORD + bytes(200), 6, 206, 1),
        ("QMetrics", b"\x07\x10\x01\x02" + bytes(6) + RECORD_WIDE + bytes(8), 7, 16, 1),
        ("QMetrics2030", b"\x06\x16\x00" + RECORD + bytes(16), 6, 22, 1),
        ("IndexMetrics", INDEX_V1, 1, 0, 1),
        ("IndexMetrics", INDEX_V2, 2, 0, 1),
        ("ControlMetrics", CONTROL, 1, 0, 1),
    ],
)
def test_known_metric_is_counted(
    metric: str, data: bytes, version: int, size: int, records: int
) -> None:
    inspection = inspect(metric, data)
    assert inspection.verdict is Verdict.VALID, inspection.findings
    record = inspection.record
    assert record is not None
    assert (record.metric, record.version) == (metric, version)
    assert (record.record_bytes, record.records) == (size, records)
    assert record.as_metadata()["lanes"][0] == 1


@pytest.mark.parametrize("data,clusters,passing", [(TILES_V2, 2000, 1800), (TILES_V3, 20, 18)])
def test_clusters_are_summed_over_tiles(data: bytes, clusters: int, passing: int) -> None:
    record = inspect("TileMetrics", data).record
    assert record is not None
    assert record.totals == {"tiles": 2, "clusters": clusters, "clusters_pf": passing}


@pytest.mark.parametrize(
    "metric,data",
    [
        ("TileMetrics", TILES_V2),
        ("TileMetrics", TILES_V3),
        ("IndexMetrics", INDEX_V1),
        ("IndexMetrics", INDEX_V2),
        ("ControlMetrics", CONTROL),
        ("QMetrics", b"\x06\x0e\x01\x02" + bytes(6) + RECORD + bytes(8)),
    ],
)
def test_file_cut_within_a_record_is_never_valid(metric: str, data: bytes) -> None:
    whole = inspect(metric, data).record
    assert whole is not None
    for cut in range(len(data)):
        inspection = inspect(metric, data[:cut])
        if inspection.record is not None:
            assert inspection.record.records < whole.records
        else:
            assert inspection.findings[0].code is ReasonCode.INTEROP_MALFORMED


@pytest.mark.parametrize("data", [b"\x02\x0b", b"\x03\x0a\0\0\0\0", b"\x02"])
def test_record_size_of_another_version_is_refused(data: bytes) -> None:
    assert inspect("TileMetrics", data).verdict is Verdict.INVALID


@pytest.mark.parametrize("metric", ["TileMetrics", "BrandNewMetrics"])
def test_unknown_version_or_metric_is_unsupported(metric: str) -> None:
    assert inspect(metric, b"\x63\x0a").verdict is Verdict.UNSUPPORTED


def test_header_alone_and_impossible_lanes_are_warnings() -> None:
    assert inspect("TileMetrics", b"\x02\x0a").verdict is Verdict.WARNING
    far = struct.pack("<HHHf", 999, 1, 102, 1.0)
    assert inspect("TileMetrics", b"\x02\x0a" + far).verdict is Verdict.WARNING


@given(st.sampled_from(["TileMetrics", "QMetrics", "IndexMetrics", "ErrorMetrics"]), st.binary())
def test_any_bytes_are_judged(metric: str, data: bytes) -> None:
    assert inspect(metric, data).verdict in Verdict


def test_names_of_metrics_files_are_recognised() -> None:
    assert is_interop_name("InterOp/QMetricsByLaneOut.bin")
    assert is_interop_name("TileMetrics.bin")
    assert not is_interop_name("InterOp/cache/defaultcharts.json")
