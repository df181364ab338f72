"""Checksum files and bags, judged as `md5sum -c`, its kin and the BagIt conformance suite do."""

import csv
from pathlib import Path

import pytest

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.formats.bagit import Bag, inspect_bag
from forebay.formats.digests import digest_chunks
from forebay.formats.manifests import ParsedManifest, parse_checksum_file, sidecar_target
from forebay.formats.source import FileSource, stream_source

CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"
TRUTH = CORPUS / "TRUTH_manifests.csv"

pytestmark = pytest.mark.skipif(
    not TRUTH.exists(), reason="the acceptance corpus is not on this machine"
)


# Forebay's own decisions where the truth leaves one open; a change changes what sites may send.
DISPUTED = {
    "base64_md5": True,
    "base64_sha256": True,
    "gdc_manifest": True,
    "hashdeep_csv": True,
    "md5sum_bom": True,
    "mixed_algorithms": True,
    "rhash_sfv": False,  # CRC-32 does not vouch for a file
    "sha256_in_md5_file": True,  # the length decides
    "shasum_universal": True,
    "sidecar_other_name": False,  # an absolute path
}
DISPUTED_BAGS = {
    "linux-only": Verdict.INVALID,  # absolute paths and ~
    "windows-only": Verdict.INVALID,  # drive letters, UNC, %HomeDrive%
    "warning": Verdict.WARNING,
}


def all_rows() -> list[dict[str, str]]:
    if not TRUTH.exists():
        return []
    with TRUTH.open(newline="") as file:
        return list(csv.DictReader(file))


def rows(*expected: str) -> list[dict[str, str]]:
    return [
        row for row in all_rows() if row["expected"] in expected and "bagit" not in row["format"]
    ]


def bags(*expected: str) -> list[dict[str, str]]:
    return [row for row in all_rows() if row["expected"] in expected and "bagit" in row["format"]]


def judge_bag(row: dict[str, str]) -> Inspection[Bag]:
    folder = CORPUS / row["case"]
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {path.relative_to(folder).as_posix(): FileSource(path) for path in paths}
    try:
        return inspect_bag(files)
    finally:
        for source in files.values():
            source.close()


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


def test_decisions_of_the_verdicts_page_are_stable() -> None:
    decided = {Path(row["case"]).name: row for row in all_rows()}
    satisfied = {case: is_satisfied(*parse(decided[case])) for case in DISPUTED}
    assert satisfied == DISPUTED


def test_valid_bags_are_accepted() -> None:
    verdicts = {row["case"]: judge_bag(row).verdict for row in bags("ok")}
    wrong = [case for case, verdict in verdicts.items() if verdict is Verdict.INVALID]
    assert wrong == []
    # A fetch.txt all of whose files are there is not followed, and no harm.
    warned = [case for case, verdict in verdicts.items() if verdict is Verdict.WARNING]
    assert all(case.endswith("holey-bag") for case in warned)


def test_invalid_bags_are_refused() -> None:
    assert [row["case"] for row in bags("fail") if judge_bag(row).record is not None] == []


@pytest.mark.parametrize("kind", DISPUTED_BAGS)
def test_bags_that_the_suite_warns_of_get_the_documented_verdict(kind: str) -> None:
    verdicts = {row["case"]: judge_bag(row).verdict for row in bags(kind)}
    assert set(verdicts.values()) <= {DISPUTED_BAGS[kind]}, verdicts
