"""What checksum lists say of the files beside them, on a disk or in a bucket."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Final

from forebay.domain.checksum_names import is_checksum_name, sidecar_target
from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.integrity import Algorithm, Digest, Witness, judge
from forebay.formats.manifests import ManifestEntry, parse_checksum_file
from forebay.formats.recognise import FileKind
from forebay_cli.inspecting.judging import Judged

DEFAULT_ALGORITHMS: Final = frozenset({Algorithm.MD5, Algorithm.SHA256})

Wanted = Mapping[PurePath, frozenset[Algorithm]]
JudgeAll = Callable[[Wanted], Iterable[tuple[PurePath, Judged]]]
"""Judges files, each with the digests that are wanted of it."""
ReadList = Callable[[PurePath], bytes | None]
"""Returns the content of a checksum list; None when it cannot be had."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """The entries of each checksum list with the file each is about."""

    by_list: Mapping[PurePath, tuple[tuple[PurePath, ManifestEntry], ...]] = field(
        default_factory=dict
    )

    def algorithms(self) -> dict[PurePath, frozenset[Algorithm]]:
        """Return, for every file that a list speaks of, the algorithms that are declared."""
        declared: dict[PurePath, frozenset[Algorithm]] = {}
        for entries in self.by_list.values():
            for target, entry in entries:
                declared[target] = declared.get(target, frozenset()) | {entry.algorithm}
        return declared


def judge_with_lists(
    files: Iterable[PurePath],
    *,
    judge_all: JudgeAll,
    read_list: ReadList,
    exists: Callable[[PurePath], bool],
) -> dict[PurePath, Judged]:
    """Judge files, and hold them against every checksum list among them.

    Lists that show by their names are read first, so that one pass computes all digests; for those
    that only content shows, a file is read again if other digests are needed. Files that a list
    speaks of are judged even when they were not named, since the list cannot be otherwise.
    """
    named = list(files)
    declared = _declarations((f for f in named if is_checksum_name(f.name)), read_list)
    judged = dict(
        judge_all(_unread(dict.fromkeys(named, DEFAULT_ALGORITHMS), declared, {}, exists))
    )
    by_content = (
        file
        for file in named
        if judged[file].kind == FileKind.MANIFEST and file not in declared.by_list
    )
    late = _declarations(by_content, read_list)
    declared = Declarations({**declared.by_list, **late.by_list})
    judged |= judge_all(_unread({}, declared, judged, exists))
    return _compare(judged, declared)


def _declarations(files: Iterable[PurePath], read_list: ReadList) -> Declarations:
    """Read checksum lists; what is wrong with one is told when it is judged itself."""
    found: dict[PurePath, tuple[tuple[PurePath, ManifestEntry], ...]] = {}
    for file in files:
        if (data := read_list(file)) is not None:
            parsed = parse_checksum_file(data, name=file.name)
            found[file] = tuple((_target(file, entry), entry) for entry in parsed.entries)
    return Declarations(found)


def _unread(
    named: Wanted,
    declared: Declarations,
    judged: Mapping[PurePath, Judged],
    exists: Callable[[PurePath], bool],
) -> dict[PurePath, frozenset[Algorithm]]:
    """Return what is still to be read, and with which digests."""
    wanted = dict(named)
    for target, algorithms in declared.algorithms().items():
        if target in judged:
            digests = judged[target].digests
            is_read = not digests or algorithms <= digests.keys()
        else:
            is_read = target not in named and not exists(target)
        if not is_read:
            wanted[target] = DEFAULT_ALGORITHMS | algorithms
    return wanted


def _compare(
    judged: Mapping[PurePath, Judged], declarations: Declarations
) -> dict[PurePath, Judged]:
    """Return the judgements after holding each file against what the lists declare.

    Both sides of a contradiction are convicted, for nobody can tell from here which one is wrong.
    """
    after = dict(judged)
    for file, entries in declarations.by_list.items():
        for target, entry in entries:
            finding = _contradiction(judged.get(target), entry)
            if finding and target in after and not after[target].trouble:
                about = replace(finding, position=file.name)
                after[target] = after[target].refused(about)
            fault = finding or _wrong_size(judged[target], entry)
            if fault and file in after:
                after[file] = after[file].refused(fault)
    return after


def _target(file: PurePath, entry: ManifestEntry) -> PurePath:
    beside = sidecar_target(file.name)
    if not entry.path:
        return file.with_name(beside) if beside else file
    return file.parent / entry.path


def _contradiction(target: Judged | None, entry: ManifestEntry) -> Finding | None:
    if target is None or target.trouble:
        return Finding(
            code=ReasonCode.LISTED_FILE_MISSING,
            message="A file that the checksum list names is not there or cannot be read: complete"
            " the files, or correct the list.",
            owner=Owner.SENDER,
            position=f"line {entry.line}",
            expected=f"{entry.algorithm.value} {entry.value}",
            found="no file",
        )
    value = target.digests.get(entry.algorithm.value)
    if value is None:
        return None
    declared = Digest(entry.algorithm, entry.value, Witness.SENDER_MANIFEST, f"line {entry.line}")
    evidence = Digest(entry.algorithm, value, Witness.FOREBAY)
    return judge([declared], [evidence]).finding


def _wrong_size(target: Judged, entry: ManifestEntry) -> Finding | None:
    """The digest vouches for the bytes, so that a wrong size convicts the list alone."""
    if entry.size_bytes in (None, target.size_bytes):
        return None
    return Finding(
        code=ReasonCode.SIZE_MISMATCH,
        message="The checksum list tells another size than a file has whose digest fits: correct"
        " the list.",
        owner=Owner.SENDER,
        position=f"line {entry.line}",
        expected=f"{entry.size_bytes} bytes",
        found=f"{target.size_bytes} bytes",
    )
