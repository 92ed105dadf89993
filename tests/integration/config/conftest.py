"""A folder with settings and an inventory that are right, to be made wrong by the tests."""

import datetime
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOW_TO = Path(__file__).parents[3] / "docs/how-to/inventory.md"
SETTINGS = """\
state_dir: state
inventory: inventory
modbus_tls:
  - address: 127.0.0.1
    port: 0
    certificate_file: tls.pem
    key_file: tls.key
    unit_ids: {1: plant/ahu-1}
ledger: {origin: test/ledger, key_file: ledger.key}
"""


def example() -> str:
    """The inventory of the how-to page."""
    found = re.search(r"```yaml\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with `otbroker.yaml` and `inventory/`."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "all.yaml").write_text(example(), encoding="utf-8")
    (tmp_path / "otbroker.yaml").write_text(SETTINGS)
    for name in ("tls.pem", "tls.key", "ledger.key"):
        (tmp_path / name).write_text("content is not read here\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


class Authority:
    """A certificate authority for one test."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        public = self.key.public_key()
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = (
            self._builder(self.name, public)
            .add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .sign(self.key, hashes.SHA256())
        )
        self.pem = self.certificate.public_bytes(Encoding.PEM).decode()
        self.key_pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def issue(self, email: str) -> str:
        """A client certificate for a person, PEM."""
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        certificate = (
            self._builder(x509.Name([]), key)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(usage, True)
            .add_extension(own, False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM).decode()

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


@pytest.fixture(scope="session")
def acme() -> Authority:
    return Authority("acme authority")


@pytest.fixture(scope="session")
def beta() -> Authority:
    return Authority("beta authority")
