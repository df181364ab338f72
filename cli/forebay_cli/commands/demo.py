"""`forebay demo`."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State
from forebay_cli.commands.up import progress
from forebay_cli.demonstration import imaging, reads, telling
from forebay_cli.demonstration.course import Course, Followed, Story, follow
from forebay_cli.deployment import Account, Deployment
from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud.lifecycle import UpRequest, bring_up
from forebay_cli.output import Output, duration_text, json_option
from forebay_cli.reading import catalog_of
from forebay_cli.uploads.journal import UploadJournal
from forebay_cli.uploads.planning import Destination, plan_upload
from forebay_cli.uploads.sending import Sender, SendOptions, SentFile

RADIOLOGY: Final = "radiology-north"
SEQUENCING: Final = "sequencing-core"
_PATIENCE_SECONDS: Final = 150.0
"""Without any change; a message whose function was killed comes again after two minutes."""
_KEPT: Final = frozenset({State.PLACED, State.DUPLICATE})


@click.command()
@json_option
def demo(*, as_json: bool) -> None:
    """Watch real DICOM and FASTQ files travel through a local cloud.

    Starts the local cloud if it is not up, uploads images of several kinds and a paired sequencing
    run, with one file cut off, one checksum wrong and one image sent twice, and shows what becomes
    of each. Run again, it shows that nothing is stored twice.
    """
    home = Home.find()
    output = Output.create(as_json=as_json)
    began = time.monotonic()
    with progress(output) as say:
        cloud = bring_up(home, UpRequest(), say).cloud
    deployment = Deployment.find(Account.of_local(cloud))
    output.say(f"The local cloud is up at {cloud.endpoint}. Making the demonstration's data.")
    prepare(home.demonstration)
    story = play(output, home, deployment)
    result = fetch_result(deployment, home.demonstration, story)
    if as_json:
        output.document(_document(story, result))
    else:
        _tell_end(output, home, story, result, time.monotonic() - began)
    _require_expected(story)


def prepare(folder: Path) -> None:
    """Make the data: the same bytes every time."""
    shutil.rmtree(folder, ignore_errors=True)
    imaging.copy_images(folder / "imaging")
    reads.write_reads(folder / "sequencing")


def play(output: Output, home: Home, deployment: Deployment) -> Story:
    """Upload everything and watch until all is settled, or patience ends."""
    folder = home.demonstration
    with telling.Screen(output) as screen:
        course = Course(
            catalog_of(deployment),
            deployment.zone_of,
            sample=reads.SAMPLES[0].name,
            site=SEQUENCING,
            show=screen.show,
        )
        course.add(_send_images(home, deployment, folder / "imaging"))
        course.add(_send_reads(home, deployment, folder / "sequencing"))
        first = course.story.files[0]
        if course.until(lambda story: _settled(story, first.object_id), _PATIENCE_SECONDS):
            course.add(_send_again(home, deployment, folder / "imaging"))
            course.until(lambda story: story.is_over, _PATIENCE_SECONDS)
    return course.story


def fetch_result(deployment: Deployment, folder: Path, story: Story) -> dict[str, Any] | None:
    """Return the pipeline's JSON report, and put it and the HTML one beside the data."""
    found: dict[str, Any] | None = None
    for report in story.reports:
        if report.placed is None:
            continue
        body = _download(deployment, report)
        path = folder / "results" / report.placed.key.rsplit("/", 1)[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        if path.suffix == ".json":
            found = json.loads(body)
    return found


def _download(deployment: Deployment, report: ObjectRecord) -> bytes:
    place = report.placed or report.location
    answer = deployment.account.s3.get_object(Bucket=place.bucket, Key=place.key)
    return answer["Body"].read()


def _send_images(home: Home, deployment: Deployment, folder: Path) -> list[Followed]:
    sent = _send(home, deployment, RADIOLOGY, folder)
    followed = [follow(i.name, i.about, sent[i.name], *_KEPT) for i in imaging.IMAGES]
    cut = imaging.TRUNCATED
    return [*followed, follow(cut.name, cut.about, sent[cut.name], State.QUARANTINED)]


def _send_reads(home: Home, deployment: Deployment, folder: Path) -> list[Followed]:
    sent = _send(home, deployment, SEQUENCING, folder, batch="run57")
    followed = []
    for sample in reads.SAMPLES:
        for mate in reads.MATES:
            damaged = mate == sample.damaged
            about = "FASTQ with a wrong .md5" if damaged else "FASTQ with its .md5"
            expected = {State.QUARANTINED} if damaged else _KEPT
            file = sent[sample.file_name(mate)]
            followed.append(follow(f"{sample.name} {mate}", about, file, *expected))
    return followed


def _send_again(home: Home, deployment: Deployment, folder: Path) -> list[Followed]:
    image = imaging.SENT_AGAIN
    sent = _send(home, deployment, RADIOLOGY, folder / image.name)
    return [follow(image.name, image.about, sent[image.name], State.DUPLICATE)]


def _send(
    home: Home, deployment: Deployment, site: str, path: Path, *, batch: str = ""
) -> dict[str, SentFile]:
    """Upload as `forebay upload` does; return what was sent by file name."""
    plan = plan_upload([path], Destination.AUTO)
    journal = UploadJournal(home.uploads)
    options = SendOptions(site, batch, upload_batch=batch)
    sender = Sender(deployment.account.s3, deployment.bucket, journal, options)
    sent = {file.file.path.name: file for file in sender.send(plan.files)}
    for name, file in sent.items():
        if file.error:
            raise CommandError(f"{name} could not be uploaded: {file.error}", "forebay doctor")
    return sent


def _settled(story: Story, object_id: str) -> bool:
    return any(file.is_settled for file in story.files if file.object_id == object_id)


def _document(story: Story, result: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "files": [
            {
                "name": file.name,
                "about": file.about,
                "object_id": file.object_id,
                "state": file.state,
                "as_expected": file.is_as_expected,
                "outcome": file.outcome,
            }
            for file in story.files
        ],
        "pipeline_run": story.run.run_id if story.run else "",
        "result": result,
    }


def _tell_end(
    output: Output, home: Home, story: Story, result: dict[str, Any] | None, seconds: float
) -> None:
    out = output.out
    out.print(telling.outcomes(story))
    out.print()
    if _is_repeat(story):
        out.print(
            "All of this had been sent before: it was recognised, and nothing was stored twice."
        )
        out.print()
    if result:
        html = home.demonstration / "results" / f"{result['sample']}.read_qc.html"
        output.facts(telling.report(story, result, html))
        out.print()
    out.print(f"That took {duration_text(seconds)}. Try next:")
    command = command_name()
    refused = next((f.object_id for f in story.files if f.state == State.QUARANTINED.value), "")
    for rest in (f"show {refused}", "find --modality CT", "status --watch"):
        out.print(f"  {command} {rest}", soft_wrap=True)
    out.print(f"The local cloud stays up; stop it with: {command} down", soft_wrap=True)


def _is_repeat(story: Story) -> bool:
    return all(f.state == State.DUPLICATE.value for f in story.files if f.expected == _KEPT)


def command_name() -> str:
    """Return how this person calls the command line from here."""
    if shutil.which("forebay"):
        return "forebay"
    called = Path(sys.argv[0])
    near = called.is_absolute() and called.is_relative_to(Path.cwd())
    return str(called.relative_to(Path.cwd())) if near else str(called)


def _require_expected(story: Story) -> None:
    odd = [f"{file.name}: {file.state}" for file in story.files if not file.is_as_expected]
    if odd or not story.is_over:
        raise CommandError(
            "The story did not end as it should: "
            + (", ".join(odd) or "the pipeline did not hand in its report")
            + ".",
            "See what the steps said: forebay logs. And the queues: forebay status",
        )
