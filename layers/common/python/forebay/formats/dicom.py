"""DICOM Part 10 files: identity and attributes from ranged reads, without the pixel data.

PS3.10 section 7 says how a file starts, PS3.5 how its elements are encoded. A file is accepted
only when its structure holds up to its last byte, so that a cut anywhere shows.
"""

import re
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.imaging import UID_MAX_LENGTH, DicomInstance, is_uid
from forebay.domain.inspection import ByteSource, Inspection
from forebay.formats.dicom_elements import (
    LONG_VRS,
    VRS,
    DataSetWalk,
    Encoding,
    RawValue,
    walk_data_set,
)
from forebay.formats.dicom_reader import DicomLimits, RangeReader, RefusedError, refused
from forebay.formats.dicom_values import ATTRIBUTES, IDENTITY, SUBJECT, ValueDecoder
from forebay.formats.source import BytesSource

__all__ = ["DicomLimits", "inspect_dicom"]

_PREAMBLE_BYTES: Final = 128
_META_START: Final = 132

_DEFAULT_LIMITS: Final = DicomLimits()

_IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
_EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
_NATIVE: Final = {
    _IMPLICIT_LITTLE: Encoding(is_explicit=False, is_little_endian=True),
    _EXPLICIT_LITTLE: Encoding(is_explicit=True, is_little_endian=True),
    _DEFLATED: Encoding(is_explicit=True, is_little_endian=True),
    _EXPLICIT_BIG: Encoding(is_explicit=True, is_little_endian=False),
}
# PS3.5 annex A: encapsulated uncompressed, the JPEG and MPEG families (.4.*), RLE, deflated frames.
_ENCAPSULATED: Final = re.compile(
    r"1\.2\.840\.10008\.1\.2\.(?:1\.98|4\.\d{2,3}(?:\.\d)?|5|8\.1)"
)
# JPIP: the pixels are elsewhere; the deflated forms compress the whole data set.
_REFERENCED_DEFLATED: Final = frozenset({"1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})

_DICOMDIR_CLASS: Final = "1.2.840.10008.1.3.10"
