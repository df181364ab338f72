"""recheck_objects: hourly, read part of what is stored again and compare it with its digests."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from forebay.formats.digests import can_compute, digest_chunks
from forebay.runtime.rechecking import report_rechecks
from forebay.runtime.wiring import wiring
from forebay.services.recheck_objects import READ_SHARE, RecheckObjects, budget_per_run


@lru_cache(maxsize=1)
def service() -> RecheckObjects:
    """Return the step, built once per process."""
    return wiring().recheck_objects(digest_chunks, can_compute)


def handler(_: dict[str, Any], context: Any) -> dict[str, int]:
    """Recheck an hour's part of the day's budget; answer with the run's metrics."""
    budget_bytes = budget_per_run(wiring().settings.recheck_bytes_per_day)
    seconds = READ_SHARE * context.get_remaining_time_in_millis() / 1000
    return report_rechecks(replace(service(), read_seconds=seconds)(budget_bytes))
