"""A JSON Web Token becomes a subject: pinned issuer, known key, signature, then every claim (RFC 7519, 8725, 9068).

PyJWT verifies the signature; what it does not check (type, presence, lifetime, duplicate claims, its own clock) is
done here with `now` from outside. A token is a bearer proof unless it is bound to the presented certificate.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from jwt import PyJWS, PyJWTError

from broker.identity.claims import (
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
from broker.identity.json_object import JsonObject, is_text, strings
from broker.identity.keys import ALGORITHMS, LONGEST_KEY_ID, VerificationKey
from broker.identity.names import Name, Namespace, decode_subject_id
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.trust import Issuer

KeyLookup = Callable[[str, str], Sequence[VerificationKey]]
_MOST_GROUPS = 256
_LONGEST_GROUP = 300
_SIGNATURES = PyJWS(algorithms=sorted(ALGORITHMS))


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
    issuer = _issuer(token.payload, issuers)
    _verify_signature(token, issuer, keys)
    claims = token.payload
    require_claims(claims, ("exp", "iat", "aud", issuer.subject_claim, *issuer.required_claims))
    _check_audience(claims, issuer)
    _check_client(claims, issuer)
    _check_acr(claims, issuer)
    check_times(claims, issuer, now)
    check_binding(claims, issuer, certificate_fingerprint)
    name = _subject_name(claims, issuer, namespaces.get(issuer.organisation, ()))
    return Subject(
        id=name.text,
        kind=_kind(claims, issuer, name),
        organisation=issuer.organisation,
        roles=_roles(claims, issuer),
        proofs=(_proof(token, issuer, now),),
    )


def _issuer(claims: JsonObject, issuers: Mapping[str, Issuer]) -> Issuer:
    claimed = claims.get("iss")
    issuer = issuers.get(claimed) if isinstance(claimed, str) else None
    if issuer is None:
        raise token_error("token_issuer_unknown")
    return issuer


def _verify_signature(token: ClaimedToken, issuer: Issuer, keys: KeyLookup) -> None:
    """RFC 8725, 3.1, 3.2 and 3.11: type and algorithm by list, the algorithm one that the key itself allows."""
    _check_type(token.header, issuer)
    algorithm, key_id = token.header.get("alg"), token.header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms or algorithm not in ALGORITHMS:
        raise token_error("token_algorithm_refused")
    if not isinstance(key_id, str) or not is_text(key_id, LONGEST_KEY_ID):
        raise token_error("token_key_unknown", "no key id")
    known = keys(issuer.issuer, key_id)
    if not known:
        raise token_error("token_key_unknown")
    fitting = [key for key in known if algorithm in key.algorithms]
    if not fitting:
        raise token_error("token_algorithm_refused", "not an algorithm of that key")
    if not any(_signed(token, key, algorithm) for key in fitting):
        raise token_error("token_signature_invalid")


def _check_type(header: JsonObject, issuer: Issuer) -> None:
    claimed = header.get("typ")
    # RFC 7515, 4.1.9: not case-sensitive, and `application/` may be left out.
    if not isinstance(claimed, str) or claimed.lower().removeprefix("application/") not in issuer.token_types:
        raise token_error("token_type_refused")


def _signed(token: ClaimedToken, key: VerificationKey, algorithm: str) -> bool:
    try:
        _SIGNATURES.decode(
            token.raw, key.key, [algorithm], {"verify_signature": True, "enforce_minimum_key_length": True}
        )
    except (PyJWTError, ValueError, TypeError):
        return False
    return True


def _check_audience(claims: JsonObject, issuer: Issuer) -> None:
    """Every audience must be ours: who else a token is meant for could present it here."""
    claimed = claims["aud"]
    audiences = [claimed] if isinstance(claimed, str) else claimed
    if not isinstance(audiences, list) or not 0 < len(audiences) <= len(issuer.audiences):
        raise token_error("token_audience_refused")
    if not all(isinstance(audience, str) and audience in issuer.audiences for audience in audiences):
        raise token_error("token_audience_refused")


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
    )
