"""Keys whose number and type the VCF specification reserves (VCFv4.1 to 4.5, §1.4 and §1.6)."""

from typing import Final, NamedTuple

__all__ = [
    "FORMAT_TYPES",
    "INFO_TYPES",
    "Definition",
    "Version",
    "reserved_format",
    "reserved_info",
]

Version = tuple[int, int]

INFO_TYPES: Final = frozenset({"Integer", "Float", "Flag", "Character", "String"})
FORMAT_TYPES: Final = INFO_TYPES - {"Flag"}


class Definition(NamedTuple):
    """How many values a key has (a number, A, R, G, P, … or .), and of which type."""

    number: str
    type: str


def _table(text: str) -> dict[str, Definition]:
    rows = (row.split() for row in text.splitlines() if row.strip())
    return {key: Definition(number, kind) for key, number, kind in rows}


_INFO: Final = _table("""
    AA        1 String
    AC        A Integer
    AF        A Float
    AN        1 Integer
    BQ        1 Float
    CIGAR     A String
    DB        0 Flag
    DP        1 Integer
    END       1 Integer
    H2        0 Flag
    H3        0 Flag
    MQ        1 Float
    MQ0       1 Integer
    NS        1 Integer
    SOMATIC   0 Flag
    VALIDATED 0 Flag
    1000G     0 Flag
""")
_INFO_SINCE_4_3: Final = _table("""
    AD  R Integer
    ADF R Integer
    ADR R Integer
""")
_FORMAT: Final = _table("""
    DP 1 Integer
    EC A Integer
    FT 1 String
    GL G Float
    GP G Float
    GQ 1 Integer
    GT 1 String
    HQ 2 Integer
    MQ 1 Integer
    PL G Integer
    PQ 1 Integer
    PS 1 Integer
""")
_FORMAT_UNTIL_4_2: Final = _table("GLE G String")
_FORMAT_SINCE_4_3: Final = _table("""
    AD  R Integer
    ADF R Integer
    ADR R Integer
    PP  G Integer
""")
_FORMAT_SINCE_4_4: Final = _table("""
    PSL P String
    PSO P Integer
    PSQ P Integer
""")


def reserved_info(version: Version) -> dict[str, Definition]:
    """Return the reserved INFO keys of a version."""
    return _INFO | (_INFO_SINCE_4_3 if version >= (4, 3) else {})


def reserved_format(version: Version) -> dict[str, Definition]:
    """Return the reserved FORMAT keys of a version."""
    added = _FORMAT_SINCE_4_3 if version >= (4, 3) else _FORMAT_UNTIL_4_2
    return _FORMAT | added | (_FORMAT_SINCE_4_4 if version >= (4, 4) else {})
