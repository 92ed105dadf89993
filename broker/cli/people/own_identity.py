"""The key and certificate of whoever enrolled, in one file: it is replaced whole, so nobody meets half of a renewal."""

import getpass
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from broker.cli.people.access import Access, read_text
from broker.cli.people.exits import CommandError
from broker.identity.renewal import PrivateKey

SHORTEST_PASSPHRASE = 12


@dataclass(frozen=True, slots=True)
class Identity:
    """A key, its certificate, and the passphrase (empty for none) that the key is kept with."""

    key: PrivateKey
    certificate: x509.Certificate
    passphrase: str


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key that never leaves this machine."""
    return ec.generate_private_key(ec.SECP256R1())


def request_for(key: PrivateKey) -> str:
    """A request (PEM) for a certificate of that key; every name in it is the authority's word."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "otb")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def read_identity(access: Access, passphrase_file: str | None) -> Identity:
    """One's own key and certificate. Raises CommandError."""
    if access.certificate is None or access.key is None:
        raise CommandError("certificate_missing", "There is no certificate to renew.", "Enrol first: `otb enrol`.")
    passphrase = ""
    raw_key = read_text(access.key, "key").encode()
    if b"ENCRYPTED" in raw_key:
        passphrase = given_passphrase(passphrase_file, new=False)
    try:
        key = load_pem_private_key(raw_key, passphrase.encode() or None)
        certificate = x509.load_pem_x509_certificate(read_text(access.certificate, "certificate").encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        public = f"The key {access.key} or the certificate {access.certificate} cannot be used."
        raise CommandError("file_invalid", public, "Was that the right passphrase?") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CommandError("file_invalid", f"The key {access.key} is of another kind.")
    return Identity(key, certificate, passphrase)


def write_identity(key_file: Path, certificate_file: Path, key: PrivateKey, chain: str, passphrase: str) -> None:
    """Write key and certificate for their owner alone; into one file if both are to lie there. Raises CommandError."""
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase:
        encryption = BestAvailableEncryption(passphrase.encode())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()
    if key_file == certificate_file:
        write_whole(key_file, pem + chain)
    else:
        write_whole(key_file, pem)
        write_whole(certificate_file, chain)


def given_passphrase(file: str | None, *, new: bool) -> str:
    """A passphrase from a file, or asked for, a new one twice. Raises CommandError."""
    if file is not None:
        passphrase = read_text(Path(file).expanduser(), "passphrase file").rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise CommandError(
            "key_encrypted", "A passphrase is needed, and there is no terminal to ask for it.", "Use --passphrase-file."
        )
    else:
        passphrase = getpass.getpass("Passphrase of your key: ")
        if new and getpass.getpass("The same again: ") != passphrase:
            raise CommandError("passphrase_differs", "The passphrase was not the same twice.")
    if new and len(passphrase) < SHORTEST_PASSPHRASE:
        raise CommandError("passphrase_short", f"A passphrase has at least {SHORTEST_PASSPHRASE} characters.")
    return passphrase


def write_whole(path: Path, text: str) -> None:
    """Write a file for its owner alone (0600), whole or not at all. Raises CommandError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise CommandError("file_unwritable", f"{path} cannot be written: {error.strerror or error}.") from None
