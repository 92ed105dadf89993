"""A client certificate becomes a subject: the verified anchor selects the organisation, the leaf alone gives the name.

The handshake's own check (OpenSSL) comes before this one and does not replace it: its trust store is the union of all
organisations. The common name, other certificates of the chain and anything a peer says elsewhere are never read.
"""

import base64
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from broker.errors import CertificateError
from broker.identity.anchors import MOST_INTERMEDIATES, Path, TrustDomain, check_disjoint
from broker.identity.codes import certificate_error
from broker.identity.modbus_role import ROLE_OID, decode_role
from broker.identity.names import Name
from broker.identity.profile import X509_ERRORS, leaf_findings, read_whole
from broker.identity.revocation import verify_unrevoked
from broker.model.place import Organisation
from broker.model.subject import Proof, ProofKind, Subject

_LARGEST_CERTIFICATE = 32 * 1024
_MOST_VERIFIED = 4096
_LARGEST_REMEMBERED = 8 * 1024


class Trust:
    """Whose certificates are believed; built once from the inventory and replaced whole.

    Raises ConfigError if anchors, namespaces or CRLs cannot be used, or could belong to two organisations.
    """

    def __init__(self, organisations: tuple[Organisation, ...]) -> None:
        self.domains = tuple(TrustDomain(organisation) for organisation in organisations)
        check_disjoint(self.domains)
        self._verified: dict[tuple[bytes, tuple[bytes, ...]], Subject] = {}

    def domain(self, organisation: str) -> TrustDomain | None:
        """The trust of the organisation of that id, if there is one."""
        return next((domain for domain in self.domains if domain.organisation.id == organisation), None)

    def verify(self, leaf: bytes, intermediates: tuple[bytes, ...], now: float) -> Subject:
        """The subject that the leaf (DER) proves, with one certificate proof.

        Raises CertificateError with a code of `codes.CERTIFICATE_CODES`. A chain that was verified is remembered while
        nothing in it ends: callers present the same few certificates again and again. A large one is not: one caller
        could fill the memory with good chains that differ in what else is presented.
        """
        known = self._verified.get((leaf, intermediates))
        if known is not None and _still_holds(known.proofs[0], now):
            return replace(known, proofs=(replace(known.proofs[0], proven_at=now),))
        subject = self._verify(leaf, intermediates, now)
        if len(leaf) + sum(map(len, intermediates)) > _LARGEST_REMEMBERED:
            return subject
        if len(self._verified) >= _MOST_VERIFIED:
            self._verified.clear()
        self._verified[leaf, intermediates] = subject
        return subject

    def _verify(self, leaf: bytes, intermediates: tuple[bytes, ...], now: float) -> Subject:
        certificate, others = decode_presented(leaf, intermediates)
        for finding in leaf_findings(certificate, now):
            raise certificate_error(finding.code, finding.problem)
        domain, path, name = self._place(certificate, others, now)
        crl_until = verify_unrevoked(path, domain.crls, domain.organisation.crl_required, now)
        not_after = min(member.not_valid_after_utc.timestamp() for member in path)
        if now >= not_after:
            raise certificate_error("certificate_expired", "an authority above it expired within this second")
        return Subject(
            id=name.text,
            kind=name.kind,
            organisation=domain.organisation.id,
            roles=domain.roles.get(name.text, ()),
            modbus_role=decode_role(certificate.extensions),
            proofs=(_proof(name, path, now, not_after, crl_until),),
        )

    def prove_again(self, subject: Subject, now: float) -> Subject:
        """The same subject, as today's trust proves it: until when its revocation lists hold, and the roles that the
        inventory gives it; those of its token it keeps. Raises CertificateError.
        """
        proof = subject.proof(ProofKind.CERTIFICATE)
        if proof is None:
            return subject
        if not proof.chain:
            raise certificate_error("certificate_missing")
        again = self.verify(proof.chain[0], proof.chain[1:], now)
        if (again.id, again.organisation) != (subject.id, subject.organisation):
            raise certificate_error("certificate_name_refused")
        (fresh,) = again.proofs
        roles = tuple(dict.fromkeys((*again.roles, *(role for shown in subject.proofs for role in shown.roles))))
        if (fresh.crl_next_update, roles) == (proof.crl_next_update, subject.roles):
            return subject
        kept = replace(proof, crl_next_update=fresh.crl_next_update)
        return replace(subject, roles=roles, proofs=tuple(kept if p is proof else p for p in subject.proofs))

    def _place(self, leaf: x509.Certificate, others: Path, now: float) -> tuple[TrustDomain, Path, Name]:
        """The organisation whose anchor the path ends at, the path, and the name it may use."""
        refusals = [certificate_error("certificate_untrusted", "no anchor issued any certificate of the chain")]
        for domain in self.domains:
            if not domain.may_anchor((leaf, *others)):
                continue
            try:
                return domain, domain.verify_path(leaf, others, now), domain.verify_name(leaf)
            except CertificateError as error:
                refusals.insert(0, error)
        raise next((error for error in refusals if error.code != "certificate_untrusted"), refusals[0])


def _still_holds(proof: Proof, now: float) -> bool:
    """Whether a proof verified before holds at `now`, which must not be earlier: what had begun then has begun now."""
    return proof.proven_at <= now < min(proof.not_after, proof.crl_next_update or proof.not_after)


def decode_presented(leaf: bytes, intermediates: tuple[bytes, ...]) -> tuple[x509.Certificate, Path]:
    """Read what a peer presented, all of it, so that nothing later meets an extension it cannot read.

    Raises CertificateError `certificate_malformed`, `role_malformed` or `chain_too_long`.
    """
    others = tuple(dict.fromkeys(raw for raw in intermediates if raw != leaf))
    if len(others) > MOST_INTERMEDIATES:
        raise certificate_error("chain_too_long", f"{len(others)} intermediates presented")
    return _decode(leaf), tuple(_decode(raw) for raw in others)


def fingerprint(leaf: bytes) -> str:
    """SHA-256 of a certificate (DER), base64url without padding: the form of `cnf.x5t#S256` (RFC 8705, 3.1)."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(leaf)
    return base64.urlsafe_b64encode(digest.finalize()).rstrip(b"=").decode("ascii")


def _decode(raw_certificate: bytes) -> x509.Certificate:
    if len(raw_certificate) > _LARGEST_CERTIFICATE:
        raise certificate_error("certificate_malformed", "larger than 32 KiB")
    try:
        return read_whole(x509.load_der_x509_certificate(raw_certificate))
    except x509.DuplicateExtension as error:
        code = "role_malformed" if error.oid == ROLE_OID else "certificate_malformed"
        raise certificate_error(code, str(error)) from None
    except X509_ERRORS as error:
        raise certificate_error("certificate_malformed", str(error)) from None


def _proof(name: Name, path: Path, now: float, not_after: float, crl_until: float | None) -> Proof:
    chain = tuple(member.public_bytes(Encoding.DER) for member in path[:-1])
    return Proof(
        kind=ProofKind.CERTIFICATE,
        issuer=path[0].issuer.rfc4514_string(),
        identifier=name.text,
        fingerprint=fingerprint(chain[0]),
        proven_at=now,
        not_after=not_after,
        crl_next_update=crl_until,
        serial=f"{path[0].serial_number:x}",
        chain=chain,
    )
