"""An authority in a folder, and what the broker, OpenSSL and an operator make of it."""

import subprocess
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

from broker.adapters.authority.certificates import make_key
from broker.adapters.authority.folder import AuthorityFolder, KeyFacts
from broker.adapters.authority.root import create_root
from broker.adapters.authority.rotation import create_folder, request_authority, take_authority
from broker.cli import otbroker
from broker.identity.certificate import Trust
from broker.identity.issuance import decode_terms
from broker.model.place import Organisation

NOW = float(int(time.time()))
HOUR, DAY = 3_600.0, 86_400.0
NAMESPACES = ("*@acme.example", "spiffe://acme.example/*", "*.acme.example")
ANA = "ana@acme.example"


class Opened:
    """Secrets that are at hand."""

    def __init__(self, passphrase="a passphrase beyond guessing", pin="123456"):
        self._passphrase, self._pin = passphrase, pin

    def passphrase(self):
        return self._passphrase.encode()

    def pin(self):
        return self._pin


class Authority:
    """The authority of acme; each call opens its folder anew, as each command does."""

    def __init__(self, folder, key=None, now=NOW, crl_seconds=7 * DAY):
        self.folder, self.secrets, self.key = folder, Opened(), key or KeyFacts()
        folder.mkdir(parents=True, exist_ok=True)
        self.root = create_root(folder / "root", "acme", NAMESPACES, self.secrets, now)
        create_folder(folder, self.root, self.key, int(crl_seconds), self.secrets, now)

    def opened(self):
        return AuthorityFolder(self.folder, self.secrets)

    def issue(self, profile="person", name=ANA, now=NOW, renewed_from=None, **rest):
        terms = decode_terms(profile, self.opened().facts.spaces, [name], **rest)
        return self.opened().issue(terms, make_key().public_key(), now, renewed_from)

    def rotate(self, now, issues_from):
        certificate = self.root.certify(request_authority(self.opened(), self.key), now)
        take_authority(self.opened(), certificate, issues_from, now)

    def trust(self):
        """As a broker has it that reads the folder now."""
        opened = self.opened()
        anchor, crl = opened.anchor.read_text(), opened.crl.read_bytes()
        return Trust((Organisation("acme", (anchor,), NAMESPACES, crls=(crl,), crl_required=True),))

    def subject(self, chain, now):
        leaf, *others = der(chain)
        return self.trust().verify(leaf, tuple(others), now)


def der(chain):
    return [certificate.public_bytes(Encoding.DER) for certificate in load_pem_x509_certificates(chain)]


def serial_of(chain):
    return f"{load_pem_x509_certificates(chain)[0].serial_number:x}"


def issuer_of(chain):
    return load_pem_x509_certificates(chain)[0].issuer.rfc4514_string()


def openssl_accepts(folder: Path, chain: Path, purpose="sslclient"):
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-crl_check_all"]
    files = ["-CAfile", folder / "root.pem", "-CRLfile", folder / "crl.pem", "-untrusted", chain, chain]
    done = subprocess.run([*command, *files], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode == 0, done.stderr


def otbroker_ca(*words):
    """The exit status of a command."""
    return otbroker.main(["ca", *map(str, words)])


def secret_file(path, text):
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path
