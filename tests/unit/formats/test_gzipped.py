import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from forebay.domain.findings import Finding, ReasonCode
from forebay.formats import gzipped
from forebay.formats.gzipped import BGZF_EOF, Inflater

TEXT = b"".join(b"line %d\n" % (n * n * 7919) for n in range(300))
MEMBER = gzip.compress(TEXT, mtime=0)


def found(inflater: Inflater) -> Finding:
    assert inflater.finding is not None
    return inflater.finding


def bgzf_block(text: bytes) -> bytes:
    compressor = isal_zlib.compressobj(wbits=-15)
    body = compressor.compress(text) + compressor.flush()
    size = len(body) + 26 - 1
    header = bytes.fromhex("1f8b08040000000000ff0600424302 00".replace(" ", ""))
    trailer = isal_zlib.crc32(text).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    return header + size.to_bytes(2, "little") + body + trailer


BGZF = b"".join(bgzf_block(TEXT[at : at + 1000]) for at in range(0, len(TEXT), 1000)) + BGZF_EOF


def inflate(
    data: bytes, *, chunk_bytes: int = 1 << 20, output_bytes: int = 1 << 20
) -> tuple[bytes, Inflater]:
    inflater = Inflater(output_bytes=output_bytes)
    text = b"".join(
        text
        for at in range(0, len(data), chunk_bytes)
        for text in inflater.feed(data[at : at + chunk_bytes])
    )
    inflater.finish()
    return text, inflater


@pytest.mark.parametrize("chunk_bytes", range(1, 21))
def test_any_chunking_inflates_all_members(chunk_bytes: int) -> None:
    text, inflater = inflate(MEMBER + MEMBER, chunk_bytes=chunk_bytes, output_bytes=64)
    assert inflater.finding is None
    assert text == TEXT * 2
    assert inflater.members == 2
    assert not inflater.is_bgzf


@pytest.mark.parametrize("chunk_bytes", [*range(1, 21), 1000, 100_000])
def test_bgzf_is_recognised_and_inflated(chunk_bytes: int) -> None:
    text, inflater = inflate(BGZF, chunk_bytes=chunk_bytes)
    assert inflater.finding is None
    assert text == TEXT
    assert inflater.is_bgzf


def one_by_one(data: bytes, *, chunk_bytes: int) -> tuple[bytes, Inflater]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzipped, "_whole_blocks", lambda _data, at, _limit: (at, 0, 0))
        return inflate(data, chunk_bytes=chunk_bytes)


BLOCKS = st.one_of(
    st.binary(max_size=300).map(bgzf_block),
    st.sampled_from([BGZF_EOF, MEMBER, b"\0" * 30, bgzf_block(TEXT)[:-4] + b"\xff\xff\0\0"]),
)


@given(
    blocks=st.lists(BLOCKS, max_size=8),
    damage=st.none() | st.tuples(st.integers(0, 4000), st.integers(1, 255)),
    chunk_bytes=st.integers(1, 3000),
)
def test_runs_of_blocks_and_single_blocks_tell_the_same(
    blocks: list[bytes], damage: tuple[int, int] | None, chunk_bytes: int
) -> None:
    data = bytearray(b"".join(blocks))
    if damage and data:
        data[damage[0] % len(data)] ^= damage[1]
    text, inflater = inflate(bytes(data), chunk_bytes=chunk_bytes)
    expected, other = one_by_one(bytes(data), chunk_bytes=chunk_bytes)
    assert (text, inflater.finding) == (expected, other.finding)
    assert (inflater.members, inflater.is_bgzf) == (other.members, other.is_bgzf)


def test_runs_of_blocks_are_inflated_in_one_piece_of_bounded_size() -> None:
    sizes = [len(text) for text in Inflater(output_bytes=2500).feed(BGZF)]
    assert set(sizes[:-1]) == {2000}
    assert sum(sizes) == len(TEXT)


def test_damaged_block_in_a_run_is_named_by_its_offset() -> None:
    block = bgzf_block(TEXT)
    damaged = bytearray(block)
    damaged[40] ^= 1
    text, inflater = inflate(block * 3 + bytes(damaged) + block + BGZF_EOF)
    assert found(inflater).code is ReasonCode.GZIP_CORRUPT
    assert found(inflater).position == f"byte {3 * len(block)}"
    assert text == TEXT * 3


def test_output_pieces_are_bounded_however_well_the_input_compresses() -> None:
    bomb = gzip.compress(bytes(5_000_000))
    inflater = Inflater(output_bytes=1000)
    sizes = [len(text) for text in inflater.feed(bomb)]
    assert max(sizes) <= 1000
    assert sum(sizes) == 5_000_000


def test_trailing_zero_padding_is_accepted() -> None:
    text, inflater = inflate(MEMBER + bytes(512), chunk_bytes=100)
    assert text == TEXT
    assert inflater.finding is None


@pytest.mark.parametrize("garbage", [b"x", b"\0\0x", b"\x1f\x8c", b"garbage" * 10])
def test_trailing_garbage_is_refused_with_its_offset(garbage: bytes) -> None:
    _, inflater = inflate(MEMBER + garbage, chunk_bytes=5)
    zeros = len(garbage) - len(garbage.lstrip(b"\0"))
    assert found(inflater).code is ReasonCode.GZIP_TRAILING_GARBAGE
    assert found(inflater).position == f"byte {len(MEMBER) + zeros}"


@given(cut=st.integers(1, len(MEMBER) - 1), chunk_bytes=st.integers(1, 200))
def test_truncated_member_is_refused_with_the_offset_of_the_member(
    cut: int, chunk_bytes: int
) -> None:
    _, inflater = inflate(MEMBER + MEMBER[:cut], chunk_bytes=chunk_bytes)
    assert found(inflater).code is ReasonCode.GZIP_TRUNCATED
    assert found(inflater).position == f"byte {len(MEMBER)}"
    assert found(inflater).found == f"end of file at byte {len(MEMBER) + cut}"


@given(cut=st.integers(1, len(BGZF) - 1), chunk_bytes=st.integers(1, 2000))
def test_truncated_bgzf_is_refused_wherever_it_is_cut(cut: int, chunk_bytes: int) -> None:
    _, inflater = inflate(BGZF[:cut], chunk_bytes=chunk_bytes)
    assert found(inflater).code in {ReasonCode.GZIP_TRUNCATED, ReasonCode.BGZF_EOF_MISSING}


def test_bgzf_without_its_last_block_is_refused_as_incomplete() -> None:
    _, inflater = inflate(BGZF.removesuffix(BGZF_EOF))
    assert found(inflater).code is ReasonCode.BGZF_EOF_MISSING


@given(bit=st.integers(10 * 8, len(MEMBER) * 8 - 1), chunk_bytes=st.integers(1, 500))
def test_flipped_bit_is_refused(bit: int, chunk_bytes: int) -> None:
    damaged = bytearray(MEMBER)
    damaged[bit // 8] ^= 1 << bit % 8
    _, inflater = inflate(bytes(damaged), chunk_bytes=chunk_bytes)
    assert inflater.finding is not None


@given(bit=st.integers(0, len(BGZF) * 8 - 1), chunk_bytes=st.integers(1, 3000))
def test_flipped_bit_in_bgzf_never_yields_other_text_unnoticed(bit: int, chunk_bytes: int) -> None:
    damaged = bytearray(BGZF)
    damaged[bit // 8] ^= 1 << bit % 8
    text, inflater = inflate(bytes(damaged), chunk_bytes=chunk_bytes)
    assert inflater.finding is not None or text == TEXT


def test_wrong_checksum_names_the_member() -> None:
    damaged = bytearray(MEMBER + MEMBER)
    damaged[-8] ^= 1
    _, inflater = inflate(bytes(damaged))
    assert found(inflater).code is ReasonCode.GZIP_CORRUPT
    assert found(inflater).position == f"byte {len(MEMBER)}"
    assert "checksum" in found(inflater).message


def test_plain_text_is_refused_as_no_gzip() -> None:
    _, inflater = inflate(b"@read\nACGT\n")
    assert found(inflater).code is ReasonCode.GZIP_CORRUPT
    assert found(inflater).position == "byte 0"


@given(data=st.binary(max_size=300), chunk_bytes=st.integers(1, 50))
def test_any_bytes_behind_a_gzip_magic_end_without_an_exception(
    data: bytes, chunk_bytes: int
) -> None:
    inflate(b"\x1f\x8b\x08" + data, chunk_bytes=chunk_bytes)


def member(flags: int, fields: bytes = b"") -> bytes:
    """A member whose header has fields; with FHCRC (2), also their checksum."""
    header = bytes([0x1F, 0x8B, 8, flags, 0, 0, 0, 0, 0, 3]) + fields
    if flags & 2:
        header += (isal_zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    return header + MEMBER[10:]


EXTRA = b"\x03\x00abc"
HEADERS = [
    member(1),
    member(2),
    member(8, b"\0"),
    member(8, b"reads.fastq\0"),
    member(8 | 2, b"x\0"),
    member(16 | 2, b"comment\0"),
    member(8 | 16, b"name\0comment\0"),
    member(8 | 16 | 2, b"name\0comment\0"),
    member(4, EXTRA),
    member(4 | 2, EXTRA),
    member(1 | 2 | 4 | 8 | 16, EXTRA + b"name\0comment\0"),
    member(8 | 2, b"x" * 3000 + b"\0"),
]


@pytest.mark.parametrize("data", HEADERS)
@pytest.mark.parametrize("chunk_bytes", [*range(1, 30), 1000, 100_000])
def test_any_chunking_reads_headers_with_fields(data: bytes, chunk_bytes: int) -> None:
    text, inflater = inflate(data + data, chunk_bytes=chunk_bytes)
    assert inflater.finding is None
    assert text == TEXT * 2
    assert inflater.members == 2


def test_a_name_longer_than_what_is_read_at_once_is_read() -> None:
    text, inflater = inflate(member(8 | 2, b"x" * 300_000 + b"\0"))
    assert (inflater.finding, text) == (None, TEXT)


@pytest.mark.parametrize("data", HEADERS)
def test_no_cut_header_is_accepted(data: bytes) -> None:
    for size in range(1, min(40, len(data) - len(MEMBER) + 30)):
        for chunk_bytes in (1, 1000):
            assert (
                found(inflate(data[:size], chunk_bytes=chunk_bytes)[1]).code
                is ReasonCode.GZIP_TRUNCATED
            )


def test_a_wrong_checksum_of_a_header_is_corrupt() -> None:
    data = member(8 | 2, b"name\0")
    finding = found(inflate(MEMBER + data.replace(b"name", b"mane"))[1])
    assert finding.code is ReasonCode.GZIP_CORRUPT
    assert finding.position == f"byte {len(MEMBER)}"
    assert "header" in finding.found


@pytest.mark.parametrize("flag", [0x20, 0x40, 0x80, 0xE8])
def test_reserved_flags_are_refused(flag: int) -> None:
    finding = found(inflate(member(flag, b"name\0" if flag & 8 else b""))[1])
    assert finding.code is ReasonCode.GZIP_CORRUPT


def test_a_header_without_end_is_refused_early() -> None:
    finding = found(inflate(member(8, b"x" * (5 << 20)))[1])
    assert finding.code is ReasonCode.GZIP_CORRUPT
    assert "end" in finding.found


def described_block(text: bytes) -> bytes:
    """A BGZF block with a further subfield before the one that tells its size."""
    block = bgzf_block(text)
    size = len(block) + 6 - 1
    return block[:10] + b"\x0c\x00XX\x02\x00abBC\x02\x00" + size.to_bytes(2, "little") + block[18:]


DESCRIBED = b"".join(described_block(TEXT[at : at + 1000]) for at in range(0, len(TEXT), 1000))


@pytest.mark.parametrize("chunk_bytes", [*range(1, 40), 1000, 100_000])
def test_bgzf_is_known_among_other_subfields(chunk_bytes: int) -> None:
    text, inflater = inflate(DESCRIBED + BGZF_EOF, chunk_bytes=chunk_bytes)
    assert (inflater.finding, text) == (None, TEXT)
    assert inflater.is_bgzf
    assert found(inflate(DESCRIBED, chunk_bytes=chunk_bytes)[1]).code is (
        ReasonCode.BGZF_EOF_MISSING
    )


def test_a_block_smaller_than_its_long_header_is_corrupt() -> None:
    data = bytearray(described_block(b"a"))
    data[22:24] = (25).to_bytes(2, "little")
    assert found(inflate(bytes(data))[1]).code is ReasonCode.GZIP_CORRUPT
