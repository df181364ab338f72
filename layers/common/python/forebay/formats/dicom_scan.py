"""The loop in which a walk over a data set spends its time: plain elements in bytes at hand."""

import struct
from collections.abc import Mapping
from typing import Final

from forebay.formats.dicom_reader import DicomLimits
from forebay.formats.dicom_structure import (
    ITEM_BYTES,
    LONG_VRS,
    SHORT_VRS,
    UNDEFINED,
    VRS,
    Container,
    DataSetWalk,
    Open,
    RawValue,
)

__all__ = ["scan_plain"]

_EXPLICIT: Final = struct.Struct("<HHHH").unpack_from
_IMPLICIT: Final = struct.Struct("<HHI").unpack_from
_ITEM: Final = struct.Struct("<II").unpack_from
_LENGTH: Final = struct.Struct("<I").unpack_from
# VRs as numbers, since these need no object for each element.
_NUMBERS: Final = {int.from_bytes(vr, "little"): vr for vr in VRS}
_NAMES: Final = {number: vr.decode("ascii") for number, vr in _NUMBERS.items()} | {0: ""}
_SHORT: Final = frozenset(number for number, vr in _NUMBERS.items() if vr in SHORT_VRS)
_LONG: Final = frozenset(number for number, vr in _NUMBERS.items() if vr in LONG_VRS)
_SQ: Final = int.from_bytes(b"SQ", "little")
_PIXEL_GROUP: Final = 0x7FE0
_LAST_BYTES: Final = 12
_ITEM_END: Final = b"\xfe\xff\x0d\xe0"
# Read in one, so that the group, which comes first, is the lower half.
_ITEM_TAG: Final = 0xE000FFFE
_SEQUENCE_END_TAG: Final = 0xE0DDFFFE


def scan_plain(  # noqa: C901, PLR0912, PLR0913, PLR0915 - calls would cost more than what they do
    window: bytes,
    at: int,
    *,
    start: int,
    opened: list[Open],
    walk: DataSetWalk,
    wanted: Mapping[int, bool],
    limits: DicomLimits,
) -> int:
    """Step over what is plain in a window, as nearly everything nearly always is.

    Opens and closes sequences and items as it goes. Stops before pixel data, before whatever needs
    bytes that are not there, and before whatever is wrong or rare: these belong to the walker,
    which does the same one by one, with reasons.

    Args:
        window: bytes of the file.
        at: where in the window to go on.
        start: offset of the window in the file.
        opened: the containers around `at`, the data set first; changed in place.
        walk: what was found so far, at least one element; changed in place.
        wanted: tags to note, True where the value is to be kept.
        limits: bounds; none is exceeded.

    Returns:
        Where in the window the first thing stands that is not plain.
    """
    if at < 0 or opened[-1].kind is Container.FRAGMENTS or not opened[0].encoding.is_little_endian:
        return at
    ready = len(window) - _LAST_BYTES
    # The containers around the innermost, in offsets of the window; that one is in variables.
    around = [
        (
            each.kind is Container.SEQUENCE,
            each.end - start,
            min(ready, each.end - start - 8),
            each.is_undefined,
            each.encoding.is_explicit,
        )
        for each in opened
    ]
    is_sequence, end, last, is_undefined, is_explicit = around.pop()
    max_depth, max_value_bytes = limits.max_depth, limits.max_value_bytes
    max_sequence_bytes = limits.max_sequence_bytes
    values, last_tag = walk.values, walk.last_tag
    new, names, held = tuple.__new__, _NAMES, len(window)
    explicit_header, item_header, short_vrs = _EXPLICIT, _ITEM, _SHORT
    for left in range(limits.max_elements - walk.elements, 0, -1):  # noqa: B007 - used behind it
        if at > last:
            while at == end and around and not is_undefined:
                is_sequence, end, last, is_undefined, is_explicit = around.pop()
            if at > last:
                break
        if is_sequence:
            tag, length = item_header(window, at)
            if tag == _ITEM_TAG and len(around) < max_depth:
                around.append((True, end, last, is_undefined, is_explicit))
                at += 8
                is_sequence, is_undefined = False, True
                if length != UNDEFINED:
                    is_undefined = False
                    if at + length > end:
                        at -= 8
                        is_sequence, end, last, is_undefined, is_explicit = around.pop()
                        break
                    end = at + length
                    last = ready if ready < end - 8 else end - 8  # noqa: FURB136 - thrice as fast
            elif tag == _SEQUENCE_END_TAG and is_undefined:
                is_sequence, end, last, is_undefined, is_explicit = around.pop()
                at += 8
            else:
                break
            continue
        header, opens = 8, False
        if is_explicit:
            group, number, vr, length = explicit_header(window, at)
            if vr in short_vrs and group < _PIXEL_GROUP:
                # Four of five elements end here.
                after = at + 8 + length
                if after > end:
                    break
                if not around:
                    tag = group << 16 | number
                    if tag <= last_tag:
                        break
                    if tag in wanted:
                        if length > max_value_bytes or after > held or not wanted[tag]:
                            break
                        values[tag] = new(RawValue, (names[vr], window[at + 8 : after]))
                    last_tag = tag
                at = after
                continue
            is_known = vr in _LONG
            if is_known:
                header = 12
                # The window has these four bytes; if the container has not, it is overrun.
                (length,) = _LENGTH(window, at + 8)
                opens = vr == _SQ and length >= 8
        else:
            group, number, length = _IMPLICIT(window, at)
            vr, is_known = 0, True
            opens = length >= 8 and (
                length == UNDEFINED or (not group & 1 and window[at + 8 : at + 12] == ITEM_BYTES)
            )
        if group >= _PIXEL_GROUP or not is_known:
            if not is_undefined or not around or window[at : at + 4] != _ITEM_END:
                break
            is_sequence, end, last, is_undefined, is_explicit = around.pop()
            at += 8
            continue
        after = at + header + length
        if length == UNDEFINED:
            if not opens or len(around) >= max_depth:
                break
        elif after > end:
            break
        elif opens and length > max_sequence_bytes:
            opens = False
        if not around:
            tag = group << 16 | number
            if tag <= last_tag:
                break
            if tag in wanted:
                if not wanted[tag] or opens:
                    walk.tags.add(tag)
                elif length > max_value_bytes or after > held:
                    break
                else:
                    values[tag] = new(RawValue, (names[vr], window[at + header : after]))
            last_tag = tag
        if not opens:
            at = after
            continue
        if len(around) >= max_depth:
            break
        at += header
        around.append((False, end, last, is_undefined, is_explicit))
        is_sequence = True
        if length == UNDEFINED:
            is_undefined = True
        else:
            is_undefined, end = False, after
            last = ready if ready < end - 8 else end - 8  # noqa: FURB136 - as above
    else:
        left = 0
    around.append((is_sequence, end, last, is_undefined, is_explicit))
    encodings = {each.encoding.is_explicit: each.encoding for each in opened}
    opened[1:] = [
        Open(
            Container.SEQUENCE if is_sequence else Container.ITEM,
            start + end,
            is_open,
            encodings[is_explicit],
        )
        for is_sequence, end, _, is_open, is_explicit in around[1:]
    ]
    walk.last_tag = last_tag
    walk.elements = limits.max_elements - left
    return at
