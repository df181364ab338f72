"""Single values of VCF records: alleles, and what Number and Type ask of values."""

import re
from math import comb
from typing import Final

from forebay.formats.hts_vcf_header import is_symbol

__all__ = ["count_fits", "is_allele", "is_of_type"]

# Bases; the missing one; an overlapping deletion; a single breakend on either side.
_ALLELE: Final = re.compile(r"[ACGTNacgtn]+|\*|\.[ACGTNacgtn]+|[ACGTNacgtn]+\.")
_BREAKEND: Final = re.compile(
    r"(?P<before>[ACGTNacgtn.]*)(?P<way>[\[\]])(?P<mate>[^\s\[\]]+:[0-9]+|<[^\s<>\[\]]+>)(?P=way)"
    r"(?P<after>[ACGTNacgtn.]*)"
)
_FLOAT: Final = re.compile(
    r"[-+]?(?:(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][-+]?[0-9]++)?|inf(?:inity)?|nan)",
    re.IGNORECASE,
)
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")


def is_allele(allele: str) -> bool:
    """Tell whether a text can be an allele in ALT."""
    if _ALLELE.fullmatch(allele):
        return True
    if allele.startswith("<") and allele.endswith(">"):
        return is_symbol(allele[1:-1])
    breakend = _BREAKEND.fullmatch(allele)
    return breakend is not None and bool(breakend["before"]) != bool(breakend["after"])


def count_fits(number: str, count: int, alleles: int, *, ploidy: int | None = None) -> bool:
    """Tell whether there are as many values as a Number asks for.

    Without alternate alleles (ALT is .) programs give values for none or for one. G means what it
    says only for samples, whose ploidy is known; 0 is a genotype that hides it.
    """
    if number.isdecimal():
        return number == "0" or int(number) == count
    counts = (alleles,) if alleles else (0, 1)
    if number in ("A", "R"):
        return count - (number == "R") in counts
    if number == "G" and ploidy is not None:
        ploidies = (ploidy,) if ploidy else (1, 2)
        return any(count == comb(n + p, p) for n in counts for p in ploidies)
    return number != "P" or not ploidy or count == ploidy


def is_of_type(value: str, kind: str) -> bool:
    """Tell whether a value is of a Type, or missing."""
    if value == ".":
        return True
    if kind == "Integer":
        return _INTEGER.fullmatch(value) is not None
    if kind == "Float":
        return _FLOAT.fullmatch(value) is not None
    return len(value) == 1 if kind == "Character" else True
