"""The loop in which a walk over a data set spends its time: plain elements in bytes at hand."""

import struct
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from forebay.formats.dicom_reader import DicomLimits
from forebay.formats.dicom_run import EXPLICIT_RUN, EXPLICIT_SEQUENCE, IMPLICIT_RUN, RUN_DEPTH
from forebay.formats.dicom_structure import (
    ITEM,
    ITEM_BYTES,
    ITEM_END,
    LONG_VRS,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    VRS,
    Container,
    DataSetWalk,
    Open,
)

__all__ = ["scan_plain"]


class _ByteOrder(NamedTuple):
    """How to read headers in one byte order; VRs and tags as numbers need no object for each."""

    explicit: struct.Struct
    implicit: struct.Struct
    item: struct.Struct
    length: struct.Struct
    names: Mapping[int, str]
    short_vrs: frozenset[int]
    long_vrs: frozenset[int]
    sequence_vr: int
    item_tag: int
    sequence_end_tag: int
    item_end: bytes


def _byte_order(mark: Literal["<", ">"]) -> _ByteOrder:
    tags, vrs = struct.Struct(f"{mark}HH"), struct.Struct(f"{mark}H")

    def number(vr: bytes) -> int:
        return int(vrs.unpack(vr)[0])

    def tag_bytes(tag: int) -> bytes:
        return tags.pack(tag >> 16, tag & 0xFFFF)

    def tag_number(tag: int) -> int:
        return int(struct.unpack(f"{mark}I", tag_bytes(tag))[0])

    return _ByteOrder(
        explicit=struct.Struct(f"{mark}HHHH"),
        implicit=struct.Struct(f"{mark}HHI"),
        item=struct.Struct(f"{mark}II"),
        length=struct.Struct(f"{mark}I"),
        names={number(vr): vr.decode("ascii") for vr in VRS} | {0: ""},
        short_vrs=frozenset(map(number, SHORT_VRS)),
        long_vrs=frozenset(map(number, LONG_VRS)),
        sequence_vr=number(b"SQ"),
        item_tag=tag_number(ITEM),
        sequence_end_tag=tag_number(SEQUENCE_END),
        item_end=tag_bytes(ITEM_END),
    )


_LITTLE: Final = _byte_order("<")
_BIG: Final = _byte_order(">")
_PIXEL_GROUP: Final = 0x7FE0
_LAST_BYTES: Final = 12
# Elements in a run are not counted one by one, but by the bytes that one takes on average.
_MEAN_ELEMENT_BYTES: Final = 16


# What stands open: whether it is a sequence, its end, the last place where a header fits, whether
# a delimiter ends it, and whether its elements have VRs. Places are those in the window.
_Frame: TypeAlias = tuple[bool, int, int, bool, bool]


def scan_plain(  # noqa: PLR0913 - the state of a walk
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
        limits: bounds; none is exceeded by more than a window holds.

    Returns:
        Where in the window the first thing stands that is not plain.
    """
    encoding = opened[0].encoding
    # An element of unknown VR may hold implicit little endian in any data set.
    is_mixed = opened[-1].encoding.is_little_endian != encoding.is_little_endian
    if at < 0 or opened[-1].kind is Container.FRAGMENTS or is_mixed:
        return at
    return _Scan(window, start, opened=opened, walk=walk, wanted=wanted, limits=limits).run(at)


class _Scan:
    """One pass over a window; its loops keep what they need in local variables, for speed."""

    def __init__(  # noqa: PLR0913 - as above
        self,
        window: bytes,
        start: int,
        *,
        opened: list[Open],
        walk: DataSetWalk,
        wanted: Mapping[int, bool],
        limits: DicomLimits,
    ) -> None:
        self._window = window
        self._start = start
        self._opened = opened
        self._walk = walk
        self._wanted = wanted
        self._limits = limits
        is_little = opened[0].encoding.is_little_endian
        self._order = _LITTLE if is_little else _BIG
        self._deepest_run = limits.max_depth - RUN_DEPTH if is_little else 0
        self._run_bytes = 0
        # Behind this place a header may be cut by the end of the window.
        self._ready = len(window) - _LAST_BYTES
        self._frames: list[_Frame] = [
            (
                each.kind is Container.SEQUENCE,
                each.end - start,
                min(self._ready, each.end - start - 8),
                each.is_undefined,
                each.encoding.is_explicit,
            )
            for each in opened
        ]

    def run(self, at: int) -> int:
        """Scan from a place in the window, and return where the first thing not plain stands."""
        if len(self._frames) == 1:
            at = self._scan_top_level(at)
            if len(self._frames) == 1:
                return at
        while len(self._frames) > 1:
            at = self._scan_nested(at)
            if len(self._frames) > 1:
                break
            at = self._scan_top_level(at)
        if len(self._frames) > 1 or len(self._opened) > 1:
            self._return_containers()
        return at

    def _scan_top_level(self, at: int) -> int:  # noqa: C901, PLR0912, PLR0915 - calls would cost more than what they do
        """Take elements of the data set up to a sequence, which is opened."""
        window, walk, wanted, order = self._window, self._walk, self._wanted, self._order
        _, end, last, _, is_explicit = self._frames[0]
        explicit_header, short_vrs, names = order.explicit.unpack_from, order.short_vrs, order.names
        max_value_bytes, held = self._limits.max_value_bytes, len(window)
        values, last_tag = walk.values, walk.last_tag
        budget = self._limits.max_elements - walk.elements
        for taken in range(budget):  # noqa: B007 - used behind it
            if at > last:
                break
            if is_explicit:
                group, number, vr, length = explicit_header(window, at)
                if vr in short_vrs and group < _PIXEL_GROUP:
                    # Four of five elements end here.
                    after = at + 8 + length
                    tag = group << 16 | number
                    if after > end or tag <= last_tag:
                        break
                    if tag in wanted:
                        if length > max_value_bytes or after > held or not wanted[tag]:
                            break
                        values[tag] = names[vr], window[at + 8 : after]
                    last_tag = tag
                    at = after
                    continue
                if vr not in order.long_vrs:
                    break
                # The window has these four bytes; if the file has not, it is overrun.
                (length,) = order.length.unpack_from(window, at + 8)
                value_at = at + 12
                is_sequence = vr == order.sequence_vr
            else:
                group, number, length = order.implicit.unpack_from(window, at)
                vr, value_at = 0, at + 8
                is_sequence = self._is_implicit_sequence(group, value_at, length)
            tag = group << 16 | number
            if tag <= last_tag or group >= _PIXEL_GROUP:
                break
            after = value_at + length
            opens = is_sequence and self._opens(value_at, length, end)
            if not opens and (after > end or length == UNDEFINED or (is_sequence and length)):
                break
            if tag in wanted:
                if not wanted[tag]:
                    walk.tags.add(tag)
                elif opens or length > max_value_bytes or after > held:
                    break
                else:
                    values[tag] = names[vr], window[value_at:after]
            last_tag = tag
            at = self._open(value_at, length) if opens else after
            if len(self._frames) > 1:
                break
        else:
            taken = budget
        walk.last_tag = last_tag
        self._count(taken)
        return at

    def _scan_nested(self, at: int) -> int:  # noqa: C901, PLR0912, PLR0915 - as above
        """Take items and what is in them up to the end of the outermost sequence."""
        window, frames, order, held = self._window, self._frames, self._order, len(self._window)
        item_header, item_tag = order.item.unpack_from, order.item_tag
        max_depth, deepest_run, ready = self._limits.max_depth, self._deepest_run, self._ready
        max_sequence_bytes = self._limits.max_sequence_bytes
        is_sequence, end, last, is_undefined, is_explicit = frames[-1]
        budget = self._limits.max_elements - self._walk.elements
        for taken in range(budget):  # noqa: B007 - used behind it
            if at > last:
                if at != end or is_undefined:
                    break
            elif is_sequence:
                tag, length = item_header(window, at)
                if tag == item_tag and len(frames) <= max_depth:
                    is_undefined = length == UNDEFINED
                    if not is_undefined:
                        if at + 8 + length > end:
                            break
                        end = at + 8 + length
                        last = ready if ready < end - 8 else end - 8  # noqa: FURB136 - for speed
                    at += 8
                    is_sequence = False
                    frames.append((False, end, last, is_undefined, is_explicit))
                    continue
                if tag != order.sequence_end_tag or not is_undefined:
                    break
                at += 8
            else:
                has_runs = len(frames) < deepest_run
                run = EXPLICIT_RUN if is_explicit else IMPLICIT_RUN
                if has_runs:
                    run_end = run(window, at, end).end()
                    self._run_bytes += run_end - at
                    at = run_end
                    if at > last:
                        continue
                if is_undefined and window[at : at + 4] == order.item_end:
                    at += 8
                else:
                    if is_explicit:
                        group, _, vr, length = order.explicit.unpack_from(window, at)
                        value_at = at + 8
                        opens = False
                        if vr in order.long_vrs:
                            (length,) = order.length.unpack_from(window, value_at)
                            value_at = at + 12
                            opens = vr == order.sequence_vr and length > 0
                        elif vr not in order.short_vrs:
                            break
                    else:
                        group, _, length = order.implicit.unpack_from(window, at)
                        value_at = at + 8
                        opens = length == UNDEFINED or (
                            not group & 1
                            and length >= 8
                            and window[value_at : value_at + 4] == ITEM_BYTES
                        )
                    after = value_at + length
                    if group >= _PIXEL_GROUP:
                        break
                    if length == UNDEFINED:
                        if not opens or len(frames) > max_depth:
                            break
                        at = value_at
                        is_sequence = is_undefined = True
                        frames.append((True, end, last, True, is_explicit))
                        continue
                    if after > end:
                        break
                    if not opens:
                        at = after
                        continue
                    if not 8 <= length <= max_sequence_bytes or len(frames) > max_depth:
                        break
                    # Most sequences have one item, and that is one run.
                    at, is_item = value_at, False
                    if has_runs and after <= held:
                        while at <= after - 8:
                            tag, length = item_header(window, at)
                            item_end = at + 8 + length
                            if tag != item_tag or item_end > after:
                                break
                            run_end = run(window, at + 8, item_end).end()
                            if run_end != item_end:
                                at, is_item = run_end, True
                                break
                            at = item_end
                        self._run_bytes += at - value_at
                        if at == after and not is_item:
                            continue
                    is_sequence, is_undefined, end = not is_item, False, after
                    last = ready if ready < end - 8 else end - 8  # noqa: FURB136 - for speed
                    frames.append((True, end, last, False, is_explicit))
                    if is_item:
                        end = item_end
                        last = ready if ready < end - 8 else end - 8  # noqa: FURB136 - for speed
                        frames.append((False, end, last, False, is_explicit))
                    continue
            frames.pop()
            is_sequence, end, last, is_undefined, is_explicit = frames[-1]
            if at == end and is_sequence and not is_undefined:
                # The item was the last of its sequence.
                frames.pop()
                is_sequence, end, last, is_undefined, is_explicit = frames[-1]
            if len(frames) == 1:
                break
        else:
            taken = budget
        self._count(taken)
        return at

    def _is_implicit_sequence(self, group: int, at: int, length: int) -> bool:
        """Tell whether an element without VR is a sequence: only its content says so."""
        if length == UNDEFINED:
            return True
        is_private = group & 1
        return not is_private and length >= 8 and self._window[at : at + 4] == ITEM_BYTES

    def _opens(self, at: int, length: int, end: int) -> bool:
        """Tell whether to go into a sequence: it is not empty, and not too long."""
        if length == UNDEFINED:
            return True
        return 8 <= length <= self._limits.max_sequence_bytes and at + length <= end

    def _open(self, at: int, length: int) -> int:
        """Open the sequence whose first item stands at a place, and return where to go on.

        When nothing but runs is in its items, that is behind the sequence.
        """
        _, end, last, _, is_explicit = self._frames[-1]
        is_undefined = length == UNDEFINED
        if is_undefined:
            has_runs = is_explicit and len(self._frames) < self._deepest_run
            if has_runs and (sequence := EXPLICIT_SEQUENCE(self._window, at, end)):
                self._run_bytes += sequence.end() - at
                return sequence.end()
        else:
            end = at + length
            last = min(self._ready, end - 8)
            at = self._step_over_items(at, end, is_explicit=is_explicit)
        if is_undefined or at < end:
            self._frames.append((True, end, last, is_undefined, is_explicit))
        return at

    def _step_over_items(self, at: int, end: int, *, is_explicit: bool) -> int:
        """Return where the first item stands that is not one run, or the end of the sequence."""
        window, header, item_tag = self._window, self._order.item.unpack_from, self._order.item_tag
        if end > len(window) or len(self._frames) >= self._deepest_run:
            return at
        run = EXPLICIT_RUN if is_explicit else IMPLICIT_RUN
        items_at = at
        while at <= end - 8:
            tag, length = header(window, at)
            item_end = at + 8 + length
            if tag != item_tag or item_end > end or run(window, at + 8, item_end).end() != item_end:
                break
            at = item_end
        self._run_bytes += at - items_at
        return at

    def _count(self, taken: int) -> None:
        """Count elements taken one by one and, by their bytes, those in runs."""
        self._walk.elements += taken + self._run_bytes // _MEAN_ELEMENT_BYTES
        self._run_bytes = 0

    def _return_containers(self) -> None:
        """Bring the walker's containers up to date."""
        encodings = {each.encoding.is_explicit: each.encoding for each in self._opened}
        self._opened[1:] = [
            Open(
                Container.SEQUENCE if is_sequence else Container.ITEM,
                self._start + end,
                is_undefined,
                encodings[is_explicit],
            )
            for is_sequence, end, _, is_undefined, is_explicit in self._frames[1:]
        ]
