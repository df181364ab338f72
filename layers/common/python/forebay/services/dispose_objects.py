"""dispose_objects: delete what a disposition lists, unless something keeps it, and prove it.

For each object, children before what they were made from:

    read     record · scopes of it and its parents · their exceptions        consistent reads
    S3       which versions belong to it, and their locks
    write    ┌ record  → DELETED, without the person      IF as it was read
       one   │ entry   → DELETING, with these versions    IF nobody decided about it
       trans-│ scopes  CHECK each says what it said       a hold approved up to here wins:
       action└ request CHECK it is being executed         refused, read again, the object is kept
      │      a crash here: nobody finds the object any more, its bytes are there; the entry says so
    S3       each version deleted; what storage locks stays, and is reported
      │      a crash here: deleted again, which changes nothing
    write    entry → REMOVED, with what storage answered

The record first: no byte is lost that no decision speaks of, S3's own event finds a record that
says DELETED already, and nobody can read what is about to go. The bytes first would be a loss for
which nobody stands if the hold came, or the worker died, in between.
"""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.policy.disposition import (
    CERTIFICATE_TYPE,
    Block,
    Copy,
    Disposition,
    Entry,
    Listed,
    Outcome,
    Stage,
    as_asked,
    certificate_document,
    disposed,
    fingerprint,
    is_stored,
    listed,
)
from forebay.domain.policy.exceptions import Scope, ScopeKind, person_of
from forebay.domain.receipts import signed, signing_input
from forebay.errors import StaleRecordError
from forebay.services.ports import (
    Clock,
    Dispositions,
    Erasure,
    ObjectsInScope,
    ObjectStore,
    Shredder,
    Signer,
)
from forebay.services.request_disposition import (
    WORKERS,
    Refused,
    Surveyor,
    certificate_key,
    read_request,
)

CERTIFICATE_CONTENT_TYPE: Final = "application/jose"
ATTEMPTS: Final = 5
_NO_DATE: Final = "-"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a disposition has come; `left` objects need another run."""

    disposition: Disposition
    left: int
    removed: int = 0
    kept: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class DisposeObjects:
    """Carry out approved dispositions."""

    surveyor: Surveyor
    dispositions: Dispositions
    scopes: ObjectsInScope
    shredder: Shredder
    store: ObjectStore
    signer: Signer
    clock: Clock
    workers: int = WORKERS

    def __call__(
        self, disposition_id: str, *, is_time_up: Callable[[], bool] = lambda: False
    ) -> Progress | Refused:
        """Work off a disposition until it is done or time is up; doing it again is harmless.

        Raises:
            Trouble: storage or catalog failed, or a record keeps moving; try again.
        """
        found = self.dispositions.get(disposition_id)
        if found is None:
            return Refused(f"No disposition {disposition_id} is known.")
        if found.stage in (Stage.REQUESTED, Stage.REFUSED):
            return Refused(f"Disposition {disposition_id} is {found.stage.value}: not approved.")
        document = read_request(self.store, found.request, found.approved_digest)
        asked = as_asked(found, document) if document else None
        if document is None or asked is None:
            return Refused(
                f"The list of {disposition_id} in the ledger is not the one that was approved."
                " Nothing was deleted on it now; find out who changed it."
            )
        if person_of(asked.requested_by) == person_of(asked.decided_by):
            return Refused(f"One person asked for {disposition_id} and approved it.")
        found = asked
        if found.stage is Stage.APPROVED:
            found = self._moved(found, found.changed(Stage.EXECUTING))
        if found.stage is Stage.EXECUTING:
            self._work_off(found, listed(document), is_time_up)
        return self._finished(found, len(listed(document)))

    def _work_off(
        self, disposition: Disposition, objects: tuple[Listed, ...], is_time_up: Callable[[], bool]
    ) -> None:
        done = {
            each.object_id: each for each in self.dispositions.entries(disposition.disposition_id)
        }

        def one(each: Listed) -> None:
            entry = done.get(each.object_id)
            if is_time_up() or (entry and entry.outcome is not Outcome.DELETING):
                return
            entry = entry or self._decided(disposition, each)
            if entry.outcome is Outcome.DELETING:
                self._erase(disposition, entry)

        with ThreadPoolExecutor(self.workers, thread_name_prefix="dispose") as pool:
            for group in self._groups(objects):
                # All children are gone, or kept, before anything they were made from is looked at.
                for _ in pool.map(one, group):
                    pass

    def _groups(self, objects: tuple[Listed, ...]) -> Iterator[list[Listed]]:
        yield from (list(group) for _, group in itertools.groupby(objects, lambda o: o.generation))

    def _decided(self, disposition: Disposition, wanted: Listed) -> Entry:
        """Decide about one object: keep it, or let it go in the catalog."""
        for attempt in range(ATTEMPTS):
            known = self.dispositions.entry(disposition.disposition_id, wanted.object_id)
            if known:
                return known
            try:
                return self._try(disposition, wanted)
            except StaleRecordError:
                # A hold, perhaps, or another run of this disposition: look at everything again.
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _try(self, disposition: Disposition, wanted: Listed) -> Entry:
        record = self.surveyor.catalog.get(wanted.object_id)
        now = self.clock.now()
        if record is None or fingerprint(record) != wanted.fingerprint:
            says = "it is not as it was when its removal was asked for"
            skipped = Entry(wanted.object_id, Outcome.SKIPPED, now, says=says)
            return self.dispositions.note(disposition.disposition_id, skipped)
        standing = self.surveyor.standing(record)
        copies = self.surveyor.copies(record)
        blocks = self.surveyor.blocks(record, standing, copies, now, basis=disposition.basis)
        if blocks:
            return self._kept(disposition, record, blocks)
        keeps_tokens = bool(record.subject_tokens) and self._has_stored_children(record)
        after = disposed(record, disposition.disposition_id, now, keeps_tokens=keeps_tokens)
        entry = Entry(
            record.object_id,
            Outcome.DELETING,
            now,
            size_bytes=record.size_bytes,
            digests=record.evidence,
            copies=copies,
            study=str(record.metadata.get("StudyInstanceUID", "")),
            date=str(record.metadata.get("StudyDate") or _NO_DATE),
            tokens={} if keeps_tokens else record.subject_tokens,
        )
        self.dispositions.erase(
            Erasure(disposition.disposition_id, record, after, entry, standing.by_scope())
        )
        return entry

    def _kept(
        self, disposition: Disposition, record: ObjectRecord, blocks: tuple[Block, ...]
    ) -> Entry:
        entry = Entry(
            record.object_id,
            Outcome.KEPT,
            self.clock.now(),
            size_bytes=record.size_bytes,
            blocks=blocks,
        )
        return self.dispositions.note(disposition.disposition_id, entry)

    def _has_stored_children(self, record: ObjectRecord) -> bool:
        made = self.scopes.objects(Scope(ScopeKind.OBJECT, record.object_id))
        others = (self.surveyor.catalog.get(each) for each in made if each != record.object_id)
        return any(each and is_stored(each) for each in others)

    def _erase(self, disposition: Disposition, entry: Entry) -> None:
        """Delete the versions an entry lists; those that are gone are deleted already."""
        entry = self._with_latecomers(disposition, entry)
        copies = tuple(self._shredded(copy) for copy in entry.copies)
        done = replace(entry, outcome=Outcome.REMOVED, at=self.clock.now(), copies=copies)
        self.dispositions.settle(disposition.disposition_id, done)

    def _with_latecomers(self, disposition: Disposition, entry: Entry) -> Entry:
        """Add versions that another step was making while the object was let go."""
        record = self.surveyor.catalog.get(entry.object_id)
        known = {copy.location for copy in entry.copies}
        found = self.surveyor.copies(record) if record else ()
        late = tuple(copy for copy in found if copy.location not in known)
        if late:
            entry = replace(entry, copies=(*entry.copies, *late))
            self.dispositions.settle(disposition.disposition_id, entry)
        return entry

    def _shredded(self, copy: Copy) -> Copy:
        return replace(copy, left=self.shredder.delete(copy.location))

    def _finished(self, disposition: Disposition, objects: int) -> Progress:
        """Forget search entries, certify, and close a disposition of which nothing is left."""
        entries = list(self.dispositions.entries(disposition.disposition_id))
        settled = [each for each in entries if each.outcome is not Outcome.DELETING]
        left = objects - len(settled)
        if not left and disposition.stage is Stage.EXECUTING:
            self._forget(disposition, settled)
            certificate = self._certified(disposition, settled)
            done = disposition.changed(Stage.DONE, certificate=certificate)
            disposition = self._moved(disposition, done)
        by_outcome = [each.outcome for each in settled]
        return Progress(
            disposition,
            left,
            removed=by_outcome.count(Outcome.REMOVED),
            kept=by_outcome.count(Outcome.KEPT),
            skipped=by_outcome.count(Outcome.SKIPPED),
        )

    def _forget(self, disposition: Disposition, entries: list[Entry]) -> None:
        """Remove what led from the person to the studies; then the entries' own tokens."""
        carrying = [each for each in entries if each.tokens]
        tokens = {(e.study, e.date, pair) for e in carrying if e.study for pair in e.tokens.items()}
        for study, date, (name, token) in sorted(tokens):
            self.dispositions.forget(study, date, {name: token})
        for each in carrying:
            self.dispositions.settle(disposition.disposition_id, replace(each, tokens={}))

    def _certified(self, disposition: Disposition, entries: list[Entry]) -> Location:
        ledger = disposition.request.bucket
        document = certificate_document(
            disposition, entries, deployment=ledger, issued_at=self.clock.now()
        )
        text = signing_input(document, self.signer.key_id, typ=CERTIFICATE_TYPE)
        jws = signed(text, self.signer.sign(text))
        place = Location(ledger, certificate_key(disposition.disposition_id))
        return self.store.put(place, jws, content_type=CERTIFICATE_CONTENT_TYPE)

    def _moved(self, before: Disposition, after: Disposition) -> Disposition:
        """Move a disposition on; another run may have done so."""
        try:
            self.dispositions.decide(before, after)
        except StaleRecordError:
            return self.dispositions.get(before.disposition_id) or after
        return after
