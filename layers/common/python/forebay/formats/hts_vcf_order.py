"""The order of VCF records, and variants that come twice."""

from typing import Final

__all__ = ["UNSORTED", "VariantOrder"]

UNSORTED: Final = "POS is smaller than in the record before."
"""The rule `VariantOrder.advance` returns for records of one contig that are not sorted."""

_MAX_CONTIGS_SEEN: Final = 1 << 20
_MAX_ALLELES_AT_ONCE: Final = 1 << 16


class VariantOrder:
    """Where the last record was, and which variants stand from there on."""

    def __init__(self) -> None:
        self.chrom = ""
        self._position = 0
        self._finished: set[str] = set()
        self._variants: dict[int, dict[tuple[str, str], str]] = {}

    def advance(self, chrom: str, position: int) -> str:
        """Go to the next record; return the rule of order it breaks, empty when none."""
        if chrom != self.chrom:
            if self.chrom and len(self._finished) < _MAX_CONTIGS_SEEN:
                self._finished.add(self.chrom)
            if chrom in self._finished:
                return "CHROM comes back after another one."
            self.chrom, self._position = chrom, position
            self._variants.clear()
        elif position < self._position:
            return UNSORTED
        elif position > self._position:
            self._position = position
            for passed in [at for at in self._variants if at < position]:
                del self._variants[passed]
        return ""

    def remember(self, position: int, reference: str, allele: str, identifier: str) -> str | None:
        """Return the identifier a variant of bases was given under before, None when it is new."""
        if not allele.isalpha():
            return None
        if len(reference) > 1 or len(allele) > 1:
            position, reference, allele = _trimmed(position, reference.upper(), allele.upper())
        known = self._variants.setdefault(position, {})
        earlier = known.get((reference, allele))
        if earlier is None and len(known) < _MAX_ALLELES_AT_ONCE:
            known[reference, allele] = identifier
        return earlier


def _trimmed(position: int, reference: str, allele: str) -> tuple[int, str, str]:
    """Return a variant without the bases both alleles begin or end with."""
    shorter = min(len(reference), len(allele))
    start = 0
    while start < shorter and reference[start] == allele[start]:
        start += 1
    end = 0
    while end < shorter - start and reference[-1 - end] == allele[-1 - end]:
        end += 1
    return (
        position + start,
        reference[start : len(reference) - end],
        allele[start : len(allele) - end],
    )
