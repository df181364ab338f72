# ruff: noqa: T201 - a command that prints
"""Fuzz one parser, or all of them in turn.

python -m fuzz TARGET --seconds 60      atheris, else random changes (see fuzz/engine.py)
python -m fuzz --all --seconds 5        every target, each in a process of its own
python -m fuzz TARGET --input FILE      one input again, as found before
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

# The targets are imported late, so that atheris can instrument the parsers.
NAMES = (
    "dicom",
    "fastq",
    "fastq-in-gzip",
    "gzip",
    "manifests",
    "bagit",
    "runs-xml",
    "runs-sheets",
    "runs-interop",
    "sam",
    "vcf",
    "bam",
    "bcf",
    "cram",
    "cram-blocks",
    "hts-index",
    "recognise",
)


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", nargs="?", choices=NAMES)
    parser.add_argument("--all", action="store_true", help="every target in turn")
    parser.add_argument("--seconds", type=float, default=60, help="time for each target")
    parser.add_argument("--engine", choices=["atheris", "mutations"], help="default: the best")
    parser.add_argument("--seed", type=int, default=1, help="of the random changes")
    parser.add_argument("--input", type=Path, help="check this file only")
    arguments = parser.parse_args()
    if arguments.all:
        return _run_all(arguments)
    if not arguments.target:
        parser.error("name a target, or --all")
    return _run_one(arguments)


def _run_all(arguments: argparse.Namespace) -> int:
    failed = []
    for name in NAMES:
        command = [sys.executable, "-m", "fuzz", name, "--seconds", str(arguments.seconds)]
        command += ["--seed", str(arguments.seed)]
        command += ["--engine", arguments.engine] if arguments.engine else []
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - this program
            failed.append(name)
    print(f"{len(NAMES) - len(failed)} of {len(NAMES)} targets held.", *failed)
    return 1 if failed else 0


def _run_one(arguments: argparse.Namespace) -> int:
    if arguments.input:
        from fuzz.targets import TARGETS  # noqa: PLC0415

        TARGETS[arguments.target].check(arguments.input.read_bytes())
        print("It held.")
        return 0
    from fuzz import engine  # noqa: PLC0415

    reason = engine.why_no_atheris()
    if arguments.engine != "mutations" and not reason:
        engine.run_atheris(arguments.target, seconds=arguments.seconds)
        return 0
    if arguments.engine == "atheris":
        print(f"Error: {reason}", file=sys.stderr)
        return 2
    from fuzz.targets import TARGETS  # noqa: PLC0415

    limit = engine.MEMORY_LIMIT_MIB << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    target = TARGETS[arguments.target]
    runs = engine.run_mutations(target, seconds=arguments.seconds, seed=arguments.seed)
    print(f"{target.name}: {runs} inputs held, random changes{reason and f' ({reason})'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
