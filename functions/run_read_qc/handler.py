"""run_read_qc: the read QC pipeline's only step; both mates in, one report out."""

from functools import lru_cache
from typing import Any

from forebay.formats.read_qc import measure_pair
from forebay.runtime.wiring import wiring
from forebay.services.run_read_qc import RunReadQc, read_request


@lru_cache(maxsize=1)
def service() -> RunReadQc:
    """Return the step, built once per process."""
    return wiring().run_read_qc(measure_pair)


def handler(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Answer Step Functions with where the outputs were handed in."""
    return service()(read_request(event))
