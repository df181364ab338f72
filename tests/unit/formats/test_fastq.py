import gzip
import hashlib
import lzma
import random
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterable
from itertools import zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.integrity import Algorithm
from forebay.domain.sequencing import ReadsFile
from forebay.formats import fastq_kernel, fastq_records, fastq_rules
from forebay.formats.fastq import inspect_fastq
from forebay.formats.gzipped import BGZF_EOF

NAME = "S1_R1.fastq"


def any_records(count: int = 30, *, mate: int = 1, seed: int = 7) -> list[bytes]:
    rng = random.Random(seed)  # noqa: S311
    records = []
    for number in range(count):
        length = rng.randrange(1, 60)
        bases = bytes(rng.choices(b"ACGTN", k=length))
        qualities = bytes(rng.choices(range(35, 74), k=length))
        head = b"@A00689:69:HLYWYDSXX:2:1101:%d:1000 %d:N:0:ACGT" % (1000 + number, mate)
        records.append(b"\n".join((head, bases, b"+", qualities, b"")))
    return records


def inspect(data: bytes, *, name: str = NAME, chunk_bytes: int = 1 << 20) -> Inspection[ReadsFile]:
    chunks = (data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes))
    return inspect_fastq(chunks, name=name)


def accepted(inspection: Inspection[ReadsFile]) -> ReadsFile:
    assert inspection.record is not None, inspection.findings
    return inspection.record


def bgzf_block(text: bytes) -> bytes:
    body = zlib.compress(text, wbits=-15)
    header = bytes.fromhex("1f8b08040000000000ff060042430200")
    size = struct.pack("<H", len(body) + 25)
    return header + size + body + struct.pack("<II", zlib.crc32(text), len(text))


def codes(inspection: Inspection[ReadsFile]) -> list[ReasonCode]:
    return [finding.code for finding in inspection.findings]


RECORDS = any_records()
TEXT = b"".join(RECORDS)
PACKED = gzip.compress(TEXT, mtime=0)


@pytest.fixture(params=[16, 200, 1 << 18])
def batch_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(fastq_records, "_BATCH_BYTES", request.param)
    return int(request.param)


@pytest.mark.usefixtures("batch_bytes")
@pytest.mark.parametrize("chunk_bytes", [*range(1, 21), 1000, 1 << 20])
def test_any_chunking_gives_the_same_answer(chunk_bytes: int) -> None:
    assert inspect(TEXT, chunk_bytes=chunk_bytes) == inspect(TEXT)
    packed = inspect(PACKED, name="x.fastq.gz", chunk_bytes=chunk_bytes)
    assert packed == inspect(PACKED, name="x.fastq.gz")
    assert accepted(packed).content_digest == accepted(inspect(TEXT)).content_digest


@pytest.mark.usefixtures("batch_bytes")
def test_statistics_are_those_of_a_plain_count() -> None:
    record = accepted(inspect(TEXT))
    lines = TEXT.split(b"\n")
    bases, qualities = b"".join(lines[1::4]), b"".join(lines[3::4])
    lengths = [len(line) for line in lines[1::4]]
    assert record.reads == len(RECORDS)
    assert record.bases == len(bases)
    assert (record.min_length, record.max_length) == (min(lengths), max(lengths))
    assert record.mean_length == pytest.approx(sum(lengths) / len(lengths))
    assert record.gc_fraction == pytest.approx(sum(bases.count(b) for b in b"GC") / len(bases))
    assert record.n_fraction == pytest.approx(bases.count(b"N") / len(bases))
    assert record.q20_fraction == pytest.approx(sum(q >= 53 for q in qualities) / len(bases))
    assert record.q30_fraction == pytest.approx(sum(q >= 63 for q in qualities) / len(bases))
    assert record.quality_encoding == "phred33"
    assert record.compression == "none"


@pytest.mark.parametrize(
    "lengths",
    [[150] * 40, [0, 150, 7, 150, 1], [600] * 5, [3000, 20, 700], [36]],
    ids=["even", "uneven", "long", "long and short", "one"],
)
@pytest.mark.parametrize("chunk_bytes", [97, 1 << 20])
def test_quality_by_cycle_is_the_mean_of_a_plain_count(
    lengths: list[int], chunk_bytes: int
) -> None:
    chance = random.Random(3)  # noqa: S311 - test data
    reads = [bytes(chance.choices(b"!#,:FJ~", k=length)) for length in lengths]
    text = b"".join(b"@r%d\n%b\n+\n%b\n" % (n, b"A" * len(q), q) for n, q in enumerate(reads))
    found = accepted(inspect(text, name="x.fastq", chunk_bytes=chunk_bytes)).extra
    expected = []
    for cycle in range(min(max(lengths), fastq_kernel.MAX_CYCLES)):
        scores = [q[cycle] - 33 for q in reads if len(q) > cycle]
        expected.append(round(sum(scores) / len(scores), 2))
    assert found["quality_by_cycle"] == pytest.approx(expected, abs=0.011)


def test_digests_are_of_the_stored_bytes() -> None:
    inspection = inspect(PACKED, name="x.fastq.gz", chunk_bytes=50)
    assert {each.algorithm: each.value for each in inspection.digests} == {
        Algorithm.MD5: hashlib.md5(PACKED).hexdigest(),  # noqa: S324
        Algorithm.SHA256: hashlib.sha256(PACKED).hexdigest(),
    }
    assert inspection.bytes_read == len(PACKED)


@pytest.mark.parametrize("data", [b"no fastq at all", b"@x\nAC\n+\n!\n" + TEXT, PACKED[:-3] + TEXT])
def test_digests_cover_the_whole_file_even_when_the_content_is_invalid(data: bytes) -> None:
    inspection = inspect(data, chunk_bytes=10)
    assert inspection.verdict is Verdict.INVALID
    assert inspection.record is None
    assert inspection.digests[1].value == hashlib.sha256(data).hexdigest()


def test_origin_is_read_from_illumina_names() -> None:
    record = accepted(inspect(TEXT))
    assert record.instruments == ("A00689",)
    assert record.runs == ("69",)
    assert record.flow_cells == ("HLYWYDSXX",)
    assert record.lanes == ("2",)
    assert record.read_numbers == ("1",)
    assert record.layout == "single"


def test_names_digest_is_equal_for_mates_and_differs_when_two_reads_are_swapped() -> None:
    second = any_records(mate=2, seed=8)
    swapped = [second[1], second[0], *second[2:]]
    digests = [
        accepted(inspect(b"".join(records))).names_digest for records in (RECORDS, second, swapped)
    ]
    assert digests[0] == digests[1] != digests[2]


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
    found = [accepted(inspect(head + b"\nA\n+\nI\n")).names_digest for head in (first, second)]
    assert found[0] == found[1]


@pytest.mark.usefixtures("batch_bytes")
@pytest.mark.parametrize("chunk_bytes", [1, 13, 1000])
def test_interleaved_mates_are_recognised(chunk_bytes: int) -> None:
    pairs = zip(RECORDS, any_records(mate=2, seed=9), strict=True)
    inspection = inspect(b"".join(a + b for a, b in pairs), chunk_bytes=chunk_bytes)
    assert accepted(inspection).layout == "interleaved"
    assert accepted(inspection).read_numbers == ("1", "2")
    assert inspection.verdict is Verdict.VALID


def test_both_mates_one_after_the_other_are_a_warning() -> None:
    inspection = inspect(TEXT + b"".join(any_records(mate=2)))
    assert codes(inspection) == [ReasonCode.FASTQ_MIXED_NAMES]
    assert inspection.verdict is Verdict.WARNING


def named(heads: Iterable[bytes]) -> bytes:
    return b"".join(b"@%b\nA\n+\nI\n" % head for head in heads)


FRAGMENTS = [b"A00689:69:HLYWYDSXX:2:1101:%d:1000" % number for number in range(20_000)]
MATES = [b"%b %d:N:0:A" % (name, mate) for name in FRAGMENTS for mate in (1, 2)]


@pytest.mark.parametrize(
    "heads,fraction",
    [
        (FRAGMENTS, 0.0),
        (FRAGMENTS + FRAGMENTS[:1], 1 / 20_000),
        (FRAGMENTS * 2, 1.0),
        (MATES[::2] + MATES[1::2], 0.0),
        (MATES[:30_000], 0.0),
        (MATES[:10_000] + MATES[:1_000], 0.1),
        ([name for name in FRAGMENTS for _ in range(2)], 0.0),
        ([name for name in FRAGMENTS for _ in range(4)], 1.0),
        ([b"%b/%d" % (name, mate) for name in FRAGMENTS[:9] for mate in (1, 2)], 0.0),
    ],
    ids=[
        *("all different", "one of many", "twice", "mates in turn", "mates in pairs"),
        *("mates again", "unmarked pairs", "unmarked pairs twice", "mates by suffix"),
    ],
)
def test_names_of_more_reads_than_one_are_a_warning(heads: list[bytes], fraction: float) -> None:
    inspection = inspect(named(heads), chunk_bytes=100_000)
    found = accepted(inspection).extra["repeated_names_fraction"]
    assert found == pytest.approx(fraction, abs=1e-6)
    assert (ReasonCode.FASTQ_REPEATED_NAMES in codes(inspection)) is (fraction > 0)


def test_repeated_names_of_large_files_are_estimated() -> None:
    names = [b"A00689:69:HLYWYDSXX:2:1101:%d:1000" % number for number in range(300_000)]
    found = accepted(inspect(named(names + names[:60_000])))
    assert found.extra["repeated_names_fraction"] == pytest.approx(0.2, rel=0.05)
    assert accepted(inspect(named(names))).extra["repeated_names_fraction"] == 0.0


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 17, 10_000])
def test_crlf_file_is_accepted_and_has_the_same_content_digest(chunk_bytes: int) -> None:
    inspection = inspect(TEXT.replace(b"\n", b"\r\n"), chunk_bytes=chunk_bytes)
    assert inspection.verdict is Verdict.VALID
    assert accepted(inspection).extra["line_ends"] == "crlf"
    assert accepted(inspection).content_digest == accepted(inspect(TEXT)).content_digest
    assert accepted(inspection).bases == accepted(inspect(TEXT)).bases


def test_mixed_line_ends_are_a_warning() -> None:
    inspection = inspect(b"".join(RECORDS[1:]) + RECORDS[0].replace(b"\n", b"\r\n"))
    assert codes(inspection) == [ReasonCode.FASTQ_MALFORMED]
    assert inspection.verdict is Verdict.WARNING


def test_missing_last_line_feed_is_accepted() -> None:
    inspection = inspect(TEXT.removesuffix(b"\n"))
    assert inspection.verdict is Verdict.VALID
    assert accepted(inspection).content_digest == accepted(inspect(TEXT)).content_digest


LAST_RECORD_AT = len(TEXT) - len(RECORDS[-1])


@given(cut=st.integers(LAST_RECORD_AT + 1, len(TEXT) - 2), chunk_bytes=st.integers(1, 100))
def test_text_cut_inside_a_record_is_refused_as_truncated(cut: int, chunk_bytes: int) -> None:
    inspection = inspect(TEXT[:cut], chunk_bytes=chunk_bytes)
    assert codes(inspection) == [ReasonCode.FASTQ_TRUNCATED]
    assert inspection.findings[0].position.startswith("line ")


@settings(deadline=None)
@given(cut=st.integers(1, len(PACKED) - 1), chunk_bytes=st.integers(1, 300))
def test_gzip_cut_anywhere_is_refused(cut: int, chunk_bytes: int) -> None:
    inspection = inspect(PACKED[:cut], name="x.fastq.gz", chunk_bytes=chunk_bytes)
    assert inspection.verdict is Verdict.INVALID


@settings(deadline=None)
@given(bit=st.integers(10 * 8, len(PACKED) * 8 - 1), chunk_bytes=st.integers(1, 300))
def test_flipped_bit_in_gzip_is_refused_as_damage_not_as_bad_text(
    bit: int, chunk_bytes: int
) -> None:
    damaged = bytearray(PACKED)
    damaged[bit // 8] ^= 1 << bit % 8
    inspection = inspect(bytes(damaged), name="x.fastq.gz", chunk_bytes=chunk_bytes)
    assert inspection == inspect(bytes(damaged), name="x.fastq.gz")
    assert inspection.findings[0].code.value.startswith("GZIP_")
    assert inspection.findings[0].position.startswith("byte ")


GOOD = b"@r1\nACGT\n+\nIIII\n"

BROKEN = [
    (b"ACGT\n+\nIIII\n@r\n", ReasonCode.FASTQ_MALFORMED, 1),
    (b"@r1\nACGT\nACGT\n+\nIIII\nIIII\n", ReasonCode.FASTQ_MALFORMED, 3),
    (b">r1\nACGT\n", ReasonCode.FASTQ_MALFORMED, 1),
    (b"\xef\xbb\xbf" + GOOD, ReasonCode.FASTQ_MALFORMED, 1),
    (GOOD + b"\n" + GOOD, ReasonCode.FASTQ_MALFORMED, 5),
    (GOOD + b"\n", ReasonCode.FASTQ_MALFORMED, 5),
    (GOOD + b"@\nACGT\n+\nIIII\n", ReasonCode.FASTQ_MALFORMED, 5),
    (GOOD + b"@r\x00\nACGT\n+\nIIII\n", ReasonCode.FASTQ_MALFORMED, 5),
    (GOOD + b"@r\xc3\xa9\nACGT\n+\nIIII\n", ReasonCode.FASTQ_MALFORMED, 5),
    (GOOD + b"@r2\nACGT\n+r3\nIIII\n", ReasonCode.FASTQ_MALFORMED, 7),
    (GOOD + b"@r2\nACGT\n+\nIII\n", ReasonCode.FASTQ_LENGTH_MISMATCH, 8),
    (GOOD + b"@r2\nACGT\n+\nIIIII\n" + GOOD, ReasonCode.FASTQ_LENGTH_MISMATCH, 8),
    (GOOD + b"@r2\nACGT\n+\nII\nI\n" + GOOD, ReasonCode.FASTQ_LENGTH_MISMATCH, 8),
    (GOOD + b"@r2\nACGT\n+\n\nII\n" + GOOD, ReasonCode.FASTQ_LENGTH_MISMATCH, 8),
    (GOOD + b"@r2\nACGT\n\n\nIIII\n" + GOOD, ReasonCode.FASTQ_MALFORMED, 7),
    (GOOD + b"@r2\nAC!T\n+\nIIII\n", ReasonCode.FASTQ_ALPHABET, 6),
    (GOOD + b"@r2\nAC\x00T\n+\nIIII\n", ReasonCode.FASTQ_ALPHABET, 6),
    (GOOD + b"@r2\nACGT\n+\nII I\n", ReasonCode.FASTQ_QUALITY_RANGE, 8),
    (GOOD + b"@r2\nACGT\n+\nII\x7fI\n", ReasonCode.FASTQ_QUALITY_RANGE, 8),
    (GOOD + b"@r2\nACGT\n+\nII\xe9I\n", ReasonCode.FASTQ_QUALITY_RANGE, 8),
    (GOOD + b"@r2\nACGT\n+\nIII", ReasonCode.FASTQ_TRUNCATED, 8),
    (GOOD + b"@r2\nACGT\n+\n", ReasonCode.FASTQ_TRUNCATED, 7),
    (GOOD + b"@r2\nAC", ReasonCode.FASTQ_TRUNCATED, 6),
    (GOOD.replace(b"\n", b"\r"), ReasonCode.FASTQ_MALFORMED, 1),
]


@pytest.mark.usefixtures("batch_bytes")
@pytest.mark.parametrize("chunk_bytes", [1, 3, 1000])
@pytest.mark.parametrize("data,code,line", BROKEN)
def test_broken_rule_is_refused_with_its_line(
    data: bytes, code: ReasonCode, line: int, chunk_bytes: int
) -> None:
    inspection = inspect(data, chunk_bytes=chunk_bytes)
    assert inspection.verdict is Verdict.INVALID
    assert codes(inspection) == [code]
    assert inspection.findings[0].position == f"line {line}"
    assert inspection.findings[0].message.startswith(f"Line {line}: ")


def test_repeated_name_after_plus_is_accepted() -> None:
    inspection = inspect(b"@A00689:69:HLYW:1:1:1:1\nAC\n+A00689:69:HLYW:1:1:1:1\nII\n")
    assert inspection.verdict is Verdict.VALID


def test_letters_that_are_no_nucleotides_are_a_warning_with_the_line() -> None:
    inspection = inspect(TEXT + b"@r\nSEQUENCE\n+\nIIIIIIII\n")
    assert ReasonCode.FASTQ_ALPHABET in codes(inspection)
    assert inspection.findings[0].position == f"line {4 * len(RECORDS) + 2}"
    assert inspection.verdict is Verdict.WARNING


@pytest.mark.parametrize(
    "qualities,encoding",
    [
        (b"#,:F", "phred33"),
        (b"JJJJ", "phred33"),
        (b"IIII", "phred33"),
        (b"Bfgh", "phred64"),
        (b";fgh", "solexa64"),
        (b"~~~~", "phred33"),
    ],
)
def test_quality_encoding_is_guessed_from_the_range(qualities: bytes, encoding: str) -> None:
    inspection = inspect(b"@A00689:69:HLYW:1:1:1:1\nACGT\n+\n" + qualities + b"\n")
    assert accepted(inspection).quality_encoding == encoding
    assert (ReasonCode.FASTQ_QUALITY_RANGE in codes(inspection)) == (encoding != "phred33")


def test_phred64_fractions_are_given_for_both_offsets() -> None:
    reads = b"@A00689:69:HLYW:1:1:1:%d\nACGT\n+\nBThh\n"
    record = accepted(inspect(reads % 1 + reads % 2))
    assert record.q30_fraction == 1.0
    assert record.extra["q30_fraction_offset64"] == 0.5
    assert record.extra["q20_fraction_offset64"] == 0.75


def test_empty_file_is_refused() -> None:
    inspection = inspect_fastq([], name=NAME)
    assert codes(inspection) == [ReasonCode.EMPTY_OBJECT]
    assert inspection.verdict is Verdict.INVALID


def test_gzip_of_nothing_is_a_warning_with_no_reads() -> None:
    inspection = inspect(gzip.compress(b""), name="x.fastq.gz")
    assert codes(inspection) == [ReasonCode.FASTQ_EMPTY]
    assert accepted(inspection).reads == 0
    assert inspection.verdict is Verdict.WARNING


def test_reads_without_bases_are_a_warning() -> None:
    inspection = inspect(TEXT + b"@r\n\n+\n\n")
    assert ReasonCode.FASTQ_EMPTY in codes(inspection)
    assert accepted(inspection).min_length == 0


@pytest.mark.parametrize(
    "magic",
    [
        b"BZh91AY",
        b"\xfd7zXZ\0\0",
        b"\x28\xb5\x2f\xfd\0\0\0",
        b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
        b"\x5f\x2a\x4d\x18\0\0\0\0",
        lzma.compress(TEXT, format=lzma.FORMAT_ALONE),
        b"PK\x03\x04\0\0",
        b"7z\xbc\xaf\x27\x1c",
        b"\x1f\x9d\x90\0\0\0",
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 100])
def test_other_compression_is_unsupported_but_digested(magic: bytes, chunk_bytes: int) -> None:
    inspection = inspect(magic + b"x" * 50, chunk_bytes=chunk_bytes)
    assert inspection.verdict is Verdict.UNSUPPORTED
    assert codes(inspection) == [ReasonCode.UNSUPPORTED_FORMAT]
    assert len(inspection.digests) == 2


def test_bgzf_is_told_from_gzip() -> None:
    block = bgzf_block(TEXT)
    inspection = inspect(block + BGZF_EOF, name="x.fastq.gz", chunk_bytes=11)
    assert inspection.record is not None
    assert accepted(inspection).compression == "bgzf"
    assert accepted(inspection).content_digest == accepted(inspect(TEXT)).content_digest
    assert codes(inspect(block, name="x.fastq.gz")) == [ReasonCode.BGZF_EOF_MISSING]
    mixed = inspect(block + PACKED, name="x.fastq.gz")
    assert accepted(mixed).compression == "gzip"


def test_plain_text_named_gz_is_refused_as_mislabeled() -> None:
    assert codes(inspect(TEXT, name="x.fastq.gz")) == [ReasonCode.COMPRESSION_MISLABELED]


def test_gzip_without_the_suffix_is_a_warning() -> None:
    inspection = inspect(PACKED, name="x.fastq")
    assert inspection.verdict is Verdict.WARNING
    assert codes(inspection) == [ReasonCode.COMPRESSION_MISLABELED]


@pytest.mark.parametrize("name", ["x.fastq.gz", "x.fastq"])
@pytest.mark.parametrize("chunk_bytes", [10_000, 1 << 20])
@pytest.mark.parametrize("end", [b"", b"\n+\n"])
def test_line_longer_than_any_read_ends_the_reading(
    name: str, chunk_bytes: int, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (fastq_records, fastq_rules):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", 1 << 16)
    text = GOOD + b"@r\n" + b"A" * 1_000_000 + end
    data = gzip.compress(text) if name.endswith(".gz") else text
    inspection = inspect(data, name=name, chunk_bytes=chunk_bytes)
    assert codes(inspection) == [ReasonCode.LIMIT_EXCEEDED]
    assert inspection.findings[0].position == "line 6"
    assert inspection.digests[1].value == hashlib.sha256(data).hexdigest()


# A reader that only looked where the record before had its line ends would be deceived by these.
_LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=12)


@settings(deadline=None, max_examples=300)
@given(lengths=_LENGTHS, data=st.data(), chunk_bytes=st.integers(1, 200))
def test_reads_of_changing_lengths_are_told_apart(
    lengths: list[int], data: st.DataObject, chunk_bytes: int
) -> None:
    letters, scores = st.sampled_from("ACGTNac"), st.sampled_from("+@I!")
    reads = [
        (
            "".join(data.draw(st.lists(letters, min_size=size, max_size=size))),
            "".join(data.draw(st.lists(scores, min_size=size, max_size=size))),
        )
        for size in lengths
    ]
    # One origin, so that one record follows the other without a pause.
    head = "@A00689:69:HLYWYDSXX:2:1101:1000:"
    text = "".join(f"{head}{n}\n{read}\n+\n{quality}\n" for n, (read, quality) in enumerate(reads))
    record = accepted(inspect(text.encode(), chunk_bytes=chunk_bytes))
    assert (record.reads, record.bases) == (len(reads), sum(lengths))
    assert (record.min_length, record.max_length) == (min(lengths), max(lengths))
    gc = sum(bases.upper().count(letter) for bases, _ in reads for letter in "CG")
    assert record.gc_fraction * max(record.bases, 1) == pytest.approx(gc)


def test_reads_much_longer_than_a_batch_are_counted() -> None:
    text = b"@A00689:69:HLYW:1:1:1:1\n" + b"ACGT" * 300_000 + b"\n+\n" + b"I" * 1_200_000 + b"\n"
    record = accepted(inspect(text * 3, chunk_bytes=70_000))
    assert record is not None
    assert (record.reads, record.max_length) == (3, 1_200_000)


def test_messages_never_hold_read_names() -> None:
    secret = b"@DOE^JOHN_19700101"
    for tail in (b"\nAC\n+\nI\n", b"\nAC\nAC\n+\nI\n", b"\x01\nAC\n+\nII\n", b"\nAC\n+x\nII\n"):
        finding = inspect(secret + tail).findings[0]
        assert "DOE" not in str(finding.as_dict())


@given(data=st.binary(max_size=200), chunk_bytes=st.integers(1, 40))
def test_any_bytes_end_in_a_verdict_that_no_chunking_changes(data: bytes, chunk_bytes: int) -> None:
    assert inspect(data, chunk_bytes=chunk_bytes) == inspect(data)


@given(
    lines=st.lists(st.sampled_from([b"@r", b"", b"+", b"ACGT", b"IIII", b"+r", b"A"]), max_size=14),
    chunk_bytes=st.integers(1, 9),
)
def test_any_row_of_lines_ends_in_a_verdict_that_no_chunking_changes(
    lines: list[bytes], chunk_bytes: int
) -> None:
    data = b"\n".join(lines)
    assert inspect(data, chunk_bytes=chunk_bytes) == inspect(data)


def texts(alphabet: bytes, *, least: int = 0, most: int = 12) -> st.SearchStrategy[bytes]:
    letters = st.sampled_from([bytes([code]) for code in alphabet])
    return st.lists(letters, min_size=least, max_size=most).map(b"".join)


HEADS = st.one_of(
    st.integers(0, 30_000).map(lambda x: b"@A00689:69:HLYWYDSXX:2:1101:%d:1000" % x),
    st.integers(0, 30_000).map(lambda x: b"@A00689:69:HLYWYDSXX:2:1101:%d:1000 2:N:0:ACGT" % x),
    st.integers(0, 9).map(lambda x: b"@AV244103:NT1234567E:2345:%d:1:1:2/1" % x),
    texts(b"r/12 :\t", least=1).map(lambda name: b"@" + name),
    texts(b"r", least=1, most=300).map(lambda name: b"@" + name),
    st.sampled_from([b"@", b"r", b"@r\x00", b"@r\x7f", b"@\xc3\xa9", b"@r x y", b"@/2"]),
)
LENGTHS = st.one_of(st.just(20), st.integers(0, 30), st.sampled_from([0, 1, 200]))
LETTERS = st.one_of(*map(st.just, (b"ACGTN", b"ACGTN", b"acgtN", b"ACGTRY.-", b"ACEZ", b"AC\x00")))
SCORES = st.one_of(*map(st.just, (b"#,:F", b"#,:F", b"@Tfh", b"!~", b"F\x00", b"F\x1f\x7f")))
PLUS = st.sampled_from([b"+"] * 20 + [b"", b"+r", b"-"])


@st.composite
def fastq_texts(draw: st.DrawFn) -> bytes:
    """Nearly always well-formed records, of one length or not, with everything that can be odd."""
    heads = draw(st.one_of(st.just(HEADS), st.sampled_from([b"@r1", b"@r22 1:N"]).map(st.just)))
    lengths = draw(st.one_of(st.just(LENGTHS), LENGTHS.map(st.just)))
    letters, scores = draw(LETTERS), draw(SCORES)
    lines = []
    for _ in range(draw(st.integers(0, 9))):
        length = draw(lengths)
        bases = draw(texts(letters, least=length, most=length))
        qualities = draw(texts(scores, least=length, most=length))
        lines += [draw(heads), bases, draw(PLUS), qualities]
    end = draw(st.sampled_from([b"\n"] * 8 + [b"\r\n", b"\r"]))
    text = end.join(lines) + end * bool(lines)
    return text[: len(text) - draw(st.sampled_from([0] * 8 + [1, 2, 7]))]


@settings(max_examples=400, deadline=None)
@given(
    text=fastq_texts(),
    batch_bytes=st.integers(1, 400),
    chunk_bytes=st.integers(1, 400),
    seam_bytes=st.integers(1, 40),
)
def test_answers_are_those_of_a_plain_count_whatever_the_records_and_the_pieces(
    text: bytes, batch_bytes: int, chunk_bytes: int, seam_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastq_records, "_BATCH_BYTES", batch_bytes)
        patch.setattr(fastq_records, "_SEAM_BYTES", seam_bytes)
        found = inspect(text, chunk_bytes=chunk_bytes)
    assert found == inspect(text)
    if found.record is not None:
        assert plain_count(found.record) == count_plainly(text)


def plain_count(record: ReadsFile) -> tuple[object, ...]:
    lengths = (record.min_length, record.max_length)
    fractions = (record.q20_fraction, record.q30_fraction, record.gc_fraction, record.n_fraction)
    cycles = record.extra.get("quality_by_cycle", [])
    layout = record.layout == "interleaved"
    digests = (record.names_digest, record.content_digest)
    return (record.reads, record.bases, lengths, fractions, cycles, layout, digests)


def count_plainly(text: bytes) -> tuple[object, ...]:
    """Count a well-formed text, line by line, in as few words as there are."""
    text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
    text += b"\n" * bool(text and not text.endswith(b"\n"))
    lines = text.split(b"\n")
    sequences, qualities = lines[1::4], lines[3::4]
    bases, scores = b"".join(sequences).upper(), b"".join(qualities)
    names = [re.split(rb"[ \t]", head, maxsplit=1)[0] for head in lines[:-1:4]]
    names = [re.sub(rb"(?<=.)/[12]$", b"", name) for name in names]
    offset = 33
    if scores and min(scores) >= 59 and 74 < max(scores) <= 106:
        offset = 64
    columns = zip_longest(*qualities)
    by_cycle = [[score - offset for score in column if score is not None] for column in columns]
    counts = (
        sum(score >= 53 for score in scores),
        sum(score >= 63 for score in scores),
        bases.count(b"G") + bases.count(b"C"),
        bases.count(b"N"),
    )
    lengths = [len(each) for each in sequences] or [0]
    return (
        len(names),
        len(bases),
        (min(lengths), max(lengths)),
        tuple(count / len(bases) if bases else 0.0 for count in counts),
        [round(sum(column) / len(column), 2) for column in by_cycle],
        bool(names) and names[::2] == names[1::2],
        (digest_of(b"".join(name + bytes(8 - len(name) % 8) for name in names)), digest_of(text)),
    )


def digest_of(text: bytes) -> str:
    crc = struct.pack(">I", zlib.crc32(text)) if text else b""
    return hashlib.sha256(crc + struct.pack(">Q", len(text))).hexdigest()


def test_every_character_is_told_apart_as_a_base() -> None:
    for code in range(256):
        letter = bytes([code])
        inspection = inspect(b"@r\n" + b"ACGTN" * 9 + letter + b"\n+\n" + b"I" * 46 + b"\n")
        is_base = letter in b"ACGTNURYSWKMBDHVacgtnuryswkmbdhv.-*0123"
        if not is_base and not letter.isalnum():
            assert inspection.verdict is Verdict.INVALID, code
            continue
        assert (ReasonCode.FASTQ_ALPHABET in codes(inspection)) is not is_base, code
        assert accepted(inspection).gc_fraction == (18 + (letter in b"CGcg")) / 46, code
        assert accepted(inspection).n_fraction == (9 + (letter in b"Nn")) / 46, code


def test_every_character_is_told_apart_as_a_quality() -> None:
    for code in range(256):
        score = bytes([code])
        for place in (0, 31, 32, 39):
            scores = bytearray(b"I" * 40)
            scores[place : place + 1] = score
            inspection = inspect(b"@r\n" + b"A" * 40 + b"\n+\n" + scores + b"\n")
            assert (inspection.verdict is Verdict.INVALID) is not (33 <= code <= 126), (code, place)


@pytest.mark.parametrize("reads", [511, 512, 513, 1500])
def test_sums_do_not_overflow_with_many_reads_of_high_quality_and_great_length(reads: int) -> None:
    length = 255 * 32 + 40 if reads == 511 else 40
    text = b"@r\n" + b"G" * length + b"\n+\n" + b"~" * length + b"\n"
    record = accepted(inspect(text * reads))
    assert set(record.extra["quality_by_cycle"]) == {93.0}
    assert record.gc_fraction == record.q20_fraction == record.q30_fraction == 1.0


@pytest.mark.parametrize("name_bytes", [40, 5000, 200_000])
def test_names_are_digested_and_paired_across_the_memory_they_are_gathered_in(
    name_bytes: int,
) -> None:
    name = b"n" * name_bytes
    count = 2 * (1 << 20) // name_bytes
    text = b"".join(b"@%d%b\nA\n+\nI\n" % (number // 2, name) for number in range(count))
    record = accepted(inspect(text))
    assert record.layout == ("interleaved" if count % 2 == 0 else "single")
    padded = b"".join(
        each + bytes(8 - len(each) % 8)
        for each in (b"@%d%b" % (number // 2, name) for number in range(count))
    )
    crcs = (zlib.crc32(padded[at : at + (256 << 10)]) for at in range(0, len(padded), 256 << 10))
    expected = b"".join(struct.pack(">I", crc) for crc in crcs) + struct.pack(">Q", len(padded))
    assert record.names_digest == hashlib.sha256(expected).hexdigest()


def test_numpy_is_not_loaded_for_reads() -> None:
    program = (
        "import sys; from forebay.formats.fastq import inspect_fastq\n"
        "found = inspect_fastq([b'@r\\nA\\n+\\nI\\n'], name='x.fastq')\n"
        "sys.exit('numpy' in sys.modules or not found.record)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_content_digest_is_that_of_crcs_which_anyone_can_compute() -> None:
    text = TEXT * 200
    segments = [text[at : at + (256 << 10)] for at in range(0, len(text), 256 << 10)]
    assert len(segments) > 2
    crcs = b"".join(struct.pack(">I", zlib.crc32(segment)) for segment in segments)
    expected = hashlib.sha256(crcs + struct.pack(">Q", len(text))).hexdigest()
    record = inspect(text, chunk_bytes=100_001).record
    assert record is not None
    assert record.content_digest == expected


def test_names_digest_is_that_of_padded_names() -> None:
    names = [record.split(b" ")[0] for record in RECORDS]
    padded = b"".join(name + bytes(8 - len(name) % 8) for name in names)
    crc = struct.pack(">IQ", zlib.crc32(padded), len(padded))
    record = inspect(TEXT).record
    assert record is not None
    assert record.names_digest == hashlib.sha256(crc).hexdigest()


def test_one_long_name_among_short_ones_takes_little_memory() -> None:
    lines = [b"@%d\nA\n+\nI\n" % number for number in range(50_000)]
    lines[25_000] = b"@" + b"n" * 400_000 + b"\nA\n+\nI\n"
    tracemalloc.start()
    record = inspect(b"".join(lines)).record
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert record is not None
    assert record.reads == 50_000
    assert peak < 64 << 20
