"""Search tokens for patient identifiers, made by a KMS key that never leaves KMS."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

CACHE_ENTRIES: Final = 4096


@dataclass(frozen=True, slots=True)
class KmsPseudonyms:
    """`services.ports.Pseudonyms` over an HMAC_256 key.

    Who may search for a patient is who may call GenerateMac on this key. Tokens are cached per
    process: all instances of a study ask for the same two.
    """

    client: "KMSClient"
    key_id: str
    _cache: dict[tuple[str, str], str] = field(default_factory=dict)

    def token(self, keyword: str, value: str) -> str:
        """Return the token of one attribute value; surrounding spaces do not count (PS3.5 §6.2)."""
        wanted = (keyword, value.strip())
        if wanted not in self._cache:
            answer = self.client.generate_mac(
                KeyId=self.key_id,
                MacAlgorithm="HMAC_SHA_256",
                Message="\n".join(wanted).encode(),
            )
            if len(self._cache) >= CACHE_ENTRIES:
                self._cache.clear()
            self._cache[wanted] = answer["Mac"].hex()
        return self._cache[wanted]
