"""The certificate of a secure local cloud, and the environment that makes tools trust it."""

import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import trustme

from forebay_cli.home import Home

_VALID_DAYS: Final = 825
_RENEW_AFTER_SECONDS: Final = 700 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of a certificate, its key, and a bundle of its authority with the system's roots."""

    certificate: Path
    key: Path
    bundle: Path

    def trust(self) -> dict[str, str]:
        """Return the environment with which Node, boto3 and OpenSSL trust this certificate.

        Node adds `NODE_EXTRA_CA_CERTS` to its own roots; the others replace theirs, hence the
        bundle.
        """
        return {
            "NODE_EXTRA_CA_CERTS": str(self.bundle),
            "AWS_CA_BUNDLE": str(self.bundle),
            "REQUESTS_CA_BUNDLE": str(self.bundle),
            "SSL_CERT_FILE": str(self.bundle),
        }


def ensure_certificate(home: Home) -> Certificate:
    """Return the local certificate, made anew when there is none or it is about to expire."""
    folder = home.certificates
    made = Certificate(folder / "server.crt", folder / "server.key", folder / "ca-bundle.pem")
    if not _is_fresh(made):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(made)
    return made


def _is_fresh(made: Certificate) -> bool:
    paths = (made.certificate, made.key, made.bundle)
    if not all(path.exists() for path in paths):
        return False
    return time.time() - made.certificate.stat().st_mtime < _RENEW_AFTER_SECONDS


def _make(made: Certificate) -> None:
    expires = datetime.now(UTC) + timedelta(days=_VALID_DAYS)
    authority = trustme.CA(organization_name="Forebay local cloud")
    server = authority.issue_cert("localhost", "*.localhost", "127.0.0.1", not_after=expires)
    made.key.touch(mode=0o600)
    server.private_key_pem.write_to_path(str(made.key))
    made.certificate.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    made.bundle.write_bytes(_system_roots() + authority.cert_pem.bytes())


def _system_roots() -> bytes:
    paths = ssl.get_default_verify_paths()
    for name in (paths.cafile, paths.openssl_cafile):
        if name and Path(name).is_file():
            return Path(name).read_bytes() + b"\n"
    return b""
