"""The certificate of a secure local cloud, and the environment that makes tools trust it."""

import shutil
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forebay_cli.failures import CommandError
from forebay_cli.home import Home

_VALID_DAYS: Final = 825
_RENEW_AFTER_SECONDS: Final = 700 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of a self-signed certificate, its key, and a bundle of it with the system's roots."""

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
    openssl = shutil.which("openssl")
    if openssl is None:
        raise CommandError(
            "openssl is not installed; --secure needs it to make a local certificate.",
            "Install openssl, or start without --secure.",
        )
    done = subprocess.run(  # noqa: S603 - openssl, found on PATH
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-keyout", str(made.key), "-out", str(made.certificate)),
            *("-days", str(_VALID_DAYS), "-subj", "/CN=forebay-local"),
            # Not a CA: strict clients refuse a CA certificate served as a leaf.
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "keyUsage=critical,digitalSignature,keyEncipherment"),
            *("-addext", "extendedKeyUsage=serverAuth"),
            *("-addext", "subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CommandError(
            f"openssl could not make the local certificate: {done.stderr.strip()}",
            "OpenSSL 1.1.1 or newer is needed; or start without --secure.",
        )
    made.key.chmod(0o600)
    made.bundle.write_bytes(_system_roots() + made.certificate.read_bytes())


def _system_roots() -> bytes:
    paths = ssl.get_default_verify_paths()
    for name in (paths.cafile, paths.openssl_cafile):
        if name and Path(name).is_file():
            return Path(name).read_bytes() + b"\n"
    return b""
