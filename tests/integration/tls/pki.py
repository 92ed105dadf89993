"""Certificates that OpenSSL's strict verification accepts, and some that it must not."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USES = [
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
]


@dataclass(frozen=True)
class Holder:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def issue(name, issuer=None, *, ca=False, days=(-1, 30), client=True, curve=None) -> Holder:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer or Holder(None, key)
    now = datetime.now(UTC)
    uses = {"key_cert_sign", "crl_sign"} if ca else {"digital_signature"}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.KeyUsage(**{use: use in uses for use in USES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
    )
    if not ca:
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Holder(builder.sign(signer.key, hashes.SHA256()), key)


@dataclass(frozen=True)
class Files:
    certificate: Path
    key: Path


def write(folder: Path, name: str, holder: Holder, *chain: Holder) -> Files:
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    files.certificate.write_text(holder.pem + "".join(link.pem for link in chain))
    key = holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.key.write_bytes(key)
    return files


class Pki:
    """A building's authority with a server, clients of every kind, and a foreign authority."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = issue("plant root", ca=True)
        self.sub = issue("plant sub", self.root, ca=True)
        self.foreign_root = issue("foreign root", ca=True)
        self.leaf = issue("ana", self.sub)
        self.root_file = folder / "root.pem"
        self.root_file.write_text(self.root.pem)
        self.sub_file = folder / "sub.pem"
        self.sub_file.write_text(self.sub.pem)
        self.server = write(folder, "server", issue("localhost", self.root, client=False))
        self.client = write(folder, "client", self.leaf, self.sub)
        self.expired = write(folder, "expired", issue("late", self.sub, days=(-9, -2)), self.sub)
        self.foreign = write(folder, "foreign", issue("mallory", self.foreign_root))
        self.not_for_clients = write(folder, "notclient", issue("server", self.sub, client=False), self.sub)
        self.strong = write(folder, "strong", issue("p521", self.sub, curve=ec.SECP521R1()), self.sub)
