"""What a caller presents becomes a subject, for every listener in the same way.

It joins the pure rules of `identity` with the world's keys and clock. It does not perform the TLS handshake, which has
already proven that the caller holds the certificate's private key, and it decides nothing about access.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from broker.engine.ports import Clock
from broker.errors import ConfigError, TokenError
from broker.identity.binding import bind
from broker.identity.certificate import Trust, fingerprint
from broker.identity.codes import certificate_error
from broker.identity.keys import VerificationKey
from broker.identity.logout import LoggedOut, logged_out_error, verify_logout_token
from broker.identity.names import Namespace
from broker.identity.token import verify_token
from broker.model.enrolment import EnrolledCertificate
from broker.model.logout import Logout
from broker.model.subject import Proof, ProofKind, Subject
from broker.model.trust import Issuer, Requirement

_MOST_VERIFIED = 4096
T = TypeVar("T")


class TokenKeys(Protocol):
    """Public keys of token issuers: `keys` from memory, `ensure` tries once to learn one that is not known."""

    def keys(self, issuer: str, key_id: str) -> tuple[VerificationKey, ...]:
        """The keys of that issuer and id."""

    async def ensure(self, issuer: str, key_id: str) -> None:
        """Try to learn a key, within a time limit and a rate limit; says nothing about success."""


@dataclass(slots=True)
class _Lookup:
    """Remembers which key a verification asked for, and what it was given."""

    source: TokenKeys
    issuer: str = ""
    key_id: str = ""
    found: tuple[VerificationKey, ...] = ()

    def __call__(self, issuer: str, key_id: str) -> tuple[VerificationKey, ...]:
        self.issuer, self.key_id = issuer, key_id
        self.found = self.source.keys(issuer, key_id)
        return self.found

    def unchanged(self) -> bool:
        return self.source.keys(self.issuer, self.key_id) == self.found


KnownCertificate = Callable[[str], EnrolledCertificate | None]
"""What the broker knows of a certificate that it issued itself, by its fingerprint."""


class Authenticator:
    """Proves subjects. Raises ConfigError for issuers that clash or speak for an organisation that is not there."""

    def __init__(self, trust: Trust, issuers: Iterable[Issuer], key_cache: TokenKeys, clock: Clock) -> None:
        self._issuers: dict[str, Issuer] = {}
        self._keys = key_cache
        self._clock = clock
        self.known: KnownCertificate = lambda fingerprint: None
        self._verified: OrderedDict[bytes, tuple[Subject, _Lookup]] = OrderedDict()
        self.logged_out = LoggedOut()
        self.replace_trust(trust)
        for issuer in issuers:
            self._add(issuer)

    @property
    def trust(self) -> Trust:
        """The trust in force."""
        return self._trust

    def replace_trust(self, trust: Trust) -> None:
        """Believe these organisations from now on; live sessions are asked about with `prove_again`."""
        self._trust = trust
        self._namespaces: dict[str, tuple[Namespace, ...]] = {d.organisation.id: d.namespaces for d in trust.domains}
        self._verified.clear()

    def prove_again(self, subject: Subject, now: float) -> Subject:
        """A live session's subject as its proofs hold now: chain and lists by today's trust, the token's key there, and
        nobody logged out.

        Raises CertificateError, or TokenError `token_key_unknown` if the issuer has withdrawn the key.
        """
        token = subject.proof(ProofKind.TOKEN)
        self._refuse_logged_out(subject)
        if token is not None and not self._keys.keys(token.issuer, token.key_id):
            raise TokenError("token_key_unknown", "The token's key is no longer its issuer's.")
        certificate = subject.proof(ProofKind.CERTIFICATE)
        if certificate is not None:
            self._known_good(certificate)
        return self._trust.prove_again(subject, now)

    def certificate_subject(self, leaf: bytes, intermediates: tuple[bytes, ...]) -> Subject:
        """The subject of a client certificate (DER). Raises CertificateError."""
        subject = self._trust.verify(leaf, intermediates, self._clock.now())
        (proof,) = subject.proofs
        known = self._known_good(proof)
        if known is None or known.factor_at is None or known.subject != subject.id:
            return subject
        return replace(subject, proofs=(replace(proof, authenticated_at=known.factor_at, methods=known.methods),))

    async def token_subject(self, raw_token: str, certificate_fingerprint: str | None) -> Subject:
        """The subject of a token beside the certificate of that fingerprint. Raises TokenError or BindingError."""
        digest = _digest(raw_token, certificate_fingerprint)
        subject = self._remembered(digest)
        if subject is None:
            lookup = _Lookup(self._keys)
            subject = await self._with_keys(lookup, partial(self._verify, raw_token, lookup, certificate_fingerprint))
            self._remember(digest, subject, lookup)
        self._refuse_logged_out(subject)
        return subject

    async def logout(self, raw_token: str) -> Logout:
        """What an issuer's logout token tells; it has no effect yet. Raises TokenError."""
        lookup = _Lookup(self._keys)
        return await self._with_keys(
            lookup, lambda: verify_logout_token(raw_token, self._issuers, lookup, self._clock.now())
        )

    async def authenticate(
        self, requirement: Requirement, leaf: bytes | None, intermediates: tuple[bytes, ...], raw_token: str | None
    ) -> Subject:
        """The one subject of everything presented; a faulty proof refuses even if another would do.

        Raises CertificateError, TokenError or BindingError.
        """
        certificate = None if leaf is None else self.certificate_subject(leaf, intermediates)
        presented = None if leaf is None else fingerprint(leaf)
        token = None if raw_token is None else await self.token_subject(raw_token, presented)
        return bind(requirement, certificate, token)

    def _known_good(self, proof: Proof) -> EnrolledCertificate | None:
        """What is known of a certificate of our own. Raises CertificateError if it was revoked, listed or not."""
        known = self.known(proof.fingerprint)
        if known is not None and known.revoked_at is not None:
            raise certificate_error("certificate_revoked", "revoked in the state")
        return known

    def _add(self, issuer: Issuer) -> None:
        if issuer.issuer in self._issuers:
            raise ConfigError("issuer_duplicate", f"The token issuer {issuer.issuer} is there twice.")
        if issuer.organisation not in self._namespaces:
            public = f"The token issuer {issuer.issuer} speaks for {issuer.organisation}, which is not there."
            raise ConfigError("issuer_organisation_unknown", public)
        self._issuers[issuer.issuer] = issuer

    async def _with_keys(self, lookup: _Lookup, verify: Callable[[], T]) -> T:
        """Verify; a key that is not known is asked for once."""
        try:
            return verify()
        except TokenError as error:
            if error.code != "token_key_unknown" or not lookup.key_id:
                raise
        await self._keys.ensure(lookup.issuer, lookup.key_id)
        return verify()

    def _refuse_logged_out(self, subject: Subject) -> None:
        token = subject.proof(ProofKind.TOKEN)
        if token is not None and self.logged_out.ends(token):
            raise logged_out_error()

    def _verify(self, raw_token: str, lookup: _Lookup, certificate_fingerprint: str | None) -> Subject:
        now = self._clock.now()
        return verify_token(raw_token, self._issuers, lookup, now, certificate_fingerprint, self._namespaces)

    def _remembered(self, digest: bytes) -> Subject | None:
        """A subject verified before, while its token lives and its key is still the issuer's."""
        entry = self._verified.get(digest)
        if entry is None:
            return None
        subject, lookup = entry
        if _proof_end(subject) <= self._clock.now() or not lookup.unchanged():
            del self._verified[digest]
            return None
        self._verified.move_to_end(digest)
        return subject

    def _remember(self, digest: bytes, subject: Subject, lookup: _Lookup) -> None:
        self._verified[digest] = (subject, lookup)
        if len(self._verified) > _MOST_VERIFIED:
            self._verified.popitem(last=False)


def _proof_end(subject: Subject) -> float:
    proof = subject.proof(ProofKind.TOKEN)
    return proof.not_after if proof is not None else 0.0


def _digest(raw_token: str, certificate_fingerprint: str | None) -> bytes:
    """Of everything a verification depends on but trust, keys and time; the token itself is not kept."""
    return hashlib.sha256(f"{certificate_fingerprint or ''} {raw_token}".encode(errors="surrogatepass")).digest()
