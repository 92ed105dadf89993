"""A service proves that it is its client by what it signs (RFC 7523, 2.2; `private_key_jwt`)."""

import secrets
import time
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from broker.cli.people.access import read_text
from broker.cli.people.exits import CommandError

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 60
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def client_assertion(issuer: str, client_id: str, path: Path) -> str:
    """A minute's word that whoever sends it is the client, for that issuer alone. Raises CommandError."""
    now, key = int(time.time()), _key(path)
    claims = {"iss": client_id, "sub": client_id, "aud": issuer, "iat": now, "exp": now + ASSERTION_SECONDS}
    return jwt.encode({**claims, "jti": secrets.token_urlsafe(16)}, key, _algorithm(key))


def _key(path: Path) -> Key:
    try:
        key = load_pem_private_key(read_text(path, "client key").encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        return key
    public = f"The client key {path} cannot be used."
    raise CommandError("file_invalid", public, "It must be a P-256, Ed25519 or RSA key in PEM, without passphrase.")


def _algorithm(key: Key) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "PS256"
    return "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey) else "ES256"
