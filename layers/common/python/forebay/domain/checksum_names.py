"""Which file names speak of digests, and of which file."""

import re
from typing import Final

from forebay.domain.integrity import CRYPTOGRAPHIC

DIGEST_WORDS: Final = "|".join(CRYPTOGRAPHIC)
"""A pattern of the algorithms that names and headings speak of, in lower case."""
_SIDECAR: Final = re.compile(
    rf"(?P<target>.+)\.(?P<algorithm>{DIGEST_WORDS}|crc32c?|crc64nvme)(?:sums?)?(?:\.txt)?",
    re.IGNORECASE,
)
_LIST: Final = re.compile(
    rf"(?:sums?|(?:check|{DIGEST_WORDS})[._-]?(?:check)?(?:sums?)?)"
    rf"(?:\.(?:txt|list|json|{DIGEST_WORDS}))?",
    re.IGNORECASE,
)
# RFC 8493: manifests list the payload, tag manifests the other files of a bag.
_BAG_MANIFEST: Final = re.compile(rf"(?:tag)?manifest-(?:{DIGEST_WORDS})\.txt")
_BAG_TAG_FILE: Final = re.compile(r"bagit\.txt|(?:bag|package)-info\.txt|fetch\.txt")
FETCH_NAME: Final = "fetch.txt"
"""The file by which a bag asks that others be fetched from elsewhere."""


def is_checksum_name(key: str) -> bool:
    """Tell whether a key is named as a checksum file: `x.md5`, `SHA256SUMS`, `manifest-md5.txt`."""
    name = _base_name(key)
    return any(pattern.fullmatch(name) for pattern in (_SIDECAR, _LIST, _BAG_MANIFEST))


def is_bag_manifest(key: str) -> bool:
    """Tell whether a key is named as a manifest or tag manifest of a BagIt bag."""
    return _BAG_MANIFEST.fullmatch(_base_name(key)) is not None


def is_bag_tag_file(key: str) -> bool:
    """Tell whether a key is named as a file that says of a bag what it is, without digests."""
    return _BAG_TAG_FILE.fullmatch(_base_name(key)) is not None


def sidecar_target(key: str) -> str:
    """Return the key that a sidecar named `<target>.<algorithm>` is about, empty for a list."""
    name = _base_name(key)
    match = _SIDECAR.fullmatch(name)
    if match is None or _LIST.fullmatch(name):
        return ""
    return key[: len(key) - len(name) + match.end("target")]


def _base_name(key: str) -> str:
    return key.rpartition("/")[2]
