"""What a checksum file says of other objects, and what follows for those that came before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from forebay.domain.arrivals import read_key
from forebay.domain.checksum_names import FETCH_NAME, is_bag_tag_file, sidecar_target
from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.integrity import Digest, Witness, judge, merged
from forebay.domain.objects import Kind, ObjectRecord, is_newer
from forebay.domain.states import State
from forebay.names import Zone
from forebay.services.inspecting import Inspector
from forebay.services.ports import Change, Declarations


class DeclaredEntry(Protocol):
    """One line of a checksum file."""

    @property
    def path(self) -> str:
        """Path as written; '' when the file holds only a digest."""

    @property
    def algorithm(self) -> Any:
        """A member of Algorithm."""

    @property
    def value(self) -> str:
        """Lower-case hex."""


class ParsedChecksums(Protocol):
    """What `formats.manifests.parse_checksum_file` returns."""

    @property
    def entries(self) -> Sequence[DeclaredEntry]:
        """The declarations that could be read."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What could not."""


class ParseChecksums(Protocol):
    """`formats.manifests.parse_checksum_file`, passed in by the composition root."""

    def __call__(self, data: bytes, *, name: str) -> ParsedChecksums:
        """Parse one file."""


@dataclass(frozen=True, slots=True)
class RecordDeclarations:
    """Record the declarations of one checksum file and act on the objects they speak of."""

    inspector: Inspector
    parse: ParseChecksums

    def __call__(
        self, record: ObjectRecord, data: bytes
    ) -> tuple[Sequence[Finding], Mapping[str, Any]]:
        """Return the findings about the file and its metadata.

        A file with one bad line declares nothing: half a manifest is worse than none. Of a bag,
        its manifests do, and its other tag files are kept as they are.
        """
        if is_bag_tag_file(record.location.key):
            return _fetching(record), {}
        parsed = self.parse(data, name=record.location.key.rsplit("/", 1)[-1])
        if parsed.findings:
            return parsed.findings, {}
        targets = declared_targets(record, parsed.entries)
        if not targets:
            return [_nothing_declared()], {}
        if newer := self._superseded_by(record):
            return (), {"superseded_by": newer}
        for key, digests in targets.items():
            self._declare(record.location.bucket, key, digests)
        return (), {"declares": len(targets)}

    def _superseded_by(self, record: ObjectRecord) -> str:
        """Return the id of a later version of the checksum file; events come in any order."""
        location = record.location
        versions = self.inspector.catalog.versions_of(location.bucket, location.key)
        latest = _latest(versions) if versions else record
        return "" if latest.object_id == record.object_id else latest.object_id

    def _declare(self, bucket: str, key: str, digests: Sequence[Digest]) -> None:
        catalog = self.inspector.catalog
        declared = catalog.declare(bucket, key, digests)
        versions = _present(catalog.versions_of(bucket, key))
        latest = _latest(versions) if versions else None
        for version in versions:
            # The same file sent twice waits twice.
            if version is not latest and version.state is State.AWAITING_DIGEST:
                self._reconsider(version, declared)
        if latest and latest.state is State.DUPLICATE:
            latest = catalog.get(latest.original_id)
        if latest:
            self._reconsider(latest, declared)

    def _reconsider(self, record: ObjectRecord, declared: Declarations) -> None:
        """Act on a version of a key that arrived before its checksum file."""
        if record.state is State.AWAITING_DIGEST or _may_be_cleared(record, declared.digests):
            now = self.inspector.clock.now()
            # What is in quarantine is read from there: the landing copy may have expired.
            moved = record.moved_to(State.RECEIVED, now, finding=None)
        elif record.state in (State.VERIFIED, State.PLACED) and not _was_declared(record):
            moved = self._with_late_evidence(record, declared)
        else:
            return
        self.inspector.catalog.apply(Change(record, moved))

    def _with_late_evidence(self, record: ObjectRecord, declared: Declarations) -> ObjectRecord:
        judged, judgement = self.inspector.judge(record, declared)
        if judgement.finding:
            now = self.inspector.clock.now()
            facts = {"finding": judgement.finding, "digests": judged.digests}
            return record.moved_to(State.QUARANTINED, now, **facts)
        return record.amended(self.inspector.clock.now(), digests=judged.digests)


def declared_targets(
    record: ObjectRecord, entries: Sequence[DeclaredEntry]
) -> dict[str, list[Digest]]:
    """Return what the lines of a checksum file declare, by the key they speak of."""
    key = record.location.key
    folder = key.rpartition("/")[0]
    sidecar_of = _sidecar_of(key, entries)
    targets: dict[str, list[Digest]] = {}
    for entry in entries:
        target = sidecar_of or f"{folder}/{entry.path.removeprefix('./')}"
        # Named by key, so that a corrected checksum file replaces what the first one said.
        targets.setdefault(target, []).append(
            Digest(entry.algorithm, entry.value, Witness.SENDER_MANIFEST, key)
        )
    return targets


def _sidecar_of(key: str, entries: Sequence[DeclaredEntry]) -> str:
    """Return the key a sidecar speaks of by its own name, '' when its line names another file.

    `reads.fastq.gz.md5` speaks of its neighbour whatever the file was called on its writer's
    machine; `sample.md5` is a list that happens to hold one line.
    """
    target = sidecar_target(key)
    if len(entries) != 1 or not target:
        return ""
    written = entries[0].path.rpartition("/")[2]
    is_reads = read_key(Zone.LANDING_GENOMICS, target).kind is Kind.FASTQ
    return target if is_reads or written in ("", target.rpartition("/")[2]) else ""


def _present(versions: Sequence[ObjectRecord]) -> Sequence[ObjectRecord]:
    """Return the versions a checksum file can speak of: not those their sender took back."""
    return [version for version in versions if version.state is not State.DELETED]


def _latest(versions: Sequence[ObjectRecord]) -> ObjectRecord:
    latest = versions[0]
    for version in versions[1:]:
        if is_newer(version.sequencer, latest.sequencer) or (
            version.sequencer == latest.sequencer and version.arrived_at > latest.arrived_at
        ):
            latest = version
    return latest


def _was_declared(record: ObjectRecord) -> bool:
    """Tell whether a checksum file spoke for this version before: a later one means another."""
    return any(d.witness is Witness.SENDER_MANIFEST for d in record.digests)


def _may_be_cleared(record: ObjectRecord, declared: Sequence[Digest]) -> bool:
    """Tell whether a refusal rested on a wrong checksum that a newer checksum file corrects."""
    if record.state is not State.QUARANTINED or record.finding is None:
        return False
    if record.finding.code is not ReasonCode.DIGEST_MISMATCH:
        return False
    own = [d for d in record.declared if d.witness is not Witness.SENDER_MANIFEST]
    judgement = judge(merged(own, declared), record.evidence)
    return judgement.finding is None and judgement.convincing is not None


def _fetching(record: ObjectRecord) -> list[Finding]:
    """Return the finding on a bag that is not whole: no address of a sender's is asked."""
    if record.location.key.rpartition("/")[2] != FETCH_NAME:
        return []
    return [
        Finding(
            code=ReasonCode.BAG_FETCH_REFUSED,
            message="The bag expects files to be fetched from elsewhere, which Forebay does not do;"
            " send them in the bag.",
            owner=Owner.SENDER,
            expected="every file inside the bag",
            found="fetch.txt",
        )
    ]


def _nothing_declared() -> Finding:
    return Finding(
        code=ReasonCode.MANIFEST_MALFORMED,
        message="The checksum file declares no digest; write one line per file and send it again.",
        owner=Owner.SENDER,
        expected="lines of digest and file name",
        found="none",
    )
