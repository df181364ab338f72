"""The start of a DICOM file: preamble, prefix and file meta information (PS3.10 section 7.1)."""

import re
import struct
from dataclasses import dataclass, field
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.formats.dicom_reader import RangeReader, RefusedError, refused
from forebay.formats.dicom_structure import LONG_VRS, SHORT_VRS, UNDEFINED

__all__ = [
    "MEDIA_SOP_CLASS",
    "MEDIA_SOP_INSTANCE",
    "TRANSFER_SYNTAX",
    "FileMeta",
    "read_file_meta",
]

MEDIA_SOP_CLASS: Final = 0x00020002
MEDIA_SOP_INSTANCE: Final = 0x00020003
TRANSFER_SYNTAX: Final = 0x00020010

_PREAMBLE_BYTES: Final = 128
_NO_PREAMBLE: Final = bytes(_PREAMBLE_BYTES)
_PREFIX: Final = b"DICM"
_META_START: Final = 132
_MAX_META_BYTES: Final = 1 << 20
_HEADER: Final = struct.Struct("<HH2sH")
_LENGTH: Final = struct.Struct("<I")

# A preamble in which another program finds a file of its own kind. TIFF is judged by itself
# (dicom_tiff): PS3.10 section 7.1 names it as the preamble's legitimate use. What begins with text
# may have a byte order mark, and what browsers show also white space, before it.
_MARK: Final = rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?"
# What browsers take for HTML (WHATWG MIME Sniffing, section 7.1), and what else they act upon.
_HTML_START: Final = (
    rb"[\t\n\f\r ]*<(?:!--|hta:|(?:a|b|br|div|font|form|h1|img|link|p|style|title)[\s/>])"
)
# Long enough to be no accident anywhere, since browsers step over what they do not know.
_HTML_ANYWHERE: Final = (
    rb"(?s:.*)<\s*(?:!doctype|html|head|body|script|svg|iframe|img|meta|table|style|title|object"
    rb"|embed|\?)"
)
_EXECUTABLE: Final = (
    (re.compile(rb"MZ"), "a Windows program"),
    (re.compile(rb"L\0\0\0\x01\x14\x02\0"), "a Windows shortcut"),
    (re.compile(rb"\x7fELF"), "a Linux program"),
    (re.compile(rb"\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe"), "a program"),
    (re.compile(rb"\0asm\x01|dex\n0\d\d\0"), "a program"),
    (re.compile(_MARK + rb"#!"), "a script"),
    (
        re.compile(rb"(?i:" + _MARK + rb"\s*@\s*(?:echo|setlocal|cls|rem|if|set|start|cmd)\b)"),
        "a script",
    ),
    # Its programs look for the first local header, wherever that is.
    (re.compile(rb"(?s).*PK(?:\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x07\x08)"), "a ZIP archive"),
    (
        re.compile(rb"Rar!|7z\xbc\xaf|\x1f\x8b|MSCF|\xfd7zXZ\0|\x28\xb5\x2f\xfd|\xd0\xcf\x11\xe0"),
        "an archive or document",
    ),
    (re.compile(rb"\s*\{\\rt"), "an RTF document"),
    (re.compile(_MARK + rb"\x04?%!"), "a PostScript program"),
    (re.compile(rb"(?s).*%PDF-"), "a PDF document"),
    (re.compile(rb"(?i:" + _MARK + _HTML_START + rb"|" + _HTML_ANYWHERE + rb")"), "HTML"),
)
_KNOWN_STARTS: Final = (
    (b"\x1f\x8b", "gzip data"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF document"),
    (b"DICM", "DICOM without its preamble"),
    (b"\x02\x00\x00\x00", "file meta information without preamble"),
    (b"\x08\x00", "a DICOM data set without preamble and file meta information"),
)


@dataclass(slots=True)
class FileMeta:
    """The preamble, values of group 0002 by tag, and the offset at which the data set starts."""

    preamble: bytes = b""
    values: dict[int, bytes] = field(default_factory=dict)
    end: int = _META_START
    warnings: list[Finding] = field(default_factory=list)

    def uid(self, tag: int) -> str | None:
        """Return a UID without its padding, None when absent."""
        value = self.values.get(tag)
        return None if value is None else value.rstrip(b"\0 ").decode("latin-1")


def read_file_meta(reader: RangeReader, *, refuse_polyglots: bool) -> FileMeta:
    """Read preamble and file meta information; raises RefusedError."""
    meta = FileMeta()
    start = reader.take(0, min(_META_START, reader.size_bytes)) if reader.size_bytes else b""
    _check_prefix(start)
    meta.preamble = start[:_PREAMBLE_BYTES]
    if finding := _polyglot(meta.preamble):
        if refuse_polyglots:
            raise RefusedError(finding)
        meta.warnings.append(finding)
    _read_elements(reader, meta)
    _check_group_length(reader, meta)
    if not meta.uid(MEDIA_SOP_CLASS) or not meta.uid(MEDIA_SOP_INSTANCE):
        meta.warnings.append(_NO_MEDIA_IDENTITY)
    return meta


def _check_prefix(start: bytes) -> None:
    if not start:
        raise refused(
            ReasonCode.EMPTY_OBJECT,
            "The file is empty; send it again with its content.",
            expected="a DICOM file",
            found="0 bytes",
        )
    if start[_PREAMBLE_BYTES:] == _PREFIX:
        return
    if (
        len(start) < _META_START
        and _PREFIX.startswith(start[_PREAMBLE_BYTES:])
        and not any(start[:_PREAMBLE_BYTES])
    ):
        raise _cut_off(len(start), "the DICM prefix")
    kinds = (kind for magic, kind in _KNOWN_STARTS if start.startswith(magic))
    raise refused(
        ReasonCode.NOT_DICOM,
        "The file is not a DICOM file: it lacks the DICM prefix behind a preamble of 128 bytes."
        " Export the object as a DICOM Part 10 file.",
        at=_PREAMBLE_BYTES,
        expected="DICM",
        found=next(kinds, "other bytes"),
    )


def _polyglot(preamble: bytes) -> Finding | None:
    if preamble == _NO_PREAMBLE:
        return None
    text = preamble
    if preamble.startswith((b"\xff\xfe", b"\xfe\xff")):
        # UTF-16, in which every other byte of such text is zero.
        text = preamble.replace(b"\0", b"")
    for pattern, kind in _EXECUTABLE:
        if pattern.match(text):
            return Finding(
                code=ReasonCode.DICOM_POLYGLOT,
                message=(
                    f"The preamble makes the file look like {kind} to other programs, as malware"
                    " does (CVE-2019-11687). Have the sending system checked."
                ),
                owner=Owner.DATA_STEWARD,
                position="byte 0",
                expected="128 zero bytes, or a TIFF header",
                found=kind,
            )
    return None


def _read_elements(reader: RangeReader, meta: FileMeta) -> None:  # noqa: C901 - one refusal each
    """Read the elements of group 0002, which are always explicit little endian."""
    size, values, at = reader.size_bytes, meta.values, meta.end
    window, start = reader.held()
    while size - at >= 8:
        if at - start + 8 > len(window):
            window, start = reader.window(at, 8)[0], at
        group, number, vr, length = _HEADER.unpack_from(window, at - start)
        if group != 2:
            return
        value_at = at + 8
        if vr not in SHORT_VRS:
            if vr not in LONG_VRS:
                raise _malformed(at, "a value representation", f"bytes {vr.hex()}")
            if size - at < 12:
                break
            value_at = at + 12
            (length,) = _LENGTH.unpack(reader.take(at + 8, 4))
        end = value_at + length
        if length == UNDEFINED or end > _MAX_META_BYTES:
            raise _malformed(at, "a short value", f"a length of {length} bytes")
        if end > size:
            raise _cut_off(size, f"{length} bytes of value")
        tag = group << 16 | number
        if tag in values:
            raise _malformed(at, "each element once", "an element twice")
        value = window[value_at - start : end - start]
        values[tag] = value if len(value) == length else reader.take(value_at, length)
        meta.end = at = end
    if at != size or not values:
        raise _cut_off(size, "the rest of the file meta information")


def _check_group_length(reader: RangeReader, meta: FileMeta) -> None:
    if not meta.values:
        raise refused(
            ReasonCode.DICOM_META_MISSING,
            "The file has no file meta information, so how the data set is encoded is not known.",
            at=_META_START,
            expected="elements of group 0002",
            found="another group",
            owner=Owner.INSTRUMENT,
        )
    value = meta.values.get(0x00020000)
    if value is None or len(value) != 4:
        meta.warnings.append(_group_length("none" if value is None else "a value of another size"))
        return
    (length,) = _LENGTH.unpack(value)
    actual = meta.end - _META_START - 12
    if length == actual:
        return
    if length == 0 or length > reader.size_bytes:
        raise _malformed(_META_START, f"a group length of {actual}", f"a group length of {length}")
    meta.warnings.append(_group_length(f"{length} bytes, where there are {actual}"))


def _group_length(found: str) -> Finding:
    return Finding(
        code=ReasonCode.DICOM_VALUE_SUSPECT,
        message="The length of the file meta information is missing or wrong; its content was read"
        " nevertheless.",
        owner=Owner.INSTRUMENT,
        position=f"byte {_META_START}",
        expected="FileMetaInformationGroupLength (0002,0000)",
        found=found,
    )


_NO_MEDIA_IDENTITY: Final = Finding(
    code=ReasonCode.DICOM_META_MISSING,
    message="The file meta information does not repeat the object's SOP class and instance, as it"
    " should; those of the data set are used.",
    owner=Owner.INSTRUMENT,
    position=f"byte {_META_START}",
    expected="MediaStorageSOPClassUID and MediaStorageSOPInstanceUID",
    found="one or both missing",
)


def _malformed(at: int, expected: str, found: str) -> RefusedError:
    return refused(
        ReasonCode.DICOM_MALFORMED,
        "The file meta information is broken: the file is damaged, or was written wrongly.",
        at=at,
        expected=expected,
        found=found,
    )


def _cut_off(at: int, expected: str) -> RefusedError:
    return refused(
        ReasonCode.DICOM_TRUNCATED,
        "The file ends before its data set starts: it was cut off. Send it again.",
        at=at,
        expected=expected,
        found="end of file",
    )
