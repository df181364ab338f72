"""`forebay inspect`."""

from pathlib import Path

import click

from forebay_cli.output import Output, json_option
from forebay_cli.target import Target, target_options


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=None, help="Worker processes (default: cores)."
)
@click.option(
    "--multiqc",
    "multiqc_file",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Also write a custom content file for MultiQC; name it …_mqc.json.",
)
@click.option(
    "--no-identifiers",
    is_flag=True,
    help="Leave what identifies a person (PatientID, …) out of the JSON.",
)
@target_options
@json_option
def inspect(  # noqa: PLR0913 - one parameter per option
    *,
    paths: tuple[str, ...],
    jobs: int | None,
    multiqc_file: Path | None,
    no_identifiers: bool,
    target: Target,
    as_json: bool,
) -> None:
    """Judge files as the cloud would: FILE, DIR or s3://bucket/prefix.

    Every file is read once: structure, integrity, statistics, digests; checksum lists and BagIt
    bags are held against the files beside them. `--json` prints one object per line. Files of other
    kinds that lie in a folder are only counted; one that is named itself is bad input.

    Exit status: 0 all good · 1 bad input among them · 2 wrong usage · 3 some could not be read.
    """
    # The parsers take a fifth of a second to import, which no other command should wait for.
    from forebay_cli.inspecting.session import Request, run  # noqa: PLC0415

    request = Request(paths, jobs, multiqc_file, not no_identifiers, target)
    if code := run(Output.create(as_json=as_json), request):
        raise click.exceptions.Exit(code)
