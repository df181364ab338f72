"""The files of `policies/` as one document in which everything knows its line.

Read with PyYAML's nodes, since its plain loader forgets lines and lets the last of two equal keys
win; compared with `policies/schema.json`, in sentences of our own.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml

from forebay.domain.policy.classes import Source
from forebay.domain.policy.soundness import Place, Problem

__all__ = [
    "SCHEMA",
    "Document",
    "PlacedProblem",
    "placed_problems",
    "read_document",
    "read_file",
    "shape_problems",
]

SCHEMA: Final = Path(__file__).resolve().parents[5] / "policies" / "schema.json"
"""In the checkout: policies are compiled where they are written, not where they are deployed."""

_FOUND_LENGTH: Final = 60
_FILES: Final = {
    "retentions": " (in classes.yaml)",
    "classes": " (in classes.yaml)",
    "rules": " (in classification.yaml)",
    "sites": " (in sites.yaml; `sites: {}` where nothing was agreed)",
}
"""Where the parts of a policy are looked for by people; any file may hold them."""


@dataclass(frozen=True, slots=True)
class Document:
    """What the files say together, where each part of it is written, and what is no YAML."""

    data: dict[str, Any] = field(default_factory=dict)
    sources: dict[Place, Source] = field(default_factory=dict)
    problems: list[tuple[Source, Problem]] = field(default_factory=list)

    def source(self, place: Place) -> Source:
        """Return the file and line of a place, or of the nearest above it."""
        while place not in self.sources and place:
            place = place[:-1]
        return self.sources.get(place) or Source("classes.yaml", 1)


def read_document(folder: Path) -> Document:
    """Return the YAML files of a folder together; each top-level name stands in one of them."""
    document = Document()
    for path in sorted(folder.glob("*.yaml")):
        _File(path.name, document).read(path)
    return document


def read_file(path: Path, *, name: str) -> Document:
    """Return one YAML file, whose problems are told under a name."""
    document = Document()
    _File(name, document).read(path)
    return document


@dataclass(frozen=True, slots=True)
class PlacedProblem:
    """One thing that is wrong, with its line."""

    source: Source
    place: str
    says: str

    def __str__(self) -> str:
        """Return `file:line: place: what was expected, and what was found`."""
        return ": ".join(part for part in (str(self.source), self.place, self.says) if part)


def placed_problems(
    document: Document, found: Iterable[Problem] | None = None, *, schema: Path = SCHEMA
) -> tuple[PlacedProblem, ...]:
    """Return what is wrong with a document, by line: what was found, or else what its schema finds.

    What a file that cannot be read would have said is not missing.
    """
    if found is None:
        found = shape_problems(document, schema)
        if any(not problem.place for _, problem in document.problems):
            found = [problem for problem in found if problem.place]
    told = [
        *document.problems,
        *((document.source(problem.place), problem) for problem in found),
    ]
    placed = [
        PlacedProblem(source, "/".join(map(str, each.place)), each.says) for source, each in told
    ]
    return tuple(
        sorted(dict.fromkeys(placed), key=lambda each: (each.source.file, each.source.line))
    )


class _File:
    def __init__(self, name: str, document: Document) -> None:
        self.name, self.document = name, document

    def read(self, path: Path) -> None:
        try:
            text = path.read_text("utf-8")
            root = self._root(text)
        except yaml.MarkedYAMLError as error:
            line = getattr(error.problem_mark, "line", 0) + 1
            words = ", ".join(part for part in (error.context, error.problem) if part)
            self._complain(line, (), f"not YAML: {words}")
        except (OSError, ValueError, yaml.YAMLError) as error:
            self._complain(1, (), f"not YAML: {' '.join(str(error).split())}")
        else:
            self._take(root)

    def _root(self, text: str) -> yaml.Node | None:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            # Written once, read twice: a line would belong to two places.
            if isinstance(event, yaml.AliasEvent):
                self._complain(
                    getattr(event.start_mark, "line", 0) + 1,
                    (),
                    f"expected the value written out, found the alias *{event.anchor}",
                )
                return None
        return yaml.compose(text, Loader=yaml.SafeLoader)

    def _take(self, root: yaml.Node | None) -> None:
        if root is None:
            return
        if not isinstance(root, yaml.MappingNode):
            self._complain(root.start_mark.line + 1, (), "expected a mapping at the top")
            return
        self.document.sources.setdefault((), Source(self.name, 1))
        for key, node in self._entries(root, ()):
            place = (key,)
            if earlier := self.document.sources.get(place):
                self._complain(
                    self._line_of(root, key),
                    place,
                    f"expected one file to say it, found it in {earlier}, too",
                )
                continue
            self.document.sources[place] = Source(self.name, self._line_of(root, key))
            self.document.data[key] = self._value(node, place)

    def _value(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode):
            made: dict[str, Any] = {}
            for key, value in self._entries(node, place):
                inner = (*place, key)
                self.document.sources[inner] = Source(self.name, self._line_of(node, key))
                made[key] = self._value(value, inner)
            return made
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                inner = (*place, index)
                self.document.sources[inner] = Source(self.name, item.start_mark.line + 1)
                items.append(self._value(item, inner))
            return items
        return self._scalar(node, place)

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(node)
        except (ValueError, yaml.YAMLError):
            # A tag nobody knows, or a date that is none.
            self._complain(
                node.start_mark.line + 1, place, f'expected a value, found "{node.value}"'
            )
            return None
        finally:
            loader.dispose()

    def _entries(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, yaml.Node]]:
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._complain(
                    line, place, "expected a name before the colon, found more than that"
                )
            elif key.value in first:
                self._complain(
                    line,
                    (*place, key.value),
                    f"expected it once, found it in line {first[key.value]}, too",
                )
            else:
                first[key.value] = line
                yield key.value, value

    def _line_of(self, node: yaml.MappingNode, name: str) -> int:
        return next(int(key.start_mark.line) + 1 for key, _ in node.value if key.value == name)

    def _complain(self, line: int, place: Place, says: str) -> None:
        self.document.problems.append((Source(self.name, line), Problem(place, says)))


def shape_problems(document: Document, schema: Path = SCHEMA) -> Iterator[Problem]:
    """Yield everything that a schema does not allow."""
    # jsonschema tells one missing name at a time, each with the list of all that are wanted.
    found = [
        each for error in _validator(schema).iter_errors(document.data) for each in _told(error)
    ]
    yield from dict.fromkeys(found)


@cache
def _validator(schema: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema.read_text("utf-8")))


def _told(error: jsonschema.ValidationError) -> Iterator[Problem]:
    place: Place = tuple(error.absolute_path)
    schema: Any = error.schema
    found: Any = error.instance
    if error.validator == "required":
        missing = [name for name in schema["required"] if name not in found]
        where = _FILES if not place else {}
        for name in missing:
            yield Problem(place, f"expected `{name}`{where.get(name, '')}, found nothing")
    elif error.validator == "additionalProperties":
        known = ", ".join(sorted(schema["properties"]))
        for name in found:
            if name not in schema["properties"]:
                yield Problem((*place, name), f'expected one of {known}, found "{name}"')
    else:
        if "propertyNames" in error.absolute_schema_path:
            place = (*place, found)
        yield Problem(place, f"expected {_expected(schema)}, found {_found(found)}")


def _expected(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    return str(schema["description"])


def _found(value: object) -> str:
    if value is None or value in ({}, []):
        return "nothing"
    if isinstance(value, dict):
        return f"{', '.join(f'`{name}`' for name in value)}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _FOUND_LENGTH else f"{text[:_FOUND_LENGTH]}…"
