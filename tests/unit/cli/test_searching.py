"""Which index answers which question."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest

from forebay.adapters.catalog_reader import Study
from forebay.domain.objects import ObjectRecord
from forebay.domain.states import State
from forebay_cli.failures import CommandError
from forebay_cli.searching import Criteria, Found, search
from tests.unit.fakes import any_record

CT = Study("1.2.1", "20260301", "north", ("CT",), ("1.2.1.1",))
MR = Study("1.2.2", "20260302", "south", ("MR",), ("1.2.2.1",))


@dataclass
class FakeReader:
    """Answers with what it holds, and remembers what it was asked."""

    by_index: dict[tuple[str, str], list[Study]] = field(default_factory=dict)
    records: list[ObjectRecord] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def studies(self, what: str, value: str, **_: Any) -> list[Study]:
        self.asked.append((what, value))
        return self.by_index.get((what, value), [])

    def studies_between(self, since: date, until: date) -> list[Study]:
        self.asked.append((since, until))
        return [CT, MR]

    def in_state(self, state: State, **_: Any) -> list[str]:
        return [r.object_id for r in self.records if r.state is state]

    def objects(self, ids: list[str]) -> list[ObjectRecord]:
        return [r for r in self.records if r.object_id in ids]

    def files_of_sample(self, sample: str, **_: Any) -> list[ObjectRecord]:
        self.asked.append(("sample", sample))
        return self.records

    def runs_of_sample(self, _sample: str, **_: Any) -> list[Any]:
        return []


def token(keyword: str, value: str) -> str:
    return f"token-of-{keyword}-{value}"


def ask(reader: FakeReader, **named: Any) -> Found:
    return search(reader, Criteria(**named), token)  # type: ignore[arg-type]


def test_a_patient_is_asked_for_by_token_never_by_name() -> None:
    reader = FakeReader({("patientid", "token-of-PatientID-P1"): [CT]})
    assert ask(reader, patient="P1").studies == (CT,)
    assert "P1" not in {value for _, value in reader.asked}


def test_patient_and_accession_must_both_fit() -> None:
    reader = FakeReader(
        {
            ("patientid", "token-of-PatientID-P1"): [CT, MR],
            ("accessionnumber", "token-of-AccessionNumber-A1"): [MR],
        }
    )
    assert ask(reader, patient="P1", accession="A1").studies == (MR,)


def test_what_an_index_does_not_cover_is_filtered() -> None:
    reader = FakeReader({("patientid", "token-of-PatientID-P1"): [CT, MR]})
    assert ask(reader, patient="P1", modality="MR").studies == (MR,)
    assert ask(reader, patient="P1", site="north").studies == (CT,)


def test_dates_alone_ask_for_studies_by_date() -> None:
    reader = FakeReader()
    found = ask(reader, since=date(2026, 3, 1), until=date(2026, 3, 31))
    assert found.studies == (CT, MR)
    assert reader.asked == [(date(2026, 3, 1), date(2026, 3, 31))]


def test_the_limit_holds() -> None:
    assert len(ask(FakeReader(), since=date(2026, 1, 1), limit=1).studies) == 1


def test_state_and_site_find_objects() -> None:
    record = any_record(state=State.QUARANTINED)
    found = ask(FakeReader(records=[record]), state=State.QUARANTINED)
    assert found.objects == (record,)
    assert ask(FakeReader(records=[record]), site=record.site).objects == (record,)


def test_a_sample_can_be_narrowed_by_state() -> None:
    placed = any_record(state=State.PLACED)
    refused = any_record(state=State.QUARANTINED)
    reader = FakeReader(records=[placed, refused])
    assert ask(reader, sample="S1", state=State.PLACED).objects == (placed,)


@pytest.mark.parametrize(
    "named,message",
    [({}, "Nothing to find"), ({"patient": "P1", "sample": "S1"}, "one of the two|find studies")],
)
def test_impossible_questions_are_refused(named: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        ask(FakeReader(), **named)
