"""Walking the data elements of a DICOM data set without recursion (PS3.5 section 7).

The walk steps over values; it keeps those that were asked for and checks that everything else
fits: tags ascend, lengths end inside what contains them, sequences are closed.
"""

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from forebay.domain.findings import Owner, ReasonCode
from forebay.formats.dicom_reader import DicomLimits, RangeReader, RefusedError, refused
from forebay.formats.dicom_scan import scan_plain
from forebay.formats.dicom_structure import (
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_BYTES,
    ITEM_END,
    LONG_VRS,
    PIXEL_TAGS,
    PIXELS,
    SEQUENCE_END,
    SEQUENCE_END_BYTES,
    SHORT_VRS,
    UNDEFINED,
    VRS,
    Container,
    DataSetWalk,
    Encoding,
    Open,
    PixelData,
    RawValue,
)

__all__ = ["MAX_ZERO_PADDING_BYTES", "walk_data_set"]

_LITTLE: Final = (struct.Struct("<HH"), struct.Struct("<H"), struct.Struct("<I"))
_BIG: Final = (struct.Struct(">HH"), struct.Struct(">H"), struct.Struct(">I"))
# Behind compressed pixel data stands nothing, or padding and signatures.
_TAIL_BYTES: Final = 1 << 10
_LONG_TAIL_BYTES: Final = 64 << 10
# To read this much takes less time than one request more.
_LAST_FRAGMENTS_BYTES: Final = 128 << 10
_MAX_END_CANDIDATES: Final = 64
# To look at every frame of a file whose offset table is wrong.
_MAX_WALK_REQUESTS: Final = 64
_MAX_WALK_BYTES: Final = 16 << 20
# Of a sequence that is kept: data set, sequence, item; nobody requests a hundred procedures.
_IN_AN_ITEM: Final = 3
_MAX_ITEMS: Final = 100
_MAX_ITEM_VALUE_BYTES: Final = 64
# Where nesting beyond every bound shows at the latest, unless something stands before it.
_SEQUENCE_HEAD_BYTES: Final = 1 << 10
_LONG_HEADER_BYTES: Final = 12
MAX_ZERO_PADDING_BYTES: Final = 64 << 10
"""What follows a data set may be this many zeros; some archives pad to blocks."""


def walk_data_set(
    reader: RangeReader,
    start: int,
    encoding: Encoding,
    *,
    wanted: Mapping[int, bool],
    limits: DicomLimits,
) -> DataSetWalk:
    """Walk a data set from `start` to the end of the file; raises RefusedError.

    `wanted` says of which elements the presence is noted, and True where the value is kept; of a
    sequence, the short values in its items.
    """
    return _Walker(reader, start, encoding, wanted=wanted, limits=limits).run()


class _Walker:
    def __init__(
        self,
        reader: RangeReader,
        start: int,
        encoding: Encoding,
        *,
        wanted: Mapping[int, bool],
        limits: DicomLimits,
    ) -> None:
        self._wanted = wanted
        self._reader = reader
        self._limits = limits
        self._start = start
        self._is_resumed = False
        self._items: list[dict[int, RawValue]] | None = None
        self._at = start
        self._walk = DataSetWalk()
        self._opened = [Open(Container.DATA_SET, reader.size_bytes, False, encoding)]

    def run(self) -> DataSetWalk:
        while self._opened:
            if len(self._opened) == 1:
                self._items = None
            if self._walk.last_tag and self._items is None:
                self._scan()
            self._step()
        return self._walk

    def _step(self) -> None:
        """Take one element, item or delimiter, or close what ends here."""
        top = self._opened[-1]
        if self._at == top.end and not top.is_undefined:
            self._opened.pop()
        elif top.end - self._at < 8:
            self._no_room(top)
            self._opened.clear()
        else:
            self._count()
            if top.kind in (Container.DATA_SET, Container.ITEM):
                self._element(top)
            else:
                self._item(top)

    def _scan(self) -> None:
        """Take everything plain that lies in the window."""
        window, start = self._reader.held()
        if self._at - start > len(window) - 8:
            return
        at = scan_plain(
            window,
            self._at - start,
            start=start,
            opened=self._opened,
            walk=self._walk,
            wanted=self._wanted,
            limits=self._limits,
        )
        self._at = at + start

    def _count(self) -> None:
        self._walk.elements += 1
        if self._walk.elements > self._limits.max_elements:
            raise refused(
                ReasonCode.LIMIT_EXCEEDED,
                "The data set has more elements than Forebay reads.",
                at=self._at,
                expected=f"at most {self._limits.max_elements} elements",
                owner=Owner.DATA_STEWARD,
            )

    def _push(self, kind: Container, end: int | None, encoding: Encoding) -> None:
        if len(self._opened) > self._limits.max_depth:
            raise refused(
                ReasonCode.LIMIT_EXCEEDED,
                "Sequences are nested deeper than in any real object.",
                at=self._at,
                expected=f"at most {self._limits.max_depth} levels",
            )
        if self._items is not None and len(self._opened) == _IN_AN_ITEM - 1:
            self._take_item()
        parent_end = self._opened[-1].end
        self._opened.append(Open(kind, parent_end if end is None else end, end is None, encoding))

    def _take_item(self) -> None:
        """Begin the values of the next item; after so many, go on at speed without more."""
        if self._items is not None and len(self._items) < _MAX_ITEMS:
            self._items.append({})
        else:
            self._items = None

    def _element(self, top: Open) -> None:
        tags, shorts, longs = _LITTLE if top.encoding.is_little_endian else _BIG
        window, index = self._reader.window(self._at, 8)
        group, number = tags.unpack_from(window, index)
        tag = group << 16 | number
        if group == 0xFFFE:
            self._close_item(top, tag)
            return
        is_top_level = len(self._opened) == 1
        if is_top_level and not self._is_in_order(tag, window, index):
            return
        vr, header, length = b"", 8, 0
        if top.encoding.is_explicit:
            vr = window[index + 4 : index + 6]
            if vr in SHORT_VRS:
                (length,) = shorts.unpack_from(window, index + 6)
            else:
                self._require_vr(vr, top)
                window, index = self._reader.window(self._at, 12)
                (length,) = longs.unpack_from(window, index + 8)
                header = 12
        else:
            (length,) = longs.unpack_from(window, index + 4)
        value_at = self._at + header
        if length == UNDEFINED:
            self._undefined_length(tag, vr, value_at, top)
        elif value_at + length > top.end:
            self._overrun(tag, length, top)
        elif self._is_sequence(tag, vr, value_at, length):
            self._at = value_at
            self._open_sequence(tag, value_at + length, top.encoding)
        else:
            if is_top_level:
                self._keep(tag, vr, value_at, length)
            elif self._items and len(self._opened) == _IN_AN_ITEM:
                self._keep_in_item(self._items[-1], tag, vr, value_at, length)
            self._at = value_at + length

    def _open_sequence(self, tag: int, end: int | None, encoding: Encoding) -> None:
        if len(self._opened) == 1 and self._wanted.get(tag):
            self._items = self._walk.items[tag] = []
        self._push(Container.SEQUENCE, end, encoding)

    def _keep_in_item(
        self, item: dict[int, RawValue], tag: int, vr: bytes, value_at: int, length: int
    ) -> None:
        if length <= _MAX_ITEM_VALUE_BYTES:
            item[tag] = vr.decode("ascii"), self._reader.take(value_at, length)

    def _require_vr(self, vr: bytes, top: Open) -> None:
        if vr in LONG_VRS:
            if top.end - self._at < 12:
                self._no_room(top)
            return
        # PS3.5 section 6.2 promises the long form, with two zero bytes, to VRs still to come.
        is_future = vr.isalpha() and vr.isupper() and top.end - self._at >= 12
        if not (is_future and self._reader.take(self._at + 6, 2) == b"\0\0"):
            raise refused(
                ReasonCode.DICOM_MALFORMED,
                "An element's value representation is none that DICOM knows: the file is damaged,"
                " or not encoded as its transfer syntax says.",
                at=self._at + 4,
                expected="a value representation of PS3.5 section 6.2",
                found=f"bytes {vr.hex()}",
            )

    def _is_in_order(self, tag: int, window: bytes, index: int) -> bool:
        """Tell whether to go on with a top-level element; False ends the walk with padding."""
        if self._at == self._start and not self._is_resumed:
            self._check_first(tag, window, index)
        if tag > self._walk.last_tag and tag >> 16 > 2:
            self._walk.last_tag = tag
            self._walk.tags.add(tag)
            return True
        if tag == 0 and self._walk.last_tag and self._is_zero_to_the_end():
            self._walk.zero_padding_at = self._at
            self._at = self._reader.size_bytes
            return False
        if self._walk.pixels is not None:
            raise self._trailing()
        if tag == self._walk.last_tag:
            problem, expected = "twice", "each element once"
        else:
            problem, expected = "out of order", "ascending tags"
        raise refused(
            ReasonCode.DICOM_MALFORMED,
            f"The element {_name(tag)} stands {problem} in the data set: the file was put together"
            " wrongly, and its identity cannot be trusted.",
            at=self._at,
            expected=expected,
            found=f"{_name(tag)} after {_name(self._walk.last_tag)}",
        )

    def _check_first(self, tag: int, window: bytes, index: int) -> None:
        encoding = self._opened[0].encoding
        looks_explicit = window[index + 4 : index + 6] in VRS
        if tag >> 16 == 0x0800:
            found = "the other byte order"
        elif looks_explicit != encoding.is_explicit:
            found = "explicit" if looks_explicit else "no or unknown"
            found += " value representations"
        else:
            return
        raise refused(
            ReasonCode.DICOM_MALFORMED,
            "The data set is not encoded as the transfer syntax in its file meta information says.",
            at=self._at,
            expected="an element as the transfer syntax encodes it",
            found=found,
            owner=Owner.INSTRUMENT,
        )

    def _is_padding(self) -> bool:
        """Tell whether the few last bytes are zeros that cannot be the start of an element."""
        # A single zero may be the first half of a group number, when the file was cut there.
        is_cut = self._reader.size_bytes - self._at == 1 and self._walk.pixels is None
        return not is_cut and self._is_zero_to_the_end()

    def _is_zero_to_the_end(self) -> bool:
        rest = self._reader.size_bytes - self._at
        return rest <= MAX_ZERO_PADDING_BYTES and not any(self._reader.take(self._at, rest))

    def _close_item(self, top: Open, tag: int) -> None:
        if tag == ITEM_END and top.kind is Container.ITEM and top.is_undefined:
            self._opened.pop()
            self._at += 8
            return
        if len(self._opened) == 1 and self._walk.pixels is not None:
            raise self._trailing()
        raise refused(
            ReasonCode.DICOM_MALFORMED,
            "An item or delimiter stands where an element should: the structure is broken.",
            at=self._at,
            expected=f"an element of {top.kind.value}",
            found=_name(tag),
        )

    def _undefined_length(self, tag: int, vr: bytes, value_at: int, top: Open) -> None:
        if tag == PIXELS and len(self._opened) == 1:
            self._encapsulated_pixels(value_at)
            return
        self._at = value_at
        if vr in (b"", b"SQ"):
            self._open_sequence(tag, None, top.encoding)
        elif vr == b"UN":
            # PS3.5 section 6.2.2 note 4: such a value is a sequence in implicit little endian.
            self._open_sequence(tag, None, IMPLICIT_LITTLE)
        elif vr in (b"OB", b"OW"):
            self._push(Container.FRAGMENTS, None, top.encoding)
        else:
            raise refused(
                ReasonCode.DICOM_MALFORMED,
                f"The element {_name(tag)} has an undefined length, which its kind cannot have.",
                at=self._at,
                expected="a defined length",
                found="undefined length",
            )

    def _encapsulated_pixels(self, value_at: int) -> None:
        if not self._opened[0].encoding.is_encapsulated:
            raise refused(
                ReasonCode.DICOM_MALFORMED,
                "The pixel data is encapsulated, but the transfer syntax is a native one.",
                at=self._at,
                expected="a defined length",
                found="undefined length",
                owner=Owner.INSTRUMENT,
            )
        self._walk.pixels = PixelData(PIXELS, value_at, None)
        self._at = value_at
        self._at = self._end_of_fragments()

    def _end_of_fragments(self) -> int:
        """Find where the pixel data ends, with two requests at most when nothing is odd.

        Item lengths lead there as far as bytes are at hand. A filled basic offset table (PS3.5
        section A.4) leads straight to the last frame, whose length must fit too: when it begins
        near the end of the file, all from there on is read at once. Otherwise the tail alone tells.
        """
        tag, length = self._fragment()
        table_at, table_end = self._at, self._at + 8 + length
        if tag != ITEM or table_end > self._reader.size_bytes:
            raise self._broken_fragments(_name(tag))
        last_frame_at = table_end
        if length >= 4:
            (offset,) = _LITTLE[2].unpack(self._reader.take(table_end - 4, 4))
            last_frame_at += offset
        self._at = table_end
        starts: list[int] = []
        end = self._follow_fragments(starts)
        if end is not None:
            self._count_fragments(len(starts))
        if last_frame_at == table_end or last_frame_at in starts:
            return self._find_end_in_tail() if end is None else end
        if end is None and last_frame_at > self._at and self._is_fragment(last_frame_at):
            self._at = last_frame_at
            end = self._follow_fragments([])
            return self._find_end_in_tail() if end is None else end
        # Some writers get the table wrong; the items themselves are what counts.
        self._walk.wrong_table_at = table_at
        return self._walk_fragments(len(starts)) if end is None else end

    def _follow_fragments(self, starts: list[int]) -> int | None:
        """Return where the items that are at hand or near the end lead; None when they do not."""
        size = self._reader.size_bytes
        while size - self._at >= 8:
            if not self._reader.holds(self._at, 8):
                if size - self._at > _LAST_FRAGMENTS_BYTES:
                    return None
                self._reader.window(self._at, size - self._at)
            tag, length = self._fragment()
            if tag == SEQUENCE_END:
                return self._at + 8
            if tag != ITEM:
                raise self._broken_fragments(_name(tag))
            starts.append(self._at)
            self._at += 8 + length
        raise self._cut_pixels()

    def _is_fragment(self, at: int) -> bool:
        """Tell whether an item begins at a place; what follows is read with it when it is short."""
        rest = self._reader.size_bytes - at
        if rest < 8:
            return False
        window, index = self._reader.window(at, rest if rest <= _LAST_FRAGMENTS_BYTES else 8)
        return window[index : index + 4] == ITEM_BYTES

    def _walk_fragments(self, count: int) -> int:
        """Go from item to item where the offset table leads astray; they tell if bytes are lost."""
        self._find_end_in_tail()
        reader = self._reader
        most_requests = reader.requests + _MAX_WALK_REQUESTS
        most_bytes = reader.bytes_read + _MAX_WALK_BYTES
        while reader.requests <= most_requests and reader.bytes_read <= most_bytes:
            tag, length = self._fragment()
            if tag == SEQUENCE_END:
                self._count_fragments(count)
                return self._at + 8
            if tag != ITEM:
                raise self._broken_fragments(_name(tag))
            count += 1
            self._at += 8 + length
        raise refused(
            ReasonCode.DICOM_MALFORMED,
            "The offset table of the compressed pixel data leads to no frame, and there are too"
            " many frames to look for damage at each: bytes are missing, or the table is wrong.",
            at=self._walk.wrong_table_at,
            expected="the places of frames",
            found="the place of none",
        )

    def _count_fragments(self, count: int) -> None:
        if self._walk.pixels is not None:
            self._walk.pixels = self._walk.pixels._replace(fragments=count)

    def _fragment(self) -> tuple[int, int]:
        if self._reader.size_bytes - self._at < 8:
            raise self._cut_pixels()
        window, index = self._reader.window(self._at, 8)
        group, number = _LITTLE[0].unpack_from(window, index)
        return group << 16 | number, _LITTLE[2].unpack_from(window, index + 4)[0]

    def _find_end_in_tail(self) -> int:
        """Find the delimiter of the pixel data from which sound elements lead to the end."""
        for tail_bytes in (_TAIL_BYTES, _LONG_TAIL_BYTES):
            if (end := self._find_end_in(tail_bytes)) is not None:
                return end
        raise self._cut_pixels()

    def _find_end_in(self, tail_bytes: int) -> int | None:
        size = self._reader.size_bytes
        tail_at = max(self._at, size - tail_bytes)
        tail = self._reader.take(tail_at, size - tail_at)
        index = -1
        for _ in range(_MAX_END_CANDIDATES):
            index = tail.find(SEQUENCE_END_BYTES, index + 1)
            if index < 0:
                return None
            end = tail_at + index + len(SEQUENCE_END_BYTES)
            if self._is_sound_from(end):
                return end
        return None

    def _is_sound_from(self, at: int) -> bool:
        encoding = self._opened[0].encoding
        walker = _Walker(self._reader, at, encoding, wanted={}, limits=self._limits)
        walker._is_resumed = True
        walker._walk.last_tag = PIXELS
        try:
            walker.run()
        except RefusedError:
            return False
        return True

    def _cut_pixels(self) -> RefusedError:
        return refused(
            ReasonCode.DICOM_TRUNCATED,
            "The compressed pixel data does not end before the file does: the file was cut off."
            " Send it again.",
            at=min(self._at, self._reader.size_bytes),
            expected="the sequence delimitation item that ends the pixel data",
            found=f"end of file at byte {self._reader.size_bytes}",
        )

    def _broken_fragments(self, found: str) -> RefusedError:
        return refused(
            ReasonCode.DICOM_MALFORMED,
            "The compressed pixel data is not a row of items: the file is damaged.",
            at=self._at,
            expected="an item or the end of the pixel data",
            found=found,
        )

    def _overrun(self, tag: int, length: int, top: Open) -> None:
        if len(self._opened) > 1 and not self._reaches_file_end(top):
            raise refused(
                ReasonCode.DICOM_MALFORMED,
                f"The element {_name(tag)} is longer than {top.kind.value} that contains it.",
                at=self._at,
                expected=f"an end at or before byte {top.end}",
                found=f"a length of {length} bytes",
            )
        if self._walk.pixels is not None and tag not in PIXEL_TAGS and tag >> 16 > 0xFFFC:
            raise self._trailing()
        raise refused(
            ReasonCode.DICOM_TRUNCATED,
            f"The element {_name(tag)} ends beyond the end of the file: the file was cut off, or"
            " the length is wrong. Send it again.",
            at=self._at,
            expected=f"{length} bytes of value",
            found=f"end of file at byte {self._reader.size_bytes}",
        )

    def _reaches_file_end(self, top: Open) -> bool:
        return top.end == self._reader.size_bytes

    def _is_sequence(self, tag: int, vr: bytes, value_at: int, length: int) -> bool:
        """Tell whether to go into an element; the head of a sequence too long for it is judged."""
        if length == 0 or tag in PIXEL_TAGS:
            return False
        # Without VRs only the content tells; private elements may hold anything.
        if vr != b"SQ" and (
            vr
            or length < 8
            or tag >> 16 & 1
            or self._reader.take(value_at, len(ITEM_BYTES)) != ITEM_BYTES
        ):
            return False
        if length <= self._limits.max_sequence_bytes:
            return True
        self._judge_head(value_at, value_at + length)
        return False

    def _judge_head(self, at: int, end: int) -> None:
        """Refuse a long sequence whose first bytes are no items, or nest too deep."""
        encoding = self._opened[-1].encoding
        limits = replace(self._limits, max_sequence_bytes=UNDEFINED)
        walker = _Walker(self._reader, at, encoding, wanted={}, limits=limits)
        walker._opened = self._opened.copy()
        walker._push(Container.SEQUENCE, end, encoding)
        head_end = min(at + _SEQUENCE_HEAD_BYTES, end)
        # At once, so that how much is judged does not depend on what is at hand.
        self._reader.window(at, min(_SEQUENCE_HEAD_BYTES + _LONG_HEADER_BYTES, end - at))
        while walker._at < head_end:
            walker._step()

    def _keep(self, tag: int, vr: bytes, value_at: int, length: int) -> None:
        if tag in PIXEL_TAGS:
            if self._opened[0].encoding.is_encapsulated and tag == PIXELS and length:
                raise refused(
                    ReasonCode.DICOM_MALFORMED,
                    "The transfer syntax is a compressed one, but the pixel data is native.",
                    at=self._at,
                    expected="encapsulated pixel data of undefined length",
                    found=f"a defined length of {length} bytes",
                    owner=Owner.INSTRUMENT,
                )
            self._walk.pixels = PixelData(tag, value_at, length)
        elif self._wanted.get(tag) and length > self._limits.max_value_bytes:
            self._walk.oversized.append(tag)
        elif self._wanted.get(tag):
            value = self._reader.take(value_at, length)
            self._walk.values[tag] = vr.decode("ascii"), value

    def _item(self, top: Open) -> None:
        tags, _, longs = _LITTLE if top.encoding.is_little_endian else _BIG
        window, index = self._reader.window(self._at, 8)
        group, number = tags.unpack_from(window, index)
        (length,) = longs.unpack_from(window, index + 4)
        tag = group << 16 | number
        if tag == SEQUENCE_END and top.is_undefined:
            self._opened.pop()
            self._at += 8
        elif tag != ITEM:
            raise refused(
                ReasonCode.DICOM_MALFORMED,
                f"What stands in {top.kind.value} is no item: the structure is broken.",
                at=self._at,
                expected="an item or the end of the sequence",
                found=_name(tag),
            )
        elif length == UNDEFINED and top.kind is Container.SEQUENCE:
            self._at += 8
            self._push(Container.ITEM, None, top.encoding)
        elif self._at + 8 + length > top.end:
            self._overrun(tag, length, top)
        elif top.kind is Container.FRAGMENTS:
            self._at += 8 + length
        else:
            self._at += 8
            self._push(Container.ITEM, self._at + length, top.encoding)

    def _no_room(self, top: Open) -> None:
        """Judge the fewer bytes than an element needs that a container has left."""
        if top.kind is Container.DATA_SET and self._is_padding():
            self._walk.zero_padding_at = self._at
            return
        if top.end < self._reader.size_bytes:
            raise refused(
                ReasonCode.DICOM_MALFORMED,
                f"What is left of {top.kind.value} is too short to be an element: the structure is"
                " broken.",
                at=self._at,
                expected=f"an element, or an end at byte {self._at}",
                found=f"an end at byte {top.end}",
            )
        raise refused(
            ReasonCode.DICOM_TRUNCATED,
            f"The file ends in the middle of {top.kind.value}: it was cut off. Send it again.",
            at=self._at,
            expected="the rest of an element",
            found=f"end of file at byte {self._reader.size_bytes}",
        )

    def _trailing(self) -> RefusedError:
        return refused(
            ReasonCode.DICOM_TRAILING_BYTES,
            "After the pixel data come bytes that are no DICOM elements: something was appended to"
            " the file, or its length is wrong.",
            at=self._at,
            expected="the end of the file, or further elements",
            found=f"{self._reader.size_bytes - self._at} bytes",
        )


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
