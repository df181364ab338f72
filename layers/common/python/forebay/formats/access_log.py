"""Amazon S3's server access logs: which requests were answered with bytes of an object.

Source: Amazon S3 User Guide, "Amazon S3 server access log format". Fields are separated by spaces;
time stands in brackets, Request-URI, Referer and User-Agent in double quotes that are not escaped
within; further fields may follow what is known today, and are passed over.

Keys are URL-encoded; in practice twice for requests over REST, although the page does not say so
(Yelp Engineering, 26 September 2025, "S3 server access logs at scale"). All ways to read one are
told; storage ids decide.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Final
from urllib.parse import unquote, unquote_plus

from forebay.domain.policy.access import BadLine, StorageRead

__all__ = ["MOST_LINE_BYTES", "parse_access_log"]

MOST_LINE_BYTES: Final = 64 << 10
"""A key is 1,024 bytes, nine times that encoded twice; headers are 8 KB at most."""

_READS: Final = frozenset(
    {
        "REST.GET.OBJECT",
        "WEBSITE.GET.OBJECT",
        # The half of a copy that reads; who copies a study out has opened it.
        "REST.COPY.OBJECT_GET",
        "REST.COPY.PART_GET",
    }
)
# Not by strptime, to which months are called as the machine's language has them.
_NAMES: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS: Final = {name: number for number, name in enumerate(_NAMES, start=1)}
_UNKNOWN: Final = "-"

_HEAD: Final = re.compile(
    r"\S+ (?P<bucket>\S+) \[(?P<time>[^\]]{1,64})\] \S+ (?P<requester>\S+) \S+"
    r" (?P<operation>[A-Z0-9._-]+) (?P<key>\S+) "
)
_TIME: Final = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
# What stands between the quoted Request-URI and the quoted Referer; the URI may be `-`, unquoted.
_MIDDLE: Final = re.compile(
    r"(?:\"|^-) (?P<status>\d{3}|-) (?:[A-Za-z0-9.]{1,64}|-) (?P<sent>\d{1,20}|-)"
    r" (?:\d{1,20}|-) (?:\d{1,20}|-) (?:\d{1,20}|-) (?=[\"-])"
)


def parse_access_log(chunks: Iterable[bytes]) -> Iterator[StorageRead | BadLine]:
    """Yield the reads that were answered, and the lines that are none; other requests are left out.

    Held in memory is one line, of `MOST_LINE_BYTES` at most.
    """
    for number, line in enumerate(_lines(chunks), start=1):
        if line is None:
            yield BadLine(number, f"a line of at most {MOST_LINE_BYTES} bytes")
        elif line.strip():
            found = _read(line.decode("utf-8", "surrogateescape"), number)
            if found is not None:
                yield found


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Yield lines without their ends, None for one that is too long."""
    begun, is_long = b"", False
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            is_long |= len(begun) + len(part) > MOST_LINE_BYTES
            yield None if is_long else (begun + part).rstrip(b"\r")
            begun, is_long = b"", False
        is_long |= len(begun) + len(rest) > MOST_LINE_BYTES
        begun = b"" if is_long else begun + rest
    if begun or is_long:
        yield None if is_long else begun.rstrip(b"\r")


def _read(line: str, number: int) -> StorageRead | BadLine | None:
    head = _HEAD.match(line)
    if head is None:
        return BadLine(number, "owner, bucket, [time], address, requester, id, operation, key")
    if head["operation"] not in _READS:
        return None
    at = _moment(head["time"])
    if at is None:
        return BadLine(number, "a time as 06/Feb/2019:00:00:38 +0000")
    rest = line[head.end() :]
    middle = _MIDDLE.search(rest)
    agent, version = _tail(rest[middle.end() :]) if middle else ("", "")
    if middle is None or not version:
        return BadLine(number, "request, status, error, sizes, times, referrer, agent, version")
    if not middle["status"].startswith("2") or head["key"] == _UNKNOWN:
        return None
    return StorageRead(
        bucket=head["bucket"],
        keys=_keys(head["key"]),
        version_id="" if version == _UNKNOWN else version,
        at=at,
        sent_bytes=0 if middle["sent"] == _UNKNOWN else int(middle["sent"]),
        requester=head["requester"],
        agent=agent,
    )


def _tail(text: str) -> tuple[str, str]:
    """Return user agent and version id: nothing after the agent is quoted, whatever stands in it.

    Of requests that S3 makes itself, Referer and User-Agent are `-` without quotes.
    """
    quoted, quote, after = text.rpartition('"')
    if not quote:
        return "", text.split(" ")[2] if text.count(" ") > 1 else ""
    fields = after.split(" ")
    return quoted.rpartition('" "')[2], fields[1] if len(fields) > 1 else ""


def _keys(text: str) -> tuple[str, ...]:
    twice = unquote_plus(unquote_plus(text, errors="surrogateescape"), errors="surrogateescape")
    once = unquote(text, errors="surrogateescape")
    return tuple(
        dict.fromkeys((twice, unquote(once, errors="surrogateescape"), once, text)),
    )


def _moment(text: str) -> datetime | None:
    match = _TIME.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        return None
    month = _MONTHS[match[2]]
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    ahead = timedelta(hours=int(match[8]), minutes=int(match[9]))
    try:
        zone = timezone(ahead if match[7] == "+" else -ahead)
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
    except ValueError:
        return None
