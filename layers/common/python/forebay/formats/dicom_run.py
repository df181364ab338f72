"""Runs of plain elements inside of sequence items, stepped over in one go by regular expressions.

Most elements of structured reports, segmentations and multi-frame objects stand there, and nothing
of them is kept. A pattern knows lengths up to 64 bytes and sequences of undefined length; whatever
else ends the run, and is left to the loop. Every repetition is possessive, so the time is linear.
"""

import re
from collections.abc import Callable
from typing import Final, cast

__all__ = ["EXPLICIT_RUN", "EXPLICIT_SEQUENCE", "IMPLICIT_RUN", "RUN_DEPTH"]

_MAX_VALUE_BYTES: Final = 64
_NESTED_SEQUENCES: Final = 2
# Neither pixel data, nor items and delimiters.
_TAG: Final = rb".[^\x7f\xff].."
_SHORT_VR: Final = rb"(?:A[EST]|CS|D[AST]|F[DL]|IS|L[OT]|PN|S[HLST]|TM|U[ILS])"
_SEQUENCE_ITEMS: Final = (
    rb"(?:\xfe\xff\0\xe0\xff{4}%s\xfe\xff\x0d\xe0\0{4})*+"
    rb"\xfe\xff\xdd\xe0\0{4}"
)
_SEQUENCE: Final = rb"SQ\0\0\xff{4}" + _SEQUENCE_ITEMS
# Without a VR only the content tells a sequence: it begins with an item.
_NO_ITEM: Final = rb"(?!\xfe\xff\0\xe0)"

RUN_DEPTH: Final = 2 * _NESTED_SEQUENCES + 2
"""How many more containers than the one around it a run may open."""


def _values(zeros: bytes, *, may_be_sequence: bool) -> bytes:
    """Return a pattern for even lengths, little endian with `zeros` on top, and their values."""
    return b"|".join(
        b"\\x%02x%s%s.{%d}"
        % (size, zeros, _NO_ITEM if may_be_sequence and size >= 8 else b"", size)
        for size in range(0, _MAX_VALUE_BYTES + 1, 2)
    )


def _explicit_run() -> bytes:
    plain = b"%s(?:%s)" % (_SHORT_VR, _values(rb"\0", may_be_sequence=False))
    run = b"(?:%s%s)*+" % (_TAG, plain)
    for _ in range(_NESTED_SEQUENCES):
        run = b"(?:%s(?:%s|%s))*+" % (_TAG, plain, _SEQUENCE % run)
    return run


def _implicit_run() -> bytes:
    return b"(?:%s(?:%s))*+" % (_TAG, _values(rb"\0\0\0", may_be_sequence=True))


def _matcher(pattern: bytes) -> Callable[[bytes, int, int], re.Match[bytes]]:
    match = re.compile(pattern, re.DOTALL).match
    # A run matches everywhere, if nothing: it is never None.
    return cast("Callable[[bytes, int, int], re.Match[bytes]]", match)


EXPLICIT_RUN: Final = _matcher(_explicit_run())
IMPLICIT_RUN: Final = _matcher(_implicit_run())
# The items and the end of one sequence of undefined length, behind its header.
EXPLICIT_SEQUENCE: Final = re.compile(_SEQUENCE_ITEMS % _explicit_run(), re.DOTALL).match
