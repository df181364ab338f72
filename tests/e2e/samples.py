"""Real DICOM from pydicom's own test files, and paired reads of one flow cell."""

import gzip
import hashlib
import random
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

SOURCES = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "rtplan.dcm")


def write_instances(folder: Path, count: int) -> None:
    """Write instances of several modalities and transfer syntaxes, each with its own UID."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        source = SOURCES[number % len(SOURCES)]
        dataset = pydicom.dcmread(str(get_testdata_file(source)))
        uid = generate_uid(entropy_srcs=[folder.name, str(number)])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.save_as(folder / f"{number:04d}.dcm")


def write_image(path: Path) -> None:
    """Write an image large enough that no storage class refuses it."""
    _large_image(7).save_as(path)


def write_study(path: Path) -> str:
    """Write an image large enough for any storage class, a study of its own; return its UID."""
    dataset = _large_image(len(path.name))
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[path.name])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[path.name, "series"])
    uid = generate_uid(entropy_srcs=[path.name, "instance"])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.save_as(path)
    return str(dataset.StudyInstanceUID)


def _large_image(seed: int) -> pydicom.FileDataset:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.Rows = dataset.Columns = 512
    pixels = np.random.default_rng(seed).integers(0, 4096, 512 * 512, dtype=np.uint16)
    dataset.PixelData = pixels.tobytes()
    return dataset


def write_pair(folder: Path, sample: str, *, reads: int = 2000, right_md5: bool = True) -> None:
    """Write both mates of a sample with their md5 sidecars."""
    folder.mkdir(parents=True, exist_ok=True)
    for mate in (1, 2):
        path = folder / f"{sample}_S1_L001_R{mate}_001.fastq.gz"
        path.write_bytes(mate_bytes(sample, mate, reads))
        said_of = path.read_bytes() if right_md5 else b"another"
        text = hashlib.md5(said_of, usedforsecurity=False).hexdigest()
        path.with_name(path.name + ".md5").write_text(f"{text}  {path.name}\n")


def mate_bytes(sample: str, mate: int, reads: int) -> bytes:
    """Return a gzipped mate; the same arguments give the same bytes."""
    chance = random.Random(f"{sample}{mate}")  # noqa: S311 - test data
    lines = []
    for read in range(reads):
        bases = "".join(chance.choices("ACGT", k=151))
        quality = "".join(chance.choices("F:,#", weights=[80, 12, 6, 2], k=151))
        name = f"@A00123:42:HXXDSX7:1:1101:{1000 + read}:{2000 + read} {mate}:N:0:ACGTACGT"
        lines.append(f"{name}\n{bases}\n+\n{quality}\n")
    return gzip.compress("".join(lines).encode(), mtime=0)
