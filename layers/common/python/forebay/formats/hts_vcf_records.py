"""The rules of a VCF record (VCFv4.1 to 4.5, §1.6)."""

import re
from typing import Final, NamedTuple

from forebay.domain.findings import Finding, ReasonCode
from forebay.formats.hts_refusal import RefusedError, beyond_contig, joined, refused, suspect
from forebay.formats.hts_vcf_header import VcfHeader
from forebay.formats.hts_vcf_order import UNSORTED, VariantOrder
from forebay.formats.hts_vcf_reserved import Definition, reserved_format, reserved_info
from forebay.formats.hts_vcf_structural import (
    STRUCTURAL_KEYS,
    TANDEM_REPEAT,
    broken_structural_rule,
    check_phase_sets,
)
from forebay.formats.hts_vcf_values import count_fits, is_allele, is_of_type

__all__ = ["VcfRecords", "broken_record", "shape_of"]

_CONTIG: Final = re.compile(r"<[^\s<>,]+>|[^\s<>,:*=][^\s<>,:]*|HLA-[A-Z0-9]+\*[0-9A-Z:]+")
_CONTIG_SINCE_4_3: Final = re.compile(
    r"<[^\s<>,]+>|[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&+./:;=?@^_|~-]*"
    r"|HLA-[A-Z0-9]+\*[0-9A-Z:]+"
)
_ID: Final = re.compile(r"[^\s;]+(?:;[^\s;]+)*")
_BASES: Final = re.compile(r"[ACGTNacgtn]+")
_AMBIGUOUS: Final = re.compile(r"[ACGTRYSWKMBDHVNacgtryswkmbdhvn]+")
# Bases; the missing one; an overlapping deletion; a single breakend on either side.
_ALLELE: Final = re.compile(r"[ACGTNacgtn]+|\*|\.[ACGTNacgtn]+|[ACGTNacgtn]+\.")
_BREAKEND: Final = re.compile(
    r"(?P<before>[ACGTNacgtn.]*)(?P<way>[\[\]])(?P<mate>[^\s\[\]]+:[0-9]+|<[^\s<>\[\]]+>)(?P=way)"
    r"(?P<after>[ACGTNacgtn.]*)"
)
_FLOAT: Final = re.compile(
    r"[-+]?(?:(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][-+]?[0-9]++)?|inf(?:inity)?|nan)",
    re.IGNORECASE,
)
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_INTEGERS: Final = range(-(2**31) + 8, 2**31)
_FILTER: Final = re.compile(r"[^\s;]+(?:;[^\s;]+)*")
_KEY: Final = re.compile(r"[^\s;=,:]+")
_INFO_KEY_SINCE_4_3: Final = re.compile(r"[A-Za-z_][0-9A-Za-z_.]*|1000G")
_FORMAT_KEY_SINCE_4_3: Final = re.compile(r"[A-Za-z_][0-9A-Za-z_.]*")
# Percent encoding came with 4.3; only from 4.4 on the reference validator takes it in keys.
_FORMAT_KEY_SINCE_4_4: Final = re.compile(r"[A-Za-z_](?:[0-9A-Za-z_.]|%[0-9A-Fa-f]{2})*")
_CIGAR: Final = re.compile(r"(?:[0-9]+[MIDNSHPX=])+")
_GENOTYPE: Final = re.compile(r"(?:\.|[0-9]{1,9})(?:[/|](?:\.|[0-9]{1,9}))*")
_SPACE: Final = re.compile(r"\s")
_NEVER_NEGATIVE: Final = frozenset({"AC", "AF", "AN", "DP", "MQ0", "NS"})
_FLAG_VALUES: Final = frozenset({"", "0", "1"})
_FIXED: Final = 8
_UNKNOWN_PLOIDY: Final = 0
_REMEMBERED: Final = 1 << 17
_REMEMBERED_CHARACTERS: Final = 200
_TO_SHAPE: Final = bytes.maketrans(b"123456789", b"000000000")
# So many digits may be more than an integer can hold, or not.
_MANY_DIGITS: Final = "0" * 10
_MAX_CONTIGS_SEEN: Final = 1 << 20
_MAX_ALLELES_AT_ONCE: Final = 1 << 16


class _Format(NamedTuple):
    """What a FORMAT column asks of samples: its keys and how many values of what type each has."""

    keys: tuple[str, ...]
    definitions: tuple[Definition | None, ...]
    is_declared: tuple[bool, ...]
    good_samples: dict[int, set[str]]
    """Shapes of samples that keep the rules, by the number of alternate alleles."""


class _Memory:
    """Bounds how many texts are remembered, and how long they are."""

    def __init__(self) -> None:
        self._left = _REMEMBERED

    def has_room(self, text: str) -> bool:
        """Tell whether one more text may be kept; it then counts as kept."""
        if len(text) > _REMEMBERED_CHARACTERS or not self._left or _MANY_DIGITS in text:
            return False
        self._left -= 1
        return True


class VcfRecords:
    """Checks records one by one; what was found good is remembered, since values repeat.

    No rule but those for GT and flags depends on which digits a value has, only on how many. So it
    is the *shape* of a value that is remembered, with all digits taken for 0: of these there are
    few, even where hardly any value comes twice.
    """

    def __init__(self, header: VcfHeader) -> None:
        self.count = 0
        self.warnings: dict[str, Finding] = {}
        self._header = header
        self._version = header.version
        is_old = header.version < (4, 1)
        self._reserved_info = {} if is_old else reserved_info(header.version)
        self._reserved_format = {} if is_old else reserved_format(header.version)
        self._line = 0
        self._order = VariantOrder()
        self._last_position = 0
        self._memory = _Memory()
        self._alleles: dict[str, list[str]] = {".": []}
        self._filters = {"PASS", "."}
        self._qualities = {"."}
        self._items: dict[int, dict[str, str]] = {}
        self._formats: dict[str, _Format] = {}
        self._genotypes: dict[int, set[str]] = {}

    def take(self, line: str, shape: str, number: int) -> None:
        """Check the next record, given with its shape."""
        self._line = number
        self.count += 1
        fields, shapes = line.split("\t", _FIXED + 1), shape.split("\t", _FIXED + 1)
        samples = fields[-1].split("\t") if len(fields) > _FIXED + 1 else []
        columns = len(fields) - 1 + len(samples) if samples else len(fields)
        if columns != self._header.columns:
            if line.startswith("##fileformat="):
                at = f"line {number}"
                raise joined(ReasonCode.VCF_RECORD_MALFORMED, "VCF", at=at, tool="bcftools concat")
            raise self._broken(
                "the record has not as many columns as the header.",
                expected=f"{self._header.columns} columns separated by tabs",
                found=f"{columns} columns",
            )
        chrom, text, _, reference, alternates, _, filters, info = fields[:_FIXED]
        position = self._position(text)
        is_ambiguous = _BASES.fullmatch(reference) is None
        if is_ambiguous:
            self._reference(reference)
        alleles = self._alleles.get(alternates)
        if alleles is None:
            alleles = self._alternates(alternates, is_ambiguous=is_ambiguous)
        if reference in alleles:
            self._warn("An allele of ALT is the same as REF.")
        self._site(fields, shapes)
        if position > self._last_position and "beyond" not in self.warnings:
            self.warnings["beyond"] = beyond_contig(f"line {number}")
        if filters not in self._filters:
            self._filter(filters)
        if info != ".":
            self._info(info, shapes[_FIXED - 1], alleles)
        if samples:
            self._samples(fields[_FIXED], samples, shapes[-1].split("\t"), len(alleles))
        self._in_order(chrom, position)
        self._no_duplicate(fields, position, alleles)

    def _site(self, fields: list[str], shapes: list[str]) -> None:
        """Check CHROM, ID and QUAL."""
        if fields[0] != self._order.chrom:
            self._contig(fields[0])
        if fields[2] != ".":
            self._identifier(fields[2])
        if shapes[5] not in self._qualities:
            self._quality(fields[5])
            if self._memory.has_room(shapes[5]):
                self._qualities.add(shapes[5])

    def _position(self, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= 18):
            raise self._broken("POS is not a whole number.", expected="0 or more")
        return int(text)

    def _contig(self, chrom: str) -> None:
        rule = _CONTIG_SINCE_4_3 if self._version >= (4, 3) else _CONTIG
        if rule.fullmatch(chrom) is None:
            raise self._broken("CHROM is not a name a sequence can have.")
        self._last_position = self._header.last_position(chrom)
        if self._header.contigs and chrom not in self._header.contigs and chrom[0] != "<":
            self._warn("A record is on a contig that the header does not have.")

    def _identifier(self, text: str) -> None:
        if _ID.fullmatch(text) is None:
            raise self._broken(
                "ID is empty, has spaces, or a semicolon too many.",
                expected="identifiers separated by semicolons, or .",
            )
        if ";" in text and self._version >= (4, 3):
            self._no_twins(text.split(";"), "ID")

    def _no_twins(self, values: list[str], column: str) -> None:
        if len(set(values)) != len(values):
            raise self._broken(f"{column} has a value twice.", expected="each value once")

    def _reference(self, text: str) -> None:
        if text == ".":
            self._warn("REF is missing in a record; bcftools norm can fill it in.")
            return
        if _AMBIGUOUS.fullmatch(text) is None:
            raise self._broken("REF is not a sequence of bases.", expected="A, C, G, T or N")
        self._warn("REF has ambiguity codes, which VCF wants reduced to A, C, G, T or N.")

    def _alternates(self, text: str, *, is_ambiguous: bool) -> list[str]:
        alleles = text.split(",")
        for allele in alleles:
            if not is_allele(allele) and not (is_ambiguous and _AMBIGUOUS.fullmatch(allele)):
                raise self._broken(
                    "ALT has an allele that is neither bases, *, a <symbol> nor a breakend.",
                    expected="alleles separated by commas, or .",
                )
        if not is_ambiguous and self._memory.has_room(text):
            self._alleles[text] = alleles
        return alleles

    def _quality(self, text: str) -> None:
        if _FLOAT.fullmatch(text) is None or (text.startswith("-") and float(text) != 0):
            raise self._broken(
                "QUAL is not a number of 0 or more.", expected="a number of 0 or more, or ."
            )

    def _filter(self, text: str) -> None:
        names = text.split(";")
        if _FILTER.fullmatch(text) is None or "0" in names or "." in names:
            raise self._broken(
                "FILTER is malformed: empty, with spaces, or with 0 or . among other values.",
                expected="PASS, names separated by semicolons, or .",
            )
        if self._version >= (4, 3):
            self._no_twins(names, "FILTER")
        if not self._header.filters.issuperset(names):
            self._warn("A record names a filter that the header does not define.")
        if self._memory.has_room(text):
            self._filters.add(text)

    def _info(self, text: str, shape: str, alleles: list[str]) -> None:
        good = self._items.setdefault(len(alleles), {})
        shapes = shape.split(";")
        keys = list(map(good.get, shapes))
        if None in keys:
            keys = self._new_items(text.split(";"), shapes, len(alleles))
        if len(set(keys)) != len(keys):
            if self._version >= (4, 3):
                twin = next(key for key in keys if keys.count(key) > 1) or ""
                raise self._broken(
                    "INFO has a key twice.", expected="each key once", found=_named(twin)
                )
            self._warn("INFO has a key twice.")
        if not STRUCTURAL_KEYS.isdisjoint(keys) or TANDEM_REPEAT in alleles:
            items = (item.partition("=") for item in text.split(";"))
            rule = broken_structural_rule(alleles, {k: v for k, _, v in items}, self._version)
            if rule:
                raise self._broken(f"INFO: {rule}.")

    def _new_items(self, items: list[str], shapes: list[str], alleles: int) -> list[str | None]:
        """Check items not all of whose shapes are known; return their keys."""
        good = self._items[alleles]
        keys: list[str | None] = []
        for item, shape in zip(items, shapes, strict=True):
            key, _, value = item.partition("=")
            keys.append(key)
            if shape not in good:
                is_flag = self._info_item(item, alleles)
                # The shape of another key may be the same, and the value of a flag matters.
                depends_on_digits = "0" in shape[: len(key)] or (is_flag and value)
                if not depends_on_digits and self._memory.has_room(shape):
                    good[shape] = key
        return keys

    def _info_item(self, item: str, alleles: int) -> bool:
        """Check one key and its value; return whether it is a flag."""
        key, equals, value = item.partition("=")
        is_new = self._version >= (4, 3)
        rule = _INFO_KEY_SINCE_4_3 if is_new else _KEY
        if self._version == (4, 0) and _SPACE.search(value):
            self._warn("INFO has spaces.")
        elif rule.fullmatch(key) is None or (not is_new and _SPACE.search(value)):
            raise self._broken(
                "INFO has an empty key, or one with characters not allowed, or spaces.",
                expected="key=value pairs separated by semicolons",
            )
        definition = self._header.info.get(key) or self._reserved_info.get(key)
        if definition is None:
            return False
        if definition.type == "Flag":
            if value not in _FLAG_VALUES:
                raise self._broken(f"INFO: {_named(key)} is a flag, but has a value.")
            return True
        if not equals:
            self._warn("INFO has a key without the value its definition promises.")
            return False
        values = [value] if _is_quoted(value) else value.split(",")
        if not count_fits(definition.number, len(values), alleles) and value != ".":
            self._wrong_count(key, definition, len(values))
        if not self._are_of_type(values, definition.type):
            raise self._broken(
                f"INFO: {_named(key)} has a value that is not of its type.",
                expected=definition.type,
            )
        self._reserved_value(key, values)
        return False

    def _wrong_count(self, key: str, definition: Definition, count: int) -> None:
        if definition.number in ("A", "R") or self._version == (4, 0):
            # So common after alleles were split or merged that programs read on.
            self._warn("INFO has a key with not as many values as the record has alleles.")
            return
        raise self._broken(
            f"INFO: {_named(key)} has not as many values as its definition says.",
            expected=f"Number={definition.number}",
            found=f"{count} values",
        )

    def _are_of_type(self, values: list[str], kind: str) -> bool:
        if not all(is_of_type(value, kind) for value in values):
            return False
        # Only since 4.3 integers must fit into what BCF can store.
        is_bounded = kind == "Integer" and self._version >= (4, 3)
        return not is_bounded or all(v == "." or int(v) in _INTEGERS for v in values)

    def _no_values(self, samples: list[str]) -> None:
        if any(sample not in (".", "") for sample in samples):
            raise self._broken("a sample has values, but FORMAT has no keys.")

    def _reserved_value(self, key: str, values: list[str]) -> None:
        if key not in self._reserved_info:
            return
        if key in _NEVER_NEGATIVE and any(value.startswith("-") for value in values):
            raise self._broken(f"INFO: {key} is negative.", expected="0 or more")
        if key == "CIGAR" and not all(v == "." or _CIGAR.fullmatch(v) for v in values):
            raise self._broken("INFO: CIGAR is not a list of operations.")

    def _samples(self, text: str, samples: list[str], shapes: list[str], alleles: int) -> None:
        form = self._formats.get(text) or self._format(text)
        if not form.keys:
            self._no_values(samples)
            return
        good = form.good_samples.setdefault(alleles, set())
        if not good.issuperset(shapes):
            for sample, shape in zip(samples, shapes, strict=True):
                if shape not in good:
                    self._sample(form, sample, alleles)
                    if self._memory.has_room(shape):
                        good.add(shape)
        if form.keys[0] == "GT":
            self._check_genotypes(form, samples, alleles)

    def _format(self, text: str) -> _Format:
        keys = tuple(text.split(":")) if text != "." else ()
        rule = _KEY
        if self._version >= (4, 3):
            is_newer = self._version >= (4, 4)
            rule = _FORMAT_KEY_SINCE_4_4 if is_newer else _FORMAT_KEY_SINCE_4_3
        if not all(map(rule.fullmatch, keys)):
            raise self._broken(
                "FORMAT has an empty key, or one with characters not allowed.",
                expected="keys separated by colons",
            )
        self._no_twins(list(keys), "FORMAT")
        if "GT" in keys[1:]:
            if self._version > (4, 0):
                raise self._broken("FORMAT has GT, but not first.", expected="GT first")
            self._warn("FORMAT has GT, but not first.")
        if "CICN" in keys and "CN" not in keys:
            raise self._broken("FORMAT has CICN without CN.", expected="CN beside CICN")
        declared = self._header.format
        form = _Format(
            keys,
            tuple(declared.get(key) or self._reserved_format.get(key) for key in keys),
            tuple(key in declared for key in keys),
            {},
        )
        if self._memory.has_room(text):
            self._formats[text] = form
        return form

    def _check_genotypes(self, form: _Format, samples: list[str], alleles: int) -> None:
        """Check what the shapes of the samples do not tell: which alleles genotypes name."""
        is_alone = len(form.keys) == 1
        genotypes = set(samples) if is_alone else {s.partition(":")[0] for s in samples}
        known = self._genotypes.setdefault(alleles, set())
        for genotype in genotypes - known:
            self._ploidy(genotype, alleles)
            if self._memory.has_room(genotype):
                known.add(genotype)

    def _sample(self, form: _Format, sample: str, alleles: int) -> None:
        values = sample.split(":")
        if len(values) > len(form.keys):
            raise self._broken(
                "a sample has more values than FORMAT has keys.",
                expected=f"at most {len(form.keys)} values",
                found=f"{len(values)} values",
            )
        # Without GT two copies are to be assumed, but callers leave GT out on X and Y too.
        ploidy = _UNKNOWN_PLOIDY
        if form.keys[0] == "GT":
            ploidy = self._ploidy(values[0], alleles)
        for index, value in enumerate(values):
            if form.keys[index] != "GT":
                self._sample_value(form, index, value, alleles, ploidy)
        if "PSL" in form.keys and form.keys[0] == "GT":
            self._phase_sets(form, values)

    def _ploidy(self, genotype: str, alleles: int) -> int:
        """Return how many alleles a genotype has, 0 where a single . hides it."""
        # The missing allele of a record without alternates counts as one.
        alleles = max(alleles, 1)
        is_explicit = self._version >= (4, 4) and genotype[:1] in ("/", "|")
        plain = genotype[1:] if is_explicit else genotype
        if _GENOTYPE.fullmatch(plain) is None:
            if not genotype and self._version >= (4, 5):
                return _UNKNOWN_PLOIDY
            raise self._broken(
                "a sample has a malformed genotype (GT).", expected="alleles joined by / or |"
            )
        numbers = plain.replace("|", "/").split("/")
        if any(number != "." and int(number) > alleles for number in numbers):
            raise self._broken(
                "a genotype (GT) names an allele the record does not have.",
                expected=f"alleles 0 to {alleles}",
            )
        return _UNKNOWN_PLOIDY if plain == "." else len(numbers)

    def _sample_value(
        self, form: _Format, index: int, value: str, alleles: int, ploidy: int
    ) -> None:
        if value == ".":
            return
        if not value or value.isspace():
            if self._version < (4, 5):
                raise self._broken("a sample has an empty value.", expected=". for a missing value")
            return
        definition = form.definitions[index]
        if definition is None:
            return
        values = value.split(",")
        if not count_fits(definition.number, len(values), alleles, ploidy=ploidy):
            raise self._broken(
                f"a sample has not as many values of {_named(form.keys[index])} as its definition"
                " and the alleles ask for.",
                expected=f"Number={definition.number}",
                found=f"{len(values)} values",
            )
        if form.is_declared[index] and not self._are_of_type(values, definition.type):
            raise self._broken(
                f"a sample has a value of {_named(form.keys[index])} that is not of its type.",
                expected=definition.type,
            )

    def _phase_sets(self, form: _Format, values: list[str]) -> None:
        named = dict(zip(form.keys, values, strict=False))
        sets, orders = (named.get(key, "").split(",") for key in ("PSL", "PSO"))
        if "PSL" in named:
            rule = check_phase_sets(values[0], sets, orders if "PSO" in named else [])
            if rule:
                raise self._broken(f"in a sample, {rule}.")

    def _in_order(self, chrom: str, position: int) -> None:
        is_wrapped = chrom.startswith("<")
        rule = self._order.advance(chrom[1:-1] if is_wrapped else chrom, position)
        if rule == UNSORTED and self._version >= (4, 5):
            # The valid examples that come with this version of the specification are not sorted.
            self._warn("The records are not sorted by POS; programs cannot index the file.")
        elif rule:
            raise refused(
                ReasonCode.VCF_NOT_SORTED,
                f"Line {self._line}: {rule} Programs that index the file will miss records. Sort"
                " it, for example with bcftools sort.",
                at=f"line {self._line}",
                expected="records grouped by CHROM and in the order of POS",
            )

    def _no_duplicate(self, fields: list[str], position: int, alleles: list[str]) -> None:
        """Refuse a variant given twice under one identifier; warn when it has another or none."""
        identifier, reference = fields[2:4]
        for allele in alleles:
            earlier = self._order.remember(position, reference, allele, identifier)
            if earlier is None:
                continue
            if earlier != identifier or identifier == ".":
                self._warn("A variant is given in more than one record.")
                continue
            raise refused(
                ReasonCode.VCF_DUPLICATE,
                f"Line {self._line}: the variant was given in an earlier record with the same"
                " identifier, perhaps written another way.",
                at=f"line {self._line}",
                expected="each variant once",
            )

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings[message] = suspect(
                ReasonCode.VCF_RECORD_SUSPECT, message, at=f"line {self._line}"
            )

    def _broken(self, rule: str, *, expected: str = "", found: str = "") -> RefusedError:
        return broken_record(self._line, rule, expected=expected, found=found)


def shape_of(line: bytes) -> str:
    """Return a line with all digits taken for 0; its columns are those of the line."""
    return line.translate(_TO_SHAPE).decode("latin-1")


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] == '"'


def _named(key: str) -> str:
    return key if len(key) <= 40 else "a key"


def broken_record(line: int, rule: str, *, expected: str = "", found: str = "") -> RefusedError:
    """Return the error that refuses a file for the record on a line."""
    return refused(
        ReasonCode.VCF_RECORD_MALFORMED,
        f"Line {line}: {rule}",
        at=f"line {line}",
        expected=expected,
        found=found,
    )
