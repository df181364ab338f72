"""`forebay dispose`."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from forebay.domain.policy.disposition import Candidate, Disposition
from forebay.services.request_disposition import Decision, Preview, Verdict, Wish
from forebay_cli.disposing import (
    SCOPES,
    DispositionOffice,
    candidate_document,
    disposition_document,
    entry_document,
)
from forebay_cli.failures import EXIT_FINDINGS
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, size_text, table
from forebay_cli.target import Target, target_options

_SHOWN: Final = 10
_FILE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_OUTPUT: Final = click.Path(dir_okay=False, writable=True, path_type=Path)
_HELP: Final = {
    "object": "An object, by id; may be given again.",
    "study": "A study, by UID; may be given again.",
    "sample": "A sample, as SITE/SAMPLE; may be given again.",
    "run": "A sequencing run as SITE/RUN, or a pipeline run by id; may be given again.",
    "patient": "A patient, by ID; may be given again. It is turned into a search token at once.",
}


def _scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is meant, passed as `named`, `review_due` and `basis`."""

    @click.option("--review-due", is_flag=True, help="All placed objects whose review is due.")
    @click.option(
        "--despite-floor",
        "basis",
        default="",
        metavar="REASON",
        help="The legal basis on which retention floors do not count; it is told in the"
        " certificate. Holds, pins and longer retention count all the same.",
    )
    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        named = {name: kwargs.pop(name) for name in SCOPES}
        return command(*args, named=named, **kwargs)

    for name, text in _HELP.items():
        wrapped = click.option(f"--{name}", name, multiple=True, help=text)(wrapped)
    return wrapped


@click.group()
def dispose() -> None:
    """Delete what is stored on purpose, with proof: asked for, approved by another, certified."""


@dispose.command("preview")
@_scope_options
@target_options
@json_option
def preview(
    *,
    named: Mapping[str, Sequence[str]],
    review_due: bool,
    basis: str,
    target: Target,
    as_json: bool,
) -> None:
    """Say what would be deleted, and what keeps what; nothing is changed.

    Everything that was made from what is named goes with it: runs' outputs, reports, thumbnails.

    Exit status: 0 all of it could go · 1 something is kept, or nothing was found · 2 wrong usage ·
    3 trouble.
    """
    output = Output.create(as_json=as_json)
    office = DispositionOffice(target.deployment(Home.find()))
    found = office.preview(Wish(office.scopes(named), review_due, basis=basis))
    if as_json:
        output.document(
            {
                "objects": [candidate_document(each) for each in found.candidates],
                "removable": len(found.removable),
                "kept": len(found.blocked),
                "size_bytes": found.size_bytes,
            }
        )
    else:
        _print_preview(output, found)
    if found.blocked:
        raise click.exceptions.Exit(EXIT_FINDINGS)


@dispose.command("request")
@_scope_options
@click.option("--reason", required=True, help="Why; it is in the certificate. Name no patient.")
@target_options
@json_option
def request(  # noqa: PLR0913 - one parameter per option
    *,
    named: Mapping[str, Sequence[str]],
    review_due: bool,
    basis: str,
    reason: str,
    target: Target,
    as_json: bool,
) -> None:
    """Ask for a disposition of exactly what there is now; another person has to approve it.

    Exit status: 0 it was asked for · 1 it could not be · 2 wrong usage · 3 trouble.
    """
    output = Output.create(as_json=as_json)
    office = DispositionOffice(target.deployment(Home.find()))
    asked = office.request(Wish(office.scopes(named), review_due, reason, basis))
    _tell(output, asked)
    output.say(f"\nAnother person approves it: forebay dispose approve {asked.disposition_id}")


@dispose.command("approve")
@click.argument("disposition_id", metavar="DISPOSITION")
@click.option("--note", default="", help="Why; it is in the certificate. Name no patient.")
@target_options
@json_option
def approve(*, disposition_id: str, note: str, target: Target, as_json: bool) -> None:
    """Approve DISPOSITION, which another person asked for: this very list, by its digest.

    Exit status: 0 it is approved · 1 it could not be, and nothing was changed · 2 wrong usage ·
    3 trouble.
    """
    output = Output.create(as_json=as_json)
    office = DispositionOffice(target.deployment(Home.find()))
    _tell(output, office.decide(Decision(Verdict.APPROVE, disposition_id, note)))
    output.say(f"\nCarry it out: forebay dispose execute {disposition_id}")


@dispose.command("refuse")
@click.argument("disposition_id", metavar="DISPOSITION")
@click.option("--note", required=True, help="Why. Name no patient.")
@target_options
@json_option
def refuse(*, disposition_id: str, note: str, target: Target, as_json: bool) -> None:
    """Refuse DISPOSITION; nothing is deleted.

    Exit status: 0 it is refused · 1 it could not be · 2 wrong usage · 3 trouble.
    """
    output = Output.create(as_json=as_json)
    office = DispositionOffice(target.deployment(Home.find()))
    _tell(output, office.decide(Decision(Verdict.REFUSE, disposition_id, note)))


@dispose.command("execute")
@click.argument("disposition_id", metavar="DISPOSITION")
@click.option("--yes", is_flag=True, help="Do not ask.")
@target_options
@json_option
def execute(*, disposition_id: str, yes: bool, target: Target, as_json: bool) -> None:
    """Carry out DISPOSITION, which was approved; calling it again goes on where it stopped.

    Holds are asked for again before each object. What something keeps is named in the certificate.

    Exit status: 0 all of it is gone · 1 something is kept, or it is not approved · 2 wrong usage ·
    3 trouble.
    """
    if as_json and not yes:
        raise click.UsageError("With --json nobody can be asked: give --yes.")
    output = Output.create(as_json=as_json)
    office = DispositionOffice(target.deployment(Home.find()))
    found = office.known(disposition_id)
    if not yes:
        _agreed(found)
    answer = office.execute(
        disposition_id, lambda each: output.say(f"{each['left']} of {found.objects} objects left")
    )
    if as_json:
        output.document(answer)
    else:
        output.facts(
            [
                ("disposition", disposition_id),
                ("removed", answer["removed"]),
                ("kept", answer["kept"]),
                ("changed since", answer["skipped"]),
            ]
        )
        output.say(f"\nThe proof: forebay dispose certificate {disposition_id}")
    if answer["kept"] or answer["skipped"]:
        raise click.exceptions.Exit(EXIT_FINDINGS)


@dispose.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@target_options
@json_option
def list_(*, limit: int, target: Target, as_json: bool) -> None:
    """List the dispositions, those asked for last first."""
    output = Output.create(as_json=as_json)
    office = DispositionOffice(target.deployment(Home.find()))
    found = office.dispositions.latest(limit)
    if as_json:
        output.document({"dispositions": [disposition_document(each) for each in found]})
        return
    if not found:
        output.out.print("No disposition was asked for.")
        return
    rows = table("disposition", "stage", "asked on", "objects", "reason")
    for each in found:
        day = f"{each.requested_at:%Y-%m-%d}"
        rows.add_row(each.disposition_id, each.stage.value, day, str(each.objects), each.reason)
    output.rows(rows)


@dispose.command("show")
@click.argument("disposition_id", metavar="DISPOSITION")
@target_options
@json_option
def show(*, disposition_id: str, target: Target, as_json: bool) -> None:
    """Show DISPOSITION, and what became of each object so far."""
    output = Output.create(as_json=as_json)
    office = DispositionOffice(target.deployment(Home.find()))
    found = office.known(disposition_id)
    entries = list(office.dispositions.entries(disposition_id))
    if as_json:
        told = [entry_document(each) for each in entries]
        output.document({**disposition_document(found), "entries": told})
        return
    _tell(output, found)
    if entries:
        rows = table("object", "outcome", "why")
        for entry in entries:
            left = [copy.left for copy in entry.copies if copy.left]
            why = "; ".join([*(block.says for block in entry.blocks), entry.says, *left])
            rows.add_row(entry.object_id, entry.outcome.value, why.strip("; "))
        output.out.print()
        output.rows(rows)


@dispose.command("certificate")
@click.argument("disposition_id", metavar="DISPOSITION", required=False)
@click.option("-o", "--output", "path", type=_OUTPUT, help="File for it (default: named).")
@click.option("--verify", "file", type=_FILE, help="Verify this file offline, instead.")
@click.option("--key", "key_file", type=_FILE, help="With --verify: the public key, as PEM.")
@target_options
@json_option
def certificate(  # noqa: PLR0913 - one parameter per option
    *,
    disposition_id: str | None,
    path: Path | None,
    file: Path | None,
    key_file: Path | None,
    target: Target,
    as_json: bool,
) -> None:
    """Save the deletion certificate of DISPOSITION, or verify one without any cloud.

    It is verified with the key of receipts: forebay receipt key -o public.pem

    Exit status: 0 all well · 1 there is none, or it is not genuine · 2 wrong usage · 3 trouble.
    """
    output = Output.create(as_json=as_json)
    if file:
        if not key_file:
            raise click.UsageError("Give --key: the public key of receipts, as PEM.")
        _verify(output, file, key_file)
        return
    if not disposition_id:
        raise click.UsageError("Name a DISPOSITION, or a file: --verify FILE --key public.pem")
    office = DispositionOffice(target.deployment(Home.find()))
    data = office.certificate(disposition_id)
    saved = path or Path(f"{disposition_id}.jws")
    saved.write_bytes(data)
    if as_json:
        output.document({"disposition_id": disposition_id, "file": str(saved)})
    else:
        output.facts([("certificate", str(saved))])
        output.say(f"\nVerify it: forebay dispose certificate --verify {saved} --key public.pem")


def _verify(output: Output, file: Path, key_file: Path) -> None:
    # Verifying needs the JOSE library, other commands do not.
    from forebay_cli.receipts import CERTIFICATE, verify_signed  # noqa: PLC0415

    key_id, told = verify_signed(file.read_bytes(), key_file.read_bytes(), CERTIFICATE)
    if output.as_json:
        output.document({"verified": True, "key_id": key_id, "certificate": told})
        return
    output.facts(
        [
            ("certificate", "genuine: the signature is that of the key"),
            ("disposition", told["disposition_id"]),
            ("by", told["deployment"]),
            ("issued", told["issued_at"]),
            ("reason", told["reason"]),
            ("legal basis", told["legal_basis"]),
            ("asked for by", told["requested_by"]),
            ("approved by", told["approved_by"]),
            ("signing key", key_id),
            ("removed", f"{len(told['removed'])} objects in {told['versions_removed']} versions"),
            ("", size_text(told["bytes_removed"])),
            ("kept", f"{len(told['kept'])} objects" if told["kept"] else ""),
        ]
    )
    left = sum(len(each["left"]) for each in told["removed"])
    if left:
        output.say(f"Storage kept {left} versions under a lock; --json names them and why.")


def _agreed(found: Disposition) -> None:
    """Let somebody type the number of objects: a `y` is typed too easily."""
    size = size_text(found.size_bytes)
    click.echo(f"{found.objects} objects, {size}: they cannot be brought back.", err=True)
    typed = click.prompt("Type the number of objects to delete them", err=True, type=str)
    if typed.strip() != str(found.objects):
        raise click.Abort


def _tell(output: Output, found: Disposition) -> None:
    if output.as_json:
        output.document(disposition_document(found))
        return
    decided = f"{found.decided_at:%Y-%m-%d %H:%M} UTC" if found.decided_at else ""
    output.facts(
        [
            ("disposition", found.disposition_id),
            ("stage", found.stage.value),
            ("of", ", ".join([*map(str, found.scopes), *["review due"] * found.review_due])),
            ("objects", f"{found.objects}, of which {size_text(found.size_bytes)} could go then"),
            ("reason", found.reason),
            ("legal basis", found.basis),
            ("asked for by", f"{found.requested_by}, {found.requested_at:%Y-%m-%d %H:%M} UTC"),
            ("decided by", f"{found.decided_by}, {decided}" if decided else ""),
            ("note", found.note),
            ("list", f"{found.request.uri} (SHA-256 {found.digest})"),
        ]
    )


def _print_preview(output: Output, found: Preview) -> None:
    versions = sum(len(each.copies) for each in found.removable)
    output.facts(
        [
            ("would go", f"{len(found.removable)} objects in {versions} versions"),
            ("", size_text(found.size_bytes)),
            ("kept", f"{len(found.blocked)} objects" if found.blocked else "nothing"),
        ]
    )
    rows = table("object", "would go", "kept by")
    for each in [*found.blocked, *found.removable][:_SHOWN]:
        rows.add_row(each.object_id, _parts(each), "; ".join(b.says for b in each.blocks))
    output.out.print()
    output.rows(rows)
    if len(found.candidates) > _SHOWN:
        output.say(f"and {len(found.candidates) - _SHOWN} more; --json lists them all")


def _parts(candidate: Candidate) -> str:
    if candidate.blocks:
        return "-"
    return ", ".join(copy.part.value for copy in candidate.copies)
