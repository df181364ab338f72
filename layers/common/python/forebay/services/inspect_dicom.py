"""inspect_dicom: judge one DICOM object by header and length, and claim its SOP instance."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from forebay.domain.conflicts import identity_of
from forebay.domain.imaging import DicomInstance
from forebay.domain.inspection import ByteSource, Inspection
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State
from forebay.services.inspecting import Inspector, Result, StoredSource, refuse_unread
from forebay.services.ports import Claim, Pseudonyms

TOKEN_KEYWORDS = ("PatientID", "AccessionNumber")


class ParseDicom(Protocol):
    """`formats.dicom.inspect_dicom`, passed in by the composition root."""

    def __call__(self, source: ByteSource) -> Inspection[DicomInstance]:
        """Inspect one file."""


@dataclass(frozen=True, slots=True)
class InspectDicom:
    """Inspect one received DICOM object."""

    inspector: Inspector
    parse: ParseDicom
    pseudonyms: Pseudonyms

    def __call__(self, object_id: str) -> Result:
        """Move the object out of RECEIVED; does nothing when that was done before.

        Raises:
            Trouble: storage or catalog failed, or the record moved meanwhile; try again.
        """
        before, declarations = self.inspector.open(object_id)
        if before.state is not State.RECEIVED:
            return Result.ALREADY_DONE
        if findings := refuse_unread(before):
            return self.inspector.quarantine(before, before, findings, declarations)
        self.inspector.check_copy(before)
        inspection = self.parse(StoredSource(self.inspector.store, before))
        if inspection.record is None:
            return self.inspector.quarantine(before, before, inspection.findings, declarations)
        after, judgement = self.inspector.judge(
            self._described(before, inspection.record, inspection), declarations
        )
        if judgement.finding:
            return self.inspector.quarantine(before, after, [judgement.finding], declarations)
        return self.inspector.verify(before, after, [Claim(*identity_of(after))], declarations)

    def _described(
        self,
        record: ObjectRecord,
        instance: DicomInstance,
        inspection: Inspection[DicomInstance],
    ) -> ObjectRecord:
        return replace(
            record,
            metadata=instance.as_metadata(),
            subject=dict(instance.subject),
            subject_tokens=tokens_of(instance.subject, self.pseudonyms),
            warnings=record.warnings + inspection.findings,
        )


def tokens_of(subject: Mapping[str, str], pseudonyms: Pseudonyms) -> dict[str, str]:
    """Return the search tokens of a person's attributes."""
    return {
        keyword: pseudonyms.token(keyword, value)
        for keyword in TOKEN_KEYWORDS
        if (value := subject.get(keyword, "").strip())
    }
