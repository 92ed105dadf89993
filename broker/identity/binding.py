"""Which proofs a listener wants, and that all that are given name one subject."""

from broker.identity.codes import binding_error, certificate_error, token_error
from broker.model.subject import Subject, SubjectKind
from broker.model.trust import Requirement


def bind(requirement: Requirement, certificate: Subject | None, token: Subject | None) -> Subject:
    """The one subject of the proofs given.

    A proof that is given though not wanted must fit too. A certificate that the broker issued itself after a second
    factor was proven (no other has a moment of authentication) stands for both. Raises CertificateError
    `certificate_missing`, TokenError `token_missing`, BindingError `proof_missing` or `subjects_differ`.
    """
    if certificate is None and requirement in (Requirement.CERTIFICATE, Requirement.BOTH):
        raise certificate_error("certificate_missing")
    wants_token = requirement is Requirement.TOKEN or (
        requirement is Requirement.BOTH and not stands_for_both(certificate)
    )
    if token is None and wants_token:
        raise token_error("token_missing")
    if certificate is not None and token is not None:
        return _merge(certificate, token)
    subject = certificate or token
    if subject is None:
        raise binding_error("proof_missing")
    return subject


def stands_for_both(certificate: Subject | None) -> bool:
    """Whether a certificate alone proves as much as one with a token: we issued it after a second factor."""
    return certificate is not None and all(proof.authenticated_at is not None for proof in certificate.proofs)


def _merge(certificate: Subject, token: Subject) -> Subject:
    """One subject of both; it is a service if either proof says so, because a service may do less."""
    if (certificate.id, certificate.organisation) != (token.id, token.organisation):
        raise binding_error("subjects_differ")
    service = SubjectKind.SERVICE in (certificate.kind, token.kind)
    return Subject(
        id=certificate.id,
        kind=SubjectKind.SERVICE if service else SubjectKind.PERSON,
        organisation=certificate.organisation,
        roles=tuple(dict.fromkeys((*certificate.roles, *token.roles))),
        modbus_role=certificate.modbus_role,
        proofs=(*certificate.proofs, *token.proofs),
    )
