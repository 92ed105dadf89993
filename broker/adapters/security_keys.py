"""Security keys (WebAuthn, level 2) as fido2 verifies them: registration and assertion, with user verification.

Challenges are kept by whoever asks for them. Attestation is not asked for: which make a key is of proves nobody.
"""

import json
import os
import struct
from dataclasses import dataclass
from typing import Any

from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    UserVerificationRequirement,
)

from broker.identity.enrolment_codes import enrolment_error

_REQUIRED = UserVerificationRequirement.REQUIRED
_USER_OCTETS = 32
# All that fido2 raises for documents that are not what they should be.
_FAULTS = (ValueError, TypeError, LookupError, AttributeError, AssertionError, OverflowError, struct.error)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a key is asked (JSON, for the browser or program that has the key), and what its answer must fit."""

    options: dict[str, Any]
    state: dict[str, Any]


class SecurityKeys:
    """Verifies keys for one relying party, from pages or programs of these origins only."""

    def __init__(self, relying_party: str, name: str, origins: frozenset[str]) -> None:
        entity = PublicKeyCredentialRpEntity(name=name, id=relying_party)
        self._server = Fido2Server(entity, verify_origin=lambda origin: origin in origins)

    def registration(self, subject: str) -> Challenge:
        """Ask for a new key."""
        user = PublicKeyCredentialUserEntity(name=subject, id=os.urandom(_USER_OCTETS), display_name=subject)
        options, state = self._server.register_begin(user, user_verification=_REQUIRED)
        return Challenge(_plain(options), state)

    def registered(self, challenge: Challenge, raw_response: dict[str, Any]) -> tuple[bytes, int]:
        """The new key's public data, and its counter. Raises EnrolmentError `factor_refused`."""
        try:
            data = self._server.register_complete(challenge.state, raw_response)
            _require_own_page(RegistrationResponse.from_dict(raw_response))
            assert data.credential_data is not None
            return bytes(data.credential_data), data.counter
        except _FAULTS as error:
            raise enrolment_error("factor_refused", f"the security key's answer: {error}") from None

    def assertion(self, credential: bytes) -> Challenge:
        """Ask for a signature by a known key."""
        known = [AttestedCredentialData(credential)]
        options, state = self._server.authenticate_begin(known, user_verification=_REQUIRED)
        return Challenge(_plain(options), state)

    def asserted(self, challenge: Challenge, credential: bytes, raw_response: dict[str, Any]) -> int:
        """The counter of a proven key. Raises EnrolmentError `factor_refused`."""
        try:
            self._server.authenticate_complete(challenge.state, [AttestedCredentialData(credential)], raw_response)
            answer = AuthenticationResponse.from_dict(raw_response)
            _require_own_page(answer)
            return int(answer.response.authenticator_data.counter)
        except _FAULTS as error:
            raise enrolment_error("factor_refused", f"the security key's answer: {error}") from None


def _require_own_page(answer: RegistrationResponse | AuthenticationResponse) -> None:
    """WebAuthn, 5.8.1: what another page does with ours in a frame is nothing that the person has seen. Raises."""
    if answer.response.client_data.cross_origin is not False:
        raise ValueError("it came through a page of another origin")


def _plain(options: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(options)))
    return plain
