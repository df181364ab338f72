"""XML from untrusted hands, read into a small tree: no DTD, no entities, bounded.

The standard library's expat is used directly. defusedxml would refuse the same DTDs by the same
handlers, but bounds neither depth nor size, and would be one more package in a layer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from forebay.domain.findings import ReasonCode

__all__ = [
    "MAX_XML_BYTES",
    "MAX_XML_DEPTH",
    "MAX_XML_ELEMENTS",
    "XmlElement",
    "XmlRefusedError",
    "parse_xml",
]

MAX_XML_BYTES: Final = 4 << 20
MAX_XML_DEPTH: Final = 32
MAX_XML_ELEMENTS: Final = 100_000
_MAX_TEXT_CHARACTERS: Final = 64 << 10


class XmlRefusedError(Exception):
    """XML that was not read, with the words for a finding."""

    def __init__(
        self, code: ReasonCode, message: str, *, position: str = "", expected: str, found: str
    ) -> None:
        super().__init__(message)
        self.code = code
        self.position = position
        self.expected = expected
        self.found = found


@dataclass(slots=True)
class XmlElement:
    """An element: local names, text before the first child, surrounding white space removed."""

    tag: str
    line: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    children: list["XmlElement"] = field(default_factory=list)

    def all(self, path: str) -> Iterator["XmlElement"]:
        """Yield the elements at a path such as `Run/Reads/Read`."""
        head, _, rest = path.partition("/")
        for child in self.children:
            if child.tag == head:
                yield from child.all(rest) if rest else (child,)

    def first(self, path: str) -> "XmlElement | None":
        """Return the first element at a path, None when there is none."""
        return next(self.all(path), None)

    def value(self, *paths: str) -> str:
        """Return the first text at any of the paths that is not empty."""
        texts = (element.text for path in paths for element in self.all(path))
        return next((text for text in texts if text), "")


def parse_xml(data: bytes) -> XmlElement:
    """Return the root element.

    Raises:
        XmlRefusedError: not XML, cut off, with a DTD, or beyond a bound.
    """
    if len(data) > MAX_XML_BYTES:
        raise XmlRefusedError(
            ReasonCode.LIMIT_EXCEEDED,
            "is larger than such a file can be",
            expected=f"at most {MAX_XML_BYTES} bytes",
            found=f"{len(data)} bytes",
        )
    builder = _Builder()
    try:
        builder.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise XmlRefusedError(
            ReasonCode.RUN_FILE_MALFORMED,
            "is not well-formed XML; it may be cut off",
            position=f"line {error.lineno}",
            expected="well-formed XML",
            found=expat.errors.messages.get(error.code, "an error"),
        ) from error
    except (LookupError, ValueError) as error:
        # Python's own encodings are asked for what expat does not know.
        raise XmlRefusedError(
            ReasonCode.RUN_FILE_MALFORMED,
            "is in an encoding that cannot be read",
            position="line 1",
            expected="UTF-8",
            found="another encoding",
        ) from error
    return builder.root


class _Builder:
    """Expat handlers that build the tree and stop at what is forbidden."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator="}")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.EntityDeclHandler = self._refuse_doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self._open = [XmlElement("", 0)]
        self._elements = 0

    @property
    def root(self) -> XmlElement:
        return self._open[0].children[0]

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._open) > MAX_XML_DEPTH or self._elements > MAX_XML_ELEMENTS:
            raise self._refusal(
                ReasonCode.LIMIT_EXCEEDED,
                "is nested deeper or has more elements than such a file can have",
                expected=f"depth {MAX_XML_DEPTH}, {MAX_XML_ELEMENTS} elements at most",
                found="more",
            )
        plain = {_local(name): value for name, value in attributes.items()}
        element = XmlElement(_local(tag), self.parser.CurrentLineNumber, plain)
        self._open[-1].children.append(element)
        self._open.append(element)

    def _end(self, _tag: str) -> None:
        element = self._open.pop()
        element.text = element.text.strip()

    def _text(self, text: str) -> None:
        # With children, only what stands before the first is the element's own value.
        element = self._open[-1]
        if element.children:
            return
        element.text += text
        if len(element.text) > _MAX_TEXT_CHARACTERS:
            raise self._refusal(
                ReasonCode.LIMIT_EXCEEDED,
                "holds a text longer than such a file can have",
                expected=f"at most {_MAX_TEXT_CHARACTERS} characters",
                found="more",
            )

    def _refuse_doctype(self, *_declaration: object) -> None:
        raise self._refusal(
            ReasonCode.XML_FORBIDDEN,
            "declares a document type or entities, which no instrument writes",
            expected="no DTD",
            found="a DTD",
        )

    def _refusal(
        self, code: ReasonCode, message: str, *, expected: str, found: str
    ) -> XmlRefusedError:
        position = f"line {self.parser.CurrentLineNumber}"
        return XmlRefusedError(code, message, position=position, expected=expected, found=found)


def _local(name: str) -> str:
    return name.rpartition("}")[2]
