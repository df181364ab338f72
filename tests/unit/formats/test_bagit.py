import hashlib
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.findings import ReasonCode, Verdict
from forebay.domain.inspection import Inspection
from forebay.domain.integrity import Algorithm, Digest, Witness
from forebay.formats import bagit
from forebay.formats.bagit import Bag, inspect_bag
from forebay.formats.source import BytesSource

Files = dict[str, bytes]


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()


def manifest(files: Files, algorithm: str = "sha256", end: str = "\n") -> bytes:
    return "".join(
        f"{digest(data, algorithm)}  {path}{end}"
        for path, data in files.items()
        if path.startswith("data/")
    ).encode()


def bag(version: str = "1.0", payload: Files | None = None) -> Files:
    payload = payload or {"a": b"one", "b": b"two"}
    files = {f"data/{name}": data for name, data in payload.items()}
    files["manifest-sha256.txt"] = manifest(files)
    files["bagit.txt"] = f"BagIt-Version: {version}\nTag-File-Character-Encoding: UTF-8\n".encode()
    return files


def inspect(files: Files, **known: Digest) -> Inspection[Bag]:
    sources = {path: BytesSource(data, name=path) for path, data in files.items()}
    return inspect_bag(
        sources, known={path.replace("__", "/"): [each] for path, each in known.items()}
    )


def refusal(files: Files) -> set[ReasonCode]:
    inspection = inspect(files)
    assert inspection.verdict in (Verdict.INVALID, Verdict.UNSUPPORTED)
    assert inspection.record is None
    return {finding.code for finding in inspection.findings}


@pytest.mark.parametrize("version", ["0.93", "0.94", "0.95", "0.96", "0.97", "1.0"])
def test_bag_of_every_version_is_read(version: str) -> None:
    files = bag(version)
    files["bag-info.txt"] = (
        b"Contact-Name: Jane Doe\nExternal-Description: of\n  Jane Doe\nPayload-Oxum: 6.2\n"
    )
    inspection = inspect(files)
    assert inspection.verdict is Verdict.VALID, inspection.findings
    assert inspection.record is not None
    assert inspection.record.version == version
    assert inspection.record.algorithms == (Algorithm.SHA256,)
    assert [(each.path, each.line) for each in inspection.record.entries] == [
        ("data/a", 1),
        ("data/b", 2),
    ]
    assert inspection.record.as_metadata()["info"] == {"payload-oxum": "6.2"}
    assert "Jane" not in str(inspection.record.as_metadata())


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "ISO-8859-1", "windows-1252"])
def test_line_ends_and_encodings_of_tag_files_are_read(end: str, encoding: str) -> None:
    files: Files = {"data/Müller.bam": b"x"}
    text = manifest(files, end=end).decode()
    files["manifest-sha256.txt"] = text.encode(encoding)
    files["bagit.txt"] = end.join(
        ["BagIt-Version: 1.0", f"Tag-File-Character-Encoding: {encoding}", ""]
    ).encode()
    assert inspect(files).verdict is Verdict.VALID


@pytest.mark.parametrize(
    "name,written",
    [
        ("a\nb", "a%0Ab"),
        ("a\rb", "a%0db"),
        ("a%b", "a%25b"),
        ("a%0Ab", "a%250Ab"),
        ("%7Ea", "%7Ea"),
        ("a b  c", "a b  c"),
    ],
)
def test_encoded_path_of_version_one_names_its_file(name: str, written: str) -> None:
    files = bag(payload={name: b"x"})
    files["manifest-sha256.txt"] = f"{digest(b'x')} data/{written}\n".encode()
    assert inspect(files).verdict is Verdict.VALID


def test_percent_sign_means_itself_before_version_one() -> None:
    files = bag("0.97", {"100%25": b"x"})
    files["manifest-sha256.txt"] = f"{digest(b'x')} data/100%25\n".encode()
    assert inspect(files).verdict is Verdict.VALID


def warn_dots(files: Files) -> None:
    files["manifest-sha256.txt"] = files["manifest-sha256.txt"].replace(b"data/a", b"./data/a")


def warn_star(files: Files) -> None:
    files["manifest-sha256.txt"] = files["manifest-sha256.txt"].replace(b"  data", b" *data")


def warn_twice(files: Files) -> None:
    files["manifest-sha256.txt"] += files["manifest-sha256.txt"]


def warn_fetch(files: Files) -> None:
    files["fetch.txt"] = b"https://example.org/a 3 data/a\n"


def warn_bom(files: Files) -> None:
    files["manifest-sha256.txt"] = b"\xef\xbb\xbf" + files["manifest-sha256.txt"]


def warn_unknown_algorithm(files: Files) -> None:
    files["manifest-sha3256.txt"] = b"00 data/a\n"


def warn_case(files: Files) -> None:
    files["data/A"] = b"other"
    files["manifest-sha256.txt"] = manifest(files)


def warn_normalisation(files: Files) -> None:
    files["data/ü"] = b"x"
    text = manifest(files).decode()
    files["manifest-sha256.txt"] = unicodedata.normalize("NFD", text).encode()


def warn_empty(files: Files) -> None:
    del files["data/a"], files["data/b"]
    files["manifest-sha256.txt"] = b""


@pytest.mark.parametrize(
    "spoil",
    [
        warn_dots,
        warn_star,
        warn_twice,
        warn_fetch,
        warn_bom,
        warn_unknown_algorithm,
        warn_case,
        warn_normalisation,
        warn_empty,
    ],
)
def test_oddity_is_a_warning(spoil: Callable[[Files], None]) -> None:
    files = bag()
    spoil(files)
    inspection = inspect(files)
    assert inspection.verdict is Verdict.WARNING, inspection.findings
    assert {finding.code for finding in inspection.findings} == {ReasonCode.BAG_SUSPECT}
    assert inspection.record is not None


def without(name: str) -> Callable[[Files], None]:
    return lambda files: files.__delitem__(name)


def put(name: str, data: bytes) -> Callable[[Files], None]:
    return lambda files: files.update({name: data})


def declared(text: str) -> Callable[[Files], None]:
    return put("bagit.txt", text.encode())


DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
SHA = digest(b"one")


@pytest.mark.parametrize(
    "spoil,code",
    [
        (without("bagit.txt"), ReasonCode.BAG_MALFORMED),
        (without("manifest-sha256.txt"), ReasonCode.BAG_MALFORMED),
        (without("data/a"), ReasonCode.BAG_INCOMPLETE),
        (put("data/a", b"One"), ReasonCode.DIGEST_MISMATCH),
        (put("data/c", b"more"), ReasonCode.BAG_UNLISTED_FILE),
        (put("manifest-md5.txt", b""), ReasonCode.BAG_UNLISTED_FILE),
        (declared("\ufeff" + DECLARATION), ReasonCode.BAG_MALFORMED),
        (declared("BagIt-Version: 1.0\n"), ReasonCode.BAG_MALFORMED),
        (
            declared("BagIt-Version: one\nTag-File-Character-Encoding: UTF-8"),
            ReasonCode.BAG_MALFORMED,
        ),
        (declared(DECLARATION + "Other: x\n"), ReasonCode.BAG_MALFORMED),
        (declared(DECLARATION.replace("1.0", "2.0")), ReasonCode.UNSUPPORTED_FORMAT),
        (declared(DECLARATION.replace("UTF-8", "UTF-7")), ReasonCode.UNSUPPORTED_FORMAT),
        (declared(DECLARATION.replace("UTF-8", "ISO-8859-99")), ReasonCode.UNSUPPORTED_FORMAT),
        (put("bagit.txt", b"\xff\xff"), ReasonCode.BAG_MALFORMED),
        (put("manifest-sha256.txt", b"\xff\xff"), ReasonCode.BAG_MALFORMED),
        (put("bag-info.txt", b"Payload-Oxum: 7.2\n"), ReasonCode.BAG_INCOMPLETE),
        (put("bag-info.txt", b"Payload-Oxum: six\n"), ReasonCode.BAG_INCOMPLETE),
        (put("bag-info.txt", b"Payload-Oxum: " + b"9" * 9999 + b".1"), ReasonCode.BAG_INCOMPLETE),
        (put("bag-info.txt", b"no label\n"), ReasonCode.BAG_MALFORMED),
        (put("bag-info.txt", b"  continued: nothing\n"), ReasonCode.BAG_MALFORMED),
        (put("tagmanifest-sha256.txt", f"{SHA} bag-info.txt".encode()), ReasonCode.BAG_INCOMPLETE),
        (put("tagmanifest-sha256.txt", f"{SHA} bagit.txt".encode()), ReasonCode.DIGEST_MISMATCH),
        (put("tagmanifest-sha256.txt", f"{SHA} data/a".encode()), ReasonCode.BAG_MALFORMED),
        (put("manifest-sha256.txt", f"{SHA} bagit.txt".encode()), ReasonCode.BAG_MALFORMED),
        (put("manifest-sha256.txt", f"{SHA[1:]} data/a".encode()), ReasonCode.BAG_MALFORMED),
        (put("manifest-sha256.txt", f"{SHA}".encode()), ReasonCode.BAG_MALFORMED),
        (put("fetch.txt", b"https://example.org/c - data/c\n"), ReasonCode.BAG_FETCH_REFUSED),
        (put("fetch.txt", b"data/a\n"), ReasonCode.BAG_MALFORMED),
        (put("fetch.txt", b"https://example.org/c - /etc/passwd\n"), ReasonCode.UNSAFE_NAME),
    ],
)
def test_broken_bag_is_refused(spoil: Callable[[Files], None], code: ReasonCode) -> None:
    files = bag()
    spoil(files)
    assert code in refusal(files)


@pytest.mark.parametrize(
    "path",
    ["data/../x", "/tmp/x", "~/x", "C:\\x", "\\\\?\\UNC\\h\\x", "data/..%2F/x%0A/../../y", "//h/x"],
)
@pytest.mark.parametrize("place", ["manifest-sha256.txt", "tagmanifest-sha256.txt"])
def test_path_that_leaves_the_bag_is_refused(path: str, place: str) -> None:
    files = bag()
    files[place] = files.get(place, b"") + f"{SHA}  {path}\n".encode()
    assert ReasonCode.UNSAFE_NAME in refusal(files)


def test_file_listed_twice_with_different_digests_is_refused() -> None:
    files = bag()
    files["manifest-sha256.txt"] += f"{'0' * 64}  data/a\n".encode()
    assert ReasonCode.BAG_MALFORMED in refusal(files)


def test_bag_of_unknown_algorithms_alone_is_unsupported() -> None:
    files = bag()
    files["manifest-sha3512.txt"] = files.pop("manifest-sha256.txt")
    assert inspect(files).verdict is Verdict.UNSUPPORTED


def test_draft_bag_may_list_each_file_in_one_manifest_only() -> None:
    files = bag("0.97")
    files["manifest-md5.txt"] = f"{digest(b'one', 'md5')}  data/a\n".encode()
    assert inspect(files).verdict is Verdict.VALID


def test_finding_gives_manifest_and_line_and_never_the_name() -> None:
    files = bag(payload={"doe_jane": b"x"})
    files["data/doe_jane"] = b"y"
    (finding,) = inspect(files).findings
    assert finding.position == "manifest-sha256.txt line 1"
    assert "jane" not in str(finding.as_dict())


def test_file_with_known_digest_is_not_read_again() -> None:
    files = bag()
    plain = inspect(files)
    known = {
        "data__a": Digest(Algorithm.SHA256, digest(b"one"), Witness.FOREBAY),
        "data__b": Digest(Algorithm.SHA256, digest(b"two"), Witness.STORAGE),
    }
    spared = inspect(files, **known)
    assert spared.verdict is Verdict.VALID
    assert plain.bytes_read - spared.bytes_read == 6
    wrong = Digest(Algorithm.SHA256, "0" * 64, Witness.FOREBAY)
    assert inspect(files, data__a=wrong).verdict is Verdict.INVALID


def test_oversized_tag_file_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bagit, "MAX_TAG_FILE_BYTES", 100)
    files = bag()
    files["bag-info.txt"] = b"a: b\n" * 100
    assert refusal(files) == {ReasonCode.LIMIT_EXCEEDED}


def test_many_findings_are_bounded_and_the_last_counts_the_rest() -> None:
    files = bag()
    files["manifest-sha256.txt"] = b"x\n" * 1000
    findings = inspect(files).findings
    assert len(findings) == 100
    assert "more" in findings[-1].message


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="/\\~:\0", codec="utf-8"), min_size=1).filter(
            lambda name: name not in (".", "..") and name == name.strip()
        ),
        st.binary(max_size=20),
        min_size=1,
        max_size=4,
    )
)
def test_bag_written_by_the_rules_is_accepted_and_any_changed_byte_refused(
    payload: dict[str, bytes],
) -> None:
    files: Files = {f"data/{name}": data for name, data in payload.items()}
    lines = [
        f"{digest(data)}  {path.replace('%', '%25')}".replace("\n", "%0A").replace("\r", "%0D")
        for path, data in files.items()
    ]
    files["manifest-sha256.txt"] = "\n".join(lines).encode()
    files["bagit.txt"] = DECLARATION.encode()
    assert inspect(files).verdict in (Verdict.VALID, Verdict.WARNING), inspect(files).findings
    for path in [path for path in files if path.startswith("data/")]:
        assert inspect({**files, path: files[path] + b"!"}).verdict is Verdict.INVALID


@given(
    st.binary(max_size=200), st.sampled_from(["bagit.txt", "bag-info.txt", "manifest-sha256.txt"])
)
def test_any_bytes_in_a_tag_file_are_judged(data: bytes, name: str) -> None:
    files = bag()
    files[name] = data
    assert inspect(files).verdict in Verdict
