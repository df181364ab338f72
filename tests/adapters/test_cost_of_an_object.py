"""What one object costs, counted as `make bench` counts it: the README's prices rest on it."""

import re

import pytest
import pytest_socket

from bench.calls import measure_dicom, measure_fastq
from infra.settings import ROOT

README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def only_moto(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest_socket.disable_socket(allow_unix_socket=True)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")


def told(pattern: str) -> float:
    found = re.search(pattern, README)
    assert found, f"the README has no row like {pattern}"
    return float(found[1])


def test_a_dicom_instance_takes_the_units_and_requests_that_the_readme_prices() -> None:
    taken = measure_dicom()
    assert told(r"DynamoDB writes \|[^|]* … (\d+) units \|") == taken["write_units"]
    assert told(r"DynamoDB reads \| (\d+) units \|") == taken["read_units"]
    asked = taken["asked"]
    reads = asked["s3:HeadObject"] + asked["s3:GetObject"] + asked["s3:GetObjectTagging"]
    assert told(r"S3 GET, HEAD \| (\d+) ") == reads
    assert asked["s3:CopyObject"] == asked["s3:PutObjectTagging"] == 1
    assert asked["events:PutEvents"] == 3


def test_a_larger_instance_is_judged_by_one_range() -> None:
    taken = measure_dicom("examples_overlay.dcm")
    assert taken["asked"]["s3:GetObject"] == 1
    assert taken["bytes_read"] == 64 << 10 < taken["size_bytes"]


def test_every_byte_of_a_read_file_is_read_once() -> None:
    taken = measure_fastq(reads=200)
    assert taken["bytes_read"] == taken["size_bytes"]
