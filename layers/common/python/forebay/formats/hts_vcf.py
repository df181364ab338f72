"""VCF text, from its first line to its last."""

import re
from typing import Final

from forebay.domain.findings import Finding, ReasonCode
from forebay.formats.hts_lines import LineFeed
from forebay.formats.hts_refusal import refused
from forebay.formats.hts_vcf_header import VcfHeader
from forebay.formats.hts_vcf_records import VcfRecords, broken_record, shape_of

__all__ = ["VcfText"]

# Tab and line feed part fields and lines; a carriage return may stand before a line feed.
_CONTROLS: Final = bytes({*range(32), 127} - {*b"\t\n\r"})
_CONTROL: Final = re.compile(rb"[" + re.escape(_CONTROLS) + rb"]")


class VcfText:
    """A VCF file given as pieces of text."""

    def __init__(self) -> None:
        self.header = VcfHeader()
        self._feed = LineFeed(self._lines)
        self._records: VcfRecords | None = None
        self._line = 0
        self._blank_line = 0
        self._has_controls = False

    @property
    def records(self) -> int:
        """How many records were read."""
        return self._records.count if self._records else 0

    @property
    def warnings(self) -> list[Finding]:
        """What was odd, once everything is read."""
        found = self._records.warnings.values() if self._records else ()
        return [*self.header.warnings.values(), *found]

    def feed(self, text: bytes) -> None:
        """Take the next piece of text."""
        # Looked for in whole pieces, which costs next to nothing; in lines only to tell where.
        self._has_controls = self._has_controls or len(text.translate(None, _CONTROLS)) < len(text)
        self._feed.feed(text)

    def finish(self) -> None:
        """Take the end of the text."""
        rest = self._feed.finish()
        if rest:
            self._lines([rest])
        self.header.finish()
        if rest and self.header.version >= (4, 5):
            # The valid examples that come with this version of the specification lack it too.
            self.header.warn("The last line has no line feed at its end; it may be cut off.")
        elif rest:
            raise refused(
                ReasonCode.VCF_TRUNCATED,
                f"Line {self._line}, the last one, has no line feed at its end: the file was cut"
                " off, or written by hand.",
                at=f"line {self._line}",
                expected="a line feed at the end of the file",
                found="end of file",
            )

    def _lines(self, lines: list[bytes]) -> None:
        for raw in lines:
            self._line += 1
            if self._has_controls and (found := _CONTROL.search(raw)):
                raise broken_record(
                    self._line,
                    "it has a control character that no text has: the file was damaged.",
                    found=f"byte {found[0][0]:#04x}",
                )
            if self._records is None:
                self.header.add(raw)
                if self.header.is_complete:
                    self._records = VcfRecords(self.header)
                continue
            line = raw.removesuffix(b"\r")
            if not line:
                self._blank_line = self._blank_line or self._line
                continue
            if self._blank_line:
                raise broken_record(self._blank_line, "there is a blank line between records.")
            self._records.take(self._decoded(line), shape_of(line), self._line)

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError:
            if self.header.version >= (4, 3):
                raise broken_record(self._line, "the line is not UTF-8.") from None
            return line.decode("latin-1")
