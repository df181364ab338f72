"""The measurements of the read QC pipeline."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class MateQuality:
    """Quality of one mate's reads. Lists run over cycles (1-based position minus one) or bins.

    Quality quartiles are Phred scores; `base_fractions` maps A, C, G, T and N to a fraction per
    cycle; `gc_histogram` counts reads per percent of GC (101 bins); `quality_histogram` counts
    reads per mean Phred score. Cycles beyond `cycles_measured` are in the totals only.
    """

    reads: int
    bases: int
    min_length: int
    max_length: int
    q20_fraction: float
    q30_fraction: float
    gc_fraction: float
    cycles_measured: int
    quality_lower_quartile: tuple[int, ...]
    quality_median: tuple[int, ...]
    quality_upper_quartile: tuple[int, ...]
    base_fractions: dict[str, tuple[float, ...]]
    gc_histogram: tuple[int, ...]
    quality_histogram: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape of the report."""
        shape = {name: getattr(self, name) for name in self.__dataclass_fields__}
        shape["base_fractions"] = {base: list(f) for base, f in self.base_fractions.items()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in shape.items()}


@dataclass(frozen=True, slots=True)
class PairQuality:
    """Quality of a pair of mates, read side by side.

    `both_q30_fraction` is the fraction of pairs in which each mate's mean quality is 30 or more.
    """

    r1: MateQuality
    r2: MateQuality
    pairs: int
    both_q30_fraction: float

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape of the report."""
        return {
            "pairs": self.pairs,
            "both_q30_fraction": self.both_q30_fraction,
            "mates": {"R1": self.r1.as_dict(), "R2": self.r2.as_dict()},
        }
