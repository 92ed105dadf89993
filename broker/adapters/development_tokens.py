"""A token issuer for development and tests: one ES256 key in a file (0600), its key set, and short tokens.

Not for production: there an identity provider issues tokens, and the broker holds public keys only.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from broker.adapters.authority.certificates import make_key
from broker.adapters.development_ca import encode_key, load_key
from broker.adapters.private_files import write_private
from broker.identity.logout import EVENT

ISSUER = "https://issuer.plant.example"
AUDIENCE = "otbroker"
CLIENT = "otb"
_ACCESS = "at+jwt"


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """An issuer's name, its key and where its public key set lies."""

    issuer: str
    key_set: Path
    key_id: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def create_token_issuer(folder: Path, issuer: str = ISSUER) -> TokenIssuer:
    """The token issuer in that folder: `token-issuer.key` and `jwks.json`, made if they are not there."""
    path, key_set = folder / "token-issuer.key", folder / "jwks.json"
    key = load_key(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        key = make_key()
        write_private(path, encode_key(key))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    key_id = _thumbprint(public)
    member = {**public, "kid": key_id, "use": "sig", "alg": "ES256"}
    write_private(key_set, orjson.dumps({"keys": [member]}))
    return TokenIssuer(issuer, key_set, key_id, key)


def mint_token(
    token_issuer: TokenIssuer,
    subject: str,
    now: float,
    *,
    audience: str = AUDIENCE,
    lifetime_seconds: int = 900,
    certificate_fingerprint: str | None = None,
    roles: Sequence[str] = (),
    claims: Mapping[str, object] | None = None,
) -> str:
    """A signed token, bound to the certificate of that fingerprint; `claims` are added, or replace what is there."""
    payload: dict[str, object] = {
        "iss": token_issuer.issuer,
        "sub": subject,
        "client_id": CLIENT,
        "aud": audience,
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now) + lifetime_seconds,
        "jti": secrets.token_urlsafe(12),
        "auth_time": int(now),
        "kind": "person" if "@" in subject else "service",
    }
    if roles:
        payload["roles"] = list(roles)
    if certificate_fingerprint is not None:
        payload["cnf"] = {"x5t#S256": certificate_fingerprint}
    headers = {"typ": _ACCESS, "kid": token_issuer.key_id}
    return jwt.encode({**payload, **(claims or {})}, token_issuer.key, "ES256", headers)


def mint_logout_token(token_issuer: TokenIssuer, now: float, *, account: str = "", login: str = "") -> str:
    """A signed word that an account has logged out, of one log-in (`sid`) or of all."""
    payload: dict[str, object] = {
        "iss": token_issuer.issuer,
        "aud": CLIENT,
        "iat": int(now),
        "exp": int(now) + 120,
        "jti": secrets.token_urlsafe(12),
        "events": {EVENT: {}},
    }
    payload |= ({"sub": account} if account else {}) | ({"sid": login} if login else {})
    return jwt.encode(payload, token_issuer.key, "ES256", {"typ": "logout+jwt", "kid": token_issuer.key_id})


def _thumbprint(public: Mapping[str, object]) -> str:
    """RFC 7638: the SHA-256 of the required members in lexical order."""
    required = {name: public[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(orjson.dumps(required, option=orjson.OPT_SORT_KEYS)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
