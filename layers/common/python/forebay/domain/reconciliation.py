"""What storage, catalog and replica may disagree about, who acts, and what repairs it."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from forebay.domain.findings import Owner
from forebay.domain.objects import Location, ObjectRecord
from forebay.domain.rechecks import DAMAGED
from forebay.domain.states import IN_FLIGHT, State
from forebay.events import utc_text
from forebay.names import FOLDERS, LANDING_SETTLED, PIPELINES_SITE, Folder, Tag, Zone

REPORT_SCHEMA_VERSION: Final = "1"
READMITTED_SITE: Final = "readmitted"
"""The site of a copy that arrives again because nobody knows where it came from."""
VERIFIED: Final = "verified"
REFUSED: Final = "refused"
SUPERSEDED: Final = "superseded"

SETTLED: Final = frozenset(
    {State.PLACED, State.QUARANTINED, State.DUPLICATE, State.CONFLICT, State.SUPERSEDED}
)
"""States whose arrival has been dealt with: lifecycle may take it."""
COPIED: Final = frozenset({State.PLACED, State.SUPERSEDED})
"""States in which an object must have a copy in its zone."""
HELD: Final = frozenset({State.QUARANTINED, State.CONFLICT})
"""States in which an object must have a copy in quarantine."""
REPLICATED: Final = frozenset({Zone.CLINICAL, Zone.GENOMICS})


class DifferenceKind(StrEnum):
    """One way in which storage, catalog and replica may disagree."""

    MISSING_IN_CATALOG = "missing-in-catalog"
    UNKNOWN_COPY = "unknown-copy"
    HALF_COPIED = "half-copied"
    STRAY_COPY = "stray-copy"
    FOREIGN_OBJECT = "foreign-object"
    MISSING_IN_STORAGE = "missing-in-storage"
    SIZE_DRIFT = "size-drift"
    CHECKSUM_DRIFT = "checksum-drift"
    TAG_DRIFT = "tag-drift"
    LOCK_DRIFT = "lock-drift"
    UNSETTLED_LANDING = "unsettled-landing"
    ORPHANED_DUPLICATE = "orphaned-duplicate"
    WRONG_ZONE = "wrong-zone"
    REPLICA_MISSING = "replica-missing"
    REPLICA_DRIFT = "replica-drift"
    ORPHAN_UPLOAD = "orphan-upload"
    PIPELINE_NOT_SUBMITTED = "pipeline-not-submitted"


class Repair(StrEnum):
    """What `--apply` can do about a difference; none of it deletes a stored byte."""

    REGISTER = "register the arrival"
    READMIT = "let the copy arrive again"
    PLACE = "hand the object to place_object again"
    REFUSE = "refuse readers the copy"
    RESTORE = "bring the bytes back from where they still are"
    RECHECK = "read the bytes again, heal or convict them"
    TAG = "write the tags again"
    LOCK = "lock the version again"
    SETTLE = "mark the arrival settled"
    REPLICATE = "copy into the archive"
    ABORT = "abort the upload"
    SUBMIT = "hand the reads to submit_pipeline again"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a difference means, in a sentence, who acts, and what mends it.

    `repair` is None where no program may decide; `advice` then says what a person can do.
    """

    sentence: str
    owner: Owner
    repair: Repair | None = None
    advice: str = ""


EXPLANATIONS: Final[Mapping[DifferenceKind, Explanation]] = {
    DifferenceKind.MISSING_IN_CATALOG: Explanation(
        "An arrival was never registered: its event was lost.", Owner.PLATFORM, Repair.REGISTER
    ),
    DifferenceKind.UNKNOWN_COPY: Explanation(
        "A copy names an object that the catalog does not know: the catalog lost its record.",
        Owner.PLATFORM,
        Repair.READMIT,
        "Try `forebay rebuild` first: the ledger may still have its history.",
    ),
    DifferenceKind.HALF_COPIED: Explanation(
        "A copy was made, and the worker died before the catalog said so.",
        Owner.PLATFORM,
        Repair.PLACE,
    ),
    DifferenceKind.STRAY_COPY: Explanation(
        "A readable copy belongs to an object that is not kept there.",
        Owner.PLATFORM,
        Repair.REFUSE,
    ),
    DifferenceKind.FOREIGN_OBJECT: Explanation(
        "An object lies in a zone that Forebay did not put there.",
        Owner.PLATFORM,
        advice="Find who wrote it (access log); only place_object may write to the zones.",
    ),
    DifferenceKind.MISSING_IN_STORAGE: Explanation(
        "The catalog names a version that is not in storage.",
        Owner.PLATFORM,
        Repair.RESTORE,
        "Where no equal bytes are left the record says so; ask the sender for the file again.",
    ),
    DifferenceKind.SIZE_DRIFT: Explanation(
        "A stored version has another size than its record.",
        Owner.PLATFORM,
        Repair.RECHECK,
        "Versions do not change by themselves: find out what did it.",
    ),
    DifferenceKind.CHECKSUM_DRIFT: Explanation(
        "The stored checksum of a version contradicts its record.",
        Owner.PLATFORM,
        Repair.RECHECK,
        "Versions do not change by themselves: find out what did it.",
    ),
    DifferenceKind.TAG_DRIFT: Explanation(
        "The tags of a copy are not those its record demands.", Owner.PLATFORM, Repair.TAG
    ),
    DifferenceKind.LOCK_DRIFT: Explanation(
        "A version in a locked bucket has no retention.", Owner.PLATFORM, Repair.LOCK
    ),
    DifferenceKind.UNSETTLED_LANDING: Explanation(
        "An arrival was dealt with, but is not marked so: it would never expire.",
        Owner.PLATFORM,
        Repair.SETTLE,
    ),
    DifferenceKind.ORPHANED_DUPLICATE: Explanation(
        "The original of a duplicate was lost; the duplicate's arrival holds the only bytes.",
        Owner.PLATFORM,
        Repair.PLACE,
    ),
    DifferenceKind.WRONG_ZONE: Explanation(
        "An object is kept in another zone than the one its class demands.",
        Owner.DATA_STEWARD,
        advice="Placing it anew is a decision of policy: `forebay show` names class and rule.",
    ),
    DifferenceKind.REPLICA_MISSING: Explanation(
        "A placed object has no replica in the archive.", Owner.PLATFORM, Repair.REPLICATE
    ),
    DifferenceKind.REPLICA_DRIFT: Explanation(
        "The replica of a placed object holds other bytes.", Owner.PLATFORM, Repair.REPLICATE
    ),
    DifferenceKind.ORPHAN_UPLOAD: Explanation(
        "A multipart upload was begun long ago and never completed; its parts cost money.",
        Owner.SENDER,
        Repair.ABORT,
    ),
    DifferenceKind.PIPELINE_NOT_SUBMITTED: Explanation(
        "Both mates are placed, and no pipeline run exists: the message was lost.",
        Owner.PLATFORM,
        Repair.SUBMIT,
    ),
}


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """One stored version as a listing shows it; `is_locked` is None where it does not tell."""

    location: Location
    size_bytes: int
    modified_at: datetime
    etag: str = ""
    is_locked: bool | None = None


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """A multipart upload that was begun and not completed."""

    location: Location
    upload_id: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement, with what its repair needs; `found` never names a person."""

    kind: DifferenceKind
    zone: str
    object_id: str = ""
    site: str = ""
    location: Location | None = None
    found: str = ""
    size_bytes: int = 0
    upload_id: str = ""

    @property
    def explanation(self) -> Explanation:
        """What it means and who acts."""
        return EXPLANATIONS[self.kind]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape of the report."""
        place = self.location
        shape = {
            "kind": self.kind.value,
            "zone": self.zone,
            "object_id": self.object_id,
            "site": self.site,
            "location": {
                "bucket": place.bucket,
                "key": place.key,
                "version_id": place.version_id,
            }
            if place
            else None,
            "found": self.found,
            "size_bytes": self.size_bytes,
            "upload_id": self.upload_id,
            "owner": self.explanation.owner.value,
            "repair": self.explanation.repair.value if self.explanation.repair else None,
        }
        return {name: value for name, value in shape.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True)
class Scope:
    """What to compare: all, or one zone, one site, what was written since.

    `deep` also asks storage for tags and checksums of each version, which a listing does not show.
    `grace_s` is how old something must be before it can be called a difference: what is younger is
    in flight. `resume_after` is the key after which an unfinished listing of one zone goes on.
    """

    zone: Zone | None = None
    site: str = ""
    since: datetime | None = None
    deep: bool = True
    grace_s: float = 15 * 60
    upload_days: float = 8
    resume_after: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape of the report."""
        return {
            "zone": self.zone.value if self.zone else None,
            "site": self.site or None,
            "since": utc_text(self.since) if self.since else None,
            "deep": self.deep,
            "grace_s": self.grace_s,
            "upload_days": self.upload_days,
            "resume_after": self.resume_after or None,
        }


MAX_LISTED: Final = 10_000
"""Differences a report lists; all are counted, and the rest shows once these are repaired."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one comparison; `resume_after` is set when time ran out before the end."""

    report_id: str
    started_at: datetime
    ended_at: datetime
    scope: Scope
    checked: Mapping[str, int]
    counts: Mapping[DifferenceKind, int]
    differences: tuple[Difference, ...] = ()
    resume_after: str = ""

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing differs in what was compared."""
        return not self.counts

    @property
    def is_complete(self) -> bool:
        """Tell whether all of the scope was compared."""
        return not self.resume_after

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON data; see events/schemas/reconciliation-report.json."""
        return {
            "schema_version": REPORT_SCHEMA_VERSION,
            "report_id": self.report_id,
            "started_at": utc_text(self.started_at),
            "ended_at": utc_text(self.ended_at),
            "scope": self.scope.as_dict(),
            "checked": dict(self.checked),
            "counts": {kind.value: count for kind, count in sorted(self.counts.items())},
            "differences": [difference.as_dict() for difference in self.differences],
            "truncated": sum(self.counts.values()) > len(self.differences),
            "resume_after": self.resume_after or None,
        }


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a repair plan."""

    repair: Repair
    difference: Difference


def repair_plan(differences: Iterable[Difference]) -> tuple[Action, ...]:
    """Return what can be done, each thing once, in an order in which nothing undoes another."""
    planned: dict[tuple[object, ...], Action] = {}
    for difference in differences:
        repair = difference.explanation.repair
        if repair is not None:
            # Two of a pair tell of one run, two copies of one object of one placement.
            about = difference.location if repair in _BY_LOCATION else difference.object_id
            planned.setdefault((repair, about, difference.upload_id), Action(repair, difference))
    order = list(Repair)
    return tuple(sorted(planned.values(), key=lambda action: order.index(action.repair)))


_BY_LOCATION: Final = frozenset(
    {
        Repair.REGISTER,
        Repair.READMIT,
        Repair.REFUSE,
        Repair.TAG,
        Repair.LOCK,
        Repair.SETTLE,
        Repair.ABORT,
    }
)


@dataclass(slots=True)
class Findings:
    """Differences as they come, counted without end and listed up to a bound."""

    counts: Counter[DifferenceKind] = field(default_factory=Counter)
    listed: list[Difference] = field(default_factory=list)

    def add(self, differences: Iterable[Difference]) -> None:
        """Take differences in."""
        for difference in differences:
            self.counts[difference.kind] += 1
            if len(self.listed) < MAX_LISTED:
                self.listed.append(difference)


def expected_tags(record: ObjectRecord, copy: Location) -> dict[str, str]:
    """Return the tags a copy must have; {} while its object is under way."""
    if copy == record.held:
        reason = {Tag.REASON.value: record.finding.code.value} if record.finding else {}
        always = {Tag.OBJECT_ID.value: record.object_id, Tag.VERDICT.value: REFUSED}
        return always | (reason if record.state in HELD else {})
    if record.state is State.PLACED:
        return {
            Tag.OBJECT_ID.value: record.object_id,
            Tag.CLASS.value: record.object_class,
            Tag.RETENTION.value: record.retention_class,
            Tag.VERDICT.value: VERIFIED,
        }
    if record.state in (State.QUARANTINED, State.SUPERSEDED):
        verdict = REFUSED if record.state is State.QUARANTINED else SUPERSEDED
        return {Tag.OBJECT_ID.value: record.object_id, Tag.VERDICT.value: verdict}
    return {}


def kept_at(record: ObjectRecord) -> Location | None:
    """Return where a record's bytes must be, None where they may be gone."""
    return None if record.state in HELD and is_known_damage(record) else counted_copy(record)


def counted_copy(record: ObjectRecord) -> Location | None:
    """Return the copy whose bytes an object counts on, None where others or none are meant.

    What was placed and is held now, say, lies in its zone unreadable: its bytes matter to nobody.
    """
    if record.state in COPIED:
        return record.placed
    if record.state in HELD:
        return record.held
    return record.kept_at if record.state in IN_FLIGHT else None


def is_known_damage(record: ObjectRecord) -> bool:
    """Tell whether the recheck has found the stored bytes changed or gone, and said so."""
    return record.finding is not None and record.finding.code in DAMAGED


def is_settled(tags: Mapping[str, str]) -> bool:
    """Tell whether lifecycle may take an arrival with these tags."""
    return tags.get(Tag.LANDING.value) == LANDING_SETTLED


def is_half_copied(record: ObjectRecord, zone: Zone) -> bool:
    """Tell whether a copy that no record names is what `place_object` was about to record."""
    if zone is Zone.QUARANTINE:
        # What is known to be damaged is not held: copies that did not count may lie there.
        return record.state in HELD and record.held is None and not is_known_damage(record)
    return record.state is State.VERIFIED


def belongs_in(zone: Zone | None, key: str, class_zone: str = "") -> bool:
    """Tell whether a placed key may lie in a zone: by its folder, and by its class where known."""
    if zone is None or (class_zone and class_zone != zone.value):
        return False
    return key.partition("/")[0] in FOLDERS.get(zone, ())


def landing_of(zone: Zone, key: str, object_id: str) -> tuple[Zone, str] | None:
    """Return where a placed copy can arrive again, None for a key Forebay never made.

    Most keys hold the one they arrived under; that of an instance does not.
    """
    folder, _, rest = key.partition("/")
    if zone is Zone.CLINICAL and folder == Folder.DICOM:
        return Zone.LANDING_IMAGING, f"{READMITTED_SITE}/{object_id}.dcm"
    if zone is Zone.DERIVED and folder == Folder.REPORTS:
        return Zone.LANDING_GENOMICS, f"{PIPELINES_SITE}/{rest}"
    if zone is Zone.GENOMICS and folder in FOLDERS[zone] and _NAMED.fullmatch(rest):
        return Zone.LANDING_GENOMICS, rest
    return None


_NAMED: Final = re.compile(r"[^/]+/.+")
