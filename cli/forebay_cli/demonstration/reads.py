"""Paired reads for the demonstration, as a sequencer would have written them.

A small genome is drawn from a seeded generator (5,386 bases, 44 % GC, the size and composition of
phiX 174); fragments of it are read from both ends, with qualities that fall along the read and
errors that follow them. The same seed gives the same bytes, so that a second upload is a duplicate.
"""

import gzip
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

GENOME_BASES: Final = 5386
GC_FRACTION: Final = 0.44
READ_BASES: Final = 100
FRAGMENT_BASES: Final = (320, 40)
"""Mean and standard deviation of the library's fragments."""
_PROFILES: Final = 400
"""Distinct courses of quality along a read; real instruments bin qualities much as this does."""
_BINS: Final = (2, 12, 23, 37)
_COMPLEMENT: Final = str.maketrans("ACGTN", "TGCAN")


@dataclass(frozen=True, slots=True)
class DemoSample:
    """One sample on the demonstration's sequencing run; `damaged` breaks the mate's checksum."""

    name: str
    number: int
    seed: int
    damaged: str = ""

    def file_name(self, mate: str) -> str:
        """Return the name BCL Convert gives a read file."""
        return f"{self.name}_S{self.number}_L001_{mate}_001.fastq.gz"


SAMPLES: Final = (
    DemoSample("FB0001", 1, seed=174),
    DemoSample("FB0002", 2, seed=5386, damaged="R2"),
)
MATES: Final = ("R1", "R2")


def write_reads(folder: Path, reads: int = 20_000) -> None:
    """Write all samples' mates and their `.md5` files into a folder; equal calls, equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES:
        bodies = dict(zip(MATES, _mates(sample, reads), strict=True))
        for mate, body in bodies.items():
            path = folder / sample.file_name(mate)
            path.write_bytes(body)
            # MD5 is what sequencing centres send; nothing is protected by it here.
            digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
            if mate == sample.damaged:
                digest = digest[::-1]
            Path(f"{path}.md5").write_text(f"{digest}  {path.name}\n", encoding="ascii")


def _mates(sample: DemoSample, reads: int) -> tuple[bytes, bytes]:
    first, second = io.StringIO(), io.StringIO()
    for number, (forward, backward) in enumerate(_pairs(Random(sample.seed), reads)):  # noqa: S311
        name = f"@A01234:57:HDEMOFBAY:1:{1101 + number // 4000}:{1000 + number * 7 % 30_000}"
        name += f":{1000 + number * 13 % 40_000}"
        for text, mate, (bases, quality) in ((first, 1, forward), (second, 2, backward)):
            text.write(f"{name} {mate}:N:0:ATCACGTT+AGTCACGT\n{bases}\n+\n{quality}\n")
    return _gzip(first.getvalue()), _gzip(second.getvalue())


def _pairs(random: Random, reads: int) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    genome = "".join(_draw_genome(random))
    profiles = [_profile(random) for _ in range(_PROFILES)]
    for _ in range(reads):
        length = max(READ_BASES, min(round(random.gauss(*FRAGMENT_BASES)), GENOME_BASES))
        start = random.randrange(GENOME_BASES - length)
        fragment = genome[start : start + length]
        if random.random() < 0.5:
            fragment = fragment.translate(_COMPLEMENT)[::-1]
        other_end = fragment.translate(_COMPLEMENT)[::-1]
        yield (
            _read(random, fragment[:READ_BASES], random.choice(profiles)),
            _read(random, other_end[:READ_BASES], random.choice(profiles)),
        )


def _draw_genome(random: Random) -> list[str]:
    gc, at = GC_FRACTION / 2, (1 - GC_FRACTION) / 2
    return random.choices("ACGT", weights=(at, gc, gc, at), k=GENOME_BASES)


def _profile(random: Random) -> tuple[str, tuple[int, ...]]:
    """Return a quality string and the cycles at which its read is wrong."""
    level = random.gauss(41.0, 1.0)
    scores = []
    for cycle in range(READ_BASES):
        level -= random.expovariate(1) * (0.01 + 0.05 * cycle / READ_BASES)
        wanted = level - random.expovariate(1)
        scores.append(max((score for score in _BINS if score <= wanted), default=_BINS[0]))
    wrong = (cycle for cycle, score in enumerate(scores) if random.random() < 10 ** (-score / 10))
    return "".join(chr(33 + score) for score in scores), tuple(wrong)


def _read(random: Random, bases: str, profile: tuple[str, tuple[int, ...]]) -> tuple[str, str]:
    quality, wrong = profile
    for cycle in wrong:
        bases = bases[:cycle] + random.choice("ACGT") + bases[cycle + 1 :]
    return bases, quality


def _gzip(text: str) -> bytes:
    # No time stamp and no name: equal text gives equal bytes, by one Python and zlib at least.
    return gzip.compress(text.encode("ascii"), compresslevel=6, mtime=0)
