import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.imaging import DicomInstance
from forebay.domain.inspection import Inspection
from forebay.domain.naming import instance_key
from forebay.formats import dicom_elements
from forebay.formats.dicom import DicomLimits, inspect_dicom
from forebay.formats.dicom_structure import ITEM_BYTES, SEQUENCE_END_BYTES
from forebay.formats.source import BytesSource

SOP = "1.2.3.4.5"
ITEM_END_BYTES = b"\xfe\xff\x0d\xe0\0\0\0\0"
NATIVE = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


def any_dataset(**changes: object) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = SOP
    ds.StudyInstanceUID = "1.2.3"
    ds.SeriesInstanceUID = "1.2.3.4"
    ds.StudyDate = "20240229"
    ds.Modality = "CT"
    ds.PatientID = "PAT1"
    ds.PatientName = "Doe^Jane"
    ds.AccessionNumber = "ACC9"
    ds.ReferringPhysicianName = "House^Greg"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.SeriesNumber = 3
    ds.SliceThickness = "2.5"
    ds.Rows = ds.Columns = 8
    ds.SamplesPerPixel = 1
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = bytes(range(128))
    ds["PixelData"].VR = "OW"
    item = Dataset()
    item.CodeValue = "T-1"
    ds.ProcedureCodeSequence = Sequence([item, item])
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def any_file(
    syntax: str = ExplicitVRLittleEndian,
    *,
    dataset: Dataset | None = None,
    preamble: bytes = bytes(128),
    media_class: str = CTImageStorage,
) -> bytes:
    ds = any_dataset() if dataset is None else dataset
    ds.file_meta = FileMetaDataset()
    ds.file_meta.FileMetaInformationGroupLength = 0
    ds.file_meta.FileMetaInformationVersion = b"\0\1"
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = UID(media_class)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(SOP)
    ds.preamble = preamble
    buffer = io.BytesIO()
    dcmwrite(buffer, ds)
    return buffer.getvalue()


def encapsulated_file(
    frames: list[bytes], *, has_bot: bool = True, dataset: Dataset | None = None
) -> bytes:
    ds = any_dataset() if dataset is None else dataset
    ds.NumberOfFrames = len(frames)
    ds.PixelData = encapsulate(frames, has_bot=has_bot)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return any_file(JPEG2000Lossless, dataset=ds)


def inspect(data: bytes, **limits: Any) -> Inspection[DicomInstance]:
    return inspect_dicom(BytesSource(data), limits=DicomLimits(**limits))


def accepted(inspection: Inspection[DicomInstance]) -> DicomInstance:
    assert inspection.record is not None, inspection.findings
    return inspection.record


def only_code(inspection: Inspection[DicomInstance]) -> ReasonCode:
    assert len(inspection.findings) == 1, inspection.findings
    return inspection.findings[0].code


def with_raw_element(data: bytes, element: bytes) -> bytes:
    """Put an element right before the pixel data of an explicit little endian file."""
    at = data.index(b"\xe0\x7f\x10\x00OW")
    return data[:at] + element + data[at:]


class CountingSource(BytesSource):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.ranges: list[tuple[int, int]] = []

    def read_range(self, start: int, length: int) -> bytes:
        self.ranges.append((start, length))
        return super().read_range(start, length)


@pytest.mark.parametrize("syntax", NATIVE)
def test_every_native_syntax_is_accepted_with_its_values(syntax: str) -> None:
    inspection = inspect(any_file(syntax))
    assert inspection.verdict is Verdict.VALID
    record = accepted(inspection)
    assert (record.sop_instance_uid, record.sop_class_uid) == (SOP, CTImageStorage)
    assert (record.study_instance_uid, record.series_instance_uid) == ("1.2.3", "1.2.3.4")
    assert record.transfer_syntax_uid == syntax
    assert record.attributes["ImageType"] == ["ORIGINAL", "PRIMARY"]
    assert record.attributes["SeriesNumber"] == 3
    assert record.attributes["SliceThickness"] == 2.5
    assert record.attributes["Rows"] == 8
    assert record.attributes["StudyDate"] == "20240229"


def test_what_identifies_a_person_stays_in_the_subject() -> None:
    record = accepted(inspect(any_file()))
    assert record.subject == {
        "PatientID": "PAT1",
        "PatientName": "Doe^Jane",
        "AccessionNumber": "ACC9",
        "ReferringPhysicianName": "House^Greg",
    }
    assert not {"PAT1", "Doe^Jane", "ACC9", "House^Greg"} & set(
        map(str, record.attributes.values())
    )


@pytest.mark.parametrize("frames", [[b"\xff\x4f" * 20], [b"ab" * n for n in range(1, 40)]])
@pytest.mark.parametrize("has_bot", [True, False])
def test_encapsulated_pixel_data_is_accepted(frames: list[bytes], has_bot: bool) -> None:
    assert inspect(encapsulated_file(frames, has_bot=has_bot)).verdict is Verdict.VALID


@pytest.mark.parametrize("has_bot", [True, False])
def test_end_of_large_compressed_images_is_found_with_few_requests(has_bot: bool) -> None:
    data = encapsulated_file([bytes(40_000)] * 100, has_bot=has_bot)
    source = CountingSource(data)
    inspection = inspect_dicom(source)
    assert inspection.verdict is Verdict.VALID
    assert inspection.requests == len(source.ranges) <= 7
    assert inspection.bytes_read == sum(
        len(data[start : start + length]) for start, length in source.ranges
    )
    assert inspection.bytes_read < 300_000


def test_one_request_is_enough_for_a_native_image_and_reads_no_more_than_the_first_range() -> None:
    ds = any_dataset(Rows=1000, Columns=1000)
    ds.PixelData = bytes(2_000_000)
    source = CountingSource(any_file(dataset=ds))
    assert inspect_dicom(source).verdict is Verdict.VALID
    assert source.ranges == [(0, 65_536)]


@pytest.mark.parametrize("syntax", [*NATIVE, JPEG2000Lossless])
def test_any_first_range_gives_the_same_record(syntax: str) -> None:
    data = encapsulated_file([b"ab" * 300]) if syntax == JPEG2000Lossless else any_file(syntax)
    whole = inspect(data)
    for first_read_bytes in (132, 140, 150, 200, 333, 500, 777):
        part = inspect(data, first_read_bytes=first_read_bytes)
        assert part.record == whole.record
        assert part.findings == whole.findings


@pytest.mark.parametrize("syntax", [*NATIVE, JPEG2000Lossless])
def test_file_cut_at_any_byte_is_never_valid(syntax: str) -> None:
    data = encapsulated_file([b"ab" * 30] * 3) if syntax == JPEG2000Lossless else any_file(syntax)
    assert inspect(data).verdict is Verdict.VALID
    accepted = [
        (cut, [finding.code for finding in inspection.findings])
        for cut in range(len(data.rstrip(b"\0")))
        if (inspection := inspect(data[:cut])).verdict is not Verdict.INVALID
    ]
    # Cut exactly between two elements it is a sound data set, but an image without pixels.
    assert all(ReasonCode.DICOM_PIXEL_LENGTH_MISMATCH in codes for _, codes in accepted)


@settings(deadline=None)
@given(cut=st.integers(132, 70_000))
def test_compressed_image_cut_anywhere_is_never_valid(cut: int) -> None:
    data = encapsulated_file([bytes(9_000), b"\xfe\xff" * 5_000, bytes(30_000)], has_bot=False)
    if cut < len(data):
        assert inspect(data[:cut], first_read_bytes=4096).verdict is not Verdict.VALID


@pytest.mark.parametrize(
    "start,kind",
    [
        (b"MZ\x90\0", "Windows"),
        (b"\x7fELF", "Linux"),
        (b"#!/bin/sh", "script"),
        (b"PK\x03\x04", "ZIP"),
        (b"%PDF-1.7", "PDF"),
        (b"\n <HTML>", "HTML"),
        (b"x<script>", "HTML"),
        (b"\xcf\xfa\xed\xfe", "program"),
        *[
            (mark + b" \n" + tag, "HTML")
            for tag in (
                *(b"<!--", b"<META http-equiv=refresh>", b"<a href=x>", b"<table>", b"<style>"),
                *(b"<title>", b"<div onclick=x>", b"<p>", b"<BR>", b"<h1 id=x>", b"<hta:x>"),
                *(b"<iframe>", b"<?xml ", b"<font\tx", b"<b>", b"<img src=x>", b"<object x"),
            )
            for mark in (b"", b"\xef\xbb\xbf")
        ],
        ("<html>".encode("utf-16"), "HTML"),
        (b"\xfe\xff" + " <p>".encode("utf-16-be"), "HTML"),
        (b"PK\x07\x08", "ZIP"),
        (bytes(4) + b"PK\x03\x04", "ZIP"),
        (bytes(124) + b"PK\x05\x06", "ZIP"),
        (b"@echo off\r\ndel", "script"),
        (b"\xef\xbb\xbf@ECHO off", "script"),
        (b"\xef\xbb\xbf#!/bin/sh", "script"),
        (b"{\\rtf1", "RTF"),
        (b"%!PS-Adobe", "PostScript"),
        (b"L\0\0\0\1\x14\2\0", "shortcut"),
        (b"\xfd7zXZ\0", "archive"),
    ],
)
def test_preamble_of_another_kind_of_file_is_refused(start: bytes, kind: str) -> None:
    data = any_file(preamble=start.ljust(128, b"\0"))
    inspection = inspect(data)
    assert inspection.verdict is Verdict.INVALID
    assert only_code(inspection) is ReasonCode.DICOM_POLYGLOT
    assert kind in inspection.findings[0].message
    assert inspect(data, refuse_polyglots=False).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    "start",
    [b"II*\0", b"MM\0*", b"R_1F7AAEBA350A45", b"\\\1", b"<abc>", b"P<b>", b"@ward 7", b"1 < 2 PK"],
)
def test_tiff_and_harmless_preambles_are_accepted(start: bytes) -> None:
    assert inspect(any_file(preamble=start.ljust(128, b"\0"))).verdict is Verdict.VALID


@pytest.mark.parametrize(
    "data,code",
    [
        (b"", ReasonCode.EMPTY_OBJECT),
        (b"\x1f\x8b\x08" + bytes(300), ReasonCode.NOT_DICOM),
        (b"DICM" + bytes(300), ReasonCode.NOT_DICOM),
        (bytes(500), ReasonCode.NOT_DICOM),
        (bytes(128), ReasonCode.DICOM_TRUNCATED),
        (bytes(128) + b"DI", ReasonCode.DICOM_TRUNCATED),
        (bytes(128) + b"DICM", ReasonCode.DICOM_TRUNCATED),
        (bytes(128) + b"DICM" + b"\x08\0\x05\0CS\x02\0AA", ReasonCode.DICOM_META_MISSING),
    ],
)
def test_file_without_a_proper_start_is_refused(data: bytes, code: ReasonCode) -> None:
    inspection = inspect(data)
    assert inspection.verdict is Verdict.INVALID
    assert only_code(inspection) is code


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
@pytest.mark.parametrize(
    "value,code",
    [
        (b"", ReasonCode.DICOM_IDENTITY_MISSING),
        (b"../../etc/passwd", ReasonCode.DICOM_UID_INVALID),
        (b"1.2\n3.4", ReasonCode.DICOM_UID_INVALID),
        (b"1.2\\1.3", ReasonCode.DICOM_UID_INVALID),
        (b"1." * 40 + b"11", ReasonCode.DICOM_UID_INVALID),
        (b"1..2", ReasonCode.DICOM_UID_INVALID),
        (b"1.2\xff4", ReasonCode.DICOM_UID_INVALID),
    ],
)
def test_missing_or_hostile_uid_is_refused_without_showing_it(
    keyword: str, value: bytes, code: ReasonCode
) -> None:
    data = any_file(dataset=any_dataset(**{keyword: "9.8.7.6"}))
    old = b"UI\x08\x009.8.7.6\0"
    data = data.replace(old, b"UI" + struct.pack("<H", len(value)) + value)
    inspection = inspect(data)
    assert inspection.verdict is Verdict.INVALID
    finding = inspection.findings[-1]
    assert finding.code is code
    assert keyword in finding.message
    assert "passwd" not in str(finding.as_dict())


def test_absent_uid_is_refused() -> None:
    inspection = inspect(any_file(dataset=any_dataset(StudyInstanceUID=None)))
    assert only_code(inspection) is ReasonCode.DICOM_IDENTITY_MISSING


def test_leading_zero_in_a_uid_is_a_warning() -> None:
    data = any_file().replace(b"1.2.3.4\0", b"1.2.034\0")
    inspection = inspect(data)
    assert only_code(inspection) is ReasonCode.DICOM_UID_INVALID
    assert accepted(inspection).series_instance_uid == "1.2.034"


@given(st.text(alphabet="0012.. /x\0", max_size=66), st.sampled_from(["Study", "Series", "SOP"]))
@example("1.2.034", "SOP")
@example("0" * 64, "Study")
@example("0" * 65, "Series")
@example("..", "SOP")
def test_every_instance_that_is_accepted_can_be_named(uid: str, level: str) -> None:
    data = any_file(dataset=any_dataset(**{f"{level}InstanceUID": "9.8.7.6"}))
    value = uid.encode() + b"\0" * (len(uid) % 2)
    inspection = inspect(
        data.replace(b"UI\x08\x009.8.7.6\0", b"UI" + struct.pack("<H", len(value)) + value)
    )
    if inspection.record:
        key = instance_key(inspection.record.as_metadata())

        assert re.fullmatch(r"dicom(/[0-9][0-9.]*){3}\.dcm", key)
        assert not {"", ".", ".."} & set(key.split("/"))


def test_other_instance_in_file_meta_is_a_warning_and_the_data_set_counts() -> None:
    inspection = inspect(any_file(dataset=any_dataset(SOPInstanceUID="1.2.3.4.9")))
    assert only_code(inspection) is ReasonCode.DICOM_IDENTITY_MISMATCH
    assert accepted(inspection).sop_instance_uid == "1.2.3.4.9"


def test_dicomdir_is_unsupported() -> None:
    inspection = inspect(any_file(media_class=MediaStorageDirectoryStorage))
    assert inspection.verdict is Verdict.UNSUPPORTED
    assert only_code(inspection) is ReasonCode.DICOMDIR


@pytest.mark.parametrize(
    "syntax,verdict",
    [(b"not-a-uid\0", Verdict.INVALID), (b"1.2.840.113619.5.2\0\0", Verdict.UNSUPPORTED)],
)
def test_unknown_transfer_syntax_is_not_guessed(syntax: bytes, verdict: Verdict) -> None:
    data = any_file()
    old = b"\x02\0\x10\0UI\x14\0" + b"1.2.840.10008.1.2.1\0"
    new = b"\x02\0\x10\0UI" + struct.pack("<H", len(syntax)) + syntax
    inspection = inspect(data.replace(old, new))
    assert inspection.verdict is verdict
    assert inspection.findings[-1].code is ReasonCode.DICOM_TRANSFER_SYNTAX_UNKNOWN


def test_empty_transfer_syntax_is_refused() -> None:
    old = b"\x02\0\x10\0UI\x14\0" + b"1.2.840.10008.1.2.1\0"
    inspection = inspect(any_file().replace(old, b"\x02\0\x10\0UI\0\0"))
    assert inspection.findings[-1].code is ReasonCode.DICOM_META_MISSING


@pytest.mark.parametrize(
    "claimed,written",
    [
        (b"1.2.840.10008.1.2\0", ExplicitVRLittleEndian),
        (b"1.2.840.10008.1.2.2\0", ExplicitVRLittleEndian),
        (b"1.2.840.10008.1.2.1\0", ImplicitVRLittleEndian),
        (b"1.2.840.10008.1.2.1\0", ExplicitVRBigEndian),
        (b"1.2.840.10008.1.2.1.99\0\0", ExplicitVRLittleEndian),
        (b"1.2.840.10008.1.2.4.90\0\0", ExplicitVRLittleEndian),
    ],
)
def test_data_set_not_encoded_as_claimed_is_refused_as_malformed(
    claimed: bytes, written: str
) -> None:
    data = any_file(written)
    meta_end = 144 + struct.unpack_from("<I", data, 140)[0]
    head = data[132:meta_end]
    at = head.index(b"\x02\0\x10\0UI")
    (length,) = struct.unpack_from("<H", head, at + 6)
    changed = head[: at + 6] + struct.pack("<H", len(claimed)) + claimed + head[at + 8 + length :]
    inspection = inspect(data[:132] + changed + data[meta_end:])
    assert inspection.verdict is Verdict.INVALID
    assert inspection.findings[-1].code is ReasonCode.DICOM_MALFORMED


@pytest.mark.parametrize("length,verdict", [(0, Verdict.INVALID), (2**32 - 16, Verdict.INVALID)])
def test_absurd_group_length_is_refused(length: int, verdict: Verdict) -> None:
    data = bytearray(any_file())
    data[140:144] = struct.pack("<I", length)
    assert inspect(bytes(data)).verdict is verdict


def test_slightly_wrong_group_length_is_a_warning() -> None:
    data = bytearray(any_file())
    data[140] ^= 4
    assert only_code(inspect(bytes(data))) is ReasonCode.DICOM_VALUE_SUSPECT


@pytest.mark.parametrize("element", [b"\x10\0\x20\0LO\x04\0OTHR", b"\x09\0\x01\0LO\x02\0AA"])
def test_repeated_or_misplaced_element_is_refused(element: bytes) -> None:
    inspection = inspect(with_raw_element(any_file(), element))
    assert only_code(inspection) is ReasonCode.DICOM_MALFORMED


def test_element_longer_than_its_item_is_refused() -> None:
    item = b"\x08\0\x00\x01SH\x40\0AA"
    sequence = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item
    element = b"\x40\x00\x75\x02SQ\0\0" + struct.pack("<I", len(sequence)) + sequence
    assert only_code(inspect(with_raw_element(any_file(), element))) is ReasonCode.DICOM_MALFORMED


def test_value_representation_still_to_come_is_stepped_over() -> None:
    element = b"\x29\0\x10\x10ZZ\0\0\x02\0\0\0AA"
    assert inspect(with_raw_element(any_file(), element)).verdict is Verdict.VALID


@pytest.mark.parametrize("vr", [b"  ", b"\0\0", b"cs", b"??"])
def test_value_representation_that_can_never_be_is_refused(vr: bytes) -> None:
    element = b"\x29\0\x10\x10" + vr + b"\0\0\x02\0\0\0AA"
    assert only_code(inspect(with_raw_element(any_file(), element))) is ReasonCode.DICOM_MALFORMED


def test_unclosed_sequence_is_refused() -> None:
    element = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff"
    assert inspect(with_raw_element(any_file(), element)).verdict is Verdict.INVALID


@pytest.mark.parametrize("vr", [b"SQ\0\0", b"UN\0\0"])
def test_nesting_beyond_any_real_object_is_refused(vr: bytes) -> None:
    item = b"\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    # What is in an element of unknown VR and length is implicit.
    inner = vr if vr.startswith(b"SQ") else b""
    levels = b"\x40\x00\x75\x02" + vr + item + (b"\x40\x00\x75\x02" + inner + item) * 100_000
    inspection = inspect(with_raw_element(any_file(), levels))
    assert inspection.findings[0].code is ReasonCode.LIMIT_EXCEEDED
    assert inspection.bytes_read <= 1 << 20


def test_too_many_elements_are_refused() -> None:
    elements = b"".join(
        struct.pack("<HH2sH", 0x0029, number, b"LO", 0) for number in range(0x1000, 0x4000)
    )
    inspection = inspect(with_raw_element(any_file(), elements), max_elements=5_000)
    assert only_code(inspection) is ReasonCode.LIMIT_EXCEEDED


def test_deflate_bomb_is_refused() -> None:
    body = zlib.compressobj(wbits=-15)
    data = any_file(DeflatedExplicitVRLittleEndian)
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    bomb = body.compress(bytes(5_000_000)) + body.flush()
    inspection = inspect(data[:start] + bomb, max_inflated_bytes=1_000_000)
    assert only_code(inspection) is ReasonCode.LIMIT_EXCEEDED


def test_head_larger_than_the_limit_is_refused() -> None:
    ds = any_dataset()
    ds.add_new(0x00290010, "LO", "X")
    ds.add_new(0x00291010, "SQ", [any_dataset(PixelData=None) for _ in range(500)])
    ds[0x00291010].is_undefined_length = True
    inspection = inspect(any_file(dataset=ds), max_read_bytes=80_000)
    assert only_code(inspection) is ReasonCode.LIMIT_EXCEEDED


def test_long_sequence_of_known_length_is_stepped_over_not_read() -> None:
    ds = any_dataset()
    ds.add_new(0x00290010, "LO", "X")
    ds.add_new(0x00291010, "SQ", [any_dataset(PixelData=None) for _ in range(2000)])
    data = any_file(dataset=ds)
    assert len(data) > 500_000
    inspection = inspect(data)
    accepted(inspection)
    assert inspection.bytes_read < 100_000
    assert only_code(inspect(data[:-1])) is ReasonCode.DICOM_TRUNCATED


def nested(levels: int, *, is_explicit: bool) -> bytes:
    """Return one sequence in the other, all of defined length, with the innermost item empty."""
    vr, step = (b"SQ\0\0", 20) if is_explicit else (b"", 16)
    tag = struct.pack("<HH", 0x0040, 0xA730)
    return b"".join(
        tag + vr + struct.pack("<I", n * step + 8) + ITEM_BYTES + struct.pack("<I", n * step)
        for n in reversed(range(levels))
    )


@pytest.mark.parametrize("is_explicit", [True, False])
@pytest.mark.parametrize("levels", [100, 5_000, 100_000])
def test_nesting_is_bounded_in_sequences_of_any_length(levels: int, is_explicit: bool) -> None:
    syntax = ExplicitVRLittleEndian if is_explicit else ImplicitVRLittleEndian
    data = any_file(syntax)
    at = data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    data = data[:at] + nested(levels, is_explicit=is_explicit) + data[at:]
    for first_read_bytes in (400, 1000, 1 << 16):
        inspection = inspect(data, first_read_bytes=first_read_bytes)
        assert only_code(inspection) is ReasonCode.LIMIT_EXCEEDED


@pytest.mark.parametrize("length", [4, 12, 600, 70_000])
@pytest.mark.parametrize("is_nested", [True, False])
def test_sequence_without_items_is_refused_at_any_length(length: int, is_nested: bool) -> None:
    element = (
        b"\x40\0\x30\xa7SQ\0\0" + struct.pack("<I", length) + b"\xde\xad\xbe\xef" * (length // 4)
    )
    if is_nested:
        item = ITEM_BYTES + b"\xff" * 4 + element + ITEM_END_BYTES
        element = b"\x40\0\x30\xa7SQ\0\0" + b"\xff" * 4 + item + SEQUENCE_END_BYTES
    data = with_raw_element(any_file(), element)
    for first_read_bytes in (400, 1000, 1 << 16):
        inspection = inspect(data, first_read_bytes=first_read_bytes)
        assert only_code(inspection) is ReasonCode.DICOM_MALFORMED


def test_empty_groups_at_the_end_of_a_name_are_left_out() -> None:
    record = accepted(inspect(any_file(dataset=any_dataset(PatientName="Wang^XiaoDong=="))))
    assert record.subject["PatientName"] == "Wang^XiaoDong"


def with_raw_value(tag: int, vr: bytes, value: str) -> bytes:
    text = value.encode() + b" " * (len(value) % 2)
    raw = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(text)) + text
    data = any_file(dataset=any_dataset())
    at = data.index(struct.pack("<HH", 0x0028, 0x0002))
    return data[:at] + raw + data[at:]


@pytest.mark.parametrize("value", ["1.0e999", "1_0", "nan", "1.5"])
def test_number_that_is_no_whole_one_is_suspect(value: str) -> None:
    inspection = inspect(with_raw_value(0x00200013, b"IS", value))
    assert "InstanceNumber" not in accepted(inspection).attributes
    assert inspection.findings[0].found == "InstanceNumber"


def test_several_photometric_interpretations_are_no_error() -> None:
    ds = any_dataset(SamplesPerPixel=3, PixelData=bytes(384))
    data = any_file(dataset=ds).replace(b"MONOCHROME2 ", b"RGB\\YBR\\ABC ")
    assert accepted(inspect(data)).attributes["PhotometricInterpretation"] == ["RGB", "YBR", "ABC"]


def test_large_private_value_is_stepped_over_not_read() -> None:
    ds = any_dataset()
    ds.add_new(0x00290010, "LO", "X")
    ds.add_new(0x00291010, "OB", bytes(3_000_000))
    inspection = inspect(any_file(dataset=ds))
    assert inspection.verdict is Verdict.VALID
    assert inspection.requests == 2
    assert inspection.bytes_read < 100_000


def test_appended_bytes_are_refused() -> None:
    assert only_code(inspect(any_file() + b"PK\x03\x04" * 5)) in {
        ReasonCode.DICOM_TRAILING_BYTES,
        ReasonCode.DICOM_MALFORMED,
    }


@pytest.mark.parametrize("zeros", [1, 2, 7, 8, 500])
def test_appended_zeros_are_a_warning(zeros: int) -> None:
    inspection = inspect(any_file() + bytes(zeros))
    assert only_code(inspection) is ReasonCode.DICOM_TRAILING_BYTES
    assert inspection.verdict is Verdict.WARNING


def test_padding_element_after_the_pixel_data_is_accepted() -> None:
    padding = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0\0\0\0\0"
    assert inspect(any_file() + padding).verdict is Verdict.VALID
    assert inspect(any_file() + padding[:-1]).verdict is Verdict.INVALID
    assert inspect(encapsulated_file([b"ab"] * 9) + padding).verdict is Verdict.VALID


def test_pixel_data_shorter_than_the_image_is_refused() -> None:
    inspection = inspect(any_file(dataset=any_dataset(Rows=9)))
    assert only_code(inspection) is ReasonCode.DICOM_PIXEL_LENGTH_MISMATCH
    assert inspection.verdict is Verdict.INVALID


@pytest.mark.parametrize(
    "old,new,keyword",
    [
        (b"\x28\0\x10\0US\x02\0\x08\0", b"", "Rows"),
        (b"\x28\0\x11\0US\x02\0\x08\0", b"\x28\0\x11\0US\x04\0\x08\0\x08\0", "Columns"),
        (b"\x28\0\0\1US\x02\0\x10\0", b"\x28\0\0\1US\x02\0\0\0", "BitsAllocated"),
        (b"\x28\0\0\1US\x02\0\x10\0", b"", "BitsAllocated"),
        (b"IS\x02\x001 ", b"IS\x02\x000 ", "NumberOfFrames"),
        (b"IS\x02\x001 ", b"IS\x02\x00-3", "NumberOfFrames"),
        (b"IS\x02\x001 ", b"IS\x04\x009\\9 ", "NumberOfFrames"),
    ],
)
def test_length_of_pixels_that_cannot_be_checked_is_a_warning_naming_why(
    old: bytes, new: bytes, keyword: str
) -> None:
    data = any_file(dataset=any_dataset(NumberOfFrames=1))
    assert inspect(data).verdict is Verdict.VALID
    assert data.count(old) == 1
    inspection = inspect(data.replace(old, new))
    assert inspection.verdict is Verdict.WARNING
    assert only_code(inspection) is ReasonCode.DICOM_PIXEL_LENGTH_MISMATCH
    assert inspection.findings[0].found == f"none in {keyword}"


def test_pixel_data_longer_than_the_image_is_a_warning() -> None:
    inspection = inspect(any_file(dataset=any_dataset(Rows=4)))
    assert only_code(inspection) is ReasonCode.DICOM_PIXEL_LENGTH_MISMATCH
    assert inspection.verdict is Verdict.WARNING


@pytest.mark.parametrize(
    "character_set,name",
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Люксембург"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    ],
)
def test_names_are_decoded_as_pydicom_does(character_set: str | list[str], name: str) -> None:
    data = any_file(dataset=any_dataset(SpecificCharacterSet=character_set, PatientName=name))
    inspection = inspect(data)
    assert accepted(inspection).subject["PatientName"] == str(dcmread(io.BytesIO(data)).PatientName)
    assert accepted(inspection).subject["PatientName"] == name
    assert inspection.verdict is Verdict.VALID


ESC = b"\x1b"


@pytest.mark.parametrize(
    "terms,raw,name",
    [
        # 春 holds 0x3D, 表 and 十 end in 0x5C and 0x3D in JIS X 0208.
        (
            "\\ISO 2022 IR 87",
            b"Haru^Taro=" + ESC + b"$B=U" + ESC + b"(B^" + ESC + b"$BB@O:" + ESC + b"(B",
            "Haru^Taro=春^太郎",
        ),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=" + ESC + b"$B;3ED" + ESC + b"(J^" + ESC + b"$BB@O:"
            b"" + ESC + b"(J=" + ESC + b"$B$d$^$@" + ESC + b"(J^" + ESC + b"$B$?$m$&" + ESC + b"(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        ),
        # The way back is forgotten before the delimiter.
        (
            "\\ISO 2022 IR 87",
            b"A^B=" + ESC + b"$B=U^" + ESC + b"$BB@O:" + ESC + b"(B",
            "A^B=春^太郎",
        ),
        ("\\ISO 2022 IR 159", b"A=" + ESC + b"$(D0!" + ESC + b"(B^B", "A=丂^B"),
        (
            "\\ISO 2022 IR 149",
            b"Hong^Gildong=" + ESC + b"$)C\xfb\xf3^" + ESC + b"$)C\xd1\xce\xd4\xd7="
            b"" + ESC + b"$)C\xc8\xab^" + ESC + b"$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        (
            "\\ISO 2022 IR 58",
            b"Zhang^XiaoDong=" + ESC + b"$)A\xd5\xc5^" + ESC + b"$)A\xd0\xa1\xb6\xab=",
            "Zhang^XiaoDong=张^小东",
        ),
        ("ISO_IR 203", b"\xbcuv\xa4", "Œuv€"),
        ("ISO 2022 IR 6\\ISO 2022 IR 203", b"A^" + ESC + b"-b\xbcuv\xa4", "A^Œuv€"),
        (
            "ISO 2022 IR 100\\ISO 2022 IR 144",
            b"M\xfc" + ESC + b"-L\xdb\xee^\xfc",
            "Müлю^ü",
        ),
    ],
)
def test_names_with_code_extensions_are_decoded_and_not_cut(
    terms: str, raw: bytes, name: str
) -> None:
    inspection = inspect(with_text(0x00100010, "PN", raw, terms))
    assert accepted(inspection).subject["PatientName"] == name
    assert inspection.findings == ()


def with_text(tag: int, vr: str, raw: bytes, terms: str) -> bytes:
    """Return a file with these very bytes as a value, and this character set."""
    data = any_file(dataset=any_dataset(PatientName=None, SpecificCharacterSet="ISO_IR 6"))
    terms += " " * (len(terms) % 2)
    data = data.replace(
        b"CS\x08\x00ISO_IR 6", b"CS" + struct.pack("<H", len(terms)) + terms.encode()
    )
    raw += b" " * (len(raw) % 2)
    element = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(raw)) + raw
    tags = [struct.pack("<HH", 0x0008, 0x0090), struct.pack("<HH", 0x0010, 0x0020)]
    at = data.index(tags[tag >> 16 == 0x0010])
    return data[:at] + element + data[at:]


def test_backslash_within_a_kanji_separates_no_values() -> None:
    hospital = "東十病院"
    raw = b"\\".join([hospital.encode("iso2022_jp")] * 2)
    assert raw.count(b"\\") == 1
    kanji = b"\x1b$B" + b"\x4d\x5c" + b"\x1b(B"
    text = kanji.decode("iso2022_jp")
    inspection = inspect(with_text(0x00080080, "LO", raw + b"\\" + kanji, "\\ISO 2022 IR 87"))
    assert accepted(inspection).attributes["InstitutionName"] == [hospital, hospital, text]
    assert inspection.verdict is Verdict.VALID


@pytest.mark.parametrize(
    "terms,raw,name",
    [
        ("", b"A^" + ESC + b"$B=U" + ESC + b"(B", "A^春"),
        ("\\ISO 2022 IR 87", b"A" + ESC + b"%GB", "A%GB"),
        ("\\ISO 2022 IR 87", b"A" + ESC, "A"),
        ("\\ISO 2022 IR 87", b"A" + ESC + b"$B=U%" + ESC + b"(B", "A春%"),
        ("\\ISO 2022 IR 149", b"A" + ESC + b"$)C\xfb\xf3^\xfb", "A洪^û"),
        ("ISO IR 100", b"M\xfcller", "Müller"),
    ],
)
def test_escape_sequences_beyond_the_declared_sets_are_a_warning(
    terms: str, raw: bytes, name: str
) -> None:
    inspection = inspect(with_text(0x00100010, "PN", raw, terms))
    assert accepted(inspection).subject["PatientName"] == name
    assert only_code(inspection) is ReasonCode.DICOM_CHARSET_REPAIRED


@given(
    st.lists(
        st.sampled_from(
            [b"\x1b", b"$B", b"(B", b"(J", b"$)C", b"$)A", b"-b", b"%", b"=U", b"\xfb\xf3"]
        )
        | st.binary(max_size=3),
        max_size=12,
    ),
    st.lists(
        st.sampled_from(["", "ISO_IR 192", "GB18030", "ISO_IR 13"])
        | st.sampled_from(["6", "13", "58", "87", "144", "149", "159"]).map(
            "ISO 2022 IR {}".format
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["PN", "LO", "LT"]),
)
def test_any_bytes_become_text_without_controls(
    pieces: list[bytes], terms: list[str], vr: str
) -> None:
    tag, keyword = (0x00100010, "PatientName") if vr == "PN" else (0x00080080, "InstitutionName")
    data = with_text(tag, vr, b"".join(pieces), "\\".join(terms))
    record = accepted(inspect(data))
    value = (record.subject if vr == "PN" else record.attributes).get(keyword, "")
    for text in value if isinstance(value, list) else [value]:
        assert "\x1b" not in text
        text.encode()


@pytest.mark.parametrize("term", ["NO_SUCH", "ISO\0_IR", "undefined", "hex_codec", "ISO_IR 100 x"])
def test_unknown_character_set_is_a_warning(term: str) -> None:
    data = any_file(dataset=any_dataset(SpecificCharacterSet="ISO_IR 6"))
    data = data.replace(b"CS\x08\x00ISO_IR 6", b"CS" + struct.pack("<H", len(term)) + term.encode())
    inspection = inspect(data.replace(b"Doe^Jane", b"Do\xe9^Jane"))
    assert only_code(inspection) is ReasonCode.DICOM_CHARSET_REPAIRED
    assert inspection.record is not None


def test_text_outside_the_declared_character_set_is_a_warning_without_the_text() -> None:
    data = any_file().replace(b"Doe^Jane", b"Do\xe9^Jane")
    inspection = inspect(data)
    assert only_code(inspection) is ReasonCode.DICOM_CHARSET_REPAIRED
    assert inspection.findings[0].found == "PatientName"
    assert "Jane" not in str(inspection.findings[0].as_dict())


@pytest.mark.parametrize(
    "old,new,keyword",
    [
        (b"20240229", b"20231332", "StudyDate"),
        (b"IS\x02\x003 ", b"IS\x02\x001A", "SeriesNumber"),
        (b"DS\x04\x002.5 ", b"DS\x04\x00nan ", "SliceThickness"),
    ],
)
def test_value_against_its_representation_is_a_warning_naming_the_attribute(
    old: bytes, new: bytes, keyword: str
) -> None:
    inspection = inspect(any_file().replace(old, new))
    assert only_code(inspection) is ReasonCode.DICOM_VALUE_SUSPECT
    assert inspection.findings[0].found == keyword


def test_control_characters_are_removed_from_text() -> None:
    inspection = inspect(any_file().replace(b"Doe^Jane", b"Doe^\x07ane"))
    assert accepted(inspection).subject["PatientName"] == "Doe^ane"


@pytest.mark.parametrize("name", ["Doe^Jane", "Müller^Jörg"])
def test_objects_never_load_pydicom(tmp_path: Path, name: str) -> None:
    path = tmp_path / "image.dcm"
    dataset = any_dataset(SpecificCharacterSet="ISO_IR 100", PatientName=name)
    path.write_bytes(any_file(dataset=dataset))
    program = (
        "import sys; from forebay.formats.dicom import inspect_dicom;"
        "from forebay.formats.source import FileSource;"
        "assert inspect_dicom(FileSource(sys.argv[1])).verdict == 'valid';"
        "assert 'pydicom' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


def test_position_in_deflated_data_says_so() -> None:
    ds = any_dataset()
    data = any_file(DeflatedExplicitVRLittleEndian, dataset=ds)
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    body = zlib.decompress(data[start:], wbits=-15)
    deflater = zlib.compressobj(wbits=-15)
    cut = data[:start] + deflater.compress(body[:-5]) + deflater.flush()
    inspection = inspect(cut)
    assert only_code(inspection) is ReasonCode.DICOM_TRUNCATED
    assert inspection.findings[0].position.startswith("inflated byte ")


def test_zeros_after_a_deflated_data_set_are_judged_as_after_any_other() -> None:
    data = any_file(DeflatedExplicitVRLittleEndian)
    whole = data[:-1] if data.endswith(b"\0") else data
    is_odd = (len(whole) - (144 + struct.unpack_from("<I", data, 140)[0])) % 2
    for zeros, verdict in (
        (is_odd, Verdict.VALID),
        (is_odd + 1, Verdict.WARNING),
        (is_odd + 50_000, Verdict.WARNING),
        ((64 << 10) + 2, Verdict.INVALID),
        (1_000_000, Verdict.INVALID),
    ):
        inspection = inspect(whole + bytes(zeros))
        assert inspection.verdict is verdict
        assert all(each.code is ReasonCode.DICOM_TRAILING_BYTES for each in inspection.findings)
    assert inspect(whole + b"\0PK").verdict is Verdict.INVALID


def test_deflated_data_set_without_its_pad_byte_is_a_warning() -> None:
    for name in ("A", "AB", "ABC", "ABCDEF", "X^Y", "Q^RSTU"):
        data = any_file(DeflatedExplicitVRLittleEndian, dataset=any_dataset(PatientName=name))
        start = 144 + struct.unpack_from("<I", data, 140)[0]
        inflater = zlib.decompressobj(wbits=-15)
        inflater.decompress(data[start:])
        if inflater.unused_data:
            inspection = inspect(data[:-1])
            assert only_code(inspection) is ReasonCode.DICOM_VALUE_SUSPECT
            assert inspection.verdict is Verdict.WARNING
            return
    pytest.fail("none of these deflates to an odd length")


def test_rle_file_is_accepted() -> None:
    ds = any_dataset()
    data = any_file(dataset=ds)
    compressed = dcmread(io.BytesIO(data))
    compressed.compress(RLELossless, np.zeros((8, 8), dtype=np.uint16), generate_instance_uid=False)
    buffer = io.BytesIO()
    compressed.save_as(buffer)
    assert inspect(buffer.getvalue()).verdict is Verdict.VALID


@settings(deadline=None)
@given(data=st.data())
def test_any_changed_byte_ends_in_a_verdict(data: st.DataObject) -> None:
    base = any_file(data.draw(st.sampled_from(NATIVE)))
    changed = bytearray(base)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(base) - 1))] = data.draw(st.integers(0, 255))
    inspection = inspect(bytes(changed), first_read_bytes=data.draw(st.integers(1, 900)))
    assert inspection.verdict in set(Verdict)


def any_nested_dataset() -> Dataset:
    """Return a data set with sequences in sequences, as reports and segmentations have them."""
    leaf = Dataset()
    leaf.CodeValue, leaf.CodingSchemeDesignator, leaf.CodeMeaning = "T-1", "SRT", "m" * 63
    leaf.LongCodeValue = "c" * 70
    for depth in range(5):
        item = Dataset()
        item.ValueType = "CONTAINER"
        item.ConceptNameCodeSequence = Sequence([leaf])
        item.ContentSequence = Sequence([leaf, item_of(depth), leaf])
        leaf = item
    return any_dataset(AcquisitionContextSequence=Sequence([leaf, leaf]))


def item_of(depth: int) -> Dataset:
    item = Dataset()
    item.TextValue = "x" * depth
    item.MeasuredValueSequence = Sequence([])
    return item


def with_undefined_lengths(dataset: Dataset) -> Dataset:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                with_undefined_lengths(item)
    return dataset


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fast_scan_and_careful_walk_come_to_the_same_result(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    dataset = any_nested_dataset()
    if data.draw(st.booleans()):
        with_undefined_lengths(dataset)
    changed = bytearray(any_file(data.draw(st.sampled_from(NATIVE[:3])), dataset=dataset))
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(350, len(changed) - 1))] = data.draw(st.integers(0, 255))
    fast = inspect(bytes(changed))
    with monkeypatch.context() as patch:
        patch.setattr(dicom_elements, "scan_plain", lambda _, at, **__: at)
        careful = inspect(bytes(changed))
    assert fast == careful


@pytest.mark.parametrize("syntax", NATIVE[:3])
@pytest.mark.parametrize("is_undefined", [True, False])
def test_nested_sequences_are_accepted_in_every_encoding(syntax: str, is_undefined: bool) -> None:
    dataset = any_nested_dataset()
    if is_undefined:
        with_undefined_lengths(dataset)
    assert inspect(any_file(syntax, dataset=dataset)).verdict is Verdict.VALID


# Those of SMPTE ST 2110 are for live streams (PS3.22), never for files.
FILE_SYNTAXES = [uid for uid in AllTransferSyntaxes if not uid.startswith("1.2.840.10008.1.2.7.")]
FILE_SYNTAXES += [
    UID(f"1.2.840.10008.1.2.{ending}") for ending in ("4.110", "4.111", "4.112", "8.1")
]


@pytest.mark.parametrize("syntax", FILE_SYNTAXES, ids=lambda uid: uid.name)
def test_every_transfer_syntax_of_the_standard_is_known(syntax: UID) -> None:
    if syntax in NATIVE:
        data = any_file(syntax)
    elif "Deflate" in syntax.name and "JPIP" in syntax.name:
        data = with_transfer_syntax(any_file(DeflatedExplicitVRLittleEndian), syntax)
    else:
        data = with_transfer_syntax(encapsulated_file([b"ab" * 9]), syntax)
    assert accepted(inspect(data)).transfer_syntax_uid == syntax


@pytest.mark.parametrize("number", [52, 56, 58, 66])
def test_retired_processes_of_jpeg_are_accepted_with_a_warning(number: int) -> None:
    data = with_transfer_syntax(encapsulated_file([b"ab"]), f"1.2.840.10008.1.2.4.{number}")
    inspection = inspect(data)
    assert inspection.verdict is Verdict.WARNING
    assert only_code(inspection) is ReasonCode.DICOM_VALUE_SUSPECT


@pytest.mark.parametrize(
    "ending", ["4.99", "4.67", "4.109", "4.50.1", "4.101.2", "6.1", "6.2", "7.1"]
)
def test_transfer_syntax_that_no_edition_reads_is_unsupported(ending: str) -> None:
    data = with_transfer_syntax(encapsulated_file([b"ab"]), f"1.2.840.10008.1.2.{ending}")
    inspection = inspect(data)
    assert inspection.verdict is Verdict.UNSUPPORTED
    assert only_code(inspection) is ReasonCode.DICOM_TRANSFER_SYNTAX_UNKNOWN


def with_transfer_syntax(data: bytes, syntax: str) -> bytes:
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    at = data.index(b"\x02\0\x10\0UI")
    (length,) = struct.unpack_from("<H", data, at + 6)
    group = struct.unpack_from("<I", data, 140)[0] + len(value) - length
    head = data[132:140] + struct.pack("<I", group) + data[144:at]
    return (
        data[:132]
        + head
        + b"\x02\0\x10\0UI"
        + struct.pack("<H", len(value))
        + value
        + (data[at + 8 + length :])
    )


# PS3.18 tables 10.6.3-3 to 10.6.3-5, without what a server counts or makes up itself, and what
# classification needs.
QIDO_AND_CLASSIFICATION = {
    "SpecificCharacterSet": "ISO_IR 100",
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "TimezoneOffsetFromUTC": "+0100",
    "StudyID": "S1",
    "Modality": "CT",
    "SeriesDescription": "Thorax",
    "SeriesNumber": 3,
    "PerformedProcedureStepStartDate": "20240229",
    "PerformedProcedureStepStartTime": "101113",
    "InstanceNumber": 7,
    "Rows": 8,
    "Columns": 8,
    "BitsAllocated": 16,
    "NumberOfFrames": 1,
    "BodyPartExamined": "CHEST",
    "BurnedInAnnotation": "NO",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "Manufacturer": "ACME",
    "StationName": "CT1",
    "InstitutionName": "Hospital",
}
QIDO_SUBJECT = {
    "AccessionNumber": "ACC9",
    "ReferringPhysicianName": "House^Greg",
    "PatientName": "Doe^Jane",
    "PatientID": "PAT1",
    "IssuerOfPatientID": "SITE",
    "PatientBirthDate": "19700101",
    "PatientSex": "F",
}


def test_attributes_of_queries_and_classification_are_in_the_record() -> None:
    dataset = any_dataset(**QIDO_AND_CLASSIFICATION, **QIDO_SUBJECT)
    record = accepted(inspect(any_file(dataset=dataset)))
    assert QIDO_AND_CLASSIFICATION.items() <= record.attributes.items()
    assert record.subject == QIDO_SUBJECT


@pytest.mark.parametrize("has_undefined_lengths", [False, True])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_requests_are_read_from_the_items_of_their_sequence(
    syntax: str, has_undefined_lengths: bool
) -> None:
    protocol = Dataset()
    protocol.CodeValue = "NOT-A-REQUEST"
    requests = []
    for number in range(2):
        request = Dataset()
        request.ScheduledProcedureStepID = f"STEP{number}"
        request.RequestedProcedureID = f"PROCEDURE{number}"
        request.ScheduledProtocolCodeSequence = [protocol]
        request.is_undefined_length_sequence_item = has_undefined_lengths
        requests.append(request)
    dataset = any_dataset(RequestAttributesSequence=requests)
    dataset[0x00400275].is_undefined_length = has_undefined_lengths
    inspection = inspect(any_file(syntax=syntax, dataset=dataset))
    assert accepted(inspection).attributes["RequestAttributesSequence"] == [
        {"ScheduledProcedureStepID": "STEP0", "RequestedProcedureID": "PROCEDURE0"},
        {"ScheduledProcedureStepID": "STEP1", "RequestedProcedureID": "PROCEDURE1"},
    ]


@pytest.mark.parametrize("frame_bytes,count", [(40_000, 9), (300_000, 4), (9_000, 60)])
@pytest.mark.parametrize("has_bot", [True, False])
def test_end_of_compressed_pixels_costs_a_request_and_one_for_a_large_last_frame(
    frame_bytes: int, count: int, has_bot: bool
) -> None:
    data = encapsulated_file([bytes(frame_bytes)] * count, has_bot=has_bot)
    inspection = inspect(data)
    assert inspection.verdict is Verdict.VALID
    assert inspection.requests == (3 if has_bot and frame_bytes > 128 << 10 else 2)
    assert inspection.bytes_read <= 192 << 10
    for cut in (len(data) - 1, len(data) - 8, len(data) - frame_bytes, 70_000):
        assert inspect(data[:cut]).verdict is Verdict.INVALID


def test_bytes_missing_within_a_large_last_frame_are_missed() -> None:
    data = encapsulated_file([bytes(300_000)] * 4, has_bot=True)
    assert inspect(data[:-200_000] + data[-199_000:]).verdict is Verdict.INVALID


def with_last_offset(data: bytes, offset: int, count: int) -> bytes:
    """Return an encapsulated file with another last place in its offset table."""
    at = data.index(b"\xff\xff\xff\xff\xfe\xff\0\xe0", data.index(b"\xe0\x7f\x10\0")) + 12
    at += 4 * (count - 1)
    return data[:at] + struct.pack("<I", offset) + data[at + 4 :]


@pytest.mark.parametrize("offset", [778, 300_000, 777_777_776])
@pytest.mark.parametrize("frame_bytes", [1000, 200_000])
def test_wrong_offset_table_is_a_warning_where_the_frames_are_whole(
    frame_bytes: int, offset: int
) -> None:
    data = with_last_offset(encapsulated_file([bytes(frame_bytes)] * 3), offset, 3)
    for first_read_bytes in (4096, 1 << 16):
        inspection = inspect(data, first_read_bytes=first_read_bytes)
        assert inspection.verdict is Verdict.WARNING
        assert "offset table" in inspection.findings[0].message
        assert only_code(inspection) is ReasonCode.DICOM_VALUE_SUSPECT
    for broken in (data[:-8], data[:-500], data[:-900] + data[-700:]):
        refusal = inspect(broken)
        assert refusal.verdict is Verdict.INVALID
        assert int(refusal.findings[0].position.removeprefix("byte ")) <= len(broken)


def test_wrong_offset_table_before_too_many_frames_is_refused_within_bounds() -> None:
    data = with_last_offset(encapsulated_file([bytes(300_000)] * 100), 777, 100)
    inspection = inspect(data)
    assert only_code(inspection) is ReasonCode.DICOM_MALFORMED
    assert inspection.requests < 80
    assert inspection.bytes_read < 2 << 20


def test_bytes_missing_between_frames_lead_the_offset_table_astray() -> None:
    data = encapsulated_file([bytes(200_000)] * 4)
    assert inspect(data[:300_000] + data[300_100:]).verdict is Verdict.INVALID


@pytest.mark.parametrize("has_bot", [True, False])
def test_bytes_missing_between_frames_at_hand_are_missed(has_bot: bool) -> None:
    data = encapsulated_file([bytes(5_000)] * 60, has_bot=has_bot)
    for hole in range(2_000, 60_000, 7_001):
        assert inspect(data[:hole] + data[hole + 10 :]).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    "syntax,verdict",
    [
        (JPEG2000Lossless, Verdict.INVALID),
        (RLELossless, Verdict.INVALID),
        ("1.2.840.10008.1.2.4.201", Verdict.INVALID),
        ("1.2.840.10008.1.2.4.93", Verdict.VALID),
        ("1.2.840.10008.1.2.4.102", Verdict.VALID),
        ("1.2.840.10008.1.2.4.107", Verdict.VALID),
    ],
)
@pytest.mark.parametrize("frame_bytes", [500, 500_000])
def test_fewer_fragments_than_frames_are_refused_unless_frames_share_a_stream(
    syntax: str, verdict: Verdict, frame_bytes: int
) -> None:
    dataset = any_dataset()
    data = encapsulated_file([bytes(frame_bytes)], dataset=dataset)
    assert inspect(with_transfer_syntax(data, syntax)).verdict is Verdict.VALID
    data = data.replace(b"IS\x02\x001 ", b"IS\x02\x0010")
    inspection = inspect(with_transfer_syntax(data, syntax))
    assert inspection.verdict is verdict
    if verdict is Verdict.INVALID:
        assert only_code(inspection) is ReasonCode.DICOM_PIXEL_LENGTH_MISMATCH


def test_more_fragments_than_frames_are_normal() -> None:
    data = encapsulated_file([b"ab" * 50] * 4).replace(b"IS\x02\x004 ", b"IS\x02\x002 ")
    assert inspect(data).verdict is Verdict.VALID


def test_end_of_compressed_pixels_is_found_before_a_long_padding_element() -> None:
    padding = b"\xfc\xff\xfc\xffOB\0\0" + struct.pack("<I", 9_000) + bytes(9_000)
    data = encapsulated_file([bytes(300_000)] * 4) + padding
    assert inspect(data).verdict is Verdict.VALID
    assert inspect(data[:-1]).verdict is Verdict.INVALID


def tiff_file(order: str, size: tuple[int, int], *, is_big: bool = False) -> bytes:
    """Return an object that is a TIFF file too, with its directory in the trailing padding."""
    mark = {"<": b"II", ">": b"MM"}[order]
    data = any_file()
    at = len(data) + 12
    entry = "HHQQ" if is_big else "HHII"
    directory = struct.pack(order + ("Q" if is_big else "H"), 2)
    for tag, value in zip((256, 257), size, strict=True):
        directory += struct.pack(order + entry, tag, 16 if is_big else 4, 1, value)
    head = struct.pack(order + "H", 43 if is_big else 42)
    head += struct.pack(order + ("HHQ" if is_big else "I"), *((8, 0, at) if is_big else (at,)))
    padding = b"\xfc\xff\xfc\xffOB\0\0" + struct.pack("<I", len(directory)) + directory
    return (mark + head).ljust(128, b"\0") + data[128:] + padding


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [True, False])
def test_tiff_preamble_must_lead_to_the_same_image(order: str, is_big: bool) -> None:
    assert inspect(tiff_file(order, (8, 8), is_big=is_big)).verdict is Verdict.VALID
    other = tiff_file(order, (9, 8), is_big=is_big)
    assert only_code(inspect(other)) is ReasonCode.DICOM_POLYGLOT
    assert inspect(other).verdict is Verdict.INVALID
    assert inspect(other, refuse_polyglots=False).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    "sop_class,content",
    [
        ("1.2.840.10008.5.1.4.1.1.88.33", {"ContentSequence": Sequence([Dataset()])}),
        ("1.2.840.10008.5.1.4.1.1.104.1", {"EncapsulatedDocument": b"%PDF-1.7"}),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", {"WaveformSequence": Sequence([Dataset()])}),
        ("1.2.840.10008.5.1.4.1.1.481.3", {"StructureSetROISequence": Sequence([Dataset()])}),
        ("1.2.840.10008.5.1.4.1.1.481.5", {}),
    ],
)
def test_objects_without_pixels_are_valid_with_their_content_and_suspect_without(
    sop_class: str, content: dict[str, object]
) -> None:
    bare = dict.fromkeys(("PixelData", "Rows", "Columns"))
    whole = any_dataset(SOPClassUID=sop_class, **bare, **content)
    assert inspect(any_file(dataset=whole, media_class=sop_class)).verdict is Verdict.VALID
    if content:
        empty = any_dataset(SOPClassUID=sop_class, **bare)
        assert inspect(any_file(dataset=empty, media_class=sop_class)).verdict is Verdict.WARNING


@pytest.mark.parametrize("syntax", NATIVE[:3])
def test_nesting_of_known_lengths_is_refused_at_the_same_depth(
    monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    item = Dataset()
    item.CodeValue = "T-1"
    for _ in range(40):
        outer = Dataset()
        outer.ContentSequence = Sequence([item])
        item = outer
    data = any_file(syntax, dataset=any_dataset(AcquisitionContextSequence=Sequence([item])))
    fast = [inspect(data, max_depth=depth) for depth in range(1, 90)]
    monkeypatch.setattr(dicom_elements, "scan_plain", lambda _, at, **__: at)
    assert fast == [inspect(data, max_depth=depth) for depth in range(1, 90)]
    assert only_code(fast[60]) is ReasonCode.LIMIT_EXCEEDED
    assert fast[-1].verdict is Verdict.VALID
