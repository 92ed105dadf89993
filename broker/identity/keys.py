"""Public keys of token issuers, read from a JSON Web Key Set (RFC 7517).

Only public asymmetric keys with a `kid`, meant for verifying, of a sound size are used. Other keys of a set are passed
over with a reason, as RFC 7517, 5 wants; a set without any usable key is refused whole.
"""

from dataclasses import dataclass
from typing import TypeGuard

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from broker.errors import ConfigError
from broker.identity.json_object import JsonObject, decode_json_object, is_text
from broker.identity.rsa_keys import LARGEST_RSA_BITS, sound_rsa_key

LARGEST_SET = 64 * 1024
MOST_KEYS = 32
LONGEST_KEY_ID = 256
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVE_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
ALGORITHMS = _RSA_ALGORITHMS | frozenset(_CURVE_ALGORITHMS.values())
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key and the signature algorithms (JWA) it may be used with."""

    id: str
    algorithms: frozenset[str]
    key: PublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a set, and why the others are not."""

    keys: tuple[VerificationKey, ...]
    passed_over: tuple[str, ...] = ()

    def named(self, key_id: str) -> tuple[VerificationKey, ...]:
        """The keys of that id; more than one only if the set gives an id twice."""
        return tuple(key for key in self.keys if key.id == key_id)


def parse_key_set(raw_set: bytes) -> KeySet:
    """Read a key set of at most 64 KiB and 32 keys. Raises ConfigError `key_set_malformed` or `key_set_empty`."""
    members = _members(raw_set)
    keys: list[VerificationKey] = []
    passed_over: list[str] = []
    for place, member in enumerate(members):
        try:
            keys.append(_parse_key(member))
        except (ValueError, TypeError, KeyError, jwt.PyJWTError, UnsupportedAlgorithm) as error:
            passed_over.append(f"key {place}: {_reason(error)}")
    if not keys:
        raise ConfigError("key_set_empty", "A key set has no usable key.", "; ".join(passed_over))
    return KeySet(tuple(keys), tuple(passed_over))


def _members(raw_set: bytes) -> list[object]:
    try:
        if len(raw_set) > LARGEST_SET:
            raise ValueError(f"larger than {LARGEST_SET} octets")
        members = decode_json_object(raw_set).get("keys")
        if not isinstance(members, list) or len(members) > MOST_KEYS:
            raise ValueError(f"`keys` is not a list of at most {MOST_KEYS}")
    except ValueError as error:
        raise ConfigError("key_set_malformed", "A key set cannot be read.", str(error)) from None
    return members


def _parse_key(member: object) -> VerificationKey:
    if not isinstance(member, dict):
        raise ValueError("not an object")
    _check_use(member)
    algorithms = _algorithms(member)
    key = jwt.PyJWK(member, min(algorithms)).key
    if not _is_public(key):
        raise ValueError("not a public key")
    if isinstance(key, rsa.RSAPublicKey) and not sound_rsa_key(key):
        raise ValueError(f"an RSA key of {key.key_size} bits that is too small, too large or known to be weak")
    return VerificationKey(str(member["kid"]), algorithms, key)


def _check_use(member: JsonObject) -> None:
    """RFC 7517, 4.2 to 4.5; a private member makes the key useless as proof, since who reads the set could sign."""
    if not is_text(member.get("kid"), LONGEST_KEY_ID):
        raise ValueError("no `kid`")
    if _PRIVATE_MEMBERS & member.keys():
        raise ValueError("private key material is published")
    if member.get("use", "sig") != "sig":
        raise ValueError("not for signatures (`use`)")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("not for verifying (`key_ops`)")
    for part in ("n", "e", "x", "y"):
        if len(str(member.get(part, ""))) > LARGEST_RSA_BITS // 5:
            raise ValueError("a key that is too large")


def _algorithms(member: JsonObject) -> frozenset[str]:
    """The algorithms that fit type and curve (RFC 7518, 3.1; RFC 8037, 3.1), narrowed to `alg` where it is given."""
    fitting = frozenset[str]()
    if member.get("kty") == "RSA":
        fitting = _RSA_ALGORITHMS
    elif member.get("kty") in ("EC", "OKP"):
        fitting = frozenset({_CURVE_ALGORITHMS.get(str(member.get("crv")), "")}) - {""}
    if "alg" in member:
        fitting &= {str(member["alg"])}
    if not fitting:
        raise ValueError("an unsupported key type, curve or algorithm")
    return fitting


def _is_public(key: object) -> TypeGuard[PublicKey]:
    return isinstance(key, PublicKey)


def _reason(error: Exception) -> str:
    """Our own words, or the kind of the library's error, whose message would quote the key."""
    return str(error) if type(error) is ValueError else type(error).__name__
