"""What `forebay find` can be asked, and how the catalog's indexes answer it.

Imaging is found by study: patient, accession, modality and range of study dates. Everything else is
found by object: sample, sequencing run, and state with the range of times it was entered. Every
question is answered by queries of an index; what an index does not cover is filtered afterwards.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import islice

from forebay.adapters.catalog_reader import CatalogReader, Study
from forebay.domain.objects import ObjectRecord
from forebay.domain.runs import PipelineRun
from forebay.domain.states import State
from forebay_cli.failures import CommandError

Tokens = Callable[[str, str], str]
"""(DICOM keyword, value) → the catalog's search token of a patient identifier."""

EPOCH = date(1900, 1, 1)


@dataclass(frozen=True, slots=True)
class Criteria:
    """What to find; empty means "no matter"."""

    patient: str = ""
    accession: str = ""
    modality: str = ""
    since: date | None = None
    until: date | None = None
    sample: str = ""
    run: str = ""
    state: State | None = None
    site: str = ""
    limit: int = 50

    @property
    def by_study(self) -> bool:
        """Whether this asks for imaging studies."""
        dated = bool(self.since or self.until) and not self.by_object
        return bool(self.patient or self.accession or self.modality or dated)

    @property
    def by_object(self) -> bool:
        """Whether this asks for single objects."""
        return bool(self.sample or self.run or self.state)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    studies: tuple[Study, ...] = ()
    objects: tuple[ObjectRecord, ...] = ()
    runs: tuple[PipelineRun, ...] = ()


def search(catalog: CatalogReader, criteria: Criteria, tokens: Tokens) -> Found:
    """Answer a search; raises CommandError when it asks for nothing, or for two kinds of thing."""
    if criteria.by_study and criteria.by_object:
        raise CommandError(
            "Patient, accession and modality find studies; sample, run and state find objects.",
            "Ask for one of the two at a time.",
        )
    if criteria.by_study:
        return Found(studies=tuple(_studies(catalog, criteria, tokens)))
    if criteria.sample:
        return _sample(catalog, criteria)
    if criteria.run:
        records = catalog.files_of_sequencing_run(criteria.run)
        return Found(objects=_matching(records, criteria))
    if criteria.state or criteria.site:
        return Found(objects=_in_states(catalog, criteria))
    raise CommandError("Nothing to find was named.", "See what can be: forebay find --help")


def _studies(catalog: CatalogReader, criteria: Criteria, tokens: Tokens) -> Iterable[Study]:
    found = _by_best_index(catalog, criteria, tokens)
    also = _by_accession(catalog, criteria, tokens) if criteria.patient else None
    kept = (
        study
        for study in found
        if (not criteria.modality or criteria.modality in study.modalities)
        and (not criteria.site or study.site == criteria.site)
        and (also is None or study.study_instance_uid in also)
    )
    return islice(kept, criteria.limit)


def _by_best_index(catalog: CatalogReader, criteria: Criteria, tokens: Tokens) -> list[Study]:
    """Ask the index that narrows most."""
    for what, keyword, value in (
        ("patientid", "PatientID", criteria.patient),
        ("accessionnumber", "AccessionNumber", criteria.accession),
    ):
        if value:
            token = tokens(keyword, value)
            return catalog.studies(what, token, since=criteria.since, until=criteria.until)
    if criteria.modality:
        return catalog.studies(
            "modality", criteria.modality, since=criteria.since, until=criteria.until
        )
    return catalog.studies_between(
        criteria.since or EPOCH, criteria.until or datetime.now(UTC).date()
    )


def _by_accession(catalog: CatalogReader, criteria: Criteria, tokens: Tokens) -> set[str] | None:
    if not criteria.accession:
        return None
    token = tokens("AccessionNumber", criteria.accession)
    return {study.study_instance_uid for study in catalog.studies("accessionnumber", token)}


def _sample(catalog: CatalogReader, criteria: Criteria) -> Found:
    sites = (criteria.site,) if criteria.site else ()
    return Found(
        objects=_matching(catalog.files_of_sample(criteria.sample, sites=sites), criteria),
        runs=tuple(catalog.runs_of_sample(criteria.sample, sites=sites)),
    )


def _in_states(catalog: CatalogReader, criteria: Criteria) -> tuple[ObjectRecord, ...]:
    ids: list[str] = []
    for state in [criteria.state] if criteria.state else State:
        ids += catalog.in_state(
            state,
            sites=(criteria.site,) if criteria.site else (),
            since=_start_of(criteria.since),
            until=_end_of(criteria.until),
            limit=criteria.limit,
        )
    return tuple(catalog.objects(ids[: criteria.limit]))


def _matching(records: Iterable[ObjectRecord], criteria: Criteria) -> tuple[ObjectRecord, ...]:
    low, high = _start_of(criteria.since), _end_of(criteria.until)
    kept = (
        record
        for record in records
        if (criteria.state is None or record.state is criteria.state)
        and (not criteria.site or record.site == criteria.site)
        and (not criteria.run or record.metadata.get("run") == criteria.run)
        and (low is None or record.state_since >= low)
        and (high is None or record.state_since <= high)
    )
    return tuple(islice(kept, criteria.limit))


def _start_of(day: date | None) -> datetime | None:
    return datetime.combine(day, time.min, UTC) if day else None


def _end_of(day: date | None) -> datetime | None:
    return datetime.combine(day, time.max, UTC) if day else None
