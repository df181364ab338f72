"""What checksum files on the same disk say of the files that are judged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from forebay.domain.checksum_names import is_checksum_name, sidecar_target
from forebay.domain.findings import Finding, Owner, ReasonCode
from forebay.domain.integrity import Algorithm, Digest, Witness, judge
from forebay.formats.manifests import ManifestEntry, parse_checksum_file
from forebay_cli.inspecting.judging import Judged

MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Declarations:
    """Each checksum file's declarations: target, entry."""

    by_list: Mapping[Path, tuple[tuple[Path, ManifestEntry], ...]] = field(default_factory=dict)

    def algorithms_of(self, target: Path) -> frozenset[Algorithm]:
        """Return the algorithms any list declares for a file."""
        return frozenset(
            entry.algorithm
            for entries in self.by_list.values()
            for path, entry in entries
            if path == target
        )

    def targets(self) -> frozenset[Path]:
        """Return every file that a list speaks of and that is there."""
        spoken = {path for entries in self.by_list.values() for path, _ in entries}
        return frozenset(path for path in spoken if path.is_file())


def read_declarations(files: Iterable[Path]) -> Declarations:
    """Read the checksum lists among files; what cannot be read is judged later, with its reason."""
    found: dict[Path, tuple[tuple[Path, ManifestEntry], ...]] = {}
    for file in files:
        if is_checksum_name(file.name) and file.stat().st_size <= MAX_BYTES:
            parsed = parse_checksum_file(file.read_bytes(), name=file.name)
            found[file] = tuple((_target(file, entry), entry) for entry in parsed.entries)
    return Declarations(found)


def compare(judged: Mapping[Path, Judged], declarations: Declarations) -> dict[Path, Judged]:
    """Return the judgements after holding each file against what the lists declare.

    Both sides of a contradiction are convicted: nobody can tell from here which one is wrong.
    """
    after = dict(judged)
    for file, entries in declarations.by_list.items():
        for target, entry in entries:
            finding = _contradiction(judged.get(target), entry)
            if finding is None:
                continue
            if file in after:
                after[file] = after[file].refused(finding)
            if target in after and not after[target].trouble:
                about = replace(finding, position=file.name)
                after[target] = after[target].refused(about)
    return after


def _target(file: Path, entry: ManifestEntry) -> Path:
    beside = sidecar_target(file.name)
    if not entry.path:
        return file.with_name(beside) if beside else file
    return file.parent / entry.path


def _contradiction(target: Judged | None, entry: ManifestEntry) -> Finding | None:
    if target is None or target.trouble:
        return Finding(
            code=ReasonCode.DIGEST_MISMATCH,
            message="A file that the checksum list names is not there or cannot be read.",
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
