"""The result every format inspection returns."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from forebay.domain.findings import Finding, Verdict
from forebay.domain.integrity import Digest

Record_co = TypeVar("Record_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Inspection(Generic[Record_co]):
    """What reading one file established.

    `record` is what was understood (None when the file is invalid or unsupported); `findings` are
    reasons for refusal first, then warnings; `digests` were computed over the stored bytes in the
    same pass (empty when the file was not read whole).
    """

    verdict: Verdict
    record: Record_co | None
    findings: tuple[Finding, ...] = ()
    digests: tuple[Digest, ...] = ()
    bytes_read: int = 0
    requests: int = 0


class ByteSource(Protocol):
    """Random access to the bytes of one file, without saying where it lives."""

    @property
    def name(self) -> str:
        """A name fit for messages: a path or an S3 URI."""

    @property
    def size_bytes(self) -> int:
        """Size of the stored file in bytes."""

    def read_range(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from offset `start`; shorter only at the end of the file."""
