"""The header of VCF and BCF: its rules (VCFv4.1 to 4.5, §1.2 to §1.5) and what it defines."""

import ipaddress
import re
import urllib.parse
from collections.abc import Callable
from typing import Final, NamedTuple

from forebay.domain.alignments import Reference
from forebay.domain.findings import Finding, ReasonCode, Verdict
from forebay.formats.hts_refusal import (
    MAX_HEADER_BYTES,
    MAX_REFERENCES,
    RefusedError,
    refused,
    suspect,
)
from forebay.formats.hts_vcf_reserved import (
    FORMAT_TYPES,
    INFO_TYPES,
    Definition,
    Version,
    reserved_format,
    reserved_info,
)

__all__ = ["Dictionary", "VcfHeader", "is_symbol"]

_FORMAT_LINE: Final = re.compile(r"##fileformat=VCFv(4)\.([0-5])")
_OLD_FORMAT: Final = re.compile(r"##(?:file)?format=(?:VCF(?:v[0-9.]+)|VCRv[0-9.]+)")
_META: Final = re.compile(r"##([^=<>\s][^=<>]*)=(.+)")
_ITEM: Final = re.compile(
    # Possessive, so that hostile lines do not make it try every way to split them.
    r"""([A-Za-z0-9_.]++)[ ]*+=[ ]*+"""
    r"""(?:"((?:[^"\\]|\\.)*+)"|(\[[^\]]*+\]|<[^>]*+>)|((?![\["<])[^,]*+))"""
    r"""[ ]*+(?:,[ ]*+(?=.)|$)"""
)
_COLUMNS: Final = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
_KEY_SINCE_4_3: Final = re.compile(r"[A-Za-z_][0-9A-Za-z_.]*|1000G")
_COUNT: Final = re.compile(r"[0-9]{1,9}")
_KEY_QUOTED: Final = re.compile(r"[^,;=<>]+")
_KEY: Final = re.compile(r"[^\s,;=:<>]+")
# HLA alleles are the only sequences whose names hold an asterisk, and (before 4.3) a colon.
_HLA: Final = r"HLA-[A-Z0-9]+\*[0-9A-Z:]+"
_CONTIG: Final = re.compile(r"[^\s,<>]+")
_CONTIG_SINCE_4_3: Final = re.compile(
    rf"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&+./:;=?@^_|~-]*|{_HLA}"
)
_SYMBOL: Final = re.compile(r"[^\s,<>]+")
_STRUCTURAL: Final = ("DEL", "INS", "DUP", "INV", "CNV", "BND")
_NUMBERED: Final = re.compile(r"(?:DEL|INS|DUP|INV|CNV|BND)[0-9]+")
_ANCESTOR: Final = re.compile(r"""[^\s,:;=<>"]+""")
_PLAIN_QUOTED: Final = ("Description", "Source", "Version")
_NUMBERS: Final = {(4, 0): "AG.R", (4, 1): "AG.R", (4, 2): "AGR.", (4, 3): "AGR."}
_NO_END: Final = 1 << 62
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")

_Items = dict[str, str]


class Dictionary:
    """The numbers by which BCF records name keys or contigs: given by IDX, or by order (§6.2.1)."""

    def __init__(self, *names: str) -> None:
        self.name_of = dict(enumerate(names))
        self._index_of = {name: index for index, name in self.name_of.items()}
        self._next = len(names)

    def add(self, name: str, index: int | None) -> bool:
        """Take the next definition; return whether its number contradicts an earlier one."""
        if name in self._index_of:
            return index not in (None, self._index_of[name])
        if index is None:
            index = self._next
        if index in self.name_of:
            return True
        self.name_of[index] = name
        self._index_of[name] = index
        self._next = max(self._next, index + 1)
        return False


class _Meta(NamedTuple):
    items: _Items
    quoted: frozenset[str]
    at: str


class VcfHeader:
    """Takes header lines one by one and refuses the first that breaks a rule."""

    def __init__(self) -> None:
        self.file_format = ""
        self.version: Version = (4, 0)
        self.info: dict[str, Definition] = {}
        self.format: dict[str, Definition] = {}
        self.contigs: dict[str, Reference] = {}
        self.contig_index = Dictionary()
        self.filters: set[str] = {"PASS"}
        self.keys = Dictionary("PASS")
        self.samples: tuple[str, ...] = ()
        self.columns = 0
        self.warnings: dict[str, Finding] = {}
        self.lines = 0
        self.conflicts: RefusedError | None = None
        """Why records of BCF could mean two things; text has names and does not mind."""
        self._bytes = 0
        self._reserved_info: dict[str, Definition] = {}
        self._reserved_format: dict[str, Definition] = {}
        self._kinds: dict[str, Callable[[_Meta], None]] = {
            "INFO": self._info,
            "FORMAT": self._format,
            "FILTER": self._filter,
            "ALT": self._alt,
            "contig": self._contig,
            "SAMPLE": self._sample,
            "PEDIGREE": self._pedigree,
            "META": self._meta,
        }

    @property
    def is_complete(self) -> bool:
        """Whether the line of column names was read, which ends the header."""
        return self.columns > 0

    @property
    def references(self) -> tuple[Reference, ...]:
        """The contigs, in order."""
        return tuple(self.contigs.values())

    def last_position(self, contig: str) -> int:
        """Return the highest POS on a contig: one more than its length stands for its end."""
        reference = self.contigs.get(contig)
        return reference.length + 1 if reference and reference.length else _NO_END

    def add(self, raw: bytes) -> None:
        """Take the next line, without its line feed."""
        self.lines += 1
        self._bytes += len(raw)
        if self._bytes > MAX_HEADER_BYTES or len(self.contigs) > MAX_REFERENCES:
            raise refused(
                ReasonCode.LIMIT_EXCEEDED,
                f"The header is larger than {MAX_HEADER_BYTES >> 20} MiB.",
                at=self._at(),
            )
        text = self._decoded(raw.removesuffix(b"\r"))
        if self.lines == 1:
            self._first(text)
        elif text.startswith("##"):
            self._meta_line(text)
        else:
            self._column_line(text)

    def finish(self) -> None:
        """Say that the file or the header block ends here."""
        if not self.is_complete:
            raise self._broken(
                "the line of column names is missing.", expected="#CHROM, POS, ID, …"
            )

    def _decoded(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            if self.version >= (4, 3):
                raise self._broken("the line is not UTF-8.") from None
            self.warn("The header holds text that is not ASCII or UTF-8.")
            return raw.decode("latin-1")

    def _first(self, text: str) -> None:
        match = _FORMAT_LINE.fullmatch(text)
        if match is None:
            if _OLD_FORMAT.fullmatch(text):
                raise refused(
                    ReasonCode.UNSUPPORTED_FORMAT,
                    "The file is of a version of VCF that is not supported.",
                    at="line 1",
                    expected="VCFv4.0 to VCFv4.5",
                    verdict=Verdict.UNSUPPORTED,
                )
            raise self._broken(
                "the first line does not state the version of VCF.", expected="##fileformat=VCFv4.x"
            )
        self.file_format = text.removeprefix("##fileformat=")
        self.version = (int(match[1]), int(match[2]))
        if self.version > (4, 0):
            self._reserved_info = reserved_info(self.version)
            self._reserved_format = reserved_format(self.version)

    def _meta_line(self, text: str) -> None:
        match = _META.fullmatch(text)
        if match is None:
            raise self._broken("a ## line is not a key, = and a value.", expected="##key=value")
        key, value = match.groups()
        if key in self._kinds:
            self._kinds[key](self._structured(value))
        elif key == "fileformat":
            raise self._broken("##fileformat stands a second time.")
        elif key in ("assembly", "pedigreeDB"):
            self._url(value)

    def _structured(self, value: str) -> _Meta:
        if value.endswith(" "):
            value = value.rstrip(" ")
            self.warn("A line of the header has spaces at its end.")
        if not (value.startswith("<") and value.endswith(">")):
            raise self._broken("the definition is not between < and >.", expected="<ID=…,…>")
        items: _Items = {}
        quoted = set()
        at, body = 0, value[1:-1].lstrip(" ")
        while at < len(body):
            match = _ITEM.match(body, at)
            if match is None:
                raise self._broken(
                    "the definition is not a list of key=value; a quotation mark may be missing"
                    " or too many, or a value hold a comma.",
                    expected='key=value or key="text", separated by commas',
                )
            key, text, listed, plain = match.groups()
            if key in items:
                raise self._broken(f"the definition has {_short(key)} twice.")
            if text is not None:
                quoted.add(key)
            items[key] = next(each for each in (text, listed, plain) if each is not None).strip(" ")
            at = match.end()
        return _Meta(items, frozenset(quoted), self._at())

    def _require(self, meta: _Meta, *keys: str) -> None:
        """Require keys in this order at the start, Description in quotation marks."""
        if next(iter(meta.items), "") != keys[0] or [k for k in meta.items if k in keys] != list(
            keys
        ):
            raise self._broken("keys are missing or in another order.", expected=", ".join(keys))
        if "Description" in keys and "Description" not in meta.quoted:
            # One bare word in INFO or FORMAT, as scripts write it, cannot be misread.
            if keys == ("ID", "Description") or not meta.items["Description"].isalnum():
                raise self._broken("the Description is not in quotation marks.")
            self.warn("A Description is not in quotation marks.")

    def _key_rule(self, key: str, *, is_quoted: bool) -> None:
        rule = _KEY_SINCE_4_3 if self.version >= (4, 3) else _KEY
        if self.version < (4, 3) and (is_quoted or self.version == (4, 0)):
            rule = _KEY_QUOTED
        if rule.fullmatch(key) is None:
            raise self._broken("the ID has characters not allowed.", expected="letters, digits, _.")

    def _definition(self, meta: _Meta, types: frozenset[str], numbers: tuple[str, ...]) -> None:
        if "Description" in meta.items:
            self._require(meta, "ID", "Number", "Type", "Description")
        else:
            self._require(meta, "ID", "Number", "Type")
            self.warn("A definition has no Description.")
        self._key_rule(meta.items["ID"], is_quoted="ID" in meta.quoted)
        number, kind = meta.items["Number"], meta.items["Type"]
        if number == "0" and kind != "Flag":
            self.warn("A key is defined to have no values, but is no flag.")
        if not (_COUNT.fullmatch(number) or number in numbers):
            raise self._broken(
                "the Number is not one this version of VCF knows.",
                expected="a whole number, " + ", ".join(numbers),
            )
        if kind not in types:
            raise self._broken("the Type does not exist.", expected=", ".join(sorted(types)))

    def _info(self, meta: _Meta) -> None:
        numbers = tuple(_NUMBERS.get(self.version, "AGR."))
        self._definition(meta, INFO_TYPES, (*numbers, "-1") if self.version == (4, 0) else numbers)
        self._define(meta, self.info, self._reserved_info)

    def _format(self, meta: _Meta) -> None:
        numbers = tuple(_NUMBERS.get(self.version, "AGRP."))
        if self.version >= (4, 5):
            numbers = (*numbers, "LA", "LR", "LG", "M")
        self._definition(meta, FORMAT_TYPES, numbers)
        self._define(meta, self.format, self._reserved_format)

    def _define(
        self, meta: _Meta, known: dict[str, Definition], reserved: dict[str, Definition]
    ) -> None:
        key = meta.items["ID"]
        definition = Definition(meta.items["Number"], meta.items["Type"])
        rule = reserved.get(key)
        if rule is not None and definition != rule:
            if key == "GQ" and definition == Definition("1", "Float"):
                self.warn(_FLOAT_GQ)
            elif definition == Definition(".", rule.type):
                self.warn(_UNBOUNDED)
            else:
                raise self._broken(
                    f"{key} is defined otherwise than the specification reserves it.",
                    expected=f"Number={rule.number}, Type={rule.type}",
                    found=f"Number={definition.number}, Type={definition.type}",
                )
        self._index(meta, self.keys)
        if known.setdefault(key, definition) != definition:
            self.warn("A key is defined twice, in different ways; the first definition counts.")

    def _filter(self, meta: _Meta) -> None:
        self._require(meta, "ID", "Description")
        name = meta.items["ID"]
        if name == "0" or re.fullmatch(r"[^\s;]+", name) is None:
            raise self._broken("the ID is not one a filter may have.")
        self.filters.add(name)
        self._index(meta, self.keys)

    def _alt(self, meta: _Meta) -> None:
        self._require(meta, "ID", "Description")
        name = meta.items["ID"]
        if tuple(meta.items)[1] != "Description":
            raise self._broken("keys stand before the Description.", expected="ID, Description")
        if not is_symbol(name) or _NUMBERED.fullmatch(name):
            raise self._broken(
                "the ID is not one a symbolic allele may have.",
                expected="DEL, INS, DUP, INV, CNV or another name, subtypes after a colon",
            )

    def _contig(self, meta: _Meta) -> None:
        name = self._id(meta)
        rule = _CONTIG_SINCE_4_3 if self.version >= (4, 3) else _CONTIG
        if rule.fullmatch(name) is None:
            raise self._broken("the ID is not a name a sequence can have.")
        length = meta.items.get("length", "0")
        if re.fullmatch("[0-9]{1,18}", length) is None:
            self.warn("A contig has a length that is not a whole number.")
            length = "0"
        if name not in self.contigs:
            self.contigs[name] = Reference(name, int(length), meta.items.get("md5", ""))
        self._index(meta, self.contig_index)

    def _index(self, meta: _Meta, dictionary: Dictionary) -> None:
        text = meta.items.get("IDX", "")
        index = int(text) if _COUNT.fullmatch(text) else None
        if dictionary.add(meta.items["ID"], index):
            self.conflicts = self.conflicts or self._broken(
                "the number of the definition (IDX) contradicts an earlier one.",
                expected="each IDX once, the same for each ID",
                found=f"IDX={text}",
            )

    def _sample(self, meta: _Meta) -> None:
        name = self._id(meta)
        if self.version >= (4, 3):
            if _CONTIG_SINCE_4_3.fullmatch(name) is None:
                raise self._broken("the ID has characters not allowed.")
        elif meta.quoted - set(_PLAIN_QUOTED):
            raise self._broken("a value other than the Description is in quotation marks.")

    def _pedigree(self, meta: _Meta) -> None:
        if self.version >= (4, 3):
            self._id(meta)
        names = (value for key, value in meta.items.items() if key not in meta.quoted)
        if not all(map(_ANCESTOR.fullmatch, names)):
            raise self._broken("a name has spaces or punctuation that is not allowed.")

    def _meta(self, meta: _Meta) -> None:
        self._require(meta, "ID")
        number, kind, values = (meta.items.get(key, "") for key in ("Number", "Type", "Values"))
        if (
            not (_COUNT.fullmatch(number) or number in ("A", "G", "R", "."))
            or kind not in INFO_TYPES
        ):
            raise self._broken("the Number or the Type does not exist.")
        if not values.startswith("["):
            raise self._broken("the Values are not in square brackets.", expected="[value, …]")

    def _id(self, meta: _Meta) -> str:
        name = meta.items.get("ID", "")
        if not name:
            raise self._broken("the ID is missing.", expected="ID=…")
        return name

    def _url(self, value: str) -> None:
        inner = value[1:-1] if value.startswith("<") and value.endswith(">") else value
        if not inner:
            raise self._broken("the address is empty.", expected="a URL")
        if _URL.fullmatch(inner) is None:
            self.warn("A ##assembly or ##pedigreeDB line is not a URL.")
        elif not _has_real_host(inner):
            raise self._broken("the address is not a valid URL.", expected="a URL")

    def _column_line(self, text: str) -> None:
        columns = text.split("\t")
        if tuple(columns[:8]) != _COLUMNS or columns[8:9] not in ([], ["FORMAT"]):
            raise self._broken(
                "neither a ## line nor the names of the columns.",
                expected="#CHROM, POS, ID, REF, ALT, QUAL, FILTER, INFO, then FORMAT and samples,"
                " separated by tabs",
            )
        samples = columns[9:]
        if len(columns) == 9:
            raise self._broken("there is a column FORMAT, but there are no samples.")
        if "" in samples or len(set(samples)) != len(samples):
            raise self._broken("names of samples are empty or given twice.")
        self.columns = len(columns)
        self.samples = tuple(samples)

    def _at(self) -> str:
        return f"line {self.lines}"

    def warn(self, message: str) -> None:
        """Remember something odd, once."""
        if message not in self.warnings:
            finding = suspect(ReasonCode.VCF_HEADER_SUSPECT, message, at=self._at())
            self.warnings[message] = finding

    def _broken(self, rule: str, *, expected: str = "", found: str = "") -> RefusedError:
        return refused(
            ReasonCode.VCF_HEADER_MALFORMED,
            f"Line {self.lines}: {rule}",
            at=self._at(),
            expected=expected,
            found=found,
        )


def is_symbol(name: str) -> bool:
    """Tell whether a name is one a symbolic allele may have; types come before a colon."""
    first, colon, _ = name.partition(":")
    return _SYMBOL.fullmatch(name) is not None and (not colon or first in _STRUCTURAL)


def _has_real_host(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host:
        return parts.scheme == "file"
    if any(character.isalpha() for character in host):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _short(key: str) -> str:
    return key if len(key) <= 20 else "a key"


_UNBOUNDED: Final = (
    "The header defines a reserved key with any number of values; the specification says how many."
)
_FLOAT_GQ: Final = (
    "The header defines GQ as Float, as freebayes does; the specification reserves it as Integer."
)
