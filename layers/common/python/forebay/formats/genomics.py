"""The parser of each kind of genomics file that is read as a stream."""

from typing import Final

from forebay.domain.objects import Kind
from forebay.formats.fastq import inspect_fastq
from forebay.formats.hts import inspect_hts
from forebay.formats.run_files import inspect_run_file

__all__ = ["PARSERS"]

PARSERS: Final = {
    Kind.FASTQ: inspect_fastq,
    Kind.ALIGNMENTS: inspect_hts,
    Kind.VARIANTS: inspect_hts,
    Kind.RUN_FILE: inspect_run_file,
}
