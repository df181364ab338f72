"""`forebay receipt`."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from forebay.names import Step
from forebay_cli import stack_outputs
from forebay_cli.failures import EXIT_FINDINGS, CommandError
from forebay_cli.home import Home
from forebay_cli.output import Output, json_option, size_text, table
from forebay_cli.target import Target, target_options

if TYPE_CHECKING:
    from forebay_cli.deployment import Deployment
    from forebay_cli.receipts import CheckedFile, VerifiedReceipt

_SHOWN: Final = 10
_FILE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_FOLDER: Final = click.Path(exists=True, file_okay=False, readable=True, path_type=Path)
_OUTPUT: Final = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.group()
def receipt() -> None:
    """Get and verify signed receipts: what a site may delete its local copies on."""


@receipt.command("get")
@click.argument("batch")
@click.option("--site", required=True, help="The site that sent the batch.")
@click.option("-o", "--output", "path", type=_OUTPUT, help="File for the receipt (default: named).")
@target_options
@json_option
def get(*, batch: str, site: str, path: Path | None, target: Target, as_json: bool) -> None:
    """Issue a receipt for BATCH as it is stored now, and save it.

    `forebay upload` prints the batch of what it sent. Storage is asked anew about every object,
    and the answer signed; each receipt is also kept in the ledger. One that is not safe yet says
    why, object by object: ask for another one later.

    Exit status: 0 everything is safely stored · 1 something is not, or the batch is unknown ·
    2 wrong usage · 3 trouble.
    """
    output = Output.create(as_json=as_json)
    answer = _issued(target.deployment(Home.find()), site, batch)
    saved = path or Path(f"receipt-{site}-{batch.replace('/', '-')}.jws")
    saved.write_bytes(answer.pop("receipt").encode("ascii"))
    if as_json:
        output.document({**answer, "file": str(saved)})
    else:
        output.facts(
            [
                ("receipt", str(saved)),
                ("objects", f"{answer['objects']}, of which {answer['safe_objects']} may go"),
                ("safe to delete", _verdict(safe=answer["safe_to_delete"])),
                ("ledger", f"s3://{answer['bucket']}/{answer['key']}"),
            ]
        )
        output.say(f"\nVerify it: forebay receipt verify {saved} --key public.pem --files FOLDER")
    if not answer["safe_to_delete"]:
        raise click.exceptions.Exit(EXIT_FINDINGS)


@receipt.command("key")
@click.option("-o", "--output", "path", type=_OUTPUT, help="File for the key (default: print it).")
@target_options
@json_option
def key(*, path: Path | None, target: Target, as_json: bool) -> None:
    """Fetch the public key that receipts are verified with, as PEM.

    Fetch it once, over a way you trust, and keep it: a receipt proves as much as its key.
    """
    output = Output.create(as_json=as_json)
    deployment = target.deployment(Home.find())
    key_id = deployment.output(stack_outputs.RECEIPT_KEY)
    pem = _pem(deployment.account.kms.get_public_key(KeyId=key_id)["PublicKey"])
    if path:
        path.write_text(pem, encoding="ascii")
    if as_json:
        output.document({"key_id": key_id, "pem": pem, "file": str(path or "")})
    elif path:
        output.facts([("key", key_id), ("file", str(path))])
    else:
        click.echo(pem, nl=False)


@receipt.command("verify")
@click.argument("file", type=_FILE)
@click.option("--key", "key_file", required=True, type=_FILE, help="The public key, as PEM.")
@click.option("--files", "folder", type=_FOLDER, help="Folder whose files are to be deleted.")
@json_option
def verify(*, file: Path, key_file: Path, folder: Path | None, as_json: bool) -> None:
    """Verify the receipt FILE offline, and say which local files it covers.

    With --files every file below the folder is read and compared with the digests in the receipt:
    only what is covered may be deleted. Without it, the receipt speaks for the batch as a whole.

    Exit status: 0 the receipt is good and covers everything · 1 it is not, or does not · 2 wrong
    usage.
    """
    # Verifying needs the JOSE library, other commands do not.
    from forebay_cli.receipts import check_files, files_under, verify_receipt  # noqa: PLC0415

    output = Output.create(as_json=as_json)
    verified = verify_receipt(file.read_bytes(), key_file.read_bytes())
    checked = list(check_files(verified, files_under(folder))) if folder else None
    if as_json:
        output.document(_document(verified, checked))
    else:
        _print(output, verified)
        _print_files(output, checked)
    is_good = verified.is_safe if checked is None else all(each.is_covered for each in checked)
    if not is_good:
        raise click.exceptions.Exit(EXIT_FINDINGS)


def _issued(deployment: "Deployment", site: str, batch: str) -> dict[str, Any]:
    name = deployment.output(stack_outputs.of_step(stack_outputs.FUNCTION, Step.ISSUE_RECEIPT))
    request = json.dumps({"site": site, "batch": batch}).encode()
    answer = deployment.account.functions.invoke(FunctionName=name, Payload=request)
    found: dict[str, Any] = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise CommandError(
            f"The receipt could not be issued: {found.get('errorMessage') or found}",
            "See its log: forebay logs issue_receipt",
        )
    if not found["objects"]:
        raise click.ClickException(
            f"Nothing is known of a batch {batch!r} of site {site!r}. What was just sent is"
            " registered within seconds; `forebay upload` prints the name of its batch."
        )
    if "receipt" not in found:
        where = {"Bucket": found["bucket"], "Key": found["key"]}
        body = deployment.account.s3.get_object(**where, VersionId=found["version_id"])["Body"]
        found["receipt"] = body.read().decode("ascii")
    return found


def _pem(der: bytes) -> str:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as in verify

    public = serialization.load_der_public_key(der)
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode("ascii")


def _document(
    verified: "VerifiedReceipt", checked: "Iterable[CheckedFile] | None"
) -> dict[str, Any]:
    files = [
        {
            "path": str(each.path),
            "covered": each.is_covered,
            "object_id": each.object_id,
            "why": each.why,
        }
        for each in checked or ()
    ]
    document = {"verified": True, "key_id": verified.key_id, "receipt": verified.document}
    return document | ({} if checked is None else {"files": files})


def _print(output: Output, verified: "VerifiedReceipt") -> None:
    document = verified.document
    output.facts(
        [
            ("receipt", "genuine: the signature is that of the key"),
            ("batch", f"{document['batch']} of site {document['site']}"),
            ("issued", f"{str(document['issued_at']).replace('T', ' ').removesuffix('Z')} UTC"),
            ("by", document["deployment"]),
            ("signing key", verified.key_id),
            ("objects", f"{len(verified.objects)}, {size_text(document['size_bytes'])}"),
            ("safe to delete", _verdict(safe=verified.is_safe)),
        ]
    )
    rows = table("objects", "size", "may go", "why")
    by_basis = Counter(str(entry["basis"]) for entry in verified.objects)
    for basis, count in by_basis.most_common():
        entries = [entry for entry in verified.objects if entry["basis"] == basis]
        size = size_text(sum(entry["size_bytes"] for entry in entries))
        safe = "yes" if entries[0]["safe_to_delete"] else "no"
        rows.add_row(str(count), size, safe, entries[0]["reason"])
    output.out.print()
    output.rows(rows)
    unsafe = [entry for entry in verified.objects if not entry["safe_to_delete"]]
    _print_list(output, "Keep your copies of", [_named(entry) for entry in unsafe])


def _print_files(output: Output, checked: "list[CheckedFile] | None") -> None:
    if checked is None:
        return
    kept = [each for each in checked if not each.is_covered]
    covered = len(checked) - len(kept)
    output.out.print(f"\n{covered} of {len(checked)} local files may be deleted.")
    by_reason: dict[str, list[str]] = {}
    for each in kept:
        by_reason.setdefault(each.why, []).append(str(each.path))
    for reason, paths in by_reason.items():
        _print_list(output, f"Keep: {reason}", paths)


def _print_list(output: Output, title: str, lines: list[str]) -> None:
    if not lines:
        return
    output.out.print(f"\n{title}")
    for line in lines[:_SHOWN]:
        output.out.print(f"  {line}", soft_wrap=True)
    if len(lines) > _SHOWN:
        output.out.print(f"  and {len(lines) - _SHOWN} more; --json lists them all")


def _named(entry: Mapping[str, Any]) -> str:
    code = f" ({entry['reason_code']})" if entry["reason_code"] else ""
    return f"{entry['key']}{code}"


def _verdict(*, safe: bool) -> str:
    return "yes, all of it" if safe else "no, not all of it"
