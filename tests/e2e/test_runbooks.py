"""Every command of every runbook page runs, in the situation that the page is for."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from forebay.domain.runs import RunState
from forebay.domain.states import State
from forebay.names import Step
from forebay_cli import stack_outputs
from tests.e2e.cloud import FOREBAY, Cloud
from tests.e2e.pages import DOCS, commands
from tests.e2e.people import being
from tests.e2e.samples import write_instances, write_pair
from tests.e2e.trouble import impatient

PAGES = sorted(path for path in (DOCS / "runbooks").glob("*.md") if path.name != "README.md")
SITE = "runbooks"
CONFLICTS = ("conflict", "other-conflict", "third-conflict")


@pytest.fixture(scope="module")
def meant(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A deployment in all the trouble that the pages speak of, and what its things are called."""
    folder = tmp_path_factory.mktemp("runbooks")
    files, others, bad = folder / "runbooks", folder / "others", folder / "bad"
    # What a page decides or repairs must not be what another one gives a receipt for.
    kept = folder / "kept"
    write_instances(kept, 2)
    write_instances(files, 5)
    write_pair(files / "reads", "RUNB01", reads=200)
    sent = cloud.forebay("upload", str(kept), "--site", f"{SITE}-kept")
    cloud.settle(f"{SITE}-kept", {"PLACED": 2})
    cloud.forebay("upload", str(files), "--site", SITE)
    cloud.settle(SITE, {"PLACED": 9})
    cloud.until(
        lambda: [r.state for r in cloud.reader.runs_of_sample("RUNB01")] == [RunState.SUCCEEDED]
    )
    others.mkdir()
    for path in sorted(files.glob("*.dcm"))[: len(CONFLICTS)]:
        changed = bytearray(path.read_bytes())
        changed[-1] ^= 0xFF
        (others / path.name).write_bytes(changed)
    bad.mkdir()
    (bad / "cut.dcm").write_bytes((files / "0000.dcm").read_bytes()[:3000])
    cloud.forebay("upload", str(others), "--site", SITE)
    cloud.forebay("upload", str(bad), "--site", SITE)
    cloud.settle(SITE, {"PLACED": 9, "CONFLICT": len(CONFLICTS), "QUARANTINED": 1})
    cloud.until(lambda: all(r.held for r in cloud.records(SITE, State.CONFLICT)))
    cloud.until(lambda: all(r.held for r in cloud.records(SITE, State.QUARANTINED)))
    conflicts = (record.object_id for record in cloud.records(SITE, State.CONFLICT))
    return {
        **dict(zip(CONFLICTS, conflicts, strict=True)),
        "batch": sent["upload_batches"][0],
        "folder": str(kept),
        "object-id": cloud.records(SITE, State.PLACED)[0].object_id,
        "pipeline-run": cloud.reader.runs_of_sample("RUNB01")[0].run_id,
        "quarantined": cloud.records(SITE, State.QUARANTINED)[0].object_id,
        "site": f"{SITE}-kept",
        "disposition": _disposition(cloud, folder / "gone"),
        **_dead_letter(cloud),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(
    cloud: Cloud, meant: dict[str, str], page: Path, tmp_path: Path
) -> None:
    for command in commands(page):
        done = subprocess.run(
            [FOREBAY, *command.arguments(meant)],
            cwd=tmp_path,
            env=os.environ | {"FOREBAY_HOME": str(cloud.home)} | command.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{command.line}: {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
        assert done.returncode in command.exits, said


def test_every_page_tells_what_to_type_first() -> None:
    assert PAGES
    for page in PAGES:
        assert list(commands(page)), page.name


def _disposition(cloud: Cloud, folder: Path) -> str:
    """Two persons agree to delete an instance of a site of its own; return what they agreed on."""
    write_instances(folder, 1)
    cloud.forebay("upload", str(folder), "--site", f"{SITE}-gone")
    cloud.settle(f"{SITE}-gone", {"PLACED": 1})
    (record,) = cloud.records(f"{SITE}-gone", State.PLACED)
    named = ("--object", record.object_id, "--despite-floor", "it is a test's own")
    with being("anna"):
        asked = cloud.forebay("dispose", "request", *named, "--reason", "a runbook")
    with being("bob"):
        cloud.forebay("dispose", "approve", asked["disposition_id"])
    return str(asked["disposition_id"])


def _dead_letter(cloud: Cloud) -> dict[str, str]:
    queue = cloud.deployment.by_step(stack_outputs.QUEUE)[Step.SUBMIT_PIPELINE]
    body = json.dumps({"runbook": "poison"})
    with impatient(cloud, Step.SUBMIT_PIPELINE):
        cloud.deployment.account.sqs.send_message(QueueUrl=queue, MessageBody=body)
        listed = ("dead-letters", "list", "--step", Step.SUBMIT_PIPELINE.value)
        cloud.until(lambda: bool(cloud.forebay(*listed)["causes"]))
    [cause] = cloud.forebay(*listed)["causes"]
    shown = cloud.forebay("dead-letters", "show", cause["signature"])
    return {"signature": cause["signature"], "letter-id": shown["letters"][0]["letter_id"]}
