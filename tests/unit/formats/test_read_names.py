import numpy as np
import pytest

from forebay.formats import read_names
from forebay.formats.read_names import HeadLines, NameCensus, Origin, parse_read_name

NAMES = [
    (b"@A00689:69:HLYWYDSXX:1:1101:1000:1000", ("illumina-1.8", "A00689", "69", "HLYWYDSXX", "1")),
    (
        b"@A00689:69:HLYWYDSXX:1:1101:1000:1000:ACGTAAT+CCGTTAG",
        ("illumina-1.8", "A00689", "69", "HLYWYDSXX", "1"),
    ),
    (
        b"@M04034:43:000000000-L6NVV:1:1101:15589:1332",
        ("illumina-1.8", "M04034", "43", "000000000-L6NVV", "1"),
    ),
    (
        b"@AV244103:NT1234567E:2345:1:10102:0001:0002",
        ("element", "AV244103", "NT1234567E", "2345", "1"),
    ),
    (b"@HWUSI-EAS100R:6:73:941:1973#0/1", ("illumina-1.7", "HWUSI-EAS100R", "", "", "6")),
    (b"@SRR001666.1", ("sra", "", "SRR001666", "", "")),
    (b"@V300055555L1C001R0010000000/1", ("mgi", "", "", "V300055555", "1")),
    (b"@m64011_190830_220126/1/ccs", ("pacbio", "m64011", "m64011_190830_220126", "", "")),
    (
        b"@m64011_190830_220126/4194370/0_16432",
        ("pacbio", "m64011", "m64011_190830_220126", "", ""),
    ),
    (b"@8c1b8c0e-02b8-4e3b-9d3b-0c4b7d7a6f10", ("nanopore", "", "", "", "")),
    (b"@5XJ2P:00012:00345", ("ion-torrent", "", "5XJ2P", "", "")),
    (b"@r1", ("unknown", "", "", "", "")),
]


@pytest.mark.parametrize("name,expected", NAMES)
def test_name_tells_its_origin(name: bytes, expected: tuple[str, ...]) -> None:
    origin = parse_read_name(name)
    found = (origin.dialect, origin.instrument, origin.run, origin.flow_cell, origin.lane)
    assert found == expected
    assert name.startswith(origin.prefix)


def head_lines(names: list[bytes]) -> HeadLines:
    text = np.frombuffer(b"\n".join(names) + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate(([0], ends[:-1] + 1))
    return HeadLines(text, starts, ends - starts)


def census_of(names: list[bytes], *, batch: int) -> NameCensus:
    census = NameCensus()
    for at in range(0, len(names), batch):
        assert census.take(head_lines(names[at : at + batch]))
    return census


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 100])
def test_batches_do_not_change_the_census(batch: int) -> None:
    names = [b"@M1:1:FC:%d:1:%d:1 1:N:0:%d" % (1 + n // 5, n, n % 3) for n in range(20)]
    census, whole = census_of(names, batch=batch), census_of(names, batch=1000)
    assert census.digest() == whole.digest()
    assert census.values("lane") == ("1", "2", "3", "4")
    assert census.read_numbers == whole.read_numbers == {"1"}
    assert list(census.origins) == list(whole.origins)


@pytest.mark.parametrize(
    "first,second",
    [
        (b"@r1/1", b"@r1/2"),
        (b"@r1 1:N:0:A", b"@r1 2:N:0:A"),
        (b"@r1\tCO:1", b"@r1"),
        (b"@r1/1 x y", b"@r1/2"),
    ],
)
def test_mate_suffix_and_comment_do_not_change_the_names_digest(
    first: bytes, second: bytes
) -> None:
    assert census_of([first], batch=1).digest() == census_of([second], batch=1).digest()


def test_too_many_origins_are_not_collected() -> None:
    census = census_of([b"@M%d:1:FC:1:1:1:1" % n for n in range(500)], batch=50)
    assert census.has_many_origins
    assert len(census.origins) == 64


def test_names_without_scheme_are_examined_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_names, "_MAX_EXAMINED", 10)
    names = [b"@a%d" % n for n in range(15)]
    late = b"@M1:1:FC:1:1:1:1"
    assert census_of([*names[:9], late], batch=4).values("dialect") == ("illumina-1.8", "unknown")
    assert census_of([*names, late], batch=4).values("dialect") == ("unknown",)


def test_origin_of_unknown_names_is_one() -> None:
    assert list(census_of([b"@a", b"@b"], batch=1).origins) == [Origin("unknown")]
