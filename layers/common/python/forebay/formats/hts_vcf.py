"""VCF text, from its first line to its last."""

from typing import Final

from forebay.domain.findings import Finding, ReasonCode
from forebay.formats.hts_lines import LineFeed
from forebay.formats.hts_refusal import RefusedError, refused, suspect
from forebay.formats.hts_vcf_header import VcfHeader
from forebay.formats.hts_vcf_records import VcfRecords, broken_record, shape_of

__all__ = ["VcfText"]

# All but the tab between columns; a carriage return before the line feed is taken off before.
_CONTROLS: Final = bytes({*range(32), 127} - {9})


class VcfText:
    """A VCF file given as pieces of text."""

    def __init__(self) -> None:
        self.header = VcfHeader()
        self._feed = LineFeed(self._lines)
        self._records: VcfRecords | None = None
        self._line = 0
        self._blank_line = 0
        self._latin_line = 0

    @property
    def records(self) -> int:
        """How many records were read."""
        return self._records.count if self._records else 0

    @property
    def warnings(self) -> list[Finding]:
        """What was odd, once everything is read."""
        found = self._records.warnings.values() if self._records else ()
        latin = [_not_utf8(self._latin_line)] if self._latin_line else []
        return [*self.header.warnings.values(), *found, *latin]

    def feed(self, text: bytes) -> None:
        """Take the next piece of text."""
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
            if len(line.translate(None, _CONTROLS)) != len(line):
                raise self._control(line)
            self._records.take(self._decoded(line), shape_of(line), self._line)

    def _control(self, line: bytes) -> RefusedError:
        at = next(at for at, byte in enumerate(line) if byte in _CONTROLS)
        column = line.count(b"\t", 0, at) + 1
        return broken_record(
            self._line,
            f"column {column} has a control character; the file was damaged or is not text.",
            expected="printable characters and tabs",
            found=f"byte {line[at]:#04x}",
        )

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError:
            if self.header.version >= (4, 3):
                raise broken_record(self._line, "the line is not UTF-8.") from None
            self._latin_line = self._latin_line or self._line
            return line.decode("latin-1")


def _not_utf8(line: int) -> Finding:
    return suspect(
        ReasonCode.VCF_RECORD_SUSPECT,
        "A record holds text that is not UTF-8.",
        at=f"line {line}",
        expected="ASCII or UTF-8",
    )
