"""Run files and sample sheets as a stream, as the other files of a sequencing run are read."""

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.integrity import Algorithm
from forebay.domain.sequencing_runs import RunInfo, RunParameters, SampleSheet
from forebay.formats.digests import MultiDigest
from forebay.formats.runs import inspect_run_info, inspect_run_parameters, inspect_sample_sheet

__all__ = ["MAX_BYTES", "inspect_run_file"]

RunFile = RunInfo | RunParameters | SampleSheet

MAX_BYTES: Final = 16 << 20
"""No run file comes near; what is longer is read to its end for its digests, and refused."""
_RUN_INFO: Final = re.compile(r"RunInfo", re.IGNORECASE)
_RUN_PARAMETERS: Final = re.compile(r"RunParameters", re.IGNORECASE)


def inspect_run_file(
    chunks: Iterable[bytes], *, name: str, algorithms: Collection[Algorithm]
) -> Inspection[RunFile]:
    """Inspect RunInfo.xml, RunParameters.xml or a sample sheet; its name says which it is."""
    digests = MultiDigest(algorithms)
    kept = bytearray()
    for chunk in chunks:
        digests.update(chunk)
        if len(kept) <= MAX_BYTES:
            kept += chunk
    inspection = (
        _refused(digests.size_bytes) if len(kept) > MAX_BYTES else _judged(bytes(kept), name)
    )
    return replace(inspection, digests=digests.digests(), bytes_read=digests.size_bytes)


def _judged(data: bytes, name: str) -> Inspection[RunFile]:
    if _RUN_INFO.match(name):
        return inspect_run_info(data, name=name)
    if _RUN_PARAMETERS.match(name):
        return inspect_run_parameters(data, name=name)
    return inspect_sample_sheet(data, name=name)


def _refused(size_bytes: int) -> Inspection[RunFile]:
    finding = Finding(
        code=ReasonCode.LIMIT_EXCEEDED,
        message="The file is implausibly large for a run file; upload the instrument's own.",
        owner=Owner.SENDER,
        expected=f"at most {MAX_BYTES} bytes",
        found=f"{size_bytes} bytes",
    )
    return Inspection(Verdict.INVALID, None, (finding,))
