"""Rules of VCF 4.4 and later for structural variants and phase sets (VCFv4.4 §1.6.2 and §3)."""

import math
import re
from typing import Final

from forebay.formats.hts_vcf_reserved import Version

__all__ = ["STRUCTURAL_KEYS", "TANDEM_REPEAT", "broken_structural_rule", "check_phase_sets"]

_CLAIMS: Final = frozenset({"D", "J", "DJ", "."})
TANDEM_REPEAT: Final = "<CNV:TR>"
_INTERVALS: Final = ("CIPOS", "CIEND", "CILEN", "CICN")
_QUADRUPLES: Final = ("MEINFO", "METRANS")
STRUCTURAL_KEYS: Final = frozenset({*_INTERVALS, *_QUADRUPLES, "SVCLAIM"})
"""INFO keys without which no rule here applies, tandem repeats aside."""

_Info = dict[str, str]


def broken_structural_rule(alleles: list[str], info: _Info, version: Version) -> str:
    """Return the rule a record's INFO breaks in words, empty when it keeps them all."""
    counts = _broken_counts(info, version)
    if counts or version < (4, 4):
        return counts
    claims = _broken_claims(alleles, info)
    if claims:
        return claims
    return _broken_repeats(info) if TANDEM_REPEAT in alleles else ""


def _values(info: _Info, key: str) -> list[str]:
    return info[key].split(",") if key in info else []


def _broken_counts(info: _Info, version: Version) -> str:
    for key in _INTERVALS:
        values = _values(info, key)
        if values and values != ["."]:
            is_pair = len(values) == 2 or (version >= (4, 4) and len(values) % 2 == 0)
            if not is_pair:
                return f"{key} is not a pair of values"
            if version >= (4, 4) and not _are_intervals(values):
                return f"{key} is not an interval around 0"
    for key in _QUADRUPLES:
        values = _values(info, key)
        if values and values != ["."] and len(values) % 4:
            return f"{key} has not four values"
    return ""


def _are_intervals(values: list[str]) -> bool:
    try:
        lows = [float(value) for value in values[0::2] if value != "."]
        highs = [float(value) for value in values[1::2] if value != "."]
    except ValueError:
        return False
    return all(low <= 0 for low in lows) and all(high >= 0 for high in highs)


def _broken_claims(alleles: list[str], info: _Info) -> str:
    claims = _values(info, "SVCLAIM")
    if not all(claim in _CLAIMS for claim in claims):
        return "SVCLAIM is not D, J or DJ"
    if claims and claims != ["."] and len(claims) != len(alleles):
        return "SVCLAIM has not one value for each ALT allele"
    return ""


def _broken_repeats(info: _Info) -> str:
    units, lengths = _values(info, "RUS"), _values(info, "RUL")
    if not any(value != "." for value in (*units, *lengths)):
        return "a tandem repeat has neither RUS nor RUL"
    repeats = 1
    if "RN" in info:
        repeats = sum(int(n) for n in _values(info, "RN") if re.fullmatch("[0-9]{1,9}", n))
    for key, each in (("RUS", 1), ("RUL", 1), ("RUC", 1), ("RB", 1), ("CIRUC", 2), ("CIRB", 2)):
        values = _values(info, key)
        if values and len(values) != each * repeats:
            return f"{key} has not {each} value(s) for each repeat"
    if units and lengths and not all(map(_has_length, units, lengths)):
        return "RUL is not the length of RUS"
    for key in ("CIRUC", "CIRB"):
        if not _are_intervals(_values(info, key)):
            return f"{key} is not an interval around 0"
    return _broken_unit_bases(info)


def _has_length(unit: str, length: str) -> bool:
    return "." in (unit, length) or str(len(unit)) == length


def _broken_unit_bases(info: _Info) -> str:
    """RUB lists the bases of every single unit, so the units must be whole and counted."""
    if "RUB" not in info:
        return ""
    try:
        units = [float(count) for count in _values(info, "RUC") if count != "."]
    except ValueError:
        return "RUC is not a list of numbers"
    if not units or not all(math.isfinite(count) and count.is_integer() for count in units):
        return "RUB is given, but RUC is not a list of whole numbers"
    if len(_values(info, "RUB")) != sum(units):
        return "RUB has not as many values as RUC has units"
    return ""


def check_phase_sets(genotype: str, sets: list[str], orders: list[str]) -> str:
    """Return the rule broken by the phase sets of a sample, empty when none is."""
    separators = [character for character in genotype if character in "/|"]
    alleles = len(genotype.replace("|", "/").removeprefix("/").split("/"))
    if len(separators) < alleles:
        # How the first allele is phased is not written and follows from the others.
        separators.insert(0, "")
    for separator, phase_set in zip(separators, sets, strict=False):
        if separator == "/" and phase_set != ".":
            return "an unphased allele has a phase set (PSL)"
    for phase_set, order in zip(sets, orders, strict=False):
        if phase_set == "." and order != ".":
            return "an allele without a phase set has an order in it (PSO)"
    return ""
