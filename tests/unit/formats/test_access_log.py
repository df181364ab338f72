"""Access logs are read as S3 writes them, and hostile lines cost nothing but themselves."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.policy.access import BadLine, StorageRead
from forebay.formats.access_log import MOST_LINE_BYTES, parse_access_log

OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
AFTER = (
    "s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4"
    " ECDHE-RSA-AES128-GCM-SHA256 AuthHeader bucket.s3.us-west-1.example.com TLSV1.2 - -"
)
VERSIONING = (
    f"{OWNER} amzn-s3-demo-bucket1 [06/Feb/2019:00:00:38 +0000] 192.0.2.3 {OWNER}"
    ' 3E57427F3EXAMPLE REST.GET.VERSIONING - "GET /amzn-s3-demo-bucket1?versioning HTTP/1.1" 200 -'
    f' 113 - 7 - "-" "S3Console/0.4" - {AFTER}'
)
PUT = (
    f"{OWNER} amzn-s3-demo-bucket1 [06/Feb/2019:00:01:57 +0000] 192.0.2.3 {OWNER}"
    ' DD6CC733AEXAMPLE REST.PUT.OBJECT s3-dg.pdf "PUT /amzn-s3-demo-bucket1/s3-dg.pdf HTTP/1.1"'
    f' 200 - - 4406583 41754 28 "-" "S3Console/0.4" 10S62Zv81kBW7BB6SX4XJ48o6kpcl6LPwEoizZQQxJd5qD'
    f"SCTLX0TgS37kYUBKQW3+bPdrg1234= {AFTER}"
)
"""Both as in the Amazon S3 User Guide, "Amazon S3 server access log format"."""


def line(
    *,
    operation: str = "REST.GET.OBJECT",
    key: str = "dicom/1.2/3.4/5.6.dcm",
    request: str = '"GET /dicom/1.2/3.4/5.6.dcm HTTP/1.1"',
    status: str = "200",
    quoted: str = '"-" "viewer/1.0"',
    version: str = "-",
    after: str = AFTER,
) -> str:
    """Return a line as S3 writes it for a GET."""
    return (
        f"{OWNER} clinical [01/Mar/2026:12:30:00 +0000] 192.0.2.3 arn:aws:iam::111122223333:user/a"
        f" 3E57427F3EXAMPLE {operation} {key} {request} {status} - 2662 2662 70 10 {quoted}"
        f" {version} {after}"
    ).rstrip()


def parsed(*lines: str, size: int = 1 << 20) -> list[StorageRead | BadLine]:
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    return list(parse_access_log(chunks))


def one(text: str) -> StorageRead:
    (found,) = parsed(text)
    assert isinstance(found, StorageRead)
    return found


def test_samples_of_the_documentation_are_no_reads_and_no_bad_lines() -> None:
    assert parsed(VERSIONING, PUT, "") == []


def test_read_of_an_object_is_told_with_all_that_counts() -> None:
    assert one(line(version="v1", status="206")) == StorageRead(
        bucket="clinical",
        keys=("dicom/1.2/3.4/5.6.dcm",),
        version_id="v1",
        at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        sent_bytes=2662,
        requester="arn:aws:iam::111122223333:user/a",
        agent="viewer/1.0",
    )


@pytest.mark.parametrize("size", [1, 2, 7, 20, 400])
def test_chunks_may_end_anywhere(size: int) -> None:
    assert parsed(VERSIONING, line(), PUT, line(), size=size) == [one(line())] * 2


@pytest.mark.parametrize("operation", ["REST.COPY.OBJECT_GET", "WEBSITE.GET.OBJECT"])
def test_copying_out_and_websites_read_too(operation: str) -> None:
    assert one(line(operation=operation)).bucket == "clinical"


@pytest.mark.parametrize("status", ["304", "403", "404", "500", "-"])
def test_request_that_got_no_bytes_is_no_read(status: str) -> None:
    assert parsed(line(status=status)) == []


@pytest.mark.parametrize("operation", ["REST.HEAD.OBJECT", "REST.GET.TAGGING", "S3.EXPIRE.OBJECT"])
def test_other_operations_are_no_reads(operation: str) -> None:
    assert parsed(line(operation=operation)) == []


def test_request_s3_made_itself_has_no_quotes() -> None:
    found = one(line(operation="REST.COPY.OBJECT_GET", request="-", quoted="- -", version="v2"))
    assert (found.version_id, found.agent) == ("v2", "")


@pytest.mark.parametrize("after", ["", AFTER, f"{AFTER} us-west-1 new fields"])
def test_fields_may_be_few_as_of_old_and_more_in_time(after: str) -> None:
    assert one(line(version="v1", after=after)).version_id == "v1"


@pytest.mark.parametrize(
    "key, meant",
    [
        ("a%252Bb", "a+b"),  # S3 encodes twice, with a space as plus
        ("a%2Bb", "a b"),
        ("a%2520b", "a b"),
        ("caf%25C3%25A9", "café"),
        ("a%20b", "a b"),
        ("100%25", "100%"),
    ],
)
def test_key_is_told_in_each_way_it_may_be_meant(key: str, meant: str) -> None:
    found = one(line(key=key)).keys
    assert meant in found
    assert len(set(found)) == len(found)


def test_quotes_in_what_a_client_sends_shift_no_field() -> None:
    found = one(line(quoted='"http://x/"" 200 -" "say "hi" 200 - 1 " now"', version="v1"))
    assert (found.version_id, found.sent_bytes) == ("v1", 2662)
    shifty = line(request='"GET /a" b HTTP/1.1"', version="v1")
    assert one(shifty).version_id == "v1"


@pytest.mark.parametrize(
    "text",
    [
        "not a log line",
        line().replace("/Mar/", "/Mrz/"),
        line().replace("01/Mar", "31/Feb"),
        line().replace("+0000", "+9900"),
        line(status="2OO"),
        line(quoted="", version="", after=""),
        "\x00\xff" * 10,
    ],
)
def test_line_that_is_none_is_told_by_number_and_the_others_count(text: str) -> None:
    first, bad, last = parsed(line(), text, line())
    assert isinstance(bad, BadLine)
    assert bad.number == 2
    assert text not in bad.expected
    assert first == last == one(line())


def test_endless_line_is_skipped_without_being_held() -> None:
    chunks = [b"x" * 4096] * (3 * MOST_LINE_BYTES // 4096) + [b"\n", line().encode()]
    bad, good = parse_access_log(chunks)
    assert isinstance(bad, BadLine)
    assert good == one(line())


def test_time_zone_other_than_utc_is_minded() -> None:
    found = one(line().replace("+0000", "-0130"))
    assert found.at == datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
    assert found.at.utcoffset() == -timedelta(minutes=90)


@pytest.mark.parametrize("part", ['" "', '" 200 - 1 1 1 1 "', "- " * 2, '"'])
def test_hostile_line_takes_no_longer_than_it_is(part: str) -> None:
    text = line(quoted='"' + part * (MOST_LINE_BYTES // (2 * len(part))) + '"')
    began = time.process_time()
    parsed(*[text] * 20)
    assert time.process_time() - began < 5


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_are_reads_or_bad_lines_and_never_an_error(data: bytes, size: int) -> None:
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    assert len(list(parse_access_log(chunks))) <= data.count(b"\n") + 1
