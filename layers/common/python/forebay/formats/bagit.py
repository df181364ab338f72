"""Bags: BagIt 0.93 to 0.97 and 1.0 (RFC 8493), judged as a whole.

A bag is valid when it is complete (every listed file is there, every payload file is listed) and
every digest agrees. What the files are called stays out of messages: names can speak of persons, so
a position tells the manifest and its line.
"""

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.inspection import ByteSource, Inspection
from forebay.domain.integrity import DIGEST_BYTES, Algorithm, Digest, normalise_digest
from forebay.formats.digests import can_compute, digest_chunks
from forebay.formats.manifests import ManifestEntry, UnsafePathError, named_algorithm, safe_path
from forebay.formats.source import stream_source

__all__ = ["MAX_TAG_FILE_BYTES", "Bag", "inspect_bag"]

MAX_TAG_FILE_BYTES: Final = 64 << 20
_FINDINGS_AT_MOST: Final = 100

_VERSIONS: Final = ("0.93", "0.94", "0.95", "0.96", "0.97", "1.0")
_RFC_VERSION: Final = "1.0"
_DECLARATION: Final = "bagit.txt"
_DECLARED_LABELS: Final = ("bagit-version", "tag-file-character-encoding")
_INFO_NAMES: Final = ("bag-info.txt", "package-info.txt")
_FETCH: Final = "fetch.txt"
_PAYLOAD: Final = "data/"
_MANIFEST: Final = re.compile(r"(?P<tag>tag)?manifest-(?P<algorithm>[A-Za-z0-9_-]+)\.txt")
_LINE: Final = re.compile(r"(?P<digest>\S+)[ \t]+(?P<star>\*)?(?P<path>.+)")
_FETCH_LINE: Final = re.compile(r"(?P<url>\S+)[ \t]+(?P<length>[0-9]+|-)[ \t]+(?P<path>.+)")
_OXUM: Final = re.compile(r"(?P<octets>[0-9]{1,18})\.(?P<files>[0-9]{1,18})")
_LABEL: Final = re.compile(r"(?P<label>[^:\s][^:]*):(?P<value>.*)", re.DOTALL)
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_ENCODED: Final = re.compile(r"%(0[AaDd]|25)")
_ENCODED_BEFORE_RFC: Final = re.compile(r"%(0[AaDd])")
_BOM: Final = "\ufeff"

# Text encodings of IANA's registry that tag files are met in; others run code paths nobody tests.
_ENCODINGS: Final = re.compile(
    r"utf-?(?:8|16(?:[bl]e)?|32(?:[bl]e)?)|(?:us-)?ascii|iso-?8859-?\d{1,2}|latin-?1"
    r"|windows-125\d|cp125\d|shift_jis|euc-(?:jp|kr)|big5|gb(?:k|2312|18030)|koi8-[ru]",
    re.IGNORECASE,
)
# Contacts, organisations, addresses and descriptions can name persons and stay out of the record.
_KEPT_LABELS: Final = frozenset(
    {
        "bag-count",
        "bag-size",
        "bag-software-agent",
        "bagging-date",
        "bagit-profile-identifier",
        "payload-oxum",
    }
)


@dataclass(frozen=True, slots=True)
class Bag:
    """A bag that is complete: its payload, by path, and the digests its manifests declare.

    `entries` are of the payload only; `line` is that of the manifest. `info` holds the labels of
    `bag-info.txt` that name no person, in lower case.
    """

    version: str
    encoding: str
    algorithms: tuple[Algorithm, ...]
    payload_files: int
    payload_bytes: int
    entries: tuple[ManifestEntry, ...]
    info: Mapping[str, str] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape stored in the catalog."""
        return {
            "version": self.version,
            "encoding": self.encoding,
            "algorithms": [algorithm.value for algorithm in self.algorithms],
            "payload_files": self.payload_files,
            "payload_bytes": self.payload_bytes,
            "info": dict(self.info),
        }


class _RefusedError(Exception):
    """Something without which nothing else of the bag can be judged."""

    def __init__(self, finding: Finding, verdict: Verdict = Verdict.INVALID) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.verdict = verdict


def inspect_bag(
    files: Mapping[str, ByteSource],
    *,
    known: Mapping[str, Sequence[Digest]] | None = None,
) -> Inspection[Bag]:
    """Inspect a bag: its tag files, and the digests of everything its manifests list.

    Args:
        files: every file of the bag by its path relative to the bag's folder, with `/`.
        known: digests that are evidence already, by path; such files are not read again.
    """
    inspector = _Inspector(files, known or {})
    try:
        record = inspector.inspect()
    except _RefusedError as error:
        return inspector.result(None, error.verdict, error.finding)
    return inspector.result(record, Verdict.INVALID if inspector.reasons else Verdict.VALID)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A line of a manifest: the path as written, and the file in the bag it means ('' if none)."""

    manifest: str
    line: int
    written: str
    actual: str
    digest: str


@dataclass(slots=True)
class _Manifest:
    name: str
    algorithm: Algorithm
    is_tag: bool
    lines: list[_Listed] = field(default_factory=list)


class _Inspector:
    """Judges one bag; collects reasons for refusal and warnings."""

    def __init__(
        self, files: Mapping[str, ByteSource], known: Mapping[str, Sequence[Digest]]
    ) -> None:
        self.reasons: list[Finding] = []
        self._warnings: dict[str, list[str]] = {}
        self._files = files
        self._known = known
        self._by_normal_name: dict[str, list[str]] = {}
        for path in files:
            self._by_normal_name.setdefault(_normal(path), []).append(path)
        self._version = ""
        self._encoding = "utf-8"
        self._bytes_read = 0
        self._requests = 0

    def inspect(self) -> Bag:
        """Return what was understood; `reasons` say whether it holds."""
        self._read_declaration()
        info = self._read_info()
        manifests = self._read_manifests()
        payload = sorted(path for path in self._files if path.startswith(_PAYLOAD))
        self._judge_fetch()
        self._judge_oxum(info, payload)
        self._judge_presence(manifests)
        self._judge_listing(manifests, payload)
        self._judge_digests(manifests)
        return self._bag(info, manifests, payload)

    def result(self, record: Bag | None, verdict: Verdict, *findings: Finding) -> Inspection[Bag]:
        """Return the inspection, reasons first."""
        if verdict is Verdict.VALID and self.warnings:
            verdict = Verdict.WARNING
        return Inspection(
            verdict,
            record if verdict in (Verdict.VALID, Verdict.WARNING) else None,
            tuple(_bounded([*findings, *self.reasons, *self.warnings])),
            bytes_read=self._bytes_read,
            requests=self._requests,
        )

    def _read_declaration(self) -> None:
        source = self._files.get(_DECLARATION)
        if source is None:
            raise _RefusedError(
                _reason(ReasonCode.BAG_MALFORMED, "has no bagit.txt", expected="a bag declaration")
            )
        data = self._read(source)
        if data.startswith(_BOM.encode()):
            self._refuse(
                ReasonCode.BAG_MALFORMED,
                "has a byte-order mark in bagit.txt, which RFC 8493 forbids",
                position=_DECLARATION,
                expected="UTF-8 without byte-order mark",
            )
        try:
            text = data.decode("utf-8").removeprefix(_BOM)
        except UnicodeDecodeError as error:
            raise _RefusedError(_no_declaration()) from error
        self._take_declaration(list(self._labels(text, _DECLARATION)))

    def _take_declaration(self, lines: Sequence[tuple[str, str]]) -> None:
        labels = dict(lines)
        version, encoding = (labels.get(label, "") for label in _DECLARED_LABELS)
        if not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}", version) or not encoding:
            raise _RefusedError(_no_declaration())
        if version not in _VERSIONS:
            raise _RefusedError(
                _reason(
                    ReasonCode.UNSUPPORTED_FORMAT,
                    "is of a BagIt version that is not known",
                    position=_DECLARATION,
                    expected=", ".join(_VERSIONS),
                    found=version,
                ),
                Verdict.UNSUPPORTED,
            )
        if version == _RFC_VERSION and [label for label, _ in lines] != list(_DECLARED_LABELS):
            self._refuse(
                ReasonCode.BAG_MALFORMED,
                "has a bagit.txt with other lines than RFC 8493 prescribes",
                position=_DECLARATION,
                expected="two lines: BagIt-Version, Tag-File-Character-Encoding",
            )
        if not _is_readable(encoding):
            raise _RefusedError(
                _reason(
                    ReasonCode.UNSUPPORTED_FORMAT,
                    "declares a character encoding that is not read",
                    position=_DECLARATION,
                    expected="UTF-8",
                ),
                Verdict.UNSUPPORTED,
            )
        self._version, self._encoding = version, encoding

    def _read_info(self) -> list[tuple[str, str]]:
        name = next((each for each in _INFO_NAMES if each in self._files), "")
        return list(self._labels(self._tag_text(name), name)) if name else []

    def _labels(self, text: str, name: str) -> Iterator[tuple[str, str]]:
        """Yield labels in lower case and values; a line that starts with a blank continues."""
        unfolded: list[tuple[int, list[str]]] = []
        for number, line in _numbered(text):
            if line[:1] in (" ", "\t") and unfolded:
                unfolded[-1][1].append(line.strip())
            elif line.strip():
                unfolded.append((number, [line]))
        for number, parts in unfolded:
            if match := _LABEL.fullmatch(" ".join(parts)):
                yield match["label"].strip().lower(), match["value"].strip()
            else:
                self._refuse(
                    ReasonCode.BAG_MALFORMED,
                    "has a tag file with a line that is no label and value",
                    position=f"{name} line {number}",
                    expected="Label: value",
                )

    def _read_manifests(self) -> list[_Manifest]:
        manifests = []
        unknown = []
        for name in sorted(self._files):
            if match := _MANIFEST.fullmatch(name):
                algorithm = named_algorithm(match["algorithm"])
                if algorithm and can_compute(algorithm):
                    manifest = _Manifest(name, algorithm, bool(match["tag"]))
                    self._read_manifest(manifest)
                    manifests.append(manifest)
                else:
                    unknown.append(name)
        if unknown:
            self._warn(f"has {len(unknown)} manifests of algorithms that are not computed")
        if all(manifest.is_tag for manifest in manifests):
            raise _RefusedError(*_no_manifest(any(not n.startswith("tag") for n in unknown)))
        return manifests

    def _read_manifest(self, manifest: _Manifest) -> None:
        seen: dict[str, _Listed] = {}
        for number, line in _numbered(self._tag_text(manifest.name)):
            if line.strip() and (listed := self._listed(manifest, number, line)):
                manifest.lines.append(listed)
                self._judge_twice(seen, listed)

    def _listed(self, manifest: _Manifest, number: int, line: str) -> _Listed | None:
        position = f"{manifest.name} line {number}"
        match = _LINE.fullmatch(line)
        digest = normalise_digest(manifest.algorithm, match["digest"]) if match else None
        if match is None or digest is None:
            self._refuse(
                ReasonCode.BAG_MALFORMED,
                "has a manifest line without a digest of the right length and a path",
                position=position,
                expected=f"{2 * DIGEST_BYTES[manifest.algorithm]} hex digits and a path",
            )
            return None
        if manifest.is_tag and _MANIFEST.fullmatch(match["path"]) and "tag" in match["path"]:
            self._warn("has a tag manifest that lists a tag manifest", position=position)
        if match["star"]:
            self._warn("marks files as binary, as md5sum does", position=position)
        actual = self._find(match["path"], position)
        is_payload = actual.startswith(_PAYLOAD) if actual is not None else not manifest.is_tag
        if actual is None or is_payload is manifest.is_tag:
            self._misplaced(manifest, position, actual)
            return None
        return _Listed(manifest.name, number, match["path"], actual, digest)

    def _misplaced(self, manifest: _Manifest, position: str, actual: str | None) -> None:
        if actual is None:
            return
        place = "outside data/" if not manifest.is_tag else "inside data/"
        self._refuse(
            ReasonCode.BAG_MALFORMED,
            f"has a manifest that lists a file {place}",
            position=position,
            expected="payload in manifests, other files in tag manifests",
        )

    def _find(self, written: str, position: str) -> str | None:
        """Return the bag's own name of a listed file, or the name it ought to have.

        None when the path is unsafe. Before version 1.0 a percent sign meant itself, and not every
        tool that writes 1.0 encodes it: an encoded name is decoded unless it is there as written.
        """
        encoded = _ENCODED if self._version == _RFC_VERSION else _ENCODED_BEFORE_RFC
        decoded = encoded.sub(lambda match: chr(int(match[1], 16)), written)
        try:
            names = [safe_path(decoded), safe_path(written)]
        except UnsafePathError as error:
            self._refuse(
                ReasonCode.UNSAFE_NAME,
                f"has a manifest that {error}",
                position=position,
                expected=error.expected,
            )
            return None
        if written not in (names[0], names[1]) and decoded not in names:
            self._warn("writes paths with needless parts, such as ./", position=position)
        there = next((name for name in names if name in self._files), "")
        return there or self._by_other_form(names[0], position)

    def _by_other_form(self, name: str, position: str) -> str:
        """Return the file whose name differs in Unicode normalisation only, else the name."""
        candidates = self._by_normal_name.get(_normal(name), [])
        if len(candidates) != 1:
            return name
        self._warn(
            "writes a name in another Unicode normalisation than the file has", position=position
        )
        return candidates[0]

    def _judge_twice(self, seen: dict[str, _Listed], listed: _Listed) -> None:
        first = seen.setdefault(listed.actual, listed)
        if first is listed:
            return
        position = f"{listed.manifest} line {listed.line}"
        if first.digest != listed.digest:
            self._refuse(
                ReasonCode.BAG_MALFORMED,
                f"lists one file twice with different digests (first in line {first.line})",
                position=position,
                expected="each file once",
            )
        else:
            self._warn("lists one file twice", position=position)

    def _judge_fetch(self) -> None:
        """Refuse to fetch: Forebay asks no address of a sender's choice."""
        if _FETCH not in self._files:
            return
        before = len(self.reasons)
        missing = 0
        for number, line in _numbered(self._tag_text(_FETCH)):
            if line.strip():
                missing += self._is_missing_fetch(line, f"{_FETCH} line {number}")
        if missing:
            self._refuse(
                ReasonCode.BAG_FETCH_REFUSED,
                "expects files to be fetched from elsewhere, which Forebay does not do; send them"
                " in the bag",
                position=_FETCH,
                expected="every file inside the bag",
                found=f"{missing} files to fetch",
            )
        elif len(self.reasons) == before:
            self._warn("has a fetch.txt, which was not followed; all its files are here")

    def _is_missing_fetch(self, line: str, position: str) -> bool:
        match = _FETCH_LINE.fullmatch(line)
        if match is None:
            self._refuse(
                ReasonCode.BAG_MALFORMED,
                "has a fetch.txt line that is not address, length and path",
                position=position,
                expected="address, length, path",
            )
            return False
        actual = self._find(match["path"], position)
        return actual is not None and actual not in self._files

    def _judge_oxum(self, info: Sequence[tuple[str, str]], payload: Sequence[str]) -> None:
        size = sum(self._files[path].size_bytes for path in payload)
        values = [value for label, value in info if label == "payload-oxum"]
        if len(set(values)) > 1:
            self._warn("states Payload-Oxum more than once")
        for value in values:
            match = _OXUM.fullmatch(value)
            if match is None or (int(match["octets"]), int(match["files"])) != (size, len(payload)):
                self._refuse(
                    ReasonCode.BAG_INCOMPLETE,
                    "does not hold what its Payload-Oxum says, so files are missing, cut or added",
                    position=next(name for name in _INFO_NAMES if name in self._files),
                    expected=value if match else "bytes.files",
                    found=f"{size}.{len(payload)}",
                )

    def _judge_presence(self, manifests: Sequence[_Manifest]) -> None:
        for manifest in manifests:
            for listed in manifest.lines:
                if listed.actual not in self._files:
                    self._refuse(
                        ReasonCode.BAG_INCOMPLETE,
                        "lacks a file that a manifest lists",
                        position=f"{manifest.name} line {listed.line}",
                        expected="every listed file",
                    )

    def _judge_listing(self, manifests: Sequence[_Manifest], payload: Sequence[str]) -> None:
        lists = [{each.actual for each in m.lines} for m in manifests if not m.is_tag]
        # RFC 8493 §2.2.1 wants each file in every payload manifest; drafts, in at least one.
        is_listed = all if self._version == _RFC_VERSION else any
        for place, path in enumerate(payload, start=1):
            if not is_listed(path in listed for listed in lists):
                self._refuse(
                    ReasonCode.BAG_UNLISTED_FILE,
                    "holds a payload file that its manifests do not vouch for",
                    position=f"payload file {place} of {len(payload)} in order of names",
                    expected="every payload file listed",
                )
        if not payload:
            self._warn("holds no payload")
        self._warn_of_clashes(payload)

    def _warn_of_clashes(self, payload: Sequence[str]) -> None:
        same = Counter(_normal(path).casefold() for path in payload)
        if clashes := sum(1 for number in same.values() if number > 1):
            self._warn(
                f"has {clashes} groups of names that differ in case or Unicode normalisation only;"
                " other file systems keep one of each"
            )

    def _judge_digests(self, manifests: Sequence[_Manifest]) -> None:
        wanted: dict[str, dict[Algorithm, list[_Listed]]] = {}
        for manifest in manifests:
            for listed in manifest.lines:
                if listed.actual in self._files:
                    by_algorithm = wanted.setdefault(listed.actual, {})
                    by_algorithm.setdefault(manifest.algorithm, []).append(listed)
        for path, by_algorithm in wanted.items():
            values = self._digests(path, list(by_algorithm))
            for algorithm, lines in by_algorithm.items():
                for listed in lines:
                    if values[algorithm] != listed.digest:
                        self._refuse_digest(listed, algorithm, values[algorithm])

    def _digests(self, path: str, algorithms: Sequence[Algorithm]) -> dict[Algorithm, str]:
        values = {digest.algorithm: digest.value for digest in self._known.get(path, ())}
        if missing := [algorithm for algorithm in algorithms if algorithm not in values]:
            computed, size = digest_chunks(stream_source(self._files[path]), missing)
            values.update({digest.algorithm: digest.value for digest in computed})
            self._bytes_read += size
            self._requests += 1
        return values

    def _refuse_digest(self, listed: _Listed, algorithm: Algorithm, found: str) -> None:
        self._refuse(
            ReasonCode.DIGEST_MISMATCH,
            f"holds a file whose {algorithm.value} is not the one its manifest declares: one of"
            " them was changed or damaged",
            position=f"{listed.manifest} line {listed.line}",
            expected=f"{algorithm.value} {listed.digest}",
            found=f"{algorithm.value} {found}",
        )

    def _bag(
        self,
        info: Sequence[tuple[str, str]],
        manifests: Sequence[_Manifest],
        payload: Sequence[str],
    ) -> Bag:
        vouching = [manifest for manifest in manifests if not manifest.is_tag]
        return Bag(
            version=self._version,
            encoding=self._encoding,
            algorithms=tuple(manifest.algorithm for manifest in vouching),
            payload_files=len(payload),
            payload_bytes=sum(self._files[path].size_bytes for path in payload),
            entries=tuple(
                ManifestEntry(listed.actual, manifest.algorithm, listed.digest, listed.line)
                for manifest in vouching
                for listed in manifest.lines
            ),
            info={label: value for label, value in info if label in _KEPT_LABELS},
        )

    def _tag_text(self, name: str) -> str:
        data = self._read(self._files[name])
        try:
            text = data.decode(self._encoding)
        except UnicodeError as error:
            raise _RefusedError(
                _reason(
                    ReasonCode.BAG_MALFORMED,
                    "has a tag file that is not in the encoding that bagit.txt declares",
                    position=name,
                    expected=self._encoding,
                )
            ) from error
        if text.startswith(_BOM):
            self._warn("has a byte-order mark in a tag file", position=name)
        return text.removeprefix(_BOM)

    def _read(self, source: ByteSource) -> bytes:
        if source.size_bytes > MAX_TAG_FILE_BYTES:
            raise _RefusedError(
                _reason(
                    ReasonCode.LIMIT_EXCEEDED,
                    "has a tag file larger than is read",
                    expected=f"at most {MAX_TAG_FILE_BYTES} bytes",
                    found=f"{source.size_bytes} bytes",
                )
            )
        data = source.read_range(0, source.size_bytes)
        self._bytes_read += len(data)
        self._requests += 1
        return data

    def _refuse(
        self, code: ReasonCode, what: str, *, position: str = "", expected: str, found: str = ""
    ) -> None:
        self.reasons.append(_reason(code, what, position=position, expected=expected, found=found))

    def _warn(self, what: str, *, position: str = "") -> None:
        self._warnings.setdefault(what, []).append(position)

    @property
    def warnings(self) -> list[Finding]:
        """What is odd, once each, with its first place."""
        return [
            Finding(
                code=ReasonCode.BAG_SUSPECT,
                message=f"The bag {what}.",
                owner=Owner.SENDER,
                position=positions[0],
                found=f"{len(positions)} times" if len(positions) > 1 else "",
            )
            for what, positions in self._warnings.items()
        ]


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers; LF, CR and CRLF end a line, nothing else does."""
    return zip(count(1), _LINE_END.split(text), strict=False)


def _is_readable(encoding: str) -> bool:
    try:
        return _ENCODINGS.fullmatch(encoding) is not None and bool(codecs.lookup(encoding))
    except LookupError:
        return False


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _no_declaration() -> Finding:
    return _reason(
        ReasonCode.BAG_MALFORMED,
        "has a bagit.txt that does not state version and encoding",
        position=_DECLARATION,
        expected="BagIt-Version and Tag-File-Character-Encoding",
    )


def _no_manifest(is_unknown: bool) -> tuple[Finding, Verdict]:  # noqa: FBT001 - one caller
    if is_unknown:
        finding = _reason(
            ReasonCode.UNSUPPORTED_FORMAT,
            "has payload manifests only of algorithms that are not computed",
            expected="manifest-sha256.txt, manifest-sha512.txt or manifest-md5.txt",
        )
        return finding, Verdict.UNSUPPORTED
    finding = _reason(
        ReasonCode.BAG_MALFORMED, "has no payload manifest", expected="manifest-<algorithm>.txt"
    )
    return finding, Verdict.INVALID


def _reason(
    code: ReasonCode, what: str, *, position: str = "", expected: str, found: str = ""
) -> Finding:
    return Finding(
        code=code,
        message=f"The bag {what}; correct it and send it again.",
        owner=Owner.SENDER,
        position=position,
        expected=expected,
        found=found,
    )


def _bounded(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings, the last standing for all beyond a bound: a record has a size."""
    if len(findings) <= _FINDINGS_AT_MOST:
        return list(findings)
    left = len(findings) - _FINDINGS_AT_MOST + 1
    rest = _reason(
        findings[_FINDINGS_AT_MOST - 1].code,
        f"has {left} more findings, which are not shown",
        expected="none",
        found=f"{len(findings)} findings",
    )
    return [*findings[: _FINDINGS_AT_MOST - 1], rest]
