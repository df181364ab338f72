"""Values of DICOM attributes, decoded from the bytes of their elements (PS3.5 section 6.2)."""

import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, Final, Literal

from forebay.formats.dicom_structure import RawValue
from forebay.formats.dicom_text import CharacterSet, character_set

__all__ = [
    "ATTRIBUTES",
    "IDENTITY",
    "PIXEL_ATTRIBUTES",
    "SEQUENCES",
    "SUBJECT",
    "ValueDecoder",
]

IDENTITY: Final = {
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
}

SUBJECT: Final = {
    "AccessionNumber": (0x00080050, "SH"),
    "ReferringPhysicianName": (0x00080090, "PN"),
    "PatientName": (0x00100010, "PN"),
    "PatientID": (0x00100020, "LO"),
    "IssuerOfPatientID": (0x00100021, "LO"),
    "PatientBirthDate": (0x00100030, "DA"),
    "PatientSex": (0x00100040, "CS"),
}
"""What identifies a person or an order, with its value representation for implicit encoding."""

ATTRIBUTES: Final = {
    "SpecificCharacterSet": (0x00080005, "CS"),
    "ImageType": (0x00080008, "CS"),
    "InstanceCreationDate": (0x00080012, "DA"),
    "InstanceCreationTime": (0x00080013, "TM"),
    "StudyDate": (0x00080020, "DA"),
    "SeriesDate": (0x00080021, "DA"),
    "AcquisitionDate": (0x00080022, "DA"),
    "ContentDate": (0x00080023, "DA"),
    "AcquisitionDateTime": (0x0008002A, "DT"),
    "StudyTime": (0x00080030, "TM"),
    "SeriesTime": (0x00080031, "TM"),
    "AcquisitionTime": (0x00080032, "TM"),
    "ContentTime": (0x00080033, "TM"),
    "Modality": (0x00080060, "CS"),
    "PresentationIntentType": (0x00080068, "CS"),
    "Manufacturer": (0x00080070, "LO"),
    "InstitutionName": (0x00080080, "LO"),
    "TimezoneOffsetFromUTC": (0x00080201, "SH"),
    "StationName": (0x00081010, "SH"),
    "StudyDescription": (0x00081030, "LO"),
    "SeriesDescription": (0x0008103E, "LO"),
    "InstitutionalDepartmentName": (0x00081040, "LO"),
    "ManufacturerModelName": (0x00081090, "LO"),
    "PatientIdentityRemoved": (0x00120062, "CS"),
    "BodyPartExamined": (0x00180015, "CS"),
    "SliceThickness": (0x00180050, "DS"),
    "DeviceSerialNumber": (0x00181000, "LO"),
    "SoftwareVersions": (0x00181020, "LO"),
    "ProtocolName": (0x00181030, "LO"),
    "PatientPosition": (0x00185100, "CS"),
    "StudyID": (0x00200010, "SH"),
    "SeriesNumber": (0x00200011, "IS"),
    "AcquisitionNumber": (0x00200012, "IS"),
    "InstanceNumber": (0x00200013, "IS"),
    "FrameOfReferenceUID": (0x00200052, "UI"),
    "Laterality": (0x00200060, "CS"),
    "SamplesPerPixel": (0x00280002, "US"),
    "PhotometricInterpretation": (0x00280004, "CS"),
    "NumberOfFrames": (0x00280008, "IS"),
    "Rows": (0x00280010, "US"),
    "Columns": (0x00280011, "US"),
    "BitsAllocated": (0x00280100, "US"),
    "BitsStored": (0x00280101, "US"),
    "PixelRepresentation": (0x00280103, "US"),
    "BurnedInAnnotation": (0x00280301, "CS"),
    "LossyImageCompression": (0x00282110, "CS"),
    "PerformedProcedureStepStartDate": (0x00400244, "DA"),
    "PerformedProcedureStepStartTime": (0x00400245, "TM"),
}
"""What a catalog and QIDO-RS (PS3.18 section 10.6) need, with the VR for implicit encoding."""

SEQUENCES: Final = {
    "RequestAttributesSequence": (
        0x00400275,
        {
            "ScheduledProcedureStepID": (0x00400009, "SH"),
            "RequestedProcedureID": (0x00401001, "SH"),
        },
    ),
}
"""The same for sequences, with what is needed of their items."""

_SINGLE: Final = frozenset({"LT", "ST", "UR", "UT"})
_TEXT: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_BINARY: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_SIZES: Final = {code: struct.calcsize(code) for code in _BINARY.values()}
_PLAIN: Final = _TEXT | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
_AS_IT_IS: Final = _PLAIN - {"DA", "DS", "IS", "PN"}
_UNKNOWN: Final = frozenset({"", "UN"})
_NOTHING: Final[tuple[Any, ...]] = ("", [], None)
_CHARACTER_SET: Final = 0x00080005
_NAME_DELIMITERS: Final = b"\\^="
# The form with dots is that of ACR-NEMA, still allowed when reading (PS3.5 table 6.2-1).
_DATE: Final = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})", re.ASCII)
_CONTROLS: Final = dict.fromkeys((*range(32), 127))
_PIXEL_KEYWORDS: Final = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
)
PIXEL_ATTRIBUTES: Final = {keyword: ATTRIBUTES[keyword] for keyword in _PIXEL_KEYWORDS}


class ValueDecoder:
    """Decodes values of one data set.

    `repaired` collects keywords whose text was not in the declared character set, `suspect` those
    whose value does not follow its value representation; neither holds a value.
    """

    def __init__(self, values: Mapping[int, RawValue], *, is_little_endian: bool) -> None:
        self.repaired: list[str] = []
        self.suspect: list[str] = []
        self._values = values
        self._order = "<" if is_little_endian else ">"
        self._byte_order: Literal["little", "big"] = "little" if is_little_endian else "big"
        self._character_set: CharacterSet | None = None

    def decode(self, wanted: Mapping[str, tuple[int, str]]) -> dict[str, Any]:
        """Return str, int, float or lists of these, by keyword; without absent and empty ones."""
        decoded: dict[str, Any] = {}
        get = self._values.get
        for keyword, (tag, default_vr) in wanted.items():
            found = get(tag)
            if found is None:
                continue
            vr, raw = found
            if vr in _UNKNOWN:
                vr = default_vr
            if vr == "US" and len(raw) == 2:
                decoded[keyword] = int.from_bytes(raw, self._byte_order)
                continue
            # Nearly every value is one, and of printable ASCII only, so that it needs no repair.
            if vr in _PLAIN and raw.isascii():
                text = raw.decode("ascii").strip("\0 ")
                if text.isprintable() and "\\" not in text:
                    value = text if vr in _AS_IT_IS else self._single(keyword, text, vr)
                    if value != "":
                        decoded[keyword] = value
                    continue
            if (value := self._value(keyword, raw, vr)) not in _NOTHING:
                decoded[keyword] = value
        return decoded

    def decode_items(
        self,
        items: Iterable[Mapping[int, RawValue]],
        wanted: Mapping[str, tuple[int, str]],
    ) -> list[dict[str, Any]]:
        """Return the same for each item of a sequence; without items that have none of it."""
        outside, decoded = self._values, []
        charset = {tag: outside[tag] for tag in (_CHARACTER_SET,) if tag in outside}
        try:
            for item in items:
                self._values = charset | dict(item)
                decoded.append(self.decode(wanted))
        finally:
            self._values = outside
        return [each for each in decoded if each]

    def uid(self, tag: int) -> str | None:
        """Return a UID as it stands, without padding; None when absent."""
        raw = self._values.get(tag)
        return None if raw is None else raw[1].rstrip(b"\0 ").decode("latin-1")

    def _value(self, keyword: str, value: bytes, vr: str) -> Any:
        if vr in _BINARY:
            values: list[Any] = self._numbers(keyword, value, _BINARY[vr])
        else:
            values = [_clean(text) for text in self._texts(keyword, value, vr)]
            if vr in ("IS", "DS"):
                parse = _parse_integer if vr == "IS" else _parse_decimal
                values = [self._parsed(keyword, text, parse) for text in values]
            elif vr == "DA":
                self._check_dates(keyword, values)
            elif vr == "PN":
                values = [_without_empty_groups(text) for text in values]
        if not any(value != "" for value in values):
            return None
        return values[0] if len(values) == 1 else values

    def _single(self, keyword: str, text: str, vr: str) -> Any:
        if vr == "IS":
            return self._parsed(keyword, text, _parse_integer)
        if vr == "DS":
            return self._parsed(keyword, text, _parse_decimal)
        if vr == "PN":
            return _without_empty_groups(text)
        if text and not _is_date(text):
            self.suspect.append(keyword)
        return text

    def _numbers(self, keyword: str, value: bytes, code: str) -> list[Any]:
        size = _SIZES[code]
        if len(value) % size:
            self.suspect.append(keyword)
            value = value[: len(value) // size * size]
        numbers = struct.unpack(f"{self._order}{len(value) // size}{code}", value)
        if all(map(math.isfinite, numbers)):
            return list(numbers)
        self.suspect.append(keyword)
        return []

    def _parsed(self, keyword: str, text: str, parse: Callable[[str], float]) -> Any:
        if not text:
            return ""
        try:
            return parse(text)
        except ValueError:
            self.suspect.append(keyword)
            return ""

    def _check_dates(self, keyword: str, texts: list[str]) -> None:
        if not all(_is_date(text) for text in texts if text):
            self.suspect.append(keyword)

    def _texts(self, keyword: str, value: bytes, vr: str) -> list[str]:
        if value.isascii() and b"\x1b" not in value:
            text = value.decode("ascii")
            return [text] if vr in _SINGLE else text.split("\\")
        if vr in _SINGLE:
            return [self._text(keyword, value, vr)]
        if vr in _TEXT and (b"\x1b" in value or self._declared().is_ambiguous):
            return self._text(keyword, value, vr).split("\\")
        return [self._text(keyword, part, vr) for part in value.split(b"\\")]

    def _text(self, keyword: str, value: bytes, vr: str) -> str:
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        if vr not in _TEXT:
            self.suspect.append(keyword)
            return value.decode("ascii", errors="replace")
        delimiters = b"" if vr in _SINGLE else _NAME_DELIMITERS if vr == "PN" else b"\\"
        text, is_whole = self._declared().decode(value, delimiters)
        if not is_whole:
            self.repaired.append(keyword)
        return text

    def _declared(self) -> CharacterSet:
        if self._character_set is None:
            raw = self._values.get(_CHARACTER_SET)
            terms = raw[1].decode("ascii", errors="replace") if raw else ""
            self._character_set = character_set([term.strip("\0 ") for term in terms.split("\\")])
            if not self._character_set.is_correct:
                self.repaired.append("SpecificCharacterSet")
        return self._character_set


def _clean(text: str) -> str:
    return (text if text.isprintable() else text.translate(_CONTROLS)).strip(" ")


def _without_empty_groups(name: str) -> str:
    """Return a name without the component groups at its end that are empty (PS3.5 6.2.1)."""
    return name.rstrip("=")


def _parse_integer(text: str) -> int:
    if "." not in text and "_" not in text:
        return int(text)
    number = _parse_decimal(text)
    if not number.is_integer():
        raise ValueError(text)
    return int(number)


def _parse_decimal(text: str) -> float:
    number = float(text)
    # Python would also take NaN, infinities and underscores between digits.
    if "_" in text or not math.isfinite(number):
        raise ValueError(text)
    return number


def _is_date(text: str) -> bool:
    is_plain = len(text) == 8 and text.isdecimal() and text.isascii() and text >= "0001"
    # No month is shorter than 28 days.
    if is_plain and "01" <= text[4:6] <= "12" and "01" <= text[6:] <= "28":
        return True
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True
