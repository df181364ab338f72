"""DICOM Part 10 files: identity and attributes from ranged reads, without the pixel data.

PS3.10 section 7 says how a file starts, PS3.5 how its elements are encoded. A file is accepted
only when its structure holds up to its last byte, so that a cut anywhere shows.
"""

import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.imaging import DicomInstance, is_tolerated_uid, is_uid
from forebay.domain.inspection import ByteSource, Inspection
from forebay.formats.dicom_elements import MAX_ZERO_PADDING_BYTES, walk_data_set
from forebay.formats.dicom_meta import (
    MEDIA_SOP_CLASS,
    MEDIA_SOP_INSTANCE,
    TRANSFER_SYNTAX,
    FileMeta,
    read_file_meta,
)
from forebay.formats.dicom_reader import DicomLimits, RangeReader, RefusedError, refused
from forebay.formats.dicom_structure import (
    DOUBLE_PIXELS,
    FLOAT_PIXELS,
    DataSetWalk,
    Encoding,
    PixelData,
)
from forebay.formats.dicom_tiff import judge_tiff
from forebay.formats.dicom_values import ATTRIBUTES, IDENTITY, SEQUENCES, SUBJECT, ValueDecoder
from forebay.formats.source import BytesSource

__all__ = ["DicomLimits", "inspect_dicom"]

_DEFAULT_LIMITS: Final = DicomLimits()

_IMPLICIT: Final = Encoding(is_explicit=False, is_little_endian=True)
_EXPLICIT: Final = Encoding(is_explicit=True, is_little_endian=True)
_ENCAPSULATED: Final = _EXPLICIT._replace(is_encapsulated=True)
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_NATIVE: Final = {
    "1.2.840.10008.1.2": _IMPLICIT,
    "1.2.840.10008.1.2.1": _EXPLICIT,
    _DEFLATED: _EXPLICIT,
    "1.2.840.10008.1.2.2": Encoding(is_explicit=True, is_little_endian=False),
}


def _syntaxes(endings: str) -> frozenset[str]:
    return frozenset(f"1.2.840.10008.1.2.{ending}" for ending in endings.split())


# PS3.6 table A-1. A frame has a fragment or more of its own (PS3.5 section A.4): encapsulated
# uncompressed, JPEG, JPEG-LS, JPEG 2000, JPEG XL, HTJ2K, RLE and deflated frames.
_BY_FRAME: Final = _syntaxes(
    "1.98 4.50 4.51 4.57 4.70 4.80 4.81 4.90 4.91 4.110 4.111 4.112 4.201 4.202 4.203 5 8.1"
)
# Frames share a code stream: JPEG 2000 of several components, MPEG-2, MPEG-4, HEVC. JPIP has none.
_BY_STREAM: Final = _syntaxes(
    "4.92 4.93 4.94 4.95 4.100 4.100.1 4.101 4.101.1 4.102 4.102.1 4.103 4.103.1 4.104 4.104.1"
    " 4.105 4.105.1 4.106 4.106.1 4.107 4.108 4.204 4.205"
)
# Further processes of JPEG, encapsulated just so.
_RETIRED: Final = _syntaxes("4.52 4.53 4.54 4.55 4.56 4.58 4.59 4.60 4.61 4.62 4.63 4.64 4.65 4.66")
_KNOWN_SYNTAXES: Final = _BY_FRAME | _BY_STREAM | _RETIRED | _NATIVE.keys()
# JPIP referenced deflate: the pixels are elsewhere, and the whole data set is deflated.
_DEFLATED_SYNTAXES: Final = frozenset({_DEFLATED}) | _syntaxes("4.95 4.205")

_DICOMDIR_CLASS: Final = "1.2.840.10008.1.3.10"
_DIRECTORY_RECORDS: Final = 0x00041220
_PIXEL_URL: Final = 0x00287FE0
# SOP classes of PS3.4 annex B whose instances are images: CR, DX, MG, CT, US, MR, NM, SC, XA, RF,
# tomosynthesis, parametric maps, segmentations, visible light, PET and RT images.
_IMAGE_CLASS: Final = re.compile(
    r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:1(?:\.[1-3](?:\.1)?)?|2(?:\.[12])?|3(?:\.1)?|4(?:\.[134])?"
    r"|5|6(?:\.[123])?|7(?:\.[1-4])?|12\.[123](?:\.1)?|13\.1\.\d|14\.[12]|20|30|66\.[478]"
    r"|77\.1\.[\d.]+|128(?:\.1)?|130|481\.1)"
)
# What an instance of these other SOP classes is about; without it the file may have been cut.
_CONTENT_TAGS: Final = (
    (re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.9\..+"), 0x54000100, "WaveformSequence"),
    (re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.88\..+"), 0x0040A730, "ContentSequence"),
    (re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.104\..+"), 0x00420011, "EncapsulatedDocument"),
    (re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.481\.3"), 0x30060020, "StructureSetROISequence"),
)
# What is left of three samples per pixel when chrominance is subsampled (PS3.3 C.7.6.3.1.2).
_SUBSAMPLED: Final = {
    "YBR_FULL_422": Fraction(2, 3),
    "YBR_PARTIAL_422": Fraction(2, 3),
    "YBR_PARTIAL_420": Fraction(1, 2),
}
_FLOAT_BITS: Final = {FLOAT_PIXELS: 32, DOUBLE_PIXELS: 64}

_NOTED: Final = (_DIRECTORY_RECORDS, *(tag for _, tag, _ in _CONTENT_TAGS))
_KEPT: Final = (
    *(tag for tag, _ in (*ATTRIBUTES.values(), *SUBJECT.values())),
    *(tag for tag, _ in SEQUENCES.values()),
    *IDENTITY.values(),
    _PIXEL_URL,
)
_WANTED: Final = dict.fromkeys(_NOTED, False) | dict.fromkeys(_KEPT, True)


def inspect_dicom(
    source: ByteSource, *, limits: DicomLimits = _DEFAULT_LIMITS
) -> Inspection[DicomInstance]:
    """Inspect a DICOM file by ranged reads; pixel data is measured, never read.

    Usually one request of 64 KiB; one more for elements or the end of compressed pixels behind it.
    Only the deflated transfer syntax makes it necessary to read all.
    """
    reader = RangeReader(source, limits)
    try:
        instance, findings = _inspect(source, reader, limits)
        verdict = Verdict.WARNING if findings else Verdict.VALID
    except RefusedError as refusal:
        instance, findings, verdict = None, (refusal.finding,), refusal.verdict
    return Inspection(
        verdict=verdict,
        record=instance,
        findings=findings,
        bytes_read=reader.bytes_read,
        requests=reader.requests,
    )


def _inspect(
    source: ByteSource, reader: RangeReader, limits: DicomLimits
) -> tuple[DicomInstance, tuple[Finding, ...]]:
    meta = read_file_meta(reader, refuse_polyglots=limits.refuse_polyglots)
    if meta.uid(MEDIA_SOP_CLASS) == _DICOMDIR_CLASS:
        raise _dicomdir()
    syntax = _transfer_syntax(meta)
    if syntax in _DEFLATED_SYNTAXES:
        walk = _walk_deflated(source, reader, meta, limits)
    else:
        walk = _walk(reader, meta.end, syntax, limits)
    if _DIRECTORY_RECORDS in walk.tags:
        raise _dicomdir()
    encoding = _NATIVE.get(syntax, _EXPLICIT)
    decoder = ValueDecoder(walk.values, is_little_endian=encoding.is_little_endian)
    identity = {keyword: decoder.uid(tag) for keyword, tag in IDENTITY.items()}
    warnings = [*meta.warnings, *_judge_identity(identity, meta)]
    if syntax in _RETIRED:
        warnings.append(_RETIRED_SYNTAX)
    attributes = decoder.decode(ATTRIBUTES)
    for keyword, (tag, parts) in SEQUENCES.items():
        if items := decoder.decode_items(walk.items.get(tag, ()), parts):
            attributes[keyword] = items
    subject = {keyword: _as_text(each) for keyword, each in decoder.decode(SUBJECT).items()}
    warnings += _judge_content(walk, syntax, identity["SOPClassUID"] or "", attributes)
    warnings += _judge_values(walk, decoder)
    if polyglot := judge_tiff(reader, meta.preamble, attributes):
        if limits.refuse_polyglots:
            raise RefusedError(polyglot)
        warnings.append(polyglot)
    instance = DicomInstance(
        sop_instance_uid=identity["SOPInstanceUID"] or "",
        sop_class_uid=identity["SOPClassUID"] or "",
        study_instance_uid=identity["StudyInstanceUID"] or "",
        series_instance_uid=identity["SeriesInstanceUID"] or "",
        transfer_syntax_uid=syntax,
        attributes=attributes,
        subject=subject,
    )
    return instance, tuple(warnings)


def _as_text(value: Any) -> str:
    return "\\".join(map(str, value)) if isinstance(value, list) else str(value)


def _transfer_syntax(meta: FileMeta) -> str:
    syntax = meta.uid(TRANSFER_SYNTAX)
    if not syntax:
        raise refused(
            ReasonCode.DICOM_META_MISSING,
            "The file meta information names no transfer syntax, so the data set cannot be read"
            " safely. Export the object again.",
            expected="TransferSyntaxUID (0002,0010)",
            found="none" if syntax is None else "an empty value",
            owner=Owner.INSTRUMENT,
        )
    if syntax in _KNOWN_SYNTAXES:
        return syntax
    raise refused(
        ReasonCode.DICOM_TRANSFER_SYNTAX_UNKNOWN,
        "The transfer syntax is private, withdrawn or no UID at all, so Forebay cannot read the"
        " data set. Send the object in a standard transfer syntax.",
        expected="a transfer syntax of PS3.5",
        found=syntax if is_uid(syntax) else "no UID",
        verdict=Verdict.UNSUPPORTED if is_uid(syntax) else Verdict.INVALID,
    )


def _walk(reader: RangeReader, start: int, syntax: str, limits: DicomLimits) -> DataSetWalk:
    if start == reader.size_bytes:
        raise refused(
            ReasonCode.DICOM_TRUNCATED,
            "The file ends after the file meta information: it was cut off. Send it again.",
            at=start,
            expected="a data set",
            found="end of file",
        )
    encoding = _NATIVE.get(syntax, _ENCAPSULATED)
    return walk_data_set(reader, start, encoding, wanted=_WANTED, limits=limits)


def _walk_deflated(
    source: ByteSource, reader: RangeReader, meta: FileMeta, limits: DicomLimits
) -> DataSetWalk:
    deflated = reader.take(meta.end, reader.size_bytes - meta.end)
    content, padding = _inflate(deflated, meta.end, limits)
    meta.warnings += _judge_padding(reader.size_bytes, padding, len(deflated))
    inflated = BytesSource(content, name=source.name)
    body_limits = replace(limits, max_read_bytes=2 * inflated.size_bytes + limits.max_read_bytes)
    try:
        return _walk(RangeReader(inflated, body_limits), 0, _DEFLATED, body_limits)
    except RefusedError as refusal:
        position = refusal.finding.position
        finding = replace(refusal.finding, position=position and f"inflated {position}")
        raise RefusedError(finding, refusal.verdict) from refusal


def _inflate(deflated: bytes, start: int, limits: DicomLimits) -> tuple[bytes, int]:
    """Return what was deflated, and how many zero bytes follow it."""
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(deflated, limits.max_inflated_bytes)
    except zlib.error as error:
        raise refused(
            ReasonCode.DICOM_MALFORMED,
            "The data set is not deflated as its transfer syntax says, or damaged.",
            at=start,
            expected="a deflated data set (RFC 1951)",
        ) from error
    if inflater.unconsumed_tail:
        raise refused(
            ReasonCode.LIMIT_EXCEEDED,
            "The deflated data set is larger than Forebay reads.",
            at=start,
            expected=f"at most {limits.max_inflated_bytes} bytes",
            owner=Owner.DATA_STEWARD,
        )
    if not inflater.eof:
        raise refused(
            ReasonCode.DICOM_TRUNCATED,
            "The deflated data set is not complete: the file was cut off. Send it again.",
            at=start + len(deflated),
            expected="the end of the deflated data",
            found="end of file",
        )
    padding = len(inflater.unused_data)
    if inflater.unused_data.strip(b"\0") or padding > MAX_ZERO_PADDING_BYTES:
        raise refused(
            ReasonCode.DICOM_TRAILING_BYTES,
            "After the deflated data set come further bytes: something was appended to the file.",
            at=start + len(deflated) - padding,
            expected="the end of the file",
            found=f"{padding} bytes",
        )
    return inflated, padding


def _judge_padding(size: int, padding: int, deflated_bytes: int) -> list[Finding]:
    """Compare zeros behind a deflated data set with the one that makes its length even (A.5)."""
    is_odd = (deflated_bytes - padding) % 2
    if padding > is_odd:
        return [_zero_padding(size - padding + is_odd)]
    if padding == is_odd:
        return []
    return [
        Finding(
            code=ReasonCode.DICOM_VALUE_SUSPECT,
            message=(
                "The deflated data set is whole, but the zero byte that should make its length"
                " even is missing."
            ),
            owner=Owner.SENDER,
            position=f"byte {size}",
            expected="an even number of bytes (PS3.5 section A.5)",
            found=f"{deflated_bytes}",
        )
    ]


def _judge_identity(identity: dict[str, str | None], meta: FileMeta) -> list[Finding]:
    warnings = []
    for keyword, value in identity.items():
        if not value:
            raise refused(
                ReasonCode.DICOM_IDENTITY_MISSING,
                f"The data set has no {keyword}, so the object cannot be told from others. Export"
                " it again.",
                expected=f"{keyword} {_tag(IDENTITY[keyword])}",
                found="none" if value is None else "an empty value",
                owner=Owner.INSTRUMENT,
            )
        if not is_uid(value):
            warnings.append(_judge_loose_uid(keyword, value))
    for keyword, tag in (("SOPClassUID", MEDIA_SOP_CLASS), ("SOPInstanceUID", MEDIA_SOP_INSTANCE)):
        if meta.uid(tag) not in (None, "", identity[keyword]):
            warnings.append(_identity_mismatch(keyword))
    return warnings


def _judge_loose_uid(keyword: str, value: str) -> Finding:
    """Return a warning for a UID that is wrong in form only; refuses any other."""
    is_harmless = is_tolerated_uid(value)
    finding = Finding(
        code=ReasonCode.DICOM_UID_INVALID,
        message=(
            f"The {keyword} has a component with a leading zero, which DICOM forbids."
            if is_harmless
            else f"The {keyword} is not a DICOM UID: the file is damaged or was tampered with."
        ),
        owner=Owner.INSTRUMENT,
        expected="up to 64 digits and dots, no component with a leading zero (PS3.5 section 9.1)",
        found=f"{len(value)} characters",
    )
    if not is_harmless:
        raise RefusedError(finding)
    return finding


def _identity_mismatch(keyword: str) -> Finding:
    return Finding(
        code=ReasonCode.DICOM_IDENTITY_MISMATCH,
        message=(
            f"The file meta information names another {keyword} than the data set; the data set's"
            " is used. Some software forgets the former when it changes the latter."
        ),
        owner=Owner.INSTRUMENT,
        expected=f"the same {keyword} in both",
        found="two different ones",
    )


def _judge_content(
    walk: DataSetWalk, syntax: str, sop_class: str, attributes: dict[str, Any]
) -> list[Finding]:
    has_pixels = walk.pixels is not None and walk.pixels.length != 0
    if has_pixels:
        _judge_fragments(walk, syntax, attributes)
        return _judge_pixel_length(walk, attributes)
    if _PIXEL_URL in walk.values:
        return []
    if _IMAGE_CLASS.fullmatch(sop_class) or "Rows" in attributes:
        return [_missing_content(ReasonCode.DICOM_PIXEL_LENGTH_MISMATCH, "PixelData")]
    return [
        _missing_content(ReasonCode.DICOM_VALUE_SUSPECT, keyword)
        for pattern, tag, keyword in _CONTENT_TAGS
        if pattern.fullmatch(sop_class) and tag not in walk.tags
    ]


def _missing_content(code: ReasonCode, keyword: str) -> Finding:
    return Finding(
        code=code,
        message=(
            f"By its SOP class the object should have {keyword}, and it has none; it may have been"
            " cut off just there. Compare with the original."
        ),
        owner=Owner.SENDER,
        expected=keyword,
        found="none",
    )


def _judge_fragments(walk: DataSetWalk, syntax: str, attributes: dict[str, Any]) -> None:
    """Refuse fewer fragments than frames where each frame has its own (PS3.5 section A.4)."""
    pixels, frames = walk.pixels, attributes.get("NumberOfFrames", 1)
    if pixels is None or pixels.fragments is None or syntax in _BY_STREAM:
        return
    if isinstance(frames, int) and pixels.fragments < frames:
        raise refused(
            ReasonCode.DICOM_PIXEL_LENGTH_MISMATCH,
            "The compressed pixel data has fewer fragments than the image has frames, so frames"
            " are missing. Send the object again, or have the number of frames corrected.",
            at=pixels.value_at,
            expected=f"{frames} fragments or more",
            found=f"{pixels.fragments}",
        )


def _judge_pixel_length(walk: DataSetWalk, attributes: dict[str, Any]) -> list[Finding]:
    """Compare the length of native pixel data with what the image's size asks for."""
    pixels = walk.pixels
    if pixels is None or pixels.length is None:
        return []
    factors = {
        "Rows": attributes.get("Rows"),
        "Columns": attributes.get("Columns"),
        "BitsAllocated": _FLOAT_BITS.get(pixels.tag, attributes.get("BitsAllocated")),
        "SamplesPerPixel": attributes.get("SamplesPerPixel", 1),
        "NumberOfFrames": attributes.get("NumberOfFrames", 1),
    }
    unusable = [
        keyword for keyword, factor in factors.items() if not isinstance(factor, int) or factor <= 0
    ]
    if unusable:
        return [_unknown_pixel_length(pixels, unusable)]
    expected = _pixel_bytes(factors, attributes)
    if pixels.length in (expected, expected + expected % 2):
        return []
    is_short = pixels.length < expected
    finding = Finding(
        code=ReasonCode.DICOM_PIXEL_LENGTH_MISMATCH,
        message=(
            "The pixel data is shorter than rows, columns, frames and bits ask for: the image is"
            " not complete."
            if is_short
            else "The pixel data is longer than rows, columns, frames and bits ask for."
        ),
        owner=Owner.SENDER if is_short else Owner.INSTRUMENT,
        position=f"byte {pixels.value_at}",
        expected=f"{expected} bytes",
        found=f"{pixels.length} bytes",
    )
    if is_short:
        raise RefusedError(finding)
    return [finding]


def _pixel_bytes(factors: Mapping[str, Any], attributes: dict[str, Any]) -> int:
    """Return how long native pixel data must be (PS3.5 section 8.1)."""
    total_bits: int = math.prod(factors.values())
    if factors["SamplesPerPixel"] == 3:
        share = _SUBSAMPLED.get(str(attributes.get("PhotometricInterpretation")), 1)
        total_bits = int(total_bits * share)
    return -(-total_bits // 8)


def _unknown_pixel_length(pixels: PixelData, unusable: list[str]) -> Finding:
    return Finding(
        code=ReasonCode.DICOM_PIXEL_LENGTH_MISMATCH,
        message=(
            "Whether the pixel data is complete cannot be told: what gives its length is missing,"
            " or is not one positive number. Compare with the original."
        ),
        owner=Owner.INSTRUMENT,
        position=f"byte {pixels.value_at}",
        expected="one positive number each",
        found=f"none in {', '.join(unusable)}",
    )


def _judge_values(walk: DataSetWalk, decoder: ValueDecoder) -> list[Finding]:
    warnings = []
    suspect = [*decoder.suspect, *(_tag(tag) for tag in walk.oversized)]
    if suspect:
        warnings.append(
            Finding(
                code=ReasonCode.DICOM_VALUE_SUSPECT,
                message="Some values do not follow the rules of their value representation.",
                owner=Owner.INSTRUMENT,
                expected="values as PS3.5 section 6.2 defines them",
                found=", ".join(dict.fromkeys(suspect)),
            )
        )
    if decoder.repaired:
        warnings.append(
            Finding(
                code=ReasonCode.DICOM_CHARSET_REPAIRED,
                message=(
                    "Some text is not in the character set that the object declares; what could"
                    " not be read was replaced."
                ),
                owner=Owner.INSTRUMENT,
                expected="text in the SpecificCharacterSet (0008,0005)",
                found=", ".join(dict.fromkeys(decoder.repaired)),
            )
        )
    if walk.wrong_table_at is not None:
        warnings.append(
            Finding(
                code=ReasonCode.DICOM_VALUE_SUSPECT,
                message=(
                    "The basic offset table of the compressed pixel data names a place where no"
                    " frame begins; the frames themselves are whole. Programs that trust the table"
                    " will not find them."
                ),
                owner=Owner.INSTRUMENT,
                position=f"byte {walk.wrong_table_at}",
                expected="the places of frames",
                found="the place of none",
            )
        )
    if walk.zero_padding_at is not None:
        warnings.append(_zero_padding(walk.zero_padding_at))
    return warnings


def _zero_padding(at: int) -> Finding:
    return Finding(
        code=ReasonCode.DICOM_TRAILING_BYTES,
        message="After the data set come zero bytes, which belong to no element.",
        owner=Owner.SENDER,
        position=f"byte {at}",
        expected="the end of the file",
        found="zero bytes",
    )


_RETIRED_SYNTAX: Final = Finding(
    code=ReasonCode.DICOM_VALUE_SUSPECT,
    message=(
        "The transfer syntax is retired: the object is whole, but few programs can decode its"
        " pixels. Have the sender convert such images."
    ),
    owner=Owner.INSTRUMENT,
    expected="a transfer syntax that is in PS3.5 still",
    found="a retired JPEG process",
)


def _dicomdir() -> RefusedError:
    return refused(
        ReasonCode.DICOMDIR,
        "The file is the directory of a DICOM medium, not an object; send the objects themselves.",
        expected="a composite object",
        found="DICOMDIR",
        verdict=Verdict.UNSUPPORTED,
    )


def _tag(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
