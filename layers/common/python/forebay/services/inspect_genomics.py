"""inspect_genomics: judge reads, checksum files and pipeline reports in one streaming pass."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from forebay.domain.classification import facts_of
from forebay.domain.conflicts import identity_of
from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.inspection import Inspection
from forebay.domain.integrity import Algorithm, merged
from forebay.domain.naming import is_safe_name
from forebay.domain.objects import Kind, ObjectRecord
from forebay.domain.sequencing import ReadsFile, parse_reads_name
from forebay.domain.states import State
from forebay.names import Step
from forebay.services.inspecting import Inspector, Result, digest_claim, refuse_unread
from forebay.services.leasing import Delivery, Leasing
from forebay.services.ports import Claim, Classifier, Declarations
from forebay.services.record_declarations import RecordDeclarations

UNKNOWN_RUN = "unknown"
CHECKSUMS_MAX_BYTES = 16 * 1024 * 1024


class Described(Protocol):
    """What a parser understood of a file."""

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape stored in the catalog."""


class ParseStream(Protocol):
    """A parser of `formats` that reads a file once, passed in by the composition root."""

    def __call__(
        self, chunks: Iterable[bytes], *, name: str, algorithms: Collection[Algorithm]
    ) -> Inspection[Described]:
        """Inspect one file."""


@dataclass(frozen=True, slots=True)
class InspectGenomics:
    """Inspect one received object that is not DICOM."""

    inspector: Inspector
    parsers: Mapping[Kind, ParseStream]
    record_declarations: RecordDeclarations
    classifier: Classifier
    lease_above_bytes: int = 64 * 1024 * 1024
    """Reading a larger object takes a second and more: one delivery at a time."""

    def __call__(self, object_id: str, *, delivery: Delivery | None = None) -> Result:
        """Move the object out of RECEIVED; does nothing when that was done before.

        A delivery that finds another one at a large object leaves it alone (see `leasing`).

        Raises:
            Trouble: storage or catalog failed, or the record moved meanwhile; try again.
        """
        before, declarations = self.inspector.open(object_id)
        if before.state is not State.RECEIVED:
            return Result.ALREADY_DONE
        if delivery is None or before.size_bytes <= self.lease_above_bytes:
            return self._inspected(before, declarations)
        leasing = Leasing(self.inspector.catalog, self.inspector.clock, Step.INSPECT_GENOMICS)
        done = leasing.alone(before, delivery, lambda: self._inspected(before, declarations))
        return done or Result.IN_PROGRESS

    def _inspected(self, before: ObjectRecord, declarations: Declarations) -> Result:
        if findings := refuse_unread(before):
            return self.inspector.quarantine(before, before, findings, declarations)
        if before.kind in self.parsers:
            return self._parsed(before, declarations)
        if before.kind is Kind.CHECKSUMS:
            return self._checksums(before, declarations)
        if before.kind in (Kind.REPORT, Kind.INDEX):
            return self._whole(before, declarations)
        return self.inspector.quarantine(before, before, [_unsupported()], declarations)

    def _parsed(self, before: ObjectRecord, declarations: Declarations) -> Result:
        after = before
        if not _was_read(before):
            wanted = {d.algorithm for d in merged(before.declared, declarations.digests)}
            inspection = self.parsers[before.kind](
                self.inspector.chunks(before),
                name=_file_name(before),
                algorithms={Algorithm.MD5, Algorithm.SHA256, *wanted},
            )
            self.inspector.check_read(before, inspection.digests)
            after = _described(before, inspection)
            # A digest mismatch explains a broken file better than the place where it broke.
            after, judgement = self.inspector.judge(after, declarations)
            if judgement.finding or inspection.record is None:
                findings = (judgement.finding, *inspection.findings)
                return self.inspector.quarantine(
                    before, after, [f for f in findings if f], declarations
                )
        return self._judge_and_verify(before, after, declarations)

    def _judge_and_verify(
        self, before: ObjectRecord, after: ObjectRecord, declarations: Declarations
    ) -> Result:
        after, judgement = self.inspector.judge(after, declarations)
        if judgement.finding:
            return self.inspector.quarantine(before, after, [judgement.finding], declarations)
        demanded = self.classifier.classify(facts_of(after)).needs_sender_digest
        if demanded and judgement.convincing is None:
            return self.inspector.await_digest(before, after, declarations)
        claims = [digest_claim(after), Claim(*identity_of(after))]
        return self.inspector.verify(before, after, claims, declarations)

    def _checksums(self, before: ObjectRecord, declarations: Declarations) -> Result:
        if before.size_bytes > CHECKSUMS_MAX_BYTES:
            return self.inspector.quarantine(before, before, [_too_large(before)], declarations)
        data = b"".join(self.inspector.chunks(before))
        digests, _ = self.inspector.digest_chunks([data], [Algorithm.SHA256])
        self.inspector.check_read(before, digests)
        after = replace(before, digests=merged(before.digests, digests))
        after, judgement = self.inspector.judge(after, declarations)
        if judgement.finding:
            # A damaged list must not speak of others.
            return self.inspector.quarantine(before, after, [judgement.finding], declarations)
        findings, metadata = self.record_declarations(before, data)
        after = replace(after, metadata=metadata)
        if findings:
            return self.inspector.quarantine(before, after, findings, declarations)
        return self.inspector.verify(before, after, [digest_claim(after)], declarations)

    def _whole(self, before: ObjectRecord, declarations: Declarations) -> Result:
        after = before
        if not after.digest(Algorithm.SHA256):
            after = self.inspector.read_digests(after, ())
        after, judgement = self.inspector.judge(after, declarations)
        if judgement.finding:
            return self.inspector.quarantine(before, after, [judgement.finding], declarations)
        return self.inspector.verify(before, after, [digest_claim(after)], declarations)


def _described(record: ObjectRecord, inspection: Inspection[Described]) -> ObjectRecord:
    digests = merged(record.digests, inspection.digests)
    if inspection.record is None:
        return replace(record, digests=digests)
    return replace(
        record,
        digests=digests,
        metadata=_metadata(record, inspection.record),
        warnings=record.warnings + inspection.findings,
    )


def _metadata(record: ObjectRecord, understood: Described) -> Mapping[str, Any]:
    if isinstance(understood, ReadsFile):
        return _reads_metadata(record, understood)
    return understood.as_metadata()


def _reads_metadata(record: ObjectRecord, reads: ReadsFile) -> Mapping[str, Any]:
    name = parse_reads_name(_file_name(record))
    return {
        **reads.as_metadata(),
        "sample": name.sample,
        "mate": name.mate or (f"R{reads.read_numbers[0]}" if len(reads.read_numbers) == 1 else ""),
        "lane": name.lane or "-",
        "chunk": name.chunk or "-",
        # One flow cell run twice has two run numbers; a file of mixed origin has no run at all.
        "run": _run_name(reads),
    }


def _file_name(record: ObjectRecord) -> str:
    return record.location.key.rsplit("/", 1)[-1]


def _run_name(reads: ReadsFile) -> str:
    parts = (reads.instruments, reads.runs, reads.flow_cells)
    if all(len(part) == 1 for part in parts):
        name = "_".join(part[0] for part in parts)
        # It stands in keys, and read names may hold anything.
        return name if is_safe_name(name) else UNKNOWN_RUN
    return UNKNOWN_RUN


def _was_read(record: ObjectRecord) -> bool:
    """Tell whether an earlier pass, before the object had to wait, left all that is needed."""
    return bool(record.metadata and record.digest(Algorithm.SHA256))


def _too_large(record: ObjectRecord) -> Finding:
    return Finding(
        code=ReasonCode.LIMIT_EXCEEDED,
        message="The checksum file is implausibly large; send one list per run or folder.",
        owner=Owner.SENDER,
        expected=f"at most {CHECKSUMS_MAX_BYTES} bytes",
        found=f"{record.size_bytes} bytes",
    )


def _unsupported() -> Finding:
    return Finding(
        code=ReasonCode.UNSUPPORTED_FORMAT,
        message=(
            "The file's name says none of the kinds this bucket takes. DICOM belongs into the"
            " imaging landing bucket; reads end in .fastq.gz, alignments in .bam or .cram,"
            " variants in .vcf.gz or .bcf."
        ),
        owner=Owner.SENDER,
        expected="reads, alignments, variants, indexes, run files or checksum lists",
        found="another kind of file",
    )
