"""A JSON Web Token becomes a subject: pinned issuer, known key, signature, then every claim (RFC 7519, 8725, 9068).

Nothing of the claims is left to a library: presence, lifetime, audience, client and subject are checked here with
`now` from outside. A token is a bearer proof unless it is bound to the presented certificate.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from broker.identity.claims import (
    check_audience,
    check_binding,
    check_times,
    claim_at,
    claim_error,
    instant,
    optional_text,
    require_claims,
    text,
    text_list,
)
from broker.identity.codes import token_error
from broker.identity.compact import ClaimedToken, decode_compact
from broker.identity.json_object import JsonObject, strings
from broker.identity.names import Name, Namespace, decode_subject_id
from broker.identity.signature import KeyLookup, pinned_issuer, verify_signature
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.trust import Issuer

_MOST_GROUPS = 256
_LONGEST_GROUP = 300


def verify_token(
    raw_token: str,
    issuers: Mapping[str, Issuer],
    keys: KeyLookup,
    now: float,
    certificate_fingerprint: str | None,
    namespaces: Mapping[str, Sequence[Namespace]],
) -> Subject:
    """The subject that a token proves, with one token proof.

    `issuers` by their exact `iss`; `keys` answers (issuer, kid); `certificate_fingerprint` is that of the presented
    and verified certificate, if there is one; `namespaces` are those of each organisation. Raises TokenError and
    BindingError with the codes of `codes`.
    """
    token = decode_compact(raw_token)
    issuer = pinned_issuer(token.payload, issuers)
    verify_signature(token, issuer, issuer.token_types, keys)
    claims = token.payload
    require_claims(claims, ("exp", "iat", "aud", issuer.subject_claim, *issuer.required_claims))
    check_audience(claims, issuer.audiences)
    _check_client(claims, issuer)
    _check_acr(claims, issuer)
    check_times(claims, issuer, now)
    check_binding(claims, issuer, certificate_fingerprint)
    name = _subject_name(claims, issuer, namespaces.get(issuer.organisation, ()))
    proof = _proof(token, issuer, now)
    return Subject(
        id=name.text,
        kind=_kind(claims, issuer, name),
        organisation=issuer.organisation,
        roles=proof.roles,
        proofs=(proof,),
    )


def _check_client(claims: JsonObject, issuer: Issuer) -> None:
    """A token that another application was given does not count, whatever its audience (RFC 9068, 2.2; `azp`)."""
    if not issuer.clients:
        return
    require_claims(claims, ("sub",))
    named = {claims[name] for name in ("client_id", "azp") if isinstance(claims.get(name), str)}
    if len(named) != 1 or not named <= set(issuer.clients):
        raise token_error("token_client_refused")


def _check_acr(claims: JsonObject, issuer: Issuer) -> None:
    if issuer.required_acr and claims.get("acr") not in issuer.required_acr:
        raise token_error("token_acr_refused")


def _roles(claims: JsonObject, issuer: Issuer) -> tuple[str, ...]:
    """The roles that the claim lists or, if the issuer's groups are given roles, those of the groups it lists."""
    found = claim_at(claims, issuer.roles_claim)
    if not issuer.roles:
        return text_list({issuer.roles_claim: [] if found is None else found}, issuer.roles_claim)
    groups = strings([] if found is None else found, _MOST_GROUPS, _LONGEST_GROUP)
    if groups is None:
        raise claim_error(issuer.roles_claim)
    return tuple(dict.fromkeys(role for group in groups for role in issuer.roles.get(group, ())))


def _subject_name(claims: JsonObject, issuer: Issuer, namespaces: Sequence[Namespace]) -> Name:
    """The subject's name, inside the organisation's namespaces and one of the issuer's patterns."""
    claimed = text(claims, issuer.subject_claim)
    if issuer.subject_claim == "email" and claims.get("email_verified") is not True:
        raise token_error("token_subject_refused", "the address is not verified")
    try:
        name = decode_subject_id(claimed)
    except ValueError as error:
        raise token_error("token_subject_refused", str(error)) from None
    if not any(fnmatchcase(claimed, pattern) for pattern in issuer.subjects):
        raise token_error("token_subject_refused", "outside the subjects of its issuer")
    if not any(namespace.holds(name) for namespace in namespaces):
        raise token_error("token_subject_refused", f"outside the namespaces of {issuer.organisation}")
    return name


def _kind(claims: JsonObject, issuer: Issuer, name: Name) -> SubjectKind:
    """A service by its name, the claim or the settings: a token may say less than the name allows, never more."""
    claimed = claims.get(issuer.kind_claim)
    if claimed is not None and not isinstance(claimed, str):
        raise claim_error(issuer.kind_claim)
    service = claimed == SubjectKind.SERVICE or any(fnmatchcase(name.text, pattern) for pattern in issuer.services)
    return SubjectKind.SERVICE if service else name.kind


def _proof(token: ClaimedToken, issuer: Issuer, now: float) -> Proof:
    claims = token.payload
    authenticated = instant(claims, "auth_time") if "auth_time" in claims else None
    if authenticated is not None and authenticated > now + issuer.leeway_seconds:
        raise claim_error("auth_time")
    return Proof(
        kind=ProofKind.TOKEN,
        issuer=issuer.issuer,
        identifier=optional_text(claims, "jti"),
        fingerprint=token.fingerprint,
        proven_at=now,
        not_after=instant(claims, "exp"),
        authenticated_at=authenticated,
        acr=optional_text(claims, "acr"),
        methods=text_list(claims, "amr"),
        issued_at=instant(claims, "iat"),
        account=optional_text(claims, "sub"),
        login=optional_text(claims, "sid"),
        key_id=str(token.header["kid"]),
        roles=_roles(claims, issuer),
    )
