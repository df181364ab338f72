"""Remembering multipart uploads that broke off, so that the same command continues them."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """A multipart upload that S3 has parts of. `checksum_type` is what storage agreed to.

    `batch` is the upload batch it began in, which its metadata names for good.
    """

    bucket: str
    key: str
    upload_id: str
    sha256: str
    part_bytes: int
    checksum_type: str
    batch: str = ""


class UploadJournal:
    """One small file per open multipart upload; it names bucket and key, never a local path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, bucket: str, key: str, sha256: str, part_bytes: int) -> OpenUpload | None:
        """Return the open upload of the same bytes to the same key, cut into the same parts."""
        try:
            data = json.loads(self._file(bucket, key).read_text(encoding="utf-8"))
            found = OpenUpload(**data)
        except (OSError, ValueError, TypeError):
            return None
        same = (bucket, key, sha256, part_bytes)
        return found if same == (found.bucket, found.key, found.sha256, found.part_bytes) else None

    def open(self, upload: OpenUpload) -> None:
        """Remember an upload."""
        self._folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(upload), indent=2)
        self._file(upload.bucket, upload.key).write_text(text, encoding="utf-8")

    def close(self, upload: OpenUpload) -> None:
        """Forget an upload that is complete or gone."""
        self._file(upload.bucket, upload.key).unlink(missing_ok=True)

    def _file(self, bucket: str, key: str) -> Path:
        name = hashlib.sha256(f"{bucket}\n{key}".encode()).hexdigest()[:32]
        return self._folder / f"{name}.json"
