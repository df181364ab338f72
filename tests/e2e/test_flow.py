"""Real files through the deployed whole."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from forebay.domain.findings import ReasonCode
from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.names import Zone
from tests.e2e.cloud import Cloud
from tests.e2e.samples import write_instances, write_pair

OTHER_FILES = {
    "wgs/x.vcf": "##fileformat=VCFv4.3\n##contig=<ID=chr1,length=1000>\n"
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nchr1\t10\t.\tA\tC\t.\t.\t.\n",
    "wgs/x.sam": "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:1000\n"
    "r1\t0\tchr1\t1\t60\t4M\t*\t0\t0\tACGT\tFFFF\n",
    "run7/RunInfo.xml": """<?xml version="1.0"?>
<RunInfo Version="2"><Run Id="160603_M01270_0196_000000000-AKGDE" Number="196">
<Flowcell>000000000-AKGDE</Flowcell><Instrument>M01270</Instrument><Date>160603</Date>
<Reads><Read Number="1" NumCycles="301" IsIndexedRead="N"/></Reads>
<FlowcellLayout LaneCount="1" SurfaceCount="2" SwathCount="1" TileCount="14"/></Run></RunInfo>
""",
    "run7/RTAComplete.txt": "",
}
SAMPLES = ("HG001", "HG002", "HG003", "HG004")


@pytest.mark.parametrize("instances", [300])
def test_everything_is_placed_and_a_second_upload_changes_only_counters(
    cloud: Cloud, tmp_path: Path, instances: int
) -> None:
    site, before = "north", cloud.given_up()
    write_instances(tmp_path / "imaging", instances)
    for sample in SAMPLES:
        write_pair(tmp_path / "reads", sample)
    files = instances + 4 * len(SAMPLES)

    sent = cloud.forebay("upload", str(tmp_path), "--site", site)
    assert sent["uploaded"] == files
    cloud.settle(site, {"PLACED": files})
    succeeded = dict.fromkeys(SAMPLES, RunState.SUCCEEDED)
    cloud.until(lambda: _runs(cloud) == succeeded, lambda: str(_runs(cloud)))
    cloud.until(lambda: len(_outputs(cloud)) == 2 * len(SAMPLES))
    reports = _outputs(cloud)
    first = {r.object_id: r for r in cloud.records(site, State.PLACED)}

    cloud.forebay("upload", str(tmp_path), "--site", site)
    cloud.settle(site, {"PLACED": files, "DUPLICATE": files})

    for record in cloud.records(site, State.PLACED):
        once = first[record.object_id]
        assert record.duplicate_count == 1
        assert (record.version, record.placed, record.digests) == (
            once.version,
            once.placed,
            once.digests,
        )
    assert _runs(cloud) == succeeded
    assert _outputs(cloud) == reports
    assert cloud.given_up() == before


def test_a_placed_instance_has_tags_digest_history_and_no_name_in_its_key(
    cloud: Cloud, tmp_path: Path
) -> None:
    site = "tagged"
    write_instances(tmp_path / "tagged", 1)
    cloud.forebay("upload", str(tmp_path), "--site", site)
    cloud.settle(site, {"PLACED": 1})

    [record] = cloud.records(site, State.PLACED)
    placed = record.placed
    assert placed is not None
    s3 = cloud.deployment.account.s3
    address = {"Bucket": placed.bucket, "Key": placed.key, "VersionId": placed.version_id}
    body = s3.get_object(**address)["Body"].read()  # type: ignore[arg-type]
    tags = s3.get_object_tagging(**address)["TagSet"]  # type: ignore[arg-type]
    sent = next(tmp_path.rglob("*.dcm")).read_bytes()
    assert body == sent
    assert {t["Key"]: t["Value"] for t in tags} == {
        "forebay:class": "clinical-hot",
        "forebay:retention": "clinical-10y",
        "forebay:object-id": record.object_id,
        "forebay:verdict": "verified",
        # Nobody has let it lie idle yet, and an original is never removed by itself.
        "forebay:tiering": "none",
        "forebay:removal": "none",
        "forebay:replicate": "yes",
    }
    assert placed.bucket == cloud.deployment.bucket(Zone.CLINICAL)
    uids = [record.metadata[f"{level}InstanceUID"] for level in ("Study", "Series", "SOP")]
    assert placed.key == f"dicom/{'/'.join(uids)}.dcm"
    witnessed = {(d.algorithm.value, d.value, d.witness.value) for d in record.digests}
    digest = hashlib.sha256(sent).hexdigest()
    assert {("sha256", digest, "storage"), ("sha256", digest, "sender-metadata")} <= witnessed
    landing = s3.get_object_tagging(Bucket=record.location.bucket, Key=record.location.key)
    assert {t["Key"]: t["Value"] for t in landing["TagSet"]} == {"forebay:landing": "settled"}
    history = cloud.reader.history(record.object_id)
    assert [(h.get("from", ""), h["to"]) for h in history] == [
        ("", "RECEIVED"),
        ("RECEIVED", "VERIFIED"),
        ("VERIFIED", "PLACED"),
    ]


def test_a_pair_gives_one_report_with_its_lineage(cloud: Cloud, tmp_path: Path) -> None:
    site = "lineage"
    write_pair(tmp_path, "NA12878", reads=500)
    cloud.forebay("upload", str(tmp_path), "--site", site)
    cloud.settle(site, {"PLACED": 4})
    cloud.until(
        lambda: [r.state for r in cloud.reader.runs_of_sample("NA12878")] == [RunState.SUCCEEDED]
    )
    [run] = cloud.reader.runs_of_sample("NA12878")
    cloud.until(lambda: len(_placed_outputs(cloud, run.run_id)) == 2)

    outputs = _placed_outputs(cloud, run.run_id)
    mates = {r.object_id for r in cloud.records(site, State.PLACED) if r.kind is Kind.FASTQ}
    assert {o.object_class for o in outputs} == {"derived"}
    assert all(set(output.parents) == mates for output in outputs)
    assert {child for mate in mates for child in cloud.reader.children(mate)} == {
        output.object_id for output in outputs
    }
    shown = cloud.forebay("show", "NA12878")
    assert run.run_id in str(shown)


def test_bad_input_is_quarantined_with_its_reason_and_kept(cloud: Cloud, tmp_path: Path) -> None:
    site, before = "trouble", cloud.given_up()
    whole = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "not.dcm").write_bytes(b"MZ" + bytes(126) + b"DICM" + whole[132:])
    write_pair(tmp_path / "reads", "BAD001", reads=200, right_md5=False)
    cloud.forebay("upload", str(tmp_path), "--site", site)
    cloud.until(lambda: cloud.counts(site).get("QUARANTINED") == 4, lambda: str(cloud.counts(site)))
    cloud.until(lambda: all(r.held for r in cloud.records(site, State.QUARANTINED)))

    records = cloud.records(site, State.QUARANTINED)
    reasons = Counter(r.finding.code for r in records if r.finding)
    assert reasons == {
        ReasonCode.DICOM_TRUNCATED: 1,
        ReasonCode.DICOM_POLYGLOT: 1,
        ReasonCode.DIGEST_MISMATCH: 2,
    }
    for record in records:
        assert record.held is not None
        assert record.held.bucket == cloud.deployment.bucket(Zone.QUARANTINE)
        head = cloud.deployment.account.s3.head_object(
            Bucket=record.held.bucket, Key=record.held.key
        )
        assert head["ContentLength"] == record.size_bytes
    # A bad input is a result: it never retries and never dead-letters.
    assert cloud.given_up() == before


def test_same_identity_with_other_bytes_is_kept_aside(cloud: Cloud, tmp_path: Path) -> None:
    site = "conflict"
    first, second = tmp_path / "first", tmp_path / "second"
    write_instances(first, 1)
    [path] = first.iterdir()
    second.mkdir()
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 0xFF
    (second / "again.dcm").write_bytes(changed)
    cloud.forebay("upload", str(first), "--site", site)
    cloud.settle(site, {"PLACED": 1})
    cloud.forebay("upload", str(second), "--site", site)
    cloud.settle(site, {"PLACED": 1, "CONFLICT": 1})

    [placed] = cloud.records(site, State.PLACED)
    assert placed.placed is not None
    stored = cloud.deployment.account.s3.get_object(
        Bucket=placed.placed.bucket, Key=placed.placed.key
    )
    assert stored["Body"].read() == path.read_bytes()
    [conflict] = cloud.records(site, State.CONFLICT)
    assert conflict.original_id == placed.object_id


def test_reads_without_a_senders_digest_wait_for_their_sidecar(
    cloud: Cloud, tmp_path: Path
) -> None:
    site = "waiting"
    write_pair(tmp_path, "WAIT01", reads=100)
    reads = sorted(tmp_path.glob("*.gz"))
    s3 = cloud.deployment.account.s3
    landing = cloud.deployment.bucket(Zone.LANDING_GENOMICS)
    for path in reads:
        s3.put_object(Bucket=landing, Key=f"{site}/{path.name}", Body=path.read_bytes())
    cloud.settle(site, {"AWAITING_DIGEST": 2})
    for path in reads:
        sidecar = path.with_name(path.name + ".md5")
        s3.put_object(Bucket=landing, Key=f"{site}/{sidecar.name}", Body=sidecar.read_bytes())
    cloud.settle(site, {"PLACED": 4})


def test_a_bag_is_judged_by_its_manifests_and_nothing_is_fetched(
    cloud: Cloud, tmp_path: Path
) -> None:
    site = "bagged"
    write_pair(tmp_path, "BAG01", reads=100)
    files = {f"data/{path.name}": path.read_bytes() for path in sorted(tmp_path.glob("*.gz"))}
    files["manifest-md5.txt"] = _listed(files)
    files["bagit.txt"] = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    files["bag-info.txt"] = b"Bagging-Date: 2026-11-23\n"
    files["tagmanifest-md5.txt"] = _listed(
        {name: body for name, body in files.items() if not name.startswith("data/")}
    )
    files["fetch.txt"] = b"https://example.org/x 1 data/x\n"
    for name, body in files.items():
        cloud.deployment.account.s3.put_object(
            Bucket=cloud.deployment.bucket(Zone.LANDING_GENOMICS),
            Key=f"{site}/bag/{name}",
            Body=body,
        )
    cloud.settle(site, {"PLACED": 6, "QUARANTINED": 1})
    [refused] = cloud.records(site, State.QUARANTINED)
    assert refused.finding is not None
    assert refused.finding.code is ReasonCode.BAG_FETCH_REFUSED


def _listed(files: Mapping[str, bytes]) -> bytes:
    lines = (
        f"{hashlib.md5(body, usedforsecurity=False).hexdigest()}  {name}\n"
        for name, body in files.items()
    )
    return "".join(lines).encode()


def _runs(cloud: Cloud) -> dict[str, RunState]:
    return {
        run.sample: run.state for sample in SAMPLES for run in cloud.reader.runs_of_sample(sample)
    }


def _outputs(cloud: Cloud) -> set[str]:
    runs = [run for sample in SAMPLES for run in cloud.reader.runs_of_sample(sample)]
    return {o.object_id for run in runs for o in _placed_outputs(cloud, run.run_id)}


def _placed_outputs(cloud: Cloud, run_id: str) -> list[ObjectRecord]:
    return [o for o in cloud.reader.outputs_of_run(run_id) if o.state is State.PLACED]


def test_variants_alignments_and_run_files_are_placed_under_their_paths(
    cloud: Cloud, tmp_path: Path
) -> None:
    site = "other"
    for name, text in OTHER_FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    cloud.forebay("upload", str(tmp_path), "--site", site)
    cloud.settle(site, {"PLACED": len(OTHER_FILES) - 1, "IGNORED": 1})

    placed = {r.placed.key for r in cloud.records(site, State.PLACED) if r.placed}
    assert placed == {
        "alignments/other/wgs/x.sam",
        "runs/other/run7/RunInfo.xml",
        "variants/other/wgs/x.vcf",
    }
