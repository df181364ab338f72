from pathlib import Path

import pytest

from forebay.formats.source import BytesSource, FileSource, stream_source

DATA = bytes(range(256)) * 3


def test_file_source_reads_any_range_and_stops_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    with FileSource(path) as source:
        assert source.size_bytes == len(DATA)
        assert source.name == str(path)
        assert source.read_range(10, 5) == DATA[10:15]
        assert source.read_range(len(DATA) - 2, 100) == DATA[-2:]
        assert source.read_range(len(DATA), 1) == b""


def test_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileSource(tmp_path / "absent")


@pytest.mark.parametrize("chunk_bytes", [1, 7, 767, 768, 769, 10_000])
def test_stream_is_the_whole_source_whatever_the_chunk_size(chunk_bytes: int) -> None:
    chunks = list(stream_source(BytesSource(DATA, name="x"), chunk_bytes=chunk_bytes))
    assert b"".join(chunks) == DATA
    assert {len(chunk) for chunk in chunks[:-1]} <= {chunk_bytes}


def test_empty_source_streams_nothing() -> None:
    assert list(stream_source(BytesSource(b""))) == []
