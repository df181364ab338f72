import pytest

from forebay.formats import read_names
from forebay.formats.read_names import NameCensus, Origin, parse_read_name

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
    (b"@GNKOX6D02HDKW4", ("454", "", "GNKOX6D", "", "2")),
    (b"@FSRRS4401BE7HA/1", ("454", "", "FSRRS44", "", "1")),
    (b"@FSRRS4416BE7HA", ("454", "", "FSRRS44", "", "16")),
    (b"@000050_1712_0767", ("454", "", "", "", "")),
    (b"@004777-X0003-1298361092", ("ultima", "", "004777", "", "")),
    (b"@004733_1-X0003-0072646116_TCGTCACTCGAAAACT", ("ultima", "", "004733", "", "")),
    (b"@30020185_2-UGAv3-182-1989782468", ("ultima", "", "30020185", "", "")),
    (b"@012345678_1-Z0123-0123456789", ("ultima", "", "012345678", "", "")),
    (
        b"@V222:23526:::1:1:7:9831:222:1:443:N:0.99:Z0199:",
        ("ultima", "V222", "23526", "", ""),
    ),
    # Not a region of a plate, and not a well; a number too short.
    (b"@GNKOX6D17HDKW4", ("unknown", "", "", "", "")),
    (b"@GNKOX6D02ZDKW4", ("unknown", "", "", "", "")),
    (b"@004777-X0003-129836109", ("unknown", "", "", "", "")),
    (b"@r1", ("unknown", "", "", "", "")),
]


@pytest.mark.parametrize("name,expected", NAMES)
def test_name_tells_its_origin(name: bytes, expected: tuple[str, ...]) -> None:
    origin = parse_read_name(name)
    found = (origin.dialect, origin.instrument, origin.run, origin.flow_cell, origin.lane)
    assert found == expected
    assert name.startswith(origin.prefix)


def census_of(names: list[bytes]) -> NameCensus:
    """Examine names as the reading does: as long as it wants more, those without a known prefix."""
    census = NameCensus()
    prefixes: list[bytes] = []
    for name in names:
        if census.wants_more and not name.startswith(tuple(prefixes)):
            prefixes += filter(None, [census.examine(name)])
    return census


def test_origins_are_listed_in_order_each_once() -> None:
    census = census_of([b"@M1:1:FC:%d:1:%d:1" % (1 + n // 5, n) for n in range(20)])
    assert census.values("lane") == ("1", "2", "3", "4")
    assert [origin.lane for origin in census.origins] == ["1", "2", "3", "4"]


def test_comments_number_mates_only_where_the_dialect_has_it_so() -> None:
    illumina, plain = census_of([b"@M1:1:FC:1:1:1:1"]), census_of([b"@SRR001666.1"])
    assert illumina.read_numbers(0b0100, 0b0010) == ("1", "2")
    assert plain.read_numbers(0b0100, 0b0010) == ("2",)


def test_too_many_origins_are_not_collected() -> None:
    census = census_of([b"@M%d:1:FC:1:1:1:1" % n for n in range(500)])
    assert census.has_many_origins
    assert len(census.origins) == 64


def test_names_without_scheme_are_examined_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_names, "_MAX_EXAMINED", 10)
    names = [b"@a%d" % n for n in range(15)]
    late = b"@M1:1:FC:1:1:1:1"
    assert census_of([*names[:9], late]).values("dialect") == ("illumina-1.8", "unknown")
    assert census_of([*names, late]).values("dialect") == ("unknown",)


def test_origin_of_unknown_names_is_one() -> None:
    assert list(census_of([b"@a", b"@b"]).origins) == [Origin("unknown")]
