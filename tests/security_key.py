"""A security key in software, made of fido2's own client-side classes."""

import json
import os
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.utils import websafe_decode
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    AuthenticatorData,
    CollectedClientData,
    RegistrationResponse,
)

FLAG = AuthenticatorData.FLAG
PRESENT = FLAG.UP | FLAG.UV


class SecurityKey:
    """Answers challenges of one origin; every part can be told to lie."""

    def __init__(self, origin: str = "https://localhost") -> None:
        self.origin = origin
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.identifier = os.urandom(32)
        self.counter: int | None = 0
        """How often it has signed; None: it does not count, and always says 0."""

    def register(self, options: dict[str, Any], flags: Any = PRESENT, **client: Any) -> dict[str, Any]:
        asked = options["publicKey"]
        public = ES256.from_cryptography_key(self.key.public_key())
        credential = AttestedCredentialData.create(bytes(16), self.identifier, public)
        data = self._data(asked["rp"]["id"], flags | FLAG.AT, credential)
        told = AuthenticatorAttestationResponse(
            client_data=self._client("webauthn.create", asked["challenge"], client),
            attestation_object=AttestationObject.create("none", data, {}),
        )
        return plain(RegistrationResponse(raw_id=self.identifier, response=told))

    def sign(self, options: dict[str, Any], flags: Any = PRESENT, **client: Any) -> dict[str, Any]:
        asked = options["publicKey"]
        data, said = self._data(asked["rpId"], flags), self._client("webauthn.get", asked["challenge"], client)
        signature = self.key.sign(bytes(data) + said.hash, ec.ECDSA(hashes.SHA256()))
        told = AuthenticatorAssertionResponse(client_data=said, authenticator_data=data, signature=signature)
        return plain(AuthenticationResponse(raw_id=self.identifier, response=told))

    def _data(self, relying_party: str, flags: Any, credential: bytes = b"") -> AuthenticatorData:
        if self.counter is not None:
            self.counter += 1
        return AuthenticatorData.create(sha256(relying_party.encode()).digest(), flags, self.counter or 0, credential)

    def _client(self, kind: str, challenge: str, changes: dict[str, Any]) -> CollectedClientData:
        told = {"type": kind, "challenge": websafe_decode(challenge), "origin": self.origin} | changes
        return CollectedClientData.create(**told)


def plain(response: Any) -> dict[str, Any]:
    """As it travels."""
    told: dict[str, Any] = json.loads(json.dumps(dict(response)))
    return told
