"""issue_receipt: say, with a signature, what of an upload batch is safely stored."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from urllib.parse import quote

from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.receipts import (
    Basis,
    Holding,
    ReceiptLine,
    ReplicaState,
    basis_of,
    receipt_document,
    replica_basis,
    signed,
    signing_input,
)
from forebay.domain.states import State
from forebay.errors import ObjectMissingError
from forebay.names import Zone
from forebay.services.place_object import is_equal
from forebay.services.ports import (
    Catalog,
    Clock,
    ObjectStore,
    Signer,
    StoredObject,
    UploadBatches,
)

RECEIPT_CONTENT_TYPE: Final = "application/jose"
WORKERS: Final = 8
_FOLDER_CHARACTERS: Final = 200
_UNFINISHED: Final = frozenset({"PENDING", "FAILED"})


@dataclass(frozen=True, slots=True)
class Receipt:
    """An issued receipt: the JWS, and where the ledger keeps it."""

    jws: bytes
    location: Location
    objects: int
    safe_objects: int
    is_safe: bool


@dataclass(frozen=True, slots=True)
class IssueReceipt:
    """Issue receipts; `buckets` holds the ledger and, where there is one, the archive."""

    catalog: Catalog
    store: ObjectStore
    clock: Clock
    batches: UploadBatches
    signer: Signer
    buckets: Mapping[Zone, str]
    workers: int = WORKERS

    def __call__(self, site: str, batch: str) -> Receipt | None:
        """Return a receipt for what is known of a batch now, None when nothing is.

        Storage is asked anew about every object. A later receipt for the same batch is another
        fact, about its own time; none is ever replaced.
        """
        records = list(self.batches.records(site, batch))
        if not records:
            return None
        with ThreadPoolExecutor(self.workers, thread_name_prefix="receipt") as pool:
            lines = list(pool.map(self._line, records))
        now = self.clock.now()
        ledger = self.buckets[Zone.LEDGER]
        document = receipt_document(lines, deployment=ledger, site=site, batch=batch, issued_at=now)
        text = signing_input(document, self.signer.key_id)
        jws = signed(text, self.signer.sign(text))
        place = Location(ledger, receipt_key(site, batch, now))
        return Receipt(
            jws,
            self.store.put(place, jws, content_type=RECEIPT_CONTENT_TYPE),
            objects=len(lines),
            safe_objects=sum(line.is_safe for line in lines),
            is_safe=document["safe_to_delete"],
        )

    def _line(self, record: ObjectRecord) -> ReceiptLine:
        original: ObjectRecord | None = None
        if record.state is State.DUPLICATE and record.original_id:
            original = self.catalog.get(record.original_id)
        holding = self._holding(original or record)
        return ReceiptLine(record, basis_of(record, original, holding), holding)

    def _holding(self, record: ObjectRecord) -> Holding | None:
        if record.state is not State.PLACED or record.placed is None:
            return None
        stored = self._described(record.placed)
        if stored is None:
            return Holding(Basis.MISSING)
        replica, copy = self._replica(record, record.placed, stored)
        basis = replica_basis(replica)
        if not is_equal(record, stored):
            basis = Basis.CHANGED
        elif not self._is_current(record, record.placed):
            basis = Basis.HIDDEN
        return Holding(
            basis,
            stored.location.version_id or record.placed.version_id,
            stored.digests,
            stored.composite,
            replica,
            copy.digests if copy else (),
        )

    def _is_current(self, record: ObjectRecord, placed: Location) -> bool:
        """Tell whether the newest version of the key is this one, or another copy of its bytes."""
        latest = self._described(replace(placed, version_id=""))
        return latest is not None and (latest.location == placed or is_equal(record, latest))

    def _replica(
        self, record: ObjectRecord, placed: Location, stored: StoredObject
    ) -> tuple[ReplicaState, StoredObject | None]:
        archive = self.buckets.get(Zone.ARCHIVE)
        if archive is None:
            return ReplicaState.NOT_CONFIGURED, None
        if stored.replication in _UNFINISHED:
            return ReplicaState(stored.replication.lower()), None
        # Replication keeps version ids; a replica restored by hand has its own.
        copy = self._described(Location(archive, placed.key, placed.version_id))
        if copy:
            same = is_equal(record, copy)
            return ReplicaState.COMPLETED if same else ReplicaState.DIFFERENT, copy
        copy = self._described(Location(archive, placed.key))
        if copy and is_equal(record, copy):
            return ReplicaState.COMPLETED, copy
        # Replicated by what storage says, but not there: it was removed. No rule: none is due.
        is_due = bool(stored.replication)
        return (ReplicaState.FAILED if is_due else ReplicaState.NOT_CONFIGURED), None

    def _described(self, location: Location) -> StoredObject | None:
        try:
            return self.store.head(location)
        except ObjectMissingError:
            return None


def receipt_key(site: str, batch: str, issued_at: datetime) -> str:
    """Return the ledger key of a receipt; `receipts/<site>/<batch>/<issued at>.jws`."""
    return f"receipts/{_folder(site)}/{_folder(batch)}/{issued_at:%Y-%m-%dT%H%M%S.%fZ}.jws"


def _folder(name: str) -> str:
    """Return a name senders chose as one segment of a key; long ones by their hash."""
    quoted = quote(name, safe="")
    if len(quoted) <= _FOLDER_CHARACTERS:
        return quoted
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
