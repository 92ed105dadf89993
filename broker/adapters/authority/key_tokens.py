"""A signing key in a PKCS #11 token: it never leaves the token, which signs digests for it.

The library that makes certificates takes any object that is an elliptic curve private key in its sense and asks it only
for its public key and for signatures. python-pkcs11 is optional: the extra `pkcs11`.
"""

import warnings
from functools import cache
from typing import Any, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key

from broker.adapters.authority.key_files import Secrets
from broker.errors import ConfigError, UnavailableError


class TokenPrivateKey(ec.EllipticCurvePrivateKey):
    """A P-256 key whose private half stays in the token."""

    def __init__(self, handle: Any, public_key: ec.EllipticCurvePublicKey) -> None:
        self._handle = handle
        self._public_key = public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve."""
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        """Bits of the curve."""
        return self._public_key.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._public_key

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """An ECDSA signature in DER (RFC 3279, 2.2.3); the token gives r and s side by side (PKCS #11, 2.3.1).

        Raises UnavailableError.
        """
        from pkcs11 import Mechanism
        from pkcs11.exceptions import PKCS11Error

        algorithm = signature_algorithm.algorithm
        if not isinstance(algorithm, hashes.HashAlgorithm):
            raise NotImplementedError("a token signs data, not a digest made elsewhere")
        digest = hashes.Hash(algorithm)
        digest.update(bytes(data))
        try:
            raw = self._handle.sign(digest.finalize(), mechanism=Mechanism.ECDSA)
        except PKCS11Error as error:
            raise UnavailableError("token_unusable", "The token did not sign.", type(error).__name__) from None
        half = len(raw) // 2
        return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        """An authority's key agrees on nothing."""
        raise NotImplementedError("this key signs only")

    def private_numbers(self) -> NoReturn:
        """The private half does not come out."""
        raise NotImplementedError("the key stays in its token")

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:
        """The private half does not come out."""
        raise NotImplementedError("the key stays in its token")

    def __copy__(self) -> "TokenPrivateKey":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "TokenPrivateKey":
        return self


class TokenKey:
    """A key in a token, by the token's label and its own."""

    def __init__(self, module: str, token: str, label: str, secrets: Secrets) -> None:
        self._module = module
        self._token = token
        self._label = label
        self._secrets = secrets

    def create(self) -> TokenPrivateKey:
        """Make a key that can neither be read nor exported; one of that label must not be there yet."""
        return self._attempt(self._create)

    def load(self) -> TokenPrivateKey:
        """The key of that label."""
        return self._attempt(self._load)

    def _create(self) -> TokenPrivateKey:
        from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
        from pkcs11.util.ec import encode_named_curve_parameters

        session = self._session()
        wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: self._label}
        if any(True for _ in session.get_objects(wanted)):
            raise ConfigError("key_exists", f"The token {self._token} has a key {self._label} already.")
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
            store=True,
            label=self._label,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )
        return self._load()

    def _load(self) -> TokenPrivateKey:
        from pkcs11 import KeyType, ObjectClass
        from pkcs11.util.ec import encode_ec_public_key

        session = self._session()
        named = {"key_type": KeyType.EC, "label": self._label}
        public = load_der_public_key(
            encode_ec_public_key(session.get_key(object_class=ObjectClass.PUBLIC_KEY, **named))
        )
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise self._unusable("it is not on an elliptic curve")
        return TokenPrivateKey(session.get_key(object_class=ObjectClass.PRIVATE_KEY, **named), public)

    def _session(self) -> Any:
        return _session(self._module, self._token, self._secrets.pin())

    def _attempt(self, work: Any) -> TokenPrivateKey:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what the library imports and we do not use
                from pkcs11.exceptions import PKCS11Error
        except ImportError:
            raise self._unusable("python-pkcs11 is not installed: pip install 'otbroker[pkcs11]'") from None
        try:
            key = work()
        except PKCS11Error as error:
            raise self._unusable(type(error).__name__ + (f": {error}" if str(error) else "")) from None
        assert isinstance(key, TokenPrivateKey)
        return key

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError("key_unusable", f"The key {self._label} of the token {self._token} cannot be used.", why)


@cache
def _session(module: str, token: str, pin: str) -> Any:
    """One session for each token: a second login of the same process is refused (PKCS #11, 5.6.6)."""
    import pkcs11

    return pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin)
