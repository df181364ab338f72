"""reconcile_storage: daily, compare one zone with the catalog, both ways; it repairs nothing."""

from typing import Any

from forebay.runtime.reconciling import report_differences, time_is_up
from forebay.runtime.wiring import wiring
from forebay.services.reconcile_storage import scope_of


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Compare the zone the schedule names; answer with counts by kind of difference."""
    reconcile = wiring().reconcile_on_schedule
    return report_differences(reconcile(scope_of(event), is_time_up=time_is_up(context)))
