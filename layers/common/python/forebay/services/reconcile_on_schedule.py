"""reconcile_storage on schedule: one zone at a time, going on where time ran out."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from forebay.domain.objects import Location
from forebay.domain.reconciliation import Report, Scope
from forebay.errors import ObjectMissingError
from forebay.services.ports import ObjectStore
from forebay.services.reconcile_storage import ReconcileStorage
from forebay.services.repair_storage import LEDGER_FOLDER, write_to_ledger

CURSOR_MAX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ReconcileOnSchedule:
    """Compare a scope and write the report to the ledger."""

    reconcile: ReconcileStorage
    store: ObjectStore
    ledger_bucket: str

    def __call__(self, scope: Scope, *, is_time_up: Callable[[], bool]) -> Report:
        """Return the report; a zone that did not fit goes on at the next call, at the cursor."""
        name = f"cursors/{scope.zone.value if scope.zone else 'all'}.json"
        report = self.reconcile(
            replace(scope, resume_after=self._cursor(name)), is_time_up=is_time_up
        )
        day = f"{report.started_at:%Y/%m/%d}"
        self._write(f"{day}/{report.report_id}.json", report.as_dict())
        self._write(name, {"resume_after": report.resume_after})
        return report

    def _cursor(self, name: str) -> str:
        location = Location(self.ledger_bucket, f"{LEDGER_FOLDER}/{name}")
        try:
            body = self.store.read_range(location, 0, CURSOR_MAX_BYTES)
        except ObjectMissingError:
            return ""
        return str(json.loads(body)["resume_after"])

    def _write(self, name: str, body: dict[str, object]) -> None:
        write_to_ledger(self.store, self.ledger_bucket, name, body)
