"""Files that are judged together: an index with its data, and the two mates of a pair."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath

from forebay.domain.alignments import indexed_file_names
from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.indexes import judge_index
from forebay.domain.sequencing import mates_difference, parse_reads_name
from forebay.formats.recognise import FileKind
from forebay_cli.inspecting.declared import DEFAULT_ALGORITHMS, JudgeAll
from forebay_cli.inspecting.judging import Judged


def hold_together(
    judged: Mapping[PurePath, Judged],
    *,
    judge_all: JudgeAll,
    exists: Callable[[PurePath], bool],
) -> dict[PurePath, Judged]:
    """Return the judgements after holding indexes against their data, and mates against each other.

    The data of an index is judged even when it was not named, since the index cannot be otherwise.
    """
    after = dict(judged)
    data_of = dict(_data_of_indexes(judged, exists))
    unread = dict.fromkeys(data_of.values(), DEFAULT_ALGORITHMS)
    after |= judge_all({path: wanted for path, wanted in unread.items() if path not in judged})
    for index, data in data_of.items():
        after[index] = _beside(after[index], after[data])
    for first, second in _pairs(after):
        if difference := mates_difference(after[first].metadata, after[second].metadata):
            is_sure = not _may_hold_mates_in_names(after[first], after[second])
            after[first] = _differing(after[first], difference, second, is_sure=is_sure)
            after[second] = _differing(after[second], difference, first, is_sure=is_sure)
    return after


def _data_of_indexes(
    judged: Mapping[PurePath, Judged], exists: Callable[[PurePath], bool]
) -> Iterator[tuple[PurePath, PurePath]]:
    for path, each in judged.items():
        if "index" not in each.metadata:
            continue
        beside = (path.with_name(name) for name in indexed_file_names(path.name) if name)
        if data := next((file for file in beside if file in judged or exists(file)), None):
            yield path, data


def _beside(index: Judged, data: Judged) -> Judged:
    verdict, findings = judge_index(index.metadata, data.metadata, data_bytes=data.size_bytes)
    if data.trouble:
        verdict, findings = Verdict.VALID, ()
    return replace(index, kind=data.kind, verdict=verdict.value, reasons=findings)


def _pairs(judged: Mapping[PurePath, Judged]) -> Iterator[tuple[PurePath, PurePath]]:
    """Yield the mates whose names differ in the one digit that tells which mate they are."""
    for first in judged:
        wanted = replace(parse_reads_name(first.name), mate="R2")
        if not _is_reads(judged, first) or parse_reads_name(first.name).mate != "R1":
            continue
        for at in _places_of(first.name, "1"):
            second = first.with_name(f"{first.name[:at]}2{first.name[at + 1 :]}")
            if (
                parse_reads_name(second.name) == wanted
                and _is_reads(judged, second)
                and (first.name[at - 1] in "Rr" or not _are_both_first(judged, first, second))
            ):
                yield first, second


def _places_of(name: str, letter: str) -> Iterator[int]:
    return (at for at, each in enumerate(name) if each == letter)


def _is_reads(judged: Mapping[PurePath, Judged], path: PurePath) -> bool:
    """Tell whether a file was read whole; what is refused has its own reason."""
    found = judged.get(path)
    return found is not None and found.kind == FileKind.FASTQ and "names_digest" in found.metadata


def _are_both_first(judged: Mapping[PurePath, Judged], *paths: PurePath) -> bool:
    """Tell whether reads call themselves first mates: then x_1 and x_2 are two samples."""
    return all(judged[path].metadata.get("read_numbers") == ["1"] for path in paths)


def _may_hold_mates_in_names(first: Judged, second: Judged) -> bool:
    """Tell whether names may differ in a mate's number: `fastq-dump -I` adds .1 and .2 to them."""
    dialects = [first.metadata.get("name_dialects"), second.metadata.get("name_dialects")]
    return dialects == [["sra"], ["sra"]] and first.metadata["reads"] == second.metadata["reads"]


def _differing(judged: Judged, difference: str, mate: PurePath, *, is_sure: bool) -> Judged:
    finding = Finding(
        code=ReasonCode.FASTQ_MATES_DIFFER,
        message=f"{difference}; programs that read both side by side would pair wrong reads. Make"
        " both files again from the same reads.",
        owner=Owner.SENDER,
        position=mate.name,
        expected="the same reads in the same order in both mates",
        found="other reads",
    )
    if is_sure:
        return judged.refused(finding)
    return replace(judged, verdict=Verdict.WARNING.value, reasons=(*judged.reasons, finding))
