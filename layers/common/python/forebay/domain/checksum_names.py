"""Which file names speak of digests, and of which file."""

import re
from typing import Final

_SIDECAR: Final = re.compile(
    r"(?P<target>.+)\.(?P<algorithm>md5|sha1|sha256|sha512|crc32c?|crc64nvme)(?:sums?)?(?:\.txt)?",
    re.IGNORECASE,
)
_LIST: Final = re.compile(
    r"(?:sums?|(?:check|md5|sha1|sha256|sha512)[._-]?(?:check)?(?:sums?)?)"
    r"(?:\.(?:txt|list|md5|sha1|sha256|sha512))?",
    re.IGNORECASE,
)


def is_checksum_name(key: str) -> bool:
    """Tell whether a key is named as a checksum file, as `x.md5`, `MD5.txt`, `SHA256SUMS` are."""
    name = _base_name(key)
    return _SIDECAR.fullmatch(name) is not None or _LIST.fullmatch(name) is not None


def sidecar_target(key: str) -> str:
    """Return the key that a sidecar named `<target>.<algorithm>` is about, empty for a list."""
    name = _base_name(key)
    match = _SIDECAR.fullmatch(name)
    if match is None or _LIST.fullmatch(name):
        return ""
    return key[: len(key) - len(name) + match.end("target")]


def _base_name(key: str) -> str:
    return key.rpartition("/")[2]
