"""What an index of alignments or variants says of the file it indexes, and whether it fits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forebay.domain.findings import Finding, Owner, ReasonCode, Verdict

__all__ = ["DataIndex", "judge_index"]


@dataclass(frozen=True, slots=True)
class DataIndex:
    """What one index promises of its data.

    `format` is `bai`, `csi`, `tbi` or `crai`. `records` is None where the index does not count
    them; `end_byte` is the greatest offset it leads to in the data as stored.
    """

    format: str
    references: int
    records: int | None
    end_byte: int

    def as_metadata(self) -> dict[str, Any]:
        """Return the JSON shape; the names are apart from those of the data."""
        return {
            "index": self.format,
            "indexed_references": self.references,
            "indexed_records": self.records,
            "indexed_end_byte": self.end_byte,
        }


def judge_index(
    index: Mapping[str, Any], data: Mapping[str, Any], *, data_bytes: int
) -> tuple[Verdict, tuple[Finding, ...]]:
    """Return the verdict on a sound index beside its data, both given by their metadata.

    What the data's metadata does not tell, because it is refused or of another kind, is not held
    against the index.
    """
    if (end_byte := index["indexed_end_byte"]) > data_bytes:
        return _refused(
            "it leads beyond that file's end", f"at most byte {data_bytes}", f"byte {end_byte}"
        )
    there = data.get("reference_count")
    said = index["indexed_references"]
    # A CRAM index names only the references that have alignments.
    if there is not None and (said > there or (said < there and index["index"] != "crai")):
        return _refused("it has other references", f"{there} references", f"{said} references")
    records, counted = data.get("records"), index["indexed_records"]
    if None not in (records, counted) and records != counted:
        return Verdict.WARNING, (_stale(f"{records} records", f"{counted} records"),)
    return Verdict.VALID, ()


def _refused(why: str, expected: str, found: str) -> tuple[Verdict, tuple[Finding, ...]]:
    finding = Finding(
        code=ReasonCode.INDEX_MISMATCH,
        message=f"The index does not belong to the file beside it, since {why}; programs that use"
        " it fail or miss data. Index the file again and send both.",
        owner=Owner.SENDER,
        expected=expected,
        found=found,
    )
    return Verdict.INVALID, (finding,)


def _stale(expected: str, found: str) -> Finding:
    return Finding(
        code=ReasonCode.INDEX_MISMATCH,
        message="The index counts other records than the file beside it holds, so it may have been"
        " made before the file was changed. Index the file again.",
        owner=Owner.SENDER,
        expected=expected,
        found=found,
    )
