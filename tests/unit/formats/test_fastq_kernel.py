"""The C part: nothing outside a text is read, and without it there is a sentence."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.errors import ConfigurationError
from forebay.formats import fastq_kernel
from forebay.formats.fastq_kernel import RecordCounter, Stop
from forebay.formats.fastq_rules import LETTER_CLASSES

# Each text ends where a page begins that must not be touched, and begins where another ends.
BETWEEN_FORBIDDEN_PAGES = """
import ctypes, mmap, random
from forebay.formats.fastq_kernel import RecordCounter
from forebay.formats.fastq_rules import LETTER_CLASSES

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 3 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
for forbidden in (start, start + 2 * page):
    assert libc.mprotect(forbidden, page, 0) == 0

chance = random.Random(4)
lengths = [0, 1, 2, 31, 32, 33, 63, 64, 65, 100, 700]
heads = [b"@", b"@r", b"@r/1", b"@r 1:N:0:A", b"@" + b"n" * 31, b"@" + b"n" * 80 + b" c", b"r"]


def letters(usual, odd):
    alphabet = odd if chance.random() < 0.1 else usual
    return bytes(chance.choices(alphabet, k=chance.choice(lengths)))


def record():
    bases, scores = letters(b"ACGTN", b"ACGTacZ!"), letters(b"#,:F", b"#F~\\x7f")
    if chance.random() < 0.95:
        scores = (scores * 800 or b"F" * 800)[: len(bases)]
    plus = b"+" if chance.random() < 0.9 else chance.choice([b"", b"+r"])
    return b"\\n".join((chance.choice(heads), bases, plus, scores, b""))


counters = [RecordCounter(LETTER_CLASSES, max_line_bytes=most) for most in (60, 1 << 20)]
for counter in counters:
    counter.counts.wants_origins = 0
for _ in range(8_000):
    text = b"".join(record() for _ in range(chance.randrange(4)))
    text = text[: len(text) - chance.choice([0, 0, 0, 1, 2, 40])][-page:]
    for place in (start + page, start + 2 * page - len(text)):
        ctypes.memmove(place, text, len(text))
        counter = chance.choice(counters)
        address = ctypes.cast(place, ctypes.c_char_p)
        at = counter._take(counter._counts_at, address, 0, len(text))
        assert 0 <= at <= len(text)
        counter.names()
taken = sum(counter.counts.reads for counter in counters)
assert taken > 4_000, taken
"""


def test_nothing_outside_the_text_is_read() -> None:
    subprocess.run([sys.executable, "-c", BETWEEN_FORBIDDEN_PAGES], check=True)


def test_records_are_taken_from_the_offset_on_and_the_rest_is_left() -> None:
    counter = RecordCounter(LETTER_CLASSES, max_line_bytes=1000)
    counter.origin_examined(b"", wants_more=False)
    text = b"not this\n@r\nACGT\n+\nIIII\n@s\nAC\n"
    assert counter.take(text, 9) == (24, Stop.ALL_TAKEN)
    assert (counter.counts.reads, counter.counts.bases) == (1, 4)
    assert bytes(counter.names()) == b"@r".ljust(8, b"\0")


@pytest.mark.parametrize(
    "before,record",
    [
        (3, b"@r\nA\n+\n+\n@rB\nACG\n+\nIII\n"),
        (3, b"@r\nc\n+\n+\n@rB\nacg\n+\nIII\n"),
        (6, b"@r\nACGT\n+\nIIII\n"),
        (11, b"@r\nACGT\n+\nIIII\n"),
    ],
)
def test_a_line_end_where_the_record_before_had_one_may_be_another(
    before: int, record: bytes
) -> None:
    first = b"@q\n%b\n+\n%b\n" % (b"C" * before, b"F" * before)
    found = []
    for text in (first, record, first + record):
        counter = RecordCounter(LETTER_CLASSES, max_line_bytes=1000)
        counter.origin_examined(b"", wants_more=False)
        assert counter.take(text, 0) == (len(text), Stop.ALL_TAKEN)
        counts = counter.counts
        found.append([counts.reads, counts.bases, counts.gc, counts.q30, counts.first_odd_read])
    alone, other, both = found
    assert both[:4] == [one + two for one, two in zip(alone[:4], other[:4], strict=True)]
    assert both[4] == (other[4] if other[4] < 0 else other[4] + alone[0])


def test_a_name_of_no_known_origin_stops_until_it_was_examined() -> None:
    counter = RecordCounter(LETTER_CLASSES, max_line_bytes=1000)
    text = b"@a1\nA\n+\nI\n@b1\nA\n+\nI\n@a2\nA\n+\nI\n@c1\nA\n+\nI\n"
    stops = []
    at = 0
    for prefix in (b"@a", b"@b"):
        at, stop = counter.take(text, at)
        stops.append((at, stop))
        counter.origin_examined(prefix, wants_more=True)
    stops.append(counter.take(text, at))
    assert stops == [(at, Stop.UNKNOWN_ORIGIN) for at in (0, 10, 30)]


def test_a_library_of_another_version_is_refused_before_it_writes_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Larger(fastq_kernel._State):
        _fields_ = (("more", ctypes.c_int64),)  # type: ignore[assignment]

    monkeypatch.setattr(fastq_kernel, "_State", Larger)
    with pytest.raises(ConfigurationError, match="of another version"):
        fastq_kernel._library.__wrapped__()


def test_a_missing_library_is_told_with_what_builds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fastq_kernel, "_LIBRARY", tmp_path / "missing.native")
    with pytest.raises(ConfigurationError, match="tools/setup builds it"):
        fastq_kernel._library.__wrapped__()
