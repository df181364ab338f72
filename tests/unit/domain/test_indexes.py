import pytest

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.indexes import DataIndex, judge_index

BAM = {"reference_count": 2, "records": 800}
VCF = {"contig_count": 9, "records": 600}


def index(
    kind: str = "bai", references: int = 2, records: int | None = 800, end: int = 90
) -> dict[str, object]:
    return DataIndex(kind, references, records, end).as_metadata()


@pytest.mark.parametrize(
    "said, data",
    [
        (index(), BAM),
        (index(records=None), BAM),
        (index(end=100), BAM),
        (index("crai", 1, None), BAM),
        (index("tbi", 1, 600), VCF),
        (index(), {}),
    ],
)
def test_an_index_that_fits_its_data_is_valid(
    said: dict[str, object], data: dict[str, object]
) -> None:
    assert judge_index(said, data, data_bytes=100) == (Verdict.VALID, ())


@pytest.mark.parametrize(
    "said, data",
    [
        (index(end=101), BAM),
        (index(end=101), {}),
        (index(references=3), BAM),
        (index(references=1), BAM),
        (index("crai", 3, None), BAM),
    ],
)
def test_an_index_of_another_file_is_refused(
    said: dict[str, object], data: dict[str, object]
) -> None:
    verdict, findings = judge_index(said, data, data_bytes=100)
    assert verdict is Verdict.INVALID
    assert [each.code for each in findings] == [ReasonCode.INDEX_MISMATCH]


def test_an_index_that_counts_other_records_is_a_warning() -> None:
    verdict, findings = judge_index(index(records=799), BAM, data_bytes=100)
    assert verdict is Verdict.WARNING
    assert (findings[0].expected, findings[0].found) == ("800 records", "799 records")
