"""What a bucket, a key and a size say before a byte is read."""

import pytest

from forebay.domain.arrivals import Marker, marker, read_key
from forebay.domain.checksum_names import sidecar_target
from forebay.domain.objects import Kind
from forebay.names import Zone

IMAGING, GENOMICS = Zone.LANDING_IMAGING, Zone.LANDING_GENOMICS


@pytest.mark.parametrize(
    "zone, key, kind",
    [
        (IMAGING, "site-a/2026/IM0001", Kind.DICOM),
        (IMAGING, "site-a/1.2.840.dcm", Kind.DICOM),
        (IMAGING, "site-a/scan.dcm.md5", Kind.CHECKSUMS),
        (GENOMICS, "site-a/x.fastq.gz", Kind.FASTQ),
        (GENOMICS, "site-a/x.FQ", Kind.FASTQ),
        (GENOMICS, "site-a/x.fq.bz2", Kind.FASTQ),
        (GENOMICS, "site-a/x.fastq.gz.md5", Kind.CHECKSUMS),
        (GENOMICS, "site-a/x.fastq.gz.SHA256", Kind.CHECKSUMS),
        (GENOMICS, "site-a/run/md5sum.txt", Kind.CHECKSUMS),
        (GENOMICS, "site-a/SHA256SUMS", Kind.CHECKSUMS),
        (GENOMICS, "site-a/checksums.txt", Kind.CHECKSUMS),
        (GENOMICS, "site-a/bag/manifest-md5.txt", Kind.CHECKSUMS),
        (GENOMICS, "site-a/bag/tagmanifest-sha512.txt", Kind.CHECKSUMS),
        (GENOMICS, "site-a/bag/bagit.txt", Kind.CHECKSUMS),
        (GENOMICS, "site-a/bag/fetch.txt", Kind.CHECKSUMS),
        (IMAGING, "site-a/bag/bag-info.txt", Kind.CHECKSUMS),
        (GENOMICS, "site-a/manifest-v2.txt", Kind.UNKNOWN),
        (GENOMICS, "pipelines/read_qc-1/NA1.read_qc.json", Kind.REPORT),
        (GENOMICS, "site-a/report.json", Kind.UNKNOWN),
        (GENOMICS, "site-a/fastq.gz", Kind.UNKNOWN),
        (GENOMICS, "site-a/x.bam", Kind.ALIGNMENTS),
        (GENOMICS, "site-a/x.CRAM", Kind.ALIGNMENTS),
        (GENOMICS, "site-a/x.sam.gz", Kind.ALIGNMENTS),
        (GENOMICS, "site-a/x.g.vcf.gz", Kind.VARIANTS),
        (GENOMICS, "site-a/x.bcf", Kind.VARIANTS),
        (GENOMICS, "site-a/x.bam.bai", Kind.INDEX),
        (GENOMICS, "site-a/x.vcf.gz.tbi", Kind.INDEX),
        (GENOMICS, "site-a/run/RunInfo.xml", Kind.RUN_FILE),
        (GENOMICS, "site-a/run/runParameters.xml", Kind.RUN_FILE),
        (GENOMICS, "site-a/run/SampleSheet_v2.csv", Kind.RUN_FILE),
        (GENOMICS, "site-a/run/other.xml", Kind.UNKNOWN),
    ],
)
def test_kind_is_read_from_bucket_and_name(zone: Zone, key: str, kind: Kind) -> None:
    assert read_key(zone, key).kind is kind


@pytest.mark.parametrize(
    "key, site, name, run",
    [
        ("site-a/b/c.dcm", "site-a", "c.dcm", ""),
        ("c.dcm", "", "c.dcm", ""),
        ("/c.dcm", "", "c.dcm", ""),
        ("site-a/", "", "", ""),
        ("pipelines/run-1/x.json", "pipelines", "x.json", "run-1"),
        ("pipelines/x.json", "pipelines", "x.json", ""),
    ],
)
def test_site_name_and_run_are_the_segments_of_the_key(
    key: str, site: str, name: str, run: str
) -> None:
    arrival = read_key(GENOMICS, key)

    assert (arrival.site, arrival.name, arrival.pipeline_run_id) == (site, name, run)


@pytest.mark.parametrize(
    "kind, key, size, expected",
    [
        (Kind.DICOM, "site-a/folder/", 0, Marker.DIRECTORY),
        (Kind.UNKNOWN, "site-a/folder/", 0, Marker.DIRECTORY),
        (Kind.UNKNOWN, "site-a/folder_$folder$", 0, Marker.DIRECTORY),
        (Kind.UNKNOWN, "site-a/.keep", 0, Marker.PLACEHOLDER),
        (Kind.UNKNOWN, "site-a/x.bin", 1, None),
        # A file that claims to be data and is empty is a failed upload, not a marker.
        (Kind.FASTQ, "site-a/x.fastq.gz", 0, None),
        (Kind.DICOM, "site-a/IM1", 0, None),
    ],
)
def test_markers_are_told_from_data(
    kind: Kind, key: str, size: int, expected: Marker | None
) -> None:
    assert marker(kind, key, size) is expected


@pytest.mark.parametrize(
    "key, target",
    [
        ("site-a/x.fastq.gz.md5", "site-a/x.fastq.gz"),
        ("site-a/x.fastq.gz.SHA256", "site-a/x.fastq.gz"),
        ("site-a/md5sums.txt", ""),
        ("site-a/SHA256SUMS", ""),
    ],
)
def test_sidecar_names_its_target_and_a_list_does_not(key: str, target: str) -> None:
    assert sidecar_target(key) == target


@pytest.mark.parametrize(
    "name", ["RTAComplete.txt", "CopyComplete.txt", "RTARead2Complete.txt", "RTAComplete.xml"]
)
def test_completion_marker_is_recorded_and_skipped(name: str) -> None:
    assert marker(Kind.UNKNOWN, f"site-a/run/{name}", 40) is Marker.COMPLETION


def test_large_file_with_a_markers_name_is_data() -> None:
    assert marker(Kind.UNKNOWN, "site-a/run/RTAComplete.txt", 1 << 20) is None
