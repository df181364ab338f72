"""Text in the character sets of DICOM, with code extensions (PS3.5 section 6.1, PS3.3 C.12.1.1.2).

With code extensions a byte means what the escape sequences before it say: half of a kanji may be
the byte of a backslash. So text is decoded first, and split at its delimiters afterwards.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["CharacterSet", "character_set"]

_ASCII: Final = "ascii"
_JIS_X_0201: Final = "shift_jis"
_JIS_X_0208: Final = "iso2022_jp"
_JIS_X_0212: Final = "iso2022_jp_2"
# Registration number, and the codec of a set that has ASCII (or nearly that) in its lower half.
_REGISTERED: Final = {
    "6": _ASCII,
    "13": _JIS_X_0201,
    "58": "gb2312",
    "87": _JIS_X_0208,
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "149": "euc_kr",
    "159": _JIS_X_0212,
    "166": "tis_620",
    "192": "utf_8",
    "203": "iso8859_15",
}
# Sets of two bytes come by escape sequences only, UTF-8 knows none.
_TERM: Final = re.compile(r"ISO_IR (?!(?:58|87|149|159)$)(\d+)|ISO 2022 IR (?!192$)(\d+)")
# As some write it: ISO IR 100, ISO-IR 192, iso_ir_100, ISO 2022 IR100.
_NEARLY_TERM: Final = re.compile(r"ISO[_ -]?(?:2022[_ -]?)?IR[_ -]?(\d+)", re.IGNORECASE)
_ALONE: Final = {"GB18030": "gb18030", "GBK": "gbk", "ISO 2022 GBK": "gbk", "ISO 2022 58": "gb2312"}
_NEARLY_ALONE: Final = {
    "UTF8": "utf_8",
    "UTF-8": "utf_8",
    "SHIFT_JIS": "shift_jis",
    "SHIFT-JIS": "shift_jis",
    "SJIS": "shift_jis",
}
_UNKNOWN: Final = "latin_1"
# In these a second byte may look like a delimiter.
_AMBIGUOUS: Final = frozenset({"gb18030", "gbk", "shift_jis"})
_NOT_EXTENSIBLE: Final = frozenset({"utf_8", "gb18030", "gbk"})

# What an escape sequence designates for the lower or the upper half of the code table (PS3.3 tables
# C.12-3 and C.12-4; the set of 1978 is the predecessor of JIS X 0208).
_LOWER: Final = {
    b"(B": _ASCII,
    b"(J": _JIS_X_0201,
    b"$B": _JIS_X_0208,
    b"$@": _JIS_X_0208,
    b"$(D": _JIS_X_0212,
}
_UPPER: Final = {
    b")I": _JIS_X_0201,
    b"$)A": "gb2312",
    b"$)C": "euc_kr",
    b"-A": "latin_1",
    b"-B": "iso8859_2",
    b"-C": "iso8859_3",
    b"-D": "iso8859_4",
    b"-F": "iso8859_7",
    b"-G": "iso8859_6",
    b"-H": "iso8859_8",
    b"-L": "iso8859_5",
    b"-M": "iso8859_9",
    b"-T": "tis_620",
    b"-b": "iso8859_15",
}
_PAIRS_BEGIN: Final = {_JIS_X_0208: b"\x1b$B", _JIS_X_0212: b"\x1b$(D"}
_PIECE: Final = re.compile(
    rb"\x1b(?P<escape>[ -/]*[0-~]?)|(?P<lower>[!-~]+)|(?P<upper>[\x80-\xff]+)"
    rb"|(?P<control>[\0- \x7f])"
)
# These end a line or page, after which the first character set is active again.
_ENDS: Final = b"\t\n\f\r"


class _Decoded(NamedTuple):
    text: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """The codecs of a Specific Character Set, and whether all its terms are known."""

    codecs: tuple[str, ...]
    is_correct: bool

    @property
    def is_ambiguous(self) -> bool:
        """Tell whether bytes of delimiters may also be halves of characters."""
        return self.codecs[0] in _AMBIGUOUS

    def decode(self, value: bytes, delimiters: bytes) -> tuple[str, bool]:
        """Return decoded text, and whether every byte of it was in the declared character set."""
        first = self.codecs[0]
        if b"\x1b" in value and first not in _NOT_EXTENSIBLE:
            return _Extended(self.codecs, delimiters + _ENDS).decode(value)
        if first == _ASCII and not value.isascii():
            # What it is cannot be known, and this loses nothing.
            return value.decode(_UNKNOWN), False
        return _decode(value, first)


def character_set(terms: list[str]) -> CharacterSet:
    """Return the character set that the values of Specific Character Set name."""
    codecs: list[str] = []
    is_correct = True
    for term in terms:
        codec, is_known = _codec(term)
        codecs.append(codec)
        is_correct &= is_known
    if len(codecs) > 1 and not _NOT_EXTENSIBLE.isdisjoint(codecs):
        # These stand alone (PS3.5 section 6.1.2.5.4): as first one it counts, else it does not.
        is_correct = False
        codecs = [each for each in codecs if each not in _NOT_EXTENSIBLE] or codecs[:1]
        if (first := _codec(terms[0])[0]) in _NOT_EXTENSIBLE:
            codecs = [first]
    return CharacterSet(tuple(codecs), is_correct)


def _codec(term: str) -> tuple[str, bool]:
    if not term:
        return _ASCII, True
    if term in _ALONE:
        return _ALONE[term], True
    if (nearly := _NEARLY_TERM.fullmatch(term)) and nearly[1] in _REGISTERED:
        return _REGISTERED[nearly[1]], _TERM.fullmatch(term) is not None
    return _NEARLY_ALONE.get(term.upper(), _UNKNOWN), False


class _Extended:
    """One value with escape sequences, and which sets are active at a place in it."""

    def __init__(self, codecs: tuple[str, ...], delimiters: bytes) -> None:
        self._declared = frozenset((_ASCII, *codecs))
        if not {_JIS_X_0208, _JIS_X_0212}.isdisjoint(codecs):
            # Japanese systems go back to its lower half, which is ASCII but for two characters.
            self._declared |= {_JIS_X_0201}
        self._first = codecs[0]
        self._delimiters = delimiters
        self._is_whole = True
        self._texts: list[str] = []
        self._reset()

    def decode(self, value: bytes) -> _Decoded:
        for piece in _PIECE.finditer(value):
            kind, found = piece.lastgroup, piece[0]
            if kind == "escape":
                self._designate(piece["escape"])
            elif kind == "upper":
                self._add(found, self._upper)
            elif kind == "lower":
                self._take_lower(found)
            else:
                self._add(found, _ASCII)
                if found in _ENDS:
                    self._reset()
        return _Decoded("".join(self._texts), self._is_whole)

    def _reset(self) -> None:
        """Make the first set active, as it is at the start and behind a delimiter (6.1.2.5.3)."""
        self._lower = _JIS_X_0201 if self._first == _JIS_X_0201 else _ASCII
        self._upper = _ASCII if self._first in _PAIRS_BEGIN else self._first

    def _designate(self, escape: bytes) -> None:
        codec = _LOWER.get(escape) or _UPPER.get(escape)
        if codec is None:
            self._is_whole = False
            # As text it was no escape sequence; what it shows stays, the control does not.
            self._texts.append(escape.decode(_ASCII))
            return
        self._is_whole &= codec in self._declared
        if escape in _LOWER:
            self._lower = codec
        else:
            self._upper = codec

    def _take_lower(self, run: bytes) -> None:
        if begin := _PAIRS_BEGIN.get(self._lower):
            pairs, rest = run[: len(run) // 2 * 2], run[len(run) // 2 * 2 :]
            self._add(begin + pairs, self._lower)
            if not rest:
                return
            # Forgotten before a delimiter was only the way back to the first set.
            self._is_whole &= rest in self._delimiters
            run = rest
        for each in re.split(b"([" + re.escape(self._delimiters) + b"])", run):
            self._add(each, self._lower if self._lower not in _PAIRS_BEGIN else _ASCII)
            if each and each in self._delimiters:
                self._reset()

    def _add(self, piece: bytes, codec: str) -> None:
        if codec == _ASCII and not piece.isascii():
            codec, self._is_whole = _UNKNOWN, False
        text, is_whole = _decode(piece, codec)
        self._texts.append(text)
        self._is_whole &= is_whole


def _decode(value: bytes, codec: str) -> _Decoded:
    try:
        return _Decoded(value.decode(codec), True)
    except UnicodeDecodeError:
        return _Decoded(value.decode(codec, errors="replace"), False)
