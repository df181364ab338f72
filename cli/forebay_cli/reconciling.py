"""Reconciliation and rebuild of a deployment, with the rights of whoever runs the command."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from forebay.adapters.catalog import DynamoCatalog
from forebay.adapters.change_log import DynamoChangeLog
from forebay.adapters.class_zones import class_zones
from forebay.adapters.inventory import InventoryListing, S3Listing, S3Locks
from forebay.adapters.ledger import S3Ledger
from forebay.adapters.pseudonyms import KmsPseudonyms
from forebay.adapters.queues import SqsQueues
from forebay.adapters.rebuilding import DynamoLostTables
from forebay.adapters.s3 import S3ObjectStore
from forebay.adapters.stored_objects import DynamoStoredObjects
from forebay.domain.objects import Location
from forebay.domain.reconciliation import Report, Scope, repair_plan
from forebay.names import Zone
from forebay.runtime.wiring import READ_QC
from forebay.services.rebuild_catalog import RebuildCatalog, Rebuilt
from forebay.services.recheck_objects import RecheckObjects
from forebay.services.reconcile_storage import ReconcileStorage, StorageListing
from forebay.services.repair_storage import Repaired, RepairStorage
from forebay.services.submit_pipeline import RunPlanner
from forebay_cli import stack_outputs
from forebay_cli.deployment import Deployment
from forebay_cli.failures import CommandError
from forebay_cli.reading import catalog_of

WORKERS = 16
_S3_URI = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)")
Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Both services over one deployment."""

    deployment: Deployment
    buckets: dict[Zone, str]

    @classmethod
    def of(cls, deployment: Deployment) -> "Reconciler":
        """Return the services of a deployment; a replica is compared where there is one."""
        outputs = deployment.outputs
        names = {zone: outputs.get(stack_outputs.bucket(zone), "") for zone in Zone}
        return cls(deployment, {zone: name for zone, name in names.items() if name})

    def compare(self, scope: Scope, *, manifest: str, progress: Progress) -> Report:
        """Compare a scope, by listing or by an S3 Inventory report."""
        if scope.zone and scope.zone not in self.buckets:
            raise CommandError(
                f"This deployment has no zone {scope.zone}.",
                "The archive is there only with a replica region.",
            )
        catalog, clock = self._catalog, self.deployment.account.clock
        s3 = self.deployment.account.s3
        service = ReconcileStorage(
            catalog,
            catalog_of(self.deployment),
            self._store,
            self._listing(manifest),
            S3Locks(s3),
            clock,
            RunPlanner(catalog, clock, READ_QC),
            self.buckets,
            class_zones(),
            workers=WORKERS,
            progress=progress,
        )
        return service(scope)

    def apply(self, report: Report) -> tuple[Repaired, ...]:
        """Carry out the plan that follows from a report, under the caller's identity."""
        # The parsers' libraries take time to import, which a comparison should not wait for.
        from forebay.formats.digests import can_compute, digest_chunks  # noqa: PLC0415

        account, catalog = self.deployment.account, self._catalog
        recheck = RecheckObjects(
            catalog,
            self._store,
            account.clock,
            DynamoStoredObjects(account.dynamodb, catalog.table),
            digest_chunks,
            can_compute,
            self.buckets,
        )
        repair = RepairStorage(
            catalog,
            self._store,
            SqsQueues(account.sqs, self.deployment.by_step(stack_outputs.QUEUE)),
            S3Listing(account.s3),
            S3Locks(account.s3),
            account.clock,
            recheck.one,
            self.buckets,
        )
        identity = account.caller
        return repair(repair_plan(report.differences), by=identity, report_id=report.report_id)

    def rebuild(self, *, table: str, history: str, progress: Progress) -> Rebuilt:
        """Rebuild catalog and history from the ledger and the stored files."""
        from forebay.formats.dicom import inspect_dicom  # noqa: PLC0415
        from forebay.formats.manifests import parse_checksum_file  # noqa: PLC0415

        account, store = self.deployment.account, self._store
        ledger = self.deployment.bucket(Zone.LEDGER)
        table = table or self.deployment.output(stack_outputs.TABLE)
        history = history or self.deployment.output(stack_outputs.HISTORY_TABLE)
        catalog = DynamoCatalog(account.dynamodb, table)
        log = DynamoChangeLog(account.dynamodb, table, history, store, ledger)
        key = self.deployment.output(stack_outputs.SUBJECT_KEY)
        service = RebuildCatalog(
            S3Ledger(account.s3, store, ledger),
            DynamoLostTables(account.dynamodb, table, log),
            catalog,
            store,
            inspect_dicom,
            parse_checksum_file,
            KmsPseudonyms(account.kms, key),
            workers=WORKERS,
            progress=progress,
        )
        return service()

    def _listing(self, manifest: str) -> StorageListing:
        s3 = self.deployment.account.s3
        if not manifest:
            return S3Listing(s3)
        match = _S3_URI.fullmatch(manifest)
        if match is None or not manifest.endswith("manifest.json"):
            raise CommandError(
                f"{manifest} is no inventory report.",
                "Give its manifest: s3://bucket/<prefix>/<date>/manifest.json",
            )
        return InventoryListing(s3, Location(match["bucket"], match["key"]))

    @property
    def _catalog(self) -> DynamoCatalog:
        table = self.deployment.output(stack_outputs.TABLE)
        return DynamoCatalog(self.deployment.account.dynamodb, table)

    @property
    def _store(self) -> S3ObjectStore:
        return S3ObjectStore(self.deployment.account.s3)


def as_utc(moment: datetime | None) -> datetime | None:
    """Return a time given without a zone as UTC."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
