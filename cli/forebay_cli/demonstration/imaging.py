"""Real DICOM files for the demonstration: pydicom's own test files, as they lie in its wheel."""

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from forebay_cli.failures import CommandError


@dataclass(frozen=True, slots=True)
class DemoImage:
    """One of pydicom's test files, and what it is, for a person."""

    name: str
    about: str


# One instance per SOP Instance UID: pydicom holds several encodings of one MR image.
IMAGES: Final = (
    DemoImage("CT_small.dcm", "CT slice, uncompressed"),
    DemoImage("MR_small_RLE.dcm", "MR slice, RLE"),
    DemoImage("examples_ybr_color.dcm", "US clip, JPEG baseline"),
    DemoImage("JPEG2000.dcm", "NM image, JPEG 2000"),
    DemoImage("liver_1frame.dcm", "segmentation"),
    DemoImage("rtplan.dcm", "radiotherapy plan"),
    DemoImage("waveform_ecg.dcm", "12-lead ECG"),
    DemoImage("test-SR.dcm", "structured report"),
)
TRUNCATED: Final = DemoImage("MR_truncated.dcm", "MR slice, cut off")
SENT_AGAIN: Final = DemoImage("CT_small.dcm", "CT slice, sent again")


def copy_images(folder: Path) -> None:
    """Put the images and the truncated one into a folder."""
    source = _test_files()
    folder.mkdir(parents=True, exist_ok=True)
    for image in (*IMAGES, TRUNCATED):
        shutil.copyfile(source / image.name, folder / image.name)


def _test_files() -> Path:
    found = find_spec("pydicom")
    if found is None or found.origin is None:
        raise CommandError(
            "The demonstration's images come with pydicom, which is not installed here.",
            "Run it from the project's environment: make demo",
        )
    return Path(found.origin).parent / "data" / "test_files"
