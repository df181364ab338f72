"""Checksum files as coreutils, BSD, OpenSSL, hashdeep and sequencing centres write them.

One line is one file and one digest; a sidecar may hold nothing but the digest. Every line must be
understood or named in a finding: a list that silently lost a line would vouch for too little.

Besides such lines: manifests of BagIt bags (`formats.bagit` judges whole bags), hashdeep lists,
tables with a heading (`filename`, `md5`, …: the GDC manifest), and JSON. Forebay's own schema is a
list, or an object with that list as `files`, of objects
`{"path": …, "<algorithm>": "<hex or base64>", …, "size": <bytes, optional>}`.
"""

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from forebay.domain.checksum_names import (
    DIGEST_WORDS,
    is_bag_manifest,
    is_checksum_name,
    sidecar_target,
)
from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.integrity import CRYPTOGRAPHIC, DIGEST_BYTES, Algorithm, normalise_digest

__all__ = [
    "ManifestEntry",
    "ParsedManifest",
    "UnsafePathError",
    "algorithm_from_name",
    "inspect_checksum_file",
    "is_checksum_name",
    "named_algorithm",
    "parse_checksum_file",
    "safe_path",
    "sidecar_target",
]


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One digest of one file: lower-case hex, and the line (from 1) that declares it.

    `path` is relative to the checksum file's folder, with `/`, without `./`; empty when the file
    holds only a digest, so that its own name must say what it is about (`sidecar_target`). In JSON
    `line` counts the declarations. `size_bytes` is None where the list does not tell sizes.
    """

    path: str
    algorithm: Algorithm
    value: str
    line: int
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """What a checksum file declares, and every line that could not be used.

    With any finding the list is incomplete and must not vouch for files it does not name.
    """

    name: str
    entries: tuple[ManifestEntry, ...]
    findings: tuple[Finding, ...] = ()

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape that `forebay inspect` prints."""
        algorithms = sorted({entry.algorithm.value for entry in self.entries})
        return {"entries": len(self.entries), "algorithms": algorithms}


_NAMED_ALGORITHMS: Final = {
    "md5": Algorithm.MD5,
    "sha": Algorithm.SHA1,
    "sha1": Algorithm.SHA1,
    "sha224": Algorithm.SHA224,
    "sha2224": Algorithm.SHA224,
    "sha256": Algorithm.SHA256,
    "sha2256": Algorithm.SHA256,
    "sha384": Algorithm.SHA384,
    "sha2384": Algorithm.SHA384,
    "sha512": Algorithm.SHA512,
    "sha2512": Algorithm.SHA512,
    "crc32": Algorithm.CRC32,
    "crc32c": Algorithm.CRC32C,
    "crc64nvme": Algorithm.CRC64NVME,
}
_ALGORITHM_WORD: Final = re.compile(rf"{DIGEST_WORDS}|crc32c?|crc64nvme", re.IGNORECASE)

_TAGGED: Final = re.compile(
    r"(?P<algorithm>[A-Za-z0-9][A-Za-z0-9/-]*) ?\((?P<path>.+)\) ?= ?(?P<digest>\S+)"
)
_STDIN: Final = re.compile(r"(?P<algorithm>(?:\w[\w-]*)?) ?\((?:stdin|-)\) ?= ?(?P<digest>\S+)")
_PLAIN: Final = re.compile(r"(?P<digest>[0-9A-Za-z+/]{6,}={0,2})(?:[ \t](?P<path>.+))?")
_ESCAPES: Final = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_ESCAPE: Final = re.compile(r"\\.?", re.DOTALL)
_BAG_ENCODED: Final = re.compile(r"%(0[AaDd]|25)")
_DRIVE: Final = re.compile(r"[A-Za-z]:")

_OTHER_FORMATS: Final = (
    (b";", "SFV"),
    (b"<", "XML"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "ZIP"),
)
_SFV_LINE: Final = re.compile(rb"(?![0-9A-Fa-f]{32})[^=]+ [0-9A-Fa-f]{8}")
# Digests as long as one that Forebay knows, and not it: only the file's name tells.
_FOREIGN: Final = re.compile(
    r"(?:^|[._-])(?P<name>blake2\w*|b2(?:sums?)?|blake3|b3(?:sums?)?|sha3(?:[-_]\d+)?(?:sums?)?)"
    r"(?:$|\.(?:txt|list)$)",
    re.IGNORECASE,
)
_BOM: Final = b"\xef\xbb\xbf"
_WIDE_BOMS: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_FINDINGS_AT_MOST: Final = 100


class _LineError(Exception):
    """A line that cannot be used; carries the finding without its place."""

    def __init__(self, message: str, *, expected: str = "", found: str = "") -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found
        self.code = ReasonCode.MANIFEST_MALFORMED


class UnsafePathError(_LineError):
    """A path that could point outside the folder it is relative to."""

    def __init__(self, message: str) -> None:
        super().__init__(message, expected="a path inside the checksum file's folder")
        self.code = ReasonCode.UNSAFE_NAME


def parse_checksum_file(data: bytes, *, name: str) -> ParsedManifest:
    """Parse a checksum file; `name` (a key or file name) only helps with ambiguous digests."""
    try:
        entries, findings = _parse(_as_utf8(data), name)
    except _LineError as error:
        entries, findings = [], [_finding(error, 1)]
    return ParsedManifest(name, tuple(entries), tuple(_bounded(findings)))


def inspect_checksum_file(data: bytes, *, name: str) -> Inspection[ParsedManifest]:
    """Inspect a checksum file: valid when every line of it was understood."""
    parsed = parse_checksum_file(data, name=name)
    if not parsed.findings:
        return Inspection(Verdict.VALID, parsed, bytes_read=len(data))
    codes = {finding.code for finding in parsed.findings}
    is_unsupported = codes == {ReasonCode.UNSUPPORTED_FORMAT}
    verdict = Verdict.UNSUPPORTED if is_unsupported else Verdict.INVALID
    return Inspection(verdict, None, parsed.findings, bytes_read=len(data))


def _parse(data: bytes, name: str) -> tuple[list[ManifestEntry], list[Finding]]:
    kind = _other_kind(data, name)
    if kind:
        return [], [_unsupported(kind)]
    is_json = data.lstrip()[:1] in (b"{", b"[")
    parser = _Parser(
        hint=algorithm_from_name(name),
        unit="entry" if is_json else "line",
        is_of_bag=is_bag_manifest(name),
    )
    if is_json:
        _take_json(parser, data)
    elif data.startswith(b"%%%% HASHDEEP-"):
        _take_hashdeep(parser, data)
    elif columns := _table_columns(data):
        _take_table(parser, data, columns)
    else:
        _take_lines(parser, data)
    return parser.entries, parser.conclude()


def _other_kind(data: bytes, name: str) -> str:
    """Return the name of a format that is not read, '' for any other."""
    for start, kind in _OTHER_FORMATS:
        if data.startswith(start):
            return kind
    if match := _FOREIGN.search(_base_name(name)):
        return match["name"].upper()
    lines = [line for _, line in _lines(data) if not line.startswith(b";")]
    return "SFV" if lines and all(_SFV_LINE.fullmatch(line) for line in lines) else ""


def _as_utf8(data: bytes) -> bytes:
    """Return text without byte-order mark; Windows PowerShell redirects as UTF-16."""
    encoding = _WIDE_BOMS.get(data[:2])
    if encoding is None:
        return data.removeprefix(_BOM)
    try:
        return data[2:].decode(encoding).encode()
    except UnicodeError as error:
        raise _LineError("is not UTF-16 text, though it says so", expected="UTF-8") from error


def _take_lines(parser: "_Parser", data: bytes) -> None:
    lines = list(_lines(data))
    is_universal = len(lines) > 1 and all(_has_universal_mark(line) for _, line in lines)
    for number, line in lines:
        parser.take(number, line, is_universal=is_universal)


def _bounded(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings, the last standing for all beyond a bound: a record has a size."""
    if len(findings) <= _FINDINGS_AT_MOST:
        return list(findings)
    left = len(findings) - _FINDINGS_AT_MOST + 1
    rest = Finding(
        code=ReasonCode.MANIFEST_MALFORMED,
        message=f"The checksum file has {left} more lines that cannot be used; correct it and"
        " upload it again.",
        owner=Owner.SENDER,
        position=findings[_FINDINGS_AT_MOST - 1].position,
        found=f"{len(findings)} lines that cannot be used",
    )
    return [*findings[: _FINDINGS_AT_MOST - 1], rest]


def algorithm_from_name(key: str) -> Algorithm | None:
    """Return the algorithm that a checksum file's name speaks of, None if it names none."""
    words = _ALGORITHM_WORD.findall(_base_name(key)) if is_checksum_name(key) else []
    return _NAMED_ALGORITHMS[words[-1].lower()] if words else None


class _Parser:
    """Collects entries and findings line by line."""

    def __init__(
        self, *, hint: Algorithm | None, unit: str = "line", is_of_bag: bool = False
    ) -> None:
        self.entries: list[ManifestEntry] = []
        self._findings: list[Finding] = []
        self._hint = hint
        self._unit = unit
        self._is_of_bag = is_of_bag
        self._declared: dict[tuple[str, Algorithm], str] = {}

    def take(self, number: int, line: bytes, *, is_universal: bool) -> None:
        """Take one line, without its line end."""
        try:
            path, algorithm, value = _parse_line(line, self._hint, is_universal=is_universal)
            path = _bag_path(path) if self._is_of_bag else path
            self._declare(ManifestEntry(path, algorithm, value, number))
        except _LineError as error:
            self.refuse(number, error)

    def take_file(
        self, number: int, path: str, digests: Mapping[Algorithm, str], size: int | None
    ) -> None:
        """Take one file of a list that names its columns: all its digests, or none."""
        try:
            self._declare(*_file_entries(number, path, digests, size))
        except _LineError as error:
            self.refuse(number, error)

    def refuse(self, number: int, error: "_LineError") -> None:
        """Name a line that cannot be used."""
        self._findings.append(_finding(error, number, unit=self._unit))

    def _declare(self, *entries: ManifestEntry) -> None:
        for entry in entries:
            known = self._declared.get((entry.path, entry.algorithm), entry.value)
            if known != entry.value:
                raise _LineError("names a file that an earlier line gives another digest for")
        self._declared.update({(each.path, each.algorithm): each.value for each in entries})
        self.entries.extend(entries)

    def conclude(self) -> list[Finding]:
        """Return all findings, when every line was taken."""
        bare = [entry for entry in self.entries if not entry.path]
        if bare and len(self.entries) > 1:
            # In a list, a line without a path was cut off.
            self.entries = [entry for entry in self.entries if entry.path]
            error = _LineError("has a digest but no file name", expected="digest and file name")
            self._findings.extend(_finding(error, entry.line) for entry in bare)
        if not self.entries and not self._findings:
            return [_NOTHING_DECLARED]
        return self._findings


def _file_entries(
    number: int, path: str, digests: Mapping[Algorithm, str], size: int | None
) -> list[ManifestEntry]:
    safe = safe_path(path)
    if not safe or not digests:
        missing = "digest" if safe else "file name"
        raise _LineError(f"has no {missing}", expected="digest and file name")
    return [
        ManifestEntry(safe, algorithm, _value(algorithm, text), number, size)
        for algorithm, text in digests.items()
    ]


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of the lines that say something."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        line = line.removesuffix(b"\r").lstrip(b" \t")  # noqa: PLW2901 - the line as it is meant
        if line and not line.startswith(b"#"):
            yield number, line


def _has_universal_mark(line: bytes) -> bool:
    return line.partition(b" ")[2].startswith(b"U")


def _parse_line(
    raw: bytes, hint: Algorithm | None, *, is_universal: bool
) -> tuple[str, Algorithm, str]:
    """Return path, algorithm and hex digest of a line."""
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _LineError("is not UTF-8 text", expected="UTF-8") from error
    is_escaped = line.startswith("\\")
    line = line[1:] if is_escaped else line
    if match := _STDIN.fullmatch(line):
        path, tag, digest = "", match["algorithm"], match["digest"]
    elif match := _TAGGED.fullmatch(line):
        path, tag, digest = match["path"], match["algorithm"], match["digest"]
    elif match := _PLAIN.fullmatch(line):
        path, tag, digest = _without_mark(match["path"] or "", is_universal), "", match["digest"]
        if match["path"] is not None and not path:
            raise _LineError("has a digest but no file name", expected="digest and file name")
    else:
        raise _LineError(
            "is not a checksum line; it may be cut off", expected="digest and file name"
        )
    algorithm, value = _digest(tag, digest, hint)
    return safe_path(_unescape(path) if is_escaped else path), algorithm, value


def _without_mark(path: str, is_universal: bool) -> str:  # noqa: FBT001 - private, one caller
    # Two characters follow the digest: a space, and how the file was read (as text or binary).
    # BSD `md5 -r` writes one space only.
    return path[1:] if path[:1] in (" ", "*") or is_universal else path


def _bag_path(path: str) -> str:
    """Return a path as RFC 8493 means it: after any blanks, line ends and percent signs encoded."""
    return safe_path(_BAG_ENCODED.sub(lambda match: chr(int(match[1], 16)), path.lstrip(" \t")))


def _digest(tag: str, text: str, hint: Algorithm | None) -> tuple[Algorithm, str]:
    if tag:
        algorithm = named_algorithm(tag)
        if algorithm is None:
            raise _LineError("uses a digest algorithm that Forebay does not know")
        return algorithm, _value(algorithm, text)
    # Checksums of 4 and 8 bytes are ambiguous and easily something else; they need a name.
    candidates = [*CRYPTOGRAPHIC, *([hint] if hint else [])]
    for algorithm in candidates:
        if (value := normalise_digest(algorithm, text)) is not None:
            return algorithm, value
    raise _LineError(
        "has a digest of the wrong length; it may be cut off",
        expected="32, 40, 56, 64, 96 or 128 hex digits, or base64",
        found=f"{len(text)} characters",
    )


def _value(algorithm: Algorithm, text: str) -> str:
    value = normalise_digest(algorithm, text)
    if value is None:
        raise _LineError(
            "has a digest of the wrong length; it may be cut off",
            expected=f"{2 * DIGEST_BYTES[algorithm]} hex digits, or base64",
            found=f"{len(text)} characters",
        )
    return value


def named_algorithm(name: str) -> Algorithm | None:
    """Return the algorithm of a name such as `SHA2-256`, `sha_256` or `md5sum`, None if unknown."""
    plain = re.sub(r"[-_ ]", "", name.lower()).removesuffix("sum")
    return _NAMED_ALGORITHMS.get(plain)


def _unescape(path: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[0] not in _ESCAPES:
            raise _LineError("has an escape that is not \\\\, \\n or \\r")
        return _ESCAPES[match[0]]

    return _ESCAPE.sub(replace, path)


def safe_path(path: str) -> str:
    """Return a relative path in normal form, '' for ''.

    Raises:
        UnsafePathError: `..`, absolute, UNC, a drive letter, `~`, NUL, or a folder.
    """
    if not path:
        return ""
    if "\0" in path or any("\ud800" <= each <= "\udfff" for each in path):
        raise UnsafePathError("names a file with a NUL character or half a character")
    parts = re.split(r"[/\\]", path)
    if ".." in parts:
        raise UnsafePathError("names a file through `..`")
    if path.startswith(("/", "\\", "~")) or _DRIVE.match(path):
        raise UnsafePathError("names a file by an absolute path")
    normal = "/".join(part for part in path.split("/") if part not in ("", "."))
    if not normal:
        raise UnsafePathError("names a folder, not a file")
    return normal


_HASHDEEP_ALGORITHMS: Final = ("md5", "sha1", "sha256")


def _take_hashdeep(parser: "_Parser", data: bytes) -> None:
    """Take a hashdeep list: comments, a heading of columns, and `size,digest,…,filename`.

    Names are not quoted and stand last, so that they may hold commas.
    """
    columns: list[str] = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        line = raw.removesuffix(b"\r")
        if line.startswith(b"%%%% ") and not line.startswith(b"%%%% HASHDEEP"):
            columns = line[5:].decode("latin-1").lower().split(",")
        elif line and not line.startswith((b"#", b"%")):
            parser.take_file(number, *_hashdeep_file(line, columns))


def _hashdeep_file(
    line: bytes, columns: Sequence[str]
) -> tuple[str, dict[Algorithm, str], int | None]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return "", {}, None
    values = dict(zip(columns, text.split(",", len(columns) - 1), strict=False))
    if len(values) < max(len(columns), 2):
        return "", {}, None
    digests = {Algorithm(name): values[name] for name in _HASHDEEP_ALGORITHMS if name in values}
    return values.get("filename", ""), digests, _size(values.get("size"))


_PATH_COLUMNS: Final = ("path", "filepath", "filename", "file", "key", "name")
_SIZE_COLUMNS: Final = ("sizebytes", "size", "filesize", "length", "bytes")


def _plain_column(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.strip().strip('"').lower())


def _table_columns(data: bytes) -> list[str]:
    """Return the columns of a tab-separated table of files and digests, empty for other files."""
    heading = data.partition(b"\n")[0].removesuffix(b"\r")
    columns = [_plain_column(cell) for cell in heading.decode("latin-1").split("\t")]
    has_path = any(column in _PATH_COLUMNS for column in columns)
    return columns if has_path and any(map(named_algorithm, columns)) else []


def _take_table(parser: "_Parser", data: bytes, columns: Sequence[str]) -> None:
    lines = _lines(data)
    next(lines)
    for number, line in lines:
        try:
            cells = _table_cells(line, len(columns))
        except _LineError as error:
            parser.refuse(number, error)
        else:
            parser.take_file(number, *_described_file(dict(zip(columns, cells, strict=True))))


def _table_cells(line: bytes, count: int) -> list[str]:
    try:
        cells = line.decode("utf-8").split("\t")
    except UnicodeDecodeError as error:
        raise _LineError("is not UTF-8 text", expected="UTF-8") from error
    if len(cells) != count:
        raise _LineError(
            "has not as many values as the heading has columns; it may be cut off",
            expected=f"{count} values",
            found=f"{len(cells)}",
        )
    return cells


def _described_file(values: Mapping[str, Any]) -> tuple[str, dict[Algorithm, str], int | None]:
    """Return path, digests and size from values by plain column name."""
    path = next((values[name] for name in _PATH_COLUMNS if _is_text(values.get(name))), "")
    digests = {
        algorithm: text.strip()
        for name, text in values.items()
        if _is_text(text) and (algorithm := named_algorithm(name))
    }
    size = next((values[name] for name in _SIZE_COLUMNS if name in values), None)
    return path, digests, _size(size)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _size(value: object) -> int | None:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _take_json(parser: "_Parser", data: bytes) -> None:
    """Take the declarations of a JSON manifest, in order."""
    try:
        files = list(_json_files(_json_document(data)))
    except _LineError as error:
        parser.refuse(1, error)
        return
    for number, (path, values) in enumerate(files, start=1):
        parser.take_file(number, *_json_file(path, values))


def _json_document(data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError as error:
        raise _LineError("is nested deeper than a manifest can be") from error
    except _TwiceError as error:
        raise _LineError("or another gives one name twice, with two values") from error
    except ValueError as error:
        raise _LineError("is not JSON, or the file is cut off", expected="JSON") from error


class _TwiceError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; what says one name twice cannot be trusted with either."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _TwiceError("a name is given twice")
    return values


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_LISTS: Final = ("files", "entries", "objects", "contents", "manifest")
_NESTED: Final = ("checksums", "hashes", "digests", "checksum")


def _json_files(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield path ('' when inside) and description of each file.

    Read are a list of descriptions; an object with that list; path → digest or description; and
    algorithm → path → digest.
    """
    if isinstance(document, dict):
        inner = next((document[key] for key in _LISTS if key in document), None)
        if isinstance(inner, list | dict):
            document = inner
    if isinstance(document, list):
        yield from (("", each) for each in document)
    elif isinstance(document, dict) and document and all(map(named_algorithm, document)):
        for algorithm, files in document.items():
            if not isinstance(files, dict):
                raise _not_manifest()
            yield from ((path, {algorithm: digest}) for path, digest in files.items())
    elif isinstance(document, dict) and document and all(map(_may_describe, document.values())):
        yield from document.items()
    else:
        raise _not_manifest()


def _may_describe(value: object) -> bool:
    if isinstance(value, dict):
        names = {_plain_column(name) for name in value}
        return any(map(named_algorithm, names)) or not names.isdisjoint(_NESTED)
    return isinstance(value, str) and any(
        normalise_digest(algorithm, value) for algorithm in CRYPTOGRAPHIC
    )


def _not_manifest() -> _LineError:
    error = _LineError(
        "is JSON, but no list of files and digests that Forebay reads",
        expected='[{"path": …, "sha256": …}, …]',
    )
    error.code = ReasonCode.UNSUPPORTED_FORMAT
    return error


def _json_file(path: str, values: Any) -> tuple[str, dict[Algorithm, str], int | None]:
    if isinstance(values, str):
        values = {_guessed(values): values}
    if not isinstance(values, dict):
        return path, {}, None
    plain = {_plain_column(name): value for name, value in values.items()}
    written, digests, size = _described_file(plain)
    for name in _NESTED:
        digests.update(_nested_digests(plain.get(name), plain))
    return path or written, digests, size


def _nested_digests(nested: object, around: Mapping[str, Any]) -> dict[Algorithm, str]:
    """Return digests given as an object, as a list of `{type, checksum}` or as one text."""
    if isinstance(nested, dict):
        return _described_file({_plain_column(name): text for name, text in nested.items()})[1]
    if isinstance(nested, list):
        found: dict[Algorithm, str] = {}
        for each in nested:
            if isinstance(each, dict):
                plain = {_plain_column(name): text for name, text in each.items()}
                found.update(_nested_digests(plain.get("checksum") or plain.get("value"), plain))
        return found
    if not isinstance(nested, str):
        return {}
    told = next((around[key] for key in _TYPE_COLUMNS if _is_text(around.get(key))), "")
    algorithm = named_algorithm(told or _guessed(nested))
    return {algorithm: nested.strip()} if algorithm else {}


_TYPE_COLUMNS: Final = ("algorithm", "type", "checksumtype", "checksumalgorithm", "checksummethod")


def _guessed(text: str) -> str:
    """Return the name of the algorithm whose digests are as long as this one."""
    fitting = (each for each in CRYPTOGRAPHIC if normalise_digest(each, text) is not None)
    return next((each.value for each in fitting), Algorithm.SHA256.value)


def _finding(error: _LineError, line: int, *, unit: str = "line") -> Finding:
    return Finding(
        code=error.code,
        message=f"{unit.capitalize()} {line} of the checksum file {error}; correct the file and"
        " upload it again.",
        owner=Owner.SENDER,
        position=f"{unit} {line}",
        expected=error.expected,
        found=error.found,
    )


_NOTHING_DECLARED: Final = Finding(
    code=ReasonCode.MANIFEST_MALFORMED,
    message="The checksum file declares nothing; upload it again with its content.",
    owner=Owner.SENDER,
    expected="at least one digest",
    found="none",
)


def _unsupported(kind: str) -> Finding:
    return Finding(
        code=ReasonCode.UNSUPPORTED_FORMAT,
        message=(
            f"The checksum file is in {kind} format, which Forebay does not read; send the digests"
            " as md5sum or sha256sum write them."
        ),
        owner=Owner.SENDER,
        position="line 1",
        expected="lines as md5sum, shasum or openssl dgst write them",
        found=kind,
    )


def _base_name(key: str) -> str:
    return key.rpartition("/")[2]
