"""Checksum files of common tools, judged as `md5sum -c` and its kin judge them."""

import csv
from pathlib import Path

import pytest

from forebay.domain.findings import ReasonCode
from forebay.formats.digests import digest_chunks
from forebay.formats.manifests import ParsedManifest, parse_checksum_file, sidecar_target
from forebay.formats.source import FileSource, stream_source

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"
TRUTH = CORPUS / "TRUTH_manifests.csv"

pytestmark = pytest.mark.skipif(
    not TRUTH.exists(), reason="the acceptance corpus is not on this machine"
)


def rows(*expected: str) -> list[dict[str, str]]:
    if not TRUTH.exists():
        return []
    with TRUTH.open(newline="") as file:
        return [
            row
            for row in csv.DictReader(file)
            if row["expected"] in expected and "bagit" not in row["format"]
        ]


def parse(row: dict[str, str]) -> tuple[ParsedManifest, Path]:
    path = CORPUS / row["case"] / row["manifest"]
    return parse_checksum_file(path.read_bytes(), name=row["manifest"]), path


def is_satisfied(manifest: ParsedManifest, path: Path) -> bool:
    """Tell whether all declared files are there with the declared digests."""
    for entry in manifest.entries:
        target = path.parent / (entry.path or sidecar_target(path.name))
        if not target.is_file():
            return False
        with FileSource(target) as source:
            (digest,), _ = digest_chunks(stream_source(source), [entry.algorithm])
        if digest.value != entry.value:
            return False
    return bool(manifest.entries) and not manifest.findings


def test_good_manifests_are_read_whole_and_agree_with_the_files() -> None:
    wrong = [row["case"] for row in rows("ok", "ok_with_unlisted") if not is_satisfied(*parse(row))]
    assert wrong == []


def test_bad_manifests_are_refused_or_contradict_the_files() -> None:
    assert [row["case"] for row in rows("fail", "reject") if is_satisfied(*parse(row))] == []


def test_manifests_without_their_files_are_read() -> None:
    for row in rows("parse_only"):
        manifest, _ = parse(row)
        assert len(manifest.entries) == 1, row["case"]
        assert manifest.findings == (), row["case"]


def test_other_formats_are_unsupported_and_never_half_read() -> None:
    for row in rows("unsupported", "ok_or_unsupported"):
        manifest, path = parse(row)
        if not is_satisfied(manifest, path):
            assert manifest.entries == (), row["case"]
            assert manifest.findings[0].code is ReasonCode.UNSUPPORTED_FORMAT, row["case"]


def test_rare_forms_are_read_right_or_refused() -> None:
    for row in rows("ok_or_reject"):
        manifest, path = parse(row)
        assert is_satisfied(manifest, path) or manifest.findings, row["case"]
